/*
 * Sinks as their users see them: what is written arrives whole and in order or is counted as
 * dropped, whatever the reader does, and writing never waits.
 */
#include "observe/sink.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "support.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#define SECOND TG_USEC_PER_SEC
#define QUEUE  ((size_t)8192)

static char folder[64];
static char file_path[128];
static struct support_pipe a_pipe;
static _Atomic int troubles;

static void on_trouble(const char *spec, int sys_errno)
{
    (void)spec;
    (void)sys_errno;
    atomic_fetch_add(&troubles, 1);
}

static void path_in_folder(char out[static 128], const char *name)
{
    snprintf(out, 128, "%s/%s", folder, name);
}

static int setup(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    support_folder(folder);
    path_in_folder(file_path, "log");
    support_pipe_open(&a_pipe);
    atomic_store(&troubles, 0);
    tg_sink_on_trouble(on_trouble);
    return 0;
}

static int setup_thread(void **state)
{
    return setup(state) != 0 || tg_sink_thread_start() != TG_OK;
}

/* The tests close their sinks; a stopped thread leaves none behind. */
static int teardown(void **state)
{
    (void)state;
    tg_sink_thread_stop(SECOND);
    tg_sink_flush(SECOND);
    tg_sink_on_trouble(NULL);
    support_pipe_close(&a_pipe);
    support_remove(folder);
    return tg_mem_used(TG_MEM_OBSERVE) == 0 ? 0 : -1;
}

static struct tg_sink *opened(const char *spec)
{
    struct tg_sink *sink = NULL;
    assert_int_equal(tg_sink_open(spec, QUEUE, &sink), TG_OK);
    return sink;
}

static bool put(struct tg_sink *sink, const char *line)
{
    return tg_sink_write(sink, line, strlen(line));
}

static void assert_file(const char *path, const char *expected)
{
    char *text = support_read_file(path, NULL);
    assert_string_equal(text, expected);
    free(text);
}

/* ---- without the thread ---------------------------------------------------------------------- */

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
    assert_int_equal(unlink(file_path), 0);
    assert_int_equal(symlink(target, file_path), 0);
    tg_sink_reopen_all();
    assert_true(tg_sink_flush(SECOND));
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

/* ---- with the thread ------------------------------------------------------------------------- */

static void test_line_arrives_by_itself(void **state)
{
    struct tg_sink *sink = opened(a_pipe.path);
    char text[64];
    (void)state;
    for (int i = 0; i < 5; i++) {
        assert_true(put(sink, "hello\n"));
        support_read_lines(a_pipe.reader, text, sizeof(text), 1);
        assert_string_equal(text, "hello\n");
    }
    tg_sink_close(&sink);
}

/* What a reader of numbered lines must find, whatever was dropped in between. */
struct reading {
    uint64_t lines;
    uint64_t told; /* by notes */
    uint64_t torn;
    uint64_t next[8]; /* smallest number that each writer may show next */
};

/* Lines are "<writer> <number> <number copies of the writer's digit, mod 50>". */
static size_t number_line(char *out, size_t cap, unsigned writer, uint64_t number)
{
    char tail[64];
    size_t n = number % 50;
    memset(tail, '0' + (int)writer, n);
    tail[n] = '\0';
    return (size_t)snprintf(out, cap, "%u %llu %s\n", writer, (unsigned long long)number, tail);
}

static void read_line(struct reading *r, const char *line)
{
    unsigned writer;
    unsigned long long number;
    char expected[128];
    const char *note = strstr(line, " warn log: dropped ");
    if (note != NULL) {
        r->told += strtoull(note + strlen(" warn log: dropped "), NULL, 10);
        return;
    }
    r->lines++;
    if (sscanf(line, "%u %llu ", &writer, &number) != 2 || writer >= 8 ||
        number < r->next[writer]) {
        r->torn++;
        return;
    }
    size_t n = number_line(expected, sizeof(expected), writer, number);
    r->torn += strlen(line) + 1 != n || strncmp(line, expected, n - 1) != 0;
    r->next[writer] = number + 1;
}

static void read_text(struct reading *r, char *text)
{
    for (char *end; (end = strchr(text, '\n')) != NULL; text = end + 1) {
        *end = '\0';
        read_line(r, text);
    }
    r->torn += *text != '\0';
}

/* Reads lines until the reading has seen or been told of `total` of them. */
static void read_until(struct reading *r, int fd, uint64_t total)
{
    char text[16384];
    size_t n = 0;
    while (r->lines + r->told < total) {
        support_await(fd);
        ssize_t got = read(fd, text + n, sizeof(text) - 1 - n);
        assert_true(got > 0);
        n += (size_t)got;
        char *last = memrchr(text, '\n', n);
        assert_non_null(last);
        size_t whole = (size_t)(last + 1 - text);
        char after = text[whole];
        text[whole] = '\0';
        read_text(r, text);
        text[whole] = after;
        memmove(text, text + whole, n - whole);
        n -= whole;
    }
    assert_int_equal(n, 0);
}

static void write_numbered(struct tg_sink *sink, unsigned writer, uint64_t from, uint64_t to)
{
    char line[128];
    for (uint64_t i = from; i < to; i++) {
        size_t n = number_line(line, sizeof(line), writer, i);
        tg_sink_write(sink, line, n);
    }
}

static void test_reader_that_comes_late(void **state)
{
    struct tg_sink *sink = opened(a_pipe.path);
    struct reading r = {0};
    (void)state;
    assert_true(fcntl(a_pipe.writer, F_SETPIPE_SZ, 4096) > 0);
    write_numbered(sink, 1, 0, 5000);
    assert_true(tg_sink_stats(sink).dropped > 0);
    read_until(&r, a_pipe.reader, 5000);
    write_numbered(sink, 1, 5000, 5010);
    read_until(&r, a_pipe.reader, 5010);
    assert_int_equal(r.torn, 0);
    assert_int_equal(r.told, tg_sink_stats(sink).dropped);
    assert_int_equal(r.lines, tg_sink_stats(sink).lines);
    tg_sink_close(&sink);
}

/* A line longer than the pipe holds goes out in pieces, as the reader makes room. */
static void test_line_longer_than_the_pipe(void **state)
{
    struct tg_sink *sink = NULL;
    static char line[50001];
    static char text[60000];
    (void)state;
    assert_true(fcntl(a_pipe.writer, F_SETPIPE_SZ, 4096) > 0);
    assert_int_equal(tg_sink_open(a_pipe.path, 65536, &sink), TG_OK);
    for (size_t i = 0; i < sizeof(line); i++)
        line[i] = (char)('a' + i % 26);
    line[sizeof(line) - 1] = '\n';
    assert_true(tg_sink_write(sink, line, sizeof(line)));
    assert_true(put(sink, "next\n"));
    assert_int_equal(support_read_lines(a_pipe.reader, text, sizeof(text), 2), sizeof(line) + 5);
    assert_memory_equal(text, line, sizeof(line));
    assert_string_equal(text + sizeof(line), "next\n");
    tg_sink_close(&sink);
}

static void test_pipe_that_nobody_reads_any_more(void **state)
{
    struct tg_sink *sink = opened(a_pipe.path);
    (void)state;
    close(a_pipe.reader);
    assert_true(put(sink, "lost\n"));
    assert_true(put(sink, "lost\n"));
    assert_true(tg_sink_flush(10 * SECOND));
    assert_int_equal(tg_sink_stats(sink).dropped, 2);
    assert_int_equal(atomic_load(&troubles), 1);
    assert_true(put(sink, "lost\n"));
    assert_true(tg_sink_flush(10 * SECOND));
    assert_int_equal(tg_sink_stats(sink).dropped, 3);
    assert_int_equal(atomic_load(&troubles), 1);
    tg_sink_close(&sink);
    a_pipe.reader = dup(a_pipe.writer);
}

static void test_stalled_sink_does_not_hold_others(void **state)
{
    struct tg_sink *stalled = opened(a_pipe.path);
    struct tg_sink *other;
    struct support_pipe second;
    char text[64];
    (void)state;
    support_pipe_open(&second);
    other = opened(second.path);
    assert_true(fcntl(a_pipe.writer, F_SETPIPE_SZ, 4096) > 0);
    write_numbered(stalled, 1, 0, 1000);
    assert_true(put(other, "through\n"));
    support_read_lines(second.reader, text, sizeof(text), 1);
    assert_string_equal(text, "through\n");
    assert_false(tg_sink_flush(0));
    close(a_pipe.reader);
    assert_true(tg_sink_flush(10 * SECOND));
    a_pipe.reader = dup(a_pipe.writer);
    tg_sink_close(&stalled);
    tg_sink_close(&other);
    assert_true(tg_sink_thread_stop(10 * SECOND));
    support_pipe_close(&second);
}

struct writer {
    struct tg_sink *sink;
    unsigned number;
    uint64_t lines;
};

static void *writer_main(void *arg)
{
    struct writer *w = arg;
    write_numbered(w->sink, w->number, 0, w->lines);
    return NULL;
}

static void run_writers(struct tg_sink *sink, unsigned count, uint64_t lines)
{
    pthread_t threads[8];
    struct writer writers[8];
    for (unsigned i = 0; i < count; i++) {
        writers[i] = (struct writer){sink, i, lines};
        assert_int_equal(pthread_create(&threads[i], NULL, writer_main, &writers[i]), 0);
    }
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

static void test_concurrent_writers_add_up(void **state)
{
    struct tg_sink *sink = opened(file_path);
    struct reading r = {0};
    (void)state;
    run_writers(sink, 4, 5000);
    struct tg_sink_stats stats = tg_sink_stats(sink);
    tg_sink_close(&sink);
    assert_true(tg_sink_thread_stop(10 * SECOND));
    char *text = support_read_file(file_path, NULL);
    read_text(&r, text);
    free(text);
    assert_int_equal(r.torn, 0);
    assert_int_equal(stats.lines + stats.dropped, 20000);
    assert_int_equal(r.lines, stats.lines);
    assert_int_equal(r.told, stats.dropped);
}

static void test_rotation_under_load_loses_nothing(void **state)
{
    struct tg_sink *sink = NULL;
    struct reading r = {0};
    char old[128];
    (void)state;
    assert_int_equal(tg_sink_open(file_path, 1 << 20, &sink), TG_OK);
    for (uint64_t i = 0; i < 10; i++) {
        path_in_folder(old, "rotated");
        assert_int_equal(rename(file_path, old), 0);
        write_numbered(sink, 2, i * 200, i * 200 + 100);
        tg_sink_reopen_all();
        write_numbered(sink, 2, i * 200 + 100, i * 200 + 200);
        assert_true(tg_sink_flush(10 * SECOND));
        char *text = support_read_file(old, NULL);
        read_text(&r, text);
        free(text);
    }
    tg_sink_close(&sink);
    assert_true(tg_sink_thread_stop(10 * SECOND));
    char *text = support_read_file(file_path, NULL);
    read_text(&r, text);
    free(text);
    assert_int_equal(r.torn, 0);
    assert_int_equal(r.lines, 2000);
}

static void test_thread_starts_again_after_stop(void **state)
{
    struct tg_sink *sink = opened(a_pipe.path);
    char text[64];
    (void)state;
    assert_true(tg_sink_thread_stop(SECOND));
    assert_int_equal(tg_sink_thread_start(), TG_OK);
    assert_int_equal(tg_sink_thread_start(), TG_OK);
    assert_true(put(sink, "back\n"));
    support_read_lines(a_pipe.reader, text, sizeof(text), 1);
    tg_sink_close(&sink);
}

/* The child of a process whose thread is at work: it may write at once, and finds no lock taken. */
static void test_fork_beside_a_busy_thread(void **state)
{
    struct tg_sink *sink = opened(file_path);
    (void)state;
    for (int i = 0; i < 20; i++) {
        int status = -1;
        write_numbered(sink, 3, (uint64_t)i * 10, (uint64_t)i * 10 + 10);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            alarm(SUPPORT_PATIENCE / 1000);
            _exit(put(sink, "child\n") && tg_sink_flush(SECOND) ? 0 : 1);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
    tg_sink_close(&sink);
    assert_true(tg_sink_thread_stop(10 * SECOND));
    size_t children = 0;
    char *text = support_read_file(file_path, NULL);
    for (char *at = text; (at = strstr(at, "child\n")) != NULL; at++)
        children++;
    free(text);
    assert_int_equal(children, 20);
}

#define PLAIN(test)    cmocka_unit_test_setup_teardown(test, setup, teardown)
#define THREADED(test) cmocka_unit_test_setup_teardown(test, setup_thread, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLAIN(test_flush_writes_on_this_thread),
        PLAIN(test_close_writes_what_is_queued),
        PLAIN(test_appends_to_what_is_there),
        PLAIN(test_same_spec_is_the_same_sink),
        PLAIN(test_bad_specs_are_refused),
        PLAIN(test_no_memory_is_an_error),
        PLAIN(test_rotation_goes_on_in_a_new_file),
        PLAIN(test_rotation_that_fails_keeps_the_file),
        PLAIN(test_lines_wait_for_space),
        PLAIN(test_full_queue_drops_and_counts),
        PLAIN(test_child_of_fork_starts_empty),
        THREADED(test_line_arrives_by_itself),
        THREADED(test_reader_that_comes_late),
        THREADED(test_line_longer_than_the_pipe),
        THREADED(test_pipe_that_nobody_reads_any_more),
        THREADED(test_stalled_sink_does_not_hold_others),
        THREADED(test_concurrent_writers_add_up),
        THREADED(test_rotation_under_load_loses_nothing),
        THREADED(test_thread_starts_again_after_stop),
        THREADED(test_fork_beside_a_busy_thread),
    };

    return cmocka_run_group_tests_name("sink", tests, NULL, NULL);
}
