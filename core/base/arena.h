/* arena.h: memory that lives and dies together, a request's above all.
 *
 * Allocation moves a pointer; nothing is freed singly; tg_arena_release() returns all blocks to
 * the slab after it has run the clean-ups in reverse order of registration. An arena has a limit
 * in bytes and answers NULL past it, so no request can grow without bound.
 *
 * Under AddressSanitizer each allocation ends in a poisoned gap.
 */
#ifndef TG_BASE_ARENA_H
#define TG_BASE_ARENA_H

#include "base/slab.h"
#include "base/str.h"

struct tg_arena_block;
struct tg_arena_adopted;

struct tg_arena_cleanup {
    struct tg_arena_cleanup *next;
    void (*run)(void *arg);
    void *arg;
};

struct tg_arena {
    struct tg_slab *slab;          /* borrowed; outlives the arena */
    struct tg_arena_block *blocks; /* newest first */
    char *at;                      /* next free byte of the newest block */
    char *end;
    size_t used;  /* bytes taken from the slab, and adopted */
    size_t limit; /* most that `used` may become */
    struct tg_arena_cleanup *cleanups;
    struct tg_arena_adopted *adopted;
};

/* An empty arena on `slab` (borrowed) that may hold up to `limit` bytes. Allocates nothing yet. */
void tg_arena_init(struct tg_arena *arena, struct tg_slab *slab, size_t limit);

/* Runs the clean-ups and returns the memory; the arena is empty and usable again. */
void tg_arena_release(struct tg_arena *arena);

void *tg_arena_alloc_more(struct tg_arena *arena, size_t size) TG_MUST_USE; /* for the next */

/* `size` bytes (0 is allowed) aligned to 8, uninitialised, valid until release; NULL past the limit
 * or when memory is out. One allocation is at most TG_SLAB_MAX less 64 bytes. */
TG_MUST_USE static inline void *tg_arena_alloc(struct tg_arena *arena, size_t size)
{
    char *p = arena->at;
    size_t left = (size_t)(arena->end - p);
    size_t need = (size + 7) & ~(size_t)7;
    if (TG_ASAN || TG_UNLIKELY(size == 0 || size > left || need > left)) /* `need` may overflow */
        return tg_arena_alloc_more(arena, size);
    arena->at = p + need;
    return p;
}

/* The same, zeroed. */
void *tg_arena_zalloc(struct tg_arena *arena, size_t size) TG_MUST_USE;

/* Copy of `s` in the arena; p is NULL when there is no memory (even for an empty slice). */
struct tg_str tg_arena_copy(struct tg_arena *arena, struct tg_str s) TG_MUST_USE;

/* Takes over a block leased from the arena's slab with `size`, which counts against the limit: it
 * is returned at release. On false (the limit, or no memory to note it) it stays the caller's. */
bool tg_arena_adopt(struct tg_arena *arena, void *block, size_t size) TG_MUST_USE;

/* `run(arg)` at release; false when there is no memory to note it. */
bool tg_arena_on_release(struct tg_arena *arena, void (*run)(void *arg), void *arg) TG_MUST_USE;

#endif
