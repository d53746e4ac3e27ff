/* mem.h: the only door to the system's allocator, with accounts.
 *
 * For what lives long or is large: snapshots, tables, spans of the slab, buffers of a config. A
 * request uses its arena, I/O uses the slab; both rest on this unit. Every block is charged to a
 * tag, so that "where did the memory go" has an answer: tg_mem_used(). A tag may have a cap
 * (base/budget.h sets them): what would take more is refused as if memory were out, and counted.
 * Whoever gives back is never refused. Threads that allocate at the same moment may pass a cap by
 * what they ask for then.
 *
 * Failure: NULL, always; callers at boot may use the `_or_die` forms. Tests make the Nth
 * allocation fail with tg_mem_fail_at() and so run every failure path.
 *
 * Threads: all functions may be called from any thread. Cost: malloc plus one relaxed atomic add;
 * for TG_MEM_LIBRARY, whose blocks are many and small, an add of the thread's own: that account,
 * its peak and its cap are exact to 32 KiB for each thread that uses libraries.
 */
#ifndef TG_BASE_MEM_H
#define TG_BASE_MEM_H

#include "base/defs.h"

enum tg_mem_tag {
    TG_MEM_CONFIG,     /* snapshots, config evaluation */
    TG_MEM_CONNECTION, /* slab spans: connections, requests, I/O buffers */
    TG_MEM_PLUGIN,     /* plugin VMs */
    TG_MEM_CACHE,      /* zones: caches and dictionaries */
    TG_MEM_COUNTER,    /* counter tables and other maps */
    TG_MEM_OBSERVE,    /* log queues, metric cells */
    TG_MEM_ENCODER,    /* what compresses bodies */
    TG_MEM_DECODER,    /* what unfolds compressed ones */
    TG_MEM_LIBRARY,    /* OpenSSL and libev, which take our allocator */
    TG_MEM_OTHER,
    TG_MEM_TAGS
};

/* `size` bytes, uninitialised; owned by the caller; NULL when memory is out. size 0 is allowed. */
void *tg_mem_alloc(enum tg_mem_tag tag, size_t size) TG_MUST_USE;

/* `count * size` bytes of zeroes; NULL on overflow or when memory is out. */
void *tg_mem_zalloc(enum tg_mem_tag tag, size_t count, size_t size) TG_MUST_USE;

/* `size` bytes aligned to `align` (a power of two, at least sizeof(void *)). */
void *tg_mem_alloc_aligned(enum tg_mem_tag tag, size_t align, size_t size) TG_MUST_USE;

/* `size` bytes straight from the kernel, zeroed, aligned to `align` (a power of two, at least a
 * page); size is a multiple of the page. Given back whole by tg_mem_unmap() with the same size. */
void *tg_mem_map(enum tg_mem_tag tag, size_t align, size_t size) TG_MUST_USE;
void tg_mem_unmap(enum tg_mem_tag tag, void *ptr, size_t size);

/* The same in two steps, for what may grow to `size` in place: the addresses, which are not charged
 * and cost nothing until they are touched, and the right to touch so many bytes of them. */
void *tg_mem_reserve(size_t align, size_t size) TG_MUST_USE;
void tg_mem_unreserve(void *ptr, size_t size);
bool tg_mem_take(enum tg_mem_tag tag, size_t size) TG_MUST_USE; /* false: memory is out */
void tg_mem_give(enum tg_mem_tag tag, size_t size);

/* Grows or shrinks `ptr` (may be NULL), which was charged to the same tag. On failure NULL is
 * returned and `ptr` stays valid and owned by the caller. A shrink never fails. */
void *tg_mem_realloc(enum tg_mem_tag tag, void *ptr, size_t size) TG_MUST_USE;

/* The same for the few that would not survive a NULL: no cap holds, and tg_mem_fail_at() does not
 * count it. NULL when the system itself has nothing left. */
void *tg_mem_realloc_always(enum tg_mem_tag tag, void *ptr, size_t size) TG_MUST_USE;

/* Copy of `n` bytes at `s` with a terminating NUL. */
char *tg_mem_strndup(enum tg_mem_tag tag, const char *s, size_t n) TG_MUST_USE;

/* Releases `ptr` (NULL is fine), charged to `tag`. */
void tg_mem_free(enum tg_mem_tag tag, void *ptr);

/* As tg_mem_alloc, but ends the process with a message when memory is out: boot only. */
void *tg_mem_alloc_or_die(enum tg_mem_tag tag, size_t size) TG_MUST_USE;

/* Bytes charged to `tag` now, and the most there ever were. */
size_t tg_mem_used(enum tg_mem_tag tag);
size_t tg_mem_peak(enum tg_mem_tag tag);

/* From now on `tag` holds `bytes` at most; SIZE_MAX, as at first: no cap. What it holds already
 * stays. */
void tg_mem_set_cap(enum tg_mem_tag tag, size_t bytes);
size_t tg_mem_cap(enum tg_mem_tag tag);

/* How often an allocation was refused because of the tag's cap. */
uint64_t tg_mem_refused(enum tg_mem_tag tag);

/* Gives what the system's allocator keeps of freed memory back to the kernel. Some milliseconds;
 * any thread. */
void tg_mem_trim(void);

/* Name of a tag for reports, static storage. */
const char *tg_mem_tag_name(enum tg_mem_tag tag);

/* Makes the `nth` allocation from now on fail (1 is the next), once; 0 switches off. For tests. */
void tg_mem_fail_at(uint64_t nth);

/* Allocations counted since the last tg_mem_fail_at(): how far a sweep has to go. */
uint64_t tg_mem_fail_count(void);

#endif
