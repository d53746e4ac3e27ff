/* h1_client.c: see h1_client.h.
 *
 * Re-entrancy: an event may close the connection or end the exchange. What goes on after one asks
 * `requests` and the state whether the exchange is still the same. */
#include "base/banned.h"
#include "http/h1_client.h"

#include "base/assert.h"
#include "base/limits.h"
#include "http/h1_write.h"

#define CLIENT_MAGIC 0xc11e4701u
#define HEAD_BUFFER  16384u
#define STAGE_EXTRA  ((size_t)2048)
#define CHUNK_LINE   18

static struct tg_h1_client *client_of(struct tg_call *call)
{
    return TG_CONTAINER_OF(call, struct tg_h1_client, call);
}

static uint64_t now(const struct tg_h1_client *c)
{
    return tg_loop_now(&c->conn.worker->loop);
}

static void set_state(struct tg_h1_client *c, enum tg_h1_client_state to)
{
    static const unsigned allowed[] = {
        [TG_H1_CLIENT_CONNECTING] = 1u << TG_H1_CLIENT_IDLE | 1u << TG_H1_CLIENT_CLOSED,
        [TG_H1_CLIENT_IDLE] = 1u << TG_H1_CLIENT_BUSY | 1u << TG_H1_CLIENT_CLOSED,
        [TG_H1_CLIENT_BUSY] =
            1u << TG_H1_CLIENT_IDLE | 1u << TG_H1_CLIENT_TUNNEL | 1u << TG_H1_CLIENT_CLOSED,
        [TG_H1_CLIENT_TUNNEL] = 1u << TG_H1_CLIENT_CLOSED,
        [TG_H1_CLIENT_CLOSED] = 0,
    };
    tg_assert(allowed[c->state] & (1u << to));
    c->state = to;
    c->since = now(c);
}

static bool is_reading(const struct tg_h1_client *c)
{
    switch (c->state) {
    case TG_H1_CLIENT_IDLE:
        return true;
    case TG_H1_CLIENT_BUSY:
    case TG_H1_CLIENT_TUNNEL:
        return !c->in_done && (c->want || !c->head_done);
    default:
        return false;
    }
}

static uint64_t response_deadline(const struct tg_h1_client *c)
{
    uint64_t at = c->out_done ? c->since + c->limits.response : UINT64_MAX;
    if (c->limits.deadline > 0)
        at = TG_MIN(at, c->limits.deadline);
    return at == UINT64_MAX ? 0 : at;
}

static uint64_t deadline_of(const struct tg_h1_client *c)
{
    switch (c->state) {
    case TG_H1_CLIENT_CONNECTING:
        return c->since + c->connect_timeout;
    case TG_H1_CLIENT_IDLE:
        return c->since + c->limits.io;
    case TG_H1_CLIENT_BUSY:
        if (tg_conn_pending(&c->conn) > 0)
            return c->conn.sent_at + c->limits.io;
        if (!c->head_done)
            return response_deadline(c);
        return is_reading(c) ? c->since + c->limits.io : 0;
    default:
        return 0; /* tunnels: the gateway watches both ends together */
    }
}

static void settle(struct tg_h1_client *c)
{
    if (c->state == TG_H1_CLIENT_CLOSED)
        return;
    tg_conn_set_reading(&c->conn, is_reading(c));
    tg_conn_set_deadline(&c->conn, deadline_of(c));
}

/* ---- Ends --------------------------------------------------------------------------------------
 */

void tg_h1_client_close(struct tg_h1_client *client)
{
    if (client->state == TG_H1_CLIENT_CLOSED)
        return;
    set_state(client, TG_H1_CLIENT_CLOSED);
    tg_inbuf_release(&client->in, client->conn.worker->slab);
    tg_task_cancel(&client->report);
    tg_conn_close(&client->conn);
    client->magic = 0;
}

static void fail(struct tg_h1_client *c, enum tg_err err, const char *reason)
{
    tg_h1_client_close(c);
    c->call.events->on_failed(&c->call, err, reason);
}

static void fail_later(struct tg_h1_client *c, enum tg_err err)
{
    if (c->failure == TG_OK)
        c->failure = err;
    tg_loop_defer(&c->conn.worker->loop, &c->report);
}

static void on_report(struct tg_task *task)
{
    struct tg_h1_client *c = TG_CONTAINER_OF(task, struct tg_h1_client, report);
    tg_magic_check(c, CLIENT_MAGIC);
    fail(c, c->failure, NULL);
}

/* ---- Reading -----------------------------------------------------------------------------------
 */

/* True while the exchange that an event was sent for is still the one at hand. */
static bool is_same(const struct tg_h1_client *c, uint64_t exchange)
{
    return (c->state == TG_H1_CLIENT_BUSY || c->state == TG_H1_CLIENT_TUNNEL) &&
           c->requests == exchange;
}

/* Parses the head that the scan found. Its bytes stay in the arena; false: failed and told. */
static bool take_head(struct tg_h1_client *c, struct tg_response_head **out)
{
    const char *p = tg_inbuf_at(&c->in) + c->scan.start;
    size_t n = c->scan.at - c->scan.start;
    struct tg_head_limits limits = {.fields = c->limits.fields};
    struct tg_refusal refusal = {502, NULL};
    struct tg_response_head *head = tg_arena_alloc(c->arena, sizeof(*head));
    c->in.pos += (uint32_t)c->scan.at;
    c->scan = (struct tg_head_scan){0};
    if (head == NULL || (!c->in.borrowed && tg_inbuf_lend(&c->in, c->arena) != TG_OK)) {
        fail(c, TG_E_NOMEM, NULL);
        return false;
    }
    if (!tg_h1_parse_response(p, n, &limits, c->method, c->arena, head, &refusal)) {
        if (refusal.status == 431)
            tg_limit_hit(response_header_count);
        fail(c, refusal.status == 503 ? TG_E_NOMEM : TG_E_PROTOCOL, refusal.reason);
        return false;
    }
    *out = head;
    return true;
}

static void complete(struct tg_h1_client *c)
{
    settle(c);
    c->call.events->on_end(&c->call, &c->body.trailers);
}

static void final_head(struct tg_h1_client *c, const struct tg_response_head *head)
{
    uint64_t exchange = c->requests;
    bool whole = head->framing == TG_FRAMING_NONE && head->status != 101;
    c->head_done = true;
    c->keep_alive = head->keep_alive;
    c->in_done = whole;
    c->since = now(c);
    tg_h1_body_init(&c->body, head->framing, head->length, c->arena, c->limits.fields,
                    c->limits.head);
    settle(c);
    c->call.events->on_head(&c->call, head);
    if (whole && is_same(c, exchange) && c->in_done) /* it has not become a tunnel */
        complete(c);
}

/* Room behind a head that is not complete; what an informational head shares with the arena is
 * copied first. */
static bool make_room(struct tg_h1_client *c)
{
    struct tg_slab *slab = c->conn.worker->slab;
    if (tg_inbuf_reclaim(&c->in, slab) != TG_OK)
        return false;
    return c->in.end < c->in.cap || tg_inbuf_grow(&c->in, slab) == TG_OK;
}

static void fail_too_large(struct tg_h1_client *c)
{
    tg_limit_hit(response_headers);
    fail(c, TG_E_PROTOCOL, "origin: response head too large");
}

/* Looks for a head in the input. */
static void read_head(struct tg_h1_client *c)
{
    const char *why = NULL;
    struct tg_response_head *head;
    switch (tg_head_scan(&c->scan, tg_inbuf_at(&c->in), tg_inbuf_left(&c->in), &why)) {
    case TG_SCAN_BAD:
        fail(c, TG_E_PROTOCOL, why);
        return;
    case TG_SCAN_MORE:
        if (tg_inbuf_left(&c->in) > c->limits.head)
            fail_too_large(c);
        else if (!make_room(c))
            fail(c, TG_E_NOMEM, NULL);
        return;
    case TG_SCAN_DONE:
        break;
    }
    if (c->scan.at > c->limits.head) {
        fail_too_large(c);
        return;
    }
    if (!take_head(c, &head))
        return;
    if (head->status >= 200 || head->status == 101)
        final_head(c, head);
    else
        c->call.events->on_info(&c->call, head);
}

/* Hands over `data`, which is what `used` bytes of the input held. They leave the input before the
 * call, so that reading within it goes on behind them; their memory goes after it. False when the
 * exchange is over. */
static bool hand_over(struct tg_h1_client *c, struct tg_str data, size_t used)
{
    uint64_t exchange = c->requests;
    c->in.pos += (uint32_t)used;
    if (data.n > 0)
        c->call.events->on_body(&c->call, data);
    if (tg_inbuf_left(&c->in) == 0)
        tg_inbuf_release(&c->in, c->conn.worker->slab);
    return is_same(c, exchange);
}

/* Decodes and hands over one piece; false when there is no more to do. */
static bool read_body(struct tg_h1_client *c)
{
    struct tg_str data;
    size_t used;
    enum tg_body_result result =
        tg_h1_body_decode(&c->body, tg_inbuf_at(&c->in), tg_inbuf_left(&c->in), &used, &data);
    if (result == TG_BODY_BAD) {
        fail(c, TG_E_PROTOCOL, "origin: malformed chunked body");
        return false;
    }
    c->in_done = result == TG_BODY_END;
    if (!hand_over(c, data, used))
        return false;
    if (c->in_done)
        complete(c);
    return result == TG_BODY_MORE;
}

static void read_tunnel(struct tg_h1_client *c)
{
    size_t n = tg_inbuf_left(&c->in);
    hand_over(c, tg_str(tg_inbuf_at(&c->in), n), n);
}

/* Works through the input as far as it is wanted. */
static void pump(struct tg_h1_client *c)
{
    uint64_t exchange = c->requests;
    while (is_same(c, exchange) && tg_inbuf_left(&c->in) > 0 && !c->in_done) {
        size_t before = tg_inbuf_left(&c->in);
        bool had_head = c->head_done;
        if (c->head_done && !c->want)
            break;
        if (c->state == TG_H1_CLIENT_TUNNEL)
            read_tunnel(c);
        else if (!c->head_done)
            read_head(c);
        else if (!read_body(c))
            break;
        if (is_same(c, exchange) && tg_inbuf_left(&c->in) == before && c->head_done == had_head)
            break;
    }
    if (is_same(c, exchange)) {
        settle(c);
        c->call.events->on_pause(&c->call);
    }
}

/* ---- Events of the connection ------------------------------------------------------------------
 */

static void read_ended(struct tg_h1_client *c, enum tg_err err)
{
    if (err == TG_E_CLOSED && c->state == TG_H1_CLIENT_TUNNEL) {
        c->in_done = true;
        settle(c);
        c->call.events->on_end(&c->call, &c->body.trailers);
        return;
    }
    if (err == TG_E_CLOSED && c->state == TG_H1_CLIENT_BUSY && c->head_done &&
        tg_h1_body_end(&c->body)) {
        c->in_done = true;
        complete(c);
        return;
    }
    fail(c, err, NULL);
}

static void on_readable(struct tg_conn *conn)
{
    struct tg_h1_client *c = TG_CONTAINER_OF(conn, struct tg_h1_client, conn);
    size_t n;
    tg_magic_check(c, CLIENT_MAGIC);
    if (c->state == TG_H1_CLIENT_IDLE) {
        char byte;
        if (tg_conn_read(conn, &byte, 1, &n) !=
            TG_E_AGAIN)                 /* more than a word between transports */
            fail(c, TG_E_CLOSED, NULL); /* the origin ended it, or speaks out of turn */
        return;
    }
    size_t size = c->head_done ? c->limits.buffer : HEAD_BUFFER;
    if (tg_inbuf_reserve(&c->in, conn->worker->slab, size) != TG_OK) {
        fail(c, TG_E_NOMEM, NULL);
        return;
    }
    enum tg_err err = tg_conn_read(conn, c->in.mem + c->in.end, c->in.cap - c->in.end, &n);
    if (err != TG_OK) {
        if (tg_inbuf_left(&c->in) == 0)
            tg_inbuf_release(&c->in, conn->worker->slab);
        if (err != TG_E_AGAIN)
            read_ended(c, err);
        return;
    }
    c->in.end += (uint32_t)n;
    c->call.got_bytes = true;
    if (c->head_done) /* before that, `response` counts from the end of the request */
        c->since = now(c);
    pump(c);
}

static void on_drained(struct tg_conn *conn)
{
    struct tg_h1_client *c = TG_CONTAINER_OF(conn, struct tg_h1_client, conn);
    tg_magic_check(c, CLIENT_MAGIC);
    if (c->state == TG_H1_CLIENT_TUNNEL && c->out_done)
        tg_conn_shutdown(conn);
    if (c->out_done && !c->head_done)
        c->since = now(c);
    settle(c);
    c->call.events->on_drained(&c->call);
}

static void on_lost(struct tg_conn *conn, enum tg_err err)
{
    struct tg_h1_client *c = TG_CONTAINER_OF(conn, struct tg_h1_client, conn);
    tg_magic_check(c, CLIENT_MAGIC);
    if (err == TG_E_CLOSED && (c->state == TG_H1_CLIENT_TUNNEL || c->state == TG_H1_CLIENT_BUSY))
        return; /* reading is paused: the end is read in its turn */
    fail(c, err, NULL);
}

/* Which bound was met when a deadline is over. */
static void count_timeout(const struct tg_h1_client *c)
{
    if (c->state == TG_H1_CLIENT_CONNECTING)
        tg_limit_hit(upstream_connect_timeout);
    else if (c->state == TG_H1_CLIENT_IDLE)
        tg_limit_hit(upstream_keepalive_timeout);
    else if (c->head_done || tg_conn_pending(&c->conn) > 0)
        tg_limit_hit(upstream_idle_timeout);
    else if (c->limits.deadline == 0 || c->limits.deadline > now(c)) /* else it is the owner's */
        tg_limit_hit(upstream_response_timeout);
}

static void on_timeout(struct tg_conn *conn)
{
    struct tg_h1_client *c = TG_CONTAINER_OF(conn, struct tg_h1_client, conn);
    tg_magic_check(c, CLIENT_MAGIC);
    uint64_t deadline = deadline_of(c);
    if (deadline == 0 || deadline > now(c)) {
        settle(c);
        return;
    }
    count_timeout(c);
    fail(c, TG_E_TIMEOUT, NULL);
}

static void on_connected(struct tg_conn *conn, enum tg_err err)
{
    struct tg_h1_client *c = TG_CONTAINER_OF(conn, struct tg_h1_client, conn);
    tg_magic_check(c, CLIENT_MAGIC);
    if (err != TG_OK) {
        fail(c, err, tg_conn_problem(conn));
        return;
    }
    c->report.run = on_report;
    set_state(c, TG_H1_CLIENT_IDLE);
    c->call.events->on_connected(&c->call);
}

static const struct tg_conn_handler conn_handler = {
    .on_readable = on_readable,
    .on_drained = on_drained,
    .on_gone = on_lost,
    .on_failed = on_lost,
    .on_timeout = on_timeout,
    .on_connected = on_connected,
};

/* ---- Writing -----------------------------------------------------------------------------------
 */

static void write_out(struct tg_h1_client *c, struct iovec *iov, int count)
{
    if (c->failure != TG_OK)
        return;
    enum tg_err err = tg_conn_write(&c->conn, iov, count);
    if (err != TG_OK)
        fail_later(c, err);
}

/* Writes what is staged by `write`: tg_conn_write(), or for the end of a request
 * tg_conn_write_last(). */
static void write_stage(struct tg_h1_client *c, tg_conn_writer *write)
{
    struct tg_fmt stage = c->stage;
    c->stage.p = NULL;
    if (stage.p == NULL || c->failure != TG_OK)
        return;
    struct iovec iov = {stage.p, stage.n};
    enum tg_err err = stage.failed ? TG_E_NOMEM : write(&c->conn, &iov, 1);
    if (err != TG_OK)
        fail_later(c, err);
}

static void flush_stage(struct tg_h1_client *c)
{
    write_stage(c, tg_conn_write);
}

static struct tg_fmt *open_stage(struct tg_h1_client *c, size_t size)
{
    tg_fmt_init_arena(&c->stage, c->arena, size);
    if (c->stage.failed)
        fail_later(c, TG_E_NOMEM);
    return &c->stage;
}

static struct tg_fmt *stage(struct tg_call *call, size_t size)
{
    struct tg_h1_client *client = client_of(call);
    bool has_body =
        client->method != TG_METHOD_GET && client->method != TG_METHOD_HEAD; /* mostly */
    return open_stage(client, size + (has_body ? STAGE_EXTRA : 0));
}

static void set_framing(struct tg_call *call, enum tg_framing framing)
{
    client_of(call)->out_framing = framing;
}

static void stage_chunk(struct tg_fmt *f, bool chunked, struct tg_str data)
{
    char line[CHUNK_LINE];
    if (chunked)
        tg_fmt_bytes(f, line, tg_h1_write_chunk_size(line, data.n));
    tg_fmt_add(f, data);
    if (chunked)
        tg_fmt_lit(f, "\r\n");
}

static void send_body(struct tg_call *call, struct tg_str data)
{
    struct tg_h1_client *client = client_of(call);
    struct tg_fmt *f = &client->stage;
    bool chunked = client->out_framing == TG_FRAMING_CHUNKED;
    struct iovec iov[4];
    char line[CHUNK_LINE];
    int n = 0;
    if (data.n == 0)
        return;
    if (f->failed)
        return; /* no part of a head may go; told when it is flushed */
    if (f->p != NULL && data.n <= STAGE_EXTRA && f->cap - f->n >= data.n + CHUNK_LINE + 2) {
        stage_chunk(f, chunked, data);
        return;
    }
    if (f->p != NULL)
        iov[n++] = (struct iovec){f->p, f->n};
    if (chunked)
        iov[n++] = (struct iovec){line, tg_h1_write_chunk_size(line, data.n)};
    iov[n++] = (struct iovec){(void *)(uintptr_t)data.p, data.n};
    if (chunked)
        iov[n++] = (struct iovec){(void *)(uintptr_t) "\r\n", 2};
    f->p = NULL;
    write_out(client, iov, n);
    settle(client);
}

static void send_end(struct tg_call *call, const struct tg_fields *trailers)
{
    struct tg_h1_client *client = client_of(call);
    struct tg_fmt *f = &client->stage;
    if (client->out_framing == TG_FRAMING_CHUNKED && client->state == TG_H1_CLIENT_BUSY) {
        if (f->p == NULL)
            open_stage(client, 256);
        tg_fmt_lit(f, "0\r\n");
        if (trailers != NULL)
            tg_h1_write_fields(f, trailers);
        tg_fmt_lit(f, "\r\n");
    }
    client->out_done = true;
    client->since = now(client);
    write_stage(client, client->state == TG_H1_CLIENT_BUSY ? tg_conn_write_last : tg_conn_write);
    if (client->state == TG_H1_CLIENT_TUNNEL && tg_conn_pending(&client->conn) == 0)
        tg_conn_shutdown(&client->conn);
    settle(client);
}

static void flush(struct tg_call *call)
{
    struct tg_h1_client *client = client_of(call);
    flush_stage(client);
    settle(client);
}

static size_t pending(const struct tg_call *call)
{
    return tg_conn_pending(&TG_CONTAINER_OF(call, struct tg_h1_client, call)->conn);
}

/* ---- The exchange ------------------------------------------------------------------------------
 */

static void begin(struct tg_call *call, struct tg_arena *arena, enum tg_method method,
                  const struct tg_call_limits *limits)
{
    struct tg_h1_client *client = client_of(call);
    tg_magic_check(client, CLIENT_MAGIC);
    set_state(client, TG_H1_CLIENT_BUSY);
    client->arena = arena;
    client->method = method;
    client->limits = *limits;
    client->scan = (struct tg_head_scan){0};
    client->stage = (struct tg_fmt){0};
    client->out_framing = TG_FRAMING_NONE;
    call->reused = client->requests++ > 0;
    call->got_bytes = client->head_done = client->in_done = client->out_done = false;
    client->keep_alive = false;
    client->want = true;
    settle(client);
}

static void read_on(struct tg_call *call, bool on)
{
    struct tg_h1_client *client = client_of(call);
    if (on && !client->want)
        client->since = now(client);
    client->want = on;
    settle(client);
    if (on)
        pump(client);
}

static void begin_tunnel(struct tg_call *call)
{
    struct tg_h1_client *client = client_of(call);
    set_state(client, TG_H1_CLIENT_TUNNEL);
    client->head_done = true;
    client->in_done = false;
    client->out_done = false;
    client->out_framing = TG_FRAMING_CLOSE;
    settle(client);
}

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

/* ---- Life --------------------------------------------------------------------------------------
 */

static void prepare(struct tg_h1_client *c, const struct tg_call_events *events, void *owner)
{
    *c = (struct tg_h1_client){.magic = CLIENT_MAGIC,
                               .call = {.ops = &call_ops, .events = events, .owner = owner}};
    tg_task_init(&c->report, on_report);
}

enum tg_err tg_h1_client_open(struct tg_h1_client *client, struct tg_worker *worker,
                              const struct tg_addr *addr, uint64_t timeout,
                              const struct tg_call_events *events, void *owner)
{
    prepare(client, events, owner);
    client->connect_timeout = timeout;
    enum tg_err err = tg_conn_connect(&client->conn, worker, addr, &conn_handler);
    if (err != TG_OK)
        return err;
    client->since = now(client);
    settle(client);
    return TG_OK;
}

static void on_open(struct tg_task *task)
{
    on_connected(&TG_CONTAINER_OF(task, struct tg_h1_client, report)->conn, TG_OK);
}

enum tg_err tg_h1_client_open_fd(struct tg_h1_client *client, struct tg_worker *worker, int fd,
                                 const struct tg_call_events *events, void *owner)
{
    prepare(client, events, owner);
    enum tg_err err = tg_conn_open(&client->conn, worker, fd, &conn_handler);
    if (err != TG_OK)
        return err;
    client->report.run = on_open;
    tg_loop_defer(&worker->loop, &client->report);
    return TG_OK;
}

enum tg_err tg_h1_client_open_pending(struct tg_h1_client *client, struct tg_worker *worker, int fd,
                                      uint64_t timeout, const struct tg_call_events *events,
                                      void *owner)
{
    prepare(client, events, owner);
    client->connect_timeout = timeout;
    enum tg_err err = tg_conn_open(&client->conn, worker, fd, &conn_handler);
    if (err != TG_OK)
        return err;
    client->since = now(client);
    settle(client);
    return TG_OK;
}

void tg_h1_client_connected(struct tg_h1_client *client, enum tg_err err)
{
    tg_magic_check(client, CLIENT_MAGIC);
    tg_assert(client->state == TG_H1_CLIENT_CONNECTING);
    client->failure = err;
    client->report.run = err == TG_OK ? on_open : on_report;
    tg_loop_defer(&client->conn.worker->loop, &client->report);
}

bool tg_h1_client_is_reusable(struct tg_h1_client *client)
{
    return client->state == TG_H1_CLIENT_BUSY && client->in_done && client->out_done &&
           client->keep_alive && client->failure == TG_OK &&
           tg_conn_send_held(&client->conn) == TG_OK && tg_conn_pending(&client->conn) == 0 &&
           tg_inbuf_left(&client->in) == 0 && /* bytes behind the answer: nothing to build on */
           !client->conn.eof;
}

void tg_h1_client_rest(struct tg_h1_client *client, const struct tg_call_events *events,
                       void *owner, uint64_t idle_timeout)
{
    tg_assert(tg_h1_client_is_reusable(client));
    tg_inbuf_release(&client->in, client->conn.worker->slab);
    set_state(client, TG_H1_CLIENT_IDLE);
    client->call.events = events;
    client->call.owner = owner;
    client->arena = NULL;
    client->limits.io = idle_timeout;
    settle(client);
}

void tg_h1_client_wait(struct tg_h1_client *client, const struct tg_call_events *events,
                       void *owner, uint64_t idle_timeout)
{
    tg_assert(client->state == TG_H1_CLIENT_IDLE);
    client->call.events = events;
    client->call.owner = owner;
    client->limits.io = idle_timeout;
    settle(client);
}
