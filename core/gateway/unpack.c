/* unpack.c: see unpack.h. */
#include "base/banned.h"
#include "gateway/unpack.h"

#include "gateway/decode.h"
#include "gateway/internal.h"
#include "gateway/recode.h"

#include "observe/metrics.h"

#define PIECES 16 /* in one round of the loop */

struct tg_unpack {
    struct tg_decode *decode;      /* owned; NULL once all is decoded, or it failed */
    bool reading;                  /* somebody takes pieces */
    struct tg_fields own_trailers; /* without digests of coded bytes */
    const struct tg_fields *trailers;
};

/* ---- Begin -------------------------------------------------------------------------------------
 */

static bool takes(const struct tg_decompression *d, enum tg_coding coding)
{
    for (uint32_t i = 0; i < d->coding_count; i++) {
        if (d->codings[i] == coding)
            return true;
    }
    return false;
}

/* 415 with what would be taken (RFC 7694, 3). */
static enum tg_err refuse(struct tg_request *r, const struct tg_decompression *d)
{
    struct tg_fmt f;
    tg_metric_inc(r->gate->worker->cells, TG_METRIC_DECODING_REFUSED_CODING);
    if (!tg_answer_prepare(r, 415, "unsupported_encoding",
                           "the body's Content-Encoding is none that is taken here"))
        return TG_E_NOMEM;
    tg_fmt_init_arena(&f, &r->arena, 32);
    for (uint32_t i = 0; i < d->coding_count; i++) {
        tg_fmt_add(&f, i > 0 ? TG_STR(", ") : TG_STR(""));
        tg_fmt_add(&f, tg_coding_name(d->codings[i]));
    }
    struct tg_str list = tg_fmt_str(&f);
    if (list.p == NULL)
        return TG_E_NOMEM;
    return tg_fields_add(&r->resp.fields, TG_STR("Accept-Encoding"), list);
}

static void on_again(struct tg_task *task);

/* What a plugin collected before comes first. */
static void take_collected(struct tg_request *r, struct tg_decode *decode)
{
    struct tg_collected_body *b = &r->body;
    tg_buf_release(&decode->in);
    decode->in = b->buf;
    tg_buf_init(&b->buf, decode->in.slab);
    b->whole = (struct tg_str){NULL, 0};
    b->complete = b->too_large = false;
    decode->eof = r->in_ended;
    r->in_ended = false;
}

static enum tg_err open_unpack(struct tg_request *r, const struct tg_decompression *d,
                               enum tg_coding coding)
{
    const struct tg_limits *limits = &r->snapshot->settings.limits;
    struct tg_unpack *u = tg_arena_zalloc(&r->arena, sizeof(*u));
    enum tg_err err = u != NULL ? tg_forward_fields(r) : TG_E_NOMEM;
    if (err != TG_OK)
        return err;
    u->decode = tg_decode_new(r, coding, TG_MIN(d->max, limits->request_decoded),
                              limits->request_decode_ratio, on_again);
    if (u->decode == NULL)
        return TG_E_NOMEM;
    tg_recode_drop(&r->out.fields);
    take_collected(r, u->decode);
    r->unpack = u;
    tg_metric_inc(r->gate->worker->cells, TG_METRIC_DECODED);
    return TG_OK;
}

enum tg_err tg_unpack_begin(struct tg_request *r, const struct tg_decompression *decompression)
{
    enum tg_coding coding;
    bool known = tg_coding_only(&r->in.fields, &coding);
    if (r->unpack != NULL || r->in.framing == TG_FRAMING_NONE || r->stream == NULL ||
        (known && coding == TG_CODING_OTHER))
        return TG_OK;
    if (!known || !takes(decompression, coding))
        return refuse(r, decompression);
    return open_unpack(r, decompression, coding);
}

void tg_unpack_free(struct tg_request *r)
{
    if (r->unpack != NULL)
        tg_decode_free(&r->unpack->decode);
    r->unpack = NULL;
}

/* ---- Bytes -------------------------------------------------------------------------------------
 */

static const char *why_too_large(const struct tg_decoder *decoder)
{
    if (decoder->out > decoder->max) {
        tg_limit_hit(request_decoded);
        return "the decoded body is larger than is taken here";
    }
    tg_limit_hit(request_decode_ratio);
    return "the body unfolds to too many times its size";
}

static void fail(struct tg_request *r, enum tg_err err)
{
    struct tg_unpack *u = r->unpack;
    struct tg_metric_cells *cells = r->gate->worker->cells;
    const char *why = "the body is not what its Content-Encoding says, or ends early";
    unsigned status = err == TG_E_NOMEM ? 503 : err == TG_E_LIMIT ? 413 : 400;
    if (err == TG_E_LIMIT)
        why = why_too_large(&u->decode->decoder);
    tg_metric_inc(cells, err == TG_E_NOMEM   ? TG_METRIC_DECODING_REFUSED_MEMORY
                         : err == TG_E_LIMIT ? TG_METRIC_DECODING_REFUSED_SIZE
                                             : TG_METRIC_DECODING_REFUSED_DATA);
    tg_decode_free(&u->decode);
    r->stream->ops->read_body(r->stream, false);
    tg_proxy_release(r);
    if (r->head_sent)
        tg_request_break(r, "bad_request_body");
    else if (status == 503)
        tg_answer_error(r, 503, "no_resources");
    else
        tg_answer_refusal(r, status, why);
}

static void end(struct tg_request *r)
{
    tg_decode_free(&r->unpack->decode);
    tg_request_take_body_end(r, r->unpack->trailers);
}

/* Hands on pieces while somebody takes them; true: the client may be read for more. */
static bool run(struct tg_request *r)
{
    struct tg_unpack *u = r->unpack;
    for (unsigned pieces = 0; r->unpack == u && u->decode != NULL && u->reading; pieces++) {
        if (pieces == PIECES) {
            tg_decode_later(u->decode);
            return false;
        }
        enum tg_err err = tg_decode_next(u->decode);
        if (err == TG_E_AGAIN)
            return true;
        if (err != TG_OK) {
            fail(r, err);
            return false;
        }
        struct tg_str piece = tg_decode_take(u->decode);
        if (piece.n == 0) {
            end(r);
            return false;
        }
        tg_request_take_body(r, piece);
    }
    return false;
}

static void on_again(struct tg_task *task)
{
    struct tg_request *r = TG_CONTAINER_OF(task, struct tg_decode, again)->r;
    struct tg_unpack *u = r->unpack;
    if (run(r) && r->stream != NULL && r->unpack == u && u->reading)
        r->stream->ops->read_body(r->stream, true);
}

void tg_unpack_read(struct tg_request *r, bool on)
{
    struct tg_unpack *u = r->unpack;
    if (u == NULL || u->decode == NULL) {
        r->stream->ops->read_body(r->stream, on);
        return;
    }
    u->reading = on;
    if (!on)
        r->stream->ops->read_body(r->stream, false);
    else if (u->decode->eof || tg_decode_waits(u->decode))
        tg_decode_later(u->decode);
    else
        r->stream->ops->read_body(r->stream, true);
}

void tg_unpack_body(struct tg_request *r, struct tg_str data)
{
    struct tg_unpack *u = r->unpack;
    if (u->decode == NULL)
        return; /* it failed: the rest has no reader */
    if (tg_decode_add(u->decode, data) != TG_OK) {
        fail(r, TG_E_NOMEM);
        return;
    }
    if (!run(r) && r->stream != NULL && r->unpack == u && u->decode != NULL)
        r->stream->ops->read_body(r->stream, false);
}

void tg_unpack_body_end(struct tg_request *r, const struct tg_fields *trailers)
{
    struct tg_unpack *u = r->unpack;
    if (u->decode == NULL)
        return;
    u->decode->eof = true;
    if (tg_recode_trailers(trailers, &u->own_trailers, &u->trailers) != TG_OK)
        fail(r, TG_E_NOMEM);
    else
        (void)run(r); /* what waits is handed on as it is asked for */
}
