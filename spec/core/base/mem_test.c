/*
 * The accounts of memory, and failures on demand.
 */
#include "base/mem.h"

#include "support.h"

#include <pthread.h>

#define BLOCKS 1000
#define BLOCK  1000
#define UNTOLD ((size_t)32 << 10) /* what a thread may keep to itself of libraries' blocks */

static size_t used_before;

static int setup(void **state)
{
    (void)state;
    used_before = tg_mem_used(TG_MEM_OTHER);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tg_mem_fail_at(0);
    return tg_mem_used(TG_MEM_OTHER) == used_before ? 0 : -1;
}

static void test_every_block_is_charged_and_given_back(void **state)
{
    (void)state;
    char *p = tg_mem_alloc(TG_MEM_OTHER, 1000);
    assert_non_null(p);
    size_t used = tg_mem_used(TG_MEM_OTHER) - used_before;
    assert_in_range(used, 1000, 1100);
    assert_true(tg_mem_peak(TG_MEM_OTHER) >= used);
    assert_int_equal(tg_mem_used(TG_MEM_PLUGIN), 0);
    tg_mem_free(TG_MEM_OTHER, p);
    tg_mem_free(TG_MEM_OTHER, NULL);
}

static void test_zalloc_is_zeroed_and_checks_for_overflow(void **state)
{
    (void)state;
    char *p = tg_mem_zalloc(TG_MEM_OTHER, 10, 100);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(p[i], 0);
    tg_mem_free(TG_MEM_OTHER, p);
    volatile size_t huge = SIZE_MAX / 2;
    assert_null(tg_mem_zalloc(TG_MEM_OTHER, huge, 4));
}

static void test_size_zero_is_a_block(void **state)
{
    (void)state;
    void *p = tg_mem_alloc(TG_MEM_OTHER, 0);
    void *q = tg_mem_zalloc(TG_MEM_OTHER, 0, 0);
    assert_non_null(p);
    assert_non_null(q);
    p = tg_mem_realloc(TG_MEM_OTHER, p, 0);
    assert_non_null(p);
    tg_mem_free(TG_MEM_OTHER, p);
    tg_mem_free(TG_MEM_OTHER, q);
}

static void test_aligned(void **state)
{
    (void)state;
    for (size_t align = sizeof(void *); align <= 4096; align *= 2) {
        void *p = tg_mem_alloc_aligned(TG_MEM_OTHER, align, 100);
        assert_int_equal((uintptr_t)p % align, 0);
        tg_mem_free(TG_MEM_OTHER, p);
    }
}

static void test_mapped(void **state)
{
    (void)state;
    for (size_t align = 4096; align <= (1u << 20); align *= 16) {
        char *p = tg_mem_map(TG_MEM_OTHER, align, 65536);
        assert_int_equal((uintptr_t)p % align, 0);
        assert_int_equal(tg_mem_used(TG_MEM_OTHER) - used_before, 65536);
        assert_int_equal(p[0] | p[65535], 0);
        p[65535] = 1;
        tg_mem_unmap(TG_MEM_OTHER, p, 65536);
    }
    tg_mem_unmap(TG_MEM_OTHER, NULL, 65536);
}

static void test_realloc_keeps_content_and_charge(void **state)
{
    (void)state;
    char *p = tg_mem_realloc(TG_MEM_OTHER, NULL, 10);
    memcpy(p, "123456789", 10);
    p = tg_mem_realloc(TG_MEM_OTHER, p, 100000);
    assert_string_equal(p, "123456789");
    assert_in_range(tg_mem_used(TG_MEM_OTHER) - used_before, 100000, 120000);
    p = tg_mem_realloc(TG_MEM_OTHER, p, 5);
    assert_memory_equal(p, "12345", 5);
    tg_mem_free(TG_MEM_OTHER, p);
}

static void test_strndup_terminates(void **state)
{
    (void)state;
    char *p = tg_mem_strndup(TG_MEM_OTHER, "abcdef", 3);
    char *q = tg_mem_strndup(TG_MEM_OTHER, NULL, 0);
    assert_string_equal(p, "abc");
    assert_string_equal(q, "");
    tg_mem_free(TG_MEM_OTHER, p);
    tg_mem_free(TG_MEM_OTHER, q);
}

/* Each form of allocation fails when it is its turn, once, and charges nothing. */
static void test_the_nth_allocation_fails(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth <= 6; nth++) {
        tg_mem_fail_at(nth);
        void *blocks[] = {
            tg_mem_alloc(TG_MEM_OTHER, 1),
            tg_mem_zalloc(TG_MEM_OTHER, 1, 1),
            tg_mem_alloc_aligned(TG_MEM_OTHER, 64, 64),
            tg_mem_strndup(TG_MEM_OTHER, "x", 1),
            tg_mem_realloc(TG_MEM_OTHER, NULL, 1),
        };
        void *mapped = tg_mem_map(TG_MEM_OTHER, 4096, 4096);
        for (size_t i = 0; i < TG_COUNT_OF(blocks); i++) {
            assert_int_equal(blocks[i] == NULL, i + 1 == nth);
            tg_mem_free(TG_MEM_OTHER, blocks[i]);
        }
        assert_int_equal(mapped == NULL, nth == 6);
        tg_mem_unmap(TG_MEM_OTHER, mapped, 4096);
        assert_int_equal(tg_mem_fail_count(), 6);
    }
}

static void test_failed_realloc_leaves_the_block(void **state)
{
    (void)state;
    char *p = tg_mem_strndup(TG_MEM_OTHER, "abc", 3);
    tg_mem_fail_at(1);
    assert_null(tg_mem_realloc(TG_MEM_OTHER, p, 4096));
    assert_string_equal(p, "abc");
    tg_mem_fail_at(1);
    char *same = tg_mem_realloc(TG_MEM_OTHER, p, 1);
    assert_non_null(same);
    tg_mem_free(TG_MEM_OTHER, same);
}

/* Takes the blocks at `arg`. */
static void test_what_may_not_be_refused_is_not(void **state)
{
    (void)state;
    char *p = tg_mem_realloc_always(TG_MEM_OTHER, NULL, 10);
    tg_mem_set_cap(TG_MEM_OTHER, tg_mem_used(TG_MEM_OTHER));
    assert_null(tg_mem_realloc(TG_MEM_OTHER, p, 1000));
    tg_mem_fail_at(1);
    memset(p, 'p', 10);
    p = tg_mem_realloc_always(TG_MEM_OTHER, p, 1000);
    assert_non_null(p);
    assert_memory_equal(p, "pppppppppp", 10);
    assert_true(tg_mem_used(TG_MEM_OTHER) >= 1000);
    tg_mem_fail_at(0);
    tg_mem_set_cap(TG_MEM_OTHER, SIZE_MAX);
    tg_mem_free(TG_MEM_OTHER, p);
}

static void *take_blocks(void *arg)
{
    void **blocks = arg;
    size_t before = tg_mem_used(TG_MEM_LIBRARY);
    for (int i = 0; i < BLOCKS; i++)
        blocks[i] = tg_mem_alloc(TG_MEM_LIBRARY, BLOCK);
    size_t taken = tg_mem_used(TG_MEM_LIBRARY) - before;
    return taken >= BLOCKS * BLOCK ? NULL : arg; /* a thread knows its own to the byte */
}

/* Blocks of libraries that one thread takes and another gives back. */
static void test_blocks_of_libraries_are_told_in_steps(void **state)
{
    static void *blocks[BLOCKS];
    pthread_t thread;
    void *failed = NULL;
    (void)state;
    size_t before = tg_mem_used(TG_MEM_LIBRARY);
    assert_int_equal(pthread_create(&thread, NULL, take_blocks, blocks), 0);
    assert_int_equal(pthread_join(thread, &failed), 0);
    assert_null(failed);
    size_t taken = tg_mem_used(TG_MEM_LIBRARY) - before;
    assert_in_range(taken, BLOCKS * BLOCK - UNTOLD, BLOCKS * (BLOCK + 64));
    assert_in_range(tg_mem_peak(TG_MEM_LIBRARY), taken, SIZE_MAX);
    tg_mem_set_cap(TG_MEM_LIBRARY, taken + before + UNTOLD);
    assert_null(tg_mem_alloc(TG_MEM_LIBRARY, 2 * UNTOLD));
    tg_mem_set_cap(TG_MEM_LIBRARY, SIZE_MAX);
    for (int i = 0; i < BLOCKS; i++)
        tg_mem_free(TG_MEM_LIBRARY, blocks[i]);
    assert_in_range(tg_mem_used(TG_MEM_LIBRARY), 0, before); /* never less than nothing */
    void *p = tg_mem_alloc(TG_MEM_LIBRARY, 4 * UNTOLD);
    assert_in_range(tg_mem_used(TG_MEM_LIBRARY), 3 * UNTOLD, 5 * UNTOLD);
    tg_mem_free(TG_MEM_LIBRARY, p);
}

/* Nobody shall read that less was held than is. */
static void test_the_most_is_never_less_than_what_there_is(void **state)
{
    void *untold[8];
    (void)state;
    void *told = tg_mem_alloc(TG_MEM_LIBRARY, tg_mem_peak(TG_MEM_LIBRARY) + UNTOLD);
    for (size_t i = 0; i < TG_COUNT_OF(untold); i++)
        untold[i] = tg_mem_alloc(TG_MEM_LIBRARY, UNTOLD / 16);
    assert_in_range(tg_mem_peak(TG_MEM_LIBRARY), tg_mem_used(TG_MEM_LIBRARY), SIZE_MAX);
    for (size_t i = 0; i < TG_COUNT_OF(untold); i++)
        tg_mem_free(TG_MEM_LIBRARY, untold[i]);
    tg_mem_free(TG_MEM_LIBRARY, told);
}

static void test_tags_have_names(void **state)
{
    (void)state;
    for (int tag = 0; tag < TG_MEM_TAGS; tag++)
        assert_true(strlen(tg_mem_tag_name((enum tg_mem_tag)tag)) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_block_is_charged_and_given_back, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_zalloc_is_zeroed_and_checks_for_overflow, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_size_zero_is_a_block, setup, teardown),
        cmocka_unit_test_setup_teardown(test_aligned, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mapped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_realloc_keeps_content_and_charge, setup, teardown),
        cmocka_unit_test_setup_teardown(test_strndup_terminates, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_nth_allocation_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failed_realloc_leaves_the_block, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_may_not_be_refused_is_not, setup, teardown),
        cmocka_unit_test(test_blocks_of_libraries_are_told_in_steps),
        cmocka_unit_test(test_the_most_is_never_less_than_what_there_is),
        cmocka_unit_test(test_tags_have_names),
    };

    return cmocka_run_group_tests_name("mem", tests, NULL, NULL);
}
