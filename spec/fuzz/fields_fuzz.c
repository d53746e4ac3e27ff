/*
 * Edits of a field list against a model that is an array: every operation leaves both the same.
 *
 * Input: pairs of bytes; the first picks the operation, the second the name (low bits) and the
 * value.
 */
#include "http/field.h"

#include "http_fuzz.h"

#include <strings.h>

#define MODEL_MAX 64

static const char *const names[] = {"Host",  "hOST",  "Connection", "Via",   "via", "X-One",
                                    "x-one", "X-Two", "x-",         "Date",  "dat", "TE",
                                    "e",     "",      "Cookie",     "cookiE"};
static const char *const values[] = {"", "1", "close", "a, close ,b", "CLOSE", ",,", " x ", "y"};

static struct {
    const char *name;
    const char *value;
} model[MODEL_MAX];
static uint32_t model_n;

static uint32_t model_remove(const char *name, uint32_t from)
{
    uint32_t kept = from;
    for (uint32_t i = from; i < model_n; i++) {
        if (strcasecmp(model[i].name, name) != 0)
            model[kept++] = model[i];
    }
    uint32_t removed = model_n - kept;
    model_n = kept;
    return removed;
}

static void model_set(const char *name, const char *value)
{
    uint32_t i = 0;
    while (i < model_n && strcasecmp(model[i].name, name) != 0)
        i++;
    model[i].name = name;
    model[i].value = value;
    if (i == model_n)
        model_n++;
    model_remove(name, i + 1);
}

static void check_same(const struct tg_fields *fields)
{
    tg_assert(fields->n == model_n);
    for (uint32_t i = 0; i < model_n; i++) {
        tg_assert(tg_str_eq(fields->v[i].name, tg_str_c(model[i].name)));
        tg_assert(tg_str_eq(fields->v[i].value, tg_str_c(model[i].value)));
        tg_assert(fields->v[i].id == tg_field_id(fields->v[i].name));
    }
}

/* Walking by name meets the model's entries of that name, in order. */
static void check_walk(const struct tg_fields *fields, const char *name)
{
    const struct tg_field *f = NULL;
    for (uint32_t i = 0; i < model_n; i++) {
        if (strcasecmp(model[i].name, name) != 0)
            continue;
        f = tg_fields_next(fields, tg_str_c(name), f);
        tg_assert(f == &fields->v[i]);
    }
    tg_assert(tg_fields_next(fields, tg_str_c(name), f) == NULL || f == NULL);
}

static void step(struct tg_fields *fields, uint8_t what, uint8_t which)
{
    const char *name = names[which % TG_COUNT_OF(names)];
    struct tg_fields copy;
    const char *value = values[which / 16 % TG_COUNT_OF(values)];
    switch (what % 5) {
    case 0:
        if (model_n == MODEL_MAX - 1)
            return;
        tg_assert(tg_fields_add(fields, tg_str_c(name), tg_str_c(value)) == TG_OK);
        model[model_n].name = name;
        model[model_n++].value = value;
        break;
    case 1:
        if (model_n == MODEL_MAX - 1)
            return;
        tg_assert(tg_fields_set(fields, tg_str_c(name), tg_str_c(value)) == TG_OK);
        model_set(name, value);
        break;
    case 2:
        tg_assert(tg_fields_remove(fields, tg_str_c(name)) == model_remove(name, 0));
        break;
    case 3:
        tg_assert(tg_fields_copy(fields, &copy) == TG_OK);
        *fields = copy;
        break;
    default:
        check_walk(fields, name);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_fields fields;
    fuzz_begin();
    model_n = 0;
    tg_fields_init(&fields, &arena);
    for (size_t i = 0; i + 1 < TG_MIN(size, 400u); i += 2) {
        step(&fields, data[i], data[i + 1]);
        check_same(&fields);
    }
    fuzz_end();
    return 0;
}
