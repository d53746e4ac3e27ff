/* forward.c: the head that goes to the origin, and what proxies in front of us say of the client.
 *
 * One function, emit_fields(), decides what is sent. It writes text when nobody edits the request,
 * which is the common case, and a list when a plugin wants to see or change it; the text of the
 * list is then what goes out.
 *
 * Not forwarded: fields of the connection and those that Connection names (RFC 9110, 7.6.1), Host
 * and framing (written anew), and the client's own X-Forwarded-*, Forwarded unless it is trusted.
 * Added: Via (RFC 9110, 7.6.3), X-Forwarded-For/-Proto/-Host/-Port, Forwarded (RFC 7239). */
#include "base/banned.h"
#include "gateway/grpc.h"
#include "gateway/internal.h"

#include "http/h1_write.h"
#include "http/head.h"
#include "http/uri.h"

/* Where fields go: text or list. */
struct out {
    struct tg_fmt *text; /* NULL: the list */
    struct tg_fields *list;
    struct tg_arena *arena; /* for values that are put together, when they go to the list */
    struct tg_fmt value;    /* between begin() and end() */
    struct tg_str name;
    enum tg_field_id id;
    bool is_copy; /* nobody waits for an answer to Expect */
    bool failed;
};

/* A field of our own, of the known name `id`. */
static void emit(struct out *out, enum tg_field_id id, struct tg_str name, struct tg_str value)
{
    if (out->text != NULL && value.p != NULL)
        tg_h1_write_field(out->text, name, value);
    else if (value.p == NULL || tg_fields_add_as(out->list, id, name, value) != TG_OK)
        out->failed = true;
}

/* A field of the client's, as it is. */
static void emit_field(struct out *out, const struct tg_field *field)
{
    if (out->text != NULL)
        tg_h1_write_field(out->text, field->name, field->value);
    else if (tg_fields_add_field(out->list, field) != TG_OK)
        out->failed = true;
}

/* Begins a field whose value is written piece by piece to what this returns; end() completes it. */
static struct tg_fmt *begin(struct out *out, enum tg_field_id id, struct tg_str name)
{
    out->id = id;
    out->name = name;
    if (out->text == NULL) {
        tg_fmt_init_arena(&out->value, out->arena, 64);
        return &out->value;
    }
    tg_fmt_add(out->text, name);
    tg_fmt_lit(out->text, ": ");
    return out->text;
}

static void end(struct out *out)
{
    if (out->text != NULL)
        tg_fmt_lit(out->text, "\r\n");
    else
        emit(out, out->id, out->name, tg_fmt_str(&out->value));
}

struct tg_str tg_forward_host(const struct tg_request *r)
{
    if (r->out.host.p != NULL)
        return r->out.host;
    if (r->route != NULL && r->route->preserve_host && r->in.authority.n > 0)
        return r->in.authority;
    if (r->try.balance != NULL)
        return tg_balance_target_at(r->try.balance, r->target)->host;
    if (r->service != NULL && r->service->target_count > 0)
        return r->service->targets[0].host;
    return r->in.authority.n > 0 ? r->in.authority : TG_STR("localhost");
}

static bool is_forwarded(enum tg_field_id id)
{
    return id == TG_FIELD_X_FORWARDED_FOR || id == TG_FIELD_X_FORWARDED_PROTO ||
           id == TG_FIELD_X_FORWARDED_HOST || id == TG_FIELD_X_FORWARDED_PORT ||
           id == TG_FIELD_FORWARDED;
}

bool tg_forward_names_fields(const struct tg_fields *fields)
{
    if (tg_fields_find_id(fields, TG_FIELD_CONNECTION) == NULL)
        return false;
    for (uint32_t i = 0; i < fields->n; i++) {
        struct tg_str list = fields->v[i].value;
        struct tg_str item;
        if (fields->v[i].id != TG_FIELD_CONNECTION)
            continue;
        while (tg_str_next_item(&list, &item)) {
            if (!tg_str_eq_nocase(item, TG_STR("close")) &&
                !tg_str_eq_nocase(item, TG_STR("keep-alive")))
                return true;
        }
    }
    return false;
}

static bool is_dropped(const struct tg_request *r, const struct tg_field *field, bool named)
{
    if (tg_field_is_hop(field->id) || is_forwarded(field->id))
        return true;
    switch (field->id) {
    case TG_FIELD_HOST:
    case TG_FIELD_CONTENT_LENGTH:
        return true;
    case TG_FIELD_EXPECT:
        return !r->in.expect_continue || r->continue_sent;
    case TG_FIELD_MAX_FORWARDS:
        return r->in.method == TG_METHOD_TRACE || r->in.method == TG_METHOD_OPTIONS;
    default:
        return named && tg_fields_list_has(&r->in.fields, TG_FIELD_CONNECTION, field->name);
    }
}

/* `old` and `more` as one list; `old` may be empty. */
static struct tg_str joined(struct tg_request *r, struct tg_str old, struct tg_str more)
{
    struct tg_fmt f;
    if (old.n == 0)
        return more;
    tg_fmt_init_arena(&f, &r->arena, old.n + more.n + 2);
    tg_fmt_add(&f, old);
    tg_fmt_lit(&f, ", ");
    tg_fmt_add(&f, more);
    return tg_fmt_str(&f);
}

/* All lines of the field as one list, when a trusted proxy sent it; else empty. */
static struct tg_str trusted_list(struct tg_request *r, enum tg_field_id id)
{
    struct tg_str all = TG_STR("");
    if (!r->trusted)
        return all;
    for (uint32_t i = 0; i < r->in.fields.n; i++) {
        if (r->in.fields.v[i].id == id && r->in.fields.v[i].value.n > 0)
            all = joined(r, all, r->in.fields.v[i].value);
    }
    return all;
}

/* A value of a Forwarded parameter: quoted where it is no token (RFC 7239, 4). */
static void forwarded_value(struct tg_fmt *f, struct tg_str value)
{
    if (tg_str_is_token(value)) {
        tg_fmt_add(f, value);
        return;
    }
    tg_fmt_char(f, '"');
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] == '"' || value.p[i] == '\\')
            tg_fmt_char(f, '\\');
        tg_fmt_char(f, value.p[i]);
    }
    tg_fmt_char(f, '"');
}

static void add_list(struct tg_fmt *f, struct tg_str list)
{
    tg_fmt_add(f, list);
    if (list.n > 0)
        tg_fmt_lit(f, ", ");
}

static void emit_forwarded(struct tg_request *r, struct out *out, struct tg_str peer)
{
    bool v6 = r->peer.u.any.sa_family == AF_INET6;
    struct tg_fmt *f = begin(out, TG_FIELD_FORWARDED, TG_STR("Forwarded"));
    add_list(f, trusted_list(r, TG_FIELD_FORWARDED));
    tg_fmt_lit(f, "for=");
    tg_fmt_add(f, v6 ? TG_STR("\"[") : TG_STR(""));
    tg_fmt_add(f, peer);
    tg_fmt_add(f, v6 ? TG_STR("]\"") : TG_STR(""));
    if (r->in.authority.n > 0) {
        tg_fmt_lit(f, ";host=");
        forwarded_value(f, r->in.authority);
    }
    tg_fmt_add(f, r->tls != NULL ? TG_STR(";proto=https") : TG_STR(";proto=http"));
    end(out);
}

static void emit_x_forwarded(struct tg_request *r, struct out *out)
{
    char room[TG_ADDR_TEXT_MAX];
    struct tg_str peer = tg_addr_ip_text(&r->peer, room);
    struct tg_str port = trusted_list(r, TG_FIELD_X_FORWARDED_PORT);
    struct tg_fmt *f = begin(out, TG_FIELD_X_FORWARDED_FOR, TG_STR("X-Forwarded-For"));
    add_list(f, trusted_list(r, TG_FIELD_X_FORWARDED_FOR));
    tg_fmt_add(f, peer);
    end(out);
    emit(out, TG_FIELD_X_FORWARDED_PROTO, TG_STR("X-Forwarded-Proto"), r->scheme);
    if (r->client_host.n > 0)
        emit(out, TG_FIELD_X_FORWARDED_HOST, TG_STR("X-Forwarded-Host"), r->client_host);
    f = begin(out, TG_FIELD_X_FORWARDED_PORT, TG_STR("X-Forwarded-Port"));
    if (port.n > 0)
        tg_fmt_add(f, port);
    else if (r->listener->addr.len > 0)
        tg_fmt_u64(f, tg_addr_port(&r->listener->addr));
    else /* a unix socket has none: what the scheme means */
        tg_fmt_u64(f, r->tls != NULL ? 443 : 80);
    end(out);
    emit_forwarded(r, out, peer);
}

static void emit_max_forwards(struct tg_request *r, struct out *out)
{
    const struct tg_field *hops = tg_fields_find_id(&r->in.fields, TG_FIELD_MAX_FORWARDS);
    uint64_t n;
    if ((r->in.method != TG_METHOD_TRACE && r->in.method != TG_METHOD_OPTIONS) || hops == NULL ||
        !tg_str_to_u64(hops->value, &n) || n == 0)
        return;
    tg_fmt_u64(begin(out, TG_FIELD_MAX_FORWARDS, TG_STR("Max-Forwards")), n - 1);
    end(out);
}

static void emit_via(struct tg_request *r, struct out *out)
{
    struct tg_fmt *f = begin(out, TG_FIELD_VIA, TG_STR("Via"));
    tg_fmt_add(f, tg_request_head_version(&r->in));
    tg_fmt_add(f, r->in.major == 2 ? TG_STR(".0 ") : TG_STR(" "));
    tg_fmt_add(f, r->snapshot->settings.server_name);
    end(out);
}

/* What is left of the client's time, where it goes out now; in a list it is as it came. */
static void emit_timeout(struct tg_request *r, struct out *out, const struct tg_field *field)
{
    if (out->text == NULL) {
        emit_field(out, field);
        return;
    }
    tg_grpc_write_timeout(r, tg_request_now(r), begin(out, TG_FIELD_OTHER, field->name));
    end(out);
}

static void emit_fields(struct tg_request *r, struct tg_str host, struct out *out)
{
    bool named = tg_forward_names_fields(&r->in.fields);
    emit(out, TG_FIELD_HOST, TG_STR("Host"), host);
    for (uint32_t i = 0; i < r->in.fields.n; i++) {
        const struct tg_field *field = &r->in.fields.v[i];
        if (is_dropped(r, field, named) || (out->is_copy && field->id == TG_FIELD_EXPECT))
            continue;
        if (TG_UNLIKELY(r->grpc_until > 0) && tg_grpc_is_timeout(r, field))
            emit_timeout(r, out, field);
        else
            emit_field(out, field);
    }
    emit_via(r, out);
    emit_x_forwarded(r, out);
    emit_max_forwards(r, out);
}

enum tg_err tg_forward_fields(struct tg_request *r)
{
    struct out out = {.list = &r->out.fields, .arena = &r->arena};
    if (r->out.fields_copied)
        return TG_OK;
    tg_fields_init(&r->out.fields, &r->arena);
    r->out.made_host = tg_forward_host(r);
    emit_fields(r, r->out.made_host, &out);
    r->out.fields_copied = !out.failed;
    return out.failed ? TG_E_NOMEM : TG_OK;
}

size_t tg_forward_size(const struct tg_request *r)
{
    const struct tg_fields *fields = r->out.fields_copied ? &r->out.fields : &r->in.fields;
    size_t size = 640 + r->in.target.n + r->out.path.n + r->out.query.n + r->out.host.n +
                  3 * r->in.authority.n + (r->service != NULL ? r->service->path.n : 0);
    for (uint32_t i = 0; i < fields->n; i++)
        size += fields->v[i].name.n + fields->v[i].value.n + 4;
    return size;
}

static void write_request_line(struct tg_request *r, struct tg_str base, struct tg_fmt *f)
{
    struct tg_str query = r->out.query_set ? r->out.query : r->in.query;
    tg_fmt_add(f, r->out.method_name);
    tg_fmt_char(f, ' ');
    if (base.n == 0)
        tg_fmt_add(f, r->out.path);
    else
        tg_rewrite_join(f, base, r->out.path, r->in.path);
    if (query.p != NULL) {
        tg_fmt_char(f, '?');
        tg_fmt_add(f, query);
    }
    tg_fmt_lit(f, " HTTP/1.1\r\n");
}

/* The edited list; Expect goes only while the client still waits for an answer to it, and the Host
 * that was made when the list was is made anew: the target may be another one by now. */
static void write_edited(struct tg_request *r, struct tg_str host, struct out *out)
{
    for (uint32_t i = 0; i < r->out.fields.n; i++) {
        const struct tg_field *field = &r->out.fields.v[i];
        if (field->id == TG_FIELD_EXPECT && (r->continue_sent || out->is_copy))
            continue;
        if (tg_grpc_is_timeout(r, field)) {
            emit_timeout(r, out, field);
            continue;
        }
        bool made = field->id == TG_FIELD_HOST && field->value.p == r->out.made_host.p;
        tg_h1_write_field(out->text, field->name, made ? host : field->value);
    }
}

static void write_head(struct tg_request *r, struct tg_str base, struct tg_str host,
                       struct out *out)
{
    write_request_line(r, base, out->text);
    if (r->out.fields_copied)
        write_edited(r, host, out);
    else
        emit_fields(r, host, out);
    if (out->failed)
        out->text->failed = true;
}

void tg_forward_write_for(struct tg_request *r, const struct tg_service_conf *service,
                          struct tg_str target, struct tg_fmt *f)
{
    struct out out = {.text = f, .is_copy = true};
    bool named = r->out.host.p != NULL || r->route->preserve_host;
    write_head(r, service->path, named ? tg_forward_host(r) : target, &out);
}

void tg_forward_write(struct tg_request *r, struct tg_fmt *f)
{
    struct out out = {.text = f};
    write_head(r, r->service->path, tg_forward_host(r), &out);
    const struct tg_field *upgrade = tg_fields_find_id(&r->in.fields, TG_FIELD_UPGRADE);
    if (r->out.upgrade && upgrade != NULL) {
        tg_fmt_lit(f, "Connection: upgrade\r\n");
        tg_h1_write_field(f, TG_STR("Upgrade"),
                          r->ws != NULL ? TG_STR("websocket") : upgrade->value);
    } else if (r->in.te_trailers) {
        tg_fmt_lit(f, "Connection: TE\r\nTE: trailers\r\n");
    }
}

/* ---- Trust -------------------------------------------------------------------------------------
 */

static bool is_trusted(const struct tg_request *r, const struct tg_addr *addr)
{
    for (uint32_t i = 0; i < r->listener->trusted_count; i++) {
        if (tg_cidr_contains(&r->listener->trusted[i], addr))
            return true;
    }
    return false;
}

/* An address as proxies write it: bare, with a port, IPv6 in brackets or not. */
static bool read_node(struct tg_str s, struct tg_addr *out)
{
    if (s.n >= 2 && s.p[0] == '"' && s.p[s.n - 1] == '"')
        s = tg_str_sub(s, 1, s.n - 1);
    if (tg_addr_parse_ip(s, out) == TG_OK)
        return true;
    return tg_addr_parse(s, out) == TG_OK;
}

/* The node of one element of Forwarded: the value of its "for". */
static struct tg_str forwarded_for(struct tg_str element)
{
    while (element.n > 0) {
        size_t end = tg_str_find(element, ';', 0);
        struct tg_str pair = tg_str_trim(tg_str_sub(element, 0, end));
        if (tg_str_eq_nocase(tg_str_sub(pair, 0, 4), TG_STR("for=")))
            return tg_str_sub(pair, 4, pair.n);
        element = tg_str_sub(element, end + 1, element.n);
    }
    return TG_STR("");
}

/* Walks the addresses from the nearest proxy outwards: the first that is not trusted is the client;
 * what stands in front of it may be invented. */
static void walk(struct tg_request *r, struct tg_str list, bool forwarded)
{
    size_t end = list.n;
    while (end > 0) {
        size_t start = end;
        while (start > 0 && list.p[start - 1] != ',')
            start--;
        struct tg_str item = tg_str_trim(tg_str_sub(list, start, end));
        struct tg_addr addr;
        if (!read_node(forwarded ? forwarded_for(item) : item, &addr))
            return;
        r->client = addr;
        if (!is_trusted(r, &addr))
            return;
        end = start > 0 ? start - 1 : 0;
    }
}

void tg_forward_trust(struct tg_request *r)
{
    r->trusted = is_trusted(r, &r->peer);
    if (!r->trusted)
        return;
    struct tg_str chain = trusted_list(r, TG_FIELD_X_FORWARDED_FOR);
    if (chain.n > 0)
        walk(r, chain, false);
    else
        walk(r, trusted_list(r, TG_FIELD_FORWARDED), true);
    const struct tg_field *proto = tg_fields_find_id(&r->in.fields, TG_FIELD_X_FORWARDED_PROTO);
    const struct tg_field *host = tg_fields_find_id(&r->in.fields, TG_FIELD_X_FORWARDED_HOST);
    struct tg_str name;
    uint16_t port;
    if (proto != NULL && tg_str_eq_nocase(proto->value, TG_STR("https")))
        r->scheme = TG_STR("https");
    else if (proto != NULL && tg_str_eq_nocase(proto->value, TG_STR("http")))
        r->scheme = TG_STR("http");
    if (host != NULL && tg_uri_split_authority(host->value, &name, &port) == TG_OK)
        r->client_host = host->value;
}
