/*
 * Clients' connections: requests one after the other, bodies of requests, answers that come before
 * the body has. Answers stand in h1_server_answer_test.c, ends in h1_server_refuse_test.c and
 * h1_server_time_test.c.
 */
#include "http/h1_server.h"

#include "server_fixture.h"

static void talk(const char *sent, const char *answer, const char *want)
{
    wire_send(far, sent);
    wire_expect(far, answer);
    assert_trace(want);
}

/* ---- Keep-alive and pipelining -----------------------------------------------------------------
 */

static void test_requests_one_after_the_other(void **state)
{
    (void)state;
    act.request = say_ok;
    server_open(wire_local_pair);
    for (int i = 0; i < 3; i++) {
        talk("GET /a HTTP/1.1\r\nHost: a\r\n\r\n", OK_ANSWER, "GET /a|");
        assert_int_equal(tg_slab_leased(worker.slab), 0); /* idle: no buffer */
    }
    wire_expect_silence(far);
}

static void test_a_head_byte_by_byte(void **state)
{
    static const char head[] = "GET /abc HTTP/1.1\r\nHost: a\r\nX-Long: 1234567890\r\n\r\n";
    (void)state;
    act.request = say_ok;
    server_open(wire_local_pair);
    for (size_t i = 0; i < sizeof(head) - 1; i++) {
        wire_expect_silence(far);
        wire_send_bytes(far, head + i, 1);
    }
    wire_expect(far, OK_ANSWER);
    assert_trace("GET /abc|");
}

static void test_pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    act.request = say_ok;
    server_open(wire_local_pair);
    talk("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"
         "\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n",
         OK_ANSWER OK_ANSWER OK_ANSWER, "GET /1|GET /2|GET /3|");
}

static void test_a_pipelined_request_waits_for_its_turn(void **state)
{
    (void)state;
    server_open(wire_local_pair);
    wire_send(far, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HT");
    assert_trace("GET /1|");
    wire_send(far, "TP/1.1\r\nHost: a\r\n\r\n");
    assert_trace("");
    say_ok();
    wire_expect(far, OK_ANSWER);
    assert_trace("GET /2|");
    say_ok();
    wire_expect(far, OK_ANSWER);
}

static void test_close_is_honoured(void **state)
{
    (void)state;
    act.request = say_ok;
    server_open(wire_local_pair);
    talk("GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\n\r\n",
         OK_CLOSE_ANSWER, "GET /1|");
    wire_expect_end(far);
}

static void test_requests_of_a_connection_have_a_bound(void **state)
{
    (void)state;
    act.request = say_ok;
    gw.limits.connection_requests = 2;
    server_open(wire_local_pair);
    talk("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n", OK_ANSWER, "GET /1|");
    talk("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n", OK_CLOSE_ANSWER, "GET /2|");
    wire_expect_end(far);
}

static void test_http_1_0(void **state)
{
    (void)state;
    act.request = say_ok;
    server_open(wire_local_pair);
    talk("GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
         "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok", "GET /1|");
    talk("GET /2 HTTP/1.0\r\n\r\n", OK_CLOSE_ANSWER, "GET /2|");
    wire_expect_end(far);
}

/* ---- Bodies of requests ------------------------------------------------------------------------
 */

static void test_a_body_by_length(void **state)
{
    (void)state;
    act.request = read_on;
    act.body_end = say_ok;
    server_open(wire_local_pair);
    wire_send(far, "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc");
    assert_trace("POST /a|body:abc|");
    talk("defGET /b HTTP/1.1\r\nHost: a\r\n\r\n", OK_ANSWER, "body:def|end|GET /b|");
}

static void test_a_chunked_body_with_trailers(void **state)
{
    (void)state;
    act.request = read_on;
    act.body_end = say_ok;
    server_open(wire_local_pair);
    talk("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
         "3\r\nabc\r\n2\r\nde\r\n0\r\nX: 1\r\n\r\nPOST /b HTTP/1.1\r\nHost: a\r\n\r\n",
         OK_ANSWER, "POST /a|body:abcde|end+1|POST /b|");
}

static void test_a_body_waits_until_it_is_wanted(void **state)
{
    (void)state;
    server_open(wire_local_pair);
    wire_send(far, "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab");
    assert_trace("POST /a|");
    wire_send(far, "cd");
    assert_trace("");
    read_on();
    assert_trace("body:ab|body:cd|end|");
}

static void stop_reading(struct tg_str data)
{
    (void)data;
    ops()->read_body(stream(), false);
}

static void test_reading_stops_between_pieces(void **state)
{
    (void)state;
    act.request = read_on;
    act.body = stop_reading;
    server_open(wire_local_pair);
    wire_send(far, "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab");
    assert_trace("POST /a|body:ab|");
    wire_send(far, "cd");
    assert_trace("");
    read_on();
    assert_trace("body:cd|end|");
}

static void off_and_on(struct tg_str data)
{
    (void)data;
    ops()->read_body(stream(), false);
    ops()->read_body(stream(), true);
}

/* Reading is switched on from within on_body: nothing comes twice. */
static void test_reading_switched_on_within_the_call(void **state)
{
    (void)state;
    act.request = read_on;
    act.body = off_and_on;
    act.body_end = say_ok;
    server_open(wire_local_pair);
    talk("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcdGET /b HTTP/1.1\r\n"
         "Host: a\r\n\r\n",
         OK_ANSWER, "POST /a|body:abcd|end|GET /b|");
}

static void answer_now(struct tg_str data)
{
    (void)data;
    act.body = NULL;
    say_ok();
}

/* The gateway answers from within on_body: what it was given is not taken for the rest. */
static void test_an_answer_within_the_call(void **state)
{
    (void)state;
    act.request = read_on;
    act.body = answer_now;
    server_open(wire_local_pair);
    talk("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nabcd", OK_ANSWER,
         "POST /a|body:abcd|");
    act.request = say_ok;
    talk("efghGET /b HTTP/1.1\r\nHost: a\r\n\r\n", OK_ANSWER, "GET /b|");
    assert_int_equal(tg_slab_leased(worker.slab), 0);
}

static void test_an_answer_within_the_call_with_the_last_piece(void **state)
{
    (void)state;
    act.request = read_on;
    act.body = answer_now;
    server_open(wire_local_pair);
    wire_send(far, "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd"
                   "GET /b HTTP/1.1\r\nHost: a\r\n\r\n");
    wire_expect(far, OK_ANSWER);
    assert_trace("POST /a|body:abcd|GET /b|");
    say_ok();
    wire_expect(far, OK_ANSWER);
    assert_int_equal(tg_slab_leased(worker.slab), 0);
}

static void test_an_answer_within_a_chunked_body(void **state)
{
    (void)state;
    act.request = read_on;
    act.body = answer_now;
    server_open(wire_local_pair);
    talk("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
         OK_CLOSE_ANSWER, "POST /a|body:abc|");
    wire_expect_end(far);
}

/* ---- Early answers -----------------------------------------------------------------------------
 */

static void test_a_little_rest_of_a_body_is_dropped(void **state)
{
    (void)state;
    act.request = say_ok;
    server_open(wire_local_pair);
    talk("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc", OK_ANSWER, "POST /a|");
    talk("defGET /b HTTP/1.1\r\nHost: a\r\n\r\n", OK_ANSWER, "GET /b|");
}

static void test_a_long_rest_of_a_body_ends_the_connection(void **state)
{
    (void)state;
    act.request = say_ok;
    server_open(wire_local_pair);
    talk("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc", OK_CLOSE_ANSWER,
         "POST /a|");
    wire_expect_end(far);
    talk("more that nobody wants", "", "");
    close(far);
    far = -1;
    assert_trace("closed|");
}

static void test_a_rest_of_unknown_length_ends_the_connection(void **state)
{
    (void)state;
    act.request = say_ok;
    server_open(wire_local_pair);
    talk("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", OK_CLOSE_ANSWER,
         "POST /a|");
    wire_expect_end(far);
}

static void test_who_waits_for_100_may_not_send_after_all(void **state)
{
    (void)state;
    act.request = say_ok;
    server_open(wire_local_pair);
    talk("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nExpect: 100-continue\r\n\r\n",
         OK_CLOSE_ANSWER, "POST /a|");
    wire_expect_end(far);
}

static void test_continue_is_sent_once_asked_for(void **state)
{
    struct tg_fields none;
    (void)state;
    act.body_end = say_ok;
    server_open(wire_local_pair);
    wire_send(far,
              "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    assert_trace("POST /a|");
    tg_fields_init(&none, &gw.arena);
    ops()->send_info(stream(), 100, &none);
    wire_expect(far, "HTTP/1.1 100 Continue\r\n\r\n");
    read_on();
    talk("abc", OK_ANSWER, "body:abc|end|");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, server_setup, server_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_requests_one_after_the_other),
        TEST(test_a_head_byte_by_byte),
        TEST(test_pipelined_requests_are_answered_in_order),
        TEST(test_a_pipelined_request_waits_for_its_turn),
        TEST(test_close_is_honoured),
        TEST(test_requests_of_a_connection_have_a_bound),
        TEST(test_http_1_0),
        TEST(test_a_body_by_length),
        TEST(test_a_chunked_body_with_trailers),
        TEST(test_a_body_waits_until_it_is_wanted),
        TEST(test_reading_stops_between_pieces),
        TEST(test_reading_switched_on_within_the_call),
        TEST(test_an_answer_within_the_call),
        TEST(test_an_answer_within_the_call_with_the_last_piece),
        TEST(test_an_answer_within_a_chunked_body),
        TEST(test_a_little_rest_of_a_body_is_dropped),
        TEST(test_a_long_rest_of_a_body_ends_the_connection),
        TEST(test_a_rest_of_unknown_length_ends_the_connection),
        TEST(test_who_waits_for_100_may_not_send_after_all),
        TEST(test_continue_is_sent_once_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
