/* supervisor.c: one loop over signals, the control channel and one deadline.
 *
 * What the loop does next depends on the state of the gateway process alone:
 *
 *                  fork              READY
 *     PAUSING ------------> STARTING -----> SERVING
 *      ^   |                  |  |            |  |
 *      |   |   died           |  |    died    |  |
 *      +---+------------------+--+------------+  |
 *          |                     |               |  SIGTERM, SIGINT
 *          | SIGTERM, SIGINT     +---> DRAINING <+
 *          v                            |    |
 *        ENDED <------------------------+    | second SIGINT, deadline
 *          ^            gone                 v
 *          +----------------------------- STOPPING
 *
 * `due` is the time at which the state is left by itself: the next start (PAUSING), the kill
 * (DRAINING, STOPPING). A reload does not change the state; it is a candidate that waits for the
 * gateway's answer: the sockets it added are sent before the order, piece by piece as the channel
 * has room, and the transaction on the socket set stays open until the answer decides it. A death
 * in between drops the candidate, since it may be the cause, unless not all of it had been sent. A
 * reload without a process (PAUSING) is taken at once, so that a configuration which makes the
 * gateway die can be replaced. One candidate at a time: what is asked for meanwhile waits, SIGHUPs
 * as one.
 *
 * The gateway evaluates what was evaluated here, from the same sources, which travel with the
 * order: no file is read twice.
 *
 * Ownership: the supervisor owns the sockets, the signal descriptor, its end of the channel and a
 * reference to each configuration. The gateway process inherits all of it but the signal
 * descriptor; it keeps the supervisor's end of the channel, into which its own signals are relayed.
 */
#include "base/banned.h"
#include "cli/supervisor.h"

#include "base/assert.h"
#include "base/clock.h"
#include "cli/candidate.h"
#include "cli/command.h"
#include "cli/control.h"
#include "cli/reload.h"
#include "cli/signals.h"
#include "cli/sockets.h"
#include "cli/watch.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIVED        (10 * TG_USEC_PER_SEC)   /* a process of this age did not die quickly */
#define FIRST_PAUSE  (250 * TG_USEC_PER_MSEC) /* doubled with each quick death, up to */
#define LONGEST_STEP 5                        /* this many times */
#define DRAIN_GRACE  (5 * TG_USEC_PER_SEC)
#define STOP_GRACE   (2 * TG_USEC_PER_SEC)
#define NEVER        UINT64_MAX

enum state { PAUSING, STARTING, SERVING, DRAINING, STOPPING, ENDED };

/* Which states may follow, as bits. */
static const unsigned followers[] = {
    [PAUSING] = 1u << STARTING | 1u << PAUSING | 1u << ENDED,
    [STARTING] = 1u << SERVING | 1u << PAUSING | 1u << DRAINING | 1u << ENDED,
    [SERVING] = 1u << PAUSING | 1u << DRAINING,
    [DRAINING] = 1u << STOPPING | 1u << ENDED,
    [STOPPING] = 1u << ENDED,
};

struct supervisor {
    const char *path;
    enum state state;
    uint64_t due; /* us, monotonic; NEVER where the state has no end of its own */
    int exit_status;
    int signal_fd;
    struct tg_listen_set sockets;
    struct tg_snapshot *good; /* what a new process starts with */
    struct tg_revisions revisions;
    uint32_t workers;
    bool dev;
    struct tg_watch_files *files; /* that make a reload: all (`dev`), or those of certificates */

    /* the gateway process; pid 0 when there is none */
    pid_t pid;
    int control[2]; /* ours, its; -1 when closed */
    uint64_t started;
    unsigned quick_deaths;
    uint32_t restarts; /* processes that ended unasked */
    bool ever_served;

    /* a reload that waits for its answer, and what was asked for meanwhile */
    struct tg_candidate candidate; /* without a snapshot: there is none */
    uint32_t reload_id;
    bool sending;          /* the channel had no room for all of it */
    uint32_t sent;         /* listeners of the set whose sockets have been sent */
    bool again;            /* a SIGHUP, or files that changed */
    bool certificates;     /* files of certificates changed */
    struct tg_order order; /* of the admin listener; number 0: none */
};

static void set_state(struct supervisor *sup, enum state state, uint64_t due)
{
    tg_assert(followers[sup->state] & 1u << state);
    sup->state = state;
    sup->due = due;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void supervisor_release(struct supervisor *sup)
{
    close_fd(&sup->signal_fd);
    close_fd(&sup->control[0]);
    close_fd(&sup->control[1]);
    tg_listen_set_release(&sup->sockets);
    tg_watch_files_free(&sup->files);
    tg_candidate_release(&sup->candidate);
    tg_revisions_release(&sup->revisions);
    tg_snapshot_unref(&sup->good);
}

/* ---- Starting a gateway process ---------------------------------------------------------------
 */

/* What the new process does; returns its exit status. */
static int be_gateway(struct supervisor *sup, pid_t parent)
{
    close_fd(&sup->signal_fd);
    tg_watch_files_free(&sup->files);
    tg_revisions_forget_sources(&sup->revisions);
    tg_listen_set_disown_files(&sup->sockets);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) /* it died before the line above */
        return TG_EXIT_SYSTEM;
    if (tg_signals_relay(sup->control[0], true) != TG_OK)
        return TG_EXIT_SYSTEM;
    struct tg_boot boot = {.config_path = sup->path,
                           .snapshot = sup->good,
                           .sockets = &sup->sockets,
                           .revisions = &sup->revisions,
                           .control_fd = sup->control[1],
                           .workers = sup->workers,
                           .restarts = sup->restarts,
                           .dev = sup->dev};
    return tg_boot_run(&boot);
}

/* How long to wait after the `n`th quick death in a row. */
static uint64_t pause_after(unsigned n)
{
    if (n <= TG_SUPERVISOR_QUICK_DEATHS)
        return 0;
    return FIRST_PAUSE << TG_MIN(n - TG_SUPERVISOR_QUICK_DEATHS - 1, LONGEST_STEP);
}

/* Notes that a process ended unasked, or could not be made, and when the next one starts. */
static void plan_restart(struct supervisor *sup)
{
    uint64_t now = tg_clock_mono_now();
    sup->quick_deaths = now - sup->started < LIVED ? sup->quick_deaths + 1 : 1;
    uint64_t wait = pause_after(sup->quick_deaths);
    if (wait > 0)
        tg_log(TG_LOG_WARN, "supervisor", "%u gateway processes died in a row, next start in %u ms",
               sup->quick_deaths, (unsigned)(wait / TG_USEC_PER_MSEC));
    set_state(sup, PAUSING, now + wait);
}

/* Forks the gateway process. True in the child, which then is the gateway. */
static bool start_gateway(struct supervisor *sup)
{
    sup->started = tg_clock_mono_now();
    if (tg_control_open(sup->control) != TG_OK) {
        tg_log(TG_LOG_ERROR, "supervisor", "cannot make a channel: %s", strerror(errno));
        plan_restart(sup);
        return false;
    }
    fflush(NULL);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        sup->exit_status = be_gateway(sup, parent);
        return true;
    }
    close_fd(&sup->control[1]);
    if (pid < 0) {
        tg_log(TG_LOG_ERROR, "supervisor", "cannot start a gateway process: %s", strerror(errno));
        close_fd(&sup->control[0]);
        plan_restart(sup);
        return false;
    }
    sup->pid = pid;
    set_state(sup, STARTING, NEVER);
    tg_log(TG_LOG_INFO, "supervisor", "gateway process %d started", (int)pid);
    return false;
}

/* ---- Its end -----------------------------------------------------------------------------------
 */

static bool ended_well(int status)
{
    return WIFEXITED(status) && WEXITSTATUS(status) == TG_EXIT_OK;
}

static const char *signal_name(int signo)
{
    const char *name = sigabbrev_np(signo);
    return name != NULL ? name : "RT"; /* the real-time ones have no names */
}

static void log_end(const struct supervisor *sup, int status)
{
    bool asked = sup->state == DRAINING || sup->state == STOPPING;
    enum tg_log_level level = asked && ended_well(status) ? TG_LOG_INFO : TG_LOG_ERROR;
    unsigned lived = (unsigned)((tg_clock_mono_now() - sup->started) / TG_USEC_PER_MSEC);
    if (WIFSIGNALED(status))
        tg_log(level, "supervisor",
               "gateway process %d was killed by signal %d (SIG%s)%s after %u ms", (int)sup->pid,
               WTERMSIG(status), signal_name(WTERMSIG(status)),
               WCOREDUMP(status) ? ", core dumped," : "", lived);
    else
        tg_log(level, "supervisor", "gateway process %d ended%s with exit status %d after %u ms",
               (int)sup->pid, asked ? "" : " unasked", WEXITSTATUS(status), lived);
}

static bool has_candidate(const struct supervisor *sup)
{
    return sup->candidate.snapshot != NULL;
}

static void release_candidate(struct supervisor *sup)
{
    tg_candidate_release(&sup->candidate);
    sup->sending = false;
}

static void drop_candidate(struct supervisor *sup)
{
    if (has_candidate(sup) && sup->candidate.order.kind != TG_ORDER_DRY_RUN)
        tg_listen_set_rollback(&sup->sockets);
    release_candidate(sup);
}

static void log_candidate(struct supervisor *sup)
{
    const struct tg_candidate *c = &sup->candidate;
    struct tg_settlement settled = {.order = c->order, .outcome = c->outcome, .reason = c->reason};
    tg_reload_log(sup->path, tg_revisions_newest(&sup->revisions), &settled);
}

static void settle_candidate(struct supervisor *sup, enum tg_err err, const char *reason);
static void take_candidate(struct supervisor *sup);
static void go_on(struct supervisor *sup);
static void read_messages(struct supervisor *sup);

static void on_gateway_end(struct supervisor *sup, int status)
{
    /* It never saw all of the candidate, which then is not the cause. */
    bool unseen = sup->sending && sup->candidate.order.kind != TG_ORDER_DRY_RUN;
    log_end(sup, status);
    if (has_candidate(sup) && !unseen)
        settle_candidate(sup, TG_E_CANCELLED, "the gateway process died while it changed over");
    sup->order.number = 0; /* nobody is left to wait for it */
    close_fd(&sup->control[0]);
    sup->pid = 0;
    if (sup->state == DRAINING || sup->state == STOPPING) {
        sup->exit_status = ended_well(status) ? TG_EXIT_OK : TG_EXIT_SYSTEM;
        set_state(sup, ENDED, NEVER);
    } else if (!sup->ever_served && WIFEXITED(status)) {
        sup->exit_status = WEXITSTATUS(status);
        set_state(sup, ENDED, NEVER);
    } else {
        sup->restarts++;
        plan_restart(sup);
        if (unseen)
            take_candidate(sup);
        go_on(sup);
    }
}

static void reap(struct supervisor *sup)
{
    int status;
    if (sup->pid == 0 || waitpid(sup->pid, &status, WNOHANG) != sup->pid)
        return;
    read_messages(sup); /* what it said before */
    on_gateway_end(sup, status);
}

/* ---- Orders ------------------------------------------------------------------------------------
 */

/* Sends an order without content; false when it cannot be delivered. */
static bool give_order(const struct supervisor *sup, enum tg_control_type type)
{
    struct tg_control_message message = {.type = type};
    enum tg_err err = tg_control_send(sup->control[0], &message);
    if (err != TG_OK)
        tg_log(TG_LOG_ERROR, "supervisor", "the gateway process does not take the order %s: %s",
               tg_control_name(type), tg_err_text(err));
    return err == TG_OK;
}

/* The sockets are closed here first, so that they close for good, and new connections are refused,
 * as soon as the gateway process has taken what waits in them. */
static void drain(struct supervisor *sup)
{
    uint64_t timeout = sup->good->settings.limits.drain_timeout;
    drop_candidate(sup);
    tg_listen_set_release(&sup->sockets);
    if (sup->pid == 0) {
        set_state(sup, ENDED, NEVER);
        return;
    }
    tg_log(TG_LOG_INFO, "supervisor", "draining: open requests have %u ms to end",
           (unsigned)(timeout / TG_USEC_PER_MSEC));
    set_state(sup, DRAINING, tg_clock_mono_now() + timeout + DRAIN_GRACE);
    kill(sup->pid, SIGTERM);
}

static void stop_now(struct supervisor *sup)
{
    tg_log(TG_LOG_INFO, "supervisor", "stopping now");
    set_state(sup, STOPPING, tg_clock_mono_now() + STOP_GRACE);
    if (!give_order(sup, TG_CONTROL_STOP))
        kill(sup->pid, SIGKILL);
}

static void on_terminate(struct supervisor *sup, bool interrupt)
{
    if (sup->state < DRAINING)
        drain(sup);
    else if (sup->state == DRAINING && interrupt)
        stop_now(sup);
}

/* The time of the state is over. */
static void on_due(struct supervisor *sup)
{
    tg_log(TG_LOG_ERROR, "supervisor", "gateway process %d does not end and is killed",
           (int)sup->pid);
    kill(sup->pid, SIGKILL);
    if (sup->state == DRAINING)
        set_state(sup, STOPPING, NEVER);
    else
        sup->due = NEVER;
}

/* ---- Reload ------------------------------------------------------------------------------------
 */

/* Tells the gateway process of a candidate that it never saw. */
static void tell_settled(struct supervisor *sup)
{
    struct tg_candidate *c = &sup->candidate;
    struct tg_control_message message = {
        .type = TG_CONTROL_SETTLED, .order = c->order, .outcome = c->outcome, .err = c->err};
    int notes = tg_candidate_notes(c);
    if (sup->pid == 0)
        return;
    if (notes >= 0)
        message.fds[message.fd_count++] = notes;
    tg_control_set_text(&message, tg_str_c(c->reason));
    enum tg_err err = tg_control_send(sup->control[0], &message);
    if (err != TG_OK)
        tg_log(TG_LOG_ERROR, "supervisor",
               "the gateway process does not hear what became of a "
               "reload: %s",
               tg_err_text(err));
}

/* The candidate is what the gateway runs on from now. */
static void accept_candidate(struct supervisor *sup)
{
    struct tg_candidate *c = &sup->candidate;
    tg_sockets_announce(&sup->sockets, c->snapshot);
    tg_listen_set_commit(&sup->sockets);
    tg_snapshot_unref(&sup->good);
    sup->good = c->snapshot;
    c->snapshot = NULL;
    tg_revisions_add(&sup->revisions, c->number, c->origin, c->sources);
    sup->quick_deaths = 0;
    tg_log_set_level(sup->good->settings.log_level);
    if (tg_sockets_workers(sup->good) != sup->workers)
        tg_log(TG_LOG_WARN, "supervisor",
               "settings.workers is %u now; the %u workers of the start stay until the next start",
               tg_sockets_workers(sup->good), sup->workers);
}

/* The candidate is decided: which files are watched from here on. What is refused leaves those of
 * the configuration in force, unless it waits for a change that mends it. */
static void follow_files(struct supervisor *sup)
{
    const struct tg_candidate *c = &sup->candidate;
    bool waits = sup->dev || c->order.kind == TG_ORDER_CERTIFICATES; /* else SIGHUP tells */
    if (sup->files == NULL || c->sources == NULL || c->order.kind == TG_ORDER_DRY_RUN ||
        (c->outcome == TG_OUTCOME_REFUSED && !waits))
        return;
    tg_watch_files_set(sup->files, c->sources, c->origin != 0);
    sup->certificates = false; /* it looks at them once more */
}

/* The gateway process has taken the candidate, or would; or it has not, for `reason`. */
static void settle_candidate(struct supervisor *sup, enum tg_err err, const char *reason)
{
    struct tg_candidate *c = &sup->candidate;
    bool dry = c->order.kind == TG_ORDER_DRY_RUN;
    if (err == TG_OK && !dry)
        accept_candidate(sup);
    else if (!dry)
        tg_listen_set_rollback(&sup->sockets);
    c->outcome = dry ? TG_OUTCOME_CHECKED : TG_OUTCOME_TAKEN;
    snprintf(c->reason, sizeof(c->reason), TG_CANDIDATE_VALID);
    if (err != TG_OK)
        tg_candidate_refuse(c, err, reason);
    log_candidate(sup);
    follow_files(sup);
    release_candidate(sup);
}

static enum tg_err send_reload(struct supervisor *sup)
{
    struct tg_candidate *c = &sup->candidate;
    struct tg_control_message message = {.type = TG_CONTROL_RELOAD,
                                         .id = sup->reload_id,
                                         .order = c->order,
                                         .revision = c->number,
                                         .origin = c->origin};
    int notes = tg_candidate_notes(c);
    enum tg_err err = tg_sources_send(c->sources, &message.fds[0]);
    if (err != TG_OK)
        return err;
    message.fd_count = 1;
    if (notes >= 0)
        message.fds[message.fd_count++] = notes;
    err = tg_control_send(sup->control[0], &message);
    close(message.fds[0]);
    return err;
}

/* Sends the candidate, or what the channel had no room for the last time, so that the gateway
 * process never keeps sockets that no RELOAD speaks of. One that is dying takes nothing more: its
 * end settles the candidate. */
static void send_candidate(struct supervisor *sup)
{
    struct tg_candidate *c = &sup->candidate;
    enum tg_err err = TG_OK;
    if (c->order.kind != TG_ORDER_DRY_RUN)
        err = tg_sockets_send(&sup->sockets, &sup->sent, sup->control[0]);
    if (err == TG_OK)
        err = send_reload(sup);
    sup->sending = err == TG_E_AGAIN || err == TG_E_CLOSED;
    if (err == TG_OK || sup->sending)
        return;
    tg_listen_set_rollback(&sup->sockets);
    tg_candidate_refuse(c, err, "the gateway process takes no orders");
}

/* Nobody has to change over: the next process begins with the candidate, and at once. */
static void take_candidate(struct supervisor *sup)
{
    settle_candidate(sup, TG_OK, "");
    set_state(sup, PAUSING, tg_clock_mono_now());
}

/* Evaluates what is ordered and opens its sockets; what is wrong goes to the log. */
static void make_candidate(struct supervisor *sup, const struct tg_order *order)
{
    struct tg_candidate *c = &sup->candidate;
    tg_candidate_make(c, sup->path, &sup->revisions, order);
    if (!c->decided && order->kind != TG_ORDER_DRY_RUN) {
        enum tg_err err = tg_sockets_open(&sup->sockets, c->snapshot, sup->workers, c->notes);
        if (err != TG_OK)
            tg_candidate_refuse_mistakes(c, err);
    }
    if (order->kind != TG_ORDER_DRY_RUN)
        tg_candidate_log(c);
}

/* The candidate is decided, and the gateway process has not heard of it. */
static void conclude(struct supervisor *sup)
{
    log_candidate(sup);
    tell_settled(sup);
    follow_files(sup);
    release_candidate(sup);
}

/* Sees to an order, of which there may be one at a time. */
static void obey(struct supervisor *sup, const struct tg_order *order)
{
    make_candidate(sup, order);
    sup->reload_id++;
    sup->sent = 0;
    if (!sup->candidate.decided && sup->pid != 0)
        send_candidate(sup);
    if (sup->candidate.decided)
        conclude(sup);
    else if (sup->pid == 0)
        take_candidate(sup);
}

/* Whatever was asked for while another candidate waited. */
static void go_on(struct supervisor *sup)
{
    while (!has_candidate(sup) && sup->state < DRAINING &&
           (sup->again || sup->certificates || sup->order.number != 0)) {
        struct tg_order order = {.kind = TG_ORDER_RELOAD};
        if (sup->again) {
            sup->again = sup->certificates = false; /* it reads everything */
        } else if (sup->certificates) {
            sup->certificates = false;
            order.kind = TG_ORDER_CERTIFICATES;
        } else {
            order = sup->order;
            sup->order.number = 0;
        }
        obey(sup, &order);
    }
}

/* The channel may have room again. */
static void send_the_rest(struct supervisor *sup)
{
    send_candidate(sup);
    if (!sup->candidate.decided)
        return;
    conclude(sup);
    go_on(sup);
}

static void reload(struct supervisor *sup)
{
    if (has_candidate(sup))
        tg_log(TG_LOG_INFO, "supervisor", "a reload is under way, another one follows it");
    sup->again = true;
    go_on(sup);
}

static void on_files_changed(struct supervisor *sup)
{
    if (sup->dev) {
        reload(sup);
        return;
    }
    tg_log(TG_LOG_INFO, "supervisor", "files of certificates have changed and are read anew");
    sup->certificates = true;
    go_on(sup);
}

static void on_reloaded(struct supervisor *sup, const struct tg_control_message *answer)
{
    if (!has_candidate(sup) || answer->id != sup->reload_id)
        return;
    settle_candidate(sup, answer->err, answer->text);
    go_on(sup);
}

/* ---- The loop ----------------------------------------------------------------------------------
 */

static void on_message(struct supervisor *sup, const struct tg_control_message *message)
{
    if (message->type == TG_CONTROL_RELOADED) {
        on_reloaded(sup, message);
    } else if (message->type == TG_CONTROL_ORDER) {
        sup->order = message->order; /* the keeper sends the next one after the answer */
        go_on(sup);
    } else if (message->type == TG_CONTROL_READY && sup->state == STARTING) {
        sup->ever_served = true;
        set_state(sup, SERVING, NEVER);
        tg_log(TG_LOG_INFO, "supervisor", "gateway process %d serves after %u ms", (int)sup->pid,
               (unsigned)((tg_clock_mono_now() - sup->started) / TG_USEC_PER_MSEC));
    }
}

static void read_messages(struct supervisor *sup)
{
    struct tg_control_message message;
    while (sup->control[0] >= 0 && tg_control_receive(sup->control[0], &message) == TG_OK) {
        tg_control_close_fds(&message); /* none is expected */
        on_message(sup, &message);
    }
}

static void read_signals(struct supervisor *sup)
{
    int signo;
    while ((signo = tg_signals_next(sup->signal_fd)) != 0) {
        if (signo == SIGTERM || signo == SIGINT)
            on_terminate(sup, signo == SIGINT);
        else if (signo == SIGHUP)
            reload(sup);
        else if (signo == SIGUSR1 && sup->pid != 0)
            give_order(sup, TG_CONTROL_REOPEN);
    }
}

/* Waits for something to happen, or for the time of the state; rounded up, or it would spin. */
static void wait_for_event(const struct supervisor *sup)
{
    struct pollfd fds[] = {
        {.fd = sup->signal_fd, .events = POLLIN},
        {.fd = sup->control[0], .events = (short)(sup->sending ? POLLIN | POLLOUT : POLLIN)},
        {.fd = tg_watch_files_fd(sup->files), .events = POLLIN}};
    int timeout = -1;
    uint64_t due = TG_MIN(sup->due, tg_watch_files_due(sup->files));
    if (due != NEVER) {
        uint64_t now = tg_clock_mono_now();
        uint64_t left = due > now ? due - now : 0;
        timeout = (int)TG_MIN((left + TG_USEC_PER_MSEC - 1) / TG_USEC_PER_MSEC, INT32_MAX);
    }
    poll(fds, TG_COUNT_OF(fds), timeout);
}

/* Returns when all is over; in the gateway process, when that is. */
static void supervise(struct supervisor *sup)
{
    while (sup->state != ENDED) {
        if (sup->state == PAUSING && tg_clock_mono_now() >= sup->due && start_gateway(sup))
            return;
        wait_for_event(sup);
        read_messages(sup);
        read_signals(sup);
        reap(sup);
        if (sup->sending)
            send_the_rest(sup);
        if (tg_watch_files_changed(sup->files, tg_clock_mono_now()))
            on_files_changed(sup);
        if (sup->state > SERVING && tg_clock_mono_now() >= sup->due)
            on_due(sup);
    }
}

/* Loads the first configuration; what is wrong goes to stderr. */
static int load_first(struct supervisor *sup)
{
    static const struct tg_order plain = {.kind = TG_ORDER_RELOAD};
    struct tg_candidate *c = &sup->candidate;
    tg_candidate_make(c, sup->path, &sup->revisions, &plain);
    tg_candidate_tell(c);
    if (c->decided) {
        tg_candidate_release(c);
        return TG_EXIT_CONFIG;
    }
    sup->good = c->snapshot;
    c->snapshot = NULL;
    tg_revisions_add(&sup->revisions, c->number, 0, c->sources);
    enum tg_err err = tg_watch_files_new(sup->dev ? TG_SOURCES_ALL : TG_SOURCES_PEM, &sup->files);
    if (err == TG_OK)
        tg_watch_files_set(sup->files, c->sources, false);
    tg_candidate_release(c);
    if (err == TG_OK)
        return TG_EXIT_OK;
    fprintf(stderr, "tidegate: cannot watch files: %s\n", strerror(errno));
    return sup->dev ? TG_EXIT_SYSTEM : TG_EXIT_OK;
}

/* The first configuration and its sockets; TG_EXIT_OK, or the exit status. */
static int prepare(struct supervisor *sup)
{
    int status = load_first(sup);
    if (status != TG_EXIT_OK)
        return status;
    sup->workers = tg_sockets_workers(sup->good);
    /* first the signals: who sees that we listen may send one */
    if (tg_signals_watch(&sup->signal_fd) != TG_OK) {
        fprintf(stderr, "tidegate: cannot watch signals: %s\n", strerror(errno));
        return TG_EXIT_SYSTEM;
    }
    if (tg_sockets_open(&sup->sockets, sup->good, sup->workers, stderr) != TG_OK)
        return TG_EXIT_SYSTEM;
    tg_log_set_level(sup->good->settings.log_level);
    tg_sockets_announce(&sup->sockets, sup->good);
    tg_listen_set_commit(&sup->sockets);
    return TG_EXIT_OK;
}

int tg_supervisor_run(const char *path, bool dev)
{
    struct supervisor sup = {
        .path = path, .state = PAUSING, .signal_fd = -1, .control = {-1, -1}, .dev = dev};
    tg_listen_set_init(&sup.sockets);
    sup.exit_status = prepare(&sup);
    if (sup.exit_status == TG_EXIT_OK)
        supervise(&sup);
    supervisor_release(&sup);
    return sup.exit_status;
}
