/* coding.c: see coding.h.
 *
 * Accept-Encoding = #( codings [ ";" "q=" qvalue ] ); a weight has three digits at most, so it is
 * kept as thousandths. A member of the list that is none of this makes the whole field void: it is
 * safer to send a body as it is than in a coding that nobody clearly asked for. */
#include "base/banned.h"
#include "http/coding.h"

#include "http/token.h"

#define ONE 1000 /* a weight of 1 */

static const struct tg_str names[TG_CODINGS] = {
    [TG_CODING_OTHER] = {"identity", 8},  [TG_CODING_GZIP] = {"gzip", 4},
    [TG_CODING_DEFLATE] = {"deflate", 7}, [TG_CODING_BR] = {"br", 2},
    [TG_CODING_ZSTD] = {"zstd", 4},
};

enum tg_coding tg_coding_of(struct tg_str name)
{
    for (int i = TG_CODING_GZIP; i < TG_CODINGS; i++) {
        if (tg_str_eq_nocase(name, names[i]))
            return (enum tg_coding)i;
    }
    return tg_str_eq_nocase(name, TG_STR("x-gzip")) ? TG_CODING_GZIP : TG_CODING_OTHER;
}

struct tg_str tg_coding_name(enum tg_coding coding)
{
    return names[coding];
}

bool tg_coding_only(const struct tg_fields *fields, enum tg_coding *coding)
{
    *coding = TG_CODING_OTHER;
    if (tg_fields_find_id(fields, TG_FIELD_CONTENT_ENCODING) == NULL)
        return true;
    for (uint32_t i = 0; i < fields->n; i++) {
        struct tg_str list = fields->v[i].value;
        struct tg_str item;
        if (fields->v[i].id != TG_FIELD_CONTENT_ENCODING)
            continue;
        while (tg_str_next_item(&list, &item)) {
            if (tg_str_eq_nocase(item, names[TG_CODING_OTHER]))
                continue;
            enum tg_coding one = tg_coding_of(item);
            if (*coding != TG_CODING_OTHER || one == TG_CODING_OTHER)
                return false;
            *coding = one;
        }
    }
    return true;
}

/* ---- Accept-Encoding ---------------------------------------------------------------------------
 */

/* The weights that the client gives, in thousandths; -1: it says nothing of it. */
struct weights {
    int of[TG_CODINGS]; /* OTHER: of identity */
    int any;            /* of "*" */
};

/* RFC 9110, 12.4.2: "0" or "1" with up to three digits behind a point, "1" with zeroes only. */
static bool read_weight(struct tg_str s, int *weight)
{
    int unit = ONE;
    if (s.n == 0 || s.n > 5 || (s.p[0] != '0' && s.p[0] != '1') || (s.n > 1 && s.p[1] != '.'))
        return false;
    *weight = (s.p[0] - '0') * ONE;
    for (size_t i = 2; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        unit /= 10;
        *weight += (s.p[i] - '0') * unit;
    }
    return *weight <= ONE;
}

/* One element: a coding and, perhaps, its weight. */
static bool read_item(struct tg_str item, struct tg_str *name, int *weight)
{
    size_t end = tg_str_find(item, ';', 0);
    *name = tg_str_trim(tg_str_sub(item, 0, end));
    *weight = ONE;
    if (!tg_str_is_token(*name))
        return false;
    if (end >= item.n)
        return true;
    struct tg_str rest = tg_str_trim(tg_str_sub(item, end + 1, item.n));
    return tg_str_eq_nocase(tg_str_sub(rest, 0, 2), TG_STR("q=")) &&
           read_weight(tg_str_sub(rest, 2, rest.n), weight);
}

static bool read_list(struct tg_str list, struct weights *weights)
{
    struct tg_str item, name;
    int weight;
    while (tg_str_next_item(&list, &item)) {
        if (!read_item(item, &name, &weight))
            return false;
        enum tg_coding coding = tg_coding_of(name);
        if (tg_str_eq(name, TG_STR("*")))
            weights->any = weight;
        else if (coding != TG_CODING_OTHER || tg_str_eq_nocase(name, names[TG_CODING_OTHER]))
            weights->of[coding] = weight;
    }
    return true;
}

/* False: there is nothing to go by. */
static bool read_weights(const struct tg_fields *request, struct weights *weights)
{
    const struct tg_field *field = NULL;
    bool some = false;
    weights->any = -1;
    for (int i = 0; i < TG_CODINGS; i++)
        weights->of[i] = -1;
    while ((field = tg_fields_next(request, TG_STR("accept-encoding"), field)) != NULL) {
        some = true;
        if (!read_list(field->value, weights))
            return false;
    }
    return some;
}

struct tg_coding_wish tg_coding_choose(const struct tg_fields *request,
                                       const enum tg_coding *offered, uint32_t n)
{
    struct tg_coding_wish wish = {TG_CODING_OTHER, false};
    struct weights weights;
    if (!read_weights(request, &weights))
        return wish;
    int identity = weights.of[TG_CODING_OTHER];
    int best = TG_MAX(identity, 0);
    wish.not_identity = identity == 0 || (identity < 0 && weights.any == 0);
    for (uint32_t i = 0; i < n; i++) {
        int weight = weights.of[offered[i]] >= 0 ? weights.of[offered[i]] : weights.any;
        bool wins = wish.coding == TG_CODING_OTHER ? weight >= best : weight > best;
        if (weight > 0 && wins) {
            best = weight;
            wish.coding = offered[i];
        }
    }
    return wish;
}
