/* object_test.c: what plugins see of the API, in a real VM: values, checks of receiver, argument
 * and phase, objects that went stale, JSON. Each probe is Lua code in a phase that asserts by
 * itself.
 */
#include "base/banned.h"
#include "bind/fixture.h"

#include "base/fmt.h"
#include "bind/api.h"

#define PROBE(body)                                                                                \
    "local tg = require 'tidegate'\n"                                                              \
    "local function fails(with, fn, ...)\n"                                                        \
    "  local ok, err = pcall(fn, ...)\n"                                                           \
    "  assert(not ok, 'no error')\n"                                                               \
    "  assert(string.find(err, with, 1, true), err)\n"                                             \
    "end\n"                                                                                        \
    "local P = { name = 'probe', version = '1', api = 1, stage = 'edge', exports = { 'seen' } "    \
    "}\n" body "\nreturn P\n"

#define ACCESS(body) PROBE("function P.access(conf, ctx)\n" body "\nend")

static void expect_step(const char *text, enum tg_phase phase, enum tg_step step)
{
    struct fixture f;
    fixture_open(&f, text, TG_ON_ERROR_FAIL);
    struct tg_request *r = fixture_request(&f);
    if (phase > TG_PHASE_ACCESS)
        assert_int_equal(tg_request_answer(r, TG_SOURCE_UPSTREAM, 200, TG_STR("")), TG_OK);
    assert_int_equal(tg_plugins_run(r, phase), step);
    assert_null(r->error);
    fixture_end(r);
    fixture_close(&f);
}

static void every_name_has_phases_and_a_sentence(void **state)
{
    (void)state;
    for (size_t i = 0; i < tg_api_entry_count; i++) {
        const struct tg_api_entry *entry = &tg_api_entries[i];
        assert_true(entry->phases != 0);
        assert_true(entry->doc[0] != '\0');
        assert_true(entry->type == TG_API_IS_FIELD ? entry->get != NULL : entry->call != NULL);
        for (size_t j = i + 1; j < tg_api_entry_count; j++)
            assert_false(entry->scope == tg_api_entries[j].scope &&
                         strcmp(entry->name, tg_api_entries[j].name) == 0);
    }
}

static void names_of_arguments_come_from_the_signature(void **state)
{
    (void)state;
    struct tg_api_entry entry = {.args =
                                     "timeouts: {a?: x, b?: y}, name?: string, m: map<a, b>, z: x"};
    assert_true(tg_str_eq(tg_api_arg_name(&entry, 1), TG_STR("timeouts")));
    assert_true(tg_str_eq(tg_api_arg_name(&entry, 2), TG_STR("name")));
    assert_true(tg_str_eq(tg_api_arg_name(&entry, 4), TG_STR("z")));
    assert_int_equal(tg_api_arg_name(&entry, 5).n, 0);
}

static void facts_of_the_request_are_fields(void **state)
{
    (void)state;
    expect_step(
        ACCESS("assert(#ctx.id == 32 and ctx.phase == 'access')\n"
               "assert(ctx.client.ip == '192.0.2.7' and ctx.client.port == 4711)\n"
               "local q = ctx.req\n"
               "assert(q.method == 'GET' and q.host == 'shop.example' and q.port == 8080)\n"
               "assert(q.path == '/v1/items' and q.raw_path == '/v1/./items')\n"
               "assert(q:header('X-ONE') == 'first' and q:header_list('x-one')[2] == 'second')\n"
               "assert(q:query('b') == 'x y' and #q:query_all().a == 2)\n"
               "assert(q:cookie('s') == '42' and q:cookie('t') == 'q')\n"
               "assert(q:cookie('u') == nil and q:query('u') == nil)\n"
               "assert(q:body() == '' and ctx.req.path == q.path)\n"
               "assert(ctx.route.name == nil and ctx.listener.name == 'web')\n"
               "for name in q:headers() do assert(name == 'x-one'); break end\n"),
        TG_PHASE_ACCESS, TG_STEP_NEXT);
}

static void mistakes_name_function_and_argument(void **state)
{
    (void)state;
    expect_step(
        ACCESS("fails('ctx.req:header(): argument 1 (name): expected a string, got nothing',\n"
               "      function() ctx.req:header() end)\n"
               "fails('probe.lua:11: ctx.req:header()', function() ctx.req:header() end)\n"
               "fails('ctx.req:header() was called on a string', ctx.req.header, 'x')\n"
               "fails('ctx.req has no field or method \"heder\"', function() return ctx.req.heder "
               "end)\n"
               "fails('cannot be written', function() ctx.x = 1 end)\n"
               "fails('argument 1 (name): is not a token', function() ctx.resp:set_header('a b', "
               "'c') end)\n"
               "fails('argument 2 (value): has a control', function() ctx.resp:set_header('a', "
               "'c\\n') end)\n"
               "fails('belongs to the gateway', function() "
               "ctx.upstream:set_header('Content-Length', '1') end)\n"
               "fails('argument 1 (status)', function() ctx:exit(99) end)\n"
               "fails('content-length: this header', function() ctx:exit(200, 'x', { "
               "['content-length'] = '9' }) end)\n"
               "fails('the plugin does not declare exports = { \"other\" }', function() "
               "ctx.shared:set('other', 1) end)\n"),
        TG_PHASE_ACCESS, TG_STEP_NEXT);
}

static void a_wrong_phase_is_named_with_the_right_ones(void **state)
{
    (void)state;
    expect_step(
        PROBE(
            "function P.log(_, ctx)\n"
            "fails('ctx.resp:set_header() is not available in log (headers are already sent)\\n'\n"
            "  .. '  available in: rewrite, access, header_filter\\n'\n"
            "  .. '  hint: declare function P.header_filter(conf, ctx) and set it there',\n"
            "  function() ctx.resp:set_header('a', 'b') end)\n"
            "end"),
        TG_PHASE_LOG, TG_STEP_NEXT);
    expect_step(
        ACCESS("fails('ctx.resp.status is not available in access (there is no response yet)',\n"
               "  function() return ctx.resp.status end)"),
        TG_PHASE_ACCESS, TG_STEP_NEXT);
}

static void objects_kept_beyond_the_request_are_stale(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(
        &f,
        PROBE("local kept, req\n"
              "function P.access(_, ctx)\n"
              "  if not kept then kept, req = ctx, ctx.req; ctx.state.n = 1 return end\n"
              "  assert(ctx.state.n == nil)\n"
              "  fails('used after the request ended', function() return kept.id end)\n"
              "  fails('used after the request ended', function() return req:header('x') end)\n"
              "end"),
        TG_ON_ERROR_FAIL);
    for (int i = 0; i < 2; i++) {
        struct tg_request *r = fixture_request(&f);
        assert_int_equal(tg_plugins_run(r, TG_PHASE_ACCESS), TG_STEP_NEXT);
        assert_null(r->error);
        fixture_end(r);
    }
    fixture_close(&f);
}

static void objects_of_another_request_are_refused(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f,
                 PROBE("local kept, req, text\n"
                       "function P.configure() text = assert(tg.template '${id}') end\n"
                       "function P.access(_, ctx)\n"
                       "  if not kept then kept, req = ctx, ctx.req return end\n"
                       "  fails('while another request', function() return req:header 'x' end)\n"
                       "  fails('while another request', text.render, text, kept)\n"
                       "  assert(text:render(ctx) == ctx.id)\n"
                       "end"),
                 TG_ON_ERROR_FAIL);
    struct tg_request *first = fixture_request(&f);
    assert_int_equal(tg_plugins_run(first, TG_PHASE_ACCESS), TG_STEP_NEXT);
    struct tg_request *second = fixture_request(&f);
    assert_int_equal(tg_plugins_run(second, TG_PHASE_ACCESS), TG_STEP_NEXT);
    assert_null(second->error);
    fixture_end(second);
    fixture_end(first);
    fixture_close(&f);
}

static void what_is_prepared_is_made_in_set_up_only(void **state)
{
    (void)state;
    expect_step(ACCESS("for _, make in ipairs { tg.template, tg.edits, tg.limit.quota,\n"
                       "    tg.metrics.counter, tg.queue } do\n"
                       "  fails('is for init and configure', make, {})\n"
                       "end"),
                TG_PHASE_ACCESS, TG_STEP_NEXT);
}

static void exit_answers_and_nothing_catches_it(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(
        &f,
        ACCESS("pcall(function() ctx:exit(418, { why = 'tea' }, { ['X-A'] = { '1', '2' } }) end)\n"
               "error 'came back'"),
        TG_ON_ERROR_FAIL);
    struct tg_request *r = fixture_request(&f);
    assert_int_equal(tg_plugins_run(r, TG_PHASE_ACCESS), TG_STEP_STOP);
    assert_int_equal(r->resp.status, 418);
    assert_int_equal(r->source, TG_SOURCE_PLUGIN);
    assert_true(tg_str_eq(r->resp_body, TG_STR("{\"why\":\"tea\"}")));
    const struct tg_field *field = tg_fields_find(&r->resp.fields, TG_STR("content-type"));
    assert_non_null(field);
    assert_true(tg_str_eq(field->value, TG_STR("application/json")));
    assert_non_null(tg_fields_next(&r->resp.fields, TG_STR("x-a"),
                                   tg_fields_find(&r->resp.fields, TG_STR("x-a"))));
    fixture_end(r);
    fixture_close(&f);
}

static void expect_failure(enum tg_on_error on_error, enum tg_step step, unsigned status,
                           const char *text)
{
    struct fixture f;
    fixture_open(&f, text, on_error);
    struct tg_request *r = fixture_request(&f);
    assert_int_equal(tg_plugins_run(r, TG_PHASE_ACCESS), step);
    assert_int_equal(r->resp.status, status);
    assert_int_equal(r->abort_wanted, on_error == TG_ON_ERROR_CLOSE);
    fixture_end(r);
    fixture_close(&f);
}

static void on_error_decides_what_a_failure_does(void **state)
{
    (void)state;
    const char *raises = ACCESS("error 'no'");
    tg_log_set_level(TG_LOG_ERROR + 1);
    expect_failure(TG_ON_ERROR_FAIL, TG_STEP_STOP, 500, raises);
    expect_failure(TG_ON_ERROR_SKIP, TG_STEP_NEXT, 0, raises);
    expect_failure(TG_ON_ERROR_CLOSE, TG_STEP_STOP, 0, raises);
    expect_failure(TG_ON_ERROR_FAIL, TG_STEP_STOP, 503, ACCESS("ctx:fail('down')"));
    expect_failure(TG_ON_ERROR_FAIL, TG_STEP_STOP, 503,
                   ACCESS("local t = {} for i = 1, 1e8 do t[i] = { i } end"));
    tg_log_set_level(TG_LOG_INFO);
}

static void a_failure_in_header_filter_replaces_the_answer_once(void **state)
{
    (void)state;
    struct fixture f;
    tg_log_set_level(TG_LOG_ERROR + 1);
    fixture_open(&f, PROBE("function P.header_filter() error 'no' end"), TG_ON_ERROR_FAIL);
    struct tg_request *r = fixture_request(&f);
    assert_int_equal(tg_request_answer(r, TG_SOURCE_UPSTREAM, 200, TG_STR("")), TG_OK);
    assert_int_equal(tg_plugins_run(r, TG_PHASE_HEADER_FILTER), TG_STEP_NEXT);
    assert_int_equal(r->resp.status, 500);
    fixture_end(r);
    fixture_close(&f);
    tg_log_set_level(TG_LOG_INFO);
}

static void json_goes_there_and_back(void **state)
{
    (void)state;
    expect_step(
        ACCESS("local j = tg.json\n"
               "for _, text in ipairs { '[]', '{}', '[1,2.5,-3e+20,true,false,null]', '0.1',\n"
               "    '{\"a\":[{\"b\":\"c\\\\n\\\\\"\"}]}', '\"\\195\\164\"' } do\n"
               "  local value, err = j.decode(text)\n"
               "  assert(err == nil, err and err.message)\n"
               "  assert(j.encode(value) == text, j.encode(value))\n"
               "end\n"
               "assert(j.decode '\"\\\\u00e4\\\\ud83d\\\\ude00\\\\/\"' == 'ä😀/')\n"
               "assert(j.decode('null') == j.null and tostring(j.null) == 'null')\n"
               "assert(j.encode({}) == '{}' and j.encode(j.array()) == '[]')\n"
               "assert(j.encode({ 1, 2 }) == '[1,2]')\n"
               "for _, text in ipairs { '', ' ', '[1', '[1,]', '{\"a\"}', '{a:1}', '01', '1e999', "
               "'1.', '-',\n"
               "    '\"\\\\ud800\"', '\"\\\\x\"', '\"\\1\"', '\"\\255\"', 'nul', '1 2', '\"',\n"
               "    ('['):rep(65) .. (']'):rep(65) } do\n"
               "  local value, err = j.decode(text)\n"
               "  assert(value == nil and err.code == 'bad_input', text)\n"
               "end\n"
               "fails('a function cannot be written', j.encode, { print })\n"
               "fails('not finite', j.encode, 0 / 0)\n"
               "fails('neither all strings', j.encode, { 1, a = 2 })\n"
               "local deep = {} deep[1] = deep\n"
               "fails('64 levels', j.encode, deep)\n"
               "local long = ('x'):rep(300000)\n" /* three times in memory, of 1 MiB */
               "assert(j.encode(long) == '\"' .. long .. '\"')\n"
               "local list = {}\n"
               "for i = 1, 500 do list[i] = i end\n"
               "assert(j.encode(list) == '[' .. table.concat(list, ',') .. ']')\n"),
        TG_PHASE_ACCESS, TG_STEP_NEXT);
}

static void codecs_go_there_and_back(void **state)
{
    (void)state;
    expect_step(
        ACCESS(
            "assert(tg.base64.encode('any carnal pleas') == 'YW55IGNhcm5hbCBwbGVhcw==')\n"
            "for i = 0, 5 do\n"
            "  local s = ('\\251\\255'):rep(i)\n"
            "  assert(tg.base64.decode(tg.base64.encode(s)) == s)\n"
            "  assert(tg.base64.decode(tg.base64.encode(s, { url = true }), { url = true }) == s)\n"
            "  assert(tg.hex.decode(tg.hex.encode(s)) == s)\n"
            "  assert(tg.url.decode(tg.url.encode(s)) == s)\n"
            "end\n"
            "for _, bad in ipairs { 'Y', 'YQ=', 'YR==', 'Y Q=', '=' } do\n"
            "  assert(tg.base64.decode(bad) == nil, bad)\n"
            "end\n"
            "assert(tg.hex.decode('0g') == nil and tg.hex.decode('000') == nil)\n"
            "assert(tg.url.encode('a b/ä') == 'a%20b%2F%C3%A4')\n"
            "assert(#tg.uuid.v4() == 36 and tg.uuid.v4():sub(15, 15) == '4')\n"
            "assert(tg.time.http_date(784111777) == 'Sun, 06 Nov 1994 08:49:37 GMT')\n"),
        TG_PHASE_ACCESS, TG_STEP_NEXT);
}

static void templates_take_values_of_the_request(void **state)
{
    (void)state;
    expect_step(PROBE("local plain, url, html\n"
                      "function P.configure()\n"
                      "  plain = assert(tg.template('$${a} ${req.host}${req.path}?${query.b} "
                      "${cookie.s}${query.u}.'))\n"
                      "  url = assert(tg.template('/${query.b}', 'url'))\n"
                      "  assert(not tg.template('${nothing}') and not tg.template('${req.path'))\n"
                      "  assert(tg.template(('${id}'):rep(256)))\n"
                      "  assert(not tg.template(('${id}'):rep(257)))\n"
                      "end\n"
                      "function P.access(_, ctx)\n"
                      "  local text = plain:render(ctx)\n"
                      "  assert(text == '${a} shop.example/v1/items?x y 42.', text)\n"
                      "  assert(url:render(ctx) == '/x%20y')\n"
                      "end"),
                TG_PHASE_ACCESS, TG_STEP_NEXT);
}

static void body_filters_pass_replace_and_swallow(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f,
                 PROBE("function P.body_filter(_, ctx, chunk, eof)\n"
                       "  if eof then return { 'e', 'nd' } end\n"
                       "  if chunk == 'drop' then return '' end\n"
                       "  if chunk == 'up' then return 'UP' end\n"
                       "end"),
                 TG_ON_ERROR_FAIL);
    struct tg_request *r = fixture_request(&f);
    static const char *const chunks[] = {"as it is,", "drop", "up", ""};
    for (size_t i = 0; i < TG_COUNT_OF(chunks); i++)
        assert_int_equal(tg_plugins_filter(r, tg_str_c(chunks[i]), i == 3, &r->filtered),
                         TG_STEP_NEXT);
    char out[64];
    size_t n = r->filtered.size;
    tg_buf_copy_out(&r->filtered, out);
    assert_true(tg_str_eq(tg_str(out, n), TG_STR("as it is,UPend")));
    tg_buf_release(&r->filtered);
    fixture_end(r);
    fixture_close(&f);
}

static void types_and_reference_name_everything(void **state)
{
    (void)state;
    char *text;
    size_t n;
    FILE *out = open_memstream(&text, &n);
    assert_non_null(out);
    tg_bind_types(out);
    assert_true(tg_bind_doc(out, NULL));
    assert_false(tg_bind_doc(out, "ctx.nothing"));
    fclose(out);
    for (size_t i = 0; i < tg_api_entry_count; i++)
        assert_non_null(strstr(text, tg_api_entries[i].doc));
    assert_non_null(strstr(text, "function Req:header(name) end"));
    (free)(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_name_has_phases_and_a_sentence),
        cmocka_unit_test(names_of_arguments_come_from_the_signature),
        cmocka_unit_test(facts_of_the_request_are_fields),
        cmocka_unit_test(mistakes_name_function_and_argument),
        cmocka_unit_test(a_wrong_phase_is_named_with_the_right_ones),
        cmocka_unit_test(objects_kept_beyond_the_request_are_stale),
        cmocka_unit_test(objects_of_another_request_are_refused),
        cmocka_unit_test(what_is_prepared_is_made_in_set_up_only),
        cmocka_unit_test(exit_answers_and_nothing_catches_it),
        cmocka_unit_test(on_error_decides_what_a_failure_does),
        cmocka_unit_test(a_failure_in_header_filter_replaces_the_answer_once),
        cmocka_unit_test(json_goes_there_and_back),
        cmocka_unit_test(codecs_go_there_and_back),
        cmocka_unit_test(templates_take_values_of_the_request),
        cmocka_unit_test(body_filters_pass_replace_and_swallow),
        cmocka_unit_test(types_and_reference_name_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
