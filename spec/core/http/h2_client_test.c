/*
 * Exchanges on a connection to an origin that speaks HTTP/2: one after the other and at a time,
 * bodies under back-pressure, how they end, and what the connection does by itself.
 */
#include "http/h2_call.h"

#include "h2_call_fixture.h"

/* ---- Exchanges ---------------------------------------------------------------------------------
 */

static void test_one_after_the_other(void **state)
{
    (void)state;
    open_client(100);
    for (int i = 0; i < 3; i++) {
        get(&call);
        assert_int_equal(call.call.reused, i > 0);
        origin_answer(1 + 2 * i, "200", "abc");
        assert_trace("head 200|body:abc|end|");
        tg_h2_call_close(&call);
    }
    assert_seen("request 1|end|request 3|end|request 5|end|");
    assert_int_equal(client.requests, 3);
    assert_int_equal(client.call_count, 0);
}

static void test_many_at_a_time(void **state)
{
    (void)state;
    open_client(100);
    get(&a);
    get(&b);
    assert_int_equal(client.call_count, 2);
    origin_answer(3, "204", NULL);
    assert_trace("head 204|end|");
    origin_answer(1, "200", "x");
    assert_trace("head 200|body:x|end|");
    tg_h2_call_close(&a);
    tg_h2_call_close(&b);
    assert_seen("request 1|end|request 3|end|");
}

/* Nothing is left of it that would make the look-ups of later calls long. */
static void test_a_call_that_ends_before_it_leaves(void **state)
{
    (void)state;
    open_client(100);
    begin(&call, TG_METHOD_GET, GET, TG_FRAMING_NONE);
    tg_call_send_end(&call.call, NULL);
    assert_true(call.id > 0);
    tg_h2_call_close(&call);
    begin(&call, TG_METHOD_GET, GET, TG_FRAMING_NONE); /* at the same place in memory */
    tg_call_send_end(&call.call, NULL);
    int32_t id = call.id;
    origin_flush();
    assert_int_equal(client.orphans, 0);
    assert_ptr_equal(tg_h2_client_find(&client, id), &call);
    origin_answer(id, "200", "x");
    assert_trace("head 200|body:x|end|");
    tg_h2_call_close(&call);
    assert_int_equal(client.call_count, 0);
}

static void test_room(void **state)
{
    (void)state;
    open_client(2);
    assert_int_equal(rooms, 1); /* by the origin's SETTINGS */
    assert_int_equal(tg_h2_client_room(&client), 2);
    get(&a);
    get(&b);
    assert_int_equal(tg_h2_client_room(&client), 0);
    tg_h2_call_close(&a);
    assert_int_equal(tg_h2_client_room(&client), 1);
    tg_h2_call_close(&b);
    tg_h2_client_leave(&client);
    assert_int_equal(tg_h2_client_room(&client), 0);
}

static void test_bodies_and_trailers(void **state)
{
    struct tg_fields trailers;
    (void)state;
    open_client(100);
    begin(&call, TG_METHOD_POST, POST, TG_FRAMING_CHUNKED);
    tg_call_send_body(&call.call, TG_STR("abc"));
    assert_seen("request 1|body:abc|");
    tg_call_send_body(&call.call, TG_STR("de"));
    tg_fields_init(&trailers, &arena);
    assert_int_equal(tg_fields_add(&trailers, TG_STR("x-sum"), TG_STR("1")), TG_OK);
    tg_call_send_end(&call.call, &trailers);
    assert_seen("body:de|trailers 1|end|");
    origin_answer(1, "200", "");
    assert_trace("head 200|end|");
    tg_h2_call_close(&call);
}

static void test_an_answer_before_the_request_is_whole(void **state)
{
    (void)state;
    open_client(100);
    begin(&call, TG_METHOD_POST, POST, TG_FRAMING_CHUNKED);
    tg_call_flush(&call.call);
    origin_flush();
    origin_answer(1, "200", "early");
    assert_trace("head 200|body:early|end|");
    tg_h2_call_close(&call); /* the rest is not wanted */
    assert_seen("request 1|reset 1 8|");
}

/* ---- Back-pressure -----------------------------------------------------------------------------
 */

static void test_a_body_waits_for_windows(void **state)
{
    static char block[16384];
    size_t given = 0;
    (void)state;
    open_client(100);
    memset(block, 'x', sizeof(block));
    begin(&call, TG_METHOD_POST, POST, TG_FRAMING_CHUNKED);
    while (tg_call_pending(&call.call) == 0 && given < 1000000) {
        tg_call_send_body(&call.call, tg_str(block, sizeof(block)));
        given += sizeof(block);
    }
    assert_in_range(given, 1, 99999); /* the loop has not turned */
    assert_trace("drained|");
    tg_call_send_end(&call.call, NULL);
    origin_flush();
    tg_h2_call_close(&call);
}

static void test_what_nobody_reads_is_kept(void **state)
{
    (void)state;
    open_client(100);
    get(&call);
    tg_call_read(&call.call, false);
    origin_answer(1, "200", "kept");
    assert_trace("head 200|");
    tg_call_read(&call.call, true);
    assert_string_equal(trace, "body:kept|end|");
    tg_h2_call_close(&call);
}

static void test_a_stream_that_is_not_read_stops_at_its_window(void **state)
{
    static char body[300001];
    struct tg_h2_call *const slow = &a, *const quick = &b;
    (void)state;
    open_client(100);
    memset(body, 'x', sizeof(body) - 1);
    get(slow);
    get(quick);
    tg_call_read(&slow->call, false);
    origin_answer(1, "200", body);
    assert_int_equal(slow->in.size, TG_H2_WINDOW);
    trace[0] = '\0';
    origin_answer(3, "200", "quick");
    assert_trace("head 200|body:quick|end|");
    tg_call_read(&slow->call, true);
    origin_flush();
    assert_non_null(strstr(trace, "end|"));
    tg_h2_call_close(slow);
    tg_h2_call_close(quick);
}

/* ---- Ends --------------------------------------------------------------------------------------
 */

static void test_resets(void **state)
{
    (void)state;
    open_client(100);
    get(&call);
    assert_int_equal(nghttp2_submit_rst_stream(origin, 0, 1, NGHTTP2_REFUSED_STREAM), 0);
    assert_trace("failed RESET untouched|");
    get(&call);
    assert_int_equal(nghttp2_submit_rst_stream(origin, 0, 3, NGHTTP2_CANCEL), 0);
    assert_trace("failed RESET|");
    get(&call);
    assert_int_equal(nghttp2_submit_rst_stream(origin, 0, 5, NGHTTP2_HTTP_1_1_REQUIRED), 0);
    assert_trace("failed RESET|");
    assert_int_equal(call.call.refusal, TG_CALL_WANTS_HTTP1);
    assert_int_equal(client.call_count, 0);
}

static void test_goaway(void **state)
{
    (void)state;
    open_client(100);
    get(&a);
    get(&b);
    assert_int_equal(nghttp2_submit_goaway(origin, 0, 1, NGHTTP2_NO_ERROR, NULL, 0), 0);
    assert_trace("failed RESET untouched|");
    assert_int_equal(tg_h2_client_room(&client), 0);
    origin_answer(1, "200", "last");
    assert_trace("head 200|body:last|end|");
    tg_h2_call_close(&a);
}

static void test_the_end_of_the_connection(void **state)
{
    (void)state;
    open_client(100);
    get(&a);
    get(&b);
    close(far);
    far = -1;
    wire_until(&closed);
    assert_string_equal(trace, "failed CLOSED|failed CLOSED|");
    assert_int_equal(client.state, TG_H2_CLIENT_CLOSED);
    client.magic = 0;
}

static void test_times(void **state)
{
    (void)state;
    wire_fake_clock();
    open_client(100);
    get(&call);
    wire_turn(4 * TG_USEC_PER_SEC);
    assert_seen("request 1|end|");
    wire_turn(2 * TG_USEC_PER_SEC); /* no word for `ping` */
    assert_seen("ping|");           /* and its answer is one */
    wire_turn(13 * TG_USEC_PER_SEC);
    assert_trace("");
    wire_turn(2 * TG_USEC_PER_SEC);
    assert_trace("failed TIMEOUT|");
    assert_seen("reset 1 8|");
}

static void test_a_dead_connection(void **state)
{
    (void)state;
    wire_fake_clock();
    open_client(100);
    get(&call);
    wire_turn(6 * TG_USEC_PER_SEC);
    wire_turn(6 * TG_USEC_PER_SEC);
    assert_string_equal(trace, "failed CLOSED|");
    assert_int_equal(closed, 1);
    client.magic = 0;
}

static void test_an_idle_one_closes_with_a_word(void **state)
{
    (void)state;
    wire_fake_clock();
    open_client(100);
    tg_h2_client_rest(&client, TG_USEC_PER_SEC);
    wire_turn(2 * TG_USEC_PER_SEC);
    assert_int_equal(closed, 1);
    client.magic = 0;
    assert_seen("goaway|");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_one_after_the_other),
        TEST(test_many_at_a_time),
        TEST(test_a_call_that_ends_before_it_leaves),
        TEST(test_room),
        TEST(test_bodies_and_trailers),
        TEST(test_an_answer_before_the_request_is_whole),
        TEST(test_a_body_waits_for_windows),
        TEST(test_what_nobody_reads_is_kept),
        TEST(test_a_stream_that_is_not_read_stops_at_its_window),
        TEST(test_resets),
        TEST(test_goaway),
        TEST(test_the_end_of_the_connection),
        TEST(test_times),
        TEST(test_a_dead_connection),
        TEST(test_an_idle_one_closes_with_a_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
