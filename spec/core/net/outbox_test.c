/*
 * What ends messages leaves at the end of the loop's round: when it goes, what goes before it, what
 * a full kernel and a dead peer make of it, and who is told.
 */
#include "net/outbox.h"

#include "wire.h"

#define ENDS 18

/* A connection, and its far end. */
struct end {
    struct tg_conn conn;
    int far;
    int failed, drained;
    enum tg_err err;
};

static struct end ends[ENDS];
static struct end *to_close; /* by who is told of a failure */

static void on_drained(struct tg_conn *conn)
{
    TG_CONTAINER_OF(conn, struct end, conn)->drained++;
}

static void on_failed(struct tg_conn *conn, enum tg_err err)
{
    struct end *e = TG_CONTAINER_OF(conn, struct end, conn);
    e->failed++;
    e->err = err;
    tg_conn_close(conn);
    tg_outbox_send(&worker); /* changes nothing now */
    if (to_close != NULL)
        tg_conn_close(&to_close->conn);
}

static void on_gone(struct tg_conn *conn, enum tg_err err)
{
    (void)err;
    tg_conn_close(conn);
}

static const struct tg_conn_handler handler = {
    .on_drained = on_drained, .on_failed = on_failed, .on_gone = on_gone};

static int setup(void **state)
{
    memset(ends, 0, sizeof(ends));
    to_close = NULL;
    for (int i = 0; i < ENDS; i++)
        ends[i].far = -1;
    return wire_init(state) == 0 && tg_outbox_open(&worker) == TG_OK ? 0 : -1;
}

static int teardown(void **state)
{
    for (int i = 0; i < ENDS; i++) {
        tg_conn_close(&ends[i].conn);
        if (ends[i].far >= 0)
            close(ends[i].far);
    }
    tg_outbox_close(&worker);
    return wire_release(state);
}

static void open_ends(int n, void (*pair)(int fds[2]))
{
    for (int i = 0; i < n; i++) {
        int fds[2];
        pair(fds);
        ends[i].far = fds[1];
        assert_int_equal(tg_conn_open(&ends[i].conn, &worker, fds[0], &handler), TG_OK);
    }
}

static enum tg_err write_last(struct end *e, const char *text)
{
    struct iovec iov = {(void *)(uintptr_t)text, strlen(text)};
    return tg_conn_write_last(&e->conn, &iov, 1);
}

static enum tg_err write_more(struct end *e, const char *text)
{
    struct iovec iov = {(void *)(uintptr_t)text, strlen(text)};
    return tg_conn_write(&e->conn, &iov, 1);
}

/* Nothing has come so far; the loop is not turned. */
static void assert_waits(const struct end *e)
{
    char byte;
    assert_int_equal(recv(e->far, &byte, 1, 0), -1);
    assert_int_equal(errno, EAGAIN);
}

/* It has come already. */
static void assert_came(const struct end *e, const char *text)
{
    char got[64];
    ssize_t n = recv(e->far, got, sizeof(got), 0);
    assert_int_equal(n, strlen(text));
    assert_memory_equal(got, text, strlen(text));
}

/* As much as the kernel takes, past the connection. */
static size_t fill_kernel(const struct end *e)
{
    static const char block[65536];
    size_t total = 0;
    for (ssize_t n; (n = send(e->conn.fd, block, sizeof(block), MSG_NOSIGNAL)) > 0;)
        total += (size_t)n;
    return total;
}

static void take_bytes(const struct end *e, size_t n)
{
    static char block[65536];
    while (n > 0) {
        ssize_t got = recv(e->far, block, TG_MIN(n, sizeof(block)), 0);
        assert_true(got > 0);
        n -= (size_t)got;
    }
}

static void test_the_end_of_the_round(void **state)
{
    char own[] = "one";
    (void)state;
    open_ends(2, wire_local_pair);
    assert_int_equal(write_last(&ends[0], own), TG_OK);
    assert_int_equal(write_last(&ends[1], "two"), TG_OK);
    memset(own, '-', 3); /* it was copied */
    assert_int_equal(tg_conn_pending(&ends[0].conn), 0);
    assert_waits(&ends[0]);
    assert_waits(&ends[1]);
    wire_rounds();
    assert_came(&ends[0], "one");
    assert_came(&ends[1], "two");
    assert_int_equal(ends[0].drained, 0);
}

static int ran;

static void look(struct tg_task *task)
{
    (void)task;
    ran++;
    assert_came(&ends[0], "first");
}

static void test_before_deferred_calls(void **state)
{
    struct tg_task task;
    (void)state;
    open_ends(1, wire_local_pair);
    ran = 0;
    tg_task_init(&task, look);
    tg_loop_defer(&worker.loop, &task);
    assert_int_equal(write_last(&ends[0], "first"), TG_OK);
    wire_rounds();
    assert_int_equal(ran, 1);
}

static void test_order_within_a_connection(void **state)
{
    (void)state;
    open_ends(1, wire_local_pair);
    assert_int_equal(write_last(&ends[0], "a"), TG_OK);
    assert_int_equal(write_more(&ends[0], "b"), TG_OK);
    assert_came(&ends[0], "ab");
    assert_int_equal(write_last(&ends[0], "c"), TG_OK);
    assert_int_equal(write_last(&ends[0], "d"), TG_OK);
    assert_came(&ends[0], "cd");
    wire_rounds();
    assert_waits(&ends[0]);
}

static void test_ends_of_connections(void **state)
{
    struct tg_conn other;
    (void)state;
    open_ends(4, wire_tcp_pair);
    for (int i = 0; i < 4; i++)
        assert_int_equal(write_last(&ends[i], "bye"), TG_OK);
    assert_int_equal(tg_conn_send_held(&ends[0].conn), TG_OK);
    tg_conn_close(&ends[1].conn);
    tg_conn_shutdown(&ends[2].conn);
    assert_int_equal(tg_conn_adopt(&other, &ends[3].conn, &handler), TG_OK);
    for (int i = 0; i < 4; i++)
        wire_expect(ends[i].far, "bye");
    wire_expect_end(ends[1].far);
    wire_expect_end(ends[2].far);
    wire_expect_silence(ends[3].far);
    tg_conn_close(&other);
    wire_expect_end(ends[3].far);
}

static void test_bounds(void **state)
{
    static char large[4097];
    (void)state;
    memset(large, 'x', sizeof(large) - 1);
    open_ends(ENDS, wire_local_pair);
    for (int i = 0; i < 17; i++)
        assert_int_equal(write_last(&ends[i], "piece"), TG_OK);
    for (int i = 0; i < 16; i++) /* there was no room for the seventeenth beside them */
        assert_came(&ends[i], "piece");
    assert_waits(&ends[16]);
    for (int i = 0; i < 4; i++) /* fills the 16 KiB up but for what is in it */
        assert_int_equal(write_last(&ends[i], large), TG_OK);
    assert_came(&ends[16], "piece");
    assert_waits(&ends[3]);
    wire_rounds();
    take_bytes(&ends[3], sizeof(large) - 1);
    struct iovec whole = {large, sizeof(large)};
    assert_int_equal(tg_conn_write_last(&ends[17].conn, &whole, 1), TG_OK);
    take_bytes(&ends[17], sizeof(large)); /* too large to wait */
}

static void test_sending_at_once(void **state)
{
    (void)state;
    tg_outbox_send(&worker); /* nothing */
    open_ends(2, wire_local_pair);
    close(ends[1].far);
    ends[1].far = -1;
    assert_int_equal(write_last(&ends[0], "now"), TG_OK);
    assert_int_equal(write_last(&ends[1], "to whom"), TG_OK);
    tg_outbox_send(&worker);
    assert_came(&ends[0], "now");
    assert_int_equal(ends[1].failed, 0);
    wire_rounds();
    assert_int_equal(ends[1].failed, 1);
}

static void test_a_full_kernel(void **state)
{
    (void)state;
    open_ends(1, wire_local_pair);
    size_t before = fill_kernel(&ends[0]);
    assert_int_equal(write_last(&ends[0], "rest"), TG_OK);
    assert_int_equal(tg_conn_pending(&ends[0].conn), 0);
    wire_rounds();
    assert_int_equal(tg_conn_pending(&ends[0].conn), 4);
    assert_int_equal(tg_conn_send_held(&ends[0].conn), TG_OK); /* nothing is, any more */
    assert_int_equal(write_last(&ends[0], "!"), TG_OK);        /* behind it */
    assert_int_equal(tg_conn_pending(&ends[0].conn), 5);
    take_bytes(&ends[0], before);
    wire_until(&ends[0].drained);
    assert_came(&ends[0], "rest!");
    assert_int_equal(ends[0].failed, 0);
}

static void test_adopted_with_a_full_kernel(void **state)
{
    struct tg_conn *other = &ends[1].conn;
    (void)state;
    open_ends(1, wire_local_pair);
    size_t before = fill_kernel(&ends[0]);
    assert_int_equal(write_last(&ends[0], "rest"), TG_OK);
    assert_int_equal(tg_conn_adopt(other, &ends[0].conn, &handler), TG_OK);
    assert_int_equal(tg_conn_pending(other), 4);
    assert_int_equal(other->sent_at, tg_loop_now(&worker.loop)); /* not from the beginning */
    take_bytes(&ends[0], before);
    wire_expect(ends[0].far, "rest");
}

static void test_failures_are_told_at_the_end_of_the_round(void **state)
{
    (void)state;
    open_ends(4, wire_local_pair);
    for (int i = 0; i < 3; i++) {
        close(ends[i].far);
        ends[i].far = -1;
    }
    for (int i = 0; i < 4; i++)
        assert_int_equal(write_last(&ends[i], "to whom"), TG_OK);
    assert_int_equal(write_more(&ends[2], "the next write tells too"), TG_E_RESET);
    to_close = &ends[1]; /* whose own failure is not told any more */
    wire_rounds();
    assert_int_equal(ends[0].failed, 1);
    assert_int_equal(ends[0].err, TG_E_RESET);
    assert_int_equal(ends[1].failed, 0);
    assert_int_equal(ends[2].failed, 0);
    assert_int_equal(ends[3].failed, 0);
    assert_came(&ends[3], "to whom");
}

/* Sixteen that could not be sent, and are to be told, leave no room: others go at once. */
static void test_an_outbox_of_failures(void **state)
{
    (void)state;
    open_ends(ENDS, wire_local_pair);
    for (int i = 0; i < 16; i++) {
        close(ends[i].far);
        ends[i].far = -1;
        assert_int_equal(write_last(&ends[i], "x"), TG_OK);
    }
    assert_int_equal(write_last(&ends[16], "now"), TG_OK);
    assert_came(&ends[16], "now");
    assert_int_equal(ends[0].failed, 0); /* not from within another's write */
    assert_int_equal(write_more(&ends[15], "y"), TG_E_RESET);
    wire_rounds();
    for (int i = 0; i < 15; i++)
        assert_int_equal(ends[i].failed, 1);
    assert_int_equal(ends[15].failed, 0);
}

static void test_no_memory_for_what_is_left(void **state)
{
    (void)state;
    open_ends(1, wire_local_pair);
    fill_kernel(&ends[0]);
    assert_int_equal(write_last(&ends[0], "rest"), TG_OK);
    tg_mem_fail_at(1);
    wire_rounds();
    tg_mem_fail_at(0);
    assert_int_equal(ends[0].failed, 1);
    assert_int_equal(ends[0].err, TG_E_NOMEM);
}

static void test_without_an_outbox(void **state)
{
    (void)state;
    tg_outbox_close(&worker);
    tg_outbox_close(&worker);
    tg_outbox_send(&worker);
    open_ends(1, wire_local_pair);
    assert_int_equal(write_last(&ends[0], "now"), TG_OK);
    assert_came(&ends[0], "now");
    tg_mem_fail_at(1);
    assert_int_equal(tg_outbox_open(&worker), TG_E_NOMEM);
    tg_mem_fail_at(0);
    assert_int_equal(tg_outbox_open(&worker), TG_OK);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_the_end_of_the_round),
        TEST(test_before_deferred_calls),
        TEST(test_order_within_a_connection),
        TEST(test_ends_of_connections),
        TEST(test_bounds),
        TEST(test_sending_at_once),
        TEST(test_a_full_kernel),
        TEST(test_adopted_with_a_full_kernel),
        TEST(test_failures_are_told_at_the_end_of_the_round),
        TEST(test_an_outbox_of_failures),
        TEST(test_no_memory_for_what_is_left),
        TEST(test_without_an_outbox),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
