/* boot.c: the keeper: the gateway process's first thread. It starts what the process needs, reads
 * orders from the control channel in a loop of its own, and ends everything in the reverse order.
 *
 * While a reload is under way no further order is read: the set of sockets is being used. */
#include "base/banned.h"
#include "cli/boot.h"

#include "base/assert.h"
#include "bind/bind.h"
#include "cli/command.h"
#include "cli/control.h"
#include "cli/crew.h"
#include "cli/reload.h"
#include "cli/sockets.h"
#include "observe/instrument.h"
#include "observe/metrics.h"
#include "observe/sink.h"

struct keeper {
    struct tg_boot *boot;
    struct tg_loop loop;
    struct tg_metrics *metrics;
    struct tg_crew *crew;
    ev_io orders;
    struct tg_timer drain_timer;
    struct tg_snapshot *current; /* one reference */
    struct tg_snapshot *coming;  /* of the reload under way */
    uint32_t reload_id;
    bool serving;       /* the first configuration is in force */
    enum tg_err failed; /* why it never was */
};

/* ---- Orders ------------------------------------------------------------------------------------
 */

static void drain(struct keeper *k)
{
    uint64_t timeout = k->current->settings.limits.drain_timeout;
    if (k->drain_timer.deadline == 0)
        tg_timer_set(&k->drain_timer, tg_loop_now(&k->loop) + TG_MAX(timeout, 1));
    tg_crew_drain(k->crew);
}

static void on_drain_timeout(struct tg_timer *timer)
{
    struct keeper *k = TG_CONTAINER_OF(timer, struct keeper, drain_timer);
    tg_limit_hit(drain_timeout);
    tg_log(TG_LOG_WARN, "boot", "requests are still open after limits.connection.drain_timeout");
    tg_crew_stop(k->crew);
}

static void count_reload(struct keeper *k, enum tg_err err)
{
    struct tg_metric_cells *cells = tg_metrics_cells(k->metrics, k->boot->workers);
    tg_metric_inc(cells, err == TG_OK ? TG_METRIC_RELOADS_GOOD : TG_METRIC_RELOADS_BAD);
}

static void end_reload(struct keeper *k, enum tg_err err, const char *reason)
{
    if (err == TG_OK) {
        tg_listen_set_commit(k->boot->sockets);
        tg_snapshot_unref(&k->current);
        k->current = k->coming;
        k->coming = NULL;
        tg_log_set_level(k->current->settings.log_level);
    } else if (k->coming != NULL) {
        tg_listen_set_rollback(k->boot->sockets);
        tg_snapshot_unref(&k->coming);
    }
    count_reload(k, err);
    tg_reload_answer(k->boot, k->reload_id, k->current, err, reason);
    ev_io_start(k->loop.ev, &k->orders);
}

static void reload(struct keeper *k, uint32_t id)
{
    char reason[TG_CONTROL_TEXT_MAX] = "";
    k->reload_id = id;
    ev_io_stop(k->loop.ev, &k->orders);
    enum tg_err err = tg_reload_prepare(k->boot, &k->coming, reason);
    if (err != TG_OK) {
        k->coming = NULL;
        end_reload(k, err, reason);
        return;
    }
    tg_crew_reload(k->crew, k->coming);
}

/* The configuration that the process began with is in force, or will never be. */
static void begin_serving(struct keeper *k, enum tg_err err, const char *reason)
{
    k->failed = err;
    if (err == TG_OK) {
        k->serving = true;
        ev_io_start(k->loop.ev, &k->orders);
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
        end_reload(k, err, reason);
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
    tg_loop_stop(&k->loop);
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
        reload(k, message->id);
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

static enum tg_err start(struct keeper *k)
{
    enum tg_err err = tg_loop_init(&k->loop);
    if (err != TG_OK)
        return err;
    err = tg_timer_init(&k->drain_timer, &k->loop.timers, on_drain_timeout);
    if (err != TG_OK)
        return err;
    k->metrics = tg_metrics_new(k->boot->workers + 1);
    if (k->metrics == NULL)
        return TG_E_NOMEM;
    k->current = tg_snapshot_ref(k->boot->snapshot);
    ev_io_init(&k->orders, on_orders, k->boot->control_fd, EV_READ);
    k->orders.data = k;
    err = tg_crew_new(k->boot, &k->loop, k->metrics, &crew_events, k, &k->crew);
    if (err == TG_OK)
        tg_crew_reload(k->crew, k->current);
    return err;
}

static void end(struct keeper *k)
{
    tg_crew_free(&k->crew);
    tg_metrics_free(&k->metrics);
    tg_instruments_release();
    tg_snapshot_unref(&k->coming);
    tg_snapshot_unref(&k->current);
    if (k->loop.ev == NULL)
        return;
    ev_io_stop(k->loop.ev, &k->orders);
    tg_timer_release(&k->drain_timer);
    tg_loop_release(&k->loop);
}

static int serve(struct tg_boot *boot)
{
    struct keeper k = {.boot = boot};
    enum tg_err err = start(&k);
    if (err == TG_OK)
        tg_loop_run(&k.loop);
    else
        tg_log(TG_LOG_ERROR, "boot", "cannot start: %s", tg_err_text(err));
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
