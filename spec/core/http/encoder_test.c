/*
 * Bodies compressed: each coding and level there and back, however they are cut and with little
 * room; flushed bytes that can be read at once; memory within what is said; and the pool.
 */
#include "http/encoder.h"

#include "support.h"

#include "base/mem.h"
#include "http/decoder.h"

#define SIZE (200 << 10) /* of a body: larger than all windows */

static const enum tg_coding codings[] = {TG_CODING_GZIP, TG_CODING_BR, TG_CODING_ZSTD};

static char body[SIZE];
static char packed[SIZE * 2];
static char unfolded[SIZE];

/* Text that repeats itself, or bytes that hardly do. */
static void fill_body(bool text)
{
    uint32_t x = 1;
    for (size_t i = 0; i < SIZE; i++) {
        x = x * 1664525u + 1013904223u;
        body[i] =
            text ? "some words and more of them, "[(i + (x >> 29 == 0)) % 29] : (char)(x >> 24);
    }
}

/* Puts `in` through a step, with `room` bytes at a time, behind what is in `packed`. */
static size_t feed(struct tg_encoder *e, enum tg_encoder_op op, struct tg_str in, size_t room,
                   size_t at)
{
    bool more = true;
    while (more) {
        size_t n;
        assert_true(at + room <= sizeof(packed));
        assert_int_equal(tg_encoder_step(e, op, &in, packed + at, room, &n, &more), TG_OK);
        assert_true(n <= room);
        at += n;
    }
    assert_int_equal(in.n, 0);
    return at;
}

/* What the decoder makes of packed[from, to), in `unfolded` behind `at`; the new end. */
static size_t unfold(struct tg_decoder *d, size_t from, size_t to, size_t at)
{
    struct tg_str in = tg_str(packed + from, to - from);
    size_t n = SIZE - at;
    while (in.n > 0) {
        char out[8192];
        assert_int_equal(tg_decoder_step(d, &in, out, sizeof(out), &n), TG_OK);
        assert_true(at + n <= SIZE);
        memcpy(unfolded + at, out, n);
        at += n;
        while (n == sizeof(out)) {
            assert_int_equal(tg_decoder_step(d, &in, out, sizeof(out), &n), TG_OK);
            assert_true(at + n <= SIZE);
            memcpy(unfolded + at, out, n);
            at += n;
        }
    }
    return at;
}

/* The whole body in pieces, and back. */
static void there_and_back(struct tg_encoder *e, enum tg_coding coding, size_t piece, size_t room)
{
    struct tg_decoder d;
    size_t end = 0;
    for (size_t at = 0; at < SIZE; at += piece)
        end = feed(e, TG_ENCODER_MORE, tg_str(body + at, TG_MIN(piece, SIZE - at)), room, end);
    end = feed(e, TG_ENCODER_END, TG_STR(""), room, end);
    tg_decoder_init(&d, coding, UINT64_MAX, 1 << 20);
    assert_int_equal(unfold(&d, 0, end, 0), SIZE);
    assert_int_equal(tg_decoder_finish(&d), TG_OK);
    tg_decoder_release(&d);
    assert_memory_equal(body, unfolded, SIZE);
}

static void test_there_and_back_within_memory(void **unused)
{
    (void)unused;
    for (int text = 0; text < 2; text++) {
        fill_body(text);
        for (size_t i = 0; i < TG_COUNT_OF(codings); i++) {
            for (int level = 1; level <= TG_ENCODER_LEVEL_MAX; level += 4) {
                struct tg_encoder_pool pool;
                struct tg_encoder *e;
                tg_encoder_pool_init(&pool);
                tg_mem_set_cap(TG_MEM_ENCODER, tg_encoder_bytes(codings[i])); /* and no more */
                enum tg_err err = tg_encoder_lease(&pool, codings[i], level, &e);
                if (err == TG_OK)
                    there_and_back(e, codings[i], 16384, 16384);
                tg_encoder_return(&pool, &e);
                tg_encoder_pool_release(&pool);
                tg_mem_set_cap(TG_MEM_ENCODER, SIZE_MAX);
                assert_int_equal(err, TG_OK);
                assert_int_equal(tg_mem_used(TG_MEM_ENCODER), 0);
            }
        }
    }
}

static void test_any_pieces_and_little_room(void **unused)
{
    static const size_t pieces[] = {7777, SIZE};
    (void)unused;
    fill_body(true);
    for (size_t i = 0; i < TG_COUNT_OF(codings); i++) {
        for (size_t k = 0; k < TG_COUNT_OF(pieces); k++) {
            struct tg_encoder_pool pool;
            struct tg_encoder *e;
            tg_encoder_pool_init(&pool);
            assert_int_equal(tg_encoder_lease(&pool, codings[i], 1, &e), TG_OK);
            there_and_back(e, codings[i], pieces[k], k == 0 ? TG_ENCODER_ROOM_MIN : 5000);
            tg_encoder_return(&pool, &e);
            tg_encoder_pool_release(&pool);
        }
    }
}

static void test_what_is_flushed_can_be_read(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < TG_COUNT_OF(codings); i++) {
        struct tg_encoder_pool pool;
        struct tg_encoder *e;
        struct tg_decoder d;
        size_t begin = 0, read = 0;
        tg_encoder_pool_init(&pool);
        assert_int_equal(tg_encoder_lease(&pool, codings[i], 5, &e), TG_OK);
        tg_decoder_init(&d, codings[i], UINT64_MAX, 200);
        for (int event = 1; event <= 20; event++) {
            size_t end = feed(e, TG_ENCODER_MORE, TG_STR("data: tick\n\n"), 100, begin);
            end = feed(e, TG_ENCODER_FLUSH, TG_STR(""), 100, end);
            read = unfold(&d, begin, end, read);
            assert_int_equal(read, 12 * event);
            begin = end;
        }
        assert_memory_equal(unfolded + 228, "data: tick\n\n", 12);
        size_t end = feed(e, TG_ENCODER_END, TG_STR(""), 100, begin);
        assert_int_equal(unfold(&d, begin, end, read), read);
        assert_int_equal(tg_decoder_finish(&d), TG_OK);
        tg_decoder_release(&d);
        tg_encoder_return(&pool, &e);
        tg_encoder_pool_release(&pool);
    }
}

/* Also one that was left in the middle. */
static void test_who_comes_back_is_as_new(void **unused)
{
    (void)unused;
    fill_body(true);
    for (size_t i = 0; i < TG_COUNT_OF(codings); i++) {
        struct tg_encoder_pool pool;
        struct tg_encoder *e;
        tg_encoder_pool_init(&pool);
        for (int turn = 0; turn < 3; turn++) {
            assert_int_equal(tg_encoder_lease(&pool, codings[i], 2, &e), TG_OK);
            there_and_back(e, codings[i], 50000, 5000);
            tg_encoder_return(&pool, &e);
            assert_null(e);
            assert_int_equal(pool.idle_count, codings[i] == TG_CODING_BR ? 0 : 1);
            assert_int_equal(tg_encoder_lease(&pool, codings[i], 2, &e), TG_OK);
            feed(e, TG_ENCODER_MORE, tg_str(body, 3000), 5000, 0);
            tg_encoder_return(&pool, &e);
        }
        tg_encoder_pool_trim(&pool);
        assert_int_equal(pool.idle_count, 0);
        tg_encoder_pool_release(&pool);
    }
}

/* A lease of that level whose codec is at work. */
static struct tg_encoder *lease_working(struct tg_encoder_pool *pool, enum tg_coding coding,
                                        int level)
{
    struct tg_encoder *e;
    assert_int_equal(tg_encoder_lease(pool, coding, level, &e), TG_OK);
    feed(e, TG_ENCODER_MORE, TG_STR("x"), 100, 0);
    return e;
}

static void test_levels_are_kept_apart(void **unused)
{
    struct tg_encoder_pool pool;
    struct tg_encoder *e[3];
    (void)unused;
    tg_encoder_pool_init(&pool);
    for (int i = 0; i < 3; i++)
        e[i] = lease_working(&pool, TG_CODING_GZIP, i + 1);
    assert_int_equal(pool.leased, 3);
    for (int i = 0; i < 3; i++)
        tg_encoder_return(&pool, &e[i]);
    tg_encoder_return(&pool, &e[0]); /* NULL by now */
    assert_int_equal(pool.idle_count, 3);
    assert_int_equal(pool.idle_bytes, 3 * tg_encoder_bytes(TG_CODING_GZIP));
    e[0] = lease_working(&pool, TG_CODING_GZIP, 9); /* a new one */
    assert_int_equal(pool.idle_count, 3);
    e[1] = lease_working(&pool, TG_CODING_GZIP, 2);
    assert_int_equal(pool.idle_count, 2);
    tg_encoder_return(&pool, &e[0]);
    tg_encoder_return(&pool, &e[1]);
    tg_encoder_pool_release(&pool);
}

static void test_idle_ones_are_bounded_in_bytes(void **unused)
{
    enum { N = 9 };
    struct tg_encoder_pool pool;
    struct tg_encoder *e[N];
    (void)unused;
    tg_encoder_pool_init(&pool);
    for (int i = 0; i < N; i++)
        e[i] = lease_working(&pool, TG_CODING_ZSTD, 1);
    for (int i = 0; i < N; i++) {
        tg_encoder_return(&pool, &e[i]);
        assert_true(pool.idle_bytes <= TG_ENCODER_IDLE_MAX);
    }
    assert_int_equal(pool.idle_count, TG_ENCODER_IDLE_MAX / tg_encoder_bytes(TG_CODING_ZSTD));
    tg_encoder_pool_release(&pool);
}

static void test_what_nobody_needs_goes_one_by_one(void **unused)
{
    struct tg_encoder_pool pool;
    (void)unused;
    tg_encoder_pool_init(&pool);
    struct tg_encoder *one = lease_working(&pool, TG_CODING_GZIP, 1);
    struct tg_encoder *two = lease_working(&pool, TG_CODING_GZIP, 1);
    tg_encoder_return(&pool, &one);
    tg_encoder_return(&pool, &two);
    tg_encoder_pool_tidy(&pool); /* all were in use */
    assert_int_equal(pool.idle_count, 2);
    one = lease_working(&pool, TG_CODING_GZIP, 1);
    tg_encoder_return(&pool, &one);
    tg_encoder_pool_tidy(&pool); /* one was not */
    assert_int_equal(pool.idle_count, 1);
    tg_encoder_pool_tidy(&pool);
    tg_encoder_pool_tidy(&pool);
    assert_int_equal(pool.idle_count, 0);
    tg_encoder_pool_release(&pool);
}

static void test_the_account_bounds_their_number(void **unused)
{
    struct tg_encoder_pool pool;
    struct tg_encoder *one, *two, *three;
    (void)unused;
    tg_encoder_pool_init(&pool);
    tg_mem_set_cap(TG_MEM_ENCODER, 2 * tg_encoder_bytes(TG_CODING_GZIP));
    assert_int_equal(tg_encoder_lease(&pool, TG_CODING_GZIP, 1, &one), TG_OK);
    assert_int_equal(tg_encoder_lease(&pool, TG_CODING_GZIP, 1, &two), TG_OK);
    assert_int_equal(tg_encoder_lease(&pool, TG_CODING_GZIP, 1, &three), TG_E_LIMIT);
    assert_null(three);
    assert_int_equal(tg_encoder_lease(&pool, TG_CODING_BR, 1, &three), TG_E_LIMIT);
    feed(one, TG_ENCODER_MORE, TG_STR("x"), 100, 0);
    tg_encoder_return(&pool, &one);
    assert_int_equal(pool.idle_count, 1);
    assert_int_equal(tg_encoder_lease(&pool, TG_CODING_GZIP, 2, &three), TG_OK); /* in its place */
    assert_int_equal(pool.idle_count, 0);
    tg_encoder_return(&pool, &two);
    tg_encoder_return(&pool, &three);
    tg_encoder_pool_release(&pool);
    tg_mem_set_cap(TG_MEM_ENCODER, SIZE_MAX);
    assert_int_equal(tg_mem_used(TG_MEM_ENCODER), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back_within_memory),
        cmocka_unit_test(test_any_pieces_and_little_room),
        cmocka_unit_test(test_what_is_flushed_can_be_read),
        cmocka_unit_test(test_who_comes_back_is_as_new),
        cmocka_unit_test(test_levels_are_kept_apart),
        cmocka_unit_test(test_idle_ones_are_bounded_in_bytes),
        cmocka_unit_test(test_what_nobody_needs_goes_one_by_one),
        cmocka_unit_test(test_the_account_bounds_their_number),
    };
    return cmocka_run_group_tests_name("encoder", tests, NULL, NULL);
}
