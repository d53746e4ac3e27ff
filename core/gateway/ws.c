/* ws.c: messages from one side of a WebSocket to the other: see ws.h.
 *
 * Nothing here calls back into itself but by reading: what was read already is handed over before
 * tg_tunnel_read_*() returns. Every event therefore ends with go_on(), whose last act that is.
 */
#include "base/banned.h"
#include "gateway/ws.h"

#include "gateway/internal.h"
#include "observe/metrics.h"

#define ASKED_IN_A_ROW 32 /* messages that plugins look at before the loop has its turn */

static const struct tg_str no_reason = {"", 0};

/* Its request has not ended, by something that was done here. */
static bool is_live(const struct tg_ws *ws)
{
    return ws->r->state < TG_REQUEST_LOG;
}

/* ---- Messages ----------------------------------------------------------------------------------
 */

/* Passes on what is in hand. */
static void pass(struct tg_ws *ws, struct tg_ws_side *from)
{
    const struct tg_ws_message *m = &ws->message;
    struct tg_ws_side *to = tg_ws_other(ws, from);
    if (to == &ws->origin && ws->state == TG_WS_STATE_REOPENING &&
        ws->backlog.size + ws->run.n + m->size + TG_WS_HEAD_MAX > ws->conf->reconnect.buffer) {
        tg_ws_note_close(ws, TG_WS_CODE_TRY_LATER, "gateway");
        tg_ws_tell(ws, from, TG_WS_CODE_TRY_LATER, TG_STR("the origin is away"));
        tg_ws_begin_closing(ws);
        return;
    }
    if (m->raw.p != NULL)
        tg_ws_send_raw(ws, to, m->raw);
    else if (m->opcode >= TG_WS_CLOSE)
        tg_ws_send_control(ws, to, m->opcode, m->payload);
    else
        tg_ws_send_message(ws, to, m->opcode, &from->reader.body);
}

/* What plugins made of the message in hand. */
static void take_verdict(struct tg_ws *ws, enum tg_step step)
{
    struct tg_request *r = ws->r;
    const struct tg_plugin_message *verdict = &r->plugins.message;
    struct tg_ws_side *to = tg_ws_other(ws, ws->from);
    ws->asking = false;
    if (r->abort_wanted || (step == TG_STEP_STOP && verdict->close == 0))
        tg_request_break(r, r->error != NULL ? r->error : "aborted_by_plugin");
    else if (step == TG_STEP_STOP)
        tg_ws_close_both(ws, verdict->close,
                         verdict->reason.p != NULL ? verdict->reason : no_reason, "plugin");
    else if (!verdict->dropped && to->told == 0 && verdict->unchanged)
        pass(ws, ws->from);
    else if (!verdict->dropped && to->told == 0) {
        ws->message.size = ws->out.size;
        ws->from->reader.delivered = true;
        tg_buf_release(&ws->from->reader.body);
        struct tg_buf empty = ws->from->reader.body;
        ws->from->reader.body = ws->out;
        ws->out = empty;
        pass(ws, ws->from);
    }
    tg_buf_release(&ws->out);
}

static void ask(struct tg_ws *ws, struct tg_ws_side *from)
{
    const struct tg_buf *data = tg_ws_collect(&from->reader, &ws->message);
    if (data == NULL) {
        tg_ws_blame(ws, from, TG_WS_CODE_INTERNAL, "no memory for a message");
        return;
    }
    struct tg_plugin_message message = {
        .from_origin = from == &ws->origin,
        .text = ws->message.opcode == TG_WS_TEXT,
        .max = (size_t)from->conf->max_message,
    };
    ws->asking = true;
    ws->from = from;
    if (++ws->asked == ASKED_IN_A_ROW) {
        ws->resting = true;
        tg_loop_defer(&ws->r->gate->worker->loop, &ws->rest);
    }
    enum tg_step step = tg_plugins_message(ws->r, &message, data, &ws->out);
    if (step != TG_STEP_WAIT)
        take_verdict(ws, step);
}

static void take_data(struct tg_ws *ws, struct tg_ws_side *side)
{
    struct tg_metric_cells *cells = ws->r->gate->worker->cells;
    bool client = side == &ws->client;
    side->messages++;
    side->bytes += ws->message.size;
    ws->message_at = tg_request_now(ws->r);
    tg_metric_inc(cells, client ? TG_METRIC_WEBSOCKET_MESSAGES_CLIENT
                                : TG_METRIC_WEBSOCKET_MESSAGES_ORIGIN);
    tg_metric_add(cells,
                  client ? TG_METRIC_WEBSOCKET_BYTES_CLIENT : TG_METRIC_WEBSOCKET_BYTES_ORIGIN,
                  ws->message.size);
    if (tg_ws_other(ws, side)->told != 0)
        return; /* nobody listens any more */
    if (ws->r->chains->phase[TG_PHASE_MESSAGE].n > 0)
        ask(ws, side);
    else
        pass(ws, side);
}

static bool is_our_pong(const struct tg_ws *ws, const struct tg_ws_side *side)
{
    return side == &ws->client && ws->message.size == sizeof(ws->ping) &&
           memcmp(ws->message.payload.p, &ws->ping, sizeof(ws->ping)) == 0;
}

static void take_ping(struct tg_ws *ws, struct tg_ws_side *side)
{
    ws->message_at = tg_request_now(ws->r);
    if (tg_ws_other(ws, side)->told != 0)
        return;
    if (ws->state == TG_WS_STATE_REOPENING)
        tg_ws_send_control(ws, side, TG_WS_PONG, ws->message.payload);
    else
        pass(ws, side);
}

static void take_pong(struct tg_ws *ws, struct tg_ws_side *side)
{
    if (is_our_pong(ws, side))
        ws->pinged_at = 0;
    else if (tg_ws_other(ws, side)->told == 0 && ws->state != TG_WS_STATE_REOPENING)
        pass(ws, side);
}

/* One more message, within the rate? */
static bool is_in_rate(struct tg_ws *ws, struct tg_ws_side *side)
{
    struct tg_rate_verdict verdict;
    if (!side->conf->limited || ws->message.opcode == TG_WS_CLOSE)
        return true;
    tg_rate_step(&side->conf->rate, &side->rate, 1, tg_request_now(ws->r), &verdict);
    return verdict.allowed;
}

static void take_message(struct tg_ws *ws, struct tg_ws_side *side)
{
    if (!is_in_rate(ws, side)) {
        tg_ws_blame(ws, side, TG_WS_CODE_POLICY, "too many messages");
        return;
    }
    switch (ws->message.opcode) {
    case TG_WS_CLOSE:
        tg_ws_take_close(ws, side);
        break;
    case TG_WS_PING:
        take_ping(ws, side);
        break;
    case TG_WS_PONG:
        take_pong(ws, side);
        break;
    default:
        take_data(ws, side);
        break;
    }
}

/* ---- Bytes -------------------------------------------------------------------------------------
 */

/* The other side takes no more for now. */
static bool is_blocked(const struct tg_ws *ws, const struct tg_ws_side *to)
{
    if (to->told != 0)
        return false; /* it gets nothing any more */
    if (to == &ws->client)
        return tg_tunnel_client_pending(ws->r) > 0;
    return tg_ws_has_origin(ws) && tg_tunnel_origin_pending(ws->r) > 0;
}

/* It is answered by us while its origin is away, and does not take the answers. */
static bool is_in_debt(const struct tg_ws *ws, const struct tg_ws_side *side)
{
    return ws->state == TG_WS_STATE_REOPENING && side == &ws->client && side->told == 0 &&
           tg_tunnel_client_pending(ws->r) > 0;
}

static bool may_go_on(struct tg_ws *ws, const struct tg_ws_side *side)
{
    return is_live(ws) && !ws->asking && !ws->resting && !side->deaf &&
           !is_blocked(ws, tg_ws_other(ws, side)) && !is_in_debt(ws, side);
}

static void begin_anew(struct tg_ws *ws, struct tg_ws_side *side)
{
    side->anew = false;
    tg_ws_reader_release(&side->reader);
    tg_ws_reader_init(&side->reader, ws->r->gate->worker->slab, side == &ws->client,
                      side->conf->max_message);
}

/* Reads frames off the front of `*bytes`; what is left waits. */
static void read_frames(struct tg_ws *ws, struct tg_ws_side *side, struct tg_str *bytes)
{
    if (side->anew && !ws->asking)
        begin_anew(ws, side);
    while (bytes->n > 0 && may_go_on(ws, side)) {
        switch (tg_ws_read(&side->reader, bytes, &ws->message)) {
        case TG_WS_MORE:
            break;
        case TG_WS_MESSAGE:
            take_message(ws, side);
            break;
        case TG_WS_FAILED:
            tg_ws_blame(ws, side, side->reader.code, side->reader.reason);
            break;
        }
    }
    tg_ws_send_run(ws);
    if (side->deaf || !is_live(ws))
        *bytes = tg_str(NULL, 0);
}

static void take_bytes(struct tg_ws *ws, struct tg_ws_side *side, struct tg_str bytes)
{
    if (side->held.size == 0)
        read_frames(ws, side, &bytes);
    if (side->deaf || bytes.n == 0)
        return;
    if (tg_buf_append(&side->held, bytes.p, bytes.n) != TG_OK)
        tg_request_break(ws->r, "no_memory");
}

static void take_held(struct tg_ws *ws, struct tg_ws_side *side)
{
    while (side->held.size > 0 && may_go_on(ws, side)) {
        struct tg_str piece = tg_buf_piece(&side->held, 0);
        struct tg_str left = piece;
        read_frames(ws, side, &left);
        tg_buf_consume(&side->held, piece.n - left.n);
    }
    if (side->deaf)
        tg_buf_release(&side->held);
}

static bool wants(struct tg_ws *ws, const struct tg_ws_side *side)
{
    if (side->ended || (side == &ws->origin && ws->state == TG_WS_STATE_REOPENING))
        return false;
    return side->deaf || (side->held.size == 0 && may_go_on(ws, side));
}

static void see_to_reading(struct tg_ws *ws)
{
    bool origin = wants(ws, &ws->origin);
    if (origin != ws->origin.reading && ws->r->origin != NULL && !ws->origin.ended) {
        ws->origin.reading = origin;
        tg_tunnel_read_origin(ws->r, origin);
    }
    if (!is_live(ws))
        return;
    bool client = wants(ws, &ws->client);
    if (client != ws->client.reading && !ws->client.ended) {
        ws->client.reading = client;
        tg_tunnel_read_client(ws->r, client);
    }
}

void tg_ws_go_on(struct tg_ws *ws)
{
    if (!is_live(ws))
        return;
    take_held(ws, &ws->client);
    if (is_live(ws))
        take_held(ws, &ws->origin);
    if (!is_live(ws))
        return;
    if (ws->state == TG_WS_STATE_CLOSING) {
        tg_ws_shut_if_done(ws, &ws->client);
        tg_ws_shut_if_done(ws, &ws->origin);
        if (ws->client.ended && ws->client.shut && ws->origin.ended) {
            tg_tunnel_finish(ws->r);
            return;
        }
        if (ws->client.ended && ws->client.shut)
            tg_tunnel_leave_client(ws->r);
    }
    see_to_reading(ws);
}

/* ---- Clocks ------------------------------------------------------------------------------------
 */

static uint64_t idle_timeout(const struct tg_ws *ws)
{
    uint64_t own = ws->conf->idle_timeout;
    return own > 0 ? own : ws->r->snapshot->settings.limits.tunnel_idle_timeout;
}

/* When something is due of a WebSocket that is open. */
static uint64_t next_due(const struct tg_ws *ws)
{
    uint64_t due = ws->message_at + idle_timeout(ws);
    if (ws->conf->ping == 0)
        return due;
    uint64_t ping = ws->pinged_at != 0 ? ws->pinged_at + ws->conf->pong_timeout
                                       : ws->client_at + ws->conf->ping;
    return TG_MIN(due, ping);
}

static void ping(struct tg_ws *ws)
{
    uint64_t now = tg_request_now(ws->r);
    ws->ping = tg_rand_u64(&ws->r->gate->worker->rand);
    ws->pinged_at = now;
    tg_ws_send_control(ws, &ws->client, TG_WS_PING,
                       tg_str((const char *)&ws->ping, sizeof(ws->ping)));
}

/* Any byte of the client's is a sign of life, and while we do not read there can be none. */
static void see_to_pings(struct tg_ws *ws)
{
    uint64_t now = tg_request_now(ws->r);
    if (ws->conf->ping == 0)
        return;
    if (ws->pinged_at != 0 && !ws->client.reading)
        ws->pinged_at = now;
    if (ws->pinged_at != 0 && ws->client_at > ws->pinged_at)
        ws->pinged_at = 0;
    if (ws->pinged_at != 0 && ws->pinged_at + ws->conf->pong_timeout <= now)
        tg_ws_blame(ws, &ws->client, TG_WS_CODE_INTERNAL, "no answer to a ping");
    else if (ws->pinged_at == 0 && ws->client_at + ws->conf->ping <= now)
        ping(ws);
}

static void end_closing(struct tg_ws *ws)
{
    tg_limit_hit(websocket_close_timeout);
    if (ws->client.ended && ws->client.shut)
        tg_tunnel_finish(ws->r);
    else
        tg_request_break(ws->r, "websocket_close_timeout");
}

void tg_ws_clock(struct tg_request *r)
{
    struct tg_ws *ws = r->ws;
    uint64_t now = tg_request_now(r);
    if (ws->state == TG_WS_STATE_CLOSING) {
        end_closing(ws);
        return;
    }
    if (ws->message_at + idle_timeout(ws) <= now) {
        tg_limit_hit(tunnel_idle_timeout);
        tg_ws_close_both(ws, TG_WS_CODE_GOING_AWAY, TG_STR("idle"), "gateway");
    } else {
        see_to_pings(ws);
    }
    if (ws->state == TG_WS_STATE_OPEN && tg_request_set_clock(r, next_due(ws)) != TG_OK)
        tg_request_break(r, "no_memory");
    tg_ws_go_on(ws);
}

/* ---- Events ------------------------------------------------------------------------------------
 */

static void on_rested(struct tg_task *task)
{
    struct tg_ws *ws = TG_CONTAINER_OF(task, struct tg_ws, rest);
    ws->resting = false;
    ws->asked = 0;
    tg_ws_go_on(ws);
}

void tg_ws_open(struct tg_request *r)
{
    struct tg_ws *ws = r->ws;
    tg_task_init(&ws->rest, on_rested);
    ws->state = TG_WS_STATE_OPEN;
    ws->message_at = ws->client_at = tg_request_now(r);
    if (tg_request_set_clock(r, next_due(ws)) != TG_OK)
        tg_request_break(r, "no_memory");
    else
        tg_ws_go_on(ws);
}

void tg_ws_from_client(struct tg_request *r, struct tg_str data)
{
    r->ws->client_at = tg_request_now(r);
    take_bytes(r->ws, &r->ws->client, data);
    tg_ws_go_on(r->ws);
}

void tg_ws_from_origin(struct tg_request *r, struct tg_str data)
{
    take_bytes(r->ws, &r->ws->origin, data);
    tg_ws_go_on(r->ws);
}

void tg_ws_asked(struct tg_request *r, enum tg_step step)
{
    take_verdict(r->ws, step);
    tg_ws_go_on(r->ws);
}

void tg_ws_drained(struct tg_request *r)
{
    tg_ws_go_on(r->ws);
}

/* `side` has ended; without a close frame that was not to be expected. */
static void end_side(struct tg_ws *ws, struct tg_ws_side *side)
{
    struct tg_ws_side *to = tg_ws_other(ws, side);
    side->ended = side->deaf = true;
    if (side->told == 0)
        side->told = TG_WS_CODE_LOST; /* nothing is left to say to it */
    if (side->said == 0)
        tg_ws_note_close(ws, TG_WS_CODE_LOST, side->name);
    if (to->said != 0)
        tg_ws_tell(ws, to, to->said, no_reason);
    else if (side == &ws->client)
        tg_ws_tell(ws, to, TG_WS_CODE_GOING_AWAY, TG_STR("the client is gone"));
    else
        tg_ws_tell(ws, to, TG_WS_CODE_INTERNAL, TG_STR("the origin is gone"));
    tg_ws_begin_closing(ws);
    tg_ws_go_on(ws);
}

void tg_ws_client_ended(struct tg_request *r)
{
    end_side(r->ws, &r->ws->client);
}

void tg_ws_origin_ended(struct tg_request *r)
{
    struct tg_ws *ws = r->ws;
    if (ws->origin.said == 0 && tg_ws_reopen(ws)) {
        tg_ws_go_on(ws); /* a client that waited for the origin to take more waits no longer */
        return;
    }
    if (r->origin == NULL)
        ws->origin.shut = true;
    end_side(ws, &ws->origin);
}
