/* template.c: tg.template: text with ${...} parts that are filled in from a request.
 *
 *     ${id} ${client.ip} ${client.port} ${route.name} ${service.name}
 *     ${consumer.name} ${consumer.id} ${consumer.custom_id} ${consumer.credential}
 *     ${consumer.groups}, with ", " between them
 *     ${req.method} ${req.scheme} ${req.host} ${req.port} ${req.path} ${req.raw_path}
 *     ${req.query_string} ${query.NAME} ${header.NAME} ${cookie.NAME} ${capture.NAME}
 *     $${ stands for ${ itself; a value that is not there is empty
 *
 * Made with escape "header" it may stand in tg.edits: see edits.c. Compiled once, in configure,
 * into one userdata: the parts, and behind them a copy of the text. Rendering makes one string.
 * Values are escaped as the template was told: all of them as entities for HTML, or as the inside
 * of a JSON string, or so that bytes which no header value may hold are percent-encoded; for URLs
 * what the client chooses freely (query, header, cookie, capture) and consumers are
 * percent-encoded, since the rest is fit for a URL as it is.
 */
#include "base/banned.h"
#include "bind/fields.h"
#include "bind/prepared.h"

#include "base/json.h"
#include "bind/text.h"
#include "bind/zone.h"
#include "consumer/store.h"
#include "gateway/param.h"
#include "http/uri.h"

#define OPEN_MAX 256 /* "${" in a template: a request looks each of them up, in one go */

enum part_kind {
    PART_TEXT,
    PART_ID,
    PART_CLIENT_IP,
    PART_CLIENT_PORT,
    PART_ROUTE,
    PART_SERVICE,
    PART_METHOD,
    PART_SCHEME,
    PART_HOST,
    PART_PORT,
    PART_PATH,
    PART_RAW_PATH,
    PART_QUERY_STRING,
    PART_STATUS,
    PART_CONSUMER, /* from here on: not made for URLs */
    PART_CONSUMER_ID,
    PART_CONSUMER_CUSTOM_ID,
    PART_CREDENTIAL,
    PART_GROUPS,
    PART_QUERY, /* from here on: by name, chosen by the client */
    PART_HEADER,
    PART_COOKIE,
    PART_CAPTURE,
};

enum escape { ESCAPE_NONE, ESCAPE_URL, ESCAPE_HTML, ESCAPE_JSON, ESCAPE_HEADER };

struct part {
    enum part_kind kind;
    struct tg_str text; /* of PART_TEXT, or the name behind the dot; in the template's userdata */
};

struct template
{
    uint32_t magic;
    enum escape escape;
    uint32_t count;
    struct part parts[];
};

static const struct {
    struct tg_str name;
    enum part_kind kind;
} variables[] = {
    {{"id", 2}, PART_ID},
    {{"client.ip", 9}, PART_CLIENT_IP},
    {{"client.port", 11}, PART_CLIENT_PORT},
    {{"route.name", 10}, PART_ROUTE},
    {{"service.name", 12}, PART_SERVICE},
    {{"req.method", 10}, PART_METHOD},
    {{"req.scheme", 10}, PART_SCHEME},
    {{"req.host", 8}, PART_HOST},
    {{"req.port", 8}, PART_PORT},
    {{"req.path", 8}, PART_PATH},
    {{"req.raw_path", 12}, PART_RAW_PATH},
    {{"req.query_string", 16}, PART_QUERY_STRING},
    {{"resp.status", 11}, PART_STATUS},
    {{"consumer.name", 13}, PART_CONSUMER},
    {{"consumer.id", 11}, PART_CONSUMER_ID},
    {{"consumer.custom_id", 18}, PART_CONSUMER_CUSTOM_ID},
    {{"consumer.credential", 19}, PART_CREDENTIAL},
    {{"consumer.groups", 15}, PART_GROUPS},
    {{"query.", 6}, PART_QUERY},
    {{"header.", 7}, PART_HEADER},
    {{"cookie.", 7}, PART_COOKIE},
    {{"capture.", 8}, PART_CAPTURE},
};

/* ---- Compiling ---- */

static bool variable_part(struct tg_str name, struct part *out)
{
    for (size_t i = 0; i < TG_COUNT_OF(variables); i++) {
        struct tg_str known = variables[i].name;
        bool named = variables[i].kind >= PART_QUERY;
        if (named ? !tg_str_starts(name, known) || name.n == known.n : !tg_str_eq(name, known))
            continue;
        *out = (struct part){variables[i].kind, tg_str_sub(name, known.n, name.n)};
        return true;
    }
    return false;
}

/* Position of the next "${" from `from` on, or text.n. */
static size_t find_open(struct tg_str text, size_t from)
{
    size_t at = tg_str_find(text, '$', from);
    while (at + 1 < text.n && text.p[at + 1] != '{')
        at = tg_str_find(text, '$', at + 1);
    return at + 1 < text.n ? at : text.n;
}

static void add_text_part(struct template *t, struct tg_str text)
{
    if (text.n > 0)
        t->parts[t->count++] = (struct part){PART_TEXT, text};
}

/* Fills the parts from `text`, which the parts borrow; false with the variable that is not known or
 * the part that is not closed in *wrong. */
static bool compile(struct template *t, struct tg_str text, struct tg_str *wrong)
{
    size_t from = 0;
    while (from < text.n) {
        size_t open = find_open(text, from);
        if (open < text.n && open > from && text.p[open - 1] == '$') {
            add_text_part(t, tg_str_sub(text, from, open)); /* "$${": one dollar sign less */
            add_text_part(t, TG_STR("{"));
            from = open + 2;
            continue;
        }
        add_text_part(t, tg_str_sub(text, from, open));
        if (open == text.n)
            return true;
        size_t close = tg_str_find(text, '}', open);
        *wrong = tg_str_sub(text, open, close + 1);
        if (close == text.n ||
            !variable_part(tg_str_sub(text, open + 2, close), &t->parts[t->count]))
            return false;
        t->count++;
        from = close + 1;
    }
    return true;
}

static enum escape arg_escape(lua_State *L)
{
    if (lua_isnoneornil(L, 2))
        return ESCAPE_NONE;
    struct tg_str name = tg_bind_arg_str(L, 2);
    if (tg_str_eq(name, TG_STR("url")))
        return ESCAPE_URL;
    if (tg_str_eq(name, TG_STR("html")))
        return ESCAPE_HTML;
    if (tg_str_eq(name, TG_STR("json")))
        return ESCAPE_JSON;
    if (tg_str_eq(name, TG_STR("header")))
        return ESCAPE_HEADER;
    if (!tg_str_eq(name, TG_STR("none")))
        tg_bind_arg_error(L, 2, "expected \"none\", \"url\", \"html\", \"json\" or \"header\"");
    return ESCAPE_NONE;
}

int tg_api_tg_template(lua_State *L)
{
    tg_bind_check_set_up(L);
    struct tg_str text = tg_bind_arg_str(L, 1);
    enum escape escape = arg_escape(L);
    struct tg_str wrong;
    size_t parts = 1;
    for (size_t at = find_open(text, 0); at < text.n; at = find_open(text, at + 1))
        parts += 2;
    if (parts > 1 + 2 * OPEN_MAX)
        return tg_bind_fail(L, "bad_input", "a template has at most 256 variables");
    struct template *t =
        tg_bind_new_value(L, TG_SCOPE_TEMPLATE, sizeof(*t) + parts * sizeof(t->parts[0]) + text.n);
    char *copy = (char *)&t->parts[parts];
    if (text.n > 0)
        memcpy(copy, text.p, text.n);
    t->escape = escape;
    if (compile(t, tg_str(copy, text.n), &wrong))
        return 1;
    char message[160];
    snprintf(message, sizeof(message),
             "a template has no \"%.*s\"; `tidegate doc tg.template` lists what it has",
             (int)TG_MIN(wrong.n, (size_t)64), wrong.p);
    return tg_bind_fail(L, "bad_input", message);
}

/* ---- Rendering ---- */

/* The value of a part by name. */
static struct tg_str chosen_value(struct tg_request *r, const struct part *part)
{
    const struct tg_field *field;
    struct tg_str value = {NULL, 0};
    switch (part->kind) {
    case PART_QUERY:
        return tg_param_query(r, part->text, &value) == TG_OK ? value : TG_STR("");
    case PART_HEADER:
        field = tg_fields_find(&r->in.fields, part->text);
        return field != NULL ? field->value : value;
    case PART_COOKIE:
        return tg_param_cookie(r, part->text);
    default:
        return tg_param_capture(r, part->text);
    }
}

/* RFC 9110, 5.5: no control characters. */
static void write_header(struct tg_fmt *f, struct tg_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (tg_char_is(s.p[i], TG_CHAR_VALUE))
            tg_fmt_char(f, s.p[i]);
        else
            tg_uri_encode(f, tg_str_sub(s, i, i + 1), "");
    }
}

static struct tg_str number(char *room, uint64_t value)
{
    struct tg_fmt f;
    tg_fmt_init(&f, room, TG_ADDR_TEXT_MAX);
    tg_fmt_u64(&f, value);
    return tg_str(f.p, f.n);
}

static uint16_t port_of(const struct tg_request *r)
{
    uint16_t port;
    tg_param_host(r, &port);
    if (port == 0)
        port = tg_str_eq(r->scheme, TG_STR("https")) ? 443 : 80;
    return port;
}

/* What a part says of whose request it is; empty where it is nobody's. */
static struct tg_str consumer_fact(const struct tg_request *r, enum part_kind kind)
{
    const struct tg_consumer *c = r->consumer;
    struct tg_str value = {NULL, 0};
    if (kind == PART_CREDENTIAL)
        value = r->credential;
    else if (c != NULL)
        value = kind == PART_CONSUMER ? c->name : kind == PART_CONSUMER_ID ? c->id : c->custom_id;
    return value.p != NULL ? value : TG_STR("");
}

/* The value of a part that the gateway itself knows; `room` has TG_ADDR_TEXT_MAX bytes for it. */
static struct tg_str fact(const struct tg_request *r, enum part_kind kind, char *room)
{
    uint16_t port;
    switch (kind) {
    case PART_ID:
        return tg_str(r->id, sizeof(r->id));
    case PART_CLIENT_IP:
        return tg_addr_ip_text(&r->client, room);
    case PART_CLIENT_PORT:
        return number(room, tg_addr_port(&r->client));
    case PART_ROUTE:
        return r->route != NULL ? r->route->name : TG_STR("");
    case PART_SERVICE:
        return r->service != NULL ? r->service->name : TG_STR("");
    case PART_METHOD:
        return r->in.method_name;
    case PART_SCHEME:
        return r->scheme;
    case PART_HOST:
        return tg_param_host(r, &port);
    case PART_PORT:
        return number(room, port_of(r));
    case PART_PATH:
        return r->in.path;
    case PART_RAW_PATH:
        return r->in.raw_path;
    case PART_QUERY_STRING:
        return r->in.query;
    case PART_STATUS:
        return r->resp.status != 0 ? number(room, r->resp.status) : TG_STR("");
    default:
        return consumer_fact(r, kind);
    }
}

/* The consumer's groups, in the arena. */
static struct tg_str groups_text(struct tg_request *r)
{
    struct tg_fmt f;
    if (r->consumer == NULL || r->consumer->groups->n == 0)
        return TG_STR("");
    tg_fmt_init_arena(&f, &r->arena, 64);
    for (uint32_t i = 0; i < r->consumer->groups->n; i++) {
        if (i > 0)
            tg_fmt_lit(&f, ", ");
        tg_fmt_add(&f, r->consumer->groups->v[i]);
    }
    return tg_fmt_str(&f);
}

static struct tg_str part_value(struct tg_request *r, const struct part *part, char *room)
{
    if (part->kind == PART_GROUPS)
        return groups_text(r);
    return part->kind >= PART_QUERY ? chosen_value(r, part) : fact(r, part->kind, room);
}

static void write_part(struct tg_fmt *f, struct tg_request *r, const struct part *part,
                       enum escape escape)
{
    char room[TG_ADDR_TEXT_MAX];
    if (part->kind == PART_TEXT) {
        tg_fmt_add(f, part->text);
        return;
    }
    struct tg_str value = part_value(r, part, room);
    if (escape == ESCAPE_HTML)
        tg_bind_write_html(f, value);
    else if (escape == ESCAPE_JSON)
        tg_json_text(f, value);
    else if (escape == ESCAPE_HEADER)
        write_header(f, value);
    else if (escape == ESCAPE_URL && part->kind >= PART_CONSUMER)
        tg_uri_encode(f, value, "");
    else
        tg_fmt_add(f, value);
}

/* A template that is one part and nothing else, as it is. */
static struct tg_str only_part(struct tg_request *r, const struct part *part)
{
    char room[TG_ADDR_TEXT_MAX];
    struct tg_str value = part->kind == PART_TEXT ? part->text : part_value(r, part, room);
    if (value.p == room)
        return tg_arena_copy(&r->arena, value);
    return value.p != NULL ? value : TG_STR("");
}

/* The text for `r`, as long as that lives; p == NULL: no memory. */
static struct tg_str render(const void *of, struct tg_request *r)
{
    const struct template *t = of;
    struct tg_fmt f;
    if (t->count == 1 && t->parts[0].kind == PART_ID)
        return tg_str(r->id, sizeof(r->id));
    if (t->count == 1 && t->parts[0].kind == PART_CONSUMER && t->escape == ESCAPE_HEADER)
        return consumer_fact(r, PART_CONSUMER); /* a name is fit for it */
    if (t->count == 1 && t->escape == ESCAPE_NONE)
        return only_part(r, &t->parts[0]);
    tg_fmt_init_arena(&f, &r->arena, 256);
    for (uint32_t i = 0; i < t->count; i++)
        write_part(&f, r, &t->parts[i], t->escape);
    return f.n > 0 || f.failed ? tg_fmt_str(&f) : TG_STR("");
}

int tg_api_template_render(lua_State *L)
{
    const struct template *t = tg_bind_check_value(L);
    struct tg_str text = render(t, tg_bind_check_object(L, 2, TG_SCOPE_CTX)->r);
    if (text.p == NULL)
        tg_bind_check(L, TG_E_NOMEM, 0);
    return tg_bind_push_str(L, text);
}

/* The template at `index`, anchored, if it was made with `escape`. */
static const struct template *to_template(lua_State *L, int index, enum escape escape)
{
    const struct template *t = lua_touserdata(L, index);
    if (lua_type(L, index) != LUA_TUSERDATA || t->magic != TG_BIND_MAGIC + TG_SCOPE_TEMPLATE ||
        t->escape != escape)
        return NULL;
    tg_bind_anchor(L, index);
    return t;
}

bool tg_bind_to_template(lua_State *L, int index, struct tg_bind_template *out)
{
    *out = (struct tg_bind_template){render, to_template(L, index, ESCAPE_NONE)};
    if (out->of == NULL)
        out->render = NULL;
    return out->of != NULL;
}

bool tg_bind_to_header_template(lua_State *L, int index, struct tg_edits_item *item)
{
    const struct template *t = to_template(L, index, ESCAPE_HEADER);
    item->render = t != NULL ? render : NULL;
    item->of = t;
    return t != NULL;
}
