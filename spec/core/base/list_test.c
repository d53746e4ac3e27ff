/*
 * The list: order, removal while walking, and nodes that move from list to list.
 */
#include "base/list.h"

#include "support.h"

struct item {
    char name;
    struct tg_list link;
};

static struct tg_list list;
static struct item items[3];

static int setup(void **state)
{
    (void)state;
    tg_list_init(&list);
    for (int i = 0; i < 3; i++) {
        items[i].name = (char)('a' + i);
        tg_list_init(&items[i].link);
    }
    return 0;
}

static void assert_order(const char *expected)
{
    char forwards[8] = "";
    char backwards[8] = "";
    size_t n = 0;
    TG_LIST_FOREACH(&list, it)
    forwards[n++] = TG_LIST_ENTRY(it, struct item, link)->name;
    forwards[n] = '\0';
    for (struct tg_list *it = list.prev; it != &list; it = it->prev)
        backwards[--n] = TG_LIST_ENTRY(it, struct item, link)->name;
    assert_string_equal(forwards, expected);
    assert_string_equal(backwards, expected);
}

static void test_empty(void **state)
{
    (void)state;
    assert_true(tg_list_is_empty(&list));
    assert_order("");
}

static void test_both_ends_and_the_middle(void **state)
{
    (void)state;
    tg_list_push_back(&list, &items[1].link);
    tg_list_push_front(&list, &items[0].link);
    assert_order("ab");
    tg_list_insert_after(&items[0].link, &items[2].link);
    assert_order("acb");
    assert_false(tg_list_is_empty(&list));
}

static void test_removed_nodes_are_ready_again(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        tg_list_push_back(&list, &items[i].link);
    tg_list_remove(&items[1].link);
    tg_list_remove(&items[1].link);
    assert_order("ac");
    tg_list_push_front(&list, &items[1].link);
    assert_order("bac");
}

static void test_the_body_may_remove_its_node(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        tg_list_push_back(&list, &items[i].link);
    TG_LIST_FOREACH(&list, it)
    {
        if (TG_LIST_ENTRY(it, struct item, link)->name != 'b')
            tg_list_remove(it);
    }
    assert_order("b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_empty, setup),
        cmocka_unit_test_setup(test_both_ends_and_the_middle, setup),
        cmocka_unit_test_setup(test_removed_nodes_are_ready_again, setup),
        cmocka_unit_test_setup(test_the_body_may_remove_its_node, setup),
    };

    return cmocka_run_group_tests_name("list", tests, NULL, NULL);
}
