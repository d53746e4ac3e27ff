/*
 * What small blocks scattered over many pages keep from going back to the system: bounded, and a
 * refusal for the plugin when it reaches the bound.
 */
#include "base/mem.h"
#include "script/alloc.h"
#include "script/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "script/refusals.h"

enum { HEAP = 1 << 20, AT_ONCE = 40000 };

/* Blocks of one size, as many as the heap has room for; how many that were. */
static size_t fill(struct tg_alloc *a, size_t size, void **blocks)
{
    size_t count = 0;
    while (count < AT_ONCE && tg_alloc_used(a) + size < HEAP * 3 / 4) {
        blocks[count] = tg_alloc_lua(a, NULL, 0, size);
        if (blocks[count] == NULL)
            break;
        count++;
    }
    return count;
}

/* Gives back all but one block a page; what is left stands in `kept`. */
static size_t scatter(struct tg_alloc *a, size_t size, void **blocks, size_t count, void **kept)
{
    size_t a_page = TG_HEAP_PAGE / (size + TG_HEAP_TAG), left = 0;
    for (size_t i = 0; i < count; i++) {
        if (i % a_page == 0)
            kept[left++] = blocks[i];
        else
            tg_alloc_lua(a, blocks[i], size, 0);
    }
    return left;
}

static void test_scattered_blocks_are_bounded(void **state)
{
    static void *blocks[AT_ONCE], *kept[AT_ONCE];
    struct tg_alloc *a = tg_alloc_new(TG_MEM_PLUGIN, HEAP, &refusals);
    size_t left = 0;
    (void)state;
    assert_non_null(a);
    tg_alloc_enforce(a, true);
    refused = 0;
    for (unsigned class = 0; class < 16; class ++) {
        size_t size = tg_heap_class_size(class);
        size_t count = fill(a, size, blocks);
        left += scatter(a, size, blocks, count, kept + left);
        assert_true(left < AT_ONCE);
        assert_true(tg_alloc_held(a) <= 2 * HEAP + (1 << 20));
    }
#if !TG_ASAN /* where each block is an allocation of its own */
    assert_true(refused > 0);
    assert_true(tg_alloc_used(a) < HEAP * 3 / 4);
#endif
    tg_alloc_enforce(a, false); /* the host is not bounded */
    size_t count = fill(a, 520, blocks);
    assert_true(tg_alloc_used(a) + 520 >= HEAP * 3 / 4);
    for (size_t i = 0; i < count; i++)
        tg_alloc_lua(a, blocks[i], 520, 0);
    for (size_t i = 0; i < left; i++)
        tg_alloc_lua(a, kept[i], 1, 0);
    assert_int_equal(tg_alloc_used(a), 0);
    tg_alloc_free(&a);
    assert_int_equal(tg_mem_used(TG_MEM_PLUGIN), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scattered_blocks_are_bounded),
    };

    return cmocka_run_group_tests_name("script heap", tests, NULL, NULL);
}
