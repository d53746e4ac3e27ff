/*
 * Pieces of Prometheus' text format: whatever a value holds, a line stays one line that a scraper
 * takes.
 */
#include "observe/exposition.h"

#include "support.h"

static char room[512];
static struct tg_fmt f;

static int setup(void **state)
{
    (void)state;
    tg_fmt_init(&f, room, sizeof(room) - 1);
    return 0;
}

static const char *written(void)
{
    assert_false(f.failed);
    room[f.n] = '\0';
    return room;
}

static void test_labels_are_escaped(void **state)
{
    (void)state;
    tg_exposition_label(&f, TG_STR("unix:/a\"b\\c d\ne\x7f\xc3\xa9"));
    assert_string_equal(written(), "unix:/a\\\"b\\\\c d e\x7f\xc3\xa9");
}

static void test_bytes_that_are_no_text_are_replaced(void **state)
{
    (void)state;
    tg_exposition_label(&f, tg_str("a\0b\xff\xc3", 5));
    assert_string_equal(written(), "a b??");
}

static void test_help_stays_on_its_line(void **state)
{
    (void)state;
    tg_exposition_head(&f, TG_STR("t_x_total"), "counter", TG_STR("A \"b\"\nt_y_total 7 \\n"));
    assert_string_equal(written(), "# HELP t_x_total A \"b\" t_y_total 7 \\\\n\n"
                                   "# TYPE t_x_total counter\n");
}

static void test_seconds_are_exact(void **state)
{
    (void)state;
    tg_exposition_seconds(&f, 0);
    tg_fmt_char(&f, ' ');
    tg_exposition_seconds(&f, 1000001);
    tg_fmt_char(&f, ' ');
    tg_exposition_seconds(&f, UINT64_MAX);
    assert_string_equal(written(), "0.000000 1.000001 18446744073709.551615");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_labels_are_escaped, setup),
        cmocka_unit_test_setup(test_bytes_that_are_no_text_are_replaced, setup),
        cmocka_unit_test_setup(test_help_stays_on_its_line, setup),
        cmocka_unit_test_setup(test_seconds_are_exact, setup),
    };

    return cmocka_run_group_tests_name("exposition", tests, NULL, NULL);
}
