/* explain.c: see explain.h.
 *
 * Everything that belongs to the request lives in one arena. What was found is handed to Lua as a
 * table: the request as the router saw it, the routes that it was compared with, and what would go
 * to the origin.
 */
#include "base/banned.h"
#include "cli/explain.h"

#include "base/assert.h"
#include "base/slab.h"
#include "cli/command.h"
#include "config/inspect.h"
#include "config/load.h"
#include "gateway/param.h"
#include "gateway/preview.h"
#include "http/token.h"
#include "http/uri.h"
#include "route/explain.h"

#include <lua.h>

#define ARENA_MAX      ((size_t)4 << 20)
#define CANDIDATES_MAX 50 /* routes that are told of */

struct field {
    struct tg_str name;
    struct tg_str value;
};

struct explanation {
    const struct tg_explain *question;
    struct tg_slab *slab;
    struct tg_arena arena;
    struct tg_snapshot *snapshot;
    struct field fields[TG_ARGS_GIVEN_MAX];
    struct tg_str scheme;
    struct tg_str authority; /* as written, with the port */
    struct tg_str host;
    struct tg_str raw_path;
    struct tg_str path; /* normalised */
    struct tg_str query;
    struct tg_str sni;
    struct tg_route_match match;
    struct tg_route_candidate candidates[CANDIDATES_MAX]; /* strings are copies in the arena */
    struct tg_preview preview;
    size_t left_out; /* routes beyond those */
    struct tg_addr client_addr;
    unsigned char client[16]; /* IPv4 as ::ffff:a.b.c.d */
    unsigned field_count;
    unsigned candidate_count;
    enum tg_route_verdict verdict;
    uint16_t port;
    bool has_query;
    bool refused; /* what the route makes of the request is none */
    bool failed;  /* memory is out */
};

/* ---- The request ----------------------------------------------------------------------------- */

static int refuse(FILE *err, const char *what, const char *given, const char *example)
{
    fprintf(err, "tidegate routes: %s: %s; %s\n", given, what, example);
    return TG_EXIT_USAGE;
}

/* "name: value" of each -H. */
static int read_fields(struct explanation *e, FILE *err)
{
    for (unsigned i = 0; i < e->question->header_count; i++) {
        struct tg_str text = tg_str_c(e->question->headers[i]);
        size_t colon = tg_str_find(text, ':', 0);
        struct tg_str name = tg_str_sub(text, 0, colon);
        if (colon == text.n || !tg_str_is_token(name))
            return refuse(err, "not a header field", text.p, "write -H \"name: value\"");
        e->fields[e->field_count++] =
            (struct field){name, tg_str_trim(tg_str_sub(text, colon + 1, text.n))};
        if (tg_str_eq_nocase(name, TG_STR("host")))
            e->authority = e->fields[e->field_count - 1].value;
    }
    return TG_EXIT_OK;
}

/* Splits the URL: scheme and authority where it has them, path and query. */
static int read_url(struct explanation *e, FILE *err)
{
    static const char example[] = "write http://host/path, or /path with -H \"host: NAME\"";
    struct tg_str url = tg_str_c(e->question->url);
    struct tg_str rest = url;
    e->scheme = e->question->sni != NULL ? TG_STR("https") : TG_STR("http");
    if (url.n == 0 || url.p[0] != '/') {
        size_t colon = tg_str_find(url, ':', 0);
        e->scheme = tg_str_sub(url, 0, colon);
        rest = tg_str_sub(url, colon, url.n);
        bool known = tg_str_eq(e->scheme, TG_STR("http")) || tg_str_eq(e->scheme, TG_STR("https"));
        if (!known || !tg_str_starts(rest, TG_STR("://")))
            return refuse(err, "not a URL", url.p, example);
        rest = tg_str_sub(rest, 3, rest.n);
        size_t end = 0;
        while (end < rest.n && rest.p[end] != '/' && rest.p[end] != '?')
            end++;
        if (e->authority.n == 0)
            e->authority = tg_str_sub(rest, 0, end);
        rest = tg_str_sub(rest, end, rest.n);
    }
    size_t mark = tg_str_find(rest, '?', 0);
    e->raw_path = mark > 0 ? tg_str_sub(rest, 0, mark) : TG_STR("/");
    e->has_query = mark < rest.n;
    e->query = tg_str_sub(rest, TG_MIN(mark + 1, rest.n), rest.n);
    if (e->authority.n > 0 && tg_uri_split_authority(e->authority, &e->host, &e->port) != TG_OK)
        return refuse(err, "not a host", e->authority.p, example);
    return TG_EXIT_OK;
}

static int read_client(struct explanation *e, FILE *err)
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
    const char *text = e->question->client != NULL ? e->question->client : "127.0.0.1";
    size_t size;
    if (tg_addr_parse_ip(tg_str_c(text), &e->client_addr) != TG_OK)
        return refuse(err, "not an address", text, "write --client 192.0.2.1");
    const unsigned char *bytes = tg_addr_ip_bytes(&e->client_addr, &size);
    memcpy(e->client, mapped, sizeof(mapped));
    memcpy(e->client + sizeof(e->client) - size, bytes, size);
    return TG_EXIT_OK;
}

static int read_request(struct explanation *e, FILE *err)
{
    if (!tg_str_is_token(tg_str_c(e->question->method)))
        return refuse(err, "not a method", e->question->method, "write GET, POST, …");
    int status = read_fields(e, err);
    if (status == TG_EXIT_OK)
        status = read_url(e, err);
    if (status == TG_EXIT_OK)
        status = read_client(e, err);
    e->sni = e->question->sni != NULL ? tg_str_c(e->question->sni) : TG_STR("");
    if (e->question->sni == NULL && tg_str_eq(e->scheme, TG_STR("https")))
        e->sni = e->host;
    return status;
}

/* As the first listener does it; where others differ, their paths with doubled slashes do. */
static int normalise(struct explanation *e, FILE *err)
{
    bool merge = e->snapshot->listeners[0].merge_slashes;
    if (tg_uri_normalise_path(e->raw_path, merge, &e->arena, &e->path) == TG_OK)
        return TG_EXIT_OK;
    return refuse(err, "the gateway answers 400 to this path", e->question->url,
                  "it has bad percent-encoding, or \"..\" above the root");
}

/* ---- Matching -------------------------------------------------------------------------------- */

static bool header_value(const struct explanation *e, struct tg_str name, unsigned nth,
                         struct tg_str *value)
{
    for (unsigned i = 0; i < e->field_count; i++) {
        if (tg_str_eq_nocase(e->fields[i].name, name) && nth-- == 0) {
            *value = e->fields[i].value;
            return true;
        }
    }
    if (!tg_str_eq(name, TG_STR("host")) || e->authority.n == 0 || nth > 0)
        return false;
    *value = e->authority;
    return true;
}

static bool query_value(struct explanation *e, struct tg_str name, unsigned nth,
                        struct tg_str *value)
{
    struct tg_str rest = e->query;
    struct tg_str key;
    struct tg_str encoded;
    while (tg_uri_next_param(&rest, &key, &encoded)) {
        if (!tg_str_eq(tg_uri_decode(key, true, &e->arena), name) || nth-- > 0)
            continue;
        *value = tg_uri_decode(encoded, true, &e->arena);
        return value->p != NULL;
    }
    return false;
}

static bool cookie_value(const struct explanation *e, struct tg_str name, unsigned nth,
                         struct tg_str *value)
{
    struct tg_str key;
    for (unsigned i = 0; i < e->field_count; i++) {
        struct tg_str rest = e->fields[i].value;
        if (!tg_str_eq_nocase(e->fields[i].name, TG_STR("cookie")))
            continue;
        while (tg_param_next_cookie(&rest, &key, value)) {
            if (tg_str_eq(key, name) && nth-- == 0)
                return true;
        }
    }
    return false;
}

/* tg_route_fetch */
static bool fetch(void *arg, enum tg_route_source source, struct tg_str name, unsigned nth,
                  struct tg_str *value)
{
    struct explanation *e = arg;
    switch (source) {
    case TG_ROUTE_HEADER:
        return header_value(e, name, nth, value);
    case TG_ROUTE_QUERY:
        return query_value(e, name, nth, value);
    case TG_ROUTE_COOKIE:
        return cookie_value(e, name, nth, value);
    case TG_ROUTE_NETWORK:
        *value = tg_str((const char *)e->client, sizeof(e->client));
        return nth == 0;
    case TG_ROUTE_SCHEME:
        *value = e->scheme;
        return nth == 0;
    case TG_ROUTE_SNI:
        *value = e->sni;
        return nth == 0 && e->sni.n > 0;
    case TG_ROUTE_SOURCES:
        break;
    }
    return false;
}

static struct tg_str keep(struct explanation *e, struct tg_str s)
{
    struct tg_str copy = tg_arena_copy(&e->arena, s);
    e->failed = e->failed || copy.p == NULL;
    return copy;
}

static void on_candidate(void *arg, const struct tg_route_candidate *candidate)
{
    struct explanation *e = arg;
    struct tg_route_candidate *copy = &e->candidates[e->candidate_count++];
    *copy = *candidate;
    copy->name = keep(e, candidate->name);
    copy->host = keep(e, candidate->host);
    copy->path = keep(e, candidate->path);
}

static enum tg_err match(struct explanation *e)
{
    const struct tg_route_query query = {.host = e->host,
                                         .port = tg_route_port(e->port, e->scheme),
                                         .path = e->path,
                                         .method = tg_str_c(e->question->method),
                                         .fetch = fetch,
                                         .arg = e};
    enum tg_route_verdict verdict = tg_route_match(e->snapshot->table, &query, &e->match);
    enum tg_err err = tg_route_explain(e->snapshot->table, &query, CANDIDATES_MAX, on_candidate, e,
                                       &e->verdict, &e->left_out);
    tg_assert(err != TG_OK || verdict == e->verdict);
    return err == TG_OK && e->failed ? TG_E_NOMEM : err;
}

/* What the winner makes of the request. */
static enum tg_err preview(struct explanation *e)
{
    if (e->verdict != TG_ROUTE_FOUND)
        return TG_OK;
    const struct tg_preview_request request = {
        .route = &e->snapshot->routes[(uintptr_t)e->match.handle],
        .match = &e->match,
        .scheme = e->scheme,
        .authority = e->authority,
        .path = e->path,
        .query = e->has_query ? e->query : tg_str(NULL, 0),
    };
    enum tg_err err = tg_preview(&request, &e->arena, &e->preview);
    e->refused = err == TG_E_INVALID;
    return e->refused ? TG_OK : err;
}

/* ---- Telling --------------------------------------------------------------------------------- */

static void set_str(lua_State *L, const char *name, struct tg_str value)
{
    lua_pushlstring(L, value.p != NULL ? value.p : "", value.n);
    lua_setfield(L, -2, name);
}

static void set_text(lua_State *L, const char *name, const char *value)
{
    lua_pushstring(L, value);
    lua_setfield(L, -2, name);
}

static void push_candidate(lua_State *L, const struct tg_route_candidate *candidate)
{
    static const char *const outcomes[] = {
        [TG_ROUTE_WINS] = "wins", [TG_ROUTE_LOSES] = "loses", [TG_ROUTE_FAILS] = "fails"};
    lua_createtable(L, 0, 8);
    lua_pushinteger(L, (lua_Integer)(uintptr_t)candidate->handle + 1);
    lua_setfield(L, -2, "route");
    lua_pushinteger(L, candidate->priority);
    lua_setfield(L, -2, "priority");
    set_text(L, "outcome", outcomes[candidate->outcome]);
    if (candidate->outcome == TG_ROUTE_LOSES)
        set_text(L, "criterion", tg_route_criterion_text(candidate->criterion));
    if (candidate->outcome == TG_ROUTE_FAILS)
        set_text(L, "check", tg_route_check_text(candidate->check));
    set_str(L, "name", candidate->name);
    set_str(L, "host", candidate->host);
    set_str(L, "path", candidate->path);
    lua_pushboolean(L, candidate->gave_up);
    lua_setfield(L, -2, "gave_up");
}

static void push_captures(lua_State *L, const struct explanation *e)
{
    lua_createtable(L, (int)e->match.capture_count, 0);
    for (unsigned i = 0; i < e->match.capture_count; i++) {
        lua_createtable(L, 0, 2);
        set_str(L, "name", e->match.captures[i].name);
        set_str(L, "value", e->match.captures[i].value);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "captures");
}

static void push_request(lua_State *L, const struct explanation *e)
{
    char room[TG_ADDR_TEXT_MAX];
    lua_createtable(L, 0, 9);
    set_text(L, "method", e->question->method);
    set_text(L, "url", e->question->url);
    set_str(L, "scheme", e->scheme);
    set_str(L, "host", e->host);
    if (e->port != 0) {
        lua_pushinteger(L, e->port);
        lua_setfield(L, -2, "port");
    }
    set_str(L, "raw_path", e->raw_path);
    set_str(L, "path", e->path);
    if (e->has_query)
        set_str(L, "query", e->query);
    set_str(L, "client", tg_addr_ip_text(&e->client_addr, room));
    if (e->sni.n > 0)
        set_str(L, "sni", e->sni);
    lua_setfield(L, -2, "request");
}

static void push_preview(lua_State *L, const struct explanation *e)
{
    const struct tg_preview *p = &e->preview;
    lua_createtable(L, (int)p->origin_count, 0);
    for (unsigned i = 0; i < p->origin_count && !e->refused; i++) {
        lua_createtable(L, 0, 3);
        set_str(L, "service", p->origins[i].service->name);
        set_text(L, "role", p->origins[i].role);
        set_str(L, "target", p->origins[i].target);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "origins");
    if (p->host.n > 0)
        set_str(L, "host", p->host);
    if (p->location.n > 0)
        set_str(L, "location", p->location);
    if (e->refused)
        set_text(L, "refused", "400");
}

static void push_allow(lua_State *L, const struct explanation *e)
{
    struct tg_fmt text;
    char room[2048];
    tg_fmt_init(&text, room, sizeof(room));
    tg_route_table_write_allow(e->snapshot->table, e->match.allow, &text);
    set_str(L, "allow", tg_fmt_str(&text));
}

static void fill(lua_State *L, void *arg)
{
    static const char *const verdicts[] = {[TG_ROUTE_FOUND] = "found",
                                           [TG_ROUTE_NOT_FOUND] = "not_found",
                                           [TG_ROUTE_WRONG_METHOD] = "wrong_method",
                                           [TG_ROUTE_UNDECIDED] = "undecided"};
    const struct explanation *e = arg;
    set_text(L, "path", e->question->path);
    lua_pushboolean(L, e->question->json);
    lua_setfield(L, -2, "json");
    set_text(L, "verdict", verdicts[e->verdict]);
    if (e->verdict == TG_ROUTE_WRONG_METHOD)
        push_allow(L, e);
    push_request(L, e);
    push_captures(L, e);
    push_preview(L, e);
    lua_createtable(L, (int)e->candidate_count, 0);
    for (unsigned i = 0; i < e->candidate_count; i++) {
        push_candidate(L, &e->candidates[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "candidates");
    lua_pushnumber(L, (lua_Number)e->left_out);
    lua_setfield(L, -2, "left_out");
}

static int tell(struct explanation *e, FILE *out, FILE *err)
{
    const struct tg_inspect question = {"explain", e->question->path, fill, e};
    enum tg_err matched = match(e);
    if (matched == TG_OK)
        matched = preview(e);
    if (matched == TG_OK)
        return tg_inspect(&question, out, err);
    fprintf(err, "tidegate routes: %s\n", tg_err_text(matched));
    return TG_EXIT_SYSTEM;
}

int tg_explain(const struct tg_explain *question, FILE *out, FILE *err)
{
    struct explanation *e = tg_mem_zalloc(TG_MEM_OTHER, 1, sizeof(*e));
    if (e == NULL) {
        fprintf(err, "tidegate routes: %s\n", tg_err_text(TG_E_NOMEM));
        return TG_EXIT_SYSTEM;
    }
    e->question = question;
    e->slab = tg_slab_new(TG_MEM_OTHER, 0);
    tg_arena_init(&e->arena, e->slab, ARENA_MAX);
    int status = e->slab != NULL ? read_request(e, err) : TG_EXIT_SYSTEM;
    if (status == TG_EXIT_OK && tg_config_load(question->path, err, &e->snapshot) != TG_OK)
        status = TG_EXIT_CONFIG;
    if (status == TG_EXIT_OK) {
        status = normalise(e, err);
        if (status == TG_EXIT_OK)
            status = tell(e, out, err);
        tg_snapshot_unref(&e->snapshot);
    }
    tg_arena_release(&e->arena);
    tg_slab_free(&e->slab);
    tg_mem_free(TG_MEM_OTHER, e);
    return status;
}
