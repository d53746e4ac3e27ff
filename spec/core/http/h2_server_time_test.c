/*
 * What a client of HTTP/2 may take its time for, from when on that counts, and what it may still
 * when memory is short.
 */
#include "http/h2_server.h"

#include "h2_fixture.h"

/* Turns the clock by `us`, in steps as small as those in which streams are looked at. */
static void pass(uint64_t us)
{
    for (uint64_t step = us / 64, at = 0; at < us; at += step)
        wire_turn(step);
    talk();
}

/* A request to a client that takes no body: its windows are of no bytes. */
static struct exchange *ask_without_a_window(void)
{
    nghttp2_settings_entry none = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0};
    nghttp2_submit_settings(peer.session, NGHTTP2_FLAG_NONE, &none, 1);
    ask("GET", "/", NULL);
    forget();
    return &gw.x[0];
}

static void test_an_answer_that_is_not_taken(void **state)
{
    struct exchange *x = ask_without_a_window();
    (void)state;
    answer_ok(x);
    pass(gw.limits.write_timeout / 2);
    assert_traces("", "1:HEADERS 200|");
    pass(gw.limits.write_timeout);
    assert_traces("idle|", "1:RESET CANCEL|");
}

/* The client has not been slow yet, whatever the origin was. */
static void test_an_answer_that_was_late_may_wait_as_long(void **state)
{
    struct exchange *x = ask_without_a_window();
    (void)state;
    pass(2 * gw.limits.write_timeout);
    answer_ok(x);
    pass(gw.limits.write_timeout / 2);
    assert_traces("", "1:HEADERS 200|");
    pass(gw.limits.write_timeout);
    assert_traces("idle|", "1:RESET CANCEL|");
}

/* As over HTTP/1.1: what waits in a tunnel has the time of a write, and no least rate. */
static void test_a_tunnel_has_no_rate(void **state)
{
    struct tg_response_head head = {.status = 101};
    struct exchange *x = ask_without_a_window();
    (void)state;
    gw.limits.write_rate = 256;
    gw.limits.rate_grace = gw.limits.write_timeout / 4;
    tg_fields_init(&head.fields, &x->arena);
    stream_of(x)->ops->switch_protocols(x->stream, &head);
    send_body(x, "a message");
    assert_traces("", "1:HEADERS 200|");
    pass(gw.limits.write_timeout / 2);
    assert_int_equal(tg_h2_server_relieve(&gw.server, tg_loop_now(&worker.loop), 1),
                     TG_H2_RELIEF_NONE);
    assert_traces("", "");
    pass(gw.limits.write_timeout);
    assert_traces("aborted TIMEOUT 0|idle|", "1:RESET CANCEL|");
}

static void test_relief(void **state)
{
    uint64_t at = tg_loop_now(&worker.loop);
    (void)state;
    act.request = answer_ok;
    ask("GET", "/", NULL);
    forget();
    uint64_t idle = TG_STREAM_CREDIT * MS;
    assert_int_equal(tg_h2_server_relieve(&gw.server, at + idle - 1, MS), TG_H2_RELIEF_NONE);
    assert_int_equal(tg_h2_server_relieve(&gw.server, at + idle, MS), TG_H2_RELIEF_IDLE);
    assert_traces("closed|", "GOAWAY NO_ERROR|ended|");
}

static void test_relief_of_who_asked_for_nothing_yet(void **state)
{
    uint64_t at = tg_loop_now(&worker.loop);
    (void)state;
    assert_int_equal(tg_h2_server_relieve(&gw.server, at + MS - 1, MS), TG_H2_RELIEF_NONE);
    assert_int_equal(tg_h2_server_relieve(&gw.server, at + MS, MS), TG_H2_RELIEF_IDLE);
    assert_string_equal(gw.trace, "closed|");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, h2_setup, h2_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_an_answer_that_is_not_taken),
        TEST(test_an_answer_that_was_late_may_wait_as_long),
        TEST(test_a_tunnel_has_no_rate),
        TEST(test_relief),
        TEST(test_relief_of_who_asked_for_nothing_yet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
