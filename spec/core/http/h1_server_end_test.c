/*
 * How connections of clients end when nothing is late: draining, closing, and tunnels.
 */
#include "http/h1_server.h"

#include "net/outbox.h"

#include "server_fixture.h"

/* ---- Draining and closing ----------------------------------------------------------------------
 */

static void test_draining(void **state)
{
    (void)state;
    server_open(wire_local_pair);
    wire_send(far, GET);
    assert_trace("GET /|");
    worker.draining = true;
    tg_h1_server_drain(&gw.server);
    assert_trace("");
    say_ok();
    wire_expect(far, OK_CLOSE_ANSWER);
    wire_expect_end(far);
}

static void test_draining_closes_what_is_idle(void **state)
{
    (void)state;
    server_open(wire_local_pair);
    worker.draining = true;
    tg_h1_server_drain(&gw.server);
    assert_trace("closed|");
}

/* What ends an answer waits for the end of the round, and may find the kernel full then. */
static void test_draining_lets_the_end_of_an_answer_go(void **state)
{
    static char block[65536];
    ssize_t n;
    size_t before = 0;
    (void)state;
    assert_int_equal(tg_outbox_open(&worker), TG_OK);
    act.request = say_ok;
    server_open(wire_local_pair);
    while ((n = send(gw.server.conn.fd, block, sizeof(block), MSG_NOSIGNAL)) > 0)
        before += (size_t)n;
    wire_send(far, GET);
    assert_trace("GET /|");
    worker.draining = true;
    tg_h1_server_drain(&gw.server);
    assert_trace("");
    for (; before > 0; before -= (size_t)n) {
        n = recv(far, block, TG_MIN(before, sizeof(block)), 0);
        assert_true(n > 0);
    }
    wire_expect(far, OK_ANSWER);
    wire_expect_end(far);
    assert_trace("closed|");
    tg_outbox_close(&worker);
}

static void test_draining_lets_a_head_come_to_its_end(void **state)
{
    (void)state;
    act.request = say_ok;
    server_open(wire_local_pair);
    wire_send(far, "GET / HTTP/1.1\r\n");
    wire_rounds();
    worker.draining = true;
    tg_h1_server_drain(&gw.server);
    wire_send(far, "Host: a\r\n\r\n");
    wire_expect(far, OK_CLOSE_ANSWER);
}

static void test_closing_breaks_an_exchange(void **state)
{
    (void)state;
    server_open(wire_local_pair);
    wire_send(far, GET);
    assert_trace("GET /|");
    tg_h1_server_close(&gw.server);
    assert_trace("aborted CANCELLED 0|closed|");
    wire_expect_end(far);
}

/* ---- Tunnels -----------------------------------------------------------------------------------
 */

static void switch_now(void)
{
    struct tg_response_head head = {.status = 101};
    tg_fields_init(&head.fields, &gw.arena);
    assert_int_equal(tg_fields_add(&head.fields, TG_STR("Upgrade"), TG_STR("x")), TG_OK);
    ops()->switch_protocols(stream(), &head);
    read_on();
}

#define UPGRADE  "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
#define SWITCHED "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"

static void open_tunnel(const char *more)
{
    act.request = switch_now;
    server_open(wire_local_pair);
    wire_send(far, UPGRADE);
    wire_send(far, more);
    wire_expect(far, SWITCHED);
    assert_string_equal(trace, *more != '\0' ? "GET /|body:early|" : "GET /|");
    trace[0] = '\0';
}

static void test_a_tunnel_carries_bytes_both_ways(void **state)
{
    (void)state;
    open_tunnel("");
    wire_send(far, "up");
    assert_trace("body:up|");
    send_body("down");
    wire_expect(far, "down");
}

static void test_bytes_that_came_with_the_head_are_the_tunnels(void **state)
{
    (void)state;
    act.request = switch_now;
    server_open(wire_local_pair);
    wire_send(far, UPGRADE "early");
    wire_expect(far, SWITCHED);
    assert_trace("GET /|body:early|");
    wire_send(far, "late");
    assert_trace("body:late|");
}

static void test_a_tunnel_ends_by_halves(void **state)
{
    (void)state;
    open_tunnel("");
    assert_int_equal(shutdown(far, SHUT_WR), 0);
    assert_trace("end|");
    send_body("still");
    wire_expect(far, "still");
    ops()->send_end(stream(), NULL);
    stream()->events = NULL; /* both halves have ended: nothing to be told any more */
    wire_expect_end(far);
    assert_trace("closed|");
}

static void test_a_tunnel_ends_from_our_side_first(void **state)
{
    (void)state;
    open_tunnel("");
    send_body("bye");
    ops()->send_end(stream(), NULL);
    wire_expect(far, "bye");
    wire_expect_end(far);
    wire_send(far, "more");
    assert_trace("body:more|");
    assert_int_equal(shutdown(far, SHUT_WR), 0);
    assert_trace("end|closed|");
}

static void test_a_tunnel_whose_last_bytes_wait(void **state)
{
    static char block[65536];
    (void)state;
    open_tunnel("");
    fill();
    ops()->send_end(stream(), NULL);
    assert_int_equal(shutdown(far, SHUT_WR), 0);
    assert_trace("end|");
    while (wire_recv(far, block, sizeof(block)) > 0) {
    }
    assert_trace("closed|");
}

static void test_a_client_resets_its_tunnel(void **state)
{
    (void)state;
    act.request = switch_now;
    server_open(wire_tcp_pair);
    wire_send(far, UPGRADE);
    wire_expect(far, SWITCHED);
    wire_reset(far);
    far = -1;
    wire_until(&gw.closed);
    assert_trace("GET /|aborted RESET 0|closed|");
}

static void test_no_timeout_for_a_silent_tunnel(void **state)
{
    (void)state;
    wire_fake_clock();
    open_tunnel("");
    wire_turn(86400 * TG_USEC_PER_SEC); /* the gateway watches both ends together */
    assert_trace("");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, server_setup, server_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_draining),
        TEST(test_draining_closes_what_is_idle),
        TEST(test_draining_lets_the_end_of_an_answer_go),
        TEST(test_draining_lets_a_head_come_to_its_end),
        TEST(test_closing_breaks_an_exchange),
        TEST(test_a_tunnel_carries_bytes_both_ways),
        TEST(test_bytes_that_came_with_the_head_are_the_tunnels),
        TEST(test_a_tunnel_ends_by_halves),
        TEST(test_a_tunnel_ends_from_our_side_first),
        TEST(test_a_tunnel_whose_last_bytes_wait),
        TEST(test_a_client_resets_its_tunnel),
        TEST(test_no_timeout_for_a_silent_tunnel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
