/* h1_respond.c: writing responses.
 *
 * `stage` collects the head and up to STAGE_EXTRA bytes of body in the request's arena. It leaves
 * when it is full, at flush, or with the end; then `stage.p` is NULL and bytes go straight out.
 */
#include "base/banned.h"
#include "http/h1_respond.h"

#include "base/assert.h"
#include "http/h1_write.h"
#include "http/head.h"

#define STAGE_EXTRA ((size_t)2048)
#define DISCARD_MAX ((uint64_t)64 * 1024)
#define CHUNK_LINE  18

static void write_out(struct tg_h1_server *s, struct iovec *iov, int count)
{
    if (s->failure != TG_OK)
        return;
    enum tg_err err = tg_conn_write(&s->conn, iov, count);
    if (err != TG_OK)
        tg_h1_server_fail_later(s, err);
}

/* Writes what is staged by `write`: tg_conn_write(), or for the end of an answer behind which the
 * connection stays tg_conn_write_last(). */
static void write_stage(struct tg_h1_server *s, tg_conn_writer *write)
{
    struct tg_fmt stage = s->x->stage;
    s->x->stage.p = NULL;
    if (stage.p == NULL || s->failure != TG_OK)
        return;
    struct iovec iov = {stage.p, stage.n};
    enum tg_err err = stage.failed ? TG_E_NOMEM : write(&s->conn, &iov, 1);
    if (err != TG_OK)
        tg_h1_server_fail_later(s, err);
}

static void flush_stage(struct tg_h1_server *s)
{
    write_stage(s, tg_conn_write);
}

static bool stays_open(const struct tg_h1_server *s)
{
    return s->keep_alive && s->body_done && !s->conn.eof && !s->conn.worker->draining;
}

/* Room in the arena for a head with these fields and a little body. */
static void open_stage(struct tg_h1_server *s, const struct tg_fields *fields, size_t extra)
{
    size_t size = 256 + extra;
    for (uint32_t i = 0; i < fields->n; i++)
        size += fields->v[i].name.n + fields->v[i].value.n + 4;
    tg_fmt_init_arena(&s->x->stage, s->stream.arena, size);
    if (s->x->stage.failed)
        tg_h1_server_fail_later(s, TG_E_NOMEM);
}

/* How much of the body may go with the head in one write. */
static size_t body_room(const struct tg_h1_server *s)
{
    if (s->out_framing == TG_FRAMING_NONE)
        return 0;
    bool is_short = s->out_framing == TG_FRAMING_LENGTH && s->out_left < STAGE_EXTRA;
    return CHUNK_LINE + 2 + (is_short ? (size_t)s->out_left : STAGE_EXTRA);
}

/* ---- Framing -----------------------------------------------------------------------------------
 */

/* True when what is left of the request's body is little enough to be read for nobody. */
static bool can_discard(const struct tg_h1_server *s)
{
    if (s->body_done)
        return true;
    return s->x->body.framing == TG_FRAMING_LENGTH && s->x->body.left <= DISCARD_MAX && !s->expects;
}

static void choose_framing(struct tg_h1_server *s, const struct tg_response_head *head)
{
    s->out_framing = head->framing;
    s->out_left = head->length;
    if (head->framing == TG_FRAMING_CLOSE || head->framing == TG_FRAMING_CHUNKED)
        s->out_framing = s->http10 ? TG_FRAMING_CLOSE : TG_FRAMING_CHUNKED;
    if (s->out_framing == TG_FRAMING_CLOSE || !can_discard(s) || s->conn.worker->draining)
        s->keep_alive = false;
}

static void write_framing(struct tg_h1_server *s, const struct tg_response_head *head)
{
    struct tg_fmt *f = &s->x->stage;
    uint64_t length;
    if (tg_head_says_length(head, s->method, &length)) {
        tg_fmt_lit(f, "Content-Length: ");
        tg_fmt_u64(f, length);
        tg_fmt_lit(f, "\r\n");
    } else if (s->out_framing == TG_FRAMING_CHUNKED) {
        tg_fmt_lit(f, "Transfer-Encoding: chunked\r\n");
    }
    if (!s->keep_alive)
        tg_fmt_lit(f, "Connection: close\r\n");
    else if (s->http10)
        tg_fmt_lit(f, "Connection: keep-alive\r\n");
}

/* ---- Operations --------------------------------------------------------------------------------
 */

static void read_body(struct tg_stream *stream, bool on)
{
    struct tg_h1_server *s = tg_h1_server_of(stream);
    if (on && !s->want_body)
        s->since = tg_loop_now(&s->conn.worker->loop);
    s->want_body = on;
    tg_h1_server_settle(s);
    if (on)
        tg_h1_server_pump(s);
}

static void send_info(struct tg_stream *stream, unsigned status, const struct tg_fields *fields)
{
    struct tg_h1_server *s = tg_h1_server_of(stream);
    if (s->http10 || s->head_sent)
        return;
    if (status == 100)
        s->expects = false;
    open_stage(s, fields, 0);
    tg_h1_write_status(&s->x->stage, status, (struct tg_str){NULL, 0});
    tg_h1_write_fields(&s->x->stage, fields);
    tg_fmt_lit(&s->x->stage, "\r\n");
    flush_stage(s);
}

static void send_head(struct tg_stream *stream, const struct tg_response_head *head)
{
    struct tg_h1_server *s = tg_h1_server_of(stream);
    tg_assert(!s->head_sent);
    s->head_sent = true;
    choose_framing(s, head);
    open_stage(s, &head->fields, body_room(s));
    tg_h1_write_status(&s->x->stage, head->status, head->reason);
    tg_h1_write_fields(&s->x->stage, &head->fields);
    write_framing(s, head);
    tg_fmt_lit(&s->x->stage, "\r\n");
}

static void switch_protocols(struct tg_stream *stream, const struct tg_response_head *head)
{
    struct tg_h1_server *s = tg_h1_server_of(stream);
    const struct tg_field *upgrade = tg_fields_find_id(&head->fields, TG_FIELD_UPGRADE);
    s->head_sent = true;
    open_stage(s, &head->fields, 0);
    tg_h1_write_status(&s->x->stage, head->status, head->reason);
    tg_h1_write_fields(&s->x->stage, &head->fields);
    if (upgrade != NULL) {
        tg_fmt_lit(&s->x->stage, "Connection: upgrade\r\n");
        tg_h1_write_field(&s->x->stage, TG_STR("Upgrade"), upgrade->value);
    }
    tg_fmt_lit(&s->x->stage, "\r\n");
    flush_stage(s);
    s->out_framing = TG_FRAMING_CLOSE;
    tg_h1_server_begin_tunnel(s);
}

/* Puts a small piece behind what is staged; false when it does not fit. */
static bool stage_piece(struct tg_h1_server *s, struct tg_str data)
{
    struct tg_fmt *f = &s->x->stage;
    char line[CHUNK_LINE];
    if (f->p == NULL || f->failed || data.n > STAGE_EXTRA ||
        f->cap - f->n < data.n + CHUNK_LINE + 2)
        return false;
    if (s->out_framing != TG_FRAMING_CHUNKED) {
        tg_fmt_add(f, data);
        return true;
    }
    tg_fmt_bytes(f, line, tg_h1_write_chunk_size(line, data.n));
    tg_fmt_add(f, data);
    tg_fmt_lit(f, "\r\n");
    return true;
}

static void send_body(struct tg_stream *stream, struct tg_str data)
{
    struct tg_h1_server *s = tg_h1_server_of(stream);
    struct iovec iov[4];
    char line[CHUNK_LINE];
    int n = 0;
    if (data.n == 0 || s->out_framing == TG_FRAMING_NONE)
        return;
    stream->bytes_out += data.n;
    if (s->out_framing == TG_FRAMING_LENGTH) {
        tg_assert(data.n <= s->out_left);
        s->out_left -= data.n;
    }
    if (stage_piece(s, data))
        return;
    if (s->x->stage.p != NULL && s->x->stage.failed)
        return;
    if (s->x->stage.p != NULL)
        iov[n++] = (struct iovec){s->x->stage.p, s->x->stage.n};
    if (s->out_framing == TG_FRAMING_CHUNKED)
        iov[n++] = (struct iovec){line, tg_h1_write_chunk_size(line, data.n)};
    iov[n++] = (struct iovec){(void *)(uintptr_t)data.p, data.n};
    if (s->out_framing == TG_FRAMING_CHUNKED)
        iov[n++] = (struct iovec){(void *)(uintptr_t) "\r\n", 2};
    s->x->stage.p = NULL;
    write_out(s, iov, n);
    tg_h1_server_settle(s);
}

static void write_last_chunk(struct tg_h1_server *s, const struct tg_fields *trailers)
{
    bool some = trailers != NULL && trailers->n > 0;
    if (s->x->stage.p == NULL && !some) {
        struct iovec iov = {(void *)(uintptr_t) "0\r\n\r\n", 5};
        write_out(s, &iov, 1);
        return;
    }
    if (s->x->stage.p == NULL)
        open_stage(s, trailers, 0);
    tg_fmt_lit(&s->x->stage, "0\r\n");
    if (some)
        tg_h1_write_fields(&s->x->stage, trailers);
    tg_fmt_lit(&s->x->stage, "\r\n");
}

static void end_tunnel(struct tg_h1_server *s)
{
    flush_stage(s);
    s->out_done = true;
    if (tg_conn_pending(&s->conn) > 0)
        return;
    tg_conn_shutdown(&s->conn);
    if (s->body_done)
        tg_h1_server_fail_later(s, TG_E_CLOSED); /* both halves have ended */
}

static void send_end(struct tg_stream *stream, const struct tg_fields *trailers)
{
    struct tg_h1_server *s = tg_h1_server_of(stream);
    tg_assert(!s->out_done);
    if (s->state == TG_H1_SERVER_TUNNEL) {
        end_tunnel(s);
        return;
    }
    if (s->out_framing == TG_FRAMING_CHUNKED)
        write_last_chunk(s, trailers);
    write_stage(s, stays_open(s) ? tg_conn_write_last : tg_conn_write);
    s->out_done = true;
    stream->events = NULL;
    s->want_body = false;
    s->discarding = s->keep_alive && !s->body_done;
    s->out_left = s->discarding ? s->x->body.left : 0;
    s->x = NULL;
    if (tg_inbuf_reclaim(&s->in, s->conn.worker->slab) != TG_OK) {
        tg_inbuf_release(&s->in, s->conn.worker->slab);
        tg_h1_server_fail_later(s, TG_E_NOMEM);
        return;
    }
    if (s->discarding)
        tg_h1_server_pump(s);
    tg_h1_server_advance(s);
}

static void flush_op(struct tg_stream *stream)
{
    struct tg_h1_server *s = tg_h1_server_of(stream);
    flush_stage(s);
    tg_h1_server_settle(s);
}

static size_t pending(const struct tg_stream *stream)
{
    const struct tg_h1_server *s = TG_CONTAINER_OF(stream, struct tg_h1_server, stream);
    return tg_conn_pending(&s->conn);
}

static void abort_op(struct tg_stream *stream)
{
    tg_h1_server_abort(tg_h1_server_of(stream));
}

static void limit_body(struct tg_stream *stream, uint64_t max)
{
    struct tg_h1_server *s = TG_CONTAINER_OF(stream, struct tg_h1_server, stream);
    s->x->body_max = TG_MIN(s->x->body_max, max);
}

const struct tg_stream_ops tg_h1_server_ops = {
    .read_body = read_body,
    .limit_body = limit_body,
    .send_info = send_info,
    .send_head = send_head,
    .send_body = send_body,
    .send_end = send_end,
    .switch_protocols = switch_protocols,
    .flush = flush_op,
    .pending = pending,
    .abort = abort_op,
};
