/* h1_server.c: reading requests. What is written stands in h1_respond.c.
 *
 * Re-entrancy: every call into the gateway may end the exchange or close the connection. Functions
 * that go on after such a call compare `requests` (the number of the exchange) and the state with
 * what they were before it.
 */
#include "base/banned.h"
#include "http/h1_server.h"

#include "base/assert.h"
#include "http/h1_respond.h"

#define SERVER_MAGIC 0x415e7f01u
#define HEAD_BUFFER  4096u
#define LINGER_TIME  (2 * TG_USEC_PER_SEC)
#define LINGER_BYTES ((uint64_t)256 * 1024)

static uint64_t now(const struct tg_h1_server *s)
{
    return tg_loop_now(&s->conn.worker->loop);
}

static void set_state(struct tg_h1_server *s, enum tg_h1_server_state to)
{
    static const unsigned allowed[] = {
        [TG_H1_SERVER_IDLE] = 1u << TG_H1_SERVER_HEAD | 1u << TG_H1_SERVER_CLOSED,
        [TG_H1_SERVER_HEAD] =
            1u << TG_H1_SERVER_ACTIVE | 1u << TG_H1_SERVER_LINGER | 1u << TG_H1_SERVER_CLOSED,
        [TG_H1_SERVER_ACTIVE] = 1u << TG_H1_SERVER_IDLE | 1u << TG_H1_SERVER_TUNNEL |
                                1u << TG_H1_SERVER_LINGER | 1u << TG_H1_SERVER_CLOSED,
        [TG_H1_SERVER_TUNNEL] = 1u << TG_H1_SERVER_CLOSED,
        [TG_H1_SERVER_LINGER] = 1u << TG_H1_SERVER_CLOSED,
        [TG_H1_SERVER_CLOSED] = 0,
    };
    tg_assert(allowed[s->state] & (1u << to));
    s->state = to;
    s->since = now(s);
}

static bool is_reading(const struct tg_h1_server *s)
{
    switch (s->state) {
    case TG_H1_SERVER_ACTIVE:
        return (s->want_body || s->discarding) && !s->body_done;
    case TG_H1_SERVER_TUNNEL:
        return s->want_body && !s->body_done;
    case TG_H1_SERVER_CLOSED:
        return false;
    default:
        return true;
    }
}

static uint64_t deadline_of(const struct tg_h1_server *s)
{
    const struct tg_limits *limits = s->limits;
    switch (s->state) {
    case TG_H1_SERVER_IDLE:
        /* What ended the answer waited for the end of the round, and the kernel was full then. */
        if (tg_conn_pending(&s->conn) > 0)
            return s->conn.sent_at + limits->write_timeout;
        return s->since + limits->idle_timeout;
    case TG_H1_SERVER_HEAD:
        return s->since + limits->head_timeout;
    case TG_H1_SERVER_LINGER:
        return s->since + LINGER_TIME;
    case TG_H1_SERVER_ACTIVE:
    case TG_H1_SERVER_TUNNEL:
        if (tg_conn_pending(&s->conn) > 0)
            return s->conn.sent_at + limits->write_timeout;
        return s->state == TG_H1_SERVER_ACTIVE && is_reading(s) ? s->since + limits->read_timeout
                                                                : 0;
    case TG_H1_SERVER_CLOSED:
        break;
    }
    return 0;
}

/* Between exchanges nobody keeps the configuration that the limits came from: it may be another by
 * now, and that one gone. First of all in what the loop calls. */
static void refresh_limits(struct tg_h1_server *s)
{
    if (s->stream.events == NULL)
        s->limits = s->events->limits(s);
}

/* ---- Rates -------------------------------------------------------------------------------------
 */

static enum tg_h1_pace_kind pace_kind(const struct tg_h1_server *s)
{
    if (s->state == TG_H1_SERVER_HEAD)
        return TG_H1_PACE_HEAD;
    if (s->state != TG_H1_SERVER_ACTIVE)
        return TG_H1_PACE_NONE;
    if (tg_conn_pending(&s->conn) > 0)
        return TG_H1_PACE_ANSWER;
    return is_reading(s) ? TG_H1_PACE_BODY : TG_H1_PACE_NONE;
}

/* Bytes that have moved so far; differences have a meaning. */
static uint64_t pace_bytes(const struct tg_h1_server *s)
{
    switch (s->pace.kind) {
    case TG_H1_PACE_HEAD:
        return tg_inbuf_left(&s->in);
    case TG_H1_PACE_BODY:
        return s->discarding ? UINT64_MAX - s->out_left : s->stream.bytes_in;
    case TG_H1_PACE_ANSWER:
        return s->stream.bytes_out - tg_conn_pending(&s->conn);
    case TG_H1_PACE_NONE:
        break;
    }
    return 0;
}

static void start_pace(struct tg_h1_server *s, enum tg_h1_pace_kind kind)
{
    s->pace.kind = kind;
    s->pace.at = now(s);
    s->pace.bytes = kind == TG_H1_PACE_HEAD ? 0 : pace_bytes(s);
}

static bool is_slow(const struct tg_h1_server *s, uint64_t at)
{
    uint64_t rate =
        s->pace.kind == TG_H1_PACE_ANSWER ? s->limits->write_rate : s->limits->read_rate;
    uint64_t moved = pace_bytes(s) - s->pace.bytes;
    return s->pace.kind != TG_H1_PACE_NONE && rate > 0 &&
           moved < rate * ((at - s->pace.at) / TG_USEC_PER_MSEC) / 1000;
}

void tg_h1_server_settle(struct tg_h1_server *s)
{
    if (s->state == TG_H1_SERVER_CLOSED)
        return;
    enum tg_h1_pace_kind kind = pace_kind(s);
    uint64_t deadline = deadline_of(s);
    if (kind != s->pace.kind)
        start_pace(s, kind);
    if (kind != TG_H1_PACE_NONE)
        deadline = TG_MIN(deadline, s->pace.at + s->limits->rate_grace);
    tg_conn_set_reading(&s->conn, is_reading(s));
    tg_conn_set_deadline(&s->conn, deadline);
}

/* ---- The end of a connection -------------------------------------------------------------------
 */

static void finish(struct tg_h1_server *s, bool reset)
{
    if (s->state == TG_H1_SERVER_CLOSED)
        return;
    set_state(s, TG_H1_SERVER_CLOSED);
    tg_inbuf_release(&s->in, s->conn.worker->slab);
    tg_task_cancel(&s->soon);
    if (reset)
        tg_conn_reset(&s->conn);
    else
        tg_conn_close(&s->conn);
    s->magic = 0;
    s->events->closed(s);
}

/* The exchange is broken by the client: the gateway is told, who may still answer with `status`
 * when that is not 0. */
static void break_off(struct tg_h1_server *s, enum tg_err err, unsigned status)
{
    bool active = (s->state == TG_H1_SERVER_ACTIVE || s->state == TG_H1_SERVER_TUNNEL) &&
                  s->stream.events != NULL && !(s->out_done && s->state == TG_H1_SERVER_ACTIVE);
    if (status != 0 && active && !s->head_sent) {
        s->keep_alive = false;
        s->body_done = true; /* nothing more is read */
        tg_h1_server_settle(s);
        s->stream.events->on_aborted(&s->stream, err, status);
        return;
    }
    /* An answer that ends with the connection must not look whole. */
    bool partial = s->state == TG_H1_SERVER_ACTIVE && s->head_sent &&
                   (!s->out_done || s->failure != TG_OK || tg_conn_pending(&s->conn) > 0);
    const struct tg_stream_events *events = s->stream.events;
    s->stream.events = NULL;
    if (active)
        events->on_aborted(&s->stream, err, 0);
    finish(s, partial);
}

void tg_h1_server_fail_later(struct tg_h1_server *s, enum tg_err err)
{
    if (s->failure == TG_OK)
        s->failure = err;
    tg_loop_defer(&s->conn.worker->loop, &s->soon);
}

static void begin_linger(struct tg_h1_server *s)
{
    if (s->conn.eof || s->failure != TG_OK) {
        finish(s, false);
        return;
    }
    set_state(s, TG_H1_SERVER_LINGER);
    tg_inbuf_release(&s->in, s->conn.worker->slab);
    s->lingered = 0;
    tg_conn_shutdown(&s->conn);
    tg_h1_server_settle(s);
}

/* ---- Heads -------------------------------------------------------------------------------------
 */

static void reset_exchange(struct tg_h1_server *s)
{
    s->scan = (struct tg_head_scan){0};
    s->x = NULL;
    s->out_left = 0;
    s->keep_alive = s->want_body = s->body_done = s->head_sent = s->out_done = false;
    s->discarding = s->http10 = s->expects = false;
    s->stream.events = NULL;
    s->stream.owner = NULL;
    s->stream.arena = NULL;
    s->stream.bytes_in = s->stream.bytes_out = 0;
}

/* No request can be made of this: a bare answer, then the end. */
static void answer_bare(struct tg_h1_server *s)
{
    static char text[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
                         "Connection: close\r\n\r\n";
    struct iovec iov = {text, sizeof(text) - 1};
    if (tg_conn_write(&s->conn, &iov, 1) != TG_OK || tg_conn_pending(&s->conn) > 0)
        finish(s, false);
    else
        begin_linger(s);
}

/* Opens the exchange for the head in front of the input, which ends `head_n` bytes on. */
static struct tg_request_head *open_exchange(struct tg_h1_server *s, size_t head_n)
{
    struct tg_arena *arena = NULL;
    struct tg_request_head *head = s->events->begin(s, &arena);
    if (head == NULL)
        return NULL;
    s->x = tg_arena_zalloc(arena, sizeof(*s->x));
    if (s->x == NULL) {
        const struct tg_stream_events *events = s->stream.events;
        s->stream.events = NULL;
        events->on_aborted(&s->stream, TG_E_NOMEM, 0);
        return NULL;
    }
    s->stream.proven = s->requests++ > 0;
    s->stream.arena = arena;
    s->in.pos += (uint32_t)head_n;
    set_state(s, TG_H1_SERVER_ACTIVE);
    tg_h1_body_init(&s->x->body, TG_FRAMING_NONE, 0, arena, 0, 0);
    s->method = TG_METHOD_OTHER;
    return head;
}

static void refuse(struct tg_h1_server *s, struct tg_refusal refusal)
{
    s->keep_alive = false;
    s->body_done = true;
    s->http10 = false;
    tg_h1_server_settle(s);
    s->events->refused(s, &refusal);
}

/* A head that a scan found bad or too large. */
static void refuse_head(struct tg_h1_server *s, unsigned status, const char *why)
{
    struct tg_refusal refusal = {status, why};
    if (open_exchange(s, tg_inbuf_left(&s->in)) == NULL) {
        answer_bare(s);
        return;
    }
    tg_inbuf_release(&s->in, s->conn.worker->slab);
    refuse(s, refusal);
}

static void start_request(struct tg_h1_server *s)
{
    const char *p = tg_inbuf_at(&s->in) + s->scan.start;
    size_t n = s->scan.at - s->scan.start;
    struct tg_head_limits limits = {.fields = (uint32_t)s->limits->request_header_count,
                                    .target = (size_t)s->limits->request_target};
    struct tg_refusal refusal;
    struct tg_request_head *head = open_exchange(s, s->scan.at);
    if (head == NULL) {
        answer_bare(s);
        return;
    }
    limits.merge_slashes = s->merge_slashes;
    if (tg_inbuf_lend(&s->in, s->stream.arena) != TG_OK) {
        refuse(s, (struct tg_refusal){503, "out of memory for the head"});
        return;
    }
    if (!tg_h1_parse_request(p, n, &limits, s->stream.arena, head, &refusal)) {
        if (refusal.status == 431) /* it is not too long: that was seen before */
            tg_limit_hit(request_header_count);
        else if (refusal.status == 414)
            tg_limit_hit(request_target);
        refuse(s, refusal);
        return;
    }
    s->method = head->method;
    s->http10 = head->minor == 0;
    s->expects = head->expect_continue;
    s->body_done = head->framing == TG_FRAMING_NONE;
    if (head->keep_alive && s->requests >= s->limits->connection_requests)
        tg_limit_hit(connection_requests);
    s->keep_alive = head->keep_alive && s->requests < s->limits->connection_requests &&
                    !s->conn.worker->draining;
    if (head->framing == TG_FRAMING_LENGTH && head->length > s->limits->request_body) {
        tg_limit_hit(request_body);
        refuse(s, (struct tg_refusal){413, "request body too large"});
        return;
    }
    s->x->body_max = s->limits->request_body;
    tg_h1_body_init(&s->x->body, head->framing, head->length, s->stream.arena,
                    (uint32_t)s->limits->request_header_count,
                    (uint32_t)s->limits->request_headers);
    tg_h1_server_settle(s);
    s->events->request(s);
}

/* The head is not complete: room for more, or a refusal. */
static void await_head(struct tg_h1_server *s)
{
    size_t n = tg_inbuf_left(&s->in);
    if (s->scan.lines == 0 && n - s->scan.start > s->limits->request_target + 64) {
        tg_limit_hit(request_target);
        refuse_head(s, 414, "request target too long");
        return;
    }
    if (n > s->limits->request_headers) {
        tg_limit_hit(request_headers);
        refuse_head(s, 431, "request head too large");
        return;
    }
    if (s->in.end == s->in.cap && tg_inbuf_grow(&s->in, s->conn.worker->slab) != TG_OK) {
        answer_bare(s);
        return;
    }
    tg_h1_server_settle(s);
}

/* RFC 9113, 3.4: what a client of HTTP/2 sends first looks like a head, so that it is seen here. */
static bool is_preface(const struct tg_h1_server *s)
{
    static const struct tg_str head = {"PRI * HTTP/2.0\r\n\r\n", 18};
    return s->requests == 0 && s->scan.start == 0 && s->events->preface != NULL &&
           tg_str_eq(tg_str(tg_inbuf_at(&s->in), s->scan.at), head);
}

static void read_head(struct tg_h1_server *s)
{
    const char *why = NULL;
    switch (tg_head_scan(&s->scan, tg_inbuf_at(&s->in), tg_inbuf_left(&s->in), &why)) {
    case TG_SCAN_MORE:
        await_head(s);
        return;
    case TG_SCAN_BAD:
        refuse_head(s, 400, why);
        return;
    case TG_SCAN_DONE:
        break;
    }
    if (TG_UNLIKELY(is_preface(s))) {
        if (!s->events->preface(s))
            refuse_head(s, 505, "this port does not speak HTTP/2 in clear");
        return;
    }
    if (s->scan.at > s->limits->request_headers) {
        tg_limit_hit(request_headers);
        refuse_head(s, 431, "request head too large");
        return;
    }
    start_request(s);
}

static void begin_head(struct tg_h1_server *s)
{
    s->limits = s->events->limits(s);
    reset_exchange(s);
    set_state(s, TG_H1_SERVER_HEAD);
    read_head(s);
}

static void on_soon(struct tg_task *task)
{
    struct tg_h1_server *s = TG_CONTAINER_OF(task, struct tg_h1_server, soon);
    tg_magic_check(s, SERVER_MAGIC);
    if (s->failure != TG_OK)
        break_off(s, s->failure, 0);
    else if (s->state == TG_H1_SERVER_IDLE && tg_inbuf_left(&s->in) > 0)
        begin_head(s);
}

void tg_h1_server_advance(struct tg_h1_server *s)
{
    if (s->state != TG_H1_SERVER_ACTIVE || !s->out_done)
        return;
    if (tg_conn_pending(&s->conn) > 0 || (s->keep_alive && !s->body_done)) {
        tg_h1_server_settle(s);
        return;
    }
    if (!s->keep_alive) {
        begin_linger(s);
        return;
    }
    set_state(s, TG_H1_SERVER_IDLE);
    if (s->events->idle != NULL)
        s->events->idle(s);
    if (s->state != TG_H1_SERVER_IDLE)
        return;
    s->limits = s->events->limits(s);
    if (tg_inbuf_left(&s->in) > 0) {
        tg_loop_defer(&s->conn.worker->loop, &s->soon);
    } else if (s->conn.worker->draining || s->conn.eof) {
        finish(s, false);
        return;
    }
    tg_h1_server_settle(s);
}

/* ---- Bodies ------------------------------------------------------------------------------------
 */

static void body_bad(struct tg_h1_server *s)
{
    break_off(s, TG_E_PROTOCOL, 400);
}

/* Hands over `data`, which is what `used` bytes of the input held. They leave the input before the
 * call, because the gateway may answer within it, and what reads on then must not meet them again;
 * their memory goes after it. False when the exchange is not ours any more. */
static bool hand_over(struct tg_h1_server *s, struct tg_str data, size_t used)
{
    uint64_t exchange = s->requests;
    enum tg_h1_server_state state = s->state;
    s->stream.bytes_in += data.n;
    s->in.pos += (uint32_t)used;
    if (data.n > 0 && s->want_body)
        s->stream.events->on_body(&s->stream, data);
    if (tg_inbuf_left(&s->in) == 0)
        tg_inbuf_release(&s->in, s->conn.worker->slab);
    return s->state == state && s->requests == exchange && s->stream.events != NULL;
}

static void body_complete(struct tg_h1_server *s)
{
    tg_h1_server_settle(s);
    s->stream.events->on_body_end(&s->stream, &s->x->body.trailers);
}

static void pump_tunnel(struct tg_h1_server *s)
{
    size_t n = tg_inbuf_left(&s->in);
    if (s->want_body && n > 0)
        hand_over(s, tg_str(tg_inbuf_at(&s->in), n), n);
}

/* Drops what is left of a body that nobody wants; its exchange is over. */
static void discard(struct tg_h1_server *s)
{
    size_t n = (size_t)TG_MIN((uint64_t)tg_inbuf_left(&s->in), s->out_left);
    if (n == 0)
        return;
    s->out_left -= n;
    s->body_done = s->out_left == 0;
    tg_inbuf_consume(&s->in, s->conn.worker->slab, n);
    if (s->body_done)
        tg_h1_server_advance(s);
}

static void pump_body(struct tg_h1_server *s)
{
    while (s->state == TG_H1_SERVER_ACTIVE && s->want_body && !s->body_done &&
           tg_inbuf_left(&s->in) > 0) {
        struct tg_str data;
        size_t used;
        enum tg_body_result result = tg_h1_body_decode(&s->x->body, tg_inbuf_at(&s->in),
                                                       tg_inbuf_left(&s->in), &used, &data);
        if (result == TG_BODY_BAD) {
            body_bad(s);
            return;
        }
        if (s->x->body.seen > s->x->body_max) {
            if (s->x->body.seen > s->limits->request_body)
                tg_limit_hit(request_body);
            break_off(s, TG_E_LIMIT, 413);
            return;
        }
        s->body_done = result == TG_BODY_END;
        if (!hand_over(s, data, used))
            return;
        if (result == TG_BODY_END) {
            body_complete(s);
            return;
        }
    }
}

void tg_h1_server_pump(struct tg_h1_server *s)
{
    if (s->state == TG_H1_SERVER_TUNNEL)
        pump_tunnel(s);
    else if (s->discarding)
        discard(s);
    else
        pump_body(s);
}

void tg_h1_server_begin_tunnel(struct tg_h1_server *s)
{
    set_state(s, TG_H1_SERVER_TUNNEL);
    s->keep_alive = false;
    s->body_done = false; /* now: the client's half of the tunnel */
    tg_h1_server_settle(s);
}

/* ---- Events of the connection ------------------------------------------------------------------
 */

/* The client ended its side, or the connection failed, while we read. */
static void read_ended(struct tg_h1_server *s, enum tg_err err)
{
    if (s->state == TG_H1_SERVER_TUNNEL && err == TG_E_CLOSED) {
        s->body_done = true;
        tg_h1_server_settle(s);
        s->stream.events->on_body_end(&s->stream, &s->x->body.trailers);
        if (s->state == TG_H1_SERVER_TUNNEL && s->out_done && tg_conn_pending(&s->conn) == 0)
            finish(s, false);
        return;
    }
    if (s->state == TG_H1_SERVER_ACTIVE || s->state == TG_H1_SERVER_TUNNEL)
        break_off(s, err, 0);
    else
        finish(s, false);
}

static void drop_input(struct tg_h1_server *s)
{
    s->lingered += tg_inbuf_left(&s->in);
    tg_inbuf_release(&s->in, s->conn.worker->slab);
    if (s->lingered > LINGER_BYTES)
        finish(s, false);
}

static void on_readable(struct tg_conn *conn)
{
    struct tg_h1_server *s = TG_CONTAINER_OF(conn, struct tg_h1_server, conn);
    bool head = s->state == TG_H1_SERVER_IDLE || s->state == TG_H1_SERVER_HEAD;
    size_t n;
    tg_magic_check(s, SERVER_MAGIC);
    refresh_limits(s);
    size_t size = head ? HEAD_BUFFER : (size_t)s->limits->connection_buffer;
    if (s->state == TG_H1_SERVER_IDLE && tg_inbuf_left(&s->in) > 0) {
        begin_head(s); /* a pipelined request waits for `later`, and may fill its buffer */
        return;
    }
    if (tg_inbuf_reserve(&s->in, conn->worker->slab, size) != TG_OK) {
        read_ended(s, TG_E_NOMEM);
        return;
    }
    enum tg_err err = tg_conn_read(conn, s->in.mem + s->in.end, s->in.cap - s->in.end, &n);
    if (err != TG_OK) {
        if (tg_inbuf_left(&s->in) == 0)
            tg_inbuf_release(&s->in, conn->worker->slab);
        if (err != TG_E_AGAIN)
            read_ended(s, err);
        return;
    }
    s->in.end += (uint32_t)n;
    switch (s->state) {
    case TG_H1_SERVER_IDLE:
        begin_head(s);
        break;
    case TG_H1_SERVER_HEAD:
        read_head(s);
        break;
    case TG_H1_SERVER_ACTIVE:
        s->since = now(s);
        tg_h1_server_settle(s);
        tg_h1_server_pump(s);
        break;
    case TG_H1_SERVER_TUNNEL:
        tg_h1_server_pump(s);
        break;
    case TG_H1_SERVER_LINGER:
        drop_input(s);
        break;
    case TG_H1_SERVER_CLOSED:
        break;
    }
}

/* The end of an answer has gone, which the kernel did not take at the end of its round. */
static void idle_at_last(struct tg_h1_server *s)
{
    s->since = now(s);
    if (s->events->idle != NULL)
        s->events->idle(s);
    if (s->state == TG_H1_SERVER_IDLE && s->conn.worker->draining)
        tg_h1_server_drain(s);
    tg_h1_server_settle(s);
}

static void on_drained(struct tg_conn *conn)
{
    struct tg_h1_server *s = TG_CONTAINER_OF(conn, struct tg_h1_server, conn);
    tg_magic_check(s, SERVER_MAGIC);
    refresh_limits(s);
    if (s->state == TG_H1_SERVER_TUNNEL && s->out_done) {
        tg_conn_shutdown(conn);
        if (s->body_done)
            finish(s, false);
        else
            tg_h1_server_settle(s);
        return;
    }
    if (s->state == TG_H1_SERVER_IDLE) {
        idle_at_last(s);
        return;
    }
    if (s->out_done) {
        tg_h1_server_advance(s);
        return;
    }
    tg_h1_server_settle(s);
    if (s->stream.events != NULL)
        s->stream.events->on_drained(&s->stream);
}

static void on_lost(struct tg_conn *conn, enum tg_err err)
{
    struct tg_h1_server *s = TG_CONTAINER_OF(conn, struct tg_h1_server, conn);
    tg_magic_check(s, SERVER_MAGIC);
    if (s->state == TG_H1_SERVER_TUNNEL && err == TG_E_CLOSED)
        return; /* reading is paused: the end is read in its turn */
    break_off(s, err, 0);
}

/* The client was measured long enough: it goes, or is measured anew. */
static void judge_pace(struct tg_h1_server *s)
{
    if (!is_slow(s, now(s))) {
        start_pace(s, s->pace.kind);
        s->pace.bytes = pace_bytes(s);
        tg_h1_server_settle(s);
        return;
    }
    if (s->pace.kind == TG_H1_PACE_ANSWER) {
        tg_limit_hit(write_rate);
        break_off(s, TG_E_TIMEOUT, 0);
        return;
    }
    tg_limit_hit(read_rate);
    if (s->pace.kind == TG_H1_PACE_HEAD)
        refuse_head(s, 408, "request head came too slowly");
    else
        break_off(s, TG_E_TIMEOUT, 408);
}

static void on_timeout(struct tg_conn *conn)
{
    struct tg_h1_server *s = TG_CONTAINER_OF(conn, struct tg_h1_server, conn);
    tg_magic_check(s, SERVER_MAGIC);
    refresh_limits(s);
    uint64_t deadline = deadline_of(s);
    if (deadline == 0 || deadline > now(s)) {
        if (s->pace.kind == pace_kind(s) && s->pace.kind != TG_H1_PACE_NONE &&
            now(s) >= s->pace.at + s->limits->rate_grace)
            judge_pace(s);
        else
            tg_h1_server_settle(s); /* bytes went out since it was set */
        return;
    }
    if (s->state == TG_H1_SERVER_HEAD) {
        tg_limit_hit(head_timeout);
        refuse_head(s, 408, "request head took too long");
        return;
    }
    if (s->state == TG_H1_SERVER_ACTIVE && tg_conn_pending(conn) == 0) {
        tg_limit_hit(read_timeout);
        break_off(s, TG_E_TIMEOUT, 408);
        return;
    }
    if (tg_conn_pending(conn) > 0)
        tg_limit_hit(write_timeout);
    else if (s->state == TG_H1_SERVER_IDLE)
        tg_limit_hit(idle_timeout);
    break_off(s, TG_E_TIMEOUT, 0);
}

static const struct tg_conn_handler conn_handler = {
    .on_readable = on_readable,
    .on_drained = on_drained,
    .on_gone = on_lost,
    .on_failed = on_lost,
    .on_timeout = on_timeout,
};

/* ---- Life --------------------------------------------------------------------------------------
 */

static void prepare(struct tg_h1_server *server, const struct tg_h1_server_events *events)
{
    *server = (struct tg_h1_server){.magic = SERVER_MAGIC, .events = events};
    server->stream.ops = &tg_h1_server_ops;
    tg_task_init(&server->soon, on_soon);
}

/* The connection stands, or not. */
static enum tg_err begin(struct tg_h1_server *server, enum tg_err err)
{
    if (err != TG_OK)
        return err;
    server->limits = server->events->limits(server);
    server->since = now(server);
    tg_h1_server_settle(server);
    return TG_OK;
}

enum tg_err tg_h1_server_open(struct tg_h1_server *server, struct tg_worker *worker, int fd,
                              const struct tg_h1_server_events *events)
{
    prepare(server, events);
    return begin(server, tg_conn_open(&server->conn, worker, fd, &conn_handler));
}

enum tg_err tg_h1_server_adopt(struct tg_h1_server *server, struct tg_conn *from,
                               const struct tg_h1_server_events *events)
{
    prepare(server, events);
    return begin(server, tg_conn_adopt(&server->conn, from, &conn_handler));
}

enum tg_err tg_h1_server_leave(struct tg_h1_server *server, struct tg_conn *conn,
                               struct tg_inbuf *in)
{
    *in = server->in;
    server->in = (struct tg_inbuf){0};
    tg_task_cancel(&server->soon);
    server->magic = 0;
    server->state = TG_H1_SERVER_CLOSED;
    return tg_conn_adopt(conn, &server->conn, &conn_handler);
}

void tg_h1_server_drain(struct tg_h1_server *server)
{
    if (server->state == TG_H1_SERVER_IDLE) {
        bool failed = tg_conn_send_held(&server->conn) != TG_OK;
        if (failed || (tg_inbuf_left(&server->in) == 0 && tg_conn_pending(&server->conn) == 0))
            finish(server, false);
    } else if (server->state == TG_H1_SERVER_ACTIVE && !server->head_sent) {
        server->keep_alive = false;
    }
}

enum tg_h1_relief tg_h1_server_relieve(struct tg_h1_server *s, uint64_t at, uint64_t patience)
{
    refresh_limits(s);
    switch (s->state) {
    case TG_H1_SERVER_IDLE:
        if (tg_inbuf_left(&s->in) > 0 ||
            at - s->since < patience * (s->requests > 0 ? TG_STREAM_CREDIT : 1))
            return TG_H1_RELIEF_NONE;
        finish(s, false);
        return TG_H1_RELIEF_IDLE;
    case TG_H1_SERVER_HEAD:
    case TG_H1_SERVER_LINGER:
        if (at - s->since < patience)
            return TG_H1_RELIEF_NONE;
        finish(s, false);
        return TG_H1_RELIEF_SLOW;
    case TG_H1_SERVER_ACTIVE:
        if (at - s->pace.at < patience || s->pace.kind != pace_kind(s) || !is_slow(s, at))
            return TG_H1_RELIEF_NONE;
        break_off(s, TG_E_TIMEOUT, 0);
        return TG_H1_RELIEF_SLOW;
    case TG_H1_SERVER_TUNNEL:
    case TG_H1_SERVER_CLOSED:
        break;
    }
    return TG_H1_RELIEF_NONE;
}

void tg_h1_server_close(struct tg_h1_server *server)
{
    if (server->state != TG_H1_SERVER_CLOSED)
        break_off(server, TG_E_CANCELLED, 0);
}

void tg_h1_server_abort(struct tg_h1_server *server)
{
    server->stream.events = NULL;
    finish(server, true);
}
