/*
 * Userdata that own something outside of the VM: whoever made them is told when their blocks go,
 * whatever the account and the size.
 */
#include "base/mem.h"
#include "script/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

struct freed {
    unsigned count;
    void *payload;
    size_t used; /* in all, when it was told */
    struct tg_alloc *alloc;
    void *own; /* a block that goes with it; NULL: none */
};

static void on_freed(void *arg, void *payload)
{
    struct freed *freed = arg;
    freed->count++;
    freed->payload = payload;
    freed->used = tg_alloc_used(freed->alloc);
    if (freed->own != NULL)
        tg_alloc_lua(freed->alloc, freed->own, 100, 0);
    freed->own = NULL;
}

static void test_who_owns_something_is_told_when_its_block_goes(void **state)
{
    struct freed freed = {0};
    struct tg_alloc_events events = {.arg = &freed, .on_freed = on_freed};
    struct tg_alloc *a = tg_alloc_new(TG_MEM_PLUGIN, SIZE_MAX, &events);
    struct tg_account account;
    (void)state;
    assert_non_null(a);
    freed.alloc = a;
    assert_int_equal(tg_account_init(&account, a, 0, 0), TG_OK);
    tg_alloc_switch(a, &account);
    freed.own = tg_alloc_lua(a, NULL, 0, 100);
    char *small = tg_alloc_lua(a, NULL, 0, 300);
    tg_alloc_mark_owner(a, small + 48);
    char *large = tg_alloc_lua(a, NULL, 0, 30000);
    tg_alloc_mark_owner(a, large + 48);
    char *other = tg_alloc_lua(a, NULL, 0, 300);
    assert_int_equal(account.live, 30700);
    tg_alloc_lua(a, other, 300, 0);
    assert_int_equal(freed.count, 0);
    tg_alloc_lua(a, small, 300, 0);
    assert_int_equal(freed.count, 1);
    assert_ptr_equal(freed.payload, small + 48);
    assert_int_equal(freed.used, 30400);
    assert_int_equal(account.live, 30000);
    tg_alloc_switch(a, NULL);
    tg_account_release(&account);
    tg_alloc_lua(a, large, 30000, 0); /* it still is marked when it is the VM's */
    assert_int_equal(freed.count, 2);
    assert_ptr_equal(freed.payload, large + 48);
    assert_int_equal(tg_alloc_used(a), 0);
    tg_alloc_free(&a);
    assert_int_equal(tg_mem_used(TG_MEM_PLUGIN), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_owns_something_is_told_when_its_block_goes),
    };

    return cmocka_run_group_tests_name("script alloc owners", tests, NULL, NULL);
}
