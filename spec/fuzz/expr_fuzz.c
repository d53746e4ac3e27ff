/*
 * Any bytes as a predicate: refused with a column inside the text and a hint, or compiled; then it
 * is tested twice, with no field present and with all fields there, and its negation is the
 * opposite.
 */
#include "base/banned.h"
#include "route/expr.h"

#include "base/assert.h"

static bool fetch(void *arg, enum tg_expr_field field, struct tg_str name, uint64_t key,
                  struct tg_str *value)
{
    bool *present = arg;
    tg_assert(field <= TG_EXPR_QUERY);
    tg_assert(key == 0); /* none was asked for */
    tg_assert(field < TG_EXPR_HEADER ? name.n == 0 : name.n > 0);
    *value = name.n > 0 ? name : TG_STR("12");
    return *present;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char negated[TG_EXPR_TEXT_MAX + 8];
    struct tg_expr *expr = NULL, *opposite = NULL;
    struct tg_expr_error error = {NULL, NULL, 0};
    struct tg_str text = tg_str((const char *)data, size);
    if (tg_expr_new(text, NULL, &expr, &error) != TG_OK) {
        tg_assert(error.text != NULL && error.hint != NULL);
        tg_assert(error.column >= 1 && error.column <= size + 1);
        return 0;
    }
    memcpy(negated, "not(", 4);
    memcpy(negated + 4, data, size);
    negated[size + 4] = ')';
    if (tg_expr_new(tg_str(negated, size + 5), NULL, &opposite, &error) == TG_OK) {
        for (int i = 0; i < 2; i++) {
            bool present = i == 1;
            tg_assert(tg_expr_test(expr, fetch, &present) !=
                      tg_expr_test(opposite, fetch, &present));
        }
    }
    tg_expr_free(&expr);
    tg_expr_free(&opposite);
    return 0;
}
