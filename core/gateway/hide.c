/* hide.c: see hide.h. Both build what is left in the arena, once something is to go. */
#include "base/banned.h"
#include "gateway/hide.h"

#include "gateway/internal.h"
#include "gateway/param.h"

/* Takes the next piece up to `separator` off `*rest`; false at the end. */
static bool next_piece(struct tg_str *rest, char separator, struct tg_str *piece)
{
    if (rest->n == 0)
        return false;
    size_t end = tg_str_find(*rest, separator, 0);
    *piece = tg_str_sub(*rest, 0, end);
    *rest = tg_str_sub(*rest, end + 1, rest->n);
    return true;
}

/* The decoded name of a "name=value"; p == NULL: no memory. */
static struct tg_str param_name(struct tg_request *r, struct tg_str piece)
{
    return tg_param_decode(r, tg_str_sub(piece, 0, tg_str_find(piece, '=', 0)));
}

enum tg_err tg_request_remove_query(struct tg_request *r, struct tg_str name)
{
    struct tg_str query = r->out.query_set ? r->out.query : r->in.query;
    struct tg_str rest = query;
    struct tg_str piece;
    struct tg_fmt f;
    bool found = false;
    if (query.p == NULL)
        return TG_OK;
    tg_fmt_init_arena(&f, &r->arena, query.n + 1);
    while (next_piece(&rest, '&', &piece)) {
        struct tg_str key = param_name(r, piece);
        if (key.p == NULL)
            return TG_E_NOMEM;
        if (tg_str_eq(key, name)) {
            found = true;
            continue;
        }
        if (f.n > 0)
            tg_fmt_char(&f, '&');
        tg_fmt_add(&f, piece);
    }
    if (f.failed)
        return TG_E_NOMEM;
    if (!found)
        return TG_OK;
    r->out.query = f.n > 0 ? tg_fmt_str(&f) : tg_str(NULL, 0);
    r->out.query_set = true;
    return TG_OK;
}

static bool is_cookie(struct tg_str piece, struct tg_str name)
{
    size_t equals = tg_str_find(piece, '=', 0);
    return equals < piece.n && tg_str_eq(tg_str_trim(tg_str_sub(piece, 0, equals)), name);
}

/* Adds the cookies of one header but those called `name`; whether there were some. */
static bool add_cookies(struct tg_fmt *f, struct tg_str header, struct tg_str name)
{
    struct tg_str piece;
    bool found = false;
    while (next_piece(&header, ';', &piece)) {
        piece = tg_str_trim(piece);
        if (is_cookie(piece, name)) {
            found = true;
            continue;
        }
        if (f->n > 0)
            tg_fmt_lit(f, "; ");
        tg_fmt_add(f, piece);
    }
    return found;
}

enum tg_err tg_request_remove_cookie(struct tg_request *r, struct tg_str name)
{
    const struct tg_fields *fields = tg_request_upstream_fields(r);
    const struct tg_field *field = NULL;
    struct tg_fmt f;
    bool found = false;
    tg_fmt_init_arena(&f, &r->arena, 128);
    while ((field = tg_fields_next(fields, TG_STR("cookie"), field)) != NULL)
        found |= add_cookies(&f, field->value, name);
    if (!found)
        return TG_OK;
    enum tg_err err = f.failed ? TG_E_NOMEM : tg_forward_fields(r);
    if (err != TG_OK)
        return err;
    if (f.n > 0)
        return tg_fields_set(&r->out.fields, TG_STR("cookie"), tg_fmt_str(&f));
    tg_fields_remove(&r->out.fields, TG_STR("cookie"));
    return TG_OK;
}
