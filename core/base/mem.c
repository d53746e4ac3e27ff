/* mem.c: malloc with accounts and with failures on demand. See mem.h.
 *
 * OpenSSL takes and gives back some 230 small blocks for one handshake, and all workers do so on
 * one account. So a thread keeps what it took and gave of TG_MEM_LIBRARY to itself (`untold`)
 * until that comes to a step. A block may go back in another thread than it was taken in: what is
 * told may then be less than nothing for a moment, and is read as nothing. */
#define TG_MEM_ALLOWS_MALLOC
#include "base/banned.h"
#include "base/mem.h"

#include "base/assert.h"

#include <malloc.h>
#include <stdatomic.h>
#include <sys/mman.h>

#define STEP ((ptrdiff_t)32 << 10)

struct account {
    _Atomic size_t used;
    _Atomic size_t peak;
    _Atomic size_t room; /* SIZE_MAX - cap: zeroes are no cap */
    _Atomic uint64_t refused;
};

static struct account accounts[TG_MEM_TAGS];
static _Thread_local ptrdiff_t untold; /* to the account of libraries */
static _Atomic uint64_t fail_at;
static _Atomic uint64_t fail_seen;

/* Counts an attempt; true when the test asked for this one to fail. */
static bool must_fail(void)
{
    uint64_t at = atomic_load_explicit(&fail_at, memory_order_relaxed);
    if (TG_LIKELY(at == 0))
        return false;
    return atomic_fetch_add_explicit(&fail_seen, 1, memory_order_relaxed) + 1 == at;
}

static size_t held(enum tg_mem_tag tag)
{
    size_t used = atomic_load_explicit(&accounts[tag].used, memory_order_relaxed);
    if (tag != TG_MEM_LIBRARY)
        return used;
    ptrdiff_t all = (ptrdiff_t)used + untold;
    return all > 0 ? (size_t)all : 0;
}

/* True when `more` bytes would pass the tag's cap, which is counted. */
static bool passes_cap(enum tg_mem_tag tag, size_t more)
{
    struct account *a = &accounts[tag];
    size_t room = atomic_load_explicit(&a->room, memory_order_relaxed);
    if (room == 0)
        return false;
    size_t cap = SIZE_MAX - room;
    size_t used = held(tag);
    if (TG_LIKELY(used <= cap && more <= cap - used))
        return false;
    atomic_fetch_add_explicit(&a->refused, 1, memory_order_relaxed);
    return true;
}

static bool is_refused(enum tg_mem_tag tag, size_t size)
{
    return must_fail() || passes_cap(tag, size);
}

static void raise_peak(struct account *a, size_t now)
{
    size_t peak = atomic_load_explicit(&a->peak, memory_order_relaxed);
    while (now > peak && !atomic_compare_exchange_weak_explicit(
                             &a->peak, &peak, now, memory_order_relaxed, memory_order_relaxed)) {
    }
}

static void tell(void)
{
    struct account *a = &accounts[TG_MEM_LIBRARY];
    atomic_fetch_add_explicit(&a->used, (size_t)untold, memory_order_relaxed);
    untold = 0;
    raise_peak(a, held(TG_MEM_LIBRARY));
}

/* This thread's blocks of libraries came to `change` bytes more, or less. */
static void tally(ptrdiff_t change)
{
    untold += change;
    if (TG_UNLIKELY(untold >= STEP || untold <= -STEP))
        tell();
}

static void charge(enum tg_mem_tag tag, size_t size)
{
    struct account *a = &accounts[tag];
    if (tag == TG_MEM_LIBRARY)
        tally((ptrdiff_t)size);
    else
        raise_peak(a, atomic_fetch_add_explicit(&a->used, size, memory_order_relaxed) + size);
}

static void discharge(enum tg_mem_tag tag, size_t size)
{
    if (tag == TG_MEM_LIBRARY)
        tally(-(ptrdiff_t)size);
    else
        atomic_fetch_sub_explicit(&accounts[tag].used, size, memory_order_relaxed);
}

static void *charged(enum tg_mem_tag tag, void *ptr)
{
    if (ptr != NULL)
        charge(tag, malloc_usable_size(ptr));
    return ptr;
}

void *tg_mem_alloc(enum tg_mem_tag tag, size_t size)
{
    return is_refused(tag, size) ? NULL : charged(tag, malloc(size != 0 ? size : 1));
}

void *tg_mem_zalloc(enum tg_mem_tag tag, size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total) || is_refused(tag, total))
        return NULL;
    return charged(tag, calloc(1, total != 0 ? total : 1));
}

void *tg_mem_alloc_aligned(enum tg_mem_tag tag, size_t align, size_t size)
{
    void *ptr = NULL;
    if (is_refused(tag, size) || posix_memalign(&ptr, align, size) != 0)
        return NULL;
    return charged(tag, ptr);
}

bool tg_mem_take(enum tg_mem_tag tag, size_t size)
{
    if (is_refused(tag, size))
        return false;
    charge(tag, size);
    return true;
}

void tg_mem_give(enum tg_mem_tag tag, size_t size)
{
    discharge(tag, size);
}

void *tg_mem_reserve(size_t align, size_t size)
{
    char *raw = mmap(NULL, size + align, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (raw == MAP_FAILED)
        return NULL;
    char *at = (char *)(((uintptr_t)raw + align - 1) & ~(uintptr_t)(align - 1));
    if (at > raw)
        munmap(raw, (size_t)(at - raw));
    if (raw + align > at)
        munmap(at + size, (size_t)(raw + align - at));
    return at;
}

void tg_mem_unreserve(void *ptr, size_t size)
{
    if (ptr != NULL)
        munmap(ptr, size);
}

void *tg_mem_map(enum tg_mem_tag tag, size_t align, size_t size)
{
    if (!tg_mem_take(tag, size))
        return NULL;
    void *at = tg_mem_reserve(align, size);
    if (at == NULL)
        tg_mem_give(tag, size);
    return at;
}

void tg_mem_unmap(enum tg_mem_tag tag, void *ptr, size_t size)
{
    if (ptr == NULL)
        return;
    tg_mem_unreserve(ptr, size);
    tg_mem_give(tag, size);
}

void *tg_mem_realloc(enum tg_mem_tag tag, void *ptr, size_t size)
{
    size_t old = ptr != NULL ? malloc_usable_size(ptr) : 0;
    size_t want = size != 0 ? size : 1;
    if (want > old && is_refused(tag, want - old))
        return NULL;
    return tg_mem_realloc_always(tag, ptr, size);
}

void *tg_mem_realloc_always(enum tg_mem_tag tag, void *ptr, size_t size)
{
    size_t old = ptr != NULL ? malloc_usable_size(ptr) : 0;
    size_t want = size != 0 ? size : 1;
    void *grown = realloc(ptr, want);
    if (grown == NULL)
        return want <= old ? ptr : NULL;
    discharge(tag, old);
    return charged(tag, grown);
}

char *tg_mem_strndup(enum tg_mem_tag tag, const char *s, size_t n)
{
    char *copy = tg_mem_alloc(tag, n + 1);
    if (copy == NULL)
        return NULL;
    if (n > 0)
        memcpy(copy, s, n);
    copy[n] = '\0';
    return copy;
}

void tg_mem_free(enum tg_mem_tag tag, void *ptr)
{
    if (ptr == NULL)
        return;
    discharge(tag, malloc_usable_size(ptr));
    free(ptr);
}

void *tg_mem_alloc_or_die(enum tg_mem_tag tag, size_t size)
{
    void *ptr = tg_mem_alloc(tag, size);
    if (ptr == NULL) {
        fprintf(stderr, "tidegate: out of memory at start (%zu bytes for %s)\n", size,
                tg_mem_tag_name(tag));
        exit(1);
    }
    return ptr;
}

size_t tg_mem_used(enum tg_mem_tag tag)
{
    return held(tag);
}

size_t tg_mem_peak(enum tg_mem_tag tag)
{
    size_t peak = atomic_load_explicit(&accounts[tag].peak, memory_order_relaxed);
    return TG_MAX(peak, held(tag)); /* of what libraries hold this thread may know more */
}

void tg_mem_set_cap(enum tg_mem_tag tag, size_t bytes)
{
    atomic_store_explicit(&accounts[tag].room, SIZE_MAX - bytes, memory_order_relaxed);
}

size_t tg_mem_cap(enum tg_mem_tag tag)
{
    return SIZE_MAX - atomic_load_explicit(&accounts[tag].room, memory_order_relaxed);
}

uint64_t tg_mem_refused(enum tg_mem_tag tag)
{
    return atomic_load_explicit(&accounts[tag].refused, memory_order_relaxed);
}

void tg_mem_trim(void)
{
    (void)malloc_trim(0);
}

const char *tg_mem_tag_name(enum tg_mem_tag tag)
{
    static const char *const names[TG_MEM_TAGS] = {
        [TG_MEM_CONFIG] = "config",   [TG_MEM_CONNECTION] = "connection",
        [TG_MEM_PLUGIN] = "plugin",   [TG_MEM_CACHE] = "cache",
        [TG_MEM_COUNTER] = "counter", [TG_MEM_OBSERVE] = "observe",
        [TG_MEM_ENCODER] = "encoder", [TG_MEM_DECODER] = "decoder",
        [TG_MEM_LIBRARY] = "library", [TG_MEM_OTHER] = "other",
    };
    tg_assert(tag < TG_MEM_TAGS);
    return names[tag];
}

void tg_mem_fail_at(uint64_t nth)
{
    atomic_store(&fail_seen, 0);
    atomic_store(&fail_at, nth);
}

uint64_t tg_mem_fail_count(void)
{
    return atomic_load(&fail_seen);
}
