/*
 * Connections of the pool that many exchanges share, on a clock that the test turns. What requests
 * see of them is shown by spec/testkit and spec/h2.
 */
#include "upstream/pool.h"
#include "http/h1_client.h"
#include "observe/metrics.h"

#include "../net/wire.h"

#include <arpa/inet.h>
#include <sys/resource.h>

#define SEC TG_USEC_PER_SEC

static struct tg_metrics *metrics;
static struct tg_pool *pool;
static struct tg_pool_conf conf;
static struct tg_addr addr;
static int listener;
static int far_ends[TG_POOL_SITES_MAX + 10];
static unsigned far_count;
static int settled; /* a lease has come about, or failed: */
static enum tg_err result;

/* ---- Leases ------------------------------------------------------------------------------------
 */

static struct tg_call *leased;                      /* of the connection that is shared */
static struct tg_call *held[TG_POOL_SITES_MAX + 1]; /* of others */

static void on_connected(struct tg_call *call)
{
    const char *reason;
    result = tg_pool_note_connected(pool, call->owner, &conf, &reason);
    settled = 1;
}

static void on_failed(struct tg_call *call, enum tg_err err, const char *reason)
{
    (void)call, (void)reason;
    result = err;
    settled = 1;
}

static const struct tg_call_events events = {.on_connected = on_connected, .on_failed = on_failed};

static enum tg_err lease(const struct tg_addr *at, struct tg_call **out)
{
    bool connected;
    struct tg_pool_target target = {
        .addr = at, .connect_timeout = 60 * SEC, .http = TG_ORIGIN_HTTP2, .conf = &conf};
    return tg_pool_lease(pool, &target, &events, out, out, &connected);
}

/* A stream of a new connection, which takes `us` to come about. */
static void lease_shared(uint64_t us)
{
    settled = 0;
    assert_int_equal(lease(&addr, &leased), TG_OK);
    tg_clock_advance(&worker.loop.clock, us);
    wire_until(&settled);
    assert_int_equal(result, TG_OK);
    assert_int_equal(leased->protocol, TG_CALL_HTTP2);
}

static void give_back(void)
{
    tg_pool_return(pool, &leased, &conf);
    wire_rounds();
}

/* ---- Life --------------------------------------------------------------------------------------
 */

static int begin(void **state)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(at);
    int rc = wire_init(state);
    metrics = tg_metrics_new(1);
    assert_non_null(metrics);
    worker.cells = tg_metrics_cells(metrics, 0);
    wire_fake_clock();
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&at, n), 0);
    assert_int_equal(listen(listener, 16), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &n), 0);
    tg_addr_from_sockaddr((struct sockaddr *)&at, n, &addr);
    pool = tg_pool_new(&worker);
    conf = (struct tg_pool_conf){
        .max_idle = 4, .idle_timeout = 60 * SEC, .streams = 10, .window = 65536, .head = 16384};
    return pool != NULL ? rc : -1;
}

static int end(void **state)
{
    for (unsigned i = 0; i < TG_COUNT_OF(held); i++)
        tg_pool_return(pool, &held[i], &conf);
    tg_pool_return(pool, &leased, &conf);
    tg_pool_free(&pool);
    wire_rounds();
    close(listener);
    while (far_count > 0)
        close(far_ends[--far_count]);
    tg_metrics_free(&metrics);
    return wire_release(state);
}

/* ---- Tests -------------------------------------------------------------------------------------
 */

static void test_a_connection_rests_when_its_streams_are_over(void **state)
{
    (void)state;
    lease_shared(0);
    assert_int_equal(tg_pool_idle(pool), 0);
    give_back();
    assert_int_equal(tg_pool_idle(pool), 1);
}

/* The age counts from when it was asked for. */
static void test_a_connection_older_than_its_lifetime_when_it_comes_serves_once(void **state)
{
    (void)state;
    conf.lifetime = SEC;
    lease_shared(2 * SEC);
    give_back();
    assert_int_equal(tg_pool_open(pool), 0);
}

/* Connections that carry one exchange at a time. */
static enum tg_err dial(void *arg, struct tg_h1_client *client, const struct tg_addr *to,
                        uint64_t timeout, const struct tg_call_events *told, void *owner)
{
    int fds[2];
    (void)arg, (void)to, (void)timeout;
    wire_local_pair(fds);
    assert_true(far_count < TG_COUNT_OF(far_ends));
    far_ends[far_count++] = fds[1];
    return tg_h1_client_open_fd(client, &worker, fds[0], told, owner);
}

static const struct tg_pool_dialer dialer = {dial, NULL};

static void give_back_single(struct tg_call **call)
{
    struct tg_h1_client *connection = TG_CONTAINER_OF(*call, struct tg_h1_client, call);
    wire_rounds();
    connection->state = TG_H1_CLIENT_BUSY; /* as after an exchange that went well */
    connection->in_done = connection->out_done = connection->keep_alive = true;
    tg_pool_return(pool, call, &conf);
}

/* Whether the shared connection is there; it is used. */
static bool is_there(void)
{
    bool connected;
    struct tg_pool_target target = {
        .addr = &addr, .connect_timeout = 60 * SEC, .http = TG_ORIGIN_HTTP2, .conf = &conf};
    tg_pool_set_dialer(pool, NULL);
    enum tg_err err = tg_pool_lease(pool, &target, &events, &leased, &leased, &connected);
    if (err != TG_OK)
        return false;
    give_back();
    tg_pool_set_dialer(pool, &dialer);
    return connected;
}

static void test_room_for_another_pool_is_made_where_use_was_longest_ago(void **state)
{
    static struct tg_addr many[TG_COUNT_OF(held)];
    enum { OLD, YOUNG, FIRST };
    struct rlimit files;
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    for (unsigned i = 0; i < TG_COUNT_OF(many); i++) {
        char text[32];
        snprintf(text, sizeof(text), "10.1.%u.%u:80", i / 250, i % 250 + 1);
        assert_int_equal(tg_addr_parse(tg_str_c(text), &many[i]), TG_OK);
    }
    tg_pool_set_dialer(pool, &dialer);
    assert_int_equal(lease(&many[OLD], &held[OLD]), TG_OK);
    give_back_single(&held[OLD]);
    wire_turn(MS);
    tg_pool_set_dialer(pool, NULL);
    lease_shared(0);
    give_back();
    tg_pool_set_dialer(pool, &dialer);
    for (unsigned i = FIRST; i <= TG_POOL_SITES_MAX; i++) /* one more than there is room for */
        assert_int_equal(lease(&many[i], &held[i]), TG_OK);
    assert_int_equal(tg_metrics_read(metrics, TG_METRIC_UPSTREAM_EVICTED), 1);
    assert_true(is_there());
    wire_turn(MS);
    give_back_single(&held[FIRST]);
    assert_int_equal(lease(&many[YOUNG], &held[YOUNG]), TG_OK);
    assert_int_equal(tg_metrics_read(metrics, TG_METRIC_UPSTREAM_EVICTED), 2);
    assert_false(is_there());
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_connection_rests_when_its_streams_are_over),
        TEST(test_a_connection_older_than_its_lifetime_when_it_comes_serves_once),
        TEST(test_room_for_another_pool_is_made_where_use_was_longest_ago),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
