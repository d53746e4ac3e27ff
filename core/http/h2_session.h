/* h2_session.h: what both ends of HTTP/2 share of nghttp2: its memory, its errors, its output.
 *
 * nghttp2 takes its memory from base/mem, charged to connections. What a session has to send is
 * gathered in one block, leased for the while, and leaves in one write: heads, small bodies and
 * control frames of all streams that have something in the same round. Bodies go from the stream's
 * buffer into that block, once, without a detour through nghttp2 (NGHTTP2_DATA_FLAG_NO_COPY).
 *
 * One thread, the connection's.
 */
#ifndef TG_HTTP_H2_SESSION_H
#define TG_HTTP_H2_SESSION_H

#include "base/buf.h"
#include "base/list.h"
#include "net/conn.h"

#include <nghttp2/nghttp2.h>

/* All that one session has. It is given back whole, in place of nghttp2_session_del(), which frees
 * blocks twice after some allocation failed (1.52, nghttp2_submit_data). Its address must stay. */
struct tg_h2_region {
    struct tg_list blocks;
};

void tg_h2_region_init(struct tg_h2_region *region);
void tg_h2_region_release(struct tg_h2_region *region);

/* The allocator that takes from `region`, which is borrowed. */
nghttp2_mem tg_h2_region_mem(struct tg_h2_region *region);

/* What an error of nghttp2 (negative) means here. */
enum tg_err tg_h2_session_err(int code);

/* Output under way; embedded where the callbacks find it. Zero it first. */
struct tg_h2_out {
    char *p; /* NULL: nothing is being sent */
    size_t n;
    bool full; /* a DATA frame did not fit */
};

/* Sends what the session has. TG_OK: all, or as much as the connection takes now: go on when it has
 * drained. TG_E_NOMEM and errors of the connection: it is to be closed. Callbacks of the session
 * run within. */
enum tg_err tg_h2_session_send(nghttp2_session *session, struct tg_conn *conn,
                               struct tg_h2_out *out) TG_MUST_USE;

/* For the send_data callback: a DATA frame with the first `n` bytes of `from`, which are consumed.
 * Returns what the callback has to. */
int tg_h2_out_data(struct tg_h2_out *out, const uint8_t *head, const nghttp2_data *frame, size_t n,
                   struct tg_buf *from);

#endif
