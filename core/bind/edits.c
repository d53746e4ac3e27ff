/* edits.c: tg.edits: header edits that are checked once, when a plugin is configured, and phases
 * that are nothing else.
 *
 * The userdata holds the edits and a copy of all names and values; templates stay where they are.
 * Requests refer to it without copying, so it is anchored in the registry and lives as long as its
 * VM; since it is made in init and configure only, there are as many as the configuration asks for.
 */
#include "base/banned.h"
#include "bind/fields.h"
#include "bind/prepared.h"
#include "bind/zone.h"

struct prepared {
    uint32_t magic;
    struct tg_edits edits;
};

/* What the members of the table are. */
static const struct member {
    const char *name;
    enum tg_edit_kind kind;
    bool unless_empty;
} members[] = {{"remove", TG_EDIT_REMOVE, false},
               {"set", TG_EDIT_SET, false},
               {"fill", TG_EDIT_SET, true},
               {"add", TG_EDIT_ADD, false}};

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

static bool is_text(lua_State *L, int index)
{
    return lua_type(L, index) == LUA_TSTRING;
}

/* Adds the edit whose name is at `name` and whose value is at `value` (0: none). */
static void add_edit(lua_State *L, struct builder *b, const struct member *member, int name,
                     int value)
{
    struct tg_edits_item *item = &b->edits->v[b->edits->n];
    item->kind = member->kind;
    item->unless_empty = member->unless_empty;
    item->field.name = keep(b, L, name);
    item->field.value = TG_STR("");
    if (value != 0 && is_text(L, value))
        item->field.value = keep(b, L, value);
    else if (value != 0 && !tg_bind_to_header_template(L, value, item))
        tg_bind_arg_error(L, 1, "a value is a string or a template made with escape \"header\"");
    enum tg_err err = tg_edit_check(&item->field);
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
        tg_bind_arg_error(L, 1, "remove is a list; set, fill and add are maps");
    return lua_istable(L, -1);
}

/* Counts the edits of the member on top and their bytes. */
static void measure(lua_State *L, bool list, uint32_t *count, size_t *bytes)
{
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        if (!is_text(L, list ? -1 : -2))
            tg_bind_arg_error(L, 1, "a name of a header is not a string");
        ++*count;
        *bytes += lua_objlen(L, list ? -1 : -2);
        if (!list && is_text(L, -1))
            *bytes += lua_objlen(L, -1);
    }
}

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
    tg_bind_check_set_up(L);
    tg_bind_arg_table(L, 1, false);
    lua_settop(L, 1);
    for (size_t i = 0; i < TG_COUNT_OF(members); i++) {
        if (push_member(L, members[i].name))
            measure(L, members[i].kind == TG_EDIT_REMOVE, &count, &bytes);
        lua_settop(L, 1);
    }
    size_t items = sizeof(struct prepared) + count * sizeof(struct tg_edits_item);
    struct prepared *prepared = tg_bind_new_value(L, TG_SCOPE_EDITS, items + bytes);
    struct builder b = {&prepared->edits, (char *)prepared + items};
    for (size_t i = 0; i < TG_COUNT_OF(members); i++) {
        bool list = members[i].kind == TG_EDIT_REMOVE;
        if (push_member(L, members[i].name)) {
            for (lua_pushnil(L); lua_next(L, 3) != 0; lua_pop(L, 1))
                add_edit(L, &b, &members[i], list ? 5 : 4, list ? 0 : 5);
        }
        lua_settop(L, 2);
    }
    tg_bind_read_codings(L, &prepared->edits);
    qsort(prepared->edits.v, prepared->edits.n, sizeof(prepared->edits.v[0]), compare);
    tg_bind_anchor(L, 2);
    return 1;
}

/* Steps: see gateway/prepared.h. A body whose coding is refused is answered at once. */
static enum tg_prepared edit_upstream(const void *of, struct tg_request *r)
{
    if (tg_request_apply_upstream(r, of) != TG_OK)
        return TG_PREPARED_FAILED;
    return r->resp.status != 0 ? TG_PREPARED_ANSWERED : TG_PREPARED_DONE;
}

static enum tg_prepared edit_response(const void *of, struct tg_request *r)
{
    return tg_request_apply_response(r, of) == TG_OK ? TG_PREPARED_DONE : TG_PREPARED_FAILED;
}

int tg_api_edits_instead_of(lua_State *L)
{
    const struct prepared *prepared = tg_bind_check_value(L);
    enum tg_phase phase = tg_bind_arg_phase(L, 1u << TG_PHASE_ACCESS | 1u << TG_PHASE_HEADER_FILTER,
                                            "edits can be \"access\" or \"header_filter\"");
    bool access = phase == TG_PHASE_ACCESS;
    if (access ? prepared->edits.compression != NULL : prepared->edits.decompression != NULL)
        tg_bind_arg_error(L, 1, "compress is for header_filter, decompress for access");
    return tg_bind_instead_of(
        L, phase,
        (struct tg_prepared_step){access ? edit_upstream : edit_response, &prepared->edits});
}

const struct tg_edits *tg_bind_arg_edits(lua_State *L, int n, bool request)
{
    const struct prepared *prepared = lua_touserdata(L, tg_bind_arg_index(L, n));
    if (prepared == NULL || prepared->magic != TG_BIND_MAGIC + (uint32_t)TG_SCOPE_EDITS)
        tg_bind_arg_error(L, n, "expected what tg.edits() made");
    if (request ? prepared->edits.compression != NULL : prepared->edits.decompression != NULL)
        tg_bind_arg_error(L, n, "compress is for ctx.resp, decompress for ctx.upstream");
    return &prepared->edits;
}
