/*
 * The list of limits: sound entries, and hits counted from several threads.
 */
#include "base/limits.h"

#include "support.h"

#include <pthread.h>

static void test_defaults_are_within_their_range(void **state)
{
    struct tg_limits limits;
    (void)state;
    tg_limits_init(&limits);
    for (int i = 0; i < TG_LIMIT_COUNT; i++) {
        enum tg_limit_id id = (enum tg_limit_id)i;
        const struct tg_limit_info *info = tg_limit_info(id);
        assert_true(info->min <= info->value && info->value <= info->max);
        assert_true(*tg_limit_field(&limits, id) == info->value);
        assert_non_null(strchr(info->path, '.'));
        assert_true(strlen(info->text) > 10);
    }
    assert_int_equal(limits.request_header_count, 100);
}

static void test_paths_are_unique(void **state)
{
    (void)state;
    for (int i = 0; i < TG_LIMIT_COUNT; i++) {
        for (int k = 0; k < i; k++)
            assert_string_not_equal(tg_limit_info((enum tg_limit_id)i)->path,
                                    tg_limit_info((enum tg_limit_id)k)->path);
    }
}

static void test_fields_are_apart(void **state)
{
    struct tg_limits limits = {0};
    (void)state;
    for (int i = 0; i < TG_LIMIT_COUNT; i++)
        *tg_limit_field(&limits, (enum tg_limit_id)i) = (uint64_t)i;
    for (int i = 0; i < TG_LIMIT_COUNT; i++)
        assert_true(*tg_limit_field(&limits, (enum tg_limit_id)i) == (uint64_t)i);
    assert_int_equal(limits.request_body, TG_LIMIT_ID_request_body);
}

static void *hit_many(void *unused)
{
    (void)unused;
    for (int i = 0; i < 10000; i++)
        tg_limit_hit(request_target);
    return NULL;
}

static void test_hits_are_counted_across_threads(void **state)
{
    pthread_t threads[3];
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hit_many, NULL), 0);
    for (size_t i = 0; i < TG_COUNT_OF(threads); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(tg_limit_hits(TG_LIMIT_ID_request_target), 30000);
    assert_int_equal(tg_limit_hits(TG_LIMIT_ID_request_body), 0);
}

static void *note_many(void *unused)
{
    (void)unused;
    for (uint64_t i = 1; i <= 10000; i++)
        tg_limit_note(connections, i);
    return NULL;
}

static void test_the_most_that_was_used_is_kept_across_threads(void **state)
{
    pthread_t threads[3];
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, note_many, NULL), 0);
    for (size_t i = 0; i < TG_COUNT_OF(threads); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    tg_limit_note(connections, 7);
    assert_int_equal(tg_limit_use(TG_LIMIT_ID_connections), 7);
    assert_int_equal(tg_limit_peak(TG_LIMIT_ID_connections), 10000);
    assert_true(tg_limit_is_used(TG_LIMIT_ID_connections));
    assert_false(tg_limit_is_used(TG_LIMIT_ID_request_body));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_are_within_their_range),
        cmocka_unit_test(test_paths_are_unique),
        cmocka_unit_test(test_fields_are_apart),
        cmocka_unit_test(test_hits_are_counted_across_threads),
        cmocka_unit_test(test_the_most_that_was_used_is_kept_across_threads),
    };

    return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
