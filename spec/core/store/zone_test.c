/* Zones: their identity, their life across openings, and the memory that they never exceed. */
#include "base/banned.h"
#include "store/fixture.h"

#include "base/assert.h"
#include "limit/table.h"
#include "store/dict.h"

static struct tg_zone *open_zone(struct fixture *f, enum tg_zone_kind kind, const char *name,
                                 uint64_t size)
{
    struct tg_zone *zone;
    assert_int_equal(tg_zones_open(f->zones, kind, tg_str_c(name), size, &zone), TG_OK);
    return zone;
}

static void test_the_same_three_are_the_same_zone(void **state)
{
    struct fixture f;
    (void)state;
    fixture_open(&f, TG_ZONE_DICT, 1 << 20);
    struct tg_zone *same = open_zone(&f, TG_ZONE_DICT, "z", 1 << 20);
    struct tg_zone *name = open_zone(&f, TG_ZONE_DICT, "y", 1 << 20);
    struct tg_zone *kind = open_zone(&f, TG_ZONE_CACHE, "z", 1 << 20);
    struct tg_zone *size = open_zone(&f, TG_ZONE_DICT, "z", 2 << 20);
    assert_ptr_equal(same, f.zone);
    assert_ptr_not_equal(name, f.zone);
    assert_ptr_not_equal(kind, f.zone);
    assert_ptr_not_equal(size, f.zone);
    assert_int_equal(tg_zone_kind(kind), TG_ZONE_CACHE);
    tg_zone_unref(&same);
    tg_zone_unref(&name);
    tg_zone_unref(&kind);
    tg_zone_unref(&size);
    assert_null(size);
    fixture_close(&f);
}

/* A reload opens what it declares before it lets go of what was. */
static void test_entries_live_while_somebody_has_it_open(void **state)
{
    struct fixture f;
    (void)state;
    fixture_open(&f, TG_ZONE_DICT, 1 << 20);
    struct tg_zone_value value = text("kept");
    assert_int_equal(tg_dict_set(f.zone, TG_STR("k"), &value, 0, SEC), TG_OK);
    struct tg_zone *later = open_zone(&f, TG_ZONE_DICT, "z", 1 << 20);
    tg_zone_unref(&f.zone);
    tg_dict_get(later, TG_STR("k"), SEC, &value);
    assert_text(&value, "kept");
    tg_zone_unref(&later);
    f.zone = open_zone(&f, TG_ZONE_DICT, "z", 1 << 20);
    tg_dict_get(f.zone, TG_STR("k"), SEC, &value);
    assert_int_equal(value.type, TG_ZONE_ABSENT);
    fixture_close(&f);
}

/* First many entries without texts, then few large ones: the worst order for the memory. */
static void fill(struct tg_zone *zone, uint64_t entries, size_t bytes)
{
    static char room[4096];
    tg_assert(bytes <= sizeof(room));
    for (uint64_t i = 0; i < entries; i++) {
        struct tg_zone_value value = {.type = TG_ZONE_STRING,
                                      .text = tg_zone_text_new(room, bytes)};
        assert_non_null(value.text);
        assert_int_equal(tg_dict_set(zone, tg_str((const char *)&i, sizeof(i)), &value, 0, SEC),
                         TG_OK);
    }
}

static void test_a_zone_never_exceeds_its_size(void **state)
{
    static const uint64_t sizes[] = {TG_ZONE_SIZE_MIN, 1 << 20, 3 << 20};
    (void)state;
    for (unsigned i = 0; i < TG_COUNT_OF(sizes) * 2; i++) {
        struct fixture f;
        uint64_t size = sizes[i / 2];
        size_t fixed = (size_t)16 << 10; /* shards, locks, the registry */
        fixture_open(&f, i % 2 == 0 ? TG_ZONE_DICT : TG_ZONE_CACHE, size);
        fill(f.zone, 40000, 0);
        fill(f.zone, 4000, 4096);
        fill(f.zone, 20000, 100);
        assert_in_range(tg_mem_used(TG_MEM_CACHE) - f.before, size / 4, size + fixed);
        assert_in_range(tg_zone_used(f.zone), size / 8, size);
        fixture_close(&f);
    }
}

static void test_a_value_larger_than_the_zone_is_refused(void **state)
{
    struct fixture f;
    static char room[128 << 10];
    (void)state;
    fixture_open(&f, TG_ZONE_DICT, TG_ZONE_SIZE_MIN);
    struct tg_zone_value value = text("small");
    assert_int_equal(tg_dict_set(f.zone, TG_STR("k"), &value, 0, SEC), TG_OK);
    value = (struct tg_zone_value){.type = TG_ZONE_STRING,
                                   .text = tg_zone_text_new(room, sizeof(room))};
    assert_int_equal(tg_dict_set(f.zone, TG_STR("k"), &value, 0, SEC), TG_E_LIMIT);
    assert_int_equal(value.type, TG_ZONE_ABSENT);
    tg_dict_get(f.zone, TG_STR("k"), SEC, &value);
    assert_text(&value, "small");
    fixture_close(&f);
}

static void test_a_reader_keeps_what_is_replaced(void **state)
{
    struct fixture f;
    struct tg_zone_value read;
    (void)state;
    fixture_open(&f, TG_ZONE_DICT, 1 << 20);
    struct tg_zone_value value = text("old");
    assert_int_equal(tg_dict_set(f.zone, TG_STR("k"), &value, 0, SEC), TG_OK);
    tg_dict_get(f.zone, TG_STR("k"), SEC, &read);
    value = text("new");
    assert_int_equal(tg_dict_set(f.zone, TG_STR("k"), &value, 0, SEC), TG_OK);
    assert_text(&read, "old");
    fixture_close(&f);
}

static void test_failed_allocations_leave_nothing(void **state)
{
    struct fixture f;
    struct tg_zone *zone = NULL;
    (void)state;
    fixture_open(&f, TG_ZONE_DICT, 1 << 20);
    size_t before = tg_mem_used(TG_MEM_CACHE);
    for (uint64_t nth = 1; zone == NULL; nth++) {
        tg_mem_fail_at(nth);
        enum tg_err err = tg_zones_open(f.zones, TG_ZONE_CACHE, TG_STR("c"), 1 << 20, &zone);
        tg_mem_fail_at(0);
        if (err == TG_OK)
            break;
        assert_int_equal(err, TG_E_NOMEM);
        assert_int_equal(tg_mem_used(TG_MEM_CACHE), before);
        assert_true(nth < 100);
    }
    tg_zone_unref(&zone);
    fixture_close(&f);
}

static void test_a_limit_zone_is_a_counter_table_within_its_size(void **state)
{
    const struct tg_rate_rule rule = {TG_RATE_FIXED, 1, 1, SEC};
    struct tg_rate_verdict verdict;
    struct fixture f;
    (void)state;
    fixture_open(&f, TG_ZONE_LIMIT, TG_ZONE_SIZE_MIN);
    struct tg_zone *dict = open_zone(&f, TG_ZONE_DICT, "z", TG_ZONE_SIZE_MIN);
    assert_ptr_not_equal(f.zone, dict);
    tg_zone_unref(&dict);
    size_t before = tg_mem_used(TG_MEM_COUNTER);
    for (uint64_t i = 0; i < 10000; i++)
        assert_int_equal(tg_limit_table_take(tg_zone_limits(f.zone), &rule,
                                             tg_str((const char *)&i, sizeof(i)), 1, 5, &verdict),
                         TG_OK);
    assert_true(tg_mem_used(TG_MEM_COUNTER) - before <= TG_ZONE_SIZE_MIN);
    assert_in_range(tg_zone_used(f.zone), TG_ZONE_SIZE_MIN / 2, TG_ZONE_SIZE_MIN);
    fixture_close(&f);
}

static void test_shrinking_takes_from_caches_alone(void **state)
{
    struct tg_map_stats cache, dict;
    struct fixture f;
    (void)state;
    fixture_open(&f, TG_ZONE_CACHE, TG_ZONE_SIZE_MIN);
    struct tg_zone *other = open_zone(&f, TG_ZONE_DICT, "d", TG_ZONE_SIZE_MIN);
    for (uint64_t i = 0; i < 80; i++) {
        struct tg_zone *zone = i % 2 ? f.zone : other;
        struct tg_map_key key = tg_map_key(&i, sizeof(i));
        struct tg_zone_value value = {.type = TG_ZONE_NUMBER, .number = 1};
        struct tg_map *map = tg_shared_map_lease(tg_zone_map(zone), key);
        assert_int_equal(tg_zone_slot_set(map, key, &value, 0, 0, 1), TG_OK);
        tg_shared_map_return(tg_zone_map(zone), key, &map);
    }
    tg_zones_shrink(f.zones, 1);
    tg_shared_map_stats(tg_zone_map(f.zone), &cache);
    tg_shared_map_stats(tg_zone_map(other), &dict);
    assert_in_range(cache.entries, 1, 35);
    assert_int_equal(dict.entries, 40);
    tg_zone_unref(&other);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shrinking_takes_from_caches_alone),
        cmocka_unit_test(test_the_same_three_are_the_same_zone),
        cmocka_unit_test(test_entries_live_while_somebody_has_it_open),
        cmocka_unit_test(test_a_zone_never_exceeds_its_size),
        cmocka_unit_test(test_a_value_larger_than_the_zone_is_refused),
        cmocka_unit_test(test_a_reader_keeps_what_is_replaced),
        cmocka_unit_test(test_failed_allocations_leave_nothing),
        cmocka_unit_test(test_a_limit_zone_is_a_counter_table_within_its_size),
    };
    return cmocka_run_group_tests_name("zone", tests, NULL, NULL);
}
