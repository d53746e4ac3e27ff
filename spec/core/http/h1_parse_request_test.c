/*
 * Heads of requests: request lines, fields, framing; what is refused, and with which status.
 */
#include "http/h1_parse.h"

#include "request_fixture.h"

static void test_a_plain_request(void **state)
{
    (void)state;
    assert_takes("GET /a/b?c=d HTTP/1.1\r\nHost: Example.com:8080\r\nX-A:  one two \t\r\nempty:\r\n"
                 "\r\n");
    assert_int_equal(head.method, TG_METHOD_GET);
    assert_str(head.method_name, "GET");
    assert_int_equal(head.form, TG_TARGET_ORIGIN);
    assert_int_equal(head.minor, 1);
    assert_str(head.target, "/a/b?c=d");
    assert_str(head.raw_path, "/a/b");
    assert_str(head.path, "/a/b");
    assert_str(head.query, "c=d");
    assert_str(head.authority, "Example.com:8080");
    assert_str(head.host, "Example.com");
    assert_int_equal(head.port, 8080);
    assert_int_equal(head.framing, TG_FRAMING_NONE);
    assert_int_equal(head.fields.n, 3);
    assert_str(head.fields.v[1].name, "X-A");
    assert_str(head.fields.v[1].value, "one two");
    assert_str(head.fields.v[2].value, "");
    assert_true(head.keep_alive);
}

static void test_methods(void **state)
{
    (void)state;
    assert_takes("PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(head.method, TG_METHOD_OTHER);
    assert_str(head.method_name, "PROPFIND");
    assert_refuses(501, "PRI /x HTTP/1.0\r\n\r\n");
    assert_refuses(501, "BREW / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_refuses(501, "get / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_str(head.method_name, "get");
    assert_refuses(501, "GE\xc3\xa9 / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_null(head.method_name.p); /* no token: nobody is shown it */
    assert_null(head.target.p);
}

static void test_versions(void **state)
{
    (void)state;
    assert_takes("GET / HTTP/1.0\r\n\r\n");
    assert_int_equal(head.minor, 0);
    assert_refuses(505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n");
    assert_refuses(505, "GET / HTTP/1.2\r\nHost: a\r\n\r\n");
    assert_refuses(505, "GET / HTTP/0.9\r\nHost: a\r\n\r\n");
    assert_refuses(505, "GET / HTTP/1\r\nHost: a\r\n\r\n");
    assert_refuses(400, "GET / http/1.1\r\nHost: a\r\n\r\n");
    assert_refuses(400, "GET / ICE/1.0\r\nHost: a\r\n\r\n");
    assert_refuses(400, "GET / RTSP/1.0\r\nHost: a\r\n\r\n");
    assert_refuses(505, "GET /\r\nHost: a\r\n\r\n");
    assert_refuses(505, "PRI * HTTP/2.0\r\n\r\n");
}

static void test_request_lines_with_rubbish(void **state)
{
    (void)state;
    assert_refuses(400, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_refuses(400, "GET /  HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_refuses(505, "GET / HTTP/1.1 \r\nHost: a\r\n\r\n");
    assert_refuses(400, "GET / x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_refuses(400, "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_refuses(400, "GET HTTP/1.1\r\nHost: a\r\n\r\n");
}

/* ---- Fields ------------------------------------------------------------------------------------
 */

static void test_field_lines_that_are_refused(void **state)
{
    (void)state;
    assert_refuses(400, with("A : b\r\n"));
    assert_refuses(400, with("A\t: b\r\n"));
    assert_refuses(400, with(": b\r\n"));
    assert_refuses(400, with("no colon\r\n"));
    assert_refuses(400, with("A\r\n"));
    assert_refuses(400, with("A(b: c\r\n"));
    assert_refuses(400, with("A@: c\r\n"));
    assert_refuses(400, with("\xc3\xa4: c\r\n"));
    assert_refuses(400, with("A: b\r\n folded\r\n"));
    assert_refuses(400, with("A: b\r\n\tfolded\r\n"));
    assert_refuses(400, with("A: b\nB: c\r\n"));
    assert_refuses(400, with("A: b\rB: c\r\n"));
    assert_refuses(400, with("A: \x01\r\n"));
    assert_refuses(400, with("A: \x7f\r\n"));
    assert_refuses(400, with("A: \x0b\r\n"));
    assert_refuses_bytes(400, "GET / HTTP/1.1\r\nHost: a\r\nA: \0\r\n\r\n", 34);
    assert_refuses_bytes(400, "GET / HTTP/1.1\r\nHost: a\r\nA\0: \r\n\r\n", 34);
}

static void test_every_byte_in_a_name(void **state)
{
    char text[] = "GET / HTTP/1.1\r\nHost: a\r\nX?Y: v\r\n\r\n";
    char *at = strchr(text, '?');
    (void)state;
    for (int c = 0; c < 256; c++) {
        *at = (char)c;
        bool want = tg_char_is((char)c, TG_CHAR_TOKEN) || c == ':';
        if (parse_bytes(text, sizeof(text) - 1) != want)
            fail_msg("0x%02x in a name", (unsigned)c);
    }
}

static void test_every_byte_in_a_value(void **state)
{
    char text[] = "GET / HTTP/1.1\r\nHost: a\r\nX: a?b\r\n\r\n";
    char *at = strchr(text, '?');
    (void)state;
    for (int c = 0; c < 256; c++) {
        *at = (char)c;
        bool want = tg_char_is((char)c, TG_CHAR_VALUE);
        if (parse_bytes(text, sizeof(text) - 1) != want)
            fail_msg("0x%02x in a value", (unsigned)c);
        if (want)
            assert_int_equal(head.fields.v[1].value.n, 3);
    }
}

static void test_too_many_fields(void **state)
{
    (void)state;
    limits.fields = 3;
    assert_takes(with("A: 1\r\nB: 2\r\n"));
    assert_int_equal(head.fields.n, 3);
    assert_refuses(431, with("A: 1\r\nB: 2\r\nC: 3\r\n"));
}

static void test_hosts(void **state)
{
    (void)state;
    assert_refuses(400, "GET / HTTP/1.1\r\n\r\n");
    assert_refuses(400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n");
    assert_refuses(400, "GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n");
    assert_refuses(400, "GET / HTTP/1.1\r\nHost:\r\n\r\n");
    assert_refuses(400, "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n");
    assert_refuses(400, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n");
    assert_refuses(400, "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n");
    assert_refuses(400, "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n");
    assert_refuses(400, "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n");
    assert_refuses(400, "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n");
    assert_refuses(400, "GET / HTTP/1.0\r\nHost: a b\r\n\r\n");
    assert_takes("GET / HTTP/1.0\r\n\r\n");
    assert_str(head.authority, "");
    assert_str(head.host, "");
}

/* ---- Framing -----------------------------------------------------------------------------------
 */

static void assert_framing(const char *lines, enum tg_framing framing, uint64_t length)
{
    assert_takes(with(lines));
    assert_int_equal(head.framing, framing);
    if (framing == TG_FRAMING_LENGTH)
        assert_int_equal(head.length, length);
}

static void test_framing_that_is_taken(void **state)
{
    (void)state;
    assert_framing("", TG_FRAMING_NONE, 0);
    assert_framing("Content-Length: 0\r\n", TG_FRAMING_NONE, 0);
    assert_framing("Content-Length: 12\r\n", TG_FRAMING_LENGTH, 12);
    assert_framing("content-length: 007\r\n", TG_FRAMING_LENGTH, 7);
    assert_framing("Content-Length: 9223372036854775807\r\n", TG_FRAMING_LENGTH, INT64_MAX);
    assert_framing("Transfer-Encoding: chunked\r\n", TG_FRAMING_CHUNKED, 0);
    assert_framing("transfer-encoding: \t CHUNKED  \r\n", TG_FRAMING_CHUNKED, 0);
}

static void test_framing_that_is_refused(void **state)
{
    static const char *const lines[] = {
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: 1\r\nContent-Length: 1\r\n",
        "Content-Length: 1\r\ncontent-length: 1\r\n",
        "Content-Length: 1, 1\r\n",
        "Content-Length: 1,2\r\n",
        "Content-Length: +1\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 1 \r\nContent-Length: 1\r\n",
        "Content-Length: 0x10\r\n",
        "Content-Length: 1a\r\n",
        "Content-Length: 1\t\r\n",
        "Content-Length: 1 \t \r\n",
        "Content-Length: 1 2\r\n",
        "Content-Length: 1.0\r\n",
        "Content-Length:\r\n",
        "Content-Length: \"1\"\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: 99999999999999999999999999\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: chunked\t\r\n",
        "Transfer-Encoding: chunked \t \r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked,\r\n",
        "Transfer-Encoding: ,chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunkedx\r\n",
        "Transfer-Encoding: chunked;a=b\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding:\r\n",
        ("Transfer-Encoding: \xa0"
         "chunked\r\n"),
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: chunked\r\n Content-Length: 1\r\n",
    };
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(lines); i++)
        assert_refuses(400, with(lines[i]));
    assert_refuses(400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
}

static void test_framing_of_any_method(void **state)
{
    static const char *const methods[] = {"GET", "HEAD", "DELETE", "OPTIONS", "TRACE"};
    char text[256];
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(methods); i++) {
        snprintf(text, sizeof(text), "%s / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
                 methods[i]);
        assert_takes(text);
        assert_int_equal(head.framing, TG_FRAMING_LENGTH);
        assert_int_equal(head.length, 5);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_release)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_plain_request),
        TEST(test_methods),
        TEST(test_versions),
        TEST(test_request_lines_with_rubbish),
        TEST(test_field_lines_that_are_refused),
        TEST(test_every_byte_in_a_name),
        TEST(test_every_byte_in_a_value),
        TEST(test_too_many_fields),
        TEST(test_hosts),
        TEST(test_framing_that_is_taken),
        TEST(test_framing_that_is_refused),
        TEST(test_framing_of_any_method),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
