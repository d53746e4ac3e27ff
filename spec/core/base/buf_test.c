/*
 * The buffer against a flat array that does the same, and its failure when memory is out.
 */
#include "base/buf.h"

#include "base/rand.h"
#include "support.h"

#define MODEL_MAX ((size_t)200000)

static struct tg_slab *slab;
static struct tg_buf buf;

static int setup(void **state)
{
    (void)state;
    slab = tg_slab_new(TG_MEM_CONNECTION, 0);
    if (slab == NULL)
        return -1;
    tg_buf_init(&buf, slab);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tg_buf_release(&buf);
    size_t leased = tg_slab_leased(slab);
    tg_slab_free(&slab);
    return leased == 0 ? 0 : -1;
}

static void assert_content(const char *expected, size_t n)
{
    static char copy[MODEL_MAX];
    struct iovec iov[64];
    size_t at = 0;
    assert_int_equal(buf.size, n);
    tg_buf_copy_out(&buf, copy);
    assert_memory_equal(copy, expected, n);
    int parts = tg_buf_iov(&buf, iov, (int)TG_COUNT_OF(iov));
    for (int i = 0; i < parts; i++) {
        assert_true(iov[i].iov_len > 0 && at + iov[i].iov_len <= n);
        assert_memory_equal(iov[i].iov_base, expected + at, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    assert_true(at == n || parts == (int)TG_COUNT_OF(iov));
    for (at = 0; at < n;) {
        struct tg_str piece = tg_buf_piece(&buf, at);
        assert_true(piece.n > 0 && at + piece.n <= n);
        assert_memory_equal(piece.p, expected + at, piece.n);
        at += piece.n > 1 ? piece.n / 2 : 1; /* the next one begins inside of this one */
    }
    assert_int_equal(tg_buf_piece(&buf, n).n, 0);
}

static void test_empty_buffer_holds_nothing(void **state)
{
    struct iovec iov;
    (void)state;
    assert_int_equal(tg_buf_iov(&buf, &iov, 1), 0);
    assert_int_equal(tg_buf_append(&buf, NULL, 0), TG_OK);
    tg_buf_consume(&buf, 0);
    assert_int_equal(tg_slab_leased(slab), 0);
    tg_buf_copy_out(&buf, NULL);
}

static void test_memory_goes_as_bytes_are_consumed(void **state)
{
    static char bytes[100000];
    (void)state;
    assert_int_equal(tg_buf_append(&buf, bytes, sizeof(bytes)), TG_OK);
    size_t full = tg_slab_leased(slab);
    tg_buf_consume(&buf, 60000);
    assert_true(tg_slab_leased(slab) < full / 2 + 16384);
    tg_buf_consume(&buf, 40000);
    assert_int_equal(tg_slab_leased(slab), 0);
    assert_int_equal(buf.size, 0);
}

static void test_small_appends_share_a_block(void **state)
{
    struct iovec iov[4];
    (void)state;
    for (int i = 0; i < 40; i++)
        assert_int_equal(tg_buf_append(&buf, "0123456789", 10), TG_OK);
    assert_int_equal(tg_buf_iov(&buf, iov, 4), 1);
    assert_int_equal(iov[0].iov_len, 400);
}

static void test_iov_stops_at_its_maximum(void **state)
{
    static char bytes[100000];
    struct iovec iov[3];
    (void)state;
    assert_int_equal(tg_buf_append(&buf, bytes, sizeof(bytes)), TG_OK);
    assert_int_equal(tg_buf_iov(&buf, iov, 3), 3);
}

/* On every failing allocation the content is what it was. */
static void test_failed_append_changes_nothing(void **state)
{
    static char bytes[100000];
    (void)state;
    assert_int_equal(tg_buf_append(&buf, "keep me", 7), TG_OK);
    for (uint64_t nth = 1;; nth++) {
        size_t leased = tg_slab_leased(slab);
        tg_mem_fail_at(nth);
        enum tg_err err = tg_buf_append(&buf, bytes, sizeof(bytes));
        tg_mem_fail_at(0);
        if (err == TG_OK) {
            assert_true(nth > 1);
            break;
        }
        assert_int_equal(err, TG_E_NOMEM);
        assert_int_equal(tg_slab_leased(slab), leased);
        assert_content("keep me", 7);
    }
    assert_int_equal(buf.size, 7 + sizeof(bytes));
}

static void test_random_use_against_a_flat_array(void **state)
{
    static char model[MODEL_MAX];
    size_t n = 0;
    unsigned char next = 0;
    struct tg_rand r;
    (void)state;
    tg_rand_init_seed(&r, 3);
    for (int step = 0; step < 3000; step++) {
        size_t add = tg_rand_below(&r, UINT64_C(1) << (1 + tg_rand_below(&r, 15)));
        if (n + add <= MODEL_MAX && tg_rand_below(&r, 100) < 55) {
            for (size_t i = 0; i < add; i++)
                model[n + i] = (char)next++;
            assert_int_equal(tg_buf_append(&buf, model + n, add), TG_OK);
            n += add;
        } else {
            size_t gone = TG_MIN(add, n);
            tg_buf_consume(&buf, gone);
            memmove(model, model + gone, n - gone);
            n -= gone;
        }
        if (step % 16 == 0)
            assert_content(model, n);
    }
    assert_content(model, n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_empty_buffer_holds_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory_goes_as_bytes_are_consumed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_small_appends_share_a_block, setup, teardown),
        cmocka_unit_test_setup_teardown(test_iov_stops_at_its_maximum, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failed_append_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random_use_against_a_flat_array, setup, teardown),
    };

    return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
