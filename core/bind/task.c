/* task.c: ctx:spawn(): functions that run beside the phases of their request.
 *
 *     SPAWNED --- next round ---> RUNNING --- returns, fails, is killed ---> OVER
 *        |                           |                                        ^
 *        +---- cancel, spawner killed, request over --------------------------+
 *
 * A task is an activation of gateway/background that has the request's slot: its account pays, its
 * end ends the task. The object is the memory of everything and is anchored in the registry until
 * the task is over. Its environment holds the function and its arguments, later the results.
 *
 * Nothing here enters or leaves an activation while plugin code runs: starts, ends by cancel() and
 * the waking of who waits come from the loop (`step`).
 */
#include "base/banned.h"
#include "bind/object.h"

#include "bind/zone.h"
#include "gateway/background.h"
#include "gateway/wait.h"

#define TASKS_MAX  16
#define ERROR_ROOM 256

enum state { SPAWNED, RUNNING, OVER };

struct task {
    uint32_t magic;
    enum state state;
    bool ok;
    bool cancelled;
    bool waking; /* those who wait, one after the other */
    enum tg_kill kill;
    int ref; /* anchor */
    struct tg_request *r;
    struct tg_plugin_slot *slot;
    const struct tg_instance_conf *instance;
    struct tg_loop *loop;
    struct tg_background *activation; /* NULL unless it runs */
    struct tg_held hold;
    struct tg_task step;
    struct tg_list waiters; /* of struct waiter */
    size_t error_n;
    char error[ERROR_ROOM];
};

/* In the request's arena. */
struct waiter {
    struct tg_list link;
    struct tg_wait wait;
    struct tg_run *run;
    struct task *task;
};

/* ---- The end ---- */

/* Nothing points to the task any more but the plugin. */
static void drop(struct task *task, struct tg_vm *vm)
{
    luaL_unref(tg_vm_state(vm), LUA_REGISTRYINDEX, task->ref);
    task->ref = LUA_NOREF;
}

/* It is over; who waits is woken in the next round. */
static void end_task(struct task *task)
{
    task->state = OVER;
    task->slot->tasks--;
    tg_held_remove(&task->hold);
    tg_task_cancel(&task->step);
    if (!tg_list_is_empty(&task->waiters)) {
        tg_loop_defer(task->loop, &task->step);
        return;
    }
    drop(task, task->slot->vm);
}

static void stop(struct task *task)
{
    task->cancelled = true;
    if (task->activation != NULL)
        tg_background_kill(task->activation);
    else if (task->state != OVER)
        end_task(task);
}

/* The request is over, or the spawner was killed. */
static void on_release(struct tg_held *hold)
{
    stop(TG_CONTAINER_OF(hold, struct task, hold));
}

static void on_end(void *arg, bool ok, lua_State *L)
{
    struct task *task = arg;
    (void)L;
    task->ok = ok;
    end_task(task);
}

static void on_error(void *arg, enum tg_kill kill, struct tg_str what)
{
    struct task *task = arg;
    task->kill = kill;
    task->error_n = TG_MIN(what.n, sizeof(task->error));
    memcpy(task->error, what.p, task->error_n);
}

/* ---- The beginning ---- */

/* Under tg_run_push(): the task, its function and the arguments. */
static int push_call(lua_State *L)
{
    const struct task *task = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, task->ref);
    lua_getfenv(L, -1);
    int values = lua_gettop(L);
    lua_getfield(L, values, "n");
    int count = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    luaL_checkstack(L, count, "arguments of a task");
    for (int i = 1; i <= count; i++)
        lua_rawgeti(L, values, i);
    lua_remove(L, values);
    return 1 + count;
}

static void begin(struct task *task)
{
    struct tg_vm_host *host = tg_vm_arg(task->slot->vm);
    struct tg_background_call call = {
        .entry = task->slot->entry,
        .function = host->enter_task,
        .what = "task",
        .push = push_call,
        .on_end = on_end,
        .arg = task,
        .request = task->r,
        .slot = task->slot,
        .instance = task->instance,
        .self = &task->activation,
        .on_error = on_error,
    };
    task->state = RUNNING;
    enum tg_err err = tg_background_start(&call);
    if (err == TG_OK)
        return;
    on_error(task, TG_KILL_NONE, tg_str_c(tg_err_text(err)));
    end_task(task);
}

static void wake_all(struct task *task)
{
    struct tg_vm_entry *entry = tg_vm_entry_ref(task->slot->entry); /* the request may end here */
    task->waking = true;
    while (!tg_list_is_empty(&task->waiters)) {
        struct waiter *waiter = TG_LIST_ENTRY(task->waiters.next, struct waiter, link);
        tg_list_remove(&waiter->link);
        tg_wait_end(waiter->run);
    }
    drop(task, entry->vm);
    tg_vm_entry_unref(&entry);
}

static void on_step(struct tg_task *step)
{
    struct task *task = TG_CONTAINER_OF(step, struct task, step);
    if (task->state == OVER)
        wake_all(task);
    else if (task->cancelled)
        stop(task);
    else
        begin(task);
}

/* Keeps the values from index 2 on in the environment of the task at index 1. */
static void keep_values(lua_State *L)
{
    int count = lua_gettop(L) - 1;
    lua_createtable(L, count, 1);
    lua_insert(L, 2);
    for (int i = count; i >= 1; i--)
        lua_rawseti(L, 2, i);
    lua_pushinteger(L, count);
    lua_setfield(L, 2, "n");
    lua_setfenv(L, 1);
}

int tg_bind_store_results(lua_State *L)
{
    keep_values(L);
    return 0;
}

int tg_api_ctx_spawn(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    struct tg_plugin_slot *slot = tg_bind_object(L)->slot;
    if (!lua_isfunction(L, 2))
        tg_bind_arg_error(L, 1, "expected a function");
    if (slot->tasks >= TASKS_MAX)
        tg_bind_call_error(L, "a plugin runs at most 16 tasks of a request at a time");
    struct task *task = tg_bind_new_value(L, TG_SCOPE_TASK, sizeof(*task));
    task->r = r;
    task->slot = slot;
    task->instance = slot->instance;
    task->loop = &r->gate->worker->loop;
    task->hold.lasts = true;
    task->hold.release = on_release;
    tg_list_init(&task->hold.link);
    tg_list_init(&task->waiters);
    tg_task_init(&task->step, on_step);
    lua_replace(L, 1);
    keep_values(L);
    lua_pushvalue(L, 1);
    task->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    slot->tasks++;
    tg_held_add(tg_run_current(L), &task->hold);
    tg_loop_defer(task->loop, &task->step);
    lua_settop(L, 1);
    return 1;
}

/* ---- Waiting ---- */

/* true and the results, or false and an error. */
static int push_outcome(lua_State *L, const struct task *task, int object)
{
    if (!task->ok) {
        lua_pushboolean(L, 0);
        lua_createtable(L, 0, 2);
        lua_pushstring(L, task->cancelled              ? "cancelled"
                          : task->kill != TG_KILL_NONE ? "killed"
                                                       : "error");
        lua_setfield(L, -2, "code");
        if (task->cancelled)
            lua_pushliteral(L, "the task was cancelled");
        else
            lua_pushlstring(L, task->error, task->error_n);
        lua_setfield(L, -2, "message");
        tg_bind_mark_failure(L);
        return 2;
    }
    lua_getfenv(L, object);
    int values = lua_gettop(L);
    lua_getfield(L, values, "n");
    int count = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    luaL_checkstack(L, count + 1, "results of a task");
    lua_pushboolean(L, 1);
    for (int i = 1; i <= count; i++)
        lua_rawgeti(L, values, i);
    return 1 + count;
}

/* Under tg_run_push(). */
static int push_waited(lua_State *L)
{
    const struct task *task = lua_touserdata(L, 1);
    if (task->state != OVER)
        return tg_bind_fail(L, "timeout", "the task goes on");
    lua_rawgeti(L, LUA_REGISTRYINDEX, task->ref);
    return push_outcome(L, task, lua_gettop(L));
}

static int on_resume(struct tg_wait *wait, struct tg_run *run, bool cancelled)
{
    struct waiter *waiter = TG_CONTAINER_OF(wait, struct waiter, wait);
    struct task *task = waiter->task;
    int count = 0;
    tg_list_remove(&waiter->link);
    enum tg_err err = TG_OK;
    if (!cancelled)
        err = tg_run_push(run, push_waited, task, &count);
    if (task->state == OVER && !task->waking && tg_list_is_empty(&task->waiters)) {
        tg_task_cancel(&task->step);
        drop(task, run->vm);
    }
    return err == TG_OK ? count : -1;
}

int tg_api_task_wait(lua_State *L)
{
    struct task *task = tg_bind_check_value(L);
    struct tg_run *run = tg_run_current(L);
    uint64_t us = 0;
    if (!lua_isnoneornil(L, 2) && !tg_bind_to_duration(L, 2, &us))
        tg_bind_arg_error(L, 1, "expected seconds or a text such as \"250ms\"");
    if (task->state == OVER)
        return push_outcome(L, task, 1);
    if (run == NULL || run->host == NULL || tg_run_request(run) != task->r)
        tg_bind_call_error(L, "the task belongs to another request");
    if (run->host == task->activation)
        tg_bind_call_error(L, "a task cannot wait for itself");
    if (!tg_run_can_suspend(L))
        return tg_run_suspend(L);
    struct waiter *waiter = tg_arena_zalloc(&task->r->arena, sizeof(*waiter));
    if (waiter == NULL)
        return tg_bind_fail(L, "unavailable", tg_err_text(TG_E_NOMEM));
    *waiter = (struct waiter){.wait = {on_resume}, .run = run, .task = task};
    tg_list_push_back(&task->waiters, &waiter->link);
    bool bounded = !lua_isnoneornil(L, 2);
    if (tg_wait_begin(run, &waiter->wait, bounded ? tg_loop_now(task->loop) + us : 0) != TG_OK) {
        tg_list_remove(&waiter->link);
        return tg_bind_fail(L, "unavailable", tg_err_text(TG_E_NOMEM));
    }
    return tg_run_suspend(L);
}

int tg_api_task_cancel(lua_State *L)
{
    struct task *task = tg_bind_check_value(L);
    bool open = task->state != OVER;
    if (open && task->activation != NULL && tg_run_current(L)->host == task->activation)
        tg_bind_call_error(L, "a task cannot cancel itself; it returns");
    if (open) {
        task->cancelled = true;
        tg_loop_defer(task->loop, &task->step);
    }
    lua_pushboolean(L, open);
    return 1;
}
