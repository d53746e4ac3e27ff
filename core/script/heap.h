/* heap.h: blocks for one Lua VM, by size class, from memory that it gives back.
 *
 *   chunk  64 KiB, aligned to its size, straight from the kernel
 *          | header, page 0 (the rest of it) | page 1 | ... | page 15 |
 *   page   4 KiB that serve one class; classes above 512 bytes take four pages in a row ("a run"),
 *          the first of which leads. Blocks are cut from the front on, and freed ones are chained.
 *   class  payloads of 16, 32, ... 128, then four steps per doubling up to 2,048 bytes; a block is
 *          a payload and TG_HEAP_TAG bytes in front of it, which belong to the caller (alloc.c)
 *
 * A block is found from its address: mask to the chunk, shift to the page, lead to the class. Empty
 * pages return to their chunk when their class has another page with room, or when the chunk then
 * is wholly free; wholly free chunks return to the system, but for one. Blocks that are scattered
 * over pages keep all of these: `held_max` bounds what chunks take in all, and a block that would
 * need another one is refused. Larger blocks are not served here.
 *
 * Threads: one at a time. Cost: a take or a give is some ten instructions on the way that is
 * inline.
 */
#ifndef TG_SCRIPT_HEAP_H
#define TG_SCRIPT_HEAP_H

#include "base/list.h"
#include "base/mem.h"

#define TG_HEAP_TAG     8
#define TG_HEAP_MAX     2048 /* largest payload */
#define TG_HEAP_CLASSES 24
#define TG_HEAP_CHUNK   ((size_t)64 << 10)
#define TG_HEAP_PAGE    ((size_t)4 << 10)
#define TG_HEAP_PAGES   16

struct tg_heap_block {
    struct tg_heap_block *next;
};

/* What is known of a page or of the run that it leads. Offsets are from the start of the page. */
struct tg_heap_page {
    struct tg_list link; /* in the class's open list while it has room */
    struct tg_heap_block *free;
    uint16_t live;  /* blocks taken */
    uint16_t fresh; /* first byte that was never given out */
    uint16_t end;   /* where no block fits any more */
    uint8_t class_index;
    uint8_t lead; /* index of the page that leads the run */
};

struct tg_heap_chunk {
    struct tg_list link; /* in the heap's open or full list */
    uint16_t free_pages; /* bit per page */
    uint16_t busy;       /* pages and runs that hold a live block */
    struct tg_heap_page pages[TG_HEAP_PAGES];
};

struct tg_heap {
    struct tg_list open[TG_HEAP_CLASSES]; /* pages with room, the one in use first */
    struct tg_list chunks;                /* with a free page */
    struct tg_list full;                  /* without */
    struct tg_heap_chunk *spare;          /* the one that may be wholly free; also in `chunks` */
    size_t held;                          /* bytes from the system */
    size_t held_max;                      /* set by the owner; SIZE_MAX at first */
    enum tg_mem_tag tag;
};

/* An empty heap charged to `tag`; holds nothing yet. */
void tg_heap_init(struct tg_heap *heap, enum tg_mem_tag tag);

/* Gives all chunks back, whatever is in them. */
void tg_heap_release(struct tg_heap *heap);

/* Sees to it that a wholly free chunk is there, so that small blocks can be taken for a while
 * without asking the system; false when memory is out. */
bool tg_heap_reserve(struct tg_heap *heap) TG_MUST_USE;

/* Whether one more chunk is within the bound. */
static inline bool tg_heap_may_add(const struct tg_heap *heap)
{
    return heap->held <= heap->held_max && TG_HEAP_CHUNK <= heap->held_max - heap->held;
}

/* The class for a payload of 1..TG_HEAP_MAX bytes, and the payload that a class offers. */
static inline unsigned tg_heap_class(size_t payload)
{
    size_t n = payload - 1;
    if (n < 128)
        return (unsigned)(n >> 4);
    unsigned e = 63u - (unsigned)__builtin_clzl(n);
    return 8 + (e - 7) * 4 + (unsigned)((n >> (e - 2)) & 3);
}

static inline size_t tg_heap_class_size(unsigned c)
{
    return c < 8 ? (size_t)(c + 1) << 4 : (size_t)(5 + (c & 3)) << (5 + (c - 8) / 4);
}

/* The chunk that anything inside it belongs to. */
static inline struct tg_heap_chunk *tg_heap_chunk_of(const void *ptr)
{
    return (struct tg_heap_chunk *)((uintptr_t)ptr & ~(uintptr_t)(TG_HEAP_CHUNK - 1));
}

static inline struct tg_heap_page *tg_heap_page_of(const void *block)
{
    struct tg_heap_chunk *chunk = tg_heap_chunk_of(block);
    size_t index = ((uintptr_t)block & (TG_HEAP_CHUNK - 1)) / TG_HEAP_PAGE;
    return &chunk->pages[chunk->pages[index].lead];
}

/* The ways that are not inline: a page for the class (NULL: memory is out, or the bound is
 * reached); what to do when a page was full or has become empty. */
struct tg_heap_page *tg_heap_open_page(struct tg_heap *heap, unsigned class_index);
void tg_heap_page_changed(struct tg_heap *heap, struct tg_heap_page *page, bool was_full);
char *tg_heap_page_base(const struct tg_heap_page *page);

/* A block (tag and payload) of the class; NULL when memory is out or the bound is reached. Aligned
 * to 8. */
static inline void *tg_heap_take(struct tg_heap *heap, unsigned class_index)
{
    struct tg_list *open = &heap->open[class_index];
    struct tg_heap_page *page = TG_LIKELY(!tg_list_is_empty(open))
                                    ? TG_LIST_ENTRY(open->next, struct tg_heap_page, link)
                                    : tg_heap_open_page(heap, class_index);
    if (TG_UNLIKELY(page == NULL))
        return NULL;
    struct tg_heap_block *block = page->free;
    if (block != NULL) {
        page->free = block->next;
    } else {
        block = (struct tg_heap_block *)(void *)(tg_heap_page_base(page) + page->fresh);
        page->fresh += (uint16_t)(tg_heap_class_size(class_index) + TG_HEAP_TAG);
    }
    if (TG_UNLIKELY(page->live++ == 0))
        tg_heap_chunk_of(page)->busy++;
    if (page->free == NULL && page->fresh >= page->end)
        tg_list_remove(&page->link);
    return block;
}

/* Gives back a block that tg_heap_take() returned. */
static inline void tg_heap_give(struct tg_heap *heap, void *ptr)
{
    struct tg_heap_page *page = tg_heap_page_of(ptr);
    struct tg_heap_block *block = ptr;
    bool was_full = page->free == NULL && page->fresh >= page->end;
    block->next = page->free;
    page->free = block;
    page->live--;
    if (TG_UNLIKELY(was_full || page->live == 0))
        tg_heap_page_changed(heap, page, was_full);
}

#endif
