/* boot.c: the keeper: the gateway process's first thread. It starts what the process needs, reads
 * orders from the control channel in a loop of its own, and ends everything in the reverse order.
 *
 * While a reload is under way no further order is read: the set of sockets is being used.
 *
 * The keeper has what a worker has but a thread: a loop, a slab and metric cells. The admin
 * listener, the checks of origins and what certificates need live on them. */
#include "base/banned.h"
#include "cli/boot.h"

#include "admin/admin.h"
#include "base/assert.h"
#include "bind/bind.h"
#include "cli/command.h"
#include "cli/control.h"
#include "cli/crew.h"
#include "cli/reload.h"
#include "cli/sockets.h"
#include "event/worker.h"
#include "gateway/certificates.h"
#include "gateway/checks.h"
#include "gateway/gate.h"
#include "observe/instrument.h"
#include "observe/metrics.h"
#include "observe/sink.h"
#include "store/sweeper.h"

#include <unistd.h>

#define NOTES_SHOWN 65536 /* bytes of what an evaluation printed, for who asked for it */

struct keeper {
    struct tg_boot *boot;
    struct tg_worker self; /* without a thread: the keeper's own */
    struct tg_metrics *metrics;
    struct tg_crew *crew;
    struct tg_admin *admin;
    struct tg_checker *checker;
    struct tg_certificates *certificates;
    struct tg_dns *dns; /* for names of targets that are checked */
    struct tg_resolver *resolver;
    struct tg_checks checks;
    ev_io orders;
    struct tg_timer drain_timer;
    ev_async reaper;             /* snapshots wait to be freed */
    struct tg_sweeper sweeper;   /* of the workers' zones */
    struct tg_snapshot *current; /* one reference */
    struct tg_reload reload;     /* that is under way */
    bool serving;                /* the first configuration is in force */
    bool draining;
    enum tg_err failed; /* why it never was */
    pid_t parent;
    char why[TG_CONTROL_TEXT_MAX]; /* it cannot start; "" */
};

/* ---- Orders ------------------------------------------------------------------------------------
 */

static void drain(struct keeper *k)
{
    uint64_t timeout = k->current->settings.limits.drain_timeout;
    if (!k->draining && getppid() != k->parent && !k->boot->single)
        tg_log(TG_LOG_ERROR, "boot", "the supervisor is gone: open requests have %u ms to end",
               (unsigned)(timeout / TG_USEC_PER_MSEC));
    if (!k->draining)
        tg_timer_set(&k->drain_timer, tg_loop_now(&k->self.loop) + TG_MAX(timeout, 1));
    k->draining = true;
    tg_admin_set_state(k->admin, TG_ADMIN_DRAINING);
    tg_crew_drain(k->crew);
}

static void on_drain_timeout(struct tg_timer *timer)
{
    struct keeper *k = TG_CONTAINER_OF(timer, struct keeper, drain_timer);
    tg_limit_hit(drain_timeout);
    tg_log(TG_LOG_WARN, "boot", "requests are still open after limits.connection.drain_timeout");
    tg_crew_stop(k->crew);
}

/* ---- Reloads -----------------------------------------------------------------------------------
 */

static void set_gauge(struct keeper *k, enum tg_metric_id id, uint64_t value)
{
    tg_metric_add(k->self.cells, id, value - tg_metrics_read(k->metrics, id));
}

static void note_revision(struct keeper *k)
{
    const struct tg_revision *now = tg_revisions_newest(k->boot->revisions);
    set_gauge(k, TG_METRIC_REVISION, now->number);
    set_gauge(k, TG_METRIC_REVISION_SINCE, now->since / TG_USEC_PER_SEC);
}

/* Counts what became of an order, and tells who asked for it. */
static void note_outcome(struct keeper *k, const struct tg_settlement *settled)
{
    static const enum tg_metric_id counters[TG_OUTCOMES] = {
        [TG_OUTCOME_REFUSED] = TG_METRIC_RELOADS_BAD,
        [TG_OUTCOME_TAKEN] = TG_METRIC_RELOADS_GOOD,
        [TG_OUTCOME_UNCHANGED] = TG_METRIC_RELOADS_UNCHANGED,
    };
    if (settled->order.kind != TG_ORDER_DRY_RUN)
        tg_metric_inc(k->self.cells, counters[settled->outcome]);
    note_revision(k);
    tg_admin_settle(k->admin, settled);
}

/* What is in force from here on counts against settings.memory. */
static void apply_budget(const struct keeper *k)
{
    const struct tg_budget *budget = &k->current->settings.budget;
    tg_budget_set(budget);
    for (int i = 0; i < TG_BUDGET_PARTS && budget->total != 0; i++) {
        enum tg_budget_part part = (enum tg_budget_part)i;
        uint64_t used = tg_budget_used(part), share = tg_budget_bytes(budget, part);
        if (used > share)
            tg_log(TG_LOG_WARN, "memory",
                   "%s already holds %llu KiB, more than its share of settings.memory (%llu KiB): "
                   "enlarge shares.%s",
                   tg_budget_info(part)->field, (unsigned long long)used >> 10,
                   (unsigned long long)share >> 10, tg_budget_info(part)->field);
    }
}

/* All is changed over, or put back. */
static void end_reload(struct keeper *k)
{
    char room[NOTES_SHOWN];
    struct tg_candidate *c = &k->reload.candidate;
    struct tg_settlement settled = {.order = c->order, .outcome = c->outcome, .reason = c->reason};
    settled.notes = tg_reload_read_notes(tg_candidate_notes(c), room, sizeof(room));
    tg_reload_answer(&k->reload, k->boot);
    note_outcome(k, &settled);
    tg_reload_end(&k->reload);
    ev_io_start(k->self.loop.ev, &k->orders);
}

/* The workers have prepared and, unless it is a dry run, taken the candidate; or could not. */
static void on_changed_over(struct keeper *k, enum tg_err err, const char *reason)
{
    struct tg_candidate *c = &k->reload.candidate;
    if (err == TG_OK && c->order.kind != TG_ORDER_DRY_RUN) {
        tg_reload_commit(&k->reload, k->boot);
        tg_admin_commit(k->admin, c->snapshot);
        tg_checks_follow(&k->checks, c->snapshot);
        tg_certificates_follow(k->certificates, c->snapshot);
        tg_snapshot_unref(&k->current);
        k->current = tg_snapshot_ref(c->snapshot);
        apply_budget(k);
    } else {
        tg_reload_drop(&k->reload, k->boot);
        tg_admin_rollback(k->admin);
        c->decided = true;
        c->outcome = TG_OUTCOME_CHECKED;
        snprintf(c->reason, sizeof(c->reason), TG_CANDIDATE_VALID);
    }
    if (err != TG_OK)
        tg_candidate_refuse(c, err, reason);
    end_reload(k);
}

/* Opens the admin listener that `snapshot` asks for; on failure `reason` tells. */
static enum tg_err prepare_admin(struct keeper *k, const struct tg_snapshot *snapshot,
                                 char reason[TG_CONTROL_TEXT_MAX])
{
    char problem[TG_LISTEN_REASON_MAX];
    enum tg_err err = tg_admin_prepare(k->admin, snapshot, problem);
    if (err != TG_OK)
        snprintf(reason, TG_CONTROL_TEXT_MAX, "settings.admin: %s", problem);
    return err;
}

static void reload(struct keeper *k, struct tg_control_message *message)
{
    char reason[TG_CONTROL_TEXT_MAX] = "";
    struct tg_candidate *c = &k->reload.candidate;
    bool dry = message->order.kind == TG_ORDER_DRY_RUN;
    ev_io_stop(k->self.loop.ev, &k->orders);
    tg_reload_prepare(&k->reload, k->boot, message, k->current);
    if (!c->decided && !dry) {
        enum tg_err err = prepare_admin(k, c->snapshot, reason);
        if (err != TG_OK)
            tg_candidate_refuse(c, err, reason);
    }
    if (!c->decided) {
        tg_crew_reload(k->crew, c->snapshot, !dry);
        return;
    }
    tg_reload_drop(&k->reload, k->boot);
    end_reload(k);
}

/* A process that ends changes over to nothing: its workers may be gone, and must accept no more.
 * Its end is the answer. */
static void ignore_reload(struct tg_control_message *message)
{
    tg_control_close_fds(message);
    tg_log(TG_LOG_WARN, "reload", "the gateway process ends, and reads no configuration any more");
}

/* What somebody asks for through the admin listener; false when that cannot be passed on. */
static bool on_order(void *arg, const struct tg_order *order)
{
    struct keeper *k = arg;
    struct tg_control_message message = {.type = TG_CONTROL_ORDER, .order = *order};
    if (!k->serving || k->draining || (k->boot->single && k->reload.running))
        return false;
    if (!k->boot->single)
        return tg_control_send(k->boot->control_fd, &message) == TG_OK;
    reload(k, &message);
    return true;
}

static void on_settled(struct keeper *k, struct tg_control_message *message)
{
    char room[NOTES_SHOWN];
    int fd = message->fd_count > 0 ? message->fds[0] : -1;
    struct tg_settlement settled = {.order = message->order,
                                    .outcome = message->outcome,
                                    .reason = message->text,
                                    .notes = tg_reload_read_notes(fd, room, sizeof(room))};
    tg_control_close_fds(message);
    note_outcome(k, &settled);
}

static void on_dead_snapshots(struct ev_loop *ev, ev_async *w, int events)
{
    (void)ev;
    (void)w;
    (void)events;
    tg_snapshot_reap();
}

/* From the thread that dropped the last reference. */
static void wake_reaper(void *arg)
{
    struct keeper *k = arg;
    ev_async_send(k->self.loop.ev, &k->reaper);
}

/* The configuration that the process began with is in force, or will never be. */
static void begin_serving(struct keeper *k, enum tg_err err, const char *reason)
{
    k->failed = err;
    if (err == TG_OK) {
        k->serving = true;
        tg_checks_follow(&k->checks, k->current);
        tg_certificates_follow(k->certificates, k->current);
        apply_budget(k);
        tg_admin_set_state(k->admin, TG_ADMIN_READY);
        ev_io_start(k->self.loop.ev, &k->orders);
        tg_control_ready(k->boot->control_fd);
        return;
    }
    tg_log(TG_LOG_ERROR, "boot", "cannot start: %s", reason);
    tg_crew_stop(k->crew);
}

static void on_reloaded(void *arg, enum tg_err err, const char *reason)
{
    struct keeper *k = arg;
    if (k->serving)
        on_changed_over(k, err, reason);
    else
        begin_serving(k, err, reason);
}

/* Whoever connects from now on is refused, instead of waiting in a queue that nobody empties. */
static void on_quiet(void *arg)
{
    struct keeper *k = arg;
    tg_listen_set_release(k->boot->sockets);
}

static void on_ended(void *arg)
{
    struct keeper *k = arg;
    tg_loop_stop(&k->self.loop);
}

static const struct tg_crew_events crew_events = {
    .on_reloaded = on_reloaded,
    .on_quiet = on_quiet,
    .on_ended = on_ended,
};

static void obey(struct keeper *k, struct tg_control_message *message)
{
    switch (message->type) {
    case TG_CONTROL_DRAIN:
        drain(k);
        break;
    case TG_CONTROL_STOP:
        tg_crew_stop(k->crew);
        break;
    case TG_CONTROL_REOPEN:
        tg_sink_reopen_all();
        break;
    case TG_CONTROL_SOCKETS:
        tg_sockets_receive(k->boot, message);
        break;
    case TG_CONTROL_RELOAD:
        if (k->draining)
            ignore_reload(message);
        else
            reload(k, message);
        break;
    case TG_CONTROL_SETTLED:
        on_settled(k, message);
        break;
    default:
        tg_log(TG_LOG_WARN, "boot", "unexpected order %s", tg_control_name(message->type));
        break;
    }
}

static void on_orders(struct ev_loop *ev, ev_io *w, int events)
{
    struct keeper *k = w->data;
    struct tg_control_message message;
    enum tg_err err = TG_OK;
    (void)events;
    while (ev_is_active(w) && err != TG_E_AGAIN) {
        err = tg_control_receive(w->fd, &message);
        if (err == TG_OK) {
            obey(k, &message);
        } else if (err == TG_E_PROTOCOL) {
            tg_log(TG_LOG_WARN, "boot", "an order that is none");
        } else if (err != TG_E_AGAIN) {
            ev_io_stop(ev, w);
            drain(k);
        }
    }
}

/* ---- Start and end -----------------------------------------------------------------------------
 */

static void ask_crew(void *arg, void (*visit)(void *of, struct tg_gate *gate),
                     void (*done)(void *of), void *of)
{
    struct keeper *k = arg;
    tg_crew_ask(k->crew, visit, done, of);
}

/* It answers from here on, before anything is served. */
static enum tg_err start_admin(struct keeper *k)
{
    struct tg_admin_options options = {.worker = &k->self,
                                       .metrics = k->metrics,
                                       .workers = k->boot->workers,
                                       .revisions = k->boot->revisions,
                                       .ask = ask_crew,
                                       .order = on_order,
                                       .arg = k};
    enum tg_err err = tg_admin_new(&options, &k->admin);
    if (err != TG_OK)
        return err;
    err = prepare_admin(k, k->current, k->why);
    if (err == TG_OK)
        tg_admin_commit(k->admin, k->current);
    return err;
}

static enum tg_err start_checker(struct keeper *k)
{
    struct tg_registry *registry = tg_crew_gateway(k->crew)->registry;
    tg_admin_set_registry(k->admin, registry);
    k->checker = tg_checker_new(&k->self, registry, NULL);
    k->dns = tg_dns_new(&k->self);
    if (k->dns != NULL)
        k->resolver =
            tg_resolver_new(&k->self, tg_dns_source(k->dns), &k->current->settings.limits);
    if (k->resolver != NULL)
        k->certificates = tg_certificates_new(&k->self, k->dns, k->resolver);
    k->checks = (struct tg_checks){&k->self, registry, k->checker, k->dns, k->resolver, NULL, NULL};
    bool complete = k->checker != NULL && k->resolver != NULL && k->certificates != NULL;
    return complete ? TG_OK : TG_E_NOMEM;
}

static enum tg_err start(struct keeper *k)
{
    k->metrics = tg_metrics_new(k->boot->workers + 1);
    if (k->metrics == NULL)
        return TG_E_NOMEM;
    struct tg_metric_cells *cells = tg_metrics_cells(k->metrics, k->boot->workers);
    enum tg_err err = tg_worker_init(&k->self, k->boot->workers, cells);
    if (err != TG_OK)
        return err;
    err = tg_timer_init(&k->drain_timer, &k->self.loop.timers, on_drain_timeout);
    if (err != TG_OK)
        return err;
    k->current = tg_snapshot_ref(k->boot->snapshot);
    ev_async_init(&k->reaper, on_dead_snapshots);
    ev_async_start(k->self.loop.ev, &k->reaper);
    tg_snapshot_reap_by(wake_reaper, k);
    note_revision(k);
    tg_metric_add(cells, TG_METRIC_RESTARTS, k->boot->restarts);
    ev_io_init(&k->orders, on_orders, k->boot->control_fd, EV_READ);
    k->orders.data = k;
    err = start_admin(k);
    if (err == TG_OK)
        err = tg_crew_new(k->boot, &k->self.loop, k->metrics, &crew_events, k, &k->crew);
    if (err == TG_OK)
        err = tg_sweeper_init(&k->sweeper, &k->self.loop, tg_crew_gateway(k->crew)->zones);
    if (err == TG_OK)
        err = start_checker(k);
    if (err == TG_OK)
        tg_crew_reload(k->crew, k->current, true);
    else if (k->crew != NULL)
        tg_crew_stop(k->crew);
    return err;
}

static void end(struct keeper *k)
{
    tg_certificates_free(&k->certificates);
    tg_checks_release(&k->checks);
    tg_checker_free(&k->checker);
    tg_resolver_free(&k->resolver);
    tg_dns_free(&k->dns);
    tg_sweeper_release(&k->sweeper);
    tg_crew_free(&k->crew);
    tg_admin_free(&k->admin);
    tg_reload_end(&k->reload);
    tg_snapshot_unref(&k->current);
    tg_snapshot_reap_by(NULL, NULL);
    tg_snapshot_reap();
    if (k->self.loop.ev != NULL) {
        ev_async_stop(k->self.loop.ev, &k->reaper);
        ev_io_stop(k->self.loop.ev, &k->orders);
        tg_timer_release(&k->drain_timer);
        tg_worker_release(&k->self);
    }
    tg_metrics_free(&k->metrics);
    tg_instruments_release();
}

static int serve(struct tg_boot *boot)
{
    struct keeper k = {.boot = boot, .parent = getppid()};
    enum tg_err err = start(&k);
    if (err == TG_OK)
        tg_loop_run(&k.self.loop);
    else
        tg_log(TG_LOG_ERROR, "boot", "cannot start: %s",
               k.why[0] != '\0' ? k.why : tg_err_text(err));
    end(&k);
    if (err != TG_OK)
        return TG_EXIT_SYSTEM;
    return k.failed == TG_OK ? TG_EXIT_OK : TG_EXIT_CONFIG;
}

int tg_boot_run(struct tg_boot *boot)
{
    struct tg_sink *log = NULL;
    tg_bind_install();
    if (tg_sink_thread_start() != TG_OK ||
        tg_sink_open("stderr", (size_t)boot->snapshot->settings.limits.log_queue, &log) != TG_OK) {
        tg_log(TG_LOG_ERROR, "boot", "cannot start the log's thread");
        return TG_EXIT_SYSTEM;
    }
    tg_log_to(log);
    int status = serve(boot);
    tg_log_to(NULL);
    tg_sink_close(&log);
    tg_sink_thread_stop(TG_SINK_CLOSE_TIMEOUT);
    return status;
}
