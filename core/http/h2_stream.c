/* h2_stream.c: the operations of a stream, and its body on the way in.
 *
 * Windows. A byte that the gateway takes gives back both windows, the stream's and the
 * connection's. A byte that waits gives back the connection's at once as long as little waits in
 * the whole connection (HELD_MAX), so that a stream which nobody reads does not stop the others;
 * above that it keeps it. So a connection holds at most HELD_MAX and its window. */
#include "base/banned.h"
#include "http/h2_stream.h"

#include "base/assert.h"
#include "base/limits.h"

#define HELD_MAX  (256u * 1024)
#define OUT_SLACK ((size_t)16 * 1024) /* what may wait in a stream before its source is stopped */

/* Trailers of an answer, kept until the body before them has gone: one block. */
struct tg_h2_trailers {
    size_t n;
    nghttp2_nv v[];
};

static struct tg_h2_stream *stream_of(struct tg_stream *stream)
{
    struct tg_h2_stream *st = TG_CONTAINER_OF(stream, struct tg_h2_stream, stream);
    tg_magic_check(st, TG_H2_STREAM_MAGIC);
    return st;
}

static void touch(struct tg_h2_stream *st)
{
    st->moved_at = tg_h2_server_now(st->server);
}

/* ---- Life --------------------------------------------------------------------------------------
 */

struct tg_h2_stream *tg_h2_stream_new(struct tg_h2_server *server, int32_t id)
{
    struct tg_slab *slab = server->conn.worker->slab;
    struct tg_h2_stream *st = tg_slab_lease(slab, sizeof(*st));
    if (st == NULL)
        return NULL;
    *st = (struct tg_h2_stream){.magic = TG_H2_STREAM_MAGIC, .id = id, .server = server};
    st->stream.ops = &tg_h2_stream_ops;
    st->stream.proven = server->proven;
    st->body_max = tg_h2_stream_limits(st)->request_body;
    st->method = TG_METHOD_OTHER;
    tg_buf_init(&st->in, slab);
    tg_buf_init(&st->out, slab);
    tg_list_init(&st->drained);
    touch(st);
    struct tg_h2_begin begin;
    if (!server->events->begin(server, &st->stream, &begin)) {
        tg_slab_return(slab, st, sizeof(*st));
        return NULL;
    }
    st->stream.arena = begin.arena;
    st->head = begin.head;
    st->merge_slashes = begin.merge_slashes;
    tg_list_push_back(&server->streams, &st->link);
    tg_limit_note(h2_streams, ++server->open);
    return st;
}

static void drop_in(struct tg_h2_stream *st)
{
    struct tg_h2_server *s = st->server;
    s->held_bytes -= (uint32_t)st->in.size - st->in_held;
    if (st->in_held > 0 && s->session != NULL)
        nghttp2_session_consume_connection(s->session, st->in_held);
    st->in_held = 0;
    tg_buf_release(&st->in);
}

static void drop_trailers(struct tg_h2_stream *st)
{
    tg_mem_free(TG_MEM_CONNECTION, st->last_trailers);
    st->last_trailers = NULL;
}

void tg_h2_stream_end(struct tg_h2_stream *st, enum tg_err err)
{
    struct tg_h2_server *s = st->server;
    const struct tg_stream_events *events = st->stream.events;
    st->stream.events = NULL;
    st->dead = true;
    if (events != NULL)
        events->on_aborted(&st->stream, err, 0);
    drop_in(st);
    tg_buf_release(&st->out);
    drop_trailers(st);
    tg_list_remove(&st->link);
    tg_limit_note(h2_streams, --s->open);
    tg_list_remove(&st->drained);
    st->magic = 0;
    tg_slab_return(s->conn.worker->slab, st, sizeof(*st));
}

/* From now on nothing of it counts; nghttp2 tells its end when the frame has gone. */
static void reset(struct tg_h2_stream *st, uint32_t code)
{
    if (st->dead)
        return;
    st->dead = true;
    drop_in(st);
    tg_buf_release(&st->out);
    if (nghttp2_submit_rst_stream(st->server->session, NGHTTP2_FLAG_NONE, st->id, code) != 0)
        st->server->failure = TG_E_NOMEM;
    tg_h2_server_wake(st->server);
}

void tg_h2_stream_break(struct tg_h2_stream *st, enum tg_err err, unsigned status, uint32_t code)
{
    const struct tg_stream_events *events = st->stream.events;
    if (status != 0 && events != NULL && !st->head_sent) {
        st->in_told = true; /* nothing more is read */
        st->want_body = false;
        drop_in(st);
        events->on_aborted(&st->stream, err, status);
        return;
    }
    st->stream.events = NULL;
    reset(st, code);
    if (events != NULL)
        events->on_aborted(&st->stream, err, 0);
}

/* An operation found no memory: the exchange ends, but not from within the operation. */
static void fail_later(struct tg_h2_stream *st)
{
    reset(st, NGHTTP2_INTERNAL_ERROR); /* its end is told when it has gone */
}

/* ---- Windows -----------------------------------------------------------------------------------
 */

/* Whether there is memory for wider windows. */
static bool has_memory(void)
{
    return tg_mem_used(TG_MEM_CONNECTION) < tg_mem_cap(TG_MEM_CONNECTION) / 2;
}

static void set_window(struct tg_h2_server *s, int32_t id, uint32_t window)
{
    if (nghttp2_session_set_local_window_size(s->session, NGHTTP2_FLAG_NONE, id, (int32_t)window) ==
        NGHTTP2_ERR_NOMEM)
        s->failure = TG_E_NOMEM;
    tg_h2_server_wake(s);
}

static uint32_t window_of(const struct tg_h2_stream *st)
{
    return (uint32_t)TG_MAX(
        nghttp2_session_get_stream_effective_local_window_size(st->server->session, st->id), 0);
}

/* Takes back what the stream's has grown by. */
static void narrow(struct tg_h2_stream *st)
{
    if (window_of(st) > TG_H2_WINDOW)
        set_window(st->server, st->id, TG_H2_WINDOW);
}

void tg_h2_stream_widen(struct tg_h2_server *s)
{
    enum tg_h2_pace_step step = tg_h2_pace_measured(&s->pace);
    if (step == TG_H2_PACE_FULL)
        tg_limit_hit(h2_window);
    if (step != TG_H2_PACE_KEPT)
        set_window(s, 0, s->pace.window + TG_H2_WINDOW);
}

void tg_h2_stream_narrow(struct tg_h2_server *s)
{
    if (s->pace.window == TG_H2_WINDOW)
        return;
    tg_h2_pace_init(&s->pace, s->pace.most);
    set_window(s, 0, s->pace.window + TG_H2_WINDOW);
    TG_LIST_FOREACH(&s->streams, it)
    {
        struct tg_h2_stream *st = TG_LIST_ENTRY(it, struct tg_h2_stream, link);
        st->run = 0;
        if (!st->dead)
            narrow(st);
    }
}

/* `n` bytes of the body were taken. */
static void note_taken(struct tg_h2_stream *st, size_t n)
{
    struct tg_h2_server *s = st->server;
    st->run = (uint32_t)TG_MIN((uint64_t)st->run + n, UINT32_MAX);
    if (st->in_done || s->pace.most == TG_H2_WINDOW || !has_memory())
        return;
    if (tg_h2_pace_count(&s->pace, n, st->run >= TG_H2_WINDOW / 2, tg_h2_server_now(s)))
        tg_h2_server_measure(s);
    uint32_t wide = s->pace.window;
    if (wide > TG_H2_WINDOW && st->run >= TG_H2_WINDOW) {
        uint32_t window = window_of(st);
        if (window < wide && st->run >= window)
            set_window(s, st->id, wide);
    }
}

/* ---- The body in -------------------------------------------------------------------------------
 */

static void give_back(struct tg_h2_stream *st, size_t n)
{
    nghttp2_session *session = st->server->session;
    note_taken(st, n);
    if (nghttp2_session_consume_stream(session, st->id, n) == NGHTTP2_ERR_NOMEM)
        st->server->failure = TG_E_NOMEM;
    tg_h2_server_wake(st->server);
}

static void give_back_connection(struct tg_h2_stream *st, size_t n)
{
    if (n > 0 && nghttp2_session_consume_connection(st->server->session, n) == NGHTTP2_ERR_NOMEM)
        st->server->failure = TG_E_NOMEM;
    tg_h2_server_wake(st->server);
}

static void hold(struct tg_h2_stream *st, struct tg_str data)
{
    struct tg_h2_server *s = st->server;
    if (tg_buf_append(&st->in, data.p, data.n) != TG_OK) {
        give_back_connection(st, data.n);
        tg_h2_stream_break(st, TG_E_NOMEM, 503, NGHTTP2_INTERNAL_ERROR);
        return;
    }
    st->run = 0;
    if (st->in.size >= TG_H2_WINDOW)
        narrow(st);
    if (s->held_bytes + data.n <= HELD_MAX) {
        s->held_bytes += (uint32_t)data.n;
        give_back_connection(st, data.n);
    } else {
        st->in_held += (uint32_t)data.n;
    }
}

void tg_h2_stream_take(struct tg_h2_stream *st, struct tg_str data)
{
    if (st->dead || st->in_told || st->stream.events == NULL) { /* for nobody */
        give_back(st, data.n);
        give_back_connection(st, data.n);
        return;
    }
    touch(st);
    st->stream.bytes_in += data.n;
    if (st->stream.bytes_in > st->body_max && !st->tunnel) {
        if (st->stream.bytes_in > tg_h2_stream_limits(st)->request_body)
            tg_limit_hit(request_body);
        give_back_connection(st, data.n);
        tg_h2_stream_break(st, TG_E_LIMIT, 413, NGHTTP2_CANCEL);
        return;
    }
    if (!st->want_body || st->in.size > 0) {
        hold(st, data);
        return;
    }
    give_back(st, data.n);
    give_back_connection(st, data.n);
    st->stream.events->on_body(&st->stream, data);
}

/* All that came has been taken: the end may be told. */
static void tell_end(struct tg_h2_stream *st)
{
    static const struct tg_fields none;
    if (!st->in_done || st->in_told || !st->want_body || st->in.size > 0 || st->dead ||
        st->stream.events == NULL)
        return;
    st->in_told = true;
    st->stream.events->on_body_end(&st->stream, st->trailers != NULL ? st->trailers : &none);
}

void tg_h2_stream_take_end(struct tg_h2_stream *st)
{
    st->in_done = true;
    touch(st);
    tell_end(st);
}

/* Hands over the first piece of what waits. It leaves the buffer before the call, because the
 * gateway may answer within it. */
static bool hand_over(struct tg_h2_stream *st)
{
    char room[4096];
    struct tg_str piece = tg_buf_piece(&st->in, 0);
    size_t n = TG_MIN(piece.n, sizeof(room));
    size_t kept = TG_MIN(n, (size_t)st->in_held);
    memcpy(room, piece.p, n);
    tg_buf_consume(&st->in, n);
    st->in_held -= (uint32_t)kept;
    st->server->held_bytes -= (uint32_t)(n - kept);
    give_back(st, n);
    give_back_connection(st, kept);
    st->stream.events->on_body(&st->stream, tg_str(room, n));
    return st->stream.events != NULL && st->want_body && !st->dead;
}

static void read_body(struct tg_stream *stream, bool on)
{
    struct tg_h2_stream *st = stream_of(stream);
    if (on && !st->want_body)
        touch(st);
    st->want_body = on;
    if (!on || st->dead || st->stream.events == NULL)
        return;
    while (st->in.size > 0) {
        if (!hand_over(st))
            return;
    }
    tell_end(st);
}

static void limit_body(struct tg_stream *stream, uint64_t max)
{
    struct tg_h2_stream *st = stream_of(stream);
    st->body_max = TG_MIN(st->body_max, max);
}

/* ---- The answer --------------------------------------------------------------------------------
 */

static ssize_t on_read(nghttp2_session *session, int32_t id, uint8_t *room, size_t most,
                       uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct tg_h2_stream *st = source->ptr;
    (void)room;
    (void)arg;
    tg_magic_check(st, TG_H2_STREAM_MAGIC);
    if (st->dead)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    size_t n = TG_MIN(most, st->out.size);
    bool last = st->out_done && n == st->out.size;
    if (n == 0 && !last) {
        st->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (!last)
        return (ssize_t)n;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (st->last_trailers == NULL)
        return (ssize_t)n;
    *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    if (nghttp2_submit_trailer(session, id, st->last_trailers->v, st->last_trailers->n) != 0)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    drop_trailers(st);
    return (ssize_t)n;
}

/* More of the answer is there. */
static void resume(struct tg_h2_stream *st)
{
    if (st->deferred && !st->dead) {
        st->deferred = false;
        if (nghttp2_session_resume_data(st->server->session, st->id) == NGHTTP2_ERR_NOMEM)
            st->server->failure = TG_E_NOMEM;
    }
    tg_h2_server_wake(st->server);
}

static void submit(struct tg_h2_stream *st, const struct tg_h2_nva *nva, bool body)
{
    nghttp2_data_provider provider = {.source.ptr = st, .read_callback = on_read};
    if (st->dead)
        return;
    if (nva->failed || nghttp2_submit_response(st->server->session, st->id, nva->v, nva->n,
                                               body ? &provider : NULL) != 0)
        fail_later(st);
    tg_h2_server_wake(st->server);
}

static void send_info(struct tg_stream *stream, unsigned status, const struct tg_fields *fields)
{
    struct tg_h2_stream *st = stream_of(stream);
    struct tg_h2_nva nva;
    if (st->head_sent || st->dead || status == 101)
        return;
    tg_h2_nva_init(&nva, stream->arena, fields->n + 1);
    tg_h2_nva_status(&nva, status);
    tg_h2_nva_fields(&nva, fields);
    if (nva.failed || nghttp2_submit_headers(st->server->session, NGHTTP2_FLAG_NONE, st->id, NULL,
                                             nva.v, nva.n, NULL) != 0)
        fail_later(st);
    tg_h2_server_wake(st->server);
}

static void send_head(struct tg_stream *stream, const struct tg_response_head *head)
{
    struct tg_h2_stream *st = stream_of(stream);
    struct tg_h2_nva nva;
    tg_assert(!st->head_sent);
    st->head_sent = true;
    tg_h2_nva_init(&nva, stream->arena, head->fields.n + 2);
    tg_h2_nva_response(&nva, head, st->method);
    submit(st, &nva, head->framing != TG_FRAMING_NONE);
}

static void switch_protocols(struct tg_stream *stream, const struct tg_response_head *head)
{
    struct tg_h2_stream *st = stream_of(stream);
    struct tg_h2_nva nva;
    struct tg_fields fields;
    st->head_sent = true;
    st->tunnel = true;
    tg_h2_nva_init(&nva, stream->arena, head->fields.n + 1);
    nva.failed = nva.failed || tg_fields_copy(&head->fields, &fields) != TG_OK;
    if (!nva.failed) {
        tg_fields_remove(&fields, TG_STR("sec-websocket-accept")); /* RFC 8441, 5 */
        tg_h2_nva_status(&nva, 200);
        tg_h2_nva_fields(&nva, &fields);
    }
    submit(st, &nva, true);
}

static void send_body(struct tg_stream *stream, struct tg_str data)
{
    struct tg_h2_stream *st = stream_of(stream);
    if (data.n == 0 || st->dead)
        return;
    stream->bytes_out += data.n;
    if (st->out.size == 0)
        touch(st); /* from now on the client is waited for */
    if (tg_buf_append(&st->out, data.p, data.n) != TG_OK)
        fail_later(st);
    else
        resume(st);
}

/* A copy of the trailers in one block; false: no memory. */
static bool keep_trailers(struct tg_h2_stream *st, const struct tg_fields *trailers)
{
    struct tg_h2_nva nva;
    size_t text = 0;
    tg_h2_nva_init(&nva, st->stream.arena, trailers->n);
    tg_h2_nva_fields(&nva, trailers);
    if (nva.failed)
        return false;
    for (uint32_t i = 0; i < nva.n; i++)
        text += nva.v[i].namelen + nva.v[i].valuelen;
    struct tg_h2_trailers *t =
        tg_mem_alloc(TG_MEM_CONNECTION, sizeof(*t) + nva.n * sizeof(nghttp2_nv) + text);
    if (t == NULL)
        return false;
    uint8_t *at = (uint8_t *)(t->v + nva.n);
    t->n = nva.n;
    for (uint32_t i = 0; i < nva.n; i++) {
        t->v[i] = nva.v[i];
        t->v[i].name = memcpy(at, nva.v[i].name, nva.v[i].namelen);
        at += nva.v[i].namelen;
        t->v[i].value = at;
        if (nva.v[i].valuelen > 0)
            memcpy(at, nva.v[i].value, nva.v[i].valuelen);
        at += nva.v[i].valuelen;
    }
    st->last_trailers = t;
    return true;
}

static void send_end(struct tg_stream *stream, const struct tg_fields *trailers)
{
    struct tg_h2_stream *st = stream_of(stream);
    tg_assert(!st->out_done);
    st->out_done = true;
    if (!st->tunnel) {
        stream->events = NULL;
        st->want_body = false;
        st->in_told = true;
        drop_in(st);
    }
    if (!st->dead && trailers != NULL && trailers->n > 0 && !keep_trailers(st, trailers))
        fail_later(st);
    else
        resume(st);
}

static void flush(struct tg_stream *stream)
{
    tg_h2_server_wake(stream_of(stream)->server);
}

static size_t pending(const struct tg_stream *stream)
{
    const struct tg_h2_stream *st = TG_CONTAINER_OF(stream, struct tg_h2_stream, stream);
    return st->out.size > OUT_SLACK ? st->out.size : 0;
}

static void abort_op(struct tg_stream *stream)
{
    struct tg_h2_stream *st = stream_of(stream);
    stream->events = NULL;
    reset(st, NGHTTP2_INTERNAL_ERROR);
}

const struct tg_stream_ops tg_h2_stream_ops = {
    .read_body = read_body,
    .limit_body = limit_body,
    .send_info = send_info,
    .send_head = send_head,
    .send_body = send_body,
    .send_end = send_end,
    .switch_protocols = switch_protocols,
    .flush = flush,
    .pending = pending,
    .abort = abort_op,
};

/* ---- Progress ----------------------------------------------------------------------------------
 */

enum tg_h2_wait tg_h2_stream_waits(const struct tg_h2_stream *st)
{
    if (st->dead)
        return TG_H2_WAIT_NONE;
    if (st->out.size > 0)
        return TG_H2_WAIT_ANSWER;
    bool body = st->want_body && !st->in_done && !st->tunnel && st->stream.events != NULL;
    return body ? TG_H2_WAIT_BODY : TG_H2_WAIT_NONE;
}

uint64_t tg_h2_stream_moved(const struct tg_h2_stream *st)
{
    return st->wait == TG_H2_WAIT_BODY ? st->stream.bytes_in : st->stream.bytes_out - st->out.size;
}
