/*
 * Checks that end at awkward times, on a clock that the test turns. What they decide is shown by
 * spec/upstream.
 */
#include "upstream/checker.h"
#include "http/h1_client.h"
#include "observe/metrics.h"

#include "../net/wire.h"

#define SEC TG_USEC_PER_SEC

static struct tg_metrics *metrics;
static struct tg_registry *registry;
static struct tg_checker *checker;
static struct tg_h1_client *dialled; /* the last connection, which is not there yet */
static int far;
static unsigned dials;

/* A connection that comes about when the test says so. */
static enum tg_err dial(void *arg, struct tg_h1_client *client, const struct tg_addr *to,
                        uint64_t timeout, const struct tg_call_events *events, void *owner)
{
    int fds[2];
    (void)arg, (void)to;
    wire_local_pair(fds);
    if (far >= 0)
        close(far);
    far = fds[1];
    dialled = client;
    dials++;
    return tg_h1_client_open_pending(client, &worker, fds[0], timeout, events, owner);
}

static const struct tg_pool_dialer dialer = {dial, NULL};

static const struct tg_check_conf conf = {.kind = TG_CHECK_HTTP,
                                          .method = {"GET", 3},
                                          .path = {"/", 1},
                                          .every = SEC,
                                          .timeout = SEC,
                                          .rise = 1,
                                          .fall = 1};

static int begin(void **state)
{
    int rc = wire_init(state);
    wire_fake_clock();
    far = -1;
    dials = 0;
    metrics = tg_metrics_new(1);
    assert_non_null(metrics);
    worker.cells = tg_metrics_cells(metrics, 0);
    registry = tg_registry_new();
    checker = tg_checker_new(&worker, registry, &dialer);
    return registry != NULL && checker != NULL ? rc : -1;
}

static int end(void **state)
{
    tg_checker_free(&checker);
    wire_rounds();
    tg_registry_unref(&registry);
    tg_metrics_free(&metrics);
    close(far);
    return wire_release(state);
}

static void one_round(void)
{
    ev_run(worker.loop.ev, EVRUN_NOWAIT);
}

/* It ends in the last moments of its time, from a deferred call, so that the next one is due before
 * what it leaves behind is cleaned up. */
static void test_the_next_check_is_due_when_one_ends(void **state)
{
    struct tg_balance_target target = {.name = TG_STR("a"), .host = TG_STR("a")};
    (void)state;
    assert_int_equal(tg_addr_parse(TG_STR("10.0.0.1:80"), &target.addr), TG_OK);
    tg_checker_begin(checker);
    assert_int_equal(tg_checker_want(checker, TG_STR("s"), &target, NULL, TG_ORIGIN_HTTP1, &conf),
                     TG_OK);
    wire_turn(2);
    assert_int_equal(dials, 1);
    shutdown(far, SHUT_RD); /* what is sent there fails */
    tg_clock_advance(&worker.loop.clock, SEC - 1);
    tg_h1_client_connected(dialled, TG_OK);
    one_round(); /* it sends, which fails: told by a deferred call */
    one_round();
    wire_turn(1);
    wire_turn(1);
    assert_int_equal(dials, 2);
    tg_h1_client_connected(dialled, TG_OK);
    wire_rounds();
    wire_expect(far, "GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: tidegate-health\r\n"
                     "Connection: close\r\n\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_next_check_is_due_when_one_ends, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
