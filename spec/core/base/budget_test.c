/*
 * Shares as caps, and pressure: levels, their order, the gap that keeps them from flapping.
 */
#include "base/budget.h"

#include "support.h"

#define MIB (UINT64_C(1) << 20)

static struct tg_budget hundred_mib(void)
{
    struct tg_budget budget = {.total = 100 * MIB};
    for (int i = 0; i < TG_BUDGET_PARTS; i++)
        budget.shares[i] = tg_budget_info((enum tg_budget_part)i)->share;
    return budget;
}

static int no_budget(void **state)
{
    static const struct tg_budget none;
    (void)state;
    tg_budget_set(&none);
    return 0;
}

static void test_default_shares_are_the_whole(void **state)
{
    unsigned sum = 0;
    (void)state;
    for (int i = 0; i < TG_BUDGET_PARTS; i++)
        sum += tg_budget_info((enum tg_budget_part)i)->share;
    assert_int_equal(sum, 100);
}

static void test_a_share_caps_its_account(void **state)
{
    struct tg_budget budget = hundred_mib();
    uint64_t refused = tg_budget_refused(TG_BUDGET_CACHE);
    (void)state;
    tg_budget_set(&budget);
    size_t room = (size_t)tg_budget_bytes(&budget, TG_BUDGET_CACHE);
    void *most = tg_mem_alloc(TG_MEM_CACHE, room - MIB);
    assert_non_null(most);
    assert_null(tg_mem_alloc(TG_MEM_CACHE, 2 * MIB));
    assert_null(tg_mem_zalloc(TG_MEM_CACHE, 2, MIB));
    assert_null(tg_mem_map(TG_MEM_CACHE, 4096, 2 * MIB));
    assert_null(tg_mem_realloc(TG_MEM_CACHE, most, room + MIB));
    assert_int_equal(tg_budget_refused(TG_BUDGET_CACHE) - refused, 4);
    void *other = tg_mem_alloc(TG_MEM_COUNTER, 2 * MIB); /* has a share of its own */
    assert_non_null(other);
    most = tg_mem_realloc(TG_MEM_CACHE, most, MIB); /* giving back is never refused */
    assert_non_null(most);
    void *more = tg_mem_alloc(TG_MEM_CACHE, 2 * MIB);
    assert_non_null(more);
    assert_true(tg_budget_used(TG_BUDGET_CACHE) >= 3 * MIB);
    assert_true(tg_budget_peak(TG_BUDGET_CACHE) >= room - MIB);
    tg_mem_free(TG_MEM_CACHE, more);
    tg_mem_free(TG_MEM_CACHE, most);
    tg_mem_free(TG_MEM_COUNTER, other);
}

static void test_without_a_budget_nothing_is_capped(void **state)
{
    struct tg_budget budget = hundred_mib();
    (void)state;
    tg_budget_set(&budget);
    no_budget(state);
    void *p = tg_mem_map(TG_MEM_CACHE, 4096, 200 * MIB);
    assert_non_null(p);
    tg_mem_unmap(TG_MEM_CACHE, p, 200 * MIB);
    assert_int_equal(tg_budget_fill(&(struct tg_budget){0}, 1000 * MIB, 1000 * MIB), 0);
}

static void test_fill_is_the_larger_of_process_and_connections(void **state)
{
    struct tg_budget budget = hundred_mib(); /* connections: 35 */
    (void)state;
    assert_int_equal(tg_budget_fill(&budget, 0, 0), 0);
    assert_in_range(tg_budget_fill(&budget, 50 * MIB, 0), 498, 500);
    assert_in_range(tg_budget_fill(&budget, 50 * MIB, 33 * MIB), 941, 943);
    assert_in_range(tg_budget_fill(&budget, 97 * MIB, 33 * MIB), 968, 970);
    assert_in_range(tg_budget_fill(&budget, 300 * MIB, 0), 2990, 3000);
}

static void test_pressure_rises_at_once(void **state)
{
    (void)state;
    assert_int_equal(tg_pressure_step(TG_PRESSURE_NONE, 799), TG_PRESSURE_NONE);
    assert_int_equal(tg_pressure_step(TG_PRESSURE_NONE, 800), TG_PRESSURE_SHRINK);
    assert_int_equal(tg_pressure_step(TG_PRESSURE_SHRINK, 850), TG_PRESSURE_CLOSE);
    assert_int_equal(tg_pressure_step(TG_PRESSURE_NONE, 900), TG_PRESSURE_WAIT);
    assert_int_equal(tg_pressure_step(TG_PRESSURE_NONE, 10000), TG_PRESSURE_SHED);
}

static void test_pressure_falls_step_by_step_below_the_gap(void **state)
{
    (void)state;
    assert_int_equal(tg_pressure_step(TG_PRESSURE_SHED, 901), TG_PRESSURE_SHED);
    assert_int_equal(tg_pressure_step(TG_PRESSURE_SHED, 899), TG_PRESSURE_WAIT);
    assert_int_equal(tg_pressure_step(TG_PRESSURE_SHED, 0), TG_PRESSURE_WAIT);
    assert_int_equal(tg_pressure_step(TG_PRESSURE_WAIT, 0), TG_PRESSURE_CLOSE);
    assert_int_equal(tg_pressure_step(TG_PRESSURE_CLOSE, 0), TG_PRESSURE_SHRINK);
    assert_int_equal(tg_pressure_step(TG_PRESSURE_SHRINK, 0), TG_PRESSURE_NONE);
    assert_int_equal(tg_pressure_step(TG_PRESSURE_NONE, 0), TG_PRESSURE_NONE);
}

/* A fill that wavers about each threshold by less than the gap changes the level once. */
static void test_a_wavering_fill_does_not_flap(void **state)
{
    (void)state;
    for (uint32_t middle = 700; middle < 1000; middle++) {
        enum tg_pressure level = tg_pressure_step(TG_PRESSURE_NONE, middle + 20);
        enum tg_pressure first = level;
        for (int i = 0; i < 20; i++)
            level = tg_pressure_step(level, i % 2 ? middle + 20 : middle - 20);
        assert_int_equal(level, first);
    }
}

static void test_the_kernel_tells_what_is_resident(void **state)
{
    (void)state;
    struct tg_budget_memory memory = tg_budget_memory();
    assert_true(memory.now > 100000 && memory.peak >= memory.now / 2);
    assert_true(tg_budget_resident() > 100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default_shares_are_the_whole),
        cmocka_unit_test_teardown(test_a_share_caps_its_account, no_budget),
        cmocka_unit_test(test_without_a_budget_nothing_is_capped),
        cmocka_unit_test(test_fill_is_the_larger_of_process_and_connections),
        cmocka_unit_test(test_pressure_rises_at_once),
        cmocka_unit_test(test_pressure_falls_step_by_step_below_the_gap),
        cmocka_unit_test(test_a_wavering_fill_does_not_flap),
        cmocka_unit_test(test_the_kernel_tells_what_is_resident),
    };
    return cmocka_run_group_tests_name("budget", tests, NULL, NULL);
}
