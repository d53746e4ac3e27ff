/* param.c: see param.h. */
#include "base/banned.h"
#include "gateway/param.h"

#include "http/uri.h"

struct tg_str tg_param_decode(struct tg_request *r, struct tg_str encoded)
{
    bool plain =
        tg_str_find(encoded, '%', 0) == encoded.n && tg_str_find(encoded, '+', 0) == encoded.n;
    return plain ? encoded : tg_uri_decode(encoded, true, &r->arena);
}

/* A slice of the head that was decoded; in the arena. */
struct tg_param_text {
    struct tg_param_text *next;
    struct tg_str encoded; /* known by where it stands in the head */
    struct tg_str text;
};

/* `encoded`, a value in the request's head, decoded at the first time; p == NULL: no memory. */
static struct tg_str decode_once(struct tg_request *r, struct tg_str encoded, bool plus)
{
    bool plain = tg_str_find(encoded, '%', 0) == encoded.n &&
                 (!plus || tg_str_find(encoded, '+', 0) == encoded.n);
    struct tg_param_text *known = r->param_texts;
    if (plain)
        return encoded;
    while (known != NULL && (known->encoded.p != encoded.p || known->encoded.n != encoded.n))
        known = known->next;
    if (known != NULL)
        return known->text;
    known = tg_arena_alloc(&r->arena, sizeof(*known));
    struct tg_str text = tg_uri_decode(encoded, plus, &r->arena);
    if (known == NULL || text.p == NULL)
        return tg_str(NULL, 0);
    *known = (struct tg_param_text){r->param_texts, encoded, text};
    r->param_texts = known;
    return text;
}

enum tg_err tg_param_query(struct tg_request *r, struct tg_str name, struct tg_str *value)
{
    struct tg_str rest = r->in.query;
    struct tg_str key;
    struct tg_str encoded;
    while (rest.p != NULL && tg_uri_next_param(&rest, &key, &encoded)) {
        if (!tg_uri_decodes_to(key, true, name))
            continue;
        *value = decode_once(r, encoded, true);
        return value->p != NULL ? TG_OK : TG_E_NOMEM;
    }
    *value = tg_str(NULL, 0);
    return TG_OK;
}

bool tg_param_next_cookie(struct tg_str *rest, struct tg_str *name, struct tg_str *value)
{
    while (rest->n > 0) {
        size_t end = tg_str_find(*rest, ';', 0);
        struct tg_str pair = tg_str_trim(tg_str_sub(*rest, 0, end));
        *rest = tg_str_sub(*rest, end + 1, rest->n);
        size_t equals = tg_str_find(pair, '=', 0);
        if (equals == pair.n)
            continue;
        *name = tg_str_trim(tg_str_sub(pair, 0, equals));
        *value = tg_str_trim(tg_str_sub(pair, equals + 1, pair.n));
        if (value->n >= 2 && value->p[0] == '"' && value->p[value->n - 1] == '"')
            *value = tg_str_sub(*value, 1, value->n - 1);
        return true;
    }
    return false;
}

struct tg_str tg_param_cookie(const struct tg_request *r, struct tg_str name)
{
    const struct tg_field *field = NULL;
    while ((field = tg_fields_next(&r->in.fields, TG_STR("cookie"), field)) != NULL) {
        struct tg_str rest = field->value;
        struct tg_str key;
        struct tg_str value;
        while (tg_param_next_cookie(&rest, &key, &value)) {
            if (tg_str_eq(key, name))
                return value;
        }
    }
    return tg_str(NULL, 0);
}

struct tg_str tg_param_capture(struct tg_request *r, struct tg_str name)
{
    for (uint32_t i = 0; i < r->capture_count; i++) {
        if (tg_str_eq(r->capture_names[i], name))
            return decode_once(r, r->captures[i], false);
    }
    return tg_str(NULL, 0);
}

struct tg_str tg_param_host(const struct tg_request *r, uint16_t *port)
{
    struct tg_str host;
    if (tg_uri_split_authority(r->client_host, &host, port) == TG_OK)
        return host;
    *port = r->in.port;
    return r->in.host;
}
