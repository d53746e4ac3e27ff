/* outbox.h: what ends a message is sent at the end of the loop's round, all connections together.
 *
 *   tg_conn_write_last() ---> copied into the outbox, where there is room
 *   end of the round -------> sent, one connection after the other; before deferred calls
 *   outbox is full ---------> sent at once, and the round goes on
 *   any other write, end or close of that connection ---> what it has here is sent before
 *   a plugin has run for long ---> sent: others do not wait for the next that does
 *
 * One send after another costs less than each between other work: the kernel's path is still in the
 * processor's caches. What has been put here counts as sent; what the kernel then does not take is
 * queued with the connection, and an error is told by its on_failed, or by its next write.
 *
 * One per worker, opened by who runs it; without one everything is sent at once. Bounds: 16 pieces
 * and 16 KiB, charged to connections. One thread.
 */
#ifndef TG_NET_OUTBOX_H
#define TG_NET_OUTBOX_H

#include "net/conn.h"

/* Gives `worker` an outbox. */
enum tg_err tg_outbox_open(struct tg_worker *worker) TG_MUST_USE;

/* Its connections are closed. Allowed without one. */
void tg_outbox_close(struct tg_worker *worker);

/* Sends all that is there now; nobody is told of a failure from within. Allowed without one. */
void tg_outbox_send(struct tg_worker *worker);

/* For net/conn. Takes a copy of `n` bytes for a connection that has nothing here and nothing
 * queued; false: it is for the caller to send them. */
bool tg_outbox_put(struct tg_conn *conn, const char *p, size_t n);

/* For net/conn, where `conn->held` says that something of it is here: sends it now. */
enum tg_err tg_outbox_take(struct tg_conn *conn);

#endif
