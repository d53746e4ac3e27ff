/*
 * Heads of requests: what is refused and with which status, framing, targets, and what the client
 * wishes. A refusal may come from the scan or from the parser: both are run as the gateway does.
 */
#include "http/h1_parse.h"

#include "http_fixture.h"

static struct tg_request_head head;
static struct tg_refusal refusal;
static struct tg_head_limits limits;

static int setup(void **state)
{
    limits = (struct tg_head_limits){.fields = 20, .target = 256};
    return fixture_init(state);
}

static bool parse_bytes(const char *p, size_t n)
{
    struct tg_head_scan scan = {0};
    const char *why = NULL;
    refusal = (struct tg_refusal){0};
    enum tg_scan_result result = tg_head_scan(&scan, p, n, &why);
    if (result == TG_SCAN_MORE)
        fail_msg("not a whole head: %.*s", (int)n, p);
    if (result == TG_SCAN_BAD) {
        refusal = (struct tg_refusal){400, why};
        return false;
    }
    return tg_h1_parse_request(p + scan.start, scan.at - scan.start, &limits, &arena, &head,
                               &refusal);
}

static void assert_takes(const char *text)
{
    if (!parse_bytes(text, strlen(text)))
        fail_msg("refused with %u, %s:\n%s", refusal.status, refusal.reason, text);
}

static void assert_refuses_bytes(unsigned status, const char *p, size_t n)
{
    if (parse_bytes(p, n))
        fail_msg("taken:\n%.*s", (int)n, p);
    if (refusal.status != status)
        fail_msg("%u (%s), not %u:\n%.*s", refusal.status, refusal.reason, status, (int)n, p);
    assert_non_null(refusal.reason);
}

static void assert_refuses(unsigned status, const char *text)
{
    assert_refuses_bytes(status, text, strlen(text));
}

/* A request with these field lines behind a good Host. */
static const char *with(const char *lines)
{
    static char text[4096];
    snprintf(text, sizeof(text), "POST / HTTP/1.1\r\nHost: a\r\n%s\r\n", lines);
    return text;
}

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
    assert_refuses(501, "BREW / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_refuses(501, "get / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_refuses(501, "GE\xc3\xa9 / HTTP/1.1\r\nHost: a\r\n\r\n");
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
    assert_refuses(400, "PRI * HTTP/2.0\r\n\r\n");
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
    assert_framing("transfer-encoding: \t CHUNKED \t\r\n", TG_FRAMING_CHUNKED, 0);
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
        "Transfer-Encoding: \xa0"
        "chunked\r\n",
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

/* ---- Targets -----------------------------------------------------------------------------------
 */

static const char *to(const char *line, const char *host)
{
    static char text[2048];
    snprintf(text, sizeof(text), "%s HTTP/1.1\r\nHost: %s\r\n\r\n", line, host);
    return text;
}

static void test_origin_form(void **state)
{
    (void)state;
    assert_takes(to("GET /a/%2e%2e/%62?x=%62?y", "h"));
    assert_str(head.path, "/b");
    assert_str(head.raw_path, "/a/%2e%2e/%62");
    assert_str(head.query, "x=%62?y");
    assert_takes(to("GET /?", "h"));
    assert_non_null(head.query.p);
    assert_int_equal(head.query.n, 0);
    assert_takes(to("GET /", "h"));
    assert_null(head.query.p);
    assert_takes(to("GET //evil/x", "h"));
    assert_str(head.path, "//evil/x");
    assert_refuses(400, to("GET /a/../..", "h"));
    assert_refuses(400, to("GET /%00", "h"));
    assert_refuses(400, to("GET /%c0%af", "h"));
    assert_refuses(400, to("GET /a#b", "h"));
    assert_refuses(400, to("GET /\xc3\xa4", "h"));
    assert_refuses(400, to("GET a", "h"));
    assert_refuses(400, to("GET ?a", "h"));
}

static void test_absolute_form(void **state)
{
    (void)state;
    assert_takes(to("GET http://b.example:81/x?y", "a"));
    assert_int_equal(head.form, TG_TARGET_ABSOLUTE);
    assert_str(head.authority, "b.example:81");
    assert_str(head.host, "b.example");
    assert_int_equal(head.port, 81);
    assert_str(head.path, "/x");
    assert_str(head.query, "y");
    assert_takes(to("GET HTTPS://[::1]", "a"));
    assert_str(head.host, "[::1]");
    assert_str(head.path, "/");
    assert_takes(to("GET http://b?q", "a"));
    assert_str(head.path, "/");
    assert_str(head.query, "q");
    assert_takes(to("GET http://b/c/..", "a"));
    assert_str(head.path, "/");
    assert_refuses(400, to("GET http:///x", "a"));
    assert_refuses(400, to("GET http://u@b/", "a"));
    assert_refuses(400, to("GET http://b:x/", "a"));
    assert_refuses(400, to("GET ftp://b/", "a"));
    assert_refuses(400, to("GET http:/b/", "a"));
    assert_refuses(400, to("GET http://b/", "u@a"));
    assert_refuses(400, "GET http://b/ HTTP/1.1\r\n\r\n");
}

static void test_asterisk_form(void **state)
{
    (void)state;
    assert_takes(to("OPTIONS *", "a"));
    assert_int_equal(head.form, TG_TARGET_ASTERISK);
    assert_str(head.host, "a");
    assert_refuses(400, to("GET *", "a"));
    assert_refuses(400, to("OPTIONS *x", "a"));
}

static void test_authority_form(void **state)
{
    (void)state;
    assert_takes(to("CONNECT b.example:443", "a"));
    assert_int_equal(head.form, TG_TARGET_AUTHORITY);
    assert_int_equal(head.method, TG_METHOD_CONNECT);
    assert_str(head.host, "b.example");
    assert_int_equal(head.port, 443);
    assert_takes(to("CONNECT [::1]:443", "a"));
    assert_str(head.host, "[::1]");
    assert_refuses(400, to("CONNECT b.example", "a"));
    assert_refuses(400, to("CONNECT b.example:0", "a"));
    assert_refuses(400, to("CONNECT /x", "a"));
    assert_refuses(400, to("CONNECT http://b/", "a"));
    assert_refuses(400, to("GET b.example:443", "a"));
}

static void test_long_targets(void **state)
{
    char line[600];
    (void)state;
    limits.target = 400;
    memcpy(line, "GET /", 5);
    memset(line + 5, 'a', 400);
    line[404] = '\0';
    assert_takes(to(line, "h"));
    line[404] = 'a';
    line[405] = '\0';
    assert_refuses(414, to(line, "h"));
}

/* ---- Wishes ------------------------------------------------------------------------------------
 */

static void test_keep_alive(void **state)
{
    static const struct {
        const char *text;
        bool keep;
    } rows[] = {
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: x, CLOSE\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: closed\r\n\r\n", true},
        {"GET / HTTP/1.0\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true},
        {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: x\r\n\r\n", false},
    };
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(rows); i++) {
        assert_takes(rows[i].text);
        if (head.keep_alive != rows[i].keep)
            fail_msg("%s", rows[i].text);
    }
}

static void test_expectations(void **state)
{
    (void)state;
    assert_takes(with("Content-Length: 1\r\nExpect: 100-Continue\r\n"));
    assert_true(head.expect_continue);
    assert_takes(with("Expect: 100-continue\r\n")); /* no body: nothing to continue */
    assert_false(head.expect_continue);
    assert_takes(with("Content-Length: 1\r\nExpect: 200-ok\r\n"));
    assert_false(head.expect_continue);
    assert_takes("POST / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n");
    assert_false(head.expect_continue);
}

static void test_upgrades_and_trailers(void **state)
{
    (void)state;
    assert_takes(with("Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"));
    assert_true(head.upgrade);
    assert_takes(with("Upgrade: websocket\r\n"));
    assert_false(head.upgrade);
    assert_takes(with("Connection: upgrade\r\n"));
    assert_false(head.upgrade);
    assert_takes(with("Connection: upgrade\r\nUpgrade: x\r\nContent-Length: 1\r\n"));
    assert_false(head.upgrade);
    assert_takes("GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
    assert_false(head.upgrade);
    assert_takes(with("TE: gzip, Trailers\r\n"));
    assert_true(head.te_trailers);
    assert_takes(with("TE: gzip\r\n"));
    assert_false(head.te_trailers);
}

static void test_no_memory_is_503(void **state)
{
    (void)state;
    arena.limit = 0;
    assert_refuses(503, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
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
        TEST(test_origin_form),
        TEST(test_absolute_form),
        TEST(test_asterisk_form),
        TEST(test_authority_form),
        TEST(test_long_targets),
        TEST(test_keep_alive),
        TEST(test_expectations),
        TEST(test_upgrades_and_trailers),
        TEST(test_no_memory_is_503),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
