/*
 * What gsub adds to LuaJIT's: replacements that suspend, no recursion in C, and memory that the
 * state's allocator bounds and gets back. Its results are in pattern_lua_test.c.
 */
#include "script/pattern_gsub.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "script/pattern_support.h"

/* ---- Suspending ------------------------------------------------------------------------------ */

static void test_replacements_may_yield(void **state)
{
    struct heap heap = {.limit = SIZE_MAX};
    lua_State *L = new_state(&heap, &no_hooks);

    (void)state;
    run(L, "local yield = coroutine.yield\n"
           "local function drive(f)\n"
           "  local co, asked = coroutine.create(f), {}\n"
           "  local ok, value = coroutine.resume(co)\n"
           "  while coroutine.status(co) == 'suspended' do\n"
           "    assert(ok, value) asked[#asked + 1] = value\n"
           "    collectgarbage()\n"
           "    ok, value = coroutine.resume(co, value:upper())\n"
           "  end\n"
           "  assert(ok, value)\n"
           "  return value, table.concat(asked)\n"
           "end\n"
           "local function check(value, asked)\n"
           "  assert(value == 'A-B-C' and asked == 'abc', value)\n"
           "end\n"
           "check(drive(function() return (S.gsub('a-b-c', '%w', yield)) end))\n"
           "local asking = setmetatable({}, { __index = function(_, k) return yield(k) end })\n"
           "check(drive(function() return (S.gsub('a-b-c', '%w', asking)) end))\n"
           "check(drive(function()\n"
           "  local out = {}\n"
           "  for c in S.gmatch('a-b-c', '%w') do out[#out + 1] = yield(c) end\n"
           "  return table.concat(out, '-')\n"
           "end))\n");
    close_state(L, &heap);
}

static void yield_now(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    lua_yield(L, 0);
}

/* Runs `L` up to its next instruction; true while it is not done. */
static bool resume(lua_State *L)
{
    int status = lua_resume(L, 0);

    if (status != 0 && status != LUA_YIELD)
        fail_msg("%s", lua_tostring(L, -1));
    return status == LUA_YIELD;
}

/* The VM preempts plugins between any two instructions, also inside gsub. */
static void test_calls_may_be_preempted_anywhere(void **state)
{
    struct heap heap = {.limit = SIZE_MAX};
    lua_State *L = new_state(&heap, &no_hooks), *a = lua_newthread(L), *b = lua_newthread(L);
    bool a_runs = true, b_runs = true;

    (void)state;
    run(L, "function work(n)\n"
           "  local function double(c) return c .. c end\n"
           "  for i = 1, 20 do\n"
           "    local s = ('x'):rep(i) .. n\n"
           "    assert(S.gsub(s, '%w', double) == ('x'):rep(2 * i) .. n .. n)\n"
           "    assert(S.gsub(s, '%d', setmetatable({}, { __index = same })) == s)\n"
           "  end\n"
           "end\n"
           "function same(_, k) return k end\n"
           "function a() work('1') end function b() work('2') end");
    lua_getglobal(a, "a");
    lua_getglobal(b, "b");
    lua_sethook(L, yield_now, LUA_MASKCOUNT, 1);
    for (int i = 0; a_runs || b_runs; i++) {
        a_runs = a_runs && resume(a);
        for (int k = 0; k <= i % 3 && b_runs; k++)
            b_runs = resume(b);
        if (i % 16 == 0)
            lua_gc(L, LUA_GCCOLLECT, 0);
    }
    lua_sethook(L, NULL, 0, 0);
    close_state(L, &heap);
}

/* LuaJIT's own dies by a C stack overflow here; ours ends in an ordinary error, or not at all. */
static void test_recursive_replacements_use_no_c_stack(void **state)
{
    struct heap heap = {.limit = SIZE_MAX};
    lua_State *L = new_state(&heap, &no_hooks);

    (void)state;
    run(L, "local depth = 0\n"
           "local function again() depth = depth + 1 return (S.gsub('a', 'a', again)) end\n"
           "local ok, message = pcall(again)\n"
           "assert(not ok and message:find('stack overflow'), message)\n"
           "assert(depth > 2000)\n");
    close_state(L, &heap);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static void test_a_result_that_is_too_large_is_refused(void **state)
{
    struct heap heap = {.limit = SIZE_MAX};
    lua_State *L = new_state(&heap, &no_hooks);

    (void)state;
    heap.limit = heap.used + (8 << 20);
    run(L, "local s, big = ('x'):rep(1000), ('y'):rep(100000)\n"
           "for _, repl in ipairs { big, { x = big }, function() return big end } do\n"
           "  local ok, message = pcall(S.gsub, s, 'x', repl)\n"
           "  assert(not ok and message == 'not enough memory', message)\n"
           "  collectgarbage()\n"
           "end\n"
           "assert(#S.gsub(s, 'x', 'yy') == 2000)");
    close_state(L, &heap);
}

/* Refuses each allocation of a run in turn: the run fails with Lua's error, nothing else breaks. */
static void test_every_allocation_may_fail(void **state)
{
    static const char code[] =
        "local s = ('ab '):rep(700)\n"
        "assert(#S.gsub(s, '(a)(b)', '%2%1%0') == 3500)\n"
        "assert(#S.gsub(s, '%w', function(c) return c .. c end) == 3500)\n"
        "assert(#S.gsub(s, '%w', { a = 'xyz' }) == 3500)\n"
        "local n = 0 for a, b in S.gmatch(s, '(%w)(%w)') do n = n + #a + #b end\n"
        "assert(n == 1400 and S.match(s, '()b') == 2)\n";
    struct heap heap = {.limit = SIZE_MAX};
    lua_State *L = new_state(&heap, &no_hooks);
    unsigned long failures = 0;
    int status;

    (void)state;
    do {
        lua_gc(L, LUA_GCCOLLECT, 0);
        heap.calls = 0;
        heap.refuse_at = ++failures;
        status = luaL_loadstring(L, code);
        if (status == 0)
            status = lua_pcall(L, 0, 0, 0);
        if (status != 0)
            assert_int_equal(status, LUA_ERRMEM);
        lua_settop(L, 0);
    } while (status != 0);
    assert_true(failures > 20);
    close_state(L, &heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replacements_may_yield),
        cmocka_unit_test(test_calls_may_be_preempted_anywhere),
        cmocka_unit_test(test_recursive_replacements_use_no_c_stack),
        cmocka_unit_test(test_a_result_that_is_too_large_is_refused),
        cmocka_unit_test(test_every_allocation_may_fail),
    };

    return cmocka_run_group_tests_name("pattern_gsub", tests, NULL, NULL);
}
