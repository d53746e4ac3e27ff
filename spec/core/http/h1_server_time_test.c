/*
 * Timeouts of clients' connections under a clock that the test turns, lingering, reloads.
 */
#include "http/h1_server.h"

#include "server_fixture.h"

/* ---- Timeouts ----------------------------------------------------------------------------------
 */

static void test_idle_timeout(void **state)
{
    (void)state;
    wire_fake_clock();
    act.request = say_ok;
    server_open(wire_local_pair);
    wire_turn(gw.limits.idle_timeout - 1);
    wire_send(far, GET);
    wire_expect(far, OK_ANSWER);
    assert_trace("GET /|");
    wire_turn(gw.limits.idle_timeout - 1);
    assert_trace("");
    wire_turn(1);
    assert_trace("closed|");
    wire_expect_end(far);
}

static void test_head_timeout(void **state)
{
    (void)state;
    wire_fake_clock();
    server_open(wire_local_pair);
    wire_send(far, "GET / HT");
    wire_rounds();
    wire_turn(gw.limits.head_timeout - 1);
    wire_send(far, "TP/1.1\r\n"); /* more bytes do not buy time */
    wire_rounds();
    wire_turn(1);
    assert_refused("", "408 Request Timeout", "refused 408|");
}

static void test_read_timeout(void **state)
{
    (void)state;
    wire_fake_clock();
    act.request = read_on;
    act.aborted = say_status;
    server_open(wire_local_pair);
    wire_send(far, POST "ab");
    assert_trace("POST /|body:ab|");
    wire_turn(gw.limits.read_timeout - 1);
    wire_send(far, "c");
    assert_trace("body:c|");
    wire_turn(gw.limits.read_timeout - 1);
    assert_trace("");
    wire_turn(1);
    assert_refused("", "408 Request Timeout", "aborted TIMEOUT 408|");
}

static void test_no_read_timeout_while_nobody_wants_the_body(void **state)
{
    (void)state;
    wire_fake_clock();
    server_open(wire_local_pair);
    wire_send(far, POST);
    assert_trace("POST /|");
    wire_turn(100 * gw.limits.read_timeout);
    assert_trace("");
    read_on();
    wire_turn(gw.limits.read_timeout - 1);
    assert_trace("");
    wire_send(far, "abcdef");
    assert_trace("body:abcdef|end|");
    wire_turn(100 * gw.limits.read_timeout); /* the answer may take its time */
    assert_trace("");
}

static void test_write_timeout(void **state)
{
    (void)state;
    wire_fake_clock();
    server_open(wire_local_pair);
    wire_send(far, GET);
    assert_trace("GET /|");
    send_head(200, TG_FRAMING_CHUNKED, 0);
    fill();
    wire_turn(gw.limits.write_timeout - 1);
    assert_trace("");
    wire_turn(1);
    assert_trace("aborted TIMEOUT 0|closed|");
}

static void test_write_timeout_after_the_end(void **state)
{
    (void)state;
    wire_fake_clock();
    server_open(wire_local_pair);
    wire_send(far, GET);
    assert_trace("GET /|");
    send_head(200, TG_FRAMING_CHUNKED, 0);
    fill();
    send_end();
    wire_turn(gw.limits.write_timeout - 1);
    assert_trace("");
    wire_turn(1);
    assert_trace("closed|");
}

static void test_lingering_has_an_end(void **state)
{
    (void)state;
    wire_fake_clock();
    act.request = say_ok;
    server_open(wire_local_pair);
    wire_send(far, "GET / HTTP/1.0\r\n\r\n");
    wire_expect(far, OK_CLOSE_ANSWER);
    wire_expect_end(far);
    assert_trace("GET /|");
    wire_send(far, "more");
    wire_turn(TG_USEC_PER_SEC);
    assert_trace("");
    wire_send(far, "more");
    wire_turn(TG_USEC_PER_SEC);
    assert_trace("closed|");
}

static void test_lingering_takes_only_so_much(void **state)
{
    static char block[65536];
    (void)state;
    act.request = say_ok;
    server_open(wire_local_pair);
    wire_send(far, "GET / HTTP/1.0\r\n\r\n");
    wire_expect(far, OK_CLOSE_ANSWER);
    for (int i = 0; i < 100 && gw.closed == 0; i++) {
        ssize_t n = send(far, block, sizeof(block), MSG_NOSIGNAL);
        assert_true(n > 0 || gw.closed != 0 || errno == EAGAIN);
        wire_rounds();
    }
    assert_trace("GET /|closed|");
}

/* ---- Reloads -----------------------------------------------------------------------------------
 */

/* Other limits are in force, ten times what the old ones were, which are gone. */
static void reload(void)
{
    static struct tg_limits limits;
    limits = gw.limits;
    limits.idle_timeout *= 10;
    limits.head_timeout *= 10;
    limits.write_timeout *= 10;
    gw.after_reload = &limits;
    memset(&gw.limits, 0, sizeof(gw.limits));
}

static void test_an_idle_connection_outlives_its_limits(void **state)
{
    (void)state;
    wire_fake_clock();
    act.request = say_ok;
    server_open(wire_local_pair);
    wire_send(far, GET);
    wire_expect(far, OK_ANSWER);
    uint64_t before = gw.limits.idle_timeout;
    reload();
    wire_turn(before);
    assert_trace("GET /|");
    wire_turn(gw.after_reload->idle_timeout - before);
    assert_trace("closed|");
}

static void test_a_head_that_comes_outlives_its_limits(void **state)
{
    (void)state;
    wire_fake_clock();
    act.request = say_ok;
    server_open(wire_local_pair);
    wire_send(far, "GET / HTTP/1.1\r\n");
    wire_rounds();
    uint64_t before = gw.limits.head_timeout;
    reload();
    wire_turn(before);
    wire_send(far, "Host: a\r\n\r\n");
    wire_expect(far, OK_ANSWER);
    assert_trace("GET /|");
}

static void test_an_answer_that_is_leaving_outlives_its_limits(void **state)
{
    (void)state;
    wire_fake_clock();
    server_open(wire_local_pair);
    wire_send(far, GET);
    assert_trace("GET /|");
    send_head(200, TG_FRAMING_CHUNKED, 0);
    fill();
    send_end();
    uint64_t before = gw.limits.write_timeout;
    reload();
    wire_turn(before);
    assert_trace("");
    wire_turn(gw.after_reload->write_timeout - before);
    assert_trace("closed|");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, server_setup, server_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_idle_timeout),
        TEST(test_head_timeout),
        TEST(test_read_timeout),
        TEST(test_no_read_timeout_while_nobody_wants_the_body),
        TEST(test_write_timeout),
        TEST(test_write_timeout_after_the_end),
        TEST(test_lingering_has_an_end),
        TEST(test_lingering_takes_only_so_much),
        TEST(test_an_idle_connection_outlives_its_limits),
        TEST(test_a_head_that_comes_outlives_its_limits),
        TEST(test_an_answer_that_is_leaving_outlives_its_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
