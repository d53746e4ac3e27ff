/*
 * Marshalling: values there and back, paths in messages, bounds, and bytes that are not ours.
 */
#include "script/marshal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <lualib.h>

#include <cmocka.h>

static int open_state(void **state)
{
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    *state = L;
    return 0;
}

static int close_state(void **state)
{
    lua_close(*state);
    return 0;
}

static const struct tg_marshal_options options = {.root = "conf", .tag = TG_MEM_CONFIG};

static void push(lua_State *L, const char *expression)
{
    char chunk[1024];
    snprintf(chunk, sizeof(chunk), "return %s", expression);
    if (luaL_dostring(L, chunk) != 0)
        fail_msg("%s", lua_tostring(L, -1));
}

static void check_same(lua_State *L, const char *expression)
{
    struct tg_blob blob;
    char error[256];
    lua_settop(L, 0);
    assert_int_equal(
        luaL_dostring(L, "local function same(a, b) if type(a) ~= 'table' or type(b) ~= 'table' "
                         "then return a == b end "
                         "for k, v in pairs(a) do if not same(v, b[k]) then return false end end "
                         "for k in pairs(b) do if a[k] == nil then return false end end "
                         "return true end return same"),
        0);
    lua_pushvalue(L, -1);
    lua_setglobal(L, "same");
    push(L, expression);
    assert_int_equal(tg_marshal_encode(L, -1, &options, &blob, error, sizeof(error)), TG_OK);
    assert_int_equal(lua_gettop(L), 2);
    assert_int_equal(tg_marshal_decode(L, tg_str(blob.p, blob.n)), TG_OK);
    assert_int_equal(lua_gettop(L), 3);
    lua_call(L, 2, 1);
    if (!lua_toboolean(L, -1))
        fail_msg("changed on the way: %s", expression);
    for (size_t n = 0; n < blob.n; n++)
        assert_int_equal(tg_marshal_decode(L, tg_str(blob.p, n)), TG_E_INVALID);
    tg_blob_release(&blob);
    assert_null(blob.p);
}

static void test_values_come_back(void **state)
{
    static const char *const values[] = {
        "nil",
        "true",
        "false",
        "0",
        "-0.1",
        "1e308",
        "math.huge",
        "''",
        "'a\\0b'",
        "('x'):rep(70000)",
        "{}",
        "{ 1, 2, 3 }",
        "{ 1, nil, 3 }",
        "{ a = 1, ['b c'] = { true, { } }, [1] = 'x', [2.5] = 'y', [true] = 'z', [-1] = 0 }",
        "(function() local t = {} for i = 1, 300 do t[i] = { i, tostring(i) } end return t end)()",
    };
    for (size_t i = 0; i < TG_COUNT_OF(values); i++)
        check_same(*state, values[i]);
}

static void test_scalars_are_text(void **state)
{
    static const struct {
        const char *expression, *text;
    } cases[] = {
        {"'a'", "a"},
        {"''", ""},
        {"true", "true"},
        {"false", "false"},
        {"7", "7"},
        {"-0.5", "-0.5"},
        {"2^53", "9.007199254741e+15"},
        {"nil", NULL},
        {"{ 'a' }", NULL},
    };
    lua_State *L = *state;
    for (size_t i = 0; i < TG_COUNT_OF(cases); i++) {
        struct tg_blob blob;
        char error[256], room[32];
        lua_settop(L, 0);
        push(L, cases[i].expression);
        assert_int_equal(tg_marshal_encode(L, 1, &options, &blob, error, sizeof(error)), TG_OK);
        struct tg_str text = tg_marshal_scalar(tg_str(blob.p, blob.n), room, sizeof(room));
        if (cases[i].text == NULL)
            assert_null(text.p);
        else
            assert_true(tg_str_eq(text, tg_str_c(cases[i].text)));
        for (size_t n = 0; n < blob.n; n++)
            assert_null(tg_marshal_scalar(tg_str(blob.p, n), room, sizeof(room)).p);
        tg_blob_release(&blob);
    }
}

static void check_refused(lua_State *L, const char *expression, enum tg_err err, const char *text)
{
    struct tg_blob blob;
    char error[256];
    lua_settop(L, 0);
    push(L, expression);
    assert_int_equal(tg_marshal_encode(L, 1, &options, &blob, error, sizeof(error)), err);
    assert_string_equal(error, text);
    assert_int_equal(lua_gettop(L), 1);
    assert_null(blob.p);
    assert_int_equal(tg_mem_used(TG_MEM_CONFIG), 0);
}

static void test_refusals_name_the_path(void **state)
{
    check_refused(*state, "print", TG_E_INVALID, "conf: a function cannot cross");
    check_refused(*state, "{ targets = { 1, { handler = print } } }", TG_E_INVALID,
                  "conf.targets[2].handler: a function cannot cross");
    check_refused(*state, "{ ['a b'] = { [2.5] = { [true] = coroutine.create(print) } } }",
                  TG_E_INVALID, "conf[\"a b\"][2.5][boolean]: a thread cannot cross");
    check_refused(*state, "{ a = { [{}] = 1 } }", TG_E_INVALID,
                  "conf.a: a table as a key cannot cross");
    check_refused(*state, "{ io.stdout }", TG_E_INVALID, "conf[1]: a userdata cannot cross");
}

static void test_cycles_and_depth_are_bounded(void **state)
{
    lua_State *L = *state;
    struct tg_blob blob;
    char error[16];
    push(L, "(function() local t = {} t[1] = t return t end)()");
    assert_int_equal(tg_marshal_encode(L, -1, &options, &blob, error, sizeof(error)), TG_E_LIMIT);
    assert_int_equal(strlen(error), sizeof(error) - 1);
    check_same(L, "(function() local t = {} for i = 1, 63 do t = { t } end return t end)()");
    push(L, "(function() local t = {} for i = 1, 64 do t = { t } end return t end)()");
    assert_int_equal(tg_marshal_encode(L, -1, &options, &blob, NULL, 0), TG_E_LIMIT);
}

static void test_nodes_and_bytes_are_bounded(void **state)
{
    lua_State *L = *state;
    struct tg_marshal_options few = {.root = "v", .nodes = 4, .tag = TG_MEM_CONFIG};
    struct tg_marshal_options small = {.root = "v", .bytes = 12, .tag = TG_MEM_CONFIG};
    struct tg_blob blob;
    char error[128];
    push(L, "{ 1, 2, 3 }");
    assert_int_equal(tg_marshal_encode(L, -1, &few, &blob, error, sizeof(error)), TG_OK);
    tg_blob_release(&blob);
    push(L, "{ 1, 2, 3, 4 }");
    assert_int_equal(tg_marshal_encode(L, -1, &few, &blob, error, sizeof(error)), TG_E_LIMIT);
    assert_string_equal(error, "v[4]: more values than may cross");
    push(L, "'0123456789'");
    assert_int_equal(tg_marshal_encode(L, -1, &small, &blob, error, sizeof(error)), TG_OK);
    tg_blob_release(&blob);
    push(L, "'0123456789a'");
    assert_int_equal(tg_marshal_encode(L, -1, &small, &blob, error, sizeof(error)), TG_E_LIMIT);
    assert_string_equal(error, "v: limit reached");
}

static unsigned asked;

static bool is_spent(lua_State *L)
{
    (void)L;
    return ++asked == 3;
}

/* What takes long is walking, not writing: tables that are empty but were not, on many ways. */
static void test_time_is_bounded_where_the_caller_says_so(void **state)
{
    lua_State *L = *state;
    struct tg_marshal_options watched = {.root = "v", .is_spent = is_spent, .tag = TG_MEM_CONFIG};
    struct tg_blob blob;
    char error[128];
    asked = 0;
    push(L, "(function() local t, u = {}, {} for i = 1, 100 do t[i] = {} u[i] = t end "
            "return u end)()");
    assert_int_equal(tg_marshal_encode(L, -1, &watched, &blob, error, sizeof(error)), TG_E_LIMIT);
    assert_string_equal(error, "v[2][89]: takes more CPU time than there is left");
    assert_null(blob.p);
    assert_int_equal(tg_marshal_encode(L, -1, &watched, &blob, error, sizeof(error)), TG_OK);
    tg_blob_release(&blob);
    assert_in_range(asked, 100, 200);
}

static void test_metatables_are_not_asked(void **state)
{
    lua_State *L = *state;
    struct tg_blob blob;
    char error[128];
    push(L, "setmetatable({ a = 1 }, { __index = error, __pairs = error, __len = error })");
    assert_int_equal(tg_marshal_encode(L, -1, &options, &blob, error, sizeof(error)), TG_OK);
    tg_blob_release(&blob);
}

static void test_failing_memory_is_an_error(void **state)
{
    lua_State *L = *state;
    struct tg_blob blob;
    char error[128];
    push(L, "{ ('x'):rep(1000), ('y'):rep(5000) }");
    for (uint64_t nth = 1; nth <= 2; nth++) {
        tg_mem_fail_at(nth);
        assert_int_equal(tg_marshal_encode(L, -1, &options, &blob, error, sizeof(error)),
                         TG_E_NOMEM);
        tg_mem_fail_at(0);
        assert_int_equal(tg_mem_used(TG_MEM_CONFIG), 0);
    }
}

static void test_foreign_bytes_are_refused(void **state)
{
    static const struct tg_str blobs[] = {
        {"", 0},
        {"x", 1},
        {"zz", 2},
        {"s\x05"
         "abc",
         5},
        {"s\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11},
        {"{\xff\xff\xff\xff\x07\x00", 7},
        {"{\x00\x01z", 4},
        {"{\x00\x01zt", 5},
        {"{\x00\x01{\x00\x00t", 7},
        {"{\x00\x01"
         "d\x00\x00\x00\x00\x00\x00\xf8\x7ft",
         13},
        {"d123", 4},
    };
    lua_State *L = *state;
    int top = lua_gettop(L);
    for (size_t i = 0; i < TG_COUNT_OF(blobs); i++) {
        assert_int_equal(tg_marshal_decode(L, blobs[i]), TG_E_INVALID);
        assert_int_equal(lua_gettop(L), top);
    }
}

static uint64_t digest_of(lua_State *L, const char *source)
{
    const struct tg_marshal_options plain = {.root = "v"};
    struct tg_blob blob;
    char why[128];

    assert_int_equal(luaL_dostring(L, source), 0);
    assert_int_equal(tg_marshal_encode(L, -1, &plain, &blob, why, sizeof(why)), TG_OK);
    uint64_t digest = tg_marshal_digest(tg_str(blob.p, blob.n));
    tg_blob_release(&blob);
    lua_pop(L, 1);
    return digest;
}

static void test_digests_do_not_know_the_order_of_keys(void **state)
{
    static const char *const different[] = {
        "return { a = 1, b = { 2 } }",
        "return { a = 1, b = { 3 } }",
        "return { a = 1, c = { 2 } }",
        "return { b = 1, a = { 2 } }",
        "return { 1, { 2 } }",
        "return { { 2 }, 1 }",
        "return '1'",
        "return 1",
        "return true",
        "return {}",
        "return { {} }",
        "return ''",
    };
    lua_State *L = *state;
    uint64_t same = digest_of(L, different[0]);

    assert_true(same ==
                digest_of(L, "local t = {} for i = 1, 99 do t['k' .. i] = i end for i = 1, 99 do "
                             "t['k' .. i] = nil end t.b = { 2 } t.a = 1 return t"));
    for (size_t i = 0; i < TG_COUNT_OF(different); i++) {
        for (size_t j = 0; j < i; j++)
            assert_true(digest_of(L, different[i]) != digest_of(L, different[j]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_values_come_back, open_state, close_state),
        cmocka_unit_test_setup_teardown(test_scalars_are_text, open_state, close_state),
        cmocka_unit_test_setup_teardown(test_refusals_name_the_path, open_state, close_state),
        cmocka_unit_test_setup_teardown(test_cycles_and_depth_are_bounded, open_state, close_state),
        cmocka_unit_test_setup_teardown(test_nodes_and_bytes_are_bounded, open_state, close_state),
        cmocka_unit_test_setup_teardown(test_time_is_bounded_where_the_caller_says_so, open_state,
                                        close_state),
        cmocka_unit_test_setup_teardown(test_metatables_are_not_asked, open_state, close_state),
        cmocka_unit_test_setup_teardown(test_failing_memory_is_an_error, open_state, close_state),
        cmocka_unit_test_setup_teardown(test_foreign_bytes_are_refused, open_state, close_state),
        cmocka_unit_test_setup_teardown(test_digests_do_not_know_the_order_of_keys, open_state,
                                        close_state),
    };

    return cmocka_run_group_tests_name("script marshal", tests, NULL, NULL);
}
