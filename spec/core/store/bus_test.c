/* The bus: order, bounds, and that every member gets every message while threads publish. */
#include "base/banned.h"
#include "store/bus.h"

#include "base/assert.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>

#include <cmocka.h>

#define THREADS 4
#define ROUNDS  2000

/* One member: a loop, and what it has got. */
struct member {
    struct tg_loop loop;
    struct tg_mailbox mailbox;
    struct tg_task stop;
    struct tg_bus *bus;
    pthread_t thread;
    unsigned number;
    unsigned sent;
    unsigned got;
    unsigned last[THREADS]; /* of each publisher */
    bool ordered;
    unsigned expected; /* messages after which the loop stops; 0: never */
    struct tg_task again;
    struct member *all;
};

static void on_stop(struct tg_task *task)
{
    tg_loop_stop(&TG_CONTAINER_OF(task, struct member, stop)->loop);
}

static void on_message(void *arg, struct tg_message *message)
{
    struct member *m = arg;
    unsigned from;
    unsigned nth;
    tg_assert(tg_str_eq(message->topic, TG_STR("topic")));
    tg_assert(message->data.n == 2 * sizeof(unsigned));
    memcpy(&from, message->data.p, sizeof(from));
    memcpy(&nth, message->data.p + sizeof(from), sizeof(nth));
    m->ordered &= nth == m->last[from] + 1;
    m->last[from] = nth;
    if (++m->got == m->expected)
        tg_loop_stop(&m->loop);
}

static enum tg_err publish_for(struct tg_bus *bus, uint64_t edition, unsigned from, unsigned nth)
{
    unsigned data[2] = {from, nth};
    return tg_bus_publish(bus, edition, TG_STR("topic"), tg_str((const char *)data, sizeof(data)));
}

static enum tg_err publish(struct tg_bus *bus, unsigned from, unsigned nth)
{
    return publish_for(bus, 0, from, nth);
}

static void join(struct tg_bus *bus, struct member *m)
{
    *m = (struct member){.bus = bus, .ordered = true};
    assert_int_equal(tg_loop_init(&m->loop), TG_OK);
    tg_task_init(&m->stop, on_stop);
    tg_bus_join(bus, &m->mailbox, &m->loop, on_message, m);
}

static void leave(struct member *m)
{
    tg_bus_leave(&m->mailbox);
    tg_bus_leave(&m->mailbox);
    tg_loop_release(&m->loop);
}

/* Lets arrive what is on its way. */
static void run(struct member *m)
{
    tg_loop_post(&m->loop, &m->stop);
    tg_loop_run(&m->loop);
}

static void test_all_members_get_it(void **state)
{
    struct member m[2];
    struct tg_bus *bus = tg_bus_new();
    (void)state;
    assert_non_null(bus);
    assert_int_equal(publish(bus, 0, 1), TG_OK); /* to nobody */
    join(bus, &m[0]);
    join(bus, &m[1]);
    m[0].last[0] = m[1].last[0] = 1;
    assert_int_equal(publish(bus, 0, 2), TG_OK);
    assert_int_equal(publish(bus, 0, 3), TG_OK);
    assert_int_equal(m[0].got, 0); /* not before its loop runs */
    for (unsigned i = 0; i < 2; i++) {
        run(&m[i]);
        assert_int_equal(m[i].got, 2);
        assert_true(m[i].ordered);
        leave(&m[i]);
    }
    tg_bus_free(&bus);
    assert_null(bus);
}

static void test_a_message_waits_for_a_reader_of_its_edition(void **state)
{
    struct member m;
    struct tg_bus *bus = tg_bus_new();
    (void)state;
    assert_non_null(bus);
    join(bus, &m);
    assert_int_equal(publish_for(bus, 1, 0, 1), TG_OK);
    assert_int_equal(publish_for(bus, 0, 0, 2), TG_OK); /* behind it: the order stays */
    run(&m);
    assert_int_equal(m.got, 0);
    tg_bus_advance(&m.mailbox, 1);
    run(&m);
    assert_int_equal(m.got, 2);
    assert_true(m.ordered);
    assert_int_equal(publish_for(bus, 2, 0, 3), TG_OK);
    assert_int_equal(publish_for(bus, 3, 0, 4), TG_OK);
    tg_bus_advance(&m.mailbox, 2);
    run(&m);
    assert_int_equal(m.got, 3);
    leave(&m); /* with a letter of an edition that never came */
    tg_bus_free(&bus);
}

static void test_a_mailbox_has_a_bound(void **state)
{
    size_t before = tg_mem_used(TG_MEM_COUNTER);
    struct member m;
    struct tg_bus *bus = tg_bus_new();
    (void)state;
    assert_non_null(bus);
    join(bus, &m);
    for (unsigned i = 1; i <= TG_BUS_MESSAGES; i++)
        assert_int_equal(publish(bus, 0, i), TG_OK);
    assert_int_equal(publish(bus, 0, TG_BUS_MESSAGES + 1), TG_E_LIMIT);
    run(&m);
    assert_int_equal(m.got, TG_BUS_MESSAGES);
    assert_int_equal(publish(bus, 0, TG_BUS_MESSAGES + 1), TG_OK);
    leave(&m); /* with a letter that nobody reads */
    tg_bus_free(&bus);
    assert_int_equal(tg_mem_used(TG_MEM_COUNTER), before);
}

static void test_large_messages_count_by_their_bytes(void **state)
{
    static char data[1 << 20];
    struct member m;
    struct tg_bus *bus = tg_bus_new();
    (void)state;
    assert_non_null(bus);
    join(bus, &m);
    for (unsigned i = 0; i < TG_BUS_BYTES / sizeof(data) - 1; i++)
        assert_int_equal(tg_bus_publish(bus, 0, TG_STR("t"), tg_str(data, sizeof(data))), TG_OK);
    assert_int_equal(tg_bus_publish(bus, 0, TG_STR("t"), tg_str(data, sizeof(data))), TG_E_LIMIT);
    leave(&m);
    tg_bus_free(&bus);
}

static void test_failed_allocations_reach_nobody(void **state)
{
    size_t before = tg_mem_used(TG_MEM_COUNTER);
    struct member m;
    struct tg_bus *bus = tg_bus_new();
    (void)state;
    assert_non_null(bus);
    join(bus, &m);
    for (uint64_t nth = 1; nth <= 2; nth++) {
        tg_mem_fail_at(nth);
        assert_int_equal(publish(bus, 0, 1), TG_E_NOMEM);
        tg_mem_fail_at(0);
    }
    assert_int_equal(publish(bus, 0, 1), TG_OK);
    run(&m);
    assert_int_equal(m.got, 1);
    leave(&m);
    tg_bus_free(&bus);
    assert_int_equal(tg_mem_used(TG_MEM_COUNTER), before);
}

/* ---- Threads ---- */

/* Publishes one message a round and never runs so far ahead of the others that a mailbox fills: at
 * most a quarter of one from each. */
static void on_again(struct tg_task *task)
{
    struct member *m = TG_CONTAINER_OF(task, struct member, again);
    if (m->sent * THREADS > m->got + TG_BUS_MESSAGES / 4) {
        tg_loop_defer(&m->loop, &m->again);
        return;
    }
    m->sent++;
    if (publish(m->bus, m->number, m->sent) != TG_OK) { /* memory was out: in a sweep */
        for (unsigned i = 0; i < THREADS; i++)
            tg_loop_post(&m->all[i].loop, &m->all[i].stop);
        return;
    }
    if (m->sent < ROUNDS)
        tg_loop_defer(&m->loop, &m->again);
}

static void *work(void *arg)
{
    struct member *m = arg;
    tg_loop_defer(&m->loop, &m->again);
    tg_loop_run(&m->loop);
    return NULL;
}

static void test_every_thread_gets_every_message(void **state)
{
    struct member m[THREADS];
    struct tg_bus *bus = tg_bus_new();
    (void)state;
    assert_non_null(bus);
    for (unsigned i = 0; i < THREADS; i++) {
        join(bus, &m[i]);
        m[i].number = i;
        m[i].all = m;
        m[i].expected = THREADS * ROUNDS;
        tg_task_init(&m[i].again, on_again);
    }
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&m[i].thread, NULL, work, &m[i]), 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(m[i].thread, NULL), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(m[i].got, THREADS * ROUNDS);
        assert_true(m[i].ordered);
        leave(&m[i]);
    }
    tg_bus_free(&bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_members_get_it),
        cmocka_unit_test(test_a_message_waits_for_a_reader_of_its_edition),
        cmocka_unit_test(test_a_mailbox_has_a_bound),
        cmocka_unit_test(test_large_messages_count_by_their_bytes),
        cmocka_unit_test(test_failed_allocations_reach_nobody),
        cmocka_unit_test(test_every_thread_gets_every_message),
    };
    return cmocka_run_group_tests_name("bus", tests, NULL, NULL);
}
