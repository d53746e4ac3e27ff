/* h2_call.c: see h2_call.h.
 *
 * Re-entrancy: an event may close the call, which nulls its `client`; what goes on after one asks
 * for that. Most of it happens inside nghttp2, which h2_client.c keeps alive meanwhile. */
#include "base/banned.h"
#include "http/h2_call.h"

#include "base/assert.h"
#include "http/h2_client_fields.h"

#define CALL_MAGIC  0xca110002u
#define STAGE_EXTRA ((size_t)64)
#define OUT_HIGH    ((size_t)32768) /* bytes that wait before the source is to stop */

static const struct tg_call_ops call_ops;

static uint64_t now(const struct tg_h2_call *c)
{
    return tg_loop_now(&c->client->conn.worker->loop);
}

static nghttp2_session *session_of(const struct tg_h2_call *c)
{
    return c->client->session;
}

static void touch(struct tg_h2_call *c)
{
    if (tg_list_is_empty(&c->touched))
        tg_list_push_back(&c->client->touched, &c->touched);
}

/* ---- Deadlines ---------------------------------------------------------------------------------
 */

static uint64_t head_deadline(const struct tg_h2_call *c)
{
    bool whole = c->out_done || c->call.asks_tunnel;
    uint64_t at = whole ? c->since + c->limits.response : UINT64_MAX;
    if (c->limits.deadline > 0)
        at = TG_MIN(at, c->limits.deadline);
    return at == UINT64_MAX ? 0 : at;
}

static uint64_t deadline_of(const struct tg_h2_call *c)
{
    if (c->failure != TG_OK)
        return now(c);
    if (!c->begun || c->tunnel)
        return 0;
    if (c->out.size > 0)
        return c->sent_at + c->limits.io;
    if (!c->head_done)
        return head_deadline(c);
    return c->want && !c->in_done ? c->since + c->limits.io : 0;
}

static void settle(struct tg_h2_call *c)
{
    uint64_t deadline = deadline_of(c);
    if (deadline == 0)
        tg_timer_clear(&c->timer);
    else
        tg_timer_set(&c->timer, deadline);
}

/* ---- Ends --------------------------------------------------------------------------------------
 */

/* Takes the call out of its connection; a stream that is not over is reset. */
static void detach(struct tg_h2_call *c, uint32_t code)
{
    struct tg_h2_client *client = c->client;
    if (client->state != TG_H2_CLIENT_CLOSED && c->id > 0 && !c->over) {
        if (nghttp2_session_set_stream_user_data(client->session, c->id, NULL) != 0 && !c->sent)
            client->orphans++; /* its stream will open, and close, under the name of who is gone */
        if (nghttp2_submit_rst_stream(client->session, NGHTTP2_FLAG_NONE, c->id, code) == 0)
            tg_h2_client_flush_soon(client);
    }
    tg_list_remove(&c->link);
    tg_list_remove(&c->touched);
    tg_timer_release(&c->timer);
    tg_buf_release(&c->out);
    tg_buf_release(&c->in);
    c->client = NULL;
    client->call_count--;
    tg_h2_client_settle(client);
}

void tg_h2_call_close(struct tg_h2_call *call)
{
    if (call->client == NULL)
        return;
    bool whole = call->in_ended && call->out_done;
    detach(call, whole ? NGHTTP2_NO_ERROR : NGHTTP2_CANCEL);
}

void tg_h2_call_fail(struct tg_h2_call *call, enum tg_err err, const char *reason)
{
    detach(call, err == TG_E_PROTOCOL ? NGHTTP2_PROTOCOL_ERROR : NGHTTP2_CANCEL);
    call->call.events->on_failed(&call->call, err, reason);
}

/* From inside an operation: the failure is told from the loop. */
static void fail_soon(struct tg_h2_call *c, enum tg_err err)
{
    if (c->failure == TG_OK)
        c->failure = err;
    settle(c);
}

static void on_timer(struct tg_timer *timer)
{
    struct tg_h2_call *c = TG_CONTAINER_OF(timer, struct tg_h2_call, timer);
    tg_magic_check(c, CALL_MAGIC);
    uint64_t deadline = deadline_of(c);
    if (c->failure != TG_OK)
        tg_h2_call_fail(c, c->failure, c->reason);
    else if (deadline == 0 || deadline > now(c))
        settle(c);
    else
        tg_h2_call_fail(c, TG_E_TIMEOUT, NULL);
}

/* ---- Sending -----------------------------------------------------------------------------------
 */

static bool send_trailers(struct tg_h2_call *c)
{
    struct tg_h2_nva nva;
    tg_h2_nva_init(&nva, c->arena, c->out_trailers->n);
    tg_h2_nva_fields(&nva, c->out_trailers);
    c->out_trailers = NULL;
    return !nva.failed && nghttp2_submit_trailer(session_of(c), c->id, nva.v, nva.n) == 0;
}

static void note_taken(struct tg_h2_call *c)
{
    c->sent_at = now(c);
    if (c->out.size > 0)
        return;
    if (c->out_done)
        c->since = now(c);
    if (c->held_up) {
        c->drained = true;
        touch(c);
    }
}

/* nghttp2 has room for `length` bytes of the body: how many there are. */
static ssize_t on_take(nghttp2_session *session, int32_t id, uint8_t *to, size_t length,
                       uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct tg_h2_call *c = tg_h2_client_find(arg, id);
    (void)session;
    (void)to;
    (void)source;
    if (c == NULL)
        return NGHTTP2_ERR_DEFERRED; /* its reset is on the way */
    size_t n = TG_MIN(length, c->out.size);
    bool last = c->out_done && n == c->out.size;
    if (n == 0 && !last) {
        c->parked = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (last)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (last && c->out_trailers != NULL) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        if (!send_trailers(c))
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    return (ssize_t)n;
}

int tg_h2_call_send_data(struct tg_h2_call *call, struct tg_h2_out *out, const uint8_t *head,
                         const nghttp2_data *frame, size_t n)
{
    int result = tg_h2_out_data(out, head, frame, n, &call->out);
    if (result == 0) {
        note_taken(call);
        settle(call);
    }
    return result;
}

/* Whether the staged head can go: one for a tunnel to an origin that takes those. In clear text
 * nothing says whether HTTP/1.1 is spoken as well. */
static bool may_submit(struct tg_h2_call *c)
{
    struct tg_h2_client *client = c->client;
    c->waits = c->call.asks_tunnel && !client->greeted;
    if (c->waits || c->failure != TG_OK)
        return false;
    if (!c->call.asks_tunnel || tg_h2_client_takes_tunnels(client))
        return true;
    if (client->conn.transport != NULL)
        c->call.refusal = TG_CALL_WANTS_HTTP1;
    c->reason = "origin: it takes no WebSockets over HTTP/2 (RFC 8441)";
    fail_soon(c, TG_E_UNSUPPORTED);
    return false;
}

/* The staged head becomes a stream. */
static void submit(struct tg_h2_call *c)
{
    struct tg_h2_nva nva;
    nghttp2_data_provider body = {.read_callback = on_take};
    bool bare = c->out_done && c->out.size == 0 && c->out_trailers == NULL;
    struct tg_str text = tg_fmt_str(&c->stage);
    c->submitted = true;
    if (text.p == NULL) {
        fail_soon(c, TG_E_NOMEM);
        return;
    }
    tg_h2_nva_init(&nva, c->arena, 32);
    tg_h2_nva_request(&nva, text,
                      c->client->conn.transport != NULL ? TG_STR("https") : TG_STR("http"),
                      c->call.asks_tunnel);
    if (c->call.asks_tunnel)
        c->key = tg_h2_text_key(text);
    int32_t id = NGHTTP2_ERR_NOMEM;
    if (!nva.failed)
        id = nghttp2_submit_request(session_of(c), NULL, nva.v, nva.n, bare ? NULL : &body, c);
    if (id > 0)
        c->id = id;
    else
        fail_soon(c, id == NGHTTP2_ERR_NOMEM ? TG_E_NOMEM : TG_E_INVALID);
    c->stage = (struct tg_fmt){0};
}

/* What there is to send may go. */
static void push(struct tg_h2_call *c)
{
    if (!c->submitted && may_submit(c))
        submit(c);
    if (c->parked && nghttp2_session_resume_data(session_of(c), c->id) == 0)
        c->parked = false;
    tg_h2_client_flush_soon(c->client);
    settle(c);
}

static void begin(struct tg_call *call, struct tg_arena *arena, enum tg_method method,
                  const struct tg_call_limits *limits)
{
    struct tg_h2_call *c = tg_h2_call_of(call);
    tg_magic_check(c, CALL_MAGIC);
    tg_assert(!c->begun && c->client != NULL);
    c->begun = true;
    c->arena = arena;
    c->method = method;
    c->limits = *limits;
    c->want = true;
    c->since = now(c);
    call->reused = c->client->proven;
    c->client->requests++;
    tg_fields_init(&c->trailers, arena);
    settle(c);
}

static struct tg_fmt *stage(struct tg_call *call, size_t size)
{
    struct tg_h2_call *c = tg_h2_call_of(call);
    tg_fmt_init_arena(&c->stage, c->arena, size + STAGE_EXTRA);
    return &c->stage;
}

static void set_framing(struct tg_call *call, enum tg_framing framing)
{
    tg_h2_call_of(call)->out_framing = framing;
}

static void send_body(struct tg_call *call, struct tg_str data)
{
    struct tg_h2_call *c = tg_h2_call_of(call);
    if (c->client == NULL || c->over || data.n == 0)
        return;
    if (c->out.size == 0)
        c->sent_at = now(c);
    if (tg_buf_append(&c->out, data.p, data.n) != TG_OK) {
        fail_soon(c, TG_E_NOMEM);
        return;
    }
    c->held_up = c->held_up || c->out.size > OUT_HIGH;
    push(c);
}

static void send_end(struct tg_call *call, const struct tg_fields *trailers)
{
    struct tg_h2_call *c = tg_h2_call_of(call);
    if (c->client == NULL)
        return;
    c->out_done = c->head_done || !c->call.asks_tunnel; /* no request for a tunnel has an end */
    c->since = now(c);
    if (trailers != NULL && trailers->n > 0 && c->out_framing == TG_FRAMING_CHUNKED)
        c->out_trailers = trailers;
    if (!c->over)
        push(c);
}

static void flush(struct tg_call *call)
{
    struct tg_h2_call *c = tg_h2_call_of(call);
    if (c->client != NULL && !c->over)
        push(c);
}

void tg_h2_call_greeted(struct tg_h2_call *call)
{
    if (call->waits)
        push(call);
}

static size_t pending(const struct tg_call *call)
{
    const struct tg_h2_call *c = TG_CONTAINER_OF(call, struct tg_h2_call, call);
    return c->held_up ? TG_MAX(c->out.size, (size_t)1) : 0;
}

/* ---- The answer's head -------------------------------------------------------------------------
 */

void tg_h2_call_begin_block(struct tg_h2_call *call)
{
    call->call.got_bytes = true;
    call->client->proven = true;
    tg_h2_block_init(&call->block, call->arena, call->limits.fields, call->limits.head);
}

bool tg_h2_call_add_field(struct tg_h2_call *call, struct tg_str name, struct tg_str value)
{
    tg_h2_block_add(&call->block, name, value);
    if (!call->block.refused || call->block.refusal.status != 431)
        return true;
    call->reason = "origin: response head too large";
    return false;
}

void tg_h2_call_invalid(struct tg_h2_call *call, const char *reason)
{
    if (call->reason == NULL)
        call->reason = reason;
}

/* A tunnel to an origin that has gone: what is written to it has no reader. */
static bool is_cut(const struct tg_h2_call *c)
{
    return c->tunnel && c->over && !c->out_done;
}

/* All of the answer is there and handed over. */
static void complete(struct tg_h2_call *c)
{
    c->in_done = true;
    settle(c);
    c->call.events->on_end(&c->call, &c->trailers);
    if (c->client != NULL && is_cut(c))
        fail_soon(c, TG_E_RESET);
}

static void take_trailers(struct tg_h2_call *c, bool ended)
{
    struct tg_refusal refusal;
    if (!ended)
        tg_h2_call_fail(c, TG_E_PROTOCOL, "origin: trailers that do not end the stream");
    else if (!tg_h2_block_trailers(&c->block, &c->trailers, &refusal))
        tg_h2_call_fail(c, TG_E_PROTOCOL, refusal.reason);
    else
        tg_h2_call_ended(c);
}

/* What the origin says to a tunnel: a 2xx opens it, with anything else the request is over. False:
 * the call has failed. */
static bool settle_tunnel(struct tg_h2_call *c, struct tg_response_head *head, bool ended)
{
    enum tg_err err = TG_OK;
    if (head->status >= 300) {
        c->counts = head->framing == TG_FRAMING_LENGTH;
        c->left = head->length;
        c->out_done = true;
        push(c);
    } else if (head->status >= 200) {
        err = ended ? TG_E_PROTOCOL : tg_h2_head_switch(head, c->key, c->arena);
    }
    if (err != TG_OK)
        tg_h2_call_fail(c, err, ended ? "origin: a tunnel that ends with its head" : NULL);
    return err == TG_OK;
}

void tg_h2_call_end_block(struct tg_h2_call *call, bool ended)
{
    const char *why;
    if (call->head_done) {
        take_trailers(call, ended);
        return;
    }
    struct tg_response_head *head = tg_arena_alloc(call->arena, sizeof(*head));
    if (head == NULL) {
        tg_h2_call_fail(call, TG_E_NOMEM, NULL);
        return;
    }
    if (!tg_h2_block_response(&call->block, call->method, ended, head, &why)) {
        bool memory = call->block.refused && call->block.refusal.status == 503;
        tg_h2_call_fail(call, memory ? TG_E_NOMEM : TG_E_PROTOCOL, memory ? NULL : why);
        return;
    }
    if (call->call.asks_tunnel && !settle_tunnel(call, head, ended))
        return;
    call->paused = true;
    touch(call);
    if (head->status < 200 && head->status != 101) {
        call->call.events->on_info(&call->call, head);
        return;
    }
    call->head_done = true;
    call->in_ended = ended;
    call->since = now(call);
    settle(call);
    call->call.events->on_head(&call->call, head);
    if (ended && call->client != NULL && !call->in_done)
        complete(call);
}

/* ---- The answer's body -------------------------------------------------------------------------
 */

/* The stream's window: wide while it is read without a pause, else as at first. */
static void set_window(struct tg_h2_call *c, uint32_t window)
{
    if (c->over || c->window == window)
        return;
    if (nghttp2_session_set_local_window_size(session_of(c), NGHTTP2_FLAG_NONE, c->id,
                                              (int32_t)window) == 0)
        c->window = window;
}

static void note_read(struct tg_h2_call *c, size_t n)
{
    c->read_run += n;
    c->since = now(c);
    if (c->over)
        return;
    nghttp2_session_consume_stream(session_of(c), c->id, n); /* fails where the stream is gone */
    if (c->window < c->client->pace.window && c->read_run >= c->window)
        set_window(c, c->client->pace.window);
}

/* Keeps what nobody wants yet: at most what the window let through. */
static void keep(struct tg_h2_call *c, struct tg_str data)
{
    c->read_run = 0;
    if (tg_buf_append(&c->in, data.p, data.n) != TG_OK)
        tg_h2_call_fail(c, TG_E_NOMEM, NULL);
    else if (c->in.size >= TG_H2_WINDOW && c->window > TG_H2_WINDOW)
        set_window(c, TG_H2_WINDOW);
}

void tg_h2_call_data(struct tg_h2_call *call, struct tg_str data)
{
    if (data.n == 0)
        return;
    if (call->counts && data.n > call->left) {
        tg_h2_call_fail(call, TG_E_PROTOCOL, "origin: a body longer than its Content-Length");
        return;
    }
    call->left -= call->counts ? data.n : 0;
    call->paused = true;
    touch(call);
    if (!call->want || call->in.size > 0) {
        keep(call, data);
        return;
    }
    note_read(call, data.n);
    settle(call);
    call->call.events->on_body(&call->call, data);
}

void tg_h2_call_ended(struct tg_h2_call *call)
{
    if (call->counts && call->left > 0) {
        tg_h2_call_fail(call, TG_E_PROTOCOL, "origin: a body shorter than its Content-Length");
        return;
    }
    call->in_ended = true;
    if (call->want && call->in.size == 0 && !call->in_done)
        complete(call);
}

/* Hands over what was kept, as long as it is wanted. */
static void hand_over(struct tg_h2_call *c)
{
    if (c->handing)
        return;
    c->handing = true;
    while (c->client != NULL && c->want && c->in.size > 0) {
        struct tg_str piece = tg_buf_piece(&c->in, 0);
        note_read(c, piece.n);
        c->call.events->on_body(&c->call, piece);
        if (c->client != NULL)
            tg_buf_consume(&c->in, piece.n);
    }
    c->handing = false;
    if (c->client != NULL && c->want && c->in.size == 0 && c->in_ended && !c->in_done)
        complete(c);
}

static void read_on(struct tg_call *call, bool on)
{
    struct tg_h2_call *c = tg_h2_call_of(call);
    if (c->client == NULL)
        return;
    if (on && !c->want)
        c->since = now(c);
    c->want = on;
    settle(c);
    if (!on || !c->head_done || (c->in.size == 0 && !c->in_ended))
        return;
    tg_h2_client_flush_soon(c->client);
    hand_over(c);
    if (c->client != NULL && !c->in_done) {
        c->paused = true;
        tg_h2_call_tell(c);
    }
}

static void begin_tunnel(struct tg_call *call)
{
    struct tg_h2_call *c = tg_h2_call_of(call);
    c->tunnel = true;
    c->head_done = true;
    c->out_done = false;
    settle(c);
}

void tg_h2_call_tell(struct tg_h2_call *call)
{
    if (call->drained) {
        call->drained = call->held_up = false;
        call->call.events->on_drained(&call->call);
    }
    if (call->client != NULL && call->paused) {
        call->paused = false;
        call->call.events->on_pause(&call->call);
    }
}

/* ---- The end of the stream ---------------------------------------------------------------------
 */

static const char *reset_text(uint32_t code)
{
    static const char *const texts[] = {
        "origin: it ended the stream before the answer was whole",
        "origin: it reset the stream: PROTOCOL_ERROR",
        "origin: it reset the stream: INTERNAL_ERROR",
        "origin: it reset the stream: FLOW_CONTROL_ERROR",
        "origin: it reset the stream: SETTINGS_TIMEOUT",
        "origin: it reset the stream: STREAM_CLOSED",
        "origin: it reset the stream: FRAME_SIZE_ERROR",
        "origin: it reset the stream: REFUSED_STREAM",
        "origin: it reset the stream: CANCEL",
        "origin: it reset the stream: COMPRESSION_ERROR",
        "origin: it reset the stream: CONNECT_ERROR",
        "origin: it reset the stream: ENHANCE_YOUR_CALM",
        "origin: it reset the stream: INADEQUATE_SECURITY",
        "origin: it reset the stream: HTTP_1_1_REQUIRED",
    };
    return code < TG_COUNT_OF(texts) ? texts[code] : "origin: it reset the stream";
}

bool tg_h2_call_outlives(struct tg_h2_call *call)
{
    call->over |= call->in_ended;
    return call->in_ended && !(call->in_done && is_cut(call));
}

void tg_h2_call_over(struct tg_h2_call *call, uint32_t code)
{
    call->over = true;
    if (call->in_ended && call->reason == NULL) {
        call->held_up = false; /* what is left of the request has no reader */
        tg_buf_release(&call->out);
        settle(call);
        if (call->in_done && is_cut(call))
            tg_h2_call_fail(call, TG_E_RESET, reset_text(code));
        return;
    }
    if (call->reason != NULL) {
        tg_h2_call_fail(call, TG_E_PROTOCOL, call->reason);
        return;
    }
    if (code == NGHTTP2_REFUSED_STREAM && !call->head_done)
        call->call.refusal = TG_CALL_UNTOUCHED;
    if (code == NGHTTP2_HTTP_1_1_REQUIRED && !call->head_done)
        call->call.refusal = TG_CALL_WANTS_HTTP1;
    tg_h2_call_fail(call, TG_E_RESET, reset_text(code));
}

/* ---- Life --------------------------------------------------------------------------------------
 */

static const struct tg_call_ops call_ops = {
    .begin = begin,
    .stage = stage,
    .set_framing = set_framing,
    .send_body = send_body,
    .send_end = send_end,
    .flush = flush,
    .pending = pending,
    .read = read_on,
    .begin_tunnel = begin_tunnel,
};

enum tg_err tg_h2_call_open(struct tg_h2_call *call, struct tg_h2_client *client)
{
    struct tg_worker *worker = client->conn.worker;
    *call = (struct tg_h2_call){.magic = CALL_MAGIC,
                                .call = {.ops = &call_ops, .protocol = TG_CALL_HTTP2},
                                .client = client,
                                .window = TG_H2_WINDOW};
    enum tg_err err = tg_timer_init(&call->timer, &worker->loop.timers, on_timer);
    if (err != TG_OK)
        return err;
    tg_buf_init(&call->out, worker->slab);
    tg_buf_init(&call->in, worker->slab);
    tg_list_init(&call->touched);
    tg_list_push_back(&client->calls, &call->link);
    client->call_count++;
    client->idle_until = 0;
    tg_h2_client_settle(client);
    return TG_OK;
}
