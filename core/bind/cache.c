/* cache.c: tg.cache: a cache that computes each value once, whoever asks: store/cache.h for Lua.
 *
 * fetch() calls a function of the plugin, which may wait; C on LuaJIT cannot be yielded across. So
 * the loop of fetch is Lua (lua/tidegate/fetch.lua) around these functions:
 *
 *     begin(cache, key, options, fn)   nil, value, err    there is an answer
 *                                      flight             look(); without a value compute, then
 *                                                         finish() or give_up()
 *                                      false              call again
 *     look(flight)                     true, value        it is there by now; the flight is over
 *     finish(flight, value, err)       what fetch returns
 *     give_up(flight)                  the function raised: whoever waits is next
 *
 * A flight is a claim on the key in the zone's locks (store/lock.h). It is anchored in the registry
 * and held by the activation (gateway/wait.h) while it waits or computes, so a kill, an exit or the
 * end of the request hands it on. No plugin ever sees it.
 */
#include "base/banned.h"
#include "bind/zone.h"

#include "base/assert.h"
#include "base/embed.h"
#include "gateway/wait.h"
#include "script/sandbox.h"
#include "store/cache.h"

#define FETCH_FILE    "lua/tidegate/fetch.lua"
#define STANDARD_WAIT (2 * TG_USEC_PER_SEC)

static const char *const set_options[] = {"ttl", NULL};
static const char *const fetch_options[] = {"ttl", "negative_ttl", "stale", "wait", NULL};

struct flight {
    int ref;       /* anchor; LUA_NOREF when it is over */
    bool held;     /* the key is its own: it computes */
    bool called;   /* the news has come */
    bool negative; /* negative_ttl was given */
    struct tg_vm *vm;
    struct tg_run *run; /* while it waits */
    struct tg_zone *zone;
    struct tg_claim *claim;
    struct tg_held hold;
    struct tg_wait wait;
    uint64_t ttl, negative_ttl, stale, patience;
    size_t n;
    char key[];
};

static uint64_t now_of(lua_State *L)
{
    return tg_bind_clock(L)->mono;
}

int tg_api_tg_cache(lua_State *L)
{
    return tg_bind_push_zone(L, TG_ZONE_CACHE, TG_SCOPE_CACHE);
}

int tg_api_cache_get(lua_State *L)
{
    struct tg_str key;
    const struct tg_bind_zone *cache = tg_bind_check_zone(L, &key);
    struct tg_zone_value value;
    if (tg_cache_get(cache->zone, key, now_of(L), &value) != TG_CACHE_FRESH)
        tg_zone_value_release(&value);
    return tg_bind_push_value(L, &value);
}

int tg_api_cache_set(lua_State *L)
{
    struct tg_str key;
    const struct tg_bind_zone *cache = tg_bind_check_zone(L, &key);
    struct tg_zone_value value;
    uint64_t ttl = 0;
    tg_bind_check_options(L, 3, set_options);
    tg_bind_option_duration(L, 3, "ttl", &ttl);
    if (lua_isnoneornil(L, 3))
        tg_bind_arg_error(L, 2, "expected a value, got nil; delete() removes a key");
    tg_bind_take_value(L, 2, &value);
    return tg_bind_push_stored(
        L, tg_cache_set(cache->zone, key, &value, ttl, cache->stale, now_of(L)));
}

int tg_api_cache_delete(lua_State *L)
{
    struct tg_str key;
    const struct tg_bind_zone *cache = tg_bind_check_zone(L, &key);
    lua_pushboolean(L, tg_cache_delete(cache->zone, key, now_of(L)));
    return 1;
}

/* ---- Flights ---- */

static void end_flight(struct flight *flight, bool call_all)
{
    lua_State *L = tg_vm_state(flight->vm);
    flight->held = false;
    tg_claim_end(&flight->claim, call_all);
    tg_held_remove(&flight->hold);
    luaL_unref(L, LUA_REGISTRYINDEX, flight->ref);
    flight->ref = LUA_NOREF;
}

static void on_release(struct tg_held *hold)
{
    end_flight(TG_CONTAINER_OF(hold, struct flight, hold), false);
}

static void on_ready(void *arg, bool held)
{
    struct flight *flight = arg;
    flight->called = true;
    flight->held = held;
    tg_wait_end(flight->run);
}

static struct tg_str key_of(const struct flight *flight)
{
    return tg_str(flight->key, flight->n);
}

/* Pushes nil and the stale value, if there is one, else nil, nil and the error on top. */
static int push_stale_or_error(lua_State *L, const struct flight *flight)
{
    struct tg_zone_value value;
    enum tg_cache_verdict verdict = tg_cache_get(flight->zone, key_of(flight), now_of(L), &value);
    if (verdict == TG_CACHE_MISS || value.type == TG_ZONE_ABSENT)
        return 2;
    lua_pop(L, 2);
    return tg_bind_push_value(L, &value);
}

/* Waited in vain: the stale value, or an error. Runs under tg_run_push(). */
static int push_timeout(lua_State *L)
{
    const struct flight *flight = lua_touserdata(L, 1);
    lua_pushnil(L); /* no flight */
    tg_bind_fail(L, "timeout", "another computes the value and takes long");
    return 1 + push_stale_or_error(L, flight);
}

static int on_resume(struct tg_wait *wait, struct tg_run *run, bool cancelled)
{
    struct flight *flight = TG_CONTAINER_OF(wait, struct flight, wait);
    int count = 0;
    enum tg_err err = TG_OK;
    if (!cancelled && flight->held) {
        lua_rawgeti(run->L, LUA_REGISTRYINDEX, flight->ref);
        tg_held_add(run, &flight->hold);
        return 1;
    }
    if (!cancelled && flight->called)
        lua_pushboolean(run->L, 0); /* look again */
    else if (!cancelled)
        err = tg_run_push(run, push_timeout, flight, &count);
    end_flight(flight, false);
    return err != TG_OK ? -1 : TG_MAX(count, 1);
}

/* Reads the options of fetch() into a new flight, which is left on the stack, anchored. */
static struct flight *new_flight(lua_State *L, const struct tg_bind_zone *cache, struct tg_str key)
{
    struct flight *flight = lua_newuserdata(L, sizeof(*flight) + key.n);
    memset(flight, 0, sizeof(*flight));
    flight->vm = tg_vm_from(L);
    flight->zone = cache->zone;
    flight->hold.release = on_release;
    flight->wait.on_resume = on_resume;
    flight->stale = cache->stale;
    flight->patience = STANDARD_WAIT;
    flight->n = key.n;
    memcpy(flight->key, key.p, key.n);
    tg_list_init(&flight->hold.link);
    tg_bind_check_options(L, 2, fetch_options);
    tg_bind_option_duration(L, 2, "ttl", &flight->ttl);
    tg_bind_option_duration(L, 2, "stale", &flight->stale);
    tg_bind_option_duration(L, 2, "wait", &flight->patience);
    flight->negative = tg_bind_option_duration(L, 2, "negative_ttl", &flight->negative_ttl);
    lua_pushvalue(L, -1);
    flight->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return flight;
}

static int wait_for(lua_State *L, struct flight *flight)
{
    flight->run = tg_run_current(L);
    if (tg_wait_begin(flight->run, &flight->wait, now_of(L) + flight->patience) == TG_OK)
        return tg_run_suspend(L);
    end_flight(flight, false);
    tg_bind_call_error(L, tg_err_text(TG_E_NOMEM));
}

/* begin(): the method fetch as Lua sees it through fetch.lua. */
int tg_api_cache_fetch(lua_State *L)
{
    struct tg_str key;
    const struct tg_bind_zone *cache = tg_bind_check_zone(L, &key);
    struct tg_zone_value value;
    luaL_checkstack(L, 8, NULL);
    if (key.n > TG_LOCK_KEY_MAX)
        tg_bind_arg_error(L, 1, "a key of fetch has at most 1024 bytes");
    tg_bind_arg_table(L, 2, true);
    if (lua_type(L, 4) != LUA_TFUNCTION)
        tg_bind_arg_error(L, 3, "expected a function that computes the value");
    if (tg_cache_get(cache->zone, key, now_of(L), &value) == TG_CACHE_FRESH) {
        lua_pushnil(L);
        return 1 + tg_bind_push_value(L, &value);
    }
    tg_zone_value_release(&value);
    if (!tg_run_is_hosted(tg_run_current(L)))
        tg_bind_call_error(L, "is not for init and configure, which cannot wait");
    if (!tg_run_can_suspend(L))
        return tg_run_suspend(L);
    struct flight *flight = new_flight(L, cache, key);
    struct tg_claims *claims = &tg_bind_vm_entry(L)->host.gate->claims;
    enum tg_err err = tg_claim_new(claims, flight->zone, key, on_ready, flight, &flight->claim);
    if (err == TG_E_AGAIN)
        return wait_for(L, flight);
    if (err != TG_OK) {
        end_flight(flight, false);
        lua_pushnil(L);
        tg_bind_fail(L, err == TG_E_LIMIT ? "limit" : "unavailable", tg_err_text(err));
        return 3;
    }
    flight->held = true;
    tg_held_add(tg_run_current(L), &flight->hold);
    return 1;
}

/* The cache was looked at before the turn was taken: by now another, whose turn came in between or
 * who has just handed it on, may have stored the value. */
static int look(lua_State *L)
{
    struct flight *flight = lua_touserdata(L, 1);
    struct tg_zone_value value;
    if (!flight->held) /* handed on meanwhile, as in finish() */
        return 0;
    if (tg_cache_get(flight->zone, key_of(flight), now_of(L), &value) != TG_CACHE_FRESH) {
        tg_zone_value_release(&value);
        return 0;
    }
    end_flight(flight, true);
    lua_pushboolean(L, 1);
    return 1 + tg_bind_push_value(L, &value);
}

/* Stores what the function returned at index 2; true: all who wait find it. Raises when it cannot
 * be stored by nature. */
static bool store(lua_State *L, struct flight *flight)
{
    struct tg_zone_value value;
    char room[192];
    const char *why = tg_bind_take_at(L, 2, "value", &value, room, sizeof(room));
    if (why != NULL) {
        end_flight(flight, false);
        luaL_error(L, "cache:fetch(): what the function returned cannot be stored: %s", why);
    }
    bool absent = value.type == TG_ZONE_ABSENT;
    if (absent && !flight->negative) {
        tg_cache_delete(flight->zone, key_of(flight), now_of(L));
        return false;
    }
    return tg_cache_set(flight->zone, key_of(flight), &value,
                        absent ? flight->negative_ttl : flight->ttl, absent ? 0 : flight->stale,
                        now_of(L)) == TG_OK;
}

static int finish(lua_State *L)
{
    struct flight *flight = lua_touserdata(L, 1);
    lua_settop(L, 3);
    bool failed = lua_isnil(L, 2) && !lua_isnil(L, 3);
    if (!flight->held) /* the activation that held it has ended: this is another's */
        return 2;
    if (failed) {
        end_flight(flight, false);
        return push_stale_or_error(L, flight);
    }
    end_flight(flight, store(L, flight));
    lua_settop(L, 2);
    return 1;
}

static int give_up(lua_State *L)
{
    struct flight *flight = lua_touserdata(L, 1);
    if (flight->held)
        end_flight(flight, false);
    return 0;
}

void tg_bind_wrap_fetch(lua_State *L)
{
    const struct tg_embed *file = tg_embed_find(FETCH_FILE);
    int names = lua_gettop(L);
    tg_assert(file != NULL);
    if (luaL_loadbuffer(L, file->data, file->size, "=" FETCH_FILE) != 0)
        lua_error(L);
    lua_getfield(L, names, "fetch");
    lua_pushcfunction(L, look);
    lua_pushcfunction(L, finish);
    lua_pushcfunction(L, give_up);
    tg_sandbox_push_env(L);
    lua_getfield(L, -1, "pcall");
    lua_getfield(L, -2, "error");
    lua_remove(L, -3);
    lua_call(L, 6, 1);
    lua_setfield(L, names, "fetch");
}
