/*
 * Signals as events: read from a descriptor by the supervisor, relayed as messages in the gateway.
 */
#include "cli/signals.h"

#include "cli/control.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

static int ends[2];

static int setup(void **state)
{
    (void)state;
    return tg_control_open(ends);
}

static int teardown(void **state)
{
    (void)state;
    close(ends[0]);
    close(ends[1]);
    return 0;
}

/* The order that raising `signo` leads to; -1 for none. */
static int order_of(int signo)
{
    struct tg_control_message message;

    raise(signo);
    if (tg_control_receive(ends[1], &message) != TG_OK)
        return -1;
    assert_int_equal(message.fd_count, 0);
    return (int)message.type;
}

static void test_a_single_process_gets_all_orders_from_signals(void **state)
{
    (void)state;
    assert_int_equal(tg_signals_relay(ends[0], false), TG_OK);
    assert_int_equal(order_of(SIGHUP), TG_CONTROL_RELOAD);
    assert_int_equal(order_of(SIGUSR1), TG_CONTROL_REOPEN);
    assert_int_equal(order_of(SIGTERM), TG_CONTROL_DRAIN);
    assert_int_equal(order_of(SIGINT), TG_CONTROL_DRAIN);
    assert_int_equal(order_of(SIGINT), TG_CONTROL_STOP);
}

static void test_under_a_supervisor_only_sigterm_counts(void **state)
{
    (void)state;
    assert_int_equal(tg_signals_relay(ends[0], true), TG_OK);
    assert_int_equal(order_of(SIGTERM), TG_CONTROL_DRAIN);
    assert_int_equal(order_of(SIGINT), -1);
    assert_int_equal(order_of(SIGHUP), -1);
    assert_int_equal(order_of(SIGUSR1), -1);
    assert_int_equal(order_of(SIGPIPE), -1);
}

static void test_a_full_channel_does_not_block_the_handler(void **state)
{
    struct tg_control_message message = {.type = TG_CONTROL_REOPEN};

    (void)state;
    assert_int_equal(tg_signals_relay(ends[0], false), TG_OK);
    while (tg_control_send(ends[0], &message) == TG_OK)
        continue;
    assert_int_equal(order_of(SIGTERM), TG_CONTROL_REOPEN);
}

static void test_watched_signals_are_read_in_turn(void **state)
{
    int fd;

    (void)state;
    signal(SIGHUP, SIG_IGN); /* as nohup leaves it */
    assert_int_equal(tg_signals_watch(&fd), TG_OK);
    assert_int_equal(tg_signals_next(fd), 0);
    raise(SIGHUP);
    assert_int_equal(tg_signals_next(fd), SIGHUP);
    raise(SIGTERM);
    assert_int_equal(tg_signals_next(fd), SIGTERM);
    raise(SIGPIPE);
    assert_int_equal(tg_signals_next(fd), 0);
    close(fd);
}

/* What was pending in the supervisor's mask is delivered to the gateway that it becomes. */
static void test_a_signal_between_watch_and_relay_is_not_lost(void **state)
{
    struct tg_control_message message;
    int fd;

    (void)state;
    assert_int_equal(tg_signals_watch(&fd), TG_OK);
    raise(SIGTERM);
    close(fd);
    assert_int_equal(tg_signals_relay(ends[0], true), TG_OK);
    assert_int_equal(tg_control_receive(ends[1], &message), TG_OK);
    assert_int_equal(message.type, TG_CONTROL_DRAIN);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_single_process_gets_all_orders_from_signals),
        TEST(test_under_a_supervisor_only_sigterm_counts),
        TEST(test_a_full_channel_does_not_block_the_handler),
        TEST(test_watched_signals_are_read_in_turn),
        TEST(test_a_signal_between_watch_and_relay_is_not_lost),
    };

    return cmocka_run_group_tests_name("signals", tests, NULL, NULL);
}
