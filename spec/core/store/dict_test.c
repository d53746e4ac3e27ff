/* Dicts: each operation alone, and exact totals when threads work on the same keys. */
#include "base/banned.h"
#include "store/fixture.h"

#include "base/assert.h"
#include "store/dict.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define THREADS 4
#define ROUNDS  20000
#define ADDED   500

static void set(struct fixture *f, const char *key, struct tg_zone_value value, uint64_t ttl)
{
    assert_int_equal(tg_dict_set(f->zone, tg_str_c(key), &value, ttl, SEC), TG_OK);
}

static struct tg_zone_value get(struct fixture *f, const char *key, uint64_t now)
{
    struct tg_zone_value value;
    tg_dict_get(f->zone, tg_str_c(key), now, &value);
    return value;
}

static void test_values_come_back(void **state)
{
    struct fixture f;
    (void)state;
    fixture_open(&f, TG_ZONE_DICT, 1 << 20);
    set(&f, "number", number(4.5), 0);
    set(&f, "text", text("words"), 0);
    set(&f, "bool", (struct tg_zone_value){.type = TG_ZONE_BOOLEAN, .number = 1}, 0);
    set(&f, "a key that is longer than sixteen bytes", text(""), 0);
    struct tg_zone_value value = get(&f, "text", SEC);
    assert_text(&value, "words");
    value = get(&f, "a key that is longer than sixteen bytes", SEC);
    assert_text(&value, "");
    assert_true(get(&f, "number", SEC).number == 4.5);
    assert_int_equal(get(&f, "bool", SEC).type, TG_ZONE_BOOLEAN);
    assert_int_equal(get(&f, "none", SEC).type, TG_ZONE_ABSENT);
    assert_true(tg_dict_delete(f.zone, TG_STR("text"), SEC));
    assert_false(tg_dict_delete(f.zone, TG_STR("text"), SEC));
    fixture_close(&f);
}

static void test_time_ends_an_entry(void **state)
{
    struct fixture f;
    uint64_t left;
    (void)state;
    fixture_open(&f, TG_ZONE_DICT, 1 << 20);
    set(&f, "k", text("v"), 3 * SEC);
    set(&f, "ever", number(1), 0);
    assert_true(tg_dict_ttl(f.zone, TG_STR("k"), 2 * SEC, &left));
    assert_int_equal(left, 2 * SEC);
    assert_true(tg_dict_ttl(f.zone, TG_STR("ever"), 2 * SEC, &left));
    assert_int_equal(left, 0);
    assert_int_equal(get(&f, "k", 4 * SEC).type, TG_ZONE_ABSENT);
    assert_false(tg_dict_ttl(f.zone, TG_STR("k"), 4 * SEC, &left));
    fixture_close(&f);
}

static void test_add_sets_what_is_absent(void **state)
{
    struct fixture f;
    (void)state;
    fixture_open(&f, TG_ZONE_DICT, 1 << 20);
    struct tg_zone_value value = text("first");
    assert_int_equal(tg_dict_add(f.zone, TG_STR("k"), &value, SEC, SEC), TG_OK);
    value = text("second");
    assert_int_equal(tg_dict_add(f.zone, TG_STR("k"), &value, SEC, SEC), TG_E_EXISTS);
    assert_int_equal(value.type, TG_ZONE_ABSENT);
    value = text("third");
    assert_int_equal(tg_dict_add(f.zone, TG_STR("k"), &value, SEC, 2 * SEC), TG_OK);
    value = get(&f, "k", 2 * SEC);
    assert_text(&value, "third");
    fixture_close(&f);
}

static void test_incr_needs_a_number(void **state)
{
    struct fixture f;
    double sum = 0;
    const double init = 10;
    uint64_t left;
    (void)state;
    fixture_open(&f, TG_ZONE_DICT, 1 << 20);
    assert_int_equal(tg_dict_incr(f.zone, TG_STR("n"), 1, NULL, 0, SEC, &sum), TG_E_NOT_FOUND);
    assert_int_equal(tg_dict_incr(f.zone, TG_STR("n"), 2, &init, 5 * SEC, SEC, &sum), TG_OK);
    assert_true(sum == 12);
    /* the time of a key runs on */
    assert_int_equal(tg_dict_incr(f.zone, TG_STR("n"), -4, &init, 9 * SEC, 3 * SEC, &sum), TG_OK);
    assert_true(sum == 8);
    assert_true(tg_dict_ttl(f.zone, TG_STR("n"), 3 * SEC, &left));
    assert_int_equal(left, 3 * SEC);
    assert_int_equal(tg_dict_incr(f.zone, TG_STR("n"), 1, &init, 0, 6 * SEC, &sum), TG_OK);
    assert_true(sum == 11);
    set(&f, "t", text("1"), 0);
    assert_int_equal(tg_dict_incr(f.zone, TG_STR("t"), 1, &init, 0, SEC, &sum), TG_E_INVALID);
    fixture_close(&f);
}

static bool cas(struct fixture *f, struct tg_zone_value expected, struct tg_zone_value value,
                const uint64_t *ttl)
{
    bool swapped;
    assert_int_equal(tg_dict_cas(f->zone, TG_STR("k"), &expected, &value, ttl, 2 * SEC, &swapped),
                     TG_OK);
    tg_zone_value_release(&expected);
    return swapped;
}

static void test_cas_compares_type_and_value(void **state)
{
    const struct tg_zone_value none = {.type = TG_ZONE_ABSENT};
    const uint64_t minute = 60 * SEC;
    struct fixture f;
    uint64_t left;
    (void)state;
    fixture_open(&f, TG_ZONE_DICT, 1 << 20);
    assert_false(cas(&f, number(1), number(2), NULL));
    assert_true(cas(&f, none, number(1), &minute));
    assert_false(cas(&f, none, number(2), NULL));
    assert_false(cas(&f, text("1"), number(2), NULL));
    assert_true(cas(&f, number(1), text("two"), NULL)); /* keeps its time */
    assert_true(tg_dict_ttl(f.zone, TG_STR("k"), 2 * SEC, &left));
    assert_int_equal(left, minute);
    assert_false(cas(&f, text("twx"), number(3), NULL));
    assert_true(cas(&f, text("two"), none, NULL));
    assert_int_equal(get(&f, "k", SEC).type, TG_ZONE_ABSENT);
    fixture_close(&f);
}

/* ---- Threads ---- */

struct shared {
    struct tg_zone *zone;
    _Atomic unsigned added;
};

/* Counts by incr and by cas, races for each key of add, and replaces texts under readers. */
static void *hammer(void *arg)
{
    struct shared *shared = arg;
    const double zero = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        double sum;
        bool swapped = false;
        struct tg_zone_value value;
        char key[16];
        while (tg_dict_incr(shared->zone, TG_STR("incr"), 1, &zero, 0, SEC, &sum) != TG_OK)
            continue; /* memory was out: in a sweep */
        while (!swapped) {
            struct tg_zone_value old;
            tg_dict_get(shared->zone, TG_STR("cas"), SEC, &old);
            value = number(old.number + 1);
            swapped = tg_dict_cas(shared->zone, TG_STR("cas"), &old, &value, NULL, SEC, &swapped) ==
                          TG_OK &&
                      swapped;
        }
        snprintf(key, sizeof(key), "add%u", i % ADDED);
        value = number(i);
        if (tg_dict_add(shared->zone, tg_str_c(key), &value, 0, SEC) == TG_OK)
            atomic_fetch_add(&shared->added, 1);
        value = (struct tg_zone_value){.type = TG_ZONE_STRING, .text = tg_zone_text_new(key, 4)};
        if (value.text == NULL ||
            tg_dict_set(shared->zone, TG_STR("text"), &value, 0, SEC) != TG_OK)
            continue;
        tg_dict_get(shared->zone, TG_STR("text"), SEC, &value);
        tg_assert(memcmp(value.text->bytes, "add", 3) == 0);
        tg_zone_value_release(&value);
    }
    return NULL;
}

static void test_threads_add_up_exactly(void **state)
{
    struct fixture f;
    pthread_t threads[THREADS];
    (void)state;
    fixture_open(&f, TG_ZONE_DICT, 4 << 20);
    struct shared shared = {.zone = f.zone};
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, &shared), 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_true(get(&f, "incr", SEC).number == THREADS * ROUNDS);
    assert_true(get(&f, "cas", SEC).number == THREADS * ROUNDS);
    assert_int_equal(shared.added, ADDED);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_come_back),
        cmocka_unit_test(test_time_ends_an_entry),
        cmocka_unit_test(test_add_sets_what_is_absent),
        cmocka_unit_test(test_incr_needs_a_number),
        cmocka_unit_test(test_cas_compares_type_and_value),
        cmocka_unit_test(test_threads_add_up_exactly),
    };
    return cmocka_run_group_tests_name("dict", tests, NULL, NULL);
}
