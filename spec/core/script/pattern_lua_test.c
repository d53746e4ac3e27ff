/*
 * find, match, gmatch and gsub as plugins see them.
 *
 * The facts about results and errors are in pattern_facts.lua, in groups; each is a test that must
 * hold for LuaJIT's functions and for ours. Generated calls are compared with LuaJIT's by
 * pattern_oracle.lua. Runs from the top of the repository.
 */
#include "script/pattern_lua.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "script/pattern_support.h"

/* ---- Facts ----------------------------------------------------------------------------------- */

static void check_group(const char *group)
{
    struct heap heap = {.limit = SIZE_MAX};
    lua_State *L = new_state(&heap, &no_hooks);

    if (luaL_dofile(L, "spec/core/script/pattern_facts.lua") != 0)
        fail_msg("%s", lua_tostring(L, -1));
    lua_getfield(L, -1, group);
    lua_pushvalue(L, -1);
    lua_getglobal(L, "string");
    if (lua_pcall(L, 1, 0, 0) != 0)
        fail_msg("LuaJIT's own: %s", lua_tostring(L, -1));
    lua_getglobal(L, "S");
    if (lua_pcall(L, 1, 0, 0) != 0)
        fail_msg("%s", lua_tostring(L, -1));
    close_state(L, &heap);
}

#define GROUPS(X)                                                                                  \
    X(find)                                                                                        \
    X(init)                                                                                        \
    X(plain)                                                                                       \
    X(match)                                                                                       \
    X(classes)                                                                                     \
    X(sets)                                                                                        \
    X(captures)                                                                                    \
    X(balance)                                                                                     \
    X(frontier)                                                                                    \
    X(gmatch)                                                                                      \
    X(gsub_string)                                                                                 \
    X(gsub_table)                                                                                  \
    X(gsub_function)                                                                               \
    X(malformed)                                                                                   \
    X(arguments)                                                                                   \
    X(positions)

#define GROUP_TEST(name)                                                                           \
    static void test_facts_##name(void **state)                                                    \
    {                                                                                              \
        (void)state;                                                                               \
        check_group(#name);                                                                        \
    }
GROUPS(GROUP_TEST)

/* ---- Beside LuaJIT --------------------------------------------------------------------------- */

enum { PAIRS = 10000, CALLS = 8 };

/* Turns two libraries on the stack into compare and generate of the oracle. */
static void push_oracle(lua_State *L)
{
    if (luaL_loadfile(L, "spec/core/script/pattern_oracle.lua") != 0)
        fail_msg("%s", lua_tostring(L, -1));
    lua_insert(L, -3);
    lua_call(L, 2, 2);
}

/* Compares some ten thousand pairs of subject and pattern, eight calls each, from a fixed seed. How
 * many calls raised is checked too: a generator that made only errors, or none, would prove
 * nothing. */
static void agree(int seed)
{
    struct heap heap = {.limit = SIZE_MAX};
    lua_State *L = new_state(&heap, &no_hooks);

    lua_getglobal(L, "string");
    lua_getglobal(L, "S");
    push_oracle(L);
    lua_pushinteger(L, seed);
    lua_pushinteger(L, PAIRS);
    lua_call(L, 2, 2);
    if (lua_isnil(L, -2))
        fail_msg("%s", lua_tostring(L, -1));
    assert_in_range(lua_tointeger(L, -2), PAIRS * CALLS / 10, PAIRS * CALLS * 6 / 10);
    close_state(L, &heap);
}

static void test_generated_calls_agree_seed_1(void **state)
{
    (void)state;
    agree(1);
}

static void test_generated_calls_agree_seed_2(void **state)
{
    (void)state;
    agree(2);
}

static void test_generated_calls_agree_seed_3(void **state)
{
    (void)state;
    agree(3);
}

static void test_generated_calls_agree_seed_4(void **state)
{
    (void)state;
    agree(4);
}

/* A comparison that never fails would pass all of the above. */
static void test_a_difference_is_seen(void **state)
{
    struct heap heap = {.limit = SIZE_MAX};
    lua_State *L = new_state(&heap, &no_hooks);

    (void)state;
    lua_getglobal(L, "string");
    run(L, "wrong = {} for k, v in pairs(S) do wrong[k] = v end wrong.match = S.find");
    lua_getglobal(L, "wrong");
    push_oracle(L);
    lua_pop(L, 1);
    lua_pushliteral(L, "abc");
    lua_pushliteral(L, "b");
    lua_pushliteral(L, "x");
    lua_call(L, 3, 2);
    assert_true(lua_isnil(L, -2));
    assert_non_null(strstr(lua_tostring(L, -1), "match("));
    close_state(L, &heap);
}

/* ---- Opening --------------------------------------------------------------------------------- */

static void test_opening_may_run_out_of_memory(void **state)
{
    int status = -1;

    (void)state;
    for (unsigned long n = 1; status != 0; n++) {
        struct heap heap = {.limit = SIZE_MAX};
        lua_State *L = lua_newstate(allocate, &heap);

        assert_non_null(L);
        luaL_openlibs(L);
        heap.calls = 0;
        heap.refuse_at = n;
        status = lua_cpcall(L, open_functions, (void *)&no_hooks);
        if (status != 0)
            assert_string_equal(lua_tostring(L, -1), "not enough memory");
        close_state(L, &heap);
    }
}

int main(void)
{
#define GROUP_ENTRY(name) cmocka_unit_test(test_facts_##name),
    const struct CMUnitTest tests[] = {
        GROUPS(GROUP_ENTRY) cmocka_unit_test(test_generated_calls_agree_seed_1),
        cmocka_unit_test(test_generated_calls_agree_seed_2),
        cmocka_unit_test(test_generated_calls_agree_seed_3),
        cmocka_unit_test(test_generated_calls_agree_seed_4),
        cmocka_unit_test(test_a_difference_is_seen),
        cmocka_unit_test(test_opening_may_run_out_of_memory),
    };

    return cmocka_run_group_tests_name("pattern_lua", tests, NULL, NULL);
}
