/*
 * A plugin VM in a test: built from a string, with a clock that stands still, small host functions,
 * and helpers that run one function of the plugin to its end.
 *
 *     struct bench b;
 *     bench_open(&b, "return { access = function() ... end }");   fails the test if it does not
 * load assert_int_equal(bench_run(&b, "access"), TG_RUN_DONE); bench_close(&b);
 *
 * The host library is require "host":
 *     wait(...)   suspends; returns what the test resumes with          exit()  ends the phase
 *     kill(name)  kills the caller                                      note(v) remembers v (text)
 *     collect()   collects all garbage
 *     refuse()    refuses the growth that comes as number refuse_at of the bench (0: none)
 */
#ifndef SPEC_SCRIPT_SUPPORT_H
#define SPEC_SCRIPT_SUPPORT_H

#include "base/mem.h"
#include "script/run.h"
#include "script/vm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include <cmocka.h>

struct bench {
    struct tg_limits limits;
    struct tg_clock clock;
    struct tg_runner runner;
    struct tg_vm *vm;
    struct tg_vm_error error;
    struct tg_account account;
    struct tg_run run;
    char notes[1024];            /* what host.note() and print() were told, separated by spaces */
    char text[TG_RUN_ERROR_MAX]; /* the last error */
    const char *module_text;     /* what require "mod" finds */
    unsigned resolved;           /* how often the resolver was asked */
    uint64_t fail_at;            /* growth that fails, counted from the host's libraries on */
    uint64_t refuse_at;          /* the same, counted from host.refuse() on */
};

static const char *const bench_functions[] = {"access", "log", "other"};

static void bench_note(struct bench *b, const char *p, size_t n)
{
    size_t at = strlen(b->notes);
    snprintf(b->notes + at, sizeof(b->notes) - at, "%s%.*s", at > 0 ? " " : "", (int)n, p);
}

static struct bench *bench_of(lua_State *L)
{
    return tg_vm_arg(tg_vm_from(L));
}

static int host_wait(lua_State *L)
{
    return tg_run_suspend(L);
}

static int host_exit(lua_State *L)
{
    return tg_run_exit(L);
}

static int host_kill(lua_State *L)
{
    const char *label = luaL_checkstring(L, 1);
    for (int reason = 1; reason < TG_KILL_COUNT; reason++)
        if (strcmp(tg_kill_label((enum tg_kill)reason), label) == 0)
            tg_run_raise_kill(L, (enum tg_kill)reason);
    return luaL_error(L, "no such reason");
}

static int host_note(lua_State *L)
{
    size_t n;
    const char *p = luaL_checklstring(L, 1, &n);
    bench_note(bench_of(L), p, n);
    return 0;
}

static int host_refuse(lua_State *L)
{
    tg_alloc_fail_at(tg_vm_alloc(tg_vm_from(L)), bench_of(L)->refuse_at);
    return 0;
}

static int host_collect(lua_State *L)
{
    lua_gc(L, LUA_GCCOLLECT, 0);
    return 0;
}

static void bench_libraries(lua_State *L, void *arg)
{
    static const luaL_Reg functions[] = {
        {"wait", host_wait}, {"exit", host_exit},     {"kill", host_kill},
        {"note", host_note}, {"refuse", host_refuse}, {"collect", host_collect},
        {NULL, NULL},
    };
    tg_alloc_fail_at(tg_vm_alloc(tg_vm_from(L)), ((struct bench *)arg)->fail_at);
    lua_newtable(L);
    for (const luaL_Reg *f = functions; f->name != NULL; f++) {
        lua_pushcfunction(L, f->func);
        lua_setfield(L, -2, f->name);
    }
    lua_setfield(L, -2, "host");
}

static bool bench_resolve(void *arg, struct tg_str name, struct tg_vm_module *out)
{
    struct bench *b = arg;
    b->resolved++;
    if (b->module_text == NULL || !tg_str_starts(name, TG_STR("mod")))
        return false;
    out->text = tg_str_c(b->module_text);
    out->name = TG_STR("plugins/t/mod.lua");
    return true;
}

static void bench_print(void *arg, struct tg_run *run, struct tg_str line)
{
    (void)run;
    bench_note(arg, line.p, line.n);
}

static void bench_init(struct bench *b)
{
    memset(b, 0, sizeof(*b));
    tg_limits_init(&b->limits);
    tg_clock_init_fake(&b->clock, UINT64_C(1704067200) * TG_USEC_PER_SEC);
    tg_clock_advance(&b->clock, TG_USEC_PER_SEC);
    tg_runner_init(&b->runner);
}

static enum tg_err bench_load(struct bench *b, const char *source, size_t n)
{
    struct tg_vm_options options = {
        .name = TG_STR("t"),
        .file = TG_STR("plugins/t/init.lua"),
        .source = tg_str(source, n),
        .limits = &b->limits,
        .clock = &b->clock,
        .runner = &b->runner,
        .functions = bench_functions,
        .function_count = TG_COUNT_OF(bench_functions),
        .open = bench_libraries,
        .resolve = bench_resolve,
        .on_print = bench_print,
        .arg = b,
    };
    return tg_vm_new(&options, &b->vm, &b->error);
}

/* With limits or a module set beforehand by the test: after bench_init(). */
TG_UNUSED static void bench_start(struct bench *b, const char *source)
{
    if (bench_load(b, source, strlen(source)) != TG_OK || tg_vm_start(b->vm, &b->error) != TG_OK)
        fail_msg("%s", b->error.text);
}

TG_UNUSED static void bench_open(struct bench *b, const char *source)
{
    bench_init(b);
    bench_start(b, source);
}

TG_UNUSED static void bench_close(struct bench *b)
{
    tg_vm_free(&b->vm);
    assert_int_equal(tg_mem_used(TG_MEM_PLUGIN), 0);
}

static int bench_ref(struct bench *b, const char *name)
{
    for (unsigned i = 0; i < TG_COUNT_OF(bench_functions); i++)
        if (strcmp(bench_functions[i], name) == 0)
            return tg_vm_function(b->vm, i);
    fail_msg("no function %s", name);
    return LUA_NOREF;
}

/* Begins an activation in an account of its own; b->run is left open. */
TG_UNUSED static enum tg_run_outcome bench_begin(struct bench *b, const char *name)
{
    assert_int_equal(tg_account_init(&b->account, tg_vm_alloc(b->vm), b->limits.plugin_memory,
                                     b->limits.plugin_churn),
                     TG_OK);
    assert_int_equal(tg_run_init(&b->run, b->vm, &b->account, bench_ref(b, name)), TG_OK);
    return tg_run_resume(&b->run, 0);
}

TG_UNUSED static void bench_end(struct bench *b)
{
    struct tg_str error = tg_run_error(&b->run);
    memcpy(b->text, error.p, error.n);
    b->text[error.n] = '\0';
    tg_run_release(&b->run);
    tg_account_release(&b->account);
}

/* Runs `name` to its end, going on after preemptions; the error is in b->text. */
TG_UNUSED static enum tg_run_outcome bench_run(struct bench *b, const char *name)
{
    enum tg_run_outcome outcome = bench_begin(b, name);
    while (outcome == TG_RUN_PREEMPTED)
        outcome = tg_run_resume(&b->run, 0);
    bench_end(b);
    return outcome;
}

static void bench_interrupt_now(void *arg)
{
    struct bench *b = arg;
    tg_runner_interrupt(&b->runner, b->runner.seq, tg_clock_thread_cpu());
}

/* Stands for the watchdog: every entry from now on is overdue at once. */
TG_UNUSED static void bench_hurry(struct bench *b)
{
    static const _Atomic bool always = true;
    b->runner.asleep = &always;
    b->runner.wake = bench_interrupt_now;
    b->runner.wake_arg = b;
}

/* Loads `source`, which must be the body of access(), and expects it to return true. */
TG_UNUSED static void check_true(const char *body)
{
    struct bench b;
    char source[4096];
    snprintf(source, sizeof(source),
             "local host = require 'host'\nlocal P = {}\nfunction P.access() %s\nend\nreturn P",
             body);
    bench_open(&b, source);
    enum tg_run_outcome outcome = bench_begin(&b, "access");
    if (outcome != TG_RUN_DONE)
        fail_msg("outcome %d: %s", outcome, b.vm ? tg_run_error(&b.run).p : "");
    if (b.run.nresults < 1 || !lua_toboolean(b.run.L, 1))
        fail_msg("not true: %s", body);
    bench_end(&b);
    bench_close(&b);
}

#endif
