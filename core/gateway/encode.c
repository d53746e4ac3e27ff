/* encode.c: see encode.h.
 *
 * Never compressed: what has a coding already, parts (206, Content-Range), answers that have no
 * body by their status, and what either side says no-transform of (RFC 9110, 7.7). Beyond that the
 * type and the size decide, unless the client refuses bodies without a coding.
 *
 * Vary names Accept-Encoding wherever the choice was the client's, also for who gets it plain; and
 * so do the answers to HEAD and a 304, which speak of the same content. */
#include "base/banned.h"
#include "gateway/encode.h"

#include "gateway/internal.h"
#include "gateway/recode.h"

#include "observe/metrics.h"

#define SLICE 32768 /* bytes compressed in one round of the loop; twice that at the end */

/* ---- Whether ------------------------------------------------------------------------------------
 */

static bool fits(struct tg_str pattern, struct tg_str type)
{
    size_t n = pattern.n;
    if (n > 0 && pattern.p[0] == '+')
        return type.n > n && tg_str_eq_nocase(tg_str_sub(type, type.n - n, type.n), pattern);
    if (n > 1 && pattern.p[n - 1] == '*')
        return n == 3 && pattern.p[0] == '*'
                   ? type.n > 0
                   : tg_str_eq_nocase(tg_str_sub(type, 0, n - 1), tg_str_sub(pattern, 0, n - 1));
    return tg_str_eq_nocase(type, pattern);
}

bool tg_compression_takes(const struct tg_compression *compression, struct tg_str type)
{
    type = tg_str_trim(tg_str_sub(type, 0, tg_str_find(type, ';', 0)));
    for (uint32_t i = 0; i < compression->type_count; i++) {
        if (fits(compression->types[i], type))
            return true;
    }
    return false;
}

static bool is_forbidden(const struct tg_request *r)
{
    const struct tg_fields *fields = &r->resp.fields;
    enum tg_coding coding;
    unsigned status = r->resp.status;
    return status < 200 || status == 204 || status == 205 || status == 206 ||
           (r->resp.has_length && r->resp.length == 0 && status != 304) ||
           !tg_coding_only(fields, &coding) || coding != TG_CODING_OTHER ||
           tg_fields_find_id(fields, TG_FIELD_CONTENT_RANGE) != NULL ||
           tg_fields_list_has(fields, TG_FIELD_CACHE_CONTROL, TG_STR("no-transform")) ||
           tg_fields_list_has(&r->in.fields, TG_FIELD_CACHE_CONTROL, TG_STR("no-transform"));
}

static bool is_worth_while(const struct tg_request *r)
{
    const struct tg_field *type = tg_fields_find_id(&r->resp.fields, TG_FIELD_CONTENT_TYPE);
    if (r->resp.status == 304) /* nothing is known; the size belongs to what the client has */
        return type == NULL || tg_compression_takes(r->compression, type->value);
    if (r->resp.has_length && r->resp.length < r->compression->min_size)
        return false;
    return type != NULL && tg_compression_takes(r->compression, type->value);
}

/* ---- The head -----------------------------------------------------------------------------------
 */

static enum tg_err vary(struct tg_fields *fields)
{
    const struct tg_field *old = tg_fields_find_id(fields, TG_FIELD_VARY);
    struct tg_fmt f;
    if (tg_fields_list_has(fields, TG_FIELD_VARY, TG_STR("accept-encoding")) ||
        tg_fields_list_has(fields, TG_FIELD_VARY, TG_STR("*")))
        return TG_OK;
    if (old == NULL || old->value.n == 0)
        return tg_fields_add(fields, TG_STR("Vary"), TG_STR("Accept-Encoding"));
    tg_fmt_init_arena(&f, fields->arena, old->value.n + 20);
    tg_fmt_add(&f, old->value);
    tg_fmt_lit(&f, ", Accept-Encoding");
    struct tg_str joined = tg_fmt_str(&f);
    if (joined.p == NULL)
        return TG_E_NOMEM;
    fields->v[old - fields->v].value = joined;
    return TG_OK;
}

static enum tg_err edit_head(struct tg_request *r, enum tg_coding coding)
{
    struct tg_fields *fields = &r->resp.fields;
    if (r->resp.status != 304) {
        tg_recode_drop(fields);
        r->resp.has_length = false;
        enum tg_err err = tg_fields_add(fields, TG_STR("Content-Encoding"), tg_coding_name(coding));
        if (err != TG_OK)
            return err;
    }
    return tg_recode_weaken(fields);
}

/* ---- Begin and end ------------------------------------------------------------------------------
 */

static void count_skipped(struct tg_request *r, enum tg_err err)
{
    tg_metric_inc(r->gate->worker->cells, err == TG_E_LIMIT ? TG_METRIC_COMPRESSION_SKIPPED_FULL
                                                            : TG_METRIC_COMPRESSION_SKIPPED_MEMORY);
}

/* Makes r->encode; without one where there are enough, or no memory is left. */
static void open_encode(struct tg_request *r, enum tg_coding coding,
                        void (*again)(struct tg_task *task))
{
    struct tg_encoder_pool *pool = &r->gate->encoders;
    struct tg_encoder *encoder;
    if (pool->leased >= r->snapshot->settings.limits.response_encoders) {
        tg_limit_hit(response_encoders);
        count_skipped(r, TG_E_LIMIT);
        return;
    }
    enum tg_err err = tg_encoder_lease(pool, coding, r->compression->levels[coding], &encoder);
    struct tg_encode *encode = NULL;
    if (err == TG_OK)
        encode = tg_mem_alloc(TG_MEM_CONNECTION, sizeof(*encode));
    if (encode == NULL) {
        count_skipped(r, err);
        tg_encoder_return(pool, &encoder);
        return;
    }
    memset(encode, 0, offsetof(struct tg_encode, out));
    encode->r = r;
    encode->encoder = encoder;
    tg_buf_init(&encode->in, r->gate->worker->slab);
    tg_task_init(&encode->again, again);
    tg_limit_note(response_encoders, pool->leased);
    tg_metric_inc(r->gate->worker->cells, coding == TG_CODING_GZIP ? TG_METRIC_COMPRESSED_GZIP
                                          : coding == TG_CODING_BR ? TG_METRIC_COMPRESSED_BR
                                                                   : TG_METRIC_COMPRESSED_ZSTD);
    r->encode = encode;
}

enum tg_err tg_encode_begin(struct tg_request *r, bool bodiless,
                            void (*again)(struct tg_task *task))
{
    const struct tg_compression *c = r->compression;
    if (TG_LIKELY(c == NULL) || is_forbidden(r))
        return TG_OK;
    struct tg_coding_wish wish = tg_coding_choose(&r->in.fields, c->codings, c->coding_count);
    if (!is_worth_while(r) && !wish.not_identity)
        return TG_OK;
    struct tg_fields own;
    enum tg_err err = tg_fields_copy(&r->resp.fields, &own); /* the origin's list stays as it was */
    if (err != TG_OK)
        return err;
    r->resp.fields = own;
    err = vary(&r->resp.fields);
    if (err != TG_OK || wish.coding == TG_CODING_OTHER)
        return err;
    if (!bodiless)
        open_encode(r, wish.coding, again);
    if (!bodiless && r->encode == NULL)
        return TG_OK;
    return edit_head(r, wish.coding);
}

void tg_encode_free(struct tg_request *r)
{
    struct tg_encode *encode = r->encode;
    struct tg_metric_cells *cells = r->gate->worker->cells;
    if (encode == NULL)
        return;
    r->encode = NULL;
    tg_metric_add(cells, TG_METRIC_COMPRESSION_IN, encode->taken);
    tg_metric_add(cells, TG_METRIC_COMPRESSION_OUT, encode->made);
    tg_task_cancel(&encode->again);
    tg_encoder_return(&r->gate->encoders, &encode->encoder);
    tg_limit_note(response_encoders, r->gate->encoders.leased);
    tg_buf_release(&encode->in);
    tg_mem_free(TG_MEM_CONNECTION, encode);
}

/* ---- Bytes --------------------------------------------------------------------------------------
 */

static void fail(struct tg_encode *encode)
{
    encode->failed = true;
    tg_buf_release(&encode->in);
    tg_encode_later(encode);
}

static void hand_on(struct tg_encode *encode)
{
    struct tg_stream *stream = encode->r->stream;
    size_t n = encode->held;
    encode->held = 0;
    encode->made += n;
    if (n > 0)
        stream->ops->send_body(stream, tg_str(encode->out, n));
}

static void run(struct tg_encode *encode, enum tg_encoder_op op, struct tg_str data)
{
    bool more = true;
    encode->taken += data.n;
    while (more && !encode->failed) {
        size_t n;
        if (sizeof(encode->out) - encode->held < TG_ENCODER_ROOM_MIN)
            hand_on(encode);
        if (tg_encoder_step(encode->encoder, op, &data, encode->out + encode->held,
                            sizeof(encode->out) - encode->held, &n, &more) != TG_OK)
            fail(encode);
        else
            encode->held += n;
    }
    if (op != TG_ENCODER_MORE && !encode->failed)
        hand_on(encode);
}

void tg_encode_later(struct tg_encode *encode)
{
    tg_loop_defer(&encode->r->gate->worker->loop, &encode->again);
}

bool tg_encode_is_full(const struct tg_encode *encode)
{
    return encode->in.size >= SLICE;
}

void tg_encode_add(struct tg_encode *encode, struct tg_str data)
{
    if (encode->failed || data.n == 0)
        return;
    encode->patient = false;
    if (tg_buf_append(&encode->in, data.p, data.n) != TG_OK)
        fail(encode);
    else
        tg_encode_later(encode);
}

/* Compresses `n` bytes of what waits, or as many as there are. */
static void run_slice(struct tg_encode *encode, size_t n)
{
    while (n > 0 && encode->in.size > 0 && !encode->failed) {
        struct iovec block = {NULL, 0};
        tg_buf_iov(&encode->in, &block, 1);
        size_t piece = TG_MIN(block.iov_len, n);
        run(encode, TG_ENCODER_MORE, tg_str(block.iov_base, piece));
        if (!encode->failed)
            tg_buf_consume(&encode->in, piece);
        n -= piece;
    }
}

bool tg_encode_go_on(struct tg_encode *encode)
{
    if (!encode->patient && !encode->eof && !tg_encode_is_full(encode)) {
        encode->patient = true;
        tg_encode_later(encode);
        return false;
    }
    run_slice(encode, SLICE);
    if (encode->failed)
        return false;
    if (encode->in.size > 0) {
        tg_encode_later(encode);
        return false;
    }
    if (!encode->eof)
        run(encode, TG_ENCODER_FLUSH, TG_STR(""));
    return !encode->failed;
}

bool tg_encode_end(struct tg_encode *encode)
{
    struct tg_stream *stream = encode->r->stream;
    encode->eof = true;
    if (encode->failed || encode->in.size > 2 * SLICE || stream->ops->pending(stream) > 0)
        return false;
    run_slice(encode, encode->in.size);
    run(encode, TG_ENCODER_END, TG_STR(""));
    return !encode->failed;
}

enum tg_err tg_encode_trailers(struct tg_encode *encode, const struct tg_fields **trailers)
{
    return tg_recode_trailers(*trailers, &encode->trailers, trailers);
}
