/*
 * The matcher by itself: verdicts, captures, budget, depth, and that it reads nothing beyond the
 * slices it was given (subjects and patterns are copied into blocks of their exact size, so that
 * the address sanitizer sees a byte too many). What patterns mean is in pattern_lua_test.c and,
 * compared with LuaJIT, in pattern_lua_test.c.
 */
#include "script/pattern.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define STEPS UINT64_C(500000)

/* CPU time that running out of the budget may take: 3 ms on a quiet machine, and far more on none;
 * builds that are not optimised, or have sanitizers, are some ten times slower. */
#ifdef TG_DEV
enum { MSEC_AT_MOST = 3000 };
#else
enum { MSEC_AT_MOST = 300 };
#endif

static struct tg_str exact(const char *p, size_t n)
{
    char *copy = malloc(n > 0 ? n : 1);

    assert_non_null(copy);
    memcpy(copy, p, n);
    return tg_str(copy, n);
}

static struct tg_str repeated(const char *piece, unsigned count)
{
    size_t n = strlen(piece);
    char *p = malloc(n * count + 1);

    assert_non_null(p);
    for (unsigned i = 0; i < count; i++)
        memcpy(p + i * n, piece, n);
    return tg_str(p, n * count);
}

static void drop(struct tg_str s)
{
    free((char *)s.p);
}

static enum tg_pattern_verdict find_in(struct tg_pattern *m, struct tg_str s, struct tg_str p)
{
    tg_pattern_init(m, s, p, TG_PATTERN_CARET_ANCHORS, STEPS);
    return tg_pattern_find(m, 0);
}

/* find_in() on exact copies; offsets in `m` stay valid, its pointers do not. */
static enum tg_pattern_verdict find(struct tg_pattern *m, struct tg_str subject,
                                    struct tg_str pattern)
{
    struct tg_str s = exact(subject.p, subject.n), p = exact(pattern.p, pattern.n);
    enum tg_pattern_verdict verdict = find_in(m, s, p);

    drop(s);
    drop(p);
    return verdict;
}

static void test_a_match_has_its_range_and_captures(void **state)
{
    struct tg_pattern m;

    (void)state;
    assert_int_equal(find(&m, TG_STR("  key=value"), TG_STR("(%w+)=()(%w*)$")), TG_PATTERN_MATCH);
    assert_int_equal(m.from, 2);
    assert_int_equal(m.to, 11);
    assert_int_equal(m.level, 3);
    assert_int_equal(m.capture[0].at, 2);
    assert_int_equal(m.capture[0].n, 3);
    assert_int_equal(m.capture[1].at, 6);
    assert_true(m.capture[1].n == TG_PATTERN_POSITION);
    assert_int_equal(m.capture[2].n, 5);
}

static void test_a_capture_may_stay_unfinished(void **state)
{
    struct tg_pattern m;

    (void)state;
    assert_int_equal(find(&m, TG_STR("ab"), TG_STR("(a")), TG_PATTERN_MATCH);
    assert_int_equal(m.level, 1);
    assert_true(m.capture[0].n == TG_PATTERN_UNFINISHED);
}

static void test_searching_goes_on_from_an_offset(void **state)
{
    struct tg_pattern m;
    struct tg_str s = TG_STR("a1 b22 c333");
    size_t from = 0;
    unsigned found = 0;

    (void)state;
    tg_pattern_init(&m, s, TG_STR("%d+"), TG_PATTERN_CARET_ANCHORS, STEPS);
    for (; tg_pattern_find(&m, from) == TG_PATTERN_MATCH; from = m.to)
        assert_int_equal(m.to - m.from, ++found);
    assert_int_equal(found, 3);
    assert_int_equal(tg_pattern_find(&m, s.n), TG_PATTERN_NONE);
}

static void test_the_caret_anchors_or_is_a_character(void **state)
{
    struct tg_pattern m;

    (void)state;
    tg_pattern_init(&m, TG_STR("b^a"), TG_STR("^a"), TG_PATTERN_CARET_ANCHORS, STEPS);
    assert_true(m.anchored);
    assert_int_equal(tg_pattern_find(&m, 0), TG_PATTERN_NONE);
    assert_int_equal(tg_pattern_find(&m, 2), TG_PATTERN_MATCH);
    tg_pattern_init(&m, TG_STR("b^a"), TG_STR("^a"), TG_PATTERN_CARET_IS_CHAR, STEPS);
    assert_false(m.anchored);
    assert_int_equal(tg_pattern_find(&m, 0), TG_PATTERN_MATCH);
    assert_int_equal(m.from, 1);
}

static void test_zero_bytes_are_ordinary_everywhere(void **state)
{
    struct tg_pattern m;

    (void)state;
    assert_int_equal(find(&m, TG_STR("a\0b"), TG_STR("\0b$")), TG_PATTERN_MATCH);
    assert_int_equal(m.from, 1);
    assert_int_equal(find(&m, TG_STR("a\0c"), TG_STR("\0b")), TG_PATTERN_NONE);
    assert_int_equal(find(&m, TG_STR("a\0\0b"), TG_STR("[\0x]+b")), TG_PATTERN_MATCH);
    assert_int_equal(m.from, 1);
    assert_int_equal(find(&m, TG_STR("a\0\0b"), TG_STR("a[^\0]")), TG_PATTERN_NONE);
    assert_int_equal(find(&m, TG_STR("x\0y\0z"), TG_STR("%b\0\0")), TG_PATTERN_MATCH);
    assert_int_equal(m.to, 4);
    assert_int_equal(find(&m, TG_STR("\0-\0"), TG_STR("(\0)-%1")), TG_PATTERN_MATCH);
}

static void test_malformed_patterns_say_how(void **state)
{
    static const struct {
        const char *pattern;
        const char *error;
    } cases[] = {
        {"%", "malformed pattern (ends with '%')"},
        {"a%", "malformed pattern (ends with '%')"},
        {"[", "malformed pattern (missing ']')"},
        {"[^", "malformed pattern (missing ']')"},
        {"[]", "malformed pattern (missing ']')"},
        {"[^]", "malformed pattern (missing ']')"},
        {"[a%]", "malformed pattern (missing ']')"},
        {"[%", "malformed pattern (missing ']')"},
        {"%f", "missing '[' after '%f' in pattern"},
        {"%f[", "malformed pattern (missing ']')"},
        {"%b", "unbalanced pattern"},
        {"%ba", "unbalanced pattern"},
        {")", "invalid pattern capture"},
        {"(a))", "invalid pattern capture"},
        {"%0", "invalid capture index"},
        {"%1", "invalid capture index"},
        {"(a%1)", "invalid capture index"},
    };
    struct tg_pattern m;

    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(cases); i++) {
        assert_int_equal(find(&m, TG_STR("a"), tg_str_c(cases[i].pattern)), TG_PATTERN_BAD);
        assert_string_equal(m.error, cases[i].error);
    }
}

static void test_every_prefix_of_a_pattern_is_safe(void **state)
{
    struct tg_str p = TG_STR("^(%w-)[^%]a-z%z]*%f[%W]()%b()(['\"]).-%3[]x]+[^]]?%%.$");
    struct tg_pattern m;

    (void)state;
    for (size_t from = 0; from < p.n; from++) {
        for (size_t to = from; to <= p.n; to++) {
            enum tg_pattern_verdict verdict =
                find(&m, TG_STR("ab]- (x) 'q'%"), tg_str_sub(p, from, to));
            assert_true(verdict <= TG_PATTERN_BAD);
        }
    }
}

static void test_captures_and_choices_are_bounded(void **state)
{
    struct tg_pattern m;
    struct tg_str s = repeated("x", 400);
    struct tg_str captures = repeated("()", TG_PATTERN_CAPTURES + 1);
    struct tg_str choices = repeated("x?", TG_PATTERN_DEPTH);

    (void)state;
    assert_int_equal(find_in(&m, s, tg_str_sub(captures, 2, captures.n)), TG_PATTERN_MATCH);
    assert_int_equal(m.level, TG_PATTERN_CAPTURES);
    assert_int_equal(find_in(&m, s, captures), TG_PATTERN_BAD);
    assert_string_equal(m.error, "too many captures");
    assert_int_equal(find_in(&m, s, tg_str_sub(choices, 2, choices.n)), TG_PATTERN_MATCH);
    assert_int_equal(m.to, TG_PATTERN_DEPTH - 1);
    assert_int_equal(find_in(&m, s, choices), TG_PATTERN_DEEP);
    assert_string_equal(m.error, "pattern too complex");
    drop(s);
    drop(captures);
    drop(choices);
}

static double cpu_msec(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

static void test_exponential_patterns_end_with_the_budget(void **state)
{
    static const char *const patterns[] = {
        ".-.-.-.-b",
        ".*.*.*.*b",
        "(.-)(.-)(.-)(.-)[b]",
        "a*a*a*a*a*b",
        "a-a-a-a-a-$x",
        "^(a*)*a*a*a*%1%1b",
        "%f[a]a-a-a-a-%f[b]",
        "[ab]-[ab]-[ab]-[ab]-c",
        ".-.-.-.-[^a]",
        "a?a?a?a?.-.-.-.-[^a]",
        ".*.-.*.-%f[b].*.-.*.-$",
        ".-%b().-%b().-%b()x",
    };
    struct tg_str s = repeated("a", 200);
    struct tg_pattern m;

    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(patterns); i++) {
        double start = cpu_msec(), spent;
        enum tg_pattern_verdict verdict = find_in(&m, s, tg_str_c(patterns[i]));

        spent = cpu_msec() - start;
        if (spent > MSEC_AT_MOST)
            fail_msg("%s took %.1f ms", patterns[i], spent);
        if (verdict == TG_PATTERN_STEPS)
            assert_int_equal(m.steps, 0);
        else
            assert_int_equal(verdict, TG_PATTERN_NONE);
    }
    assert_int_equal(find_in(&m, s, TG_STR(".-.-.-.-[b]")), TG_PATTERN_STEPS);
    drop(s);
}

/* Scans are fast, but cost steps too: else a long subject would hide quadratic time. */
static void test_scans_over_long_subjects_cost_steps(void **state)
{
    static const char *const patterns[] = {"a-b",   "a*b",   "[a]*[b]", ".-b",
                                           "%a+%d", "a%b()", "(a*)%1b"};
    struct tg_str s = repeated("a", 1 << 20);
    struct tg_pattern m;

    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(patterns); i++) {
        double start = cpu_msec(), spent;
        enum tg_pattern_verdict verdict = find_in(&m, s, tg_str_c(patterns[i]));

        spent = cpu_msec() - start;
        assert_true(verdict == TG_PATTERN_STEPS || verdict == TG_PATTERN_NONE);
        if (spent > 2 * MSEC_AT_MOST)
            fail_msg("%s took %.1f ms", patterns[i], spent);
    }
    drop(s);
}

/* A set text as long as a subject, at every one of its bytes, with more sets than slots. */
static void test_reading_sets_costs_steps(void **state)
{
    struct tg_str s = repeated("b", 5000), set = repeated("a", 5000);
    char pattern[6 * 5003 + 1];
    struct tg_pattern m;
    double start = cpu_msec();
    size_t n = 0;

    (void)state;
    for (int i = 0; i < 6; i++)
        n += (size_t)snprintf(pattern + n, sizeof(pattern) - n, "[%s%.*s]", i < 5 ? "^" : "",
                              (int)set.n - i % 2, set.p);
    assert_int_equal(find_in(&m, s, tg_str(pattern, n)), TG_PATTERN_STEPS);
    assert_true(cpu_msec() - start < MSEC_AT_MOST);
    drop(s);
    drop(set);
}

static void test_steps_are_counted_down_and_shared(void **state)
{
    struct tg_pattern m;
    uint64_t spent;

    (void)state;
    tg_pattern_init(&m, TG_STR("a1b2"), TG_STR("%a%d"), TG_PATTERN_CARET_ANCHORS, 100);
    assert_int_equal(tg_pattern_find(&m, 0), TG_PATTERN_MATCH);
    spent = 100 - m.steps;
    assert_in_range(spent, 2, 10);
    assert_int_equal(tg_pattern_find(&m, 2), TG_PATTERN_MATCH);
    assert_int_equal(100 - m.steps, 2 * spent);
    m.steps = 1;
    assert_int_equal(tg_pattern_find(&m, 0), TG_PATTERN_STEPS);
    assert_int_equal(m.steps, 0);
    m.steps = 100;
    assert_int_equal(tg_pattern_find(&m, 0), TG_PATTERN_MATCH);
}

static void test_many_sets_share_the_slots(void **state)
{
    struct tg_pattern m;
    char pattern[26 * 4 + 1], subject[27];

    (void)state;
    for (int i = 0; i < 26; i++) {
        snprintf(pattern + 4 * i, 5, "[%c%c]", 'a' + i, 'A' + i);
        snprintf(subject + i, 2, "%c", (i % 2 == 0 ? 'a' : 'A') + i);
    }
    assert_int_equal(find(&m, tg_str_c(subject), tg_str_c(pattern)), TG_PATTERN_MATCH);
    subject[25] = '!';
    assert_int_equal(find(&m, tg_str_c(subject), tg_str_c(pattern)), TG_PATTERN_NONE);
}

static void test_plain_search(void **state)
{
    struct tg_str s = TG_STR("aaaaaaaaaaaaaaaaaab\0ab");

    (void)state;
    assert_int_equal(tg_pattern_find_plain(s, TG_STR("ab"), 0), 17);
    assert_int_equal(tg_pattern_find_plain(s, TG_STR("ab"), 18), 20);
    assert_int_equal(tg_pattern_find_plain(s, TG_STR("b\0a"), 0), 18);
    assert_int_equal(tg_pattern_find_plain(s, TG_STR(""), 5), 5);
    assert_int_equal(tg_pattern_find_plain(s, TG_STR(""), s.n), s.n);
    assert_true(tg_pattern_find_plain(s, TG_STR("abc"), 0) == SIZE_MAX);
    assert_true(tg_pattern_find_plain(s, TG_STR("b"), s.n) == SIZE_MAX);
    assert_true(tg_pattern_find_plain(TG_STR("ab"), TG_STR("abc"), 0) == SIZE_MAX);
    assert_true(tg_pattern_find_plain(TG_STR("aaaaaaaaaa"), TG_STR("aab"), 0) == SIZE_MAX);
}

static void test_which_patterns_are_plain(void **state)
{
    (void)state;
    assert_true(tg_pattern_is_plain(TG_STR("")));
    assert_true(tg_pattern_is_plain(TG_STR("/api/v1_x, \0 {}\"'])~\200\377")));
    for (const char *c = "^$*+?.([%-"; *c != '\0'; c++) {
        char pattern[] = {'a', *c, 'b'};
        assert_false(tg_pattern_is_plain(tg_str(pattern, sizeof(pattern))));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_match_has_its_range_and_captures),
        cmocka_unit_test(test_a_capture_may_stay_unfinished),
        cmocka_unit_test(test_searching_goes_on_from_an_offset),
        cmocka_unit_test(test_the_caret_anchors_or_is_a_character),
        cmocka_unit_test(test_zero_bytes_are_ordinary_everywhere),
        cmocka_unit_test(test_malformed_patterns_say_how),
        cmocka_unit_test(test_every_prefix_of_a_pattern_is_safe),
        cmocka_unit_test(test_captures_and_choices_are_bounded),
        cmocka_unit_test(test_exponential_patterns_end_with_the_budget),
        cmocka_unit_test(test_scans_over_long_subjects_cost_steps),
        cmocka_unit_test(test_reading_sets_costs_steps),
        cmocka_unit_test(test_steps_are_counted_down_and_shared),
        cmocka_unit_test(test_many_sets_share_the_slots),
        cmocka_unit_test(test_plain_search),
        cmocka_unit_test(test_which_patterns_are_plain),
    };

    return cmocka_run_group_tests_name("pattern", tests, NULL, NULL);
}
