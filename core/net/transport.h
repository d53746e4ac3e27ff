/* transport.h: what may stand between a connection and its socket: TLS.
 *
 * A struct tg_conn without a transport reads and writes its socket. One with a transport greets
 * first (the handshake), then reads and writes through it; the transport itself reaches the socket
 * by tg_conn_recv_raw() and tg_conn_send_raw(). Its owner is the connection that it was given to,
 * which frees it when it closes.
 *
 *   write   takes everything: what the socket does not take waits in the connection's queue, in the
 *           form in which it will be sent, so back-pressure is that of the socket
 *   read    may leave decoded bytes behind, of which the kernel knows nothing: `more` says so, and
 *           the connection reads on in the next round
 *
 * One thread, the connection's.
 */
#ifndef TG_NET_TRANSPORT_H
#define TG_NET_TRANSPORT_H

#include "base/err.h"
#include "event/loop.h"

#include <sys/uio.h>

struct tg_conn;
struct tg_transport;

struct tg_transport_ops {
    /* A step of the greeting: TG_OK: done; TG_E_AGAIN: bytes of the peer, or tg_conn_resume() when
     * `parked`, must come first; else the connection has failed. */
    enum tg_err (*greet)(struct tg_transport *t);
    /* As tg_conn_read() and tg_conn_write(). */
    enum tg_err (*read)(struct tg_transport *t, char *p, size_t cap, size_t *n);
    enum tg_err (*write)(struct tg_transport *t, struct iovec *iov, int count);
    /* Whether there is something to read() (TG_OK), nothing now (TG_E_AGAIN), or the peer has gone:
     * TG_E_CLOSED (in which way, read() tells), or the error of the connection. */
    enum tg_err (*peek)(struct tg_transport *t);
    /* Tells the peer that nothing more comes; what it says may be queued. */
    void (*shutdown)(struct tg_transport *t);
    /* What went wrong, in words, static text; NULL: nothing, or nothing is known. */
    const char *(*problem)(const struct tg_transport *t);
    /* The end. `quietly`: the peer must not take it for a proper one. */
    void (*free)(struct tg_transport **t, bool quietly);
};

struct tg_transport {
    const struct tg_transport_ops *ops;
    struct tg_conn *conn;  /* that owns it; NULL before it has one */
    struct tg_task resume; /* the connection's: reads on */
    bool more;             /* read() has more, or an end, to tell at once */
    bool parked;           /* greet() waits for somebody else than the peer */
};

#endif
