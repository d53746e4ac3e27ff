/*
 * Header blocks of HTTP/2: what becomes of a request's, what is malformed, and what goes out.
 */
#include "http/h2_fields.h"

#include "http_fixture.h"

static struct tg_request_head head;
static struct tg_refusal refusal;
static struct tg_h2_block block;
static struct tg_h2_nva nva;

/* A block of "name value" lines. */
static void read_block(const char *lines)
{
    tg_h2_block_init(&block, &arena, 20, 1000);
    while (*lines != '\0') {
        const char *end = strchr(lines, '\n');
        const char *space = memchr(lines, ' ', (size_t)(end - lines));
        tg_h2_block_add(&block, tg_str(lines, (size_t)(space - lines)),
                        tg_str(space + 1, (size_t)(end - space - 1)));
        lines = end + 1;
    }
}

static bool read_request(const char *lines, bool ended)
{
    struct tg_head_limits limits = {.fields = 20, .target = 100};
    read_block(lines);
    refusal = (struct tg_refusal){0};
    return tg_h2_block_request(&block, &limits, ended, &head, &refusal);
}

static void assert_takes(const char *lines)
{
    if (!read_request(lines, false))
        fail_msg("refused with %u, %s:\n%s", refusal.status, refusal.reason, lines);
}

static void assert_refuses(unsigned status, const char *lines)
{
    if (read_request(lines, false))
        fail_msg("taken:\n%s", lines);
    if (refusal.status != status)
        fail_msg("%u (%s), not %u:\n%s", refusal.status, refusal.reason, status, lines);
    assert_non_null(refusal.reason);
}

#define GOOD ":method POST\n:scheme https\n:authority a.example:81\n:path /x/../y?q\n"

static const char *with(const char *lines)
{
    static char text[4096];
    snprintf(text, sizeof(text), GOOD "%s", lines);
    return text;
}

static void assert_field(const struct tg_fields *fields, uint32_t i, const char *name,
                         const char *value)
{
    assert_true(i < fields->n);
    assert_str(fields->v[i].name, name);
    assert_str(fields->v[i].value, value);
    assert_int_equal(fields->v[i].id, tg_field_id(fields->v[i].name));
}

/* ---- Requests ----------------------------------------------------------------------------------
 */

static void test_request(void **state)
{
    (void)state;
    assert_takes(with("accept */*\nx-own 1\n"));
    assert_int_equal(head.major, 2);
    assert_str(tg_request_head_version(&head), "2");
    assert_int_equal(head.method, TG_METHOD_POST);
    assert_str(head.method_name, "POST");
    assert_int_equal(head.form, TG_TARGET_ORIGIN);
    assert_str(head.target, "/x/../y?q");
    assert_str(head.path, "/y");
    assert_str(head.raw_path, "/x/../y");
    assert_str(head.query, "q");
    assert_str(head.authority, "a.example:81");
    assert_str(head.host, "a.example");
    assert_int_equal(head.port, 81);
    assert_int_equal(head.framing, TG_FRAMING_CHUNKED);
    assert_true(head.keep_alive);
    assert_false(head.upgrade);
    assert_int_equal(head.fields.n, 3);
    assert_field(&head.fields, 0, "host", "a.example:81");
    assert_field(&head.fields, 1, "accept", "*/*");
    assert_field(&head.fields, 2, "x-own", "1");
}

static void test_request_without_other_fields(void **state)
{
    (void)state;
    assert_true(read_request(":method GET\n:scheme http\n:authority a\n:path /\n", true));
    assert_int_equal(head.framing, TG_FRAMING_NONE);
    assert_int_equal(head.fields.n, 1);
    assert_field(&head.fields, 0, "host", "a");
}

static void test_asterisk_and_connect(void **state)
{
    (void)state;
    assert_takes(":method OPTIONS\n:scheme http\n:authority a\n:path *\n");
    assert_int_equal(head.form, TG_TARGET_ASTERISK);
    assert_refuses(400, ":method GET\n:scheme http\n:authority a\n:path *\n");
    assert_takes(":method CONNECT\n:authority a:443\n");
    assert_int_equal(head.form, TG_TARGET_AUTHORITY);
    assert_str(head.authority, "a:443");
    assert_refuses(400, ":method CONNECT\n:authority a\n");
    assert_refuses(0, ":method CONNECT\n:authority a:443\n:path /\n");
    assert_refuses(0, ":method CONNECT\n:authority a:443\n:scheme https\n");
    assert_refuses(0, ":method CONNECT\n");
}

static void test_host_and_authority(void **state)
{
    (void)state;
    assert_takes(":method GET\n:scheme http\n:path /\nhost b:1\nx 1\n");
    assert_str(head.authority, "b:1");
    assert_int_equal(head.fields.n, 2);
    assert_takes(with("host A.example:81\nx 1\n"));
    assert_int_equal(head.fields.n, 2);
    assert_refuses(0, with("host b\n"));
    assert_refuses(0, with("host a.example\n"));
    assert_refuses(0, with("host a.example:81\nhost b\n"));
    assert_refuses(400, ":method GET\n:scheme http\n:path /\n");
    assert_refuses(400, ":method GET\n:scheme http\n:path /\nhost a\nhost a\n");
    assert_refuses(400, ":method GET\n:scheme http\n:authority \n:path /\n");
    assert_refuses(400, ":method GET\n:scheme http\n:authority a b\n:path /\n");
    assert_refuses(400, ":method GET\n:scheme http\n:authority u@a\n:path /\n");
}

static void test_pseudo_fields(void **state)
{
    (void)state;
    assert_refuses(0, ":scheme http\n:authority a\n:path /\n");
    assert_refuses(0, ":method GET\n:authority a\n:path /\n");
    assert_refuses(0, ":method GET\n:scheme http\n:authority a\n");
    assert_refuses(0, ":method GET\n:scheme http\n:authority a\n:path \n");
    assert_refuses(0, ":method GET\n:scheme http\n:authority a\n:path x\n");
    assert_refuses(0, ":method GET\n:scheme http\n:authority a\n:path http://b/\n");
    assert_refuses(0, ":method G T\n:scheme http\n:authority a\n:path /\n");
    assert_refuses(0, ":method \n:scheme http\n:authority a\n:path /\n");
    assert_refuses(400, ":method GET\n:scheme ftp\n:authority a\n:path /\n");
    assert_refuses(0, GOOD ":path /again\n");
    assert_refuses(0, GOOD ":status 200\n");
    assert_refuses(0, GOOD ":unknown 1\n");
    assert_refuses(0, GOOD ":Path /\n");
    assert_refuses(0, GOOD ": /\n");
    assert_refuses(0, GOOD "x 1\n:path /\n");
    assert_refuses(0, GOOD ":protocol websocket\n");
}

static void test_targets_as_in_http_1(void **state)
{
    (void)state;
    assert_refuses(400, ":method GET\n:scheme http\n:authority a\n:path /../x\n");
    assert_refuses(400, ":method GET\n:scheme http\n:authority a\n:path /%00\n");
    assert_refuses(400, ":method GET\n:scheme http\n:authority a\n:path /a b\n");
    assert_refuses(400, ":method GET\n:scheme http\n:authority a\n:path /a#b\n");
    char text[300];
    snprintf(text, sizeof(text), ":method GET\n:scheme http\n:authority a\n:path /%0200d\n", 1);
    assert_refuses(414, text);
}

static void test_fields_that_smuggle(void **state)
{
    (void)state;
    assert_refuses(0, with("X-Upper 1\n"));
    assert_refuses(0, with("x: 1\n"));
    assert_refuses(0, with("x\r\ny 1\n"));
    assert_refuses(0, with(" 1\n"));
    assert_refuses(0, with("x 1\r\n"));
    assert_refuses(0, with("x  1\n"));
    assert_refuses(0, with("x 1\t\n"));
    assert_refuses(0, with("x a\x01z\n"));
    assert_refuses(0, with("x a\x7fz\n"));
    assert_refuses(0, with("connection close\n"));
    assert_refuses(0, with("keep-alive timeout=5\n"));
    assert_refuses(0, with("proxy-connection close\n"));
    assert_refuses(0, with("transfer-encoding chunked\n"));
    assert_refuses(0, with("upgrade h2c\n"));
    assert_refuses(0, with("te gzip\n"));
    assert_refuses(0, with("te trailers, gzip\n"));
    assert_refuses(0, with("content-length 1\ncontent-length 1\n"));
    assert_refuses(0, with("content-length 1, 1\n"));
    assert_refuses(0, with("content-length -1\n"));
    tg_h2_block_init(&block, &arena, 20, 1000);
    tg_h2_block_add(&block, TG_STR("x"), TG_STR("a\0b"));
    assert_true(block.refused);
    assert_int_equal(block.refusal.status, 0);
}

static void test_wishes(void **state)
{
    (void)state;
    assert_takes(with("te trailers\n"));
    assert_true(head.te_trailers);
    assert_takes(with("expect 100-continue\n"));
    assert_true(head.expect_continue);
    assert_true(read_request(with("expect 100-continue\n"), true));
    assert_false(head.expect_continue);
}

static void test_lengths(void **state)
{
    (void)state;
    assert_takes(with("content-length 12\n"));
    assert_int_equal(head.framing, TG_FRAMING_LENGTH);
    assert_int_equal(head.length, 12);
    assert_takes(with("content-length 0\n"));
    assert_int_equal(head.framing, TG_FRAMING_NONE);
    assert_true(read_request(with("content-length 0\n"), true));
    assert_false(read_request(with("content-length 12\n"), true));
    assert_int_equal(refusal.status, 0);
}

static void test_crumbs_of_a_cookie(void **state)
{
    (void)state;
    assert_takes(with("cookie a=1\nx 1\ncookie b=2\ncookie c=3\n"));
    assert_int_equal(head.fields.n, 3);
    assert_field(&head.fields, 1, "cookie", "a=1; b=2; c=3");
    assert_field(&head.fields, 2, "x", "1");
    assert_takes(with("cookie a=1\ncookie \ncookie b=2\ncookie \n"));
    assert_field(&head.fields, 1, "cookie", "a=1; b=2");
}

static void test_crumbs_are_one_field(void **state)
{
    char text[2048];
    size_t n = 0;
    (void)state;
    for (int i = 0; i < 20; i++) /* with Host, 21 lines */
        n += (size_t)snprintf(text + n, sizeof(text) - n, "cookie c\n");
    assert_takes(with(text));
    assert_int_equal(head.fields.n, 2);
    assert_refuses(431, with(strcat(text, "cookie c\n"))); /* but they have a size */
    n = 0;
    for (int i = 0; i < 18; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "f%d 1\n", i);
    assert_takes(with(strcat(text, "cookie c\ncookie c\n")));
    assert_refuses(431, with(strcat(text, "f 1\n")));
}

static void test_bounds(void **state)
{
    (void)state;
    char text[2048];
    size_t n = 0;
    for (int i = 0; i < 21; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "f%d 1\n", i);
    assert_refuses(431, with(text));
    snprintf(text, sizeof(text), "x %01000d\n", 1);
    assert_refuses(431, with(text));
    /* What is too large is not kept, however much more of it comes. */
    tg_h2_block_init(&block, &arena, 1000000, 1000);
    size_t before = 0;
    for (int i = 0; i < 100000; i++) {
        tg_h2_block_add(&block, TG_STR("x-some-name"), TG_STR("some value"));
        if (i == 100)
            before = arena.used;
    }
    assert_int_equal(arena.used, before);
    assert_int_equal(block.refusal.status, 431);
}

static void test_extended_connect(void **state)
{
    (void)state;
    assert_takes(
        ":method CONNECT\n:protocol websocket\n:scheme https\n:authority a\n:path /chat\n");
    assert_str(head.protocol, "websocket");
    assert_str(head.path, "/chat");
    assert_str(head.host, "a");
    assert_refuses(0, ":method CONNECT\n:protocol websocket\n:authority a\n:path /chat\n");
    assert_refuses(0, ":method CONNECT\n:protocol websocket\n:scheme https\n:authority a\n");
}

/* ---- Trailers ----------------------------------------------------------------------------------
 */

static void test_trailers(void **state)
{
    struct tg_fields out;
    (void)state;
    read_block("grpc-status 0\ncontent-length 5\nhost b\nx 1\n");
    assert_true(tg_h2_block_trailers(&block, &out, &refusal));
    assert_int_equal(out.n, 2);
    assert_field(&out, 0, "grpc-status", "0");
    assert_field(&out, 1, "x", "1");
    read_block("x 1\n:path /\n");
    assert_false(tg_h2_block_trailers(&block, &out, &refusal));
    read_block(":path /\n");
    assert_false(tg_h2_block_trailers(&block, &out, &refusal));
    assert_int_equal(refusal.status, 0);
    read_block("X 1\n");
    assert_false(tg_h2_block_trailers(&block, &out, &refusal));
}

/* ---- Answers -----------------------------------------------------------------------------------
 */

static void assert_nv(uint32_t i, const char *name, const char *value)
{
    assert_true(i < nva.n);
    assert_str(tg_str((const char *)nva.v[i].name, nva.v[i].namelen), name);
    assert_str(tg_str((const char *)nva.v[i].value, nva.v[i].valuelen), value);
}

static void answer(struct tg_response_head *resp, enum tg_method method)
{
    tg_h2_nva_init(&nva, &arena, 1);
    tg_h2_nva_response(&nva, resp, method);
    assert_false(nva.failed);
}

static void test_answer(void **state)
{
    (void)state;
    struct tg_response_head resp = {.status = 200, .framing = TG_FRAMING_LENGTH, .length = 12};
    tg_fields_init(&resp.fields, &arena);
    assert_int_equal(tg_fields_add(&resp.fields, TG_STR("X-A"), TG_STR(" 1 ")), TG_OK);
    assert_int_equal(tg_fields_add(&resp.fields, TG_STR("Connection"), TG_STR("close")), TG_OK);
    assert_int_equal(tg_fields_add(&resp.fields, TG_STR("Transfer-Encoding"), TG_STR("chunked")),
                     TG_OK);
    assert_int_equal(tg_fields_add(&resp.fields, TG_STR("Content-Length"), TG_STR("99")), TG_OK);
    answer(&resp, TG_METHOD_GET);
    assert_int_equal(nva.n, 3);
    assert_nv(0, ":status", "200");
    assert_nv(1, "X-A", "1");
    assert_nv(2, "content-length", "12");
}

static void test_answers_without_body(void **state)
{
    (void)state;
    struct tg_response_head resp = {.status = 404, .framing = TG_FRAMING_NONE};
    tg_fields_init(&resp.fields, &arena);
    answer(&resp, TG_METHOD_GET);
    assert_int_equal(nva.n, 2);
    assert_nv(0, ":status", "404");
    assert_nv(1, "content-length", "0");
    resp = (struct tg_response_head){.status = 200, .has_length = true, .length = 7};
    answer(&resp, TG_METHOD_HEAD);
    assert_nv(1, "content-length", "7");
    resp.has_length = false;
    answer(&resp, TG_METHOD_HEAD);
    assert_int_equal(nva.n, 1);
    resp.status = 204;
    answer(&resp, TG_METHOD_GET);
    assert_int_equal(nva.n, 1);
    resp.framing = TG_FRAMING_CLOSE;
    resp.status = 200;
    answer(&resp, TG_METHOD_GET);
    assert_int_equal(nva.n, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_init, fixture_release)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_request),
        TEST(test_request_without_other_fields),
        TEST(test_asterisk_and_connect),
        TEST(test_host_and_authority),
        TEST(test_pseudo_fields),
        TEST(test_targets_as_in_http_1),
        TEST(test_fields_that_smuggle),
        TEST(test_wishes),
        TEST(test_lengths),
        TEST(test_crumbs_of_a_cookie),
        TEST(test_crumbs_are_one_field),
        TEST(test_bounds),
        TEST(test_extended_connect),
        TEST(test_trailers),
        TEST(test_answer),
        TEST(test_answers_without_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
