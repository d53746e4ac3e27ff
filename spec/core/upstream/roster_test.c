/*
 * The targets of a service as names change: what comes, what goes, what stays what it was.
 */
#include "upstream/roster.h"

#include "dns_fixture.h"
#include "upstream/names.h"

static struct tg_registry *registry;
static struct tg_policy policy;
static struct tg_roster *roster;
static struct tg_balance_target declared[2];
static unsigned changes;

static void on_change(void *arg, struct tg_roster *changed)
{
    (void)arg;
    assert_true(roster == NULL || changed == roster);
    changes++;
}

static int setup(void **state)
{
    changes = 0;
    memset(declared, 0, sizeof(declared));
    if (dns_setup(state) != 0)
        return -1;
    registry = tg_registry_new();
    return registry != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    tg_roster_free(&roster);
    tg_registry_unref(&registry);
    return dns_teardown(state);
}

static void name_target(uint32_t i, const char *name, enum tg_target_kind kind)
{
    declared[i] = (struct tg_balance_target){.name = tg_str_c(name),
                                             .query = tg_str_c(name),
                                             .host = tg_str_c(name),
                                             .kind = kind,
                                             .port = 80,
                                             .weight = 1};
}

static void begin(uint32_t n)
{
    struct tg_roster_options options = {
        .balance = {.registry = registry, .service = TG_STR("back"), .policy = &policy},
        .declared = declared,
        .n = n,
        .worker = &worker,
        .resolver = resolver,
        .on_change = on_change,
    };
    roster = tg_roster_new(&options);
    assert_non_null(roster);
    tg_roster_begin(roster);
}

/* The names of the targets, one after the other. */
static const char *targets(void)
{
    static char text[512];
    const struct tg_balance *balance = tg_roster_balance(roster);
    size_t n = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < tg_balance_count(balance); i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, i > 0 ? " %s" : "%s",
                              tg_balance_target_at(balance, i)->name.p);
    return text;
}

static void answer_two(const char *name, const char *a, const char *b)
{
    answer_new(TG_ANSWER_RECORDS, 10 * SEC);
    answer_add(a);
    if (b != NULL)
        answer_add(b);
    settle(name);
}

static void test_a_name_stands_for_its_addresses(void **state)
{
    (void)state;
    name_target(0, "a.test", TG_TARGET_NAME);
    begin(1);
    assert_int_equal(tg_roster_state(roster), TG_E_AGAIN);
    answer_two("a.test", "10.0.0.2", "10.0.0.1");
    assert_int_equal(tg_roster_state(roster), TG_OK);
    assert_string_equal(targets(), "10.0.0.1:80 10.0.0.2:80");
    assert_string_equal(tg_balance_target_at(tg_roster_balance(roster), 0)->host.p, "a.test");
}

static void test_another_order_is_no_change(void **state)
{
    (void)state;
    name_target(0, "a.test", TG_TARGET_NAME);
    begin(1);
    answer_two("a.test", "10.0.0.2", "10.0.0.1");
    move(10 * SEC);
    answer_two("a.test", "10.0.0.1", "10.0.0.2");
    assert_int_equal(changes, 1);
}

static void test_an_address_that_stays_keeps_its_origin(void **state)
{
    (void)state;
    name_target(0, "a.test", TG_TARGET_NAME);
    begin(1);
    answer_two("a.test", "10.0.0.1", "10.0.0.2");
    struct tg_balance *before = tg_balance_ref(tg_roster_balance(roster));
    const struct tg_origin *second = tg_balance_origin(before, 1);
    move(10 * SEC);
    answer_two("a.test", "10.0.0.2", "10.0.0.3");
    assert_string_equal(targets(), "10.0.0.2:80 10.0.0.3:80");
    assert_ptr_equal(tg_balance_origin(tg_roster_balance(roster), 0), second);
    assert_int_equal(tg_balance_count(before), 2); /* for requests under way */
    tg_balance_unref(&before, worker.loop.clock.mono);
}

static void test_addresses_and_names_go_together_and_none_twice(void **state)
{
    (void)state;
    declared[0] = (struct tg_balance_target){.name = TG_STR("10.0.0.1:80"), .weight = 1};
    assert_int_equal(tg_addr_parse(TG_STR("10.0.0.1:80"), &declared[0].addr), TG_OK);
    name_target(1, "a.test", TG_TARGET_NAME);
    begin(2);
    assert_string_equal(targets(), "10.0.0.1:80");
    assert_int_equal(tg_roster_state(roster), TG_OK);
    answer_two("a.test", "10.0.0.1", "10.0.0.2");
    assert_string_equal(targets(), "10.0.0.1:80 10.0.0.2:80");
}

static void test_of_two_families_one_is_balanced_and_the_other_stands_by(void **state)
{
    (void)state;
    name_target(0, "a.test", TG_TARGET_NAME);
    begin(1);
    answer_new(TG_ANSWER_RECORDS, 10 * SEC);
    answer_add("127.0.0.1");
    answer_add("127.0.0.2");
    answer_add("::1");
    settle("a.test");
    assert_string_equal(targets(), "127.0.0.1:80 127.0.0.2:80");
    char room[TG_ADDR_TEXT_MAX];
    const struct tg_balance_target *t = tg_balance_target_at(tg_roster_balance(roster), 1);
    assert_string_equal(tg_addr_text(&t->another, room).p, "[::1]:80");
}

static void test_refresh_comes_before_the_ttl(void **state)
{
    (void)state;
    name_target(0, "a.test", TG_TARGET_NAME);
    declared[0].refresh = 3 * SEC;
    begin(1);
    answer_two("a.test", "10.0.0.1", NULL);
    move(2 * SEC);
    assert_int_equal(sent, 1);
    move(1 * SEC);
    assert_int_equal(sent, 2);
}

static void test_servers_of_a_service_come_and_go(void **state)
{
    (void)state;
    name_target(0, "_http._tcp.a.test", TG_TARGET_SRV);
    begin(1);
    answer_new(TG_ANSWER_RECORDS, 10 * SEC);
    answer_add_server("x.test", 8001, 10, 5);
    answer_add_server("y.test", 8002, 20, 0);
    settle("_http._tcp.a.test");
    assert_int_equal(tg_roster_state(roster), TG_E_AGAIN);
    answer_two("y.test", "10.0.0.2", NULL);
    answer_two("x.test", "10.0.0.1", NULL);
    assert_string_equal(targets(), "10.0.0.2:8002 10.0.0.1:8001");
    const struct tg_balance_target *y = tg_balance_target_at(tg_roster_balance(roster), 0);
    assert_int_equal(y->priority, 20);
    assert_int_equal(y->weight, 1);
    move(10 * SEC);
    answer_new(TG_ANSWER_RECORDS, 10 * SEC);
    answer_add_server("x.test", 8001, 10, 7);
    settle("_http._tcp.a.test");
    assert_string_equal(targets(), "10.0.0.1:8001");
    assert_int_equal(tg_balance_target_at(tg_roster_balance(roster), 0)->weight, 7);
}

static struct tg_roster_waiter waiter;
static unsigned woken;

static void on_ready(struct tg_roster_waiter *w)
{
    assert_ptr_equal(w, &waiter);
    woken++;
}

static void test_who_waits_is_woken_by_the_first_answer_good_or_bad(void **state)
{
    (void)state;
    woken = 0;
    waiter = (struct tg_roster_waiter){.on_ready = on_ready};
    name_target(0, "a.test", TG_TARGET_NAME);
    begin(1);
    tg_roster_wait(roster, &waiter);
    run_deferred();
    assert_int_equal(woken, 0);
    answer_new(TG_ANSWER_NONE, SEC);
    settle("a.test");
    assert_int_equal(woken, 1);
    assert_int_equal(tg_roster_state(roster), TG_E_DNS);
}

static void test_who_has_left_is_not_woken(void **state)
{
    (void)state;
    woken = 0;
    waiter = (struct tg_roster_waiter){.on_ready = on_ready};
    name_target(0, "a.test", TG_TARGET_NAME);
    begin(1);
    tg_roster_wait(roster, &waiter);
    tg_roster_leave(&waiter);
    tg_roster_leave(&waiter); /* allowed twice */
    answer_two("a.test", "10.0.0.1", NULL);
    assert_int_equal(woken, 0);
}

static void look(void *arg, struct tg_fleet *fleet)
{
    const struct tg_known_name *known =
        TG_LIST_ENTRY(fleet->names.next, struct tg_known_name, link);
    *(struct tg_known_name *)arg = *known;
}

static void test_the_registry_tells_of_names(void **state)
{
    struct tg_known_name known;
    (void)state;
    name_target(0, "a.test", TG_TARGET_NAME);
    begin(1);
    tg_registry_visit(registry, look, &known);
    assert_string_equal(known.state, "pending");
    answer_two("a.test", "10.0.0.1", NULL);
    tg_registry_visit(registry, look, &known);
    assert_string_equal(known.state, "found");
    assert_int_equal(known.n, 1);
    assert_int_equal(known.until - worker.loop.clock.mono, 10 * SEC);
    move(10 * SEC);
    answer_new(TG_ANSWER_FAILED, 0);
    settle("a.test");
    tg_registry_visit(registry, look, &known);
    assert_string_equal(known.state, "stale");
    assert_string_equal(known.problem, "made up");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
        TEST(a_name_stands_for_its_addresses),
        TEST(another_order_is_no_change),
        TEST(an_address_that_stays_keeps_its_origin),
        TEST(addresses_and_names_go_together_and_none_twice),
        TEST(of_two_families_one_is_balanced_and_the_other_stands_by),
        TEST(refresh_comes_before_the_ttl),
        TEST(servers_of_a_service_come_and_go),
        TEST(who_waits_is_woken_by_the_first_answer_good_or_bad),
        TEST(who_has_left_is_not_woken),
        TEST(the_registry_tells_of_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
