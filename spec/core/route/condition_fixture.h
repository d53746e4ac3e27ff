/*
 * A table of one route, and a request as lists of values: for the tests of conditions.
 */
#ifndef TG_SPEC_CORE_ROUTE_CONDITION_FIXTURE_H
#define TG_SPEC_CORE_ROUTE_CONDITION_FIXTURE_H

#include "route/build.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

/* In front of four bytes: an address of IPv4. */
#define MAPPED "\0\0\0\0\0\0\0\0\0\0\xff\xff"

/* What a request has, by source: name, value, name, value... */
struct request {
    const char *of[TG_ROUTE_SOURCES][8];
    unsigned asked[TG_ROUTE_SOURCES];
};

static inline bool fetch(void *arg, enum tg_route_source source, struct tg_str name, unsigned nth,
                         struct tg_str *value)
{
    struct request *r = arg;
    unsigned seen = 0;
    r->asked[source]++;
    for (unsigned i = 0; i < 8 && r->of[source][i] != NULL; i += 2) {
        if (name.n > 0 && !tg_str_eq(tg_str_c(r->of[source][i]), name))
            continue;
        *value = tg_str_c(r->of[source][i + 1]);
        if (source == TG_ROUTE_NETWORK)
            value->n = 16;
        if (seen++ == nth)
            return true;
    }
    return false;
}

static inline enum tg_err try_build(const struct tg_route_spec *spec, struct tg_route_table **table)
{
    struct tg_route_builder *b = tg_route_builder_new();
    struct tg_route_refusal refusal;
    enum tg_err err = b != NULL ? tg_route_builder_add(b, spec, &refusal) : TG_E_NOMEM;
    if (err == TG_OK)
        err = tg_route_table_build(b, NULL, NULL, table);
    tg_route_builder_free(&b);
    return err;
}

/* Does a route with this spec take the request? */
static inline bool takes(struct tg_route_spec spec, struct request *request)
{
    struct tg_route_table *table = NULL;
    struct tg_route_query query = {.host = TG_STR("h"),
                                   .path = TG_STR("/"),
                                   .method = TG_STR("GET"),
                                   .fetch = fetch,
                                   .arg = request};
    struct tg_route_match match;
    spec.name = TG_STR("r");
    spec.handle = request;
    assert_int_equal(try_build(&spec, &table), TG_OK);
    enum tg_route_verdict verdict = tg_route_match(table, &query, &match);
    tg_route_table_free(&table);
    return verdict == TG_ROUTE_FOUND;
}

#endif
