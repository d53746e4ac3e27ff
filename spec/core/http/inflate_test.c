/*
 * Content codings undone: each format, in pieces cut everywhere and with little room, cut off
 * everywhere, damaged, with bytes behind the end, and beyond each bound.
 */
#include "http/inflate.h"

#include "support.h"

#include "base/defs.h"

#define RAW    -15
#define ZLIB   15
#define GZIP   31
#define NO_MAX UINT64_MAX

/* Text that repeats itself at a distance and has literals too. */
static const char text[] =
    "a gateway, a gateway! what the gateway says three times is gateway law: "
    "0123456789 9876543210 0123456789 \xff\xfe\x01";

static struct tg_str text_str(void)
{
    return tg_str(text, sizeof(text) - 1);
}

/* `in` compressed into `room`; how long that is. */
static size_t pack(struct tg_str in, int window_bits, char *room, size_t size)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)in.p, .avail_in = (uInt)in.n};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_out = (Bytef *)room;
    z.avail_out = (uInt)size;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(deflateEnd(&z), Z_OK);
    return size - z.avail_out;
}

struct output {
    char bytes[4096];
    size_t n;
};

/* Unfolds all of `in` behind what is in `out`, `room` bytes at a time. */
static enum tg_err feed(struct tg_inflate *state, struct tg_str in, size_t room, struct output *out)
{
    size_t n = room;
    while (in.n > 0 || n == room) {
        assert_true(out->n + room <= sizeof(out->bytes));
        enum tg_err err = tg_inflate_step(state, &in, out->bytes + out->n, room, &n);
        if (err != TG_OK)
            return err;
        assert_true(n <= room);
        out->n += n;
    }
    return TG_OK;
}

/* `in`, cut at `cut`, and its end. */
static enum tg_err unfold(enum tg_coding coding, struct tg_str in, size_t cut, struct output *out)
{
    struct tg_inflate state;
    out->n = 0;
    tg_inflate_init(&state, coding, NO_MAX, 200);
    enum tg_err err = feed(&state, tg_str_sub(in, 0, cut), TG_INFLATE_ROOM_MIN, out);
    if (err == TG_OK)
        err = feed(&state, tg_str_sub(in, cut, in.n), TG_INFLATE_ROOM_MIN, out);
    if (err == TG_OK)
        err = tg_inflate_finish(&state);
    tg_inflate_release(&state);
    return err;
}

static const struct {
    enum tg_coding coding;
    int window_bits;
} formats[] = {
    {TG_CODING_GZIP, GZIP},
    {TG_CODING_DEFLATE, ZLIB},
    {TG_CODING_DEFLATE, RAW},
};

static void test_names(void **unused)
{
    (void)unused;
    assert_int_equal(tg_coding_of(TG_STR("gzip")), TG_CODING_GZIP);
    assert_int_equal(tg_coding_of(TG_STR("X-GZip")), TG_CODING_GZIP);
    assert_int_equal(tg_coding_of(TG_STR("Deflate")), TG_CODING_DEFLATE);
    assert_int_equal(tg_coding_of(TG_STR("br")), TG_CODING_OTHER);
    assert_int_equal(tg_coding_of(TG_STR("identity")), TG_CODING_OTHER);
    assert_int_equal(tg_coding_of(TG_STR("")), TG_CODING_OTHER);
}

static void test_cut_anywhere(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < TG_COUNT_OF(formats); i++) {
        char packed[1024];
        struct output out;
        size_t n = pack(text_str(), formats[i].window_bits, packed, sizeof(packed));
        for (size_t cut = 0; cut <= n; cut++) {
            assert_int_equal(unfold(formats[i].coding, tg_str(packed, n), cut, &out), TG_OK);
            assert_int_equal(out.n, text_str().n);
            assert_memory_equal(out.bytes, text, out.n);
        }
    }
}

static void test_byte_by_byte(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < TG_COUNT_OF(formats); i++) {
        char packed[1024];
        struct tg_inflate state;
        struct output out = {.n = 0};
        size_t n = pack(text_str(), formats[i].window_bits, packed, sizeof(packed));
        tg_inflate_init(&state, formats[i].coding, NO_MAX, 200);
        for (size_t at = 0; at < n; at++)
            assert_int_equal(feed(&state, tg_str(packed + at, 1), 100, &out), TG_OK);
        assert_int_equal(tg_inflate_finish(&state), TG_OK);
        assert_int_equal(out.n, text_str().n);
        assert_memory_equal(out.bytes, text, out.n);
        tg_inflate_release(&state);
    }
}

static void test_cut_off_anywhere(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < TG_COUNT_OF(formats); i++) {
        char packed[1024];
        struct output out;
        size_t n = pack(text_str(), formats[i].window_bits, packed, sizeof(packed));
        for (size_t kept = 1; kept < n; kept++)
            assert_int_equal(unfold(formats[i].coding, tg_str(packed, kept), 0, &out),
                             TG_E_PROTOCOL);
        assert_int_equal(unfold(formats[i].coding, tg_str(packed, 0), 0, &out), TG_OK);
        assert_int_equal(out.n, 0);
    }
}

static void test_damage(void **unused)
{
    char packed[1024];
    struct output out;
    (void)unused;
    for (size_t i = 0; i < 2; i++) { /* with a checksum at the end */
        size_t n = pack(text_str(), formats[i].window_bits, packed, sizeof(packed));
        packed[n - 1] ^= 1;
        assert_int_equal(unfold(formats[i].coding, tg_str(packed, n), 7, &out), TG_E_PROTOCOL);
    }
    assert_int_equal(unfold(TG_CODING_GZIP, TG_STR("<html></html>"), 0, &out), TG_E_PROTOCOL);
    assert_int_equal(unfold(TG_CODING_DEFLATE, TG_STR("<html></html>"), 1, &out), TG_E_PROTOCOL);
}

static void test_bytes_behind_the_end(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < TG_COUNT_OF(formats); i++) {
        char packed[1024];
        struct output out;
        size_t n = pack(text_str(), formats[i].window_bits, packed, sizeof(packed));
        packed[n] = 'x';
        for (size_t cut = n - 1; cut <= n + 1; cut++)
            assert_int_equal(unfold(formats[i].coding, tg_str(packed, n + 1), cut, &out),
                             TG_E_PROTOCOL);
    }
}

static void test_members_are_one_text(void **unused)
{
    char packed[1024];
    struct output out;
    (void)unused;
    size_t n = pack(TG_STR("one, "), GZIP, packed, sizeof(packed));
    n += pack(TG_STR(""), GZIP, packed + n, sizeof(packed) - n);
    n += pack(TG_STR("two"), GZIP, packed + n, sizeof(packed) - n);
    for (size_t cut = 0; cut <= n; cut++) {
        assert_int_equal(unfold(TG_CODING_GZIP, tg_str(packed, n), cut, &out), TG_OK);
        assert_int_equal(out.n, 8);
        assert_memory_equal(out.bytes, "one, two", 8);
    }
}

/* 4 MiB of zeroes, unfolded within these bounds; how many bytes came out. */
static uint64_t unfold_zeroes(uint64_t max, uint64_t ratio, enum tg_err *err)
{
    static char zeroes[4 << 20];
    static char packed[16384];
    static char out[8192];
    struct tg_inflate state;
    struct tg_str in =
        tg_str(packed, pack(tg_str(zeroes, sizeof(zeroes)), GZIP, packed, sizeof(packed)));
    size_t n = sizeof(out);
    uint64_t total = 0;
    tg_inflate_init(&state, TG_CODING_GZIP, max, ratio);
    for (*err = TG_OK; *err == TG_OK && (in.n > 0 || n == sizeof(out)); total += n)
        *err = tg_inflate_step(&state, &in, out, sizeof(out), &n);
    if (*err == TG_OK)
        *err = tg_inflate_finish(&state);
    tg_inflate_release(&state);
    return total;
}

static void test_bounds(void **unused)
{
    enum tg_err err;
    (void)unused;
    assert_int_equal(unfold_zeroes(4 << 20, 2000, &err), 4 << 20);
    assert_int_equal(err, TG_OK);
    assert_true(unfold_zeroes((4 << 20) - 1, 2000, &err) <= (4 << 20) + 8192);
    assert_int_equal(err, TG_E_LIMIT);
    assert_true(unfold_zeroes(100000, 2000, &err) <= 100000 + 8192);
    assert_int_equal(err, TG_E_LIMIT);
    assert_true(unfold_zeroes(NO_MAX, 200, &err) < 1 << 20);
    assert_int_equal(err, TG_E_LIMIT);
}

static void test_release_before_use(void **unused)
{
    struct tg_inflate state;
    (void)unused;
    tg_inflate_init(&state, TG_CODING_GZIP, NO_MAX, 200);
    tg_inflate_release(&state);
    tg_inflate_release(&state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_byte_by_byte),
        cmocka_unit_test(test_cut_off_anywhere),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_bytes_behind_the_end),
        cmocka_unit_test(test_members_are_one_text),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_release_before_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
