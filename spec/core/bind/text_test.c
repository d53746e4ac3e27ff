/* text_test.c: codecs and small values of the library: gzip, queries, cookies, HTML, networks,
 * times, identifiers.
 */
#include "base/banned.h"
#include "bind/library.h"

static void gzip_goes_there_and_back(void **state)
{
    (void)state;
    library_run("for _, text in ipairs { '', 'a', ('tide'):rep(3000), tg.crypto.random(9000) .. "
                "'x' } do\n"
                "  for level = 1, 9, 4 do\n"
                "    local packed = tg.gzip(text, { level = level })\n"
                "    assert(packed:sub(1, 2) == '\\31\\139')\n"
                "    assert(tg.gunzip(packed) == text)\n"
                "  end\n"
                "end\n"
                "assert(#tg.gzip(('tide'):rep(3000)) < 200)\n"
                "assert(tg.gunzip(tg.gzip 'one' .. tg.gzip 'two') == 'onetwo')\n"
                /* made by another implementation: "hello\n" */
                "assert(tg.gunzip(hex '1f8b0800000000000003cb48cdc9c9e7020020303a3606000000') == "
                "'hello\\n')\n"
                "fails('argument 2 (options): level', tg.gzip, 'a', { level = 10 })\n"
                "fails('tg.gunzip(): argument 1 (bytes)', tg.gunzip)\n");
}

static void gunzip_refuses_what_is_damaged_or_too_long(void **state)
{
    (void)state;
    library_run("local packed = tg.gzip(('tide'):rep(1000))\n"
                "for n = 0, #packed - 1 do refuses('bad_input', tg.gunzip(packed:sub(1, n))) end\n"
                "refuses('bad_input', tg.gunzip(packed .. 'x'))\n"
                "refuses('bad_input', tg.gunzip(packed .. packed:sub(1, 15)))\n"
                "refuses('bad_input', tg.gunzip 'plain text')\n"
                "refuses('bad_input', tg.gunzip(packed:sub(1, -5) .. '\\1\\2\\3\\4'))\n"
                "assert(#tg.gunzip(packed, { max = 4000 }) == 4000)\n"
                "refuses('too_large', tg.gunzip(packed, { max = 3999 }))\n"
                "refuses('too_large', tg.gunzip(packed, { max = 0 }))\n"
                "local bomb = tg.gzip(('\\0'):rep(200000))\n"
                "assert(#bomb * 250 < 200000)\n"
                "refuses('too_large', tg.gunzip(bomb))\n");
}

static void queries_are_encoded_and_decoded(void **state)
{
    (void)state;
    library_run("local q = tg.query.decode 'a=1&b=x%20y+z&a=&c&=v&%zz=1'\n"
                "assert(#q.a == 2 and q.a[1] == '1' and q.a[2] == '')\n"
                "assert(q.b[1] == 'x y z' and q.c[1] == '' and q['%zz'][1] == '1')\n"
                "assert(next(tg.query.decode '') == nil)\n"
                "assert(tg.query.encode { ['a b'] = 'c&d' } == 'a%20b=c%26d')\n"
                "assert(tg.query.encode { a = { 1, 'x', '' } } == 'a=1&a=x&a=')\n"
                "assert(tg.query.encode {} == '' and tg.query.encode { n = 0.5 } == 'n=0.5')\n"
                "local map = { n = 7 }\n"
                "tg.query.encode(map)\n"
                "assert(type(map.n) == 'number')\n"
                "assert(#tg.query.encode { [('x'):rep(200000)] = '' } == 200001)\n"
                "local many = {}\n"
                "for i = 1, 10001 do many[i] = 1 end\n"
                "fails('more than 10000', tg.query.encode, { a = many })\n"
                "fails('argument 1 (parameters): expected names', tg.query.encode, { 'x' })\n"
                "fails('argument 1 (parameters): expected names', tg.query.encode, { a = true })\n"
                "fails('argument 1 (parameters): expected a table', tg.query.encode, 'a')\n");
}

static void cookies_and_html(void **state)
{
    (void)state;
    library_run(
        "local c = tg.cookie.decode 's=42; t=\"q\"; s=43; bare;  u = v '\n"
        "assert(c.s == '42' and c.t == 'q' and c.bare == nil and c.u == 'v')\n"
        "assert(tg.cookie.encode('s', '42', { path = '/', max_age = 60, http_only = true,\n"
        "  same_site = 'lax' }) == 's=42; Path=/; Max-Age=60; HttpOnly; SameSite=Lax')\n"
        "fails('argument 2 (value)', tg.cookie.encode, 's', 'a;b')\n"
        "fails('argument 3 (options): path', tg.cookie.encode, 's', 'a', { path = '/;x' })\n"
        "fails('longer than 8 KiB', tg.cookie.encode, 's', ('a'):rep(9000))\n"
        "assert(tg.html.encode [[<a b=\"c\">&'x']] == "
        "'&lt;a b=&quot;c&quot;&gt;&amp;&#39;x&#39;')\n"
        "assert(tg.url.decode 'a%20b+c%4' == 'a b+c%4')\n"
        "local long = ('x'):rep(200000)\n" /* three times in memory, of 1 MiB */
        "assert(tg.html.encode(long) == long and tg.url.encode(long) == long)\n"
        "assert(tg.html.encode '' == '' and tg.url.encode '' == '')\n");
}

static void networks_contain_addresses(void **state)
{
    (void)state;
    library_run(
        "local set = tg.ip.set { '10.0.0.0/8', '2001:db8::/32', '192.0.2.1' }\n"
        "assert(set:contains '10.1.2.3' and set:contains '2001:db8::9')\n"
        "assert(not set:contains '11.0.0.1' and set:contains(ctx.client.ip) == false)\n"
        "assert(tg.ip.set {}:contains '10.0.0.1' == false)\n"
        "refuses('bad_input', set:contains 'host')\n"
        "fails('network 2 (10.0.0.1/8): expected', tg.ip.set, { '10.0.0.0/8', '10.0.0.1/8' })\n"
        "fails('network 1 (number): expected', tg.ip.set, { 7 })\n"
        "fails('ip_set:contains() was called on a string', set.contains, '10.0.0.1')\n");
}

static void times_and_identifiers(void **state)
{
    (void)state;
    library_run(
        "local t = tg.time\n"
        "assert(t.parse 'Sun, 06 Nov 1994 08:49:37 GMT' == 784111777)\n"
        "assert(t.parse '1985-04-12T23:20:50.52Z' == 482196050.52)\n"
        "assert(t.parse(t.http_date(1e9)) == 1e9)\n"
        "refuses('bad_input', t.parse 'today')\n"
        "assert(t.duration '250ms' == 0.25 and t.duration '2m' == 120 and t.duration(3) == 3)\n"
        "refuses('bad_input', t.duration '5 minutes')\n"
        "local last = ''\n"
        "for _ = 1, 100 do\n"
        "  local id = tg.uuid.v7()\n"
        "  assert(id:find '^%x+%-%x+%-7%x+%-[89ab]%x+%-%x+$' and #id == 36, id)\n"
        "  assert(id > last)\n"
        "  last = id\n"
        "end\n"
        "local ms = tonumber((last:sub(1, 13):gsub('-', '')), 16)\n"
        "assert(math.abs(ms / 1000 - t.now()) < 1)\n"
        "assert(tg.uuid.v4():find '^%x+%-%x+%-4%x+%-[89ab]%x+%-%x+$')\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gzip_goes_there_and_back),
        cmocka_unit_test(gunzip_refuses_what_is_damaged_or_too_long),
        cmocka_unit_test(queries_are_encoded_and_decoded),
        cmocka_unit_test(cookies_and_html),
        cmocka_unit_test(networks_contain_addresses),
        cmocka_unit_test(times_and_identifiers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
