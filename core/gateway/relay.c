/* relay.c: the answer on its way to the client: edits, header filters, body filters, the stream.
 *
 *   origin or gateway -> r->resp -> [header_filter] -> head -> [body_filter] -> [encode] -> body
 *
 * Back-pressure: while the client has not taken what was sent, or a filter waits, the origin is not
 * read. What arrives in the same breath is kept in r->held, at most one read buffer of it, unless a
 * plugin asked for the whole body (ctx.resp:buffer), which has a limit of its own.
 *
 * A body that is decoded on the way (decode.h) takes a turn before the filters: its head waits for
 * the first piece, so that what is no gzip at all is answered with 502; coded bytes are unfolded
 * only as fast as filters and client take the pieces, and DECODE_PIECES of them in a round of the
 * loop.
 *
 * What is compressed (encode.h) is so behind all filters, a slice in a round of the loop. While as
 * much waits for its turn, the answer is held as if the client had not taken it. */
#include "base/banned.h"
#include "gateway/decode.h"
#include "gateway/encode.h"
#include "gateway/grpc.h"
#include "gateway/internal.h"

#define DECODE_PIECES 16

static void on_decode_again(struct tg_task *task);
static void on_encode_again(struct tg_task *task);

static bool has_filters(const struct tg_request *r)
{
    return r->chains->phase[TG_PHASE_BODY_FILTER].n > 0;
}

static bool is_bodiless(const struct tg_request *r)
{
    unsigned status = r->resp.status;
    return r->in.method == TG_METHOD_HEAD || status < 200 || status == 204 || status == 304;
}

/* ---- The head ----------------------------------------------------------------------------------
 */

static void start(struct tg_request *r)
{
    tg_request_set_state(r, TG_REQUEST_HEADER_FILTER);
    if (tg_edit_apply(r) != TG_OK) {
        tg_request_break(r, "no_memory");
        return;
    }
    bool some = r->chains->phase[TG_PHASE_HEADER_FILTER].n > 0;
    if (some && r->origin != NULL)
        tg_call_read(r->origin, false); /* bytes wait while a filter may */
    tg_request_step(r, TG_PHASE_HEADER_FILTER,
                    some ? tg_plugins_run(r, TG_PHASE_HEADER_FILTER) : TG_STEP_NEXT);
}

void tg_relay_start(struct tg_request *r)
{
    if (r->source == TG_SOURCE_UPSTREAM &&
        tg_decode_begin(r, is_bodiless(r), on_decode_again) != TG_OK) {
        tg_answer_error(r, 503, "no_resources");
        return;
    }
    if (!tg_decode_is_on(r))
        start(r);
}

/* ---- Compression -------------------------------------------------------------------------------
 */

static void send_body(struct tg_request *r, struct tg_str data)
{
    if (r->encode != NULL)
        tg_encode_add(r->encode, data);
    else
        r->stream->ops->send_body(r->stream, data);
}

/* What is gathered to be compressed is flushed when it has been. */
void tg_relay_flush(struct tg_request *r)
{
    if (r->encode == NULL || r->encode->in.size == 0)
        r->stream->ops->flush(r->stream);
}

/* Is there more on its way to the client than it takes? */
static bool is_held(const struct tg_request *r)
{
    if (r->stream == NULL)
        return false;
    return r->stream->ops->pending(r->stream) > 0 ||
           (r->encode != NULL && tg_encode_is_full(r->encode));
}

static void end_response(struct tg_request *r)
{
    struct tg_stream *stream = r->stream;
    if (r->encode != NULL && !tg_encode_end(r->encode))
        return; /* the rest has its turn in the next round */
    if (r->encode != NULL && tg_encode_trailers(r->encode, &r->resp_trailers) != TG_OK) {
        tg_request_break(r, "no_memory");
        return;
    }
    r->ended = true;
    if (TG_UNLIKELY(r->grpc))
        tg_grpc_note(r);
    r->bytes_received = stream->bytes_in;
    stream->ops->send_end(stream, r->resp_trailers);
    r->bytes_sent = stream->bytes_out;
    r->stream = NULL;
    tg_request_finish(r);
}

/* Filters may change the length: it is not known any more, for an answer to HEAD neither (RFC 9110,
 * 8.6: it tells the length that GET would bring, or none). */
static void choose_framing(struct tg_request *r)
{
    bool changes = has_filters(r) || r->encode != NULL;
    if (is_bodiless(r))
        r->resp.framing = TG_FRAMING_NONE;
    else if (changes)
        r->resp.framing = TG_FRAMING_CHUNKED;
    r->resp.has_length &= !changes;
}

static void send_own_body(struct tg_request *r)
{
    if (!is_bodiless(r) && (r->resp_body.n > 0 || has_filters(r)))
        tg_relay_body(r, r->resp_body);
    if (r->state == TG_REQUEST_RELAY)
        tg_relay_end(r, NULL);
}

/* RFC 9110, 6.6.1: who forwards an answer without a date gives it one. */
static enum tg_err add_date(struct tg_request *r)
{
    if (tg_fields_find_id(&r->resp.fields, TG_FIELD_DATE) != NULL)
        return TG_OK;
    return tg_fields_add(&r->resp.fields, TG_STR("Date"), tg_gate_date(r->gate));
}

/* What the gateway itself says in every head. */
static enum tg_err add_own_fields(struct tg_request *r)
{
    enum tg_err err = add_date(r);
    if (err == TG_OK && r->listener->hsts.n > 0 && r->tls != NULL)
        err =
            tg_fields_set(&r->resp.fields, TG_STR("Strict-Transport-Security"), r->listener->hsts);
    return err;
}

static void log_too_large(const struct tg_request *r)
{
    tg_log_kv(TG_LOG_WARN, "plugin", "response larger than ctx.resp:buffer allows",
              tg_log_str("request", tg_str(r->id, sizeof(r->id))));
}

/* Whether the origin says beforehand that its answer is longer than what a plugin will buffer. */
static bool is_too_large(const struct tg_request *r)
{
    return r->filter_buffers && r->source == TG_SOURCE_UPSTREAM && r->resp.has_length &&
           r->resp.length > r->filter_max && has_filters(r) && !is_bodiless(r) &&
           !tg_decode_is_on(r);
}

/* An error in its place, which the filters get whole. False: no memory. */
static bool refuse_too_large(struct tg_request *r)
{
    log_too_large(r);
    if (!tg_answer_prepare(r, 502, "response_too_large", NULL))
        return false;
    r->filter_max = TG_MAX(r->filter_max, r->resp_body.n);
    return true;
}

void tg_relay_send(struct tg_request *r)
{
    struct tg_stream *stream = r->stream;
    if (stream == NULL) {
        tg_request_finish(r);
        return;
    }
    if (r->resp.status == 101) {
        tg_tunnel_start(r);
        return;
    }
    if (is_too_large(r) && !refuse_too_large(r)) {
        tg_request_break(r, "no_memory");
        return;
    }
    bool from_origin = r->source == TG_SOURCE_UPSTREAM;
    if (add_own_fields(r) != TG_OK || (!from_origin && tg_grpc_answer(r) != TG_OK) ||
        tg_encode_begin(r, is_bodiless(r), on_encode_again) != TG_OK) {
        tg_request_break(r, "no_memory");
        return;
    }
    if (!from_origin)
        tg_proxy_release(r); /* a plugin or an error took the origin's place */
    choose_framing(r);
    tg_request_set_state(r, TG_REQUEST_RELAY);
    r->head_sent = true;
    r->head_sent_at = tg_request_now(r);
    stream->ops->send_head(stream, &r->resp);
    if (!from_origin) {
        send_own_body(r);
        return;
    }
    if (tg_decode_is_on(r)) {
        tg_relay_drained(r);
        return;
    }
    if (r->upstream_ended) {
        tg_relay_end(r, r->resp_trailers);
        return;
    }
    if (r->chains->phase[TG_PHASE_HEADER_FILTER].n > 0)
        tg_call_read(r->origin, true);
}

/* ---- The body ----------------------------------------------------------------------------------
 */

static void hold_origin(struct tg_request *r)
{
    if (r->origin != NULL && !r->upstream_ended)
        tg_call_read(r->origin, false);
}

static void send_filtered(struct tg_request *r)
{
    struct iovec piece;
    while (r->filtered.size > 0) {
        tg_buf_iov(&r->filtered, &piece, 1);
        send_body(r, tg_str(piece.iov_base, piece.iov_len));
        tg_buf_consume(&r->filtered, piece.iov_len);
    }
}

/* Takes a step of the filters for what it says; true when more may be filtered. */
static bool take_step(struct tg_request *r, enum tg_step step, bool eof)
{
    if (step == TG_STEP_STOP || r->abort_wanted) {
        tg_request_break(r, r->error != NULL ? r->error : "aborted_by_plugin");
        return false;
    }
    if (step == TG_STEP_WAIT) {
        hold_origin(r);
        return false;
    }
    send_filtered(r);
    if (eof)
        end_response(r);
    return !eof;
}

/* Filters the held bytes block by block; false when one waits or the response is over. */
static bool filter_held(struct tg_request *r)
{
    while (r->held.size > 0 || r->held_eof) {
        struct iovec piece = {NULL, 0};
        tg_buf_iov(&r->held, &piece, 1);
        bool eof = r->held_eof && piece.iov_len == r->held.size;
        if (eof)
            r->held_eof = false;
        enum tg_step step =
            tg_plugins_filter(r, tg_str(piece.iov_base, piece.iov_len), eof, &r->filtered);
        tg_buf_consume(&r->held, piece.iov_len);
        if (!take_step(r, step, eof))
            return false;
    }
    return true;
}

/* All of the held bytes in one call. */
static void filter_whole(struct tg_request *r)
{
    size_t n = r->held.size;
    char *whole = tg_mem_alloc(TG_MEM_CONNECTION, n);
    if (whole == NULL) {
        tg_request_break(r, "no_memory");
        return;
    }
    tg_buf_copy_out(&r->held, whole);
    tg_buf_release(&r->held);
    r->held_eof = false;
    enum tg_step step = tg_plugins_filter(r, tg_str(whole, n), true, &r->filtered);
    tg_mem_free(TG_MEM_CONNECTION, whole);
    take_step(r, step, true);
}

static void filter(struct tg_request *r, struct tg_str data, bool eof)
{
    if (r->plugins.active || r->filter_buffers || r->held.size > 0) {
        if (data.n > 0 && tg_buf_append(&r->held, data.p, data.n) != TG_OK) {
            tg_request_break(r, "no_memory");
            return;
        }
        r->held_eof = eof;
        if (r->filter_buffers && r->held.size > r->filter_max) {
            log_too_large(r);
            tg_request_break(r, "response_too_large");
            return;
        }
        if (r->filter_buffers && eof && !r->plugins.active)
            filter_whole(r);
        return;
    }
    take_step(r, tg_plugins_filter(r, data, eof, &r->filtered), eof);
}

/* ---- Decoding ----------------------------------------------------------------------------------
 */

static void fail_decoding(struct tg_request *r, enum tg_err err)
{
    const char *code = tg_decode_failure(r->decode, err);
    if (r->head_sent)
        tg_request_break(r, code);
    else
        tg_answer_error(r, err == TG_E_NOMEM ? 503 : 502, code);
}

/* The first piece, or an end without any, lets the head go. */
static void open_decoded(struct tg_request *r)
{
    enum tg_err err = tg_decode_next(r->decode);
    if (err == TG_E_AGAIN)
        return;
    if (err != TG_OK) {
        fail_decoding(r, err);
        return;
    }
    r->decode->opening = false;
    start(r);
}

static bool may_filter(const struct tg_request *r)
{
    return r->state == TG_REQUEST_RELAY && !r->plugins.active && !is_held(r);
}

/* Filters decoded pieces as long as somebody takes them. */
static void filter_decoded(struct tg_request *r)
{
    for (unsigned pieces = 0; may_filter(r); pieces++) {
        if (pieces == DECODE_PIECES) {
            tg_decode_later(r->decode);
            break;
        }
        enum tg_err err = tg_decode_next(r->decode);
        if (err == TG_E_AGAIN)
            return;
        if (err != TG_OK) {
            fail_decoding(r, err);
            return;
        }
        struct tg_str piece = tg_decode_take(r->decode);
        filter(r, piece, piece.n == 0);
        if (piece.n == 0)
            return;
    }
    if (r->state == TG_REQUEST_RELAY)
        hold_origin(r);
}

static void decode(struct tg_request *r)
{
    if (r->decode->opening)
        open_decoded(r);
    else
        filter_decoded(r);
}

static void on_decode_again(struct tg_task *task)
{
    struct tg_request *r = TG_CONTAINER_OF(task, struct tg_decode, again)->r;
    tg_relay_drained(r);
}

/* Decodes what waited; true when the origin may be read on. */
static bool decode_more(struct tg_request *r)
{
    filter_decoded(r);
    if (r->state != TG_REQUEST_RELAY)
        return false;
    tg_relay_flush(r);
    return r->state == TG_REQUEST_RELAY && !tg_decode_waits(r->decode);
}

/* ---- What the origin sends ---------------------------------------------------------------------
 */

void tg_relay_body(struct tg_request *r, struct tg_str data)
{
    if (tg_decode_is_on(r)) {
        if (tg_decode_add(r->decode, data) == TG_OK)
            decode(r);
        else
            fail_decoding(r, TG_E_NOMEM);
        return;
    }
    if (has_filters(r) && !is_bodiless(r)) {
        filter(r, data, false);
    } else {
        send_body(r, data);
    }
    if (is_held(r))
        hold_origin(r);
}

void tg_relay_end(struct tg_request *r, const struct tg_fields *trailers)
{
    r->upstream_ended = true;
    r->resp_trailers = trailers;
    if (tg_decode_is_on(r)) {
        if (tg_decode_end(r->decode, trailers, &r->resp_trailers) == TG_OK)
            decode(r);
        else
            fail_decoding(r, TG_E_NOMEM);
        return;
    }
    if (r->state != TG_REQUEST_RELAY)
        return; /* a header filter waits: tg_relay_send() comes back to it */
    if (has_filters(r) && !is_bodiless(r))
        filter(r, TG_STR(""), true);
    else
        end_response(r);
}

void tg_relay_filtered(struct tg_request *r)
{
    bool eof = r->plugins.chunk_eof;
    if (!take_step(r, TG_STEP_NEXT, eof) || !filter_held(r))
        return;
    tg_relay_flush(r);
    tg_relay_drained(r);
}

/* The turn of what waits to be compressed, once the client has taken what was sent. */
static void on_encode_again(struct tg_task *task)
{
    struct tg_encode *encode = TG_CONTAINER_OF(task, struct tg_encode, again);
    struct tg_request *r = encode->r;
    bool through = false;
    if (!encode->failed && r->stream->ops->pending(r->stream) == 0)
        through = tg_encode_go_on(encode);
    if (encode->failed) {
        tg_request_break(r, "no_memory");
    } else if (through && encode->eof) {
        end_response(r);
    } else if (through) {
        r->stream->ops->flush(r->stream);
        tg_relay_drained(r);
    }
}

void tg_relay_drained(struct tg_request *r)
{
    if (r->encode != NULL && (r->encode->in.size > 0 || r->encode->eof))
        tg_encode_later(r->encode);
    if (r->state == TG_REQUEST_RELAY && tg_decode_is_on(r) && !decode_more(r))
        return;
    bool waits = r->plugins.active || is_held(r);
    if (r->state == TG_REQUEST_RELAY && r->origin != NULL && !r->upstream_ended && !waits)
        tg_call_read(r->origin, true);
}
