/* cmd_run.c: `tidegate run [FILE] [--single | --dev]`.
 *
 * Under a supervisor, which is the rule, the process that starts becomes the supervisor and forks
 * the gateway (cli/supervisor.h). With --single it becomes the gateway itself: one process for
 * debuggers and tests, where a crash ends the service. Both boot the same way; --single only makes
 * the channel for orders itself and has nobody at the other end.
 */
#include "base/banned.h"
#include "cli/command.h"

#include "cli/candidate.h"
#include "cli/control.h"
#include "cli/signals.h"
#include "cli/sockets.h"
#include "cli/supervisor.h"

#include <errno.h>
#include <sys/resource.h>
#include <unistd.h>

enum { OPTION_SINGLE, OPTION_DEV };

/* A gateway needs two descriptors a request; the soft limit of 1024 is for programs that use
 * select(). What cannot be raised stays, and is warned of. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* Opens the sockets and serves; returns the exit status. */
static int listen_and_serve(struct tg_boot *boot)
{
    if (tg_sockets_open(boot->sockets, boot->snapshot, boot->workers, stderr) != TG_OK)
        return TG_EXIT_SYSTEM;
    tg_sockets_announce(boot->sockets, boot->snapshot);
    tg_listen_set_commit(boot->sockets);
    return tg_boot_run(boot);
}

/* Boots with a channel whose far end only signals write to. The signals come before the sockets:
 * who sees that we listen may send one. */
static int boot_alone(struct tg_boot *boot)
{
    int ends[2];
    if (tg_control_open(ends) != TG_OK) {
        fprintf(stderr, "tidegate: cannot make a channel: %s\n", strerror(errno));
        return TG_EXIT_SYSTEM;
    }
    int status = TG_EXIT_SYSTEM;
    shutdown(ends[0], SHUT_RD); /* answers have no reader: sending them fails instead of queueing */
    boot->control_fd = ends[1];
    if (tg_signals_relay(ends[0], false) == TG_OK)
        status = listen_and_serve(boot);
    close(ends[1]);
    close(ends[0]);
    return status;
}

/* Makes the first configuration; what is wrong goes to stderr. */
static bool load_first(const char *path, struct tg_candidate *candidate,
                       struct tg_revisions *revisions)
{
    static const struct tg_order plain = {.kind = TG_ORDER_RELOAD};
    tg_candidate_make(candidate, path, revisions, &plain);
    tg_candidate_tell(candidate);
    if (candidate->decided)
        return false;
    tg_revisions_add(revisions, candidate->number, 0, candidate->sources);
    tg_log_set_level(candidate->snapshot->settings.log_level);
    return true;
}

static int run_single(const char *path)
{
    struct tg_candidate first;
    struct tg_revisions revisions;
    struct tg_listen_set sockets;
    int status = TG_EXIT_CONFIG;
    tg_listen_set_init(&sockets);
    tg_revisions_init(&revisions);
    if (load_first(path, &first, &revisions)) {
        struct tg_boot boot = {.config_path = path,
                               .snapshot = first.snapshot,
                               .revisions = &revisions,
                               .sockets = &sockets,
                               .workers = tg_sockets_workers(first.snapshot),
                               .single = true};
        status = boot_alone(&boot);
    }
    tg_listen_set_release(&sockets);
    tg_candidate_release(&first);
    tg_revisions_release(&revisions);
    return status;
}

static int run(const struct tg_args *args)
{
    const char *path = args->operand_count > 0 ? args->operands[0] : TG_COMMAND_CONFIG;
    bool single = (args->options & 1u << OPTION_SINGLE) != 0;
    bool dev = (args->options & 1u << OPTION_DEV) != 0;
    if (single && dev) {
        fprintf(stderr, "tidegate run: --dev needs the supervisor, which --single leaves out\n");
        return TG_EXIT_USAGE;
    }
    raise_descriptor_limit();
    return single ? run_single(path) : tg_supervisor_run(path, dev);
}

static const struct tg_option options[] = {
    {"single", "one process without a supervisor, for debuggers and tests", NULL},
    {"dev", "reload when a file of the configuration changes; answers tell what failed", NULL},
    {NULL, NULL, NULL},
};

const struct tg_command tg_command_run = {
    .name = "run",
    .operands = "[FILE]",
    .max_operands = 1,
    .options = options,
    .summary = "serve a configuration (gateway.lua)",
    .details =
        "A supervisor holds the listening sockets and keeps a gateway process running; when that\n"
        "dies, the next one takes over the sockets and no connection is refused.\n"
        "\n"
        "signals: SIGTERM or SIGINT: end, open requests have settings.limits\n"
        "connection.drain_timeout for it; SIGINT once more: end now; SIGHUP: reload the\n"
        "configuration, which stays as it is when the new one has mistakes; SIGUSR1: open the\n"
        "log files anew.\n"
        "\n"
        "exit status: 0 ended as asked, 1 the configuration has mistakes, 2 the command line is\n"
        "not understood, 3 an address, memory or a process could not be had, or the gateway\n"
        "process had to be killed in order to end.\n",
    .run = run,
};
