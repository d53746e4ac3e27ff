/* exchange.c: what a client's stream tells, passed on to the file that is at work: collecting for a
 * plugin, unpack.c, proxy.c, relay.c or tunnel.c. The same for every protocol that carries streams.
 */
#include "base/banned.h"
#include "gateway/internal.h"
#include "gateway/unpack.h"
#include "gateway/ws.h"

#include "base/assert.h"

static struct tg_request *request_of(struct tg_stream *stream)
{
    struct tg_request *r = stream->owner;
    tg_magic_check(r, TG_REQUEST_MAGIC);
    return r;
}

/* The body that a plugin waits for is there, or the next piece of it, or it is too large. */
static void wake_collector(struct tg_request *r)
{
    r->body.wanted = false;
    enum tg_phase phase = r->plugins.phase;
    tg_request_step(r, phase, tg_plugins_resume(r));
}

static void collect(struct tg_request *r, struct tg_str data)
{
    if (tg_buf_append(&r->body.buf, data.p, data.n) != TG_OK || r->body.buf.size > r->body.max) {
        r->body.too_large = true;
    } else if (!r->body.piecewise) {
        return;
    }
    tg_unpack_read(r, false);
    wake_collector(r);
}

void tg_request_take_body(struct tg_request *r, struct tg_str data)
{
    if (r->body.wanted)
        collect(r, data);
    else
        tg_proxy_body(r, data);
}

static void on_body(struct tg_stream *stream, struct tg_str data)
{
    struct tg_request *r = request_of(stream);
    if (r->tunnel)
        tg_tunnel_from_client(r, data);
    else if (r->unpack != NULL)
        tg_unpack_body(r, data);
    else
        tg_request_take_body(r, data);
}

void tg_request_take_body_end(struct tg_request *r, const struct tg_fields *trailers)
{
    r->in_ended = true;
    if (!r->body.wanted) {
        tg_proxy_body_end(r, trailers);
        return;
    }
    r->body.complete = true;
    wake_collector(r);
}

static void on_body_end(struct tg_stream *stream, const struct tg_fields *trailers)
{
    struct tg_request *r = request_of(stream);
    if (r->tunnel)
        tg_tunnel_client_ended(r);
    else if (r->unpack != NULL)
        tg_unpack_body_end(r, trailers);
    else
        tg_request_take_body_end(r, trailers);
}

static void on_drained(struct tg_stream *stream)
{
    struct tg_request *r = request_of(stream);
    if (r->tunnel)
        tg_tunnel_client_drained(r);
    else
        tg_relay_drained(r);
}

static const char *reason_of(enum tg_err err)
{
    if (err == TG_E_TIMEOUT)
        return "client_timeout";
    return err == TG_E_PROTOCOL ? "bad_request" : "client_closed";
}

static void on_aborted(struct tg_stream *stream, enum tg_err err, unsigned status)
{
    struct tg_request *r = request_of(stream);
    if (r->tunnel && r->ws != NULL)
        tg_ws_client_lost(r);
    tg_proxy_release(r);
    if (status != 0 && !r->head_sent) {
        tg_answer_refusal(r, status, NULL);
        return;
    }
    r->bytes_received = stream->bytes_in;
    r->bytes_sent = stream->bytes_out;
    r->aborted = true;
    r->stream = NULL;
    if (r->error == NULL)
        r->error = reason_of(err);
    tg_request_finish(r);
}

const struct tg_stream_events tg_exchange_events = {
    .on_body = on_body,
    .on_body_end = on_body_end,
    .on_drained = on_drained,
    .on_aborted = on_aborted,
};
