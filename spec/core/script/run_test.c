/*
 * Activations: results, suspension and its nesting, exits, errors, accounts while several are open,
 * and the recycling of coroutines.
 */
#include "script/support.h"

static void test_results_are_left_on_the_stack(void **state)
{
    struct bench b;
    (void)state;
    bench_open(&b, "return { access = function() return 1, 'two', nil end }");
    assert_int_equal(bench_begin(&b, "access"), TG_RUN_DONE);
    assert_int_equal(b.run.nresults, 3);
    assert_int_equal(lua_tointeger(b.run.L, 1), 1);
    assert_string_equal(lua_tostring(b.run.L, 2), "two");
    bench_end(&b);
    bench_close(&b);
}

static void test_absent_functions_have_no_reference(void **state)
{
    struct bench b;
    (void)state;
    bench_open(&b, "return { access = function() end }");
    assert_true(bench_ref(&b, "access") != LUA_NOREF);
    assert_int_equal(bench_ref(&b, "log"), LUA_NOREF);
    bench_close(&b);
}

/* Resumes with `value` as the result of host.wait(). */
static enum tg_run_outcome answer(struct bench *b, int value)
{
    lua_pushinteger(b->run.L, value);
    return tg_run_resume(&b->run, 1);
}

/* `body` waits twice, gets 20 and 22, and returns their sum. */
static void check_waits(const char *body)
{
    struct bench b;
    char source[1024];
    snprintf(source, sizeof(source),
             "local host = require 'host'\nreturn { access = function() %s end }", body);
    bench_open(&b, source);
    assert_int_equal(bench_begin(&b, "access"), TG_RUN_WAIT);
    assert_int_equal(answer(&b, 20), TG_RUN_WAIT);
    if (answer(&b, 22) != TG_RUN_DONE)
        fail_msg("%s", tg_run_error(&b.run).p);
    assert_int_equal(lua_tointeger(b.run.L, 1), 42);
    bench_end(&b);
    bench_close(&b);
}

static void test_waits_in_every_place(void **state)
{
    (void)state;
    check_waits("return host.wait() + host.wait()");
    check_waits("local _, v = pcall(function() return host.wait() + host.wait() end) return v");
    check_waits(
        "local _, _, v = pcall(pcall, function() return host.wait() + host.wait() end) return v");
    check_waits(
        "local _, v = xpcall(function(a) return a + host.wait() + host.wait() end, print, 0) "
        "return v");
    check_waits("local _, v = xpcall(error, function() return host.wait() + host.wait() end) "
                "return v");
    check_waits("local t = setmetatable({}, { __index = function() return host.wait() end }) "
                "return t.a + t.b");
    check_waits("local t = setmetatable({}, { __add = function() return host.wait() end }) "
                "return (t + 1) + (t + 2)");
    check_waits("local sum = 0 for v in function() local v = host.wait() sum = sum + v "
                "return v ~= 22 and v or nil end do end return sum");
    check_waits("local co = coroutine.create(function() return host.wait() + host.wait() end) "
                "local _, v = coroutine.resume(co) return v");
    check_waits("return coroutine.wrap(function() return coroutine.wrap(function() "
                "return host.wait() + host.wait() end)() end)()");
    check_waits("local next = coroutine.wrap(function() coroutine.yield(host.wait()) "
                "coroutine.yield(host.wait()) end) return next() + next()");
    check_waits(
        "local sum = 0 ('ab'):gsub('.', function() sum = sum + host.wait() end) return sum");
    check_waits("local co co = coroutine.wrap(function() local ok, v = pcall(function() "
                "return host.wait() + host.wait() end) return v end) return co()");
}

static void test_waiting_where_c_calls_is_an_error(void **state)
{
    struct bench b;
    (void)state;
    bench_open(
        &b, "local host = require 'host'\n"
            "return { access = function() table.sort({3, 2, 1}, function() host.wait() end) end,\n"
            " log = function() return table.sort({3, 2, 1}, function()\n"
            "   return coroutine.wrap(host.wait)() end) end }");
    assert_int_equal(bench_run(&b, "access"), TG_RUN_ERROR);
    assert_non_null(strstr(b.text, "plugins/t/init.lua:2: cannot wait inside"));
    assert_int_equal(bench_run(&b, "log"), TG_RUN_ERROR);
    assert_non_null(strstr(b.text, "cannot wait inside"));
    bench_close(&b);
}

static void check_exits(const char *body)
{
    struct bench b;
    char source[1024];
    snprintf(source, sizeof(source),
             "local host = require 'host'\nreturn { access = function() %s host.note('no') end }",
             body);
    bench_open(&b, source);
    assert_int_equal(bench_run(&b, "access"), TG_RUN_EXIT);
    assert_string_equal(b.notes, "");
    assert_int_equal(bench_run(&b, "access"), TG_RUN_EXIT);
    bench_close(&b);
}

static void test_exits_are_not_caught(void **state)
{
    (void)state;
    check_exits("host.exit()");
    check_exits("pcall(host.exit)");
    check_exits("pcall(pcall, host.exit)");
    check_exits("while true do pcall(host.exit) end");
    check_exits("xpcall(host.exit, function() host.note('handler') end)");
    check_exits("coroutine.resume(coroutine.create(host.exit))");
    check_exits("coroutine.wrap(function() pcall(coroutine.wrap(host.exit)) end)()");
    check_exits("table.sort({3, 2, 1}, host.exit)");
    check_exits("pcall(table.sort, {3, 2, 1}, function() pcall(host.exit) host.note('sort') end)");
    check_exits("tostring(setmetatable({}, { __tostring = host.exit }))");
}

static void check_error(const char *body, const char *text)
{
    struct bench b;
    char source[1024];
    snprintf(source, sizeof(source), "return { access = function()\n%s end }", body);
    bench_open(&b, source);
    assert_int_equal(bench_run(&b, "access"), TG_RUN_ERROR);
    assert_string_equal(b.text, text);
    bench_close(&b);
}

static void test_errors_say_where_and_run_nothing(void **state)
{
    (void)state;
    check_error("error('bad')", "plugins/t/init.lua:2: bad");
    check_error("error('bad', 0)", "plugins/t/init.lua:2: bad");
    check_error("error(7)", "plugins/t/init.lua:2: 7");
    check_error("error()", "plugins/t/init.lua:2: error object (nil)");
    check_error("error({ code = 'timeout', message = 'late' })",
                "plugins/t/init.lua:2: late (timeout)");
    check_error("error(setmetatable({}, { __tostring = function() while true do end end, "
                "__index = function() while true do end end }))",
                "plugins/t/init.lua:2: error object (table)");
    check_error("local x = nil + 1",
                "plugins/t/init.lua:2: attempt to perform arithmetic on a nil value");
    check_error("coroutine.yield()", "plugins/t/init.lua:2: coroutine.yield outside a coroutine");
}

static void test_long_errors_are_cut(void **state)
{
    struct bench b;
    (void)state;
    bench_open(&b, "return { access = function() error(('x'):rep(100000)) end }");
    assert_int_equal(bench_run(&b, "access"), TG_RUN_ERROR);
    assert_int_equal(strlen(b.text), TG_RUN_ERROR_MAX - 1);
    bench_close(&b);
}

static void test_two_activations_take_turns(void **state)
{
    struct bench b;
    struct tg_account accounts[2];
    struct tg_run runs[2];
    (void)state;
    bench_open(&b, "local host = require 'host'\nlocal kept = {}\nreturn { access = function(id)\n"
                   "kept[id] = ('x'):rep(id * 10000) local v = host.wait() "
                   "kept[id] = nil return id .. v end }");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(tg_account_init(&accounts[i], tg_vm_alloc(b.vm), 0, 0), TG_OK);
        assert_int_equal(tg_run_init(&runs[i], b.vm, &accounts[i], bench_ref(&b, "access")), TG_OK);
        lua_pushinteger(runs[i].L, i + 1);
        assert_int_equal(tg_run_resume(&runs[i], 1), TG_RUN_WAIT);
    }
    assert_in_range(accounts[0].live, 10000, 40000);
    assert_in_range(accounts[1].live, 20000, 80000);
    for (int i = 1; i >= 0; i--) {
        lua_pushliteral(runs[i].L, "-ok");
        assert_int_equal(tg_run_resume(&runs[i], 1), TG_RUN_DONE);
        assert_string_equal(lua_tostring(runs[i].L, 1), i == 0 ? "1-ok" : "2-ok");
        tg_run_release(&runs[i]);
        tg_account_release(&accounts[i]);
    }
    bench_close(&b);
}

static void test_a_paused_coroutine_belongs_to_its_activation(void **state)
{
    struct bench b;
    struct tg_run other;
    (void)state;
    bench_open(&b, "local host = require 'host'\nlocal co\nreturn { access = function()\n"
                   "co = coroutine.create(function() return host.wait() end)\n"
                   "return select(2, coroutine.resume(co)) end,\n"
                   "log = function() return coroutine.status(co), coroutine.resume(co) end }");
    assert_int_equal(bench_begin(&b, "access"), TG_RUN_WAIT);
    assert_int_equal(tg_run_init(&other, b.vm, NULL, bench_ref(&b, "log")), TG_OK);
    assert_int_equal(tg_run_resume(&other, 0), TG_RUN_DONE);
    assert_string_equal(lua_tostring(other.L, 1), "normal");
    assert_false(lua_toboolean(other.L, 2));
    tg_run_release(&other);
    assert_int_equal(answer(&b, 5), TG_RUN_DONE);
    assert_int_equal(lua_tointeger(b.run.L, 1), 5);
    bench_end(&b);
    bench_close(&b);
}

/* What a function left behind in an abandoned coroutine stays whole: its upvalues are closed. */
static void test_coroutines_are_recycled_after_any_end(void **state)
{
    struct bench b;
    struct tg_run run;
    (void)state;
    bench_open(&b, "local host = require 'host'\nlocal kept\nreturn { access = function()\n"
                   "local v = 40 kept = function() v = v + 1 return v end\n"
                   "pcall(function() local w = 1 host.wait() return w end) end,\n"
                   "log = function() local a, b, c = 9, 9, 9 return kept() + a - b end,\n"
                   "other = function() local a, b, c = {}, {}, {} error('x') end }");
    for (int i = 0; i < 300; i++) {
        assert_int_equal(tg_run_init(&run, b.vm, NULL, bench_ref(&b, "access")), TG_OK);
        assert_int_equal(tg_run_resume(&run, 0), TG_RUN_WAIT);
        tg_run_release(&run);
        tg_run_release(&run);
        assert_int_equal(tg_run_init(&run, b.vm, NULL, bench_ref(&b, "other")), TG_OK);
        assert_int_equal(tg_run_resume(&run, 0), TG_RUN_ERROR);
        tg_run_release(&run);
        lua_gc(tg_vm_state(b.vm), LUA_GCCOLLECT, 0);
        assert_int_equal(tg_run_init(&run, b.vm, NULL, bench_ref(&b, "log")), TG_OK);
        assert_int_equal(tg_run_resume(&run, 0), TG_RUN_DONE);
        assert_int_equal(lua_tointeger(run.L, 1), 41);
        tg_run_release(&run);
    }
    bench_close(&b);
}

static void test_many_suspended_at_once(void **state)
{
    enum { COUNT = 200 };
    static struct tg_run runs[COUNT];
    struct bench b;
    (void)state;
    bench_open(&b, "local host = require 'host'\nreturn { access = function(n) "
                   "return n + host.wait() end }");
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < COUNT; i++) {
            assert_int_equal(tg_run_init(&runs[i], b.vm, NULL, bench_ref(&b, "access")), TG_OK);
            lua_pushinteger(runs[i].L, i);
            assert_int_equal(tg_run_resume(&runs[i], 1), TG_RUN_WAIT);
        }
        for (int i = 0; i < COUNT; i++) {
            lua_pushinteger(runs[i].L, 1000);
            assert_int_equal(tg_run_resume(&runs[i], 1), TG_RUN_DONE);
            assert_int_equal(lua_tointeger(runs[i].L, 1), 1000 + i);
            tg_run_release(&runs[i]);
        }
    }
    bench_close(&b);
}

static int push_two(lua_State *L)
{
    const char *text = lua_touserdata(L, 1);
    lua_settop(L, 0);
    lua_pushstring(L, text);
    lua_newtable(L);
    return 2;
}

static int push_error(lua_State *L)
{
    return luaL_error(L, "no");
}

static void test_arguments_are_pushed_in_protection(void **state)
{
    struct bench b;
    int count;
    (void)state;
    bench_open(&b, "return { access = function(s, t) return s .. type(t) end }");
    assert_int_equal(tg_account_init(&b.account, tg_vm_alloc(b.vm), 0, 0), TG_OK);
    assert_int_equal(tg_run_init(&b.run, b.vm, &b.account, bench_ref(&b, "access")), TG_OK);
    assert_int_equal(tg_run_push(&b.run, push_error, NULL, &count), TG_E_SCRIPT);
    assert_int_equal(count, 0);
    tg_alloc_fail_at(tg_vm_alloc(b.vm), 1);
    assert_int_equal(tg_run_push(&b.run, push_two, "a ", &count), TG_E_NOMEM);
    tg_alloc_fail_at(tg_vm_alloc(b.vm), 0);
    assert_int_equal(tg_run_push(&b.run, push_two, "a ", &count), TG_OK);
    assert_int_equal(count, 2);
    assert_true(b.account.live > 0);
    assert_int_equal(tg_run_resume(&b.run, 2), TG_RUN_DONE);
    assert_string_equal(lua_tostring(b.run.L, 1), "a table");
    bench_end(&b);
    bench_close(&b);
}

static int push_large(lua_State *L)
{
    const char *what = lua_touserdata(L, 1);
    lua_newuserdata(L, 150000);
    return strcmp(what, "kept") == 0 ? 1 : 0;
}

/* Some of it is garbage of those before, some is kept. */
static void test_what_is_pushed_is_within_bounds(void **state)
{
    struct bench b;
    (void)state;
    bench_open(&b, "return { access = function(...) return select('#', ...) end }");
    assert_int_equal(tg_account_init(&b.account, tg_vm_alloc(b.vm), 100000, 0), TG_OK);
    assert_int_equal(tg_run_init(&b.run, b.vm, &b.account, bench_ref(&b, "access")), TG_OK);
    assert_int_equal(tg_run_push(&b.run, push_large, "gone", NULL), TG_OK);
    assert_int_equal(tg_run_push(&b.run, push_large, "gone", NULL), TG_OK);
    assert_int_equal(b.account.collections, 1);
    assert_int_equal(tg_run_push(&b.run, push_large, "kept", NULL), TG_OK);
    assert_int_equal(tg_run_push(&b.run, push_large, "kept", NULL), TG_E_NOMEM);
    assert_true(b.account.live < 200000);
    assert_int_equal(b.run.kill, TG_KILL_NONE);
    assert_int_equal(tg_run_resume(&b.run, 1), TG_RUN_DONE);
    assert_int_equal(lua_tointeger(b.run.L, 1), 1);
    bench_end(&b);
    bench_close(&b);
}

static void test_the_sequence_is_odd_inside_only(void **state)
{
    struct bench b;
    (void)state;
    bench_open(&b, "local host = require 'host'\nreturn { access = function() host.wait() end }");
    uint64_t seq = b.runner.seq;
    assert_int_equal(seq % 2, 0);
    assert_int_equal(bench_begin(&b, "access"), TG_RUN_WAIT);
    assert_int_equal(b.runner.seq, seq + 2);
    bench_end(&b);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_results_are_left_on_the_stack),
        cmocka_unit_test(test_absent_functions_have_no_reference),
        cmocka_unit_test(test_waits_in_every_place),
        cmocka_unit_test(test_waiting_where_c_calls_is_an_error),
        cmocka_unit_test(test_exits_are_not_caught),
        cmocka_unit_test(test_errors_say_where_and_run_nothing),
        cmocka_unit_test(test_long_errors_are_cut),
        cmocka_unit_test(test_two_activations_take_turns),
        cmocka_unit_test(test_a_paused_coroutine_belongs_to_its_activation),
        cmocka_unit_test(test_coroutines_are_recycled_after_any_end),
        cmocka_unit_test(test_many_suspended_at_once),
        cmocka_unit_test(test_arguments_are_pushed_in_protection),
        cmocka_unit_test(test_what_is_pushed_is_within_bounds),
        cmocka_unit_test(test_the_sequence_is_odd_inside_only),
    };

    return cmocka_run_group_tests_name("script run", tests, NULL, NULL);
}
