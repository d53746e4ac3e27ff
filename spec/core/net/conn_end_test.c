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

/* ---- A transport that has a last word ----------------------------------------------------------
 */

static enum tg_err greet_at_once(struct tg_transport *t)
{
    (void)t;
    return TG_OK;
}

static void say_bye(struct tg_transport *t)
{
    struct iovec iov = {"bye", 3};
    assert_int_equal(tg_conn_send_raw(t->conn, &iov, 1), TG_OK);
}

static void forget(struct tg_transport **t, bool quietly)
{
    (void)quietly;
    *t = NULL;
}

static const struct tg_transport_ops polite_ops = {
    .greet = greet_at_once, .shutdown = say_bye, .free = forget};

/* The kernel's room for what we send is used up, though nothing of it waits with us. */
static void fill_kernel(void)
{
    static const char block[65536];
    for (size_t n = sizeof(block); n > 0; n = n > 1 ? 1 : 0) {
        while (send(o.conn.fd, block, n, MSG_NOSIGNAL) > 0) {
        }
        assert_int_equal(errno, EAGAIN);
    }
}

static void test_shutdown_waits_for_the_last_word(void **state)
{
    static struct tg_transport polite = {.ops = &polite_ops};
    char block[65536];
    char last[3] = {0};
    ssize_t n;
    (void)state;
    open_pair(wire_local_pair);
    tg_conn_secure(&o.conn, &polite);
    fill_kernel();
    tg_conn_shutdown(&o.conn);
    assert_int_equal(tg_conn_pending(&o.conn), 3);
    while ((n = wire_recv(far, block, sizeof(block))) > 0) {
        if (n >= 3)
            memcpy(last, block + n - 3, 3);
    }
    assert_int_equal(n, 0);
    assert_memory_equal(last, "bye", 3);
    assert_int_equal(o.failed, 0);
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
        TEST(test_shutdown_waits_for_the_last_word),
        TEST(test_reset_is_seen_as_one),
        TEST(test_close_is_seen_as_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
