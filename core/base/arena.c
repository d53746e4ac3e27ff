/* arena.c: bump allocation in blocks: two of 8 KiB, of which most requests need one, then such that
 * double from 16 KiB to 64 KiB. */
#include "base/banned.h"
#include "base/arena.h"

#include "base/assert.h"
#include "base/limits.h"

#if TG_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n)   ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#define GAP            16
#else
#define POISON(p, n)   ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#define GAP            0
#endif

#define BLOCK_MIN ((size_t)8192)
#define BLOCK_MAX ((size_t)65536)

struct tg_arena_block {
    struct tg_arena_block *next;
    size_t size;
};

struct tg_arena_adopted {
    struct tg_arena_adopted *next;
    void *block;
    size_t size;
};

void tg_arena_init(struct tg_arena *arena, struct tg_slab *slab, size_t limit)
{
    *arena = (struct tg_arena){.slab = slab, .limit = limit};
}

void tg_arena_release(struct tg_arena *arena)
{
    while (arena->cleanups != NULL) {
        struct tg_arena_cleanup *c = arena->cleanups;
        arena->cleanups = c->next;
        c->run(c->arg);
    }
    for (; arena->adopted != NULL; arena->adopted = arena->adopted->next)
        tg_slab_return(arena->slab, arena->adopted->block, arena->adopted->size);
    while (arena->blocks != NULL) {
        struct tg_arena_block *block = arena->blocks;
        arena->blocks = block->next;
        size_t size = block->size;
        UNPOISON(block, size);
        tg_slab_return(arena->slab, block, size);
    }
    arena->at = arena->end = NULL;
    arena->used = 0;
}

/* Makes room for `size` bytes: a new newest block. */
static bool add_block(struct tg_arena *arena, size_t size)
{
    bool grows = arena->blocks != NULL && arena->blocks->next != NULL;
    size_t want = grows ? TG_MIN(arena->blocks->size * 2, BLOCK_MAX) : BLOCK_MIN;
    if (size + sizeof(struct tg_arena_block) > want)
        want = tg_slab_class_size(size + sizeof(struct tg_arena_block));
    if (want > arena->limit - arena->used) {
        tg_limit_hit(request_memory);
        return false;
    }
    struct tg_arena_block *block = tg_slab_lease(arena->slab, want);
    if (block == NULL)
        return false;
    block->next = arena->blocks;
    block->size = want;
    arena->blocks = block;
    arena->used += want;
    arena->at = (char *)(block + 1);
    arena->end = (char *)block + want;
    POISON(arena->at, (size_t)(arena->end - arena->at));
    return true;
}

void *tg_arena_alloc_more(struct tg_arena *arena, size_t size)
{
    size_t need = ((TG_MAX(size, 1) + 7) & ~(size_t)7) + GAP; /* no two blocks are the same */
    if (TG_UNLIKELY(size > TG_SLAB_MAX - 64))
        return NULL;
    if (TG_UNLIKELY((size_t)(arena->end - arena->at) < need) && !add_block(arena, need))
        return NULL;
    char *p = arena->at;
    arena->at += need;
    UNPOISON(p, size);
    return p;
}

void *tg_arena_zalloc(struct tg_arena *arena, size_t size)
{
    void *p = tg_arena_alloc(arena, size);
    if (p != NULL)
        memset(p, 0, size);
    return p;
}

struct tg_str tg_arena_copy(struct tg_arena *arena, struct tg_str s)
{
    char *p = tg_arena_alloc(arena, s.n);
    if (p == NULL)
        return (struct tg_str){NULL, 0};
    if (s.n > 0)
        memcpy(p, s.p, s.n);
    return (struct tg_str){p, s.n};
}

bool tg_arena_on_release(struct tg_arena *arena, void (*run)(void *arg), void *arg)
{
    struct tg_arena_cleanup *c = tg_arena_alloc(arena, sizeof(*c));
    if (c == NULL)
        return false;
    *c = (struct tg_arena_cleanup){arena->cleanups, run, arg};
    arena->cleanups = c;
    return true;
}

bool tg_arena_adopt(struct tg_arena *arena, void *block, size_t size)
{
    struct tg_arena_adopted *a = tg_arena_alloc(arena, sizeof(*a));
    if (a == NULL)
        return false;
    if (size > arena->limit - arena->used) {
        tg_limit_hit(request_memory);
        return false;
    }
    arena->used += size;
    *a = (struct tg_arena_adopted){arena->adopted, block, size};
    arena->adopted = a;
    return true;
}
