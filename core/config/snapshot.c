/* snapshot.c: the life and the memory of a snapshot.
 *
 * Memory comes in blocks that are never given back singly: whatever a snapshot holds is freed with
 * it. Blocks are large enough that a configuration of some routes takes one or two, and an object
 * larger than a block gets one of its own. The request's arena is not used here because its slab
 * belongs to one thread, while the last reference to a snapshot may go in any.
 *
 *     block  [next | used | cap] bytes...  ->  block  ...
 *
 * A snapshot of a hundred thousand routes is some thousand blocks, and giving them back takes
 * milliseconds. In a gateway process the keeper does it: the last reference, which is as a rule a
 * worker's, puts the snapshot on a list and wakes it.
 *
 * Threads: built by one; afterwards only the reference count changes. The last unref needs to see
 * all that other threads did with the snapshot, hence release on each and acquire on the last.
 */
#include "base/banned.h"
#include "config/snapshot.h"

#include "base/assert.h"
#include "base/mem.h"
#include "net/tls_context.h"
#include "consumer/store.h"
#include "route/expr.h"
#include "route/table.h"

#include <pthread.h>
#include <stdatomic.h>

#define BLOCK_SIZE  ((size_t)32 << 10)
#define BLOCK_ALIGN ((size_t)16)

struct tg_snapshot_block {
    struct tg_snapshot_block *next;
    size_t used;
    size_t cap;
    _Alignas(16) char bytes[];
};

struct tg_snapshot *tg_snapshot_new(void)
{
    struct tg_snapshot *snapshot = tg_mem_zalloc(TG_MEM_CONFIG, 1, sizeof(*snapshot));

    if (snapshot != NULL)
        atomic_init(&snapshot->refs, 1);
    return snapshot;
}

/* Puts a block with room for `size` bytes in front; false when memory is out. */
static bool add_block(struct tg_snapshot *snapshot, size_t size)
{
    size_t cap = TG_MAX(size, BLOCK_SIZE);
    struct tg_snapshot_block *block = tg_mem_alloc(TG_MEM_CONFIG, sizeof(*block) + cap);

    if (block == NULL)
        return false;
    block->next = snapshot->blocks;
    block->used = 0;
    block->cap = cap;
    snapshot->blocks = block;
    return true;
}

void *tg_snapshot_alloc(struct tg_snapshot *snapshot, size_t count, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 2)
        return NULL;
    bytes = (bytes + BLOCK_ALIGN - 1) & ~(BLOCK_ALIGN - 1);
    struct tg_snapshot_block *block = snapshot->blocks;
    if (block == NULL || block->cap - block->used < bytes) {
        if (!add_block(snapshot, bytes))
            return NULL;
        block = snapshot->blocks;
    }
    void *p = block->bytes + block->used;
    block->used += bytes;
    return memset(p, 0, bytes);
}

struct tg_str tg_snapshot_copy(struct tg_snapshot *snapshot, struct tg_str s)
{
    char *p = tg_snapshot_alloc(snapshot, 1, s.n + 1);

    if (p == NULL)
        return (struct tg_str){NULL, 0};
    if (s.n > 0)
        memcpy(p, s.p, s.n);
    return tg_str(p, s.n);
}

struct tg_snapshot *tg_snapshot_ref(struct tg_snapshot *snapshot)
{
    uint32_t before = atomic_fetch_add_explicit(&snapshot->refs, 1, memory_order_relaxed);

    tg_assert(before > 0 && before < UINT32_MAX);
    return snapshot;
}

static void free_condition(struct tg_expr *when)
{
    tg_expr_free(&when);
}

static void free_snapshot(struct tg_snapshot *snapshot)
{
    /* Const for everybody else: what they hold goes here. */
    struct tg_listener_conf *listeners = (void *)(uintptr_t)snapshot->listeners;
    struct tg_service_conf *services = (void *)(uintptr_t)snapshot->services;
    tg_route_table_free(&snapshot->table);
    tg_consumer_store_free(&snapshot->consumers);
    for (uint32_t i = 0; i < snapshot->instance_count; i++)
        free_condition(snapshot->instances[i].when);
    for (uint32_t i = 0; i < snapshot->plugin_count; i++) {
        for (unsigned phase = 0; phase < TG_PHASES; phase++)
            free_condition(snapshot->plugins[i].when[phase]);
    }
    for (uint32_t i = 0; i < snapshot->listener_count; i++)
        tg_tls_context_unref(&listeners[i].tls);
    for (uint32_t i = 0; i < snapshot->service_count; i++)
        tg_tls_context_unref(&services[i].tls);
    while (snapshot->blocks != NULL) {
        struct tg_snapshot_block *block = snapshot->blocks;
        snapshot->blocks = block->next;
        tg_mem_free(TG_MEM_CONFIG, block);
    }
    tg_mem_free(TG_MEM_CONFIG, snapshot);
}

/* ---- Freed elsewhere ---- */

static struct {
    void (*wake)(void *arg);
    void *arg;
    pthread_mutex_t lock;
    struct tg_list dead; /* of struct tg_snapshot */
} grave = {.lock = PTHREAD_MUTEX_INITIALIZER, .dead = {&grave.dead, &grave.dead}};

void tg_snapshot_reap_by(void (*wake)(void *arg), void *arg)
{
    grave.wake = wake;
    grave.arg = arg;
}

static struct tg_snapshot *take_dead(void)
{
    struct tg_snapshot *snapshot = NULL;

    pthread_mutex_lock(&grave.lock);
    if (!tg_list_is_empty(&grave.dead)) {
        snapshot = TG_LIST_ENTRY(grave.dead.next, struct tg_snapshot, dead);
        tg_list_remove(&snapshot->dead);
    }
    pthread_mutex_unlock(&grave.lock);
    return snapshot;
}

void tg_snapshot_reap(void)
{
    struct tg_snapshot *snapshot;

    while ((snapshot = take_dead()) != NULL)
        free_snapshot(snapshot);
}

static void bury(struct tg_snapshot *snapshot)
{
    pthread_mutex_lock(&grave.lock);
    tg_list_push_back(&grave.dead, &snapshot->dead);
    pthread_mutex_unlock(&grave.lock);
    grave.wake(grave.arg);
}

void tg_snapshot_unref(struct tg_snapshot **snapshot)
{
    struct tg_snapshot *mine = *snapshot;

    *snapshot = NULL;
    if (mine == NULL)
        return;
    uint32_t before = atomic_fetch_sub_explicit(&mine->refs, 1, memory_order_acq_rel);
    tg_assert(before > 0);
    if (before > 1)
        return;
    if (grave.wake != NULL)
        bury(mine);
    else
        free_snapshot(mine);
}

const char *tg_phase_name(enum tg_phase phase)
{
    static const char *const names[TG_PHASES] = {
        [TG_PHASE_CERTIFICATE] = "certificate",
        [TG_PHASE_REWRITE] = "rewrite",
        [TG_PHASE_ACCESS] = "access",
        [TG_PHASE_HEADER_FILTER] = "header_filter",
        [TG_PHASE_BODY_FILTER] = "body_filter",
        [TG_PHASE_MESSAGE] = "message",
        [TG_PHASE_LOG] = "log",
    };
    return names[phase];
}
