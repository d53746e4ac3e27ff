/* decode.c: see decode.h.
 *
 * What the head loses (RFC 9110): Content-Encoding (8.4), byte ranges, which count coded bytes
 * (14.3), and digests of them (RFC 9530; the older Digest and Content-MD5). A strong entity tag
 * becomes a weak one (8.8.3): the content is equivalent, its bytes are not. So it does in a 304 and
 * in the answer to HEAD, which speak of the same content.
 *
 * Digests may come in trailers too; those go as well. */
#include "base/banned.h"
#include "gateway/decode.h"

#include "gateway/internal.h"

static bool is_of_coded_bytes(const struct tg_field *field, const void *arg)
{
    static const char *const names[] = {"content-encoding", "accept-ranges",  "content-md5",
                                        "digest",           "content-digest", "repr-digest"};
    (void)arg;
    for (size_t i = 0; i < TG_COUNT_OF(names); i++) {
        if (tg_str_eq_nocase(field->name, tg_str_c(names[i])))
            return true;
    }
    return false;
}

/* The only content coding of the answer; OTHER when it has none, several or an unknown one. */
static enum tg_coding only_coding(const struct tg_fields *fields)
{
    enum tg_coding coding = TG_CODING_OTHER;
    unsigned count = 0;
    if (tg_fields_find_id(fields, TG_FIELD_CONTENT_ENCODING) == NULL)
        return coding;
    for (uint32_t i = 0; i < fields->n; i++) {
        struct tg_str list = fields->v[i].value;
        struct tg_str item;
        if (fields->v[i].id != TG_FIELD_CONTENT_ENCODING)
            continue;
        for (; tg_str_next_item(&list, &item); count++)
            coding = tg_coding_of(item);
    }
    return count == 1 ? coding : TG_CODING_OTHER;
}

static enum tg_err weaken_tag(struct tg_request *r)
{
    const struct tg_field *tag = tg_fields_find(&r->resp.fields, TG_STR("etag"));
    struct tg_fmt f;
    if (tag == NULL || tg_str_starts(tag->value, TG_STR("W/")))
        return TG_OK;
    tg_fmt_init_arena(&f, &r->arena, tag->value.n + 2);
    tg_fmt_lit(&f, "W/");
    tg_fmt_add(&f, tag->value);
    struct tg_str weak = tg_fmt_str(&f);
    return weak.p != NULL ? tg_fields_set(&r->resp.fields, tag->name, weak) : TG_E_NOMEM;
}

/* The list of the origin stays as it was: plugins see it in ctx.upstream. */
static enum tg_err edit_head(struct tg_request *r)
{
    struct tg_fields own;
    enum tg_err err = tg_fields_copy(&r->resp.fields, &own);
    if (err != TG_OK)
        return err;
    r->resp.fields = own;
    if (r->resp.status != 304) {
        tg_fields_filter(&r->resp.fields, is_of_coded_bytes, NULL);
        r->resp.has_length = false;
    }
    return weaken_tag(r);
}

enum tg_err tg_decode_begin(struct tg_request *r, bool bodiless,
                            void (*again)(struct tg_task *task))
{
    const struct tg_limits *limits = &r->snapshot->settings.limits;
    enum tg_coding coding = only_coding(&r->resp.fields);
    if (!r->chains->decodes || r->resp.status == 101 || r->resp.status == 206 ||
        (coding == TG_CODING_OTHER && r->resp.status != 304))
        return TG_OK;
    enum tg_err err = edit_head(r);
    if (err != TG_OK || bodiless)
        return err;
    struct tg_decode *decode = tg_mem_alloc(TG_MEM_CONNECTION, sizeof(*decode));
    if (decode == NULL)
        return TG_E_NOMEM;
    memset(decode, 0, offsetof(struct tg_decode, out));
    decode->r = r;
    decode->opening = true;
    tg_buf_init(&decode->in, r->gate->worker->slab);
    tg_task_init(&decode->again, again);
    tg_inflate_init(&decode->inflate, coding, limits->response_decoded,
                    limits->response_decode_ratio);
    r->decode = decode;
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
    *out = trailers;
    if (trailers == NULL || trailers->n == 0)
        return TG_OK;
    *out = &decode->trailers;
    enum tg_err err = tg_fields_copy(trailers, &decode->trailers);
    if (err == TG_OK)
        tg_fields_filter(&decode->trailers, is_of_coded_bytes, NULL);
    return err;
}

enum tg_err tg_decode_next(struct tg_decode *decode)
{
    while (decode->ready == 0 && (decode->full || decode->in.size > 0)) {
        struct iovec block = {NULL, 0};
        tg_buf_iov(&decode->in, &block, 1);
        struct tg_str in = tg_str(block.iov_base, block.iov_len);
        enum tg_err err = tg_inflate_step(&decode->inflate, &in, decode->out, sizeof(decode->out),
                                          &decode->ready);
        if (err != TG_OK)
            return err;
        decode->full = decode->ready == sizeof(decode->out);
        tg_buf_consume(&decode->in, block.iov_len - in.n);
    }
    if (decode->ready > 0)
        return TG_OK;
    return decode->eof ? tg_inflate_finish(&decode->inflate) : TG_E_AGAIN;
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
    const struct tg_inflate *state = &decode->inflate;
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

void tg_decode_free(struct tg_request *r)
{
    if (r->decode == NULL)
        return;
    tg_task_cancel(&r->decode->again);
    tg_inflate_release(&r->decode->inflate);
    tg_buf_release(&r->decode->in);
    tg_mem_free(TG_MEM_CONNECTION, r->decode);
    r->decode = NULL;
}
