/* guess_test.c: distances of words, and which of them is near enough to be offered. */
#include "base/banned.h"
#include "base/guess.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void distances(void **state)
{
    (void)state;
    assert_int_equal(tg_guess_distance("check", "check"), 0);
    assert_int_equal(tg_guess_distance("chekc", "check"), 1);
    assert_int_equal(tg_guess_distance("chck", "check"), 1);
    assert_int_equal(tg_guess_distance("cheek", "check"), 1);
    assert_int_equal(tg_guess_distance("checks", "check"), 1);
    assert_int_equal(tg_guess_distance("", "run"), 3);
    assert_int_equal(tg_guess_distance("an.unreasonably.long.name.of.a.file.lua", "run"), 31);
}

static void only_near_words_are_offered(void **state)
{
    (void)state;
    assert_int_equal(tg_guess_rank("head", "header_list"), 0);
    assert_int_equal(tg_guess_rank("haeder", "header"), 1);
    assert_int_equal(tg_guess_rank("exist", "exit"), 1);
    assert_int_equal(tg_guess_rank("metods", "method"), 2);
    assert_int_equal(tg_guess_rank("request", "req"), 31);
    assert_true(tg_guess_rank("only", "on") == TG_GUESS_NONE);
    assert_true(tg_guess_rank("service", "route") == TG_GUESS_NONE);
    assert_true(tg_guess_rank("", "check") == TG_GUESS_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distances),
        cmocka_unit_test(only_near_words_are_offered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
