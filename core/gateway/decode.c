/* decode.c: see decode.h.
 *
 * What the head loses is in recode.h; it does so in a 304 and in the answer to HEAD too, which
 * speak of the same content. */
#include "base/banned.h"
#include "gateway/decode.h"

#include "gateway/internal.h"
#include "gateway/recode.h"

/* The list of the origin stays as it was: plugins see it in ctx.upstream. */
static enum tg_err edit_head(struct tg_request *r)
{
    struct tg_fields own;
    enum tg_err err = tg_fields_copy(&r->resp.fields, &own);
    if (err != TG_OK)
        return err;
    r->resp.fields = own;
    if (r->resp.status != 304) {
        tg_recode_drop(&r->resp.fields);
        r->resp.has_length = false;
    }
    return tg_recode_weaken(&r->resp.fields);
}

struct tg_decode *tg_decode_new(struct tg_request *r, enum tg_coding coding, uint64_t max,
                                uint64_t ratio, void (*again)(struct tg_task *task))
{
    struct tg_decode *decode = tg_mem_alloc(TG_MEM_DECODER, sizeof(*decode));
    if (decode == NULL)
        return NULL;
    memset(decode, 0, offsetof(struct tg_decode, out));
    decode->r = r;
    tg_buf_init(&decode->in, r->gate->worker->slab);
    tg_task_init(&decode->again, again);
    tg_decoder_init(&decode->decoder, coding, max, ratio);
    return decode;
}

enum tg_err tg_decode_begin(struct tg_request *r, bool bodiless,
                            void (*again)(struct tg_task *task))
{
    const struct tg_limits *limits = &r->snapshot->settings.limits;
    enum tg_coding coding;
    bool one = tg_coding_only(&r->resp.fields, &coding) && coding != TG_CODING_OTHER;
    if (!r->chains->decodes || r->resp.status == 101 || r->resp.status == 206 ||
        (!one && r->resp.status != 304))
        return TG_OK;
    enum tg_err err = edit_head(r);
    if (err != TG_OK || bodiless)
        return err;
    r->decode =
        tg_decode_new(r, coding, limits->response_decoded, limits->response_decode_ratio, again);
    if (r->decode == NULL)
        return TG_E_NOMEM;
    r->decode->opening = true;
    return TG_OK;
}

bool tg_decode_is_on(const struct tg_request *r)
{
    return r->decode != NULL && r->source == TG_SOURCE_UPSTREAM;
}

enum tg_err tg_decode_add(struct tg_decode *decode, struct tg_str data)
{
    return tg_buf_append(&decode->in, data.p, data.n);
}

enum tg_err tg_decode_end(struct tg_decode *decode, const struct tg_fields *trailers,
                          const struct tg_fields **out)
{
    decode->eof = true;
    return tg_recode_trailers(trailers, &decode->trailers, out);
}

enum tg_err tg_decode_next(struct tg_decode *decode)
{
    while (decode->ready == 0 && (decode->full || decode->in.size > 0)) {
        struct iovec block = {NULL, 0};
        tg_buf_iov(&decode->in, &block, 1);
        struct tg_str in = tg_str(block.iov_base, block.iov_len);
        enum tg_err err = tg_decoder_step(&decode->decoder, &in, decode->out, sizeof(decode->out),
                                          &decode->ready);
        if (err != TG_OK)
            return err;
        decode->full = decode->ready == sizeof(decode->out);
        tg_buf_consume(&decode->in, block.iov_len - in.n);
    }
    if (decode->ready > 0)
        return TG_OK;
    return decode->eof ? tg_decoder_finish(&decode->decoder) : TG_E_AGAIN;
}

bool tg_decode_waits(const struct tg_decode *decode)
{
    return decode->ready > 0 || decode->full || decode->in.size > 0;
}

struct tg_str tg_decode_take(struct tg_decode *decode)
{
    struct tg_str piece = tg_str(decode->out, decode->ready);
    decode->ready = 0;
    return piece;
}

void tg_decode_later(struct tg_decode *decode)
{
    tg_loop_defer(&decode->r->gate->worker->loop, &decode->again);
}

const char *tg_decode_failure(const struct tg_decode *decode, enum tg_err err)
{
    const struct tg_decoder *state = &decode->decoder;
    if (err == TG_E_NOMEM)
        return "no_resources";
    bool whole = state->out > state->max;
    if (err == TG_E_LIMIT && whole)
        tg_limit_hit(response_decoded);
    else if (err == TG_E_LIMIT)
        tg_limit_hit(response_decode_ratio);
    tg_log_kv(TG_LOG_WARN, "upstream",
              err != TG_E_LIMIT ? "the answer is not what its Content-Encoding says, or ends early"
              : whole           ? "decoded answer larger than limits.response.decoded"
                                : "decoded answer beyond limits.response.decode_ratio",
              tg_log_str("service", decode->r->service->name),
              tg_log_str("request", tg_str(decode->r->id, sizeof(decode->r->id))));
    return err == TG_E_LIMIT ? "response_too_large" : "upstream_bad_encoding";
}

void tg_decode_free(struct tg_decode **decode)
{
    struct tg_decode *d = *decode;
    *decode = NULL;
    if (d == NULL)
        return;
    tg_task_cancel(&d->again);
    tg_decoder_release(&d->decoder);
    tg_buf_release(&d->in);
    tg_mem_free(TG_MEM_DECODER, d);
}
