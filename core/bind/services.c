/* services.c: tg.services: what is known of the declared services, from all workers.
 *
 * A handle is a place in the snapshot that its VM belongs to, and so is good as long as the VM.
 * What it shows is copied at each call.
 */
#include "base/banned.h"
#include "bind/services.h"

#include "bind/zone.h"
#include "gateway/target.h"
#include "gateway/vm_set.h"

struct handle {
    uint32_t magic;
    uint32_t index; /* of the service */
};

static void set_number(lua_State *L, const char *key, double value)
{
    lua_pushnumber(L, value);
    lua_setfield(L, -2, key);
}

static uint64_t failures_of(const struct tg_origin *origin)
{
    uint64_t sum = 0;
    for (int class = 0; class < TG_RETRY_CLASSES; class ++)
        sum += origin->failures[class];
    return sum;
}

static void push_target(lua_State *L, uint64_t now, const struct tg_origin *origin)
{
    lua_createtable(L, 0, 6);
    tg_bind_push_str(L, origin->name);
    lua_setfield(L, -2, "target");
    lua_pushstring(L, tg_origin_label(origin));
    lua_setfield(L, -2, "state");
    set_number(L, "in_flight", origin->in_flight);
    set_number(L, "requests", (double)origin->requests);
    set_number(L, "failures", (double)failures_of(origin));
    uint64_t latency = tg_origin_latency(origin, now);
    if (latency > 0)
        set_number(L, "latency", (double)latency / 1e6);
}

void tg_services_push_targets(lua_State *L, uint64_t now, struct tg_balance *balance)
{
    bool panic;
    lua_newtable(L);
    if (balance == NULL)
        return;
    (void)tg_balance_usable(balance, now, &panic); /* lets in whose time has come */
    for (uint32_t i = 0; i < tg_balance_count(balance); i++) {
        push_target(L, now, tg_balance_origin(balance, i));
        lua_rawseti(L, -2, (int)i + 1);
    }
}

void tg_services_push_breaker(lua_State *L, const struct tg_service_conf *service,
                              struct tg_balance *balance)
{
    if (balance == NULL || service->policy.breaker.ratio <= 0) {
        lua_pushnil(L);
        return;
    }
    struct tg_fleet *fleet = tg_balance_fleet(balance);
    pthread_mutex_lock(&fleet->lock);
    struct tg_breaker breaker = fleet->breaker;
    pthread_mutex_unlock(&fleet->lock);
    lua_createtable(L, 0, 2);
    lua_pushstring(L, tg_breaker_label(breaker.state));
    lua_setfield(L, -2, "state");
    set_number(L, "opened", (double)breaker.opened);
}

/* ---- The API ---- */

static struct tg_vm_set *set_of(lua_State *L)
{
    return tg_bind_vm_entry(L)->host.set;
}

int tg_api_services_get(lua_State *L)
{
    struct tg_str name = tg_bind_arg_str(L, 1);
    const struct tg_snapshot *snapshot = set_of(L)->snapshot;
    for (uint32_t i = 0; i < snapshot->service_count; i++) {
        if (!tg_str_eq(snapshot->services[i].name, name))
            continue;
        struct handle *handle = tg_bind_new_value(L, TG_SCOPE_SERVICE_HANDLE, sizeof(*handle));
        handle->index = i;
        return 1;
    }
    return tg_bind_fail(L, "not_found", "no service of that name is declared");
}

int tg_api_service_handle_targets(lua_State *L)
{
    const struct handle *handle = tg_bind_check_value(L);
    struct tg_vm_set *set = set_of(L);
    tg_services_push_targets(L, tg_loop_now(&set->gate->worker->loop),
                             set->targets->balances[handle->index]);
    return 1;
}

int tg_api_service_handle_breaker(lua_State *L)
{
    const struct handle *handle = tg_bind_check_value(L);
    struct tg_vm_set *set = set_of(L);
    tg_services_push_breaker(L, &set->snapshot->services[handle->index],
                             set->targets->balances[handle->index]);
    return 1;
}
