/*
 * The route table against a linear scan of the rules (route_oracle.h): thousands of random tables,
 * each asked many random questions, some of them with all reasons, from a fixed seed. A difference
 * prints the seed's step.
 */
#include "base/banned.h"
#include "route_oracle.h"

#include "base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define TABLES  2000
#define QUERIES 100

static unsigned random_below(void *arg, unsigned bound)
{
    return (unsigned)tg_rand_below(arg, bound);
}

static void compare_tables(const struct oracle_source *source, const struct oracle *o,
                           const struct tg_route_table *table)
{
    struct oracle_request request;
    for (int i = 0; i < QUERIES; i++) {
        oracle_make_request(source, &request);
        if (!oracle_agrees(o, table, &request))
            fail_msg("differs for method %u, host '%s:%d', path '%s'", request.method, request.host,
                     request.port, request.path);
        if (i % 10 == 0)
            assert_true(oracle_explains(o, table, &request));
    }
}

static void test_table_agrees_with_a_linear_scan(void **state)
{
    static struct oracle o;
    struct tg_rand rand;
    struct oracle_source source = {random_below, &rand};
    int conflicts = 0, built = 0;
    (void)state;
    tg_rand_init_seed(&rand, 20240607);
    while (built < TABLES) {
        struct tg_route_builder *builder = tg_route_builder_new();
        struct tg_route_table *table = NULL;
        oracle_make(&source, &o);
        assert_non_null(builder);
        assert_true(oracle_add_to(&o, builder));
        enum tg_err err = tg_route_table_build(builder, NULL, NULL, &table);
        assert_int_equal(err, oracle_has_conflict(&o) ? TG_E_EXISTS : TG_OK);
        tg_route_builder_free(&builder);
        conflicts += err != TG_OK;
        built += err == TG_OK;
        if (err == TG_OK)
            compare_tables(&source, &o, table);
        tg_route_table_free(&table);
    }
    assert_true(conflicts > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_agrees_with_a_linear_scan),
    };
    return cmocka_run_group_tests_name("route random", tests, NULL, NULL);
}
