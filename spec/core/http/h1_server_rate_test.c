/*
 * Least rates of clients, under a clock that the test turns, and relief when memory is short.
 */
#include "http/h1_server.h"

#include "server_fixture.h"

#define GRACE  (4 * TG_USEC_PER_SEC)
#define SECOND TG_USEC_PER_SEC
#define LONG   "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"

static void open_with_rates(void)
{
    wire_fake_clock();
    gw.limits.read_rate = 10;
    gw.limits.write_rate = 1000;
    gw.limits.rate_grace = GRACE;
    server_open(wire_local_pair);
}

static void test_a_slow_head_is_refused(void **state)
{
    (void)state;
    open_with_rates();
    wire_send(far, "GET / HTTP/1.1\r\n");
    wire_rounds();
    wire_turn(GRACE - 1);
    wire_send(far, "A: bcde\r\n"); /* 25 bytes; 40 would do */
    wire_rounds();
    wire_turn(1);
    assert_refused("", "408 Request Timeout", "refused 408|");
}

static void test_a_head_that_is_fast_enough_comes_to_its_end(void **state)
{
    (void)state;
    act.request = say_ok;
    open_with_rates();
    wire_send(far, "GET / HTTP/1.1\r\nHost: a\r\nA: 0123456789\r\n"); /* 42 */
    wire_rounds();
    wire_turn(GRACE);
    assert_trace("");
    wire_send(far, "\r\n");
    wire_expect(far, OK_ANSWER);
}

static void test_a_slow_body_is_ended_in_the_window_in_which_it_is_slow(void **state)
{
    (void)state;
    act.request = read_on;
    act.aborted = say_status;
    open_with_rates();
    wire_send(far, LONG "0123456789012345678901234567890123456789");
    assert_trace("POST /|body:0123456789012345678901234567890123456789|");
    wire_turn(GRACE);
    wire_send(far, "x");
    assert_trace("body:x|"); /* 40 in the first window */
    wire_turn(GRACE - 1);
    assert_trace("");
    wire_turn(1);
    assert_refused("", "408 Request Timeout", "aborted TIMEOUT 408|");
}

static void test_a_body_that_nobody_wants_is_not_slow(void **state)
{
    (void)state;
    open_with_rates();
    wire_send(far, LONG);
    assert_trace("POST /|");
    wire_turn(100 * GRACE);
    assert_trace("");
}

static void test_who_takes_nothing_of_an_answer_is_ended(void **state)
{
    (void)state;
    open_with_rates();
    wire_send(far, GET);
    assert_trace("GET /|");
    send_head(200, TG_FRAMING_CHUNKED, 0);
    fill();
    wire_turn(GRACE - 1);
    assert_trace("");
    wire_turn(1);
    assert_trace("aborted TIMEOUT 0|closed|");
}

static void test_rates_of_zero_are_none(void **state)
{
    (void)state;
    act.request = read_on;
    open_with_rates();
    gw.limits.read_rate = 0;
    wire_send(far, LONG);
    assert_trace("POST /|");
    wire_turn(5 * GRACE);
    assert_trace("");
}

static enum tg_h1_relief relieve(uint64_t patience)
{
    return tg_h1_server_relieve(&gw.server, tg_loop_now(&worker.loop), patience);
}

static void test_relief_closes_who_was_idle_for_long_enough(void **state)
{
    (void)state;
    act.request = say_ok;
    open_with_rates();
    wire_send(far, GET);
    wire_expect(far, OK_ANSWER);
    assert_trace("GET /|");
    wire_turn(TG_STREAM_CREDIT * SECOND - 1);
    assert_int_equal(relieve(SECOND), TG_H1_RELIEF_NONE);
    wire_turn(1);
    assert_int_equal(relieve(SECOND), TG_H1_RELIEF_IDLE);
    assert_trace("closed|");
    wire_expect_end(far);
}

static void test_relief_has_less_patience_with_who_asked_for_nothing_yet(void **state)
{
    (void)state;
    open_with_rates();
    wire_turn(SECOND - 1);
    assert_int_equal(relieve(SECOND), TG_H1_RELIEF_NONE);
    wire_turn(1);
    assert_int_equal(relieve(SECOND), TG_H1_RELIEF_IDLE);
    wire_expect_end(far);
}

static void test_relief_closes_who_has_sent_half_a_head(void **state)
{
    (void)state;
    open_with_rates();
    wire_send(far, "GET / HTT");
    wire_rounds();
    assert_int_equal(relieve(SECOND), TG_H1_RELIEF_NONE);
    wire_turn(SECOND);
    assert_int_equal(relieve(SECOND), TG_H1_RELIEF_SLOW);
    assert_trace("closed|");
}

static void test_relief_ends_a_trickle_and_spares_a_stream(void **state)
{
    (void)state;
    act.request = read_on;
    open_with_rates();
    wire_send(far, LONG);
    assert_trace("POST /|");
    wire_turn(SECOND);
    wire_send(far, "0123456789");
    assert_trace("body:0123456789|");
    assert_int_equal(relieve(SECOND), TG_H1_RELIEF_NONE);
    wire_turn(SECOND);
    assert_int_equal(relieve(SECOND), TG_H1_RELIEF_SLOW);
    assert_trace("aborted TIMEOUT 0|closed|");
}

static void test_an_exchange_that_went_well_makes_a_connection_proven(void **state)
{
    (void)state;
    act.request = say_ok;
    open_with_rates();
    wire_send(far, GET);
    wire_expect(far, OK_ANSWER);
    assert_false(gw.server.stream.proven);
    wire_send(far, GET);
    wire_expect(far, OK_ANSWER);
    assert_true(gw.server.stream.proven);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, server_setup, server_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_slow_head_is_refused),
        TEST(test_a_head_that_is_fast_enough_comes_to_its_end),
        TEST(test_a_slow_body_is_ended_in_the_window_in_which_it_is_slow),
        TEST(test_a_body_that_nobody_wants_is_not_slow),
        TEST(test_who_takes_nothing_of_an_answer_is_ended),
        TEST(test_rates_of_zero_are_none),
        TEST(test_relief_closes_who_was_idle_for_long_enough),
        TEST(test_relief_has_less_patience_with_who_asked_for_nothing_yet),
        TEST(test_relief_closes_who_has_sent_half_a_head),
        TEST(test_relief_ends_a_trickle_and_spares_a_stream),
        TEST(test_an_exchange_that_went_well_makes_a_connection_proven),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
