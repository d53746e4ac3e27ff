/*
 * Timers: lazy deadlines, the order of firing, callbacks that set, clear and release timers, and
 * random operations against a model that is an array of deadlines. Time is a number here.
 */
#include "event/timer.h"

#include "base/mem.h"
#include "base/rand.h"
#include "support.h"

#define MANY 200

struct probe {
    struct tg_timer timer;
    int id;
    int fired;
    void (*then)(struct probe *p);
};

static struct tg_timers timers;
static struct probe probes[MANY];
static int order[4 * MANY];
static size_t fired;
static uint64_t clock_now;

static void on_fire(struct tg_timer *timer)
{
    struct probe *p = TG_CONTAINER_OF(timer, struct probe, timer);
    p->fired++;
    if (fired < TG_COUNT_OF(order))
        order[fired] = p->id;
    fired++;
    if (p->then != NULL)
        p->then(p);
}

static int setup(void **state)
{
    (void)state;
    tg_timers_init(&timers);
    fired = 0;
    for (int i = 0; i < MANY; i++) {
        probes[i] = (struct probe){.id = i};
        assert_int_equal(tg_timer_init(&probes[i].timer, &timers, on_fire), TG_OK);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < MANY; i++)
        tg_timer_release(&probes[i].timer);
    tg_timers_release(&timers);
    return tg_mem_used(TG_MEM_CONNECTION) == 0 ? 0 : -1;
}

static void tick(uint64_t now)
{
    clock_now = now;
    tg_timers_tick(&timers, now);
}

static void test_nothing_is_due_at_first(void **state)
{
    (void)state;
    assert_int_equal(tg_timers_next(&timers), UINT64_MAX);
    tick(UINT64_MAX - 1);
    assert_int_equal(fired, 0);
}

static void test_a_timer_fires_once_at_its_time(void **state)
{
    (void)state;
    tg_timer_set(&probes[0].timer, 100);
    assert_int_equal(tg_timers_next(&timers), 100);
    tick(99);
    assert_int_equal(fired, 0);
    tick(100);
    assert_int_equal(probes[0].fired, 1);
    tick(1000);
    assert_int_equal(probes[0].fired, 1);
    assert_int_equal(tg_timers_next(&timers), UINT64_MAX);
}

static void test_order_is_that_of_the_deadlines(void **state)
{
    static const uint64_t at[] = {50, 10, 40, 10, 30, 20, 60};
    (void)state;
    for (int i = 0; i < 7; i++)
        tg_timer_set(&probes[i].timer, at[i]);
    tick(55);
    assert_int_equal(fired, 6);
    for (size_t i = 1; i < fired; i++)
        assert_true(at[order[i - 1]] <= at[order[i]]);
    assert_int_equal(tg_timers_next(&timers), 60);
}

static void test_moving_later_is_lazy_and_true(void **state)
{
    (void)state;
    tg_timer_set(&probes[0].timer, 100);
    tg_timer_set(&probes[0].timer, 500);
    assert_int_equal(tg_timers_next(&timers), 100); /* the heap is not touched */
    tick(100);
    assert_int_equal(fired, 0);
    assert_int_equal(tg_timers_next(&timers), 500);
    tick(499);
    assert_int_equal(fired, 0);
    tick(500);
    assert_int_equal(fired, 1);
}

/* Late deadlines keep their order even where the heap had another. */
static void test_moved_timers_fire_in_the_order_of_their_new_deadlines(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++)
        tg_timer_set(&probes[i].timer, 10 + (uint64_t)i);
    for (int i = 0; i < 10; i++)
        tg_timer_set(&probes[i].timer, 200 - (uint64_t)i);
    tick(1000);
    assert_int_equal(fired, 10);
    for (int i = 0; i < 10; i++)
        assert_int_equal(order[i], 9 - i);
}

static void test_moving_earlier(void **state)
{
    (void)state;
    tg_timer_set(&probes[0].timer, 500);
    tg_timer_set(&probes[1].timer, 300);
    tg_timer_set(&probes[0].timer, 200);
    assert_int_equal(tg_timers_next(&timers), 200);
    tick(200);
    assert_int_equal(fired, 1);
    assert_int_equal(order[0], 0);
}

static void test_clearing(void **state)
{
    (void)state;
    tg_timer_set(&probes[0].timer, 100);
    tg_timer_clear(&probes[0].timer);
    tick(100);
    assert_int_equal(fired, 0);
    assert_int_equal(tg_timers_next(&timers), UINT64_MAX);
    tg_timer_set(&probes[0].timer, 150);
    tg_timer_clear(&probes[0].timer);
    tg_timer_set(&probes[0].timer, 200);
    tick(200);
    assert_int_equal(fired, 1);
}

static void test_release_is_allowed_on_zeroes_and_twice(void **state)
{
    struct tg_timer none = {0};
    (void)state;
    tg_timer_release(&none);
    tg_timer_set(&probes[0].timer, 10);
    tg_timer_release(&probes[0].timer);
    tg_timer_release(&probes[0].timer);
    tick(10);
    assert_int_equal(fired, 0);
}

/* ---- Callbacks that change timers --------------------------------------------------------------
 */

static void set_again_now(struct probe *p)
{
    tg_timer_set(&p->timer, clock_now);
}

static void test_a_callback_that_sets_itself_does_not_starve_the_loop(void **state)
{
    (void)state;
    probes[0].then = set_again_now;
    tg_timer_set(&probes[0].timer, 10);
    tick(10);
    assert_int_equal(probes[0].fired, 1);
    assert_int_equal(tg_timers_next(&timers), 10);
    tick(11);
    assert_int_equal(probes[0].fired, 2);
}

static void clear_next(struct probe *p)
{
    tg_timer_clear(&probes[p->id + 1].timer);
}

static void move_next(struct probe *p)
{
    tg_timer_set(&probes[p->id + 1].timer, clock_now + 50);
}

static void release_next_and_self(struct probe *p)
{
    tg_timer_release(&probes[p->id + 1].timer);
    tg_timer_release(&p->timer);
}

static void reset_next_to_the_past(struct probe *p)
{
    tg_timer_clear(&probes[p->id + 1].timer);
    tg_timer_set(&probes[p->id + 1].timer, 1);
}

static void run_pair(void (*then)(struct probe *p))
{
    probes[0].then = then;
    tg_timer_set(&probes[0].timer, 10);
    tg_timer_set(&probes[1].timer, 20);
    tg_timer_set(&probes[2].timer, 30);
    tick(100);
}

static void test_a_callback_clears_one_that_is_due(void **state)
{
    (void)state;
    run_pair(clear_next);
    assert_int_equal(probes[1].fired, 0);
    assert_int_equal(probes[2].fired, 1);
}

static void test_a_callback_moves_one_that_is_due(void **state)
{
    (void)state;
    run_pair(move_next);
    assert_int_equal(probes[1].fired, 0);
    tick(149);
    assert_int_equal(probes[1].fired, 0);
    tick(150);
    assert_int_equal(probes[1].fired, 1);
}

static void test_a_callback_releases_one_that_is_due(void **state)
{
    (void)state;
    run_pair(release_next_and_self);
    assert_int_equal(probes[1].fired, 0);
    assert_int_equal(probes[2].fired, 1);
}

static void test_one_that_was_set_again_fires_once(void **state)
{
    (void)state;
    run_pair(reset_next_to_the_past);
    tick(200);
    tick(300);
    assert_int_equal(probes[1].fired, 1);
}

/* ---- Memory, model -----------------------------------------------------------------------------
 */

static void test_no_memory_is_told_at_init(void **state)
{
    struct tg_timers few;
    struct tg_timer timer;
    (void)state;
    tg_timers_init(&few);
    tg_mem_fail_at(1);
    assert_int_equal(tg_timer_init(&timer, &few, on_fire), TG_E_NOMEM);
    tg_mem_fail_at(0);
    tg_timers_release(&few);
}

static void test_random_operations_against_a_model(void **state)
{
    struct tg_rand r;
    uint64_t model[MANY] = {0};
    uint64_t now = 1;
    (void)state;
    tg_rand_init_seed(&r, 7);
    for (int step = 0; step < 200000; step++) {
        size_t i = (size_t)tg_rand_below(&r, MANY);
        uint64_t what = tg_rand_below(&r, 10);
        if (what < 6) {
            model[i] = now + 1 + tg_rand_below(&r, 1000);
            tg_timer_set(&probes[i].timer, model[i]);
        } else if (what == 6) {
            model[i] = 0;
            tg_timer_clear(&probes[i].timer);
        } else if (what == 7) {
            model[i] = 0;
            tg_timer_release(&probes[i].timer);
            assert_int_equal(tg_timer_init(&probes[i].timer, &timers, on_fire), TG_OK);
        } else {
            uint64_t earliest = UINT64_MAX;
            size_t due = 0;
            now += tg_rand_below(&r, 40);
            for (size_t k = 0; k < MANY; k++) {
                if (model[k] > 0)
                    earliest = TG_MIN(earliest, model[k]);
                due += model[k] > 0 && model[k] <= now;
            }
            assert_true(tg_timers_next(&timers) <= earliest);
            fired = 0;
            tick(now);
            assert_int_equal(fired, due);
            for (size_t k = 0; k < fired; k++) {
                assert_true(k == 0 || model[order[k - 1]] <= model[order[k]]);
                assert_in_range(model[order[k]], 1, now);
            }
            for (size_t k = 0; k < fired; k++)
                model[order[k]] = 0;
        }
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_is_due_at_first),
        TEST(test_a_timer_fires_once_at_its_time),
        TEST(test_order_is_that_of_the_deadlines),
        TEST(test_moving_later_is_lazy_and_true),
        TEST(test_moved_timers_fire_in_the_order_of_their_new_deadlines),
        TEST(test_moving_earlier),
        TEST(test_clearing),
        TEST(test_release_is_allowed_on_zeroes_and_twice),
        TEST(test_a_callback_that_sets_itself_does_not_starve_the_loop),
        TEST(test_a_callback_clears_one_that_is_due),
        TEST(test_a_callback_moves_one_that_is_due),
        TEST(test_a_callback_releases_one_that_is_due),
        TEST(test_one_that_was_set_again_fires_once),
        TEST(test_no_memory_is_told_at_init),
        TEST(test_random_operations_against_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
