/* view.c: what the admin listener shows, as text.
 *
 * A view reads the snapshot in force, atomics and, where it says so, a census of the workers; it
 * writes into a builder and checks nothing, since failure latches there. Names of fields are words
 * that scripts rely on: they are added to, never changed. Times are seconds, sizes bytes.
 */
#include "base/banned.h"
#include "admin/internal.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/version.h"
#include "event/worker.h"
#include "http/token.h"
#include "observe/histogram.h"
#include "observe/instrument.h"
#include "observe/map_watch.h"
#include "observe/metrics.h"

#include <unistd.h>

#define JSON "application/json"

static const char *const state_names[] = {
    [TG_ADMIN_STARTING] = "starting",
    [TG_ADMIN_READY] = "ready",
    [TG_ADMIN_DRAINING] = "draining",
};

static void field_seconds(struct tg_json *j, const char *key, uint64_t us)
{
    tg_json_key(j, tg_str_c(key));
    tg_json_double(j, (double)us / (double)TG_USEC_PER_SEC);
}

static void field_text(struct tg_json *j, const char *key, const char *text)
{
    tg_json_field_str(j, key, tg_str_c(text));
}

static void begin(struct tg_json *j, struct tg_fmt *f)
{
    tg_json_init(j, f);
    tg_json_begin_object(j);
}

static unsigned end(struct tg_json *j, unsigned status)
{
    tg_json_end_object(j);
    tg_fmt_char(j->f, '\n');
    return status;
}

static void begin_list(struct tg_json *j, const char *key)
{
    tg_json_key(j, tg_str_c(key));
    tg_json_begin_array(j);
}

void tg_admin_write_problem(struct tg_fmt *f, unsigned status, const char *detail)
{
    struct tg_json j;
    begin(&j, f);
    field_text(&j, "title", tg_status_reason(status));
    tg_json_field_u64(&j, "status", status);
    field_text(&j, "detail", detail);
    end(&j, status);
}

/* ---- The process -------------------------------------------------------------------------------
 */

static unsigned write_metrics(const struct tg_admin *admin, struct tg_fmt *f)
{
    tg_metrics_write(admin->options.metrics, f);
    tg_admin_write_targets(admin, f);
    tg_admin_write_certificates(admin, f);
    tg_instruments_write(f);
    return 200;
}

static unsigned write_health(const struct tg_admin *admin, struct tg_fmt *f)
{
    struct tg_json j;
    (void)admin;
    begin(&j, f);
    field_text(&j, "status", "ok");
    return end(&j, 200);
}

static unsigned write_readiness(const struct tg_admin *admin, struct tg_fmt *f)
{
    struct tg_json j;
    begin(&j, f);
    uint64_t level = tg_metrics_read(admin->options.metrics, TG_METRIC_PRESSURE_LEVEL);
    bool sheds = admin->state == TG_ADMIN_READY && level >= TG_PRESSURE_SHED;
    field_text(&j, "status", sheds ? "overloaded" : state_names[admin->state]);
    field_text(&j, "pressure", tg_pressure_name((enum tg_pressure)TG_MIN(level, TG_PRESSURE_SHED)));
    return end(&j, admin->state == TG_ADMIN_READY && !sheds ? 200 : 503);
}

static uint64_t count_requests(const struct tg_metrics *metrics)
{
    uint64_t sum = 0;
    for (int id = TG_METRIC_REQUESTS_1XX; id <= TG_METRIC_REQUESTS_5XX; id++)
        sum += tg_metrics_read(metrics, (enum tg_metric_id)id);
    return sum;
}

static uint64_t memory_in_use(void)
{
    uint64_t sum = 0;
    for (int tag = 0; tag < TG_MEM_TAGS; tag++)
        sum += tg_mem_used((enum tg_mem_tag)tag);
    return sum;
}

static void field_time(struct tg_json *j, const char *key, uint64_t real)
{
    char room[TG_CLOCK_RFC3339_LEN];
    tg_clock_rfc3339(real, room);
    tg_json_field_str(j, key, tg_str(room, sizeof(room)));
}

static void write_revision(struct tg_json *j, const struct tg_revision *revision)
{
    tg_json_begin_object(j);
    tg_json_field_u64(j, "revision", revision->number);
    if (revision->origin != 0)
        tg_json_field_u64(j, "restores", revision->origin);
    field_time(j, "since", revision->since);
    field_text(j, "digest", revision->digest);
    tg_json_end_object(j);
}

/* The newest first. */
static void write_revisions(struct tg_json *j, const struct tg_admin *admin)
{
    const struct tg_revisions *revisions = admin->options.revisions;
    const struct tg_admin_last *last = &admin->last;
    const struct tg_revision *now = tg_revisions_newest(revisions);
    field_text(j, "digest", now != NULL ? now->digest : "");
    if (last->at != 0) {
        tg_json_key(j, TG_STR("last_reload"));
        tg_json_begin_object(j);
        field_time(j, "at", last->at);
        field_text(j, "result", tg_outcome_name(last->outcome));
        field_text(j, "reason", last->reason);
        tg_json_end_object(j);
    }
    begin_list(j, "revisions");
    for (uint32_t i = revisions->count; i > 0; i--)
        write_revision(j, &revisions->v[i - 1]);
    tg_json_end_array(j);
}

unsigned tg_admin_write_settlement(const struct tg_admin *admin, struct tg_fmt *f,
                                   const struct tg_settlement *settled)
{
    struct tg_json j;
    const struct tg_revision *now = tg_revisions_newest(admin->options.revisions);
    begin(&j, f);
    field_text(&j, "result", tg_outcome_name(settled->outcome));
    tg_json_field_u64(&j, "revision", now->number);
    field_text(&j, "digest", now->digest);
    field_text(&j, "reason", settled->reason);
    tg_json_field_str(&j, "notes", settled->notes);
    return end(&j, settled->outcome == TG_OUTCOME_REFUSED ? 422 : 200);
}

static unsigned write_status(const struct tg_admin *admin, struct tg_fmt *f)
{
    struct tg_json j;
    const struct tg_metrics *metrics = admin->options.metrics;
    const struct tg_snapshot *s = admin->snapshot;
    begin(&j, f);
    field_text(&j, "state", state_names[admin->state]);
    field_text(&j, "version", TG_VERSION);
    tg_json_field_u64(&j, "pid", (uint64_t)getpid());
    field_seconds(&j, "uptime_seconds", tg_loop_now(&admin->options.worker->loop) - admin->started);
    tg_json_field_u64(&j, "workers", admin->options.workers);
    tg_json_field_u64(&j, "restarts", tg_metrics_read(metrics, TG_METRIC_RESTARTS));
    tg_json_field_str(&j, "file", s->path);
    tg_json_field_u64(&j, "revision", s->revision);
    write_revisions(&j, admin);
    tg_json_field_u64(&j, "reloads", tg_metrics_read(metrics, TG_METRIC_RELOADS_GOOD));
    tg_json_field_u64(&j, "reloads_refused", tg_metrics_read(metrics, TG_METRIC_RELOADS_BAD));
    tg_json_field_u64(&j, "connections_open", tg_metrics_read(metrics, TG_METRIC_CONNECTIONS_OPEN));
    tg_json_field_u64(&j, "requests_open", tg_metrics_read(metrics, TG_METRIC_REQUESTS_OPEN));
    tg_json_field_u64(&j, "requests_total", count_requests(metrics));
    tg_json_field_u64(&j, "memory_bytes", memory_in_use());
    return end(&j, 200);
}

/* ---- The configuration -------------------------------------------------------------------------
 */

static void write_listeners(struct tg_json *j, const struct tg_snapshot *s)
{
    begin_list(j, "listeners");
    for (uint32_t i = 0; i < s->listener_count; i++) {
        tg_json_begin_object(j);
        tg_json_field_str(j, "name", s->listeners[i].name);
        tg_json_field_str(j, "address", s->listeners[i].address);
        tg_json_end_object(j);
    }
    tg_json_end_array(j);
}

static void write_services(struct tg_json *j, const struct tg_snapshot *s)
{
    begin_list(j, "services");
    for (uint32_t i = 0; i < s->service_count; i++) {
        const struct tg_service_conf *service = &s->services[i];
        tg_json_begin_object(j);
        tg_json_field_str(j, "name", service->name);
        if (service->builtin_echo)
            field_text(j, "builtin", "echo");
        begin_list(j, "targets");
        for (uint32_t t = 0; t < service->target_count; t++)
            tg_json_str(j, service->targets[t].name);
        tg_json_end_array(j);
        tg_json_end_object(j);
    }
    tg_json_end_array(j);
}

static unsigned write_config(const struct tg_admin *admin, struct tg_fmt *f)
{
    struct tg_json j;
    const struct tg_snapshot *s = admin->snapshot;
    begin(&j, f);
    tg_json_field_u64(&j, "revision", s->revision);
    tg_json_field_str(&j, "file", s->path);
    write_listeners(&j, s);
    write_services(&j, s);
    tg_json_field_u64(&j, "routes", s->route_count);
    tg_json_field_u64(&j, "plugins", s->plugin_count);
    tg_json_field_u64(&j, "instances", s->instance_count);
    tg_json_field_u64(&j, "zones", s->zone_count);
    tg_json_field_u64(&j, "consumers", s->consumer_count);
    return end(&j, 200);
}

/* ---- Limits ------------------------------------------------------------------------------------
 */

static const char *const unit_names[] = {
    [TG_LIMIT_UNIT_BYTES] = "bytes",
    [TG_LIMIT_UNIT_TIME] = "seconds",
    [TG_LIMIT_UNIT_COUNT] = "count",
};

static void field_amount(struct tg_json *j, const char *key, enum tg_limit_unit unit,
                         uint64_t value)
{
    if (unit == TG_LIMIT_UNIT_TIME)
        field_seconds(j, key, value);
    else
        tg_json_field_u64(j, key, value);
}

static void write_limit(struct tg_json *j, enum tg_limit_id id, struct tg_limits *in_force)
{
    const struct tg_limit_info *info = tg_limit_info(id);
    tg_json_begin_object(j);
    field_text(j, "path", info->path);
    field_text(j, "unit", unit_names[info->unit]);
    field_amount(j, "value", info->unit, *tg_limit_field(in_force, id));
    field_amount(j, "default", info->unit, info->value);
    if (tg_limit_is_used(id)) {
        field_amount(j, "use", info->unit, tg_limit_use(id));
        field_amount(j, "peak", info->unit, tg_limit_peak(id));
    }
    tg_json_field_u64(j, "hits", tg_limit_hits(id));
    field_text(j, "text", info->text);
    tg_json_end_object(j);
}

struct bound {
    const char *path;
    enum tg_limit_unit unit;
    uint64_t value; /* 0: there is none */
    uint64_t use, peak, hits;
    const char *text;
};

/* A bound that is no limit of the settings. */
static void write_bound(struct tg_json *j, const struct bound *b)
{
    tg_json_begin_object(j);
    field_text(j, "path", b->path);
    field_text(j, "unit", unit_names[b->unit]);
    if (b->value != 0)
        tg_json_field_u64(j, "value", b->value);
    tg_json_field_u64(j, "use", b->use);
    tg_json_field_u64(j, "peak", b->peak);
    tg_json_field_u64(j, "hits", b->hits);
    field_text(j, "text", b->text);
    tg_json_end_object(j);
}

static void write_map(void *arg, const char *name, const struct tg_map_stats *stats)
{
    char path[TG_MAP_WATCH_NAME_MAX + 8];
    snprintf(path, sizeof(path), "map.%s", name);
    write_bound(arg,
                &(struct bound){path, TG_LIMIT_UNIT_COUNT, stats->entries_max, stats->entries,
                                stats->entries_peak, stats->left[TG_MAP_CAPACITY] + stats->refused,
                                "entries of the table; hits: entries pushed out or refused"});
}

static void write_budget(struct tg_json *j, const struct tg_admin *admin)
{
    const struct tg_budget *budget = &admin->snapshot->settings.budget;
    uint64_t raised = tg_metrics_read(admin->options.metrics, TG_METRIC_PRESSURE_SHRINK);
    struct tg_budget_memory resident = tg_budget_memory();
    begin_list(j, "bounds");
    write_bound(j, &(struct bound){"memory.total", TG_LIMIT_UNIT_BYTES, budget->total, resident.now,
                                   resident.peak, raised,
                                   "resident memory of the gateway process; hits: times that "
                                   "pressure began"});
    for (int i = 0; i < TG_BUDGET_PARTS; i++) {
        enum tg_budget_part part = (enum tg_budget_part)i;
        const struct tg_budget_info *info = tg_budget_info(part);
        char path[64];
        snprintf(path, sizeof(path), "memory.%s", info->field);
        write_bound(j, &(struct bound){path, TG_LIMIT_UNIT_BYTES, tg_budget_bytes(budget, part),
                                       tg_budget_used(part), tg_budget_peak(part),
                                       tg_budget_refused(part), info->text});
    }
    tg_map_watches_visit(write_map, j);
    tg_json_end_array(j);
}

static unsigned write_limits(const struct tg_admin *admin, struct tg_fmt *f)
{
    struct tg_json j;
    struct tg_limits in_force = admin->snapshot->settings.limits;
    begin(&j, f);
    begin_list(&j, "limits");
    for (int i = 0; i < TG_LIMIT_COUNT; i++)
        write_limit(&j, (enum tg_limit_id)i, &in_force);
    tg_json_end_array(&j);
    write_budget(&j, admin);
    return end(&j, 200);
}

/* ---- Plugins -----------------------------------------------------------------------------------
 */

/* The rows of one plugin together: counts are sums, the quarantine is the worst. */
static struct tg_census_row add_up(const struct tg_census *census, uint32_t plugin)
{
    struct tg_census_row sum = {0};
    for (uint32_t w = 0; w < census->workers; w++) {
        const struct tg_census_row *row = tg_census_row(census, w, plugin);
        sum.errors += row->errors;
        sum.collections += row->collections;
        sum.rebuilds += row->rebuilds;
        sum.background += row->background;
        sum.quarantines += row->quarantines;
        for (int k = 0; k < TG_KILL_COUNT; k++)
            sum.kills[k] += row->kills[k];
    }
    return sum;
}

static void write_phases(struct tg_json *j, unsigned phases)
{
    begin_list(j, "phases");
    for (unsigned phase = 0; phase < TG_PHASES; phase++) {
        if (phases & 1u << phase)
            tg_json_str(j, tg_str_c(tg_phase_name((enum tg_phase)phase)));
    }
    tg_json_end_array(j);
}

static void write_kills(struct tg_json *j, const struct tg_census_row *sum)
{
    tg_json_key(j, TG_STR("kills"));
    tg_json_begin_object(j);
    for (int k = TG_KILL_NONE + 1; k < TG_KILL_COUNT; k++)
        tg_json_field_u64(j, tg_kill_label((enum tg_kill)k), sum->kills[k]);
    tg_json_end_object(j);
}

/* One element for each worker that has the plugin. */
static void write_vms(struct tg_json *j, const struct tg_census *census, uint32_t plugin)
{
    begin_list(j, "vms");
    for (uint32_t w = 0; w < census->workers; w++) {
        const struct tg_census_row *row = tg_census_row(census, w, plugin);
        if (!row->present)
            continue;
        tg_json_begin_object(j);
        tg_json_field_u64(j, "worker", w);
        tg_json_field_u64(j, "heap_bytes", row->heap);
        tg_json_field_u64(j, "held_bytes", row->held);
        field_text(j, "quarantine", tg_quarantine_label(row->quarantine));
        field_seconds(j, "pause_seconds", row->pause_left);
        tg_json_end_object(j);
    }
    tg_json_end_array(j);
}

/* ---- What they cost ----------------------------------------------------------------------------
 */

struct costs {
    struct tg_json *j;
    double scale; /* of the figure's unit in the histogram's */
};

static void field_scaled(const struct costs *costs, const char *key, uint64_t value)
{
    tg_json_key(costs->j, tg_str_c(key));
    tg_json_double(costs->j, (double)value * costs->scale);
}

/* The value of the label `route`, which stands last. Names of routes need no escapes. */
static struct tg_str route_of(struct tg_str labels)
{
    size_t end = labels.n > 0 ? labels.n - 1 : 0;
    size_t begin = end;
    while (begin > 0 && labels.p[begin - 1] != '"')
        begin--;
    return tg_str_sub(labels, begin, end);
}

static void write_cost(void *arg, struct tg_str labels, double value, const struct tg_histogram *h)
{
    const struct costs *costs = arg;
    (void)value;
    tg_json_begin_object(costs->j);
    tg_json_field_str(costs->j, "route", route_of(labels));
    tg_json_field_u64(costs->j, "count", tg_histogram_count(h));
    field_scaled(costs, "sum", tg_histogram_sum(h));
    field_scaled(costs, "p50", tg_histogram_quantile(h, 0.5));
    field_scaled(costs, "p99", tg_histogram_quantile(h, 0.99));
    field_scaled(costs, "max", tg_histogram_max(h));
    tg_json_end_object(costs->j);
}

/* One element for each route on which a request of the plugin was measured. */
static void write_costs(struct tg_json *j, const char *key, struct tg_instrument *figure,
                        double scale, struct tg_str plugin)
{
    char room[128];
    struct tg_fmt prefix;
    struct costs costs = {j, scale};
    tg_fmt_init(&prefix, room, sizeof(room));
    tg_fmt_printf(&prefix, "plugin=\"%.*s\",", TG_STR_ARG(plugin));
    begin_list(j, key);
    if (figure != NULL && !prefix.failed)
        tg_instrument_visit(figure, tg_fmt_str(&prefix), write_cost, &costs);
    tg_json_end_array(j);
}

static void write_plugin(struct tg_json *j, const struct tg_admin *admin, uint32_t index)
{
    const struct tg_census *census = admin->census;
    struct tg_instrument *const *figures = admin->accounting.figures;
    const struct tg_plugin_conf *plugin = &census->snapshot->plugins[index];
    struct tg_census_row sum = add_up(census, index);
    tg_json_begin_object(j);
    tg_json_field_str(j, "name", plugin->name);
    tg_json_field_str(j, "version", plugin->version);
    tg_json_field_str(j, "stage", plugin->stage);
    write_phases(j, plugin->phases);
    tg_json_field_u64(j, "instances", plugin->instance_count);
    tg_json_field_u64(j, "heap_limit_bytes", plugin->heap);
    tg_json_field_u64(j, "errors", sum.errors);
    write_kills(j, &sum);
    tg_json_field_u64(j, "forced_collections", sum.collections);
    tg_json_field_u64(j, "rebuilds", sum.rebuilds);
    tg_json_field_u64(j, "quarantines", sum.quarantines);
    tg_json_field_u64(j, "background", sum.background);
    write_costs(j, "cpu_seconds", figures[TG_ACCOUNTING_CPU], 1e-6, plugin->name);
    write_costs(j, "churn_bytes", figures[TG_ACCOUNTING_CHURN], 1, plugin->name);
    write_costs(j, "peak_bytes", figures[TG_ACCOUNTING_PEAK], 1, plugin->name);
    write_vms(j, census, index);
    tg_json_end_object(j);
}

static unsigned write_plugins(const struct tg_admin *admin, struct tg_fmt *f)
{
    struct tg_json j;
    const struct tg_census *census = admin->census;
    begin(&j, f);
    tg_json_field_u64(&j, "revision", census->snapshot->revision);
    tg_json_field_u64(&j, "measured_every", TG_ACCOUNTING_EVERY);
    begin_list(&j, "plugins");
    for (uint32_t i = 0; i < census->snapshot->plugin_count; i++)
        write_plugin(&j, admin, i);
    tg_json_end_array(&j);
    return end(&j, 200);
}

/* ---- The list ----------------------------------------------------------------------------------
 */

static const struct tg_admin_view views[] = {
    {"/metrics", "text/plain; version=0.0.4; charset=utf-8", false, write_metrics},
    {"/healthz", JSON, false, write_health},
    {"/readyz", JSON, false, write_readiness},
    {"/status", JSON, false, write_status},
    {"/config", JSON, false, write_config},
    {"/limits", JSON, false, write_limits},
    {"/plugins", JSON, true, write_plugins},
    {"/upstreams", JSON, false, tg_admin_write_upstreams},
};

void tg_admin_view_write_paths(struct tg_fmt *f)
{
    for (size_t i = 0; i < TG_COUNT_OF(views); i++) {
        tg_fmt_add(f, tg_str_c(i == 0 ? "" : i + 1 < TG_COUNT_OF(views) ? ", " : " and "));
        tg_fmt_add(f, tg_str_c(views[i].path));
    }
}

const struct tg_admin_view *tg_admin_view_find(struct tg_str path)
{
    for (size_t i = 0; i < TG_COUNT_OF(views); i++) {
        if (tg_str_eq(path, tg_str_c(views[i].path)))
            return &views[i];
    }
    return NULL;
}
