/*
 * Heads between HTTP/1.1 and an origin that speaks HTTP/2: the text of a request as a block, and
 * what makes an answer.
 */
#include "http/h2_client_fields.h"

#include "http_fixture.h"

/* ---- Requests ----------------------------------------------------------------------------------
 */

/* The block of `text`, as "name=value|" for each field. */
static void assert_written(const char *text, bool tunnel, const char *want)
{
    struct tg_h2_nva nva;
    char got[1024] = "";
    tg_h2_nva_init(&nva, &arena, 4);
    tg_h2_nva_request(&nva, tg_str_c(text), TG_STR("https"), tunnel);
    assert_false(nva.failed);
    for (uint32_t i = 0; i < nva.n; i++) {
        size_t n = strlen(got);
        snprintf(got + n, sizeof(got) - n, "%.*s=%.*s|", (int)nva.v[i].namelen,
                 (const char *)nva.v[i].name, (int)nva.v[i].valuelen, (const char *)nva.v[i].value);
    }
    assert_string_equal(got, want);
}

static void assert_request(const char *text, const char *want)
{
    assert_written(text, false, want);
}

static void test_a_websocket_is_an_extended_connect(void **state)
{
    static const char text[] =
        "GET /a?b HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhl\r\n\r\n";
    (void)state;
    assert_written(text, true,
                   ":method=CONNECT|:protocol=websocket|:scheme=https|:authority=a|:path=/a?b|"
                   "Sec-WebSocket-Version=13|");
    assert_true(tg_str_eq(tg_h2_text_key(tg_str_c(text)), TG_STR("dGhl")));
    assert_int_equal(tg_h2_text_key(TG_STR("GET / HTTP/1.1\r\nHost: a\r\n\r\n")).n, 0);
}

static void test_host_is_the_authority(void **state)
{
    (void)state;
    assert_request("GET /a?b=c HTTP/1.1\r\nX: 1\r\nHost: a.test:80\r\nY:\r\n\r\n",
                   ":method=GET|:scheme=https|:authority=a.test:80|:path=/a?b=c|X=1|Y=|");
    assert_request("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
                   ":method=OPTIONS|:scheme=https|:authority=a|:path=*|");
    assert_request("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", ":method=CONNECT|:authority=a:1|");
}

static void test_fields_of_a_connection_stay_behind(void **state)
{
    (void)state;
    assert_request("GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nKeep-Alive: 5\r\n"
                   "Proxy-Connection: y\r\nTransfer-Encoding: chunked\r\nUpgrade: z\r\n"
                   "Content-Length: 5\r\n\r\n",
                   ":method=GET|:scheme=https|:authority=a|:path=/|Content-Length=5|");
}

static void test_te_is_trailers_or_nothing(void **state)
{
    (void)state;
    assert_request("GET / HTTP/1.1\r\nHost: a\r\nTE: gzip, Trailers\r\n\r\n",
                   ":method=GET|:scheme=https|:authority=a|:path=/|te=trailers|");
    assert_request("GET / HTTP/1.1\r\nHost: a\r\nTE: gzip\r\n\r\n",
                   ":method=GET|:scheme=https|:authority=a|:path=/|");
}

static void test_a_cookie_goes_in_crumbs(void **state)
{
    (void)state;
    assert_request("GET / HTTP/1.1\r\nHost: a\r\nCookie: a=1; b=2;; c=3;\r\n\r\n",
                   ":method=GET|:scheme=https|:authority=a|:path=/|cookie=a=1|cookie=b=2|"
                   "cookie=c=3|");
}

/* ---- Answers -----------------------------------------------------------------------------------
 */

static struct tg_response_head head;
static const char *why;

/* A block of "name value" lines as an answer. */
static bool read_answer(const char *lines, enum tg_method method, bool ended)
{
    struct tg_h2_block block;
    tg_h2_block_init(&block, &arena, 5, 1000);
    while (*lines != '\0') {
        const char *end = strchr(lines, '\n');
        const char *space = memchr(lines, ' ', (size_t)(end - lines));
        tg_h2_block_add(&block, tg_str(lines, (size_t)(space - lines)),
                        tg_str(space + 1, (size_t)(end - space - 1)));
        lines = end + 1;
    }
    return tg_h2_block_response(&block, method, ended, &head, &why);
}

static void assert_framing(enum tg_framing want, const char *lines, enum tg_method method,
                           bool ended)
{
    assert_true(read_answer(lines, method, ended));
    assert_null(why);
    assert_int_equal(head.framing, want);
}

static void test_framings(void **state)
{
    (void)state;
    assert_framing(TG_FRAMING_CHUNKED, ":status 200\nx 1\n", TG_METHOD_GET, false);
    assert_int_equal(head.fields.n, 1);
    assert_framing(TG_FRAMING_LENGTH, ":status 200\ncontent-length 7\n", TG_METHOD_GET, false);
    assert_int_equal(head.length, 7);
    assert_framing(TG_FRAMING_NONE, ":status 200\n", TG_METHOD_GET, true);
    assert_framing(TG_FRAMING_NONE, ":status 204\n", TG_METHOD_GET, true);
    assert_framing(TG_FRAMING_NONE, ":status 304\ncontent-length 7\n", TG_METHOD_GET, true);
    assert_framing(TG_FRAMING_NONE, ":status 200\ncontent-length 7\n", TG_METHOD_HEAD, true);
    assert_true(head.has_length);
    assert_framing(TG_FRAMING_NONE, ":status 103\n", TG_METHOD_GET, false);
}

static void test_what_is_no_answer(void **state)
{
    static const char *const answers[] = {
        "x 1\n",
        ":status 99\n",
        ":status 20\n",
        ":status 2000\n",
        ":status 2x0\n",
        ":status -20\n",
        ":status 101\n",
        ":status 200\n:path /\n",
        ":status 200\n:method GET\n",
        ":status 200\ncontent-length x\n",
        ":status 200\ncontent-length -1\n",
        ":status 200\ncontent-length 99999999999999999999\n",
        ":status 200\ncontent-length 1\ncontent-length 2\n",
        ":status 200\nconnection x\n",
        ":status 200\nUpper 1\n",
        ":status 200\na 1\nb 1\nc 1\nd 1\ne 1\nf 1\n",
    };
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(answers); i++) {
        why = NULL;
        if (read_answer(answers[i], TG_METHOD_GET, false))
            fail_msg("taken: %s", answers[i]);
        assert_non_null(why);
    }
    assert_false(read_answer(":status 200\ncontent-length 1\n", TG_METHOD_GET, true));
    assert_false(read_answer(":status 103\n", TG_METHOD_GET, true));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_init, fixture_release)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_host_is_the_authority),
        TEST(test_a_websocket_is_an_extended_connect),
        TEST(test_fields_of_a_connection_stay_behind),
        TEST(test_te_is_trailers_or_nothing),
        TEST(test_a_cookie_goes_in_crumbs),
        TEST(test_framings),
        TEST(test_what_is_no_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
