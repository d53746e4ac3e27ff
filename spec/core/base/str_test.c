/*
 * Slices: comparing, cutting, lists and numbers, at their edges and with the empty slice.
 */
#include "base/str.h"

#include "support.h"

static const struct tg_str nothing = {NULL, 0};

static void assert_slice(struct tg_str s, const char *expected)
{
    assert_int_equal(s.n, strlen(expected));
    assert_memory_equal(s.p, expected, s.n);
}

static void test_equality(void **state)
{
    (void)state;
    assert_true(tg_str_eq(TG_STR("abc"), tg_str_c("abc")));
    assert_false(tg_str_eq(TG_STR("abc"), TG_STR("abC")));
    assert_false(tg_str_eq(TG_STR("abc"), TG_STR("ab")));
    assert_true(tg_str_eq(nothing, TG_STR("")));
    assert_true(tg_str_eq(tg_str_c(NULL), nothing));
    assert_true(tg_str_eq(TG_STR("a\0b"), tg_str("a\0b", 3)));
}

static void test_equality_without_case_folds_ascii_letters_only(void **state)
{
    (void)state;
    assert_true(tg_str_eq_nocase(TG_STR("Content-Length"), TG_STR("cONTENT-lENGTH")));
    assert_false(tg_str_eq_nocase(TG_STR("a"), TG_STR("b")));
    assert_false(tg_str_eq_nocase(TG_STR("a"), TG_STR("aa")));
    assert_true(tg_str_eq_nocase(nothing, nothing));
    for (int x = 0; x < 256; x++) {
        for (int y = 0; y < 256; y++) {
            char a = (char)x;
            char b = (char)y;
            int fold_x = x >= 'A' && x <= 'Z' ? x + 32 : x;
            int fold_y = y >= 'A' && y <= 'Z' ? y + 32 : y;
            assert_int_equal(tg_str_eq_nocase(tg_str(&a, 1), tg_str(&b, 1)), fold_x == fold_y);
        }
    }
}

static void test_prefix(void **state)
{
    (void)state;
    assert_true(tg_str_starts(TG_STR("abc"), TG_STR("ab")));
    assert_true(tg_str_starts(TG_STR("abc"), TG_STR("abc")));
    assert_false(tg_str_starts(TG_STR("ab"), TG_STR("abc")));
    assert_true(tg_str_starts(nothing, nothing));
    assert_true(tg_str_starts(TG_STR("abc"), nothing));
}

static void test_find(void **state)
{
    (void)state;
    assert_int_equal(tg_str_find(TG_STR("a,b,c"), ',', 0), 1);
    assert_int_equal(tg_str_find(TG_STR("a,b,c"), ',', 2), 3);
    assert_int_equal(tg_str_find(TG_STR("a,b,c"), ',', 4), 5);
    assert_int_equal(tg_str_find(TG_STR("abc"), ',', 99), 3);
    assert_int_equal(tg_str_find(nothing, 'x', 0), 0);
}

static void test_sub_is_clamped(void **state)
{
    (void)state;
    assert_slice(tg_str_sub(TG_STR("hello"), 1, 3), "el");
    assert_slice(tg_str_sub(TG_STR("hello"), 3, 99), "lo");
    assert_slice(tg_str_sub(TG_STR("hello"), 4, 2), "");
    assert_slice(tg_str_sub(TG_STR("hello"), 99, 99), "");
    assert_int_equal(tg_str_sub(nothing, 0, 5).n, 0);
    assert_int_equal(tg_str_sub(nothing, 3, 5).n, 0);
}

static void test_trim_takes_spaces_and_tabs(void **state)
{
    (void)state;
    assert_slice(tg_str_trim(TG_STR(" \t a b \t")), "a b");
    assert_slice(tg_str_trim(TG_STR("a")), "a");
    assert_slice(tg_str_trim(TG_STR(" \t ")), "");
    assert_slice(tg_str_trim(TG_STR("\ra\n")), "\ra\n");
    assert_int_equal(tg_str_trim(nothing).n, 0);
}

static void test_list_items(void **state)
{
    struct tg_str list = TG_STR(" a , ,b\t,,\tc d,");
    struct tg_str item;
    (void)state;
    assert_true(tg_str_next_item(&list, &item));
    assert_slice(item, "a");
    assert_true(tg_str_next_item(&list, &item));
    assert_slice(item, "b");
    assert_true(tg_str_next_item(&list, &item));
    assert_slice(item, "c d");
    assert_false(tg_str_next_item(&list, &item));
    assert_false(tg_str_next_item(&list, &item));
    list = nothing;
    assert_false(tg_str_next_item(&list, &item));
}

static void test_numbers(void **state)
{
    static const char *const bad[] = {
        "", "-1", "+1", " 1", "1 ", "0x10", "1e3", "18446744073709551616", "99999999999999999999",
    };
    uint64_t value = 42;
    (void)state;
    assert_true(tg_str_to_u64(TG_STR("0"), &value));
    assert_int_equal(value, 0);
    assert_true(tg_str_to_u64(TG_STR("000123"), &value));
    assert_int_equal(value, 123);
    assert_true(tg_str_to_u64(TG_STR("18446744073709551615"), &value));
    assert_true(value == UINT64_MAX);
    value = 42;
    for (size_t i = 0; i < TG_COUNT_OF(bad); i++)
        assert_false(tg_str_to_u64(tg_str_c(bad[i]), &value));
    assert_int_equal(value, 42);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equality),
        cmocka_unit_test(test_equality_without_case_folds_ascii_letters_only),
        cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_sub_is_clamped),
        cmocka_unit_test(test_trim_takes_spaces_and_tabs),
        cmocka_unit_test(test_list_items),
        cmocka_unit_test(test_numbers),
    };

    return cmocka_run_group_tests_name("str", tests, NULL, NULL);
}
