/*
 * The gateway's own log: what a line looks like, that it stays one line whatever is in it, levels,
 * and the gate for noisy places.
 */
#include "observe/log.h"

#include "base/mem.h"
#include "observe/sink.h"
#include "support.h"

#include <pthread.h>
#include <signal.h>

#define SECOND TG_USEC_PER_SEC

static struct support_pipe a_pipe;
static struct tg_sink *sink;
static char text[4 * TG_LOG_LINE_MAX];

static int setup(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    support_pipe_open(&a_pipe);
    if (tg_sink_open(a_pipe.path, 32768, &sink) != TG_OK)
        return -1;
    tg_log_set_level(TG_LOG_INFO);
    tg_log_to(sink);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tg_log_to(NULL);
    tg_sink_close(&sink);
    support_pipe_close(&a_pipe);
    return tg_mem_used(TG_MEM_OBSERVE) == 0 ? 0 : -1;
}

/* What was logged since the last call. */
static const char *logged(void)
{
    assert_true(tg_sink_flush(10 * SECOND));
    ssize_t n = read(a_pipe.reader, text, sizeof(text) - 1);
    assert_true(n > 0 || errno == EAGAIN);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

/* The same without the time in front. */
static const char *logged_event(void)
{
    assert_true(strlen(logged()) > TG_CLOCK_RFC3339_LEN);
    return text + TG_CLOCK_RFC3339_LEN;
}

static void test_line_has_time_level_and_component(void **state)
{
    (void)state;
    tg_log(TG_LOG_WARN, "upstream", "%d targets are down", 3);
    assert_string_equal(logged_event(), " warn upstream: 3 targets are down\n");
    for (size_t i = 0; i < TG_CLOCK_RFC3339_LEN; i++)
        assert_int_equal(!!strchr("-T:.Z", text[i]),
                         !!strchr("-T:.Z", "2000-00-00T00:00:00.000Z"[i]));
}

static void test_fields_follow_the_message(void **state)
{
    (void)state;
    tg_log_kv(TG_LOG_ERROR, "upstream", "connection refused",
              tg_log_str("target", TG_STR("127.0.0.1:9")), tg_log_u64("tries", UINT64_MAX));
    assert_string_equal(logged_event(), " error upstream: connection refused target=127.0.0.1:9 "
                                        "tries=18446744073709551615\n");
}

static void test_values_are_quoted_where_they_must(void **state)
{
    (void)state;
    tg_log_kv(TG_LOG_INFO, "x", "m", tg_log_str("a", TG_STR("two words")),
              tg_log_str("b", TG_STR("say \"hi\"")), tg_log_str("c", TG_STR("")),
              tg_log_str("d", TG_STR("k=v")), tg_log_str("e", TG_STR("back\\slash")),
              tg_log_str("f", tg_str(NULL, 0)));
    assert_string_equal(logged_event(), " info x: m a=\"two words\" b=\"say \\\"hi\\\"\" c=\"\" "
                                        "d=\"k=v\" e=\"back\\\\slash\" f=\"\"\n");
}

static void test_nothing_breaks_the_line(void **state)
{
    (void)state;
    tg_log(TG_LOG_INFO, "x", "a\nb\r\tc\x1b[31m\x7f\xff \xc3\xa4 \xc2\x9b");
    assert_string_equal(logged_event(),
                        " info x: a\\nb\\r\\tc\\x1b[31m\\x7f\\xff \xc3\xa4 \\xc2\\x9b\n");
    tg_log_kv(TG_LOG_INFO, "x", "m", tg_log_str("v", TG_STR("1\n2 \0z")));
    assert_string_equal(logged_event(), " info x: m v=\"1\\n2 \\x00z\"\n");
}

static void test_long_message_is_cut_and_says_so(void **state)
{
    static char longer[2 * TG_LOG_LINE_MAX];
    (void)state;
    memset(longer, 'y', sizeof(longer) - 1);
    tg_log(TG_LOG_INFO, "x", "%s", longer);
    size_t n = strlen(logged());
    assert_int_equal(n, TG_LOG_LINE_MAX);
    assert_string_equal(text + n - 7, "y[cut]\n");
}

static void test_message_that_just_fits_is_whole(void **state)
{
    static char message[TG_LOG_LINE_MAX];
    size_t room = TG_LOG_LINE_MAX - sizeof("[cut]") - TG_CLOCK_RFC3339_LEN - strlen(" info x: ");
    (void)state;
    memset(message, 'y', room);
    tg_log(TG_LOG_INFO, "x", "%s", message);
    assert_null(strstr(logged(), "[cut]"));
    message[room] = 'y';
    tg_log(TG_LOG_INFO, "x", "%s", message);
    assert_non_null(strstr(logged(), "y[cut]\n"));
}

static void test_long_value_leaves_room_for_the_next(void **state)
{
    static char value[2 * TG_LOG_VALUE_MAX];
    (void)state;
    memset(value, 'v', sizeof(value));
    value[TG_LOG_VALUE_MAX - 1] = '\xc3';
    value[TG_LOG_VALUE_MAX] = '\xa4';
    tg_log_kv(TG_LOG_INFO, "x", "m", tg_log_str("a", tg_str(value, sizeof(value))),
              tg_log_str("b", tg_str(value, 3)));
    const char *line = logged_event();
    assert_string_equal(line + strlen(line) - 14, "vv[cut] b=vvv\n");
    assert_null(strchr(line, '\xc3'));
    assert_null(strstr(line, "\\xc3"));
}

static void test_levels(void **state)
{
    enum tg_log_level level;
    int evaluated = 0;
    (void)state;
    tg_log_set_level(TG_LOG_ERROR);
    tg_log(TG_LOG_WARN, "x", "%d", ++evaluated);
    assert_string_equal(logged(), "");
    assert_int_equal(evaluated, 0);
    tg_log_set_level(TG_LOG_DEBUG);
    tg_log(TG_LOG_DEBUG, "x", "%d", ++evaluated);
    assert_string_equal(logged_event(), " debug x: 1\n");
    for (int i = TG_LOG_DEBUG; i <= TG_LOG_ERROR; i++) {
        struct tg_str name = tg_str_c(tg_log_level_name((enum tg_log_level)i));
        assert_true(tg_log_level_from(name, &level));
        assert_int_equal(level, i);
    }
    assert_false(tg_log_level_from(TG_STR("warning"), &level));
}

static void test_gate_lets_so_many_pass_a_second(void **state)
{
    struct tg_log_gate gate = {0};
    uint64_t missed = 99;
    (void)state;
    assert_true(tg_log_gate_pass(&gate, 2, 5 * SECOND, &missed));
    assert_int_equal(missed, 0);
    assert_true(tg_log_gate_pass(&gate, 2, 5 * SECOND + 1, &missed));
    for (int i = 0; i < 7; i++)
        assert_false(tg_log_gate_pass(&gate, 2, 6 * SECOND - 1, &missed));
    assert_true(tg_log_gate_pass(&gate, 2, 6 * SECOND, &missed));
    assert_int_equal(missed, 7);
    assert_true(tg_log_gate_pass(&gate, 2, 6 * SECOND, &missed));
    assert_int_equal(missed, 0);
    assert_false(tg_log_gate_pass(&gate, 0, 7 * SECOND, &missed));
}

/* The gate of a call site follows the real clock: so many lines per second that went by. */
static void test_every_is_a_gate_per_call_site(void **state)
{
    uint64_t start = tg_clock_mono_now();
    size_t shown = 0;
    (void)state;
    for (int i = 0; i < 100; i++)
        tg_log_every(3, TG_LOG_WARN, "x", "noise");
    uint64_t seconds = (tg_clock_mono_now() - start) / SECOND + 2;
    for (const char *at = logged(); (at = strstr(at, "noise")) != NULL; at++)
        shown++;
    assert_in_range(shown, 3, 3 * seconds);
    tg_log_every(3, TG_LOG_WARN, "x", "another place");
    assert_string_equal(logged_event(), " warn x: another place\n");
}

static void test_suppressed_lines_are_told_of(void **state)
{
    (void)state;
    tg_log_line(TG_LOG_WARN, "x", 12, "noise");
    assert_string_equal(logged_event(), " warn x: noise suppressed=12\n");
}

static void *pass_many(void *arg)
{
    struct tg_log_gate *gate = arg;
    uintptr_t passed = 0;
    uint64_t missed;
    for (int i = 0; i < 20000; i++)
        passed += tg_log_gate_pass(gate, 100, 9 * SECOND, &missed);
    return (void *)passed;
}

static void test_gate_is_exact_across_threads(void **state)
{
    struct tg_log_gate gate = {0};
    pthread_t threads[4];
    uintptr_t passed = 0;
    uint64_t missed;
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, pass_many, &gate), 0);
    for (size_t i = 0; i < TG_COUNT_OF(threads); i++) {
        void *result;
        assert_int_equal(pthread_join(threads[i], &result), 0);
        passed += (uintptr_t)result;
    }
    assert_int_equal(passed, 100);
    assert_true(tg_log_gate_pass(&gate, 100, 10 * SECOND, &missed));
    assert_true(missed <= 4 * 20000 - 100);
}

static void test_trouble_with_a_sink_is_logged_once(void **state)
{
    struct support_pipe gone;
    struct tg_sink *broken;
    (void)state;
    support_pipe_open(&gone);
    assert_int_equal(tg_sink_open(gone.path, 4096, &broken), TG_OK);
    close(gone.reader);
    for (int i = 0; i < 2; i++) {
        assert_true(tg_sink_write(broken, "unread\n", 7));
        assert_true(tg_sink_flush(10 * SECOND));
    }
    char expected[128];
    snprintf(expected, sizeof(expected),
             " warn log: cannot write to a sink sink=%s reason=\"Broken pipe\"\n", gone.path);
    assert_string_equal(logged_event(), expected);
    tg_sink_close(&broken);
    close(gone.writer);
}

static void test_without_a_sink_lines_go_to_stderr(void **state)
{
    int saved = dup(STDERR_FILENO);
    (void)state;
    tg_log_to(NULL);
    assert_int_equal(dup2(a_pipe.writer, STDERR_FILENO), STDERR_FILENO);
    tg_log(TG_LOG_INFO, "boot", "hello");
    assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
    close(saved);
    assert_string_equal(logged_event(), " info boot: hello\n");
}

/* Blocking mode is what others share with us: the write does not rely on its being off. */
static void test_a_full_stderr_costs_lines_and_never_time(void **state)
{
    static char dots[65536];
    int ends[2];
    int saved = dup(STDERR_FILENO);
    size_t filled = 0;
    ssize_t n;
    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    while ((n = write(ends[1], dots, sizeof(dots))) > 0)
        filled += (size_t)n;
    assert_int_equal(fcntl(ends[1], F_SETFL, 0), 0);
    tg_log_to(NULL);
    assert_int_equal(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    tg_log(TG_LOG_INFO, "boot", "lost");
    tg_log_text(TG_STR("lost too\nand this\n"));
    while (filled > 0) {
        n = read(ends[0], dots, TG_MIN(filled, sizeof(dots)));
        assert_true(n > 0);
        filled -= (size_t)n;
    }
    tg_log_text(TG_STR("as it is\n"));
    assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
    close(saved);
    support_read_lines(ends[0], text, sizeof(text), 2);
    assert_string_equal(text + TG_CLOCK_RFC3339_LEN, " warn log: dropped 3 lines\nas it is\n");
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_line_has_time_level_and_component, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fields_follow_the_message, setup, teardown),
        cmocka_unit_test_setup_teardown(test_values_are_quoted_where_they_must, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_breaks_the_line, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_message_is_cut_and_says_so, setup, teardown),
        cmocka_unit_test_setup_teardown(test_message_that_just_fits_is_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_value_leaves_room_for_the_next, setup, teardown),
        cmocka_unit_test_setup_teardown(test_levels, setup, teardown),
        cmocka_unit_test(test_gate_lets_so_many_pass_a_second),
        cmocka_unit_test(test_gate_is_exact_across_threads),
        cmocka_unit_test_setup_teardown(test_every_is_a_gate_per_call_site, setup, teardown),
        cmocka_unit_test_setup_teardown(test_suppressed_lines_are_told_of, setup, teardown),
        cmocka_unit_test_setup_teardown(test_trouble_with_a_sink_is_logged_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_a_sink_lines_go_to_stderr, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_full_stderr_costs_lines_and_never_time, setup,
                                        teardown),
    };

    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
