/*
 * What the fuzz drivers of core/http share: an arena that is empty for each input, and a check that
 * stops the fuzzer.
 */
#ifndef TG_SPEC_HTTP_FUZZ_H
#define TG_SPEC_HTTP_FUZZ_H

#include "base/arena.h"
#include "base/assert.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_ARENA ((size_t)1 << 20)

static struct tg_slab *slab;
static struct tg_arena arena;

static inline void fuzz_begin(void)
{
    if (slab == NULL) {
        slab = tg_slab_new(TG_MEM_OTHER, 0);
        tg_assert(slab != NULL);
        tg_arena_init(&arena, slab, FUZZ_ARENA);
    }
}

static inline void fuzz_end(void)
{
    tg_arena_release(&arena);
    tg_assert(tg_slab_leased(slab) == 0);
}

/* A copy that ends where the bytes end, so that reading past them is seen; to be freed. */
static inline char *fuzz_copy(const char *p, size_t n)
{
    char *copy = malloc(n > 0 ? n : 1);
    tg_assert(copy != NULL);
    if (n > 0)
        memcpy(copy, p, n);
    return copy;
}

static inline bool fuzz_within(struct tg_str s, const char *p, size_t n)
{
    return s.n == 0 || (s.p >= p && s.p + s.n <= p + n);
}

#endif
