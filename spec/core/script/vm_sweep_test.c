/*
 * Every allocation fails once: loading, configuring and running a small plugin that uses a bit of
 * everything, with the Nth growth refused, for all N. Expected of each: no crash, no leak, and an
 * outcome that says so. Two sweeps: of what the VM asks of its allocator, and of what that asks of
 * the system (under AddressSanitizer these are the same allocations, from the first on).
 */
#include "script/marshal.h"
#include "script/support.h"

static const char plugin[] =
    "local host, mod = require 'host', require 'mod'\n"
    "local P, seen = {}, {}\n"
    "function P.init() total = 0 for i = 1, 20 do seen[i] = { i, name = 'n' .. i } end end\n"
    "function P.configure(conf) return { list = { unpack(conf.list) }, f = function() return conf "
    "end } end\n"
    "function P.access(conf)\n"
    "  local t = {}\n"
    "  for i = 1, 40 do t[i] = ('k%d'):format(i) .. conf.list[1] end\n"
    "  t.joined = table.concat(t, ','):gsub('k', 'K')\n"
    "  table.sort(t, function(a, b) return a > b end)\n"
    "  local gen = coroutine.wrap(function() for k, v in pairs(t) do coroutine.yield(k, v) end "
    "end)\n"
    "  local n = 0\n"
    "  for k in gen do n = n + 1 end\n"
    "  local ok, err = pcall(error, { code = 'x', message = ('y'):rep(300) })\n"
    "  xpcall(function() local z = nil + 1 end, function(e) return e .. '!' end)\n"
    "  local v = coroutine.wrap(function() return pcall(host.wait) end)()\n"
    "  print(n, mod.twice(n), conf.compiled.f() == conf, setmetatable({}, { __tostring = "
    "function() "
    "return 'T' end }))\n"
    "  local deep = {} for i = 1, 300 do deep = { deep } end\n"
    "  return (function(...) return select('#', ...) end)(unpack(t))\n"
    "end\n"
    "return P\n";

static struct tg_blob blob;

static enum tg_err configure_and_run(struct bench *b)
{
    int ref;
    enum tg_err err = tg_vm_start(b->vm, &b->error);
    if (err == TG_OK)
        err = tg_vm_configure(b->vm, tg_str(blob.p, blob.n), TG_STR("s"), &ref, &b->error);
    if (err == TG_OK)
        err = tg_account_init(&b->account, tg_vm_alloc(b->vm), 0, 0);
    if (err != TG_OK)
        return err;
    err = tg_run_init(&b->run, b->vm, &b->account, bench_ref(b, "access"));
    if (err == TG_OK) {
        lua_rawgeti(b->run.L, LUA_REGISTRYINDEX, ref);
        enum tg_run_outcome outcome = tg_run_resume(&b->run, 1);
        if (outcome == TG_RUN_WAIT)
            outcome = tg_run_resume(&b->run, 0);
        /* Killed where it was a stack that the system had no memory for. */
        assert_true(outcome == TG_RUN_DONE || outcome == TG_RUN_ERROR ||
                    (outcome == TG_RUN_KILLED && b->run.kill == TG_KILL_MEMORY));
        if (outcome != TG_RUN_DONE) {
            assert_true(tg_run_error(&b->run).n > 0);
            err = TG_E_SCRIPT;
        }
        tg_run_release(&b->run);
    }
    tg_account_release(&b->account);
    return err;
}

static enum tg_err run_once(struct bench *b, uint64_t *growths)
{
    enum tg_err err = bench_load(b, plugin, sizeof(plugin) - 1);
    if (err != TG_OK) {
        assert_null(b->vm);
        assert_true(b->error.n > 0);
        *growths = UINT64_MAX;
        return err;
    }
    err = configure_and_run(b);
    *growths = tg_alloc_growths(tg_vm_alloc(b->vm));
    return err;
}

static void begin(struct bench *b)
{
    bench_init(b);
    b->module_text = "local M = {} function M.twice(n) return n * 2 end return M";
}

static void test_every_growth_in_the_vm_fails_once(void **state)
{
    struct bench b;
    uint64_t nth = 0, growths;
    unsigned failed = 0;
    (void)state;
    do {
        begin(&b);
        b.fail_at = ++nth;
        failed += run_once(&b, &growths) != TG_OK;
        bench_close(&b);
        assert_true(nth < 20000);
    } while (growths >= nth);
    assert_true(failed > 200);
}

static void test_every_call_of_the_system_fails_once(void **state)
{
    struct bench b;
    uint64_t nth = 0, growths, count;
    (void)state;
    do {
        begin(&b);
        tg_mem_fail_at(++nth);
        enum tg_err err = run_once(&b, &growths);
        count = tg_mem_fail_count();
        tg_mem_fail_at(0);
        bench_close(&b);
        if (count < nth)
            assert_int_equal(err, TG_OK);
        assert_true(nth < 20000);
    } while (count >= nth);
}

static void test_the_plugin_itself_works(void **state)
{
    struct bench b;
    uint64_t growths;
    (void)state;
    begin(&b);
    if (run_once(&b, &growths) != TG_OK)
        fail_msg("%s", b.error.text);
    assert_string_equal(b.notes, "41\t82\ttrue\tT");
    bench_close(&b);
}

static int make_conf(void **state)
{
    struct tg_marshal_options options = {.root = "conf", .tag = TG_MEM_CONFIG};
    lua_State *L = luaL_newstate();
    (void)state;
    if (luaL_dostring(L, "return { list = { 'a', 'b' }, name = 'n' }") != 0)
        return 1;
    enum tg_err err = tg_marshal_encode(L, -1, &options, &blob, NULL, 0);
    lua_close(L);
    return err;
}

static int drop_conf(void **state)
{
    (void)state;
    tg_blob_release(&blob);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_plugin_itself_works),
        cmocka_unit_test(test_every_growth_in_the_vm_fails_once),
        cmocka_unit_test(test_every_call_of_the_system_fails_once),
    };

    return cmocka_run_group_tests_name("script sweep", tests, make_conf, drop_conf);
}
