/*
 * The route table against the linear scan of spec/core/route/route_oracle.h: the input chooses
 * routes, with conditions, and then requests. The patterns are the oracle's own; what else may
 * stand in a pattern is the business of route_pattern_fuzz.c. Any difference is a crash.
 */
#include "base/banned.h"
#include "route/route_oracle.h"

#include "base/assert.h"

struct input {
    const uint8_t *p;
    size_t n;
};

/* The next byte as a choice; zero when the input is used up. */
static unsigned input_below(void *arg, unsigned bound)
{
    struct input *in = arg;
    if (in->n == 0)
        return 0;
    in->n--;
    return *in->p++ % bound;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct oracle o;
    struct input in = {data, size};
    struct oracle_source source = {input_below, &in};
    struct oracle_request request;
    struct tg_route_table *table = NULL;
    struct tg_route_builder *builder = tg_route_builder_new();
    tg_assert(builder != NULL);
    oracle_make(&source, &o);
    tg_assert(oracle_add_to(&o, builder));
    enum tg_err err = tg_route_table_build(builder, NULL, NULL, &table);
    tg_assert(err == (oracle_has_conflict(&o) ? TG_E_EXISTS : TG_OK));
    tg_route_builder_free(&builder);
    while (err == TG_OK && in.n > 0) {
        oracle_make_request(&source, &request);
        tg_assert(oracle_agrees(&o, table, &request));
        tg_assert(oracle_explains(&o, table, &request));
    }
    tg_route_table_free(&table);
    return 0;
}
