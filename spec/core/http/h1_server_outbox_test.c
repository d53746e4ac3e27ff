/*
 * What ends an answer waits in the worker's outbox, and the kernel is full when it is to go: the
 * connection has fallen idle by then, and the answer must come whole all the same.
 */
#include "http/h1_server.h"

#include "net/outbox.h"

#include "server_fixture.h"

static size_t before; /* bytes in front of the answer */
static int idle;

static void on_idle(struct tg_h1_server *s)
{
    (void)s;
    idle++;
}

static int setup(void **state)
{
    int rc = server_setup(state);
    idle = 0;
    return rc == 0 && tg_outbox_open(&worker) == TG_OK ? 0 : -1;
}

static int teardown(void **state)
{
    if (gw.server.magic != 0)
        tg_h1_server_close(&gw.server);
    tg_outbox_close(&worker);
    return server_teardown(state);
}

/* A connection whose answer has been given, and waits behind what fills the kernel. */
static void open_stuck(void)
{
    static char block[65536];
    static struct tg_h1_server_events events;
    int fds[2];
    ssize_t n;
    events = server_events;
    events.idle = on_idle;
    wire_fake_clock();
    gw.limits.idle_timeout = TG_USEC_PER_SEC;
    gw.limits.write_timeout = 10 * TG_USEC_PER_SEC;
    act.request = say_ok;
    wire_local_pair(fds);
    far = fds[1];
    assert_int_equal(tg_h1_server_open(&gw.server, &worker, fds[0], &events), TG_OK);
    for (before = 0; (n = send(fds[0], block, sizeof(block), MSG_NOSIGNAL)) > 0;)
        before += (size_t)n;
    wire_send(far, GET);
    assert_trace("GET /|");
    assert_true(tg_conn_pending(&gw.server.conn) > 0);
}

static void take_answer(void)
{
    static char block[65536];
    while (before > 0) {
        ssize_t n = wire_recv(far, block, TG_MIN(before, sizeof(block)));
        assert_true(n > 0);
        before -= (size_t)n;
    }
    wire_expect(far, OK_ANSWER);
}

static void test_a_client_has_the_time_of_a_write(void **state)
{
    (void)state;
    open_stuck();
    wire_turn(5 * TG_USEC_PER_SEC); /* idle_timeout is over */
    take_answer();
    assert_trace("");
    wire_turn(TG_USEC_PER_SEC - 1); /* it is idle since it took the answer */
    assert_trace("");
    wire_turn(1);
    assert_trace("closed|");
}

static void test_a_client_that_takes_nothing(void **state)
{
    (void)state;
    open_stuck();
    wire_turn(10 * TG_USEC_PER_SEC - 1);
    assert_trace("");
    wire_turn(1);
    assert_trace("closed|");
}

static void test_it_is_idle_once_more(void **state)
{
    (void)state;
    open_stuck();
    assert_int_equal(idle, 1);
    take_answer();
    wire_rounds();
    assert_int_equal(idle, 2);
    wire_send(far, GET);
    wire_expect(far, OK_ANSWER);
}

/* Drained from within the event, as where a reload has taken its listener away. */
static void drain_now(struct tg_h1_server *s)
{
    tg_h1_server_drain(s);
}

static void test_drained_as_it_falls_idle(void **state)
{
    static struct tg_h1_server_events events;
    int fds[2];
    (void)state;
    events = server_events;
    events.idle = drain_now;
    act.request = say_ok;
    wire_local_pair(fds);
    far = fds[1];
    assert_int_equal(tg_h1_server_open(&gw.server, &worker, fds[0], &events), TG_OK);
    wire_send(far, GET);
    wire_expect(far, OK_ANSWER);
    wire_expect_end(far);
    assert_trace("GET /|closed|");
}

static void test_drained_and_stuck(void **state)
{
    (void)state;
    open_stuck();
    worker.draining = true;
    tg_h1_server_drain(&gw.server);
    assert_trace("");
    take_answer();
    wire_expect_end(far);
    assert_trace("closed|");
}

/* What was lost can be followed by nothing: the connection goes. */
static void test_drained_without_memory_for_the_rest(void **state)
{
    static char block[65536];
    (void)state;
    server_open(wire_local_pair);
    act.request = say_ok;
    while (send(gw.server.conn.fd, block, sizeof(block), MSG_NOSIGNAL) > 0) {
    }
    wire_send(far, GET);
    ev_run(worker.loop.ev, EVRUN_NOWAIT); /* the answer is in the outbox */
    assert_string_equal(trace, "GET /|");
    assert_int_equal(tg_conn_pending(&gw.server.conn), 0);
    tg_mem_fail_at(1);
    tg_h1_server_drain(&gw.server);
    tg_mem_fail_at(0);
    assert_trace("GET /|closed|");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_client_has_the_time_of_a_write),
        TEST(test_a_client_that_takes_nothing),
        TEST(test_it_is_idle_once_more),
        TEST(test_drained_as_it_falls_idle),
        TEST(test_drained_and_stuck),
        TEST(test_drained_without_memory_for_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
