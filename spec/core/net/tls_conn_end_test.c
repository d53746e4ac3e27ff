/*
 * How connections of TLS end: by a goodbye or without one, in the middle of a record, while nobody
 * reads, and by our own hand where a peer talks on and says nothing.
 */
#include "net/tls_conn.h"

#include "tls_pair.h"

#include "net/tls_internal.h"

static int cut_fd; /* gives `cut_left` bytes more, and is at its end then; -1: none is cut */
static size_t cut_left;

/* In the place of the C library's. */
ssize_t recv(int fd, void *p, size_t n, int flags)
{
    if (fd != cut_fd)
        return recvfrom(fd, p, n, flags, NULL, NULL);
    ssize_t got = cut_left > 0 ? recvfrom(fd, p, TG_MIN(n, cut_left), flags, NULL, NULL) : 0;
    cut_left -= got > 0 ? (size_t)got : 0;
    return got;
}

static int setup_uncut(void **state)
{
    cut_fd = -1;
    return setup(state);
}

static void open_and_shake_hands(void)
{
    open_contexts();
    shake_hands();
    send_text(&server, &client, "tickets");
    client.in_n = client.readable = 0;
}

static void a_goodbye_is_an_end(void **state)
{
    (void)state;
    open_and_shake_hands();
    tg_conn_close(&client.conn);
    wire_until(&server.ended);
    assert_int_equal(server.err, TG_E_CLOSED);
}

/* The client says goodbye, and listens on for ours. */
static void a_goodbye_is_answered(void **state)
{
    (void)state;
    open_and_shake_hands();
    tg_conn_shutdown(&client.conn);
    wire_until(&server.ended); /* and is closed then */
    wire_until(&client.ended);
    assert_int_equal(client.err, TG_E_CLOSED);
}

/* What came whole is handed over; that the rest broke off is told after it. */
static void half_a_record_is_no_end(void **state)
{
    struct iovec one = {"0123456789", 10};
    struct iovec two = {"abcdefghij", 10};
    (void)state;
    open_and_shake_hands();
    tg_conn_set_reading(&client.conn, false);
    assert_int_equal(tg_conn_write(&server.conn, &one, 1), TG_OK);
    assert_int_equal(tg_conn_write(&server.conn, &two, 1), TG_OK);
    cut_fd = client.conn.fd;
    cut_left = 5 + 10 + 1 + 16 + 20; /* a record of TLS 1.3, and a part of the next */
    tg_conn_set_reading(&client.conn, true);
    wire_until(&client.ended);
    assert_int_equal(client.in_n, 10);
    assert_memory_equal(client.in, "0123456789", 10);
    assert_int_equal(client.err, TG_E_RESET);
}

/* ---- While nobody reads ------------------------------------------------------------------------
 */

static void a_goodbye_is_heard_while_nobody_reads(void **state)
{
    (void)state;
    open_and_shake_hands();
    tg_conn_set_reading(&server.conn, false);
    wire_rounds();
    int before = server.readable;
    tg_conn_close(&client.conn);
    wire_until(&server.ended);
    assert_int_equal(server.err, TG_E_CLOSED);
    assert_int_equal(server.readable, before);
    wire_rounds();
    assert_int_equal(server.ended, 1);
}

static void bytes_hide_a_goodbye_until_they_are_read(void **state)
{
    struct iovec last = {"last", 4};
    (void)state;
    open_and_shake_hands();
    tg_conn_set_reading(&server.conn, false);
    wire_rounds();
    assert_int_equal(tg_conn_write(&client.conn, &last, 1), TG_OK);
    tg_conn_close(&client.conn);
    wire_rounds();
    assert_int_equal(server.ended, 0);
    tg_conn_set_reading(&server.conn, true);
    wire_until(&server.ended);
    assert_int_equal(server.in_n, 4);
    assert_int_equal(server.err, TG_E_CLOSED);
}

/* Who does not close when told learns it once more when it reads. */
static void a_goodbye_that_was_told_is_read_too(void **state)
{
    (void)state;
    open_and_shake_hands();
    tg_conn_set_reading(&server.conn, false);
    tg_conn_shutdown(&client.conn);
    wire_until(&server.ended);
    server.ended = 0;
    tg_conn_set_reading(&server.conn, true);
    wire_until(&server.ended);
    assert_int_equal(server.err, TG_E_CLOSED);
}

/* ---- Talk --------------------------------------------------------------------------------------
 */

static void change_keys(int times)
{
    SSL *ssl = tg_tls_of(client.t)->ssl;
    for (int i = 0; i < times; i++) {
        assert_int_equal(SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        assert_int_equal(SSL_do_handshake(ssl), 1);
    }
}

static void new_keys_are_taken(void **state)
{
    (void)state;
    open_and_shake_hands();
    for (int i = 0; i < 3; i++) {
        change_keys(20);
        send_text(&client, &server, "and data");
    }
    assert_int_equal(server.ended, 0);
}

static void new_keys_without_end_are_one_too_many(void **state)
{
    (void)state;
    open_and_shake_hands();
    change_keys(100);
    wire_until(&server.ended);
    assert_int_equal(server.err, TG_E_LIMIT);
    assert_int_equal(tg_metrics_read(metrics, TG_METRIC_TLS_FLOODS), 1);
}

/* Records of a byte: a part of them is read, then others have their turn. */
static void many_small_records_are_read_in_turns(void **state)
{
    struct iovec iov;
    (void)state;
    open_and_shake_hands();
    wire_rounds();
    int before = server.readable;
    for (int i = 0; i < 300; i++) {
        iov = (struct iovec){"x", 1};
        assert_int_equal(tg_conn_write(&client.conn, &iov, 1), TG_OK);
    }
    uint64_t end = tg_clock_mono_now() + SUPPORT_PATIENCE * MS;
    while (server.in_n < 300 && tg_clock_mono_now() < end)
        wire_rounds();
    assert_int_equal(server.in_n, 300);
    assert_true(server.readable - before > 300 / 64);
}

#define with_wire(test) cmocka_unit_test_setup_teardown(test, setup_uncut, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_wire(a_goodbye_is_an_end),
        with_wire(a_goodbye_is_answered),
        with_wire(half_a_record_is_no_end),
        with_wire(a_goodbye_is_heard_while_nobody_reads),
        with_wire(bytes_hide_a_goodbye_until_they_are_read),
        with_wire(a_goodbye_that_was_told_is_read_too),
        with_wire(new_keys_are_taken),
        with_wire(new_keys_without_end_are_one_too_many),
        with_wire(many_small_records_are_read_in_turns),
    };
    return cmocka_run_group_tests_name("tls_conn_end", tests, make, drop);
}
