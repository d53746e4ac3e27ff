/*
 * What a pool notices without a request: leases that are never returned.
 */
#include "upstream/pool.h"

#include "pool_fixture.h"

#include <signal.h>
#include <sys/wait.h>

/* ---- Leaks ---- */

static void test_a_lease_without_a_byte_for_five_minutes_is_told_of_once(void **state)
{
    static const char line[] = "pool: a connection has been leased without a byte for 5 minutes"
                               " request=r-47 route=orders-route";
    (void)state;
    struct tg_call *leaked = lease(0, &addr), *alive = lease(0, &addr);
    struct tg_call *tunnel = lease(0, &addr);
    connection_of(tunnel)->state = TG_H1_CLIENT_TUNNEL;
    for (int minute = 0; minute < 5; minute++) {
        move(MIN);
        connection_of(alive)->since = tg_loop_now(&workers[0].loop);
    }
    assert_string_equal(logged, line);
    connection_of(alive)->since = tg_loop_now(&workers[0].loop);
    pass(4 * MIN, MIN);
    assert_string_equal(logged, line);
    connection_of(tunnel)->state = TG_H1_CLIENT_BUSY;
    give_back(0, &leaked);
    give_back(0, &alive);
    give_back(0, &tunnel);
}

/* In a process of its own, which ends with it: this is a mistake of the program. */
static void test_what_is_leased_when_the_pool_goes_is_named(void **state)
{
    int fds[2];
    char text[sizeof(logged)] = "";
    (void)state;
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)lease(0, &addr);
        signal(SIGABRT, SIG_DFL);
        dup2(fds[1], STDERR_FILENO);
        tg_log_tap(NULL);
        tg_pool_free(&pools[0]);
        _exit(0);
    }
    close(fds[1]);
    ssize_t n, at = 0;
    while ((n = read(fds[0], text + at, sizeof(text) - 1 - (size_t)at)) > 0)
        at += n;
    close(fds[0]);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_non_null(strstr(text, "a connection was never returned"));
    assert_non_null(strstr(text, "r-47"));
    assert_non_null(strstr(text, "orders-route"));
}

int main(void)
{
#define SPEC(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        SPEC(test_a_lease_without_a_byte_for_five_minutes_is_told_of_once),
        SPEC(test_what_is_leased_when_the_pool_goes_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
