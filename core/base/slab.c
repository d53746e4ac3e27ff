/* slab.c: spans, classes and the watermark. See slab.h for the picture.
 *
 * A span is in its class's `open` list while it has a block to give. Spans with live blocks are
 * taken first (front), wholly free ones last (back), so that free spans stay free and can go.
 * `idle` counts the bytes of wholly free spans and of large blocks on the free lists.
 */
#include "base/banned.h"
#include "base/slab.h"

#include "base/assert.h"
#include "base/list.h"

#define SPAN_SIZE      ((size_t)64 * 1024)
#define SPAN_CLASS_MAX ((size_t)4096)
#define MIN_SHIFT      6
#define CLASSES        15 /* 64 B << 14 = 1 MiB */
#define SPAN_MAGIC     0x5ba17a11u

struct block {
    struct block *next;
};

struct span {
    uint32_t magic;
    uint32_t class_index;
    uint32_t live;  /* blocks leased */
    uint32_t fresh; /* offset of the first block never leased */
    struct block *free;
    struct tg_list link;
};

struct size_class {
    struct tg_list open; /* spans that can give a block (span classes) */
    struct block *large; /* free blocks (large classes) */
};

struct tg_slab {
    enum tg_mem_tag tag;
    size_t watermark;
    size_t idle;
    size_t leased;
    size_t held;
    struct size_class classes[CLASSES];
};

static unsigned class_of(size_t size)
{
    tg_assert(size > 0 && size <= TG_SLAB_MAX);
    if (size <= TG_SLAB_MIN)
        return 0;
    return (unsigned)(64 - __builtin_clzl(size - 1)) - MIN_SHIFT;
}

static size_t size_of(unsigned class_index)
{
    return (size_t)1 << (class_index + MIN_SHIFT);
}

/* First offset in a span where a block of this class may stand. */
static size_t first_offset(size_t block_size)
{
    return TG_MAX(block_size, (sizeof(struct span) + 63) & ~(size_t)63);
}

struct tg_slab *tg_slab_new(enum tg_mem_tag tag, size_t watermark)
{
    struct tg_slab *slab = tg_mem_zalloc(tag, 1, sizeof(*slab));
    if (slab == NULL)
        return NULL;
    slab->tag = tag;
    slab->watermark = watermark;
    for (unsigned i = 0; i < CLASSES; i++)
        tg_list_init(&slab->classes[i].open);
    return slab;
}

static void drop_span(struct tg_slab *slab, struct span *span)
{
    tg_list_remove(&span->link);
    span->magic = 0;
    slab->held -= SPAN_SIZE;
    tg_mem_unmap(slab->tag, span, SPAN_SIZE);
}

static void drop_large(struct tg_slab *slab, void *block, size_t size)
{
    slab->held -= size;
    tg_mem_free(slab->tag, block);
}

void tg_slab_trim(struct tg_slab *slab)
{
    for (unsigned i = 0; i < CLASSES; i++) {
        struct size_class *c = &slab->classes[i];
        TG_LIST_FOREACH(&c->open, it)
        {
            struct span *span = TG_LIST_ENTRY(it, struct span, link);
            if (span->live == 0)
                drop_span(slab, span);
        }
        while (c->large != NULL) {
            struct block *block = c->large;
            c->large = block->next;
            drop_large(slab, block, size_of(i));
        }
    }
    slab->idle = 0;
}

void tg_slab_free(struct tg_slab **slabp)
{
    struct tg_slab *slab = *slabp;
    if (slab == NULL)
        return;
    tg_assert(slab->leased == 0);
    tg_slab_trim(slab);
    tg_mem_free(slab->tag, slab);
    *slabp = NULL;
}

static struct span *add_span(struct tg_slab *slab, unsigned class_index)
{
    struct span *span = tg_mem_map(slab->tag, SPAN_SIZE, SPAN_SIZE);
    if (span == NULL)
        return NULL;
    span->magic = SPAN_MAGIC;
    span->class_index = class_index;
    span->live = 0;
    span->free = NULL;
    span->fresh = (uint32_t)first_offset(size_of(class_index));
    tg_list_push_front(&slab->classes[class_index].open, &span->link);
    slab->held += SPAN_SIZE;
    slab->idle += SPAN_SIZE;
    return span;
}

static void *lease_small(struct tg_slab *slab, unsigned class_index)
{
    struct size_class *c = &slab->classes[class_index];
    size_t size = size_of(class_index);
    struct span *span = tg_list_is_empty(&c->open) ? add_span(slab, class_index)
                                                   : TG_LIST_ENTRY(c->open.next, struct span, link);
    if (span == NULL)
        return NULL;
    void *block = span->free;
    if (block != NULL) {
        span->free = span->free->next;
    } else {
        block = (char *)span + span->fresh;
        span->fresh += (uint32_t)size;
    }
    if (span->live++ == 0)
        slab->idle -= SPAN_SIZE;
    if (span->free == NULL && span->fresh + size > SPAN_SIZE)
        tg_list_remove(&span->link);
    slab->leased += size;
    return block;
}

static void return_small(struct tg_slab *slab, void *ptr, unsigned class_index)
{
    struct span *span = (struct span *)((uintptr_t)ptr & ~(uintptr_t)(SPAN_SIZE - 1));
    size_t size = size_of(class_index);
    struct block *block = ptr;
    tg_assert(span->magic == SPAN_MAGIC && span->class_index == class_index && span->live > 0);
    bool was_full = span->free == NULL && span->fresh + size > SPAN_SIZE;
    block->next = span->free;
    span->free = block;
    span->live--;
    slab->leased -= size;
    if (was_full)
        tg_list_push_front(&slab->classes[class_index].open, &span->link);
    if (span->live > 0)
        return;
    slab->idle += SPAN_SIZE;
    if (slab->idle > slab->watermark) {
        slab->idle -= SPAN_SIZE;
        drop_span(slab, span);
        return;
    }
    tg_list_remove(&span->link);
    tg_list_push_back(&slab->classes[class_index].open, &span->link);
}

static void *lease_large(struct tg_slab *slab, unsigned class_index)
{
    struct size_class *c = &slab->classes[class_index];
    size_t size = size_of(class_index);
    void *block = c->large;
    if (block != NULL) {
        c->large = c->large->next;
        slab->idle -= size;
    } else {
        block = size <= SPAN_CLASS_MAX ? tg_mem_alloc_aligned(slab->tag, TG_SLAB_MIN, size)
                                       : tg_mem_alloc(slab->tag, size);
        if (block == NULL)
            return NULL;
        slab->held += size;
    }
    slab->leased += size;
    return block;
}

static void return_large(struct tg_slab *slab, void *ptr, unsigned class_index)
{
    size_t size = size_of(class_index);
    struct block *block = ptr;
    slab->leased -= size;
    if (TG_ASAN || slab->idle + size > slab->watermark) {
        drop_large(slab, ptr, size);
        return;
    }
    block->next = slab->classes[class_index].large;
    slab->classes[class_index].large = block;
    slab->idle += size;
}

void *tg_slab_lease(struct tg_slab *slab, size_t size)
{
    unsigned class_index = class_of(size);
    if (!TG_ASAN && size_of(class_index) <= SPAN_CLASS_MAX)
        return lease_small(slab, class_index);
    return lease_large(slab, class_index);
}

void tg_slab_return(struct tg_slab *slab, void *block, size_t size)
{
    if (block == NULL)
        return;
    unsigned class_index = class_of(size);
    if (!TG_ASAN && size_of(class_index) <= SPAN_CLASS_MAX)
        return_small(slab, block, class_index);
    else
        return_large(slab, block, class_index);
}

size_t tg_slab_class_size(size_t size)
{
    return size_of(class_of(size));
}

size_t tg_slab_leased(const struct tg_slab *slab)
{
    return slab->leased;
}

size_t tg_slab_held(const struct tg_slab *slab)
{
    return slab->held;
}
