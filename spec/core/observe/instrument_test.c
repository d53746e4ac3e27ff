/* instrument_test.c: instruments that are made at run time: finding them again, series and their
 * bound, sums over workers, threads, and the text.
 */
#include "base/banned.h"
#include "observe/instrument.h"

#include "base/mem.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define WORKERS 4
#define ROUNDS  20000

static struct tg_instrument *get(enum tg_instrument_kind kind, const char *name, unsigned labels)
{
    struct tg_instrument_spec spec = {.owner = TG_STR("key-auth"),
                                      .name = tg_str_c(name),
                                      .help = TG_STR("What was."),
                                      .kind = kind,
                                      .labels = {TG_STR("reason"), TG_STR("code")},
                                      .label_count = labels};
    struct tg_instrument *instrument;
    assert_int_equal(tg_instrument_get(&spec, &instrument), TG_OK);
    return instrument;
}

static struct tg_str written(char *room, size_t size)
{
    struct tg_fmt f;
    tg_fmt_init(&f, room, size);
    tg_instruments_write(&f);
    assert_false(f.failed);
    room[f.n] = '\0';
    return tg_str(room, f.n);
}

static int release(void **state)
{
    (void)state;
    tg_instruments_release();
    assert_int_equal(tg_mem_used(TG_MEM_OBSERVE), 0);
    return 0;
}

static void counters_go_on_when_they_are_asked_for_again(void **state)
{
    (void)state;
    char room[4096];
    struct tg_instrument *instrument = get(TG_INSTRUMENT_COUNTER, "rejected", 1);
    assert_true(tg_instrument_add(instrument, 0, TG_STR("reason=\"a\""), 1));
    assert_true(tg_instrument_add(instrument, 3, TG_STR("reason=\"a\""), 2.5));
    assert_true(tg_instrument_add(instrument, 3, TG_STR("reason=\"b\""), 1));
    assert_ptr_equal(get(TG_INSTRUMENT_COUNTER, "rejected", 1), instrument);
    assert_true(tg_instrument_read(instrument, TG_STR("reason=\"a\"")) == 3.5);
    assert_true(tg_instrument_read(instrument, TG_STR("reason=\"c\"")) == 0);
    written(room, sizeof(room));
    assert_string_equal(room, "# HELP tidegate_plugin_key_auth_rejected_total What was.\n"
                              "# TYPE tidegate_plugin_key_auth_rejected_total counter\n"
                              "tidegate_plugin_key_auth_rejected_total{reason=\"a\"} 3.5\n"
                              "tidegate_plugin_key_auth_rejected_total{reason=\"b\"} 1\n");
}

static void another_shape_takes_the_place(void **state)
{
    (void)state;
    char room[4096];
    struct tg_instrument *old = get(TG_INSTRUMENT_COUNTER, "x", 1);
    struct tg_instrument *gauge = get(TG_INSTRUMENT_GAUGE, "x", 0);
    assert_ptr_not_equal(old, gauge);
    assert_true(tg_instrument_add(old, 0, TG_STR("reason=\"a\""), 1));
    assert_true(tg_instrument_set(gauge, 0, TG_STR(""), 7));
    assert_true(tg_instrument_set(gauge, 1, TG_STR(""), 3));
    assert_true(tg_instrument_set(gauge, 0, TG_STR(""), 4));
    written(room, sizeof(room));
    assert_string_equal(room, "# HELP tidegate_plugin_key_auth_x What was.\n"
                              "# TYPE tidegate_plugin_key_auth_x gauge\n"
                              "tidegate_plugin_key_auth_x 7\n");
    assert_ptr_equal(get(TG_INSTRUMENT_COUNTER, "x", 1), old);
    assert_non_null(strstr(written(room, sizeof(room)).p, "_x_total{reason=\"a\"} 1"));
    assert_null(strstr(room, "gauge"));
}

/* Scrapers refuse all that a process tells for one byte that is no UTF-8. */
static void labels_are_text_whatever_clients_send(void **state)
{
    (void)state;
    char room[TG_INSTRUMENT_TEXT_MAX];
    struct tg_instrument *instrument = get(TG_INSTRUMENT_COUNTER, "text", 1);
    struct tg_str value = TG_STR("gr\xc3\xbc\xc3\x9f\xff \xc3(\xed\xa0\x80");
    struct tg_str labels = tg_instrument_labels(instrument, &value, room);
    assert_true(tg_str_eq(labels, TG_STR("reason=\"gr\xc3\xbc\xc3\x9f? ?(\?\?\?\"")));
    char cut[TG_INSTRUMENT_VALUE_MAX + 1];
    memset(cut, 'a', sizeof(cut));
    memcpy(cut + sizeof(cut) - 2, "\xc3\xbc", 2);
    value = tg_str(cut, sizeof(cut));
    labels = tg_instrument_labels(instrument, &value, room);
    assert_int_equal(labels.p[labels.n - 2], '?'); /* cut within a character */
}

static void labels_are_escaped_and_cut(void **state)
{
    (void)state;
    char room[TG_INSTRUMENT_TEXT_MAX];
    char longest[600];
    memset(longest, '\\', sizeof(longest));
    struct tg_instrument *instrument = get(TG_INSTRUMENT_COUNTER, "x", 2);
    struct tg_str values[] = {TG_STR("a\"b\\\nc"), TG_STR("7")};
    struct tg_str text = tg_instrument_labels(instrument, values, room);
    assert_true(tg_str_eq(text, TG_STR("reason=\"a\\\"b\\\\ c\",code=\"7\"")));
    values[0] = tg_str(longest, sizeof(longest));
    text = tg_instrument_labels(instrument, values, room);
    assert_int_equal(text.n, sizeof("reason=\"\",code=\"7\"") - 1 + 2 * TG_INSTRUMENT_VALUE_MAX);
}

static void series_beyond_the_bound_overflow(void **state)
{
    (void)state;
    static char room[1 << 18];
    struct tg_instrument *instrument = get(TG_INSTRUMENT_COUNTER, "x", 1);
    for (unsigned worker = 0; worker < 2; worker++) {
        for (int i = 0; i < 2 * TG_INSTRUMENT_SERIES_MAX; i++) {
            char text[32];
            snprintf(text, sizeof(text), "reason=\"%d\"", i);
            assert_true(tg_instrument_add(instrument, worker, tg_str_c(text), 1));
        }
    }
    assert_true(tg_instrument_read(instrument, TG_STR("reason=\"199\"")) == 2);
    assert_true(tg_instrument_read(instrument, TG_STR("reason=\"200\"")) == 0);
    written(room, sizeof(room));
    assert_non_null(strstr(room, "_x_total{reason=\"overflow\"} 400\n"));
    assert_null(strstr(room, "reason=\"200\""));
}

static void histograms_have_buckets_of_their_unit(void **state)
{
    (void)state;
    static char room[1 << 16];
    struct tg_instrument *seconds = get(TG_INSTRUMENT_HISTOGRAM, "wait", 0);
    struct tg_instrument_spec spec = *tg_instrument_spec(seconds);
    struct tg_instrument *bytes;
    spec.name = TG_STR("size");
    spec.unit = TG_INSTRUMENT_BYTES;
    assert_int_equal(tg_instrument_get(&spec, &bytes), TG_OK);
    assert_true(tg_instrument_observe(seconds, 0, TG_STR(""), 0.0001));
    assert_true(tg_instrument_observe(seconds, 1, TG_STR(""), 1.5));
    assert_true(tg_instrument_observe(bytes, 0, TG_STR(""), 1000));
    assert_true(tg_instrument_observe(bytes, 0, TG_STR(""), 1e300));
    written(room, sizeof(room));
    assert_non_null(strstr(room, "_wait_seconds_bucket{le=\"0.000128\"} 1\n"));
    assert_non_null(strstr(room, "_wait_seconds_bucket{le=\"2.097152\"} 2\n"));
    assert_non_null(strstr(room, "_wait_seconds_sum{} 1.500100\n"));
    assert_non_null(strstr(room, "_size_bytes_bucket{le=\"512\"} 0\n"));
    assert_non_null(strstr(room, "_size_bytes_bucket{le=\"1024\"} 1\n"));
    assert_non_null(strstr(room, "_size_bytes_count{} 2\n"));
}

static void there_is_an_end_to_instruments(void **state)
{
    (void)state;
    struct tg_instrument *instrument;
    for (int i = 0; i <= TG_INSTRUMENTS_MAX; i++) {
        char name[16];
        snprintf(name, sizeof(name), "i%d", i);
        struct tg_instrument_spec spec = {.name = tg_str_c(name)};
        assert_int_equal(tg_instrument_get(&spec, &instrument),
                         i < TG_INSTRUMENTS_MAX ? TG_OK : TG_E_LIMIT);
    }
}

/* ---- Threads --------------------------------------------------------------------------------- */

struct counting {
    struct tg_instrument *instrument;
    unsigned worker;
};

static void *count(void *arg)
{
    const struct counting *counting = arg;
    for (int i = 0; i < ROUNDS; i++) {
        char text[32];
        snprintf(text, sizeof(text), "reason=\"%d\"", i % 300);
        if (!tg_instrument_add(counting->instrument, counting->worker, tg_str_c(text), 1))
            return arg;
    }
    return NULL;
}

static void workers_count_without_losing_any(void **state)
{
    (void)state;
    static char room[1 << 18];
    pthread_t threads[WORKERS];
    struct counting counting[WORKERS];
    double sum = 0;
    bool all = true;
    struct tg_instrument *instrument = get(TG_INSTRUMENT_COUNTER, "x", 1);
    for (unsigned i = 0; i < WORKERS; i++) {
        counting[i] = (struct counting){instrument, i};
        assert_int_equal(pthread_create(&threads[i], NULL, count, &counting[i]), 0);
    }
    for (int i = 0; i < 20; i++)
        written(room, sizeof(room));
    for (unsigned i = 0; i < WORKERS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        all &= failed == NULL;
    }
    assert_true(all); /* behind the last join: the threads use what the test owns */
    written(room, sizeof(room));
    for (const char *at = room; (at = strstr(at, "\"} ")) != NULL; at += 3)
        sum += strtod(at + 3, NULL);
    assert_true(sum == (double)WORKERS * ROUNDS);
}

/* A scrape must not make a worker wait: whoever is shown a series may make another one. */
static void see_one(void *arg, struct tg_str labels, double value, const struct tg_histogram *h)
{
    struct tg_instrument *instrument = arg;
    (void)labels;
    (void)h;
    assert_true(value == 1);
    assert_true(tg_instrument_add(instrument, 2, TG_STR("reason=\"new\""), 1));
}

static void nobody_waits_for_a_reader(void **state)
{
    (void)state;
    struct tg_instrument *instrument = get(TG_INSTRUMENT_COUNTER, "rejected", 1);
    assert_true(tg_instrument_add(instrument, 0, TG_STR("reason=\"a\""), 1));
    tg_instrument_visit(instrument, TG_STR("reason"), see_one, instrument);
    assert_true(tg_instrument_read(instrument, TG_STR("reason=\"new\"")) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(counters_go_on_when_they_are_asked_for_again, release),
        cmocka_unit_test_teardown(another_shape_takes_the_place, release),
        cmocka_unit_test_teardown(labels_are_escaped_and_cut, release),
        cmocka_unit_test_teardown(nobody_waits_for_a_reader, release),
        cmocka_unit_test_teardown(labels_are_text_whatever_clients_send, release),
        cmocka_unit_test_teardown(series_beyond_the_bound_overflow, release),
        cmocka_unit_test_teardown(histograms_have_buckets_of_their_unit, release),
        cmocka_unit_test_teardown(there_is_an_end_to_instruments, release),
        cmocka_unit_test_teardown(workers_count_without_losing_any, release),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
