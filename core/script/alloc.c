/* alloc.c: accounts, bounds and the lua_Alloc function. See alloc.h for what is charged to whom.
 *
 * A tag is `generation << 32 | slot | OWNS | STACK | LARGE | size`; the size of a large block
 * stands in front of its tag. Slot 0 is the VM's, generation 0 for ever. A tag whose generation is
 * not the slot's belongs to a request that is over, which means to the VM. A slot whose generation
 * has run through all its values is not used again.
 *
 * A block that Lua grows becomes the current account's, whoever made it: what grows a shared buffer
 * pays for it. One that shrinks stays where it was: the collector shrinks what is not its caller's.
 *
 * The old size that LuaJIT names is not believed. After a refusal it frees NULL with a stale size,
 * and a closure whose upvalues could not be made as if it had none.
 */
#include "base/banned.h"
#include "script/alloc.h"

#include "base/assert.h"
#include "base/limits.h"
#include "script/heap.h"

#define SIZE_MASK   UINT64_C(0xfff)
#define LARGE       (UINT64_C(1) << 12)
#define STACK       (UINT64_C(1) << 13) /* of a coroutine: its growth is not refused */
#define OWNS        (UINT64_C(1) << 14) /* something outside of the VM: on_freed is called */
#define SLOT_SHIFT  15
#define SLOTS_MAX   (UINT32_C(1) << 17)
#define GEN_SHIFT   32
#define OWNER_MASK  (~(SIZE_MASK | LARGE | STACK | OWNS))
#define LARGE_HEAD  (2 * sizeof(uint64_t))
#define FIRST_SLOTS 16u
#define NO_SLOT     0u /* the VM's slot is never on the free list */
#define HELD_SLACK  ((size_t)1 << 20)

struct slot {
    uint32_t generation;
    uint32_t next_free;
    struct tg_account *account; /* borrowed; NULL while free */
};

struct tg_alloc {
    struct tg_account *current;
    enum tg_mem_tag tag;
    bool enforced;
    bool starved;     /* growth failed that no bound refused */
    size_t small_max; /* larger blocks come one by one; 0 under AddressSanitizer */
    size_t used;      /* live bytes of all accounts */
    size_t heap_mark; /* soft bound of `used` */
    size_t heap_limit;
    size_t held_max; /* bytes that the chunks of small blocks may take while bounds hold */
    uint64_t fail_at;
    uint64_t growths;
    size_t large;      /* bytes in large blocks, tags included */
    void *last;        /* the block made last */
    size_t payload_at; /* where the payload of a block that OWNS begins in it */
    struct tg_account vm;
    struct tg_heap heap;
    struct tg_alloc_events events;
    struct slot *slots;
    uint32_t slot_count;
    uint32_t free_slot;
};

/* ---- Accounts -------------------------------------------------------------------------------- */

static bool grow_slots(struct tg_alloc *a)
{
    uint32_t count = a->slot_count != 0 ? a->slot_count * 2 : FIRST_SLOTS;
    if (count > SLOTS_MAX)
        return false;
    struct slot *slots = tg_mem_realloc(a->tag, a->slots, count * sizeof(*slots));
    if (slots == NULL)
        return false;
    for (uint32_t i = a->slot_count; i < count; i++)
        slots[i] = (struct slot){0, i + 1 < count ? i + 1 : NO_SLOT, NULL};
    a->free_slot = a->slot_count;
    a->slots = slots;
    a->slot_count = count;
    return true;
}

struct tg_alloc *tg_alloc_new(enum tg_mem_tag tag, size_t heap,
                              const struct tg_alloc_events *events)
{
    struct tg_alloc *a = tg_mem_zalloc(tag, 1, sizeof(*a));
    if (a == NULL)
        return NULL;
    a->tag = tag;
    if (!grow_slots(a)) {
        tg_mem_free(tag, a);
        return NULL;
    }
    a->free_slot = 1;
    a->slots[0].account = &a->vm;
    a->vm.memory_limit = SIZE_MAX;
    a->vm.churn_limit = UINT64_MAX;
    a->vm.alloc = a;
    a->current = &a->vm;
    a->heap_limit = heap;
    a->heap_mark = heap - heap / 4;
    a->held_max = heap < SIZE_MAX / 4 ? 2 * heap + HELD_SLACK : SIZE_MAX;
    a->events = *events;
    a->small_max = TG_ASAN ? 0 : TG_HEAP_MAX;
    tg_heap_init(&a->heap, tag);
    return a;
}

lua_State *tg_alloc_new_state(struct tg_alloc *a)
{
    size_t small_max = a->small_max;
    a->small_max = TG_HEAP_MAX;
    lua_State *L = tg_heap_reserve(&a->heap) ? lua_newstate(tg_alloc_lua, a) : NULL;
    a->small_max = small_max;
    return L;
}

void tg_alloc_free(struct tg_alloc **alloc)
{
    struct tg_alloc *a = *alloc;
    if (a == NULL)
        return;
    /* `used` and `large` need not be 0: after a refusal in its parser LuaJIT gives blocks back with
     * sizes that they do not have. All blocks are back nevertheless. */
    tg_heap_release(&a->heap);
    tg_mem_free(a->tag, a->slots);
    tg_mem_free(a->tag, a);
    *alloc = NULL;
}

enum tg_err tg_account_init(struct tg_account *account, struct tg_alloc *a, size_t memory_limit,
                            uint64_t churn_limit)
{
    if (a->free_slot == NO_SLOT && !grow_slots(a))
        return TG_E_NOMEM;
    uint32_t index = a->free_slot;
    struct slot *slot = &a->slots[index];
    a->free_slot = slot->next_free;
    slot->account = account;
    *account = (struct tg_account){
        .memory_limit = memory_limit != 0 ? memory_limit : SIZE_MAX,
        .churn_limit = churn_limit != 0 ? churn_limit : UINT64_MAX,
        .tag = (uint64_t)slot->generation << GEN_SHIFT | (uint64_t)index << SLOT_SHIFT,
        .alloc = a,
    };
    return TG_OK;
}

void tg_account_renew(struct tg_account *account, uint64_t churn_limit)
{
    bool bounded = churn_limit != 0 && account->churn <= UINT64_MAX - churn_limit;
    account->churn_limit = bounded ? account->churn + churn_limit : UINT64_MAX;
}

void tg_account_release(struct tg_account *account)
{
    struct tg_alloc *a = account->alloc;
    if (a == NULL)
        return;
    tg_assert(account != a->current && account != &a->vm);
    uint32_t index = (uint32_t)(account->tag >> SLOT_SHIFT) & (SLOTS_MAX - 1);
    struct slot *slot = &a->slots[index];
    a->vm.live += account->live;
    a->vm.peak = TG_MAX(a->vm.peak, a->vm.live);
    account->alloc = NULL;
    slot->account = NULL;
    if (++slot->generation == UINT32_MAX)
        return;
    slot->next_free = a->free_slot;
    a->free_slot = index;
}

struct tg_account *tg_alloc_switch(struct tg_alloc *a, struct tg_account *account)
{
    struct tg_account *was = a->current;
    a->current = account != NULL ? account : &a->vm;
    tg_assert(a->current->alloc == a);
    return was;
}

bool tg_alloc_enforce(struct tg_alloc *a, bool on)
{
    bool was = a->enforced;
    a->enforced = on;
    a->heap.held_max = on ? a->held_max : SIZE_MAX;
    return was;
}

bool tg_account_is_over(const struct tg_account *account)
{
    return account->live > account->memory_limit;
}

bool tg_alloc_is_pressed(const struct tg_alloc *a)
{
    return tg_account_is_over(a->current) || a->used > a->heap_mark;
}

void tg_alloc_collected(struct tg_alloc *a)
{
    size_t soft = a->heap_limit - a->heap_limit / 4;
    size_t room = a->used < a->heap_limit ? a->heap_limit - a->used : 0;
    a->heap_mark = a->used < soft ? soft : a->used + room / 2;
}

void *tg_alloc_arg(const struct tg_alloc *a)
{
    return a->events.arg;
}

const struct tg_account *tg_alloc_vm_account(const struct tg_alloc *a)
{
    return &a->vm;
}

size_t tg_alloc_used(const struct tg_alloc *a)
{
    return a->used;
}

size_t tg_alloc_held(const struct tg_alloc *a)
{
    return a->heap.held + a->large;
}

void tg_alloc_fail_at(struct tg_alloc *a, uint64_t nth)
{
    a->growths = 0;
    a->fail_at = nth;
}

bool tg_alloc_has_starved(const struct tg_alloc *a)
{
    return a->starved;
}

uint64_t tg_alloc_growths(const struct tg_alloc *a)
{
    return a->growths;
}

/* ---- Bounds ---------------------------------------------------------------------------------- */

/* Some bound is passed: which, and is it a hard one? */
static bool admit_slow(struct tg_alloc *a, size_t live, uint64_t churn, size_t used)
{
    const struct tg_account *account = a->current;
    enum tg_kill reason = TG_KILL_NONE;
    if (used > a->heap_limit)
        tg_limit_hit(plugin_heap);
    if (used > a->heap_limit || live / 2 > account->memory_limit)
        reason = TG_KILL_MEMORY;
    else if (churn > account->churn_limit)
        reason = TG_KILL_CHURN;
    if (reason != TG_KILL_NONE) {
        a->events.on_refused(a->events.arg, reason);
        return false;
    }
    a->events.on_pressure(a->events.arg);
    return true;
}

/* May the current account take `live` bytes more, and the VM `delta`? */
static inline bool admit(struct tg_alloc *a, size_t live, size_t delta)
{
    const struct tg_account *account = a->current;
    if (++a->growths == a->fail_at) {
        a->starved = true;
        return false;
    }
    if (!a->enforced)
        return true;
    size_t new_live = account->live + live;
    uint64_t new_churn = account->churn + delta;
    size_t new_used = a->used + delta;
    if (TG_LIKELY(new_live <= account->memory_limit && new_churn <= account->churn_limit &&
                  new_used <= a->heap_mark))
        return true;
    return admit_slow(a, new_live, new_churn, new_used);
}

static inline void charge(struct tg_alloc *a, size_t live, size_t churn)
{
    struct tg_account *account = a->current;
    account->live += live;
    account->churn += churn;
    if (account->live > account->peak)
        account->peak = account->live;
}

/* ---- Blocks ---------------------------------------------------------------------------------- */

static inline uint64_t *tag_of(void *ptr)
{
    return (uint64_t *)ptr - 1;
}

static inline size_t size_of(void *ptr)
{
    uint64_t tag = *tag_of(ptr);
    return TG_LIKELY((tag & LARGE) == 0) ? tag & SIZE_MASK : ((uint64_t *)ptr)[-2];
}

static inline uint32_t slot_of(uint64_t tag)
{
    return (uint32_t)(tag >> SLOT_SHIFT) & (SLOTS_MAX - 1);
}

static inline struct tg_account *owner_of(struct tg_alloc *a, void *ptr)
{
    uint64_t tag = *tag_of(ptr) & OWNER_MASK;
    if (TG_LIKELY(tag == a->current->tag))
        return a->current;
    const struct slot *slot = &a->slots[slot_of(tag)];
    return slot->generation == tag >> GEN_SHIFT ? slot->account : &a->vm;
}

/* A large block for `size` bytes, new or grown or shrunk from `old` (NULL, or the payload of one),
 * not charged. NULL when memory is out, which does not happen on a shrink; `old` then stays valid.
 */
static void *take_large(struct tg_alloc *a, void *old, size_t size, uint64_t owner)
{
    size_t old_size = old != NULL ? size_of(old) + LARGE_HEAD : 0;
    uint64_t *old_head = old != NULL ? (uint64_t *)old - 2 : NULL;
    if (size >= SIZE_MAX / 2)
        return NULL;
    uint64_t *head = tg_mem_realloc(a->tag, old_head, size + LARGE_HEAD);
    if (head == NULL && (owner & STACK) != 0) {
        a->events.on_refused(a->events.arg, TG_KILL_MEMORY);
        head = tg_mem_realloc_always(a->tag, old_head, size + LARGE_HEAD);
    }
    if (head == NULL)
        return NULL;
    a->large = a->large - old_size + size + LARGE_HEAD;
    head[0] = size;
    head[1] = owner | LARGE;
    return head + 2;
}

/* A block for `size` bytes with its tag, not charged; NULL when memory is out. */
static inline void *take_block(struct tg_alloc *a, size_t size, uint64_t owner)
{
    if (TG_UNLIKELY(size > a->small_max))
        return take_large(a, NULL, size, owner);
    uint64_t *block = tg_heap_take(&a->heap, tg_heap_class(size));
    if (TG_UNLIKELY(block == NULL))
        return NULL;
    *block = owner | size;
    return block + 1;
}

static inline void give_block(struct tg_alloc *a, void *ptr)
{
    uint64_t *tag = tag_of(ptr);
    if (TG_LIKELY((*tag & LARGE) == 0)) {
        tg_heap_give(&a->heap, tag);
        return;
    }
    a->large -= size_of(ptr) + LARGE_HEAD;
    tg_mem_free(a->tag, tag - 1);
}

/* The block with another size and owner, wherever it stands then. NULL when memory is out, and only
 * when it was to grow. A stack that moves becomes a large block, since those can be had always. */
static void *move_block(struct tg_alloc *a, void *ptr, size_t size, uint64_t owner)
{
    uint64_t *tag = tag_of(ptr);
    bool is_large = (*tag & LARGE) != 0;
    size_t old_size = size_of(ptr);
    owner |= *tag & STACK;
    bool apart = size > a->small_max || (owner & STACK) != 0;
    if (is_large && apart)
        return take_large(a, ptr, size, owner);
    if (!is_large && size <= TG_HEAP_MAX &&
        tg_heap_class(size) == tg_heap_page_of(tag)->class_index) {
        *tag = owner | size;
        return ptr;
    }
    void *moved = apart ? take_large(a, NULL, size, owner) : take_block(a, size, owner);
    if (moved != NULL) {
        memcpy(moved, ptr, TG_MIN(size, old_size));
        give_block(a, ptr);
        return moved;
    }
    if (size > old_size)
        return NULL;
    if (is_large)
        return take_large(a, ptr, size, owner);
    *tag = owner | size;
    return ptr;
}

/* No block was to be had for what admit() allowed. Where that is because of what chunks hold
 * already, it is a refusal like others; else there is no memory. */
static void *starve(struct tg_alloc *a)
{
    if (tg_heap_may_add(&a->heap)) {
        a->starved = true;
        return NULL;
    }
    tg_limit_hit(plugin_heap);
    a->events.on_refused(a->events.arg, TG_KILL_MEMORY);
    return NULL;
}

static void *allocate(struct tg_alloc *a, size_t size)
{
    if (!admit(a, size, size))
        return NULL;
    void *ptr = take_block(a, size, a->current->tag);
    if (TG_UNLIKELY(ptr == NULL))
        return starve(a);
    charge(a, size, size);
    a->used += size;
    a->last = ptr;
    return ptr;
}

static void *grow(struct tg_alloc *a, void *ptr, size_t size)
{
    struct tg_account *owner = owner_of(a, ptr);
    size_t old_size = size_of(ptr);
    size_t delta = size - old_size;
    bool admitted = admit(a, owner == a->current ? delta : size, delta);
    if (TG_UNLIKELY(!admitted) && (*tag_of(ptr) & STACK) == 0)
        return NULL;
    void *moved = move_block(a, ptr, size, a->current->tag);
    if (moved == NULL)
        return starve(a);
    owner->live -= old_size;
    charge(a, size, delta);
    a->used += delta;
    return moved;
}

static void *shrink(struct tg_alloc *a, void *ptr, size_t size)
{
    size_t delta = size_of(ptr) - size;
    struct tg_account *owner = owner_of(a, ptr);
    owner->live -= delta;
    a->used -= delta;
    return move_block(a, ptr, size, owner->tag);
}

void tg_alloc_mark_stack(struct tg_alloc *a)
{
    *tag_of(a->last) |= STACK;
}

void tg_alloc_mark_owner(struct tg_alloc *a, const void *payload)
{
    a->payload_at = (size_t)((const char *)payload - (const char *)a->last);
    *tag_of(a->last) |= OWNS;
}

void *tg_alloc_lua(void *ud, void *ptr, size_t old_size, size_t new_size)
{
    struct tg_alloc *a = ud;
    (void)old_size;
    if (ptr == NULL)
        return new_size != 0 ? allocate(a, new_size) : NULL;
    if (new_size > size_of(ptr))
        return grow(a, ptr, new_size);
    if (new_size != 0)
        return shrink(a, ptr, new_size);
    if (TG_UNLIKELY((*tag_of(ptr) & OWNS) != 0))
        a->events.on_freed(a->events.arg, (char *)ptr + a->payload_at);
    size_t size = size_of(ptr);
    owner_of(a, ptr)->live -= size;
    a->used -= size;
    give_block(a, ptr);
    return NULL;
}
