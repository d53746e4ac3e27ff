/*
 * The watchdog by itself: it calls on the watched thread, in time, only what is overdue, again
 * while it stays so, and never after it was removed; it sleeps and is woken.
 */
#include "base/clock.h"
#include "event/watchdog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>

#include <cmocka.h>

struct subject {
    _Atomic uint64_t seq;
    struct tg_watch watch;
    volatile unsigned calls;
    volatile uint64_t seq_seen;
    volatile uint64_t since_seen;
    pthread_t thread;
};

static void on_overdue(void *arg, uint64_t seq, uint64_t since_us)
{
    struct subject *s = arg;
    s->calls++;
    s->seq_seen = seq;
    s->since_seen = since_us;
    s->thread = pthread_self();
}

static bool subject_add(struct subject *s, struct tg_watchdog *dog, uint64_t slice_us)
{
    *s = (struct subject){0};
    tg_watch_init(&s->watch, &s->seq, slice_us, on_overdue, s);
    return tg_watchdog_add(dog, &s->watch) == TG_OK;
}

static void subject_open(struct subject *s, struct tg_watchdog *dog, uint64_t slice_us)
{
    assert_true(subject_add(s, dog, slice_us));
}

/* Spins until `calls` have come, or 5 s of CPU time are gone; returns the CPU time it took. */
static uint64_t spin_until(struct subject *s, unsigned calls)
{
    uint64_t start = tg_clock_thread_cpu(), now = start;
    while (s->calls < calls && now - start < 5 * TG_USEC_PER_SEC)
        now = tg_clock_thread_cpu();
    return now - start;
}

static void spin_for(uint64_t us)
{
    uint64_t start = tg_clock_thread_cpu();
    while (tg_clock_thread_cpu() - start < us) {
    }
}

static void test_it_calls_on_the_thread_what_is_overdue(void **state)
{
    struct tg_watchdog *dog;
    struct subject s;
    (void)state;
    assert_int_equal(tg_watchdog_new(&dog), TG_OK);
    subject_open(&s, dog, 2000);
    uint64_t start = tg_clock_thread_cpu();
    s.seq = 1;
    assert_in_range(spin_until(&s, 1), 1400, 1000000);
    assert_int_equal(s.seq_seen, 1);
    assert_true(s.since_seen >= start);
    assert_true(pthread_equal(s.thread, pthread_self()));
    spin_until(&s, 3);
    assert_true(s.calls >= 3);
    s.seq = 2;
    tg_watchdog_remove(dog, &s.watch);
    tg_watchdog_free(&dog);
    assert_null(dog);
}

static void test_short_stays_are_left_alone(void **state)
{
    struct tg_watchdog *dog;
    struct subject s;
    (void)state;
    assert_int_equal(tg_watchdog_new(&dog), TG_OK);
    subject_open(&s, dog, 20000);
    for (int i = 0; i < 50; i++) {
        s.seq++;
        spin_for(500);
        s.seq++;
        spin_for(500);
    }
    assert_int_equal(s.calls, 0);
    tg_watchdog_remove(dog, &s.watch);
    tg_watchdog_free(&dog);
}

static void test_no_call_after_removal(void **state)
{
    struct tg_watchdog *dog;
    struct subject s;
    (void)state;
    assert_int_equal(tg_watchdog_new(&dog), TG_OK);
    for (int i = 0; i < 20; i++) {
        subject_open(&s, dog, 1000);
        s.seq = 1;
        spin_until(&s, 1);
        tg_watchdog_remove(dog, &s.watch);
        unsigned calls = s.calls;
        spin_for(1500);
        assert_int_equal(s.calls, calls);
    }
    tg_watchdog_free(&dog);
}

static void test_it_sleeps_and_wakes(void **state)
{
    struct tg_watchdog *dog;
    struct subject s;
    (void)state;
    assert_int_equal(tg_watchdog_new(&dog), TG_OK);
    subject_open(&s, dog, 1000);
    uint64_t start = tg_clock_mono_now();
    while (!s.watch.asleep && tg_clock_mono_now() - start < 10 * TG_USEC_PER_SEC) {
    }
    assert_true(s.watch.asleep);
    s.seq = 1;
    tg_watchdog_wake(dog);
    spin_until(&s, 1);
    assert_true(s.calls >= 1);
    s.seq = 2;
    tg_watchdog_remove(dog, &s.watch);
    tg_watchdog_free(&dog);
}

static void *spin_thread(void *arg)
{
    struct tg_watchdog *dog = arg;
    struct subject s;
    if (!subject_add(&s, dog, 1000)) /* an assertion has its place in the thread of main alone */
        return NULL;
    s.seq = 1;
    uint64_t took = spin_until(&s, 5);
    bool ok = s.calls >= 5 && pthread_equal(s.thread, pthread_self()) && took < 2000000;
    tg_watchdog_remove(dog, &s.watch);
    return ok ? arg : NULL;
}

static void test_several_threads(void **state)
{
    struct tg_watchdog *dog;
    pthread_t threads[3];
    bool all = true;
    (void)state;
    assert_int_equal(tg_watchdog_new(&dog), TG_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, spin_thread, dog), 0);
    for (int i = 0; i < 3; i++) {
        void *result;
        pthread_join(threads[i], &result);
        all &= result == dog;
    }
    tg_watchdog_free(&dog);
    assert_true(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_calls_on_the_thread_what_is_overdue),
        cmocka_unit_test(test_short_stays_are_left_alone),
        cmocka_unit_test(test_no_call_after_removal),
        cmocka_unit_test(test_it_sleeps_and_wakes),
        cmocka_unit_test(test_several_threads),
    };

    return cmocka_run_group_tests_name("event watchdog", tests, NULL, NULL);
}
