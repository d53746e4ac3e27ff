/* buf.h: a queue of bytes in a chain of slab blocks, for output that a peer does not take yet and
 * for bodies that somebody asked to have whole.
 *
 *   append ->  [block]->[block]->[block]  -> consume
 *              bytes are copied in; blocks go back to the slab as soon as they are empty
 *
 * An empty buffer holds no memory. Who fills one bounds it: there is no limit inside.
 */
#ifndef TG_BASE_BUF_H
#define TG_BASE_BUF_H

#include "base/err.h"
#include "base/slab.h"
#include "base/str.h"

#include <sys/uio.h>

struct tg_buf_block;

struct tg_buf {
    struct tg_slab *slab; /* borrowed */
    struct tg_buf_block *head;
    struct tg_buf_block *tail;
    size_t size; /* bytes queued */
};

/* An empty buffer on `slab` (borrowed). */
void tg_buf_init(struct tg_buf *buf, struct tg_slab *slab);

/* Drops all bytes and memory; the buffer is empty and usable again. */
void tg_buf_release(struct tg_buf *buf);

/* Copies `n` bytes to the end; on TG_E_NOMEM nothing was appended. */
enum tg_err tg_buf_append(struct tg_buf *buf, const char *p, size_t n) TG_MUST_USE;

/* Drops the first `n` bytes, n <= size. */
void tg_buf_consume(struct tg_buf *buf, size_t n);

/* Describes the first bytes in up to `max` elements of `iov`; returns how many were filled. Valid
 * until the next change of the buffer. */
int tg_buf_iov(const struct tg_buf *buf, struct iovec *iov, int max);

/* The bytes from `offset` on that lie in one piece; empty at the end. Valid as above. Cost: a step
 * per block before it, none for the last block. */
struct tg_str tg_buf_piece(const struct tg_buf *buf, size_t offset);

/* Copies all bytes to `out` (at least `size` bytes). */
void tg_buf_copy_out(const struct tg_buf *buf, char *out);

#endif
