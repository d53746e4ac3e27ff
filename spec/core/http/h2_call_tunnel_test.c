/*
 * WebSockets as streams of a connection to an origin that speaks HTTP/2 (RFC 8441): when the head
 * goes, what answers to it, bytes both ways, and the ends of either side.
 */
#include "http/h2_call.h"

#include "h2_call_fixture.h"

#define UPGRADE                                                                                    \
    "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"               \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

/* What of a 101 has an accept that fits the key of UPGRADE. */
static void on_switch(struct tg_call *c, const struct tg_response_head *head)
{
    const struct tg_field *accept = tg_fields_find(&head->fields, TG_STR("Sec-WebSocket-Accept"));
    bool fits = accept != NULL && tg_str_eq(accept->value, TG_STR("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    note(trace, fits ? "head %u accepted" : "head %u", head->status);
    if (head->status == 101)
        tg_call_begin_tunnel(c);
}

static const struct tg_call_events tunnel_events = {NULL,   on_info,  on_switch,  on_body,
                                                    on_end, on_pause, on_drained, on_failed};

static void write_head(struct tg_h2_call *of)
{
    begin(of, TG_METHOD_GET, UPGRADE, TG_FRAMING_NONE);
    of->call.events = &tunnel_events;
    of->call.asks_tunnel = true;
    tg_call_send_end(&of->call, NULL);
}

static void ask(struct tg_h2_call *of)
{
    write_head(of);
    origin_flush();
}

/* Bytes that the origin has for a tunnel. */
struct source {
    size_t n;
    bool end;
};

static ssize_t give_some(nghttp2_session *session, int32_t id, uint8_t *to, size_t length,
                         uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct source *s = source->ptr;
    size_t n = TG_MIN(s->n, length);
    (void)session, (void)id, (void)arg;
    if (n == 0 && !s->end)
        return NGHTTP2_ERR_DEFERRED;
    memset(to, 'x', n);
    s->n -= n;
    if (s->n == 0 && s->end)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static void agree(int32_t id, struct source *s)
{
    nghttp2_nv nv = NV(":status", "200");
    nghttp2_data_provider provider = {.source.ptr = s, .read_callback = give_some};
    assert_int_equal(nghttp2_submit_response(origin, id, &nv, 1, &provider), 0);
    origin_flush();
}

static void test_bytes_and_ends_both_ways(void **state)
{
    struct source s = {.n = 3};
    (void)state;
    takes_tunnels = true;
    open_client(100);
    ask(&call);
    assert_seen("request 1|"); /* without an end */
    agree(1, &s);
    assert_trace("head 101 accepted|body:xxx|");
    tg_call_send_body(&call.call, TG_STR("ours"));
    assert_seen("body:ours|");
    tg_call_send_end(&call.call, NULL);
    assert_seen("end|");
    s = (struct source){.n = 2, .end = true};
    nghttp2_session_resume_data(origin, 1);
    assert_trace("body:xx|end|");
    tg_h2_call_close(&call);
    assert_seen("");
    assert_int_equal(client.state, TG_H2_CLIENT_OPEN);
}

static void test_the_head_waits_for_settings(void **state)
{
    int fds[2];
    struct tg_conn conn;
    (void)state;
    takes_tunnels = true;
    wire_local_pair(fds);
    far = fds[1];
    assert_int_equal(tg_conn_open(&conn, &worker, fds[0], &nobody), TG_OK);
    assert_int_equal(tg_h2_client_open(&client, &conn, &conf, &client_events, NULL), TG_OK);
    write_head(&call);
    begin(&a, TG_METHOD_GET, GET, TG_FRAMING_NONE);
    tg_call_send_end(&a.call, NULL);
    assert_int_equal(call.id, 0);
    assert_int_equal(a.id, 1); /* others do not wait */
    origin_open(100);
    assert_seen("request 1|end|request 3|");
    tg_h2_call_close(&a);
    tg_h2_call_close(&call);
    assert_seen("reset 1 8|reset 3 8|");
}

static void test_an_origin_that_takes_none(void **state)
{
    (void)state;
    open_client(100);
    ask(&call);
    assert_trace("failed UNSUPPORTED|");
    assert_seen("");
    assert_int_equal(call.call.refusal, TG_CALL_NOT_REFUSED); /* in clear text */
    get(&a);
    origin_answer(1, "204", NULL);
    assert_trace("head 204|end|");
    tg_h2_call_close(&a);
}

static void test_an_answer_that_is_no_tunnel(void **state)
{
    (void)state;
    takes_tunnels = true;
    open_client(100);
    ask(&call);
    origin_answer(1, "403", "no");
    assert_trace("head 403|body:no|end|");
    assert_seen("request 1|end|");
    tg_h2_call_close(&call);
    assert_seen("");
    ask(&call);
    origin_answer(3, "200", NULL);
    assert_trace("failed PROTOCOL|");
    assert_seen("request 3|reset 3 1|");
}

/* nghttp2 does not hold the body of an answer to CONNECT against its Content-Length. */
static void answer_with_length(int32_t id, const char *length, const char *body)
{
    nghttp2_nv nv[] = {NV(":status", "403"), NV("content-length", length)};
    nghttp2_data_provider provider = {.source.ptr = &body, .read_callback = give};
    assert_int_equal(nghttp2_submit_response(origin, id, nv, 2, &provider), 0);
    origin_flush();
}

static void test_a_refusal_that_is_not_as_long_as_it_says(void **state)
{
    (void)state;
    takes_tunnels = true;
    open_client(100);
    ask(&call);
    answer_with_length(1, "3", "no!");
    assert_trace("head 403|body:no!|end|");
    tg_h2_call_close(&call);
    ask(&call);
    answer_with_length(3, "4", "no!");
    assert_trace("head 403|body:no!|failed PROTOCOL|");
    ask(&call);
    answer_with_length(5, "2", "no!");
    assert_trace("head 403|failed PROTOCOL|");
    assert_seen("request 1|end|request 3|reset 3 1|request 5|reset 5 1|");
}

static void test_resets(void **state)
{
    struct source s = {0};
    (void)state;
    takes_tunnels = true;
    open_client(100);
    ask(&call);
    agree(1, &s);
    nghttp2_submit_rst_stream(origin, NGHTTP2_FLAG_NONE, 1, NGHTTP2_CANCEL);
    assert_trace("head 101 accepted|failed RESET|");
    ask(&call);
    agree(3, &s);
    tg_h2_call_close(&call); /* the client has gone */
    assert_seen("request 1|request 3|reset 3 8|");
}

/* The origin ends its side and then resets the stream: what it sent arrives, then it is gone. */
static void test_an_origin_that_ends_both_sides(void **state)
{
    struct source s = {0};
    (void)state;
    takes_tunnels = true;
    open_client(100);
    ask(&call);
    agree(1, &s);
    tg_call_read(&call.call, false);
    s = (struct source){.n = 5, .end = true};
    nghttp2_session_resume_data(origin, 1);
    origin_flush();
    nghttp2_submit_rst_stream(origin, NGHTTP2_FLAG_NONE, 1, NGHTTP2_NO_ERROR);
    assert_trace("head 101 accepted|");
    tg_call_read(&call.call, true);
    assert_trace("body:xxxxx|end|failed RESET|");
    ask(&call);
    s = (struct source){.end = false};
    agree(3, &s);
    s.end = true;
    nghttp2_session_resume_data(origin, 3);
    assert_trace("head 101 accepted|end|");
    close(far); /* the connection breaks: our side has not ended */
    far = -1;
    wire_rounds();
    assert_string_equal(trace, "failed CLOSED|");
    client.magic = 0;
}

static void test_back_pressure(void **state)
{
    static char piece[40000];
    struct source s = {.n = 500000};
    (void)state;
    takes_tunnels = true;
    memset(piece, 'y', sizeof(piece));
    open_client(100);
    ask(&call);
    tg_call_read(&call.call, false);
    agree(1, &s);
    assert_trace("head 101 accepted|");
    assert_int_equal(call.in.size, TG_H2_WINDOW); /* a window of it, no more */
    nghttp2_session_set_local_window_size(origin, NGHTTP2_FLAG_NONE, 1, 0);
    for (int i = 0; i < 2; i++) {
        tg_call_send_body(&call.call, tg_str(piece, sizeof(piece)));
        origin_flush();
    }
    assert_true(tg_call_pending(&call.call) > 0); /* the source stops */
    tg_call_read(&call.call, true);
    origin_flush();
    assert_int_equal(s.n, 0);
    assert_int_equal(call.in.size, 0);
    tg_h2_call_close(&call);
}

/* The time to the answer is bounded; a tunnel may rest, its idle time is the gateway's to bound. */
static void test_times(void **state)
{
    struct source s = {0};
    (void)state;
    takes_tunnels = true;
    wire_fake_clock();
    conf.ping = 0;
    open_client(100);
    ask(&call);
    agree(1, &s);
    wire_turn(100 * TG_USEC_PER_SEC);
    assert_trace("head 101 accepted|");
    ask(&a);
    wire_turn(21 * TG_USEC_PER_SEC);
    assert_trace("failed TIMEOUT|");
    tg_h2_call_close(&call);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_bytes_and_ends_both_ways),
        TEST(test_the_head_waits_for_settings),
        TEST(test_an_origin_that_takes_none),
        TEST(test_an_answer_that_is_no_tunnel),
        TEST(test_a_refusal_that_is_not_as_long_as_it_says),
        TEST(test_resets),
        TEST(test_an_origin_that_ends_both_sides),
        TEST(test_back_pressure),
        TEST(test_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
