/*
 * The arena: limits, clean-ups, adoption, and that blocks do not overlap.
 */
#include "base/arena.h"

#include "base/rand.h"
#include "support.h"

#define LIMIT ((size_t)1 << 20)

static struct tg_slab *slab;
static struct tg_arena arena;
static char order[16];

static int setup(void **state)
{
    (void)state;
    slab = tg_slab_new(TG_MEM_CONNECTION, 0);
    if (slab == NULL)
        return -1;
    tg_arena_init(&arena, slab, LIMIT);
    order[0] = '\0';
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tg_arena_release(&arena);
    size_t leased = tg_slab_leased(slab);
    tg_slab_free(&slab);
    return leased == 0 ? 0 : -1;
}

static void test_empty_arena_holds_nothing(void **state)
{
    (void)state;
    assert_int_equal(tg_slab_held(slab), 0);
    tg_arena_release(&arena);
    tg_arena_release(&arena);
}

static void test_nothing_at_all_is_an_allocation(void **state)
{
    (void)state;
    char *first = tg_arena_alloc(&arena, 0);
    char *second = tg_arena_alloc(&arena, 0);
    assert_non_null(first);
    assert_ptr_not_equal(first, second);
}

static void test_copy_of_the_empty_slice_is_not_null(void **state)
{
    (void)state;
    struct tg_str copy = tg_arena_copy(&arena, tg_str(NULL, 0));
    assert_non_null(copy.p);
    assert_int_equal(copy.n, 0);
}

static void test_blocks_are_aligned_and_apart(void **state)
{
    static unsigned char *blocks[500];
    static size_t sizes[500];
    struct tg_rand r;
    (void)state;
    tg_rand_init_seed(&r, 5);
    for (size_t i = 0; i < TG_COUNT_OF(blocks); i++) {
        sizes[i] = 1 + tg_rand_below(&r, 600);
        blocks[i] = tg_arena_alloc(&arena, sizes[i]);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % 8, 0);
        memset(blocks[i], (int)(i & 0xff), sizes[i]);
    }
    for (size_t i = 0; i < TG_COUNT_OF(blocks); i++) {
        for (size_t k = 0; k < sizes[i]; k++)
            assert_int_equal(blocks[i][k], i & 0xff);
    }
}

static void test_limit_holds_and_the_rest_stays(void **state)
{
    size_t got = 0;
    (void)state;
    char *first = tg_arena_alloc(&arena, 100);
    memset(first, 'f', 100);
    while (tg_arena_alloc(&arena, 1000) != NULL)
        got += 1000;
    assert_in_range(got, LIMIT / 2, LIMIT);
    assert_true(arena.used <= LIMIT);
    assert_int_equal(first[99], 'f');
    tg_arena_release(&arena);
    assert_int_equal(tg_slab_leased(slab), 0);
    assert_non_null(tg_arena_alloc(&arena, 1000));
}

static void test_large_allocations(void **state)
{
    (void)state;
    tg_arena_init(&arena, slab, 4 * LIMIT);
    char *p = tg_arena_alloc(&arena, TG_SLAB_MAX - 64);
    assert_non_null(p);
    memset(p, 1, TG_SLAB_MAX - 64);
    assert_null(tg_arena_alloc(&arena, TG_SLAB_MAX - 63));
    assert_null(tg_arena_alloc(&arena, SIZE_MAX));
    assert_non_null(tg_arena_alloc(&arena, 64));
}

static void test_zalloc_is_zeroed_after_reuse(void **state)
{
    (void)state;
    memset(tg_arena_alloc(&arena, 512), 0xff, 512);
    tg_arena_release(&arena);
    char *p = tg_arena_zalloc(&arena, 512);
    for (int i = 0; i < 512; i++)
        assert_int_equal(p[i], 0);
}

static void note(void *arg)
{
    size_t n = strlen(order);
    order[n] = *(const char *)arg;
    order[n + 1] = '\0';
}

static void test_clean_ups_run_in_reverse_once(void **state)
{
    (void)state;
    assert_true(tg_arena_on_release(&arena, note, "a"));
    assert_true(tg_arena_on_release(&arena, note, "b"));
    assert_true(tg_arena_on_release(&arena, note, "c"));
    tg_arena_release(&arena);
    assert_string_equal(order, "cba");
    tg_arena_release(&arena);
    assert_string_equal(order, "cba");
}

static void test_adopted_blocks_go_with_the_arena(void **state)
{
    (void)state;
    void *block = tg_slab_lease(slab, 10000);
    assert_true(tg_arena_adopt(&arena, block, 10000));
    assert_true(tg_arena_adopt(&arena, tg_slab_lease(slab, 64), 64));
    tg_arena_release(&arena);
    assert_int_equal(tg_slab_leased(slab), 0);
}

static void test_adopted_blocks_count_against_the_limit(void **state)
{
    (void)state;
    void *block = tg_slab_lease(slab, 65536);
    assert_non_null(block);
    for (int i = 0; tg_arena_adopt(&arena, block, 65536); i++) {
        assert_in_range(i, 0, LIMIT / 65536 - 1);
        block = tg_slab_lease(slab, 65536);
        assert_non_null(block);
    }
    assert_in_range(arena.used, LIMIT - 65535, LIMIT);
    tg_slab_return(slab, block, 65536);
    tg_arena_release(&arena);
    assert_int_equal(arena.used, 0);
}

static void test_no_memory_is_told(void **state)
{
    (void)state;
    tg_arena_init(&arena, slab, 100);
    void *block = tg_slab_lease(slab, 64);
    assert_null(tg_arena_alloc(&arena, 1));
    assert_null(tg_arena_zalloc(&arena, 1));
    assert_null(tg_arena_copy(&arena, TG_STR("x")).p);
    assert_false(tg_arena_on_release(&arena, note, "a"));
    assert_false(tg_arena_adopt(&arena, block, 64));
    tg_slab_return(slab, block, 64);
    tg_arena_init(&arena, slab, LIMIT);
    tg_mem_fail_at(1);
    assert_null(tg_arena_alloc(&arena, 1));
    tg_mem_fail_at(0);
    assert_non_null(tg_arena_alloc(&arena, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_empty_arena_holds_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_at_all_is_an_allocation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_copy_of_the_empty_slice_is_not_null, setup, teardown),
        cmocka_unit_test_setup_teardown(test_blocks_are_aligned_and_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limit_holds_and_the_rest_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_allocations, setup, teardown),
        cmocka_unit_test_setup_teardown(test_zalloc_is_zeroed_after_reuse, setup, teardown),
        cmocka_unit_test_setup_teardown(test_clean_ups_run_in_reverse_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_adopted_blocks_go_with_the_arena, setup, teardown),
        cmocka_unit_test_setup_teardown(test_adopted_blocks_count_against_the_limit, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_no_memory_is_told, setup, teardown),
    };

    return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
