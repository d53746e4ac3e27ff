/*
 * Kills by memory, churn, depth and quota, that none of them is caught, and that the VM serves on.
 * Those by time are in core/event's watchdog_test.c, where the watchdog is.
 */
#include "script/support.h"

/* Runs `body` as access() under small bounds: killed for `reason`, and the next call works. */
static void check_killed(const char *body, enum tg_kill reason)
{
    struct bench b;
    char source[2048];
    bench_init(&b);
    b.limits.plugin_memory = 256 * 1024;
    b.limits.plugin_churn = 8 << 20;
    snprintf(
        source, sizeof(source),
        "local host = require 'host'\nlocal kept = {}\nreturn { access = function()\ndo %s end\n"
        "host.note('survived') end, log = function() return #('x'):rep(1000) end }",
        body);
    bench_start(&b, source);
    for (int round = 0; round < 2; round++) {
        enum tg_run_outcome outcome = bench_run(&b, "access");
        if (outcome != TG_RUN_KILLED || b.run.kill != reason)
            fail_msg("outcome %d, %s, \"%s\": %s", outcome, tg_kill_label(b.run.kill), b.text,
                     body);
        assert_string_equal(b.notes, "");
        if (strncmp(b.text, "plugins/t/init.lua:", 19) != 0 &&
            strncmp(b.text, "lua/tidegate", 12) != 0)
            fail_msg("no place in \"%s\"", b.text);
        assert_int_equal(bench_run(&b, "log"), TG_RUN_DONE);
    }
    assert_int_equal(tg_vm_kills(b.vm, reason), 2);
    bench_close(&b);
}

static const char *const bombs[] = {
    "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end",
    "return ('x'):rep(1e9)",
    "local s = 'x' while true do s = s .. s end",
    "local t = {} while true do t = { t } end",
    "local t = {} for i = 1, 1e9 do t[i] = i end",
    "local t = {} for i = 1, 1e9 do t['k' .. i] = i end",
    "local t = {} for i = 1, 1e9 do t[i] = function() return t end end",
    "local t = {} for i = 1, 1e6 do t[i] = ('x'):rep(100) end return table.concat(t)",
    "return ('%99s'):rep(1e5):format(('y'):rep(1e6))",
    "return ('x'):rep(2e5):gsub('x', 'yyyyyyyyyy')",
    "tostring(setmetatable({}, { __tostring = print }))",
};

static void test_memory_bombs(void **state)
{
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(bombs); i++)
        check_killed(bombs[i], TG_KILL_MEMORY);
}

static void test_memory_bombs_in_every_wrapping(void **state)
{
    static const char *const wrappings[] = {
        "while true do pcall(function() %s end) end",
        "for i = 1, 50 do pcall(pcall, pcall, function() %s end) end",
        "for i = 1, 50 do xpcall(function() %s end, function() return ('x'):rep(1e9) end) end",
        "for i = 1, 50 do coroutine.resume(coroutine.create(function() %s end)) end",
        "for i = 1, 50 do pcall(coroutine.wrap(function() pcall(function() %s end) end)) end",
        "pcall(table.sort, { 3, 2, 1 }, function() pcall(function() %s end) return false end)",
        "local t = setmetatable({}, { __index = function() %s end }) for i = 1, 50 do "
        "pcall(function() return t.x end) end",
        "pcall(tostring, setmetatable({}, { __tostring = function() %s end }))",
        "pcall(function() error(setmetatable({}, { __tostring = function() end })) end) "
        "pcall(function() %s end)",
        "pcall(function() for v in function() %s end do end end)",
        "pcall(string.gsub, 'abc', '.', function() pcall(function() %s end) end)",
    };
    char body[512];
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(wrappings); i++)
        for (size_t j = 0; j < 4; j++) {
            snprintf(body, sizeof(body), wrappings[i], bombs[j]);
            check_killed(body, TG_KILL_MEMORY);
        }
}

static void test_garbage_alone_kills_nobody(void **state)
{
    struct bench b;
    (void)state;
    bench_init(&b);
    b.limits.plugin_memory = 256 * 1024;
    bench_start(&b, "local base = {} for i = 1, 50000 do base[i] = { i } end\n"
                    "return { access = function() for i = 1, 800 + #base * 0 do local s = "
                    "('x'):rep(1000) .. i end end }");
    assert_int_equal(bench_run(&b, "access"), TG_RUN_DONE);
    assert_true(b.account.collections >= 1);
    assert_true(b.account.churn > 2 * 256 * 1024);
    bench_close(&b);
}

/* Where C calls the plugin the hook waits before it tries to yield again; garbage does not wait. */
static void test_garbage_is_collected_where_nothing_can_yield(void **state)
{
    struct bench b;
    (void)state;
    bench_init(&b);
    b.limits.plugin_cpu = 60 * TG_USEC_PER_SEC;
    b.limits.plugin_memory = 256 * 1024;
    bench_start(&b, "local base = {} for i = 1, 50000 do base[i] = { i } end\n"
                    "return { access = function()\n"
                    "  local t, n = {}, 8000 + #base * 0 for i = 1, 30 do t[i] = -i end\n"
                    "  table.sort(t, function(a, b)\n"
                    "    n = n + 1 local s = ('x'):rep(n) return a < b end) end }");
    bench_hurry(&b);
    assert_int_equal(bench_run(&b, "access"), TG_RUN_DONE);
    assert_true(b.account.collections > 0);
    assert_true(b.account.churn > 2 * 256 * 1024);
    bench_close(&b);
}

static void test_forced_collections_are_rationed(void **state)
{
    struct bench b;
    (void)state;
    bench_init(&b);
    b.limits.plugin_memory = 64 * 1024;
    bench_start(&b, "local base = {} for i = 1, 50000 do base[i] = { i } end\n"
                    "return { access = function() for i = 1, 1e5 + #base do local s = "
                    "('x'):rep(100) .. i end end }");
    assert_int_equal(bench_run(&b, "access"), TG_RUN_KILLED);
    assert_int_equal(b.run.kill, TG_KILL_MEMORY);
    assert_int_equal(b.account.collections, 4);
    bench_close(&b);
}

static void test_churn(void **state)
{
    (void)state;
    check_killed("for i = 1, 1e9 do local t = { i } end", TG_KILL_CHURN);
    check_killed("for i = 1, 1e9 do pcall(function() local t = { i } end) end", TG_KILL_CHURN);
}

static void test_churn_depends_on_the_code_alone(void **state)
{
    uint64_t churn[3];
    struct bench b;
    (void)state;
    bench_open(
        &b, "return { access = function() local t = {} for i = 1, 100 do t[i] = { i } end end }");
    assert_int_equal(bench_run(&b, "access"), TG_RUN_DONE);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(bench_run(&b, "access"), TG_RUN_DONE);
        churn[i] = b.account.churn;
        lua_gc(tg_vm_state(b.vm), LUA_GCCOLLECT, 0);
    }
    assert_int_equal(churn[0], churn[1]);
    assert_int_equal(churn[1], churn[2]);
    bench_close(&b);
}

static void test_patterns(void **state)
{
    (void)state;
    check_killed("return ('x'):rep(200):find('.-.-.-.-y')", TG_KILL_PATTERN);
    check_killed(
        "pcall(function() while true do pcall(string.find, ('x'):rep(200), '.-.-.-.-y') end end)",
        TG_KILL_PATTERN);
    check_killed("return ('x'):rep(20000):gsub('(y-)x', ('%1'):rep(20000))", TG_KILL_PATTERN);
    check_killed("return ('x'):rep(20000):gsub('()', ('%0'):rep(20000))", TG_KILL_PATTERN);
    check_killed("local function f() return ('x'):gsub('x', f) end f()", TG_KILL_MEMORY);
}

static void test_recursive_coroutines(void **state)
{
    (void)state;
    check_killed("local function f() return coroutine.wrap(f)() end f()", TG_KILL_DEPTH);
    check_killed("local function f() return pcall(coroutine.wrap(f)) end f()", TG_KILL_DEPTH);
    check_killed("local function f() coroutine.resume(coroutine.create(f)) end f()", TG_KILL_DEPTH);
    check_true(
        "local n = 0 local function f() n = n + 1 if n < 64 then coroutine.wrap(f)() end end "
        "coroutine.wrap(f)() return n == 64");
}

static void test_hoarded_coroutines(void **state)
{
    (void)state;
    check_killed("local t = {} for i = 1, 300 do t[i] = coroutine.create(print) end",
                 TG_KILL_QUOTA);
    check_killed(
        "local t = {} for i = 1, 300 do pcall(function() t[i] = coroutine.wrap(print) end) end",
        TG_KILL_QUOTA);
    check_true("local t = {} for i = 1, 256 do t[i] = coroutine.create(print) end return true");
}

static void test_kills_by_the_host(void **state)
{
    (void)state;
    check_killed("host.kill('pattern')", TG_KILL_PATTERN);
    check_killed("pcall(host.kill, 'quota')", TG_KILL_QUOTA);
    check_killed("table.sort({ 2, 1 }, function() pcall(host.kill, 'wall') end)", TG_KILL_WALL);
}

static void test_wall_time_ends_a_suspended_activation(void **state)
{
    struct bench b;
    (void)state;
    bench_open(&b, "local host = require 'host'\nreturn { access = function()\n"
                   "pcall(host.wait) host.note('no') end }");
    assert_int_equal(bench_begin(&b, "access"), TG_RUN_WAIT);
    tg_run_kill(&b.run, TG_KILL_WALL);
    assert_int_equal(b.run.outcome, TG_RUN_KILLED);
    bench_end(&b);
    assert_string_equal(b.text,
                        "plugins/t/init.lua:3: killed (wall): took longer for one phase than "
                        "limits.plugin.wall allows");
    assert_int_equal(tg_vm_kills(b.vm, TG_KILL_WALL), 1);
    assert_string_equal(b.notes, "");
    bench_close(&b);
}

static void test_three_kills_in_ten_seconds_want_a_rebuild(void **state)
{
    struct bench b;
    (void)state;
    bench_open(&b,
               "local host = require 'host'\nreturn { access = function() host.kill('cpu') end }");
    for (int i = 0; i < 3; i++) {
        assert_false(tg_vm_wants_rebuild(b.vm));
        assert_int_equal(bench_run(&b, "access"), TG_RUN_KILLED);
        tg_clock_advance(&b.clock, 6 * TG_USEC_PER_SEC);
    }
    assert_false(tg_vm_wants_rebuild(b.vm));
    assert_int_equal(bench_run(&b, "access"), TG_RUN_KILLED);
    assert_int_equal(bench_run(&b, "access"), TG_RUN_KILLED);
    assert_true(tg_vm_wants_rebuild(b.vm));
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_bombs),
        cmocka_unit_test(test_memory_bombs_in_every_wrapping),
        cmocka_unit_test(test_garbage_alone_kills_nobody),
        cmocka_unit_test(test_garbage_is_collected_where_nothing_can_yield),
        cmocka_unit_test(test_forced_collections_are_rationed),
        cmocka_unit_test(test_churn),
        cmocka_unit_test(test_churn_depends_on_the_code_alone),
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_recursive_coroutines),
        cmocka_unit_test(test_hoarded_coroutines),
        cmocka_unit_test(test_kills_by_the_host),
        cmocka_unit_test(test_wall_time_ends_a_suspended_activation),
        cmocka_unit_test(test_three_kills_in_ten_seconds_want_a_rebuild),
    };

    return cmocka_run_group_tests_name("script kill", tests, NULL, NULL);
}
