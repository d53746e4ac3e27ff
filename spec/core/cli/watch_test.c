/*
 * Files that are watched: what counts as a change, after a reload and after a rollback. The time is
 * the test's.
 */
#include "cli/watch.h"

#include "base/clock.h"
#include "base/mem.h"
#include "support.h"

static char folder[64];
static char path[96];
static struct tg_watch_files *files;
static struct tg_sources *sources;

static void write_file(const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* The file holds "one", and that is what the sources have noted. */
static int setup(void **state)
{
    const struct tg_source_item *item;
    (void)state;
    support_folder(folder);
    snprintf(path, sizeof(path), "%s/file", folder);
    write_file("one");
    sources = tg_sources_new();
    if (sources == NULL || tg_watch_files_new(TG_SOURCES_ALL, &files) != TG_OK ||
        tg_sources_get(sources, TG_SOURCE_FILE, tg_str_c(path), false, &item) != TG_OK)
        return -1;
    tg_sources_seal(sources);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tg_watch_files_free(&files);
    tg_sources_unref(&sources);
    support_remove(folder);
    return tg_mem_used(TG_MEM_CONFIG) == 0 && tg_mem_used(TG_MEM_OTHER) == 0 ? 0 : -1;
}

/* Whether it is told, once every pause that may be on is over. */
static bool is_told(void)
{
    uint64_t now = tg_clock_mono_now() + 10 * TG_USEC_PER_SEC;
    return tg_watch_files_changed(files, now) ||
           tg_watch_files_changed(files, now + 10 * TG_USEC_PER_SEC);
}

static void test_a_file_that_is_as_it_was_is_no_change(void **state)
{
    (void)state;
    tg_watch_files_set(files, sources, false);
    assert_false(is_told());
    write_file("one");
    assert_false(is_told());
}

static void test_a_change_since_it_was_read_is_told_once(void **state)
{
    (void)state;
    write_file("two");
    tg_watch_files_set(files, sources, false);
    assert_true(is_told());
    assert_false(is_told());
}

static void test_a_change_waits_for_the_end_of_the_pause(void **state)
{
    (void)state;
    tg_watch_files_set(files, sources, false);
    assert_false(is_told());
    write_file("two");
    uint64_t now = tg_clock_mono_now();
    assert_false(tg_watch_files_changed(files, now));
    assert_true(tg_watch_files_changed(files, tg_watch_files_due(files)));
}

static void test_what_was_restored_is_left_alone_until_the_files_change(void **state)
{
    (void)state;
    write_file("two");
    tg_watch_files_set(files, sources, true);
    assert_false(is_told());
    write_file("one"); /* what is in force, but the file has changed */
    assert_true(is_told());
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_file_that_is_as_it_was_is_no_change),
        TEST(test_a_change_since_it_was_read_is_told_once),
        TEST(test_a_change_waits_for_the_end_of_the_pause),
        TEST(test_what_was_restored_is_left_alone_until_the_files_change),
    };

    return cmocka_run_group_tests_name("watch", tests, NULL, NULL);
}
