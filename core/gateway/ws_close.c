/* ws_close.c: how WebSockets end, and what is told of it: see ws.h. */
#include "base/banned.h"
#include "gateway/ws.h"

#include "base/json.h"
#include "gateway/internal.h"
#include "observe/metrics.h"

static const struct tg_str no_reason = {"", 0};

void tg_ws_note_close(struct tg_ws *ws, uint16_t code, const char *by)
{
    if (ws->code != 0)
        return;
    ws->code = code;
    ws->by = by;
}

void tg_ws_tell(struct tg_ws *ws, struct tg_ws_side *side, uint16_t code, struct tg_str reason)
{
    char payload[TG_WS_CONTROL_MAX];
    if (side->told != 0)
        return;
    side->told = code;
    if (side == &ws->client || tg_ws_has_origin(ws))
        tg_ws_send_control(ws, side, TG_WS_CLOSE,
                           tg_str(payload, tg_ws_write_close(payload, code, reason)));
}

void tg_ws_begin_closing(struct tg_ws *ws)
{
    struct tg_request *r = ws->r;
    if (ws->state == TG_WS_STATE_CLOSING)
        return;
    if (ws->state == TG_WS_STATE_REOPENING) { /* nobody is sought any more */
        tg_proxy_release(r);
        ws->origin.ended = ws->origin.shut = ws->origin.deaf = true;
        if (r->state != TG_REQUEST_TUNNEL)
            tg_request_set_state(r, TG_REQUEST_TUNNEL);
    }
    ws->state = TG_WS_STATE_CLOSING;
    ws->close_at = tg_request_now(r) + r->snapshot->settings.limits.websocket_close_timeout;
    if (tg_request_set_clock(r, ws->close_at) != TG_OK)
        tg_request_break(r, "no_memory");
}

static void log_close(const struct tg_ws *ws, const struct tg_ws_side *side, uint16_t code,
                      const char *reason)
{
    tg_log_kv(TG_LOG_WARN, "websocket", reason, tg_log_str("from", tg_str_c(side->name)),
              tg_log_u64("code", code), tg_log_str("route", ws->r->route->name),
              tg_log_str("request", tg_str(ws->r->id, sizeof(ws->r->id))));
}

/* `side` broke a rule: it is told which, the other that it is gone. */
void tg_ws_blame(struct tg_ws *ws, struct tg_ws_side *side, uint16_t code, const char *reason)
{
    log_close(ws, side, code, reason);
    tg_ws_note_close(ws, code, "gateway");
    tg_ws_tell(ws, side, code, tg_str_c(reason));
    tg_ws_tell(ws, tg_ws_other(ws, side),
               side == &ws->client ? TG_WS_CODE_GOING_AWAY : TG_WS_CODE_INTERNAL, no_reason);
    side->deaf = true;
    tg_ws_begin_closing(ws);
}

/* Nobody is to blame. */
void tg_ws_close_both(struct tg_ws *ws, uint16_t code, struct tg_str reason, const char *by)
{
    tg_ws_note_close(ws, code, by);
    tg_ws_tell(ws, &ws->client, code, reason);
    tg_ws_tell(ws, &ws->origin, code, reason);
    tg_ws_begin_closing(ws);
}

void tg_ws_take_close(struct tg_ws *ws, struct tg_ws_side *side)
{
    side->said = tg_ws_close_code(&ws->message);
    side->deaf = true;
    tg_ws_note_close(ws, side->said, side->name);
    if (ws->state == TG_WS_STATE_REOPENING) /* there is nobody else to answer */
        tg_ws_tell(ws, side, side->said, no_reason);
    tg_ws_tell(ws, tg_ws_other(ws, side), side->said, tg_ws_close_reason(&ws->message));
    tg_ws_begin_closing(ws);
}

/* Both have heard and said what there was: no more goes to `side`. */
void tg_ws_shut_if_done(struct tg_ws *ws, struct tg_ws_side *side)
{
    if (side->shut || side->told == 0 || !(side->deaf || side->ended))
        return;
    side->shut = true;
    if (side == &ws->client)
        tg_tunnel_end_client(ws->r);
    else
        tg_tunnel_end_origin(ws->r);
}

void tg_ws_client_lost(struct tg_request *r)
{
    struct tg_ws *ws = r->ws;
    ws->client.shut = true;
    if (ws->client.said == 0)
        tg_ws_note_close(ws, TG_WS_CODE_LOST, "client");
    if (tg_ws_has_origin(ws))
        tg_ws_tell(ws, &ws->origin, TG_WS_CODE_GOING_AWAY, TG_STR("the client is gone"));
}

void tg_ws_say_goodbye(struct tg_request *r)
{
    struct tg_ws *ws = r->ws;
    if (ws == NULL || !r->tunnel || r->stream == NULL)
        return;
    tg_ws_note_close(ws, TG_WS_CODE_GOING_AWAY, "gateway");
    tg_ws_tell(ws, &ws->client, TG_WS_CODE_GOING_AWAY, TG_STR("the gateway stops"));
    tg_ws_tell(ws, &ws->origin, TG_WS_CODE_GOING_AWAY, TG_STR("the gateway stops"));
    r->stream->ops->flush(r->stream);
}

/* ---- The end -----------------------------------------------------------------------------------
 */

static enum tg_metric_id metric_of(uint16_t code)
{
    switch (code) {
    case 1000:
        return TG_METRIC_WEBSOCKET_CLOSES_1000;
    case 1001:
        return TG_METRIC_WEBSOCKET_CLOSES_1001;
    case 1002:
        return TG_METRIC_WEBSOCKET_CLOSES_1002;
    case 1005:
        return TG_METRIC_WEBSOCKET_CLOSES_1005;
    case 1006:
        return TG_METRIC_WEBSOCKET_CLOSES_1006;
    case 1007:
        return TG_METRIC_WEBSOCKET_CLOSES_1007;
    case 1008:
        return TG_METRIC_WEBSOCKET_CLOSES_1008;
    case 1009:
        return TG_METRIC_WEBSOCKET_CLOSES_1009;
    case 1011:
        return TG_METRIC_WEBSOCKET_CLOSES_1011;
    case 1013:
        return TG_METRIC_WEBSOCKET_CLOSES_1013;
    default:
        return TG_METRIC_WEBSOCKET_CLOSES_OTHER;
    }
}

/* A member "websocket" of the access record; without memory there is none. */
static void write_record(const struct tg_ws *ws)
{
    struct tg_request *r = ws->r;
    struct tg_fmt f;
    struct tg_json j;
    tg_fmt_init_arena(&f, &r->arena, r->log_fields.n + 192);
    tg_fmt_add(&f, r->log_fields);
    tg_json_init(&j, &f);
    j.comma = r->log_fields.n > 0;
    tg_json_key(&j, TG_STR("websocket"));
    tg_json_begin_object(&j);
    tg_json_field_u64(&j, "close", ws->code);
    tg_json_field_str(&j, "by", tg_str_c(ws->by));
    tg_json_field_u64(&j, "client_messages", ws->client.messages);
    tg_json_field_u64(&j, "client_bytes", ws->client.bytes);
    tg_json_field_u64(&j, "origin_messages", ws->origin.messages);
    tg_json_field_u64(&j, "origin_bytes", ws->origin.bytes);
    tg_json_field_u64(&j, "reconnects", ws->reopens);
    tg_json_end_object(&j);
    struct tg_str text = tg_fmt_str(&f);
    if (text.p != NULL)
        r->log_fields = text;
}

void tg_ws_end(struct tg_request *r)
{
    struct tg_ws *ws = r->ws;
    if (ws == NULL)
        return;
    if (ws->state != TG_WS_STATE_WAITING) {
        tg_task_cancel(&ws->rest);
        tg_ws_note_close(ws, TG_WS_CODE_LOST, "gateway");
        tg_metric_inc(r->gate->worker->cells, metric_of(ws->code));
        tg_request_make_room(r);
        write_record(ws);
    }
    ws->state = TG_WS_STATE_WAITING;
    tg_ws_reader_release(&ws->client.reader);
    tg_ws_reader_release(&ws->origin.reader);
    tg_buf_release(&ws->client.held);
    tg_buf_release(&ws->origin.held);
    tg_buf_release(&ws->out);
    tg_buf_release(&ws->backlog);
    if (ws->has_arena)
        tg_arena_release(&ws->arena);
    ws->has_arena = false;
}
