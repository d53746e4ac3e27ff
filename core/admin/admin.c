/* admin.c: see admin.h. Connections are client.c's. */
#include "base/banned.h"
#include "admin/internal.h"

#include "base/assert.h"
#include "event/worker.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPT_BATCH 8
#define ACCEPT_PAUSE (100 * TG_USEC_PER_MSEC)

static struct tg_loop *loop_of(const struct tg_admin *admin)
{
    return &admin->options.worker->loop;
}

/* ---- Accepting ---------------------------------------------------------------------------------
 */

static void admit(struct tg_admin *admin, int fd)
{
    if (admin->open >= admin->snapshot->settings.limits.admin_connections) {
        tg_limit_hit(admin_connections);
        close(fd);
        return;
    }
    if (tg_admin_client_open(admin, fd) != TG_OK)
        tg_log_every(1, TG_LOG_ERROR, "admin", "no memory for a connection to the admin listener");
}

static void on_acceptable(struct ev_loop *ev, ev_io *w, int events)
{
    struct tg_admin *admin = w->data;
    (void)events;
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            admit(admin, fd);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            tg_log_every(1, TG_LOG_ERROR, "admin", "cannot accept: %s; trying again",
                         strerror(errno));
            ev_io_stop(ev, w);
            tg_timer_set(&admin->pause, tg_loop_now(loop_of(admin)) + ACCEPT_PAUSE);
        }
        return;
    }
}

static void on_pause_over(struct tg_timer *timer)
{
    struct tg_admin *admin = TG_CONTAINER_OF(timer, struct tg_admin, pause);
    if (admin->door.fd >= 0)
        ev_io_start(loop_of(admin)->ev, &admin->io);
}

/* ---- The listener ------------------------------------------------------------------------------
 */

enum tg_err tg_admin_prepare(struct tg_admin *admin, const struct tg_snapshot *snapshot,
                             char reason[TG_LISTEN_REASON_MAX])
{
    struct tg_str wanted = snapshot->settings.admin_listen;
    struct tg_str now = {"", 0};
    tg_assert(!admin->changes);
    if (admin->snapshot != NULL)
        now = admin->snapshot->settings.admin_listen;
    if (tg_str_eq(wanted, now))
        return TG_OK;
    if (wanted.n > 0) {
        enum tg_err err = tg_admin_door_open(&admin->coming, wanted, reason);
        if (err != TG_OK)
            return err;
    }
    admin->changes = true;
    return TG_OK;
}

static void change_door(struct tg_admin *admin, struct tg_str listen)
{
    ev_io_stop(loop_of(admin)->ev, &admin->io);
    tg_admin_door_close(&admin->door);
    admin->door = admin->coming;
    admin->coming = TG_ADMIN_DOOR_CLOSED;
    if (admin->door.fd < 0)
        return;
    ev_io_set(&admin->io, admin->door.fd, EV_READ);
    ev_io_start(loop_of(admin)->ev, &admin->io);
    tg_log(TG_LOG_INFO, "admin", "the admin listener is on %.*s", TG_STR_ARG(listen));
}

void tg_admin_commit(struct tg_admin *admin, struct tg_snapshot *snapshot)
{
    if (admin->changes)
        change_door(admin, snapshot->settings.admin_listen);
    admin->changes = false;
    tg_snapshot_unref(&admin->snapshot);
    admin->snapshot = tg_snapshot_ref(snapshot);
}

void tg_admin_rollback(struct tg_admin *admin)
{
    tg_admin_door_close(&admin->coming);
    admin->changes = false;
}

/* ---- Orders ------------------------------------------------------------------------------------
 */

void tg_admin_settle(struct tg_admin *admin, const struct tg_settlement *settled)
{
    struct tg_admin_last *last = &admin->last;
    if (settled->order.kind != TG_ORDER_DRY_RUN) {
        last->at = loop_of(admin)->clock.real;
        last->outcome = settled->outcome;
        snprintf(last->reason, sizeof(last->reason), "%s", settled->reason);
    }
    if (settled->order.number == 0 || settled->order.number != admin->ordered)
        return;
    admin->ordered = 0;
    tg_admin_clients_settle(admin, settled);
}

/* ---- Life --------------------------------------------------------------------------------------
 */

void tg_admin_set_registry(struct tg_admin *admin, struct tg_registry *registry)
{
    admin->registry = registry;
}

void tg_admin_set_state(struct tg_admin *admin, enum tg_admin_state state)
{
    admin->state = state;
}

/* Its clients are few and known: what they may send is less than what the traffic's clients may. */
static void init_limits(struct tg_limits *limits)
{
    tg_limits_init(limits);
    limits->request_headers = 8192;
    limits->request_header_count = 64;
    limits->request_target = 1024;
    limits->request_body = 65536; /* read for nobody */
}

enum tg_err tg_admin_new(const struct tg_admin_options *options, struct tg_admin **out)
{
    struct tg_admin *admin = tg_mem_zalloc(TG_MEM_OTHER, 1, sizeof(*admin));
    if (admin == NULL)
        return TG_E_NOMEM;
    admin->options = *options;
    admin->door = TG_ADMIN_DOOR_CLOSED;
    admin->coming = TG_ADMIN_DOOR_CLOSED;
    admin->started = tg_loop_now(loop_of(admin));
    init_limits(&admin->limits);
    tg_accounting_init(&admin->accounting);
    tg_list_init(&admin->clients);
    ev_init(&admin->io, on_acceptable);
    admin->io.data = admin;
    enum tg_err err = tg_timer_init(&admin->pause, &loop_of(admin)->timers, on_pause_over);
    if (err != TG_OK) {
        tg_mem_free(TG_MEM_OTHER, admin);
        return err;
    }
    *out = admin;
    return TG_OK;
}

void tg_admin_free(struct tg_admin **adminp)
{
    struct tg_admin *admin = *adminp;
    if (admin == NULL)
        return;
    *adminp = NULL;
    ev_io_stop(loop_of(admin)->ev, &admin->io);
    tg_timer_release(&admin->pause);
    tg_admin_clients_close(admin);
    tg_loop_run_deferred(loop_of(admin));
    tg_admin_door_close(&admin->coming);
    tg_admin_door_close(&admin->door);
    tg_census_free(&admin->census);
    tg_snapshot_unref(&admin->snapshot);
    tg_mem_free(TG_MEM_OTHER, admin);
}
