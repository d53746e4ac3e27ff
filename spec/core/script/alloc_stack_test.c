/*
 * Stacks of coroutines: they grow past every bound, since LuaJIT writes behind one that may not,
 * and the plugin whose stack passed a bound is killed at its next instruction. No code of a plugin
 * runs where a stack has overflowed.
 */
#include "script/support.h"

#include "script/refusals.h"

/* ---- The allocator --------------------------------------------------------------------------- */

static void test_a_marked_block_grows_past_every_bound(void **state)
{
    struct tg_alloc *a = tg_alloc_new(TG_MEM_PLUGIN, SIZE_MAX, &refusals);
    struct tg_account account;
    (void)state;
    assert_non_null(a);
    assert_int_equal(tg_account_init(&account, a, 1000, 0), TG_OK);
    tg_alloc_switch(a, &account);
    char *other = tg_alloc_lua(a, NULL, 0, 300);
    char *stack = tg_alloc_lua(a, NULL, 0, 300);
    assert_true(other != NULL && stack != NULL);
    tg_alloc_mark_stack(a);
    memset(stack, 's', 300);
    tg_alloc_enforce(a, true);
    refused = 0;
    stack = tg_alloc_lua(a, stack, 300, 5000);
    assert_non_null(stack);
    assert_int_equal(refused, 1);
    assert_int_equal(account.live, 5300);
    assert_null(tg_alloc_lua(a, other, 300, 400));
    assert_int_equal(refused, 2);
    stack = tg_alloc_lua(a, stack, 5000, 310); /* it is still marked when it has shrunk */
    assert_non_null(stack);
    tg_alloc_enforce(a, false);
    tg_alloc_fail_at(a, 1);
    stack = tg_alloc_lua(a, stack, 310, 1000);
    assert_non_null(stack);
    tg_mem_set_cap(TG_MEM_PLUGIN, tg_mem_used(TG_MEM_PLUGIN));
    assert_null(tg_alloc_lua(a, NULL, 0, 100000));
    stack = tg_alloc_lua(a, stack, 1000, 100000);
    tg_mem_set_cap(TG_MEM_PLUGIN, SIZE_MAX);
    assert_non_null(stack);
    assert_int_equal(refused, 3);
    for (size_t i = 0; i < 300; i++)
        assert_int_equal(stack[i], 's');
    tg_alloc_lua(a, stack, 100000, 0);
    tg_alloc_lua(a, other, 300, 0);
    assert_int_equal(account.live, 0);
    assert_int_equal(tg_alloc_used(a), 0);
    tg_alloc_switch(a, NULL);
    tg_account_release(&account);
    tg_alloc_free(&a);
    assert_int_equal(tg_mem_used(TG_MEM_PLUGIN), 0);
}

/* ---- The VM ---------------------------------------------------------------------------------- */

/* A function with a frame of some 200 slots, called `depth` frames deep, on the activation's own
 * coroutine or on one of the plugin's. */
static void open_wide(struct bench *b, unsigned depth, const char *call)
{
    char source[4096];
    size_t at = (size_t)snprintf(source, sizeof(source),
                                 "local host = require 'host'\nlocal refuse = host.refuse\n"
                                 "local function wide(a)\n  local v1");
    for (unsigned i = 2; i <= 190; i++)
        at += (size_t)snprintf(source + at, sizeof(source) - at, ", v%u", i);
    snprintf(source + at, sizeof(source) - at,
             " = a\n  return v1\nend\n"
             "local function down(n)\n"
             "  if n == 0 then refuse() local r = wide(7) return r end\n"
             "  local r = down(n - 1) return r\n"
             "end\n"
             "local function recurse(n) local r = wide(n) + recurse(n + 1) return r end\n"
             "local function go() return down(%u) end\n"
             "return { access = function() return %s end,\n"
             "  log = function() return 1 end,\n"
             "  other = function() return recurse(1) end }\n",
             depth, call);
    bench_start(b, source);
}

static void check_wide(unsigned depth, const char *call)
{
    struct bench b;
    bench_init(&b);
    b.refuse_at = 1;
    open_wide(&b, depth, call);
    if (bench_begin(&b, "access") != TG_RUN_DONE)
        fail_msg("%u deep, %s: %.*s", depth, call, TG_STR_ARG(tg_run_error(&b.run)));
    assert_int_equal(lua_tointeger(b.run.L, 1), 7);
    bench_end(&b);
    assert_int_equal(bench_run(&b, "log"), TG_RUN_DONE);
    bench_close(&b);
}

static void test_a_refusal_does_not_reach_a_stack(void **state)
{
    (void)state;
    for (unsigned depth = 0; depth < 40; depth++) {
        check_wide(depth, "go()");
        check_wide(depth, "coroutine.wrap(go)()");
    }
}

static void test_a_stack_that_passes_a_bound_is_the_end(void **state)
{
    struct bench b;
    (void)state;
    for (unsigned size = 16; size <= 256; size += 16) {
        bench_init(&b);
        b.limits.plugin_memory = size * 1024;
        open_wide(&b, 1, "go()");
        assert_int_equal(bench_run(&b, "other"), TG_RUN_KILLED);
        assert_int_equal(b.run.kill, TG_KILL_MEMORY);
        /* A stack grows to twice its size, once. */
        assert_in_range(b.account.peak, size * 1024, 5 * size * 1024);
        assert_int_equal(bench_run(&b, "log"), TG_RUN_DONE);
        bench_close(&b);
    }
}

static void test_a_stack_that_passes_the_share_of_plugins_is_the_end(void **state)
{
    struct bench b;
    (void)state;
    bench_init(&b);
    b.limits.plugin_memory = 16 << 20;
    open_wide(&b, 1, "go()");
    tg_mem_set_cap(TG_MEM_PLUGIN, tg_mem_used(TG_MEM_PLUGIN) + (128 << 10));
    enum tg_run_outcome outcome = bench_run(&b, "other");
    tg_mem_set_cap(TG_MEM_PLUGIN, SIZE_MAX);
    assert_int_equal(outcome, TG_RUN_KILLED);
    assert_int_equal(b.run.kill, TG_KILL_MEMORY);
    assert_true(b.account.peak < 1 << 20);
    assert_int_equal(bench_run(&b, "log"), TG_RUN_DONE);
    bench_close(&b);
}

/* ---- Overflow -------------------------------------------------------------------------------- */

/* A handler that calls on where the stack has overflowed, after an error in it has taken LuaJIT's
 * extra room away again. */
static void test_no_handler_runs_where_the_stack_overflowed(void **state)
{
    (void)state;
    check_true(
        "local calls, overflows = 0, 0\n"
        "local function forever(a, b) local _ forever(a, b) end\n"
        "local m = { __add = forever }\n"
        "local t, u = setmetatable({}, m), setmetatable({}, m)\n"
        "for pad = 1, 60 do\n"
        "  local function deeper(n) if n > 0 then local a, b = deeper(n - 1) return a, b end\n"
        "    return xpcall(function() local _ = t + u end, function(e)\n"
        "      calls = calls + 1\n"
        "      if e:find('stack overflow', 1, true) then overflows = overflows + 1 end\n"
        "      pcall(error)\n"
        "      local _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _\n"
        "      local _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _\n"
        "      local _ = t + u\n"
        "    end)\n"
        "  end\n"
        "  local ok, e = deeper(pad)\n"
        "  if ok or not tostring(e):find('stack overflow', 1, true) then return false end\n"
        "end\n"
        "return calls == 60 and overflows == 60");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_marked_block_grows_past_every_bound),
        cmocka_unit_test(test_a_refusal_does_not_reach_a_stack),
        cmocka_unit_test(test_a_stack_that_passes_a_bound_is_the_end),
        cmocka_unit_test(test_a_stack_that_passes_the_share_of_plugins_is_the_end),
        cmocka_unit_test(test_no_handler_runs_where_the_stack_overflowed),
    };

    return cmocka_run_group_tests_name("script alloc stack", tests, NULL, NULL);
}
