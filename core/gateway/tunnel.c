/* tunnel.c: both directions as raw bytes, after a 101 or for a CONNECT.
 *
 * Each direction has back-pressure of its own, and ends on its own: an end is passed on as an end.
 * The tunnel is over when both have ended, when one side fails, or when no byte moved for
 * limits.connection.tunnel_idle_timeout. A WebSocket that is inspected uses it as its two ends:
 * what passes is then told to ws.c instead. */
#include "base/banned.h"
#include "gateway/internal.h"
#include "gateway/ws.h"

#include "observe/metrics.h"

static void touch(struct tg_request *r)
{
    r->last_byte = tg_request_now(r);
}

static uint64_t idle_deadline(const struct tg_request *r)
{
    return r->last_byte + r->snapshot->settings.limits.tunnel_idle_timeout;
}

/* The answer to a CONNECT: this gateway's own 200. */
static void answer_connect(struct tg_request *r)
{
    r->source = TG_SOURCE_GATEWAY;
    r->resp = (struct tg_response_head){.status = 200};
    tg_fields_init(&r->resp.fields, &r->arena);
}

static void count_websocket(struct tg_request *r)
{
    const struct tg_field *upgrade = tg_fields_find_id(&r->resp.fields, TG_FIELD_UPGRADE);
    r->is_websocket = upgrade != NULL && tg_str_eq_nocase(upgrade->value, TG_STR("websocket"));
    if (r->is_websocket)
        tg_metric_inc(r->gate->worker->cells, TG_METRIC_WEBSOCKETS_OPEN);
}

void tg_tunnel_end(struct tg_request *r)
{
    if (r->is_websocket)
        tg_metric_dec(r->gate->worker->cells, TG_METRIC_WEBSOCKETS_OPEN);
    r->is_websocket = r->tunnel = false;
    tg_ws_end(r);
}

void tg_tunnel_start(struct tg_request *r)
{
    struct tg_stream *stream = r->stream;
    if (r->in.method == TG_METHOD_CONNECT)
        answer_connect(r);
    tg_request_set_state(r, TG_REQUEST_TUNNEL);
    r->head_sent = r->tunnel = true;
    r->in_ended = r->out_ended = false;
    r->head_sent_at = tg_request_now(r);
    touch(r);
    if (tg_request_set_clock(r, idle_deadline(r)) != TG_OK) {
        tg_request_break(r, "no_memory");
        return;
    }
    count_websocket(r);
    stream->ops->switch_protocols(stream, &r->resp);
    tg_call_begin_tunnel(r->origin);
    if (r->ws != NULL) {
        tg_ws_open(r);
        return;
    }
    tg_call_read(r->origin, true);
    if (r->state == TG_REQUEST_TUNNEL && r->stream != NULL)
        stream->ops->read_body(stream, true);
}

void tg_tunnel_from_client(struct tg_request *r, struct tg_str data)
{
    if (r->ws != NULL) {
        tg_ws_from_client(r, data);
        return;
    }
    touch(r);
    tg_call_send_body(r->origin, data);
    if (tg_call_pending(r->origin) > 0)
        r->stream->ops->read_body(r->stream, false);
}

void tg_tunnel_from_origin(struct tg_request *r, struct tg_str data)
{
    if (r->ws != NULL) {
        tg_ws_from_origin(r, data);
        return;
    }
    touch(r);
    r->stream->ops->send_body(r->stream, data);
    if (r->stream->ops->pending(r->stream) > 0)
        tg_call_read(r->origin, false);
}

void tg_tunnel_leave_client(struct tg_request *r)
{
    struct tg_stream *stream = r->stream;
    if (stream == NULL)
        return;
    r->bytes_received = stream->bytes_in;
    r->bytes_sent = stream->bytes_out;
    r->stream = NULL;
    stream->events = NULL;
}

void tg_tunnel_finish(struct tg_request *r)
{
    r->ended = true;
    tg_tunnel_leave_client(r);
    tg_request_finish(r);
}

void tg_tunnel_client_ended(struct tg_request *r)
{
    r->in_ended = true;
    if (r->ws != NULL) {
        tg_ws_client_ended(r);
        return;
    }
    tg_call_send_end(r->origin, NULL);
    if (r->upstream_ended)
        tg_tunnel_finish(r);
}

void tg_tunnel_origin_ended(struct tg_request *r)
{
    if (r->ws != NULL) {
        tg_ws_origin_ended(r);
        return;
    }
    r->upstream_ended = true;
    r->stream->ops->send_end(r->stream, NULL);
    if (r->in_ended)
        tg_tunnel_finish(r);
}

void tg_tunnel_origin_lost(struct tg_request *r)
{
    if (r->ws != NULL)
        tg_ws_origin_ended(r);
    else
        tg_request_break(r, "upstream_closed");
}

void tg_tunnel_client_drained(struct tg_request *r)
{
    if (r->ws != NULL) {
        tg_ws_drained(r);
        return;
    }
    touch(r);
    tg_call_read(r->origin, true);
}

void tg_tunnel_origin_drained(struct tg_request *r)
{
    if (r->ws != NULL) {
        tg_ws_drained(r);
        return;
    }
    touch(r);
    if (!r->in_ended)
        r->stream->ops->read_body(r->stream, true);
}

void tg_tunnel_to_client(struct tg_request *r, struct tg_str data)
{
    r->stream->ops->send_body(r->stream, data);
}

void tg_tunnel_to_origin(struct tg_request *r, struct tg_str data)
{
    tg_call_send_body(r->origin, data);
}

void tg_tunnel_read_client(struct tg_request *r, bool on)
{
    r->stream->ops->read_body(r->stream, on);
}

void tg_tunnel_read_origin(struct tg_request *r, bool on)
{
    tg_call_read(r->origin, on);
}

void tg_tunnel_end_client(struct tg_request *r)
{
    r->stream->ops->send_end(r->stream, NULL);
}

void tg_tunnel_end_origin(struct tg_request *r)
{
    tg_call_send_end(r->origin, NULL);
}

size_t tg_tunnel_client_pending(const struct tg_request *r)
{
    return r->stream != NULL ? r->stream->ops->pending(r->stream) : 0;
}

size_t tg_tunnel_origin_pending(const struct tg_request *r)
{
    return r->origin != NULL ? tg_call_pending(r->origin) : 0;
}

void tg_tunnel_clock(struct tg_request *r)
{
    if (r->ws != NULL) {
        tg_ws_clock(r);
        return;
    }
    if (idle_deadline(r) > tg_request_now(r)) {
        if (tg_request_set_clock(r, idle_deadline(r)) != TG_OK)
            tg_request_break(r, "no_memory");
        return;
    }
    tg_limit_hit(tunnel_idle_timeout);
    tg_request_break(r, "tunnel_idle");
}
