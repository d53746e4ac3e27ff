/*
 * Bodies: by length, chunked, to close. Chunked ones are decoded in every split of the input in two
 * and in random ones, in a copy of exactly the size of the piece, and give the same each time.
 */
#include "http/h1_body.h"

#include "http_fixture.h"

#define MAX_FIELDS  4
#define MAX_TRAILER 512

struct outcome {
    enum tg_body_result result;
    size_t used;
    size_t n;
    char data[8192];
    struct tg_h1_body body;
};

static struct outcome out;

/* Decodes p[0, n) in pieces that end at `cuts`, a random rest behind the last one. */
static void decode(enum tg_framing framing, uint64_t length, const char *p, size_t n,
                   size_t (*next_cut)(size_t at, size_t n, void *arg), void *arg)
{
    size_t at = 0;
    out.result = TG_BODY_MORE;
    out.used = out.n = 0;
    tg_h1_body_init(&out.body, framing, length, &arena, MAX_FIELDS, MAX_TRAILER);
    while (at < n && out.result == TG_BODY_MORE) {
        size_t end = next_cut(at, n, arg);
        size_t used;
        struct tg_str data;
        char *piece = malloc(end - at);
        assert_non_null(piece);
        memcpy(piece, p + at, end - at);
        out.result = tg_h1_body_decode(&out.body, piece, end - at, &used, &data);
        assert_true(used <= end - at);
        assert_true(data.n <= used);
        assert_true(data.n == 0 || (data.p >= piece && data.p + data.n <= piece + used));
        if (out.result == TG_BODY_MORE)
            assert_int_equal(used, end - at);
        assert_true(out.n + data.n <= sizeof(out.data));
        memcpy(out.data + out.n, data.p, data.n);
        out.n += data.n;
        out.used += used;
        free(piece);
        at = end;
    }
}

static size_t cut_whole(size_t at, size_t n, void *arg)
{
    (void)at;
    (void)arg;
    return n;
}

static size_t cut_at(size_t at, size_t n, void *arg)
{
    size_t cut = *(size_t *)arg;
    return at < cut ? cut : n;
}

static size_t cut_bytes(size_t at, size_t n, void *arg)
{
    (void)n;
    (void)arg;
    return at + 1;
}

static size_t cut_random(size_t at, size_t n, void *arg)
{
    size_t cut = at + 1 + (size_t)tg_rand_below(arg, 9);
    return TG_MIN(n, cut);
}

/* All ways agree with `result`, and with the body and the end when it is good. */
static void assert_chunked(const char *p, size_t n, enum tg_body_result result, const char *body,
                           size_t used)
{
    struct tg_rand r = fixture_rand();
    for (size_t way = 0; way < n + 22; way++) {
        if (way == 0)
            decode(TG_FRAMING_CHUNKED, 0, p, n, cut_whole, NULL);
        else if (way < n)
            decode(TG_FRAMING_CHUNKED, 0, p, n, cut_at, &way);
        else if (way == n)
            decode(TG_FRAMING_CHUNKED, 0, p, n, cut_bytes, NULL);
        else
            decode(TG_FRAMING_CHUNKED, 0, p, n, cut_random, &r);
        if (out.result != result)
            fail_msg("way %zu: result %d, not %d:\n%.*s", way, out.result, result, (int)n, p);
        if (result == TG_BODY_BAD)
            continue;
        assert_str(tg_str(out.data, out.n), body);
        assert_int_equal(out.used, used);
        assert_int_equal(out.body.seen, out.n);
        tg_arena_release(&arena);
    }
}

static void assert_good(const char *text, const char *body)
{
    char with_more[512];
    int n = snprintf(with_more, sizeof(with_more), "%sGET / HTTP/1.1\r\n", text);
    assert_chunked(text, strlen(text), TG_BODY_END, body, strlen(text));
    assert_chunked(with_more, (size_t)n, TG_BODY_END, body, strlen(text));
}

static void assert_bad(const char *text)
{
    assert_chunked(text, strlen(text), TG_BODY_BAD, NULL, 0);
}

static void assert_more(const char *text, const char *body)
{
    assert_chunked(text, strlen(text), TG_BODY_MORE, body, strlen(text));
}

static void test_chunks(void **state)
{
    (void)state;
    assert_good("0\r\n\r\n", "");
    assert_good("5\r\nhello\r\n0\r\n\r\n", "hello");
    assert_good("1\r\na\r\n2\r\nbc\r\n3\r\ndef\r\n0\r\n\r\n", "abcdef");
    assert_good("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789");
    assert_good("0005\r\nhello\r\n000\r\n\r\n", "hello");
    assert_good("4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n");
}

static void test_every_prefix_wants_more(void **state)
{
    static const char text[] = "3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX: 1\r\n\r\n";
    char prefix[sizeof(text)];
    (void)state;
    for (size_t n = 1; n < sizeof(text) - 1; n++) {
        decode(TG_FRAMING_CHUNKED, 0, text, n, cut_whole, NULL);
        assert_int_equal(out.result, TG_BODY_MORE);
        assert_false(tg_h1_body_end(&out.body));
        tg_arena_release(&arena);
    }
    memcpy(prefix, text, 9);
    prefix[9] = '\0';
    assert_more(prefix, "ab");
}

static void test_extensions_are_dropped(void **state)
{
    (void)state;
    assert_good("5;a=b;c=\"d e\"\r\nhello\r\n0;last\r\n\r\n", "hello");
    assert_bad("5;\r\nhello\r\n0\r\n\r\n");
    assert_bad("5;a;\r\nhello\r\n0\r\n\r\n");
    assert_bad("5;a=\r\nhello\r\n0\r\n\r\n");
    assert_bad("5;a=;b\r\nhello\r\n0\r\n\r\n");
    assert_bad("5;=b\r\nhello\r\n0\r\n\r\n");
    assert_good("5;a;b=\"c\";d=e\r\nhello\r\n0\r\n\r\n", "hello");
    assert_bad("5;a b\r\nhello\r\n0\r\n\r\n");
    assert_bad("5;a=\"b\\\"c\"\r\nhello\r\n0\r\n\r\n");
    assert_bad("5;a=\"b\"c\r\nhello\r\n0\r\n\r\n");
    assert_bad("5;a=b\"c\"\r\nhello\r\n0\r\n\r\n");
    assert_bad("5;a=\"b\r\nhello\r\n0\r\n\r\n");
    assert_bad("5;\xe9\r\nhello\r\n0\r\n\r\n");
    assert_bad("5;a\nhello\r\n0\r\n\r\n");
    assert_bad("5;a\rhello\r\n0\r\n\r\n");
    assert_bad("5;a\x01\r\nhello\r\n0\r\n\r\n");
    assert_bad("5;a\x7f\r\nhello\r\n0\r\n\r\n");
}

static void test_extensions_are_bounded_over_the_whole_body(void **state)
{
    char text[8000];
    size_t n = 0;
    (void)state;
    for (int i = 0; i < 300; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "1;aaaaaaaaaaaaaa\r\nx\r\n");
    decode(TG_FRAMING_CHUNKED, 0, text, n, cut_whole, NULL);
    assert_int_equal(out.result, TG_BODY_BAD);
    assert_in_range(out.n, 200, 299);
}

static void test_rubbish_in_sizes(void **state)
{
    (void)state;
    assert_bad("\r\n");
    assert_bad(";a\r\n");
    assert_bad("g\r\n");
    assert_bad("-1\r\n");
    assert_bad("+1\r\na\r\n");
    assert_bad("0x1\r\na\r\n");
    assert_bad(" 1\r\na\r\n");
    assert_bad("1 \r\na\r\n");
    assert_bad("1\t\r\na\r\n");
    assert_bad("1 ;a\r\na\r\n");
    assert_bad("1,\r\na\r\n");
    assert_bad("1\na\r\n");
    assert_bad("1\ra\r\n");
    assert_bad("1\r\r\na\r\n");
    assert_bad("1_0\r\na\r\n");
}

static void test_sizes_that_overflow(void **state)
{
    (void)state;
    assert_bad("10000000000000000\r\n");
    assert_bad("ffffffffffffffff\r\n");
    assert_bad("fffffffffffffffffffffffffffffffff\r\n");
    assert_bad("0000000000000001\r\na\r\n0\r\n\r\n");
    assert_bad("8000000000000000\r\n");
    assert_more("fffffffffffffff\r\nabc", "abc");
    assert_int_equal(out.body.left, 0xfffffffffffffffULL - 3);
}

static void test_chunks_that_end_wrong(void **state)
{
    (void)state;
    assert_bad("3\r\nabcd\r\n");
    assert_bad("3\r\nab\r\n0\r\n\r\n");
    assert_bad("3\r\nabc\n0\r\n\r\n");
    assert_bad("3\r\nabc\r0\r\n\r\n");
    assert_bad("3\r\nabc0\r\n\r\n");
    assert_bad("0\r\n\n");
    assert_bad("0\r\n\r\r\n");
    assert_bad("0\n\r\n");
}

static void test_trailers(void **state)
{
    (void)state;
    assert_good("1\r\na\r\n0\r\nX-Sum: 1\r\nY:\t2\t3 \r\n\r\n", "a");
    decode(TG_FRAMING_CHUNKED, 0, "0\r\nX: a\tb\r\nContent-Length: 9\r\n\r\n", 35, cut_bytes, NULL);
    assert_int_equal(out.result, TG_BODY_END);
    assert_int_equal(out.body.trailers.n, 1);
    assert_str(out.body.trailers.v[0].name, "X");
    assert_str(out.body.trailers.v[0].value, "a\tb");
}

static void test_trailers_that_are_refused(void **state)
{
    char text[MAX_TRAILER + 64];
    (void)state;
    assert_bad("0\r\nno colon\r\n\r\n");
    assert_bad("0\r\nX : 1\r\n\r\n");
    assert_bad("0\r\nX: 1\r\n folded\r\n\r\n");
    assert_bad("0\r\n X: 1\r\n\r\n");
    assert_bad("0\r\nX: 1\nY: 2\r\n\r\n");
    assert_bad("0\r\nX: \x01\r\n\r\n");
    assert_bad("0\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nE: 5\r\n\r\n");
    int n = snprintf(text, sizeof(text), "0\r\nX: %0*d\r\n\r\n", MAX_TRAILER, 1);
    decode(TG_FRAMING_CHUNKED, 0, text, (size_t)n, cut_whole, NULL);
    assert_int_equal(out.result, TG_BODY_BAD);
    decode(TG_FRAMING_CHUNKED, 0, text, (size_t)n, cut_bytes, NULL);
    assert_int_equal(out.result, TG_BODY_BAD);
}

static void test_no_memory_for_trailers(void **state)
{
    (void)state;
    arena.limit = 0;
    decode(TG_FRAMING_CHUNKED, 0, "0\r\n\r\n", 5, cut_whole, NULL);
    assert_int_equal(out.result, TG_BODY_BAD);
}

static void test_chunks_close_their_gaps_in_place(void **state)
{
    char text[] = "3\r\nabc\r\n4\r\ndefg\r\n1\r\nh\r\n0\r\n\r\nNEXT";
    struct tg_h1_body body;
    struct tg_str data;
    size_t used;
    (void)state;
    tg_h1_body_init(&body, TG_FRAMING_CHUNKED, 0, &arena, MAX_FIELDS, MAX_TRAILER);
    assert_int_equal(tg_h1_body_decode(&body, text, sizeof(text) - 1, &used, &data), TG_BODY_END);
    assert_str(data, "abcdefgh");
    assert_ptr_equal(data.p, text + 3);
    assert_str(tg_str(text + used, 4), "NEXT");
    assert_int_equal(tg_h1_body_decode(&body, text, 4, &used, &data), TG_BODY_END);
    assert_int_equal(used, 0);
}

/* Chunks of random sizes, extensions and trailers, in random pieces, give what went in. */
static void test_random_bodies(void **state)
{
    struct tg_rand r = fixture_rand();
    static char wire[16384];
    static char plain[4096];
    (void)state;
    for (int round = 0; round < 400; round++) {
        size_t n = 0;
        size_t total = 0;
        for (uint64_t chunks = tg_rand_below(&r, 12); chunks > 0; chunks--) {
            size_t size = 1 + (size_t)tg_rand_below(&r, 200);
            n += (size_t)snprintf(wire + n, sizeof(wire) - n,
                                  tg_rand_below(&r, 3) == 0 ? "%zX;e=1\r\n" : "%zx\r\n", size);
            for (size_t i = 0; i < size; i++)
                wire[n++] = plain[total++] = (char)tg_rand_below(&r, 256);
            n += (size_t)snprintf(wire + n, sizeof(wire) - n, "\r\n");
        }
        n += (size_t)snprintf(wire + n, sizeof(wire) - n, "0\r\n%s\r\n",
                              tg_rand_below(&r, 2) == 0 ? "" : "X: y\r\n");
        decode(TG_FRAMING_CHUNKED, 0, wire, n, cut_random, &r);
        assert_int_equal(out.result, TG_BODY_END);
        assert_int_equal(out.used, n);
        assert_int_equal(out.n, total);
        assert_memory_equal(out.data, plain, total);
        tg_arena_release(&arena);
    }
}

static void test_length(void **state)
{
    (void)state;
    decode(TG_FRAMING_LENGTH, 5, "helloNEXT", 9, cut_whole, NULL);
    assert_int_equal(out.result, TG_BODY_END);
    assert_int_equal(out.used, 5);
    assert_str(tg_str(out.data, out.n), "hello");
    decode(TG_FRAMING_LENGTH, 5, "helloNEXT", 9, cut_bytes, NULL);
    assert_int_equal(out.result, TG_BODY_END);
    assert_int_equal(out.used, 5);
    decode(TG_FRAMING_LENGTH, UINT64_MAX, "hell", 4, cut_bytes, NULL);
    assert_int_equal(out.result, TG_BODY_MORE);
    assert_int_equal(out.body.left, UINT64_MAX - 4);
    assert_false(tg_h1_body_end(&out.body));
}

static void test_to_close(void **state)
{
    (void)state;
    decode(TG_FRAMING_CLOSE, 0, "anything", 8, cut_bytes, NULL);
    assert_int_equal(out.result, TG_BODY_MORE);
    assert_str(tg_str(out.data, out.n), "anything");
    assert_true(tg_h1_body_end(&out.body));
}

static void test_none(void **state)
{
    (void)state;
    decode(TG_FRAMING_NONE, 0, "NEXT", 4, cut_whole, NULL);
    assert_int_equal(out.result, TG_BODY_END);
    assert_int_equal(out.used, 0);
    assert_true(tg_h1_body_end(&out.body));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_init, fixture_release)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_chunks),
        TEST(test_every_prefix_wants_more),
        TEST(test_extensions_are_dropped),
        TEST(test_extensions_are_bounded_over_the_whole_body),
        TEST(test_rubbish_in_sizes),
        TEST(test_sizes_that_overflow),
        TEST(test_chunks_that_end_wrong),
        TEST(test_trailers),
        TEST(test_trailers_that_are_refused),
        TEST(test_no_memory_for_trailers),
        TEST(test_chunks_close_their_gaps_in_place),
        TEST(test_random_bodies),
        TEST(test_length),
        TEST(test_to_close),
        TEST(test_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
