/* proxy.c: the exchange with the origin: lease a connection, send the request, wait for the answer.
 *
 * What fails and what becomes of it:
 *   connecting           a handshake that fails, or a certificate that is not accepted, is no
 *                        connection: another attempt where attempt.c allows one
 *   a kept connection    died before a byte of the answer came, what went of a body can go again,
 *                        and the method is idempotent: once more on a fresh one (RFC 9112, 9.3.1)
 *   before the head      another attempt where attempt.c allows one; then 502 (no connection,
 *                        closed, reset, broken framing), 504 (time), 503 (no target, breaker, no
 *                        memory)
 *   after the head       the client's answer breaks off
 */
#include "base/banned.h"
#include "gateway/consumer.h"
#include "gateway/grpc.h"
#include "gateway/hedge.h"
#include "gateway/internal.h"
#include "gateway/mirror.h"
#include "gateway/target.h"
#include "gateway/unpack.h"
#include "gateway/vm_set.h"
#include "gateway/ws.h"

#include "observe/metrics.h"

#define CONTINUE_WAIT TG_USEC_PER_SEC
#define REPEATS_MAX   3 /* of a request that origins did nothing of */

/* Whether and how a request goes out once more without counting as another attempt. */
enum repeat { REPEAT_NOT, REPEAT_SAME, REPEAT_BY_HTTP1 };

static void connect_next(struct tg_request *r, bool same);
static void fail_to_lease(struct tg_request *r, enum tg_err err);
static void fail_to_resolve(struct tg_request *r);

/* ---- Failures ----------------------------------------------------------------------------------
 */

void tg_proxy_log_failure(const struct tg_request *r, struct tg_str target, enum tg_err err,
                          const char *reason)
{
    tg_log_kv(TG_LOG_WARN, "upstream", reason != NULL ? reason : tg_err_text(err),
              tg_log_str("service", r->service->name), tg_log_str("target", target),
              tg_log_str("state", tg_str_c(tg_request_state_name(r->state))),
              tg_log_str("request", tg_str(r->id, sizeof(r->id))));
}

static void log_failure(const struct tg_request *r, enum tg_err err, const char *reason)
{
    char room[TG_ADDR_TEXT_MAX];
    tg_proxy_log_failure(r, tg_addr_text(&r->upstream.addr, room), err, reason);
}

static void answer_failure(struct tg_request *r, enum tg_err err)
{
    if (err == TG_E_TIMEOUT) {
        if (tg_request_now(r) >= r->deadline)
            tg_limit_hit(request_deadline);
        tg_answer_error(
            r, 504, r->upstream.connected == 0 ? "upstream_connect_timeout" : "upstream_timeout");
        return;
    }
    if (err == TG_E_NOMEM || err == TG_E_LIMIT || err == TG_E_FILES || err == TG_E_UNAVAILABLE) {
        tg_answer_error(r, 503, err == TG_E_UNAVAILABLE ? "pool_full" : "no_resources");
        return;
    }
    if (err == TG_E_DNS) {
        tg_answer_error(r, 503, "dns");
        return;
    }
    if (err == TG_E_UNTRUSTED)
        tg_answer_error(r, 502, "upstream_untrusted");
    else if (err == TG_E_TLS)
        tg_answer_error(r, 502, "upstream_tls_failed");
    else if (err == TG_E_UNSUPPORTED)
        tg_answer_error(r, 502, "upstream_no_websockets");
    else if (r->upstream.connected == 0)
        tg_answer_error(r, 502, "upstream_unreachable");
    else
        tg_answer_error(r, 502,
                        err == TG_E_PROTOCOL ? "upstream_protocol_error" : "upstream_closed");
}

static void let_go(struct tg_request *r)
{
    r->connected = false;
    tg_pool_return(r->gate->pool, &r->origin, &r->service->policy.pool);
}

void tg_proxy_release(struct tg_request *r)
{
    if (r->mirror != NULL)
        tg_mirror_drop(r);
    if (r->hedge != NULL)
        tg_hedge_drop(r);
    if (r->waiter.site != NULL)
        tg_pool_leave(r->gate->pool, &r->waiter);
    tg_roster_leave(&r->name_waiter);
    if (r->origin != NULL)
        let_go(r);
    tg_attempt_end(r);
    if (r->body_seen)
        tg_buf_release(&r->replay);
}

/* Another attempt, if there may be one: now or after a pause. True: it is taken care of. */
static bool try_again(struct tg_request *r)
{
    uint64_t at;
    if (tg_ws_is_reopening(r)) {
        if (r->origin != NULL)
            let_go(r);
        tg_attempt_end(r);
        tg_ws_reopen_failed(r);
        return true;
    }
    if (!tg_attempt_again(r, &at))
        return false;
    if (r->origin != NULL)
        let_go(r);
    if (r->stream != NULL && !r->in_ended)
        tg_unpack_read(r, false); /* until there is somebody to take it */
    tg_try_end(&r->try, tg_request_now(r));
    tg_request_clear_clock(r);
    tg_request_set_state(r, TG_REQUEST_CONNECT);
    r->out_ended = false;
    if (at == 0 || tg_request_set_clock(r, at) != TG_OK)
        connect_next(r, false);
    return true;
}

void tg_proxy_again(struct tg_request *r)
{
    if (r->name_waiter.waits) { /* the DNS has not answered in time */
        tg_roster_leave(&r->name_waiter);
        fail_to_resolve(r);
    } else if (r->waiter.site != NULL) { /* no connection was free in time */
        tg_pool_leave(r->gate->pool, &r->waiter);
        fail_to_lease(r, TG_E_UNAVAILABLE);
    } else if (r->origin == NULL) {
        connect_next(r, false);
    }
}

/* Whether the request may go out once more as if it had not: the connection was over before it
 * came, or the origin says that it did nothing of it. What went of the body must be there yet. */
static enum repeat repeat_of(struct tg_request *r, enum tg_err err, bool before_head)
{
    const struct tg_call *call = r->origin;
    if (call == NULL || !before_head || r->repeats >= REPEATS_MAX ||
        (r->body_seen && !r->out.body_set && !r->replayable))
        return REPEAT_NOT;
    if (call->refusal != TG_CALL_NOT_REFUSED)
        return call->refusal == TG_CALL_WANTS_HTTP1 ? REPEAT_BY_HTTP1 : REPEAT_SAME;
    bool stale = tg_target_was_stale(call, err) && tg_method_is_idempotent(r->out.method);
    return stale && r->repeats == 0 ? REPEAT_SAME : REPEAT_NOT;
}

static void repeat(struct tg_request *r, enum repeat how)
{
    r->repeats++;
    r->out_ended = false;
    r->by_http1 |= how == REPEAT_BY_HTTP1;
    tg_request_clear_clock(r);
    if (r->stream != NULL && !r->in_ended && !tg_ws_is_reopening(r))
        r->stream->ops->read_body(r->stream, false); /* until there is somebody to take it */
    connect_next(r, true);
}

static void fail(struct tg_request *r, enum tg_err err, const char *reason)
{
    bool connected = r->connected;
    bool before_head = r->state == TG_REQUEST_CONNECT || r->state == TG_REQUEST_SENDING;
    enum repeat how = repeat_of(r, err, r->state == TG_REQUEST_SENDING);
    let_go(r);
    tg_attempt_failed(r, err, connected, how != REPEAT_NOT);
    if (how != REPEAT_NOT) {
        repeat(r, how);
        return;
    }
    log_failure(r, err, reason);
    tg_target_count_failure(r->gate, err, !connected);
    if (before_head && (tg_hedge_take_over(r) || try_again(r)))
        return;
    if (r->state == TG_REQUEST_TUNNEL)
        tg_tunnel_origin_lost(r);
    else if (r->head_sent)
        tg_request_break(r, err == TG_E_TIMEOUT ? "upstream_timeout" : "upstream_broken");
    else
        answer_failure(r, err);
}

static void on_failed(struct tg_call *call, enum tg_err err, const char *reason)
{
    fail(call->owner, err, reason);
}

/* ---- Sending -----------------------------------------------------------------------------------
 */

/* How the body goes, as the head says it. */
static inline enum tg_framing write_framing(struct tg_request *r, struct tg_fmt *f)
{
    bool whole = r->out.body_set || r->body.complete;
    uint64_t length = r->out.body_set    ? r->out.body.n
                      : r->body.complete ? r->body.buf.size + r->replay.size
                                         : r->in.length;
    enum tg_framing framing = whole               ? TG_FRAMING_LENGTH
                              : r->unpack != NULL ? TG_FRAMING_CHUNKED
                                                  : r->in.framing;
    if (framing == TG_FRAMING_CHUNKED)
        tg_fmt_lit(f, "Transfer-Encoding: chunked\r\n");
    if (framing == TG_FRAMING_LENGTH) {
        tg_fmt_lit(f, "Content-Length: ");
        tg_fmt_u64(f, length);
        tg_fmt_lit(f, "\r\n");
    }
    tg_fmt_lit(f, "\r\n");
    return framing;
}

enum tg_framing tg_proxy_write_framing(struct tg_request *r, struct tg_fmt *f)
{
    return write_framing(r, f);
}

static void send_piece(struct tg_request *r, struct tg_str data)
{
    if (r->out.body_set)
        r->body_seen = true;
    else
        tg_attempt_keep(r, data);
    if (r->mirror != NULL)
        tg_mirror_body(r, data);
    tg_call_send_body(r->origin, data);
}

/* What went to an origin before goes first, then what was collected for a plugin. */
static void send_collected(struct tg_request *r)
{
    struct iovec piece;
    for (size_t at = 0; at < r->replay.size;) {
        struct tg_str kept = tg_buf_piece(&r->replay, at);
        tg_call_send_body(r->origin, kept);
        at += kept.n;
    }
    while (r->body.buf.size > 0) {
        tg_buf_iov(&r->body.buf, &piece, 1);
        send_piece(r, tg_str(piece.iov_base, piece.iov_len));
        tg_buf_consume(&r->body.buf, piece.iov_len);
    }
}

static void send_end(struct tg_request *r, const struct tg_fields *trailers)
{
    r->out_ended = true;
    tg_call_send_end(r->origin, trailers);
    if (r->mirror != NULL)
        tg_mirror_end(r);
}

/* Reads the client's body as long as the origin takes it. */
static void read_on(struct tg_request *r)
{
    if (r->stream != NULL && r->origin != NULL && tg_call_pending(r->origin) == 0)
        tg_unpack_read(r, true);
    if (r->origin != NULL)
        tg_call_flush(r->origin);
}

static void stream_body(struct tg_request *r)
{
    bool wait = r->in.expect_continue && !r->continue_sent && r->stream->bytes_in == 0;
    if (!wait) {
        read_on(r);
        return;
    }
    tg_call_flush(r->origin);
    if (tg_request_set_clock(r, tg_request_now(r) + CONTINUE_WAIT) != TG_OK)
        tg_proxy_continue(r);
}

static void send_request(struct tg_request *r)
{
    struct tg_fmt *f = tg_call_stage(r->origin, tg_forward_size(r));
    tg_forward_write(r, f);
    enum tg_framing framing = write_framing(r, f);
    if (r->route->mirror != NULL)
        tg_mirror_begin(r);
    tg_call_set_framing(r->origin, framing);
    if (framing == TG_FRAMING_NONE) {
        send_end(r, NULL);
    } else if (r->out.body_set) {
        send_piece(r, r->out.body);
        send_end(r, NULL);
    } else if (r->in_ended) {
        send_collected(r);
        send_end(r, NULL);
    } else {
        send_collected(r);
        stream_body(r);
    }
}

void tg_proxy_continue(struct tg_request *r)
{
    static const struct tg_fields none;
    tg_request_clear_clock(r);
    if (r->continue_sent || r->stream == NULL || r->head_sent)
        return;
    r->continue_sent = true;
    r->stream->ops->send_info(r->stream, 100, &none);
    if (r->connected)
        read_on(r);
}

void tg_proxy_body(struct tg_request *r, struct tg_str data)
{
    if (!r->connected || r->out_ended)
        return; /* the answer came early: the rest of the body has no reader */
    send_piece(r, data);
    if (tg_call_pending(r->origin) > 0)
        tg_unpack_read(r, false);
}

void tg_proxy_body_end(struct tg_request *r, const struct tg_fields *trailers)
{
    if (trailers != NULL && trailers->n > 0)
        r->replayable = false; /* they are not kept */
    if (r->connected && !r->out_ended)
        send_end(r, trailers);
}

/* A time that a plugin, else the route, else the service asks for. */
static uint64_t first_of(uint64_t plugin, uint64_t route, uint64_t service)
{
    if (plugin > 0)
        return plugin;
    return route > 0 ? route : service;
}

/* ---- Connecting --------------------------------------------------------------------------------
 */

struct tg_call_limits tg_proxy_limits(const struct tg_request *r, uint64_t started)
{
    const struct tg_limits *l = &r->snapshot->settings.limits;
    const struct tg_route_conf *route = r->route;
    return (struct tg_call_limits){
        .fields = (uint32_t)l->response_header_count,
        .head = (uint32_t)l->response_headers,
        .buffer = (uint32_t)l->connection_buffer,
        .response = first_of(r->out.response_timeout, route->response_timeout,
                             r->service->response_timeout),
        .io = first_of(r->out.io_timeout, route->io_timeout, r->service->io_timeout),
        .deadline = tg_attempt_deadline(r, started),
    };
}

static void start_exchange(struct tg_request *r)
{
    struct tg_call_limits limits = tg_proxy_limits(r, r->upstream.connect_start);
    r->connected = true;
    r->upstream.connected = tg_request_now(r);
    tg_request_set_state(r, TG_REQUEST_SENDING);
    tg_call_begin(r->origin, tg_ws_exchange_arena(r), r->out.method, &limits, &tg_proxy_events, r);
    r->origin->asks_tunnel = r->out.upgrade;
    if (r->in.method == TG_METHOD_CONNECT)
        tg_tunnel_start(r);
    else
        send_request(r);
}

static void on_connected(struct tg_call *call)
{
    struct tg_request *r = call->owner;
    const char *reason;
    enum tg_err err =
        tg_pool_note_connected(r->gate->pool, &r->origin, &r->service->policy.pool, &reason);
    if (err == TG_OK)
        start_exchange(r);
    else
        fail(r, err, reason);
}

/* Nothing was sent: there is nobody to send it to. What an earlier attempt brought is the answer.
 */
static void answer_nobody(struct tg_request *r, enum tg_err err, bool breaker)
{
    if (tg_ws_is_reopening(r))
        try_again(r);
    else if (err != TG_E_UNAVAILABLE || r->upstream.attempts > 0)
        answer_failure(r, err != TG_E_UNAVAILABLE ? err : r->upstream.error);
    else
        tg_answer_error(r, 503, breaker ? "breaker_open" : "no_healthy_target");
}

static void fail_to_lease(struct tg_request *r, enum tg_err err)
{
    tg_attempt_failed(r, err, false, false);
    log_failure(r, err, NULL);
    if (!tg_hedge_take_over(r) && !try_again(r))
        answer_failure(r, err);
}

/* How to reach a target, but for whom its connections are counted and who waits. */
static inline void reach(struct tg_request *r, const struct tg_try *try, uint64_t deadline,
                         char *room, struct tg_pool_target *target)
{
    uint64_t now = tg_request_now(r);
    uint64_t timeout =
        first_of(r->out.connect_timeout, r->route->connect_timeout, r->service->connect_timeout);
    *target = (struct tg_pool_target){
        .connect_timeout = TG_MIN(timeout, deadline > now ? deadline - now : 1),
        .careful = !tg_method_is_idempotent(r->out.method),
        .conf = &r->service->policy.pool,
        .priority = tg_request_queue_priority(r),
        .request = tg_str(r->id, sizeof(r->id)),
        .route = r->route->name,
    };
    tg_target_dress(r->service, try->balance, tg_target_at(try->balance, try->index), &r->client,
                    &r->listener->addr, target, room);
    if (TG_UNLIKELY(r->out.target_set)) {
        target->addr = &r->upstream.addr;
        target->passing = true;
        target->another = NULL;
        target->tls_name = (struct tg_str){NULL, 0};
    }
}

void tg_proxy_reach(struct tg_request *r, const struct tg_try *try, uint64_t deadline, char *room,
                    struct tg_pool_target *target)
{
    reach(r, try, deadline, room, target);
}

/* A connection for the attempt that is open, or a place in the queue for one. */
static void lease(struct tg_request *r, bool fresh)
{
    bool connected;
    struct tg_pool_target target;
    char room[TG_PROXY_HEADER_MAX];
    uint64_t deadline = tg_attempt_deadline(r, r->upstream.connect_start);
    reach(r, &r->try, deadline, room, &target);
    target.fresh = fresh || r->in.method == TG_METHOD_CONNECT;
    target.origin = r->out.target_set ? NULL : r->try.origin;
    target.waiter = &r->waiter;
    if (r->by_http1 || r->in.method == TG_METHOD_CONNECT ||
        (r->out.upgrade && !tg_ws_may_go_by_connect(r)))
        target.http = TG_ORIGIN_HTTP1;
    enum tg_err err =
        tg_pool_lease(r->gate->pool, &target, &tg_proxy_events, r, &r->origin, &connected);
    if (err == TG_E_AGAIN)
        err = tg_request_set_clock(r, TG_MIN(r->waiter.since + target.conf->wait, deadline));
    else if (err == TG_OK && connected)
        start_exchange(r);
    if (err != TG_OK)
        fail_to_lease(r, err);
}

static void on_turn(struct tg_pool_waiter *waiter)
{
    struct tg_request *r = TG_CONTAINER_OF(waiter, struct tg_request, waiter);
    tg_request_clear_clock(r);
    lease(r, false);
}

/* The names of the service have no address, or none is known in time. */
static void fail_to_resolve(struct tg_request *r)
{
    tg_target_count_failure(r->gate, TG_E_DNS, true);
    r->upstream.error = TG_E_DNS;
    answer_failure(r, TG_E_DNS);
}

static void on_names(struct tg_roster_waiter *waiter)
{
    struct tg_request *r = TG_CONTAINER_OF(waiter, struct tg_request, name_waiter);
    tg_request_clear_clock(r);
    connect_next(r, false);
}

/* As long as for a connection. */
static void wait_for_names(struct tg_request *r)
{
    uint64_t deadline = tg_request_now(r) + r->service->policy.pool.wait;
    r->name_waiter.on_ready = on_names;
    tg_roster_wait(r->vms->targets->rosters[r->service->index], &r->name_waiter);
    if (tg_request_set_clock(r, TG_MIN(deadline, r->deadline)) == TG_OK)
        return;
    tg_roster_leave(&r->name_waiter);
    answer_failure(r, TG_E_NOMEM);
}

static void connect_next(struct tg_request *r, bool same)
{
    bool breaker;
    tg_request_set_state(r, TG_REQUEST_CONNECT);
    enum tg_err err = tg_attempt_begin(r, same, &breaker);
    if (err == TG_OK)
        lease(r, same);
    else if (err == TG_E_AGAIN)
        wait_for_names(r);
    else if (err == TG_E_DNS)
        fail_to_resolve(r);
    else
        answer_nobody(r, err, breaker);
}

void tg_proxy_start(struct tg_request *r)
{
    r->waiter.on_turn = on_turn;
    if (r->route->deadline > 0)
        r->deadline = r->started + r->route->deadline;
    tg_grpc_look(r);
    if (TG_UNLIKELY(r->grpc))
        tg_grpc_start(r);
    if (TG_UNLIKELY(tg_hedge_conf_of(r)->on))
        tg_hedge_arm(r);
    connect_next(r, false);
}

void tg_proxy_reopen(struct tg_request *r)
{
    if (r->origin != NULL)
        let_go(r);
    tg_attempt_end(r);
    tg_request_clear_clock(r);
    r->out_ended = false;
    r->upstream.last = NULL; /* what is told of attempts is told of these */
    r->upstream.attempts = 0;
    connect_next(r, false);
}

/* ---- The answer --------------------------------------------------------------------------------
 */

static bool is_named(const struct tg_field *field, const void *list)
{
    return field->id != TG_FIELD_CONNECTION &&
           tg_fields_list_has(list, TG_FIELD_CONNECTION, field->name);
}

/* The origin's fields without those that its Connection names, into *out; the list itself where it
 * names none. */
static enum tg_err forwardable(const struct tg_fields *fields, struct tg_fields *out)
{
    *out = *fields;
    if (!tg_forward_names_fields(fields))
        return TG_OK;
    enum tg_err err = tg_fields_copy(fields, out);
    if (err == TG_OK)
        tg_fields_filter(out, is_named, fields);
    return err;
}

static void on_info(struct tg_call *call, const struct tg_response_head *head)
{
    struct tg_request *r = call->owner;
    struct tg_fields fields;
    if (r->stream == NULL)
        return;
    if (head->status == 100) {
        if (r->in.expect_continue)
            tg_proxy_continue(r);
        return;
    }
    if (forwardable(&head->fields, &fields) == TG_OK)
        r->stream->ops->send_info(r->stream, head->status, &fields);
}

static bool asked_for(const struct tg_request *r, const struct tg_response_head *head)
{
    return r->out.upgrade && tg_fields_find_id(&head->fields, TG_FIELD_UPGRADE) != NULL;
}

/* The answer to a handshake of ours, for a tunnel whose client has been there for long. */
static void on_head_again(struct tg_request *r, const struct tg_response_head *head)
{
    tg_attempt_answered(r, head->status);
    const char *wrong = tg_ws_check_answer(r, head);
    if (wrong != NULL) {
        log_failure(r, TG_E_PROTOCOL, wrong);
        try_again(r);
        return;
    }
    tg_request_clear_clock(r);
    tg_request_set_state(r, TG_REQUEST_TUNNEL);
    tg_call_begin_tunnel(r->origin);
    tg_ws_reopened(r);
}

/* A 101 that is not what was asked for; NULL: it is. */
static const char *check_switch(struct tg_request *r, const struct tg_response_head *head)
{
    if (!asked_for(r, head))
        return "origin: 101 that nobody asked for";
    return r->ws != NULL ? tg_ws_check_answer(r, head) : NULL;
}

static void on_head(struct tg_call *call, const struct tg_response_head *head)
{
    struct tg_request *r = call->owner;
    if (tg_ws_is_reopening(r)) {
        on_head_again(r, head);
        return;
    }
    r->upstream.status = head->status;
    r->upstream.head_at = tg_request_now(r);
    tg_metric_record(r->gate->worker->cells, TG_METRIC_HISTOGRAM_UPSTREAM,
                     r->upstream.head_at - r->upstream.connected);
    r->upstream.fields = head->fields;
    tg_request_clear_clock(r);
    tg_attempt_answered(r, TG_UNLIKELY(r->grpc) ? tg_grpc_judged(head) : head->status);
    if (TG_UNLIKELY(r->upstream.last->class == TG_RETRY_STATUS) &&
        (tg_hedge_take_over(r) || try_again(r)))
        return;
    if (r->hedge != NULL)
        tg_hedge_settle(r);
    const char *wrong = head->status == 101 ? check_switch(r, head) : NULL;
    if (wrong != NULL) {
        log_failure(r, TG_E_PROTOCOL, wrong);
        tg_answer_error(r, 502, "upstream_protocol_error");
        return;
    }
    r->source = TG_SOURCE_UPSTREAM;
    r->resp = *head;
    enum tg_err err = head->status != 101 ? forwardable(&head->fields, &r->resp.fields)
                      : r->ws != NULL     ? tg_ws_dress_answer(r)
                                          : TG_OK;
    if (err != TG_OK) {
        tg_answer_error(r, 503, "no_resources");
        return;
    }
    tg_relay_start(r);
}

static void on_body(struct tg_call *call, struct tg_str data)
{
    struct tg_request *r = call->owner;
    if (r->state == TG_REQUEST_TUNNEL)
        tg_tunnel_from_origin(r, data);
    else
        tg_relay_body(r, data);
}

static void on_end(struct tg_call *call, const struct tg_fields *trailers)
{
    struct tg_request *r = call->owner;
    if (r->state == TG_REQUEST_TUNNEL)
        tg_tunnel_origin_ended(r);
    else
        tg_relay_end(r, trailers);
}

static void on_pause(struct tg_call *call)
{
    struct tg_request *r = call->owner;
    if (r->stream != NULL && r->head_sent)
        tg_relay_flush(r);
}

static void on_drained(struct tg_call *call)
{
    struct tg_request *r = call->owner;
    if (r->state == TG_REQUEST_TUNNEL)
        tg_tunnel_origin_drained(r);
    else if (!r->out_ended && !r->in_ended)
        read_on(r);
}

const struct tg_call_events tg_proxy_events = {
    .on_connected = on_connected,
    .on_info = on_info,
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_pause = on_pause,
    .on_drained = on_drained,
    .on_failed = on_failed,
};
