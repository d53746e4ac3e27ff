/* routing.c: the request's side of conditions; see routing.h. When memory is out while a list is
 * made, the list stays empty and the lookup's result does not count.
 */
#include "base/banned.h"
#include "gateway/routing.h"

#include "config/snapshot.h"
#include "gateway/param.h"
#include "http/uri.h"
#include "net/tls_conn.h"

struct pair {
    struct tg_str name;
    struct tg_str value;
};

struct pairs {
    struct pair *v;
    size_t n;
    bool made;
};

struct facts {
    struct tg_request *r;
    struct pairs query;
    struct pairs cookies;
    const struct tg_field *field; /* the header value told last */
    unsigned char address[16];
    bool failed; /* memory is out */
};

/* Room for one pair more than `text` has separators. */
static bool make_room(struct facts *f, struct pairs *pairs, struct tg_str text, char separator)
{
    size_t count = 1;
    for (size_t at = tg_str_find(text, separator, 0); at < text.n;
         at = tg_str_find(text, separator, at + 1))
        count++;
    struct pair *v = tg_arena_alloc(&f->r->arena, (pairs->n + count) * sizeof(*v));
    if (v == NULL) {
        f->failed = true;
        return false;
    }
    if (pairs->n > 0)
        memcpy(v, pairs->v, pairs->n * sizeof(*v));
    pairs->v = v;
    return true;
}

static void read_query(struct facts *f)
{
    struct tg_str rest = f->r->in.query;
    struct tg_str name, value;
    if (rest.p == NULL || !make_room(f, &f->query, rest, '&'))
        return;
    while (tg_uri_next_param(&rest, &name, &value)) {
        struct pair pair = {tg_param_decode(f->r, name), tg_param_decode(f->r, value)};
        f->failed |= pair.name.p == NULL || pair.value.p == NULL;
        f->query.v[f->query.n++] = pair;
    }
}

static void read_cookies(struct facts *f)
{
    const struct tg_field *field = NULL;
    while ((field = tg_fields_next(&f->r->in.fields, TG_STR("cookie"), field)) != NULL) {
        struct tg_str rest = field->value;
        struct pair pair;
        if (!make_room(f, &f->cookies, rest, ';'))
            return;
        while (tg_param_next_cookie(&rest, &pair.name, &pair.value))
            f->cookies.v[f->cookies.n++] = pair;
    }
}

/* The first value of `name`, whose list is made by `read` where it is not yet. */
static bool find_pair(struct facts *f, struct pairs *pairs, void (*read)(struct facts *f),
                      struct tg_str name, struct tg_str *value)
{
    if (!pairs->made)
        read(f);
    pairs->made = true;
    for (size_t i = 0; i < pairs->n && !f->failed; i++) {
        if (!tg_str_eq(pairs->v[i].name, name))
            continue;
        *value = pairs->v[i].value;
        return true;
    }
    return false;
}

/* Values are asked for one after the other. */
static bool find_field(struct facts *f, struct tg_str name, unsigned nth, struct tg_str *value)
{
    f->field = tg_fields_next(&f->r->in.fields, name, nth > 0 ? f->field : NULL);
    if (f->field == NULL)
        return false;
    *value = f->field->value;
    return true;
}

/* IPv4 as ::ffff:a.b.c.d. */
static bool find_address(struct facts *f, struct tg_str *value)
{
    size_t size;
    const unsigned char *bytes = tg_addr_ip_bytes(&f->r->client, &size);
    if (f->r->client.len == 0 || size > sizeof(f->address))
        return false;
    memset(f->address, 0, sizeof(f->address));
    f->address[10] = f->address[11] = 0xff;
    memcpy(f->address + sizeof(f->address) - size, bytes, size);
    *value = tg_str((const char *)f->address, sizeof(f->address));
    return true;
}

static bool fetch(void *arg, enum tg_route_source source, struct tg_str name, unsigned nth,
                  struct tg_str *value)
{
    struct facts *f = arg;
    switch (source) {
    case TG_ROUTE_HEADER:
        return find_field(f, name, nth, value);
    case TG_ROUTE_QUERY:
        return nth == 0 && find_pair(f, &f->query, read_query, name, value);
    case TG_ROUTE_COOKIE:
        return nth == 0 && find_pair(f, &f->cookies, read_cookies, name, value);
    case TG_ROUTE_NETWORK:
        return nth == 0 && find_address(f, value);
    case TG_ROUTE_SCHEME:
        *value = f->r->scheme;
        return nth == 0;
    case TG_ROUTE_SNI:
        if (f->r->tls == NULL || f->r->tls->sni.p == NULL)
            return false;
        *value = f->r->tls->sni;
        return nth == 0;
    case TG_ROUTE_SOURCES:
        break;
    }
    return false;
}

enum tg_err tg_routing_match(struct tg_request *r, enum tg_route_verdict *verdict,
                             struct tg_route_match *match)
{
    struct facts facts;
    struct tg_route_query query = {.host = r->in.host,
                                   .port = tg_route_port(r->in.port, r->scheme),
                                   .path = r->in.path,
                                   .method = r->in.method_name,
                                   .fetch = fetch,
                                   .arg = &facts};
    facts.r = r;
    facts.query = facts.cookies = (struct pairs){NULL, 0, false};
    facts.failed = false;
    *verdict = tg_route_match(r->snapshot->table, &query, match);
    return facts.failed ? TG_E_NOMEM : TG_OK;
}
