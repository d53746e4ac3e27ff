/*
 * Paths, authorities, queries: tables of cases, and normalising twice changes nothing.
 */
#include "http/uri.h"

#include "base/fmt.h"
#include "http_fixture.h"

static enum tg_err normalise(const char *raw, struct tg_str *out)
{
    return tg_uri_normalise_path(tg_str_c(raw), false, &arena, out);
}

static void assert_path(const char *raw, const char *want)
{
    struct tg_str out;
    struct tg_str again;
    if (normalise(raw, &out) != TG_OK)
        fail_msg("\"%s\" was refused", raw);
    assert_str(out, want);
    assert_int_equal(tg_uri_normalise_path(out, false, &arena, &again), TG_OK);
    assert_str(again, want);
}

static void assert_refused(const char *raw)
{
    struct tg_str out;
    if (normalise(raw, &out) != TG_E_INVALID)
        fail_msg("\"%s\" was taken", raw);
}

static void test_plain_paths_are_not_copied(void **state)
{
    struct tg_str out;
    const char *raw = "/a/b.c/d..e/~f//g?";
    (void)state;
    assert_int_equal(normalise(raw, &out), TG_OK);
    assert_ptr_equal(out.p, raw);
    assert_int_equal(arena.used, 0);
}

static void test_dot_segments(void **state)
{
    (void)state;
    assert_path("/", "/");
    assert_path("/a/b/c/./../../g", "/a/g"); /* RFC 3986, 5.2.4 */
    assert_path("/a/./b", "/a/b");
    assert_path("/a/b/.", "/a/b/");
    assert_path("/a/b/./", "/a/b/");
    assert_path("/a/b/..", "/a/");
    assert_path("/a/b/../", "/a/");
    assert_path("/a/..", "/");
    assert_path("/a/../", "/");
    assert_path("/.", "/");
    assert_path("/./", "/");
    assert_path("/.a", "/.a");
    assert_path("/..a", "/..a");
    assert_path("/a../b", "/a../b");
    assert_path("/...", "/...");
    assert_path("/a/.../b", "/a/.../b");
}

/* The abnormal and normal examples of RFC 3986, 5.4, with the base's path put in front. */
static void test_examples_of_the_rfc(void **state)
{
    (void)state;
    assert_path("/b/c/g", "/b/c/g");
    assert_path("/b/c/./g", "/b/c/g");
    assert_path("/b/c/g/", "/b/c/g/");
    assert_path("/b/c/.", "/b/c/");
    assert_path("/b/c/..", "/b/");
    assert_path("/b/c/../g", "/b/g");
    assert_path("/b/c/../..", "/");
    assert_path("/b/c/../../g", "/g");
    assert_refused("/b/c/../../../g");
    assert_refused("/b/c/../../../../g");
    assert_path("/b/c/g.", "/b/c/g.");
    assert_path("/b/c/.g", "/b/c/.g");
    assert_path("/b/c/g..", "/b/c/g..");
    assert_path("/b/c/..g", "/b/c/..g");
    assert_path("/b/c/./../g", "/b/g");
    assert_path("/b/c/./g/.", "/b/c/g/");
    assert_path("/b/c/g/./h", "/b/c/g/h");
    assert_path("/b/c/g/../h", "/b/c/h");
    assert_path("/b/c/g;x=1/./y", "/b/c/g;x=1/y");
    assert_path("/b/c/g;x=1/../y", "/b/c/y");
}

static void test_doubled_slashes_stay(void **state)
{
    (void)state;
    assert_path("//", "//");
    assert_path("//a//b", "//a//b");
    assert_path("/a//../b", "/a/b");
    assert_path("/a//..", "/a/");
    assert_path("//..", "/");
    assert_refused("//../..");
}

static void test_unreserved_characters_are_decoded(void **state)
{
    (void)state;
    assert_path("/%41%7a%30%2D%2e%5F%7e", "/Az0-._~");
    assert_path("/%61dmin", "/admin");
    assert_path("/a/%2e%2E/b", "/b");
    assert_path("/a/.%2e/b", "/b");
    assert_path("/%2e", "/");
}

static void test_other_escapes_stay_with_upper_case_digits(void **state)
{
    (void)state;
    assert_path("/%2f", "/%2F");
    assert_path("/a%2f..%2fb", "/a%2F..%2Fb");
    assert_path("/%252e%252e", "/%252e%252e");
    assert_path("/%20%3f%23", "/%20%3F%23");
    assert_path("/%e4%b8%ad", "/%E4%B8%AD");
    assert_path("/%01", "/%01");
}

static void test_refusals(void **state)
{
    (void)state;
    assert_refused("/%");
    assert_refused("/%4");
    assert_refused("/%zz");
    assert_refused("/%4g");
    assert_refused("/%%34%31");
    assert_refused("/%4%31");
    assert_refused("/%00");
    assert_refused("/a%00.png");
    assert_refused("/..");
    assert_refused("/../");
    assert_refused("/a/../..");
    assert_refused("/%2e%2e/etc");
    assert_refused("/./../x");
}

static void test_overlong_forms_are_refused(void **state)
{
    (void)state;
    assert_refused("/%c0%ae");
    assert_refused("/%c0%af");
    assert_refused("/%C1%9C");
    assert_refused("/%e0%80%af");
    assert_refused("/%e0%9f%bf");
    assert_refused("/%f0%80%80%af");
    assert_refused("/%f0%8f%bf%bf");
    assert_path("/%e0%a0%80", "/%E0%A0%80");
    assert_path("/%f0%90%80%80", "/%F0%90%80%80");
    assert_path("/%c2%80", "/%C2%80");
}

static void test_escapes_of_what_is_no_utf8_are_refused(void **state)
{
    (void)state;
    assert_refused("/%ff");
    assert_refused("/%80");
    assert_refused("/%c3");
    assert_refused("/%c3x%a9");
    assert_refused("/%c3%28");
    assert_refused("/%e2%82");
    assert_refused("/%ed%a0%80"); /* half of a surrogate pair */
    assert_refused("/%f4%90%80%80");
    assert_refused("/%e4%b8%ad%b8");
    assert_path("/%c3%a9%41", "/%C3%A9A");
    assert_path("/%f0%9f%98%80", "/%F0%9F%98%80");
}

static void test_doubled_slashes_are_merged_where_that_is_asked_for(void **state)
{
    static const char *const rows[][2] = {
        {"//", "/"},           {"//a///b//", "/a/b/"}, {"/a//../b", "/b"},
        {"/a/%2e//b", "/a/b"}, {"/a%2f/b", "/a%2F/b"}, {"/a/b", "/a/b"},
    };
    struct tg_str out;
    struct tg_str again;
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(rows); i++) {
        assert_int_equal(tg_uri_normalise_path(tg_str_c(rows[i][0]), true, &arena, &out), TG_OK);
        assert_str(out, rows[i][1]);
        assert_int_equal(tg_uri_normalise_path(out, true, &arena, &again), TG_OK);
        assert_str(again, rows[i][1]);
    }
    assert_int_equal(tg_uri_normalise_path(TG_STR("//.."), true, &arena, &out), TG_E_INVALID);
}

static void test_random_paths_are_idempotent(void **state)
{
    static const char *const parts[] = {"/",   ".",   "..",  "a",   "%2e", "%2F", "%41",
                                        "%25", "%e0", "%a0", "%80", "2e",  "%",   "~"};
    struct tg_rand r = fixture_rand();
    char raw[128];
    (void)state;
    for (int round = 0; round < 50000; round++) {
        struct tg_str out;
        struct tg_str again;
        size_t n = 1;
        raw[0] = '/';
        raw[1] = '\0';
        for (uint64_t left = tg_rand_below(&r, 12); left > 0; left--)
            n += (size_t)snprintf(raw + n, sizeof(raw) - n, "%s",
                                  parts[tg_rand_below(&r, TG_COUNT_OF(parts))]);
        if (normalise(raw, &out) == TG_OK) {
            assert_int_equal(out.p[0], '/');
            assert_int_equal(tg_uri_normalise_path(out, false, &arena, &again), TG_OK);
            assert_true(tg_str_eq(out, again));
        }
        tg_arena_release(&arena);
    }
}

static void test_no_memory(void **state)
{
    struct tg_str out;
    (void)state;
    arena.limit = 0;
    assert_int_equal(normalise("/%41", &out), TG_E_NOMEM);
    assert_null(tg_uri_decode(TG_STR("a"), false, &arena).p);
}

/* ---- Authorities -------------------------------------------------------------------------------
 */

static void test_authorities(void **state)
{
    static const struct {
        const char *text;
        const char *host; /* NULL: refused */
        uint16_t port;
    } rows[] = {
        {"example.com", "example.com", 0},
        {"example.com:", "example.com", 0},
        {"example.com:80", "example.com", 80},
        {"EXAMPLE.com:65535", "EXAMPLE.com", 65535},
        {"127.0.0.1:8080", "127.0.0.1", 8080},
        {"[::1]", "[::1]", 0},
        {"[2001:db8::1]:443", "[2001:db8::1]", 443},
        {"[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.1]", 1},
        {"a_b~c!$&'()*+,;=", "a_b~c!$&'()*+,;=", 0},
        {"%41b", "%41b", 0},
        {"", NULL, 0},
        {":80", NULL, 0},
        {"a:65536", NULL, 0},
        {"a:000080", NULL, 0},
        {"a:8a", NULL, 0},
        {"a:-1", NULL, 0},
        {"a:80:80", NULL, 0},
        {"::1", NULL, 0},
        {"[::1", NULL, 0},
        {"[::1]x", NULL, 0},
        {"[::1]x:80", NULL, 0},
        {"[]", NULL, 0},
        {"[", NULL, 0},
        {"[v1.a]", NULL, 0},
        {"[1.2.3.4]", NULL, 0},
        {"user@host", NULL, 0},
        {"a/b", NULL, 0},
        {"a b", NULL, 0},
        {"a\\b", NULL, 0},
        {"a%", NULL, 0},
        {"a%4", NULL, 0},
        {"a%zz", NULL, 0},
        {"a%00", NULL, 0},
        {"a\x80", NULL, 0},
    };
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(rows); i++) {
        struct tg_str host;
        uint16_t port;
        enum tg_err err = tg_uri_split_authority(tg_str_c(rows[i].text), &host, &port);
        if ((err == TG_OK) != (rows[i].host != NULL))
            fail_msg("\"%s\": %s", rows[i].text, tg_err_name(err));
        if (err != TG_OK)
            continue;
        assert_str(host, rows[i].host);
        assert_int_equal(port, rows[i].port);
    }
}

/* ---- Decoding, encoding, queries ---------------------------------------------------------------
 */

static void test_decoding(void **state)
{
    struct tg_str nul = tg_uri_decode(TG_STR("%00"), false, &arena);
    (void)state;
    assert_int_equal(nul.n, 1);
    assert_int_equal(nul.p[0], 0);
    assert_str(tg_uri_decode(TG_STR("a%20b+c"), false, &arena), "a b+c");
    assert_str(tg_uri_decode(TG_STR("a%20b+c%2B"), true, &arena), "a b c+");
    assert_str(tg_uri_decode(TG_STR("%%4%zz%41"), false, &arena), "%%4%zzA");
    assert_str(tg_uri_decode(TG_STR(""), true, &arena), "");
    assert_true(tg_uri_decodes_to(TG_STR("a%20b+c%2B"), true, TG_STR("a b c+")));
    assert_true(tg_uri_decodes_to(TG_STR(""), true, TG_STR("")));
    assert_false(tg_uri_decodes_to(TG_STR("a+b"), false, TG_STR("a b")));
    assert_false(tg_uri_decodes_to(TG_STR("a%20b"), true, TG_STR("a ")));
    assert_false(tg_uri_decodes_to(TG_STR("a%20"), true, TG_STR("a b")));
}

static void test_encoding_and_back(void **state)
{
    char bytes[256];
    struct tg_fmt f;
    (void)state;
    for (int i = 0; i < 256; i++)
        bytes[i] = (char)i;
    tg_fmt_init_arena(&f, &arena, 16);
    tg_uri_encode(&f, tg_str(bytes, sizeof(bytes)), "/:");
    struct tg_str back = tg_uri_decode(tg_fmt_str(&f), false, &arena);
    assert_true(tg_str_eq(back, tg_str(bytes, sizeof(bytes))));

    tg_fmt_init_arena(&f, &arena, 16);
    tg_uri_encode(&f, TG_STR("/a b:~?\x7f"), "/:");
    assert_str(tg_fmt_str(&f), "/a%20b:~%3F%7F");
}

static void test_query_parameters(void **state)
{
    struct tg_str query = TG_STR("&a=1&&b&=c&d=e=f&%41=%20&");
    static const char *const want[][2] = {
        {"a", "1"}, {"b", ""}, {"", "c"}, {"d", "e=f"}, {"%41", "%20"},
    };
    struct tg_str name;
    struct tg_str value;
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(want); i++) {
        assert_true(tg_uri_next_param(&query, &name, &value));
        assert_str(name, want[i][0]);
        assert_str(value, want[i][1]);
    }
    assert_false(tg_uri_next_param(&query, &name, &value));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_init, fixture_release)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_plain_paths_are_not_copied),
        TEST(test_dot_segments),
        TEST(test_examples_of_the_rfc),
        TEST(test_doubled_slashes_stay),
        TEST(test_unreserved_characters_are_decoded),
        TEST(test_other_escapes_stay_with_upper_case_digits),
        TEST(test_refusals),
        TEST(test_overlong_forms_are_refused),
        TEST(test_escapes_of_what_is_no_utf8_are_refused),
        TEST(test_doubled_slashes_are_merged_where_that_is_asked_for),
        TEST(test_random_paths_are_idempotent),
        TEST(test_no_memory),
        TEST(test_authorities),
        TEST(test_decoding),
        TEST(test_encoding_and_back),
        TEST(test_query_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
