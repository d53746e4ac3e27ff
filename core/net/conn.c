/* conn.c: sockets under libev. See conn.h for the contract. */
#include "base/banned.h"
#include "net/conn.h"

#include "base/assert.h"
#include "net/outbox.h"
#include "net/race.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/un.h>
#include <unistd.h>

#define CONN_MAGIC  0xc0ffee01u
#define FLUSH_IOV   16
#define PREFACE_MAX 512

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

/* Sends queued bytes: TG_OK, all are gone; TG_E_AGAIN; else the connection failed. */
static enum tg_err send_queued(struct tg_conn *conn)
{
    struct iovec iov[FLUSH_IOV];
    while (conn->out.size > 0) {
        struct msghdr msg = {.msg_iov = iov};
        msg.msg_iovlen = (size_t)tg_buf_iov(&conn->out, iov, FLUSH_IOV);
        ssize_t sent = sendmsg(conn->fd, &msg, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return tg_err_from_errno(errno);
        conn->sent_at = tg_loop_now(&conn->worker->loop);
        tg_buf_consume(&conn->out, (size_t)sent);
    }
    update_interest(conn, interest(conn) & ~EV_WRITE);
    if (conn->ending)
        shutdown(conn->fd, SHUT_WR);
    return TG_OK;
}

/* False when the connection failed and was reported, or is closed. */
static bool flush(struct tg_conn *conn)
{
    enum tg_err err = send_queued(conn);
    if (err == TG_E_AGAIN)
        return true;
    if (err == TG_OK)
        conn->handler->on_drained(conn);
    else
        conn->handler->on_failed(conn, err);
    return err == TG_OK && tg_conn_is_open(conn);
}

/* The owner may use the connection, or learns why not. */
static void be_connected(struct tg_conn *conn, enum tg_err err)
{
    int events = conn->out.size > 0 ? EV_READ | EV_WRITE : EV_READ;
    conn->connecting = conn->greeting = false;
    update_interest(conn, err == TG_OK ? events : 0);
    conn->handler->on_connected(conn, err);
}

/* A step of the transport's greeting. */
static void greet(struct tg_conn *conn)
{
    enum tg_err err = conn->transport->ops->greet(conn->transport);
    if (err != TG_E_AGAIN) {
        be_connected(conn, err);
        return;
    }
    int reading = conn->transport->parked ? 0 : EV_READ;
    update_interest(conn, reading | (conn->out.size > 0 ? EV_WRITE : 0));
}

static void go_on_greeting(struct tg_conn *conn, int events)
{
    enum tg_err err = events & EV_WRITE && conn->out.size > 0 ? send_queued(conn) : TG_OK;
    if (err != TG_OK && err != TG_E_AGAIN)
        be_connected(conn, err);
    else if (events & EV_READ && !conn->transport->parked)
        greet(conn);
}

/* The socket stands: what was to go first goes, then the transport greets. */
static void stand(struct tg_conn *conn)
{
    enum tg_err err = send_queued(conn); /* a new socket takes a preface whole */
    conn->connecting = false;
    conn->greeting = err == TG_OK && conn->transport != NULL;
    if (conn->greeting)
        greet(conn);
    else
        be_connected(conn, err == TG_E_AGAIN ? TG_E_SYSTEM : err);
}

/* While it connects. */
static void end_race(struct tg_conn *conn)
{
    tg_race_free(&conn->race);
    conn->sent_at = 0; /* in the same place */
}

static void finish_connect(struct tg_conn *conn)
{
    int error = 0;
    socklen_t len = sizeof(error);
    tg_assert(getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0);
    if (error != 0 && conn->race != NULL && tg_race_goes_on(conn->race, tg_err_from_errno(error))) {
        update_interest(conn, 0);
        return;
    }
    end_race(conn);
    if (error != 0)
        be_connected(conn, tg_err_from_errno(error));
    else
        stand(conn);
}

void tg_conn_race(struct tg_conn *conn, const struct tg_addr *addr)
{
    tg_assert(conn->connecting && conn->race == NULL);
    conn->race = tg_race_new(conn, addr);
}

void tg_conn_end_race(struct tg_conn *conn, int fd, enum tg_err err)
{
    end_race(conn);
    if (err != TG_OK) {
        be_connected(conn, err);
        return;
    }
    ev_io_stop(conn->worker->loop.ev, &conn->io);
    close(conn->fd);
    conn->fd = fd;
    ev_io_set(&conn->io, fd, 0);
    stand(conn);
}

/* As a transport's peek(). */
static enum tg_err peek_raw(const struct tg_conn *conn)
{
    char byte;
    ssize_t n = recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n > 0)
        return TG_OK;
    return n == 0 ? TG_E_CLOSED : errno == EINTR ? TG_E_AGAIN : tg_err_from_errno(errno);
}

/* Bytes or an end arrived that nobody asked for: look without taking, and stop watching. */
static void unwanted_read(struct tg_conn *conn)
{
    struct tg_transport *t = conn->transport;
    enum tg_err err = t != NULL ? t->ops->peek(t) : peek_raw(conn);
    if (err == TG_E_AGAIN)
        return;
    update_interest(conn, interest(conn) & ~EV_READ);
    if (err == TG_OK)
        return;
    conn->eof = true;
    conn->handler->on_gone(conn, err);
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
    if (conn->greeting) {
        go_on_greeting(conn, events);
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

/* The transport holds bytes that the kernel has handed over already. */
static void on_resume(struct tg_task *task)
{
    struct tg_transport *t = TG_CONTAINER_OF(task, struct tg_transport, resume);
    struct tg_conn *conn = t->conn;
    tg_magic_check(conn, CONN_MAGIC);
    if (t->more && conn->want_read && !conn->greeting)
        conn->handler->on_readable(conn);
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
    conn->transport = NULL;
    conn->sent_at = 0;
    conn->held = 0;
    conn->want_read = conn->connecting = conn->greeting = conn->eof = conn->ending = false;
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
    enum tg_err err = setup(conn, worker, fd, handler);
    if (err == TG_OK)
        update_interest(conn, EV_READ);
    return err;
}

/* Of a unix socket: that there is none, or that its backlog is full, is what a port would refuse.
 */
static enum tg_err err_of_socket(int error)
{
    return error == ENOENT || error == EAGAIN ? TG_E_REFUSED : tg_err_from_errno(error);
}

enum tg_err tg_conn_connect(struct tg_conn *conn, struct tg_worker *worker,
                            const struct tg_addr *addr, const struct tg_conn_handler *handler)
{
    int on = 1;
    struct sockaddr_un room;
    socklen_t len;
    const struct sockaddr *to = tg_addr_sockaddr(addr, &room, &len);
    int fd = socket(addr->u.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return tg_err_from_errno(errno);
    enum tg_err err = setup(conn, worker, fd, handler);
    if (err != TG_OK)
        return err;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(fd, to, len) != 0 && errno != EINPROGRESS) {
        err = tg_addr_is_unix(addr) ? err_of_socket(errno) : tg_err_from_errno(errno);
        tg_conn_close(conn);
        return err;
    }
    conn->connecting = true;
    conn->race = NULL;
    update_interest(conn, EV_WRITE);
    return TG_OK;
}

void tg_conn_secure(struct tg_conn *conn, struct tg_transport *transport)
{
    transport->conn = conn;
    tg_task_init(&transport->resume, on_resume);
    conn->transport = transport;
    if (conn->connecting)
        return;
    conn->greeting = true;
    greet(conn);
}

void tg_conn_resume(struct tg_conn *conn)
{
    tg_assert(conn->greeting);
    conn->transport->parked = false;
    greet(conn);
}

enum tg_err tg_conn_preface(struct tg_conn *conn, const char *p, size_t n)
{
    tg_assert(conn->connecting && n <= PREFACE_MAX);
    return tg_buf_append(&conn->out, p, n);
}

enum tg_err tg_conn_send_held(struct tg_conn *conn)
{
    return conn->held > 0 ? tg_outbox_take(conn) : TG_OK;
}

/* Before the connection changes or ends. Where that fails, reading will tell. */
static void send_held(struct tg_conn *conn)
{
    (void)!tg_conn_send_held(conn);
}

enum tg_err tg_conn_adopt(struct tg_conn *conn, struct tg_conn *from,
                          const struct tg_conn_handler *handler)
{
    send_held(from);
    struct tg_transport *transport = from->transport;
    struct tg_buf out = from->out;
    int fd = from->fd;
    from->transport = NULL;
    tg_buf_init(&from->out, from->worker->slab);
    from->fd = -1;
    ev_io_stop(from->worker->loop.ev, &from->io);
    tg_timer_release(&from->timer);
    from->magic = 0;
    enum tg_err err = setup(conn, from->worker, fd, handler);
    if (err != TG_OK) {
        tg_buf_release(&out);
        if (transport != NULL) {
            tg_task_cancel(&transport->resume);
            transport->ops->free(&transport, true);
        }
        return err;
    }
    conn->out = out;
    conn->sent_at = tg_loop_now(&conn->worker->loop); /* what is queued has its time from now on */
    conn->transport = transport;
    if (transport != NULL)
        transport->conn = conn;
    /* Not ev_io_set(): libev would take the descriptor for a new one, and the kernel be asked
     * twice. */
    ev_io_modify(&conn->io, out.size > 0 ? EV_READ | EV_WRITE : EV_READ);
    conn->io.events &= ~EV__IOFDSET;
    ev_io_start(conn->worker->loop.ev, &conn->io);
    return TG_OK;
}

/* `quietly`: without a proper end. */
static void drop_transport(struct tg_conn *conn, bool quietly)
{
    if (conn->transport == NULL)
        return;
    tg_task_cancel(&conn->transport->resume);
    conn->transport->ops->free(&conn->transport, quietly || conn->greeting);
}

void tg_conn_strip(struct tg_conn *conn)
{
    drop_transport(conn, true);
    conn->greeting = false;
}

const char *tg_conn_problem(const struct tg_conn *conn)
{
    return conn->transport != NULL ? conn->transport->ops->problem(conn->transport) : NULL;
}

static void close_conn(struct tg_conn *conn, bool quietly)
{
    if (conn->connecting)
        end_race(conn);
    send_held(conn);
    drop_transport(conn, quietly);
    ev_io_stop(conn->worker->loop.ev, &conn->io);
    tg_timer_release(&conn->timer);
    tg_buf_release(&conn->out);
    close(conn->fd);
    conn->fd = -1;
    conn->magic = 0;
}

void tg_conn_close(struct tg_conn *conn)
{
    if (conn->fd >= 0 && conn->magic == CONN_MAGIC)
        close_conn(conn, false);
}

void tg_conn_reset(struct tg_conn *conn)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    if (conn->fd < 0 || conn->magic != CONN_MAGIC)
        return;
    send_held(conn);
    setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close_conn(conn, true);
}

bool tg_conn_is_open(const struct tg_conn *conn)
{
    return conn->magic == CONN_MAGIC && conn->fd >= 0;
}

void tg_conn_set_reading(struct tg_conn *conn, bool on)
{
    bool stands = !conn->connecting && !conn->greeting;
    conn->want_read = on; /* behind that: to read what is beside a byte just written takes longer */
    if (!on || !stands)
        return;
    update_interest(conn, interest(conn) | EV_READ);
    if (conn->transport != NULL && conn->transport->more)
        tg_loop_defer(&conn->worker->loop, &conn->transport->resume);
}

enum tg_err tg_conn_read(struct tg_conn *conn, char *p, size_t cap, size_t *n)
{
    struct tg_transport *t = conn->transport;
    if (TG_LIKELY(t == NULL))
        return tg_conn_recv_raw(conn, p, cap, n);
    enum tg_err err = t->ops->read(t, p, cap, n);
    if (t->more)
        tg_loop_defer(&conn->worker->loop, &t->resume);
    return err;
}

enum tg_err tg_conn_recv_raw(struct tg_conn *conn, char *p, size_t cap, size_t *n)
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

enum tg_err tg_conn_queue_raw(struct tg_conn *conn, const char *p, size_t n)
{
    return tg_buf_append(&conn->out, p, n);
}

enum tg_err tg_conn_flush_raw(struct tg_conn *conn)
{
    if (conn->out.size == 0)
        return TG_OK;
    enum tg_err err = send_queued(conn);
    return err == TG_E_AGAIN ? TG_OK : err; /* the greeting waits for room */
}

enum tg_err tg_conn_write(struct tg_conn *conn, struct iovec *iov, int count)
{
    struct tg_transport *t = conn->transport;
    return TG_LIKELY(t == NULL) ? tg_conn_send_raw(conn, iov, count) : t->ops->write(t, iov, count);
}

enum tg_err tg_conn_write_last(struct tg_conn *conn, struct iovec *iov, int count)
{
    bool idle = conn->transport == NULL && conn->out.size == 0 && conn->held == 0;
    if (idle && count == 1 && tg_outbox_put(conn, iov->iov_base, iov->iov_len))
        return TG_OK;
    return tg_conn_write(conn, iov, count);
}

enum tg_err tg_conn_send_raw(struct tg_conn *conn, struct iovec *iov, int count)
{
    size_t total = 0;
    ssize_t sent = 0;
    enum tg_err err = tg_conn_send_held(conn);
    if (err != TG_OK)
        return err;
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
    send_held(conn);
    if (conn->transport != NULL)
        conn->transport->ops->shutdown(conn->transport);
    conn->ending = conn->out.size > 0; /* the transport's last word: the kernel is full */
    if (!conn->ending)
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
