/* inbuf.h: the bytes of a connection that were read and not consumed yet, in one piece.
 *
 * Memory is leased when bytes are about to be read and returned when they are used up, so an idle
 * connection holds none. When a head is complete its slices must live as long as the request: the
 * request's arena adopts the memory, and what is behind the head is still read from there
 * (`borrowed`) until it is used up.
 */
#ifndef TG_HTTP_INBUF_H
#define TG_HTTP_INBUF_H

#include "base/arena.h"
#include "base/err.h"

struct tg_inbuf {
    char *mem;
    uint32_t cap;
    uint32_t pos;  /* first byte not consumed */
    uint32_t end;  /* behind the last byte read */
    bool borrowed; /* mem belongs to a request's arena */
};

static inline char *tg_inbuf_at(const struct tg_inbuf *in)
{
    return in->mem + in->pos;
}

static inline size_t tg_inbuf_left(const struct tg_inbuf *in)
{
    return in->end - in->pos;
}

/* Room to read into behind `end`: a fresh buffer of `size` bytes when there is none. TG_E_NOMEM;
 * TG_E_LIMIT when the buffer is full. */
enum tg_err tg_inbuf_reserve(struct tg_inbuf *in, struct tg_slab *slab, size_t size) TG_MUST_USE;

/* Moves the content to a buffer twice as large. */
enum tg_err tg_inbuf_grow(struct tg_inbuf *in, struct tg_slab *slab) TG_MUST_USE;

/* Consumes `n` bytes; the memory goes when none is left. */
void tg_inbuf_consume(struct tg_inbuf *in, struct tg_slab *slab, size_t n);

/* Gives the memory to `arena`; what is behind `pos` stays readable here. */
enum tg_err tg_inbuf_lend(struct tg_inbuf *in, struct tg_arena *arena) TG_MUST_USE;

/* Before the arena goes: what is left is copied to a buffer of our own. */
enum tg_err tg_inbuf_reclaim(struct tg_inbuf *in, struct tg_slab *slab) TG_MUST_USE;

/* Drops bytes and memory. */
void tg_inbuf_release(struct tg_inbuf *in, struct tg_slab *slab);

#endif
