/*
 * SipHash-1-3 against values from elsewhere, at each length around a word, and what is asked of the
 * process's own hash: every bit, length and domain counts.
 */
#include "base/hash.h"

#include "support.h"

/* Key 00 01 .. 0f, messages 00 01 .. (n-1), as in the paper's test. The values come from a second
 * implementation that was checked with the paper's vector for SipHash-2-4 and with CPython's
 * built-in SipHash-1-3. */
static void test_reference_values(void **state)
{
    static const struct {
        size_t n;
        uint64_t hash;
    } known[] = {
        {0, UINT64_C(0xabac0158050fc4dc)},  {1, UINT64_C(0xc9f49bf37d57ca93)},
        {7, UINT64_C(0xd3927d989bb11140)},  {8, UINT64_C(0x369095118d299a8e)},
        {9, UINT64_C(0x25a48eb36c063de4)},  {15, UINT64_C(0xd320d86d2a519956)},
        {16, UINT64_C(0xcc4fdd1a7d908b66)}, {63, UINT64_C(0x9d199062b7bbb3a8)},
    };
    const struct tg_hash_key key = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};
    unsigned char message[64];
    (void)state;
    for (size_t i = 0; i < sizeof(message); i++)
        message[i] = (unsigned char)i;
    for (size_t i = 0; i < TG_COUNT_OF(known); i++)
        assert_true(tg_hash_keyed(key, message, known[i].n) == known[i].hash);
}

/* The same messages with 128 bits, from a second implementation that was checked with the published
 * vector of SipHash-2-4-128. */
static void test_reference_values_of_128_bits(void **state)
{
    static const struct {
        size_t n;
        uint64_t a, b;
    } known[] = {
        {0, UINT64_C(0xbea58827b2bc7ee7), UINT64_C(0x13030dd6adb62fd)},
        {1, UINT64_C(0xa8edd36004376ffc), UINT64_C(0x63f02f2bcc73055e)},
        {8, UINT64_C(0xb4dae3d5e1fe12aa), UINT64_C(0x99c7f935ab164f72)},
        {15, UINT64_C(0x6c52bdb205557ec1), UINT64_C(0x9017e1eeccd2129)},
        {63, UINT64_C(0x6f42fe4ee300584c), UINT64_C(0xad6052a70a6b9f07)},
    };
    const struct tg_hash_key key = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};
    unsigned char message[64];
    (void)state;
    for (size_t i = 0; i < sizeof(message); i++)
        message[i] = (unsigned char)i;
    for (size_t i = 0; i < TG_COUNT_OF(known); i++) {
        struct tg_hash_128 hash = tg_hash_keyed_128(key, message, known[i].n);
        assert_true(hash.a == known[i].a && hash.b == known[i].b);
    }
}

static void test_alignment_does_not_matter(void **state)
{
    const struct tg_hash_key key = {1, 2};
    char room[64];
    (void)state;
    uint64_t want = tg_hash_keyed(key, "0123456789abcdef0", 17);
    for (size_t i = 0; i < 8; i++) {
        memcpy(room + i, "0123456789abcdef0", 17);
        assert_true(tg_hash_keyed(key, room + i, 17) == want);
    }
}

static void test_every_bit_counts(void **state)
{
    const struct tg_hash_key key = {3, 4};
    unsigned char message[21] = {0};
    (void)state;
    uint64_t plain = tg_hash_keyed(key, message, sizeof(message));
    for (size_t bit = 0; bit < 8 * sizeof(message); bit++) {
        message[bit / 8] ^= (unsigned char)(1 << bit % 8);
        assert_true(tg_hash_keyed(key, message, sizeof(message)) != plain);
        message[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    assert_true(tg_hash_keyed(key, message, 20) != plain);
}

/* The process's own, for all lengths around its blocks: each bit, each length and each order
 * counts. */
static void test_every_bit_counts_in_the_process_hash(void **state)
{
    unsigned char message[70] = {0};
    (void)state;
    for (size_t n = 1; n <= sizeof(message); n++) {
        uint64_t plain = tg_hash_bytes(message, n);
        assert_true(tg_hash_bytes(message, n - 1) != plain);
        for (size_t bit = 0; bit < 8 * n; bit++) {
            message[bit / 8] ^= (unsigned char)(1 << bit % 8);
            assert_true(tg_hash_bytes(message, n) != plain);
            message[bit / 8] ^= (unsigned char)(1 << bit % 8);
        }
    }
    for (size_t i = 0; i < 48; i++)
        message[i] = (unsigned char)(i / 16);
    uint64_t ordered = tg_hash_bytes(message, 48);
    memset(message, 1, 16);
    memset(message + 16, 0, 16);
    assert_true(tg_hash_bytes(message, 48) != ordered);
}

/* Numbers that follow each other, as ids do, are spread evenly by any bits: tables use the high
 * ones and the low ones. */
static void test_the_process_hash_spreads_numbers(void **state)
{
    static uint32_t high[256], low[256];
    (void)state;
    for (uint64_t number = 0; number < 256 * 256; number++) {
        uint64_t hash = tg_hash_bytes(&number, sizeof(number));
        high[hash >> 56]++;
        low[hash & 255]++;
    }
    for (size_t i = 0; i < 256; i++) { /* 256 each, give or take six standard deviations */
        assert_in_range(high[i], 160, 352);
        assert_in_range(low[i], 160, 352);
    }
}

static void test_alignment_does_not_matter_to_the_process_hash(void **state)
{
    char room[64];
    (void)state;
    for (size_t n = 1; n <= 40; n++) {
        memset(room, 'x', sizeof(room));
        memcpy(room, "the quick brown fox jumps over a lazy dog", n);
        uint64_t want = tg_hash_bytes(room, n);
        for (size_t at = 1; at < 16; at++) {
            memset(room, (int)at, sizeof(room));
            memcpy(room + at, "the quick brown fox jumps over a lazy dog", n);
            assert_true(tg_hash_bytes(room + at, n) == want);
        }
    }
}

/* Bytes that fill the same blocks but for what two lengths differ in. */
static void test_a_length_cannot_be_undone_by_bytes(void **state)
{
    unsigned char one[16] = "abcdefghabcdefgh", other[16] = "abcdefghabcdefgh";
    (void)state;
    other[0] ^= 8 ^ 16;
    assert_true(tg_hash_bytes(one, 8) != tg_hash_bytes(other, 16));
    struct tg_hash_128 a = tg_hash_bytes_128(0, one, 8), b = tg_hash_bytes_128(0, other, 16);
    assert_true(a.a != b.a && a.b != b.b);
}

/* 128 bits: each bit of the bytes, the length and the domain counts, for both halves. */
static void test_every_bit_counts_in_128_bits(void **state)
{
    unsigned char message[40] = {0};
    (void)state;
    for (size_t n = 1; n <= sizeof(message); n++) {
        struct tg_hash_128 plain = tg_hash_bytes_128(7, message, n), other;
        other = tg_hash_bytes_128(7, message, n);
        assert_true(other.a == plain.a && other.b == plain.b);
        other = tg_hash_bytes_128(7, message, n - 1);
        assert_true(other.a != plain.a && other.b != plain.b);
        for (size_t bit = 0; bit < 8 * n; bit++) {
            message[bit / 8] ^= (unsigned char)(1 << bit % 8);
            other = tg_hash_bytes_128(7, message, n);
            message[bit / 8] ^= (unsigned char)(1 << bit % 8);
            assert_true(other.a != plain.a && other.b != plain.b);
        }
        for (size_t bit = 0; bit < 64; bit++) {
            other = tg_hash_bytes_128(7 ^ UINT64_C(1) << bit, message, n);
            assert_true(other.a != plain.a && other.b != plain.b);
        }
    }
}

/* A domain and the bytes are two things: what changes in both by the same bits is not undone. */
static void test_bytes_do_not_undo_a_domain(void **state)
{
    uint64_t one[2] = {1, 2}, other[2] = {1 ^ 5, 2};
    (void)state;
    struct tg_hash_128 a = tg_hash_bytes_128(0, one, sizeof(one));
    struct tg_hash_128 b = tg_hash_bytes_128(5, other, sizeof(other));
    assert_true(a.a != b.a && a.b != b.b);
}

static void test_process_key_is_one_and_secret(void **state)
{
    (void)state;
    assert_true(tg_hash_bytes("abc", 3) == tg_hash_bytes("abc", 3));
    assert_true(tg_hash_bytes("abc", 3) != tg_hash_bytes("abd", 3));
    assert_true(tg_hash_bytes("abc", 3) != tg_hash_keyed((struct tg_hash_key){0, 0}, "abc", 3));
    assert_true(tg_hash_bytes(NULL, 0) == tg_hash_bytes("", 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_values),
        cmocka_unit_test(test_reference_values_of_128_bits),
        cmocka_unit_test(test_alignment_does_not_matter),
        cmocka_unit_test(test_every_bit_counts),
        cmocka_unit_test(test_every_bit_counts_in_the_process_hash),
        cmocka_unit_test(test_the_process_hash_spreads_numbers),
        cmocka_unit_test(test_alignment_does_not_matter_to_the_process_hash),
        cmocka_unit_test(test_a_length_cannot_be_undone_by_bytes),
        cmocka_unit_test(test_every_bit_counts_in_128_bits),
        cmocka_unit_test(test_bytes_do_not_undo_a_domain),
        cmocka_unit_test(test_process_key_is_one_and_secret),
    };

    return cmocka_run_group_tests_name("hash", tests, NULL, NULL);
}
