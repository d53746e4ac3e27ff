/* shared.c: ctx.shared: plain data that plugins of one request show to each other.
 *
 * Each plugin has its own VM, so a value crosses as bytes (script/marshal): set() encodes it, get()
 * makes a copy for the caller's VM. A plugin sets only the keys that its `exports` lists.
 *
 * Values hang on the request and are released with its slots (tg_plugins_end()).
 */
#include "base/banned.h"
#include "bind/object.h"

#include "script/marshal.h"

#define VALUE_BYTES ((size_t)256 << 10) /* one value */
#define VALUE_NODES 10000
#define VALUES_MAX  64 /* of one request */

static bool is_exported(const struct tg_plugin_conf *plugin, struct tg_str key)
{
    for (uint32_t i = 0; i < plugin->export_count; i++) {
        if (tg_str_eq(plugin->exports[i], key))
            return true;
    }
    return false;
}

static struct tg_shared_value *find(struct tg_request *r, struct tg_str key, uint32_t *count)
{
    struct tg_shared_value *value = r->shared;
    for (*count = 0; value != NULL && !tg_str_eq(value->key, key); value = value->next)
        ++*count;
    return value;
}

/* A place for `plugin.key`: the one that is there, or a new one. */
static struct tg_shared_value *place(lua_State *L, struct tg_request *r, struct tg_str plugin,
                                     struct tg_str key)
{
    uint32_t count;
    struct tg_fmt f;
    tg_fmt_init_arena(&f, &r->arena, plugin.n + key.n + 1);
    tg_fmt_add(&f, plugin);
    tg_fmt_char(&f, '.');
    tg_fmt_add(&f, key);
    if (f.failed)
        tg_bind_check(L, TG_E_NOMEM, 0);
    struct tg_shared_value *value = find(r, tg_fmt_str(&f), &count);
    if (value != NULL)
        return value;
    if (count >= VALUES_MAX)
        tg_bind_call_error(L, "a request holds at most 64 shared values");
    value = tg_arena_zalloc(&r->arena, sizeof(*value));
    if (value == NULL) {
        tg_bind_check(L, TG_E_NOMEM, 0);
        return NULL; /* not reached: the line above raises */
    }
    value->key = tg_fmt_str(&f);
    value->next = r->shared;
    r->shared = value;
    return value;
}

static TG_NORETURN void raise_hidden(lua_State *L, struct tg_str key)
{
    char what[160];
    snprintf(what, sizeof(what), "the plugin does not declare exports = { \"%.*s\" }",
             (int)TG_MIN(key.n, (size_t)64), key.p);
    tg_bind_arg_error(L, 1, what);
}

int tg_api_shared_set(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    const struct tg_bind_object *object = tg_bind_object(L);
    struct tg_str key = tg_bind_arg_str(L, 1);
    struct tg_marshal_options options = {.root = "value",
                                         .nodes = VALUE_NODES,
                                         .bytes = VALUE_BYTES,
                                         .is_spent = tg_run_is_spent,
                                         .tag = TG_MEM_PLUGIN};
    struct tg_blob blob = {0};
    char why[192];
    tg_bind_arg_any(L, 2);
    if (!is_exported(&r->snapshot->plugins[object->slot->plugin], key))
        raise_hidden(L, key);
    struct tg_shared_value *value = place(L, r, tg_vm_name(object->slot->vm), key);
    if (tg_marshal_encode(L, 3, &options, &blob, why, sizeof(why)) != TG_OK)
        tg_bind_arg_error(L, 2, why);
    tg_blob_release(&value->blob);
    value->blob = blob;
    lua_settop(L, 1);
    return 1;
}

int tg_api_shared_get(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    struct tg_str key = tg_bind_arg_str(L, 1);
    uint32_t count;
    if (tg_str_find(key, '.', 0) == key.n)
        tg_bind_arg_error(L, 1, "expected \"plugin.key\"");
    const struct tg_shared_value *value = find(r, key, &count);
    if (value == NULL || tg_marshal_decode(L, tg_str(value->blob.p, value->blob.n)) != TG_OK)
        lua_pushnil(L);
    return 1;
}
