/* prepared.c: see prepared.h. */
#include "base/banned.h"
#include "bind/prepared.h"

#include "bind/zone.h"
#include "gateway/wait.h"
#include "route/expr.h"

void tg_bind_anchor(lua_State *L, int index)
{
    lua_pushvalue(L, index);
    luaL_ref(L, LUA_REGISTRYINDEX);
}

enum tg_phase tg_bind_arg_phase(lua_State *L, unsigned allowed, const char *why)
{
    const struct tg_vm_entry *entry = tg_bind_vm_entry(L);
    struct tg_str name = tg_bind_arg_str(L, 1);
    if (entry->configuring == NULL || tg_run_is_hosted(tg_run_current(L)))
        tg_bind_call_error(L, "is for configure: it belongs to the instance that is configured");
    unsigned phase = 0;
    while (phase < TG_PHASES && !tg_str_eq(name, tg_str_c(tg_phase_name((enum tg_phase)phase))))
        phase++;
    if (phase == TG_PHASES || (allowed & 1u << phase) == 0)
        tg_bind_arg_error(L, 1, why);
    if (tg_vm_function(entry->vm, phase) == LUA_NOREF)
        tg_bind_arg_error(L, 1, "the plugin has no function for that phase, so it never comes");
    return (enum tg_phase)phase;
}

/* Argument 2 compiled, or NULL where it is not given. */
static struct tg_expr *arg_condition(lua_State *L)
{
    struct tg_expr *when = NULL;
    struct tg_expr_error error;
    if (lua_isnoneornil(L, tg_bind_arg_index(L, 2)))
        return NULL;
    enum tg_err err = tg_expr_new(tg_bind_arg_str(L, 2), tg_field_key, &when, &error);
    if (err == TG_E_INVALID)
        tg_bind_arg_error(L, 2, error.text);
    tg_bind_check(L, err, 2);
    return when;
}

/* The text `name` of the table at index 4, anchored; p == NULL: there is none. */
static struct tg_str recognition_text(lua_State *L, const char *name)
{
    struct tg_str text = {NULL, 0};
    lua_getfield(L, 4, name);
    if (lua_type(L, -1) == LUA_TSTRING) {
        text.p = lua_tolstring(L, -1, &text.n);
        tg_bind_anchor(L, -1);
    }
    lua_pop(L, 1);
    return text;
}

/* Argument 3, where it is given: whom the step is for. */
static bool arg_recognition(lua_State *L, struct tg_recognition *out)
{
    if (!tg_bind_arg_table(L, 3, true))
        return false;
    struct tg_str kind = recognition_text(L, "kind");
    if (kind.p == NULL || !tg_credential_kind_from(kind, &out->kind))
        tg_bind_arg_error(L, 3, "kind: no kind of credential");
    out->header = recognition_text(L, "header");
    if (out->header.p == NULL)
        tg_bind_arg_error(L, 3, "header: expected the name of a header");
    out->scheme = recognition_text(L, "scheme");
    return true;
}

int tg_bind_instead_of(lua_State *L, enum tg_phase phase, struct tg_prepared_step step)
{
    struct tg_vm_entry *entry = tg_bind_vm_entry(L);
    struct tg_recognition by = {.header = {NULL, 0}};
    bool recognises = arg_recognition(L, &by);
    if (recognises && phase != TG_PHASE_ACCESS)
        tg_bind_arg_error(L, 3, "consumers are recognised in access");
    struct tg_expr *when = arg_condition(L);
    enum tg_err err =
        tg_prepared_add(entry->configuring, phase, when, recognises ? &by : NULL, step);
    if (err != TG_OK)
        tg_expr_free(&when);
    if (err == TG_E_LIMIT)
        tg_bind_call_error(L, "16 conditions is what one phase of an instance has room for");
    if (err != TG_OK)
        tg_bind_call_error(L, tg_err_text(err));
    lua_settop(L, 1);
    return 1;
}
