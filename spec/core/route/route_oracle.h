/* route_oracle.h: the route table's rules as a linear scan, and random tables to compare on.
 *
 * The oracle keeps routes as they were declared and, for each request, looks at every one: does it
 * match, and does it win against the best so far. It shares no code with core/route and works on
 * segments where that works on bytes, so an error would have to be made twice. Patterns come from
 * small lists, so that random routes meet often.
 */
#ifndef ROUTE_ORACLE_H
#define ROUTE_ORACLE_H

#include "oracle_conditions.h"
#include "route/explain.h"

#include <stdio.h>
#include <stdlib.h>

#define ORACLE_ROUTES   24
#define ORACLE_LIST     3
#define ORACLE_SEGMENTS 8

struct oracle_host {
    const char *text;
    int kind; /* 0 exact, 1 wildcard, 2 any */
    const char *name;
    int port;
};

static const struct oracle_host oracle_hosts[] = {
    {"a.test", 0, "a.test", 0},
    {"b.a.test", 0, "b.a.test", 0},
    {"a.test:81", 0, "a.test", 81},
    {"*.test", 1, "test", 0},
    {"*.a.test", 1, "a.test", 0},
    {"*.A.test.:81", 1, "a.test", 81},
    {"*", 2, "", 0},
    {"*:81", 2, "", 81},
    {"test", 0, "test", 0},
    {"*.b.a.test", 1, "b.a.test", 0},
};

/* Parameters in their order of precedence; `set` lists the bytes, NULL stands for all. */
struct oracle_param {
    const char *text;
    const char *set;
};

static const struct oracle_param oracle_params[] = {
    {"{%s:[a-c]+}", "abc"},
    {"{%s:[b-d]+}", "bcd"},
    {"{%s:int}", "0123456789"},
    {"{%s:[^/a]+}", "bcdefg0123456789"}, /* of the bytes that occur here */
    {"{%s}", NULL},
};

/* Expressions behind literal segments, in their order of precedence. */
static const char *const oracle_regexes[] = {"(?<t>.*)b$", "[0-9]+$", "(a|b)"};

static const char *const oracle_words[] = {"a", "b", "ab", "abc", "d", "12", "1a"};
static const char *const oracle_methods[] = {"GET", "POST", "HEAD", "PURGE", "LINK"};

enum oracle_kind { ORACLE_TEXT, ORACLE_PARAM, ORACLE_REST, ORACLE_PREFIX, ORACLE_REGEX };

struct oracle_segment {
    enum oracle_kind kind;
    unsigned index; /* into oracle_words, _params or _regexes; 99: the empty word */
};

struct oracle_path {
    struct oracle_segment segment[ORACLE_SEGMENTS];
    unsigned n;
    char text[256];
};

struct oracle_route {
    char name[8];
    int priority;
    unsigned hosts[ORACLE_LIST], host_count;
    struct oracle_path paths[ORACLE_LIST];
    unsigned path_count;
    unsigned methods; /* bits into oracle_methods; 0: any */
    struct oracle_conditions conditions;
};

struct oracle {
    struct oracle_route route[ORACLE_ROUTES];
    unsigned count;
};

static inline const char *oracle_word(unsigned index)
{
    return index == 99 ? "" : oracle_words[index];
}

/* ---- Making tables ------------------------------------------------------------------------- */

static inline void oracle_make_segment(const struct oracle_source *s, struct oracle_path *p,
                                       bool last)
{
    struct oracle_segment *seg = &p->segment[p->n];
    size_t at = strlen(p->text);
    bool literal = true;
    for (unsigned i = 0; i < p->n; i++)
        literal &= p->segment[i].kind == ORACLE_TEXT;
    unsigned choice = oracle_pick(s, last ? 14u + 2u * literal : 10u);
    char name[16];
    snprintf(name, sizeof(name), "p%u", p->n);
    seg->kind = choice < 6 ? ORACLE_TEXT : choice < 10 ? ORACLE_PARAM : ORACLE_PREFIX;
    if (choice >= 12)
        seg->kind = choice >= 14 ? ORACLE_REGEX : ORACLE_REST;
    p->n++;
    p->text[at++] = '/';
    if (seg->kind == ORACLE_TEXT) {
        seg->index = oracle_pick(s, 8) == 0 ? 99 : oracle_pick(s, TG_COUNT_OF(oracle_words));
        snprintf(p->text + at, sizeof(p->text) - at, "%s", oracle_word(seg->index));
    } else if (seg->kind == ORACLE_REGEX) {
        seg->index = oracle_pick(s, TG_COUNT_OF(oracle_regexes));
        memmove(p->text + 2, p->text, at);
        memcpy(p->text, "~^", 2);
        at += 2;
        snprintf(p->text + at, sizeof(p->text) - at, "%s", oracle_regexes[seg->index]);
    } else if (seg->kind == ORACLE_PREFIX) {
        snprintf(p->text + at, sizeof(p->text) - at, "*");
    } else if (seg->kind == ORACLE_REST) {
        snprintf(p->text + at, sizeof(p->text) - at, "{%s...}", name);
    } else {
        seg->index = oracle_pick(s, TG_COUNT_OF(oracle_params));
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(p->text + at, sizeof(p->text) - at, oracle_params[seg->index].text, name);
#pragma GCC diagnostic pop
    }
}

static inline void oracle_make_path(const struct oracle_source *s, struct oracle_path *p)
{
    unsigned n = 1 + oracle_pick(s, 3);
    p->n = 0;
    p->text[0] = '\0';
    while (p->n < n)
        oracle_make_segment(s, p, p->n + 1 == n);
}

static inline void oracle_make(const struct oracle_source *s, struct oracle *o)
{
    o->count = 1 + oracle_pick(s, ORACLE_ROUTES);
    for (unsigned i = 0; i < o->count; i++) {
        struct oracle_route *r = &o->route[i];
        snprintf(r->name, sizeof(r->name), "r%03u", (i * 7 + 3) % 1000); /* not in order */
        r->priority = oracle_pick(s, 6) == 0 ? (int)oracle_pick(s, 3) - 1 : 0;
        r->host_count = oracle_pick(s, ORACLE_LIST + 1);
        for (unsigned h = 0; h < r->host_count; h++)
            r->hosts[h] = oracle_pick(s, TG_COUNT_OF(oracle_hosts));
        r->path_count = oracle_pick(s, ORACLE_LIST + 1);
        for (unsigned p = 0; p < r->path_count; p++)
            oracle_make_path(s, &r->paths[p]);
        r->methods = oracle_pick(s, 2) == 0 ? 0 : oracle_pick(s, 32);
        oracle_make_conditions(s, &r->conditions);
    }
}

/* Adds the routes to `b`; false when the builder refuses one. */
static inline bool oracle_add_to(const struct oracle *o, struct tg_route_builder *b)
{
    for (unsigned i = 0; i < o->count; i++) {
        const struct oracle_route *r = &o->route[i];
        struct tg_str hosts[ORACLE_LIST], paths[ORACLE_LIST], methods[8];
        size_t method_count = 0;
        struct oracle_spec_room room;
        struct tg_route_refusal refusal;
        for (unsigned h = 0; h < r->host_count; h++)
            hosts[h] = tg_str_c(oracle_hosts[r->hosts[h]].text);
        for (unsigned p = 0; p < r->path_count; p++)
            paths[p] = tg_str_c(r->paths[p].text);
        for (unsigned m = 0; m < TG_COUNT_OF(oracle_methods); m++) {
            if ((r->methods >> m & 1) != 0)
                methods[method_count++] = tg_str_c(oracle_methods[m]);
        }
        struct tg_route_spec spec = {.name = tg_str_c(r->name),
                                     .priority = r->priority,
                                     .handle = (void *)(uintptr_t)(i + 1),
                                     .hosts = hosts,
                                     .host_count = r->host_count,
                                     .paths = paths,
                                     .path_count = r->path_count,
                                     .methods = methods,
                                     .method_count = method_count};
        oracle_spec_conditions(&r->conditions, &room, &spec);
        if (tg_route_builder_add(b, &spec, &refusal) != TG_OK)
            return false;
    }
    return true;
}

/* ---- Matching ------------------------------------------------------------------------------ */

static const struct oracle_host oracle_any_host = {"*", 2, "", 0};
static const struct oracle_path oracle_any_path = {.segment = {{ORACLE_PREFIX, 0}}, .n = 1};

struct oracle_request {
    char host[32]; /* lower case */
    int port;
    char path[128];
    unsigned method;
    struct oracle_facts facts;
};

/* One way in which a route matches. */
struct oracle_hit {
    const struct oracle_route *route;
    const struct oracle_host *host;
    const struct oracle_path *path;
    unsigned method_class; /* 0 named, 1 HEAD on behalf of GET, 2 any */
};

static inline bool oracle_host_fits(const struct oracle_host *h, const struct oracle_request *q)
{
    size_t n = strlen(h->name), have = strlen(q->host);
    if (h->port != 0 && h->port != q->port)
        return false;
    if (h->kind == 0)
        return strcmp(h->name, q->host) == 0;
    if (h->kind == 2)
        return true;
    return have > n && strcmp(q->host + have - n, h->name) == 0 && q->host[have - n - 1] == '.';
}

/* Does the expression match all that is left of the path? */
static inline bool oracle_regex_fits(unsigned index, const char *rest)
{
    if (index == 0)
        return rest[0] != '\0' && rest[strlen(rest) - 1] == 'b';
    if (index == 1)
        return rest[0] != '\0' && strspn(rest, "0123456789") == strlen(rest);
    return rest[0] == 'a' || rest[0] == 'b';
}

/* Does the pattern from segment `i` on match `path`, which is "" or begins with a slash? */
static inline bool oracle_path_fits(const struct oracle_path *p, unsigned i, const char *path)
{
    if (i < p->n && p->segment[i].kind == ORACLE_PREFIX)
        return true;
    if (i == p->n || *path != '/')
        return i == p->n && *path == '\0';
    if (p->segment[i].kind == ORACLE_REST)
        return true;
    if (p->segment[i].kind == ORACLE_REGEX)
        return oracle_regex_fits(p->segment[i].index, path + 1);
    size_t n = strcspn(path + 1, "/");
    if (p->segment[i].kind == ORACLE_TEXT) {
        const char *word = oracle_word(p->segment[i].index);
        if (strlen(word) != n || strncmp(word, path + 1, n) != 0)
            return false;
    } else {
        const char *set = oracle_params[p->segment[i].index].set;
        if (n == 0 || (set != NULL && strspn(path + 1, set) < n))
            return false;
    }
    return oracle_path_fits(p, i + 1, path + 1 + n);
}

static inline int oracle_compare_hosts(const struct oracle_host *a, const struct oracle_host *b)
{
    if (a->kind != b->kind)
        return a->kind - b->kind;
    if (strlen(a->name) != strlen(b->name))
        return strlen(a->name) > strlen(b->name) ? -1 : 1;
    return (a->port == 0) - (b->port == 0);
}

/* Place of segment `i` in the order of precedence. An empty segment before a prefix, as in the
 * pattern "//" with a star, says no more than "another slash": less than any rest, more than the
 * shorter prefix. */
static inline int oracle_rank(const struct oracle_path *p, unsigned i)
{
    const struct oracle_segment *s = &p->segment[i];
    bool free = s->kind == ORACLE_PARAM && oracle_params[s->index].set == NULL;
    static const int ranks[] = {[ORACLE_TEXT] = 0,
                                [ORACLE_PARAM] = 10,
                                [ORACLE_REGEX] = 20,
                                [ORACLE_REST] = 40,
                                [ORACLE_PREFIX] = 50};
    if (s->kind == ORACLE_TEXT && s->index == 99 && i + 1 < p->n && s[1].kind == ORACLE_PREFIX)
        return 41;
    if (s->kind == ORACLE_PARAM || s->kind == ORACLE_REGEX)
        return free ? 30 : ranks[s->kind] + (int)s->index;
    return ranks[s->kind];
}

/* For patterns that match the same path: the first segment in which they differ decides. */
static inline int oracle_compare_paths(const struct oracle_path *a, const struct oracle_path *b)
{
    for (unsigned i = 0; i < a->n || i < b->n; i++) {
        if (i == a->n || i == b->n)
            return i == a->n ? -1 : 1;
        if (oracle_rank(a, i) != oracle_rank(b, i))
            return oracle_rank(a, i) - oracle_rank(b, i);
    }
    return 0;
}

static inline int oracle_compare(const struct oracle_hit *a, const struct oracle_hit *b)
{
    int order = b->route->priority - a->route->priority;
    if (order == 0)
        order = oracle_compare_hosts(a->host, b->host);
    if (order == 0)
        order = oracle_compare_paths(a->path, b->path);
    if (order == 0)
        order = (int)a->method_class - (int)b->method_class;
    if (order == 0)
        order = oracle_compare_conditions(&a->route->conditions, &b->route->conditions);
    if (order == 0)
        order = __builtin_popcount(a->route->methods) - __builtin_popcount(b->route->methods);
    return order != 0 ? order : strcmp(a->route->name, b->route->name);
}

struct oracle_answer {
    enum tg_route_verdict verdict;
    struct oracle_hit hit;
    unsigned allow; /* bits into oracle_methods */
};

static inline void oracle_offer(struct oracle_answer *answer, struct oracle_hit hit,
                                const struct oracle_request *q)
{
    unsigned methods = hit.route->methods, bit = 1u << q->method;
    unsigned head = (methods & 1) != 0 && (methods & 4) == 0 ? 4 : 0;
    if (methods != 0 && ((methods | head) & bit) == 0) {
        answer->allow |= methods | head;
        return;
    }
    hit.method_class = methods == 0 ? 2 : (methods & bit) == 0;
    if (answer->verdict != TG_ROUTE_FOUND || oracle_compare(&hit, &answer->hit) < 0)
        answer->hit = hit;
    answer->verdict = TG_ROUTE_FOUND;
}

static inline struct oracle_answer oracle_match(const struct oracle *o,
                                                const struct oracle_request *q)
{
    struct oracle_answer answer = {.verdict = TG_ROUTE_NOT_FOUND};
    for (unsigned i = 0; i < o->count; i++) {
        const struct oracle_route *r = &o->route[i];
        if (!oracle_conditions_hold(&r->conditions, &q->facts))
            continue;
        for (unsigned h = 0; h < TG_MAX(r->host_count, 1u); h++) {
            const struct oracle_host *host =
                r->host_count > 0 ? &oracle_hosts[r->hosts[h]] : &oracle_any_host;
            for (unsigned p = 0; p < TG_MAX(r->path_count, 1u); p++) {
                const struct oracle_path *path =
                    r->path_count > 0 ? &r->paths[p] : &oracle_any_path;
                if (oracle_host_fits(host, q) && oracle_path_fits(path, 0, q->path))
                    oracle_offer(&answer, (struct oracle_hit){r, host, path, 0}, q);
            }
        }
    }
    if (answer.verdict != TG_ROUTE_FOUND && answer.allow != 0)
        answer.verdict = TG_ROUTE_WRONG_METHOD;
    return answer;
}

static inline void oracle_make_request(const struct oracle_source *s, struct oracle_request *q)
{
    static const char *const hosts[] = {"a.test",  "b.a.test", "c.b.a.test", "x.test",
                                        "test",    "y.a.test", "other",      "",
                                        "xa.test", "a.test.x", "b.a.testt"};
    static const int ports[] = {0, 80, 81};
    unsigned n = 1 + oracle_pick(s, 4);
    snprintf(q->host, sizeof(q->host), "%s", hosts[oracle_pick(s, TG_COUNT_OF(hosts))]);
    q->port = ports[oracle_pick(s, TG_COUNT_OF(ports))];
    q->method = oracle_pick(s, TG_COUNT_OF(oracle_methods));
    oracle_make_facts(s, &q->facts);
    q->path[0] = '\0';
    for (unsigned i = 0; i < n; i++) {
        size_t at = strlen(q->path);
        bool empty = oracle_pick(s, 8) == 0;
        snprintf(q->path + at, sizeof(q->path) - at, "/%s",
                 empty ? "" : oracle_words[oracle_pick(s, TG_COUNT_OF(oracle_words))]);
    }
}

/* ---- Comparing ----------------------------------------------------------------------------- */

/* Is the only capture, where the expression has one, the first `n` bytes of `rest`? */
static inline bool oracle_group_agrees(unsigned index, const char *rest,
                                       const struct tg_route_match *match)
{
    const struct tg_route_capture *c = &match->captures[0];
    size_t n = index == 0 ? strlen(rest) - 1 : 1;
    if (index == 1)
        return match->capture_count == 0;
    return match->capture_count == 1 && tg_str_eq(c->name, tg_str_c(index == 0 ? "t" : "1")) &&
           c->value.p == rest && c->value.n == n;
}

/* Is the value of each capture what its segment of the path says? */
static inline bool oracle_captures_agree(const struct oracle_path *p, const char *path,
                                         const struct tg_route_match *match)
{
    unsigned taken = 0;
    for (unsigned i = 0; i < p->n && p->segment[i].kind != ORACLE_PREFIX; i++) {
        enum oracle_kind kind = p->segment[i].kind;
        size_t n = kind == ORACLE_REST ? strlen(path + 1) : strcspn(path + 1, "/");
        char name[16];
        snprintf(name, sizeof(name), "p%u", i);
        if (kind == ORACLE_REGEX)
            return oracle_group_agrees(p->segment[i].index, path + 1, match);
        if (kind != ORACLE_TEXT) {
            const struct tg_route_capture *c = &match->captures[taken++];
            if (taken > match->capture_count || !tg_str_eq(c->name, tg_str_c(name)) ||
                c->value.p != path + 1 || c->value.n != n)
                return false;
        }
        path += 1 + n;
    }
    return taken == match->capture_count;
}

/* Looks `q` up in both; false when they differ in anything. */
static inline bool oracle_agrees(const struct oracle *o, const struct tg_route_table *table,
                                 const struct oracle_request *q)
{
    struct oracle_answer answer = oracle_match(o, q);
    struct tg_route_query query = {.host = tg_str_c(q->host),
                                   .port = (uint16_t)q->port,
                                   .path = tg_str_c(q->path),
                                   .method = tg_str_c(oracle_methods[q->method]),
                                   .fetch = oracle_fetch,
                                   .arg = (void *)(uintptr_t)&q->facts};
    struct tg_route_match match;
    char room[256], want[256] = "";
    struct tg_fmt allow;
    static const unsigned order[] = {0, 2, 1}; /* as the table lists the standard methods */
    if (tg_route_match(table, &query, &match) != answer.verdict)
        return false;
    if (answer.verdict == TG_ROUTE_FOUND)
        return match.handle == (void *)(uintptr_t)(answer.hit.route - o->route + 1) &&
               oracle_captures_agree(answer.hit.path, q->path, &match);
    tg_fmt_init(&allow, room, sizeof(room));
    tg_route_table_write_allow(table, match.allow, &allow);
    for (unsigned i = 0; i < 3; i++) {
        size_t at = strlen(want);
        if ((answer.allow >> order[i] & 1) != 0)
            snprintf(want + at, sizeof(want) - at, "%s%s", at > 0 ? ", " : "",
                     oracle_methods[order[i]]);
    }
    if (allow.failed)
        return false;
    for (unsigned i = 3; i < 5; i++) { /* extension methods stand in the order of their arrival */
        bool has = memmem(allow.p, allow.n, oracle_methods[i], strlen(oracle_methods[i])) != NULL;
        if (has != ((answer.allow >> i & 1) != 0))
            return false;
    }
    return tg_str_starts(tg_str(room, allow.n), tg_str_c(want));
}

struct oracle_told {
    void *winner;
    unsigned count;
};

static inline void oracle_note(void *arg, const struct tg_route_candidate *candidate)
{
    struct oracle_told *told = arg;
    told->count++;
    if (candidate->outcome == TG_ROUTE_WINS)
        told->winner = candidate->handle;
}

/* Is every route told of, and the winner the oracle's? */
static inline bool oracle_explains(const struct oracle *o, const struct tg_route_table *table,
                                   const struct oracle_request *q)
{
    struct oracle_answer answer = oracle_match(o, q);
    struct tg_route_query query = {.host = tg_str_c(q->host),
                                   .port = (uint16_t)q->port,
                                   .path = tg_str_c(q->path),
                                   .method = tg_str_c(oracle_methods[q->method]),
                                   .fetch = oracle_fetch,
                                   .arg = (void *)(uintptr_t)&q->facts};
    struct oracle_told told = {NULL, 0};
    enum tg_route_verdict verdict;
    size_t left_out;
    void *winner = answer.verdict == TG_ROUTE_FOUND
                       ? (void *)(uintptr_t)(answer.hit.route - o->route + 1)
                       : NULL;
    return tg_route_explain(table, &query, ORACLE_ROUTES, oracle_note, &told, &verdict,
                            &left_out) == TG_OK &&
           verdict == answer.verdict && told.winner == winner && told.count == o->count;
}

/* Do two routes name the same match with the same priority? */
static inline bool oracle_routes_conflict(const struct oracle_route *a,
                                          const struct oracle_route *b)
{
    bool host = a->host_count == 0 && b->host_count == 0;
    bool path = a->path_count == 0 && b->path_count == 0;
    for (unsigned i = 0; i < TG_MAX(a->host_count, 1u); i++) {
        for (unsigned j = 0; j < TG_MAX(b->host_count, 1u); j++) {
            const struct oracle_host *x =
                a->host_count > 0 ? &oracle_hosts[a->hosts[i]] : &oracle_any_host;
            const struct oracle_host *y =
                b->host_count > 0 ? &oracle_hosts[b->hosts[j]] : &oracle_any_host;
            host |= x->kind == y->kind && x->port == y->port && strcmp(x->name, y->name) == 0;
        }
    }
    for (unsigned i = 0; i < TG_MAX(a->path_count, 1u); i++) {
        for (unsigned j = 0; j < TG_MAX(b->path_count, 1u); j++) {
            const struct oracle_path *x = a->path_count > 0 ? &a->paths[i] : &oracle_any_path;
            const struct oracle_path *y = b->path_count > 0 ? &b->paths[j] : &oracle_any_path;
            bool same = x->n == y->n && oracle_compare_paths(x, y) == 0;
            for (unsigned k = 0; same && k < x->n; k++)
                same =
                    x->segment[k].kind != ORACLE_TEXT || x->segment[k].index == y->segment[k].index;
            path |= same;
        }
    }
    return host && path && a->priority == b->priority && a->methods == b->methods &&
           oracle_conditions_equal(&a->conditions, &b->conditions);
}

static inline bool oracle_has_conflict(const struct oracle *o)
{
    for (unsigned i = 0; i < o->count; i++) {
        for (unsigned j = 0; j < i; j++) {
            if (oracle_routes_conflict(&o->route[i], &o->route[j]))
                return true;
        }
    }
    return false;
}

#endif
