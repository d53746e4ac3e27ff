/*
 * Connections over real sockets: reading on demand, back-pressure, deadlines, connecting, memory.
 */
#include "net/conn.h"

#include "conn_fixture.h"

static void test_reading_on_demand(void **state)
{
    (void)state;
    open_pair(wire_local_pair);
    wire_send(far, "abc");
    wire_rounds();
    assert_int_equal(o.readable, 0); /* not asked for */
    tg_conn_set_reading(&o.conn, true);
    wire_rounds();
    assert_int_equal(o.readable, 1);
    assert_memory_equal(o.in, "abc", 3);
    tg_conn_set_reading(&o.conn, false);
    wire_send(far, "def");
    wire_rounds();
    assert_int_equal(o.readable, 1);
    tg_conn_set_reading(&o.conn, true);
    wire_rounds();
    assert_memory_equal(o.in, "abcdef", 6);
}

static void test_reading_when_nothing_is_there(void **state)
{
    char byte;
    size_t n;
    (void)state;
    open_pair(wire_local_pair);
    assert_int_equal(tg_conn_read(&o.conn, &byte, 1, &n), TG_E_AGAIN);
}

static void test_writing_goes_out_at_once(void **state)
{
    struct iovec iov[3] = {{"ab", 2}, {"", 0}, {"cd", 2}};
    struct iovec nothing = {NULL, 0};
    (void)state;
    open_pair(wire_local_pair);
    assert_int_equal(tg_conn_write(&o.conn, iov, 3), TG_OK);
    assert_int_equal(tg_conn_write(&o.conn, &nothing, 1), TG_OK);
    assert_int_equal(tg_conn_pending(&o.conn), 0);
    wire_expect(far, "abcd");
    assert_int_equal(o.drained, 0);
}

static void test_back_pressure_and_order(void **state)
{
    (void)state;
    open_pair(wire_local_pair);
    size_t total = fill('x');
    struct iovec two[2] = {{"one", 3}, {"two", 3}};
    assert_int_equal(tg_conn_write(&o.conn, two, 2), TG_OK);
    size_t pending = tg_conn_pending(&o.conn);
    assert_true(pending > 6);
    wire_rounds();
    assert_int_equal(tg_conn_pending(&o.conn), pending);
    assert_int_equal(o.drained, 0);
    assert_int_equal(drain(), total + 6);
    assert_int_equal(o.drained, 1);
    assert_int_equal(tg_slab_leased(worker.slab), 0);
    write_text("after");
    wire_expect(far, "after");
}

static void test_closing_within_drained(void **state)
{
    (void)state;
    open_pair(wire_local_pair);
    tg_conn_set_reading(&o.conn, true);
    fill('x');
    wire_send(far, "also readable");
    o.close_in_callback = true;
    drain();
    assert_int_equal(o.drained + o.readable, 1); /* whichever came first closed it */
    wire_expect_end(far);
}

static void test_deadlines(void **state)
{
    (void)state;
    wire_fake_clock();
    open_pair(wire_local_pair);
    tg_conn_set_deadline(&o.conn, tg_loop_now(&worker.loop) + 100);
    wire_turn(99);
    assert_int_equal(o.timeouts, 0);
    tg_conn_set_deadline(&o.conn, tg_loop_now(&worker.loop) + 100);
    wire_turn(99);
    assert_int_equal(o.timeouts, 0);
    wire_turn(1);
    assert_int_equal(o.timeouts, 1);
    tg_conn_set_deadline(&o.conn, tg_loop_now(&worker.loop) + 100);
    tg_conn_set_deadline(&o.conn, 0);
    wire_turn(1000);
    assert_int_equal(o.timeouts, 1);
    tg_conn_set_deadline(&o.conn, tg_loop_now(&worker.loop) + 1);
    o.close_in_callback = true;
    wire_turn(1);
    assert_int_equal(o.timeouts, 2);
}

/* ---- Connecting --------------------------------------------------------------------------------
 */

static void test_connecting(void **state)
{
    struct tg_addr addr;
    struct tg_addr peer;
    (void)state;
    int listener = wire_listen(&addr);
    assert_int_equal(tg_conn_connect(&o.conn, &worker, &addr, &handler), TG_OK);
    assert_int_equal(o.connected, 0); /* never from within the call */
    far = wire_accept(listener);
    wire_until(&o.connected);
    assert_int_equal(o.err, TG_OK);
    write_text("hi");
    wire_expect(far, "hi");
    tg_conn_peer(&o.conn, &peer);
    assert_true(tg_addr_eq(&peer, &addr));
    wire_send(far, "yo");
    tg_conn_set_reading(&o.conn, true);
    wire_until(&o.readable);
    assert_memory_equal(o.in, "yo", 2);
    close(listener);
}

static void test_connecting_where_nobody_listens(void **state)
{
    struct tg_addr addr;
    (void)state;
    close(wire_listen(&addr));
    enum tg_err err = tg_conn_connect(&o.conn, &worker, &addr, &handler);
    if (err == TG_OK) {
        wire_until(&o.connected);
        err = o.err;
    }
    assert_int_equal(err, TG_E_REFUSED);
    assert_false(tg_conn_is_open(&o.conn));
}

static void test_closing_while_connecting(void **state)
{
    struct tg_addr addr;
    (void)state;
    int listener = wire_listen(&addr);
    assert_int_equal(tg_conn_connect(&o.conn, &worker, &addr, &handler), TG_OK);
    tg_conn_close(&o.conn);
    wire_rounds();
    assert_int_equal(o.connected, 0);
    close(listener);
}

/* ---- Memory ------------------------------------------------------------------------------------
 */

static void test_no_memory_for_the_timer_closes_the_socket(void **state)
{
    int fds[2];
    (void)state;
    wire_local_pair(fds);
    far = fds[1];
    tg_mem_fail_at(1);
    assert_int_equal(tg_conn_open(&o.conn, &worker, fds[0], &handler), TG_E_NOMEM);
    tg_mem_fail_at(0);
    assert_false(tg_conn_is_open(&o.conn));
    wire_expect_end(far);
}

static void test_no_memory_for_the_queue(void **state)
{
    static char block[1 << 20];
    struct iovec iov = {block, sizeof(block)};
    (void)state;
    open_pair(wire_local_pair);
    tg_mem_fail_at(1);
    assert_int_equal(tg_conn_write(&o.conn, &iov, 1), TG_E_NOMEM);
    tg_mem_fail_at(0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_reading_on_demand),
        TEST(test_reading_when_nothing_is_there),
        TEST(test_writing_goes_out_at_once),
        TEST(test_back_pressure_and_order),
        TEST(test_closing_within_drained),
        TEST(test_deadlines),
        TEST(test_connecting),
        TEST(test_connecting_where_nobody_listens),
        TEST(test_closing_while_connecting),
        TEST(test_no_memory_for_the_timer_closes_the_socket),
        TEST(test_no_memory_for_the_queue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
