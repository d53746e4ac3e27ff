/*
 * Streams and their bodies between a gateway that a test plays and nghttp2's client.
 */
#include "http/h2_server.h"

#include "h2_fixture.h"

/* ---- Answers -----------------------------------------------------------------------------------
 */

static void test_an_answer(void **state)
{
    (void)state;
    act.request = answer_ok;
    ask("GET", "/a", NULL);
    assert_traces("GET /a|idle|", "1:HEADERS 200|1:DATA 2|1:END|");
    ask("PUT", "/b", NULL);
    assert_traces("PUT /b|idle|", "3:HEADERS 200|3:DATA 2|3:END|");
}

static void test_many_answers_leave_in_one_write(void **state)
{
    (void)state;
    act.request = answer_ok;
    for (int i = 0; i < 20; i++)
        ask("GET", "/", NULL);
    talk();
    assert_int_equal(gw.begun, 20);
    assert_int_equal(peer.body, 40);
}

/* Who asks for many things at once has not shown yet that it takes answers. */
static void test_a_client_is_proven_by_an_answer_that_it_took(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        ask("GET", "/", NULL);
    talk();
    for (int i = 0; i < 3; i++)
        assert_false(stream_of(&gw.x[i])->proven);
    answer_ok(&gw.x[0]);
    talk();
    ask("GET", "/", NULL);
    talk();
    assert_true(stream_of(&gw.x[3])->proven);
}

static void test_an_answer_without_body(void **state)
{
    (void)state;
    ask("GET", "/", NULL);
    talk();
    answer(&gw.x[0], 204, "");
    assert_traces("GET /|idle|", "1:HEADERS 204|1:END|");
}

static void test_interim_heads_and_trailers(void **state)
{
    struct tg_fields fields;
    (void)state;
    ask("GET", "/", NULL);
    talk();
    struct exchange *x = &gw.x[0];
    tg_fields_init(&fields, &x->arena);
    assert_int_equal(tg_fields_add(&fields, TG_STR("Link"), TG_STR("</a>")), TG_OK);
    stream_of(x)->ops->send_info(x->stream, 103, &fields);
    send_head(x, 200, TG_FRAMING_CHUNKED, 0);
    send_body(x, "body");
    tg_fields_init(&fields, &x->arena);
    assert_int_equal(tg_fields_add(&fields, TG_STR("X-Sum"), TG_STR("4")), TG_OK);
    send_end(x, &fields);
    assert_traces("GET /|idle|",
                  "1:HEADERS 103|1:link=</a>|1:HEADERS 200|1:DATA 4|1:x-sum=4|1:END|");
}

static void test_a_broken_answer_is_a_reset(void **state)
{
    (void)state;
    ask("GET", "/", NULL);
    talk();
    send_head(&gw.x[0], 200, TG_FRAMING_LENGTH, 10);
    send_body(&gw.x[0], "half");
    talk();
    struct tg_stream *stream = stream_of(&gw.x[0]);
    end_exchange(&gw.x[0]);
    stream->ops->abort(stream);
    assert_traces("GET /|idle|", "1:HEADERS 200|1:DATA 4|1:RESET INTERNAL_ERROR|");
}

static char block[65536];

/* The client's window is 65,535 bytes, of the connection as well. */
static void test_an_answer_waits_for_the_window(void **state)
{
    (void)state;
    nghttp2_session_set_local_window_size(peer.session, NGHTTP2_FLAG_NONE, 0, 65535);
    ask("GET", "/", NULL);
    talk();
    struct tg_stream *stream = stream_of(&gw.x[0]);
    send_head(&gw.x[0], 200, TG_FRAMING_CHUNKED, 0);
    memset(block, 'x', sizeof(block));
    for (int i = 0; i < 3; i++)
        stream->ops->send_body(stream, tg_str(block, sizeof(block)));
    assert_true(stream->ops->pending(stream) > 0);
    talk(); /* nghttp2's client gives windows back by itself */
    assert_int_equal(peer.body, 3 * sizeof(block));
    assert_int_equal(stream->ops->pending(stream), 0);
    assert_true(gw.drained > 0);
    send_end(&gw.x[0], NULL);
    forget();
}

/* ---- Bodies ------------------------------------------------------------------------------------
 */

static size_t body_left;
static uint32_t body_flags;

static ssize_t give(nghttp2_session *session, int32_t id, uint8_t *p, size_t n, uint32_t *flags,
                    nghttp2_data_source *source, void *arg)
{
    (void)session;
    (void)id;
    (void)source;
    (void)arg;
    n = TG_MIN(n, body_left);
    memset(p, 'b', n);
    body_left -= n;
    if (body_left == 0)
        *flags |= body_flags;
    return n > 0 || body_flags != 0 ? (ssize_t)n : NGHTTP2_ERR_DEFERRED;
}

static const nghttp2_data_provider body_provider = {.read_callback = give};

static int32_t post(size_t n, uint32_t flags)
{
    body_left = n;
    body_flags = flags;
    return ask("POST", "/", &body_provider);
}

static void test_a_body_is_read_when_it_is_asked_for(void **state)
{
    (void)state;
    post(3, NGHTTP2_DATA_FLAG_EOF);
    assert_traces("POST /|", "");
    read_on(&gw.x[0]);
    assert_traces("body:bbb|end|", "");
    answer_ok(&gw.x[0]);
    assert_traces("idle|", "1:HEADERS 200|1:DATA 2|1:END|");
}

static void test_a_body_that_nobody_reads_stops_at_its_window(void **state)
{
    (void)state;
    post(1000000, NGHTTP2_DATA_FLAG_EOF);
    talk();
    assert_int_equal(1000000 - body_left, 65535);
    read_on(&gw.x[0]);
    talk();
    assert_int_equal(body_left, 0);
    assert_int_equal(stream_of(&gw.x[0])->bytes_in, 1000000);
    answer_ok(&gw.x[0]);
    forget();
}

static void test_waiting_bodies_do_not_stop_the_others(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) { /* more than the connection's window */
        post(1000000, NGHTTP2_DATA_FLAG_EOF);
        talk();
    }
    act.request = read_on;
    post(1000, NGHTTP2_DATA_FLAG_EOF);
    talk();
    assert_int_equal(stream_of(&gw.x[3])->bytes_in, 1000);
}

static void test_a_body_that_is_too_large(void **state)
{
    (void)state;
    gw.limits.request_body = 100;
    act.request = read_on;
    post(101, NGHTTP2_DATA_FLAG_EOF);
    talk();
    assert_non_null(strstr(gw.trace, "aborted LIMIT 413|"));
    assert_non_null(strstr(peer.trace, "1:HEADERS 413|"));
}

static void test_an_early_answer_stops_the_body(void **state)
{
    (void)state;
    act.request = answer_ok;
    post(10, 0);
    assert_traces("POST /|idle|", "1:HEADERS 200|1:DATA 2|1:END|");
}

static void test_trailers_of_a_request(void **state)
{
    nghttp2_nv nva[] = {NV("x-sum", "3")};
    (void)state;
    act.request = read_on;
    int32_t id = post(3, NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM);
    talk();
    assert_int_equal(nghttp2_submit_trailer(peer.session, id, nva, 1), 0);
    assert_traces("POST /|body:bbb|end+1|", "");
}

static void test_a_reset_of_the_client(void **state)
{
    (void)state;
    int32_t id = post(3, 0);
    talk();
    nghttp2_submit_rst_stream(peer.session, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
    assert_traces("POST /|aborted RESET 0|idle|", "1:RESET CANCEL|");
}

/* ---- Bounds ------------------------------------------------------------------------------------
 */

static void test_a_gateway_without_memory_refuses_the_stream(void **state)
{
    (void)state;
    gw.no_memory = true;
    ask("GET", "/", NULL);
    assert_traces("", "1:RESET REFUSED_STREAM|");
    gw.no_memory = false;
    act.request = answer_ok;
    ask("GET", "/", NULL);
    assert_traces("GET /|idle|", "3:HEADERS 200|3:DATA 2|3:END|");
}

static void test_pings_without_end(void **state)
{
    (void)state;
    gw.limits.h2_control = 20;
    for (int i = 0; i < 40; i++)
        nghttp2_submit_ping(peer.session, NGHTTP2_FLAG_NONE, NULL);
    talk();
    assert_string_equal(peer.trace, "GOAWAY ENHANCE_YOUR_CALM|ended|");
}

static void test_resets_without_end(void **state)
{
    (void)state;
    gw.limits.h2_resets = 10;
    for (int i = 0; i < 20; i++) {
        int32_t id = post(3, 0);
        talk();
        nghttp2_submit_rst_stream(peer.session, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
        talk();
    }
    assert_non_null(strstr(peer.trace, "GOAWAY ENHANCE_YOUR_CALM|"));
    assert_int_equal(gw.begun, 11);
}

/* The gateway resets them, as the client wants it to: the origin's work is lost all the same. */
static void test_bodies_that_are_no_bodies_without_end(void **state)
{
    (void)state;
    gw.limits.h2_resets = 10;
    for (int i = 0; i < 20; i++) {
        nghttp2_nv nva[] = {NV(":method", "POST"), NV(":scheme", "http"), NV(":authority", "a"),
                            NV(":path", "/"), NV("content-length", "1")};
        body_left = i % 2 == 0 ? 0 : 2; /* too short, or too long */
        body_flags = NGHTTP2_DATA_FLAG_EOF;
        nghttp2_submit_request(peer.session, NULL, nva, 5, &body_provider, NULL);
        talk();
    }
    assert_non_null(strstr(peer.trace, "GOAWAY ENHANCE_YOUR_CALM|"));
    assert_int_equal(gw.begun, 11);
}

/* ---- Time --------------------------------------------------------------------------------------
 */

static void test_an_idle_connection_is_told_to_go(void **state)
{
    (void)state;
    act.request = answer_ok;
    ask("GET", "/", NULL);
    forget();
    wire_turn(gw.limits.idle_timeout - MS);
    assert_traces("", "");
    wire_turn(MS);
    assert_traces("", "GOAWAY NO_ERROR|ended|");
    peer_close();
    assert_traces("closed|", "");
}

static void test_a_body_that_does_not_come(void **state)
{
    (void)state;
    act.request = read_on;
    post(3, 0);
    forget();
    for (uint64_t t = 0; t < gw.limits.read_timeout * 5 / 4; t += gw.limits.read_timeout / 16)
        wire_turn(gw.limits.read_timeout / 16);
    talk();
    assert_string_equal(gw.trace, "aborted TIMEOUT 408|idle|");
}

static void test_draining(void **state)
{
    (void)state;
    ask("GET", "/", NULL);
    talk();
    tg_h2_server_drain(&gw.server);
    assert_traces("GET /|", "GOAWAY NO_ERROR|GOAWAY NO_ERROR|");
    answer_ok(&gw.x[0]);
    assert_traces("idle|", "1:HEADERS 200|1:DATA 2|1:END|ended|");
    peer_close();
    assert_traces("closed|", "");
}

/* What the socket did not take of the last answer is waited for. */
static void test_draining_loses_nothing_that_is_under_way(void **state)
{
    int size = 4096;
    (void)state;
    assert_int_equal(setsockopt(gw.server.conn.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
    ask("GET", "/", NULL);
    talk();
    tg_h2_server_drain(&gw.server);
    talk();
    struct tg_stream *stream = stream_of(&gw.x[0]);
    send_head(&gw.x[0], 200, TG_FRAMING_CHUNKED, 0);
    stream->ops->send_body(stream, tg_str(block, 40000));
    send_end(&gw.x[0], NULL);
    wire_rounds();
    assert_true(tg_conn_pending(&gw.server.conn) > 0);
    talk();
    assert_int_equal(peer.body, 40000);
    assert_non_null(strstr(peer.trace, "1:END|"));
    assert_non_null(strstr(peer.trace, "GOAWAY NO_ERROR|"));
}

static void test_closing_with_streams_open(void **state)
{
    (void)state;
    ask("GET", "/1", NULL);
    ask("GET", "/2", NULL);
    forget();
    tg_h2_server_close(&gw.server);
    assert_string_equal(gw.trace, "aborted CANCELLED 0|aborted CANCELLED 0|closed|");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, h2_setup, h2_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_an_answer),
        TEST(test_many_answers_leave_in_one_write),
        TEST(test_a_client_is_proven_by_an_answer_that_it_took),
        TEST(test_an_answer_without_body),
        TEST(test_interim_heads_and_trailers),
        TEST(test_a_broken_answer_is_a_reset),
        TEST(test_an_answer_waits_for_the_window),
        TEST(test_a_body_is_read_when_it_is_asked_for),
        TEST(test_a_body_that_nobody_reads_stops_at_its_window),
        TEST(test_waiting_bodies_do_not_stop_the_others),
        TEST(test_a_body_that_is_too_large),
        TEST(test_an_early_answer_stops_the_body),
        TEST(test_trailers_of_a_request),
        TEST(test_a_reset_of_the_client),
        TEST(test_a_gateway_without_memory_refuses_the_stream),
        TEST(test_pings_without_end),
        TEST(test_resets_without_end),
        TEST(test_bodies_that_are_no_bodies_without_end),
        TEST(test_an_idle_connection_is_told_to_go),
        TEST(test_a_body_that_does_not_come),
        TEST(test_draining),
        TEST(test_draining_loses_nothing_that_is_under_way),
        TEST(test_closing_with_streams_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
