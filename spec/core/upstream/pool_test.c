/*
 * The pool on a clock that the test turns: bounds over workers, order among pools, and leases that
 * are never returned. What requests see of it is shown by spec/testkit/pool_spec.lua.
 */
#include "upstream/pool.h"
#include "http/h1_client.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "support.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

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

static void move(uint64_t us)
{
    for (int i = 0; i < WORKERS; i++) {
        struct tg_loop *loop = &workers[i].loop;
        tg_clock_advance(&loop->clock, us);
        tg_timers_tick(&loop->timers, loop->clock.mono);
        tg_loop_run_deferred(loop);
    }
}

/* In small steps, so that timers come in their turn. */
static void pass(uint64_t us, uint64_t step)
{
    for (uint64_t at = 0; at < us; at += step)
        move(step);
}

static int begin(void **state)
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

static int end(void **state)
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

static enum tg_err lease_at(int worker, const struct tg_addr *at, struct tg_pool_waiter *w,
                            struct tg_call **out)
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

static struct tg_call *lease(int worker, const struct tg_addr *at)
{
    struct tg_call *client = NULL;
    assert_int_equal(lease_at(worker, at, NULL, &client), TG_OK);
    return client;
}

#define connection_of(of) TG_CONTAINER_OF((of), struct tg_h1_client, call)
/* An exchange that went well, and the connection back. */
static void give_back(int worker, struct tg_call **client)
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

/* ---- Bounds ---- */

static void test_the_most_connections_hold_for_all_workers_together(void **state)
{
    struct tg_call *more = NULL;
    (void)state;
    conf.max_open = 2;
    struct tg_call *one = lease(0, &addr), *two = lease(1, &addr);
    assert_int_equal(origin->open, 2);
    assert_int_equal(lease_at(1, &addr, NULL, &more), TG_E_UNAVAILABLE);
    assert_int_equal(lease_at(1, &addr, &waiter, &more), TG_E_AGAIN);
    assert_int_equal(origin->waiting, 1);
    give_back(0, &one); /* closed, since another worker has somebody waiting */
    assert_int_equal(origin->open, 1);
    move(SEC / 50);
    assert_int_equal(turns, 1);
    assert_int_equal(lease_at(1, &addr, &waiter, &more), TG_OK);
    assert_int_equal(origin->open, 2);
    give_back(1, &two);
    give_back(1, &more);
    assert_int_equal(origin->idle, 2);
    assert_int_equal(lease_at(0, &addr, &waiter, &more), TG_E_AGAIN);
    pass(SEC / 5, SEC / 50); /* a worker that rests gives up what it keeps */
    assert_int_equal(turns, 2);
    assert_int_equal(lease_at(0, &addr, &waiter, &more), TG_OK);
    assert_int_equal(origin->idle, 1);
    give_back(0, &more);
}

static void test_a_size_that_shrinks_closes_what_is_idle_beyond_it(void **state)
{
    struct tg_call *all[10];
    (void)state;
    conf.size_min = 2;
    conf.size_max = 10;
    for (int round = 0; round < 8; round++) { /* somebody waits for a second each time: it grows */
        struct tg_call *more = NULL;
        uint32_t n = 0;
        while (lease_at(0, &addr, &waiter, &more) == TG_OK)
            all[n++] = more;
        assert_int_equal(n, 2 + round);
        move(2 * SEC);
        tg_pool_leave(pools[0], &waiter);
        while (n > 0)
            give_back(0, &all[--n]);
        pass(8 * SEC, SEC);
    }
    assert_int_equal(origin->size, 10);
    assert_int_equal(origin->open, 9);
    struct tg_call *one = lease(0, &addr);
    pass(20 * SEC, SEC);
    assert_int_equal(origin->size, 7);
    assert_int_equal(origin->open, 7);
    give_back(0, &one);
    pass(3 * MIN, SEC);
    assert_int_equal(origin->size, 2);
    assert_int_equal(origin->open, 2);
    assert_int_equal(origin->idle, 2);
}

/* ---- Order ---- */

static void test_the_pool_of_a_target_that_went_is_closed_after_half_an_hour(void **state)
{
    struct tg_addr other;
    (void)state;
    assert_int_equal(tg_addr_parse(TG_STR("10.0.0.2:80"), &other), TG_OK);
    struct tg_call *gone = lease(0, &addr), *kept = lease(0, &other);
    give_back(0, &gone);
    give_back(0, &kept);
    tg_pool_forget_warm(pools[0]); /* as every change of the configuration begins */
    pass(29 * MIN, MIN);
    kept = lease(0, &other);
    give_back(0, &kept);
    assert_int_equal(tg_pool_idle(pools[0]), 2);
    pass(2 * MIN, MIN);
    assert_int_equal(tg_pool_idle(pools[0]), 1);
    assert_int_equal(origin->open, 0);
}

static struct tg_addr address(unsigned i)
{
    char text[32];
    struct tg_addr out;
    snprintf(text, sizeof(text), "10.1.%u.%u:80", i / 250, i % 250 + 1);
    assert_int_equal(tg_addr_parse(tg_str_c(text), &out), TG_OK);
    return out;
}

static void test_beyond_a_thousand_pools_the_one_idle_longest_goes(void **state)
{
    static struct tg_addr many[TG_POOL_SITES_MAX + 2];
    struct rlimit files;
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    struct tg_call *held = lease(0, &addr); /* used least recently, but in use */
    many[TG_POOL_SITES_MAX] = address(TG_POOL_SITES_MAX);
    for (unsigned i = 0; i < TG_POOL_SITES_MAX - 1; i++) {
        many[i] = address(i);
        struct tg_call *client = lease(0, &many[i]);
        move(1000);
        give_back(0, &client);
    }
    assert_int_equal(tg_pool_open(pools[0]), TG_POOL_SITES_MAX);
    struct tg_call *client = lease(0, &many[TG_POOL_SITES_MAX]);
    give_back(0, &client);
    assert_int_equal(tg_pool_open(pools[0]), TG_POOL_SITES_MAX);
    uint64_t reuses = tg_metrics_read(metrics, TG_METRIC_UPSTREAM_REUSES);
    client = lease(0, &many[1]);
    give_back(0, &client);
    assert_int_equal(tg_metrics_read(metrics, TG_METRIC_UPSTREAM_REUSES), reuses + 1);
    client = lease(0, &many[0]); /* it went, and another goes for it */
    give_back(0, &client);
    assert_int_equal(tg_metrics_read(metrics, TG_METRIC_UPSTREAM_REUSES), reuses + 1);
    assert_int_equal(tg_metrics_read(metrics, TG_METRIC_UPSTREAM_EVICTED), 2);
    give_back(0, &held);
}

static void test_a_pool_that_is_in_use_makes_no_room(void **state)
{
    static struct tg_addr many[TG_POOL_SITES_MAX + 1];
    static struct tg_call *held[TG_POOL_SITES_MAX];
    struct tg_call *none = NULL;
    (void)state;
    for (unsigned i = 0; i < TG_POOL_SITES_MAX; i++) {
        many[i] = address(i);
        held[i] = lease(0, &many[i]);
    }
    many[TG_POOL_SITES_MAX] = address(TG_POOL_SITES_MAX);
    assert_int_equal(lease_at(0, &many[TG_POOL_SITES_MAX], NULL, &none), TG_E_LIMIT);
    for (unsigned i = 0; i < TG_POOL_SITES_MAX; i++)
        give_back(0, &held[i]);
}

/* ---- Leaks ---- */

static void test_a_lease_without_a_byte_for_five_minutes_is_told_of_once(void **state)
{
    static const char line[] = "pool: a connection has been leased without a byte for 5 minutes"
                               " request=r-47 route=orders-route";
    (void)state;
    struct tg_call *leaked = lease(0, &addr), *alive = lease(0, &addr);
    struct tg_call *tunnel = lease(0, &addr);
    connection_of(tunnel)->state = TG_H1_CLIENT_TUNNEL;
    for (int minute = 0; minute < 5; minute++) {
        move(MIN);
        connection_of(alive)->since = tg_loop_now(&workers[0].loop);
    }
    assert_string_equal(logged, line);
    connection_of(alive)->since = tg_loop_now(&workers[0].loop);
    pass(4 * MIN, MIN);
    assert_string_equal(logged, line);
    connection_of(tunnel)->state = TG_H1_CLIENT_BUSY;
    give_back(0, &leaked);
    give_back(0, &alive);
    give_back(0, &tunnel);
}

/* In a process of its own, which ends with it: this is a mistake of the program. */
static void test_what_is_leased_when_the_pool_goes_is_named(void **state)
{
    int fds[2];
    char text[sizeof(logged)] = "";
    (void)state;
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)lease(0, &addr);
        signal(SIGABRT, SIG_DFL);
        dup2(fds[1], STDERR_FILENO);
        tg_log_tap(NULL);
        tg_pool_free(&pools[0]);
        _exit(0);
    }
    close(fds[1]);
    ssize_t n, at = 0;
    while ((n = read(fds[0], text + at, sizeof(text) - 1 - (size_t)at)) > 0)
        at += n;
    close(fds[0]);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_non_null(strstr(text, "a connection was never returned"));
    assert_non_null(strstr(text, "r-47"));
    assert_non_null(strstr(text, "orders-route"));
}

int main(void)
{
#define SPEC(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        SPEC(test_the_most_connections_hold_for_all_workers_together),
        SPEC(test_a_size_that_shrinks_closes_what_is_idle_beyond_it),
        SPEC(test_the_pool_of_a_target_that_went_is_closed_after_half_an_hour),
        SPEC(test_beyond_a_thousand_pools_the_one_idle_longest_goes),
        SPEC(test_a_pool_that_is_in_use_makes_no_room),
        SPEC(test_a_lease_without_a_byte_for_five_minutes_is_told_of_once),
        SPEC(test_what_is_leased_when_the_pool_goes_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
