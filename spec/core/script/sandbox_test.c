/*
 * The sandbox: each way out that a plugin could try, and what stops it. One test per group of the
 * environment; each body runs as access() in a VM of its own.
 */
#include "script/support.h"

#include <lualib.h>

static void test_dangerous_names_are_absent(void **state)
{
    static const char *const names[] = {
        "load",    "loadstring", "loadfile", "dofile",  "debug",   "io",     "ffi", "jit",
        "package", "module",     "newproxy", "getfenv", "setfenv", "gcinfo", "arg",
    };
    char body[128];
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(names); i++) {
        snprintf(body, sizeof(body),
                 "local ok, e = pcall(function() return %s end) "
                 "return not ok and e:find('undeclared global') ~= nil",
                 names[i]);
        check_true(body);
    }
    check_true("return string.dump == nil and ('').dump == nil");
    check_true(
        "for _, name in ipairs { 'execute', 'exit', 'getenv', 'remove', 'setlocale', 'tmpname' } "
        "do "
        "  local ok, e = pcall(function() return os[name] end) "
        "  if ok or not e:find('a plugin has no os.' .. name, 1, true) then return false end "
        "end "
        "return getmetatable(os) == false");
    check_true("local n = 0 for _ in pairs(os) do n = n + 1 end return n == 3");
    check_true("return table.foreach == nil and table.getn == nil");
}

static void test_require_finds_only_what_is_allowed(void **state)
{
    static const char *const names[] = {
        "ffi",   "jit",       "jit.util",      "debug",       "io",
        "os",    "package",   "string",        "table",       "_G",
        "cjson", "table.new", "thread.exdata", "/etc/passwd", "mod"};
    char body[128];
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(names); i++) {
        snprintf(body, sizeof(body), "return not pcall(require, '%s')", names[i]);
        check_true(body);
    }
    check_true("return require('host') == host");
}

static void test_metatables_are_guarded(void **state)
{
    (void)state;
    check_true("return getmetatable('') == false");
    check_true("return not pcall(setmetatable, '', {})");
    check_true("return getmetatable(print) == false and getmetatable(1) == false");
    check_true("return getmetatable(_G) == false and not pcall(setmetatable, _G, {})");
    check_true("return getmetatable(setmetatable({}, { __metatable = 'mine' })) == 'mine'");
    check_true(
        "local t = setmetatable({}, { __metatable = 1 }) return not pcall(setmetatable, t, nil)");
    check_true(
        "local m = {} return getmetatable(setmetatable({}, m)) == m and getmetatable({}) == nil");
    check_true("return not pcall(getmetatable)");
}

static void test_the_string_table_is_the_sandbox_s(void **state)
{
    struct bench b;
    (void)state;
    check_true("return ('x').rep == string.rep and ('abc'):upper() == 'ABC'");
    /* A plugin that breaks its own string library breaks no message of the host's. */
    bench_open(&b,
               "function string.format() error('mine') end function string.find() return {} end\n"
               "return { access = function() error('told') end }");
    assert_int_equal(bench_run(&b, "access"), TG_RUN_ERROR);
    assert_string_equal(b.text, "plugins/t/init.lua:2: told");
    bench_close(&b);
}

static void test_rawset_respects_protection(void **state)
{
    (void)state;
    check_true("local t = {} return rawset(t, 1, 2) == t and t[1] == 2");
    check_true("return not pcall(rawset, _G, 'x', 1)");
    check_true("return not pcall(rawset, setmetatable({}, { __metatable = 1 }), 'x', 1)");
    check_true("return next(_G) == nil");
}

/* What `tidegate check` takes for globals of a plugin is there. */
static void test_globals_are_those_that_check_knows(void **state)
{
    lua_State *L = luaL_newstate();
    char body[128];
    (void)state;
    luaL_openlibs(L);
    if (luaL_dostring(L, "return dofile('lua/tidegate/globals.lua').PLUGIN_GLOBALS") != 0)
        fail_msg("%s", lua_tostring(L, -1));
    assert_true(lua_objlen(L, 1) > 20);
    for (int i = 1; i <= (int)lua_objlen(L, 1); i++) {
        lua_rawgeti(L, 1, i);
        snprintf(body, sizeof(body), "return %s ~= nil", lua_tostring(L, -1));
        check_true(body);
        lua_pop(L, 1);
    }
    lua_close(L);
}

static void test_finalisers_do_not_run(void **state)
{
    struct bench b;
    (void)state;
    bench_open(
        &b,
        "local host = require 'host'\nreturn { access = function()\n"
        "for i = 1, 100 do setmetatable({}, { __gc = function() host.note('gc') end }) end end }");
    assert_int_equal(bench_run(&b, "access"), TG_RUN_DONE);
    lua_gc(tg_vm_state(b.vm), LUA_GCCOLLECT, 0);
    assert_string_equal(b.notes, "");
    bench_close(&b);
}

static void test_collectgarbage_only_counts(void **state)
{
    (void)state;
    check_true("local n = collectgarbage('count') return n > 10 and n < 1000");
    check_true("return not pcall(collectgarbage) and not pcall(collectgarbage, 'stop')");
    check_true(
        "local _, e = pcall(collectgarbage, 'collect') return e:find('only \"count\" is') ~= nil");
}

static void test_time_is_the_gateway_s(void **state)
{
    (void)state;
    check_true("return os.time() == 1704067201");
    check_true("return os.date('!%Y-%m-%dT%H:%M:%S') == '2024-01-01T00:00:01'");
    check_true("return os.date('%H:%M', 86399) == '23:59'");
    check_true("return os.date('*t').year == 2024 and os.date('*t', 0).yday == 1");
    check_true("return os.time { year = 2024, month = 1, day = 1, hour = 0 } == 1704067200");
    check_true("return os.time(os.date('*t')) == os.time()");
    check_true("return os.clock() == os.clock()");
    check_true(
        "return not pcall(os.time, { year = 1 }) and not pcall(os.time, { year = {}, month = 1 })");
    check_true("return not pcall(os.date, ('%c'):rep(200)) and not pcall(os.date, '%c', 1e30)");
    check_true("return not pcall(os.date, '%c', 0/0)");
    check_true("return #os.date(('%c'):rep(100)) == 2400 and os.date('') == '' "
               "and os.date('!') == ''");
    check_true(
        "local ok, e = pcall(os.date, '%4096d') return not ok and e:find('more than') ~= nil");
    check_true("for _, n in ipairs { -2^31, 2^31 - 1, 2^53, -2^53, 1/0, 0/0 } do\n"
               "  for _, field in ipairs { 'year', 'month', 'day', 'hour', 'min', 'sec' } do\n"
               "    local t = { year = 2024, month = 1, day = 1 } t[field] = n\n"
               "    local ok, e = pcall(os.time, t)\n"
               "    if ok or not e:find(field .. \"' is out of range\", 1, true) then return false "
               "end\n"
               "  end\n"
               "end\n"
               "return true");
}

static void test_print_goes_to_the_host(void **state)
{
    struct bench b;
    (void)state;
    bench_open(&b,
               "return { access = function() print(1, nil, 'a', true)\n"
               "print(setmetatable({}, { __tostring = function() return 'T' end })) end,\n"
               "log = function() print(('x'):rep(5000), 'y') end,\n"
               "other = function() print(setmetatable({}, { __tostring = function() end })) end }");
    assert_int_equal(bench_run(&b, "access"), TG_RUN_DONE);
    assert_string_equal(b.notes, "1\tnil\ta\ttrue T");
    assert_int_equal(bench_run(&b, "log"), TG_RUN_DONE);
    assert_int_equal(bench_run(&b, "other"), TG_RUN_ERROR);
    bench_close(&b);
}

static void test_tables_are_made_within_bounds(void **state)
{
    (void)state;
    check_true("local t = table.new(10, 10) t[1] = 1 return #t == 1");
    check_true("return not pcall(table.new, -1) and not pcall(table.new, 0, -5)");
    check_true("local t = {} t[2^26] = 1 return collectgarbage('count') < 1000");
    check_true("local a = collectgarbage('count') local t = table.new(1, 0) "
               "return collectgarbage('count') - a < 10");
}

static void test_insert_inserts(void **state)
{
    (void)state;
    check_true("local t = {} table.insert(t, 'b') table.insert(t, 1, 'a') table.insert(t, 3, 'd') "
               "table.insert(t, 3, 'c') return table.concat(t) == 'abcd' and #t == 4");
    check_true("local t = {} table.insert(t, 3, 'x') return t[3] == 'x'");
    check_true("local t = {} table.insert(t, nil) return #t == 0");
    check_true("return not pcall(table.insert) and not pcall(table.insert, 1, 2)");
    check_true("local _, e = pcall(table.insert, {}) local _, f = pcall(table.insert, {}, 1, 2, 3) "
               "return e:find('wrong number of arguments') and e == f");
    check_true("for _, at in ipairs { 0, -1, -2^31, 2^31, 2^53, 0/0 } do "
               "  local ok, e = pcall(table.insert, { 1 }, at, 2) "
               "  if ok or not e:find('position out of bounds', 1, true) then return false end "
               "end return true");
}

static void test_sort_sorts(void **state)
{
    (void)state;
    check_true("local t = { 3, 1, 2 } table.sort(t) return table.concat(t) == '123'");
    check_true("local t = { 3, 1, 2 } table.sort(t, nil) return table.concat(t) == '123'");
    check_true("local t = { 3, 1, 2 } table.sort(t, function(a, b) return a > b end) "
               "return table.concat(t) == '321'");
    check_true("return not pcall(table.sort, { 1, 'a' }) and not pcall(table.sort)");
}

static void test_pcall_and_xpcall_behave(void **state)
{
    (void)state;
    check_true("local a, b, c, d = pcall(function(...) return ... end, 1, nil, 3) "
               "return a == true and b == 1 and c == nil and d == 3");
    check_true("local ok, e = pcall(error, { 1 }) return ok == false and e[1] == 1");
    check_true("return select('#', pcall(error)) == 2 and select('#', pcall(function() end)) == 1");
    check_true("local ok, e = pcall(nil) return ok == false and type(e) == 'string'");
    check_true("local ok, e = xpcall(error, function(e) return e .. '!' end, 'x') "
               "return ok == false and e == 'x!'");
    check_true("local a, b, c = xpcall(function(...) return ... end, print, 1, nil) "
               "return a and b == 1 and c == nil");
    check_true("local ok, e = xpcall(error, function() error('again', 0) end) "
               "return ok == false and e == 'again'");
    check_true("return select('#', xpcall(error, function() return 1, 2 end)) == 2 "
               "and select('#', xpcall(error, function() end)) == 2");
    check_true("local ok, e = pcall(xpcall, print) return not ok and "
               "e:find(\"bad argument #2 to 'xpcall' (function expected, got nil)\", 1, true)");
    check_true("local function deep() return 1 + deep() end local ok, e = pcall(deep) "
               "return ok == false and e:find('stack overflow') ~= nil");
}

static void test_coroutines_behave(void **state)
{
    (void)state;
    check_true("local co = coroutine.create(function(a) local b = coroutine.yield(a + 1) return b "
               "* 2 end) "
               "local _, x = coroutine.resume(co, 1) local _, y = coroutine.resume(co, 5) "
               "return x == 2 and y == 10 and coroutine.status(co) == 'dead'");
    check_true("local co = coroutine.create(error) local ok, e = coroutine.resume(co, 'x') "
               "return ok == false and e == 'x' and coroutine.status(co) == 'dead'");
    check_true(
        "local co = coroutine.create(print) coroutine.resume(co) "
        "local ok, e = coroutine.resume(co) return not ok and e == 'cannot resume dead coroutine'");
    check_true("local s = 0 for v in coroutine.wrap(function() for i = 1, 4 do coroutine.yield(i) "
               "end end) "
               "do s = s + v end return s == 10");
    check_true("local f = coroutine.wrap(function() error({ 7 }) end) local ok, e = pcall(f) "
               "return not ok and e[1] == 7");
    check_true("return coroutine.running() == nil");
    check_true("local co co = coroutine.create(function() return coroutine.running() == co and "
               "coroutine.status(co) == 'running' and coroutine.isyieldable() end) "
               "return select(2, coroutine.resume(co))");
    check_true("local co co = coroutine.create(function() return coroutine.resume(co) end) "
               "local _, ok, e = coroutine.resume(co) "
               "return ok == false and e == 'cannot resume non-suspended coroutine'");
    check_true(
        "local outer outer = coroutine.create(function() local inner = coroutine.create(function() "
        "return coroutine.status(outer) end) return select(2, coroutine.resume(inner)) end) "
        "return select(2, coroutine.resume(outer)) == 'normal'");
    check_true("return not pcall(coroutine.yield) and not pcall(coroutine.create, 1) "
               "and not pcall(coroutine.resume, {}) and coroutine.isyieldable() == false");
    check_true("local co = coroutine.wrap(function() table.sort({ 2, 1 }, coroutine.yield) end) "
               "local ok, e = pcall(co) return not ok and e:find('inside a function that C calls') "
               "~= nil");
    check_true("local co = coroutine.wrap(function(...) return select('#', ...) end) "
               "return co(nil, nil, nil) == 3");
}

static void test_abandoned_coroutines_do_not_count(void **state)
{
    (void)state;
    check_true(
        "for i = 1, 5000 do coroutine.wrap(function() coroutine.yield() end)() end return true");
}

static void test_libraries_are_whole(void **state)
{
    (void)state;
    check_true("return ('%5.2f|%s|%q'):format(1.5, 'a', 'b') == ' 1.50|a|\"b\"'");
    check_true(
        "return math.floor(1.5) == 1 and bit.band(6, 3) == 2 and #table.concat({ 1, 2 }) == 2");
    check_true("return ('a,b'):gsub(',', ';') == 'a;b' and ('k=v'):match('(%w)=(%w)') == 'k'");
    check_true(
        "local t = table.move({ 1, 2, 3 }, 1, 3, 2) return t[4] == 3 and table.maxn(t) == 4");
    check_true("return select('#', unpack({}, 1, 3)) == 3 and tonumber('0x10') == 16");
}

static void test_errors_name_the_plugin_s_own_line(void **state)
{
    (void)state;
    check_true("local _, e = pcall(function() local x = nil; return x.y end) "
               "return e:find('^plugins/t/init.lua:3: attempt to index') ~= nil");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dangerous_names_are_absent),
        cmocka_unit_test(test_require_finds_only_what_is_allowed),
        cmocka_unit_test(test_metatables_are_guarded),
        cmocka_unit_test(test_the_string_table_is_the_sandbox_s),
        cmocka_unit_test(test_rawset_respects_protection),
        cmocka_unit_test(test_globals_are_those_that_check_knows),
        cmocka_unit_test(test_finalisers_do_not_run),
        cmocka_unit_test(test_collectgarbage_only_counts),
        cmocka_unit_test(test_time_is_the_gateway_s),
        cmocka_unit_test(test_print_goes_to_the_host),
        cmocka_unit_test(test_tables_are_made_within_bounds),
        cmocka_unit_test(test_insert_inserts),
        cmocka_unit_test(test_sort_sorts),
        cmocka_unit_test(test_pcall_and_xpcall_behave),
        cmocka_unit_test(test_coroutines_behave),
        cmocka_unit_test(test_abandoned_coroutines_do_not_count),
        cmocka_unit_test(test_libraries_are_whole),
        cmocka_unit_test(test_errors_name_the_plugin_s_own_line),
    };

    return cmocka_run_group_tests_name("script sandbox", tests, NULL, NULL);
}
