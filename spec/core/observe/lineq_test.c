/*
 * The queue of lines against a model, and the sum that must always come out: every line pushed is
 * read, queued or dropped, and the notes tell of each dropped line once.
 */
#include "observe/lineq.h"

#include "base/mem.h"
#include "base/rand.h"
#include "support.h"

#include <inttypes.h>

static struct tg_lineq q;

static int setup(void **state)
{
    (void)state;
    return tg_lineq_init(&q, TG_LINEQ_MIN) == TG_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    tg_lineq_release(&q);
    return tg_mem_used(TG_MEM_OBSERVE) == 0 ? 0 : -1;
}

static bool push(const char *line)
{
    return tg_lineq_push(&q, line, strlen(line));
}

/* What is queued, as text. */
static const char *content(void)
{
    static char text[TG_LINEQ_MIN + 1];
    struct tg_str parts[2];
    size_t n = tg_lineq_peek(&q, 0, parts);
    memcpy(text, parts[0].p, parts[0].n);
    memcpy(text + parts[0].n, parts[1].p, parts[1].n);
    text[n] = '\0';
    return text;
}

static void fill_with(char c, size_t line)
{
    char text[TG_LINEQ_MIN];
    memset(text, c, line);
    text[line - 1] = '\n';
    while (tg_lineq_push(&q, text, line)) {
    }
}

static void test_lines_come_out_in_order(void **state)
{
    (void)state;
    assert_true(push("one\n"));
    assert_true(push("two\n"));
    assert_string_equal(content(), "one\ntwo\n");
    tg_lineq_advance(&q, 4);
    assert_string_equal(content(), "two\n");
    assert_int_equal(q.lines, 2);
    assert_int_equal(q.dropped, 0);
}

static void test_peek_skips_what_is_written_already(void **state)
{
    struct tg_str parts[2];
    (void)state;
    assert_true(push("abcdef\n"));
    assert_int_equal(tg_lineq_peek(&q, 3, parts), 4);
    assert_memory_equal(parts[0].p, "def\n", 4);
}

static void test_exactly_full_is_not_dropped(void **state)
{
    char line[TG_LINEQ_MIN];
    (void)state;
    memset(line, 'x', sizeof(line));
    line[sizeof(line) - 1] = '\n';
    assert_true(tg_lineq_push(&q, line, sizeof(line)));
    assert_int_equal(q.dropped, 0);
    assert_false(push("\n"));
    assert_int_equal(q.dropped, 1);
}

static void test_drops_until_a_quarter_is_free(void **state)
{
    (void)state;
    fill_with('x', 32);
    assert_int_equal(q.used, TG_LINEQ_MIN);
    tg_lineq_advance(&q, TG_LINEQ_MIN / 4 - 32);
    assert_false(push("y\n"));
    tg_lineq_advance(&q, 32);
    assert_true(push("y\n"));
    assert_int_equal(q.dropped, 2);
}

static void test_note_stands_where_lines_are_missing(void **state)
{
    (void)state;
    fill_with('x', 64);
    assert_false(push("lost\n"));
    tg_lineq_advance(&q, TG_LINEQ_MIN / 2);
    assert_true(push("after\n"));
    tg_lineq_advance(&q, TG_LINEQ_MIN / 2);
    assert_string_equal(content() + 24, " warn log: dropped 2 lines\nafter\n");
}

static void test_note_comes_without_another_line(void **state)
{
    (void)state;
    fill_with('x', 64);
    tg_lineq_advance(&q, TG_LINEQ_MIN);
    assert_false(tg_lineq_is_idle(&q));
    assert_non_null(strstr(content(), "dropped 1 lines\n"));
    tg_lineq_advance(&q, q.used);
    assert_true(tg_lineq_is_idle(&q));
    assert_string_equal(content(), "");
}

static void test_note_is_json_among_json(void **state)
{
    (void)state;
    assert_true(push("{\"a\":1}\n"));
    fill_with('{', 64);
    tg_lineq_advance(&q, q.used);
    assert_int_equal(content()[0], '{');
    assert_non_null(strstr(content(), ",\"message\":\"dropped 1 lines\"}\n"));
}

static void test_discarded_lines_are_dropped_lines(void **state)
{
    (void)state;
    assert_true(push("one\n"));
    assert_true(push("two\n"));
    assert_int_equal(tg_lineq_discard(&q, q.used), 2);
    assert_int_equal(q.dropped, 2);
    assert_non_null(strstr(content(), "dropped 2 lines\n"));
}

static void test_discarded_note_is_told_again(void **state)
{
    (void)state;
    fill_with('x', 64);
    tg_lineq_advance(&q, q.used);
    assert_non_null(strstr(content(), "dropped 1 lines\n"));
    assert_true(push("one\n"));
    assert_int_equal(tg_lineq_discard(&q, q.used), 1);
    assert_int_equal(q.dropped, 2);
    assert_non_null(strstr(content(), "dropped 2 lines\n"));
}

static void test_muted_queue_tells_nothing(void **state)
{
    (void)state;
    assert_true(push("one\n"));
    tg_lineq_mute(&q, true);
    assert_int_equal(tg_lineq_discard(&q, q.used), 1);
    assert_true(tg_lineq_is_idle(&q));
    assert_string_equal(content(), "");
    tg_lineq_mute(&q, false);
    assert_non_null(strstr(content(), "dropped 1 lines\n"));
}

static void test_too_long_a_line_is_dropped(void **state)
{
    static char line[TG_LINEQ_LINE_MAX + 1];
    struct tg_lineq large;
    (void)state;
    memset(line, 'x', sizeof(line));
    line[sizeof(line) - 1] = '\n';
    assert_int_equal(tg_lineq_init(&large, 2 * sizeof(line)), TG_OK);
    assert_false(tg_lineq_push(&large, line, sizeof(line)));
    assert_true(tg_lineq_push(&large, line + 1, sizeof(line) - 1));
    tg_lineq_release(&large);
}

static void test_reset_forgets_but_keeps_the_counts(void **state)
{
    (void)state;
    fill_with('x', 64);
    tg_lineq_reset(&q);
    assert_true(tg_lineq_is_idle(&q));
    assert_string_equal(content(), "");
    assert_int_equal(q.dropped, 1);
    assert_true(push("new\n"));
    assert_string_equal(content(), "new\n");
}

static void test_no_memory_is_an_error(void **state)
{
    struct tg_lineq other;
    (void)state;
    tg_mem_fail_at(1);
    assert_int_equal(tg_lineq_init(&other, TG_LINEQ_MIN), TG_E_NOMEM);
    tg_mem_fail_at(0);
}

/* Random pushes, reads and losses: lines carry their number, so order, wholeness and the sums of
 * drops are checked at each step. */
struct model {
    uint64_t next;    /* number of the next line pushed */
    uint64_t read;    /* lines that came out */
    uint64_t told;    /* sum of the notes that came out */
    uint64_t newest;  /* number of the last line that came out, plus one */
    uint64_t unsound; /* lines that came out torn or out of order */
};

static void take_line(struct model *m, const char *line)
{
    uint64_t number;
    const char *note = strstr(line, " warn log: dropped ");
    if (note != NULL) {
        m->told += strtoull(note + strlen(" warn log: dropped "), NULL, 10);
        return;
    }
    char *end;
    number = strtoull(line, &end, 10);
    m->unsound += number < m->newest || *end != ':' || strspn(end + 1, "x") != strlen(end + 1) ||
                  strlen(end + 1) != number % 90;
    m->newest = number + 1;
    m->read++;
}

static void read_some(struct model *m, struct tg_rand *r)
{
    char text[TG_LINEQ_MIN + 1];
    size_t taken = 0;
    snprintf(text, sizeof(text), "%s", content());
    char *line = text;
    for (char *end; (end = strchr(line, '\n')) != NULL && tg_rand_below(r, 4) > 0; line = end + 1) {
        *end = '\0';
        take_line(m, line);
        taken += (size_t)(end + 1 - line);
    }
    tg_lineq_advance(&q, taken);
}

static void push_numbered(struct model *m)
{
    char line[128];
    int n = snprintf(line, sizeof(line), "%" PRIu64 ":", m->next);
    size_t tail = m->next % 90;
    memset(line + n, 'x', tail);
    line[(size_t)n + tail] = '\n';
    tg_lineq_push(&q, line, (size_t)n + tail + 1);
    m->next++;
}

static void test_random_use_adds_up(void **state)
{
    struct model m = {0};
    struct tg_rand r;
    (void)state;
    tg_rand_init_seed(&r, 7);
    for (int step = 0; step < 200000; step++) {
        uint64_t what = tg_rand_below(&r, 100);
        if (what < 70)
            push_numbered(&m);
        else if (what < 98)
            read_some(&m, &r);
        else if (what < 99)
            tg_lineq_discard(&q, q.used);
        else
            tg_lineq_mute(&q, tg_rand_below(&r, 2) == 0);
        assert_true(q.used <= TG_LINEQ_MIN);
    }
    tg_lineq_mute(&q, false);
    while (!tg_lineq_is_idle(&q))
        read_some(&m, &r);
    assert_int_equal(m.unsound, 0);
    assert_int_equal(m.read + q.dropped, m.next);
    assert_int_equal(m.told, q.dropped);
    assert_true(m.read > 10000 && q.dropped > 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lines_come_out_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_peek_skips_what_is_written_already, setup, teardown),
        cmocka_unit_test_setup_teardown(test_exactly_full_is_not_dropped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drops_until_a_quarter_is_free, setup, teardown),
        cmocka_unit_test_setup_teardown(test_note_stands_where_lines_are_missing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_note_comes_without_another_line, setup, teardown),
        cmocka_unit_test_setup_teardown(test_note_is_json_among_json, setup, teardown),
        cmocka_unit_test_setup_teardown(test_discarded_lines_are_dropped_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(test_discarded_note_is_told_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_muted_queue_tells_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_long_a_line_is_dropped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reset_forgets_but_keeps_the_counts, setup, teardown),
        cmocka_unit_test(test_no_memory_is_an_error),
        cmocka_unit_test_setup_teardown(test_random_use_adds_up, setup, teardown),
    };

    return cmocka_run_group_tests_name("lineq", tests, NULL, NULL);
}
