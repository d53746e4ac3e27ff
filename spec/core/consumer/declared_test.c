/* declared_test.c: the declared set of consumers: found by name and by credential, kinds apart,
 * lists shared, what does not fit refused, and a linear search as oracle. */
#include "base/banned.h"
#include "consumer/declared.h"

#include "base/mem.h"
#include "base/rand.h"
#include "consumer/digest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static struct tg_declared *make(uint32_t consumers, uint32_t keys, uint32_t subjects)
{
    struct tg_declared_counts counts = {.consumers = consumers};
    counts.credentials[TG_CREDENTIAL_KEY] = keys;
    counts.credentials[TG_CREDENTIAL_SUBJECT] = subjects;
    struct tg_declared *declared = tg_declared_new(&counts);
    assert_non_null(declared);
    return declared;
}

static void add(struct tg_declared *declared, const char *name)
{
    struct tg_consumer_spec spec = {.name = tg_str_c(name)};
    assert_int_equal(tg_declared_add(declared, &spec), TG_OK);
}

static void add_key(struct tg_declared *declared, const char *key)
{
    assert_int_equal(tg_declared_add_credential(declared, TG_CREDENTIAL_KEY, tg_str_c(key)), TG_OK);
}

static void is_text(struct tg_str s, const char *text)
{
    assert_true(tg_str_eq(s, tg_str_c(text)));
    assert_int_equal(s.p[s.n], '\0');
}

static void an_empty_store_has_nobody(void **state)
{
    (void)state;
    const struct tg_consumer *consumer;
    struct tg_consumer_match match;
    struct tg_consumer_store *store = tg_declared_store(make(0, 0, 0));
    assert_int_equal(tg_consumer_find(store, TG_STR("a"), &consumer), TG_E_NOT_FOUND);
    assert_int_equal(tg_consumer_find(store, TG_STR(""), &consumer), TG_E_NOT_FOUND);
    assert_int_equal(tg_consumer_find_by(store, TG_CREDENTIAL_KEY, TG_STR("k"), &match),
                     TG_E_NOT_FOUND);
    tg_consumer_store_free(&store);
    assert_null(store);
    assert_int_equal(tg_consumer_find(NULL, TG_STR("a"), &consumer), TG_E_NOT_FOUND);
    assert_int_equal(tg_consumer_find_by(NULL, TG_CREDENTIAL_KEY, TG_STR("k"), &match),
                     TG_E_NOT_FOUND);
    tg_consumer_store_free(&store);
}

static void a_consumer_is_what_was_declared(void **state)
{
    (void)state;
    static const struct tg_str groups[] = {{"gold", 4}, {"eu", 2}};
    static const struct tg_str tags[] = {{"beta", 4}};
    const struct tg_consumer *consumer;
    struct tg_declared *declared = make(2, 0, 0);
    struct tg_consumer_spec spec = {.name = TG_STR("acme"),
                                    .id = TG_STR("c-17"),
                                    .custom_id = TG_STR("4711"),
                                    .metadata = tg_str("\0m", 2),
                                    .groups = groups,
                                    .group_count = 2,
                                    .tags = tags,
                                    .tag_count = 1,
                                    .plugins = 3,
                                    .importance = 1,
                                    .queue_priority = 10};
    assert_int_equal(tg_declared_add(declared, &spec), TG_OK);
    add(declared, "bare");
    struct tg_consumer_store *store = tg_declared_store(declared);
    assert_int_equal(tg_consumer_find(store, TG_STR("acme"), &consumer), TG_OK);
    is_text(consumer->name, "acme");
    is_text(consumer->id, "c-17");
    is_text(consumer->custom_id, "4711");
    assert_int_equal(consumer->metadata.n, 2);
    assert_int_equal(consumer->plugins, 3);
    assert_int_equal(consumer->importance, 1);
    assert_int_equal(consumer->queue_priority, 10);
    assert_true(tg_consumer_words_have(consumer->groups, TG_STR("gold")));
    assert_true(tg_consumer_words_have(consumer->groups, TG_STR("eu")));
    assert_false(tg_consumer_words_have(consumer->groups, TG_STR("beta")));
    assert_false(tg_consumer_words_have(consumer->groups, TG_STR("")));
    is_text(consumer->tags->v[0], "beta");
    assert_int_equal(tg_consumer_find(store, TG_STR("bare"), &consumer), TG_OK);
    is_text(consumer->id, "bare");
    assert_null(consumer->custom_id.p);
    assert_null(consumer->metadata.p);
    assert_int_equal(consumer->groups->n, 0);
    assert_int_equal(consumer->importance, 0);
    assert_int_equal(consumer->queue_priority, 0);
    tg_consumer_store_free(&store);
}

static void credentials_are_found_by_kind_and_value(void **state)
{
    (void)state;
    struct tg_consumer_match match;
    struct tg_declared *declared = make(2, 3, 1);
    add(declared, "a");
    add_key(declared, "first");
    add_key(declared, "second");
    add(declared, "b");
    add_key(declared, "third");
    assert_int_equal(tg_declared_add_credential(declared, TG_CREDENTIAL_SUBJECT, TG_STR("first")),
                     TG_OK);
    struct tg_consumer_store *store = tg_declared_store(declared);
    assert_int_equal(tg_consumer_find_by(store, TG_CREDENTIAL_KEY, TG_STR("second"), &match),
                     TG_OK);
    is_text(match.consumer->name, "a");
    assert_int_equal(match.nth, 2);
    assert_int_equal(tg_consumer_find_by(store, TG_CREDENTIAL_KEY, TG_STR("third"), &match), TG_OK);
    is_text(match.consumer->name, "b");
    assert_int_equal(match.nth, 1);
    assert_int_equal(tg_consumer_find_by(store, TG_CREDENTIAL_SUBJECT, TG_STR("first"), &match),
                     TG_OK);
    is_text(match.consumer->name, "b");
    static const char *const nobody[] = {"", "firs", "first ", "FIRST", "a"};
    for (size_t i = 0; i < TG_COUNT_OF(nobody); i++)
        assert_int_equal(tg_consumer_find_by(store, TG_CREDENTIAL_KEY, tg_str_c(nobody[i]), &match),
                         TG_E_NOT_FOUND);
    assert_int_equal(tg_consumer_find_by(store, TG_CREDENTIAL_SUBJECT, TG_STR("second"), &match),
                     TG_E_NOT_FOUND);
    tg_consumer_store_free(&store);
}

static void what_contradicts_or_does_not_fit_is_refused(void **state)
{
    (void)state;
    struct tg_consumer_spec spec = {.name = TG_STR("a")};
    struct tg_declared *declared = make(2, 1, 0);
    assert_int_equal(tg_declared_add(declared, &spec), TG_OK);
    assert_int_equal(tg_declared_add(declared, &spec), TG_E_EXISTS);
    add_key(declared, "k");
    add(declared, "b");
    assert_int_equal(tg_declared_add_credential(declared, TG_CREDENTIAL_KEY, TG_STR("")),
                     TG_E_INVALID);
    assert_int_equal(tg_declared_add_credential(declared, TG_CREDENTIAL_KEY, TG_STR("l")),
                     TG_E_LIMIT);
    assert_int_equal(tg_declared_add_credential(declared, TG_CREDENTIAL_SUBJECT, TG_STR("l")),
                     TG_E_LIMIT);
    spec.name = TG_STR("");
    assert_int_equal(tg_declared_add(declared, &spec), TG_E_INVALID);
    spec.name = TG_STR("c");
    assert_int_equal(tg_declared_add(declared, &spec), TG_E_LIMIT);
    struct tg_consumer_store *store = tg_declared_store(declared);
    tg_consumer_store_free(&store);
    declared = make(2, 2, 0);
    add(declared, "a");
    add_key(declared, "k");
    add(declared, "b");
    assert_int_equal(tg_declared_add_credential(declared, TG_CREDENTIAL_KEY, TG_STR("k")),
                     TG_E_EXISTS);
    store = tg_declared_store(declared);
    tg_consumer_store_free(&store);
}

static void equal_lists_are_one(void **state)
{
    (void)state;
    const struct tg_consumer *first, *other;
    struct tg_declared *declared = make(400, 0, 0);
    char name[16], group[16];
    for (int i = 0; i < 400; i++) {
        (void)snprintf(name, sizeof(name), "c%d", i);
        (void)snprintf(group, sizeof(group), "g%d", i % 100);
        struct tg_str groups[] = {tg_str_c(group), TG_STR("all")};
        struct tg_consumer_spec spec = {.name = tg_str_c(name), .groups = groups, .group_count = 2};
        assert_int_equal(tg_declared_add(declared, &spec), TG_OK);
    }
    struct tg_consumer_store *store = tg_declared_store(declared);
    for (int i = 0; i < 300; i++) {
        (void)snprintf(name, sizeof(name), "c%d", i);
        assert_int_equal(tg_consumer_find(store, tg_str_c(name), &first), TG_OK);
        (void)snprintf(name, sizeof(name), "c%d", i + 100);
        assert_int_equal(tg_consumer_find(store, tg_str_c(name), &other), TG_OK);
        assert_ptr_equal(first->groups, other->groups);
        assert_int_equal(first->groups->n, 2);
    }
    tg_consumer_store_free(&store);
}

static void digests_are_keyed_and_of_a_kind(void **state)
{
    (void)state;
    unsigned char key[TG_CREDENTIAL_DIGEST], again[TG_CREDENTIAL_DIGEST];
    unsigned char subject[TG_CREDENTIAL_DIGEST];
    /* SHA-256 of "abc" and of "\0abc": what an unkeyed digest would be. */
    static const unsigned char plain[] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea};
    assert_int_equal(tg_credential_digest(TG_CREDENTIAL_KEY, TG_STR("abc"), key), TG_OK);
    assert_int_equal(tg_credential_digest(TG_CREDENTIAL_KEY, TG_STR("abc"), again), TG_OK);
    assert_int_equal(tg_credential_digest(TG_CREDENTIAL_SUBJECT, TG_STR("abc"), subject), TG_OK);
    assert_true(tg_credential_digest_eq(key, again));
    assert_false(tg_credential_digest_eq(key, subject));
    assert_memory_not_equal(key, plain, sizeof(plain));
    again[TG_CREDENTIAL_DIGEST - 1] ^= 1;
    assert_false(tg_credential_digest_eq(key, again));
}

static void kinds_have_names(void **state)
{
    (void)state;
    enum tg_credential_kind kind;
    for (int i = 0; i < TG_CREDENTIAL_KINDS; i++) {
        const char *name = tg_credential_kind_info((enum tg_credential_kind)i)->name;
        assert_true(tg_credential_kind_from(tg_str_c(name), &kind));
        assert_int_equal(kind, i);
    }
    assert_true(tg_credential_kind_info(TG_CREDENTIAL_KEY)->secret);
    assert_false(tg_credential_kind_from(TG_STR("kee"), &kind));
    assert_false(tg_credential_kind_from(TG_STR(""), &kind));
}

/* Random names and keys of any bytes, each found as its own and nothing else. */
static void thousands_are_told_apart(void **state)
{
    enum { COUNT = 3000 };
    static struct tg_str names[COUNT];
    static char room[COUNT][2][40];
    struct tg_rand rand;
    const struct tg_consumer *consumer;
    struct tg_consumer_match match;
    (void)state;
    tg_rand_init_seed(&rand, 7);
    struct tg_declared *declared = make(COUNT, COUNT, 0);
    for (uint32_t i = 0; i < COUNT; i++) {
        (void)snprintf(room[i][0], sizeof(room[i][0]), "%x", (unsigned)(i * 2654435761u));
        names[i] = tg_str_c(room[i][0]);
        for (int k = 0; k < 40; k++)
            room[i][1][k] = (char)tg_rand_u64(&rand);
        add(declared, room[i][0]);
        assert_int_equal(
            tg_declared_add_credential(declared, TG_CREDENTIAL_KEY, tg_str(room[i][1], 40)), TG_OK);
    }
    assert_int_equal(tg_declared_count(declared), COUNT);
    struct tg_consumer_store *store = tg_declared_store(declared);
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(tg_consumer_find(store, names[i], &consumer), TG_OK);
        assert_true(tg_str_eq(consumer->name, names[i]));
        struct tg_str key = tg_str(room[i][1], 40);
        assert_int_equal(tg_consumer_find_by(store, TG_CREDENTIAL_KEY, key, &match), TG_OK);
        assert_ptr_equal(match.consumer, consumer);
        assert_int_equal(
            tg_consumer_find_by(store, TG_CREDENTIAL_KEY, tg_str(room[i][1], 39), &match),
            TG_E_NOT_FOUND);
    }
    tg_consumer_store_free(&store);
}

/* With every allocation failing in turn: no leak, nothing half made that is used. */
static void running_out_of_memory_is_an_error(void **state)
{
    (void)state;
    static const struct tg_str groups[] = {{"g", 1}};
    struct tg_declared_counts counts = {.consumers = 1, .credentials = {1, 1}};
    struct tg_consumer_spec spec = {.name = TG_STR("a"), .groups = groups, .group_count = 1};
    enum tg_err err = TG_E_NOMEM;
    for (uint64_t nth = 1; err != TG_OK; nth++) {
        assert_true(nth < 100);
        tg_mem_fail_at(nth);
        struct tg_declared *declared = tg_declared_new(&counts);
        err = declared != NULL ? tg_declared_add(declared, &spec) : TG_E_NOMEM;
        if (err == TG_OK)
            err = tg_declared_add_credential(declared, TG_CREDENTIAL_KEY, TG_STR("k"));
        tg_mem_fail_at(0);
        struct tg_consumer_store *store = declared != NULL ? tg_declared_store(declared) : NULL;
        tg_consumer_store_free(&store);
        assert_true(err == TG_OK || err == TG_E_NOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_store_has_nobody),
        cmocka_unit_test(a_consumer_is_what_was_declared),
        cmocka_unit_test(credentials_are_found_by_kind_and_value),
        cmocka_unit_test(what_contradicts_or_does_not_fit_is_refused),
        cmocka_unit_test(equal_lists_are_one),
        cmocka_unit_test(digests_are_keyed_and_of_a_kind),
        cmocka_unit_test(kinds_have_names),
        cmocka_unit_test(thousands_are_told_apart),
        cmocka_unit_test(running_out_of_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
