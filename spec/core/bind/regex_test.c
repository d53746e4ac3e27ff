/* regex_test.c: tg.re: what the functions give, what is refused, and that no expression holds the
 * worker or the heap.
 */
#include "base/banned.h"
#include "bind/library.h"

#include "base/clock.h"
#include "gateway/vm_set.h"

static void match_and_find_give_groups_and_places(void **state)
{
    (void)state;
    library_run("local re = assert(tg.re.compile [[^/v(\\d+)/(\\w+)(/x)?]])\n"
                "local a, b, c = re:match '/v1/items'\n"
                "assert(a == '1' and b == 'items' and c == nil)\n"
                "assert(re:match '/items' == nil)\n"
                "local from, to, group = assert(tg.re.compile '(b+)'):find 'aabbb'\n"
                "assert(from == 3 and to == 5 and group == 'bbb')\n"
                "local plain = assert(tg.re.compile('B+', 'i'))\n"
                "assert(plain:match 'aabb' == 'bb' and select('#', plain:find 'ab') == 2)\n"
                "assert(plain:find('abab', 3) == 4 and plain:match('ab', 3) == nil)\n"
                "assert(plain:match('ab', 4) == nil and plain:match('', 99) == nil)\n"
                "assert(assert(tg.re.compile '$'):find('ab', 3) == 3)\n"
                "assert(assert(tg.re.compile('^b', 'm')):find 'a\\nb' == 3)\n"
                "assert(assert(tg.re.compile('a.b', 's')):find 'a\\nb' == 1)\n"
                "assert(assert(tg.re.compile('a b # c', 'x')):find 'ab' == 1)\n"
                "assert(assert(tg.re.compile('^.$', 'u')):find '\\195\\164' == 1)\n"
                "assert(assert(tg.re.compile '^.$'):find '\\195\\164' == nil)\n"
                "assert(assert(tg.re.compile('.', 'u')):match('\\255a') == 'a')\n"
                "local long = tg.re.compile(('(?:abc|abd|xyz)'):rep(200))\n"
                "assert(long:find(('abcxyz'):rep(100)) == 1)\n"
                "assert(assert(tg.re.compile 'a\\0b'):find '_a\\0b' == 2)\n");
}

static void gmatch_goes_on_behind_empty_matches(void **state)
{
    (void)state;
    library_run("local function all(re, text)\n"
                "  local t = {}\n"
                "  for a, b in re:gmatch(text) do t[#t + 1] = a .. (b or '') end\n"
                "  return table.concat(t, '|')\n"
                "end\n"
                "assert(all(tg.re.compile [[(\\w)=(\\d)]], 'a=1, b=2') == 'a1|b2')\n"
                "assert(all(tg.re.compile 'a*', 'baac') == '|aa||')\n"
                "assert(all(tg.re.compile('x*', 'u'), '\\195\\164b') == '||')\n"
                "assert(all(tg.re.compile 'z', 'abc') == '')\n"
                "local seen = ''\n"
                "for a, b in tg.re.compile('(x)?=(\\\\d)'):gmatch 'x=1 =2 x=3' do\n"
                "  seen = seen .. tostring(a) .. b\n"
                "end\n"
                "assert(seen == 'x1false2x3', seen)\n"
                "local re = tg.re.compile '.'\n"
                "local iterator = re:gmatch 'ab'\n"
                "re = nil\n"
                "assert(iterator() == 'a' and iterator() == 'b' and iterator() == nil)\n"
                "assert(iterator() == nil)\n");
}

static void gsub_replaces_by_text_and_by_function(void **state)
{
    (void)state;
    library_run("local re = assert(tg.re.compile [[(?<key>\\w+)=(\\w*)]])\n"
                "local text, n = re:gsub('a=1 b=', '${key}:$2$$$0;')\n"
                "assert(text == 'a:1$a=1; b:$b=;' and n == 2, text)\n"
                "assert(re:gsub('a=1 b=2', '', 1) == ' b=2' and re:gsub('a=1', 'x', 0) == 'a=1')\n"
                "local text, n = re:gsub('none', 'x')\n"
                "assert(text == 'none' and n == 0)\n"
                "text, n = re:gsub('a=1 b=2 c=3', function(k, v)\n"
                "  if k == 'b' then return nil end\n"
                "  return k == 'c' and 7 or k:upper() .. v\n"
                "end)\n"
                "assert(text == 'A1 b=2 7' and n == 3, text)\n"
                "assert(tg.re.compile('x*'):gsub('ab', '-') == '-a-b-')\n"
                "assert(tg.re.compile('a'):gsub(('a'):rep(1000), 'bc') == ('bc'):rep(1000))\n"
                "local inner = tg.re.compile('a'):gsub('aba', function()\n"
                "  return (tg.re.compile('a'):gsub('aa', 'x'))\n"
                "end)\n"
                "assert(inner == 'xxbxx')\n"
                "fails('no', re.gsub, re, 'a=1', function() error 'no' end)\n"
                "fails('neither a string nor nil', re.gsub, re, 'a=1', function() return {} end)\n"
                "fails('argument 2 (replacement): \"$\"', re.gsub, re, 'a=1', '$3')\n"
                "fails('argument 2 (replacement): \"$\"', re.gsub, re, 'a=1', '${keys}')\n"
                "fails('argument 2 (replacement): \"$\"', re.gsub, re, 'a=1', '${key')\n"
                "fails('argument 2 (replacement): \"$\"', re.gsub, re, 'a=1', 'x$')\n"
                "fails('argument 2 (replacement): expected a string or', re.gsub, re, 'a=1', 1)\n"
                "fails('more than 64 KiB', re.gsub, re, 'a=1', ('x'):rep(65537))\n"
                "fails('regex:gsub() was called on a string', re.gsub, 'a', 'b', 'c')\n");
}

/* The group is called from a lookaround, where its \K moves the start behind the end of the match,
 * or in front of where the search began. */
static void matches_go_forward_whatever_their_start(void **state)
{
    (void)state;
    library_run("for _, start in ipairs { '', '(*NO_JIT)' } do\n"
                "  for _, rest in ipairs { '(?=(?1))', '(?<=(?1))' } do\n"
                "    local re = assert(tg.re.compile(start .. [[(?(DEFINE)(\\Kab\\K))]] .. rest))\n"
                "    local from, to = re:find 'abab'\n"
                "    assert(to >= from - 1, from .. ' ' .. to)\n"
                "    local n = 0\n"
                "    for _ in re:gmatch 'abab' do n = n + 1 end\n"
                "    assert(n == 2, n)\n"
                "    local text, count = re:gsub('abab', '-')\n"
                "    assert(count == 2, text)\n"
                "  end\n"
                "end\n");
}

static void mistakes_are_told(void **state)
{
    (void)state;
    library_run("local re, err = tg.re.compile 'a(b'\n"
                "assert(re == nil and err.code == 'bad_input', 'compiled')\n"
                "assert(err.message:find('at character 4', 1, true), err.message)\n"
                "refuses('bad_input', tg.re.compile(('a'):rep(5000)))\n"
                "refuses('bad_input', tg.re.compile(('()'):rep(65)))\n"
                "refuses('bad_input', tg.re.compile(('('):rep(200) .. (')'):rep(200)))\n"
                "refuses('bad_input', tg.re.compile '(*UTF)a')\n"
                "refuses('bad_input', tg.re.compile [[\\C]])\n"
                "refuses('bad_input', tg.re.compile '(((a{1,500}){1,500}){1,500}){1,500}')\n"
                "fails('argument 2 (flags): expected letters', tg.re.compile, 'a', 'g')\n"
                "fails('argument 1 (text)', tg.re.compile('a').match, tg.re.compile 'a')\n"
                "assert(tg.re.compile('a', 'i') == tg.re.compile('a', 'i'))\n"
                "assert(tg.re.compile 'a' ~= tg.re.compile('a', 'i'))\n");
}

/* Each of these takes minutes, or for ever, without bounds. */
static void no_search_goes_over_its_bounds(void **state)
{
    (void)state;
    library_run("local long = ('a'):rep(100000)\n"
                "local function limited(pattern, text)\n"
                "  local re = assert(tg.re.compile(pattern))\n"
                "  local ok, err = pcall(re.match, re, text)\n"
                "  assert(not ok and err.code == 'limit', pattern)\n"
                "end\n"
                "limited('(a+)+[bc]', ('a'):rep(40))\n"
                "limited('a*a*+[bc]', long)\n"
                "limited('(?=a*)[bc]|a*[bc]', long)\n"
                "limited('(a*)\\\\1[bc]', long)\n"
                "limited('^(?:a|b|ab)*$', long .. 'c')\n"
                "limited('(?R)?a', long .. long)\n"
                "assert(tg.re.compile '\\\\d{4}':match(long) == nil)\n");
}

static void a_long_text_is_worked_through(void **state)
{
    (void)state;
    library_run("local text = ('key=value, '):rep(2000)\n"
                "local re, n = tg.re.compile [[(\\w+)=(\\w+)]], 0\n"
                "for k, v in re:gmatch(text) do n = n + #k + #v end\n"
                "assert(n == 16000)\n"
                "local _, count = re:gsub(text, '$2=$1')\n"
                "assert(count == 2000)\n");
}

/* The cache is emptied and the collector takes what nobody holds. */
static void many_expressions_do_not_stay(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f,
                 LIBRARY_HEAD "function P.access()\n"
                              "for i = 1, 2000 do assert(tg.re.compile('(a|b)' .. i)) end\n"
                              "end\nreturn P\n",
                 TG_ON_ERROR_FAIL);
    f.instance.memory = 4 << 20;
    for (int i = 0; i < 3; i++) {
        struct tg_request *r = fixture_request(&f);
        assert_int_equal(tg_plugins_run(r, TG_PHASE_ACCESS), TG_STEP_NEXT);
        assert_null(r->error);
        fixture_end(r);
    }
    assert_in_range(tg_alloc_used(tg_vm_alloc(f.gate.vms->entries[0]->vm)), 1, 8 << 20);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(match_and_find_give_groups_and_places),
        cmocka_unit_test(gmatch_goes_on_behind_empty_matches),
        cmocka_unit_test(gsub_replaces_by_text_and_by_function),
        cmocka_unit_test(matches_go_forward_whatever_their_start),
        cmocka_unit_test(mistakes_are_told),
        cmocka_unit_test(no_search_goes_over_its_bounds),
        cmocka_unit_test(a_long_text_is_worked_through),
        cmocka_unit_test(many_expressions_do_not_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
