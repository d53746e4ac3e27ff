/*
 * Templates: what is one, what is wrong with one and where, and how values are escaped for the
 * place that they go to.
 */
#include "http/template.h"

#include "support.h"

static struct tg_template_parts parts;
static struct tg_template_problem problem;

static enum tg_err parse(enum tg_template_kind kind, const char *text)
{
    return tg_template_parse(kind, tg_str_c(text), &parts, &problem);
}

/* Parses and writes the parts as "text|<name>|text". */
static const char *parsed(enum tg_template_kind kind, const char *text)
{
    static char room[512];
    struct tg_fmt f;
    assert_int_equal(TG_OK, parse(kind, text));
    tg_fmt_init(&f, room, sizeof(room) - 1);
    for (uint32_t i = 0; i < parts.n; i++) {
        if (i > 0)
            tg_fmt_char(&f, '|');
        tg_fmt_add(&f, parts.v[i].is_name ? TG_STR("<") : TG_STR(""));
        tg_fmt_add(&f, parts.v[i].text);
        tg_fmt_add(&f, parts.v[i].is_name ? TG_STR(">") : TG_STR(""));
    }
    room[f.n] = '\0';
    return room;
}

static void assert_refused(enum tg_template_kind kind, const char *text, const char *why, size_t at)
{
    assert_int_equal(TG_E_INVALID, parse(kind, text));
    assert_non_null(strstr(problem.text, why));
    assert_int_equal(at, problem.at);
    assert_non_null(problem.hint);
}

static void test_names_in_braces_are_parts(void **state)
{
    (void)state;
    assert_string_equal("/users/|<id>|/x", parsed(TG_TEMPLATE_PATH, "/users/{id}/x"));
    assert_string_equal("/|<1>|<rest>", parsed(TG_TEMPLATE_PATH, "/{1}{rest}"));
    assert_string_equal("id=|<id>", parsed(TG_TEMPLATE_QUERY, "id={id}"));
    assert_string_equal("", parsed(TG_TEMPLATE_QUERY, ""));
    assert_string_equal("<t>|.example:80", parsed(TG_TEMPLATE_HOST, "{t}.example:80"));
}

static void test_other_braces_of_a_body_are_text(void **state)
{
    (void)state;
    assert_string_equal("p{margin:0} |<status>", parsed(TG_TEMPLATE_BODY, "p{margin:0} {status}"));
    assert_string_equal("{\"a\": |<status>|}", parsed(TG_TEMPLATE_BODY, "{\"a\": {status}}"));
    assert_string_equal("{|status}", parsed(TG_TEMPLATE_BODY, "{{status}"));
    assert_string_equal("{", parsed(TG_TEMPLATE_BODY, "{"));
    assert_string_equal("{}", parsed(TG_TEMPLATE_BODY, "{}"));
}

static void test_what_is_no_path_is_told_with_its_place(void **state)
{
    (void)state;
    assert_refused(TG_TEMPLATE_PATH, "", "slash", 0);
    assert_refused(TG_TEMPLATE_PATH, "users", "slash", 0);
    assert_refused(TG_TEMPLATE_PATH, "/a/{id", "brace", 3);
    assert_refused(TG_TEMPLATE_PATH, "/a/{}", "brace", 3);
    assert_refused(TG_TEMPLATE_PATH, "/a/{i-d}", "brace", 3);
    assert_refused(TG_TEMPLATE_PATH, "/a}", "character", 2);
    assert_refused(TG_TEMPLATE_PATH, "/{a}/b c", "character", 6);
    assert_refused(TG_TEMPLATE_PATH, "/a?b", "character", 2);
    assert_refused(TG_TEMPLATE_PATH, "/a#b", "character", 2);
    assert_refused(TG_TEMPLATE_PATH, "/a%2", "character", 2);
    assert_refused(TG_TEMPLATE_PATH, "/a\r\nb", "character", 2);
    assert_refused(TG_TEMPLATE_PATH, "/a/../b", "\"..\"", 0);
    assert_refused(TG_TEMPLATE_PATH, "/a/%2E%2e/b", "\"..\"", 0);
    assert_refused(TG_TEMPLATE_HOST, "a/b", "character", 1);
    assert_refused(TG_TEMPLATE_HOST, "", "empty", 0);
    assert_refused(TG_TEMPLATE_QUERY, "a=b#c", "character", 3);
}

static void test_size_and_parts_are_bounded(void **state)
{
    static char text[TG_TEMPLATE_TARGET_MAX + 2];
    (void)state;
    memset(text, 'a', sizeof(text) - 1);
    text[0] = '/';
    assert_refused(TG_TEMPLATE_PATH, text, "long", TG_TEMPLATE_TARGET_MAX);
    for (size_t i = 1; i + 3 <= 1 + 3 * TG_TEMPLATE_PARTS_MAX; i += 3)
        memcpy(text + i, "{a}", 3);
    text[1 + 3 * TG_TEMPLATE_PARTS_MAX] = '\0';
    assert_int_equal(TG_E_INVALID, parse(TG_TEMPLATE_PATH, text));
    text[1 + 3 * (TG_TEMPLATE_PARTS_MAX - 1)] = '\0';
    assert_int_equal(TG_OK, parse(TG_TEMPLATE_PATH, text));
    assert_int_equal(TG_TEMPLATE_PARTS_MAX, parts.n);
}

static const char *put(void (*fn)(struct tg_fmt *f, struct tg_str value), const char *value)
{
    static char room[256];
    struct tg_fmt f;
    tg_fmt_init(&f, room, sizeof(room) - 1);
    fn(&f, tg_str_c(value));
    room[f.n] = '\0';
    return f.failed ? NULL : room;
}

static void test_a_capture_cannot_leave_its_part_of_the_target(void **state)
{
    (void)state;
    assert_string_equal("a/b:@!$&'()*+,;=-._~", put(tg_template_put_path, "a/b:@!$&'()*+,;=-._~"));
    assert_string_equal("%2Fx%3F", put(tg_template_put_path, "%2Fx%3F"));
    assert_string_equal("%3Fa%23b%0D%0A%20%25", put(tg_template_put_path, "?a#b\r\n %"));
    assert_string_equal("%25zz%25", put(tg_template_put_path, "%zz%"));
    assert_string_equal("a%26b%3Dc%2F%20%2B", put(tg_template_put_query, "a&b=c/%20+"));
    assert_string_equal("a-b_c.d9", put(tg_template_put_host, "a-b_c.d9"));
    assert_null(put(tg_template_put_host, "a/b"));
    assert_null(put(tg_template_put_host, "a%2Fb"));
    assert_null(put(tg_template_put_host, "a:1"));
    assert_null(put(tg_template_put_host, "a@b"));
}

static void put_html(struct tg_fmt *f, struct tg_str value)
{
    tg_template_put_body(f, value, tg_template_escape_for(TG_STR("text/html; charset=utf-8")));
}

static void put_json(struct tg_fmt *f, struct tg_str value)
{
    tg_template_put_body(f, value, tg_template_escape_for(TG_STR("application/problem+JSON")));
}

static void put_plain(struct tg_fmt *f, struct tg_str value)
{
    tg_template_put_body(f, value, tg_template_escape_for(TG_STR("text/plain")));
}

static void test_bodies_are_escaped_by_their_type(void **state)
{
    (void)state;
    assert_string_equal("&#60;a b=&#34;&#39;&#96;&#38;&#62;", put(put_html, "<a b=\"'`&>"));
    assert_string_equal("\xc3\xa9??", put(put_html, "\xc3\xa9\x01\xff"));
    assert_string_equal("a\\\"\\\\\\n", put(put_json, "a\"\\\n"));
    assert_string_equal("/a%3Cscript%3E%22%0D%0A", put(put_plain, "/a<script>\"\r\n"));
    assert_int_equal(TG_ESCAPE_MARKUP, tg_template_escape_for(TG_STR("image/svg+xml")));
    assert_int_equal(TG_ESCAPE_MARKUP, tg_template_escape_for(TG_STR("application/xhtml+xml ")));
    assert_int_equal(TG_ESCAPE_PLAIN, tg_template_escape_for(TG_STR("text/javascript")));
    assert_int_equal(TG_ESCAPE_PLAIN, tg_template_escape_for(TG_STR("")));
}

static void test_dot_segments_are_seen_in_any_spelling(void **state)
{
    (void)state;
    assert_true(tg_path_has_dots(TG_STR("/a/..")));
    assert_true(tg_path_has_dots(TG_STR("/./a")));
    assert_true(tg_path_has_dots(TG_STR("/a/.%2e/b")));
    assert_true(tg_path_has_dots(TG_STR("/%2E")));
    assert_false(tg_path_has_dots(TG_STR("/a/.../b..c/.d/%2e%2e%2e")));
    assert_false(tg_path_has_dots(TG_STR("")));
    assert_false(tg_path_has_dots(TG_STR("//")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_in_braces_are_parts),
        cmocka_unit_test(test_other_braces_of_a_body_are_text),
        cmocka_unit_test(test_what_is_no_path_is_told_with_its_place),
        cmocka_unit_test(test_size_and_parts_are_bounded),
        cmocka_unit_test(test_a_capture_cannot_leave_its_part_of_the_target),
        cmocka_unit_test(test_bodies_are_escaped_by_their_type),
        cmocka_unit_test(test_dot_segments_are_seen_in_any_spelling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
