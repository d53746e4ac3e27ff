/* timer.c: tg.timer: functions of a plugin that run later, or again and again, for no request.
 *
 *           start (in force)            due                    ended
 *   PENDING ----------------> ARMED --------> running (ARMED) --------> freed (after), ARMED
 * (every) |                        |                 |
 *      +--- cancel, retire -----+-----------------+---> freed, once nothing runs
 *
 * A timer belongs to its VM: made in init it begins with the configuration that it belongs to, and
 * ends with it. The plugin's object holds a number only, so it may live shorter or longer than the
 * timer. An `every` whose function still runs when it is due again leaves that turn out.
 *
 * Bound: TIMERS_MAX timers of a plugin in one worker.
 */
#include "base/banned.h"
#include "bind/zone.h"

#include "gateway/background.h"

#define TIMERS_MAX    64
#define EVERY_MIN     TG_USEC_PER_MSEC
#define LATER         (100 * TG_USEC_PER_MSEC) /* when there is no room for one more activation */
#define DURATION_TEXT "expected seconds or a text such as \"250ms\""

static const char *const every_options[] = {"jitter", "leader", NULL};

struct timer {
    struct tg_activator activator;
    struct tg_vm_entry *entry;
    struct tg_timer clock;
    uint64_t serial;
    uint64_t delay;
    uint64_t jitter;
    bool repeats;
    bool running;
    bool over; /* goes when nothing runs */
    int function;
    int args; /* a list of the arguments, its length as n */
};

struct timer_object {
    uint32_t magic;
    uint64_t serial;
};

static struct tg_loop *loop_of(const struct timer *timer)
{
    return &timer->entry->host.gate->worker->loop;
}

static void free_timer(struct timer *timer)
{
    struct tg_vm *vm = timer->entry->vm;
    tg_list_remove(&timer->activator.link);
    tg_timer_release(&timer->clock);
    tg_vm_unref(vm, &timer->function);
    tg_vm_unref(vm, &timer->args);
    tg_mem_free(TG_MEM_PLUGIN, timer);
}

static void end_timer(struct timer *timer)
{
    timer->over = true;
    tg_timer_clear(&timer->clock);
    if (!timer->running)
        free_timer(timer);
}

static void arm(struct timer *timer)
{
    struct tg_worker *worker = timer->entry->host.gate->worker;
    uint64_t extra = timer->jitter > 0 ? tg_rand_below(&worker->rand, timer->jitter) : 0;
    tg_timer_set(&timer->clock, tg_loop_now(&worker->loop) + timer->delay + extra);
}

static int push_args(lua_State *L)
{
    const struct timer *timer = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, timer->args);
    lua_getfield(L, 2, "n");
    int n = (int)lua_tointeger(L, 3);
    lua_settop(L, 2);
    luaL_checkstack(L, n, NULL);
    for (int i = 1; i <= n; i++)
        lua_rawgeti(L, 2, i);
    return n;
}

static void on_end(void *arg, bool ok, lua_State *L)
{
    struct timer *timer = arg;
    (void)ok;
    (void)L;
    timer->running = false;
    if (timer->over || !timer->repeats)
        free_timer(timer);
}

static void on_fire(struct tg_timer *clock)
{
    struct timer *timer = TG_CONTAINER_OF(clock, struct timer, clock);
    const struct tg_background_call call = {
        .entry = timer->entry,
        .function = timer->function,
        .what = "timer",
        .push = push_args,
        .on_end = on_end,
        .arg = timer,
    };
    if (timer->repeats)
        arm(timer);
    if (timer->running)
        return;
    timer->running = true;
    if (tg_background_start(&call) == TG_OK)
        return;
    timer->running = false;
    if (!timer->repeats)
        tg_timer_set(clock, tg_loop_now(loop_of(timer)) + LATER);
}

/* ---- As an activator ---- */

static struct timer *timer_of(struct tg_activator *activator)
{
    return TG_CONTAINER_OF(activator, struct timer, activator);
}

static void start(struct tg_activator *activator)
{
    arm(timer_of(activator));
}

static void retire(struct tg_activator *activator)
{
    end_timer(timer_of(activator));
}

static void release(struct tg_activator *activator)
{
    free_timer(timer_of(activator));
}

/* The timer `serial` of the plugin, or NULL; *count: how many it has. */
static struct timer *find(struct tg_vm_entry *entry, uint64_t serial, unsigned *count)
{
    struct timer *found = NULL;
    *count = 0;
    TG_LIST_FOREACH(&entry->activators, it)
    {
        struct tg_activator *activator = TG_LIST_ENTRY(it, struct tg_activator, link);
        if (activator->release != release)
            continue;
        ++*count;
        if (timer_of(activator)->serial == serial && !timer_of(activator)->over)
            found = timer_of(activator);
    }
    return found;
}

/* ---- For Lua ---- */

static void check_declared(lua_State *L, const struct tg_vm_entry *entry)
{
    const struct tg_run *run = tg_run_current(L);
    if (run != NULL && tg_run_request(run) != NULL && !entry->host.plugin->wants_timers)
        tg_bind_call_error(L, "the plugin does not declare needs = { timers = true }");
}

/* Makes a timer of the function at 2 and the list of arguments on top of the stack; its object is
 * left on the stack. NULL: an error is. */
static struct timer *new_timer(lua_State *L, struct tg_vm_entry *entry, uint64_t delay)
{
    static _Atomic uint64_t serials;
    unsigned count;
    find(entry, 0, &count);
    if (count >= TIMERS_MAX) {
        tg_bind_fail(L, "limit", "a plugin has at most 64 timers in a worker");
        return NULL;
    }
    if (entry->state == TG_VM_RETIRED) {
        tg_bind_fail(L, "unavailable", "another configuration is in force");
        return NULL;
    }
    int args = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushvalue(L, 2);
    int function = luaL_ref(L, LUA_REGISTRYINDEX);
    struct timer_object *object = tg_bind_new_value(L, TG_SCOPE_TIMER, sizeof(*object));
    struct timer *timer = tg_mem_zalloc(TG_MEM_PLUGIN, 1, sizeof(*timer));
    if (timer == NULL)
        tg_bind_call_error(L, tg_err_text(TG_E_NOMEM));
    timer->entry = entry;
    timer->delay = delay;
    timer->args = args;
    timer->function = function;
    timer->serial = object->serial = ++serials;
    timer->activator = (struct tg_activator){.start = start, .retire = retire, .release = release};
    tg_list_init(&timer->activator.link);
    if (tg_timer_init(&timer->clock, &loop_of(timer)->timers, on_fire) != TG_OK) {
        free_timer(timer);
        tg_bind_call_error(L, tg_err_text(TG_E_NOMEM));
    }
    return timer;
}

static uint64_t check_delay(lua_State *L)
{
    uint64_t delay;
    if (!tg_bind_to_duration(L, 1, &delay))
        tg_bind_arg_error(L, 1, DURATION_TEXT);
    if (lua_type(L, 2) != LUA_TFUNCTION)
        tg_bind_arg_error(L, 2, "expected a function");
    return delay;
}

/* Pushes a list of the arguments from index `first` on. */
static void pack(lua_State *L, int first)
{
    int n = TG_MAX(lua_gettop(L) - first + 1, 0);
    lua_createtable(L, n, 1);
    for (int i = 1; i <= n; i++) {
        lua_pushvalue(L, first + i - 1);
        lua_rawseti(L, -2, i);
    }
    lua_pushinteger(L, n);
    lua_setfield(L, -2, "n");
}

int tg_api_timers_after(lua_State *L)
{
    struct tg_vm_entry *entry = tg_bind_vm_entry(L);
    check_declared(L, entry);
    uint64_t delay = check_delay(L);
    pack(L, 3);
    struct timer *timer = new_timer(L, entry, delay);
    if (timer == NULL)
        return 2;
    tg_activator_add(entry, &timer->activator);
    return 1;
}

/* The option `leader`. */
static bool wants_leader(lua_State *L)
{
    if (!tg_bind_arg_table(L, 3, true))
        return false;
    lua_pushliteral(L, "leader");
    lua_rawget(L, 3);
    bool leader = lua_toboolean(L, -1) != 0;
    lua_pop(L, 1);
    return leader;
}

/* Starts nothing: on the workers that do not lead. */
static void stay(struct tg_activator *activator)
{
    (void)activator;
}

int tg_api_timers_every(lua_State *L)
{
    struct tg_vm_entry *entry = tg_bind_vm_entry(L);
    uint64_t jitter = 0;
    check_declared(L, entry);
    uint64_t delay = check_delay(L);
    if (delay < EVERY_MIN)
        tg_bind_arg_error(L, 1, "expected at least \"1ms\"");
    tg_bind_check_options(L, 3, every_options);
    tg_bind_option_duration(L, 3, "jitter", &jitter);
    bool leads = entry->host.gate->worker->index == 0 || !wants_leader(L);
    pack(L, lua_gettop(L) + 1);
    struct timer *timer = new_timer(L, entry, delay);
    if (timer == NULL)
        return 2;
    timer->jitter = jitter;
    timer->repeats = true;
    if (!leads)
        timer->activator.start = stay;
    tg_activator_add(entry, &timer->activator);
    return 1;
}

int tg_api_timer_cancel(lua_State *L)
{
    const struct timer_object *object = tg_bind_check_value(L);
    unsigned count;
    struct timer *timer = find(tg_bind_vm_entry(L), object->serial, &count);
    if (timer != NULL)
        end_timer(timer);
    lua_pushboolean(L, timer != NULL);
    return 1;
}
