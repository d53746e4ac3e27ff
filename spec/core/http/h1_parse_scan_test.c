/*
 * The scan for the end of a head: the verdict, and that it is the same however the bytes arrive.
 */
#include "http/h1_parse.h"

#include "http_fixture.h"

struct verdict {
    enum tg_scan_result result;
    size_t start;
    size_t at;
};

/* Feeds p[0, n) in pieces: whole, byte by byte, or random ones. The bytes stand at the end of a
 * block of exactly that size, so that reading past them is seen. */
static struct verdict scan_in_steps(const char *p, size_t n, struct tg_rand *r, size_t step)
{
    struct tg_head_scan scan = {0};
    const char *why = NULL;
    size_t shown = 0;
    enum tg_scan_result result = TG_SCAN_MORE;
    while (result == TG_SCAN_MORE && shown < n) {
        size_t more = r != NULL ? 1 + (size_t)tg_rand_below(r, 7) : step;
        shown = TG_MIN(shown + more, n);
        char *copy = malloc(shown);
        assert_non_null(copy);
        memcpy(copy, p, shown);
        result = tg_head_scan(&scan, copy, shown, &why);
        free(copy);
    }
    if (result == TG_SCAN_BAD)
        assert_non_null(why);
    /* Where a bad head stopped depends on what had come; the verdict does not. */
    return result == TG_SCAN_BAD ? (struct verdict){.result = result}
                                 : (struct verdict){result, scan.start, scan.at};
}

static struct verdict scan_all_ways(const char *p, size_t n)
{
    struct tg_rand r = fixture_rand();
    struct verdict whole = scan_in_steps(p, n, NULL, n);
    for (int i = 0; i < 40; i++) {
        struct verdict v = i == 0 ? scan_in_steps(p, n, NULL, 1) : scan_in_steps(p, n, &r, 0);
        assert_int_equal(v.result, whole.result);
        assert_int_equal(v.start, whole.start);
        if (whole.result == TG_SCAN_DONE)
            assert_int_equal(v.at, whole.at);
    }
    return whole;
}

#define scan_text(literal) scan_all_ways((literal), sizeof(literal) - 1)

static void test_the_end_of_a_head(void **state)
{
    static const char head[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    (void)state;
    struct verdict v = scan_text("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(v.result, TG_SCAN_DONE);
    assert_int_equal(v.start, 0);
    assert_int_equal(v.at, sizeof(head) - 1);
}

static void test_what_follows_is_not_looked_at(void **state)
{
    (void)state;
    struct verdict v = scan_text("GET / HTTP/1.1\r\n\r\n\n\0\x01 body");
    assert_int_equal(v.result, TG_SCAN_DONE);
    assert_int_equal(v.at, 18);
}

static void test_empty_lines_in_front_are_passed_over(void **state)
{
    (void)state;
    struct verdict v = scan_text("\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    assert_int_equal(v.result, TG_SCAN_DONE);
    assert_int_equal(v.start, 4);
    assert_int_equal(v.at, 22);
}

static void test_every_prefix_wants_more(void **state)
{
    static const char head[] = "GET /abcdefgh HTTP/1.1\r\nHost: a\r\nX:\tb c\r\n\r\n";
    (void)state;
    for (size_t n = 0; n < sizeof(head) - 1; n++)
        assert_int_equal(scan_all_ways(head, n).result, TG_SCAN_MORE);
}

static void test_controls_are_refused_wherever_they_stand(void **state)
{
    static const char head[] = "GET /a HTTP/1.1\r\nHost: abcdefghij\r\nX-Long-Name: value\r\n\r\n";
    char copy[sizeof(head)];
    (void)state;
    for (size_t at = 0; at < sizeof(head) - 1; at++) {
        if (head[at] == '\r' || head[at] == '\n')
            continue;
        for (int c = 0; c < 0x21; c++) {
            bool first_line = at < 15;
            bool line_start = at == 0 || head[at - 1] == '\n';
            bool fine = (c == ' ' || (c == '\t' && !first_line)) && !line_start;
            memcpy(copy, head, sizeof(head));
            copy[at] = c < 0x20 ? (char)c : ' ';
            enum tg_scan_result want = fine ? TG_SCAN_DONE : TG_SCAN_BAD;
            if (scan_in_steps(copy, sizeof(copy) - 1, NULL, sizeof(copy)).result != want)
                fail_msg("0x%02x at %zu", (unsigned)c, at);
        }
        memcpy(copy, head, sizeof(head));
        copy[at] = 0x7f;
        assert_int_equal(scan_text("A\x7f").result, TG_SCAN_BAD);
        assert_int_equal(scan_all_ways(copy, sizeof(copy) - 1).result, TG_SCAN_BAD);
        copy[at] = (char)0x80;
        assert_int_equal(scan_all_ways(copy, sizeof(copy) - 1).result, TG_SCAN_DONE);
    }
}

static void test_bare_line_ends_are_refused(void **state)
{
    (void)state;
    assert_int_equal(scan_text("GET / HTTP/1.1\nHost: a\n\n").result, TG_SCAN_BAD);
    assert_int_equal(scan_text("GET / HTTP/1.1\r\nHost: a\n\r\n").result, TG_SCAN_BAD);
    assert_int_equal(scan_text("GET / HTTP/1.1\rHost: a\r\n\r\n").result, TG_SCAN_BAD);
    assert_int_equal(scan_text("GET / HTTP/1.1\r\r\n\r\n").result, TG_SCAN_BAD);
    assert_int_equal(scan_text("GET / HTTP/1.1\r\nHost: a\r\n\r\r\n").result, TG_SCAN_BAD);
    assert_int_equal(scan_text("\nGET / HTTP/1.1\r\n\r\n").result, TG_SCAN_BAD);
    assert_int_equal(scan_text("\rGET / HTTP/1.1\r\n\r\n").result, TG_SCAN_BAD);
}

static void test_folded_lines_are_refused(void **state)
{
    (void)state;
    assert_int_equal(scan_text("GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n").result, TG_SCAN_BAD);
    assert_int_equal(scan_text("GET / HTTP/1.1\r\nX: a\r\n\tb\r\n\r\n").result, TG_SCAN_BAD);
    assert_int_equal(scan_text("GET / HTTP/1.1\r\n Host: a\r\n\r\n").result, TG_SCAN_BAD);
    assert_int_equal(scan_text(" GET / HTTP/1.1\r\n\r\n").result, TG_SCAN_BAD);
    assert_int_equal(scan_text("\r\n GET / HTTP/1.1\r\n\r\n").result, TG_SCAN_BAD);
}

static void test_a_trailer_section_has_no_first_line(void **state)
{
    const char *why;
    struct tg_head_scan scan = {.lines = 1};
    (void)state;
    assert_int_equal(tg_head_scan(&scan, "\r\nGET", 5, &why), TG_SCAN_DONE);
    assert_int_equal(scan.at, 2);
    scan = (struct tg_head_scan){.lines = 1};
    assert_int_equal(tg_head_scan(&scan, "X: a\tb\r\n\r\n", 10, &why), TG_SCAN_DONE);
    assert_int_equal(scan.at, 10);
}

/* A scan that is written as plainly as the rules are. */
static enum tg_scan_result plain_scan(const char *p, size_t n, size_t *end)
{
    size_t lines = 0;
    size_t line = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        if (i == line && (c == ' ' || c == '\t'))
            return TG_SCAN_BAD;
        if (c == '\r' && i + 1 == n)
            return TG_SCAN_MORE;
        if (c == '\r' && p[i + 1] == '\n') {
            bool empty = i == line;
            line = i + 2;
            i++;
            lines += !empty;
            *end = line;
            if (empty && lines > 0)
                return TG_SCAN_DONE;
            continue;
        }
        if ((c < 0x20 && !(c == '\t' && lines > 0)) || c == 0x7f)
            return TG_SCAN_BAD;
    }
    return TG_SCAN_MORE;
}

static void test_random_bytes_against_a_plain_scan(void **state)
{
    static const char letters[] = "aaaaaaaa:\r\n\r\n\r\n  \t\0\x01\x1f\x7f\x80\xff";
    struct tg_rand r = fixture_rand();
    char text[64];
    (void)state;
    for (int round = 0; round < 100000; round++) {
        size_t n = 0;
        size_t end = 0;
        while (n < sizeof(text) - 10 && tg_rand_below(&r, 24) != 0) {
            for (uint64_t plain = tg_rand_below(&r, 9); plain > 0; plain--)
                text[n++] = 'a';
            bool pair = tg_rand_below(&r, 3) == 0;
            text[n++] = pair ? '\r' : letters[tg_rand_below(&r, sizeof(letters) - 1)];
            if (pair)
                text[n++] = '\n';
        }
        enum tg_scan_result want = plain_scan(text, n, &end);
        struct verdict got =
            n == 0 ? (struct verdict){.result = TG_SCAN_MORE} : scan_in_steps(text, n, &r, 0);
        assert_int_equal(got.result, want);
        if (want == TG_SCAN_DONE)
            assert_int_equal(got.at, end);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_end_of_a_head),
        cmocka_unit_test(test_what_follows_is_not_looked_at),
        cmocka_unit_test(test_empty_lines_in_front_are_passed_over),
        cmocka_unit_test(test_every_prefix_wants_more),
        cmocka_unit_test(test_controls_are_refused_wherever_they_stand),
        cmocka_unit_test(test_bare_line_ends_are_refused),
        cmocka_unit_test(test_folded_lines_are_refused),
        cmocka_unit_test(test_a_trailer_section_has_no_first_line),
        cmocka_unit_test(test_random_bytes_against_a_plain_scan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
