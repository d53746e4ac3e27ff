/* alloc.h: the allocator under a Lua VM, and the accounts that its blocks are charged to.
 *
 * Every block that LuaJIT asks for carries a tag of 8 bytes that names the account which was
 * current when the block was made. There is one account per plugin and request, and one for the VM
 * itself. Sizes are what Lua asked for, to the byte, so figures depend on the Lua code alone.
 *
 *     account    live     bytes that its blocks hold now
 *                peak     the most that `live` ever was
 *                churn    bytes ever allocated (growth of a block counts, shrinking gives nothing)
 *
 *     block      | tag: account, size | payload ...... |       payload is aligned to 8
 *
 * When a request ends, tg_account_release() moves what it left behind to the VM's account in
 * constant time: the slot's generation changes, and a tag of another generation means "the VM".
 *
 * Bounds hold only between tg_alloc_enforce(true) and (false), that is while plugin code runs:
 *   - `memory` of the current account is soft: passing it calls on_pressure (which arms the hook
 *     that collects garbage first); past twice the value growth is refused.
 *   - `churn` of the current account: growth past it is refused.
 *   - `heap` bounds the live bytes of the whole VM: soft at three quarters, refused past it.
 * A refusal reports its reason through on_refused, and LuaJIT raises "not enough memory". Growth
 * alone is refused, never a shrink: LuaJIT does not survive the latter. Nor does it survive that
 * the stack of a coroutine cannot grow: it puts the message behind the frame for which there was no
 * room, up to 2 KiB beyond the block. So a stack that passes a bound grows all the same, and what
 * on_refused is told has to end the plugin before it asks again. Host code (no plugin on the
 * stack) is refused nothing but what the system itself does not have.
 *
 * Memory comes in chunks of 64 KiB from base/mem, cut into pages per size class; blocks above 2 KiB
 * come from base/mem one by one. Chunks that are wholly free go back, but for one. What small
 * blocks scattered over many pages keep from going back is bounded too: chunks may hold twice
 * `heap` and 1 MiB more, then a page for small blocks is refused like heap that is not there. Under
 * AddressSanitizer each block is an allocation of its own.
 *
 * Threads: one at a time. Cost: some 15 instructions an allocation; no system call on the way.
 */
#ifndef TG_SCRIPT_ALLOC_H
#define TG_SCRIPT_ALLOC_H

#include "base/err.h"
#include "base/mem.h"
#include "script/kill.h"

#include <lua.h>

struct tg_alloc;

/* What one plugin holds for one request. Embedded by the caller; fields are read-only to it. */
struct tg_account {
    size_t live;         /* bytes */
    size_t peak;         /* bytes */
    uint64_t churn;      /* bytes */
    size_t memory_limit; /* bytes: soft mark for `live`; SIZE_MAX is none */
    uint64_t churn_limit;
    uint32_t collections; /* forced collections so far, for reports */
    /* private */
    uint32_t window_collections; /* forced collections in the second that began at window_start */
    uint64_t window_start;
    uint64_t tag;
    struct tg_alloc *alloc; /* NULL: not initialised or released */
};

struct tg_alloc_events {
    /* `live` of the current account or of the VM passed its soft mark; called while Lua is inside
     * an allocation: must not touch the Lua state beyond lua_sethook(). May be called repeatedly.
     */
    void (*on_pressure)(void *arg);
    /* Growth was refused because of `reason`; same restriction. */
    void (*on_refused)(void *arg, enum tg_kill reason);
    void *arg; /* borrowed */
    /* The block of a userdata that tg_alloc_mark_owner() was told of goes back; `payload` is its
     * own memory, as lua_touserdata() has it. Called in the midst of a collection or of
     * lua_close(): must not touch the Lua state, but may free blocks that are not marked. NULL
     * where none is. */
    void (*on_freed)(void *arg, void *payload);
};

/* An allocator whose VM may hold `heap` bytes, with the memory of `tag`. Owned by the caller; NULL
 * when memory is out. */
struct tg_alloc *tg_alloc_new(enum tg_mem_tag tag, size_t heap,
                              const struct tg_alloc_events *events) TG_MUST_USE;

/* All blocks must have been freed (lua_close) and all accounts released. */
void tg_alloc_free(struct tg_alloc **alloc);

/* A Lua state on this allocator; NULL when memory is out, or when this LuaJIT takes no allocator
 * (then tg_alloc_growths() is 0). LuaJIT crashes when memory ends inside lua_newstate() after the
 * first block: what it needs besides is taken beforehand. The state is closed before the allocator.
 */
lua_State *tg_alloc_new_state(struct tg_alloc *alloc) TG_MUST_USE;

/* Whoever has called lua_newthread() says so at once: the block made last is a coroutine's stack,
 * whose growth is never refused. */
void tg_alloc_mark_stack(struct tg_alloc *alloc);

/* Whoever has called lua_newuserdata() for something that owns what the VM does not know says so at
 * once: on_freed is called when the block made last, which is that of `payload`, goes back. A __gc
 * would not do: where no room is left on the stack of the coroutine in which the collector runs,
 * LuaJIT frees the userdata without having called it, and a plugin can bring that about. */
void tg_alloc_mark_owner(struct tg_alloc *alloc, const void *payload);

/* The lua_Alloc function; `ud` is the struct tg_alloc. */
void *tg_alloc_lua(void *ud, void *ptr, size_t old_size, size_t new_size);

/* Opens an account with no bytes. Limits in bytes; 0 means none. TG_E_NOMEM when there is no slot.
 */
enum tg_err tg_account_init(struct tg_account *account, struct tg_alloc *alloc, size_t memory_limit,
                            uint64_t churn_limit) TG_MUST_USE;

/* Folds the remains into the VM's account. The figures stay readable; a second call does nothing.
 * The account must not be the current one. */
void tg_account_release(struct tg_account *account);

/* From now on the account may allocate `churn_limit` bytes (0: no bound) beside what it has; for
 * one that lives long and does its work in pieces. */
void tg_account_renew(struct tg_account *account, uint64_t churn_limit);

/* Charges what follows to `account` (NULL: to the VM); returns the account that was current. */
struct tg_account *tg_alloc_switch(struct tg_alloc *alloc, struct tg_account *account);

/* Switches the bounds on or off; returns what was. */
bool tg_alloc_enforce(struct tg_alloc *alloc, bool on);

/* True while the current account or the VM is above its soft mark. */
bool tg_alloc_is_pressed(const struct tg_alloc *alloc);

/* True while the account holds more than its memory limit. */
bool tg_account_is_over(const struct tg_account *account);

/* A full collection has been made: the VM's soft mark moves half way from what is left to the
 * bound, so that a heap which is really full is not collected again at every allocation. */
void tg_alloc_collected(struct tg_alloc *alloc);

/* events.arg: what the allocator belongs to. */
void *tg_alloc_arg(const struct tg_alloc *alloc);

/* The VM's own account: what no open request holds. Borrowed. */
const struct tg_account *tg_alloc_vm_account(const struct tg_alloc *alloc);

/* True once there was no memory for growth that all bounds allowed: Lua code may have caught the
 * error and gone on. */
bool tg_alloc_has_starved(const struct tg_alloc *alloc);

/* Live bytes in all accounts together; bytes held from the system; both in bytes. */
size_t tg_alloc_used(const struct tg_alloc *alloc);
size_t tg_alloc_held(const struct tg_alloc *alloc);

/* Makes the `nth` growth from now on fail (1 is the next), once and whatever the bounds; 0 switches
 * off. For tests. tg_alloc_growths() counts growths since. */
void tg_alloc_fail_at(struct tg_alloc *alloc, uint64_t nth);
uint64_t tg_alloc_growths(const struct tg_alloc *alloc);

#endif
