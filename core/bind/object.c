/* object.c: see object.h.
 *
 * Per VM the registry holds, under the addresses of the array below, one metatable per scope that
 * has objects. Where a scope has methods only, __index is the table of their names. Else it is one
 * C function with that table as upvalue: a method is there as the C function to return, a field as
 * the address of its entry, to be asked for its value. __metatable is
 * false, so plugin code never reaches a metatable, nor calls __index with something else than the
 * object that it belongs to.
 */
#include "base/banned.h"
#include "bind/object.h"

#include "bind/wrap.h"
#include "gateway/gate.h"
#include "gateway/wait.h"

/* Keys in the registry; only the addresses matter. */
static char metatable_keys[TG_SCOPES];
static char null_key;
static char list_key;
static char failure_key;

static void get_registered(lua_State *L, char *key)
{
    lua_pushlightuserdata(L, key);
    lua_rawget(L, LUA_REGISTRYINDEX);
}

/* Takes the value on top of the stack. */
static void set_registered(lua_State *L, char *key)
{
    lua_pushlightuserdata(L, key);
    lua_insert(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

/* ---- Checks ---- */

/* Pushes where the plugin called: what runs in between is Lua of our own (wrap.h). */
static void push_place(lua_State *L)
{
    lua_Debug ar;
    int level = 1;
    while (lua_getstack(L, level, &ar) && lua_getinfo(L, "S", &ar) &&
           strncmp(ar.source, "=lua/", 5) == 0)
        level++;
    luaL_where(L, level);
}

static TG_NORETURN void raise_text(lua_State *L, const struct tg_fmt *f)
{
    push_place(L);
    lua_pushlstring(L, f->p, f->n);
    lua_concat(L, 2);
    lua_error(L);
    __builtin_unreachable();
}

static TG_NORETURN void raise_stale(lua_State *L)
{
    luaL_error(L, "request context used after the request ended; keep values, not ctx or its "
                  "objects, beyond a request");
    __builtin_unreachable();
}

static TG_NORETURN void raise_foreign(lua_State *L)
{
    luaL_error(L, "request context used while another request's plugin runs; use the ctx that the "
                  "phase was called with");
    __builtin_unreachable();
}

static TG_NORETURN void raise_receiver(lua_State *L, const struct tg_api_entry *entry)
{
    char room[256];
    struct tg_fmt f;
    tg_fmt_init(&f, room, sizeof(room));
    tg_api_write_name(entry, &f);
    tg_fmt_printf(&f, " was called on a %s; call it with a colon on a %s", luaL_typename(L, 1),
                  tg_api_scope_info(entry->scope)->class);
    raise_text(L, &f);
}

static TG_NORETURN void raise_wrong_phase(lua_State *L, const struct tg_api_entry *entry,
                                          enum tg_phase phase)
{
    char room[512];
    struct tg_fmt f;
    tg_fmt_init(&f, room, sizeof(room));
    tg_api_write_wrong_phase(entry, phase, &f);
    raise_text(L, &f);
}

/* Every userdata of ours begins with a magic, and no other gets into a plugin's VM. */
static struct tg_bind_handle *handle_at(lua_State *L, int index, enum tg_api_scope scope)
{
    struct tg_bind_handle *handle = lua_touserdata(L, index);
    bool ours = handle != NULL && handle->magic == TG_BIND_MAGIC + (uint32_t)scope;
    return ours ? handle : NULL;
}

static bool is_stale(const struct tg_bind_handle *handle)
{
    return handle->generation != handle->object->generation;
}

/* Whether `run` is an activation of `r`: a phase's, or a task beside it. */
static bool runs_for(const struct tg_run *run, const struct tg_request *r)
{
    return run != NULL && (run->host == r || tg_run_request(run) == r);
}

struct tg_request *tg_bind_request(lua_State *L)
{
    const struct tg_api_entry *entry = tg_bind_entry(L);
    struct tg_bind_handle *handle = handle_at(L, 1, entry->scope);
    if (TG_UNLIKELY(handle == NULL))
        raise_receiver(L, entry);
    if (TG_UNLIKELY(is_stale(handle)))
        raise_stale(L);
    struct tg_request *r = handle->object->r;
    const struct tg_run *run = tg_run_current(L);
    if (TG_UNLIKELY(!runs_for(run, r)))
        raise_foreign(L);
    if (TG_UNLIKELY(run->host != r && (entry->flags & TG_API_NORETURN) != 0))
        tg_bind_call_error(L, "ends a phase, which is not for tasks to do; return a value and let "
                              "who waits for the task decide");
    if (TG_UNLIKELY((entry->phases & 1u << r->plugins.phase) == 0))
        raise_wrong_phase(L, entry, r->plugins.phase);
    return r;
}

struct tg_bind_object *tg_bind_fresh(lua_State *L, int index)
{
    const struct tg_bind_handle *handle = lua_touserdata(L, index);
    return is_stale(handle) ? NULL : handle->object;
}

struct tg_bind_object *tg_bind_check_object(lua_State *L, int index, enum tg_api_scope scope)
{
    struct tg_bind_handle *handle = handle_at(L, index, scope);
    if (handle == NULL) {
        char what[96];
        snprintf(what, sizeof(what), "expected %s, got a %s", tg_api_scope_info(scope)->name,
                 luaL_typename(L, index));
        tg_bind_arg_error(L, index - tg_bind_arg_index(L, 0), what);
    }
    if (is_stale(handle))
        raise_stale(L);
    if (!runs_for(tg_run_current(L), handle->object->r))
        raise_foreign(L);
    return handle->object;
}

void *tg_bind_check_value(lua_State *L)
{
    const struct tg_api_entry *entry = tg_bind_entry(L);
    uint32_t *magic = lua_touserdata(L, 1);
    if (magic == NULL || *magic != TG_BIND_MAGIC + (uint32_t)entry->scope)
        raise_receiver(L, entry);
    return magic;
}

void tg_bind_arg_error(lua_State *L, int n, const char *what)
{
    const struct tg_api_entry *entry = tg_bind_entry(L);
    struct tg_str name = tg_api_arg_name(entry, n);
    char room[512];
    struct tg_fmt f;
    tg_fmt_init(&f, room, sizeof(room));
    tg_api_write_name(entry, &f);
    tg_fmt_printf(&f, ": argument %d (%.*s): %s", n, TG_STR_ARG(name), what);
    raise_text(L, &f);
}

void tg_bind_call_error(lua_State *L, const char *what)
{
    char room[512];
    struct tg_fmt f;
    tg_fmt_init(&f, room, sizeof(room));
    tg_api_write_name(tg_bind_entry(L), &f);
    tg_fmt_printf(&f, ": %s", what);
    raise_text(L, &f);
}

void tg_bind_raise(lua_State *L, const char *code, const char *what)
{
    char room[512];
    struct tg_fmt f;
    tg_fmt_init(&f, room, sizeof(room));
    tg_api_write_name(tg_bind_entry(L), &f);
    tg_fmt_printf(&f, ": %s", what);
    lua_createtable(L, 0, 2);
    lua_pushstring(L, code);
    lua_setfield(L, -2, "code");
    push_place(L);
    lua_pushlstring(L, f.p, f.n);
    lua_concat(L, 2);
    lua_setfield(L, -2, "message");
    tg_bind_mark_failure(L);
    lua_error(L);
    __builtin_unreachable();
}

static TG_NORETURN void raise_type(lua_State *L, int n, const char *expected)
{
    char what[128];
    int index = tg_bind_arg_index(L, n);
    snprintf(what, sizeof(what), "expected %s, got %s", expected,
             lua_isnone(L, index) ? "nothing" : luaL_typename(L, index));
    tg_bind_arg_error(L, n, what);
}

struct tg_str tg_bind_arg_str(lua_State *L, int n)
{
    size_t size;
    const char *p = lua_tolstring(L, tg_bind_arg_index(L, n), &size);
    if (TG_UNLIKELY(p == NULL))
        raise_type(L, n, "a string");
    return tg_str(p, size);
}

int64_t tg_bind_arg_int(lua_State *L, int n, int64_t min, int64_t max)
{
    int index = tg_bind_arg_index(L, n);
    char what[128];
    if (lua_type(L, index) != LUA_TNUMBER)
        raise_type(L, n, "an integer");
    lua_Number value = lua_tonumber(L, index);
    if (value >= (lua_Number)min && value <= (lua_Number)max && value == (lua_Number)(int64_t)value)
        return (int64_t)value;
    snprintf(what, sizeof(what), "expected an integer from %lld to %lld, got %.14g", (long long)min,
             (long long)max, value);
    tg_bind_arg_error(L, n, what);
}

void tg_bind_arg_any(lua_State *L, int n)
{
    if (lua_isnone(L, tg_bind_arg_index(L, n)))
        raise_type(L, n, "a value");
}

bool tg_bind_arg_table(lua_State *L, int n, bool optional)
{
    int index = tg_bind_arg_index(L, n);
    if (lua_istable(L, index))
        return true;
    if (!optional || !lua_isnoneornil(L, index))
        raise_type(L, n, "a table");
    return false;
}

/* A number and the unit behind it: false when `s` has not that shape. */
static bool split_unit(struct tg_str s, double *number, struct tg_str *unit)
{
    size_t digits = 0;
    double value = 0;
    double place = 0; /* of the next digit behind the point; 0 in front of it */
    for (; digits < s.n; digits++) {
        char c = s.p[digits];
        if (c == '.' && place == 0 && digits > 0) {
            place = 0.1;
            continue;
        }
        if (c < '0' || c > '9')
            break;
        value = place == 0 ? value * 10 + (c - '0') : value + place * (c - '0');
        place /= 10;
    }
    *number = value;
    *unit = tg_str_sub(s, digits, s.n);
    return digits > 0 && digits < 16 && unit->n > 0;
}

struct unit {
    const char *name;
    double factor;
};

static bool to_units(lua_State *L, int index, const struct unit *units, double plain, uint64_t *out)
{
    struct tg_str unit;
    double value;
    if (lua_type(L, index) == LUA_TNUMBER) {
        value = lua_tonumber(L, index) * plain;
    } else {
        size_t n;
        if (lua_type(L, index) != LUA_TSTRING)
            return false;
        const char *p = lua_tolstring(L, index, &n);
        if (!split_unit(tg_str(p, n), &value, &unit))
            return false;
        while (units->name != NULL && !tg_str_eq(unit, tg_str_c(units->name)))
            units++;
        if (units->name == NULL)
            return false;
        value *= units->factor;
    }
    if (!(value >= 0 && value < 1e15))
        return false;
    *out = (uint64_t)value;
    return true;
}

bool tg_bind_to_duration(lua_State *L, int index, uint64_t *us)
{
    static const struct unit units[] = {{"us", 1},     {"ms", 1e3},    {"s", 1e6}, {"m", 60e6},
                                        {"h", 3600e6}, {"d", 86400e6}, {NULL, 0}};
    return to_units(L, index, units, 1e6, us);
}

bool tg_bind_to_size(lua_State *L, int index, uint64_t *bytes)
{
    static const struct unit units[] = {
        {"B", 1}, {"KiB", 1024}, {"MiB", 1024.0 * 1024}, {"GiB", 1024.0 * 1024 * 1024}, {NULL, 0}};
    return to_units(L, index, units, 1, bytes);
}

uint64_t tg_bind_arg_max(lua_State *L, int n, uint64_t standard)
{
    uint64_t max = standard;
    if (!tg_bind_arg_table(L, n, true))
        return max;
    lua_pushliteral(L, "max");
    lua_rawget(L, tg_bind_arg_index(L, n));
    if (!lua_isnil(L, -1) && !tg_bind_to_size(L, -1, &max))
        tg_bind_arg_error(L, n, "max: expected a size such as \"64KiB\"");
    lua_pop(L, 1);
    return max;
}

/* A header that plugins leave alone, the name of which is argument `n`. */
static TG_NORETURN void raise_owned(lua_State *L, int n)
{
    struct tg_str name = tg_bind_arg_str(L, n);
    if (tg_str_eq_nocase(name, TG_STR("content-length")))
        tg_bind_arg_error(L, n,
                          "Content-Length belongs to the gateway, which counts what body filters "
                          "and set_body() make of a body; leave it alone");
    tg_bind_arg_error(L, n,
                      "this header belongs to the gateway, which frames messages and manages "
                      "connections itself");
}

void tg_bind_check(lua_State *L, enum tg_err err, int n)
{
    if (TG_LIKELY(err == TG_OK))
        return;
    switch (err) {
    case TG_E_INVALID:
        tg_bind_arg_error(L, n, "has a character, or a form, that is not valid there");
    case TG_E_EXISTS:
        raise_owned(L, n);
    case TG_E_LIMIT:
        tg_bind_call_error(L, "more edits of one message than limits.request.edits allows");
    case TG_E_NOMEM:
        tg_bind_call_error(L, "the request holds as much as limits.request.memory allows");
    default:
        tg_bind_call_error(L, tg_err_text(err));
    }
}

void tg_bind_mark_failure(lua_State *L)
{
    get_registered(L, &failure_key);
    lua_setmetatable(L, -2);
}

int tg_bind_fail(lua_State *L, const char *code, const char *message)
{
    lua_pushnil(L);
    lua_createtable(L, 0, 2);
    lua_pushstring(L, code);
    lua_setfield(L, -2, "code");
    lua_pushstring(L, message);
    lua_setfield(L, -2, "message");
    tg_bind_mark_failure(L);
    return 2;
}

/* ---- Objects ---- */

static TG_NORETURN void raise_unknown(lua_State *L, enum tg_api_scope scope)
{
    char room[256];
    struct tg_fmt f;
    bool named = lua_type(L, 2) == LUA_TSTRING;
    tg_fmt_init(&f, room, sizeof(room));
    tg_api_write_unknown(scope, named ? lua_tostring(L, 2) : NULL, luaL_typename(L, 2), &f);
    raise_text(L, &f);
}

/* __index of the scopes with objects; upvalue 1: the names, then for ctx the metatables of the
 * scopes that it hands out, in their order. */
static int index_object(lua_State *L)
{
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    int type = lua_type(L, -1);
    if (type == LUA_TFUNCTION)
        return 1;
    struct tg_bind_handle *handle = lua_touserdata(L, 1);
    if (TG_UNLIKELY(type != LUA_TLIGHTUSERDATA))
        raise_unknown(L, (enum tg_api_scope)(handle->magic - TG_BIND_MAGIC));
    const struct tg_api_entry *entry = lua_touserdata(L, -1);
    if (tg_api_scope_info(entry->scope)->form == TG_FORM_VALUE)
        return entry->get(L, NULL);
    if (TG_UNLIKELY(is_stale(handle)))
        raise_stale(L);
    struct tg_bind_object *object = handle->object;
    if (TG_UNLIKELY(!runs_for(tg_run_current(L), object->r)))
        raise_foreign(L);
    if (TG_UNLIKELY((entry->phases & 1u << object->r->plugins.phase) == 0))
        raise_wrong_phase(L, entry, object->r->plugins.phase);
    return entry->get(L, object);
}

static int refuse_write(lua_State *L)
{
    const uint32_t *magic = lua_touserdata(L, 1);
    char room[256];
    struct tg_fmt f;
    tg_fmt_init(&f, room, sizeof(room));
    tg_api_write_unassignable((enum tg_api_scope)(*magic - TG_BIND_MAGIC),
                              lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "", &f);
    raise_text(L, &f);
}

static int object_name(lua_State *L)
{
    const uint32_t *magic = lua_touserdata(L, 1);
    lua_pushstring(L, tg_api_scope_info((enum tg_api_scope)(*magic - TG_BIND_MAGIC))->name);
    return 1;
}

void *tg_bind_new_value(lua_State *L, enum tg_api_scope scope, size_t size)
{
    uint32_t *value = lua_newuserdata(L, size);
    memset(value, 0, size);
    *value = TG_BIND_MAGIC + (uint32_t)scope;
    if (tg_bind_releaser(scope) != NULL)
        tg_vm_mark_owner(L, value);
    get_registered(L, &metatable_keys[scope]);
    lua_setmetatable(L, -2);
    return value;
}

void tg_bind_release_value(void *value)
{
    const uint32_t *magic = value;
    tg_bind_releaser((enum tg_api_scope)(*magic - TG_BIND_MAGIC))(value);
}

/* A handle of `scope` to `object`; its metatable is at `metatable` (an upvalue). */
static void push_handle(lua_State *L, struct tg_bind_object *object, enum tg_api_scope scope,
                        int metatable)
{
    struct tg_bind_handle *handle = lua_newuserdata(L, sizeof(*handle));
    handle->magic = TG_BIND_MAGIC + (uint32_t)scope;
    handle->generation = object->generation;
    handle->object = object;
    lua_pushvalue(L, metatable);
    lua_setmetatable(L, -2);
}

int tg_bind_push_object(lua_State *L, struct tg_bind_object *object, enum tg_api_scope scope)
{
    push_handle(L, object, scope, lua_upvalueindex(2 + (int)scope));
    return 1;
}

/* The object of the slot, one from the gate's list or a new one; NULL: no memory. */
static struct tg_bind_object *object_of(struct tg_request *r, struct tg_plugin_slot *slot)
{
    struct tg_bind_object *object = slot->object;
    if (object != NULL)
        return object;
    object = r->gate->free_objects;
    if (object != NULL)
        r->gate->free_objects = object->next;
    else
        object = tg_mem_zalloc(TG_MEM_PLUGIN, 1, sizeof(*object));
    if (object == NULL)
        return NULL;
    object->r = r;
    object->slot = slot;
    slot->object = object;
    return object;
}

/* Called by the entry functions below: ctx for the activation that runs; upvalue 1: the
 * metatable. */
static int make_ctx(lua_State *L)
{
    struct tg_request *r = tg_run_current(L)->host;
    struct tg_bind_object *object = object_of(r, r->plugins.slot);
    if (object == NULL)
        return luaL_error(L, "not enough memory");
    push_handle(L, object, TG_SCOPE_CTX, lua_upvalueindex(1));
    return 1;
}

void tg_bind_end_slot(struct tg_request *r, struct tg_plugin_slot *slot)
{
    struct tg_bind_object *object = slot->object;
    if (slot->state_ref != LUA_NOREF)
        luaL_unref(tg_vm_state(slot->vm), LUA_REGISTRYINDEX, slot->state_ref);
    slot->state_ref = LUA_NOREF;
    if (object == NULL)
        return;
    slot->object = NULL;
    object->generation++;
    object->r = NULL;
    object->slot = NULL;
    object->next = r->gate->free_objects;
    r->gate->free_objects = object;
}

void tg_bind_end_gate(struct tg_gate *gate)
{
    while (gate->free_objects != NULL) {
        struct tg_bind_object *object = gate->free_objects;
        gate->free_objects = object->next;
        tg_mem_free(TG_MEM_PLUGIN, object);
    }
}

/* ---- The marks of tg.json ---- */

void tg_bind_push_null(lua_State *L)
{
    get_registered(L, &null_key);
}

bool tg_bind_is_null(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TUSERDATA)
        return false;
    const void *p = lua_touserdata(L, index);
    get_registered(L, &null_key);
    bool same = lua_touserdata(L, -1) == p;
    lua_pop(L, 1);
    return same;
}

void tg_bind_push_list_mark(lua_State *L)
{
    get_registered(L, &list_key);
}

bool tg_bind_is_marked_list(lua_State *L, int index)
{
    if (!lua_getmetatable(L, index))
        return false;
    get_registered(L, &list_key);
    bool same = lua_rawequal(L, -1, -2) != 0;
    lua_pop(L, 2);
    return same;
}

/* ---- Registration ---- */

/* Adds what is on top of the stack to the table below it. */
static void add(lua_State *L, const char *name)
{
    lua_setfield(L, -2, name);
}

static void push_function(lua_State *L, const struct tg_api_entry *entry)
{
    lua_pushlightuserdata(L, (void *)(uintptr_t)entry);
    lua_pushcclosure(L, entry->call, 1);
}

/* Pushes a table of the names of `scope`. */
static void push_names(lua_State *L, enum tg_api_scope scope)
{
    lua_newtable(L);
    for (size_t i = 0; i < tg_api_entry_count; i++) {
        const struct tg_api_entry *entry = &tg_api_entries[i];
        if (entry->scope != scope)
            continue;
        if (entry->type == TG_API_IS_FIELD)
            lua_pushlightuserdata(L, (void *)(uintptr_t)entry);
        else
            push_function(L, entry);
        add(L, entry->name);
    }
    tg_bind_wrap_scope(L, scope);
}

/* Pushes the metatable of every scope, nil where there is none (yet). */
static void push_metatables(lua_State *L)
{
    for (unsigned i = 0; i < TG_SCOPES; i++)
        get_registered(L, &metatable_keys[i]);
}

static bool has_fields(enum tg_api_scope scope)
{
    for (size_t i = 0; i < tg_api_entry_count; i++) {
        if (tg_api_entries[i].scope == scope && tg_api_entries[i].type == TG_API_IS_FIELD)
            return true;
    }
    return false;
}

/* __index of the table of names of a scope without fields; upvalue 1: the scope. */
static int unknown_name(lua_State *L)
{
    raise_unknown(L, (enum tg_api_scope)lua_tointeger(L, lua_upvalueindex(1)));
}

/* The names on top of the stack are all that is looked for: no call into C for one that is there.
 */
static void index_by_table(lua_State *L, enum tg_api_scope scope)
{
    lua_createtable(L, 0, 2);
    lua_pushinteger(L, (lua_Integer)scope);
    lua_pushcclosure(L, unknown_name, 1);
    add(L, "__index");
    lua_pushboolean(L, 0);
    add(L, "__metatable");
    lua_setmetatable(L, -2);
}

static void register_objects(lua_State *L, enum tg_api_scope scope)
{
    lua_newtable(L);
    push_names(L, scope);
    if (scope == TG_SCOPE_CTX)
        push_metatables(L);
    if (scope == TG_SCOPE_CACHE)
        tg_bind_wrap_fetch(L);
    if (has_fields(scope))
        lua_pushcclosure(L, index_object, scope == TG_SCOPE_CTX ? 1 + TG_SCOPES : 1);
    else
        index_by_table(L, scope);
    add(L, "__index");
    lua_pushcfunction(L, refuse_write);
    add(L, "__newindex");
    lua_pushcfunction(L, object_name);
    add(L, "__tostring");
    lua_pushboolean(L, 0);
    add(L, "__metatable");
    set_registered(L, &metatable_keys[scope]);
}

static int null_name(lua_State *L)
{
    lua_pushliteral(L, "null");
    return 1;
}

/* Pushes the text of the value at `index`, of a failure "message (code)", without calling anything
 * of the plugin's; false where there is none. */
static bool push_text(lua_State *L, int index)
{
    if (lua_type(L, index) == LUA_TNUMBER || lua_type(L, index) == LUA_TSTRING) {
        lua_pushvalue(L, index);
        return lua_tostring(L, -1) != NULL;
    }
    get_registered(L, &failure_key);
    bool failure = lua_getmetatable(L, index) && lua_rawequal(L, -1, -2) != 0;
    if (!failure)
        return false;
    lua_pushliteral(L, "message");
    lua_rawget(L, index);
    lua_pushliteral(L, "code");
    lua_rawget(L, index);
    const char *message = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "failed";
    const char *code = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "no code";
    lua_pushfstring(L, "%s (%s)", message, code);
    return true;
}

static int failure_text(lua_State *L)
{
    if (!push_text(L, 1))
        lua_pushstring(L, luaL_typename(L, 1));
    return 1;
}

/* "could not look it up: " .. err */
static int failure_concat(lua_State *L)
{
    lua_settop(L, 2);
    for (int i = 1; i <= 2; i++) {
        if (!push_text(L, i))
            return luaL_error(L, "attempt to concatenate a %s value", luaL_typename(L, i));
        lua_replace(L, i);
        lua_settop(L, 2);
    }
    lua_concat(L, 2);
    return 1;
}

static void register_failures(lua_State *L)
{
    lua_createtable(L, 0, 3);
    lua_pushcfunction(L, failure_text);
    add(L, "__tostring");
    lua_pushcfunction(L, failure_concat);
    add(L, "__concat");
    lua_pushboolean(L, 0);
    add(L, "__metatable");
    set_registered(L, &failure_key);
}

static void register_marks(lua_State *L)
{
    uint32_t *null = lua_newuserdata(L, sizeof(*null));
    *null = 0; /* no magic */
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, null_name);
    add(L, "__tostring");
    lua_pushboolean(L, 0);
    add(L, "__metatable");
    lua_setmetatable(L, -2);
    set_registered(L, &null_key);
    lua_createtable(L, 0, 1);
    lua_pushboolean(L, 0);
    add(L, "__metatable");
    set_registered(L, &list_key);
}

/* How the gateway enters a phase: these make the arguments inside the activation, where running out
 * of memory is an error of the plugin's, and call on without a frame of their own. */
static const char entry_text[] =
    "local make_ctx, take_chunk, take_message, store = ...\n"
    "return function(phase, conf) return phase(conf, make_ctx()) end,\n"
    "  function(phase, conf)\n"
    "    local chunk, eof = take_chunk()\n"
    "    return phase(conf, make_ctx(), chunk, eof)\n"
    "  end,\n"
    "  function(phase, conf)\n"
    "    local data, kind, from = take_message()\n"
    "    return phase(conf, make_ctx(), data, kind, from)\n"
    "  end,\n"
    "  function(task, fn, ...) return store(task, fn(...)) end\n";

static void load_entries(lua_State *L, struct tg_vm_host *host)
{
    if (luaL_loadbuffer(L, entry_text, sizeof(entry_text) - 1, "=tidegate") != 0)
        lua_error(L);
    get_registered(L, &metatable_keys[TG_SCOPE_CTX]);
    lua_pushcclosure(L, make_ctx, 1);
    lua_pushcfunction(L, tg_plugins_take_chunk);
    lua_pushcfunction(L, tg_plugins_take_message);
    lua_pushcfunction(L, tg_bind_store_results);
    lua_call(L, 4, 4);
    host->enter_task = luaL_ref(L, LUA_REGISTRYINDEX);
    host->enter_message = luaL_ref(L, LUA_REGISTRYINDEX);
    host->enter_chunk = luaL_ref(L, LUA_REGISTRYINDEX);
    host->enter = luaL_ref(L, LUA_REGISTRYINDEX);
}

void tg_bind_open(lua_State *L, void *arg)
{
    register_marks(L);
    register_failures(L);
    push_names(L, TG_SCOPE_TG);
    for (unsigned i = 0; i < TG_SCOPES; i++) {
        enum tg_api_scope scope = (enum tg_api_scope)i;
        const struct tg_api_scope_info *info = tg_api_scope_info(scope);
        if (info->form != TG_FORM_LIBRARY) {
            if (scope != TG_SCOPE_CTX)
                register_objects(L, scope);
        } else if (scope != TG_SCOPE_TG) {
            push_names(L, scope);
            index_by_table(L, scope);
            add(L, strchr(info->name, '.') + 1);
        }
    }
    index_by_table(L, TG_SCOPE_TG);
    register_objects(L, TG_SCOPE_CTX); /* last: it knows the metatables of the others */
    lua_getfield(L, -1, "json");
    tg_bind_push_null(L);
    add(L, "null");
    lua_pop(L, 1);
    add(L, "tidegate");
    load_entries(L, arg);
    /* The first release of a reference makes a key in the registry: now, when that may fail. */
    lua_pushboolean(L, 1);
    luaL_unref(L, LUA_REGISTRYINDEX, luaL_ref(L, LUA_REGISTRYINDEX));
}
