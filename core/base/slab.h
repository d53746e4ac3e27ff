/* slab.h: blocks of 64 B to 1 MiB in powers of two, recycled by one thread.
 *
 * One slab per worker: connections, requests' arenas and I/O buffers all come from it, without a
 * lock. Classes up to 4 KiB are cut from 64 KiB spans; larger blocks are kept whole on a free
 * list. Memory that is wholly free and exceeds the watermark goes back to the system at once, so
 * a burst does not stay in the process for ever.
 *
 * A block is leased with a size and returned with the same size: there is no header in front of
 * it. Under AddressSanitizer every lease is an allocation and every return a free.
 *
 *   span (64 KiB, aligned):  | header | block | block | ... | block |
 *                              class, live count, free list; found from a block by masking
 *
 * Cost: some ten instructions a lease or a return; one mmap per span.
 */
#ifndef TG_BASE_SLAB_H
#define TG_BASE_SLAB_H

#include "base/mem.h"

#define TG_SLAB_MIN ((size_t)64)
#define TG_SLAB_MAX ((size_t)1 << 20)

struct tg_slab;

/* A slab charged to `tag` that keeps at most `watermark` bytes of wholly free memory. Owned by the
 * caller and used by one thread at a time. NULL when memory is out. */
struct tg_slab *tg_slab_new(enum tg_mem_tag tag, size_t watermark) TG_MUST_USE;

/* Gives back what is wholly free, whatever the watermark. */
void tg_slab_trim(struct tg_slab *slab);

/* Gives everything back; no block may be leased any more. */
void tg_slab_free(struct tg_slab **slab);

/* A block of at least `size` bytes, 1..TG_SLAB_MAX, uninitialised, aligned to 64 bytes for classes
 * up to 4 KiB and to 16 bytes above; NULL when memory is out. */
void *tg_slab_lease(struct tg_slab *slab, size_t size) TG_MUST_USE;

/* Returns a block with the size it was leased with; NULL is fine. */
void tg_slab_return(struct tg_slab *slab, void *block, size_t size);

/* The size of the class that serves `size`: all of it may be used. */
size_t tg_slab_class_size(size_t size);

/* Bytes in leased blocks (class sizes), and bytes held from the system. */
size_t tg_slab_leased(const struct tg_slab *slab);
size_t tg_slab_held(const struct tg_slab *slab);

#endif
