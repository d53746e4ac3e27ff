/* heap.c: pages and chunks behind the size classes. See heap.h for the picture.
 *
 * Single pages are taken from the lowest free bit, so that page 0 (which the header shortens) and
 * the pages beside it go first; runs of four stand at pages 4, 8 and 12.
 */
#include "base/banned.h"
#include "script/heap.h"

#include "base/assert.h"

#define ALL_PAGES   UINT16_C(0xffff)
#define RUN_PAGES   4u
#define RUN_CLASS   16u /* classes from here on take a run */
#define HEADER_SIZE ((sizeof(struct tg_heap_chunk) + 7) & ~(size_t)7)

void tg_heap_init(struct tg_heap *heap, enum tg_mem_tag tag)
{
    for (unsigned i = 0; i < TG_HEAP_CLASSES; i++)
        tg_list_init(&heap->open[i]);
    tg_list_init(&heap->chunks);
    tg_list_init(&heap->full);
    heap->spare = NULL;
    heap->held = 0;
    heap->held_max = SIZE_MAX;
    heap->tag = tag;
}

static void drop_chunk(struct tg_heap *heap, struct tg_heap_chunk *chunk)
{
    tg_list_remove(&chunk->link);
    heap->held -= TG_HEAP_CHUNK;
    tg_mem_unmap(heap->tag, chunk, TG_HEAP_CHUNK);
}

void tg_heap_release(struct tg_heap *heap)
{
    while (!tg_list_is_empty(&heap->chunks))
        drop_chunk(heap, TG_LIST_ENTRY(heap->chunks.next, struct tg_heap_chunk, link));
    while (!tg_list_is_empty(&heap->full))
        drop_chunk(heap, TG_LIST_ENTRY(heap->full.next, struct tg_heap_chunk, link));
    tg_heap_init(heap, heap->tag);
}

char *tg_heap_page_base(const struct tg_heap_page *page)
{
    return (char *)tg_heap_chunk_of(page) + (size_t)page->lead * TG_HEAP_PAGE;
}

static struct tg_heap_chunk *add_chunk(struct tg_heap *heap)
{
    if (!tg_heap_may_add(heap))
        return NULL;
    struct tg_heap_chunk *chunk = tg_mem_map(heap->tag, TG_HEAP_CHUNK, TG_HEAP_CHUNK);
    if (chunk == NULL)
        return NULL;
    chunk->free_pages = ALL_PAGES;
    tg_list_push_front(&heap->chunks, &chunk->link);
    heap->held += TG_HEAP_CHUNK;
    return chunk;
}

bool tg_heap_reserve(struct tg_heap *heap)
{
    if (heap->spare == NULL)
        heap->spare = add_chunk(heap);
    return heap->spare != NULL;
}

/* Index of the first free page or run in the chunk, or -1. */
static int find_pages(const struct tg_heap_chunk *chunk, unsigned count)
{
    if (count == 1)
        return __builtin_ctz(chunk->free_pages);
    for (unsigned at = RUN_PAGES; at < TG_HEAP_PAGES; at += RUN_PAGES)
        if (((chunk->free_pages >> at) & 0xf) == 0xf)
            return (int)at;
    return -1;
}

/* A chunk with `count` pages to give, and which; NULL when memory is out. */
static struct tg_heap_chunk *find_chunk(struct tg_heap *heap, unsigned count, unsigned *index)
{
    TG_LIST_FOREACH(&heap->chunks, it)
    {
        struct tg_heap_chunk *chunk = TG_LIST_ENTRY(it, struct tg_heap_chunk, link);
        int at = find_pages(chunk, count);
        if (at >= 0) {
            *index = (unsigned)at;
            return chunk;
        }
    }
    *index = count == 1 ? 0 : RUN_PAGES;
    return add_chunk(heap);
}

struct tg_heap_page *tg_heap_open_page(struct tg_heap *heap, unsigned class_index)
{
    unsigned count = class_index < RUN_CLASS ? 1 : RUN_PAGES;
    unsigned index;
    struct tg_heap_chunk *chunk = find_chunk(heap, count, &index);
    if (chunk == NULL)
        return NULL;
    chunk->free_pages &= (uint16_t) ~(((1u << count) - 1) << index);
    if (chunk == heap->spare)
        heap->spare = NULL;
    if (chunk->free_pages == 0) {
        tg_list_remove(&chunk->link);
        tg_list_push_front(&heap->full, &chunk->link);
    }
    struct tg_heap_page *page = &chunk->pages[index];
    size_t block = tg_heap_class_size(class_index) + TG_HEAP_TAG;
    page->free = NULL;
    page->live = 0;
    page->fresh = index == 0 ? HEADER_SIZE : 0;
    page->end = (uint16_t)(count * TG_HEAP_PAGE - block + 1);
    page->class_index = (uint8_t)class_index;
    for (unsigned i = 0; i < count; i++)
        chunk->pages[index + i].lead = (uint8_t)index;
    tg_list_push_front(&heap->open[class_index], &page->link);
    return page;
}

/* Keeps one wholly free chunk; a second one goes. */
static void settle_free_chunk(struct tg_heap *heap, struct tg_heap_chunk *chunk)
{
    if (heap->spare != NULL) {
        drop_chunk(heap, chunk);
        return;
    }
    heap->spare = chunk;
    tg_list_remove(&chunk->link);
    tg_list_push_back(&heap->chunks, &chunk->link);
}

static void close_page(struct tg_heap *heap, struct tg_heap_page *page)
{
    struct tg_heap_chunk *chunk = tg_heap_chunk_of(page);
    unsigned count = page->class_index < RUN_CLASS ? 1 : RUN_PAGES;
    bool was_full = chunk->free_pages == 0;
    tg_list_remove(&page->link);
    chunk->free_pages |= (uint16_t)(((1u << count) - 1) << page->lead);
    if (was_full) {
        tg_list_remove(&chunk->link);
        tg_list_push_front(&heap->chunks, &chunk->link);
    }
}

/* Every page of the chunk is empty: those that waited for their class go, and with them the chunk.
 */
static void close_chunk(struct tg_heap *heap, struct tg_heap_chunk *chunk)
{
    for (unsigned i = 0; i < TG_HEAP_PAGES && chunk->free_pages != ALL_PAGES; i++)
        if ((chunk->free_pages & (1u << i)) == 0)
            close_page(heap, &chunk->pages[i]);
    settle_free_chunk(heap, chunk);
}

void tg_heap_page_changed(struct tg_heap *heap, struct tg_heap_page *page, bool was_full)
{
    struct tg_list *open = &heap->open[page->class_index];
    struct tg_heap_chunk *chunk = tg_heap_chunk_of(page);
    if (was_full)
        tg_list_push_front(open, &page->link);
    if (page->live > 0)
        return;
    chunk->busy--;
    if (chunk->busy == 0)
        close_chunk(heap, chunk);
    else if (open->next != &page->link || open->prev != &page->link)
        close_page(heap, page);
}
