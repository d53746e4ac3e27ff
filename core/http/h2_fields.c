/* h2_fields.c: see h2_fields.h. */
#include "base/banned.h"
#include "http/h2_fields.h"

#include "base/fmt.h"

static const struct tg_str pseudo_names[TG_H2_PSEUDOS] = {
    [TG_H2_METHOD] = {":method", 7},        [TG_H2_SCHEME] = {":scheme", 7},
    [TG_H2_AUTHORITY] = {":authority", 10}, [TG_H2_PATH] = {":path", 5},
    [TG_H2_PROTOCOL] = {":protocol", 9},    [TG_H2_STATUS] = {":status", 7},
};

/* ---- Blocks that come in -----------------------------------------------------------------------
 */

void tg_h2_block_init(struct tg_h2_block *block, struct tg_arena *arena, uint32_t max_fields,
                      uint64_t max_size)
{
    *block = (struct tg_h2_block){.arena = arena, .max_fields = max_fields, .max_size = max_size};
    tg_fields_init(&block->fields, arena);
}

static void refuse(struct tg_h2_block *block, unsigned status, const char *reason)
{
    if (!block->refused)
        tg_head_refuse(&block->refusal, status, reason);
    block->refused = true;
}

/* False, and refused, when there is no memory. */
static bool copy(struct tg_h2_block *block, struct tg_str s, struct tg_str *out)
{
    *out = tg_arena_copy(block->arena, s);
    if (out->p == NULL)
        refuse(block, 503, "out of memory for the head");
    return out->p != NULL;
}

/* RFC 9113, 8.2.1: no line breaks, no NUL, no white space at the ends; and no other controls, as in
 * HTTP/1.1. */
static bool is_value(struct tg_str s)
{
    return tg_str_is_value(s) && tg_str_trim(s).n == s.n;
}

static bool is_lower(struct tg_str name)
{
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] >= 'A' && name.p[i] <= 'Z')
            return false;
    }
    return true;
}

bool tg_h2_field_is_forbidden(enum tg_field_id id)
{
    return id == TG_FIELD_CONNECTION || id == TG_FIELD_KEEP_ALIVE ||
           id == TG_FIELD_PROXY_CONNECTION || id == TG_FIELD_TRANSFER_ENCODING ||
           id == TG_FIELD_UPGRADE;
}

static void add_pseudo(struct tg_h2_block *block, struct tg_str name, struct tg_str value)
{
    enum tg_h2_pseudo which = 0;
    while (which < TG_H2_PSEUDOS && !tg_str_eq(name, pseudo_names[which]))
        which++;
    if (which == TG_H2_PSEUDOS)
        refuse(block, 0, "unknown pseudo field");
    else if (block->regular)
        refuse(block, 0, "pseudo field behind other fields");
    else if (block->pseudo[which].p != NULL)
        refuse(block, 0, "pseudo field that is repeated");
    else
        (void)copy(block, value, &block->pseudo[which]); /* refused where it fails */
}

/* Before the first field that is none of them: Host as :authority tells it. */
static void end_pseudos(struct tg_h2_block *block)
{
    struct tg_str authority = block->pseudo[TG_H2_AUTHORITY];
    block->regular = true;
    if (authority.p != NULL && tg_fields_add_id(&block->fields, TG_FIELD_HOST, authority) != TG_OK)
        refuse(block, 503, "out of memory for the head");
}

static void add_regular(struct tg_h2_block *block, struct tg_str name, struct tg_str value)
{
    enum tg_field_id id = tg_field_id(name);
    struct tg_str kept_name;
    struct tg_str kept;
    if (tg_h2_field_is_forbidden(id)) {
        refuse(block, 0, "field of a connection");
        return;
    }
    if (id == TG_FIELD_TE && !tg_str_eq_nocase(value, TG_STR("trailers"))) {
        refuse(block, 0, "TE other than \"trailers\"");
        return;
    }
    if (id == TG_FIELD_HOST && block->pseudo[TG_H2_AUTHORITY].p != NULL) {
        if (!tg_str_eq_nocase(value, block->pseudo[TG_H2_AUTHORITY]))
            refuse(block, 0, "Host differs from :authority");
        return;
    }
    if (!copy(block, value, &kept))
        return;
    enum tg_err err = TG_E_NOMEM;
    if (id != TG_FIELD_OTHER)
        err = tg_fields_add_id(&block->fields, id, kept);
    else if (copy(block, name, &kept_name))
        err = tg_fields_add(&block->fields, kept_name, kept);
    if (err != TG_OK)
        refuse(block, 503, "out of memory for the head");
}

/* RFC 9113, 8.2.3: a part of the one field that the first cookie begins. Browsers send one for each
 * cookie, and are not to be refused for what they may send in HTTP/1.1. */
static bool is_crumb(const struct tg_h2_block *block, struct tg_str name)
{
    return tg_str_eq(name, TG_STR("cookie")) &&
           tg_fields_find_id(&block->fields, TG_FIELD_COOKIE) != NULL;
}

void tg_h2_block_add(struct tg_h2_block *block, struct tg_str name, struct tg_str value)
{
    bool is_pseudo = name.n > 0 && name.p[0] == ':';
    block->size += name.n + value.n + TG_H2_FIELD_OVERHEAD;
    if (block->refused)
        return;
    if (!is_pseudo && !(tg_str_is_token(name) && is_lower(name)))
        refuse(block, 0, "field name that is no lower-case token");
    else if (!is_value(value))
        refuse(block, 0, "byte that may not stand in a field value");
    else if (block->size > block->max_size)
        refuse(block, 431, "request head too large");
    else if (is_crumb(block, name))
        block->crumbs++;
    else if (block->fields.n - block->crumbs >= block->max_fields)
        refuse(block, 431, "too many header fields");
    else if (is_pseudo)
        add_pseudo(block, name, value);
    if (block->refused || is_pseudo)
        return;
    if (!block->regular)
        end_pseudos(block);
    add_regular(block, name, value);
}

/* RFC 9113, 8.2.3: the crumbs of a cookie become one field, where the first one stands. */
static bool join_cookies(struct tg_fields *fields, struct tg_arena *arena,
                         struct tg_refusal *refusal)
{
    const struct tg_field *first = tg_fields_find_id(fields, TG_FIELD_COOKIE);
    if (first == NULL || tg_fields_next_field(fields, first, first) == NULL)
        return true;
    struct tg_fmt f;
    size_t size = 0;
    for (uint32_t i = 0; i < fields->n; i++)
        size += fields->v[i].id == TG_FIELD_COOKIE ? fields->v[i].value.n + 2 : 0;
    tg_fmt_init_arena(&f, arena, size);
    for (uint32_t i = 0; i < fields->n; i++) {
        if (fields->v[i].id != TG_FIELD_COOKIE || fields->v[i].value.n == 0)
            continue;
        if (f.n > 0)
            tg_fmt_lit(&f, "; ");
        tg_fmt_add(&f, fields->v[i].value);
    }
    struct tg_field joined = *first;
    joined.value = tg_fmt_str(&f);
    if (joined.value.p == NULL || tg_fields_set_field(fields, &joined) != TG_OK)
        return tg_head_refuse(refusal, 503, "out of memory for the head");
    return true;
}

/* Which pseudo fields there are, and that path and method are what their names say (8.3.1, 8.5). */
static bool read_pseudos(const struct tg_h2_block *block, struct tg_request_head *h,
                         struct tg_refusal *refusal)
{
    struct tg_str path = block->pseudo[TG_H2_PATH];
    struct tg_str scheme = block->pseudo[TG_H2_SCHEME];
    if (block->pseudo[TG_H2_STATUS].p != NULL)
        return tg_head_refuse(refusal, 0, ":status in a request");
    struct tg_str method = block->pseudo[TG_H2_METHOD];
    if (method.p == NULL || !tg_str_is_token(method))
        return tg_head_refuse(refusal, 0, ":method is missing or no token");
    h->method_name = method;
    h->method = tg_method_from_name(h->method_name);
    h->protocol = block->pseudo[TG_H2_PROTOCOL];
    if (h->protocol.p != NULL && h->method != TG_METHOD_CONNECT)
        return tg_head_refuse(refusal, 0, ":protocol with a method other than CONNECT");
    if (h->method == TG_METHOD_CONNECT && h->protocol.p == NULL) {
        if (path.p != NULL || scheme.p != NULL || block->pseudo[TG_H2_AUTHORITY].p == NULL)
            return tg_head_refuse(refusal, 0, "CONNECT with :path or :scheme, or no :authority");
        h->target = block->pseudo[TG_H2_AUTHORITY];
        return true;
    }
    if (path.p == NULL || scheme.p == NULL)
        return tg_head_refuse(refusal, 0, ":path or :scheme is missing");
    if (!tg_str_eq_nocase(scheme, TG_STR("http")) && !tg_str_eq_nocase(scheme, TG_STR("https")))
        return tg_head_refuse(refusal, 400, ":scheme is not http or https");
    if (path.n == 0 || (path.p[0] != '/' && !tg_str_eq(path, TG_STR("*"))))
        return tg_head_refuse(refusal, 0, ":path is no path");
    h->target = path;
    return true;
}

static bool read_framing(struct tg_request_head *h, bool ended, struct tg_refusal *refusal)
{
    bool given;
    if (!tg_head_read_length(&h->fields, &h->length, &given))
        return tg_head_refuse(refusal, 0, "Content-Length is repeated or not a number");
    if (ended && given && h->length > 0)
        return tg_head_refuse(refusal, 0, "Content-Length without a body");
    if (ended || (given && h->length == 0))
        h->framing = TG_FRAMING_NONE;
    else
        h->framing = given ? TG_FRAMING_LENGTH : TG_FRAMING_CHUNKED;
    return true;
}

bool tg_h2_block_request(struct tg_h2_block *block, const struct tg_head_limits *limits, bool ended,
                         struct tg_request_head *head, struct tg_refusal *refusal)
{
    *head = (struct tg_request_head){.major = 2, .keep_alive = true};
    if (!block->refused && !block->regular)
        end_pseudos(block);
    head->fields = block->fields;
    if (block->refused) {
        *refusal = block->refusal;
        return false;
    }
    if (!read_pseudos(block, head, refusal) ||
        !tg_head_read_target(limits, block->arena, head, refusal) ||
        !tg_head_read_host(head, refusal) || !read_framing(head, ended, refusal) ||
        !join_cookies(&head->fields, block->arena, refusal))
        return false;
    head->te_trailers = tg_fields_find_id(&head->fields, TG_FIELD_TE) != NULL;
    head->expect_continue =
        head->framing != TG_FRAMING_NONE &&
        tg_fields_list_has(&head->fields, TG_FIELD_EXPECT, TG_STR("100-continue"));
    return true;
}

bool tg_h2_block_trailers(struct tg_h2_block *block, struct tg_fields *out,
                          struct tg_refusal *refusal)
{
    tg_fields_init(out, block->arena);
    for (enum tg_h2_pseudo which = 0; which < TG_H2_PSEUDOS; which++) {
        if (block->pseudo[which].p != NULL)
            refuse(block, 0, "pseudo field in trailers");
    }
    if (block->refused) {
        *refusal = block->refusal;
        return false;
    }
    for (uint32_t i = 0; i < block->fields.n; i++) {
        if (tg_field_may_trail(block->fields.v[i].id) &&
            tg_fields_add_field(out, &block->fields.v[i]) != TG_OK)
            return tg_head_refuse(refusal, 503, "out of memory for the trailers");
    }
    return true;
}

/* ---- Blocks that go out ------------------------------------------------------------------------
 */

void tg_h2_nva_init(struct tg_h2_nva *nva, struct tg_arena *arena, uint32_t guess)
{
    *nva = (struct tg_h2_nva){.arena = arena, .cap = guess};
    nva->v = tg_arena_alloc(arena, guess * sizeof(*nva->v));
    nva->failed = nva->v == NULL;
}

static bool grow(struct tg_h2_nva *nva)
{
    uint32_t cap = nva->cap * 2 + 8;
    nghttp2_nv *v = tg_arena_alloc(nva->arena, cap * sizeof(*v));
    if (v == NULL) {
        nva->failed = true;
        return false;
    }
    if (nva->n > 0)
        memcpy(v, nva->v, nva->n * sizeof(*v));
    nva->v = v;
    nva->cap = cap;
    return true;
}

void tg_h2_nva_add(struct tg_h2_nva *nva, struct tg_str name, struct tg_str value)
{
    if (nva->failed || (nva->n == nva->cap && !grow(nva)))
        return;
    nva->v[nva->n++] = (nghttp2_nv){
        .name = (uint8_t *)(uintptr_t)name.p,
        .value = (uint8_t *)(uintptr_t)value.p,
        .namelen = name.n,
        .valuelen = value.n,
        .flags = NGHTTP2_NV_FLAG_NONE,
    };
}

void tg_h2_nva_fields(struct tg_h2_nva *nva, const struct tg_fields *fields)
{
    for (uint32_t i = 0; i < fields->n; i++) {
        const struct tg_field *field = &fields->v[i];
        if (!tg_field_is_hop(field->id) && field->id != TG_FIELD_CONTENT_LENGTH)
            tg_h2_nva_add(nva, field->name, tg_str_trim(field->value));
    }
}

static void add_number(struct tg_h2_nva *nva, struct tg_str name, uint64_t value)
{
    struct tg_fmt f;
    tg_fmt_init_arena(&f, nva->arena, 20);
    tg_fmt_u64(&f, value);
    if (f.failed)
        nva->failed = true;
    else
        tg_h2_nva_add(nva, name, tg_fmt_str(&f));
}

void tg_h2_nva_status(struct tg_h2_nva *nva, unsigned status)
{
    if (status == 200)
        tg_h2_nva_add(nva, pseudo_names[TG_H2_STATUS], TG_STR("200"));
    else
        add_number(nva, pseudo_names[TG_H2_STATUS], status);
}

void tg_h2_nva_response(struct tg_h2_nva *nva, const struct tg_response_head *head,
                        enum tg_method method)
{
    uint64_t length;
    tg_h2_nva_status(nva, head->status);
    tg_h2_nva_fields(nva, &head->fields);
    if (tg_head_says_length(head, method, &length))
        add_number(nva, TG_STR("content-length"), length);
}
