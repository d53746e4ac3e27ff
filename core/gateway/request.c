/* request.c: the life of a request: made for a head, routed, led through the phases, logged, freed.
 *
 * A request is freed at the end of the loop's round in which it ended, so that callers further up
 * the stack may still look at it. */
#include "base/banned.h"
#include "gateway/decode.h"
#include "gateway/encode.h"
#include "gateway/internal.h"
#include "gateway/routing.h"
#include "gateway/unpack.h"
#include "gateway/ws.h"

#include "base/assert.h"
#include "net/tls_conn.h"
#include "observe/metrics.h"
#include "route/method.h"

/* ---- States ------------------------------------------------------------------------------------
 */

static const char *const state_names[TG_REQUEST_STATES] = {
    [TG_REQUEST_HANDSHAKE] = "handshake",
    [TG_REQUEST_REWRITE] = "rewrite",
    [TG_REQUEST_ACCESS] = "access",
    [TG_REQUEST_CONNECT] = "connect",
    [TG_REQUEST_SENDING] = "sending",
    [TG_REQUEST_HEADER_FILTER] = "header_filter",
    [TG_REQUEST_RELAY] = "relay",
    [TG_REQUEST_TUNNEL] = "tunnel",
    [TG_REQUEST_LOG] = "log",
    [TG_REQUEST_DONE] = "done",
};

#define RELIEF_LOOK 4096u /* requests looked at in one relief */
#define RELIEF_MOST 16u   /* that it ends */

#define BIT(state) (1u << TG_REQUEST_##state)

void tg_request_set_state(struct tg_request *r, enum tg_request_state to)
{
    static const unsigned allowed[TG_REQUEST_STATES] = {
        [TG_REQUEST_HANDSHAKE] = BIT(DONE),
        [TG_REQUEST_REWRITE] = BIT(ACCESS) | BIT(HEADER_FILTER) | BIT(LOG),
        [TG_REQUEST_ACCESS] = BIT(CONNECT) | BIT(HEADER_FILTER) | BIT(LOG),
        [TG_REQUEST_CONNECT] =
            BIT(CONNECT) | BIT(SENDING) | BIT(HEADER_FILTER) | BIT(TUNNEL) | BIT(LOG),
        [TG_REQUEST_SENDING] = BIT(CONNECT) | BIT(HEADER_FILTER) | BIT(TUNNEL) | BIT(LOG),
        [TG_REQUEST_HEADER_FILTER] = BIT(HEADER_FILTER) | BIT(RELAY) | BIT(TUNNEL) | BIT(LOG),
        [TG_REQUEST_RELAY] = BIT(LOG),
        [TG_REQUEST_TUNNEL] = BIT(CONNECT) | BIT(LOG),
        [TG_REQUEST_LOG] = BIT(DONE),
    };
    tg_assert(allowed[r->state] & (1u << to));
    r->state = to;
}

const char *tg_request_state_name(enum tg_request_state state)
{
    return state_names[state];
}

const char *tg_source_name(enum tg_source source)
{
    static const char *const names[] = {"gateway", "plugin", "upstream"};
    return names[source];
}

/* ---- Birth -------------------------------------------------------------------------------------
 */

static void on_free(struct tg_task *task)
{
    struct tg_request *r = TG_CONTAINER_OF(task, struct tg_request, free_later);
    struct tg_gate *gate = r->gate;
    tg_magic_check(r, TG_REQUEST_MAGIC);
    r->magic = 0;
    tg_list_remove(&r->link);
    tg_vm_set_unref(&r->vms);
    tg_tls_facts_unref(&r->tls);
    struct tg_arena arena = r->arena; /* the request is in it */
    tg_arena_release(&arena);
    tg_gate_check_drained(gate);
}

static void on_read_later(struct tg_task *task)
{
    struct tg_request *r = TG_CONTAINER_OF(task, struct tg_request, read_later);
    tg_magic_check(r, TG_REQUEST_MAGIC);
    if (r->body.wanted && r->stream != NULL)
        tg_unpack_read(r, true);
}

struct tg_request *tg_request_new(struct tg_gate *gate, const struct tg_listener_conf *listener,
                                  struct tg_stream *stream, const struct tg_addr *peer,
                                  struct tg_tls_facts *tls)
{
    struct tg_worker *worker = gate->worker;
    struct tg_arena arena;
    tg_arena_init(&arena, worker->slab, (size_t)gate->snapshot->settings.limits.request_memory);
    struct tg_request *r = tg_arena_zalloc(&arena, sizeof(*r));
    if (r == NULL)
        return NULL;
    r->magic = TG_REQUEST_MAGIC;
    r->state = TG_REQUEST_REWRITE;
    r->arena = arena;
    r->gate = gate;
    r->snapshot = gate->snapshot;
    r->vms = tg_vm_set_ref(gate->vms);
    r->listener = listener;
    r->chains = listener->chains;
    r->stream = stream;
    r->peer = r->client = *peer;
    r->started = worker->loop.clock.mono;
    r->started_real = worker->loop.clock.real;
    r->scheme = tls != NULL ? TG_STR("https") : TG_STR("http");
    r->tls = tls != NULL ? tg_tls_facts_ref(tls) : NULL;
    r->edits_end = &r->edits;
    r->measured = tg_accounting_choose(&gate->accounting);
    tg_rand_id(&worker->rand, r->id);
    tg_buf_init(&r->body.buf, worker->slab);
    tg_buf_init(&r->held, worker->slab);
    tg_buf_init(&r->filtered, worker->slab);
    tg_buf_init(&r->replay, worker->slab);
    tg_task_init(&r->read_later, on_read_later);
    tg_task_init(&r->free_later, on_free);
    tg_list_push_back(&gate->requests, &r->link);
    tg_metric_inc(worker->cells, TG_METRIC_REQUESTS_OPEN);
    return r;
}

/* ---- A handshake -------------------------------------------------------------------------------
 */

struct tg_request *tg_request_new_handshake(struct tg_gate *gate,
                                            const struct tg_listener_conf *listener,
                                            const struct tg_addr *peer, struct tg_handshake *h,
                                            struct tg_tls_facts *tls)
{
    struct tg_request *r = tg_request_new(gate, listener, NULL, peer, tls);
    if (r == NULL)
        return NULL;
    tg_metric_dec(gate->worker->cells, TG_METRIC_REQUESTS_OPEN); /* it is none */
    r->state = TG_REQUEST_HANDSHAKE;
    r->handshake = h;
    r->deadline = r->started + r->snapshot->settings.limits.handshake_timeout;
    return r;
}

void tg_request_end_handshake(struct tg_request *r)
{
    tg_assert(r->state == TG_REQUEST_HANDSHAKE);
    tg_plugins_cancel(r);
    tg_request_set_state(r, TG_REQUEST_DONE);
    r->handshake = NULL;
    tg_plugins_end(r);
    tg_loop_defer(&r->gate->worker->loop, &r->free_later);
}

/* ---- The way -----------------------------------------------------------------------------------
 */

/* A phase without plugins costs a look. */
static void run_phase(struct tg_request *r, enum tg_phase phase)
{
    bool some = r->chains->phase[phase].n > 0 || r->deferred != NULL;
    tg_request_step(r, phase, some ? tg_plugins_run(r, phase) : TG_STEP_NEXT);
}

static const struct tg_str all_methods = {"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS", 44};

/* What the gateway answers before anybody else has a say. */
static bool answered_early(struct tg_request *r)
{
    enum tg_method method = r->in.method;
    if (r->listener->redirects) {
        tg_answer_https(r);
        return true;
    }
    if ((method == TG_METHOD_TRACE && !r->listener->allow_trace) ||
        (method == TG_METHOD_CONNECT && !r->listener->allow_connect)) {
        tg_answer_wrong_method(r, all_methods);
        return true;
    }
    if (r->in.form == TG_TARGET_ASTERISK) {
        tg_answer_options(r, all_methods);
        return true;
    }
    if (method != TG_METHOD_TRACE && method != TG_METHOD_OPTIONS)
        return false;
    const struct tg_field *hops = tg_fields_find_id(&r->in.fields, TG_FIELD_MAX_FORWARDS);
    if (hops == NULL || !tg_str_eq(hops->value, TG_STR("0")))
        return false;
    if (method == TG_METHOD_TRACE)
        tg_answer_trace(r);
    else
        tg_answer_options(r, all_methods);
    return true;
}

void tg_request_start(struct tg_request *r)
{
    r->deadline = r->started + r->snapshot->settings.limits.request_deadline;
    r->in_ended = r->in.framing == TG_FRAMING_NONE;
    r->out.method = r->in.method;
    r->out.method_name = r->in.method_name;
    r->out.upgrade = r->in.upgrade;
    r->client_host = r->in.authority;
    if (r->listener->trusted_count > 0)
        tg_forward_trust(r);
    if (answered_early(r))
        return;
    const char *full = tg_overload_refuses(r);
    if (full != NULL)
        tg_answer_overload(r, full);
    else
        run_phase(r, TG_PHASE_REWRITE);
}

void tg_request_refuse(struct tg_request *r, unsigned status, const char *reason)
{
    tg_log_kv(TG_LOG_DEBUG, "http", "request refused", tg_log_str("reason", tg_str_c(reason)),
              tg_log_u64("status", status));
    r->deadline = UINT64_MAX;
    r->in_ended = true;
    tg_answer_refusal(r, status, reason);
}

/* No route takes the method, but some would take others. */
static void wrong_method(struct tg_request *r, uint64_t allow)
{
    bool ask = r->in.method == TG_METHOD_OPTIONS && r->listener->answer_options;
    struct tg_fmt f;
    tg_fmt_init_arena(&f, &r->arena, 128);
    tg_route_table_write_allow(r->snapshot->table, allow | (ask ? TG_ROUTE_METHOD_OPTIONS : 0), &f);
    if (ask)
        tg_answer_options(r, tg_fmt_str(&f));
    else
        tg_answer_wrong_method(r, tg_fmt_str(&f));
}

static void not_routed(struct tg_request *r, enum tg_route_verdict verdict,
                       const struct tg_route_match *match)
{
    if (verdict == TG_ROUTE_WRONG_METHOD) {
        wrong_method(r, match->allow);
    } else if (verdict == TG_ROUTE_UNDECIDED) { /* refused, so that no route is passed by it */
        tg_metric_inc(r->gate->worker->cells, TG_METRIC_REQUESTS_UNDECIDED);
        tg_answer_error(r, 400, "route_undecided");
    } else {
        tg_answer_error(r, 404, "no_route");
    }
}

static enum tg_err take_captures(struct tg_request *r, const struct tg_route_match *match)
{
    uint32_t n = match->capture_count;
    if (n == 0)
        return TG_OK;
    r->capture_names = tg_arena_alloc(&r->arena, 2 * n * sizeof(*r->captures));
    if (r->capture_names == NULL)
        return TG_E_NOMEM;
    r->captures = r->capture_names + n;
    r->capture_count = n;
    for (uint32_t i = 0; i < n; i++) {
        r->capture_names[i] = match->captures[i].name;
        r->captures[i] = match->captures[i].value;
    }
    return TG_OK;
}

/* What the route makes of path, query and host; false when it has been answered instead. */
static bool rewrite(struct tg_request *r)
{
    enum tg_err err = tg_rewrite_apply(r);
    if (err == TG_E_INVALID)
        tg_answer_error(r, 400, "bad_rewrite");
    else if (err != TG_OK)
        tg_answer_error(r, 503, "no_resources");
    return err == TG_OK;
}

static void run_access(struct tg_request *r)
{
    const struct tg_gate_observer *observer = r->gate->observer;
    tg_request_set_state(r, TG_REQUEST_ACCESS);
    r->plugins.next = 0; /* of this phase: see consumer.h */
    if (observer != NULL && observer->on_route != NULL)
        observer->on_route(observer->arg, r);
    run_phase(r, TG_PHASE_ACCESS);
}

static void route(struct tg_request *r)
{
    struct tg_route_match match;
    enum tg_route_verdict verdict;
    if (tg_routing_match(r, &verdict, &match) != TG_OK) {
        tg_answer_error(r, 503, "no_resources");
        return;
    }
    if (verdict != TG_ROUTE_FOUND) {
        not_routed(r, verdict, &match);
        return;
    }
    r->route = &r->snapshot->routes[(uintptr_t)match.handle];
    r->service = r->route->service;
    r->chains = r->route->chains[r->listener->index];
    const char *full = tg_overload_enter(r);
    if (full != NULL) {
        tg_answer_overload(r, full);
        return;
    }
    if (take_captures(r, &match) != TG_OK) {
        tg_answer_error(r, 503, "no_resources");
        return;
    }
    r->matched = match.matched;
    if (r->route->client_cert && (r->tls == NULL || !r->tls->verified)) {
        tg_answer_error(r, 403, "client_certificate_required");
        return;
    }
    if ((r->route->split != NULL || r->route->canary != NULL) && !r->route->chooses_late)
        tg_shape_choose(r);
    if (rewrite(r))
        run_access(r);
}

static void after_access(struct tg_request *r)
{
    const char *full = tg_overload_settle(r);
    if (full != NULL) {
        tg_answer_overload(r, full);
        return;
    }
    if (r->route->chooses_late && !r->service_set)
        tg_shape_choose(r);
    if (r->route->redirect != NULL)
        tg_answer_redirect(r);
    else if (r->service == NULL)
        tg_answer_error(r, 404, "no_service");
    else if (tg_ws_begin(r))
        tg_proxy_start(r);
}

static void count(const struct tg_request *r)
{
    struct tg_metric_cells *cells = r->gate->worker->cells;
    tg_metric_dec(cells, TG_METRIC_REQUESTS_OPEN);
    tg_metric_add(cells, TG_METRIC_BYTES_IN, r->bytes_received);
    tg_metric_add(cells, TG_METRIC_BYTES_OUT, r->bytes_sent);
    tg_metric_record(cells, TG_METRIC_HISTOGRAM_REQUEST, tg_request_now(r) - r->started);
    if (r->aborted)
        tg_metric_inc(cells, TG_METRIC_REQUESTS_ABORTED);
    if (!r->head_sent)
        return;
    tg_metric_inc(cells, tg_metric_of_status(r->resp.status));
    if (r->grpc_told)
        tg_metric_inc(cells, (enum tg_metric_id)(TG_METRIC_GRPC_OK + r->grpc_status));
    tg_metric_inc(cells, (enum tg_metric_id)(TG_METRIC_RESPONSES_GATEWAY + (int)r->source));
}

static void end(struct tg_request *r)
{
    tg_request_set_state(r, TG_REQUEST_DONE);
    tg_overload_leave(r);
    count(r);
    tg_plugins_end(r);
    if (r->gate->observer != NULL)
        r->gate->observer->on_end(r->gate->observer->arg, r);
    tg_task_cancel(&r->read_later);
    if (r->clock_on)
        tg_timer_release(&r->clock);
    tg_buf_release(&r->body.buf);
    tg_buf_release(&r->held);
    tg_buf_release(&r->filtered);
    tg_loop_defer(&r->gate->worker->loop, &r->free_later);
}

void tg_request_step(struct tg_request *r, enum tg_phase phase, enum tg_step step)
{
    if (step == TG_STEP_WAIT)
        return;
    if (phase == TG_PHASE_CERTIFICATE) {
        r->handshake->on_step(r->handshake, step);
        return;
    }
    if (phase == TG_PHASE_LOG) {
        end(r);
        return;
    }
    if (r->abort_wanted && phase != TG_PHASE_MESSAGE) {
        tg_request_break(r, r->error != NULL ? r->error : "aborted_by_plugin");
        return;
    }
    if (step == TG_STEP_STOP && (phase == TG_PHASE_REWRITE || phase == TG_PHASE_ACCESS)) {
        tg_relay_start(r);
        return;
    }
    switch (phase) {
    case TG_PHASE_REWRITE:
        route(r);
        break;
    case TG_PHASE_ACCESS:
        after_access(r);
        break;
    case TG_PHASE_HEADER_FILTER:
        tg_relay_send(r);
        break;
    case TG_PHASE_BODY_FILTER:
        tg_relay_filtered(r);
        break;
    case TG_PHASE_MESSAGE:
        tg_ws_asked(r, step);
        break;
    default:
        break;
    }
}

/* ---- Relief ------------------------------------------------------------------------------------
 */

void tg_requests_relieve(struct tg_gate *gate, uint64_t now)
{
    uint32_t broken = 0, looked = 0;
    TG_LIST_FOREACH(&gate->requests, it) /* in the order in which they came */
    {
        struct tg_request *r = TG_LIST_ENTRY(it, struct tg_request, link);
        if (looked++ == RELIEF_LOOK || broken == RELIEF_MOST ||
            now - r->started < TG_OVERLOAD_UPLOAD)
            break;
        if (r->stream == NULL || r->in_ended || r->state == TG_REQUEST_TUNNEL)
            continue;
        tg_answer_overload(r, "memory_full");
        broken++;
    }
    tg_metric_add(gate->worker->cells, TG_METRIC_RELIEVED_UPLOAD, broken);
}

/* ---- The end -----------------------------------------------------------------------------------
 */

void tg_request_finish(struct tg_request *r)
{
    if (r->state == TG_REQUEST_LOG || r->state == TG_REQUEST_DONE)
        return;
    tg_proxy_release(r);
    tg_plugins_cancel(r);
    tg_decode_free(&r->decode);
    tg_encode_free(r);
    tg_unpack_free(r);
    tg_request_clear_clock(r);
    tg_tunnel_end(r);
    r->stream = NULL;
    tg_request_set_state(r, TG_REQUEST_LOG);
    run_phase(r, TG_PHASE_LOG);
}

void tg_request_break(struct tg_request *r, const char *error)
{
    struct tg_stream *stream = r->stream;
    r->aborted = true;
    if (r->error == NULL)
        r->error = error;
    if (stream != NULL) {
        r->bytes_received = stream->bytes_in;
        r->bytes_sent = stream->bytes_out;
        r->stream = NULL;
        stream->ops->abort(stream);
    }
    tg_request_finish(r);
}

void tg_request_abort(struct tg_request *r)
{
    r->abort_wanted = true;
}

void tg_request_stop(struct tg_request *r)
{
    if (r->state < TG_REQUEST_LOG)
        tg_request_break(r, "gateway_stopped");
    if (r->state != TG_REQUEST_LOG)
        return;
    tg_plugins_stop(r);
    tg_request_step(r, TG_PHASE_LOG, TG_STEP_NEXT);
}

/* ---- The gateway's own timer -------------------------------------------------------------------
 */

static void on_clock(struct tg_timer *timer)
{
    struct tg_request *r = TG_CONTAINER_OF(timer, struct tg_request, clock);
    tg_magic_check(r, TG_REQUEST_MAGIC);
    if (r->state == TG_REQUEST_TUNNEL)
        tg_tunnel_clock(r);
    else if (r->state == TG_REQUEST_SENDING)
        tg_proxy_continue(r);
    else if (r->state == TG_REQUEST_CONNECT)
        tg_proxy_again(r);
}

enum tg_err tg_request_set_clock(struct tg_request *r, uint64_t deadline)
{
    if (!r->clock_on) {
        enum tg_err err = tg_timer_init(&r->clock, &r->gate->worker->loop.timers, on_clock);
        if (err != TG_OK)
            return err;
        r->clock_on = true;
    }
    tg_timer_set(&r->clock, deadline);
    return TG_OK;
}

void tg_request_clear_clock(struct tg_request *r)
{
    if (r->clock_on)
        tg_timer_clear(&r->clock);
}
