/* edits.c: tg.edits: header edits that are checked once, when a plugin is configured.
 *
 * The userdata holds the edits and a copy of all names and values. Requests refer to it without
 * copying, so it is anchored in the registry and lives as long as its VM; since it is made in init
 * and configure only, there are as many as the configuration asks for.
 */
#include "base/banned.h"
#include "bind/fields.h"

struct prepared {
    uint32_t magic;
    struct tg_edits edits;
};

/* Where the builder stands; the bytes of names and values are behind the items. */
struct builder {
    struct tg_edits *edits;
    char *bytes;
};

static struct tg_str keep(struct builder *b, lua_State *L, int index)
{
    size_t n;
    const char *p = lua_tolstring(L, index, &n);
    char *copy = b->bytes;
    memcpy(copy, p, n);
    b->bytes += n;
    return tg_str(copy, n);
}

/* Adds the edit whose name is at `name` and whose value is at `value` (0: none). */
static void add_edit(lua_State *L, struct builder *b, enum tg_edit_kind kind, int name, int value)
{
    struct tg_edits_item *item = &b->edits->v[b->edits->n];
    item->kind = kind;
    item->field.name = keep(b, L, name);
    item->field.value = value != 0 ? keep(b, L, value) : TG_STR("");
    enum tg_err err = tg_edit_check(item->field.name, item->field.value, &item->field.id);
    if (err != TG_OK)
        tg_bind_raise_edit(L, err, item->field.name);
    b->edits->n++;
}

/* Pushes the member `name` of the table at 1: a table, or nil. */
static bool push_member(lua_State *L, const char *name)
{
    lua_pushstring(L, name);
    lua_rawget(L, 1);
    if (!lua_isnil(L, -1) && !lua_istable(L, -1))
        tg_bind_arg_error(L, 1, "remove is a list; set and add are maps of strings");
    return lua_istable(L, -1);
}

static bool is_text(lua_State *L, int index)
{
    return lua_type(L, index) == LUA_TSTRING;
}

/* Counts the edits of the member on top and their bytes. */
static void measure(lua_State *L, bool list, uint32_t *count, size_t *bytes)
{
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        if (!is_text(L, -1) || (!list && !is_text(L, -2)))
            tg_bind_arg_error(L, 1, "remove is a list; set and add are maps of strings");
        ++*count;
        *bytes += lua_objlen(L, -1) + (list ? 0 : lua_objlen(L, -2));
    }
}

static const struct {
    const char *member;
    enum tg_edit_kind kind;
} members[] = {{"remove", TG_EDIT_REMOVE}, {"set", TG_EDIT_SET}, {"add", TG_EDIT_ADD}};

/* By operation, then by name, so that the order on the wire is not that of a Lua table. */
static int compare(const void *one, const void *two)
{
    const struct tg_edits_item *a = one;
    const struct tg_edits_item *b = two;
    static const int order[] = {[TG_EDIT_REMOVE] = 0, [TG_EDIT_SET] = 1, [TG_EDIT_ADD] = 2};
    if (a->kind != b->kind)
        return order[a->kind] - order[b->kind];
    size_t n = TG_MIN(a->field.name.n, b->field.name.n);
    int diff = memcmp(a->field.name.p, b->field.name.p, n);
    if (diff != 0)
        return diff;
    return (a->field.name.n > b->field.name.n) - (a->field.name.n < b->field.name.n);
}

int tg_api_tg_edits(lua_State *L)
{
    uint32_t count = 0;
    size_t bytes = 0;
    tg_bind_arg_table(L, 1, false);
    lua_settop(L, 1);
    for (size_t i = 0; i < TG_COUNT_OF(members); i++) {
        if (push_member(L, members[i].member))
            measure(L, members[i].kind == TG_EDIT_REMOVE, &count, &bytes);
        lua_settop(L, 1);
    }
    size_t items = sizeof(struct prepared) + count * sizeof(struct tg_edits_item);
    struct prepared *prepared = tg_bind_new_value(L, TG_SCOPE_EDITS, items + bytes);
    struct builder b = {&prepared->edits, (char *)prepared + items};
    for (size_t i = 0; i < TG_COUNT_OF(members); i++) {
        bool list = members[i].kind == TG_EDIT_REMOVE;
        if (push_member(L, members[i].member)) {
            for (lua_pushnil(L); lua_next(L, 3) != 0; lua_pop(L, 1))
                add_edit(L, &b, members[i].kind, list ? 5 : 4, list ? 0 : 5);
        }
        lua_settop(L, 2);
    }
    qsort(prepared->edits.v, prepared->edits.n, sizeof(prepared->edits.v[0]), compare);
    lua_pushvalue(L, 2);
    luaL_ref(L, LUA_REGISTRYINDEX);
    return 1;
}

const struct tg_edits *tg_bind_arg_edits(lua_State *L, int n)
{
    const struct prepared *prepared = lua_touserdata(L, tg_bind_arg_index(L, n));
    if (prepared == NULL || prepared->magic != TG_BIND_MAGIC + (uint32_t)TG_SCOPE_EDITS)
        tg_bind_arg_error(L, n, "expected what tg.edits() made");
    return &prepared->edits;
}
