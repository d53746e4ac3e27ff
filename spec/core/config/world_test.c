/*
 * Files that change while a configuration is read: each is what it was, or what it has become, or
 * refused by name; never half of each. Whatever is done to a file here is done after the first
 * bytes of it were read, which is why this program has a read() of its own.
 */
#include "config/world.h"

#include "fixture.h"

#include <sys/syscall.h>

/* Every file begins and ends with this: with one half of each it would still be good. */
#define MARK "-- old\n"

static const char *victim; /* below `folder`; NULL: nothing is done any more */
static void (*work)(const char *full);

/* The file that is open as `fd`, below `folder`; NULL: another. */
static const char *name_of(int fd, char room[static 256])
{
    char link[32];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, room, 255);
    size_t above = strlen(folder);
    room[n > 0 ? n : 0] = '\0';
    return strncmp(room, folder, above) == 0 && room[above] == '/' ? room + above + 1 : NULL;
}

ssize_t read(int fd, void *p, size_t n)
{
    char room[256];
    const char *name = victim != NULL ? name_of(fd, room) : NULL;
    bool now = name != NULL && strcmp(name, victim) == 0;
    ssize_t got = syscall(SYS_read, fd, p, now ? sizeof(MARK) : n);
    if (now) {
        victim = NULL;
        work(room);
    }
    return got;
}

static const struct {
    const char *name, *content;
} files[] = {
    {"gateway.lua",
     HEAD "require 'part'\ntg.include 'conf.d/*.lua'\n"
          "tg.route 'r' { service = 'echo', tags = { tg.file 'text' },\n"
          "               plugins = { tg.use './one.lua' { wait = tg.file 'wait' } } }\n"},
    {"part.lua", "return {}\n"},
    {"conf.d/a.lua", ""},
    {"conf.d/b.lua", ""},
    {"one.lua", "local util = require 'util'\n" PLUGIN("one", "guard", "access")},
    {"util.lua", "return {}\n"},
    {"text", ""},
};

static void write_all(void)
{
    char content[2048], below[128];
    snprintf(below, sizeof(below), "%s/conf.d", folder);
    assert_true(mkdir(below, 0700) == 0 || errno == EEXIST);
    for (size_t i = 0; i < TG_COUNT_OF(files); i++) {
        int n = snprintf(content, sizeof(content), MARK "%s" MARK, files[i].content);
        assert_in_range(n, 1, sizeof(content) - 1);
        write_file(files[i].name, content);
    }
    write_file("wait", "1s");
}

/* Loads while `change` is done to the file `name`. */
static enum tg_err load_while(void (*change)(const char *full), const char *name)
{
    victim = name;
    work = change;
    enum tg_err err = load();
    assert_null(victim);
    return err;
}

/* The time of a change is not left to the clock, which may tick too seldom. */
static void close_later(int fd)
{
    struct stat info;
    assert_int_equal(fstat(fd, &info), 0);
    struct timespec times[] = {info.st_atim, info.st_mtim};
    times[1].tv_sec++;
    assert_int_equal(futimens(fd, times), 0);
    close(fd);
}

static void overwrite(const char *full)
{
    struct stat info;
    int fd = open(full, O_WRONLY);
    assert_int_equal(fstat(fd, &info), 0);
    assert_int_equal(pwrite(fd, "-- new", 6, 0), 6);
    assert_int_equal(pwrite(fd, "-- new", 6, info.st_size - (off_t)strlen(MARK)), 6);
    close_later(fd);
}

static void lengthen(const char *full)
{
    int fd = open(full, O_WRONLY | O_APPEND);
    assert_int_equal(write(fd, "-- new\n", 7), 7);
    close(fd);
}

static void shorten(const char *full)
{
    struct stat info;
    assert_int_equal(stat(full, &info), 0);
    assert_int_equal(truncate(full, info.st_size - (off_t)strlen(MARK)), 0);
}

static void replace(const char *full)
{
    char aside[128];
    snprintf(aside, sizeof(aside), "%s/aside", folder);
    write_file("aside", "this is no Lua\n");
    assert_int_equal(rename(aside, full), 0);
}

static void take_away(const char *full)
{
    assert_int_equal(unlink(full), 0);
}

static void take_b_away(const char *full)
{
    char other[128];
    (void)full;
    snprintf(other, sizeof(other), "%s/conf.d/b.lua", folder);
    take_away(other);
}

static void replace_b(const char *full)
{
    char other[128];
    (void)full;
    snprintf(other, sizeof(other), "%s/conf.d/b.lua", folder);
    replace(other);
}

static void expect_refused(void (*change)(const char *full), const char *name)
{
    char expected[256];
    write_all();
    if (load_while(change, name) != TG_E_CONFIG)
        fail_msg("%s is taken", name);
    assert_null(snapshot);
    snprintf(expected, sizeof(expected), "%s: it changed while it was read", name);
    if (strstr(text, expected) == NULL)
        fail_msg("of %s is told: %s", name, text);
}

static void one_that_is_written_to_is_refused_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(files); i++)
        expect_refused(overwrite, files[i].name);
    assert_int_equal(load(), TG_OK); /* once it is written */
}

static void so_is_one_that_becomes_longer_or_shorter(void **state)
{
    (void)state;
    expect_refused(lengthen, "part.lua");
    expect_refused(shorten, "part.lua");
}

/* Whoever has opened a file goes on with what it was. */
static void one_that_is_replaced_or_taken_away_is_what_it_was(void **state)
{
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(files); i++) {
        write_all();
        assert_int_equal(load_while(i % 2 == 0 ? replace : take_away, files[i].name), TG_OK);
        tg_snapshot_unref(&snapshot);
    }
}

static void one_that_goes_after_it_was_listed_is_missed(void **state)
{
    (void)state;
    write_all();
    assert_int_equal(load_while(take_b_away, "conf.d/a.lua"), TG_E_CONFIG);
    assert_non_null(strstr(text, "conf.d/b.lua: No such file or directory"));
}

static void one_that_is_replaced_after_it_was_listed_is_what_it_became(void **state)
{
    (void)state;
    write_all();
    assert_int_equal(load_while(replace_b, "conf.d/a.lua"), TG_E_CONFIG);
    assert_non_null(strstr(text, "conf.d/b.lua:1:"));
    assert_non_null(strstr(text, "this is no Lua"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_that_is_written_to_is_refused_by_name),
        TEST(so_is_one_that_becomes_longer_or_shorter),
        TEST(one_that_is_replaced_or_taken_away_is_what_it_was),
        TEST(one_that_goes_after_it_was_listed_is_missed),
        TEST(one_that_is_replaced_after_it_was_listed_is_what_it_became),
    };
    return cmocka_run_group_tests_name("config world", tests, NULL, NULL);
}
