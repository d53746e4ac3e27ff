/*
 * Heads and bodies that are refused, clients that leave at any byte, writes that fail.
 */
#include "http/h1_server.h"

#include "server_fixture.h"

/* ---- Refused -----------------------------------------------------------------------------------
 */

static void test_a_bad_head_is_answered_and_closed(void **state)
{
    (void)state;
    server_open(wire_local_pair);
    assert_refused("GET / HTTP/1.1\nHost: a\r\n\r\n", "400 Bad Request", "refused 400|");
    hang_up();
    assert_trace("closed|");
}

static void test_a_head_that_the_parser_refuses(void **state)
{
    (void)state;
    server_open(wire_local_pair);
    assert_refused("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\nrest", "400 Bad Request",
                   "refused 400|");
}

static void test_a_bad_head_behind_a_good_one(void **state)
{
    (void)state;
    act.request = say_ok;
    server_open(wire_local_pair);
    wire_send(far, GET "BAD\x01\r\n\r\n");
    wire_expect(far, OK_ANSWER
                "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    wire_expect_end(far);
    assert_trace("GET /|refused 400|");
}

static void test_a_head_that_is_too_large(void **state)
{
    char value[600];
    char text[1000];
    (void)state;
    gw.limits.request_headers = 512;
    act.request = say_ok;
    server_open(wire_local_pair);
    memset(value, 'v', sizeof(value));
    value[450] = '\0';
    snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\nX: %s\r\n\r\n", value);
    wire_send(far, text);
    wire_expect(far, OK_ANSWER);
    assert_trace("GET /|");
    value[450] = 'v';
    value[599] = '\0';
    snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\nX: %s\r\n\r\n", value);
    assert_refused(text, "431 Request Header Fields Too Large", "refused 431|");
}

static void test_a_head_without_end_is_too_large(void **state)
{
    (void)state;
    gw.limits.request_headers = 512;
    server_open(wire_local_pair);
    wire_send(far, "GET / HTTP/1.1\r\n");
    for (int i = 0; i < 50; i++)
        wire_send(far, "X: aaaaaaaaaa\r\n");
    assert_refused("", "431 Request Header Fields Too Large", "refused 431|");
}

static void test_a_target_that_is_too_long(void **state)
{
    (void)state;
    gw.limits.request_target = 64;
    server_open(wire_local_pair);
    wire_send(far, "GET /");
    for (int i = 0; i < 20; i++)
        wire_send(far, "aaaaaaaaaaaaaaaa");
    assert_refused("", "414 URI Too Long", "refused 414|");
}

static void test_a_body_that_is_declared_too_large(void **state)
{
    (void)state;
    gw.limits.request_body = 5;
    server_open(wire_local_pair);
    assert_refused(POST, "413 Content Too Large", "refused 413|");
}

static void test_a_chunked_body_that_grows_too_large(void **state)
{
    (void)state;
    gw.limits.request_body = 5;
    act.request = read_on;
    act.aborted = say_status;
    server_open(wire_local_pair);
    wire_send(far, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    assert_trace("POST /|body:abc|");
    assert_refused("3\r\ndef\r\n", "413 Content Too Large", "aborted LIMIT 413|");
}

static void test_a_broken_chunk(void **state)
{
    (void)state;
    act.request = read_on;
    act.aborted = say_status;
    server_open(wire_local_pair);
    wire_send(far, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_refused("zz\r\n", "400 Bad Request", "POST /|aborted PROTOCOL 400|");
}

static void test_a_broken_chunk_when_the_answer_has_begun(void **state)
{
    (void)state;
    act.request = read_on;
    server_open(wire_tcp_pair);
    wire_send(far, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    wire_until(&gw.begun);
    wire_rounds();
    send_head(200, TG_FRAMING_CHUNKED, 0);
    ops()->flush(stream());
    wire_expect(far, "HTTP/1.1 200 OK\r\n");
    wire_send(far, "zz\r\n");
    wire_until(&gw.closed);
    assert_trace("POST /|aborted PROTOCOL 0|closed|");
}

static void test_no_memory_is_a_bare_503(void **state)
{
    (void)state;
    gw.no_memory = true;
    server_open(wire_local_pair);
    wire_send(far, GET);
    wire_expect(far, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
                     "Connection: close\r\n\r\n");
    wire_expect_end(far);
    hang_up();
    assert_trace("closed|");
}

/* The rest of a pipelined request fills its buffer, and in the round in which its turn comes more
 * bytes are there already. */
static int wake[2];

static void answer_in_this_round(struct ev_loop *ev, ev_io *w, int events)
{
    (void)events;
    ev_io_stop(ev, w);
    say_ok();
}

static void test_a_full_buffer_when_the_turn_comes(void **state)
{
    ev_io io;
    (void)state;
    assert_int_equal(pipe2(wake, O_CLOEXEC | O_NONBLOCK), 0);
    server_open(wire_local_pair);
    wire_send(far, GET "GET /2345678901234567890123456789012345678901234567890123456789a");
    assert_trace("GET /|");
    assert_int_equal(tg_inbuf_left(&gw.server.in), 64);
    ev_io_init(&io, answer_in_this_round, wake[0], EV_READ);
    ev_set_priority(&io, EV_MAXPRI);
    ev_io_start(worker.loop.ev, &io);
    assert_int_equal(write(wake[1], "x", 1), 1);
    wire_send(far, "d HTTP/1.1\r\nHost: a\r\n\r\n");
    wire_expect(far, OK_ANSWER);
    assert_trace("GET /2345678901234567890123456789012345678901234567890123456789ad|");
    close(wake[0]);
    close(wake[1]);
}

/* ---- Clients that leave ------------------------------------------------------------------------
 */

static void test_leaving_at_every_byte_of_a_request(void **state)
{
    static const char text[] = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabcdef";
    (void)state;
    act.request = read_on;
    for (size_t n = 0; n < sizeof(text) - 1; n++) {
        gw.aborted = false;
        gw.begun = gw.closed = 0;
        server_open(wire_local_pair);
        wire_send_bytes(far, text, n);
        wire_rounds();
        hang_up();
        wire_rounds();
        assert_int_equal(gw.closed, 1);
        assert_int_equal(gw.aborted, gw.begun);
        assert_int_equal(gw.begun, n >= sizeof(text) - 1 - 6);
        assert_int_equal(tg_slab_leased(worker.slab), 0);
        trace[0] = '\0';
    }
}

static void test_leaving_while_the_answer_is_awaited(void **state)
{
    (void)state;
    server_open(wire_local_pair);
    wire_send(far, GET);
    assert_trace("GET /|");
    hang_up();
    assert_trace("aborted CLOSED 0|closed|");
}

static void test_a_reset_while_the_answer_is_awaited(void **state)
{
    (void)state;
    server_open(wire_tcp_pair);
    wire_send(far, GET);
    wire_until(&gw.begun);
    wire_reset(far);
    far = -1;
    wire_until(&gw.closed);
    assert_trace("GET /|aborted RESET 0|closed|");
}

static void test_a_reset_while_the_answer_is_sent(void **state)
{
    (void)state;
    server_open(wire_tcp_pair);
    wire_send(far, GET);
    wire_until(&gw.begun);
    send_head(200, TG_FRAMING_CHUNKED, 0);
    fill();
    wire_reset(far);
    far = -1;
    wire_until(&gw.closed);
    assert_trace("GET /|aborted RESET 0|closed|");
}

/* The failure of a write is told at the end of the round, not from within. */
static void test_an_operation_that_fails(void **state)
{
    (void)state;
    server_open(wire_tcp_pair);
    wire_send(far, GET);
    wire_until(&gw.begun);
    wire_rounds();
    assert_int_equal(shutdown(gw.server.conn.fd, SHUT_WR), 0);
    send_head(200, TG_FRAMING_CHUNKED, 0);
    send_body("a");
    ops()->flush(stream());
    send_body("b");
    ops()->flush(stream());
    assert_int_equal(gw.closed, 0);
    wire_until(&gw.closed);
    assert_trace("GET /|aborted RESET 0|closed|");
}

static void test_aborting_is_a_reset(void **state)
{
    (void)state;
    server_open(wire_tcp_pair);
    wire_send(far, GET);
    wire_until(&gw.begun);
    send_head(200, TG_FRAMING_LENGTH, 10);
    send_body("abc");
    ops()->flush(stream());
    wire_expect(far, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    ops()->abort(stream());
    wire_expect_reset(far);
    assert_trace("GET /|closed|");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, server_setup, server_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_bad_head_is_answered_and_closed),
        TEST(test_a_head_that_the_parser_refuses),
        TEST(test_a_bad_head_behind_a_good_one),
        TEST(test_a_head_that_is_too_large),
        TEST(test_a_head_without_end_is_too_large),
        TEST(test_a_target_that_is_too_long),
        TEST(test_a_body_that_is_declared_too_large),
        TEST(test_a_chunked_body_that_grows_too_large),
        TEST(test_a_broken_chunk),
        TEST(test_a_broken_chunk_when_the_answer_has_begun),
        TEST(test_no_memory_is_a_bare_503),
        TEST(test_a_full_buffer_when_the_turn_comes),
        TEST(test_leaving_at_every_byte_of_a_request),
        TEST(test_leaving_while_the_answer_is_awaited),
        TEST(test_a_reset_while_the_answer_is_awaited),
        TEST(test_a_reset_while_the_answer_is_sent),
        TEST(test_an_operation_that_fails),
        TEST(test_aborting_is_a_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
