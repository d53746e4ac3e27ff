/*
 * The cache of names: how long answers are kept, who is told, and what stands in for a server that
 * does not answer.
 */
#include "upstream/resolver.h"

#include "dns_fixture.h"

struct asker {
    struct tg_lookup lookup;
    unsigned told;
    enum tg_answer_kind kind;
    bool stale;
    uint32_t n;
    uint64_t left; /* us until it is to be asked again */
};

static struct asker askers[4];

static void on_answer(struct tg_lookup *lookup, const struct tg_answer *answer)
{
    struct asker *a = TG_CONTAINER_OF(lookup, struct asker, lookup);
    a->told++;
    a->kind = answer->kind;
    a->stale = answer->stale;
    a->n = answer->n;
    a->left = answer->until - worker.loop.clock.mono;
}

static int setup(void **state)
{
    memset(askers, 0, sizeof(askers));
    for (size_t i = 0; i < TG_COUNT_OF(askers); i++)
        askers[i].lookup.on_answer = on_answer;
    return dns_setup(state);
}

static int teardown(void **state)
{
    for (size_t i = 0; i < TG_COUNT_OF(askers); i++)
        tg_resolver_cancel(&askers[i].lookup);
    return dns_teardown(state);
}

static const struct tg_answer *ask(unsigned asker, const char *name)
{
    return tg_resolver_ask(resolver, tg_str_c(name), TG_QUESTION_ADDRESS, &askers[asker].lookup);
}

/* Asks, and has it answered by one address. */
static void learn(const char *name, uint64_t ttl)
{
    assert_null(ask(0, name));
    answer_new(TG_ANSWER_RECORDS, ttl);
    answer_add("10.0.0.1");
    settle(name);
}

static void test_an_answer_is_told_and_then_known(void **state)
{
    (void)state;
    learn("a.test", 10 * SEC);
    assert_int_equal(askers[0].told, 1);
    assert_int_equal(askers[0].kind, TG_ANSWER_RECORDS);
    const struct tg_answer *known = ask(1, "A.Test");
    assert_non_null(known);
    assert_int_equal(known->n, 1);
    assert_int_equal(sent, 1);
    move(10 * SEC);
    assert_null(ask(1, "a.test"));
    assert_int_equal(sent, 2);
}

static void test_all_who_wait_share_one_query(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++)
        assert_null(ask(i, "a.test"));
    tg_resolver_cancel(&askers[2].lookup);
    answer_new(TG_ANSWER_RECORDS, SEC);
    answer_add("10.0.0.1");
    settle("a.test");
    assert_int_equal(sent, 1);
    assert_int_equal(askers[0].told + askers[1].told + askers[3].told, 3);
    assert_int_equal(askers[2].told, 0);
}

static void test_ttls_have_a_floor_and_a_ceiling(void **state)
{
    (void)state;
    learn("low.test", 0);
    assert_int_equal(askers[0].left, limits.dns_ttl_min);
    learn("high.test", 86400 * SEC);
    assert_int_equal(askers[0].left, limits.dns_ttl_max);
    learn("mid.test", 30 * SEC);
    assert_int_equal(askers[0].left, 30 * SEC);
}

static void test_absence_is_kept_as_its_answer_says(void **state)
{
    (void)state;
    assert_null(ask(0, "a.test"));
    answer_new(TG_ANSWER_NONE, 20 * SEC);
    settle("a.test");
    assert_int_equal(askers[0].kind, TG_ANSWER_NONE);
    move(19 * SEC);
    const struct tg_answer *known = ask(0, "a.test");
    assert_non_null(known);
    assert_int_equal(known->kind, TG_ANSWER_NONE);
    assert_null(tg_resolver_recall(resolver, TG_STR("a.test"), TG_QUESTION_ADDRESS));
    move(SEC);
    assert_null(ask(0, "a.test"));
}

static void test_absence_is_believed_where_there_were_addresses(void **state)
{
    (void)state;
    learn("a.test", SEC);
    move(2 * SEC);
    assert_null(ask(0, "a.test"));
    answer_new(TG_ANSWER_NONE, SEC);
    settle("a.test");
    assert_int_equal(askers[0].kind, TG_ANSWER_NONE);
    assert_false(askers[0].stale);
}

static void test_a_failure_is_asked_again_soon(void **state)
{
    (void)state;
    assert_null(ask(0, "a.test"));
    answer_new(TG_ANSWER_FAILED, 0);
    settle("a.test");
    assert_int_equal(askers[0].kind, TG_ANSWER_FAILED);
    assert_int_equal(askers[0].left, TG_RESOLVER_RETRY);
    assert_non_null(ask(1, "a.test"));
    move(TG_RESOLVER_RETRY);
    assert_null(ask(1, "a.test"));
}

static void fail_once(const char *name)
{
    assert_null(ask(0, name));
    answer_new(TG_ANSWER_FAILED, 0);
    settle(name);
}

static void test_old_records_stand_in_for_a_failure(void **state)
{
    (void)state;
    learn("a.test", 10 * SEC);
    move(11 * SEC);
    assert_non_null(tg_resolver_recall(resolver, TG_STR("a.test"), TG_QUESTION_ADDRESS));
    fail_once("a.test");
    assert_int_equal(askers[0].kind, TG_ANSWER_RECORDS);
    assert_true(askers[0].stale);
    assert_int_equal(askers[0].n, 1);
    assert_int_equal(askers[0].left, TG_RESOLVER_RETRY);
    move(TG_RESOLVER_RETRY);
    learn("a.test", 10 * SEC);
    assert_false(askers[0].stale);
}

static void test_old_records_stand_in_no_longer_than_the_limit(void **state)
{
    (void)state;
    learn("a.test", 10 * SEC);
    move(10 * SEC + limits.dns_stale);
    assert_null(tg_resolver_recall(resolver, TG_STR("a.test"), TG_QUESTION_ADDRESS));
    fail_once("a.test");
    assert_int_equal(askers[0].kind, TG_ANSWER_FAILED);
    assert_int_equal(askers[0].n, 0);
}

static void test_queries_beyond_the_limit_wait_for_their_turn(void **state)
{
    (void)state;
    limits.dns_queries = 1;
    tg_resolver_set_limits(resolver, &limits);
    assert_null(ask(0, "a.test"));
    assert_null(ask(1, "b.test"));
    assert_int_equal(asked_count, 1);
    answer_new(TG_ANSWER_NONE, SEC);
    settle("a.test");
    assert_int_equal(asked_count, 1);
    assert_string_equal(asked[0]->name, "b.test");
    settle("b.test");
    assert_int_equal(askers[1].told, 1);
}

static void test_who_waits_for_a_turn_that_finds_no_memory_is_told(void **state)
{
    (void)state;
    limits.dns_queries = 1;
    tg_resolver_set_limits(resolver, &limits);
    for (unsigned i = 0; i < 3; i++)
        assert_null(ask(i, (const char *[]){"a.test", "b.test", "c.test"}[i]));
    source_fails = true;
    answer_new(TG_ANSWER_RECORDS, SEC);
    answer_add("10.0.0.1");
    settle("a.test");
    for (unsigned i = 1; i < 3; i++) {
        assert_int_equal(askers[i].told, 1);
        assert_int_equal(askers[i].kind, TG_ANSWER_FAILED);
        assert_int_equal(askers[i].left, TG_RESOLVER_RETRY);
    }
    source_fails = false;
    learn("b.test", SEC);
}

static void test_the_cache_is_bounded(void **state)
{
    char name[32];
    (void)state;
    limits.dns_cache = 16;
    tg_resolver_set_limits(resolver, &limits);
    for (unsigned i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "n%u.test", i);
        learn(name, 100 * SEC);
    }
    unsigned known = 0;
    for (unsigned i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "n%u.test", i);
        known += tg_resolver_recall(resolver, tg_str_c(name), TG_QUESTION_ADDRESS) != NULL ? 1 : 0;
    }
    assert_int_equal(known, 16);
}

static void test_kinds_of_questions_are_told_apart(void **state)
{
    (void)state;
    learn("a.test", 10 * SEC);
    assert_null(tg_resolver_ask(resolver, TG_STR("a.test"), TG_QUESTION_SRV, &askers[1].lookup));
    assert_int_equal(asked[0]->question, TG_QUESTION_SRV);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
        TEST(an_answer_is_told_and_then_known),
        TEST(all_who_wait_share_one_query),
        TEST(ttls_have_a_floor_and_a_ceiling),
        TEST(absence_is_kept_as_its_answer_says),
        TEST(absence_is_believed_where_there_were_addresses),
        TEST(a_failure_is_asked_again_soon),
        TEST(old_records_stand_in_for_a_failure),
        TEST(old_records_stand_in_no_longer_than_the_limit),
        TEST(queries_beyond_the_limit_wait_for_their_turn),
        TEST(who_waits_for_a_turn_that_finds_no_memory_is_told),
        TEST(the_cache_is_bounded),
        TEST(kinds_of_questions_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
