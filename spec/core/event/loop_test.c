/*
 * The loop: deferred calls, timers under the real clock and a fake one, the mailbox under other
 * threads, and the order of a round.
 */
#include "event/loop.h"

#include "base/mem.h"
#include "support.h"

static struct tg_loop loop;
static char trace[64];

static int setup(void **state)
{
    (void)state;
    trace[0] = '\0';
    return tg_loop_init(&loop) == TG_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    tg_loop_release(&loop);
    tg_loop_release(&loop); /* allowed twice */
    return tg_mem_used(TG_MEM_CONNECTION) == 0 ? 0 : -1;
}

static void note(char c)
{
    size_t n = strlen(trace);
    assert_true(n + 1 < sizeof(trace));
    trace[n] = c;
    trace[n + 1] = '\0';
}

static void note_a(struct tg_task *task)
{
    (void)task;
    note('a');
}

static void note_b(struct tg_task *task)
{
    (void)task;
    note('b');
}

static void stop(struct tg_task *task)
{
    (void)task;
    note('.');
    tg_loop_stop(&loop);
}

static struct tg_task a = {.run = note_a};
static struct tg_task b = {.run = note_b};
static struct tg_task end = {.run = stop};

static void tasks_init(void)
{
    tg_task_init(&a, note_a);
    tg_task_init(&b, note_b);
    tg_task_init(&end, stop);
}

static void test_deferred_calls_run_in_order_and_once(void **state)
{
    (void)state;
    tasks_init();
    tg_loop_defer(&loop, &a);
    tg_loop_defer(&loop, &b);
    tg_loop_defer(&loop, &a);
    tg_loop_defer(&loop, &end);
    tg_loop_run(&loop);
    assert_string_equal(trace, "ab.");
}

static void test_a_cancelled_call_does_not_run(void **state)
{
    (void)state;
    tasks_init();
    tg_loop_defer(&loop, &a);
    tg_loop_defer(&loop, &b);
    tg_loop_defer(&loop, &end);
    tg_task_cancel(&a);
    tg_task_cancel(&a);
    tg_loop_run(&loop);
    assert_string_equal(trace, "b.");
}

static void cancel_b(struct tg_task *task)
{
    (void)task;
    note('c');
    tg_task_cancel(&b);
}

static void test_a_call_cancels_one_behind_it(void **state)
{
    struct tg_task canceller;
    (void)state;
    tasks_init();
    tg_task_init(&canceller, cancel_b);
    tg_loop_defer(&loop, &canceller);
    tg_loop_defer(&loop, &b);
    tg_loop_defer(&loop, &end);
    tg_loop_run(&loop);
    assert_string_equal(trace, "c.");
}

/* ---- A task that defers itself lets descriptors have their turn --------------------------------
 */

static struct tg_task again;
static int rounds;
static int pair[2];

static void defer_again(struct tg_task *task)
{
    if (++rounds == 3)
        assert_int_equal(write(pair[1], "x", 1), 1);
    if (rounds < 100000) /* an end for a loop that starves */
        tg_loop_defer(&loop, task);
}

static void on_byte(struct ev_loop *ev, ev_io *w, int events)
{
    (void)events;
    ev_io_stop(ev, w);
    note('r');
    tg_loop_stop(&loop);
}

static void test_a_task_that_defers_itself_does_not_starve_the_loop(void **state)
{
    ev_io io;
    (void)state;
    assert_int_equal(pipe2(pair, O_CLOEXEC | O_NONBLOCK), 0);
    ev_io_init(&io, on_byte, pair[0], EV_READ);
    ev_io_start(loop.ev, &io);
    rounds = 0;
    tg_task_init(&again, defer_again);
    tg_loop_defer(&loop, &again);
    tg_loop_run(&loop);
    assert_string_equal(trace, "r");
    assert_in_range(rounds, 3, 20);
    tg_task_cancel(&again);
    close(pair[0]);
    close(pair[1]);
}

/* ---- Work that has taken its slice and is not done ----------------------------------------------
 */

static struct tg_task workers[11];
static struct tg_task marker;

static void work(struct tg_task *task)
{
    note((char)('0' + (task - workers)));
    if (task == &workers[0] && rounds < 2) /* not done yet */
        tg_loop_yield(&loop, task);
}

static void mark(struct tg_task *task)
{
    note('|');
    if (++rounds == 6)
        tg_loop_stop(&loop);
    else
        tg_loop_defer(&loop, task);
}

static void test_an_eighth_of_those_that_yielded_runs_in_every_second_round(void **state)
{
    (void)state;
    rounds = 0;
    tg_task_init(&marker, mark);
    tg_loop_defer(&loop, &marker);
    for (int i = 0; i < 11; i++) {
        tg_task_init(&workers[i], work);
        tg_loop_yield(&loop, &workers[i]);
        tg_loop_yield(&loop, &workers[i]); /* it keeps its place */
    }
    tg_task_cancel(&workers[4]);
    tg_loop_run(&loop);
    assert_string_equal(trace, "|01||23||5|");
}

static void test_those_that_yielded_do_not_wait_for_other_work(void **state)
{
    (void)state;
    rounds = 2;
    tasks_init();
    tg_task_init(&workers[0], work);
    tg_loop_yield(&loop, &workers[0]);
    tg_loop_yield(&loop, &end);
    tg_loop_run(&loop);
    assert_string_equal(trace, "0.");
}

/* ---- Timers ------------------------------------------------------------------------------------
 */

static void on_timer_stop(struct tg_timer *timer)
{
    (void)timer;
    note('t');
    tg_loop_stop(&loop);
}

static void on_timer(struct tg_timer *timer)
{
    (void)timer;
    note('u');
}

static void test_the_loop_wakes_for_a_timer(void **state)
{
    struct tg_timer first;
    struct tg_timer second;
    (void)state;
    assert_int_equal(tg_timer_init(&first, &loop.timers, on_timer), TG_OK);
    assert_int_equal(tg_timer_init(&second, &loop.timers, on_timer_stop), TG_OK);
    uint64_t begin = tg_loop_now(&loop);
    tg_timer_set(&second, begin + 3000);
    tg_timer_set(&first, begin + 1000);
    tg_loop_run(&loop);
    assert_string_equal(trace, "ut");
    assert_true(tg_loop_now(&loop) >= begin + 3000);
    tg_timer_release(&first);
    tg_timer_release(&second);
}

static void move_timer_on(struct tg_timer *timer)
{
    note('t');
    if (strlen(trace) == 4)
        tg_loop_stop(&loop);
    else
        tg_timer_set(timer, tg_loop_now(&loop) + 500);
}

static void test_a_timer_that_sets_itself_again(void **state)
{
    struct tg_timer timer;
    (void)state;
    assert_int_equal(tg_timer_init(&timer, &loop.timers, move_timer_on), TG_OK);
    tg_timer_set(&timer, 1); /* long past */
    tg_loop_run(&loop);
    assert_string_equal(trace, "tttt");
    tg_timer_release(&timer);
}

static struct tg_timer fake_timer;

static void turn_clock(struct tg_task *task)
{
    (void)task;
    note('c');
    tg_clock_advance(&loop.clock, 3600 * TG_USEC_PER_SEC);
    tg_loop_defer(&loop, &b);
}

static void test_a_fake_clock_moves_the_timers(void **state)
{
    struct tg_task turn;
    (void)state;
    tasks_init();
    tg_clock_init_fake(&loop.clock, 1);
    assert_int_equal(tg_timer_init(&fake_timer, &loop.timers, on_timer_stop), TG_OK);
    tg_timer_set(&fake_timer, tg_loop_now(&loop) + 3600 * TG_USEC_PER_SEC);
    tg_task_init(&turn, turn_clock);
    tg_loop_defer(&loop, &turn);
    tg_loop_run(&loop);
    tg_task_cancel(&b);
    assert_int_equal(trace[0], 'c');
    assert_non_null(strchr(trace, 't'));
    tg_timer_release(&fake_timer);
}

/* ---- The mailbox -------------------------------------------------------------------------------
 */

#define POSTERS 4
#define POSTS   500

struct letter {
    struct tg_task task;
    int from;
    int number;
};

static struct letter letters[POSTERS][POSTS];
static int last_of[POSTERS];
static int received;

static void on_letter(struct tg_task *task)
{
    struct letter *letter = TG_CONTAINER_OF(task, struct letter, task);
    assert_int_equal(letter->number, last_of[letter->from] + 1);
    last_of[letter->from] = letter->number;
    if (++received == POSTERS * POSTS)
        tg_loop_stop(&loop);
}

static void *post_all(void *arg)
{
    struct letter *mine = arg;
    for (int i = 0; i < POSTS; i++)
        tg_loop_post(&loop, &mine[i].task);
    return NULL;
}

static void test_posts_from_other_threads_arrive_once_and_in_order(void **state)
{
    pthread_t threads[POSTERS];
    (void)state;
    received = 0;
    for (int i = 0; i < POSTERS; i++) {
        last_of[i] = -1;
        for (int k = 0; k < POSTS; k++) {
            letters[i][k] = (struct letter){.from = i, .number = k};
            tg_task_init(&letters[i][k].task, on_letter);
        }
        assert_int_equal(pthread_create(&threads[i], NULL, post_all, letters[i]), 0);
    }
    tg_loop_run(&loop);
    for (int i = 0; i < POSTERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(received, POSTERS * POSTS);
}

static void *post_end(void *arg)
{
    (void)arg;
    tg_loop_post(&loop, &end);
    return NULL;
}

/* Nothing else would end the wait: no timer, no deferred call. */
static void test_a_post_wakes_a_loop_that_waits(void **state)
{
    pthread_t thread;
    (void)state;
    tasks_init();
    assert_int_equal(pthread_create(&thread, NULL, post_end, NULL), 0);
    tg_loop_run(&loop);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_string_equal(trace, ".");
}

static void post_a(struct tg_task *task)
{
    note('p');
    (void)task;
    tg_loop_post(&loop, &a);
    tg_loop_post(&loop, &end);
}

static void test_a_post_to_the_own_loop(void **state)
{
    struct tg_task poster;
    (void)state;
    tasks_init();
    tg_task_init(&poster, post_a);
    tg_loop_defer(&loop, &poster);
    tg_loop_run(&loop);
    assert_string_equal(trace, "pa.");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_deferred_calls_run_in_order_and_once),
        TEST(test_a_cancelled_call_does_not_run),
        TEST(test_a_call_cancels_one_behind_it),
        TEST(test_a_task_that_defers_itself_does_not_starve_the_loop),
        TEST(test_an_eighth_of_those_that_yielded_runs_in_every_second_round),
        TEST(test_those_that_yielded_do_not_wait_for_other_work),
        TEST(test_the_loop_wakes_for_a_timer),
        TEST(test_a_timer_that_sets_itself_again),
        TEST(test_a_fake_clock_moves_the_timers),
        TEST(test_posts_from_other_threads_arrive_once_and_in_order),
        TEST(test_a_post_wakes_a_loop_that_waits),
        TEST(test_a_post_to_the_own_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
