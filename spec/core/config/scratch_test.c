/*
 * The bounds of the scratch VM: time, memory, patterns, files. They are small here, so that passing
 * one takes no time.
 */
#include "config/scratch.h"

#include "fixture.h"

/* Evaluates gateway.lua within so many MiB and milliseconds; what it said stands in text. */
static enum tg_err load_within(size_t mib, uint64_t ms)
{
    const struct tg_scratch_bounds bounds = {mib << 20, ms * TG_USEC_PER_MSEC};
    struct tg_scratch *scratch;
    FILE *out = open_text();

    assert_int_equal(TG_OK, tg_scratch_new(&bounds, &scratch));
    enum tg_err err = tg_scratch_load(scratch, path, out);
    tg_scratch_free(&scratch);
    fclose(out);
    return err;
}

static void an_endless_loop_ends(void **state)
{
    (void)state;
    write_file("gateway.lua", "while true do pcall(function() while true do end end) end\n");
    assert_int_equal(TG_E_TIMEOUT, load_within(64, 500));

    assert_non_null(strstr(text, "gateway.lua:1: the configuration takes longer than 0.5 s"));
}

static void memory_is_bounded(void **state)
{
    (void)state;
    write_file("gateway.lua", "local t = {}\nfor i = 1, 1e9 do t[i] = 'x' .. i end\n");
    assert_int_equal(TG_E_LIMIT, load_within(8, 5000));
    assert_non_null(strstr(text, "needs more than 8 MiB"));

    write_file("gateway.lua", "local s = ('x'):rep(2 ^ 30)\n");
    assert_int_equal(TG_E_LIMIT, load_within(8, 5000));
}

static void garbage_does_not_count(void **state)
{
    (void)state;
    write_file("gateway.lua",
               "local keep = {}\nfor i = 1, 32 do keep[i] = ('x'):rep(2 ^ 17) .. i end\n"
               "for i = 1, 200 do local s = ('y'):rep(2 ^ 17) .. i end\n" HEAD);
    assert_int_equal(TG_OK, load_within(12, 5000));
}

static void endless_patterns_end(void **state)
{
    (void)state;
    write_file("gateway.lua", "local at = ('a'):rep(2000):find(('.-'):rep(8) .. 'b')\n");
    assert_int_equal(TG_E_CONFIG, load_within(64, 5000));
    assert_non_null(strstr(text, "gateway.lua:1: "));
}

static void only_regular_files_are_read(void **state)
{
    char fifo[256];

    (void)state;
    snprintf(fifo, sizeof(fifo), "%s/fifo", folder);
    assert_int_equal(0, mkfifo(fifo, 0600));
    write_file("gateway.lua", HEAD "local x = tg.file 'fifo'\n");
    assert_int_equal(TG_E_CONFIG, load_within(64, 5000));
    assert_non_null(strstr(text, "not a regular file"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_endless_loop_ends), TEST(memory_is_bounded),           TEST(garbage_does_not_count),
        TEST(endless_patterns_end), TEST(only_regular_files_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
