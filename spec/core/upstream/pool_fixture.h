/*
 * Pools of two workers on a clock that the test turns, in a world without a network.
 *
 * Include it after upstream/pool.h. Connections are leased with lease() and returned with
 * give_back(); what a test leaves leased is returned at its end, and what pools log is in `logged`.
 */
#ifndef TG_SPEC_POOL_FIXTURE_H
#define TG_SPEC_POOL_FIXTURE_H

#include "http/h1_client.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "support.h"

#include <sys/socket.h>

#define SEC     TG_USEC_PER_SEC
#define MIN     (60 * SEC)
#define WORKERS 2

static struct tg_metrics *metrics;
static struct tg_worker workers[WORKERS];
static struct tg_pool *pools[WORKERS];
static struct tg_registry *registry;
static struct tg_fleet *fleet;
static struct tg_origin *origin;
static struct tg_addr addr;
static struct tg_pool_conf conf;
static char logged[4096];
static unsigned turns;
static struct tg_pool_waiter waiter;
static int waiter_worker; /* whose pool it waits in */

/* What is leased, so that a test that fails leaves nothing behind. */
static struct {
    struct tg_call *client;
    int worker;
} leases[TG_POOL_SITES_MAX + 10];
static unsigned lease_count;

/* ---- A world without a network ---- */

/* The far end is closed at once: nothing here waits for an answer, and the loop does not look. */
static enum tg_err dial(void *arg, struct tg_h1_client *client, const struct tg_addr *to,
                        uint64_t timeout, const struct tg_call_events *events, void *owner)
{
    int fds[2];
    (void)to, (void)timeout;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    close(fds[1]);
    return tg_h1_client_open_fd(client, arg, fds[0], events, owner);
}

static void on_connected(struct tg_call *client)
{
    const char *reason;
    assert_int_equal(tg_pool_note_connected(client->owner, &client, &conf, &reason), TG_OK);
}

static void on_failed(struct tg_call *client, enum tg_err err, const char *reason)
{
    (void)client, (void)err, (void)reason;
    fail();
}

static const struct tg_call_events events = {.on_connected = on_connected, .on_failed = on_failed};

static void on_line(void *arg, enum tg_log_level level, const char *component,
                    struct tg_str message, const struct tg_log_field *fields, size_t count)
{
    size_t n = strlen(logged);
    (void)arg, (void)level;
    n += (size_t)snprintf(logged + n, sizeof(logged) - n, "%s: %.*s", component,
                          TG_STR_ARG(message));
    for (size_t i = 0; i < count && n < sizeof(logged); i++)
        n += (size_t)snprintf(logged + n, sizeof(logged) - n, " %s=%.*s", fields[i].key,
                              TG_STR_ARG(fields[i].text));
}

static const struct tg_log_tap tap = {.on_line = on_line};

static void on_turn(struct tg_pool_waiter *w)
{
    turns += w == &waiter;
}

static TG_UNUSED void move(uint64_t us)
{
    for (int i = 0; i < WORKERS; i++) {
        struct tg_loop *loop = &workers[i].loop;
        tg_clock_advance(&loop->clock, us);
        tg_timers_tick(&loop->timers, loop->clock.mono);
        tg_loop_run_deferred(loop);
    }
}

/* In small steps, so that timers come in their turn. */
static TG_UNUSED void pass(uint64_t us, uint64_t step)
{
    for (uint64_t at = 0; at < us; at += step)
        move(step);
}

static TG_UNUSED int begin(void **state)
{
    static struct tg_pool_dialer dialers[WORKERS];
    (void)state;
    metrics = tg_metrics_new(WORKERS);
    registry = tg_registry_new();
    if (metrics == NULL || registry == NULL || tg_addr_parse(TG_STR("10.0.0.1:80"), &addr) != TG_OK)
        return -1;
    for (unsigned i = 0; i < WORKERS; i++) {
        if (tg_worker_init(&workers[i], i, tg_metrics_cells(metrics, i)) != TG_OK)
            return -1;
        tg_clock_init_fake(&workers[i].loop.clock, 100 * SEC);
        pools[i] = tg_pool_new(&workers[i]);
        if (pools[i] == NULL)
            return -1;
        dialers[i] = (struct tg_pool_dialer){dial, &workers[i]};
        tg_pool_set_dialer(pools[i], &dialers[i]);
    }
    fleet = tg_fleet_ref(registry, TG_STR("orders"));
    origin = fleet != NULL ? tg_origin_ref(fleet, TG_STR("10.0.0.1:80"), &addr, 1) : NULL;
    conf = (struct tg_pool_conf){
        .max_idle = 64, .max_waiting = 10, .wait = SEC, .idle_timeout = 24 * 60 * MIN};
    logged[0] = '\0';
    turns = 0;
    lease_count = 0;
    waiter = (struct tg_pool_waiter){.on_turn = on_turn};
    tg_log_tap(&tap);
    return origin != NULL ? 0 : -1;
}

static TG_UNUSED int end(void **state)
{
    uint64_t now = tg_loop_now(&workers[0].loop);
    (void)state;
    if (waiter.site != NULL)
        tg_pool_leave(pools[waiter_worker], &waiter);
    for (; lease_count > 0; lease_count--)
        tg_pool_return(pools[leases[lease_count - 1].worker], &leases[lease_count - 1].client,
                       &conf);
    for (int i = 0; i < WORKERS; i++) {
        tg_pool_free(&pools[i]);
        tg_loop_run_deferred(&workers[i].loop);
        tg_worker_release(&workers[i]);
    }
    uint32_t left = origin->open + origin->idle + origin->waiting + origin->size;
    tg_origin_unref(&origin, now);
    tg_fleet_unref(&fleet);
    tg_registry_unref(&registry);
    tg_metrics_free(&metrics);
    tg_log_tap(NULL);
    return left == 0 ? 0 : -1;
}

/* ---- Leases ---- */

static TG_UNUSED enum tg_err lease_at(int worker, const struct tg_addr *at,
                                      struct tg_pool_waiter *w, struct tg_call **out)
{
    bool connected;
    struct tg_pool_target target = {.addr = at,
                                    .connect_timeout = SEC,
                                    .conf = &conf,
                                    .origin = at == &addr ? origin : NULL,
                                    .waiter = w,
                                    .priority = TG_POOL_PRIORITY,
                                    .request = TG_STR("r-47"),
                                    .route = TG_STR("orders-route")};
    enum tg_err err =
        tg_pool_lease(pools[worker], &target, &events, pools[worker], out, &connected);
    tg_loop_run_deferred(&workers[worker].loop);
    if (err == TG_E_AGAIN)
        waiter_worker = worker;
    if (err == TG_OK) {
        leases[lease_count].client = *out;
        leases[lease_count++].worker = worker;
    }
    return err;
}

static TG_UNUSED struct tg_call *lease(int worker, const struct tg_addr *at)
{
    struct tg_call *client = NULL;
    assert_int_equal(lease_at(worker, at, NULL, &client), TG_OK);
    return client;
}

#define connection_of(of) TG_CONTAINER_OF((of), struct tg_h1_client, call)
/* An exchange that went well, and the connection back. */
static TG_UNUSED void give_back(int worker, struct tg_call **client)
{
    for (unsigned i = 0; i < lease_count; i++) {
        if (leases[i].client == *client)
            leases[i] = leases[--lease_count];
    }
    struct tg_h1_client *connection = connection_of(*client);
    connection->requests++;
    connection->state = TG_H1_CLIENT_BUSY;
    connection->in_done = connection->out_done = connection->keep_alive = true;
    tg_pool_return(pools[worker], client, &conf);
    tg_loop_run_deferred(&workers[worker].loop);
}

#endif
