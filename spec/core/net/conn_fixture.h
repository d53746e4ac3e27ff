/*
 * What the tests of net/conn share: an owner that counts its callbacks and does what the test asked
 * for. Include it after net/conn.h.
 */
#ifndef TG_SPEC_CONN_FIXTURE_H
#define TG_SPEC_CONN_FIXTURE_H

#include "wire.h"

struct owner {
    struct tg_conn conn;
    int readable, drained, gone, failed, timeouts, connected;
    enum tg_err err;
    char in[64];
    size_t in_n;
    bool close_in_callback;
};

static struct owner o;
static int far;

static void maybe_close(void)
{
    if (o.close_in_callback)
        tg_conn_close(&o.conn);
}

static void on_readable(struct tg_conn *conn)
{
    size_t n = 0;
    o.readable++;
    o.err = tg_conn_read(conn, o.in + o.in_n, sizeof(o.in) - o.in_n, &n);
    o.in_n += o.err == TG_OK ? n : 0;
    if (o.err != TG_OK && o.err != TG_E_AGAIN)
        tg_conn_close(conn);
    maybe_close();
}

static void on_drained(struct tg_conn *conn)
{
    o.drained++;
    assert_int_equal(tg_conn_pending(conn), 0);
    maybe_close();
}

static void on_gone(struct tg_conn *conn, enum tg_err err)
{
    (void)conn;
    o.gone++;
    o.err = err;
    maybe_close();
}

static void on_failed(struct tg_conn *conn, enum tg_err err)
{
    o.failed++;
    o.err = err;
    tg_conn_close(conn);
}

static void on_timeout(struct tg_conn *conn)
{
    (void)conn;
    o.timeouts++;
    maybe_close();
}

static void on_connected(struct tg_conn *conn, enum tg_err err)
{
    o.connected++;
    o.err = err;
    if (err != TG_OK)
        tg_conn_close(conn);
}

static const struct tg_conn_handler handler = {
    .on_readable = on_readable,
    .on_drained = on_drained,
    .on_gone = on_gone,
    .on_failed = on_failed,
    .on_timeout = on_timeout,
    .on_connected = on_connected,
};

static TG_UNUSED int setup(void **state)
{
    o = (struct owner){0};
    far = -1;
    return wire_init(state);
}

static TG_UNUSED int teardown(void **state)
{
    tg_conn_close(&o.conn);
    tg_conn_close(&o.conn); /* allowed twice */
    if (far >= 0)
        close(far);
    return wire_release(state);
}

static TG_UNUSED void open_pair(void (*pair)(int fds[2]))
{
    int fds[2];
    pair(fds);
    far = fds[1];
    assert_int_equal(tg_conn_open(&o.conn, &worker, fds[0], &handler), TG_OK);
    assert_true(tg_conn_is_open(&o.conn));
}

static TG_UNUSED void write_text(const char *text)
{
    struct iovec iov = {(void *)(uintptr_t)text, strlen(text)};
    assert_int_equal(tg_conn_write(&o.conn, &iov, 1), TG_OK);
}

/* Writes until the kernel takes no more; how many bytes were accepted. */
static TG_UNUSED size_t fill(char with)
{
    static char block[65536];
    size_t total = 0;
    memset(block, with, sizeof(block));
    while (tg_conn_pending(&o.conn) == 0) {
        struct iovec iov = {block, sizeof(block)};
        assert_int_equal(tg_conn_write(&o.conn, &iov, 1), TG_OK);
        total += sizeof(block);
    }
    return total;
}

/* Reads all that comes until nothing is pending any more; how many bytes came. */
static TG_UNUSED size_t drain(void)
{
    static char block[65536];
    size_t total = 0;
    for (;;) {
        ssize_t n = recv(far, block, sizeof(block), 0);
        total += n > 0 ? (size_t)n : 0;
        if (n <= 0 && tg_conn_pending(&o.conn) == 0)
            return total;
        wire_rounds();
    }
}

#endif
