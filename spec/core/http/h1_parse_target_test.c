/*
 * Heads of requests: targets of all forms, and what the client wishes of the connection.
 */
#include "http/h1_parse.h"

#include "request_fixture.h"

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
    assert_takes(with("Connection: upgrade\r\nUpgrade: h2c-like, h20, https\r\n"));
    assert_true(head.upgrade);
    static const char *const carriers[] = {
        "h2c", "H2C", "websocket, h2c", "websocket\r\nUpgrade: h2c", "h2", "TLS/1.2", "HTTP/2.0"};
    for (size_t i = 0; i < TG_COUNT_OF(carriers); i++) {
        char lines[128];
        snprintf(lines, sizeof(lines), "Connection: upgrade\r\nUpgrade: %s\r\n", carriers[i]);
        assert_takes(with(lines));
        assert_false(head.upgrade);
    }
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
        TEST(test_origin_form),    TEST(test_absolute_form),         TEST(test_asterisk_form),
        TEST(test_authority_form), TEST(test_long_targets),          TEST(test_keep_alive),
        TEST(test_expectations),   TEST(test_upgrades_and_trailers), TEST(test_no_memory_is_503),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
