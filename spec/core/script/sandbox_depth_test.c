/*
 * Recursion through every function that calls the plugin back, on the C stack of an ordinary
 * thread: the plugin gets an error or is killed, and the process lives.
 */
#include "script/support.h"

/* Runs `body` as access(); `m` and `f` are there to refer to themselves. */
static void check_deep(const char *body, const char *text)
{
    struct bench b;
    char source[1024];
    bench_init(&b);
    b.limits.plugin_memory = 64 << 20;
    snprintf(source, sizeof(source),
             "local m, f\nreturn { access = function() do %s end end, log = function() end }",
             body);
    bench_start(&b, source);
    enum tg_run_outcome outcome = bench_run(&b, "access");
    if (text == NULL ? outcome != TG_RUN_DONE : strstr(b.text, text) == NULL)
        fail_msg("outcome %d, \"%s\": %s", outcome, b.text, body);
    assert_int_equal(bench_run(&b, "log"), TG_RUN_DONE);
    bench_close(&b);
}

static void test_recursion_in_metamethods(void **state)
{
    (void)state;
    check_deep("m = setmetatable({}, { __tostring = function() return 'x' .. tostring(m) end }) "
               "tostring(m)",
               "stack overflow");
    check_deep(
        "m = setmetatable({}, { __tostring = function() return ('%s'):format(m) .. 'x' end }) "
        "tostring(m)",
        "stack overflow");
    check_deep("m = setmetatable({}, { __tostring = function() print(m) return 'x' end }) print(m)",
               "stack overflow");
    check_deep("m = setmetatable({}, { __concat = function(a, b) return (a .. b) .. 1 end }) local "
               "x = m .. m",
               "stack overflow");
    check_deep(
        "m = setmetatable({}, { __index = function(t, k) return t[k] + 1 end }) local x = m.a",
        "stack overflow");
    check_deep(
        "m = setmetatable({}, { __index = function() return os.time(m) + 1 end }) os.time(m)",
        "stack overflow");
    check_deep(
        "m = setmetatable({}, { __lt = function() table.sort({ m, m, m }) return false end }) "
        "table.sort({ m, m, m })",
        "stack overflow");
}

static void test_recursion_in_callbacks(void **state)
{
    (void)state;
    check_deep("f = function() table.sort({ 3, 2, 1 }, f) return false end f()", "stack overflow");
    check_deep("f = function() return (('x'):gsub('x', f)) end f()", "stack overflow");
    check_deep("f = function() for k in ('x'):gmatch('x') do f() end end f()", "stack overflow");
    check_deep("f = function() f() end f()", "stack overflow");
    check_deep("f = function() return pcall(f) end f()", NULL);
    check_deep("f = function() xpcall(f, f) end f()", NULL);
    check_deep("f = function() coroutine.wrap(f)() end f()", "killed (depth)");
}

/* Each level fills its own Lua stack by a function of C that calls Lua, and goes on in another. */
static void test_recursion_in_coroutines_and_c(void **state)
{
    (void)state;
    check_deep("f = function() local n = 0 local m m = setmetatable({}, { __index = function() "
               "n = n + 1 if n < 3000 then return os.time(m) end return coroutine.wrap(f)() end }) "
               "return os.time(m) end f()",
               "killed (depth)");
    check_deep("f = function() local n = 0 local m m = setmetatable({}, { __tostring = function() "
               "n = n + 1 if n < 3000 then return ('%s'):format(m) end return coroutine.wrap(f)() "
               "end }) return tostring(m) end f()",
               "killed (depth)");
    check_deep(
        "f = function() local n, g = 0 g = function() n = n + 1 if n < 2000 then "
        "table.sort({ 3, 2, 1 }, g) else coroutine.wrap(f)() end return false end g() end f()",
        "killed (depth)");
}

static void test_deep_data(void **state)
{
    (void)state;
    check_deep("m = {} for i = 1, 100000 do m = { m } end", NULL);
    check_deep(
        "m = {} for i = 1, 100000 do m = setmetatable({}, { __index = m }) end local x = m.y",
        "loop in gettable");
    check_deep("local s = ('('):rep(100000) return s:find(s)", "too many captures");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recursion_in_metamethods),
        cmocka_unit_test(test_recursion_in_callbacks),
        cmocka_unit_test(test_recursion_in_coroutines_and_c),
        cmocka_unit_test(test_deep_data),
    };

    return cmocka_run_group_tests_name("script depth", tests, NULL, NULL);
}
