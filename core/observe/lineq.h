/* lineq.h: a bounded queue of lines that tells of those it had to drop.
 *
 * The queue is a ring of bytes. A line that does not fit is dropped and counted; from then on every
 * line is, until a quarter of the ring is free again, so that losses come in few runs. The first
 * line taken afterwards, or an empty queue that is read, puts a line of our own in front:
 *
 *   2026-01-01T00:00:00.000Z warn log: dropped 12 lines
 *
 * or, among lines that begin with '{', the same as a JSON object. Every dropped line is told of
 * once.
 *
 * Not thread safe, with one exception: the bytes that tg_lineq_peek() shows stay where they are
 * until the reader itself calls advance or discard, so one reader may look at them without a lock.
 */
#ifndef TG_OBSERVE_LINEQ_H
#define TG_OBSERVE_LINEQ_H

#include "base/err.h"
#include "base/str.h"

/* The smallest queue. */
#define TG_LINEQ_MIN ((size_t)512)

/* The longest line, its newline included; longer ones are dropped. */
#define TG_LINEQ_LINE_MAX ((size_t)65536)

struct tg_lineq {
    uint64_t lines;   /* taken */
    uint64_t dropped; /* refused or discarded */
    size_t used;      /* bytes queued */

    /* private */
    char *ring;
    size_t size;
    size_t at;           /* of the first queued byte */
    size_t note_end;     /* from `at` to the end of our own line; 0: there is none */
    uint64_t note_lines; /* dropped lines that it tells of */
    uint64_t untold;     /* dropped lines that none tells of */
    bool dropping;       /* waits for a quarter to be free */
    bool muted;
    bool json;
};

/* An empty queue for `size` bytes, TG_LINEQ_MIN at least. */
enum tg_err tg_lineq_init(struct tg_lineq *q, size_t size) TG_MUST_USE;

void tg_lineq_release(struct tg_lineq *q);

/* Copies the line at `p` to the end: `n` bytes of which only the last is a newline. False when it
 * was dropped. */
bool tg_lineq_push(struct tg_lineq *q, const char *p, size_t n);

/* Shows what is queued from the `skip`-th byte on (skip <= used), in two pieces since the ring
 * wraps; returns their length. */
size_t tg_lineq_peek(struct tg_lineq *q, size_t skip, struct tg_str out[2]);

/* Takes away the first `n` bytes, which were written: whole lines. */
void tg_lineq_advance(struct tg_lineq *q, size_t n);

/* Takes away the first `n` bytes, which nobody will read: whole lines, counted as dropped. Returns
 * how many they were. */
uint64_t tg_lineq_discard(struct tg_lineq *q, size_t n);

/* Takes away everything and tells of nothing, as if the queue were new; the counts stay. */
void tg_lineq_reset(struct tg_lineq *q);

/* While muted the queue puts in no lines of its own: nobody reads them. */
void tg_lineq_mute(struct tg_lineq *q, bool muted);

/* Nothing is queued, and there is nothing to tell. */
bool tg_lineq_is_idle(const struct tg_lineq *q);

#endif
