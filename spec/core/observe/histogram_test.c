/*
 * Histograms: the promised error over the whole range, quantiles against sorted values, merging,
 * and reading while another thread records.
 */
#include "observe/histogram.h"

#include "base/rand.h"
#include "support.h"

#include <pthread.h>

#define VALUES 20000

static struct tg_histogram h;

static int setup(void **state)
{
    (void)state;
    tg_histogram_init(&h);
    return 0;
}

/* Whether `got` is within 1/32 of `want`, or within one for small numbers. */
static bool close_to(uint64_t got, uint64_t want)
{
    uint64_t off = got > want ? got - want : want - got;
    return off <= want / 32 + 1;
}

static void test_empty(void **state)
{
    (void)state;
    assert_int_equal(tg_histogram_count(&h), 0);
    assert_int_equal(tg_histogram_quantile(&h, 0.5), 0);
    assert_int_equal(tg_histogram_quantile(&h, 1), 0);
    assert_int_equal(tg_histogram_max(&h), 0);
}

/* A single value, beside one far above so that its bucket's middle is what is read. */
static void test_error_is_bounded_over_the_range(void **state)
{
    struct tg_rand r;
    (void)state;
    tg_rand_init_seed(&r, 1);
    for (unsigned bits = 0; bits < TG_HISTOGRAM_MAX_BITS; bits++) {
        for (int i = 0; i < 200; i++) {
            uint64_t low = UINT64_C(1) << bits;
            uint64_t value = i == 0 ? low : i == 1 ? 2 * low - 1 : low + tg_rand_below(&r, low);
            tg_histogram_init(&h);
            tg_histogram_record(&h, value);
            tg_histogram_record(&h, UINT64_MAX);
            uint64_t got = tg_histogram_quantile(&h, 0.5);
            if (value < 16)
                assert_int_equal(got, value);
            assert_true(close_to(got, value));
        }
    }
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void test_quantiles_of_many(void **state)
{
    static uint64_t values[VALUES];
    static const double shares[] = {0, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999};
    struct tg_rand r;
    uint64_t sum = 0;
    (void)state;
    tg_rand_init_seed(&r, 2);
    for (size_t i = 0; i < VALUES; i++) {
        values[i] = tg_rand_u64(&r) >> (28 + tg_rand_below(&r, 30));
        sum += values[i];
        tg_histogram_record(&h, values[i]);
    }
    qsort(values, VALUES, sizeof(values[0]), by_value);
    for (size_t i = 0; i < TG_COUNT_OF(shares); i++) {
        size_t rank = (size_t)(shares[i] * VALUES);
        uint64_t want = values[rank > 0 ? rank - 1 : 0];
        assert_true(close_to(tg_histogram_quantile(&h, shares[i]), want));
    }
    assert_int_equal(tg_histogram_quantile(&h, 1), values[VALUES - 1]);
    assert_int_equal(tg_histogram_count(&h), VALUES);
    assert_int_equal(tg_histogram_sum(&h), sum);
}

static void test_a_quantile_never_exceeds_the_largest_value(void **state)
{
    (void)state;
    tg_histogram_record(&h, 1025);
    assert_int_equal(tg_histogram_quantile(&h, 0.5), 1025);
}

static void test_count_below_powers_of_two_is_exact(void **state)
{
    (void)state;
    for (uint64_t value = 0; value < 5000; value++)
        tg_histogram_record(&h, value);
    for (unsigned bits = 0; bits <= 12; bits++)
        assert_int_equal(tg_histogram_count_below(&h, bits), UINT64_C(1) << bits);
    assert_int_equal(tg_histogram_count_below(&h, 13), 5000);
    assert_int_equal(tg_histogram_count_below(&h, TG_HISTOGRAM_MAX_BITS), 5000);
}

static void test_values_beyond_the_range_count(void **state)
{
    (void)state;
    tg_histogram_record(&h, UINT64_C(1) << 40);
    tg_histogram_record(&h, UINT64_C(1) << 50);
    assert_int_equal(tg_histogram_count(&h), 2);
    assert_int_equal(tg_histogram_max(&h), UINT64_C(1) << 50);
    assert_int_equal(tg_histogram_quantile(&h, 0.5), UINT64_C(1) << 50);
    assert_int_equal(tg_histogram_sum(&h), (UINT64_C(1) << 40) + (UINT64_C(1) << 50));
    tg_histogram_record(&h, (UINT64_C(1) << 36) - 1);
    assert_int_equal(tg_histogram_count_below(&h, TG_HISTOGRAM_MAX_BITS), 1);
}

static void test_merge_is_as_if_recorded_in_one(void **state)
{
    static struct tg_histogram parts[2];
    static struct tg_histogram whole;
    struct tg_rand r;
    (void)state;
    tg_rand_init_seed(&r, 3);
    for (int i = 0; i < 1000; i++) {
        uint64_t value = tg_rand_below(&r, 1000000);
        tg_histogram_record(&whole, value);
        tg_histogram_record(&parts[i % 2], value);
    }
    tg_histogram_merge(&h, &parts[0]);
    tg_histogram_merge(&h, &parts[1]);
    assert_memory_equal(&h, &whole, sizeof(h));
}

static void *record_many(void *arg)
{
    (void)arg;
    for (uint64_t i = 0; i < VALUES; i++)
        tg_histogram_record(&h, i);
    return NULL;
}

static void test_reading_while_another_thread_records(void **state)
{
    pthread_t thread;
    uint64_t last = 0;
    bool grows = true;
    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, record_many, NULL), 0);
    for (int i = 0; i < 100; i++) {
        uint64_t now = tg_histogram_count(&h);
        grows &= now >= last && now <= VALUES;
        last = now;
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(grows);
    assert_int_equal(tg_histogram_count(&h), VALUES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_empty, setup),
        cmocka_unit_test_setup(test_error_is_bounded_over_the_range, setup),
        cmocka_unit_test_setup(test_quantiles_of_many, setup),
        cmocka_unit_test_setup(test_a_quantile_never_exceeds_the_largest_value, setup),
        cmocka_unit_test_setup(test_count_below_powers_of_two_is_exact, setup),
        cmocka_unit_test_setup(test_values_beyond_the_range_count, setup),
        cmocka_unit_test_setup(test_merge_is_as_if_recorded_in_one, setup),
        cmocka_unit_test_setup(test_reading_while_another_thread_records, setup),
    };

    return cmocka_run_group_tests_name("histogram", tests, NULL, NULL);
}
