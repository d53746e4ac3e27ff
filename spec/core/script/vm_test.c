/*
 * The life of a VM: loading, what does not load and what is said of it, instances, globals,
 * modules, and the price of a small plugin.
 */
#include "script/marshal.h"
#include "script/support.h"

static void test_a_small_vm_is_small(void **state)
{
    struct bench b;
    (void)state;
    bench_open(&b, "return { access = function() end }");
    assert_true(tg_alloc_held(tg_vm_alloc(b.vm)) <= 256 * 1024);
    bench_close(&b);
}

static void check_load_error(const char *source, size_t n, enum tg_err err, const char *text)
{
    struct bench b;
    bench_init(&b);
    assert_int_equal(bench_load(&b, source, n), err);
    assert_null(b.vm);
    if (strstr(b.error.text, text) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", text, b.error.text);
    assert_int_equal(b.error.n, strlen(b.error.text));
    bench_close(&b);
}

static void load_error(const char *source, const char *text)
{
    check_load_error(source, strlen(source), TG_E_SCRIPT, text);
}

static void test_what_does_not_load(void **state)
{
    (void)state;
    load_error("return {", "plugins/t/init.lua:1: unexpected symbol near '<eof>'");
    load_error("\n\nerror('no')", "plugins/t/init.lua:3: no");
    load_error("", "must return a table, returns a nil");
    load_error("return 7", "must return a table, returns a number");
    load_error("return { access = {} }", "\"access\" must be a function, not a table");
    load_error("return { configure = 1 }", "\"configure\" must be a function, not a number");
    load_error("x = y", "plugins/t/init.lua:1: undeclared global \"y\"");
    load_error("require('host').exit()", "the file's own code cannot wait or end a phase");
    load_error("require('host').wait()", "the file's own code cannot wait or end a phase");
    load_error("\x1bLJ\x02", "plugins/t/init.lua: this is bytecode; a plugin is Lua text");
    check_load_error("require('host').kill('cpu')", 27, TG_E_KILLED,
                     "plugins/t/init.lua:1: killed (cpu)");
}

static void test_a_plugin_larger_than_the_heap_does_not_load(void **state)
{
    struct bench b;
    (void)state;
    bench_init(&b);
    b.limits.plugin_heap = 256 * 1024;
    const char *source = "local t = {} for i = 1, 1e6 do t[i] = { i } end return {}";
    assert_int_equal(bench_load(&b, source, strlen(source)), TG_E_KILLED);
    assert_non_null(strstr(b.error.text, "killed (memory)"));
    bench_close(&b);
}

static void test_init_and_stop_run(void **state)
{
    struct bench b;
    (void)state;
    bench_open(&b, "local host = require 'host' local P = {}\n"
                   "function P.init(plugin) host.note(tostring(plugin == P)) total = 5 end\n"
                   "function P.stop() host.note('stop ' .. total) end return P");
    assert_int_equal(tg_vm_stop(b.vm, &b.error), TG_OK);
    assert_string_equal(b.notes, "true stop 5");
    bench_close(&b);
}

static void test_a_failing_init_is_reported(void **state)
{
    struct bench b;
    const char *source = "return { init = function() error('not today') end }";
    (void)state;
    bench_init(&b);
    assert_int_equal(bench_load(&b, source, strlen(source)), TG_OK);
    assert_int_equal(tg_vm_start(b.vm, &b.error), TG_E_SCRIPT);
    assert_string_equal(b.error.text, "plugins/t/init.lua:1: not today");
    bench_close(&b);
}

/* A blob of { limit = 5, name = "n" }, made in another state. */
static struct tg_blob make_conf(const char *expression)
{
    struct tg_marshal_options options = {.root = "conf", .tag = TG_MEM_CONFIG};
    struct tg_blob blob;
    lua_State *L = luaL_newstate();
    char chunk[256];
    snprintf(chunk, sizeof(chunk), "return %s", expression);
    assert_int_equal(luaL_dostring(L, chunk), 0);
    assert_int_equal(tg_marshal_encode(L, -1, &options, &blob, NULL, 0), TG_OK);
    lua_close(L);
    return blob;
}

static void test_instances_are_configured(void **state)
{
    struct bench b;
    struct tg_blob one = make_conf("{ limit = 5 }"), two = make_conf("{ limit = 7 }");
    int refs[2];
    (void)state;
    bench_open(&b, "return { configure = function(conf) return { twice = conf.limit * 2 } end,\n"
                   "access = function(conf) return conf.limit + conf.compiled.twice end }");
    assert_int_equal(tg_vm_configure(b.vm, tg_str(one.p, one.n), TG_STR("s"), &refs[0], &b.error),
                     TG_OK);
    assert_int_equal(tg_vm_configure(b.vm, tg_str(two.p, two.n), TG_STR("s"), &refs[1], &b.error),
                     TG_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(tg_run_init(&b.run, b.vm, NULL, bench_ref(&b, "access")), TG_OK);
        lua_rawgeti(b.run.L, LUA_REGISTRYINDEX, refs[i]);
        assert_int_equal(tg_run_resume(&b.run, 1), TG_RUN_DONE);
        assert_int_equal(lua_tointeger(b.run.L, 1), i == 0 ? 15 : 21);
        tg_run_release(&b.run);
        tg_vm_unref(b.vm, &refs[i]);
        assert_int_equal(refs[i], LUA_NOREF);
    }
    tg_blob_release(&one);
    tg_blob_release(&two);
    bench_close(&b);
}

static void test_instances_that_fail(void **state)
{
    struct bench b;
    struct tg_blob number = make_conf("3"), table = make_conf("{}");
    int ref;
    (void)state;
    bench_open(&b, "return { configure = function(conf) error('limit is missing') end }");
    assert_int_equal(tg_vm_configure(b.vm, tg_str(number.p, number.n), TG_STR("s"), &ref, &b.error),
                     TG_E_SCRIPT);
    assert_non_null(strstr(b.error.text, "configuration is not a table"));
    assert_int_equal(tg_vm_configure(b.vm, tg_str(table.p, table.n), TG_STR("s"), &ref, &b.error),
                     TG_E_SCRIPT);
    assert_string_equal(b.error.text, "plugins/t/init.lua:1: limit is missing");
    assert_int_equal(ref, LUA_NOREF);
    tg_blob_release(&number);
    tg_blob_release(&table);
    bench_close(&b);
}

static void check_error(const char *source, const char *text)
{
    struct bench b;
    bench_open(&b, source);
    assert_int_equal(bench_run(&b, "access"), TG_RUN_ERROR);
    assert_string_equal(b.text, text);
    bench_close(&b);
}

static void test_globals_are_frozen_after_start(void **state)
{
    (void)state;
    check_error(
        "count = 1 return { access = function()\n count = count + 1 end }",
        "plugins/t/init.lua:2: global \"count\" written after the plugin was loaded; keep state "
        "in a local or in ctx.state");
    check_error("return { access = function() return strng end }",
                "plugins/t/init.lua:1: undeclared global \"strng\"");
    check_error(
        "return { access = function() string = nil end }",
        "plugins/t/init.lua:1: global \"string\" written after the plugin was loaded; keep state "
        "in a local or in ctx.state");
    check_error("return { access = function() rawset(_G, 'x', 1) end }",
                "plugins/t/init.lua:1: rawset: the table is protected");
    check_true(
        "return #string.rep('x', 3) == 3 and _G.string == string and rawget(_G, 'x') == nil");
}

static void test_modules_are_loaded_once(void **state)
{
    struct bench b;
    (void)state;
    bench_init(&b);
    b.module_text = "local name = ... return { name = name }";
    bench_start(&b, "local m = require 'mod' return { access = function()\n"
                    "return require('mod') == m and m.name == 'mod' end }");
    assert_int_equal(b.resolved, 1);
    assert_int_equal(bench_begin(&b, "access"), TG_RUN_DONE);
    assert_true(lua_toboolean(b.run.L, 1));
    bench_end(&b);
    assert_int_equal(b.resolved, 1);
    bench_close(&b);
}

static void module_error(const char *module, const char *source, const char *text)
{
    struct bench b;
    bench_init(&b);
    b.module_text = module;
    assert_int_equal(bench_load(&b, source, strlen(source)), TG_E_SCRIPT);
    if (strstr(b.error.text, text) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", text, b.error.text);
    bench_close(&b);
}

static void test_modules_that_do_not_load(void **state)
{
    (void)state;
    module_error(NULL, "require 'ffi'", "plugins/t/init.lua:1: require \"ffi\": no such module");
    module_error(NULL, "require 'jit'", "no such module");
    module_error(NULL, "require '../secret'", "no such module");
    module_error("return {", "require 'mod'", "plugins/t/mod.lua:1: unexpected symbol");
    module_error("\n error('inside')", "require 'mod'", "plugins/t/mod.lua:2: inside");
    module_error("\x1bLJ\x02", "require 'mod'", "require \"mod\"");
    module_error("local name = ... return require(name == 'mod' and 'mod2' or 'mod')",
                 "require 'mod'", "modules need each other: mod -> mod2 -> mod");
    module_error("return require((...) .. 'x')", "require 'mod'", "more than 32 modules deep");
    check_error(
        "return { access = function() require 'mod' end }",
        "plugins/t/init.lua:1: require \"mod\": modules are loaded at start only; require it "
        "at file level");
}

static void test_a_pcall_does_not_hide_an_exit_in_a_module(void **state)
{
    struct bench b;
    const char *source = "pcall(require, 'mod') require('host').note('no')";
    (void)state;
    bench_init(&b);
    b.module_text = "require('host').exit()";
    assert_int_equal(bench_load(&b, source, strlen(source)), TG_E_SCRIPT);
    assert_string_equal(b.notes, "");
    bench_close(&b);
}

enum { NOTES = 4096 };

/* What the VM of `from` saves reaches restore() of the VM of `to`. */
static enum tg_err hand_over(const char *from, const char *to, char notes[NOTES])
{
    static char state[TG_VM_STATE_MAX];
    struct bench b;
    struct tg_blob blob;
    bench_open(&b, from);
    enum tg_err err = tg_vm_save(b.vm, &blob, &b.error);
    size_t n = blob.n;
    if (n > 0)
        memcpy(state, blob.p, n);
    snprintf(notes, NOTES, "%s", b.error.text);
    tg_blob_release(&blob);
    bench_close(&b);
    if (err != TG_OK)
        return err;
    bench_open(&b, to);
    if (n > 0)
        err = tg_vm_restore(b.vm, tg_str(state, n), &b.error);
    snprintf(notes, NOTES, "%s%s", b.notes, b.error.text);
    bench_close(&b);
    return err;
}

static void test_state_is_saved_and_restored(void **state)
{
    const char *restore = "local h = require 'host' return { access = print, restore = function(t) "
                          "h.note(t.list[2] .. t.word) end }";
    char notes[NOTES];
    (void)state;
    assert_int_equal(hand_over("return { access = print, save = function() return { word = 'w', "
                               "list = { 1, 2 } } end }",
                               restore, notes),
                     TG_OK);
    assert_string_equal(notes, "2w");
    assert_int_equal(hand_over("return { access = print }", restore, notes), TG_OK);
    assert_string_equal(notes, "");
    assert_int_equal(hand_over("return { access = print, save = function() end }", restore, notes),
                     TG_OK);
    assert_int_equal(hand_over("return { access = print, save = function() return 1 end }",
                               "return { access = print }", notes),
                     TG_OK);
    assert_int_equal(
        hand_over("return { access = print, save = function() return print end }", restore, notes),
        TG_E_INVALID);
    assert_non_null(strstr(notes, "save(): state: a function cannot cross"));
    assert_int_equal(hand_over("return { access = print, save = function() return "
                               "('x'):rep(2 ^ 20 + 1) end }",
                               restore, notes),
                     TG_E_LIMIT);
    assert_int_equal(
        hand_over("return { access = print, save = function() return {} end }", restore, notes),
        TG_E_SCRIPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_small_vm_is_small),
        cmocka_unit_test(test_what_does_not_load),
        cmocka_unit_test(test_a_plugin_larger_than_the_heap_does_not_load),
        cmocka_unit_test(test_init_and_stop_run),
        cmocka_unit_test(test_a_failing_init_is_reported),
        cmocka_unit_test(test_instances_are_configured),
        cmocka_unit_test(test_instances_that_fail),
        cmocka_unit_test(test_globals_are_frozen_after_start),
        cmocka_unit_test(test_modules_are_loaded_once),
        cmocka_unit_test(test_modules_that_do_not_load),
        cmocka_unit_test(test_a_pcall_does_not_hide_an_exit_in_a_module),
        cmocka_unit_test(test_state_is_saved_and_restored),
    };

    return cmocka_run_group_tests_name("script vm", tests, NULL, NULL);
}
