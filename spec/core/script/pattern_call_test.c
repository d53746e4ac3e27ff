/*
 * The budget of steps as the functions of Lua share it, and the hooks that tell the VM.
 */
#include "script/pattern_call.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "script/pattern_support.h"

static void test_each_call_has_the_default_budget(void **state)
{
    struct heap heap = {.limit = SIZE_MAX};
    lua_State *L = new_state(&heap, &no_hooks);

    (void)state;
    run(L, "local s, p = ('x'):rep(200), '.-.-.-.-y'\n"
           "for _, name in ipairs { 'find', 'match' } do\n"
           "  local ok, message = pcall(S[name], s, p)\n"
           "  assert(not ok and message:find('too many steps'), message)\n"
           "end\n"
           "for _, repl in ipairs { 'z', {}, type, setmetatable({}, {}) } do\n"
           "  local ok, message = pcall(S.gsub, s, p, repl)\n"
           "  assert(not ok and message:find('too many steps'), message)\n"
           "end\n"
           "local ok, message = pcall(S.gmatch(s, p))\n"
           "assert(not ok and message:find('too many steps'), message)\n"
           "local ok, message = pcall(S.gsub, ('x'):rep(2000), '(y-)x', ('%1'):rep(2000))\n"
           "assert(not ok and message:find('too many steps'), message)\n"
           "for _ = 1, 2000 do assert(not S.find(('a'):rep(1000), '^[ab]-c')) end\n");
    close_state(L, &heap);
}

static void test_gsub_has_one_budget_for_all_matches(void **state)
{
    struct heap heap = {.limit = SIZE_MAX};
    lua_State *L = new_state(&heap, &no_hooks);

    (void)state;
    run(L, "local s = (('x'):rep(600) .. '!'):rep(30)\n"
           "for _, repl in ipairs { '', {}, type, setmetatable({}, {}) } do\n"
           "  assert(pcall(S.gsub, s, 'x-x-!', repl, 1))\n"
           "  local ok, message = pcall(S.gsub, s, '.-.-y', repl)\n"
           "  assert(not ok and message:find('too many steps'), message)\n"
           "end\n");
    close_state(L, &heap);
}

struct meter {
    uint64_t steps;
    int exceeded;
    bool raises;
};

static void on_exceeded(lua_State *L, void *arg)
{
    struct meter *meter = arg;

    meter->exceeded++;
    if (meter->raises)
        luaL_error(L, "killed");
}

static void test_calls_share_the_budget_of_the_vm(void **state)
{
    struct heap heap = {.limit = SIZE_MAX};
    struct meter meter = {.steps = 1000};
    struct tg_pattern_hooks hooks = {&meter.steps, on_exceeded, &meter};
    lua_State *L = new_state(&heap, &hooks);
    uint64_t before, spent;

    (void)state;
    run(L, "S.find('a1', '%d')");
    spent = 1000 - meter.steps;
    assert_in_range(spent, 1, 20);
    before = meter.steps;
    run(L, "S.match('a1', '%d')");
    assert_int_equal(before - meter.steps, spent);
    run(L, "S.gsub('a1', '%d', '') S.gsub('a1', '%d', type) S.gmatch('a1', '%d')()");
    assert_true(meter.steps <= before - 3 * spent);
    assert_int_equal(meter.exceeded, 0);
    run(L, "local n = 0 repeat n = n + 1 until not pcall(S.find, 'a1', '%d') or n > 1000\n"
           "assert(n < 1000 and not pcall(S.gsub, 'a', 'a', type))");
    assert_int_equal(meter.steps, 0);
    assert_int_equal(meter.exceeded, 2);
    meter.steps = 1000;
    run(L, "S.find('a1', '%d')");
    close_state(L, &heap);
}

static void test_the_vm_may_raise_its_own_error(void **state)
{
    struct heap heap = {.limit = SIZE_MAX};
    struct meter meter = {.steps = 0, .raises = true};
    struct tg_pattern_hooks hooks = {&meter.steps, on_exceeded, &meter};
    lua_State *L = new_state(&heap, &hooks);

    (void)state;
    run(L, "for _, repl in ipairs { 'x', type } do\n"
           "  local _, message = pcall(S.gsub, 'a', 'a', repl)\n"
           "  assert(message:find('killed'), message)\n"
           "end");
    assert_int_equal(meter.exceeded, 2);
    close_state(L, &heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_call_has_the_default_budget),
        cmocka_unit_test(test_gsub_has_one_budget_for_all_matches),
        cmocka_unit_test(test_calls_share_the_budget_of_the_vm),
        cmocka_unit_test(test_the_vm_may_raise_its_own_error),
    };

    return cmocka_run_group_tests_name("pattern_call", tests, NULL, NULL);
}
