/*
 * Balancers when targets are out, come back, or are elsewhere.
 */
#include "upstream/balance_fixture.h"

static struct balance_fixture f;

static int end(void **state)
{
    (void)state;
    fixture_end(&f);
    return 0;
}

static void begin(uint32_t targets)
{
    fixture_begin(&f, TG_BALANCE_ROUND_ROBIN);
    for (uint32_t i = 0; i < targets; i++)
        fixture_add(&f, 1);
    fixture_build(&f, TARGETS_MAX);
}

static void test_what_is_ejected_gets_nothing_until_its_pause_is_over(void **state)
{
    (void)state;
    begin(4);
    pick_many(&f, 4);
    eject(&f, 2);
    pick_many(&f, 300);
    assert_int_equal(f.hits[2], 0);
    assert_int_equal(f.hits[0], 100);
    f.now += 30 * SEC - 1;
    pick_many(&f, 30);
    assert_int_equal(f.hits[2], 0);
    f.now += 1;
    pick_many(&f, 40);
    assert_int_equal(f.hits[2], 10);
}

static void test_a_check_takes_out_and_lets_in(void **state)
{
    static const struct tg_check_conf check = {.rise = 2, .fall = 3};
    (void)state;
    begin(2);
    struct tg_origin *origin = tg_balance_origin(f.balance, 0);
    assert_false(tg_origin_note_check(origin, &check, f.now, true, ""));
    assert_false(tg_origin_note_check(origin, &check, f.now, false, "refused"));
    assert_false(tg_origin_note_check(origin, &check, f.now, false, "refused"));
    pick_many(&f, 10);
    assert_int_equal(f.hits[0], 5);
    assert_true(tg_origin_note_check(origin, &check, f.now, false, "refused"));
    assert_string_equal(tg_origin_label(origin), "down");
    pick_many(&f, 10);
    assert_int_equal(f.hits[0], 0);
    assert_false(tg_origin_note_check(origin, &check, f.now, true, ""));
    assert_true(tg_origin_note_check(origin, &check, f.now, true, ""));
    pick_many(&f, 10);
    assert_int_equal(f.hits[0], 5);
}

static void test_the_first_check_of_all_decides_alone(void **state)
{
    static const struct tg_check_conf check = {.rise = 2, .fall = 3};
    (void)state;
    begin(2);
    assert_true(
        tg_origin_note_check(tg_balance_origin(f.balance, 1), &check, f.now, false, "refused"));
}

static void test_none_left_is_told(void **state)
{
    struct tg_balance_ask ask = {.rand = &f.rand};
    uint32_t index;
    (void)state;
    begin(2);
    ask.now = f.now;
    eject(&f, 0);
    eject(&f, 1);
    assert_int_equal(tg_balance_pick(f.balance, &ask, &index), TG_E_UNAVAILABLE);
}

static void test_panic_uses_them_all(void **state)
{
    bool panic;
    (void)state;
    begin(4);
    f.policy.balance.panic = 0.5;
    eject(&f, 0);
    eject(&f, 1);
    pick_many(&f, 40);
    assert_int_equal(f.hits[0], 0);
    eject(&f, 2);
    pick_many(&f, 40);
    assert_int_equal(f.hits[0], 10);
    assert_int_equal(tg_balance_usable(f.balance, f.now, &panic), 1);
    assert_true(panic);
}

static void test_a_target_that_is_back_starts_slowly(void **state)
{
    (void)state;
    begin(2);
    f.policy.balance.slow_start = 30 * SEC;
    eject(&f, 0);
    pick_many(&f, 1);
    f.now += 30 * SEC;
    pick_many(&f, 1100); /* a tenth of its weight at first */
    assert_in_range(f.hits[0], 90, 110);
    f.now += 15 * SEC;
    pick_many(&f, 900); /* half of it */
    assert_in_range(f.hits[0], 280, 320);
    f.now += 15 * SEC;
    pick_many(&f, 1000);
    assert_int_equal(f.hits[0], 500);
}

static void test_an_open_breaker_takes_a_target_out(void **state)
{
    struct tg_try_outcome bad = {.told = true};
    bool probe;
    (void)state;
    begin(3);
    f.policy.breaker = (struct tg_breaker_conf){
        .ratio = 0.5, .volume = 4, .window = 10 * SEC, .cooldown = 15 * SEC, .probes = 1};
    struct tg_origin *origin = tg_balance_origin(f.balance, 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(tg_origin_record(origin, &f.policy, 3, f.now, &bad), TG_CHANGE_NONE);
    assert_true(tg_origin_record(origin, &f.policy, 3, f.now, &bad) & TG_CHANGE_OPENED);
    pick_many(&f, 30);
    assert_int_equal(f.hits[1], 0);
    f.now += 15 * SEC;
    pick_many(&f, 30);
    assert_int_equal(f.hits[1], 10);
    assert_true(tg_origin_allow(origin, &f.policy, f.now, &probe) && probe);
    assert_false(tg_origin_allow(origin, &f.policy, f.now, &probe));
}

/* Two in the gateway's zone, two in its region, two elsewhere. */
static void begin_places(void)
{
    static const char *const zones[] = {"a", "b", "c"};
    static const char *const regions[] = {"eu", "eu", "us"};
    fixture_begin(&f, TG_BALANCE_ROUND_ROBIN);
    for (uint32_t i = 0; i < 6; i++) {
        fixture_add(&f, 1);
        f.targets[i].zone = tg_str_c(zones[i / 2]);
        f.targets[i].region = tg_str_c(regions[i / 2]);
    }
    f.place = (struct tg_place){TG_STR("a"), TG_STR("eu")};
    fixture_build(&f, TARGETS_MAX);
}

static void test_the_own_zone_comes_first(void **state)
{
    (void)state;
    begin_places();
    pick_many(&f, 100);
    assert_int_equal(f.hits[0] + f.hits[1], 100);
}

static void test_what_a_zone_cannot_take_goes_to_the_next(void **state)
{
    (void)state;
    begin_places();
    eject(&f, 0); /* half of it is left, of which 0.7 of the load is asked */
    pick_many(&f, 10000);
    assert_in_range(f.hits[1], 6800, 7200);
    assert_in_range(f.hits[2] + f.hits[3], 2800, 3200);
    eject(&f, 1);
    pick_many(&f, 100);
    assert_int_equal(f.hits[2] + f.hits[3], 100);
    f.now += 30 * SEC;
    pick_many(&f, 100);
    assert_int_equal(f.hits[0] + f.hits[1], 100);
}

static void test_of_places_elsewhere_the_nearer_comes_first(void **state)
{
    (void)state;
    begin_places();
    f.place = (struct tg_place){TG_STR("z"), TG_STR("asia")};
    fixture_build(&f, TARGETS_MAX);
    for (uint32_t i = 0; i < 6; i++)
        tg_origin_note_latency(tg_balance_origin(f.balance, i), i / 2 == 2 ? 1000 : 9000, f.now);
    f.now += SEC;
    pick_many(&f, 100);
    assert_int_equal(f.hits[4] + f.hits[5], 100);
}

static void test_what_is_known_outlives_the_balancer(void **state)
{
    (void)state;
    begin(3);
    eject(&f, 1);
    fixture_build(&f, 2); /* a reload without one target */
    pick_many(&f, 10);
    assert_int_equal(f.hits[1], 0);
    fixture_build(&f, TARGETS_MAX);
    pick_many(&f, 10);
    assert_int_equal(f.hits[1], 0);
}

static void count_origins(void *arg, struct tg_fleet *fleet)
{
    unsigned *count = arg;
    TG_LIST_FOREACH(&fleet->origins, it)
    (*count)++;
}

static unsigned origins(void)
{
    unsigned count = 0;
    tg_registry_visit(f.registry, count_origins, &count);
    return count;
}

static void test_what_vanished_is_forgotten_after_a_while(void **state)
{
    (void)state;
    begin(3);
    fixture_build(&f, 2);
    assert_int_equal(origins(), 3);
    f.now += TG_ORIGIN_KEEP - 1;
    fixture_build(&f, 2);
    assert_int_equal(origins(), 3);
    f.now += 1;
    fixture_build(&f, 2);
    assert_int_equal(origins(), 2);
}

#define TEST(name) cmocka_unit_test_teardown(test_##name, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_ejected_gets_nothing_until_its_pause_is_over),
        TEST(a_check_takes_out_and_lets_in),
        TEST(the_first_check_of_all_decides_alone),
        TEST(none_left_is_told),
        TEST(panic_uses_them_all),
        TEST(a_target_that_is_back_starts_slowly),
        TEST(an_open_breaker_takes_a_target_out),
        TEST(the_own_zone_comes_first),
        TEST(what_a_zone_cannot_take_goes_to_the_next),
        TEST(of_places_elsewhere_the_nearer_comes_first),
        TEST(what_is_known_outlives_the_balancer),
        TEST(what_vanished_is_forgotten_after_a_while),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
