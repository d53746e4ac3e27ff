/*
 * Answers of origins: framing, what breaks the protocol, origins that leave at any byte, reading on
 * demand.
 */
#include "http/h1_client.h"

#include "client_fixture.h"

/* ---- Answers -----------------------------------------------------------------------------------
 */

static void test_exchanges_one_after_the_other(void **state)
{
    (void)state;
    open_pair(wire_local_pair);
    for (int i = 0; i < 3; i++) {
        get();
        assert_false(tg_h1_client_is_reusable(&client));
        answered("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "head 200|body:abc|end|");
        next_exchange();
    }
    assert_int_equal(client.requests, 3);
}

static void test_framings(void **state)
{
    (void)state;
    open_pair(wire_local_pair);
    get();
    answered("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
             "head 200|body:abc|");
    answered("2\r\nde\r\n0\r\nX: 1\r\n\r\n", "body:de|end+1|");
    next_exchange();
    get();
    answered("HTTP/1.1 200 OK\r\n\r\nto the ", "head 200|body:to the |");
    answered("close", "body:close|");
    close(far);
    far = -1;
    assert_trace("end|");
    assert_false(tg_h1_client_is_reusable(&client));
}

static void test_answers_without_a_body_end_with_their_head(void **state)
{
    static const char *const answers[] = {
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    };
    char want[32];
    (void)state;
    open_pair(wire_local_pair);
    for (size_t i = 0; i < TG_COUNT_OF(answers); i++) {
        get();
        snprintf(want, sizeof(want), "head %.3s|end|", answers[i] + 9);
        answered(answers[i], want);
        next_exchange();
    }
    begin(TG_METHOD_HEAD, GET, TG_FRAMING_NONE);
    tg_call_send_end(&client.call, NULL);
    answered("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "head 200|end|");
    next_exchange();
}

/* Bytes behind an answer: the connection is not used again. */
static void test_bytes_behind_an_answer(void **state)
{
    static const char *const answers[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nx",
        "HTTP/1.1 204 No Content\r\n\r\nrest",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nrest",
    };
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(answers); i++) {
        connected = 0;
        open_pair(wire_local_pair);
        get();
        wire_send(far, answers[i]);
        wire_rounds();
        assert_non_null(strstr(trace, "end|"));
        trace[0] = '\0';
        assert_false(tg_h1_client_is_reusable(&client));
        tg_h1_client_close(&client);
        tg_arena_release(&arena);
        close(far);
        far = -1;
    }
}

static void test_informational_answers(void **state)
{
    (void)state;
    open_pair(wire_local_pair);
    get();
    answered("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early", "info 100|");
    answered(" Hints\r\nLink: x\r\n\r\nHTTP/1.1 103 E\r\n\r\nHTT", "info 103|info 103|");
    answered("P/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", "head 200|body:a|end|");
    next_exchange();
}

/* Each of them keeps what it was read into for as long as the exchange. */
static void test_informational_answers_without_end(void **state)
{
    (void)state;
    open_pair(wire_local_pair);
    get();
    for (int i = 0; i < 600 && failed == 0; i++) {
        trace[0] = '\0';
        wire_send(far, "HTTP/1.1 100 Continue\r\n\r\n");
        wire_rounds();
        assert_in_range(tg_slab_leased(worker.slab), 0, arena.limit + 65536);
    }
    assert_string_equal(trace, "failed NOMEM|");
}

static void test_a_head_byte_by_byte(void **state)
{
    static const char text[] = "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 2\r\n\r\n";
    (void)state;
    open_pair(wire_local_pair);
    get();
    for (size_t i = 0; i + 1 < sizeof(text) - 1; i++) {
        wire_send_bytes(far, text + i, 1);
        assert_trace("");
    }
    answered("\n", "head 200|");
    answered("a", "body:a|");
    answered("b", "body:b|end|");
}

static void assert_fails(const char *answer, const char *want)
{
    connected = 0;
    open_pair(wire_local_pair);
    get();
    answered(answer, want);
    assert_int_equal(client.state, TG_H1_CLIENT_CLOSED);
    wire_expect_end(far);
    tg_arena_release(&arena);
    close(far);
    far = -1;
}

static void test_answers_that_break_the_protocol(void **state)
{
    char large[1200];
    (void)state;
    assert_fails("HTTP/1.1 200 OK\nA: b\r\n\r\n", "failed PROTOCOL|");
    assert_fails("SSH-2.0-OpenSSH\r\n\r\n", "failed PROTOCOL|");
    assert_fails("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                 "failed PROTOCOL|");
    assert_fails("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                 "head 200|failed PROTOCOL|");
    memset(large, 'a', sizeof(large));
    memcpy(large, "HTTP/1.1 200 OK\r\nA: ", 20);
    memcpy(large + sizeof(large) - 5, "\r\n\r\n", 5);
    assert_fails(large, "failed PROTOCOL|");
    large[sizeof(large) - 3] = '\0'; /* and without an end */
    assert_fails(large, "failed PROTOCOL|");
}

static void test_origins_that_leave_at_every_byte(void **state)
{
    static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd";
    (void)state;
    for (size_t n = 0; n < sizeof(text) - 1; n++) {
        connected = failed = 0;
        open_pair(wire_local_pair);
        get();
        wire_send_bytes(far, text, n);
        wire_rounds();
        close(far);
        far = -1;
        wire_until(&failed);
        assert_non_null(strstr(trace, "failed CLOSED|"));
        assert_null(strstr(trace, "end|"));
        assert_int_equal(client.call.got_bytes, n > 0);
        tg_arena_release(&arena);
        assert_int_equal(tg_slab_leased(worker.slab), 0);
        trace[0] = '\0';
    }
}

static void test_an_origin_that_leaves_while_it_rests(void **state)
{
    (void)state;
    open_pair(wire_local_pair);
    get();
    answered("HTTP/1.1 204 No\r\n\r\n", "head 204|end|");
    next_exchange();
    close(far);
    far = -1;
    assert_trace("failed CLOSED|");
}

static void test_an_origin_that_speaks_out_of_turn(void **state)
{
    (void)state;
    open_pair(wire_local_pair);
    get();
    answered("HTTP/1.1 204 No\r\n\r\n", "head 204|end|");
    next_exchange();
    answered("HTTP/1.1 200 OK\r\n\r\n", "failed CLOSED|");
}

/* ---- Reading on demand -------------------------------------------------------------------------
 */

static void stop_reading(void)
{
    tg_call_read(&client.call, false);
}

static void off_and_on(void)
{
    tg_call_read(&client.call, false);
    tg_call_read(&client.call, true);
}

static void test_reading_stops_between_pieces(void **state)
{
    (void)state;
    open_pair(wire_local_pair);
    get();
    then_body = stop_reading;
    answered("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab", "head 200|body:ab|");
    answered("cd", "");
    tg_call_read(&client.call, true);
    assert_trace("body:cd|end|");
}

static void wait_with_the_body(const struct tg_response_head *head)
{
    (void)head;
    tg_call_read(&client.call, false);
}

static void test_a_body_waits_behind_its_head(void **state)
{
    (void)state;
    open_pair(wire_local_pair);
    get();
    then_head = wait_with_the_body;
    answered("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab", "head 200|");
    close(far);
    far = -1;
    assert_trace("");
    tg_call_read(&client.call, true);
    assert_trace("body:ab|failed CLOSED|"); /* the end is read in its turn */
}

static void test_reading_switched_on_within_the_call(void **state)
{
    (void)state;
    open_pair(wire_local_pair);
    get();
    then_body = off_and_on;
    answered("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabrest", "head 200|body:ab|end|");
    assert_false(tg_h1_client_is_reusable(&client));
}

static void close_it(void)
{
    tg_h1_client_close(&client);
}

static void test_closing_within_the_call(void **state)
{
    (void)state;
    open_pair(wire_local_pair);
    get();
    then_body = close_it;
    answered("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n",
             "head 200|body:ab|");
    wire_expect_end(far);
}

static void rest_and_begin(void)
{
    then_end = NULL;
    next_exchange();
    begin(TG_METHOD_GET, GET, TG_FRAMING_NONE);
    tg_call_send_end(&client.call, NULL);
}

static void test_the_next_exchange_begins_within_the_call(void **state)
{
    (void)state;
    open_pair(wire_local_pair);
    get();
    then_end = rest_and_begin;
    answered("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", "head 200|body:a|end|");
    wire_expect(far, GET);
    answered("HTTP/1.1 204 No\r\n\r\n", "head 204|end|");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_exchanges_one_after_the_other),
        TEST(test_framings),
        TEST(test_answers_without_a_body_end_with_their_head),
        TEST(test_bytes_behind_an_answer),
        TEST(test_informational_answers),
        TEST(test_informational_answers_without_end),
        TEST(test_a_head_byte_by_byte),
        TEST(test_answers_that_break_the_protocol),
        TEST(test_origins_that_leave_at_every_byte),
        TEST(test_an_origin_that_leaves_while_it_rests),
        TEST(test_an_origin_that_speaks_out_of_turn),
        TEST(test_reading_stops_between_pieces),
        TEST(test_a_body_waits_behind_its_head),
        TEST(test_reading_switched_on_within_the_call),
        TEST(test_closing_within_the_call),
        TEST(test_the_next_exchange_begins_within_the_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
