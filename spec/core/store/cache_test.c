/* Caches: fresh, stale and gone; absences; what a reader gets. */
#include "base/banned.h"
#include "store/fixture.h"

#include "store/cache.h"

#define KEY TG_STR("k")

static enum tg_cache_verdict look(struct fixture *f, uint64_t now, const char *expected)
{
    struct tg_zone_value value;
    enum tg_cache_verdict verdict = tg_cache_get(f->zone, KEY, now, &value);
    if (expected != NULL)
        assert_text(&value, expected);
    else
        assert_int_equal(value.type, TG_ZONE_ABSENT);
    return verdict;
}

static void test_a_value_ages(void **state)
{
    struct fixture f;
    (void)state;
    fixture_open(&f, TG_ZONE_CACHE, 1 << 20);
    struct tg_zone_value value = text("page");
    assert_int_equal(look(&f, SEC, NULL), TG_CACHE_MISS);
    assert_int_equal(tg_cache_set(f.zone, KEY, &value, 2 * SEC, 5 * SEC, SEC), TG_OK);
    assert_int_equal(look(&f, 3 * SEC - 1, "page"), TG_CACHE_FRESH);
    assert_int_equal(look(&f, 3 * SEC, "page"), TG_CACHE_STALE);
    assert_int_equal(look(&f, 8 * SEC - 1, "page"), TG_CACHE_STALE);
    assert_int_equal(look(&f, 8 * SEC, NULL), TG_CACHE_MISS);
    fixture_close(&f);
}

static void test_without_a_time_it_stays_fresh(void **state)
{
    struct fixture f;
    (void)state;
    fixture_open(&f, TG_ZONE_CACHE, 1 << 20);
    struct tg_zone_value value = text("page");
    assert_int_equal(tg_cache_set(f.zone, KEY, &value, 0, 0, SEC), TG_OK);
    assert_int_equal(look(&f, 1000000 * SEC, "page"), TG_CACHE_FRESH);
    assert_true(tg_cache_delete(f.zone, KEY, SEC));
    assert_false(tg_cache_delete(f.zone, KEY, SEC));
    fixture_close(&f);
}

static void test_an_absence_is_an_answer(void **state)
{
    struct fixture f;
    struct tg_zone_value none = {.type = TG_ZONE_ABSENT};
    (void)state;
    fixture_open(&f, TG_ZONE_CACHE, 1 << 20);
    assert_int_equal(tg_cache_set(f.zone, KEY, &none, SEC, 0, SEC), TG_OK);
    assert_int_equal(look(&f, SEC, NULL), TG_CACHE_FRESH);
    assert_int_equal(look(&f, 2 * SEC, NULL), TG_CACHE_MISS);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_value_ages),
        cmocka_unit_test(test_without_a_time_it_stays_fresh),
        cmocka_unit_test(test_an_absence_is_an_answer),
    };
    return cmocka_run_group_tests_name("cache", tests, NULL, NULL);
}
