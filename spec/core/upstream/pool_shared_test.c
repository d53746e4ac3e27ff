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

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_connection_rests_when_its_streams_are_over),
        TEST(test_a_connection_older_than_its_lifetime_when_it_comes_serves_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
