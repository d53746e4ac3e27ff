/*
 * Content codings undone: each format, in pieces cut everywhere and with little room, cut off
 * everywhere, damaged, with bytes behind the end, and beyond each bound.
 */
#include "http/decoder.h"

#include "support.h"

#include "base/defs.h"

#include <brotli/encode.h>
#include <zstd.h>

#define BR     0 /* in place of the window's bits of zlib */
#define ZSTD   1
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

static size_t pack_br(struct tg_str in, char *room, size_t size)
{
    size_t n = size;
    assert_true(BrotliEncoderCompress(9, 22, BROTLI_MODE_GENERIC, in.n, (const uint8_t *)in.p, &n,
                                      (uint8_t *)room));
    return n;
}

/* With a checksum at the end. */
static size_t pack_zstd(struct tg_str in, char *room, size_t size)
{
    ZSTD_CCtx *zstd = ZSTD_createCCtx();
    assert_non_null(zstd);
    assert_false(ZSTD_isError(ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, 1)));
    size_t n = ZSTD_compress2(zstd, room, size, in.p, in.n);
    assert_false(ZSTD_isError(n));
    ZSTD_freeCCtx(zstd);
    return n;
}

/* `in` compressed into `room`; how long that is. */
static size_t pack(struct tg_str in, int window_bits, char *room, size_t size)
{
    if (window_bits == BR)
        return pack_br(in, room, size);
    if (window_bits == ZSTD)
        return pack_zstd(in, room, size);
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
static enum tg_err feed(struct tg_decoder *state, struct tg_str in, size_t room, struct output *out)
{
    size_t n = room;
    while (in.n > 0 || n == room) {
        assert_true(out->n + room <= sizeof(out->bytes));
        enum tg_err err = tg_decoder_step(state, &in, out->bytes + out->n, room, &n);
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
    struct tg_decoder state;
    out->n = 0;
    tg_decoder_init(&state, coding, NO_MAX, 200);
    enum tg_err err = feed(&state, tg_str_sub(in, 0, cut), TG_DECODER_ROOM_MIN, out);
    if (err == TG_OK)
        err = feed(&state, tg_str_sub(in, cut, in.n), TG_DECODER_ROOM_MIN, out);
    if (err == TG_OK)
        err = tg_decoder_finish(&state);
    tg_decoder_release(&state);
    return err;
}

static const struct {
    enum tg_coding coding;
    int window_bits;
} formats[] = {
    {TG_CODING_GZIP, GZIP}, /* these three have a checksum at the end */
    {TG_CODING_DEFLATE, ZLIB}, {TG_CODING_ZSTD, ZSTD}, {TG_CODING_DEFLATE, RAW}, {TG_CODING_BR, BR},
};

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
        struct tg_decoder state;
        struct output out = {.n = 0};
        size_t n = pack(text_str(), formats[i].window_bits, packed, sizeof(packed));
        tg_decoder_init(&state, formats[i].coding, NO_MAX, 200);
        for (size_t at = 0; at < n; at++)
            assert_int_equal(feed(&state, tg_str(packed + at, 1), 100, &out), TG_OK);
        assert_int_equal(tg_decoder_finish(&state), TG_OK);
        assert_int_equal(out.n, text_str().n);
        assert_memory_equal(out.bytes, text, out.n);
        tg_decoder_release(&state);
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
    for (size_t i = 0; i < 3; i++) {
        size_t n = pack(text_str(), formats[i].window_bits, packed, sizeof(packed));
        packed[n - 1] ^= 1;
        assert_int_equal(unfold(formats[i].coding, tg_str(packed, n), 7, &out), TG_E_PROTOCOL);
    }
    assert_int_equal(unfold(TG_CODING_GZIP, TG_STR("<html></html>"), 0, &out), TG_E_PROTOCOL);
    assert_int_equal(unfold(TG_CODING_DEFLATE, TG_STR("<html></html>"), 1, &out), TG_E_PROTOCOL);
    assert_int_equal(unfold(TG_CODING_BR, TG_STR("<html></html>"), 1, &out), TG_E_PROTOCOL);
    assert_int_equal(unfold(TG_CODING_ZSTD, TG_STR("<html></html>"), 1, &out), TG_E_PROTOCOL);
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
    static const size_t of[] = {0, 2}; /* gzip and zstd */
    (void)unused;
    for (size_t i = 0; i < TG_COUNT_OF(of); i++) {
        int bits = formats[of[i]].window_bits;
        char packed[1024];
        struct output out;
        size_t n = pack(TG_STR("one, "), bits, packed, sizeof(packed));
        n += pack(TG_STR(""), bits, packed + n, sizeof(packed) - n);
        n += pack(TG_STR("two"), bits, packed + n, sizeof(packed) - n);
        for (size_t cut = 0; cut <= n; cut++) {
            assert_int_equal(unfold(formats[of[i]].coding, tg_str(packed, n), cut, &out), TG_OK);
            assert_int_equal(out.n, 8);
            assert_memory_equal(out.bytes, "one, two", 8);
        }
    }
}

/* A frame that asks for a window of 16 MiB: descriptor without size, window descriptor 14 << 3. */
static void test_a_window_of_zstd_is_bounded(void **unused)
{
    static const char frame[] = "\x28\xb5\x2f\xfd\x00\x70\x01\x00\x00";
    static const char fits[] = "\x28\xb5\x2f\xfd\x00\x68\x01\x00\x00"; /* 8 MiB */
    struct output out;
    (void)unused;
    assert_int_equal(unfold(TG_CODING_ZSTD, tg_str(frame, 9), 0, &out), TG_E_PROTOCOL);
    assert_int_equal(unfold(TG_CODING_ZSTD, tg_str(fits, 9), 0, &out), TG_OK);
    assert_int_equal(out.n, 0);
}

/* 4 MiB of zeroes, unfolded within these bounds; how many bytes came out. */
static uint64_t unfold_zeroes(size_t format, uint64_t max, uint64_t ratio, enum tg_err *err)
{
    static char zeroes[4 << 20];
    static char packed[16384];
    static char out[8192];
    struct tg_decoder state;
    struct tg_str in = tg_str(packed, pack(tg_str(zeroes, sizeof(zeroes)),
                                           formats[format].window_bits, packed, sizeof(packed)));
    size_t n = sizeof(out);
    uint64_t total = 0;
    tg_decoder_init(&state, formats[format].coding, max, ratio);
    for (*err = TG_OK; *err == TG_OK && (in.n > 0 || n == sizeof(out)); total += n)
        *err = tg_decoder_step(&state, &in, out, sizeof(out), &n);
    if (*err == TG_OK)
        *err = tg_decoder_finish(&state);
    tg_decoder_release(&state);
    return total;
}

static void test_bounds(void **unused)
{
    enum tg_err err;
    (void)unused;
    for (size_t i = 0; i < TG_COUNT_OF(formats); i++) {
        assert_int_equal(unfold_zeroes(i, 4 << 20, 1 << 20, &err), 4 << 20);
        assert_int_equal(err, TG_OK);
        assert_true(unfold_zeroes(i, (4 << 20) - 1, 1 << 20, &err) <= (4 << 20) + 8192);
        assert_int_equal(err, TG_E_LIMIT);
        assert_true(unfold_zeroes(i, 100000, 1 << 20, &err) <= 100000 + 8192);
        assert_int_equal(err, TG_E_LIMIT);
        assert_true(unfold_zeroes(i, NO_MAX, 200, &err) < 1 << 20);
        assert_int_equal(err, TG_E_LIMIT);
    }
}

static void test_release_before_use(void **unused)
{
    struct tg_decoder state;
    (void)unused;
    tg_decoder_init(&state, TG_CODING_BR, NO_MAX, 200);
    tg_decoder_release(&state);
    tg_decoder_release(&state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_byte_by_byte),
        cmocka_unit_test(test_cut_off_anywhere),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_bytes_behind_the_end),
        cmocka_unit_test(test_members_are_one_text),
        cmocka_unit_test(test_a_window_of_zstd_is_bounded),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_release_before_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
