/*
 * Splits: shares as large as their weights, keys that stay where they are when weights change, and
 * parts of all keys that grow without losing any.
 */
#include "route/split.h"

#include "support.h"

#define KEYS 20000

static struct tg_split_share share(const char *name, uint32_t weight)
{
    return (struct tg_split_share){tg_split_seed(tg_str_c(name)), weight};
}

static struct tg_str key(unsigned i, char room[16])
{
    return tg_str(room, (size_t)snprintf(room, 16, "user-%u", i));
}

/* Within five standard deviations of a binomial distribution. */
static void assert_near(unsigned count, double part)
{
    double want = KEYS * part;
    double deviation = count - want;
    assert_true(deviation * deviation < 25 * KEYS * part * (1 - part));
}

static void test_keys_are_shared_by_weight(void **state)
{
    (void)state;
    const struct tg_split_share shares[] = {share("a", 90), share("b", 10), share("c", 0)};
    unsigned counts[3] = {0};
    char room[16];
    for (unsigned i = 0; i < KEYS; i++)
        counts[tg_split_by_key(shares, 3, key(i, room))]++;
    assert_near(counts[0], 0.9);
    assert_near(counts[1], 0.1);
    assert_int_equal(0, counts[2]);
}

static void test_a_key_has_one_share_whatever_the_order(void **state)
{
    (void)state;
    const struct tg_split_share one[] = {share("a", 3), share("b", 1), share("c", 2)};
    const struct tg_split_share two[] = {one[2], one[0], one[1]};
    const uint32_t same[] = {1, 2, 0};
    char room[16];
    for (unsigned i = 0; i < 500; i++) {
        struct tg_str k = key(i, room);
        assert_int_equal(same[tg_split_by_key(one, 3, k)], tg_split_by_key(two, 3, k));
    }
}

static void test_a_growing_weight_takes_keys_and_moves_no_others(void **state)
{
    (void)state;
    const struct tg_split_share before[] = {share("a", 80), share("b", 10), share("c", 10)};
    const struct tg_split_share after[] = {share("a", 80), share("b", 10), share("c", 30)};
    unsigned moved = 0;
    char room[16];
    for (unsigned i = 0; i < KEYS; i++) {
        struct tg_str k = key(i, room);
        uint32_t from = tg_split_by_key(before, 3, k), to = tg_split_by_key(after, 3, k);
        if (from != to) {
            assert_int_equal(2, to);
            moved++;
        }
    }
    assert_near(moved, 30.0 / 120 - 10.0 / 100); /* no more than the larger share needs */
}

static void test_keys_of_a_share_that_goes_are_spread_and_others_stay(void **state)
{
    (void)state;
    const struct tg_split_share before[] = {share("a", 1), share("b", 1), share("c", 1)};
    const struct tg_split_share after[] = {share("a", 1), share("b", 1), share("c", 0)};
    char room[16];
    for (unsigned i = 0; i < 2000; i++) {
        struct tg_str k = key(i, room);
        uint32_t from = tg_split_by_key(before, 3, k);
        if (from != 2)
            assert_int_equal(from, tg_split_by_key(after, 3, k));
    }
}

static void test_where_a_key_belongs_never_changes_between_versions(void **state)
{
    (void)state;
    const struct tg_split_share shares[] = {share("orders", 90), share("orders-v2", 10)};
    static const char *const keys[] = {"alice", "bob", "carol", "dave", "erin", "frank"};
    char found[7] = {0};
    for (unsigned i = 0; i < 6; i++)
        found[i] = (char)('0' + tg_split_by_key(shares, 2, tg_str_c(keys[i])));
    assert_string_equal("010010", found);
}

static void test_chance_goes_by_weight(void **state)
{
    (void)state;
    const struct tg_split_share shares[] = {share("a", 2), share("b", 0), share("c", 3)};
    assert_int_equal(0, tg_split_by_chance(shares, 3, 0));
    assert_int_equal(0, tg_split_by_chance(shares, 3, 1));
    assert_int_equal(2, tg_split_by_chance(shares, 3, 2));
    assert_int_equal(2, tg_split_by_chance(shares, 3, 4));
    assert_int_equal(0, tg_split_by_chance(shares, 3, 5));
}

static void test_a_larger_percentage_holds_the_smaller(void **state)
{
    (void)state;
    uint64_t seed = tg_split_seed(TG_STR("next"));
    unsigned count = 0;
    char room[16];
    for (unsigned i = 0; i < KEYS; i++) {
        struct tg_str k = key(i, room);
        bool few = tg_split_takes(seed, 500, k);
        count += few;
        assert_false(tg_split_takes(seed, 0, k));
        assert_true(!few || tg_split_takes(seed, 600, k));
        assert_true(tg_split_takes(seed, TG_SPLIT_WHOLE, k));
    }
    assert_near(count, 0.05);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_are_shared_by_weight),
        cmocka_unit_test(test_a_key_has_one_share_whatever_the_order),
        cmocka_unit_test(test_a_growing_weight_takes_keys_and_moves_no_others),
        cmocka_unit_test(test_keys_of_a_share_that_goes_are_spread_and_others_stay),
        cmocka_unit_test(test_where_a_key_belongs_never_changes_between_versions),
        cmocka_unit_test(test_chance_goes_by_weight),
        cmocka_unit_test(test_a_larger_percentage_holds_the_smaller),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
