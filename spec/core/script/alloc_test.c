/*
 * The allocator by itself: accounts to the byte, bounds, folding, failure on demand, and that
 * memory goes back to the system.
 */
#include "base/mem.h"
#include "script/alloc.h"
#include "script/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct seen {
    unsigned pressed;
    unsigned refused;
    enum tg_kill reason;
};

static void on_pressure(void *arg)
{
    ((struct seen *)arg)->pressed++;
}

static void on_refused(void *arg, enum tg_kill reason)
{
    struct seen *seen = arg;
    seen->refused++;
    seen->reason = reason;
}

static struct tg_alloc *open_alloc(struct seen *seen, size_t heap)
{
    struct tg_alloc_events events = {
        .on_pressure = on_pressure, .on_refused = on_refused, .arg = seen};
    *seen = (struct seen){0};
    struct tg_alloc *a = tg_alloc_new(TG_MEM_PLUGIN, heap, &events);
    assert_non_null(a);
    return a;
}

static void close_alloc(struct tg_alloc *a)
{
    tg_alloc_free(&a);
    assert_null(a);
    assert_int_equal(tg_mem_used(TG_MEM_PLUGIN), 0);
}

static void test_every_size_is_charged_to_the_byte(void **state)
{
    struct seen seen;
    struct tg_alloc *a = open_alloc(&seen, SIZE_MAX);
    size_t sum = 0;
    void *blocks[600];
    (void)state;
    for (size_t i = 0; i < 600; i++) {
        blocks[i] = tg_alloc_lua(a, NULL, 77, i * 7 + 1);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % 8, 0);
        memset(blocks[i], (int)i, i * 7 + 1);
        sum += i * 7 + 1;
    }
    assert_int_equal(tg_alloc_used(a), sum);
    assert_int_equal(tg_alloc_vm_account(a)->live, sum);
    assert_int_equal(tg_alloc_vm_account(a)->churn, sum);
    for (size_t i = 0; i < 600; i++) {
        assert_int_equal(((unsigned char *)blocks[i])[i * 7], (unsigned char)i);
        assert_null(tg_alloc_lua(a, blocks[i], i, 0)); /* LuaJIT's word is not believed */
    }
    assert_int_equal(tg_alloc_used(a), 0);
    assert_int_equal(tg_alloc_vm_account(a)->live, 0);
    assert_int_equal(tg_alloc_vm_account(a)->churn, sum);
    assert_int_equal(tg_alloc_vm_account(a)->peak, sum);
    assert_null(tg_alloc_lua(a, NULL, 99, 0));
    close_alloc(a);
}

static void test_resizing_keeps_bytes_and_counts_growth(void **state)
{
    static const size_t sizes[] = {8, 100, 90, 3000, 70000, 2500, 2048, 2049, 16, 500};
    struct seen seen;
    struct tg_alloc *a = open_alloc(&seen, SIZE_MAX);
    char *p = NULL;
    size_t size = 0;
    uint64_t churn = 0;
    (void)state;
    for (unsigned i = 0; i < TG_COUNT_OF(sizes); i++) {
        p = tg_alloc_lua(a, p, size, sizes[i]);
        assert_non_null(p);
        if (size > 0)
            assert_int_equal(p[0], 42);
        p[0] = 42;
        churn += sizes[i] > size ? sizes[i] - size : 0;
        size = sizes[i];
        assert_int_equal(tg_alloc_used(a), size);
        assert_int_equal(tg_alloc_vm_account(a)->churn, churn);
    }
    tg_alloc_lua(a, p, size, 0);
    close_alloc(a);
}

static void test_blocks_stay_with_the_account_that_made_them(void **state)
{
    struct seen seen;
    struct tg_alloc *a = open_alloc(&seen, SIZE_MAX);
    struct tg_account one, two;
    (void)state;
    assert_int_equal(tg_account_init(&one, a, 0, 0), TG_OK);
    assert_int_equal(tg_account_init(&two, a, 0, 0), TG_OK);
    tg_alloc_switch(a, &one);
    void *p = tg_alloc_lua(a, NULL, 0, 100);
    assert_ptr_equal(tg_alloc_switch(a, &two), &one);
    void *q = tg_alloc_lua(a, NULL, 0, 50);
    assert_int_equal(one.live, 100);
    assert_int_equal(two.live, 50);
    p = tg_alloc_lua(a, p, 100, 40);
    assert_int_equal(one.live, 40);
    p = tg_alloc_lua(a, p, 40, 300);
    assert_int_equal(one.live, 0);
    assert_int_equal(two.live, 350);
    assert_int_equal(two.churn, 310);
    tg_alloc_switch(a, &one);
    tg_alloc_lua(a, q, 50, 0);
    assert_int_equal(two.live, 300);
    assert_int_equal(two.peak, 350);
    tg_alloc_lua(a, p, 300, 0);
    tg_alloc_switch(a, NULL);
    tg_account_release(&one);
    tg_account_release(&two);
    close_alloc(a);
}

static void test_remains_are_folded_into_the_vm(void **state)
{
    struct seen seen;
    struct tg_alloc *a = open_alloc(&seen, SIZE_MAX);
    struct tg_account account, next;
    (void)state;
    assert_int_equal(tg_account_init(&account, a, 0, 0), TG_OK);
    tg_alloc_switch(a, &account);
    void *small = tg_alloc_lua(a, NULL, 0, 64);
    void *large = tg_alloc_lua(a, NULL, 0, 5000);
    tg_alloc_switch(a, NULL);
    tg_account_release(&account);
    tg_account_release(&account);
    assert_int_equal(account.live, 5064);
    assert_int_equal(tg_alloc_vm_account(a)->live, 5064);
    assert_int_equal(tg_account_init(&next, a, 0, 0), TG_OK);
    tg_alloc_lua(a, small, 64, 0);
    assert_int_equal(next.live, 0);
    assert_int_equal(tg_alloc_vm_account(a)->live, 5000);
    tg_alloc_switch(a, &next);
    large = tg_alloc_lua(a, large, 5000, 6000);
    assert_int_equal(next.live, 6000);
    assert_int_equal(tg_alloc_vm_account(a)->live, 0);
    tg_alloc_lua(a, large, 6000, 0);
    tg_alloc_switch(a, NULL);
    tg_account_release(&next);
    close_alloc(a);
}

static void test_many_accounts_at_once(void **state)
{
    enum { COUNT = 500 };
    struct seen seen;
    struct tg_alloc *a = open_alloc(&seen, SIZE_MAX);
    static struct tg_account accounts[COUNT];
    void *blocks[COUNT];
    (void)state;
    for (unsigned round = 0; round < 3; round++) {
        for (size_t i = 0; i < COUNT; i++) {
            assert_int_equal(tg_account_init(&accounts[i], a, 0, 0), TG_OK);
            tg_alloc_switch(a, &accounts[i]);
            blocks[i] = tg_alloc_lua(a, NULL, 0, i + 1);
        }
        for (size_t i = 0; i < COUNT; i++)
            assert_int_equal(accounts[i].live, i + 1);
        tg_alloc_switch(a, NULL);
        for (size_t i = 0; i < COUNT; i++)
            tg_account_release(&accounts[i]);
        for (size_t i = 0; i < COUNT; i++)
            tg_alloc_lua(a, blocks[i], i + 1, 0);
        assert_int_equal(tg_alloc_vm_account(a)->live, 0);
    }
    close_alloc(a);
}

static void test_bounds_hold_only_when_enforced(void **state)
{
    struct seen seen;
    struct tg_alloc *a = open_alloc(&seen, SIZE_MAX);
    struct tg_account account;
    (void)state;
    assert_int_equal(tg_account_init(&account, a, 1000, 5000), TG_OK);
    tg_alloc_switch(a, &account);
    void *p = tg_alloc_lua(a, NULL, 0, 4000);
    assert_non_null(p);
    assert_int_equal(seen.pressed + seen.refused, 0);
    tg_alloc_lua(a, p, 4000, 0);
    assert_false(tg_alloc_enforce(a, true));
    assert_null(tg_alloc_lua(a, NULL, 0, 2002));
    assert_int_equal(seen.reason, TG_KILL_MEMORY);
    tg_alloc_switch(a, NULL);
    tg_account_release(&account);
    close_alloc(a);
}

static void test_memory_is_soft_first_and_hard_at_twice(void **state)
{
    struct seen seen;
    struct tg_alloc *a = open_alloc(&seen, SIZE_MAX);
    struct tg_account account;
    (void)state;
    assert_int_equal(tg_account_init(&account, a, 1000, 0), TG_OK);
    tg_alloc_switch(a, &account);
    tg_alloc_enforce(a, true);
    void *p = tg_alloc_lua(a, NULL, 0, 1000);
    assert_int_equal(seen.pressed, 0);
    assert_false(tg_alloc_is_pressed(a));
    void *q = tg_alloc_lua(a, NULL, 0, 1);
    assert_non_null(q);
    assert_int_equal(seen.pressed, 1);
    assert_true(tg_alloc_is_pressed(a));
    assert_null(tg_alloc_lua(a, NULL, 0, 1001));
    assert_int_equal(seen.refused, 1);
    assert_int_equal(account.live, 1001);
    assert_int_equal(account.churn, 1001);
    p = tg_alloc_lua(a, p, 1000, 8);
    assert_non_null(p);
    assert_int_equal(seen.refused, 1);
    tg_alloc_lua(a, p, 8, 0);
    tg_alloc_lua(a, q, 1, 0);
    tg_alloc_switch(a, NULL);
    tg_account_release(&account);
    close_alloc(a);
}

static void test_churn_is_bounded_to_the_byte(void **state)
{
    struct seen seen;
    struct tg_alloc *a = open_alloc(&seen, SIZE_MAX);
    struct tg_account account;
    (void)state;
    assert_int_equal(tg_account_init(&account, a, 0, 1000), TG_OK);
    tg_alloc_switch(a, &account);
    tg_alloc_enforce(a, true);
    for (int i = 0; i < 10; i++)
        tg_alloc_lua(a, tg_alloc_lua(a, NULL, 0, 100), 100, 0);
    assert_int_equal(account.churn, 1000);
    assert_int_equal(seen.refused, 0);
    assert_null(tg_alloc_lua(a, NULL, 0, 1));
    assert_int_equal(seen.reason, TG_KILL_CHURN);
    tg_alloc_switch(a, NULL);
    tg_account_release(&account);
    close_alloc(a);
}

/* What may be allocated is counted anew; what is held is not. */
static void test_churn_is_renewed(void **state)
{
    struct seen seen;
    struct tg_alloc *a = open_alloc(&seen, SIZE_MAX);
    struct tg_account account;
    (void)state;
    assert_int_equal(tg_account_init(&account, a, 0, 100), TG_OK);
    tg_alloc_switch(a, &account);
    tg_alloc_enforce(a, true);
    for (int i = 0; i < 5; i++) {
        tg_account_renew(&account, 100);
        tg_alloc_lua(a, tg_alloc_lua(a, NULL, 0, 100), 100, 0);
        assert_int_equal(account.churn, 100 * (i + 1));
        assert_null(tg_alloc_lua(a, NULL, 0, 1));
    }
    tg_account_renew(&account, 0);
    assert_int_equal(account.churn_limit, UINT64_MAX);
    tg_account_renew(&account, UINT64_MAX - 1);
    assert_int_equal(account.churn_limit, UINT64_MAX);
    assert_int_equal(account.live, 0);
    tg_alloc_switch(a, NULL);
    tg_account_release(&account);
    close_alloc(a);
}

static void test_the_heap_bounds_all_accounts_together(void **state)
{
    struct seen seen;
    struct tg_alloc *a = open_alloc(&seen, 4000);
    struct tg_account account;
    (void)state;
    assert_int_equal(tg_account_init(&account, a, 0, 0), TG_OK);
    void *p = tg_alloc_lua(a, NULL, 0, 2900);
    tg_alloc_switch(a, &account);
    tg_alloc_enforce(a, true);
    void *q = tg_alloc_lua(a, NULL, 0, 200);
    assert_int_equal(seen.pressed, 1);
    assert_null(tg_alloc_lua(a, NULL, 0, 901));
    assert_int_equal(seen.reason, TG_KILL_MEMORY);
    tg_alloc_collected(a);
    assert_false(tg_alloc_is_pressed(a));
    void *r = tg_alloc_lua(a, NULL, 0, 100);
    assert_int_equal(seen.pressed, 1);
    void *s = tg_alloc_lua(a, NULL, 0, 400);
    assert_int_equal(seen.pressed, 2);
    tg_alloc_lua(a, p, 2900, 0);
    tg_alloc_lua(a, q, 200, 0);
    tg_alloc_lua(a, r, 100, 0);
    tg_alloc_lua(a, s, 400, 0);
    tg_alloc_switch(a, NULL);
    tg_account_release(&account);
    close_alloc(a);
}

static void test_failures_on_demand_spare_shrinking(void **state)
{
    struct seen seen;
    struct tg_alloc *a = open_alloc(&seen, SIZE_MAX);
    (void)state;
    tg_alloc_fail_at(a, 2);
    void *p = tg_alloc_lua(a, NULL, 0, 5000);
    assert_non_null(p);
    assert_null(tg_alloc_lua(a, p, 5000, 9000));
    p = tg_alloc_lua(a, p, 5000, 9000);
    assert_non_null(p);
    tg_mem_fail_at(1);
    p = tg_alloc_lua(a, p, 9000, 100);
    assert_non_null(p);
    tg_mem_fail_at(0);
    assert_int_equal(tg_alloc_used(a), 100);
    tg_alloc_lua(a, p, 100, 0);
    close_alloc(a);
}

static void test_memory_goes_back(void **state)
{
    enum { COUNT = 20000 };
    static void *blocks[COUNT];
    struct seen seen;
    struct tg_alloc *a = open_alloc(&seen, SIZE_MAX);
    (void)state;
    for (unsigned round = 0; round < 2; round++) {
        for (size_t i = 0; i < COUNT; i++)
            blocks[i] = tg_alloc_lua(a, NULL, 0, 1 + i % 600);
        assert_true(tg_alloc_held(a) > 4 << 20);
        assert_true(tg_alloc_held(a) < tg_alloc_used(a) * 5 / 4);
        for (size_t i = 0; i < COUNT; i++)
            tg_alloc_lua(a, blocks[(i * 7919) % COUNT], 1 + ((i * 7919) % COUNT) % 600, 0);
        assert_int_equal(tg_alloc_used(a), 0);
        assert_true(tg_alloc_held(a) <= 2 * TG_HEAP_CHUNK);
    }
    close_alloc(a);
}

static void test_classes_cover_every_size(void **state)
{
    (void)state;
    for (size_t n = 1; n <= TG_HEAP_MAX; n++) {
        unsigned c = tg_heap_class(n);
        assert_true(c < TG_HEAP_CLASSES);
        assert_true(tg_heap_class_size(c) >= n);
        assert_true(c == 0 || tg_heap_class_size(c - 1) < n);
        assert_int_equal(tg_heap_class_size(c) % 8, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_size_is_charged_to_the_byte),
        cmocka_unit_test(test_resizing_keeps_bytes_and_counts_growth),
        cmocka_unit_test(test_blocks_stay_with_the_account_that_made_them),
        cmocka_unit_test(test_remains_are_folded_into_the_vm),
        cmocka_unit_test(test_many_accounts_at_once),
        cmocka_unit_test(test_bounds_hold_only_when_enforced),
        cmocka_unit_test(test_memory_is_soft_first_and_hard_at_twice),
        cmocka_unit_test(test_churn_is_bounded_to_the_byte),
        cmocka_unit_test(test_churn_is_renewed),
        cmocka_unit_test(test_the_heap_bounds_all_accounts_together),
        cmocka_unit_test(test_failures_on_demand_spare_shrinking),
        cmocka_unit_test(test_memory_goes_back),
        cmocka_unit_test(test_classes_cover_every_size),
    };

    return cmocka_run_group_tests_name("script alloc", tests, NULL, NULL);
}
