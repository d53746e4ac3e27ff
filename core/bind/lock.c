/* lock.c: tg.lock: leases on keys, for one at a time of all workers.
 *
 * The lease object is the memory of everything: claim, timer, hold. While it holds or waits it is
 * anchored in the registry, so that a plugin which drops it keeps the lock (until the request ends)
 * and the collector cannot take what the loop still points to.
 *
 *     WAITING --- turn comes ---> HELD --- release, ttl over, request over, kill ---> OVER
 *        |                                                                             ^
 *        +--- `wait` over, cancelled --------------------------------------------------+
 */
#include "base/banned.h"
#include "bind/zone.h"

#include "gateway/wait.h"

static const char *const lock_options[] = {"ttl", "wait", NULL};

struct lease {
    uint32_t magic;
    bool held;
    bool timer_on;
    int ref; /* anchor; LUA_NOREF when it is over */
    struct tg_vm *vm;
    struct tg_run *run; /* while it waits */
    struct tg_claim *claim;
    struct tg_held hold;
    struct tg_wait wait;
    struct tg_timer timer; /* the end of ttl */
    struct tg_loop *loop;
    uint64_t ttl;
};

/* Nothing points to the lease any more but the plugin. */
static void end_lease(struct lease *lease)
{
    lua_State *L = tg_vm_state(lease->vm);
    lease->held = false;
    tg_claim_end(&lease->claim, false);
    tg_held_remove(&lease->hold);
    if (lease->timer_on)
        tg_timer_release(&lease->timer);
    lease->timer_on = false;
    luaL_unref(L, LUA_REGISTRYINDEX, lease->ref);
    lease->ref = LUA_NOREF;
}

static void on_release(struct tg_held *hold)
{
    end_lease(TG_CONTAINER_OF(hold, struct lease, hold));
}

static void on_ttl(struct tg_timer *timer)
{
    end_lease(TG_CONTAINER_OF(timer, struct lease, timer));
}

static void hold(struct lease *lease, struct tg_run *run)
{
    lease->held = true;
    tg_held_add(run, &lease->hold);
    if (lease->ttl != 0)
        tg_timer_set(&lease->timer, tg_loop_now(lease->loop) + lease->ttl);
}

/* The turn has come. Locks are never called to look again. */
static void on_ready(void *arg, bool held)
{
    struct lease *lease = arg;
    (void)held;
    lease->held = true;
    tg_wait_end(lease->run);
}

static int push_timeout(lua_State *L)
{
    return tg_bind_fail(L, "timeout", "another holds the lock");
}

static int on_resume(struct tg_wait *wait, struct tg_run *run, bool cancelled)
{
    struct lease *lease = TG_CONTAINER_OF(wait, struct lease, wait);
    int count = 1;
    if (!cancelled && lease->held) {
        lua_rawgeti(run->L, LUA_REGISTRYINDEX, lease->ref);
        hold(lease, run);
        return 1;
    }
    end_lease(lease);
    if (!cancelled && tg_run_push(run, push_timeout, NULL, &count) != TG_OK)
        return -1;
    return count;
}

/* A lease that is anchored and has its timer; on top of the stack. */
static struct lease *new_lease(lua_State *L, uint64_t ttl)
{
    struct lease *lease = tg_bind_new_value(L, TG_SCOPE_LEASE, sizeof(*lease));
    lease->vm = tg_vm_from(L);
    lease->loop = &tg_bind_vm_entry(L)->host.gate->worker->loop;
    lease->ttl = ttl;
    lease->ref = LUA_NOREF;
    lease->hold.lasts = true;
    lease->hold.release = on_release;
    lease->wait.on_resume = on_resume;
    tg_list_init(&lease->hold.link);
    lua_pushvalue(L, -1);
    lease->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    if (tg_timer_init(&lease->timer, &lease->loop->timers, on_ttl) != TG_OK) {
        end_lease(lease);
        tg_bind_call_error(L, tg_err_text(TG_E_NOMEM));
    }
    lease->timer_on = true;
    return lease;
}

static int wait_for(lua_State *L, struct lease *lease, uint64_t wait)
{
    lease->run = tg_run_current(L);
    if (wait == 0) {
        end_lease(lease);
        return push_timeout(L);
    }
    if (tg_wait_begin(lease->run, &lease->wait, tg_loop_now(lease->loop) + wait) != TG_OK) {
        end_lease(lease);
        return tg_bind_fail(L, "unavailable", tg_err_text(TG_E_NOMEM));
    }
    return tg_run_suspend(L);
}

int tg_api_tg_lock(lua_State *L)
{
    struct tg_bind_zone found;
    struct tg_str key = tg_bind_arg_str(L, 2);
    uint64_t ttl = 0;
    uint64_t wait = 0;
    tg_bind_find_zone(L, 1, TG_ZONE_DICT, &found);
    tg_bind_check_options(L, 3, lock_options);
    tg_bind_option_duration(L, 3, "ttl", &ttl);
    tg_bind_option_duration(L, 3, "wait", &wait);
    if (key.n > TG_LOCK_KEY_MAX)
        tg_bind_arg_error(L, 2, "a key of a lock has at most 1024 bytes");
    if (!tg_run_is_hosted(tg_run_current(L)))
        tg_bind_call_error(L, "is not for init and configure: nobody would give the lock back");
    if (wait != 0 && !tg_run_can_suspend(L))
        return tg_run_suspend(L);
    struct lease *lease = new_lease(L, ttl);
    struct tg_claims *claims = &tg_bind_vm_entry(L)->host.gate->claims;
    enum tg_err err = tg_claim_new(claims, found.zone, key, on_ready, lease, &lease->claim);
    if (err == TG_E_AGAIN)
        return wait_for(L, lease, wait);
    if (err != TG_OK) {
        end_lease(lease);
        return tg_bind_fail(L, err == TG_E_LIMIT ? "limit" : "unavailable", tg_err_text(err));
    }
    hold(lease, tg_run_current(L));
    return 1;
}

int tg_api_lease_release(lua_State *L)
{
    struct lease *lease = tg_bind_check_value(L);
    bool held = lease->held;
    if (held)
        end_lease(lease);
    lua_pushboolean(L, held);
    return 1;
}
