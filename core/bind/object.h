/* object.h: the userdata behind `ctx` and what it hands out, and the checks at every call.
 *
 *   handle (userdata)             object (in the gate's memory)
 *   ctx    scope, generation --->  request, slot, generation
 *   req    scope, generation --/
 *
 * What Lua holds are handles; all handles of one plugin to one request point to one object. When
 * the request ends, the object's generation moves on and it serves another request: handles that a
 * plugin kept do not match it any more, and say so. Handles are made anew at each use of `ctx.req`
 * and in each phase, because a small userdata is cheaper than remembering one.
 *
 * Functions here that take a lua_State may raise a Lua error (wrong receiver, phase, argument; out
 * of memory). Whoever calls them holds no resource at that moment.
 *
 * Threads: the VM's. Cost: a method call costs one C call for the look-up by interned name and the
 * call itself; no table or string is made on the way.
 */
#ifndef TG_BIND_OBJECT_H
#define TG_BIND_OBJECT_H

#include "bind/api.h"
#include "gateway/plugins.h"

#include <lauxlib.h>

struct tg_message;

#define TG_BIND_MAGIC 0x0b1ec700u /* plus the scope */

struct tg_bind_object {
    struct tg_request *r;        /* borrowed; NULL while no request has it */
    struct tg_plugin_slot *slot; /* borrowed; valid while r is */
    uint64_t generation;
    struct tg_bind_object *next; /* in the gate's list of free ones */
};

struct tg_bind_handle {
    uint32_t magic; /* TG_BIND_MAGIC + scope */
    uint64_t generation;
    struct tg_bind_object *object; /* lives as long as the gate */
};

/* Declares every function of api.def. */
#define TG_API_SCOPE(...)
#define TG_API_FIELD(SCOPE, scope, name, phases, returns, doc)                                     \
    int tg_api_##scope##_##name(lua_State *L, struct tg_bind_object *object);
#define TG_API_METHOD(SCOPE, scope, name, phases, flags, args, returns, doc)                       \
    int tg_api_##scope##_##name(lua_State *L);
#define TG_API_FUNCTION(SCOPE, scope, name, phases, flags, args, returns, doc)                     \
    int tg_api_##scope##_##name(lua_State *L);
#include "bind/api.def"
#undef TG_API_SCOPE
#undef TG_API_FIELD
#undef TG_API_METHOD
#undef TG_API_FUNCTION

/* ---- Registration, and what tg_plugin_host asks for ---- */

/* Makes the metatables and puts the library on the table on top of the stack as its field
 * "tidegate". Once per VM. */
void tg_bind_open(lua_State *L, void *arg);

/* Makes the handles of `slot` stale and drops its references. Does not raise. */
void tg_bind_end_slot(struct tg_request *r, struct tg_plugin_slot *slot);

/* Frees the objects that a gate keeps for its next requests. */
void tg_bind_end_gate(struct tg_gate *gate);

/* The object behind argument 1, after tg_bind_request(). */
static inline struct tg_bind_object *tg_bind_object(lua_State *L)
{
    return ((struct tg_bind_handle *)lua_touserdata(L, 1))->object;
}

/* The object of the handle at `index` (an upvalue, say); NULL when its request is over. */
struct tg_bind_object *tg_bind_fresh(lua_State *L, int index);

/* Pushes a handle of `scope` to the object of `ctx`; in a getter of ctx's fields only. */
int tg_bind_push_object(lua_State *L, struct tg_bind_object *ctx, enum tg_api_scope scope);

/* Pushes a new userdata of `size` bytes, zeroed, with the metatable of the VALUE scope `scope`. It
 * begins with a uint32_t that holds TG_BIND_MAGIC + scope. */
void *tg_bind_new_value(lua_State *L, enum tg_api_scope scope, size_t size);

/* A value of tg_bind_new_value() is gone: releases what it owns. Is tg_plugin_host.on_freed. */
void tg_bind_release_value(void *value);

/* Pushes the value that stands for JSON's null, and tells whether that is what is at `index`. */
void tg_bind_push_null(lua_State *L);
bool tg_bind_is_null(lua_State *L, int index);

/* Pushes the metatable that marks lists, and tells whether the table at `index` has it. */
void tg_bind_push_list_mark(lua_State *L);
bool tg_bind_is_marked_list(lua_State *L, int index);

/* ---- Checks in a function of the API ---- */

/* The entry of the function that is running. */
static inline const struct tg_api_entry *tg_bind_entry(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* The request behind argument 1, which must be a fresh object of the entry's scope and of the
 * request that runs, in a phase that the entry allows. Raises otherwise. */
struct tg_request *tg_bind_request(lua_State *L);

/* The object at `index`, which must be fresh, of `scope` and of the request that runs; its phase is
 * not looked at. Raises otherwise. */
struct tg_bind_object *tg_bind_check_object(lua_State *L, int index, enum tg_api_scope scope);

/* A VALUE object at argument 1 of the entry's scope. */
void *tg_bind_check_value(lua_State *L);

/* Raises "ctx.req:header(): argument 1 (name): `what`". `n` counts what is between the
 * parentheses. */
TG_NORETURN void tg_bind_arg_error(lua_State *L, int n, const char *what);

/* Raises "ctx.upstream:set_body(): `what`". */
TG_NORETURN void tg_bind_call_error(lua_State *L, const char *what);

/* Raises an error of the API: a table with `code` and a message like that of tg_bind_call_error().
 */
TG_NORETURN void tg_bind_raise(lua_State *L, const char *code, const char *what);

/* Argument `n` as text; numbers are turned into text. Borrowed from the stack. */
struct tg_str tg_bind_arg_str(lua_State *L, int n);

/* The same in a method, which need not ask whether it is one. */
static inline struct tg_str tg_bind_method_str(lua_State *L, int n)
{
    size_t size;
    const char *p = lua_tolstring(L, n + 1, &size);
    return TG_LIKELY(p != NULL) ? tg_str(p, size) : tg_bind_arg_str(L, n);
}

/* Argument `n` as an integer from `min` to `max`. */
int64_t tg_bind_arg_int(lua_State *L, int n, int64_t min, int64_t max);

/* Argument `n` is there, be it nil. */
void tg_bind_arg_any(lua_State *L, int n);

/* Argument `n` is a table, or nil where `optional` (false then). */
bool tg_bind_arg_table(lua_State *L, int n, bool optional);

/* The value at `index` as a duration in us: seconds as a number, or text such as "250ms", "5s",
 * "2m", "1h". False when it is none. */
bool tg_bind_to_duration(lua_State *L, int index, uint64_t *us) TG_MUST_USE;

/* The value at `index` as a size in bytes: a number, or text such as "64KiB". */
bool tg_bind_to_size(lua_State *L, int index, uint64_t *bytes) TG_MUST_USE;

/* The member `max` of the option table at argument `n` (may be nil), else `standard`. */
uint64_t tg_bind_arg_max(lua_State *L, int n, uint64_t standard);

/* Where argument `n` stands on the stack: methods have their object first. */
static inline int tg_bind_arg_index(lua_State *L, int n)
{
    return tg_bind_entry(L)->type == TG_API_IS_METHOD ? n + 1 : n;
}

/* `err` of an operation on the request: nothing for TG_OK, else raises what went wrong with
 * argument `n` (0: with the call). */
void tg_bind_check(lua_State *L, enum tg_err err, int n);

static inline int tg_bind_push_str(lua_State *L, struct tg_str s)
{
    if (s.p == NULL)
        lua_pushnil(L);
    else
        lua_pushlstring(L, s.p, s.n);
    return 1;
}

/* Makes the table on top of the stack an error of the API: one that tostring and ".." take for
 * "message (code)", since that is what ends up in logs and answers. */
void tg_bind_mark_failure(lua_State *L);

/* Pushes nil and an error of the API: a table with code and message. */
int tg_bind_fail(lua_State *L, const char *code, const char *message);

/* An event has come to the gate: see events.c. */
void tg_bind_deliver(struct tg_gate *gate, struct tg_message *message);

/* Replaces "fetch" in the table of names on top of the stack by its loop in Lua: see cache.c. */
void tg_bind_wrap_fetch(lua_State *L);

/* Called with a task and what its function returned: keeps that with the task. In task.c. */
int tg_bind_store_results(lua_State *L);

/* The sink's part of tg_bind_release_value(). */
void tg_bind_close_sink(void *value);

/* The loop's clock of the worker that the VM runs on. */
const struct tg_clock *tg_bind_clock(lua_State *L);

#endif
