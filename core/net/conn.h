/* conn.h: a stream connection that is read on demand and written with back-pressure.
 *
 *   owner asks to read ---> on_readable(conn) ---> owner calls tg_conn_read() once or more
 *   owner writes ---------> sent at once; what the kernel does not take is copied and queued;
 *                           tg_conn_pending() > 0 tells the owner to stop its source;
 *                           on_drained(conn) tells it to go on
 *
 * The descriptor stays in the kernel's interest set; "do not read" is lazy: only when data arrives
 * that nobody wants is the interest changed, so request and response in turn cost no epoll_ctl.
 * While nobody reads, the owner still learns of a dead peer: on_gone(conn).
 *
 * The bytes go through a transport: a socket here, TLS or memory elsewhere. An idle connection
 * holds no buffer. A callback may close the connection, but the memory that holds it must stay
 * until the end of the loop's round: owners free themselves by tg_loop_defer(). One thread.
 */
#ifndef TG_NET_CONN_H
#define TG_NET_CONN_H

#include "base/buf.h"
#include "event/worker.h"
#include "net/addr.h"
#include "net/transport.h"

struct tg_conn;
struct tg_race;

struct tg_conn_handler {
    void (*on_readable)(struct tg_conn *conn);              /* bytes, end or error: read */
    void (*on_drained)(struct tg_conn *conn);               /* the queue is empty again */
    void (*on_gone)(struct tg_conn *conn, enum tg_err e);   /* peer left while nobody read */
    void (*on_failed)(struct tg_conn *conn, enum tg_err e); /* queued bytes could not be sent */
    void (*on_timeout)(struct tg_conn *conn);               /* tg_conn_set_deadline() passed */
    /* After tg_conn_connect() or tg_conn_secure(): it may be used, or why not. */
    void (*on_connected)(struct tg_conn *conn, enum tg_err e);
};

struct tg_conn {
    uint32_t magic;
    int fd;
    struct tg_worker *worker; /* borrowed */
    const struct tg_conn_handler *handler;
    struct tg_transport *transport; /* NULL: the bare socket; owned */

    /* private */
    ev_io io;
    struct tg_timer timer;
    struct tg_buf out;
    bool want_read;
    bool connecting;
    bool greeting; /* connected, and the transport is not ready */
    bool eof;      /* the peer has ended its side */
    bool ending;   /* our side ends when the queue is empty */
    uint8_t held;  /* 0; else which piece of the worker's outbox is of it, counted from 1 */
    union {
        struct tg_race *race; /* while `connecting`: NULL, or a second attempt; owned */
        uint64_t sent_at;     /* us of the loop's clock: when the kernel last took queued bytes */
    };
};

/* Takes ownership of the connected, non-blocking socket `fd` also on failure. That it sends at once
 * (TCP_NODELAY) it has from the socket that it was accepted from (net/listen). */
enum tg_err tg_conn_open(struct tg_conn *conn, struct tg_worker *worker, int fd,
                         const struct tg_conn_handler *handler) TG_MUST_USE;

/* Starts to connect to `addr`; the outcome comes by on_connected, never from within this call. */
enum tg_err tg_conn_connect(struct tg_conn *conn, struct tg_worker *worker,
                            const struct tg_addr *addr,
                            const struct tg_conn_handler *handler) TG_MUST_USE;

/* While `conn` connects: `addr` is where the same is to be had too. It is tried beside after a
 * quarter of a second, or when the first fails, and whichever stands first is the connection
 * (net/race.h). For lack of memory nothing happens. */
void tg_conn_race(struct tg_conn *conn, const struct tg_addr *addr);

/* For net/race: the second socket stands (`fd`, taken over), or (-1) both have failed. */
void tg_conn_end_race(struct tg_conn *conn, int fd, enum tg_err err);

/* Goes through `transport` (taken over) from now on: once the connection stands, it greets, and
 * on_connected tells the outcome, perhaps from within this call. Nothing was read or written yet
 * but by tg_conn_preface(). */
void tg_conn_secure(struct tg_conn *conn, struct tg_transport *transport);

/* The greeting goes on, which was parked; on_connected may follow from within. */
void tg_conn_resume(struct tg_conn *conn);

/* Bytes that go first, in clear, as soon as the connection stands: at most 512, copied. Before
 * tg_conn_secure(). */
enum tg_err tg_conn_preface(struct tg_conn *conn, const char *p, size_t n) TG_MUST_USE;

/* Opens `conn` on what `from` has: socket, transport and what is queued. `from` is closed, also on
 * failure, and nobody is told. */
enum tg_err tg_conn_adopt(struct tg_conn *conn, struct tg_conn *from,
                          const struct tg_conn_handler *handler) TG_MUST_USE;

/* Drops the transport and goes on with the bare socket, for a last word to who spoke no TLS. */
void tg_conn_strip(struct tg_conn *conn);

/* Why the transport failed, static text; NULL where there is nothing to say. */
const char *tg_conn_problem(const struct tg_conn *conn);

/* Closes at once and drops what is queued; no callback follows. Allowed on a closed one. */
void tg_conn_close(struct tg_conn *conn);

/* As tg_conn_close, but the peer sees a reset, not an end: for answers that break off. */
void tg_conn_reset(struct tg_conn *conn);

bool tg_conn_is_open(const struct tg_conn *conn);

/* Whether on_readable is wanted. */
void tg_conn_set_reading(struct tg_conn *conn, bool on);

/* Reads up to `cap` bytes. TG_OK with *n > 0; TG_E_AGAIN: nothing now; TG_E_CLOSED: the peer ended
 * its side; else the error of the connection, which the owner closes. */
enum tg_err tg_conn_read(struct tg_conn *conn, char *p, size_t cap, size_t *n) TG_MUST_USE;

/* Sends `count` elements in order behind what is queued; what does not go is copied and queued.
 * TG_OK, or the error of the connection, which the owner closes. `iov` is changed. */
enum tg_err tg_conn_write(struct tg_conn *conn, struct iovec *iov, int count) TG_MUST_USE;

/* The same for what ends a message: it may wait for the end of the loop's round, to go together
 * with what others wrote (net/outbox.h). It is not pending meanwhile; that it could not be sent is
 * told by on_failed. */
enum tg_err tg_conn_write_last(struct tg_conn *conn, struct iovec *iov, int count) TG_MUST_USE;

/* Either of them. */
typedef enum tg_err tg_conn_writer(struct tg_conn *conn, struct iovec *iov, int count);

/* What waits for the end of the round is sent now, or pending then. TG_OK, or the error of the
 * connection, which the owner closes. */
enum tg_err tg_conn_send_held(struct tg_conn *conn) TG_MUST_USE;

/* Bytes queued and not taken by the kernel yet (of TLS: as they are sent). */
static inline size_t tg_conn_pending(const struct tg_conn *conn)
{
    return conn->out.size;
}

/* Ends our side: the peer sees the end after all that was written. Only when nothing is pending;
 * what the transport then says may wait, and on_drained follows. */
void tg_conn_shutdown(struct tg_conn *conn);

/* on_timeout at `deadline` (us of the loop's clock); 0: never. */
void tg_conn_set_deadline(struct tg_conn *conn, uint64_t deadline);

/* For transports: the socket itself, as tg_conn_read() and tg_conn_write() without one. */
enum tg_err tg_conn_recv_raw(struct tg_conn *conn, char *p, size_t cap, size_t *n) TG_MUST_USE;
enum tg_err tg_conn_send_raw(struct tg_conn *conn, struct iovec *iov, int count) TG_MUST_USE;

/* The same in two steps, while it greets: what was queued leaves in one piece. */
enum tg_err tg_conn_queue_raw(struct tg_conn *conn, const char *p, size_t n) TG_MUST_USE;
enum tg_err tg_conn_flush_raw(struct tg_conn *conn) TG_MUST_USE;

/* The peer's address; of length 0 where it is not known. */
void tg_conn_peer(const struct tg_conn *conn, struct tg_addr *out);

#endif
