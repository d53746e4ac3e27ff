/*
 * UTF-8: every code point there is, every pair of bytes, and what is short, overlong or beyond.
 */
#include "base/utf8.h"

#include "support.h"

static size_t encode(uint32_t c, char *out)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)((0xf00 >> n) | c);
    return n;
}

static void test_every_code_point(void **state)
{
    char bytes[4];
    (void)state;
    for (uint32_t c = 0; c < 0x120000; c++) {
        size_t n = encode(c, bytes);
        bool valid = c <= 0x10ffff && !(c >= 0xd800 && c <= 0xdfff);
        if (tg_utf8_len(bytes, n) != (valid ? n : 0))
            fail_msg("U+%04X", c);
    }
}

static void test_cut_sequences(void **state)
{
    static const uint32_t points[] = {0x80, 0x7ff, 0x800, 0xffff, 0x10000, 0x10ffff};
    char bytes[4];
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(points); i++) {
        size_t n = encode(points[i], bytes);
        for (size_t cut = 0; cut < n; cut++)
            assert_int_equal(tg_utf8_len(bytes, cut), 0);
        bytes[n - 1] = 'x';
        assert_int_equal(tg_utf8_len(bytes, n), 0);
    }
    assert_int_equal(tg_utf8_len(NULL, 0), 0);
}

static void test_overlong_forms_and_wrong_leads(void **state)
{
    static const char *const bad[] = {
        "\xc0\x80",
        "\xc1\xbf",
        "\xe0\x80\x80",
        "\xe0\x9f\xbf",
        "\xf0\x8f\xbf",
        "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\x80",
        "\xbf",
        "\xfe",
        "\xff",
    };
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(bad); i++)
        assert_int_equal(tg_utf8_len(bad[i], strlen(bad[i])), 0);
}

static void test_every_pair_of_bytes(void **state)
{
    (void)state;
    for (int a = 0; a < 256; a++) {
        for (int b = 0; b < 256; b++) {
            char bytes[2] = {(char)a, (char)b};
            size_t want = a < 0x80 ? 1 : a >= 0xc2 && a <= 0xdf && (b & 0xc0) == 0x80 ? 2 : 0;
            assert_int_equal(tg_utf8_len(bytes, 2), want);
        }
    }
}

static bool is_text(const char *p, size_t n, size_t cut)
{
    struct tg_utf8 text = {0};
    return tg_utf8_take(&text, p, cut) && tg_utf8_take(&text, p + cut, n - cut) && text.need == 0;
}

/* By pieces as in one: each code point between ASCII, cut anywhere. */
static void test_pieces(void **state)
{
    char bytes[24] = "0123456789";
    (void)state;
    for (uint32_t c = 0; c < 0x120000; c += c < 0x11000 ? 1 : 0x101) {
        size_t n = 10 + encode(c, bytes + 10);
        bool valid = c <= 0x10ffff && !(c >= 0xd800 && c <= 0xdfff);
        memcpy(bytes + n, "x", 1);
        for (size_t cut = 9; cut <= n + 1; cut++) {
            if (is_text(bytes, n + 1, cut) != valid)
                fail_msg("U+%04X cut at %zu", c, cut);
        }
    }
}

/* What cannot become text any more is refused before the rest comes; what can is not. */
static void test_pieces_fail_early(void **state)
{
    static const char *const bad[] = {"\x80",     "\xc1", "\xe0\x9f", "\xed\xa0", "\xf0\x8f",
                                      "\xf4\x90", "\xf5", "\xc3x",    "\xe2\x82x"};
    static const char *const open[] = {"\xc2", "\xe2", "\xe2\x82", "\xf0\x9f", "\xf0\x9f\x98"};
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(bad); i++) {
        struct tg_utf8 text = {0};
        assert_false(tg_utf8_take(&text, bad[i], strlen(bad[i])));
    }
    for (size_t i = 0; i < TG_COUNT_OF(open); i++) {
        struct tg_utf8 text = {0};
        assert_true(tg_utf8_take(&text, open[i], strlen(open[i])));
        assert_int_not_equal(text.need, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_code_point),
        cmocka_unit_test(test_cut_sequences),
        cmocka_unit_test(test_overlong_forms_and_wrong_leads),
        cmocka_unit_test(test_every_pair_of_bytes),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_pieces_fail_early),
    };

    return cmocka_run_group_tests_name("utf8", tests, NULL, NULL);
}
