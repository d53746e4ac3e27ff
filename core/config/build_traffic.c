/* build_traffic.c: see build_traffic.h. As in build.c, what is read has been checked by
 * lua/tidegate/resolve.lua, and tg_assert() guards that. */
#include "base/banned.h"
#include "config/build_traffic.h"

#include "base/assert.h"
#include "config/build_websocket.h"
#include "config/policy.h"
#include "config/reader.h"
#include "config/traffic.h"

#include <lauxlib.h>
#include <math.h>

const char *const tg_answer_fact_names[TG_FACTS] = {
    [TG_FACT_STATUS] = "status",
    [TG_FACT_REASON] = "reason",
    [TG_FACT_CODE] = "code",
    [TG_FACT_DETAIL] = "detail",
    [TG_FACT_REQUEST_ID] = "request_id",
    [TG_FACT_METHOD] = "method",
    [TG_FACT_HOST] = "host",
    [TG_FACT_PATH] = "path",
};

const struct tg_answer_conf *tg_answers_find(const struct tg_answers_conf *answers, unsigned status)
{
    const struct tg_answer_conf *of_class = NULL;
    for (uint32_t i = 0; answers != NULL && i < answers->n; i++) {
        if (answers->v[i].status == status)
            return &answers->v[i];
        if (answers->v[i].status == status / 100)
            of_class = &answers->v[i];
    }
    return of_class;
}

/* ---- Reading fields ----------------------------------------------------------------------------
 */

/* Copy of a string field; p == NULL for nil. */
static struct tg_str text_field(lua_State *L, struct tg_snapshot *snapshot, int table,
                                const char *name)
{
    struct tg_str s = {NULL, 0};
    lua_getfield(L, table, name);
    if (!lua_isnil(L, -1)) {
        s.p = lua_tolstring(L, -1, &s.n);
        s = tg_snapshot_copy(snapshot, s);
        if (s.p == NULL)
            luaL_error(L, TG_READER_NO_MEMORY);
    }
    lua_pop(L, 1);
    return s;
}

static uint32_t percent_field(lua_State *L, int table)
{
    return (uint32_t)lround(tg_reader_number(L, table, "percent", 0) * (TG_SPLIT_WHOLE / 100.0));
}

/* Pushes a table field; its absolute index, or 0 (and nothing pushed) for nil. */
static int push_table(lua_State *L, int table, const char *name)
{
    lua_getfield(L, table, name);
    if (lua_istable(L, -1))
        return lua_gettop(L);
    lua_pop(L, 1);
    return 0;
}

/* ---- Templates ---------------------------------------------------------------------------------
 */

static struct tg_template template_field(lua_State *L, struct tg_snapshot *snapshot, int table,
                                         const char *name, enum tg_template_kind kind)
{
    struct tg_template_parts parts;
    struct tg_template_problem problem;
    struct tg_template out = {0};
    struct tg_str text = text_field(L, snapshot, table, name);
    if (text.p == NULL)
        return out;
    enum tg_err err = tg_template_parse(kind, text, &parts, &problem);
    tg_assert(err == TG_OK);
    struct tg_template_part *copy = tg_reader_alloc(L, snapshot, parts.n, sizeof(*copy));
    for (uint32_t i = 0; i < parts.n; i++)
        copy[i] = parts.v[i];
    return (struct tg_template){copy, parts.n, true};
}

static struct tg_path_conf build_path(lua_State *L, struct tg_snapshot *snapshot, int table)
{
    return (struct tg_path_conf){
        .path = template_field(L, snapshot, table, "path", TG_TEMPLATE_PATH),
        .prefix = template_field(L, snapshot, table, "prefix", TG_TEMPLATE_PATH),
        .query = template_field(L, snapshot, table, "query", TG_TEMPLATE_QUERY),
    };
}

static void build_rewrite(lua_State *L, const struct tg_build_traffic *b, int route,
                          struct tg_route_conf *out)
{
    int table = push_table(L, route, "rewrite");
    if (table == 0)
        return;
    struct tg_rewrite_conf *rewrite = tg_reader_alloc(L, b->snapshot, 1, sizeof(*rewrite));
    rewrite->path = build_path(L, b->snapshot, table);
    rewrite->host = template_field(L, b->snapshot, table, "host", TG_TEMPLATE_HOST);
    lua_getfield(L, table, "strip");
    rewrite->strip_matched = lua_toboolean(L, -1);
    lua_pop(L, 2);
    out->rewrite = rewrite;
}

static void build_redirect(lua_State *L, const struct tg_build_traffic *b, int route,
                           struct tg_route_conf *out)
{
    int table = push_table(L, route, "redirect");
    if (table == 0)
        return;
    struct tg_redirect_conf *redirect = tg_reader_alloc(L, b->snapshot, 1, sizeof(*redirect));
    redirect->status = (uint16_t)tg_reader_number(L, table, "status", 302);
    redirect->scheme = text_field(L, b->snapshot, table, "scheme");
    redirect->host = text_field(L, b->snapshot, table, "host");
    redirect->port = (uint16_t)tg_reader_number(L, table, "port", 0);
    redirect->path = build_path(L, b->snapshot, table);
    lua_pop(L, 1);
    out->redirect = redirect;
}

/* ---- Which service -----------------------------------------------------------------------------
 */

static const struct tg_service_conf *service_at(lua_State *L, const struct tg_build_traffic *b,
                                                int table)
{
    uint32_t index = (uint32_t)tg_reader_number(L, table, "service", 0);
    tg_assert(index >= 1 && index <= b->snapshot->service_count);
    return &b->services[index - 1];
}

static struct tg_choice_conf build_choice(lua_State *L, const struct tg_build_traffic *b, int table)
{
    return (struct tg_choice_conf){service_at(L, b, table),
                                   tg_build_listener_chains(L, b->snapshot, table, &b->chains)};
}

static struct tg_sticky_conf build_sticky(lua_State *L, const struct tg_build_traffic *b, int table)
{
    static const struct {
        struct tg_str word;
        enum tg_sticky by;
    } kinds[] = {
        {{"cookie", 6}, TG_STICKY_COOKIE},
        {{"header", 6}, TG_STICKY_HEADER},
        {{"ip", 2}, TG_STICKY_IP},
        {{"consumer", 8}, TG_STICKY_CONSUMER},
    };
    struct tg_sticky_conf sticky = {0};
    int key = push_table(L, table, "key");
    if (key == 0)
        return sticky;
    struct tg_str by = text_field(L, b->snapshot, key, "by");
    for (size_t i = 0; i < TG_COUNT_OF(kinds); i++) {
        if (tg_str_eq(kinds[i].word, by))
            sticky.by = kinds[i].by;
    }
    tg_assert(sticky.by != TG_STICKY_NONE);
    sticky.name = text_field(L, b->snapshot, key, "name");
    lua_pop(L, 1);
    return sticky;
}

static void build_split(lua_State *L, const struct tg_build_traffic *b, int route,
                        struct tg_route_conf *out)
{
    int table = push_table(L, route, "split");
    if (table == 0)
        return;
    struct tg_split_conf *split = tg_reader_alloc(L, b->snapshot, 1, sizeof(*split));
    int list = push_table(L, table, "choices");
    tg_assert(list != 0);
    split->n = (uint32_t)lua_objlen(L, list);
    struct tg_choice_conf *choices = tg_reader_alloc(L, b->snapshot, split->n, sizeof(*choices));
    struct tg_split_share *shares = tg_reader_alloc(L, b->snapshot, split->n, sizeof(*shares));
    for (uint32_t i = 0; i < split->n; i++) {
        lua_rawgeti(L, list, (int)i + 1);
        int item = lua_gettop(L);
        choices[i] = build_choice(L, b, item);
        shares[i].seed = tg_split_seed(choices[i].service->name);
        shares[i].weight = (uint32_t)tg_reader_number(L, item, "weight", 1);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    split->choices = choices;
    split->shares = shares;
    split->sticky = build_sticky(L, b, table);
    lua_pop(L, 1);
    out->split = split;
}

static void build_canary(lua_State *L, const struct tg_build_traffic *b, int route,
                         struct tg_route_conf *out)
{
    int table = push_table(L, route, "canary");
    if (table == 0)
        return;
    struct tg_canary_conf *canary = tg_reader_alloc(L, b->snapshot, 1, sizeof(*canary));
    canary->choice = build_choice(L, b, table);
    canary->seed = tg_split_seed(canary->choice.service->name);
    canary->sticky = build_sticky(L, b, table);
    canary->percent = percent_field(L, table);
    canary->header = text_field(L, b->snapshot, table, "header");
    canary->value = text_field(L, b->snapshot, table, "value");
    lua_pop(L, 1);
    out->canary = canary;
}

static void build_mirror(lua_State *L, const struct tg_build_traffic *b, int route,
                         struct tg_route_conf *out)
{
    int table = push_table(L, route, "mirror");
    if (table == 0)
        return;
    struct tg_mirror_conf *mirror = tg_reader_alloc(L, b->snapshot, 1, sizeof(*mirror));
    mirror->service = service_at(L, b, table);
    mirror->percent = percent_field(L, table);
    mirror->max_body = (uint64_t)tg_reader_number(L, table, "max_body", 0);
    lua_pop(L, 1);
    out->mirror = mirror;
}

/* false is an answer too: not on this route. */
static void build_hedge(lua_State *L, const struct tg_build_traffic *b, int route,
                        struct tg_route_conf *out)
{
    lua_getfield(L, route, "hedge");
    bool said = !lua_isnil(L, -1);
    lua_pop(L, 1);
    if (!said)
        return;
    struct tg_hedge_conf *hedge = tg_reader_alloc(L, b->snapshot, 1, sizeof(*hedge));
    tg_policy_build_hedge(L, route, hedge);
    out->hedge = hedge;
}

/* ---- Answers -----------------------------------------------------------------------------------
 */

static enum tg_answer_fact fact_of(struct tg_str name)
{
    for (int fact = 0; fact < TG_FACTS; fact++) {
        if (tg_str_eq(name, tg_str_c(tg_answer_fact_names[fact])))
            return (enum tg_answer_fact)fact;
    }
    return TG_FACTS;
}

static void build_body(lua_State *L, struct tg_snapshot *snapshot, int table,
                       struct tg_answer_conf *answer)
{
    struct tg_template body = template_field(L, snapshot, table, "body", TG_TEMPLATE_BODY);
    struct tg_answer_part *parts = tg_reader_alloc(L, snapshot, body.n, sizeof(*parts));
    for (uint32_t i = 0; i < body.n; i++) {
        parts[i].text = body.parts[i].text;
        parts[i].fact = body.parts[i].is_name ? fact_of(body.parts[i].text) : TG_FACTS;
    }
    answer->parts = parts;
    answer->n = body.n;
}

static void build_fields(lua_State *L, struct tg_snapshot *snapshot, int table,
                         struct tg_answer_conf *answer)
{
    int list = push_table(L, table, "fields");
    tg_assert(list != 0);
    answer->field_count = (uint32_t)lua_objlen(L, list);
    struct tg_field *fields = tg_reader_alloc(L, snapshot, answer->field_count, sizeof(*fields));
    for (uint32_t i = 0; i < answer->field_count; i++) {
        lua_rawgeti(L, list, (int)i + 1);
        int item = lua_gettop(L);
        fields[i].name = text_field(L, snapshot, item, "name");
        fields[i].value = text_field(L, snapshot, item, "value");
        tg_field_identify(&fields[i]);
        lua_pop(L, 1);
    }
    answer->fields = fields;
    lua_pop(L, 1);
}

const struct tg_answers_conf *tg_build_answers(lua_State *L, struct tg_snapshot *snapshot,
                                               int table)
{
    int list = push_table(L, table, "responses");
    uint32_t n = list != 0 ? (uint32_t)lua_objlen(L, list) : 0;
    struct tg_answers_conf *answers = NULL;
    if (n > 0) {
        answers = tg_reader_alloc(L, snapshot, 1, sizeof(*answers));
        struct tg_answer_conf *v = tg_reader_alloc(L, snapshot, n, sizeof(*v));
        for (uint32_t i = 0; i < n; i++) {
            lua_rawgeti(L, list, (int)i + 1);
            int item = lua_gettop(L);
            v[i].status = (uint16_t)tg_reader_number(L, item, "status", 0);
            v[i].type = text_field(L, snapshot, item, "type");
            v[i].escape = tg_template_escape_for(v[i].type);
            build_body(L, snapshot, item, &v[i]);
            build_fields(L, snapshot, item, &v[i]);
            lua_pop(L, 1);
        }
        *answers = (struct tg_answers_conf){v, n};
    }
    if (list != 0)
        lua_pop(L, 1);
    return answers;
}

void tg_build_route_traffic(lua_State *L, const struct tg_build_traffic *b, int table,
                            struct tg_route_conf *route)
{
    build_rewrite(L, b, table, route);
    build_redirect(L, b, table, route);
    build_split(L, b, table, route);
    build_canary(L, b, table, route);
    build_mirror(L, b, table, route);
    build_hedge(L, b, table, route);
    tg_build_websocket(L, b->snapshot, table, route);
    route->chooses_late = (route->split != NULL && route->split->sticky.by == TG_STICKY_CONSUMER) ||
                          (route->canary != NULL && route->canary->sticky.by == TG_STICKY_CONSUMER);
    route->answers = tg_build_answers(L, b->snapshot, table);
}
