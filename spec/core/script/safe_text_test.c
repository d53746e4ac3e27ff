/*
 * A refused allocation at any function that makes text, with the state's `top` left by an earlier
 * call at each place among the frames of callers: what LuaJIT's own machine code does not survive
 * (safe_text.h). The values of the functions are LuaJIT's.
 */
#include "script/support.h"

/* The plugin calls refuse() with `arguments` arguments, so that `top` ends so far up, then goes
 * down some frames without a call of C (once before, after a
 * collection, so that neither the stack grows nor a step of the collector puts `top` right) and
 * evaluates there. */
static void open_plugin(struct bench *b, const char *expression, unsigned arguments)
{
    char source[1024], nils[128] = "";
    for (unsigned i = 1; i < arguments; i++)
        strcat(nils, ",nil");
    snprintf(source, sizeof(source),
             "local host = require('host')\n"
             "local refuse, collect = host.refuse, host.collect\n"
             "local function down(n, x, i, s)\n"
             "  local a, b, c\n"
             "  if n == 0 then local r = %s return r end\n"
             "  local r = down(n - 1, x, i, s) return r\n"
             "end\n"
             "return { access = function()\n"
             "  collect() down(40, 1, 2, 'x')\n"
             "  refuse(1%s) local r = down(40, 1.5, 71, 'aBcdE') return r\n"
             "end }\n",
             expression, nils);
    bench_open(b, source);
}

static void refused_everywhere(const char *expression)
{
    for (unsigned arguments = 1; arguments < 24; arguments++) {
        struct bench b;
        open_plugin(&b, expression, arguments);
        b.refuse_at = 1;
        assert_int_equal(bench_run(&b, "access"), TG_RUN_ERROR);
        if (strstr(b.text, "not enough memory") == NULL)
            fail_msg("%s, %u: %s", expression, arguments, b.text);
        b.refuse_at = 0;
        assert_int_equal(bench_run(&b, "access"), TG_RUN_DONE); /* the VM serves on */
        bench_close(&b);
    }
}

static void a_refusal_harms_no_frame(void **state)
{
    static const char *const expressions[] = {
        "tostring(x)",
        "s:sub(2, 3)",
        "string.char(i, 200, 201)",
        "s:upper()",
        "s:lower()",
        "s:reverse()",
        "s:rep(i)",
        "s:gsub('a', 'bb')",
        "x .. s",
        "i .. ''",
        "{ x }",
        "{ a = 1 }",
        "string.format('%d%s', i, s)",
        "{}",
        "{ s:byte(1, 5) }",
        "table.new(8, 0)",
        "function() return x end",
    };
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(expressions); i++)
        refused_everywhere(expressions[i]);
}

static void the_values_are_those_of_the_manual(void **state)
{
    (void)state;
    check_true(
        "local s = 'hello' return s:sub(2, 3) == 'el' and s:sub(-3) == 'llo' and s:sub(0) == s"
        " and s:sub(4, 2) == '' and s:sub(-99, 1) == 'h' and s:sub(6) == '' and s:sub(5) == 'o'");
    check_true(
        "local s = 'hello' return s:sub(2, -2) == 'ell' and s:sub(2, math.huge) == 'ello'"
        " and s:sub(-math.huge, 2) == 'he' and s:sub(2.9, 3.9) == 'el' and s:sub('2') == 'ello'"
        " and s:sub(0/0, 2) == 'he'");
    check_true("return string.char() == '' and string.char(104, 105, 0, 255) == 'hi\\0\\255'");
    check_true("local ok, e = pcall(function() return (string.char(1, 256)) end) return not ok and"
               " e:find(\"bad argument #2 to 'char' %(invalid value%)\") ~= nil");
    check_true("return ('aZ[`{@\\200'):upper() == 'AZ[`{@\\200' and ('aZ[`{@\\200'):lower() == "
               "'az[`{@\\200'");
    check_true(
        "local s = ('aBc'):rep(2000) return #s:upper() == 6000 and s:upper():lower() == s:lower()"
        " and s:reverse():reverse() == s and s:reverse():sub(1, 3) == 'cBa'");
    check_true("return ('').reverse('') == '' and ('').upper(12) == '12'");
    check_true(
        "return tostring(1) == '1' and tostring(1.5) == '1.5' and tostring(-0.0) == tostring(-0.0)"
        " and tostring(1e300) == '1e+300' and tostring(nil) == 'nil' and tostring(true) == 'true'"
        " and tostring('x') == 'x' and tostring(0/0):find('nan') ~= nil");
    check_true("return tostring(setmetatable({}, { __tostring = function() return 'mine' end })) "
               "== 'mine'");
    check_true("local ok, e = pcall(function() return (tostring()) end) return not ok and"
               " e:find(\"bad argument #1 to 'tostring' %(value expected%)\") ~= nil");
    check_true("local ok, e = pcall(function() return (string.sub()) end) return not ok and"
               " e:find(\"bad argument #1 to 'sub' %(string expected\") ~= nil");
}

static void a_metamethod_of_tostring_may_wait(void **state)
{
    struct bench b;
    (void)state;
    bench_open(&b,
               "local host = require 'host'\n"
               "local t = setmetatable({}, { __tostring = function() return host.wait() end })\n"
               "return { access = function() host.note(tostring(t)) end }");
    assert_int_equal(bench_begin(&b, "access"), TG_RUN_WAIT);
    lua_pushstring(b.run.L, "later");
    assert_int_equal(tg_run_resume(&b.run, 1), TG_RUN_DONE);
    assert_string_equal(b.notes, "later");
    bench_end(&b);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refusal_harms_no_frame),
        cmocka_unit_test(the_values_are_those_of_the_manual),
        cmocka_unit_test(a_metamethod_of_tostring_may_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
