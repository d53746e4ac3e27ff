/* accounting_test.c: what plugins cost is counted by plugin and route: one request in sixteen is
 * measured, kills are counted always.
 */
#include "base/banned.h"
#include "../bind/library.h"

#include "observe/instrument.h"

static char text[1 << 17];

static void write_text(void)
{
    struct tg_fmt f;
    tg_fmt_init(&f, text, sizeof(text));
    tg_instruments_write(&f);
    assert_false(f.failed);
    text[f.n] = '\0';
}

static void expect_text(const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("not there: %s\nin: %s", part, text);
}

static int release(void **state)
{
    (void)state;
    tg_instruments_release();
    return 0;
}

static void one_request_in_sixteen_is_measured(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f,
                 LIBRARY_HEAD "function P.access(_, ctx)\n"
                              "local x = 0\n"
                              "for i = 1, 100000 do x = x + i end\n"
                              "return ctx.id:rep(4000)\n"
                              "end\nP.log = P.access\nreturn P\n",
                 TG_ON_ERROR_FAIL);
    for (int i = 0; i < 2 * TG_ACCOUNTING_EVERY; i++) {
        struct tg_request *r = fixture_request(&f);
        assert_int_equal(tg_plugins_run(r, TG_PHASE_ACCESS), TG_STEP_NEXT);
        assert_int_equal(tg_plugins_run(r, TG_PHASE_LOG), TG_STEP_NEXT);
        fixture_end(r);
    }
    fixture_close(&f);
    write_text();
    expect_text("tidegate_plugin_cpu_seconds_count{plugin=\"probe\",route=\"\"} 2\n");
    expect_text(
        "tidegate_plugin_cpu_seconds_bucket{plugin=\"probe\",route=\"\",le=\"0.000128\"} 0\n");
    expect_text("tidegate_plugin_churn_bytes_bucket{plugin=\"probe\",route=\"\",le=\"65536\"} 0\n");
    expect_text("tidegate_plugin_churn_bytes_count{plugin=\"probe\",route=\"\"} 2\n");
    expect_text("tidegate_plugin_peak_bytes_count{plugin=\"probe\",route=\"\"} 2\n");
    expect_text("tidegate_plugin_heap_bytes{plugin=\"probe\"} ");
    assert_null(strstr(text, "tidegate_plugin_killed_total{"));
}

static void every_kill_is_counted_with_its_reason(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f,
                 LIBRARY_HEAD "function P.access(_, ctx)\n"
                              "local all = {}\n"
                              "for i = 1, 1e7 do all[i] = ('x'):rep(1000) .. i end\n"
                              "end\nreturn P\n",
                 TG_ON_ERROR_FAIL);
    for (int i = 0; i < 2; i++) {
        struct tg_request *r = fixture_request(&f);
        assert_int_equal(tg_plugins_run(r, TG_PHASE_ACCESS), TG_STEP_STOP);
        fixture_end(r);
    }
    fixture_close(&f);
    write_text();
    expect_text("tidegate_plugin_killed_total{plugin=\"probe\",route=\"\",reason=\"memory\"} 2\n");
    expect_text("tidegate_plugin_collections_total{plugin=\"probe\"} ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(one_request_in_sixteen_is_measured, release),
        cmocka_unit_test_teardown(every_kill_is_counted_with_its_reason, release),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
