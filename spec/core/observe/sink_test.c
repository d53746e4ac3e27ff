/*
 * Sinks without their thread: what flush and close write, rotation, trouble, drops, fork. The same
 * queue with its thread is in sink_thread_test.c.
 */
#include "observe/sink.h"

#include "base/limits.h"
#include "observe/sink_fixture.h"

#include <sys/wait.h>

static void assert_file(const char *path, const char *expected)
{
    char *text = support_read_file(path, NULL);
    assert_string_equal(text, expected);
    free(text);
}

static void test_flush_writes_on_this_thread(void **state)
{
    struct tg_sink *sink = opened(file_path);
    (void)state;
    assert_true(put(sink, "one\n"));
    assert_true(put(sink, "two\n"));
    assert_file(file_path, "");
    assert_true(tg_sink_flush(SECOND));
    assert_file(file_path, "one\ntwo\n");
    tg_sink_close(&sink);
    assert_null(sink);
}

static void test_close_writes_what_is_queued(void **state)
{
    struct tg_sink *sink = opened(file_path);
    (void)state;
    assert_true(put(sink, "last words\n"));
    tg_sink_close(&sink);
    assert_file(file_path, "last words\n");
    tg_sink_close(&sink);
}

static void test_appends_to_what_is_there(void **state)
{
    struct tg_sink *sink;
    (void)state;
    for (int i = 0; i < 2; i++) {
        sink = opened(file_path);
        assert_true(put(sink, "again\n"));
        tg_sink_close(&sink);
    }
    assert_file(file_path, "again\nagain\n");
}

static void test_same_spec_is_the_same_sink(void **state)
{
    struct tg_sink *one = opened(file_path);
    struct tg_sink *two = opened(file_path);
    struct tg_sink *again = one;
    (void)state;
    assert_ptr_equal(one, two);
    assert_true(put(one, "kept\n"));
    tg_sink_close(&one);
    assert_true(put(two, "alive\n"));
    assert_int_equal(tg_sink_stats(two).lines, 2);
    one = opened(file_path);
    assert_ptr_equal(one, again);
    tg_sink_close(&one);
    tg_sink_close(&two);
    assert_file(file_path, "kept\nalive\n");
}

static void test_bad_specs_are_refused(void **state)
{
    struct tg_sink *sink = NULL;
    char missing[128];
    (void)state;
    path_in_folder(missing, "missing/log");
    assert_int_equal(tg_sink_open(missing, QUEUE, &sink), TG_E_SYSTEM);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(tg_sink_open("syslog:tcp:127.0.0.1:1", QUEUE, &sink), TG_E_INVALID);
    assert_int_equal(tg_sink_open("syslog:udp:nowhere.example:1", QUEUE, &sink), TG_E_INVALID);
    assert_int_equal(tg_sink_open("syslog:udp:127.0.0.1", QUEUE, &sink), TG_E_INVALID);
    assert_int_equal(tg_sink_open("syslog:unix:", QUEUE, &sink), TG_E_INVALID);
    assert_null(sink);
}

static void test_no_memory_is_an_error(void **state)
{
    struct tg_sink *sink = NULL;
    (void)state;
    for (uint64_t nth = 1; nth <= 2; nth++) {
        tg_mem_fail_at(nth);
        assert_int_equal(tg_sink_open(file_path, QUEUE, &sink), TG_E_NOMEM);
    }
    tg_mem_fail_at(0);
    assert_null(sink);
}

static void test_rotation_goes_on_in_a_new_file(void **state)
{
    struct tg_sink *sink = opened(file_path);
    char old[128];
    (void)state;
    path_in_folder(old, "log.1");
    assert_true(put(sink, "before\n"));
    assert_true(tg_sink_flush(SECOND));
    assert_int_equal(rename(file_path, old), 0);
    assert_true(put(sink, "after\n"));
    tg_sink_reopen_all();
    tg_sink_close(&sink);
    assert_file(old, "before\n");
    assert_file(file_path, "after\n");
}

static void test_rotation_that_fails_keeps_the_file(void **state)
{
    struct tg_sink *sink;
    char inner[128];
    char path[128];
    char moved[128];
    (void)state;
    path_in_folder(inner, "inner");
    path_in_folder(path, "inner/log");
    path_in_folder(moved, "moved");
    assert_int_equal(mkdir(inner, 0700), 0);
    sink = opened(path);
    assert_int_equal(rename(inner, moved), 0);
    tg_sink_reopen_all();
    assert_true(put(sink, "still\n"));
    tg_sink_close(&sink);
    assert_int_equal(atomic_load(&troubles), 1);
    assert_int_equal(atomic_load(&recoveries), 0);
    path_in_folder(path, "moved/log");
    assert_file(path, "still\n");
}

/* /dev/full answers every write with ENOSPC; the path leads there first and to a file later. */
static void test_lines_wait_for_space(void **state)
{
    struct tg_sink *sink;
    char target[128];
    (void)state;
    path_in_folder(target, "disk");
    assert_int_equal(symlink("/dev/full", file_path), 0);
    sink = opened(file_path);
    assert_true(put(sink, "one\n"));
    assert_false(tg_sink_flush(0));
    assert_true(put(sink, "two\n"));
    assert_false(tg_sink_flush(0));
    assert_int_equal(atomic_load(&troubles), 1);
    assert_int_equal(tg_sink_stats(sink).dropped, 0);
    assert_int_equal(atomic_load(&recoveries), 0);
    assert_int_equal(unlink(file_path), 0);
    assert_int_equal(symlink(target, file_path), 0);
    tg_sink_reopen_all();
    assert_true(tg_sink_flush(SECOND));
    assert_int_equal(atomic_load(&recoveries), 1);
    tg_sink_close(&sink);
    assert_file(target, "one\ntwo\n");
}

static void test_full_queue_drops_and_counts(void **state)
{
    struct tg_sink *sink = opened(file_path);
    uint64_t total = tg_sink_dropped_total();
    uint64_t hits = tg_limit_hits(TG_LIMIT_ID_log_queue);
    uint64_t taken = 0;
    (void)state;
    for (int i = 0; i < 2000; i++)
        taken += put(sink, "0123456789abcde\n");
    assert_int_equal(taken, QUEUE / 16);
    assert_int_equal(tg_sink_stats(sink).dropped, 2000 - taken);
    assert_int_equal(tg_sink_stats(sink).queued, QUEUE);
    assert_int_equal(tg_sink_dropped_total() - total, 2000 - taken);
    assert_int_equal(tg_limit_hits(TG_LIMIT_ID_log_queue) - hits, 2000 - taken);
    tg_sink_close(&sink);
    char *text = support_read_file(file_path, NULL);
    assert_non_null(strstr(text, " warn log: dropped 1488 lines\n"));
    free(text);
}

static void test_child_of_fork_starts_empty(void **state)
{
    struct tg_sink *sink = opened(file_path);
    int status = -1;
    (void)state;
    assert_true(put(sink, "parent\n"));
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        bool good = tg_sink_stats(sink).queued == 0 && put(sink, "child\n");
        _exit(good && tg_sink_flush(SECOND) ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    tg_sink_close(&sink);
    assert_file(file_path, "child\nparent\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_flush_writes_on_this_thread, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close_writes_what_is_queued, setup, teardown),
        cmocka_unit_test_setup_teardown(test_appends_to_what_is_there, setup, teardown),
        cmocka_unit_test_setup_teardown(test_same_spec_is_the_same_sink, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_specs_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_memory_is_an_error, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rotation_goes_on_in_a_new_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rotation_that_fails_keeps_the_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lines_wait_for_space, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_queue_drops_and_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_child_of_fork_starts_empty, setup, teardown),
    };

    return cmocka_run_group_tests_name("sink", tests, NULL, NULL);
}
