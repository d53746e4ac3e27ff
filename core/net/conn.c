/* conn.c: sockets under libev. See conn.h for the contract. */
#include "base/banned.h"
#include "net/conn.h"

#include "base/assert.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <unistd.h>

#define CONN_MAGIC 0xc0ffee01u
#define FLUSH_IOV  16

static void update_interest(struct tg_conn *conn, int events)
{
    if (conn->io.events == events && ev_is_active(&conn->io))
        return;
    ev_io_stop(conn->worker->loop.ev, &conn->io);
    ev_io_set(&conn->io, conn->fd, events);
    if (events != 0)
        ev_io_start(conn->worker->loop.ev, &conn->io);
}

static int interest(const struct tg_conn *conn)
{
    return ev_is_active(&conn->io) ? conn->io.events & (EV_READ | EV_WRITE) : 0;
}

static void finish_connect(struct tg_conn *conn)
{
    int error = 0;
    socklen_t len = sizeof(error);
    conn->connecting = false;
    tg_assert(getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0);
    update_interest(conn, error == 0 ? EV_READ : 0);
    conn->handler->on_connected(conn, tg_err_from_errno(error));
}

/* Sends queued bytes; false when the connection failed and was reported. */
static bool flush(struct tg_conn *conn)
{
    struct iovec iov[FLUSH_IOV];
    while (conn->out.size > 0) {
        struct msghdr msg = {.msg_iov = iov};
        msg.msg_iovlen = (size_t)tg_buf_iov(&conn->out, iov, FLUSH_IOV);
        ssize_t sent = sendmsg(conn->fd, &msg, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN)
            return true;
        if (sent < 0) {
            conn->handler->on_failed(conn, tg_err_from_errno(errno));
            return false;
        }
        conn->sent_at = tg_loop_now(&conn->worker->loop);
        tg_buf_consume(&conn->out, (size_t)sent);
    }
    update_interest(conn, interest(conn) & ~EV_WRITE);
    conn->handler->on_drained(conn);
    return tg_conn_is_open(conn);
}

/* Bytes or an end arrived that nobody asked for: look without taking, and stop watching. */
static void unwanted_read(struct tg_conn *conn)
{
    char byte;
    ssize_t n = recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    update_interest(conn, interest(conn) & ~EV_READ);
    if (n > 0)
        return;
    conn->eof = true;
    conn->handler->on_gone(conn, n == 0 ? TG_E_CLOSED : tg_err_from_errno(errno));
}

static void on_io(struct ev_loop *ev, ev_io *w, int events)
{
    struct tg_conn *conn = w->data;
    (void)ev;
    tg_magic_check(conn, CONN_MAGIC);
    if (conn->connecting) {
        finish_connect(conn);
        return;
    }
    if ((events & EV_WRITE) && conn->out.size > 0 && !flush(conn))
        return;
    if (!(events & EV_READ))
        return;
    if (conn->want_read)
        conn->handler->on_readable(conn);
    else
        unwanted_read(conn);
}

static void on_timer(struct tg_timer *timer)
{
    struct tg_conn *conn = TG_CONTAINER_OF(timer, struct tg_conn, timer);
    tg_magic_check(conn, CONN_MAGIC);
    conn->handler->on_timeout(conn);
}

static enum tg_err setup(struct tg_conn *conn, struct tg_worker *worker, int fd,
                         const struct tg_conn_handler *handler)
{
    conn->magic = CONN_MAGIC;
    conn->fd = fd;
    conn->worker = worker;
    conn->handler = handler;
    conn->want_read = conn->connecting = conn->eof = false;
    tg_buf_init(&conn->out, worker->slab);
    ev_io_init(&conn->io, on_io, fd, 0);
    conn->io.data = conn;
    enum tg_err err = tg_timer_init(&conn->timer, &worker->loop.timers, on_timer);
    if (err != TG_OK) {
        close(fd);
        conn->fd = -1;
        conn->magic = 0;
    }
    return err;
}

enum tg_err tg_conn_open(struct tg_conn *conn, struct tg_worker *worker, int fd,
                         const struct tg_conn_handler *handler)
{
    int on = 1;
    enum tg_err err = setup(conn, worker, fd, handler);
    if (err != TG_OK)
        return err;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    update_interest(conn, EV_READ);
    return TG_OK;
}

enum tg_err tg_conn_connect(struct tg_conn *conn, struct tg_worker *worker,
                            const struct tg_addr *addr, const struct tg_conn_handler *handler)
{
    int on = 1;
    int fd = socket(addr->u.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return tg_err_from_errno(errno);
    enum tg_err err = setup(conn, worker, fd, handler);
    if (err != TG_OK)
        return err;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(fd, &addr->u.any, addr->len) != 0 && errno != EINPROGRESS) {
        err = tg_err_from_errno(errno);
        tg_conn_close(conn);
        return err;
    }
    conn->connecting = true;
    update_interest(conn, EV_WRITE);
    return TG_OK;
}

void tg_conn_close(struct tg_conn *conn)
{
    if (conn->fd < 0 || conn->magic != CONN_MAGIC)
        return;
    ev_io_stop(conn->worker->loop.ev, &conn->io);
    tg_timer_release(&conn->timer);
    tg_buf_release(&conn->out);
    close(conn->fd);
    conn->fd = -1;
    conn->magic = 0;
}

void tg_conn_reset(struct tg_conn *conn)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    if (conn->fd >= 0 && conn->magic == CONN_MAGIC)
        setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    tg_conn_close(conn);
}

bool tg_conn_is_open(const struct tg_conn *conn)
{
    return conn->magic == CONN_MAGIC && conn->fd >= 0;
}

void tg_conn_set_reading(struct tg_conn *conn, bool on)
{
    conn->want_read = on;
    if (on && !conn->connecting)
        update_interest(conn, interest(conn) | EV_READ);
}

enum tg_err tg_conn_read(struct tg_conn *conn, char *p, size_t cap, size_t *n)
{
    ssize_t got;
    do {
        got = recv(conn->fd, p, cap, 0);
    } while (got < 0 && errno == EINTR);
    if (got > 0) {
        *n = (size_t)got;
        return TG_OK;
    }
    if (got < 0)
        return tg_err_from_errno(errno);
    conn->eof = true;
    return TG_E_CLOSED;
}

/* Queues what is left of `iov` after `skip` bytes. */
static enum tg_err queue_rest(struct tg_conn *conn, const struct iovec *iov, int count, size_t skip)
{
    for (int i = 0; i < count; i++) {
        size_t here = TG_MIN(skip, iov[i].iov_len);
        skip -= here;
        if (here == iov[i].iov_len)
            continue;
        enum tg_err err =
            tg_buf_append(&conn->out, (char *)iov[i].iov_base + here, iov[i].iov_len - here);
        if (err != TG_OK)
            return err;
    }
    update_interest(conn, interest(conn) | EV_WRITE);
    return TG_OK;
}

/* One piece goes by send(), which the kernel unpacks faster than a message. */
static ssize_t send_pieces(int fd, struct iovec *iov, int count)
{
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = (size_t)count};
    ssize_t sent;
    do {
        sent = count == 1 ? send(fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL)
                          : sendmsg(fd, &msg, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent;
}

enum tg_err tg_conn_write(struct tg_conn *conn, struct iovec *iov, int count)
{
    size_t total = 0;
    ssize_t sent = 0;
    for (int i = 0; i < count; i++)
        total += iov[i].iov_len;
    if (total == 0)
        return TG_OK;
    if (conn->out.size == 0) {
        sent = send_pieces(conn->fd, iov, count);
        if (sent < 0 && errno != EAGAIN)
            return tg_err_from_errno(errno);
        sent = TG_MAX(sent, 0);
    }
    if ((size_t)sent == total)
        return TG_OK;
    if (conn->out.size == 0)
        conn->sent_at = tg_loop_now(&conn->worker->loop);
    return queue_rest(conn, iov, count, (size_t)sent);
}

void tg_conn_shutdown(struct tg_conn *conn)
{
    shutdown(conn->fd, SHUT_WR);
}

void tg_conn_set_deadline(struct tg_conn *conn, uint64_t deadline)
{
    if (deadline == 0)
        tg_timer_clear(&conn->timer);
    else
        tg_timer_set(&conn->timer, deadline);
}

void tg_conn_peer(const struct tg_conn *conn, struct tg_addr *out)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    *out = (struct tg_addr){0};
    if (getpeername(conn->fd, (struct sockaddr *)&ss, &len) == 0)
        tg_addr_from_sockaddr((struct sockaddr *)&ss, len, out);
}

void tg_conn_local(const struct tg_conn *conn, struct tg_addr *out)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    *out = (struct tg_addr){0};
    if (getsockname(conn->fd, (struct sockaddr *)&ss, &len) == 0)
        tg_addr_from_sockaddr((struct sockaddr *)&ss, len, out);
}
