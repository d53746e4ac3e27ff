/*
 * Sinks with the writer thread: lines arrive by themselves, whole and in order, or are counted as
 * dropped, whatever the reader does; and writing never waits.
 */
#include "observe/sink.h"

#include "observe/sink_fixture.h"

#include <pthread.h>
#include <sys/wait.h>

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
    assert_true(tg_sink_thread_stop(10 * SECOND));
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
            _exit(put(sink, "child\n") && tg_sink_flush(10 * SECOND) ? 0 : 1);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_line_arrives_by_itself, setup_thread, teardown),
        cmocka_unit_test_setup_teardown(test_reader_that_comes_late, setup_thread, teardown),
        cmocka_unit_test_setup_teardown(test_line_longer_than_the_pipe, setup_thread, teardown),
        cmocka_unit_test_setup_teardown(test_pipe_that_nobody_reads_any_more, setup_thread,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_stalled_sink_does_not_hold_others, setup_thread,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_concurrent_writers_add_up, setup_thread, teardown),
        cmocka_unit_test_setup_teardown(test_rotation_under_load_loses_nothing, setup_thread,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_thread_starts_again_after_stop, setup_thread,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_fork_beside_a_busy_thread, setup_thread, teardown),
    };

    return cmocka_run_group_tests_name("sink_thread", tests, NULL, NULL);
}
