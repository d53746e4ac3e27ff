/*
 * The order in which routes are tried: told entry by entry, as the ranks of the table have it.
 */
#include "base/banned.h"
#include "route/order.h"

#include "base/mem.h"
#include "route/build.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static char told[512];

static void on_listing(void *arg, const struct tg_route_listing *listing)
{
    size_t n = strlen(told);
    assert_null(arg);
    (void)snprintf(told + n, sizeof(told) - n, "%d %.*s%.*s %d%s\n",
                   (int)(uintptr_t)listing->handle, TG_STR_ARG(listing->host),
                   TG_STR_ARG(listing->path), (int)listing->priority,
                   listing->auto_head ? " HEAD" : "");
}

static void add(struct tg_route_builder *builder, uintptr_t handle, const char *host,
                const char *path, const char *method, int32_t priority)
{
    struct tg_str hosts[] = {tg_str_c(host)}, paths[] = {tg_str_c(path)},
                  methods[] = {tg_str_c(method)};
    char name[8];
    (void)snprintf(name, sizeof(name), "r%d", (int)handle);
    struct tg_route_spec spec = {.name = tg_str_c(name),
                                 .priority = priority,
                                 .handle = (void *)handle,
                                 .hosts = hosts,
                                 .host_count = hosts->n > 0,
                                 .paths = paths,
                                 .path_count = 1,
                                 .methods = methods,
                                 .method_count = methods->n > 0};
    struct tg_route_refusal refusal;
    assert_int_equal(TG_OK, tg_route_builder_add(builder, &spec, &refusal));
}

static struct tg_route_builder *make_builder(struct tg_route_table **table)
{
    struct tg_route_builder *builder = tg_route_builder_new();
    assert_non_null(builder);
    add(builder, 1, "", "/*", "", 0);
    add(builder, 2, "a.test", "/x/*", "", 0);
    add(builder, 3, "*.test", "/x", "", 0);
    add(builder, 4, "a.test", "/x", "GET", 0);
    add(builder, 5, "", "/{id}", "", 7);
    *table = NULL;
    assert_int_equal(TG_OK, tg_route_table_build(builder, NULL, NULL, table));
    return builder;
}

static void test_entries_come_in_order_of_precedence(void **state)
{
    struct tg_route_table *table;
    struct tg_route_builder *builder = make_builder(&table);
    (void)state;
    told[0] = '\0';
    assert_int_equal(TG_OK, tg_route_order(builder, on_listing, NULL));
    assert_string_equal("5 */{id} 7\n"
                        "4 a.test/x 0\n"
                        "4 a.test/x 0 HEAD\n"
                        "2 a.test/x/* 0\n"
                        "3 *.test/x 0\n"
                        "1 */* 0\n",
                        told);
    tg_route_table_free(&table);
    tg_route_builder_free(&builder);
}

static void test_no_memory_is_told(void **state)
{
    struct tg_route_table *table;
    struct tg_route_builder *builder = make_builder(&table);
    (void)state;
    told[0] = '\0';
    tg_mem_fail_at(1);
    assert_int_equal(TG_E_NOMEM, tg_route_order(builder, on_listing, NULL));
    tg_mem_fail_at(0);
    assert_string_equal("", told);
    tg_route_table_free(&table);
    tg_route_builder_free(&builder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entries_come_in_order_of_precedence),
        cmocka_unit_test(test_no_memory_is_told),
    };

    return cmocka_run_group_tests_name("order", tests, NULL, NULL);
}
