/* recode.c: see recode.h. */
#include "base/banned.h"
#include "gateway/recode.h"

#include "base/fmt.h"

static bool is_of_bytes(const struct tg_field *field, const void *arg)
{
    static const char *const names[] = {"content-encoding", "accept-ranges",  "content-md5",
                                        "digest",           "content-digest", "repr-digest"};
    (void)arg;
    for (size_t i = 0; i < TG_COUNT_OF(names); i++) {
        if (tg_str_eq_nocase(field->name, tg_str_c(names[i])))
            return true;
    }
    return false;
}

void tg_recode_drop(struct tg_fields *fields)
{
    tg_fields_filter(fields, is_of_bytes, NULL);
}

enum tg_err tg_recode_weaken(struct tg_fields *fields)
{
    const struct tg_field *tag = tg_fields_find(fields, TG_STR("etag"));
    struct tg_fmt f;
    if (tag == NULL || tg_str_starts(tag->value, TG_STR("W/")))
        return TG_OK;
    tg_fmt_init_arena(&f, fields->arena, tag->value.n + 2);
    tg_fmt_lit(&f, "W/");
    tg_fmt_add(&f, tag->value);
    struct tg_str weak = tg_fmt_str(&f);
    return weak.p != NULL ? tg_fields_set(fields, tag->name, weak) : TG_E_NOMEM;
}

enum tg_err tg_recode_trailers(const struct tg_fields *trailers, struct tg_fields *copy,
                               const struct tg_fields **out)
{
    *out = trailers;
    if (trailers == NULL || trailers->n == 0)
        return TG_OK;
    *out = copy;
    enum tg_err err = tg_fields_copy(trailers, copy);
    if (err == TG_OK)
        tg_recode_drop(copy);
    return err;
}
