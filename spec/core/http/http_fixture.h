/*
 * What the tests of core/http share: a slab with an arena on it, made anew for each test, and
 * slices of literals. Include it after the unit's own header and before cmocka's.
 *
 * fixture_release() checks that nothing is leased any more, so a leak fails the test that made it.
 */
#ifndef TG_SPEC_HTTP_FIXTURE_H
#define TG_SPEC_HTTP_FIXTURE_H

#include "base/arena.h"
#include "base/rand.h"
#include "support.h"

#define ARENA_LIMIT ((size_t)4 << 20)

static struct tg_slab *slab;
static struct tg_arena arena;

static TG_UNUSED int fixture_init(void **state)
{
    (void)state;
    slab = tg_slab_new(TG_MEM_OTHER, 0);
    assert_non_null(slab);
    tg_arena_init(&arena, slab, ARENA_LIMIT);
    return 0;
}

static TG_UNUSED int fixture_release(void **state)
{
    (void)state;
    tg_arena_release(&arena);
    bool clean = tg_slab_leased(slab) == 0;
    if (clean)
        tg_slab_free(&slab);
    return clean && tg_mem_used(TG_MEM_OTHER) == 0 ? 0 : -1;
}

/* The seed that a failing random test prints is what TG_SEED takes to run it again. */
static TG_UNUSED struct tg_rand fixture_rand(void)
{
    struct tg_rand r;
    const char *seed = getenv("TG_SEED");
    tg_rand_init_seed(&r, seed != NULL ? strtoull(seed, NULL, 10) : 20);
    return r;
}

#define assert_str(actual, literal)                                                                \
    do {                                                                                           \
        struct tg_str got_ = (actual);                                                             \
        if (!tg_str_eq(got_, tg_str_c(literal)))                                                   \
            fail_msg("expected \"%s\", got \"%.*s\"", (literal), TG_STR_ARG(got_));                \
    } while (0)

#endif
