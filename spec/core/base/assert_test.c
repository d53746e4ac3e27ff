/*
 * A failed assertion ends the process and says where; one that holds costs nothing and is evaluated
 * once.
 */
#include "base/assert.h"

#include "support.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static void test_holds(void **state)
{
    int evaluated = 0;
    (void)state;
    tg_assert(++evaluated == 1);
    assert_int_equal(evaluated, 1);
}

static void fail_in_child(int stderr_fd)
{
    const struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    signal(SIGABRT, SIG_DFL);
    dup2(stderr_fd, STDERR_FILENO);
    tg_assert(1 + 1 == 3);
    _exit(0);
}

static void test_failure_says_where_and_aborts(void **state)
{
    struct support_pipe p;
    char text[512];
    int status = 0;
    (void)state;
    support_pipe_open(&p);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        fail_in_child(p.writer);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    support_read_lines(p.reader, text, sizeof(text), 1);
    assert_non_null(strstr(text, "tidegate: assertion failed: 1 + 1 == 3 ("));
    assert_non_null(strstr(text, "assert_test.c:"));
    assert_non_null(strstr(text, "fail_in_child"));
    support_pipe_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_holds),
        cmocka_unit_test(test_failure_says_where_and_aborts),
    };

    return cmocka_run_group_tests_name("assert", tests, NULL, NULL);
}
