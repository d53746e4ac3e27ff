/* sockets.c: between the listeners of a configuration and the sockets of net/listen.h. Runs at
 * start and on reload only, in the thread that calls. */
#include "base/banned.h"
#include "cli/sockets.h"

#include <sched.h>
#include <sys/resource.h>

/* CPUs that this process may run on; 1 when the system does not tell. */
static uint32_t usable_cpus(void)
{
    cpu_set_t cpus;
    if (sched_getaffinity(0, sizeof(cpus), &cpus) != 0)
        return 1;
    return (uint32_t)CPU_COUNT(&cpus);
}

uint32_t tg_sockets_workers(const struct tg_snapshot *snapshot)
{
    uint32_t asked = snapshot->settings.workers;
    uint32_t workers = asked != 0 ? asked : usable_cpus();
    return TG_MAX(1, TG_MIN(workers, TG_LISTEN_SOCKETS_MAX));
}

enum tg_err tg_sockets_open(struct tg_listen_set *set, const struct tg_snapshot *snapshot,
                            uint32_t workers, FILE *diagnostics)
{
    char reason[TG_LISTEN_REASON_MAX];
    enum tg_err result = TG_OK;
    for (uint32_t i = 0; i < snapshot->listener_count; i++) {
        const struct tg_listener_conf *conf = &snapshot->listeners[i];
        enum tg_err err = tg_listen_set_open(set, conf->address, &conf->addr, workers, reason);
        if (err == TG_OK)
            continue;
        fprintf(diagnostics, "tidegate: listener %.*s: %s\n", TG_STR_ARG(conf->name), reason);
        result = err;
    }
    if (result != TG_OK)
        tg_listen_set_rollback(set);
    return result;
}

/* Each client may need a descriptor, and each request one to its origin. What a limit on open files
 * refuses looks like an origin that is down, so it is told before. */
static void warn_of_descriptors(const struct tg_snapshot *snapshot)
{
    struct rlimit limit;
    uint64_t clients = snapshot->settings.limits.connections;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < clients)
        tg_log(
            TG_LOG_WARN, "listen",
            "at most %llu files may be open, fewer than the %llu of limits.connection.total: raise "
            "LimitNOFILE= or `ulimit -Hn`, or lower the limit",
            (unsigned long long)limit.rlim_cur, (unsigned long long)clients);
}

void tg_sockets_announce(const struct tg_listen_set *set, const struct tg_snapshot *snapshot)
{
    char room[TG_ADDR_TEXT_MAX];
    for (uint32_t i = 0; i < snapshot->listener_count; i++) {
        const struct tg_listener_conf *conf = &snapshot->listeners[i];
        const struct tg_listen *listen = tg_listen_set_find(set, conf->address);
        if (listen != NULL && listen->added)
            tg_log(TG_LOG_INFO, "listen", "listening on %s (listener %.*s)",
                   listen->addr.len > 0 ? tg_addr_text(&listen->addr, room).p : listen->key,
                   TG_STR_ARG(conf->name));
    }
    warn_of_descriptors(snapshot);
}

enum tg_err tg_sockets_send(const struct tg_listen_set *set, uint32_t *from, int control_fd)
{
    for (; *from < set->count; ++*from) {
        const struct tg_listen *listen = set->v[*from];
        if (!listen->added)
            continue;
        struct tg_control_message message = {.type = TG_CONTROL_SOCKETS, .fd_count = listen->count};
        memcpy(message.fds, listen->fds, listen->count * sizeof(*listen->fds));
        tg_control_set_text(&message, tg_str_c(listen->key));
        enum tg_err err = tg_control_send(control_fd, &message);
        if (err != TG_OK)
            return err;
    }
    return TG_OK;
}

void tg_sockets_receive(struct tg_boot *boot, struct tg_control_message *message)
{
    enum tg_err err = tg_listen_set_adopt(boot->sockets, tg_str_c(message->text), message->fds,
                                          message->fd_count);
    message->fd_count = 0;
    if (err != TG_OK)
        tg_log(TG_LOG_ERROR, "listen", "the sockets of %s could not be taken over: %s",
               message->text, tg_err_text(err));
}

/* Names one listener; `problem` says in words what is missing otherwise. */
static enum tg_err fit_one(struct tg_boot *boot, const struct tg_listener_conf *conf,
                           char problem[TG_LISTEN_REASON_MAX])
{
    if (boot->single)
        return tg_listen_set_open(boot->sockets, conf->address, &conf->addr, boot->workers,
                                  problem);
    enum tg_err err = tg_listen_set_want(boot->sockets, conf->address);
    if (err != TG_OK)
        snprintf(
            problem, TG_LISTEN_REASON_MAX,
            "no sockets came for %.*s; if the file changed while it was read, reload once more",
            TG_STR_ARG(conf->address));
    return err;
}

enum tg_err tg_sockets_fit(struct tg_boot *boot, const struct tg_snapshot *snapshot,
                           char reason[TG_CONTROL_TEXT_MAX])
{
    char problem[TG_LISTEN_REASON_MAX];
    for (uint32_t i = 0; i < snapshot->listener_count; i++) {
        const struct tg_listener_conf *conf = &snapshot->listeners[i];
        enum tg_err err = fit_one(boot, conf, problem);
        if (err == TG_OK)
            continue;
        snprintf(reason, TG_CONTROL_TEXT_MAX, "listener %.*s: %s", TG_STR_ARG(conf->name), problem);
        return err;
    }
    return TG_OK;
}
