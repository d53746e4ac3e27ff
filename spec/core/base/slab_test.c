/*
 * The slab: classes, the watermark, and a random walk against a model that knows what is leased.
 */
#include "base/slab.h"

#include "base/rand.h"
#include "support.h"

#define KIB ((size_t)1024)

static struct tg_slab *slab;

static int setup(void **state)
{
    (void)state;
    slab = tg_slab_new(TG_MEM_CONNECTION, 128 * KIB);
    return slab != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    tg_slab_free(&slab);
    tg_slab_free(&slab);
    return slab == NULL && tg_mem_used(TG_MEM_CONNECTION) == 0 ? 0 : -1;
}

static void test_classes_are_powers_of_two(void **state)
{
    (void)state;
    assert_int_equal(tg_slab_class_size(1), 64);
    assert_int_equal(tg_slab_class_size(64), 64);
    assert_int_equal(tg_slab_class_size(65), 128);
    assert_int_equal(tg_slab_class_size(4096), 4096);
    assert_int_equal(tg_slab_class_size(4097), 8192);
    assert_int_equal(tg_slab_class_size(TG_SLAB_MAX), TG_SLAB_MAX);
}

static void test_whole_class_may_be_used(void **state)
{
    (void)state;
    for (size_t size = 1; size <= TG_SLAB_MAX; size *= 2) {
        char *block = tg_slab_lease(slab, size);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % (size <= 4096 ? 64 : 16), 0);
        memset(block, 0xaa, tg_slab_class_size(size));
        assert_int_equal(tg_slab_leased(slab), tg_slab_class_size(size));
        tg_slab_return(slab, block, size);
        assert_int_equal(tg_slab_leased(slab), 0);
    }
    tg_slab_return(slab, NULL, 1);
}

/* A burst goes back: no more than the watermark of wholly free memory stays. */
static void test_watermark_gives_memory_back(void **state)
{
    static const size_t sizes[] = {64, 1000, 4096, 16384, TG_SLAB_MAX};
    static void *blocks[512];
    (void)state;
    for (size_t s = 0; s < TG_COUNT_OF(sizes); s++) {
        size_t count = TG_MIN(TG_COUNT_OF(blocks), 16 * TG_SLAB_MAX / sizes[s]);
        for (size_t i = 0; i < count; i++)
            assert_non_null(blocks[i] = tg_slab_lease(slab, sizes[s]));
        assert_true(tg_slab_held(slab) >= count * sizes[s]);
        for (size_t i = 0; i < count; i++)
            tg_slab_return(slab, blocks[i], sizes[s]);
        assert_in_range(tg_slab_held(slab), 0, 128 * KIB);
    }
}

static void test_trimming_gives_back_what_is_free_alone(void **state)
{
    enum { SMALL = 5000, LARGE = 4 };
    static void *small[SMALL], *large[LARGE];
    (void)state;
    size_t before = tg_slab_held(slab);
    for (int i = 0; i < SMALL; i++)
        small[i] = tg_slab_lease(slab, 100);
    for (int i = 0; i < LARGE; i++)
        large[i] = tg_slab_lease(slab, 20000);
    memset(small[0], 1, 100);
    memset(large[0], 2, 20000);
    for (int i = 1; i < SMALL; i++)
        tg_slab_return(slab, small[i], 100);
    for (int i = 1; i < LARGE; i++)
        tg_slab_return(slab, large[i], 20000);
    tg_slab_trim(slab);
    assert_int_equal(((char *)small[0])[99], 1);
    assert_int_equal(((char *)large[0])[19999], 2);
    assert_true(tg_slab_held(slab) - before <= 65536 + 32768);
    tg_slab_return(slab, small[0], 100);
    tg_slab_return(slab, large[0], 20000);
    tg_slab_trim(slab);
    assert_int_equal(tg_slab_held(slab), before);
    tg_slab_return(slab, tg_slab_lease(slab, 100), 100); /* and goes on */
}

static void test_blocks_are_used_again(void **state)
{
    (void)state;
    for (int i = 0; i < 10000; i++)
        tg_slab_return(slab, tg_slab_lease(slab, 100), 100);
    assert_in_range(tg_slab_held(slab), 0, 64 * KIB);
}

static void test_without_watermark_nothing_stays(void **state)
{
    (void)state;
    struct tg_slab *lean = tg_slab_new(TG_MEM_CONNECTION, 0);
    void *small = tg_slab_lease(lean, 64);
    void *large = tg_slab_lease(lean, 64 * KIB);
    tg_slab_return(lean, small, 64);
    tg_slab_return(lean, large, 64 * KIB);
    assert_int_equal(tg_slab_held(lean), 0);
    tg_slab_free(&lean);
}

static void test_no_memory_is_null_and_harmless(void **state)
{
    (void)state;
    tg_mem_fail_at(1);
    assert_null(tg_slab_new(TG_MEM_CONNECTION, 0));
    tg_mem_fail_at(1);
    assert_null(tg_slab_lease(slab, 64));
    tg_mem_fail_at(1);
    assert_null(tg_slab_lease(slab, 100 * KIB));
    tg_mem_fail_at(0);
    assert_int_equal(tg_slab_leased(slab), 0);
    assert_int_equal(tg_slab_held(slab), 0);
    tg_slab_return(slab, tg_slab_lease(slab, 64), 64);
}

/* Every leased block is filled with its own byte; an overlap would change another block's. */
struct leased {
    unsigned char *block;
    size_t size;
    unsigned char fill;
};

static bool is_intact(const struct leased *l)
{
    for (size_t i = 0; i < l->size; i++) {
        if (l->block[i] != l->fill)
            return false;
    }
    return true;
}

static void test_random_walk_against_a_model(void **state)
{
    static struct leased model[300];
    size_t count = 0;
    size_t sum = 0;
    struct tg_rand r;
    (void)state;
    tg_rand_init_seed(&r, 11);
    for (int step = 0; step < 20000; step++) {
        bool grow = count < TG_COUNT_OF(model) && tg_rand_below(&r, 100) < 52;
        if (grow) {
            size_t size = 1 + tg_rand_below(&r, UINT64_C(1) << (1 + tg_rand_below(&r, 15)));
            struct leased l = {tg_slab_lease(slab, size), size, (unsigned char)step};
            assert_non_null(l.block);
            memset(l.block, l.fill, size);
            model[count++] = l;
            sum += tg_slab_class_size(size);
        } else if (count > 0) {
            size_t i = tg_rand_below(&r, count);
            assert_true(is_intact(&model[i]));
            tg_slab_return(slab, model[i].block, model[i].size);
            sum -= tg_slab_class_size(model[i].size);
            model[i] = model[--count];
        }
        assert_int_equal(tg_slab_leased(slab), sum);
        assert_true(tg_slab_held(slab) >= sum);
    }
    while (count > 0) {
        count--;
        assert_true(is_intact(&model[count]));
        tg_slab_return(slab, model[count].block, model[count].size);
    }
    assert_in_range(tg_slab_held(slab), 0, 128 * KIB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes_are_powers_of_two),
        cmocka_unit_test_setup_teardown(test_whole_class_may_be_used, setup, teardown),
        cmocka_unit_test_setup_teardown(test_watermark_gives_memory_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_blocks_are_used_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_trimming_gives_back_what_is_free_alone, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_without_watermark_nothing_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_memory_is_null_and_harmless, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random_walk_against_a_model, setup, teardown),
    };

    return cmocka_run_group_tests_name("slab", tests, NULL, NULL);
}
