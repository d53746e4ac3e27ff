/*
 * Targets one write at a time: what each kind takes, how it refuses, and the two syslog forms.
 */
#include "observe/target.h"

#include "base/clock.h"
#include "support.h"

#include <arpa/inet.h>
#include <limits.h>
#include <signal.h>
#include <sys/un.h>
#include <unistd.h>

static char folder[64];
static char path[96];
static struct tg_target target;
static struct support_pipe a_pipe;

static int setup(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    support_folder(folder);
    snprintf(path, sizeof(path), "%s/socket", folder);
    support_pipe_open(&a_pipe);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tg_target_release(&target);
    support_pipe_close(&a_pipe);
    support_remove(folder);
    return 0;
}

static enum tg_err offer(const char *text, size_t *done)
{
    return tg_target_write(&target, text, strlen(text), done);
}

static void test_file_takes_all(void **state)
{
    size_t done;
    (void)state;
    assert_int_equal(tg_target_init(&target, path), TG_OK);
    assert_int_equal(target.kind, TG_TARGET_FILE);
    assert_int_equal(offer("one\ntwo\n", &done), TG_OK);
    assert_int_equal(done, 8);
    char *text = support_read_file(path, NULL);
    assert_string_equal(text, "one\ntwo\n");
    free(text);
}

static void test_a_file_that_is_only_tried_is_not_made(void **state)
{
    char deep[112];
    size_t done;
    (void)state;
    snprintf(deep, sizeof(deep), "%s/no/folder", folder);
    tg_target_make_nothing(true);
    enum tg_err made = tg_target_init(&target, path);
    enum tg_err taken = made == TG_OK ? offer("one\n", &done) : made;
    tg_target_release(&target);
    bool there = access(path, F_OK) == 0;
    enum tg_err lost = tg_target_init(&target, deep);
    int why = errno;
    tg_target_make_nothing(false);
    assert_int_equal(made, TG_OK);
    assert_int_equal(taken, TG_OK);
    assert_false(there);
    assert_int_equal(lost, TG_E_SYSTEM);
    assert_int_equal(why, ENOENT);
}

static void test_a_file_that_is_there_is_tried_itself(void **state)
{
    (void)state;
    assert_int_equal(tg_target_init(&target, path), TG_OK);
    tg_target_release(&target);
    tg_target_make_nothing(true);
    enum tg_err err = tg_target_init(&target, path);
    tg_target_make_nothing(false);
    assert_int_equal(err, TG_OK);
    assert_int_equal(target.kind, TG_TARGET_FILE);
}

static void test_stdout_and_stderr_stay_open(void **state)
{
    (void)state;
    assert_int_equal(tg_target_init(&target, "stderr"), TG_OK);
    assert_int_equal(target.fd, STDERR_FILENO);
    assert_int_equal(tg_target_reopen(&target), TG_OK);
    tg_target_release(&target);
    assert_true(fcntl(STDERR_FILENO, F_GETFD) >= 0);
    assert_int_equal(tg_target_init(&target, "stdout"), TG_OK);
    assert_int_equal(target.fd, STDOUT_FILENO);
}

/* Lines of 1000 bytes: four of them are what one atomic write may hold. */
static void test_pipe_gets_whole_lines_up_to_pipe_buf(void **state)
{
    char text[10000];
    size_t done;
    (void)state;
    memset(text, 'x', sizeof(text));
    for (size_t i = 999; i < sizeof(text); i += 1000)
        text[i] = '\n';
    assert_int_equal(tg_target_init(&target, a_pipe.path), TG_OK);
    assert_int_equal(target.kind, TG_TARGET_STREAM);
    assert_int_equal(tg_target_write(&target, text, sizeof(text), &done), TG_OK);
    assert_int_equal(done, 4000);
    text[3999] = text[2999] = text[1999] = text[999] = 'x';
    assert_int_equal(tg_target_write(&target, text, sizeof(text), &done), TG_OK);
    assert_int_equal(done, PIPE_BUF);
}

static void test_full_pipe_says_again_in_blocking_mode_too(void **state)
{
    char page[PIPE_BUF];
    size_t done;
    (void)state;
    memset(page, '\n', sizeof(page));
    assert_int_equal(tg_target_init(&target, a_pipe.path), TG_OK);
    assert_int_equal(fcntl(target.fd, F_SETFL, 0), 0);
    assert_true(fcntl(a_pipe.writer, F_SETPIPE_SZ, PIPE_BUF) > 0);
    assert_int_equal(tg_target_write(&target, page, sizeof(page), &done), TG_OK);
    assert_int_equal(tg_target_write(&target, page, sizeof(page), &done), TG_E_AGAIN);
    assert_int_equal(done, 0);
    assert_int_equal(read(a_pipe.reader, page, sizeof(page)), sizeof(page));
    assert_int_equal(tg_target_write(&target, page, sizeof(page), &done), TG_OK);
}

static void test_pipe_without_a_reader_is_gone(void **state)
{
    size_t done;
    (void)state;
    assert_int_equal(tg_target_init(&target, a_pipe.path), TG_OK);
    close(a_pipe.reader);
    assert_int_equal(offer("x\n", &done), TG_E_RESET);
    assert_int_equal(errno, EPIPE);
    a_pipe.reader = dup(a_pipe.writer);
}

static void test_no_space_says_why(void **state)
{
    size_t done;
    (void)state;
    assert_int_equal(tg_target_init(&target, "/dev/full"), TG_OK);
    assert_int_equal(offer("x\n", &done), TG_E_SYSTEM);
    assert_int_equal(errno, ENOSPC);
}

static void test_fifo_without_a_reader_does_not_open(void **state)
{
    (void)state;
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(tg_target_init(&target, path), TG_E_SYSTEM);
    assert_int_equal(errno, ENXIO);
}

/* ---- syslog ---------------------------------------------------------------------------------- */

static int listen_unix(void)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
    return fd;
}

static const char *received(int fd)
{
    static char text[1024];
    support_await(fd);
    ssize_t n = recv(fd, text, sizeof(text) - 1, 0);
    assert_true(n >= 0);
    text[n] = '\0';
    return text;
}

static void open_syslog(const char *form, const char *where)
{
    static char spec[160];
    snprintf(spec, sizeof(spec), "syslog:%s:%s", form, where);
    assert_int_equal(tg_target_init(&target, spec), TG_OK);
}

static void test_local_syslog_is_a_datagram_per_line(void **state)
{
    char expected[64];
    size_t done;
    int fd = listen_unix();
    (void)state;
    open_syslog("unix", path);
    assert_int_equal(offer("one\ntwo\n", &done), TG_OK);
    assert_int_equal(done, 4);
    assert_int_equal(offer("two\n", &done), TG_OK);
    snprintf(expected, sizeof(expected), " tidegate[%d]: one", (int)getpid());
    const char *text = received(fd);
    assert_int_equal(strncmp(text, "<30>", 4), 0);
    assert_string_equal(text + strlen("<30>Jan  1 00:00:00"), expected);
    assert_non_null(strstr(received(fd), "]: two"));
    close(fd);
}

static void test_syslog_daemon_may_come_late_and_again(void **state)
{
    size_t done;
    (void)state;
    open_syslog("unix", path);
    assert_int_equal(offer("one\n", &done), TG_E_SYSTEM);
    assert_int_equal(errno, ENOENT);
    for (int i = 0; i < 2; i++) {
        int fd = listen_unix();
        assert_int_equal(offer("one\n", &done), TG_OK);
        assert_non_null(strstr(received(fd), "]: one"));
        close(fd);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(offer("two\n", &done), TG_E_SYSTEM);
    }
}

static void test_syslog_that_is_full_says_again(void **state)
{
    size_t done = 0;
    enum tg_err err = TG_OK;
    int fd = listen_unix();
    (void)state;
    open_syslog("unix", path);
    for (int i = 0; i < 100000 && err == TG_OK; i++)
        err = offer("filling\n", &done);
    assert_int_equal(err, TG_E_AGAIN);
    received(fd);
    assert_int_equal(offer("fits\n", &done), TG_OK);
    close(fd);
}

static void test_syslog_refuses_what_no_datagram_holds(void **state)
{
    static char text[1 << 20];
    size_t done;
    int fd = listen_unix();
    (void)state;
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\n';
    open_syslog("unix", path);
    assert_int_equal(tg_target_write(&target, text, sizeof(text), &done), TG_E_LIMIT);
    assert_int_equal(done, 0);
    assert_int_equal(offer("short\n", &done), TG_OK);
    close(fd);
}

/* RFC 5424: <PRI>VERSION TIMESTAMP HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA MSG */
static void test_udp_syslog_is_rfc_5424(void **state)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(in);
    char where[32];
    char host[128];
    char tail[128];
    size_t done;
    int pid = 0;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    (void)state;
    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &size), 0);
    snprintf(where, sizeof(where), "127.0.0.1:%d", ntohs(in.sin_port));
    open_syslog("udp", where);
    assert_int_equal(offer("a line\n", &done), TG_OK);
    assert_int_equal(done, 7);
    const char *text = received(fd);
    assert_int_equal(strncmp(text, "<30>1 2", 7), 0);
    const char *rest = text + strlen("<30>1 ") + TG_CLOCK_RFC3339_LEN;
    assert_int_equal(sscanf(rest, " %127s tidegate %d - - %127[^\n]", host, &pid, tail), 3);
    assert_int_equal(pid, getpid());
    assert_string_equal(tail, "a line");
    close(fd);
}

static void test_bad_specs(void **state)
{
    static const char *const bad[] = {
        "syslog:",         "syslog:tcp:127.0.0.1:1", "syslog:unix:",     "syslog:udp:",
        "syslog:udp::514", "syslog:udp:127.0.0.1",   "syslog:udp:host:", "syslog:udp:host:514",
    };
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(bad); i++)
        assert_int_equal(tg_target_init(&target, bad[i]), TG_E_INVALID);
    assert_int_equal(tg_target_init(&target, "syslog:udp:[::1]:514"), TG_OK);
    assert_int_equal(target.address.ss_family, AF_INET6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_file_takes_all, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_file_that_is_only_tried_is_not_made, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_file_that_is_there_is_tried_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stdout_and_stderr_stay_open, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pipe_gets_whole_lines_up_to_pipe_buf, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_pipe_says_again_in_blocking_mode_too, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_pipe_without_a_reader_is_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_space_says_why, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fifo_without_a_reader_does_not_open, setup, teardown),
        cmocka_unit_test_setup_teardown(test_local_syslog_is_a_datagram_per_line, setup, teardown),
        cmocka_unit_test_setup_teardown(test_syslog_daemon_may_come_late_and_again, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_syslog_that_is_full_says_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_syslog_refuses_what_no_datagram_holds, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_udp_syslog_is_rfc_5424, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_specs, setup, teardown),
    };

    return cmocka_run_group_tests_name("target", tests, NULL, NULL);
}
