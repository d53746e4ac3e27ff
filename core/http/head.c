/* head.c: see head.h. */
#include "base/banned.h"
#include "http/head.h"

#include "http/uri.h"

bool tg_head_refuse(struct tg_refusal *refusal, unsigned status, const char *reason)
{
    *refusal = (struct tg_refusal){status, reason};
    return false;
}

/* Splits "/path?query". */
static bool split_path(struct tg_str s, bool merge, struct tg_arena *arena,
                       struct tg_request_head *h, struct tg_refusal *refusal)
{
    size_t mark = tg_str_find(s, '?', 0);
    h->raw_path = mark > 0 ? tg_str_sub(s, 0, mark) : TG_STR("/");
    if (mark < s.n)
        h->query = tg_str_sub(s, mark + 1, s.n);
    enum tg_err err = tg_uri_normalise_path(h->raw_path, merge, arena, &h->path);
    if (err == TG_E_NOMEM)
        return tg_head_refuse(refusal, 503, "out of memory for the path");
    return err == TG_OK || tg_head_refuse(refusal, 400, "path that cannot be normalised");
}

/* "http://authority/path?query": the authority counts, not Host (RFC 9112, 3.2.2). */
static bool split_absolute(bool merge, struct tg_arena *arena, struct tg_request_head *h,
                           struct tg_refusal *refusal)
{
    static const struct tg_str schemes[] = {{"http://", 7}, {"https://", 8}};
    for (size_t i = 0; i < TG_COUNT_OF(schemes); i++) {
        struct tg_str start = tg_str_sub(h->target, 0, schemes[i].n);
        if (!tg_str_eq_nocase(start, schemes[i]))
            continue;
        struct tg_str rest = tg_str_sub(h->target, schemes[i].n, h->target.n);
        size_t end = TG_MIN(tg_str_find(rest, '/', 0), tg_str_find(rest, '?', 0));
        h->form = TG_TARGET_ABSOLUTE;
        h->authority = tg_str_sub(rest, 0, end);
        return split_path(tg_str_sub(rest, end, rest.n), merge, arena, h, refusal);
    }
    return tg_head_refuse(refusal, 400, "request target of no known form");
}

bool tg_head_read_target(const struct tg_head_limits *limits, struct tg_arena *arena,
                         struct tg_request_head *h, struct tg_refusal *refusal)
{
    struct tg_str t = h->target;
    h->raw_path = h->path = TG_STR("/");
    h->query = (struct tg_str){NULL, 0};
    if (t.n > limits->target)
        return tg_head_refuse(refusal, 414, "request target too long");
    if (t.n == 0 || !tg_str_all(t, TG_CHAR_TARGET))
        return tg_head_refuse(refusal, 400, "character that may not stand in a request target");
    if (h->method == TG_METHOD_CONNECT && h->protocol.p == NULL) {
        h->form = TG_TARGET_AUTHORITY;
        h->authority = t;
        return true;
    }
    if (t.p[0] == '/') {
        h->form = TG_TARGET_ORIGIN;
        return split_path(t, limits->merge_slashes, arena, h, refusal);
    }
    if (tg_str_eq(t, TG_STR("*"))) {
        h->form = TG_TARGET_ASTERISK;
        return h->method == TG_METHOD_OPTIONS ||
               tg_head_refuse(refusal, 400,
                              "request target \"*\" with a method other than OPTIONS");
    }
    return split_absolute(limits->merge_slashes, arena, h, refusal);
}

bool tg_head_read_host(struct tg_request_head *h, struct tg_refusal *refusal)
{
    const struct tg_field *f = tg_fields_find_id(&h->fields, TG_FIELD_HOST);
    if (f == NULL && (h->major > 1 || h->minor >= 1))
        return tg_head_refuse(refusal, 400, "Host is missing");
    if (f != NULL && tg_fields_next_field(&h->fields, f, f) != NULL)
        return tg_head_refuse(refusal, 400, "Host is repeated");
    if (f != NULL && tg_uri_split_authority(f->value, &h->host, &h->port) != TG_OK)
        return tg_head_refuse(refusal, 400, "Host is not valid");
    bool in_target = h->form == TG_TARGET_ABSOLUTE || h->form == TG_TARGET_AUTHORITY;
    if (!in_target) {
        h->authority = f != NULL ? f->value : tg_str("", 0);
        return true;
    }
    if (tg_uri_split_authority(h->authority, &h->host, &h->port) != TG_OK)
        return tg_head_refuse(refusal, 400, "authority in the request target is not valid");
    if (h->form == TG_TARGET_AUTHORITY && h->port == 0)
        return tg_head_refuse(refusal, 400, "CONNECT without a port");
    return true;
}

bool tg_head_read_length(const struct tg_fields *fields, uint64_t *length, bool *given)
{
    const struct tg_field *f = tg_fields_find_id(fields, TG_FIELD_CONTENT_LENGTH);
    *given = f != NULL;
    if (f == NULL)
        return true;
    if (tg_fields_next_field(fields, f, f) != NULL)
        return false;
    return f->value.n <= 19 && tg_str_to_u64(f->value, length);
}

bool tg_head_says_length(const struct tg_response_head *head, enum tg_method method,
                         uint64_t *length)
{
    bool of_another = head->status == 304 || method == TG_METHOD_HEAD; /* a length without body */
    *length = head->length;
    if (head->framing == TG_FRAMING_LENGTH)
        return true;
    if (head->framing != TG_FRAMING_NONE || head->status < 200 || head->status == 204)
        return false;
    if (!of_another)
        *length = 0;
    return !of_another || head->has_length;
}

struct tg_str tg_request_head_version(const struct tg_request_head *h)
{
    if (h->major == 2)
        return TG_STR("2");
    return h->minor == 0 ? TG_STR("1.0") : TG_STR("1.1");
}
