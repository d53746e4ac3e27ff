/* Locks on keys: order, ends in every state, and one holder at a time among threads with loops. */
#include "base/banned.h"
#include "store/fixture.h"

#include "store/lock.h"

#define KEY     TG_STR("k")
#define THREADS 4
#define ROUNDS  5000

/* One worker: a loop and its claims. */
struct place {
    struct tg_loop loop;
    struct tg_claims claims;
    struct tg_task stop;
};

/* One party, and what it was told. */
struct party {
    struct tg_claim *claim;
    unsigned called;
    bool held;
};

struct bench {
    struct fixture f;
    struct place place;
};

static void on_stop(struct tg_task *task)
{
    tg_loop_stop(&TG_CONTAINER_OF(task, struct place, stop)->loop);
}

static void open_place(struct place *place)
{
    assert_int_equal(tg_loop_init(&place->loop), TG_OK);
    tg_claims_init(&place->claims, &place->loop);
    tg_task_init(&place->stop, on_stop);
}

static void close_place(struct place *place)
{
    tg_claims_release(&place->claims);
    tg_loop_release(&place->loop);
}

static void open_bench(struct bench *b)
{
    fixture_open(&b->f, TG_ZONE_DICT, 1 << 20);
    open_place(&b->place);
}

static void close_bench(struct bench *b)
{
    close_place(&b->place);
    fixture_close(&b->f);
}

/* Lets the news arrive that is on its way. */
static void run(struct bench *b)
{
    tg_loop_post(&b->place.loop, &b->place.stop);
    tg_loop_run(&b->place.loop);
}

static void on_ready(void *arg, bool held)
{
    struct party *party = arg;
    party->called++;
    party->held = held;
}

static enum tg_err claim(struct bench *b, struct party *party)
{
    *party = (struct party){0};
    return tg_claim_new(&b->place.claims, b->f.zone, KEY, on_ready, party, &party->claim);
}

static void test_turns_come_in_order(void **state)
{
    struct bench b;
    struct party p[3];
    (void)state;
    open_bench(&b);
    assert_int_equal(claim(&b, &p[0]), TG_OK);
    assert_int_equal(claim(&b, &p[1]), TG_E_AGAIN);
    assert_int_equal(claim(&b, &p[2]), TG_E_AGAIN);
    run(&b);
    assert_int_equal(p[1].called + p[2].called, 0);
    for (unsigned i = 0; i < 2; i++) {
        tg_claim_end(&p[i].claim, false);
        assert_null(p[i].claim);
        run(&b);
        assert_true(p[i + 1].called == 1 && p[i + 1].held);
    }
    assert_int_equal(p[2].called, 1);
    tg_claim_end(&p[2].claim, false);
    assert_int_equal(claim(&b, &p[0]), TG_OK);
    tg_claim_end(&p[0].claim, false);
    close_bench(&b);
}

static void test_all_can_be_called(void **state)
{
    struct bench b;
    struct party p[3];
    (void)state;
    open_bench(&b);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(claim(&b, &p[i]), i == 0 ? TG_OK : TG_E_AGAIN);
    tg_claim_end(&p[0].claim, true);
    assert_int_equal(claim(&b, &p[0]), TG_OK); /* the key is free at once */
    run(&b);
    for (unsigned i = 1; i < 3; i++) {
        assert_true(p[i].called == 1 && !p[i].held);
        tg_claim_end(&p[i].claim, false);
    }
    tg_claim_end(&p[0].claim, false);
    close_bench(&b);
}

static void test_who_leaves_the_queue_is_not_called(void **state)
{
    struct bench b;
    struct party p[3];
    (void)state;
    open_bench(&b);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(claim(&b, &p[i]), i == 0 ? TG_OK : TG_E_AGAIN);
    tg_claim_end(&p[1].claim, false);
    tg_claim_end(&p[0].claim, false);
    run(&b);
    assert_int_equal(p[1].called, 0);
    assert_true(p[2].held);
    tg_claim_end(&p[2].claim, false);
    close_bench(&b);
}

/* The turn is on its way to one that ends: the next gets it. */
static void test_a_turn_that_nobody_takes_goes_on(void **state)
{
    struct bench b;
    struct party p[3];
    (void)state;
    open_bench(&b);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(claim(&b, &p[i]), i == 0 ? TG_OK : TG_E_AGAIN);
    tg_claim_end(&p[0].claim, false);
    tg_claim_end(&p[1].claim, false);
    run(&b);
    assert_int_equal(p[1].called, 0);
    assert_true(p[2].held);
    tg_claim_end(&p[2].claim, true);
    close_bench(&b);
}

/* At the end of the process news is lost with the loops: what it was for is freed all the same. */
static void test_lost_news_leaks_nothing(void **state)
{
    struct bench b;
    struct party p[3];
    (void)state;
    open_bench(&b);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(claim(&b, &p[i]), i == 0 ? TG_OK : TG_E_AGAIN);
    tg_claim_end(&p[0].claim, true);
    tg_claim_end(&p[1].claim, false);
    tg_claim_end(&p[2].claim, false);
    close_bench(&b);
}

static void test_a_queue_has_a_bound(void **state)
{
    static struct party p[TG_LOCK_WAITERS_MAX + 2];
    struct bench b;
    (void)state;
    open_bench(&b);
    for (unsigned i = 0; i <= TG_LOCK_WAITERS_MAX; i++)
        assert_int_equal(claim(&b, &p[i]), i == 0 ? TG_OK : TG_E_AGAIN);
    assert_int_equal(claim(&b, &p[TG_LOCK_WAITERS_MAX + 1]), TG_E_LIMIT);
    for (unsigned i = TG_LOCK_WAITERS_MAX + 1; i > 0; i--)
        tg_claim_end(&p[i - 1].claim, false);
    close_bench(&b);
}

static void test_memory_that_is_out_leaves_nothing(void **state)
{
    struct bench b;
    struct party p;
    enum tg_err err = TG_E_NOMEM;
    (void)state;
    open_bench(&b);
    for (uint64_t nth = 1; err != TG_OK; nth++) {
        tg_mem_fail_at(nth);
        err = claim(&b, &p);
        tg_mem_fail_at(0);
        assert_true(err == TG_OK || (err == TG_E_NOMEM && p.claim == NULL));
        assert_true(nth < 10);
    }
    tg_claim_end(&p.claim, false);
    close_bench(&b);
}

/* ---- Threads ---- */

/* A worker that claims, counts and lets go, again and again; every fourth time it calls all. */
struct worker {
    struct place place;
    pthread_t thread;
    struct tg_task again;
    struct tg_claim *claim;
    struct tg_zone *zone;
    unsigned *count; /* guarded by the lock alone */
    unsigned rounds;
};

static void count_and_go_on(struct worker *w, bool held)
{
    if (held) {
        ++*w->count;
        w->rounds++;
    }
    tg_claim_end(&w->claim, held && w->rounds % 4 == 0);
    if (w->rounds < ROUNDS)
        tg_loop_defer(&w->place.loop, &w->again);
    else
        tg_loop_stop(&w->place.loop);
}

static void on_turn(void *arg, bool held)
{
    count_and_go_on(arg, held);
}

static void on_again(struct tg_task *task)
{
    struct worker *w = TG_CONTAINER_OF(task, struct worker, again);
    enum tg_err err = tg_claim_new(&w->place.claims, w->zone, KEY, on_turn, w, &w->claim);
    if (err == TG_OK)
        count_and_go_on(w, true);
    else if (err != TG_E_AGAIN) /* memory was out: in a sweep */
        tg_loop_defer(&w->place.loop, &w->again);
}

static void *work(void *arg)
{
    struct worker *w = arg;
    tg_loop_defer(&w->place.loop, &w->again);
    tg_loop_run(&w->place.loop);
    return NULL;
}

static void test_one_thread_holds_at_a_time(void **state)
{
    struct fixture f;
    struct worker workers[THREADS] = {0};
    unsigned count = 0;
    (void)state;
    fixture_open(&f, TG_ZONE_DICT, 1 << 20);
    for (unsigned i = 0; i < THREADS; i++) {
        struct worker *w = &workers[i];
        open_place(&w->place);
        tg_task_init(&w->again, on_again);
        w->zone = f.zone;
        w->count = &count;
    }
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
    assert_int_equal(count, THREADS * ROUNDS);
    for (unsigned i = 0; i < THREADS; i++)
        close_place(&workers[i].place);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_turns_come_in_order),
        cmocka_unit_test(test_all_can_be_called),
        cmocka_unit_test(test_who_leaves_the_queue_is_not_called),
        cmocka_unit_test(test_a_turn_that_nobody_takes_goes_on),
        cmocka_unit_test(test_lost_news_leaks_nothing),
        cmocka_unit_test(test_a_queue_has_a_bound),
        cmocka_unit_test(test_memory_that_is_out_leaves_nothing),
        cmocka_unit_test(test_one_thread_holds_at_a_time),
    };
    return cmocka_run_group_tests_name("lock", tests, NULL, NULL);
}
