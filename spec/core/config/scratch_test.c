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

static void what_caught_a_refusal_is_not_loaded(void **state)
{
    (void)state;
    write_file("gateway.lua", "local ok = pcall(string.rep, 'x', 2 ^ 24)\n" HEAD
                              "if ok then tg.route 'r' { service = 'echo' } end\n");
    assert_int_equal(TG_E_LIMIT, load_within(8, 5000));
    assert_non_null(strstr(text, "gateway.lua:1: the configuration needs more than 8 MiB"));
}

/* What settings.memory leaves is less than a load needs: it fails, and does not do without what
 * the script could do without. */
static void what_a_full_budget_refuses_is_not_left_out(void **state)
{
    enum tg_err err = TG_E_NOMEM;
    unsigned refused = 0;

    (void)state;
    write_file("more.lua", "return #('x'):rep(2 ^ 22)\n");
    write_file("gateway.lua", HEAD "if pcall(require, 'more') then\n"
                                   "tg.route 'r' { service = 'echo' } end\n");
    for (size_t kib = 512; err != TG_OK && kib < 65536; kib += kib / 16) {
        tg_mem_set_cap(TG_MEM_CONFIG, kib << 10);
        err = load();
        tg_mem_set_cap(TG_MEM_CONFIG, SIZE_MAX);
        refused += err == TG_E_NOMEM;
        if (err != TG_OK && err != TG_E_NOMEM)
            fail_msg("%zu KiB: %s: %s", kib, tg_err_text(err), text);
    }
    assert_int_equal(TG_OK, err);
    assert_true(refused > 0);
    assert_int_equal(1, snapshot->route_count);
}

static void what_it_prints_is_bounded(void **state)
{
    (void)state;
    write_file("gateway.lua", HEAD "for i = 1, 40000 do print(('x'):rep(99)) end\n");
    assert_int_equal(TG_OK, load_within(64, 5000));
    assert_true(text_size > 1000000);
    assert_true(text_size < 1100000);
    assert_non_null(
        strstr(text, "(the configuration prints more than 1 MiB: the rest is left out)"));
}

static void a_folder_that_cannot_be_listed_is_not_empty(void **state)
{
    char link[256];

    (void)state;
    snprintf(link, sizeof(link), "%s/loop", folder);
    assert_int_equal(0, symlink("loop", link));
    write_file("gateway.lua", HEAD "tg.include 'loop/*.lua'\n");
    assert_int_equal(TG_E_CONFIG, load_within(64, 5000));
    assert_non_null(strstr(text, "gateway.lua:4:"));
    assert_non_null(strstr(text, "cannot list "));
    assert_non_null(strstr(text, "loop/*.lua: Too many levels of symbolic links"));
    write_file("gateway.lua", HEAD "tg.include 'absent/*.lua'\n");
    assert_int_equal(TG_OK, load_within(64, 5000));
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
        TEST(an_endless_loop_ends),
        TEST(memory_is_bounded),
        TEST(what_caught_a_refusal_is_not_loaded),
        TEST(what_a_full_budget_refuses_is_not_left_out),
        TEST(garbage_does_not_count),
        TEST(endless_patterns_end),
        TEST(what_it_prints_is_bounded),
        TEST(only_regular_files_are_read),
        TEST(a_folder_that_cannot_be_listed_is_not_empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
