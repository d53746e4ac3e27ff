/*
 * How connections end: peers that leave or reset at any time, and how our own ends look to them.
 */
#include "net/conn.h"

#include "conn_fixture.h"

static void test_a_peer_that_leaves_while_nobody_reads(void **state)
{
    (void)state;
    open_pair(wire_local_pair);
    wire_rounds();
    close(far);
    far = -1;
    wire_until(&o.gone);
    assert_int_equal(o.err, TG_E_CLOSED);
    assert_int_equal(o.readable, 0);
    wire_rounds();
    assert_int_equal(o.gone, 1); /* told once */
}

static void test_a_reset_while_nobody_reads(void **state)
{
    (void)state;
    open_pair(wire_tcp_pair);
    wire_rounds();
    wire_reset(far);
    far = -1;
    wire_until(&o.gone);
    assert_int_equal(o.err, TG_E_RESET);
}

static void test_bytes_hide_an_end_until_they_are_read(void **state)
{
    (void)state;
    open_pair(wire_local_pair);
    wire_send(far, "last");
    assert_int_equal(shutdown(far, SHUT_WR), 0);
    wire_rounds();
    assert_int_equal(o.gone, 0);
    tg_conn_set_reading(&o.conn, true);
    wire_rounds();
    assert_memory_equal(o.in, "last", 4);
    assert_int_equal(o.err, TG_E_CLOSED);
}

static void test_reading_meets_a_reset(void **state)
{
    (void)state;
    open_pair(wire_tcp_pair);
    tg_conn_set_reading(&o.conn, true);
    wire_reset(far);
    far = -1;
    wire_until(&o.readable);
    assert_int_equal(o.err, TG_E_RESET);
}

static void test_writing_to_a_peer_that_reset(void **state)
{
    struct iovec iov = {"x", 1};
    (void)state;
    open_pair(wire_tcp_pair);
    wire_reset(far);
    far = -1;
    wire_until(&o.gone);
    assert_int_equal(tg_conn_write(&o.conn, &iov, 1), TG_E_RESET);
}

static void test_queued_bytes_that_cannot_be_sent(void **state)
{
    (void)state;
    open_pair(wire_tcp_pair);
    fill('x');
    wire_reset(far);
    far = -1;
    wire_until(&o.failed);
    assert_int_equal(o.err, TG_E_RESET);
}

static void test_shutdown_shows_the_end_behind_the_bytes(void **state)
{
    (void)state;
    open_pair(wire_local_pair);
    tg_conn_set_reading(&o.conn, true);
    write_text("bye");
    tg_conn_shutdown(&o.conn);
    wire_expect(far, "bye");
    wire_expect_end(far);
    wire_send(far, "heard");
    wire_rounds();
    assert_memory_equal(o.in, "heard", 5);
}

static void test_reset_is_seen_as_one(void **state)
{
    (void)state;
    open_pair(wire_tcp_pair);
    tg_conn_reset(&o.conn);
    assert_false(tg_conn_is_open(&o.conn));
    wire_expect_reset(far);
}

static void test_close_is_seen_as_an_end(void **state)
{
    (void)state;
    open_pair(wire_tcp_pair);
    tg_conn_close(&o.conn);
    wire_expect_end(far);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_peer_that_leaves_while_nobody_reads),
        TEST(test_a_reset_while_nobody_reads),
        TEST(test_bytes_hide_an_end_until_they_are_read),
        TEST(test_reading_meets_a_reset),
        TEST(test_writing_to_a_peer_that_reset),
        TEST(test_queued_bytes_that_cannot_be_sent),
        TEST(test_shutdown_shows_the_end_behind_the_bytes),
        TEST(test_reset_is_seen_as_one),
        TEST(test_close_is_seen_as_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
