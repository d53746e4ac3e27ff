/*
 * Heads of responses, trailers, and the text of heads that we write: what was written reads back.
 */
#include "http/h1_parse.h"

#include "http/h1_write.h"
#include "http_fixture.h"

static struct tg_response_head head;
static struct tg_refusal refusal;
static struct tg_head_limits limits;

static int setup(void **state)
{
    limits = (struct tg_head_limits){.fields = 20};
    return fixture_init(state);
}

static bool parse(const char *text, enum tg_method method)
{
    struct tg_head_scan scan = {0};
    const char *why = NULL;
    refusal = (struct tg_refusal){0};
    if (tg_head_scan(&scan, text, strlen(text), &why) != TG_SCAN_DONE) {
        refusal = (struct tg_refusal){502, why != NULL ? why : "not a whole head"};
        return false;
    }
    return tg_h1_parse_response(text + scan.start, scan.at - scan.start, &limits, method, &arena,
                                &head, &refusal);
}

static void assert_takes(const char *text, enum tg_method method)
{
    if (!parse(text, method))
        fail_msg("refused, %s:\n%s", refusal.reason, text);
}

static void assert_refuses(const char *text)
{
    if (parse(text, TG_METHOD_GET))
        fail_msg("taken:\n%s", text);
    assert_int_equal(refusal.status, 502);
    assert_non_null(refusal.reason);
}

static void test_a_plain_response(void **state)
{
    (void)state;
    assert_takes("HTTP/1.1 200 Fine today\r\nA: b\r\nContent-Length: 3\r\n\r\n", TG_METHOD_GET);
    assert_int_equal(head.status, 200);
    assert_int_equal(head.minor, 1);
    assert_str(head.reason, "Fine today");
    assert_int_equal(head.framing, TG_FRAMING_LENGTH);
    assert_int_equal(head.length, 3);
    assert_true(head.keep_alive);
    assert_takes("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", TG_METHOD_GET);
    assert_str(head.reason, "");
    assert_takes("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", TG_METHOD_GET);
    assert_str(head.reason, "");
}

static void test_framing(void **state)
{
    static const struct {
        const char *rest;
        enum tg_method method;
        enum tg_framing framing;
        bool has_length;
        bool keep;
    } rows[] = {
        {"200 OK\r\nContent-Length: 5\r\n", TG_METHOD_GET, TG_FRAMING_LENGTH, true, true},
        {"200 OK\r\nContent-Length: 0\r\n", TG_METHOD_GET, TG_FRAMING_NONE, true, true},
        {"200 OK\r\nTransfer-Encoding: chunked\r\n", TG_METHOD_GET, TG_FRAMING_CHUNKED, false,
         true},
        {"200 OK\r\n", TG_METHOD_GET, TG_FRAMING_CLOSE, false, false},
        {"200 OK\r\nConnection: keep-alive\r\n", TG_METHOD_GET, TG_FRAMING_CLOSE, false, false},
        {"200 OK\r\nContent-Length: 5\r\nConnection: close\r\n", TG_METHOD_GET, TG_FRAMING_LENGTH,
         true, false},
        {"200 OK\r\nContent-Length: 5\r\n", TG_METHOD_HEAD, TG_FRAMING_NONE, true, true},
        {"200 OK\r\nTransfer-Encoding: chunked\r\n", TG_METHOD_HEAD, TG_FRAMING_NONE, false, true},
        {"200 OK\r\n", TG_METHOD_HEAD, TG_FRAMING_NONE, false, true},
        {"204 No Content\r\nContent-Length: 5\r\n", TG_METHOD_GET, TG_FRAMING_NONE, true, true},
        {"304 Not Modified\r\nContent-Length: 5\r\n", TG_METHOD_GET, TG_FRAMING_NONE, true, true},
        {"103 Early Hints\r\n", TG_METHOD_GET, TG_FRAMING_NONE, false, true},
        {"200 OK\r\nContent-Length: 5\r\n", TG_METHOD_CONNECT, TG_FRAMING_NONE, true, true},
        {"403 No\r\nContent-Length: 5\r\n", TG_METHOD_CONNECT, TG_FRAMING_LENGTH, true, true},
    };
    char text[256];
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(rows); i++) {
        snprintf(text, sizeof(text), "HTTP/1.1 %s\r\n", rows[i].rest);
        assert_takes(text, rows[i].method);
        if (head.framing != rows[i].framing || head.has_length != rows[i].has_length ||
            head.keep_alive != rows[i].keep)
            fail_msg("framing %d, length %d, keep %d:\n%s", head.framing, head.has_length,
                     head.keep_alive, text);
    }
}

static void test_http_1_0(void **state)
{
    (void)state;
    assert_takes("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", TG_METHOD_GET);
    assert_false(head.keep_alive);
    assert_takes("HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n",
                 TG_METHOD_GET);
    assert_true(head.keep_alive);
    assert_refuses("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
}

static void test_refusals(void **state)
{
    static const char *const texts[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 204 No\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA\r\n\r\n",
        "HTTP/1.1 200 OK\nA: b\n\n",
        "HTTP/1.1 200 O\x01K\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.2 200 OK\r\n\r\n",
        "HTTP/1.1 99 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 600 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 -20 OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.1\r\n\r\n",
        "RTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "ICE/1.0 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "<html>\r\n\r\n",
    };
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(texts); i++)
        assert_refuses(texts[i]);
}

static void test_too_many_fields(void **state)
{
    (void)state;
    limits.fields = 2;
    assert_takes("HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\n\r\n", TG_METHOD_GET);
    assert_refuses("HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n");
}

static void test_no_memory(void **state)
{
    (void)state;
    arena.limit = 0;
    assert_false(parse("HTTP/1.1 200 OK\r\nA: 1\r\n\r\n", TG_METHOD_GET));
    assert_int_equal(refusal.status, 503);
}

/* ---- Trailers ----------------------------------------------------------------------------------
 */

static struct tg_fields trailers;

static bool parse_trailers(const char *text)
{
    return tg_h1_parse_trailers(text, strlen(text), 3, &arena, &trailers);
}

static void test_trailers(void **state)
{
    (void)state;
    assert_true(parse_trailers("\r\n"));
    assert_int_equal(trailers.n, 0);
    assert_true(parse_trailers("X-Sum:  abc \r\nServer-Timing: a;dur=1\r\n\r\n"));
    assert_int_equal(trailers.n, 2);
    assert_str(trailers.v[0].name, "X-Sum");
    assert_str(trailers.v[0].value, "abc");
}

static void test_fields_that_must_not_trail_are_left_out(void **state)
{
    (void)state;
    assert_true(parse_trailers("Content-Length: 5\r\nX: 1\r\nTransfer-Encoding: chunked\r\n\r\n"));
    assert_int_equal(trailers.n, 1);
    assert_str(trailers.v[0].name, "X");
    assert_true(parse_trailers("Host: a\r\nAuthorization: b\r\nSet-Cookie: c\r\n\r\n"));
    assert_int_equal(trailers.n, 0);
}

static void test_trailers_that_are_refused(void **state)
{
    (void)state;
    assert_false(parse_trailers("no colon\r\n\r\n"));
    assert_false(parse_trailers("A : b\r\n\r\n"));
    assert_false(parse_trailers(": b\r\n\r\n"));
    assert_false(parse_trailers("A: \x01\r\n\r\n"));
    assert_false(parse_trailers("A: 1\r\nA: 2\r\nA: 3\r\nA: 4\r\n\r\n"));
}

/* ---- Writing -----------------------------------------------------------------------------------
 */

static void test_what_is_written_reads_back(void **state)
{
    struct tg_fields fields;
    struct tg_fmt f;
    (void)state;
    tg_fields_init(&fields, &arena);
    assert_int_equal(tg_fields_add(&fields, TG_STR("X-A"), TG_STR("1")), TG_OK);
    assert_int_equal(tg_fields_add(&fields, TG_STR("X-Empty"), TG_STR("")), TG_OK);
    tg_fmt_init_arena(&f, &arena, 8);
    tg_h1_write_status(&f, 404, TG_STR(""));
    tg_h1_write_fields(&f, &fields);
    tg_fmt_bytes(&f, "\r\n", 3);
    assert_string_equal(tg_fmt_str(&f).p, "HTTP/1.1 404 Not Found\r\nX-A: 1\r\nX-Empty: \r\n\r\n");
    assert_takes(tg_fmt_str(&f).p, TG_METHOD_HEAD);
    assert_int_equal(head.status, 404);
    assert_int_equal(head.fields.n, 2);
}

static void test_fields_of_the_connection_are_never_copied(void **state)
{
    static const char *const names[] = {
        "Connection", "Transfer-Encoding", "content-length",     "Keep-Alive",          "TE",
        "Upgrade",    "Proxy-Connection",  "Proxy-Authenticate", "Proxy-Authorization",
    };
    struct tg_fields fields;
    struct tg_fmt f;
    (void)state;
    tg_fields_init(&fields, &arena);
    for (size_t i = 0; i < TG_COUNT_OF(names); i++)
        assert_int_equal(tg_fields_add(&fields, tg_str_c(names[i]), TG_STR("x")), TG_OK);
    tg_fmt_init_arena(&f, &arena, 64);
    tg_h1_write_fields(&f, &fields);
    assert_str(tg_fmt_str(&f), "");
}

static void test_status_lines_and_chunk_sizes(void **state)
{
    char room[18];
    struct tg_fmt f;
    (void)state;
    tg_fmt_init_arena(&f, &arena, 8);
    tg_h1_write_status(&f, 200, TG_STR(""));
    tg_h1_write_status(&f, 200, TG_STR("Yes"));
    tg_h1_write_status(&f, 299, TG_STR(""));
    assert_str(tg_fmt_str(&f), "HTTP/1.1 200 OK\r\nHTTP/1.1 200 Yes\r\nHTTP/1.1 299 Unknown\r\n");
    assert_str(tg_str(room, tg_h1_write_chunk_size(room, 1)), "1\r\n");
    assert_str(tg_str(room, tg_h1_write_chunk_size(room, 0xabcdef)), "abcdef\r\n");
    assert_str(tg_str(room, tg_h1_write_chunk_size(room, SIZE_MAX)), "ffffffffffffffff\r\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_release)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_plain_response),
        TEST(test_framing),
        TEST(test_http_1_0),
        TEST(test_refusals),
        TEST(test_too_many_fields),
        TEST(test_no_memory),
        TEST(test_trailers),
        TEST(test_fields_that_must_not_trail_are_left_out),
        TEST(test_trailers_that_are_refused),
        TEST(test_what_is_written_reads_back),
        TEST(test_fields_of_the_connection_are_never_copied),
        TEST(test_status_lines_and_chunk_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
