/* overload.c: see overload.h. Clients and acceptors are client.c's, who is let in request.c's. */
#include "base/banned.h"
#include "gateway/overload.h"

#include "base/assert.h"
#include "gateway/client.h"
#include "gateway/consumer.h"
#include "gateway/gate.h"
#include "gateway/internal.h"
#include "gateway/vm_set.h"
#include "observe/metrics.h"

#define TICK         (100 * TG_USEC_PER_MSEC)
#define PRESSED_TICK (20 * TG_USEC_PER_MSEC)
#define TRIM_EVERY   (2 * TG_USEC_PER_SEC)
#define TRICKLE      4                  /* connections that an acceptor takes in a pressed tick */
#define UPLOAD_SIZE  ((size_t)32 << 10) /* what an upload holds soon after it was let in */
#define UPLOAD_GROWS (20 * TG_USEC_PER_MSEC)
#define PROVEN_FILL  980 /* thousandths, from which nobody is let in */

/* What has to be left of the share of connections, one part in so many, for one more: see
 * overload.h. */
enum spare {
    SPARE_NEW_UPLOAD = 4,
    SPARE_UPLOAD = 7,
    SPARE_NEW_REQUEST = 7,
    SPARE_REQUEST = 50,
    SPARE_CONNECTIONS = 10,
    SPARE_TRICKLE = 20,
};

static const struct tg_settings *settings_of(const struct tg_gate *gate)
{
    return &gate->snapshot->settings;
}

static struct tg_overload_shared *shared_of(const struct tg_gate *gate)
{
    return &gate->gateway->overload;
}

enum tg_pressure tg_overload_level(const struct tg_gate *gate)
{
    return (enum tg_pressure)atomic_load_explicit(&shared_of(gate)->level, memory_order_relaxed);
}

/* ---- Measuring ---------------------------------------------------------------------------------
 */

static void tell_level(struct tg_gate *gate, enum tg_pressure was, enum tg_pressure level,
                       uint64_t resident)
{
    static const enum tg_metric_id raised[TG_PRESSURES] = {
        [TG_PRESSURE_SHRINK] = TG_METRIC_PRESSURE_SHRINK,
        [TG_PRESSURE_CLOSE] = TG_METRIC_PRESSURE_CLOSE,
        [TG_PRESSURE_WAIT] = TG_METRIC_PRESSURE_WAIT,
        [TG_PRESSURE_SHED] = TG_METRIC_PRESSURE_SHED,
    };
    struct tg_metric_cells *cells = gate->worker->cells;
    const struct tg_budget *budget = &settings_of(gate)->budget;
    for (int i = (int)was + 1; i <= (int)level; i++)
        tg_metric_inc(cells, raised[i]);
    tg_metric_add(cells, TG_METRIC_PRESSURE_LEVEL, (uint64_t)level - (uint64_t)was);
    tg_log_every(2, level > was ? TG_LOG_WARN : TG_LOG_INFO, "memory",
                 "pressure on settings.memory: %s (was: %s); resident %llu KiB of %llu KiB, "
                 "connections %llu KiB of %llu KiB",
                 tg_pressure_name(level), tg_pressure_name(was), (unsigned long long)resident >> 10,
                 (unsigned long long)budget->total >> 10,
                 (unsigned long long)tg_budget_used(TG_BUDGET_CONNECTIONS) >> 10,
                 (unsigned long long)tg_budget_bytes(budget, TG_BUDGET_CONNECTIONS) >> 10);
}

/* The allocator keeps what it was given back until it is told not to. */
static void shrink(struct tg_gate *gate, uint64_t now)
{
    struct tg_overload_shared *s = shared_of(gate);
    tg_zones_shrink(gate->gateway->zones, now);
    if (now >= s->trim_at) {
        s->trim_at = now + TRIM_EVERY;
        tg_mem_trim();
    }
}

/* Whoever comes first after `next` measures, alone. */
static void measure_memory(struct tg_gate *gate, uint64_t now)
{
    struct tg_overload_shared *s = shared_of(gate);
    uint64_t next = atomic_load_explicit(&s->next, memory_order_acquire);
    if (now < next || !atomic_compare_exchange_strong_explicit(
                          &s->next, &next, UINT64_MAX, memory_order_acquire, memory_order_relaxed))
        return;
    const struct tg_budget *budget = &settings_of(gate)->budget;
    uint64_t resident = tg_budget_resident();
    uint32_t fill = tg_budget_fill(budget, resident, tg_budget_used(TG_BUDGET_CONNECTIONS));
    enum tg_pressure was = tg_overload_level(gate);
    enum tg_pressure level = tg_pressure_step(was, fill);
    atomic_store_explicit(&s->level, (int)level, memory_order_relaxed);
    atomic_store_explicit(&s->fill, fill, memory_order_relaxed);
    if (level != was)
        tell_level(gate, was, level, resident);
    if (level >= TG_PRESSURE_SHRINK)
        shrink(gate, now);
    uint64_t pause = level > TG_PRESSURE_NONE ? PRESSED_TICK : TICK;
    atomic_store_explicit(&s->next, now + pause - pause / 4, memory_order_release);
}

static void measure_lag(struct tg_gate *gate, uint64_t now)
{
    struct tg_overload *o = &gate->overload;
    uint64_t late = now > o->due ? now - o->due : 0;
    o->lag = TG_MIN(late, o->lagged);
    o->lagged = late;
    tg_limit_note(loop_lag, o->lag);
    tg_metric_set(gate->worker->cells, TG_METRIC_LOOP_LAG, late);
    tg_metric_record(gate->worker->cells, TG_METRIC_HISTOGRAM_LOOP_LAG, late);
    if (o->lag > settings_of(gate)->limits.loop_lag) {
        tg_limit_hit(loop_lag);
        tg_log_every(1, TG_LOG_WARN, "loop",
                     "worker %u comes %llu ms late; limits.loop.lag is %llu ms",
                     gate->worker->index, (unsigned long long)o->lag / 1000,
                     (unsigned long long)settings_of(gate)->limits.loop_lag / 1000);
    }
}

/* How full the VMs of this worker are: of the fullest. */
static void note_heaps(const struct tg_vm_set *set)
{
    uint64_t most = 0;
    for (uint32_t i = 0; set != NULL && i < set->snapshot->plugin_count; i++) {
        const struct tg_vm_entry *entry = set->entries[i];
        if (entry != NULL && entry->vm != NULL)
            most = TG_MAX(most, (uint64_t)tg_alloc_used(tg_vm_alloc(entry->vm)));
    }
    tg_limit_note(plugin_heap, most);
}

static void on_tick(struct tg_timer *timer)
{
    struct tg_overload *o = TG_CONTAINER_OF(timer, struct tg_overload, tick);
    struct tg_gate *gate = TG_CONTAINER_OF(o, struct tg_gate, overload);
    uint64_t now = tg_loop_now(&gate->worker->loop);
    enum tg_pressure level = TG_PRESSURE_NONE;
    if (gate->snapshot != NULL) {
        measure_lag(gate, now);
        note_heaps(gate->vms);
        measure_memory(gate, now);
        level = tg_overload_level(gate);
        if (level >= TG_PRESSURE_SHRINK)
            tg_encoder_pool_trim(&gate->encoders);
        else
            tg_encoder_pool_tidy(&gate->encoders);
        if (level >= TG_PRESSURE_SHRINK || o->upload_refused)
            tg_slab_trim(gate->worker->slab); /* what it keeps may be all that is held */
        if (level >= TG_PRESSURE_CLOSE) {
            tg_pool_close_idle(gate->pool);
            tg_clients_relieve(gate, now);
        }
        if (level >= TG_PRESSURE_WAIT || o->upload_refused)
            tg_requests_relieve(gate, now);
        o->upload_refused = false;
        if (level < TG_PRESSURE_SHED)
            tg_acceptors_resume(gate);
    }
    o->due = now + (level > TG_PRESSURE_NONE ? PRESSED_TICK : TICK);
    tg_timer_set(&o->tick, o->due);
}

enum tg_err tg_overload_init(struct tg_gate *gate)
{
    struct tg_overload *o = &gate->overload;
    enum tg_err err = tg_timer_init(&o->tick, &gate->worker->loop.timers, on_tick);
    if (err != TG_OK)
        return err;
    tg_clock_refresh(&gate->worker->loop.clock);
    o->due = tg_loop_now(&gate->worker->loop) + TICK;
    tg_timer_set(&o->tick, o->due);
    return TG_OK;
}

void tg_overload_release(struct tg_gate *gate)
{
    tg_timer_release(&gate->overload.tick);
}

/* ---- Turning away ------------------------------------------------------------------------------
 */

/* Do connections leave `spare`, once they hold `more` bytes? What happens between two ticks is seen
 * here. */
static bool leaves(enum spare spare, size_t more)
{
    size_t cap = tg_mem_cap(TG_MEM_CONNECTION);
    return tg_mem_used(TG_MEM_CONNECTION) + more < cap - cap / (size_t)spare;
}

int tg_overload_accepts(const struct tg_gate *gate, int most)
{
    enum tg_pressure level = tg_overload_level(gate);
    if (level < TG_PRESSURE_WAIT && leaves(SPARE_CONNECTIONS, 0))
        return most;
    return level < TG_PRESSURE_SHED && leaves(SPARE_TRICKLE, 0) ? TG_MIN(most, TRICKLE) : 0;
}

/* Is there no room for a body that is still to come? An upload is young for UPLOAD_GROWS: it counts
 * as what it will soon hold, or all that come at once would be let in. */
static bool refuses_upload(const struct tg_request *r, bool proven)
{
    struct tg_overload *o = &r->gate->overload;
    uint64_t now = tg_loop_now(&r->gate->worker->loop);
    if (r->in.framing == TG_FRAMING_NONE)
        return false;
    if (now - o->young_since > UPLOAD_GROWS) {
        o->young = 0;
        o->young_since = now;
    }
    if (tg_overload_level(r->gate) >= TG_PRESSURE_WAIT ||
        !leaves(proven ? SPARE_UPLOAD : SPARE_NEW_UPLOAD, o->young * UPLOAD_SIZE)) {
        o->upload_refused = true;
        return true;
    }
    o->young++;
    return false;
}

/* The last part of the share is not for newcomers. */
static bool refuses_request(const struct tg_request *r, bool proven)
{
    const struct tg_overload_shared *s = shared_of(r->gate);
    if (TG_LIKELY(tg_overload_level(r->gate) < TG_PRESSURE_SHED && leaves(SPARE_NEW_REQUEST, 0)))
        return false;
    return !proven || !leaves(SPARE_REQUEST, 0) ||
           atomic_load_explicit(&s->fill, memory_order_relaxed) >= PROVEN_FILL;
}

/* It begins below the first level of pressure, of which the log would tell. */
static void tell_refused(const struct tg_gate *gate)
{
    const struct tg_budget *budget = &settings_of(gate)->budget;
    tg_log_every(1, TG_LOG_WARN, "memory",
                 "requests are turned away (503, memory_full): resident %llu KiB of %llu KiB, "
                 "connections %llu KiB of %llu KiB",
                 (unsigned long long)tg_budget_resident() >> 10,
                 (unsigned long long)budget->total >> 10,
                 (unsigned long long)tg_budget_used(TG_BUDGET_CONNECTIONS) >> 10,
                 (unsigned long long)tg_budget_bytes(budget, TG_BUDGET_CONNECTIONS) >> 10);
}

const char *tg_overload_refuses(const struct tg_request *r)
{
    bool proven = r->stream != NULL && r->stream->proven;
    if (TG_LIKELY(!refuses_request(r, proven) && !refuses_upload(r, proven)))
        return NULL;
    tg_metric_inc(r->gate->worker->cells, TG_METRIC_SHED_MEMORY);
    tell_refused(r->gate);
    return "memory_full";
}

uint64_t tg_overload_part(uint64_t bound, enum tg_importance importance)
{
    static const unsigned tenths[] = {
        [TG_IMPORTANCE_LOW] = 6, [TG_IMPORTANCE_NORMAL] = 9, [TG_IMPORTANCE_HIGH] = 10};
    return (bound * tenths[importance] + 9) / 10;
}

bool tg_overload_is_late(uint64_t lag, uint64_t bound, enum tg_importance importance)
{
    static const unsigned halves[] = {
        [TG_IMPORTANCE_LOW] = 1, [TG_IMPORTANCE_NORMAL] = 2, [TG_IMPORTANCE_HIGH] = 4};
    return lag > bound / 2 * halves[importance];
}

static struct tg_flight_rule rule_of(const struct tg_settings *settings)
{
    uint32_t max = (uint32_t)TG_MIN(settings->limits.requests_in_flight, (uint64_t)TG_FLIGHT_MAX);
    return (struct tg_flight_rule){.min = TG_MIN(settings->adaptive_min, max),
                                   .max = max,
                                   .latency = settings->adaptive_latency};
}

/* The part of this worker's adaptive bound that is for `importance`. */
static uint64_t adaptive_part(const struct tg_request *r, const struct tg_flight_rule *rule,
                              enum tg_importance importance)
{
    return tg_overload_part(tg_flight_bound(rule, &r->gate->overload.flight), importance);
}

/* The adaptive bound of this worker has room for one more of that importance, which is in then. */
static bool enter_adaptive(struct tg_request *r, const struct tg_settings *settings,
                           enum tg_importance importance)
{
    struct tg_flight_state *state = &r->gate->overload.flight;
    struct tg_flight_rule rule = rule_of(settings);
    r->adaptive =
        state->in_flight < adaptive_part(r, &rule, importance) && tg_flight_enter(&rule, state);
    return r->adaptive;
}

static const char *shed(struct tg_request *r, enum tg_metric_id why)
{
    tg_metric_inc(r->gate->worker->cells, why);
    return why == TG_METRIC_SHED_MEMORY ? "memory_full" : "overloaded";
}

/* What is no matter of how many there are: pressure, and lag. NULL: nothing. */
static const char *too_hard_pressed(struct tg_request *r, enum tg_importance importance)
{
    uint64_t most = r->snapshot->settings.limits.loop_lag;
    if (importance == TG_IMPORTANCE_LOW && tg_overload_level(r->gate) >= TG_PRESSURE_WAIT)
        return shed(r, TG_METRIC_SHED_MEMORY);
    if (tg_overload_is_late(r->gate->overload.lag, most, importance))
        return shed(r, TG_METRIC_SHED_LAG);
    return NULL;
}

/* As what a request is let in whose consumer is not known yet. */
static enum tg_importance importance_at_the_door(const struct tg_request *r)
{
    enum tg_importance may_be = r->snapshot->consumers_importance;
    bool may_be_known = r->chains->phase[TG_PHASE_ACCESS].n > 0;
    return may_be_known ? TG_MAX(r->route->importance, may_be) : r->route->importance;
}

const char *tg_overload_enter(struct tg_request *r)
{
    const struct tg_settings *settings = &r->snapshot->settings;
    struct tg_overload_shared *s = shared_of(r->gate);
    enum tg_importance importance = r->admitted_as = importance_at_the_door(r);
    const char *pressed = too_hard_pressed(r, importance);
    if (pressed != NULL)
        return pressed;
    uint64_t before = atomic_fetch_add_explicit(&s->in_flight, 1, memory_order_relaxed);
    r->let_in = true;
    if (before >= tg_overload_part(settings->limits.requests_in_flight, importance)) {
        tg_limit_hit(requests_in_flight);
        tg_overload_leave(r);
        return shed(r, TG_METRIC_SHED_IN_FLIGHT);
    }
    tg_limit_note(requests_in_flight, before + 1);
    if (settings->adaptive_latency != 0 && !enter_adaptive(r, settings, importance)) {
        tg_overload_leave(r);
        return shed(r, TG_METRIC_SHED_LATENCY);
    }
    return NULL;
}

/* It stays counted until it ends, which is soon when it is turned away here. */
const char *tg_overload_settle(struct tg_request *r)
{
    const struct tg_settings *settings = &r->snapshot->settings;
    struct tg_overload_shared *s = shared_of(r->gate);
    enum tg_importance importance = tg_request_importance(r);
    if (TG_LIKELY(importance >= r->admitted_as))
        return NULL;
    const char *pressed = too_hard_pressed(r, importance);
    if (pressed != NULL)
        return pressed;
    uint64_t others = atomic_load_explicit(&s->in_flight, memory_order_relaxed) - 1;
    if (others >= tg_overload_part(settings->limits.requests_in_flight, importance)) {
        tg_limit_hit(requests_in_flight);
        return shed(r, TG_METRIC_SHED_IN_FLIGHT);
    }
    struct tg_flight_rule rule = rule_of(settings);
    if (r->adaptive &&
        r->gate->overload.flight.in_flight - 1 >= adaptive_part(r, &rule, importance))
        return shed(r, TG_METRIC_SHED_LATENCY);
    return NULL;
}

void tg_overload_leave(struct tg_request *r)
{
    if (r->let_in) {
        struct tg_overload_shared *s = shared_of(r->gate);
        uint64_t before = atomic_fetch_sub_explicit(&s->in_flight, 1, memory_order_relaxed);
        tg_limit_note(requests_in_flight, before - 1);
    }
    if (r->adaptive) {
        uint64_t now = tg_loop_now(&r->gate->worker->loop);
        uint64_t answered = r->head_sent ? r->head_sent_at : now;
        struct tg_flight_rule rule = rule_of(&r->snapshot->settings);
        struct tg_flight_end end = {.took = answered - r->started,
                                    .failed = r->source == TG_SOURCE_GATEWAY && r->head_sent &&
                                              r->resp.status >= 502};
        tg_flight_leave(&rule, &r->gate->overload.flight, &end, now);
    }
    r->let_in = r->adaptive = false;
}
