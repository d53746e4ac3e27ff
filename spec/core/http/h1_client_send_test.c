/*
 * Requests to origins: what leaves when, back-pressure, writes that fail, time for each phase under
 * a clock that the test turns, tunnels.
 */
#include "http/h1_client.h"

#include "client_fixture.h"

/* ---- Writing -----------------------------------------------------------------------------------
 */

static void test_a_head_waits_for_company(void **state)
{
    (void)state;
    open_pair(wire_local_pair);
    begin(TG_METHOD_POST, "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n", TG_FRAMING_LENGTH);
    wire_expect_silence(far);
    tg_call_send_body(&client.call, TG_STR("ab"));
    wire_expect_silence(far);
    tg_call_flush(&client.call);
    wire_expect(far, "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nab");
    tg_call_send_body(&client.call, TG_STR("cd"));
    tg_call_send_end(&client.call, NULL);
    wire_expect(far, "cd");
}

static void test_a_chunked_request_with_trailers(void **state)
{
    struct tg_fields trailers;
    (void)state;
    open_pair(wire_local_pair);
    begin(TG_METHOD_POST, POST_CHUNKED, TG_FRAMING_CHUNKED);
    tg_call_send_body(&client.call, TG_STR("abc"));
    tg_call_send_body(&client.call, TG_STR(""));
    tg_call_flush(&client.call);
    tg_call_send_body(&client.call, TG_STR("de"));
    tg_fields_init(&trailers, &arena);
    assert_int_equal(tg_fields_add(&trailers, TG_STR("X"), TG_STR("1")), TG_OK);
    tg_call_send_end(&client.call, &trailers);
    wire_expect(far, POST_CHUNKED "3\r\nabc\r\n2\r\nde\r\n0\r\nX: 1\r\n\r\n");
}

static void test_back_pressure(void **state)
{
    static char block[65536];
    (void)state;
    open_pair(wire_local_pair);
    begin(TG_METHOD_POST, POST_CHUNKED, TG_FRAMING_CHUNKED);
    fill();
    wire_rounds();
    assert_int_equal(drained, 0);
    while (drained == 0) {
        assert_true(wire_recv(far, block, sizeof(block)) > 0);
        wire_rounds();
    }
    assert_int_equal(drained, 1);
}

static void test_an_early_answer(void **state)
{
    (void)state;
    open_pair(wire_local_pair);
    begin(TG_METHOD_POST, POST_CHUNKED, TG_FRAMING_CHUNKED);
    tg_call_send_body(&client.call, TG_STR("abc"));
    tg_call_flush(&client.call);
    answered("HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n", "head 413|end|");
    assert_false(tg_h1_client_is_reusable(&client)); /* our request is not out */
}

static void test_an_operation_that_fails_is_told_later(void **state)
{
    (void)state;
    open_pair(wire_tcp_pair);
    begin(TG_METHOD_POST, POST_CHUNKED, TG_FRAMING_CHUNKED);
    assert_int_equal(shutdown(client.conn.fd, SHUT_WR), 0);
    tg_call_send_body(&client.call, TG_STR("abc"));
    tg_call_flush(&client.call);
    tg_call_send_end(&client.call, NULL);
    assert_int_equal(failed, 0);
    assert_trace("failed RESET|");
}

/* Memory is out in the middle of a head: nothing of it goes. */
static void test_a_head_without_memory_is_not_sent_in_part(void **state)
{
    static char block[70000];
    (void)state;
    open_pair(wire_local_pair);
    begin(TG_METHOD_POST, POST_CHUNKED, TG_FRAMING_CHUNKED);
    arena.limit = arena.used;
    tg_fmt_add(&client.stage, tg_str(block, sizeof(block)));
    tg_call_send_body(&client.call, tg_str(block, sizeof(block)));
    tg_call_send_end(&client.call, NULL);
    assert_trace("failed NOMEM|");
    wire_expect_end(far);
}

static void test_a_last_chunk_without_memory_is_told(void **state)
{
    (void)state;
    open_pair(wire_local_pair);
    begin(TG_METHOD_POST, POST_CHUNKED, TG_FRAMING_CHUNKED);
    tg_call_flush(&client.call);
    arena.limit = arena.used;
    arena.at = arena.end;
    tg_call_send_end(&client.call, NULL);
    assert_trace("failed NOMEM|");
}

/* ---- Time --------------------------------------------------------------------------------------
 */

static void test_time_to_connect(void **state)
{
    struct tg_addr addr;
    (void)state;
    int listener = wire_listen(&addr);
    assert_int_equal(tg_h1_client_open(&client, &worker, &addr, 5 * TG_USEC_PER_SEC, &events, NULL),
                     TG_OK);
    wire_until(&connected);
    assert_trace("");
    close(listener);
}

static void test_nobody_listens(void **state)
{
    struct tg_addr addr;
    (void)state;
    close(wire_listen(&addr));
    enum tg_err err =
        tg_h1_client_open(&client, &worker, &addr, 5 * TG_USEC_PER_SEC, &events, NULL);
    if (err == TG_OK) {
        wire_until(&failed);
        assert_trace("failed REFUSED|");
    } else {
        assert_int_equal(err, TG_E_REFUSED);
        client.magic = 0;
    }
}

static void test_time_to_answer_counts_from_the_end_of_the_request(void **state)
{
    (void)state;
    wire_fake_clock();
    open_pair(wire_local_pair);
    begin(TG_METHOD_POST, POST_CHUNKED, TG_FRAMING_CHUNKED);
    tg_call_flush(&client.call);
    wire_turn(100 * limits.response);
    assert_trace("");
    tg_call_send_end(&client.call, NULL);
    wire_turn(limits.response - 1);
    answered("HTTP/1.1 100 Continue\r\n\r\nHTTP", "info 100|"); /* which buys no time */
    wire_turn(1);
    assert_trace("failed TIMEOUT|");
}

static void test_time_to_answer_has_an_absolute_end(void **state)
{
    (void)state;
    wire_fake_clock();
    open_pair(wire_local_pair);
    limits.deadline = tg_loop_now(&worker.loop) + 50;
    begin(TG_METHOD_POST, POST_CHUNKED, TG_FRAMING_CHUNKED);
    tg_call_flush(&client.call);
    wire_turn(49);
    assert_trace("");
    wire_turn(1);
    assert_trace("failed TIMEOUT|");
}

static void test_time_between_pieces_of_a_body(void **state)
{
    (void)state;
    wire_fake_clock();
    open_pair(wire_local_pair);
    get();
    answered("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na", "head 200|body:a|");
    wire_turn(limits.io - 1);
    answered("b", "body:b|");
    tg_call_read(&client.call, false);
    wire_turn(100 * limits.io); /* it is us who do not read */
    assert_trace("");
    tg_call_read(&client.call, true);
    wire_turn(limits.io - 1);
    assert_trace("");
    wire_turn(1);
    assert_trace("failed TIMEOUT|");
}

static void test_time_to_take_what_we_send(void **state)
{
    (void)state;
    wire_fake_clock();
    open_pair(wire_local_pair);
    begin(TG_METHOD_POST, POST_CHUNKED, TG_FRAMING_CHUNKED);
    fill();
    wire_turn(limits.io - 1);
    assert_trace("");
    wire_turn(1);
    assert_trace("failed TIMEOUT|");
}

static void test_time_to_rest(void **state)
{
    (void)state;
    wire_fake_clock();
    open_pair(wire_local_pair);
    get();
    answered("HTTP/1.1 204 No\r\n\r\n", "head 204|end|");
    next_exchange();
    wire_turn(REST - 1);
    assert_trace("");
    wire_turn(1);
    assert_trace("failed TIMEOUT|");
}

/* ---- Tunnels -----------------------------------------------------------------------------------
 */

static void begin_tunnel(const struct tg_response_head *head)
{
    (void)head;
    tg_call_begin_tunnel(&client.call);
}

static void open_tunnel(const char *head, enum tg_method method)
{
    open_pair(wire_local_pair);
    begin(method, GET, TG_FRAMING_NONE);
    tg_call_send_end(&client.call, NULL);
    wire_expect(far, GET);
    then_head = begin_tunnel;
    wire_send(far, head);
}

static void test_a_tunnel(void **state)
{
    (void)state;
    open_tunnel("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nearly", TG_METHOD_GET);
    assert_trace("head 101|body:early|");
    answered("late", "body:late|");
    tg_call_send_body(&client.call, TG_STR("up"));
    wire_expect(far, "up");
    assert_int_equal(shutdown(far, SHUT_WR), 0);
    assert_trace("end|");
    tg_call_send_body(&client.call, TG_STR("still"));
    tg_call_send_end(&client.call, NULL);
    wire_expect(far, "still");
    wire_expect_end(far);
}

static void test_a_tunnel_for_connect(void **state)
{
    (void)state;
    open_tunnel("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", TG_METHOD_CONNECT);
    assert_trace("head 200|");
    answered("raw bytes", "body:raw bytes|");
    tg_call_send_end(&client.call, NULL);
    wire_expect_end(far);
    answered("more", "body:more|");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_head_waits_for_company),
        TEST(test_a_chunked_request_with_trailers),
        TEST(test_back_pressure),
        TEST(test_an_early_answer),
        TEST(test_an_operation_that_fails_is_told_later),
        TEST(test_a_head_without_memory_is_not_sent_in_part),
        TEST(test_a_last_chunk_without_memory_is_told),
        TEST(test_time_to_connect),
        TEST(test_nobody_listens),
        TEST(test_time_to_answer_counts_from_the_end_of_the_request),
        TEST(test_time_to_answer_has_an_absolute_end),
        TEST(test_time_between_pieces_of_a_body),
        TEST(test_time_to_take_what_we_send),
        TEST(test_time_to_rest),
        TEST(test_a_tunnel),
        TEST(test_a_tunnel_for_connect),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
