/*
 * Bounded maps in the metrics: each family once, a line a name, maps of one name as their sum.
 */
#include "base/banned.h"
#include "observe/map_watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static char room[32768];

static const char *written(void)
{
    struct tg_fmt f;
    tg_fmt_init(&f, room, sizeof(room) - 1);
    tg_map_watches_write(&f);
    assert_false(f.failed);
    room[f.n] = '\0';
    return room;
}

static void assert_says(const char *line)
{
    assert_non_null(strstr(written(), line));
}

static struct tg_shared_map *map_of(uint32_t entries)
{
    struct tg_map_options options = {
        .tag = TG_MEM_COUNTER, .max_entries = 10, .value_size = 8, .key_room = 16};
    const struct tg_map_terms terms = {.ttl = 5};
    struct tg_shared_map *shared = tg_shared_map_new(&options, 1);
    assert_non_null(shared);
    for (uint64_t i = 0; i < entries; i++) {
        struct tg_map_key key = tg_map_key(&i, sizeof(i));
        struct tg_map *map = tg_shared_map_lease(shared, key);
        assert_int_equal(tg_map_set(map, key, &i, &terms, 100), TG_OK);
        assert_non_null(tg_map_get(map, key, 100));
        tg_shared_map_return(shared, key, &map);
    }
    return shared;
}

static void test_statistics_have_the_maps_name(void **state)
{
    struct tg_shared_map *shared = map_of(12);
    struct tg_map_watch watch;
    (void)state;
    tg_map_watch_add(&watch, TG_STR("a.b"), shared);
    assert_says("# TYPE tidegate_map_entries gauge\ntidegate_map_entries{map=\"a.b\"} 10\n");
    assert_says("tidegate_map_hits_total{map=\"a.b\"} 12\n");
    assert_says("tidegate_map_evictions_total{map=\"a.b\",reason=\"capacity\"} 2\n");
    assert_true(tg_shared_map_sweep(shared, 105, 100, UINT64_MAX));
    assert_says("tidegate_map_evictions_total{map=\"a.b\",reason=\"expired\"} 10\n");
    assert_says("tidegate_map_sweeps_total{map=\"a.b\"} 1\n");
    assert_says("tidegate_map_sweep_seconds_total{map=\"a.b\"} 0.0");
    tg_map_watch_remove(&watch);
    tg_map_watch_remove(&watch);
    tg_shared_map_free(&shared);
    assert_string_equal(written(), "");
}

static void test_maps_of_one_name_are_summed(void **state)
{
    struct tg_shared_map *maps[3] = {map_of(2), map_of(3), map_of(4)};
    struct tg_map_watch watches[3];
    (void)state;
    tg_map_watch_add(&watches[0], TG_STR("old"), maps[0]);
    tg_map_watch_add(&watches[1], TG_STR("other"), maps[1]);
    tg_map_watch_add(&watches[2], TG_STR("old"), maps[2]);
    assert_says("tidegate_map_entries{map=\"old\"} 6\ntidegate_map_entries{map=\"other\"} 3\n#");
    tg_map_watch_remove(&watches[0]);
    assert_says("tidegate_map_entries{map=\"other\"} 3\ntidegate_map_entries{map=\"old\"} 4\n#");
    for (int i = 0; i < 3; i++) {
        tg_map_watch_remove(&watches[i]);
        tg_shared_map_free(&maps[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_statistics_have_the_maps_name),
        cmocka_unit_test(test_maps_of_one_name_are_summed),
    };
    return cmocka_run_group_tests_name("map watch", tests, NULL, NULL);
}
