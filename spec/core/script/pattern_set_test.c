/*
 * Sets of bytes: classes against the C locale's <ctype.h>, and the text of sets.
 */
#include "script/pattern_set.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_classes_are_those_of_the_c_locale(void **state)
{
    static const struct {
        char letter;
        int (*has)(int c);
    } classes[] = {
        {'a', isalpha}, {'c', iscntrl}, {'d', isdigit}, {'g', isgraph}, {'l', islower},
        {'p', ispunct}, {'s', isspace}, {'u', isupper}, {'w', isalnum}, {'x', isxdigit},
    };

    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(classes); i++) {
        const struct tg_pattern_set *set = tg_pattern_class((uint8_t)classes[i].letter);
        const struct tg_pattern_set *rest = tg_pattern_class((uint8_t)toupper(classes[i].letter));

        for (int c = 0; c < 256; c++) {
            assert_int_equal(tg_pattern_set_has(set, (uint8_t)c), classes[i].has(c) != 0);
            assert_int_equal(tg_pattern_set_has(rest, (uint8_t)c), classes[i].has(c) == 0);
        }
    }
}

static void test_other_letters_name_no_class(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        bool class = c != '\0' && strchr("acdglpsuwxzACDGLPSUWXZ", c) != NULL;
        assert_int_equal(tg_pattern_class((uint8_t)c) != NULL, class);
    }
    assert_true(tg_pattern_set_has(tg_pattern_class('z'), 0));
    assert_false(tg_pattern_set_has(tg_pattern_class('Z'), 0));
}

/* Members of the set `text`, which must end where the text does, in the order of their values. */
static const char *members(const char *text, size_t n)
{
    static char out[257];
    const uint8_t *p = (const uint8_t *)text;
    struct tg_pattern_set set;
    size_t count = 0;

    assert_ptr_equal(tg_pattern_set_end(p, p + n), p + n);
    tg_pattern_set_init(&set, p, p + n);
    for (int c = 1; c < 256; c++) {
        if (tg_pattern_set_has(&set, (uint8_t)c))
            out[count++] = (char)c;
    }
    out[count] = '\0';
    return out;
}

#define MEMBERS(text) members(text, sizeof(text) - 1)

static void test_sets_hold_characters_ranges_and_classes(void **state)
{
    (void)state;
    assert_string_equal(MEMBERS("[abc]"), "abc");
    assert_string_equal(MEMBERS("[a-cx]"), "abcx");
    assert_string_equal(MEMBERS("[%dx]"), "0123456789x");
    assert_string_equal(MEMBERS("[%]%-]"), "-]");
    assert_string_equal(MEMBERS("[]a]"), "]a");
    assert_string_equal(MEMBERS("[a-]"), "-a");
    assert_string_equal(MEMBERS("[-a]"), "-a");
    assert_string_equal(MEMBERS("[c-a]"), "");
    assert_string_equal(MEMBERS("[a^]"), "^a");
    assert_string_equal(MEMBERS("[#-%z]"), "#$%z");
    assert_string_equal(MEMBERS("[a\0-\3]"), "\1\2\3a");
    assert_string_equal(MEMBERS("[\376-\377]"), "\376\377");
    assert_int_equal(strlen(MEMBERS("[^]]")), 254);
    assert_int_equal(strlen(MEMBERS("[^%z]")), 255);
}

static void test_ranges_hold_what_is_between(void **state)
{
    (void)state;
    for (unsigned low = 0; low < 256; low++) {
        for (unsigned high = 0; high < 256; high++) {
            const uint8_t text[] = {'[', (uint8_t)low, '-', (uint8_t)high, ']'};
            struct tg_pattern_set set;
            if (low == '^' || low == '%')
                continue;
            tg_pattern_set_init(&set, text, text + sizeof(text));
            for (unsigned c = 0; c < 256; c++)
                assert_int_equal(tg_pattern_set_has(&set, (uint8_t)c), c >= low && c <= high);
        }
    }
}

static void test_a_set_ends_at_its_bracket_or_not_at_all(void **state)
{
    static const char *const unfinished[] = {"[", "[^", "[]", "[^]", "[a", "[a%]", "[a%", "[]%]"};
    const uint8_t *text = (const uint8_t *)"[a]b]";

    (void)state;
    assert_ptr_equal(tg_pattern_set_end(text, text + 5), text + 3);
    for (size_t i = 0; i < TG_COUNT_OF(unfinished); i++) {
        const uint8_t *p = (const uint8_t *)unfinished[i];
        assert_null(tg_pattern_set_end(p, p + strlen(unfinished[i])));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes_are_those_of_the_c_locale),
        cmocka_unit_test(test_other_letters_name_no_class),
        cmocka_unit_test(test_sets_hold_characters_ranges_and_classes),
        cmocka_unit_test(test_ranges_hold_what_is_between),
        cmocka_unit_test(test_a_set_ends_at_its_bracket_or_not_at_all),
    };

    return cmocka_run_group_tests_name("pattern_set", tests, NULL, NULL);
}
