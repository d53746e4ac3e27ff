/* rehearse.c: see rehearse.h.
 *
 * The stage is a gateway of one worker that serves nothing: its thread has the C stack that plugins
 * get, and the watchdog ends what loops. The message of the first failure is written as the
 * diagnostics of the configuration are (lua/tidegate/diagnostics.lua).
 */
#include "base/banned.h"
#include "cli/rehearse.h"

#include "bind/bind.h"
#include "event/watchdog.h"
#include "gateway/gate.h"
#include "observe/metrics.h"
#include "observe/sink.h"

#define LINE_MAX_SHOWN ((size_t)160) /* bytes of a line of the plugin */

struct stage {
    struct tg_snapshot *snapshot; /* borrowed */
    struct tg_metrics *metrics;
    struct tg_watchdog *dog;
    struct tg_gateway gateway;
    struct tg_worker worker;
    struct tg_gate gate;
    struct tg_watch watch;
    enum tg_err err;
    struct tg_vm_error why;
};

/* ---- On the worker's thread ---- */

static void play(struct stage *stage)
{
    struct tg_vm_set *vms;
    stage->err = tg_vm_set_new(&stage->gate, stage->snapshot, &vms, &stage->why);
    if (stage->err != TG_OK)
        return;
    stage->err = tg_vm_set_make_all(vms, &stage->why);
    tg_vm_set_unref(&vms);
}

static void *run(void *arg)
{
    struct stage *stage = arg;
    struct tg_runner *runner = &stage->gate.runner;
    tg_watch_init(&stage->watch, &runner->seq, runner->slice_us, tg_runner_interrupt, runner);
    stage->err = tg_watchdog_add(stage->dog, &stage->watch);
    if (stage->err == TG_OK) {
        runner->asleep = &stage->watch.asleep;
        runner->wake = tg_watchdog_wake;
        runner->wake_arg = stage->dog;
        play(stage);
        tg_watchdog_remove(stage->dog, &stage->watch);
    }
    tg_gate_release(&stage->gate);
    return NULL;
}

/* ---- The stage ---- */

static enum tg_err run_worker(struct stage *stage)
{
    enum tg_err err = tg_worker_init(&stage->worker, 0, tg_metrics_cells(stage->metrics, 0));
    if (err != TG_OK)
        return err;
    err = tg_gate_init(&stage->gate, &stage->worker, &stage->gateway);
    if (err == TG_OK) {
        err = tg_worker_start(&stage->worker, run, stage);
        if (err == TG_OK)
            tg_worker_join(&stage->worker);
        else
            tg_gate_release(&stage->gate);
    }
    tg_loop_run_deferred(&stage->worker.loop);
    tg_worker_release(&stage->worker);
    return err == TG_OK ? stage->err : err;
}

static enum tg_err perform(struct stage *stage)
{
    stage->metrics = tg_metrics_new(1);
    if (stage->metrics == NULL)
        return TG_E_NOMEM;
    enum tg_err err = tg_watchdog_new(&stage->dog);
    if (err == TG_OK)
        err = tg_gateway_init(&stage->gateway);
    if (err == TG_OK) {
        err = run_worker(stage);
        tg_gateway_release(&stage->gateway);
    }
    tg_watchdog_free(&stage->dog);
    tg_metrics_free(&stage->metrics);
    return err;
}

/* ---- What went wrong ---- */

/* The text of line `number`, without its end; empty when there is none. */
static struct tg_str line_of(struct tg_str text, unsigned long number)
{
    const char *end = text.p + text.n;
    const char *at = text.p;
    while (--number > 0 && at != NULL && at < end) {
        at = memchr(at, '\n', (size_t)(end - at));
        at = at != NULL ? at + 1 : NULL;
    }
    if (at == NULL || at >= end)
        return TG_STR("");
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    return tg_str(at, (size_t)((newline != NULL ? newline : end) - at));
}

/* Shows the line when `message` begins with "<file>:<line>:". */
static bool quote_line(struct tg_str message, struct tg_str file, struct tg_str source, FILE *out)
{
    if (message.n <= file.n + 1 || memcmp(message.p, file.p, file.n) != 0 ||
        message.p[file.n] != ':')
        return false;
    unsigned long number = strtoul(message.p + file.n + 1, NULL, 10);
    if (number == 0)
        return false;
    struct tg_str line = line_of(source, number);
    line.n = TG_MIN(line.n, LINE_MAX_SHOWN);
    fprintf(out, "%5lu | %.*s\n", number, TG_STR_ARG(line));
    return true;
}

static void explain(const struct stage *stage, enum tg_err err, FILE *out)
{
    const struct tg_snapshot *snapshot = stage->snapshot;
    struct tg_str why = tg_str(stage->why.text, stage->why.n);
    if (why.n == 0)
        why = tg_str_c(tg_err_text(err));
    fprintf(out, "%.*s [TG1407]\n", TG_STR_ARG(why));
    for (uint32_t i = 0; i < snapshot->plugin_count; i++) {
        const struct tg_plugin_conf *plugin = &snapshot->plugins[i];
        bool quoted = quote_line(why, plugin->chunkname, plugin->source, out);
        for (uint32_t j = 0; !quoted && j < plugin->module_count; j++)
            quoted = quote_line(why, plugin->modules[j].chunkname, plugin->modules[j].source, out);
        if (quoted)
            break;
    }
    fprintf(out, "\n1 error in 1 file \u2014 configuration not loaded\n");
}

enum tg_err tg_rehearse(struct tg_snapshot *snapshot, FILE *out)
{
    struct stage *stage = tg_mem_zalloc(TG_MEM_OTHER, 1, sizeof(*stage));
    if (stage == NULL) {
        fprintf(out, "%s\n", tg_err_text(TG_E_NOMEM));
        return TG_E_NOMEM;
    }
    stage->snapshot = snapshot;
    tg_sink_make_nothing();
    tg_bind_install();
    enum tg_err err = perform(stage);
    if (err != TG_OK)
        explain(stage, err, out);
    tg_mem_free(TG_MEM_OTHER, stage);
    return err;
}
