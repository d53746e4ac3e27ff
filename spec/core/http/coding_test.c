/*
 * Codings by name, what Content-Encoding says, and what Accept-Encoding asks for.
 */
#include "http/coding.h"

#include "support.h"

#include "base/slab.h"

struct fixture {
    struct tg_slab *slab;
    struct tg_arena arena;
    struct tg_fields fields;
};

static void open_fixture(struct fixture *f)
{
    f->slab = tg_slab_new(TG_MEM_OTHER, 0);
    assert_non_null(f->slab);
    tg_arena_init(&f->arena, f->slab, 65536);
    tg_fields_init(&f->fields, &f->arena);
}

static void close_fixture(struct fixture *f)
{
    tg_arena_release(&f->arena);
    tg_slab_free(&f->slab);
}

static void test_names(void **unused)
{
    (void)unused;
    assert_int_equal(tg_coding_of(TG_STR("gzip")), TG_CODING_GZIP);
    assert_int_equal(tg_coding_of(TG_STR("X-GZip")), TG_CODING_GZIP);
    assert_int_equal(tg_coding_of(TG_STR("Deflate")), TG_CODING_DEFLATE);
    assert_int_equal(tg_coding_of(TG_STR("BR")), TG_CODING_BR);
    assert_int_equal(tg_coding_of(TG_STR("zstd")), TG_CODING_ZSTD);
    assert_int_equal(tg_coding_of(TG_STR("identity")), TG_CODING_OTHER);
    assert_int_equal(tg_coding_of(TG_STR("compress")), TG_CODING_OTHER);
    assert_int_equal(tg_coding_of(TG_STR("")), TG_CODING_OTHER);
    for (int i = 0; i < TG_CODINGS; i++)
        assert_int_equal(tg_coding_of(tg_coding_name((enum tg_coding)i)), i);
}

static void test_the_only_coding_of_a_body(void **unused)
{
    static const struct {
        const char *one, *two;
        enum tg_coding coding;
        bool is_one;
    } cases[] = {
        {NULL, NULL, TG_CODING_OTHER, true},         {"gzip", NULL, TG_CODING_GZIP, true},
        {"identity", NULL, TG_CODING_OTHER, true},   {"identity, br", NULL, TG_CODING_BR, true},
        {"gzip, gzip", NULL, TG_CODING_GZIP, false}, {"gzip", "br", TG_CODING_GZIP, false},
        {"lzma", NULL, TG_CODING_OTHER, false},      {"", NULL, TG_CODING_OTHER, true},
    };
    (void)unused;
    for (size_t i = 0; i < TG_COUNT_OF(cases); i++) {
        struct fixture f;
        enum tg_coding coding;
        open_fixture(&f);
        const char *values[] = {cases[i].one, cases[i].two};
        for (int k = 0; k < 2 && values[k] != NULL; k++)
            assert_int_equal(
                tg_fields_add(&f.fields, TG_STR("Content-Encoding"), tg_str_c(values[k])), TG_OK);
        assert_int_equal(tg_coding_only(&f.fields, &coding), cases[i].is_one);
        if (cases[i].is_one)
            assert_int_equal(coding, cases[i].coding);
        close_fixture(&f);
    }
}

/* br, zstd and gzip are on offer, in this order. */
static void test_what_a_client_wants_most(void **unused)
{
    static const struct {
        const char *accept; /* NULL: no such field */
        enum tg_coding coding;
        bool not_identity;
    } cases[] = {
        {NULL, TG_CODING_OTHER, false},
        {"", TG_CODING_OTHER, false},
        {"gzip", TG_CODING_GZIP, false},
        {"x-gzip", TG_CODING_GZIP, false},
        {"gzip, br", TG_CODING_BR, false},
        {"gzip, deflate, br, zstd", TG_CODING_BR, false},
        {"gzip;q=0.5, zstd;q=0.8, br;q=0.501", TG_CODING_ZSTD, false},
        {"GZIP ; Q=0.5", TG_CODING_GZIP, false},
        {"*", TG_CODING_BR, false},
        {"*;q=0.1, gzip", TG_CODING_GZIP, false},
        {"br;q=0, *", TG_CODING_ZSTD, false},
        {"gzip;q=0", TG_CODING_OTHER, false},
        {"deflate", TG_CODING_OTHER, false},
        {"identity", TG_CODING_OTHER, false},
        {"identity, gzip;q=0.5", TG_CODING_OTHER, false},
        {"identity;q=0.5, gzip;q=0.5", TG_CODING_GZIP, false},
        {"identity;q=0.5, gzip;q=0.501", TG_CODING_GZIP, false},
        {"gzip, identity;q=0", TG_CODING_GZIP, true},
        {"identity;q=0", TG_CODING_OTHER, true},
        {"*;q=0", TG_CODING_OTHER, true},
        {"gzip;q=0.1, *;q=0", TG_CODING_GZIP, true},
        {"identity;q=0.1, *;q=0", TG_CODING_OTHER, false},
        {"gzip;q=1.000, br;q=0.999", TG_CODING_GZIP, false},
        {"gzip;q=1.001", TG_CODING_OTHER, false},
        {"gzip;q=2", TG_CODING_OTHER, false},
        {"gzip;q=0.1234", TG_CODING_OTHER, false},
        {"gzip;q=", TG_CODING_OTHER, false},
        {"gzip;q=0x1", TG_CODING_OTHER, false},
        {"gzip;level=1", TG_CODING_OTHER, false},
        {"gzip br", TG_CODING_OTHER, false},
        {"gzip;", TG_CODING_OTHER, false},
        {";q=1", TG_CODING_OTHER, false},
        {"unknown;q=1, gzip;q=0.2", TG_CODING_GZIP, false},
        {"gzip;q=0., br;q=0", TG_CODING_OTHER, false},
        {", gzip,,", TG_CODING_GZIP, false},
    };
    static const enum tg_coding offered[] = {TG_CODING_BR, TG_CODING_ZSTD, TG_CODING_GZIP};
    (void)unused;
    for (size_t i = 0; i < TG_COUNT_OF(cases); i++) {
        struct fixture f;
        open_fixture(&f);
        if (cases[i].accept != NULL)
            assert_int_equal(
                tg_fields_add(&f.fields, TG_STR("Accept-Encoding"), tg_str_c(cases[i].accept)),
                TG_OK);
        struct tg_coding_wish wish = tg_coding_choose(&f.fields, offered, 3);
        if (wish.coding != cases[i].coding || wish.not_identity != cases[i].not_identity)
            print_message("Accept-Encoding: %s\n", cases[i].accept);
        assert_int_equal(wish.coding, cases[i].coding);
        assert_int_equal(wish.not_identity, cases[i].not_identity);
        close_fixture(&f);
    }
}

static void test_lines_of_a_field_are_one_list(void **unused)
{
    static const enum tg_coding offered[] = {TG_CODING_GZIP, TG_CODING_BR};
    struct fixture f;
    (void)unused;
    open_fixture(&f);
    assert_int_equal(tg_fields_add(&f.fields, TG_STR("accept-encoding"), TG_STR("gzip;q=0.3")),
                     TG_OK);
    assert_int_equal(tg_fields_add(&f.fields, TG_STR("Accept-Encoding"), TG_STR("br;q=0.4")),
                     TG_OK);
    assert_int_equal(tg_coding_choose(&f.fields, offered, 2).coding, TG_CODING_BR);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_the_only_coding_of_a_body),
        cmocka_unit_test(test_what_a_client_wants_most),
        cmocka_unit_test(test_lines_of_a_field_are_one_list),
    };
    return cmocka_run_group_tests_name("coding", tests, NULL, NULL);
}
