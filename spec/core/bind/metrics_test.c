/* metrics_test.c: ctx.metrics and tg.metrics: what is declared counts, across VMs; what is not is
 * told with the argument.
 */
#include "base/banned.h"
#include "bind/library.h"

#include "observe/instrument.h"

#define DECLARED(body)                                                                             \
    LIBRARY_HEAD                                                                                   \
    "P.metrics = {\n"                                                                              \
    "  rejected = { type = 'counter', labels = { 'reason', 'code' }, help = 'Refused.' },\n"       \
    "  open = { type = 'gauge' },\n"                                                               \
    "  wait = { type = 'histogram', labels = { 'of' } },\n"                                        \
    "}\n"                                                                                          \
    "function P.access(_, ctx)\n" body "\nend\nreturn P\n"

static void expect_text(const char *part)
{
    char room[16384];
    struct tg_fmt f;
    tg_fmt_init(&f, room, sizeof(room));
    tg_instruments_write(&f);
    assert_false(f.failed);
    room[f.n] = '\0';
    if (strstr(room, part) == NULL)
        fail_msg("not there: %s\nin: %s", part, room);
}

static int release(void **state)
{
    (void)state;
    tg_instruments_release();
    return 0;
}

static void declared_instruments_count_across_vms(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++)
        library_run_plugin(
            DECLARED("local m = ctx.metrics\n"
                     "m:inc('rejected', { reason = 'quota', code = 429 }):inc('rejected',\n"
                     "  { code = '429', reason = 'quota' }, 2)\n"
                     "m:set('open', nil, 7); tg.metrics.set('open', {}, 5)\n"
                     "tg.metrics.observe('wait', { of = 'db' }, 0.01)\n"
                     "m:observe('wait', { of = 'db' }, tg.time.duration '3ms')\n"));
    expect_text("tidegate_plugin_probe_rejected_total{reason=\"quota\",code=\"429\"} 6\n");
    expect_text("tidegate_plugin_probe_open 5\n");
    expect_text("tidegate_plugin_probe_wait_seconds_count{of=\"db\"} 4\n");
    expect_text("# HELP tidegate_plugin_probe_rejected_total Refused.\n");
}

static void mistakes_name_the_argument(void **state)
{
    (void)state;
    library_run_plugin(DECLARED(
        "local m = ctx.metrics\n"
        "local both = { reason = 'a', code = 'b' }\n"
        "fails('argument 1 (name): the plugin does not declare metrics = { reject', m.inc, m, "
        "'reject')\n"
        "fails('inc() counts in a counter, and this is none', m.inc, m, 'open')\n"
        "fails('argument 2 (labels): the label \"code\" is missing', m.inc, m, 'rejected', { "
        "reason = 'a' })\n"
        "fails('the label \"reason\" is missing', m.inc, m, 'rejected')\n"
        "fails('a label that the instrument does not declare', m.set, m, 'open', { x = '1' }, 1)\n"
        "fails('argument 3 (n): a counter only grows', m.inc, m, 'rejected', both, -1)\n"
        "fails('argument 3 (n): expected a number', m.inc, m, 'rejected', both, 'x')\n"
        "fails('argument 3 (value): expected a number', m.set, m, 'open', nil, 0 / 0)\n"
        "fails('argument 3 (value): expected seconds', m.observe, m, 'wait', { of = 'x' }, -1)\n"
        "fails('tg.metrics.inc(): argument 1 (name)', tg.metrics.inc, 'nothing')\n"
        "fails('ctx.metrics:inc() was called on a string', m.inc, 'rejected')\n"));
}

static void a_plugin_without_metrics_has_none(void **state)
{
    (void)state;
    library_run("fails('does not declare', ctx.metrics.inc, ctx.metrics, 'x')\n");
}

/* What the table says when it is read first is not what it said when it was checked. */
static void a_table_that_was_changed_writes_no_lines(void **state)
{
    (void)state;
    library_run_plugin(LIBRARY_HEAD
                       "P.metrics = {\n"
                       "  ['a 1\\nb'] = { type = 'counter' },\n"
                       "  label = { type = 'counter', labels = { 'a=\"1\",b' } },\n"
                       "  sound = { type = 'counter', labels = { 'of_2' }, help = 'Sound.' },\n"
                       "}\n"
                       "function P.access(_, ctx)\n"
                       "  local inc = tg.metrics.inc\n"
                       "  fails('does not declare', inc, 'a 1\\nb')\n"
                       "  fails('does not declare', inc, 'label', { ['a=\"1\",b'] = 'x' })\n"
                       "  inc('sound', { of_2 = 'x' })\n"
                       "end\nreturn P\n");
    expect_text("tidegate_plugin_probe_sound_total{of_2=\"x\"} 1\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(declared_instruments_count_across_vms, release),
        cmocka_unit_test_teardown(mistakes_name_the_argument, release),
        cmocka_unit_test_teardown(a_plugin_without_metrics_has_none, release),
        cmocka_unit_test_teardown(a_table_that_was_changed_writes_no_lines, release),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
