/*
 * Metrics: sums over blocks, writers beside a reader, and a text that a Prometheus server takes.
 */
#include "observe/metrics.h"

#include "base/limits.h"
#include "base/mem.h"
#include "observe/sink.h"
#include "support.h"

#include <ctype.h>
#include <pthread.h>

#define WRITERS 3
#define UPDATES 50000

static struct tg_metrics *metrics;
static char room[65536];

static int setup(void **state)
{
    (void)state;
    metrics = tg_metrics_new(WRITERS);
    return metrics != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    tg_metrics_free(&metrics);
    return metrics == NULL && tg_mem_used(TG_MEM_OBSERVE) == 0 ? 0 : -1;
}

static char *exposition(void)
{
    struct tg_fmt f;
    tg_fmt_init(&f, room, sizeof(room) - 1);
    tg_metrics_write(metrics, &f);
    struct tg_str text = tg_fmt_str(&f);
    assert_non_null(text.p);
    room[text.n] = '\0';
    return room;
}

static void test_counters_sum_over_the_blocks(void **state)
{
    (void)state;
    for (unsigned i = 0; i < WRITERS; i++)
        tg_metric_add(tg_metrics_cells(metrics, i), TG_METRIC_BYTES_IN, 10 + i);
    tg_metric_inc(tg_metrics_cells(metrics, 0), TG_METRIC_BYTES_OUT);
    assert_int_equal(tg_metrics_read(metrics, TG_METRIC_BYTES_IN), 33);
    assert_int_equal(tg_metrics_read(metrics, TG_METRIC_BYTES_OUT), 1);
    assert_int_equal(tg_metrics_read(metrics, TG_METRIC_RELOADS_BAD), 0);
}

static void test_gauge_may_fall_in_another_block(void **state)
{
    (void)state;
    tg_metric_inc(tg_metrics_cells(metrics, 0), TG_METRIC_CONNECTIONS_OPEN);
    tg_metric_inc(tg_metrics_cells(metrics, 0), TG_METRIC_CONNECTIONS_OPEN);
    tg_metric_dec(tg_metrics_cells(metrics, 1), TG_METRIC_CONNECTIONS_OPEN);
    assert_int_equal(tg_metrics_read(metrics, TG_METRIC_CONNECTIONS_OPEN), 1);
    tg_metric_dec(tg_metrics_cells(metrics, 1), TG_METRIC_CONNECTIONS_OPEN);
    tg_metric_dec(tg_metrics_cells(metrics, 1), TG_METRIC_CONNECTIONS_OPEN);
    assert_int_equal(tg_metrics_read(metrics, TG_METRIC_CONNECTIONS_OPEN), 0);
}

static void test_status_finds_its_class(void **state)
{
    (void)state;
    assert_int_equal(tg_metric_of_status(101), TG_METRIC_REQUESTS_1XX);
    assert_int_equal(tg_metric_of_status(200), TG_METRIC_REQUESTS_2XX);
    assert_int_equal(tg_metric_of_status(399), TG_METRIC_REQUESTS_3XX);
    assert_int_equal(tg_metric_of_status(404), TG_METRIC_REQUESTS_4XX);
    assert_int_equal(tg_metric_of_status(599), TG_METRIC_REQUESTS_5XX);
}

static void test_blocks_share_no_cache_line(void **state)
{
    (void)state;
    for (unsigned i = 0; i < WRITERS; i++)
        assert_int_equal((uintptr_t)tg_metrics_cells(metrics, i) % 64, 0);
    assert_int_equal(sizeof(struct tg_metric_cells) % 64, 0);
}

static void test_no_memory_is_an_error(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth <= 2; nth++) {
        tg_mem_fail_at(nth);
        assert_null(tg_metrics_new(1));
    }
    tg_mem_fail_at(0);
    assert_int_equal(tg_mem_used(TG_MEM_OBSERVE), 0);
}

static void *count_many(void *arg)
{
    struct tg_metric_cells *cells = arg;
    for (unsigned i = 0; i < UPDATES; i++) {
        tg_metric_inc(cells, TG_METRIC_REQUESTS_2XX);
        tg_metric_record(cells, TG_METRIC_HISTOGRAM_REQUEST, i);
    }
    return NULL;
}

static void test_reading_beside_writers_is_exact_in_the_end(void **state)
{
    static struct tg_histogram sum;
    pthread_t threads[WRITERS];
    uint64_t most = 0;
    (void)state;
    for (unsigned i = 0; i < WRITERS; i++)
        assert_int_equal(
            pthread_create(&threads[i], NULL, count_many, tg_metrics_cells(metrics, i)), 0);
    for (int i = 0; i < 20; i++)
        most = TG_MAX(most, (uint64_t)tg_metrics_read(metrics, TG_METRIC_REQUESTS_2XX));
    for (unsigned i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_in_range(most, 0, WRITERS * UPDATES);
    assert_int_equal(tg_metrics_read(metrics, TG_METRIC_REQUESTS_2XX), WRITERS * UPDATES);
    tg_metrics_read_histogram(metrics, TG_METRIC_HISTOGRAM_REQUEST, &sum);
    assert_int_equal(tg_histogram_count(&sum), WRITERS * UPDATES);
}

static void test_kills_are_in_the_order_of_their_list(void **state)
{
    static const char *const labels[] = {
#define TG_KILL(name, label, text) "reason=\"" label "\"",
#include "script/kill.def"
#undef TG_KILL
    };
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(labels); i++) {
        enum tg_metric_id id = (enum tg_metric_id)(TG_METRIC_PLUGIN_KILLS_CPU + i);
        assert_string_equal(tg_metric_info(id)->family, "tidegate_plugin_kills_total");
        assert_string_equal(tg_metric_info(id)->labels, labels[i]);
    }
}

static void test_text_shows_values(void **state)
{
    struct tg_metric_cells *cells = tg_metrics_cells(metrics, 1);
    (void)state;
    tg_metric_add(cells, TG_METRIC_REQUESTS_4XX, 7);
    tg_metric_inc(cells, TG_METRIC_CONNECTIONS_OPEN);
    tg_metric_record(cells, TG_METRIC_HISTOGRAM_REQUEST, 127);
    tg_metric_record(cells, TG_METRIC_HISTOGRAM_REQUEST, 128);
    tg_metric_record(cells, TG_METRIC_HISTOGRAM_REQUEST, 100 * TG_USEC_PER_SEC);
    const char *text = exposition();
    assert_non_null(strstr(text, "\ntidegate_requests_total{status=\"4xx\"} 7\n"));
    assert_non_null(strstr(text, "\ntidegate_requests_total{status=\"5xx\"} 0\n"));
    assert_non_null(strstr(text, "# TYPE tidegate_connections_open gauge\n"
                                 "tidegate_connections_open 1\n"));
    assert_non_null(strstr(text, "# TYPE tidegate_request_duration_seconds histogram\n"
                                 "tidegate_request_duration_seconds_bucket{le=\"0.000128\"} 1\n"
                                 "tidegate_request_duration_seconds_bucket{le=\"0.000256\"} 2\n"));
    assert_non_null(strstr(text, "_seconds_bucket{le=\"67.108864\"} 2\n"
                                 "tidegate_request_duration_seconds_bucket{le=\"+Inf\"} 3\n"
                                 "tidegate_request_duration_seconds_sum 100.000255\n"
                                 "tidegate_request_duration_seconds_count 3\n"));
}

static void test_text_has_limits_memory_and_dropped_lines(void **state)
{
    char line[128];
    uint64_t before = tg_limit_hits(TG_LIMIT_ID_request_body);
    (void)state;
    tg_limit_hit(request_body);
    const char *text = exposition();
    snprintf(line, sizeof(line), "\ntidegate_limit_hits_total{limit=\"request.body\"} %d\n",
             (int)before + 1);
    assert_non_null(strstr(text, line));
    snprintf(line, sizeof(line), "\ntidegate_memory_bytes{subsystem=\"observe\"} %zu\n",
             tg_mem_used(TG_MEM_OBSERVE));
    assert_non_null(strstr(text, line));
    snprintf(line, sizeof(line), "\ntidegate_log_lines_dropped_total %d\n",
             (int)tg_sink_dropped_total());
    assert_non_null(strstr(text, line));
}

/* What the format asks for: each family once, HELP and TYPE in front of its samples, samples made
 * of a name, labels in braces and a number. */
static char families[128][64];
static size_t family_count;

static void begin_family(const char *name, size_t n)
{
    assert_true(n < sizeof(families[0]) && family_count < TG_COUNT_OF(families));
    memcpy(families[family_count], name, n);
    families[family_count][n] = '\0';
    for (size_t i = 0; i < family_count; i++)
        assert_string_not_equal(families[i], families[family_count]);
    family_count++;
}

static void check_sample(const char *line)
{
    const char *family = families[family_count - 1];
    const char *at = line + strlen(family);
    size_t name = strspn(line, "abcdefghijklmnopqrstuvwxyz_0123456789");
    assert_true(family_count > 0 && strncmp(line, family, strlen(family)) == 0);
    assert_true(*at == ' ' || *at == '{' || *at == '_');
    at = line + name;
    if (*at == '{') {
        at = strchr(at, '}');
        assert_non_null(at);
        assert_int_equal(at[-1], '"');
        at++;
    }
    assert_int_equal(*at++, ' ');
    assert_true(isdigit((unsigned char)*at));
    assert_int_equal(strspn(at, "0123456789."), strlen(at));
}

static void test_text_is_well_formed(void **state)
{
    char *text = exposition();
    char *end;
    (void)state;
    family_count = 0;
    for (char *line = text; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = '\0';
        if (strncmp(line, "# HELP ", 7) == 0) {
            begin_family(line + 7, strcspn(line + 7, " "));
            end[0] = '\n';
            assert_int_equal(strncmp(end + 1, "# TYPE ", 7), 0);
        } else if (strncmp(line, "# TYPE ", 7) == 0) {
            assert_int_equal(
                strncmp(line + 7, families[family_count - 1], strlen(families[family_count - 1])),
                0);
        } else {
            check_sample(line);
        }
    }
    assert_true(family_count > 15);
}

static void test_too_little_room_is_seen(void **state)
{
    struct tg_fmt f;
    (void)state;
    tg_fmt_init(&f, room, 1000);
    tg_metrics_write(metrics, &f);
    assert_null(tg_fmt_str(&f).p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_counters_sum_over_the_blocks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gauge_may_fall_in_another_block, setup, teardown),
        cmocka_unit_test(test_status_finds_its_class),
        cmocka_unit_test_setup_teardown(test_blocks_share_no_cache_line, setup, teardown),
        cmocka_unit_test(test_no_memory_is_an_error),
        cmocka_unit_test_setup_teardown(test_reading_beside_writers_is_exact_in_the_end, setup,
                                        teardown),
        cmocka_unit_test(test_kills_are_in_the_order_of_their_list),
        cmocka_unit_test_setup_teardown(test_text_shows_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_text_has_limits_memory_and_dropped_lines, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_text_is_well_formed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_little_room_is_seen, setup, teardown),
    };

    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
