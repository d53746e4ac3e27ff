/* fmt.h: writing text into memory without checking every step.
 *
 * A builder has room that the caller gave, or grows in an arena. When room is out it latches
 * `failed` and ignores what follows: write on, check once at the end with tg_fmt_str(). What is
 * ignored is counted, so room of n + missing bytes is enough for the same text; who wants to know
 * that beforehand writes into no room at all.
 */
#ifndef TG_BASE_FMT_H
#define TG_BASE_FMT_H

#include "base/arena.h"
#include "base/assert.h"

struct tg_fmt {
    char *p;
    size_t n;
    size_t cap;
    size_t missing;         /* bytes that there was no room for */
    struct tg_arena *arena; /* NULL: the room is fixed */
    bool failed;
};

/* Writes into `cap` bytes at `room` (borrowed; NULL for none). */
void tg_fmt_init(struct tg_fmt *f, char *room, size_t cap);

/* Writes into `arena` (borrowed), starting with `guess` bytes. */
void tg_fmt_init_arena(struct tg_fmt *f, struct tg_arena *arena, size_t guess);

/* Room for `n` more bytes, or NULL (and latched); the caller writes them and adds to f->n. */
char *tg_fmt_reserve(struct tg_fmt *f, size_t n);

static inline void tg_fmt_bytes(struct tg_fmt *f, const char *p, size_t n)
{
    if (n == 0) /* both pointers may be NULL */
        return;
    tg_assert_slow(p != NULL);
    char *at = TG_LIKELY(f->cap - f->n >= n) && !f->failed ? f->p + f->n : tg_fmt_reserve(f, n);
    if (at == NULL)
        return;
    memcpy(at, p, n);
    f->n += n;
}

static inline void tg_fmt_add(struct tg_fmt *f, struct tg_str s)
{
    if (s.n > 0)
        tg_fmt_bytes(f, s.p, s.n);
}

static inline void tg_fmt_char(struct tg_fmt *f, char c)
{
    tg_fmt_bytes(f, &c, 1);
}

/* A string literal. */
#define tg_fmt_lit(f, literal) tg_fmt_bytes((f), (literal), sizeof(literal) - 1)

void tg_fmt_u64(struct tg_fmt *f, uint64_t value);

/* Lower-case hexadecimal, at least `digits` digits. */
void tg_fmt_hex(struct tg_fmt *f, uint64_t value, unsigned digits);

/* Needs room for one byte more than it writes. */
void tg_fmt_printf(struct tg_fmt *f, const char *format, ...) TG_PRINTF(2, 3);

/* What was written, borrowed from the room or the arena; {NULL, 0} when the builder failed. */
static inline struct tg_str tg_fmt_str(const struct tg_fmt *f)
{
    return f->failed ? (struct tg_str){NULL, 0} : (struct tg_str){f->p, f->n};
}

#endif
