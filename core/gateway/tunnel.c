/* tunnel.c: both directions as raw bytes, after a 101 or for a CONNECT.
 *
 * Each direction has back-pressure of its own, and ends on its own: an end is passed on as an end.
 * The tunnel is over when both have ended, when one side fails, or when no byte moved for
 * limits.connection.tunnel_idle_timeout. */
#include "base/banned.h"
#include "gateway/internal.h"

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

void tg_tunnel_start(struct tg_request *r)
{
    struct tg_stream *stream = r->stream;
    if (r->in.method == TG_METHOD_CONNECT)
        answer_connect(r);
    tg_request_set_state(r, TG_REQUEST_TUNNEL);
    r->head_sent = true;
    r->in_ended = r->out_ended = false;
    r->head_sent_at = tg_request_now(r);
    touch(r);
    if (tg_request_set_clock(r, idle_deadline(r)) != TG_OK) {
        tg_request_break(r, "no_memory");
        return;
    }
    stream->ops->switch_protocols(stream, &r->resp);
    tg_call_begin_tunnel(r->origin);
    tg_call_read(r->origin, true);
    if (r->state == TG_REQUEST_TUNNEL && r->stream != NULL)
        stream->ops->read_body(stream, true);
}

void tg_tunnel_from_client(struct tg_request *r, struct tg_str data)
{
    touch(r);
    tg_call_send_body(r->origin, data);
    if (tg_call_pending(r->origin) > 0)
        r->stream->ops->read_body(r->stream, false);
}

void tg_tunnel_from_origin(struct tg_request *r, struct tg_str data)
{
    touch(r);
    r->stream->ops->send_body(r->stream, data);
    if (r->stream->ops->pending(r->stream) > 0)
        tg_call_read(r->origin, false);
}

/* Both directions have ended. */
static void finish(struct tg_request *r)
{
    struct tg_stream *stream = r->stream;
    r->ended = true;
    r->bytes_received = stream->bytes_in;
    r->bytes_sent = stream->bytes_out;
    r->stream = NULL;
    stream->events = NULL;
    tg_request_finish(r);
}

void tg_tunnel_client_ended(struct tg_request *r)
{
    r->in_ended = true;
    tg_call_send_end(r->origin, NULL);
    if (r->upstream_ended)
        finish(r);
}

void tg_tunnel_origin_ended(struct tg_request *r)
{
    r->upstream_ended = true;
    r->stream->ops->send_end(r->stream, NULL);
    if (r->in_ended)
        finish(r);
}

void tg_tunnel_client_drained(struct tg_request *r)
{
    touch(r);
    tg_call_read(r->origin, true);
}

void tg_tunnel_origin_drained(struct tg_request *r)
{
    touch(r);
    if (!r->in_ended)
        r->stream->ops->read_body(r->stream, true);
}

void tg_tunnel_clock(struct tg_request *r)
{
    if (idle_deadline(r) > tg_request_now(r)) {
        if (tg_request_set_clock(r, idle_deadline(r)) != TG_OK)
            tg_request_break(r, "no_memory");
        return;
    }
    tg_limit_hit(tunnel_idle_timeout);
    tg_request_break(r, "tunnel_idle");
}
