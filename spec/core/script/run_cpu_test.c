/*
 * Slices and budgets of CPU time: preemption at every instruction changes no result, a spinning
 * plugin is preempted and then killed under the real watchdog whatever it wraps itself in, and
 * signals that strike at any point under load harm nothing.
 */
#include "event/watchdog.h"
#include "script/support.h"

#include <stdatomic.h>

/* ---- Preemption at every instruction --------------------------------------------------------- */

/* Runs access() to its end and returns its result as a string; counts the preemptions. */
static const char *run_text(const char *source, bool interrupt, unsigned *preemptions)
{
    static char text[1024];
    struct bench b;
    bench_init(&b);
    b.limits.plugin_cpu = 60 * TG_USEC_PER_SEC;
    bench_start(&b, source);
    if (interrupt)
        bench_hurry(&b);
    *preemptions = 0;
    enum tg_run_outcome outcome = bench_begin(&b, "access");
    while (outcome == TG_RUN_PREEMPTED || outcome == TG_RUN_WAIT) {
        int nargs = 0;
        *preemptions += outcome == TG_RUN_PREEMPTED;
        if (outcome == TG_RUN_WAIT) {
            lua_pushinteger(b.run.L, 7);
            nargs = 1;
        }
        outcome = tg_run_resume(&b.run, nargs);
    }
    if (outcome != TG_RUN_DONE)
        fail_msg("%.*s", TG_STR_ARG(tg_run_error(&b.run)));
    snprintf(text, sizeof(text), "%s", lua_tostring(b.run.L, 1));
    bench_end(&b);
    bench_close(&b);
    return text;
}

static void check_preempted(const char *body, unsigned least)
{
    char source[2048], plain[1024];
    unsigned preemptions;
    snprintf(source, sizeof(source),
             "local host = require 'host'\nreturn { access = function() %s end }", body);
    snprintf(plain, sizeof(plain), "%s", run_text(source, false, &preemptions));
    assert_int_equal(preemptions, 0);
    assert_string_equal(run_text(source, true, &preemptions), plain);
    if (preemptions < least)
        fail_msg("only %u preemptions: %s", preemptions, body);
}

static void test_preemption_at_every_instruction(void **state)
{
    (void)state;
    check_preempted("local s = 0 for i = 1, 200 do s = s + i % 7 end return s", 200);
    check_preempted("local t = {} for i = 1, 50 do t[#t + 1] = i .. ':' .. (i * 2) end "
                    "return table.concat(t, ',')",
                    200);
    check_preempted(
        "local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end "
        "return fib(10)",
        500);
    check_preempted("local function v(...) return select('#', ...), ... end "
                    "local function w(...) return v(...) end return table.concat({ w(v(w(1, nil, "
                    "3))) , 'x' } )",
                    10);
    check_preempted(
        "local m = setmetatable({}, { __index = function(_, k) return k * 2 end, "
        "__add = function(a, b) return 5 end, __concat = function() return 'c' end, "
        "__lt = function() return true end, __call = function(_, a, b) return a - b end, "
        "__eq = function() return false end, __newindex = function(t, k, v) rawset(t, k, v + 1) "
        "end }) "
        "m.a = 1 return (m[4] + m(9, 2)) .. (m + 1) .. (m .. 'x') .. tostring(m < m) .. m.a",
        20);
    check_preempted(
        "local ok, e = pcall(function() local t = {} for i = 1, 9 do t[i] = i end error(t) end) "
        "local ok2, e2 = xpcall(function() error('x', 0) end, function(e) local s = e for i = 1, 5 "
        "do "
        "s = s .. i end return s end) return tostring(ok) .. #e .. e2",
        20);
    check_preempted("local out = {} local co = coroutine.wrap(function(a) for i = 1, 20 do "
                    "a = a + coroutine.yield(a * i) end return 'end' end) "
                    "local v = co(1) for i = 1, 20 do out[i] = v v = co(i) end return "
                    "table.concat(out, ' ') .. v",
                    200);
    check_preempted(
        "local function gen(n) return coroutine.wrap(function() for i = 1, n do "
        "coroutine.yield(i) end end) end local s = 0 for a in gen(5) do for b in gen(a) do "
        "s = s + a * b end end return s",
        200);
    check_preempted("local s = '' for k, v in pairs({ 10, 20, 30 }) do s = s .. k .. v end "
                    "for i, v in ipairs({ 'a', 'b' }) do s = s .. i .. v end return s",
                    20);
    check_preempted(
        "local t = { 5, 3, 9, 1, 7 } table.sort(t, function(a, b) local x = a for i = 1, 5 do "
        "x = x + 1 end return a > b end) return table.concat(t)",
        4);
    check_preempted(
        "return (('hello world'):gsub('%w+', function(w) local r = '' for c in w:gmatch('.') do "
        "r = c .. r end return r end))",
        50);
    check_preempted("local r = 0 for i = 1, 5 do r = r + host.wait() r = r * 2 end return r", 20);
    check_preempted("return coroutine.wrap(function() local r = 0 for i = 1, 5 do r = r + "
                    "select(2, pcall(coroutine.wrap(function() return host.wait() + i end))) end "
                    "return r end)()",
                    30);
    check_preempted(
        "local a, b, c = {}, {}, {} for i = 1, 30 do local f = function() return i end a[i] = f "
        "b[f] = i c['k' .. i] = f end local s = 0 for f, i in pairs(b) do s = s + f() * i end "
        "return s",
        100);
}

/* ---- Under the watchdog ---------------------------------------------------------------------- */

struct watched_bench {
    struct bench b;
};

/* Of the test that runs; static, so that one that fails can be cleaned up after. So is every bench
 * that is watched: the watchdog looks at it until then. */
static struct {
    struct tg_watchdog *dog;
    struct tg_watch watch;
    pthread_t storm;
    bool storms;
} watching;

static _Atomic bool storming;
static _Atomic unsigned struck;

static int stop_watching(void **state)
{
    (void)state;
    if (watching.storms) {
        storming = false;
        pthread_join(watching.storm, NULL);
        watching.storms = false;
    }
    if (watching.dog != NULL)
        tg_watchdog_remove(watching.dog, &watching.watch);
    tg_watchdog_free(&watching.dog);
    return 0;
}

/* ThreadSanitizer holds signals back until its thread makes a call that it knows, which a spinning
 * interpreter never does. */
static void need_prompt_signals(void)
{
#ifdef __SANITIZE_THREAD__
    skip();
#endif
}

static void watched_open(struct watched_bench *w, const char *source)
{
    struct tg_watchdog *dog;
    bench_init(&w->b);
    assert_int_equal(tg_watchdog_new(&dog), TG_OK);
    tg_watch_init(&watching.watch, &w->b.runner.seq, w->b.runner.slice_us, tg_runner_interrupt,
                  &w->b.runner);
    assert_int_equal(tg_watchdog_add(dog, &watching.watch), TG_OK);
    watching.dog = dog;
    w->b.runner.asleep = &watching.watch.asleep;
    w->b.runner.wake = tg_watchdog_wake;
    w->b.runner.wake_arg = dog;
    bench_start(&w->b, source);
}

static void watched_close(struct watched_bench *w)
{
    stop_watching(NULL);
    bench_close(&w->b);
}

static void check_spin(const char *body)
{
    static struct watched_bench w;
    char source[1024];
    snprintf(source, sizeof(source),
             "local host = require 'host'\nreturn { access = function()\ndo %s "
             "end\nhost.note('survived') "
             "end,\n"
             "log = function() return 1 end }",
             body);
    watched_open(&w, source);
    w.b.limits.plugin_churn = 0; /* none: a watchdog that comes late must not lose to it */
    uint64_t start = tg_clock_thread_cpu();
    enum tg_run_outcome outcome = bench_run(&w.b, "access");
    uint64_t took = tg_clock_thread_cpu() - start;
    if (outcome != TG_RUN_KILLED || w.b.run.kill != TG_KILL_CPU || took > TG_USEC_PER_SEC)
        fail_msg("outcome %d, %s after %llu us, \"%s\": %s", outcome, tg_kill_label(w.b.run.kill),
                 (unsigned long long)took, w.b.text, body);
    assert_true(took >= 19000);
    assert_string_equal(w.b.notes, "");
    assert_int_equal(bench_run(&w.b, "log"), TG_RUN_DONE);
    watched_close(&w);
}

static void test_spinning_is_killed_in_every_wrapping(void **state)
{
    need_prompt_signals();
    (void)state;
    check_spin("while true do end");
    check_spin("local function f() return f() end f()");
    check_spin("for i = 1, 1e18 do end");
    check_spin("while true do pcall(function() while true do end end) end");
    check_spin("pcall(pcall, pcall, function() while true do end end)");
    check_spin("while true do pcall(pcall, error) end");
    check_spin("xpcall(function() while true do end end, function() while true do end end)");
    check_spin("while true do xpcall(error, function() while true do end end) end");
    check_spin("coroutine.wrap(function() while true do end end)()");
    check_spin(
        "while true do coroutine.resume(coroutine.create(function() while true do end end)) end");
    check_spin("local co = coroutine.wrap(function() while true do coroutine.yield() end end) "
               "while true do co() end");
    check_spin(
        "local t = setmetatable({}, { __index = function() while true do end end }) return t.x");
    check_spin(
        "local t = setmetatable({}, { __add = function() while true do end end }) return t + 1");
    check_spin("for _ in function() while true do end end do end");
    check_spin("for _ in function() return 1 end do end");
    check_spin("table.sort({ 3, 2, 1 }, function() while true do end end)");
    check_spin("local t = {} for i = 1, 2000 do t[i] = 1 end while true do "
               "pcall(table.sort, t, function() pcall(function() while true do end end) end) end");
    check_spin("tostring(setmetatable({}, { __tostring = function() while true do end end }))");
    check_spin("print(setmetatable({}, { __tostring = function() while true do end end }))");
    check_spin("('x'):gsub('x', function() while true do end end)");
    check_spin(
        "while true do pcall(error, setmetatable({}, { __tostring = function() while true do end "
        "end })) end");
    check_spin("while true do host.note('') end");
    check_spin(
        "repeat local ok = pcall(error, setmetatable({}, { __index = error })) until not ok == ok");
    check_spin(
        "local t = {} for i = 1, 1000 do t[i] = i end while true do table.concat(t, ',') end");
    check_spin("local t = table.new(0, 64) for i = 0, 29 do t[2 ^ i] = 1 end "
               "table.insert(t, 1, 0)");
}

static void test_others_run_between_the_slices(void **state)
{
    static struct watched_bench w;
    struct tg_run other;
    unsigned slices = 0;
    need_prompt_signals();
    (void)state;
    watched_open(&w,
                 "local n = 0 return { access = function() while true do n = n + 1 end end,\n"
                 "log = function(x) local m = n for i = 1, 100 do x = x + 1 end return x end }");
    enum tg_run_outcome outcome = bench_begin(&w.b, "access");
    while (outcome == TG_RUN_PREEMPTED) {
        slices++;
        assert_int_equal(tg_run_init(&other, w.b.vm, NULL, bench_ref(&w.b, "log")), TG_OK);
        lua_pushinteger(other.L, (lua_Integer)slices);
        enum tg_run_outcome done = tg_run_resume(&other, 1);
        while (done == TG_RUN_PREEMPTED) /* short as it is, a machine may make it long */
            done = tg_run_resume(&other, 0);
        assert_int_equal(done, TG_RUN_DONE);
        assert_int_equal(lua_tointeger(other.L, 1), slices + 100);
        tg_run_release(&other);
        outcome = tg_run_resume(&w.b.run, 0);
    }
    assert_int_equal(outcome, TG_RUN_KILLED);
    /* How many depends on when the machine lets the watchdog look. */
    assert_in_range(slices, 1, 25);
    assert_true(w.b.run.cpu_us >= 20000);
    bench_end(&w.b);
    watched_close(&w);
}

static void test_loading_is_bounded_too(void **state)
{
    static struct watched_bench w;
    const char *source = "while true do pcall(function() while true do end end) end";
    need_prompt_signals();
    (void)state;
    watched_open(&w, "return {}");
    tg_vm_free(&w.b.vm);
    assert_int_equal(bench_load(&w.b, source, strlen(source)), TG_E_KILLED);
    assert_non_null(strstr(w.b.error.text, "plugins/t/init.lua:1: killed (cpu)"));
    watched_close(&w);
}

/* ---- Signals at any point -------------------------------------------------------------------- */

/* Signals the worker as if everything were overdue, at all distances; not faster than it can
 * handle. */
static void *storm(void *arg)
{
    pthread_t target = *(pthread_t *)arg;
    for (unsigned round = 0; storming; round++) {
        unsigned before = struck;
        pthread_kill(target, TG_WATCHDOG_SIGNAL);
        while (struck == before && storming) {
        }
        for (volatile unsigned i = 0; i < round * 37 % 2000; i++) {
        }
    }
    return NULL;
}

static void on_storm(void *arg, uint64_t seq, uint64_t since_us)
{
    struct bench *b = arg;
    (void)seq;
    (void)since_us;
    struck++;
    tg_runner_interrupt(&b->runner, b->runner.seq, tg_clock_thread_cpu());
}

static void run_storm(struct watched_bench *w)
{
    uint64_t start = tg_clock_mono_now();
    unsigned done = 0, preempted = 0;
    while ((done < 100 || preempted < 200) && tg_clock_mono_now() - start < 60 * TG_USEC_PER_SEC) {
        enum tg_run_outcome outcome = bench_begin(&w->b, done % 3 == 0 ? "other" : "access");
        while (outcome == TG_RUN_PREEMPTED) {
            preempted++;
            outcome = tg_run_resume(&w->b.run, 0);
        }
        if (outcome != TG_RUN_DONE && outcome != TG_RUN_KILLED)
            fail_msg("%.*s", TG_STR_ARG(tg_run_error(&w->b.run)));
        if (outcome == TG_RUN_DONE)
            assert_string_equal(lua_tostring(w->b.run.L, 1), "ok");
        bench_end(&w->b);
        done++;
    }
    if (done < 100 || preempted < 200)
        fail_msg("%u done, %u preempted", done, preempted);
}

static void test_a_storm_of_signals(void **state)
{
    static struct watched_bench w;
    static pthread_t self;
    need_prompt_signals();
    (void)state;
    watched_open(
        &w, "return { access = function()\n"
            "local t = {} for i = 1, 100 do t[i] = { i, tostring(i) } end\n"
            "local co = coroutine.wrap(function() for i = 1, 20 do coroutine.yield(i) end end)\n"
            "local s = 0 for i = 1, 20 do s = s + co() end\n"
            "local ok, e = pcall(error, 'x', 0)\n"
            "table.sort(t, function(a, b) return a[1] > b[1] end)\n"
            "return s == 210 and not ok and e == 'x' and t[1][1] == 100 and 'ok' or 'no' end,\n"
            "other = function() local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(i) end return 'ok' "
            "end }");
    tg_watchdog_remove(watching.dog, &watching.watch);
    tg_watch_init(&watching.watch, &w.b.runner.seq, TG_USEC_PER_SEC * 1000, on_storm, &w.b);
    assert_int_equal(tg_watchdog_add(watching.dog, &watching.watch), TG_OK);
    self = pthread_self();
    storming = true;
    watching.storms = pthread_create(&watching.storm, NULL, storm, &self) == 0;
    assert_true(watching.storms);
    run_storm(&w);
    watched_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_preemption_at_every_instruction, stop_watching),
        cmocka_unit_test_teardown(test_spinning_is_killed_in_every_wrapping, stop_watching),
        cmocka_unit_test_teardown(test_others_run_between_the_slices, stop_watching),
        cmocka_unit_test_teardown(test_loading_is_bounded_too, stop_watching),
        cmocka_unit_test_teardown(test_a_storm_of_signals, stop_watching),
    };

    return cmocka_run_group_tests_name("script cpu", tests, NULL, NULL);
}
