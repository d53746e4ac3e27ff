/*
 * What an evaluation read: noted once, the same afterwards whatever becomes of the world, told from
 * other sources, hidden where it is secret, and sent to another process.
 */
#include "config/revisions.h"
#include "config/sources.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/tidegate-sources-XXXXXX";
static struct tg_sources *sources;

static const char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(path_of(name), "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static const struct tg_source_item *get(struct tg_sources *of, enum tg_source_kind kind,
                                        const char *name, bool secret)
{
    const struct tg_source_item *item = NULL;
    assert_int_equal(TG_OK, tg_sources_get(of, kind, tg_str_c(name), secret, &item));
    return item;
}

static void assert_text(const char *expected, const struct tg_source_item *item)
{
    assert_false(item->absent);
    assert_int_equal(strlen(expected), item->text.n);
    assert_memory_equal(expected, item->text.p, item->text.n);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL;
}

static int begin(void **state)
{
    (void)state;
    sources = tg_sources_new();
    return sources == NULL;
}

static int end(void **state)
{
    (void)state;
    tg_sources_unref(&sources);
    return tg_mem_used(TG_MEM_CONFIG) != 0;
}

static void what_was_read_stays(void **state)
{
    (void)state;
    write_file("a", "one");
    assert_text("one", get(sources, TG_SOURCE_FILE, path_of("a"), false));
    assert_false(tg_sources_are_stale(sources, TG_SOURCES_ALL));
    write_file("a", "two");
    assert_text("one", get(sources, TG_SOURCE_FILE, path_of("a"), false));
    assert_true(tg_sources_are_stale(sources, TG_SOURCES_ALL));
}

static void what_was_not_there_stays_away(void **state)
{
    (void)state;
    unlink(path_of("late"));
    const struct tg_source_item *item = get(sources, TG_SOURCE_FILE, path_of("late"), false);
    assert_true(item->absent);
    assert_string_equal("No such file or directory", item->text.p);
    write_file("late", "x");
    assert_true(get(sources, TG_SOURCE_FILE, path_of("late"), false)->absent);
    assert_true(tg_sources_are_stale(sources, TG_SOURCES_ALL));
}

#define PEM "-----BEGIN CERTIFICATE-----"

static void certificates_are_renewed_alone(void **state)
{
    struct tg_sources *renewed, *again;
    (void)state;
    write_file("a.pem", PEM "old");
    write_file("config.lua", PEM "in a script");
    write_file("text", "old text");
    get(sources, TG_SOURCE_FILE, path_of("config.lua"), false);
    get(sources, TG_SOURCE_FILE, path_of("a.pem"), true);
    get(sources, TG_SOURCE_FILE, path_of("text"), false);
    assert_false(tg_sources_are_stale(sources, TG_SOURCES_PEM));
    write_file("config.lua", "new");
    write_file("text", PEM "new");
    assert_false(tg_sources_are_stale(sources, TG_SOURCES_PEM));
    write_file("a.pem", "rubbish");
    assert_true(tg_sources_are_stale(sources, TG_SOURCES_PEM));
    assert_int_equal(tg_sources_renew(sources, TG_SOURCES_PEM, &renewed), TG_OK);
    assert_true(tg_sources_are_sealed(renewed));
    assert_text("rubbish", get(renewed, TG_SOURCE_FILE, path_of("a.pem"), false));
    assert_true(get(renewed, TG_SOURCE_FILE, path_of("a.pem"), false)->secret);
    assert_text(PEM "in a script", get(renewed, TG_SOURCE_FILE, path_of("config.lua"), false));
    assert_text("old text", get(renewed, TG_SOURCE_FILE, path_of("text"), false));
    assert_false(tg_sources_are_stale(renewed, TG_SOURCES_PEM));
    unlink(path_of("a.pem")); /* what was a certificate is waited for */
    assert_true(tg_sources_are_stale(renewed, TG_SOURCES_PEM));
    assert_int_equal(tg_sources_renew(renewed, TG_SOURCES_PEM, &again), TG_OK);
    assert_true(get(again, TG_SOURCE_FILE, path_of("a.pem"), false)->absent);
    write_file("a.pem", PEM "new");
    assert_true(tg_sources_are_stale(again, TG_SOURCES_PEM));
    unlink(path_of("config.lua"));
    tg_sources_unref(&renewed);
    tg_sources_unref(&again);
}

static void sealed_ones_read_nothing(void **state)
{
    (void)state;
    write_file("a", "one");
    assert_text("one", get(sources, TG_SOURCE_FILE, path_of("a"), false));
    tg_sources_seal(sources);
    write_file("b", "never read");
    assert_true(get(sources, TG_SOURCE_FILE, path_of("b"), false)->absent);
    assert_text("one", get(sources, TG_SOURCE_FILE, path_of("a"), false));
}

static void environment_and_lists_are_noted(void **state)
{
    (void)state;
    setenv("SOURCES_TEST", "value", 1);
    write_file("x.lua", "");
    assert_text("value", get(sources, TG_SOURCE_ENV, "SOURCES_TEST", false));
    assert_true(get(sources, TG_SOURCE_ENV, "SOURCES_TEST_NONE", false)->absent);
    const struct tg_source_item *list = get(sources, TG_SOURCE_GLOB, path_of("*.lua"), false);
    assert_string_equal(path_of("x.lua"), list->text.p);
    assert_int_equal(strlen(list->text.p) + 1, list->text.n);
    assert_false(tg_sources_are_stale(sources, TG_SOURCES_ALL));
    unsetenv("SOURCES_TEST");
    assert_true(tg_sources_are_stale(sources, TG_SOURCES_ALL));
}

static void only_regular_files_are_read(void **state)
{
    (void)state;
    assert_int_equal(0, mkfifo(path_of("pipe"), 0600));
    assert_string_equal("not a regular file",
                        get(sources, TG_SOURCE_FILE, path_of("pipe"), false)->text.p);
    assert_string_equal("not a regular file", get(sources, TG_SOURCE_FILE, folder, false)->text.p);
}

/* What the system makes up when it is read tells no size beforehand. */
static void files_of_no_size_are_read_to_their_end(void **state)
{
    (void)state;
    assert_text("Linux\n", get(sources, TG_SOURCE_FILE, "/proc/sys/kernel/ostype", false));
}

static void files_have_a_largest_size(void **state)
{
    size_t most = (size_t)16 << 20;
    char path[256];

    (void)state;
    write_file("large", "");
    snprintf(path, sizeof(path), "%s", path_of("large"));
    assert_int_equal(0, truncate(path, (off_t)most));
    assert_int_equal(most, get(sources, TG_SOURCE_FILE, path, false)->text.n);
    tg_sources_unref(&sources);
    sources = tg_sources_new();
    assert_non_null(sources);
    assert_int_equal(0, truncate(path, (off_t)most + 1));
    assert_string_equal("larger than 16 MiB", get(sources, TG_SOURCE_FILE, path, false)->text.p);
    unlink(path);
}

static void a_list_that_cannot_be_made_is_not_empty(void **state)
{
    const struct tg_source_item *list = NULL;
    struct tg_str pattern = tg_str_c(path_of("*"));
    struct rlimit limit, none;

    (void)state;
    assert_int_equal(0, getrlimit(RLIMIT_NOFILE, &limit));
    none = limit;
    none.rlim_cur = 0;
    assert_int_equal(0, setrlimit(RLIMIT_NOFILE, &none));
    enum tg_err err = tg_sources_get(sources, TG_SOURCE_GLOB, pattern, false, &list);
    assert_int_equal(0, setrlimit(RLIMIT_NOFILE, &limit));
    assert_int_equal(TG_OK, err);
    assert_true(list->absent);
    assert_string_equal("Too many open files", list->text.p);
    assert_false(get(sources, TG_SOURCE_GLOB, path_of("absent/*"), false)->absent);
}

/* Sources of their own that read the file "s" with that text. */
static struct tg_sources *reading(const char *text, bool secret)
{
    struct tg_sources *made = tg_sources_new();
    assert_non_null(made);
    write_file("s", text);
    get(made, TG_SOURCE_FILE, path_of("s"), secret);
    tg_sources_seal(made);
    return made;
}

static void check_digests(const char *one, const char *two, bool secret, bool same)
{
    char a[TG_SOURCES_DIGEST_LEN + 1];
    char b[TG_SOURCES_DIGEST_LEN + 1];
    struct tg_sources *first = reading(one, secret);
    struct tg_sources *second = reading(two, secret);
    tg_sources_digest(first, a);
    tg_sources_digest(second, b);
    assert_int_equal(same, strcmp(a, b) == 0);
    assert_int_equal(TG_SOURCES_DIGEST_LEN, strlen(a));
    assert_int_equal(strcmp(one, two) == 0, tg_sources_equal(first, second));
    tg_sources_unref(&first);
    tg_sources_unref(&second);
}

static void digests_leave_secrets_out(void **state)
{
    (void)state;
    check_digests("one", "one", false, true);
    check_digests("one", "two", false, false);
    check_digests("one", "two", true, true);
}

static void another_process_gets_the_same(void **state)
{
    struct tg_sources *copy = NULL;
    int fd = -1;

    (void)state;
    write_file("a", "one");
    get(sources, TG_SOURCE_FILE, path_of("a"), true);
    get(sources, TG_SOURCE_FILE, path_of("none"), false);
    get(sources, TG_SOURCE_ENV, "HOME", false);
    assert_int_equal(TG_OK, tg_sources_send(sources, &fd));
    assert_int_equal(TG_OK, tg_sources_receive(fd, &copy));
    assert_true(tg_sources_are_sealed(copy));
    assert_true(tg_sources_equal(sources, copy));
    assert_true(tg_sources_first(copy)->secret);
    tg_sources_unref(&copy);
    assert_int_equal(0, ftruncate(fd, lseek(fd, 0, SEEK_END) - 1));
    assert_int_equal(TG_E_PROTOCOL, tg_sources_receive(fd, &copy));
    assert_null(copy);
    close(fd);
}

static void revisions_are_bounded_and_found(void **state)
{
    struct tg_revisions revisions;
    size_t before = tg_mem_used(TG_MEM_CONFIG);
    struct tg_sources *made = reading("x", false);

    (void)state;
    tg_revisions_init(&revisions);
    assert_null(tg_revisions_newest(&revisions));
    assert_null(tg_revisions_previous(&revisions));
    for (uint32_t i = 1; i <= TG_REVISIONS_MAX + 2; i++)
        tg_revisions_add(&revisions, i, 0, made);
    assert_int_equal(TG_REVISIONS_MAX, revisions.count);
    assert_null(tg_revisions_find(&revisions, 2));
    assert_int_equal(3, tg_revisions_find(&revisions, 3)->number);
    assert_int_equal(TG_REVISIONS_MAX + 2, tg_revisions_newest(&revisions)->number);
    assert_int_equal(TG_REVISIONS_MAX + 1, tg_revisions_previous(&revisions)->number);
    tg_sources_unref(&made);
    tg_revisions_forget_sources(&revisions);
    assert_int_equal(before, tg_mem_used(TG_MEM_CONFIG));
    assert_int_equal(TG_REVISIONS_MAX, revisions.count);
    const struct tg_revision *newest = tg_revisions_newest(&revisions);
    assert_int_equal(TG_SOURCES_DIGEST_LEN, strlen(newest->digest));
    made = reading("y", false);
    tg_revisions_add(&revisions, newest->number + 1, 0, made);
    tg_sources_unref(&made);
    tg_revisions_release(&revisions);
}

/* Five of 15 MiB are more than 64 MiB; one and the same five times is not. */
static void large_revisions_go_early(void **state)
{
    struct tg_revisions revisions;
    size_t n = (size_t)15 << 20;
    char *text = tg_mem_alloc(TG_MEM_OTHER, n + 1);

    (void)state;
    assert_non_null(text);
    memset(text, 'x', n);
    text[n] = '\0';
    tg_revisions_init(&revisions);
    struct tg_sources *shared = reading(text, false);
    for (uint32_t i = 1; i <= 5; i++)
        tg_revisions_add(&revisions, i, 0, shared);
    assert_int_equal(5, revisions.count);
    tg_sources_unref(&shared);
    for (uint32_t i = 6; i <= 9; i++) {
        struct tg_sources *made = reading(text, false);
        tg_revisions_add(&revisions, i, 0, made);
        tg_sources_unref(&made);
    }
    assert_int_equal(4, revisions.count);
    tg_revisions_release(&revisions);
    tg_mem_free(TG_MEM_OTHER, text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_read_stays, begin, end),
        cmocka_unit_test_setup_teardown(what_was_not_there_stays_away, begin, end),
        cmocka_unit_test_setup_teardown(certificates_are_renewed_alone, begin, end),
        cmocka_unit_test_setup_teardown(sealed_ones_read_nothing, begin, end),
        cmocka_unit_test_setup_teardown(environment_and_lists_are_noted, begin, end),
        cmocka_unit_test_setup_teardown(only_regular_files_are_read, begin, end),
        cmocka_unit_test_setup_teardown(files_of_no_size_are_read_to_their_end, begin, end),
        cmocka_unit_test_setup_teardown(files_have_a_largest_size, begin, end),
        cmocka_unit_test_setup_teardown(a_list_that_cannot_be_made_is_not_empty, begin, end),
        cmocka_unit_test_setup_teardown(digests_leave_secrets_out, begin, end),
        cmocka_unit_test_setup_teardown(another_process_gets_the_same, begin, end),
        cmocka_unit_test_setup_teardown(revisions_are_bounded_and_found, begin, end),
        cmocka_unit_test_setup_teardown(large_revisions_go_early, begin, end),
    };

    return cmocka_run_group_tests_name("config sources", tests, make_folder, NULL);
}
