/* h2_server.c: the connection: reading, sending, states, floods, time.
 *
 * Re-entrancy: the gateway is called from within nghttp2_session_mem_recv() and _mem_send(), and
 * calls back; nothing it calls runs the session or frees it. What happens to the connection
 * meanwhile is noted (`failure`, the state) and done when nghttp2 has returned. */
#include "base/banned.h"
#include "http/h2_stream.h"

#include "base/assert.h"
#include "observe/log.h"
#include "observe/metrics.h"

#define SERVER_MAGIC  0x42c0ffeeu
#define READ_BODIES   ((size_t)32 * 1024)
#define READ_HEADS    ((size_t)4 * 1024)
#define READ_LEAST    ((size_t)1024)
#define RESETS_ODD    16
#define QUEUE_MAX     512 /* frames of nghttp2's own that wait: no more is read then */
#define LINGER_TIME   (2 * TG_USEC_PER_SEC)
#define LINGER_BYTES  (256u * 1024)
#define FLOOD_WINDOW  (10 * TG_USEC_PER_SEC)
#define GOING_TIME    TG_USEC_PER_SEC /* for the answer to a PING, when the door closes anyway */
#define TICK_LEAST    (5 * TG_USEC_PER_MSEC)
#define FRAMES_EARNED 10 /* frames that carry nothing, for one that does */

static void settle(struct tg_h2_server *s);

static const struct tg_limits *limits_of(struct tg_h2_server *s)
{
    return s->events->limits(s);
}

static void set_state(struct tg_h2_server *s, enum tg_h2_server_state to)
{
    static const unsigned allowed[] = {
        [TG_H2_SERVER_OPEN] = 1u << TG_H2_SERVER_GOING | 1u << TG_H2_SERVER_LAST |
                              1u << TG_H2_SERVER_LINGER | 1u << TG_H2_SERVER_CLOSED,
        [TG_H2_SERVER_GOING] =
            1u << TG_H2_SERVER_LAST | 1u << TG_H2_SERVER_LINGER | 1u << TG_H2_SERVER_CLOSED,
        [TG_H2_SERVER_LAST] = 1u << TG_H2_SERVER_LINGER | 1u << TG_H2_SERVER_CLOSED,
        [TG_H2_SERVER_LINGER] = 1u << TG_H2_SERVER_CLOSED,
        [TG_H2_SERVER_CLOSED] = 0,
    };
    tg_assert(allowed[s->state] & (1u << to));
    s->state = to;
    s->since = tg_h2_server_now(s);
}

static bool is_serving(const struct tg_h2_server *s)
{
    return s->state <= TG_H2_SERVER_LAST;
}

/* ---- The end -----------------------------------------------------------------------------------
 */

/* All exchanges end, and what nghttp2 holds goes. */
static void drop_session(struct tg_h2_server *s, enum tg_err err)
{
    tg_assert(!s->busy);
    s->heading = NULL;
    while (!tg_list_is_empty(&s->streams))
        tg_h2_stream_end(TG_LIST_ENTRY(s->streams.next, struct tg_h2_stream, link), err);
    tg_h2_region_release(&s->region);
    s->session = NULL;
    tg_task_cancel(&s->flush);
}

static void finish(struct tg_h2_server *s, enum tg_err err)
{
    if (s->state == TG_H2_SERVER_CLOSED)
        return;
    bool partial = !tg_list_is_empty(&s->streams);
    if (s->session != NULL)
        drop_session(s, err);
    set_state(s, TG_H2_SERVER_CLOSED);
    if (partial)
        tg_conn_reset(&s->conn);
    else
        tg_conn_close(&s->conn);
    s->magic = 0;
    s->events->closed(s);
}

/* The last frame has gone, or waits in the connection. */
static void begin_linger(struct tg_h2_server *s)
{
    if (s->conn.eof || tg_conn_pending(&s->conn) > 0) {
        finish(s, TG_E_CLOSED);
        return;
    }
    drop_session(s, TG_E_CLOSED);
    set_state(s, TG_H2_SERVER_LINGER);
    tg_conn_shutdown(&s->conn);
    settle(s);
}

/* A GOAWAY for when nghttp2 itself is not to be asked any more. */
static void write_goaway(struct tg_h2_server *s, uint32_t code)
{
    uint32_t last = (uint32_t)nghttp2_session_get_last_proc_stream_id(s->session);
    unsigned char frame[17] = {0, 0, 8, NGHTTP2_GOAWAY};
    for (int i = 0; i < 4; i++) {
        frame[9 + i] = (unsigned char)(last >> (24 - 8 * i));
        frame[13 + i] = (unsigned char)(code >> (24 - 8 * i));
    }
    struct iovec iov = {frame, sizeof(frame)};
    if (tg_conn_write(&s->conn, &iov, 1) != TG_OK)
        finish(s, TG_E_RESET);
    else
        begin_linger(s);
}

/* ---- Sending -----------------------------------------------------------------------------------
 */

void tg_h2_server_wake(struct tg_h2_server *s)
{
    if (s->session != NULL)
        tg_loop_defer(&s->conn.worker->loop, &s->flush);
}

void tg_h2_server_measure(struct tg_h2_server *s)
{
    static const uint8_t opaque[8] = {TG_H2_MEASURE};
    if (nghttp2_submit_ping(s->session, NGHTTP2_FLAG_NONE, opaque) == NGHTTP2_ERR_NOMEM)
        s->failure = TG_E_NOMEM;
    tg_h2_server_wake(s);
}

static void tell_drained(struct tg_h2_server *s)
{
    while (!tg_list_is_empty(&s->drained)) {
        struct tg_h2_stream *st = TG_LIST_ENTRY(s->drained.next, struct tg_h2_stream, drained);
        tg_list_remove(&st->drained);
        if (st->stream.events != NULL && st->out.size == 0)
            st->stream.events->on_drained(&st->stream);
    }
}

/* Neither side has anything to say to the other. */
static bool is_over(const struct tg_h2_server *s)
{
    return !nghttp2_session_want_read(s->session) && !nghttp2_session_want_write(s->session);
}

static void send_all(struct tg_h2_server *s)
{
    s->busy = true;
    enum tg_err err = tg_h2_session_send(s->session, &s->conn, &s->out);
    s->busy = false;
    if (err == TG_OK)
        err = s->failure;
    if (err != TG_OK) {
        finish(s, err);
        return;
    }
    tell_drained(s);
    if (is_over(s) && tg_conn_pending(&s->conn) == 0)
        begin_linger(s);
    else
        settle(s);
}

static void on_flush(struct tg_task *task)
{
    struct tg_h2_server *s = TG_CONTAINER_OF(task, struct tg_h2_server, flush);
    tg_magic_check(s, SERVER_MAGIC);
    send_all(s);
}

/* ---- Floods ------------------------------------------------------------------------------------
 */

static void calm(struct tg_h2_server *s, enum tg_metric_id metric, const char *what)
{
    char room[TG_ADDR_TEXT_MAX];
    struct tg_addr peer;
    tg_conn_peer(&s->conn, &peer);
    tg_metric_inc(s->conn.worker->cells, metric);
    tg_log_every(10, TG_LOG_WARN, "http", "HTTP/2 connection closed: %s client=%s", what,
                 tg_addr_text(&peer, room).p);
}

bool tg_h2_server_count(struct tg_h2_server *s, enum tg_h2_flood kind)
{
    const struct tg_limits *limits = limits_of(s);
    uint64_t now = tg_h2_server_now(s);
    if (now - s->flood_at >= FLOOD_WINDOW) {
        s->flood_at = now;
        s->useful = 0;
        memset(s->floods, 0, sizeof(s->floods));
    }
    uint64_t most = kind == TG_H2_FLOOD_RESETS
                        ? limits->h2_resets
                        : limits->h2_control + (uint64_t)s->useful * FRAMES_EARNED;
    if (++s->floods[kind] <= most)
        return true;
    if (s->calmed)
        return false;
    s->calmed = true;
    if (kind == TG_H2_FLOOD_RESETS) {
        tg_limit_hit(h2_resets);
        calm(s, TG_METRIC_H2_CALMED_RESETS, "too many streams were reset");
    } else {
        tg_limit_hit(h2_control);
        calm(s, TG_METRIC_H2_CALMED_FRAMES, "too many frames that carry nothing");
    }
    if (nghttp2_session_terminate_session(s->session, NGHTTP2_ENHANCE_YOUR_CALM) != 0)
        s->failure = TG_E_NOMEM;
    tg_h2_server_wake(s);
    return false;
}

/* ---- Going -------------------------------------------------------------------------------------
 */

void tg_h2_server_close_door(struct tg_h2_server *s)
{
    int32_t last = nghttp2_session_get_last_proc_stream_id(s->session);
    set_state(s, TG_H2_SERVER_LAST);
    if (nghttp2_submit_goaway(s->session, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, NULL, 0) != 0)
        s->failure = TG_E_NOMEM;
    tg_h2_server_wake(s);
}

/* The client is told; a PING comes back when it must have heard. That no stream is open says
 * nothing: the next ones may be on their way. */
static void begin_going(struct tg_h2_server *s)
{
    if (s->state != TG_H2_SERVER_OPEN)
        return;
    set_state(s, TG_H2_SERVER_GOING);
    if (nghttp2_submit_shutdown_notice(s->session) != 0 ||
        nghttp2_submit_ping(s->session, NGHTTP2_FLAG_NONE, NULL) != 0)
        s->failure = TG_E_NOMEM;
    tg_h2_server_wake(s);
}

/* ---- Time --------------------------------------------------------------------------------------
 */

/* How often the streams are looked at. */
static uint64_t tick_of(const struct tg_limits *limits)
{
    uint64_t least = TG_MIN(limits->read_timeout, limits->write_timeout);
    return TG_MAX(TG_MIN(least, limits->rate_grace) / 4, TICK_LEAST);
}

static uint64_t deadline_of(struct tg_h2_server *s)
{
    const struct tg_limits *limits = limits_of(s);
    uint64_t deadline = UINT64_MAX;
    if (s->state == TG_H2_SERVER_LINGER)
        return s->since + LINGER_TIME;
    if (s->heading != NULL || !s->greeted)
        deadline = s->heading_at + limits->head_timeout;
    else if (tg_list_is_empty(&s->streams) && s->state != TG_H2_SERVER_GOING)
        deadline = s->since + limits->idle_timeout;
    if (s->state == TG_H2_SERVER_GOING)
        deadline = TG_MIN(deadline, s->since + GOING_TIME);
    if (tg_conn_pending(&s->conn) > 0)
        deadline = TG_MIN(deadline, s->conn.sent_at + limits->write_timeout);
    if (!tg_list_is_empty(&s->streams))
        deadline = TG_MIN(deadline, s->looked_at + tick_of(limits));
    return deadline;
}

static void settle(struct tg_h2_server *s)
{
    if (s->state == TG_H2_SERVER_CLOSED)
        return;
    bool reads = !is_serving(s) || tg_conn_pending(&s->conn) == 0 ||
                 nghttp2_session_get_outbound_queue_size(s->session) < QUEUE_MAX;
    tg_conn_set_reading(&s->conn, reads);
    tg_conn_set_deadline(&s->conn, deadline_of(s));
}

/* Too slow for the least rate since it waits; a tunnel has none. */
static bool is_slow(const struct tg_h2_stream *st, uint64_t at)
{
    if (st->tunnel)
        return false;
    uint64_t rate = st->wait == TG_H2_WAIT_ANSWER ? tg_h2_stream_limits(st)->write_rate
                                                  : tg_h2_stream_limits(st)->read_rate;
    uint64_t moved = tg_h2_stream_moved(st) - st->pace_bytes;
    return moved < rate * ((at - st->pace_at) / TG_USEC_PER_MSEC) / 1000;
}

static void break_slow(struct tg_h2_stream *st)
{
    bool body = st->wait == TG_H2_WAIT_BODY;
    tg_h2_stream_break(st, TG_E_TIMEOUT, body ? 408 : 0, NGHTTP2_CANCEL);
}

static void start_pace(struct tg_h2_stream *st, uint64_t at)
{
    st->pace_at = at;
    st->pace_bytes = tg_h2_stream_moved(st);
}

static void look_at(struct tg_h2_stream *st, uint64_t at)
{
    enum tg_h2_wait wait = tg_h2_stream_waits(st);
    bool body = wait == TG_H2_WAIT_BODY;
    if (wait != st->wait) {
        st->wait = wait;
        start_pace(st, at);
    }
    if (wait == TG_H2_WAIT_NONE)
        return;
    if (at - st->moved_at >=
        (body ? tg_h2_stream_limits(st)->read_timeout : tg_h2_stream_limits(st)->write_timeout)) {
        tg_limit_hit_id(body ? TG_LIMIT_ID_read_timeout : TG_LIMIT_ID_write_timeout);
        break_slow(st);
    } else if (at - st->pace_at >= tg_h2_stream_limits(st)->rate_grace) {
        if (is_slow(st, at)) {
            tg_limit_hit_id(body ? TG_LIMIT_ID_read_rate : TG_LIMIT_ID_write_rate);
            break_slow(st);
        } else {
            start_pace(st, at);
        }
    }
}

static void look_at_streams(struct tg_h2_server *s, uint64_t at)
{
    s->looked_at = at;
    TG_LIST_FOREACH(&s->streams, it)
    look_at(TG_LIST_ENTRY(it, struct tg_h2_stream, link), at);
}

static void on_timeout(struct tg_conn *conn)
{
    struct tg_h2_server *s = TG_CONTAINER_OF(conn, struct tg_h2_server, conn);
    tg_magic_check(s, SERVER_MAGIC);
    const struct tg_limits *limits = limits_of(s);
    uint64_t at = tg_h2_server_now(s);
    if (s->state == TG_H2_SERVER_LINGER) {
        finish(s, TG_E_CLOSED);
    } else if (tg_conn_pending(conn) > 0 && at >= conn->sent_at + limits->write_timeout) {
        tg_limit_hit(write_timeout);
        finish(s, TG_E_TIMEOUT);
    } else if ((s->heading != NULL || !s->greeted) && at >= s->heading_at + limits->head_timeout) {
        tg_limit_hit(head_timeout);
        write_goaway(s, NGHTTP2_PROTOCOL_ERROR);
    } else if (s->state == TG_H2_SERVER_GOING && at >= s->since + GOING_TIME) {
        tg_h2_server_close_door(s);
    } else if (tg_list_is_empty(&s->streams) && at >= s->since + limits->idle_timeout) {
        if (s->state == TG_H2_SERVER_OPEN)
            tg_h2_server_close_door(s);
        else
            finish(s, TG_E_TIMEOUT);
    } else {
        look_at_streams(s, at);
        settle(s);
    }
}

/* ---- Reading -----------------------------------------------------------------------------------
 */

/* nghttp2 cannot go on: what it says is put into words. */
static void receive_failed(struct tg_h2_server *s, int code)
{
    if (code == NGHTTP2_ERR_NOMEM) {
        finish(s, TG_E_NOMEM);
        return;
    }
    if (code == NGHTTP2_ERR_CALLBACK_FAILURE) { /* of on_header: nobody else returns it */
        calm(s, TG_METRIC_H2_CALMED_FIELDS, "a header block that unfolds without end");
        write_goaway(s, NGHTTP2_ENHANCE_YOUR_CALM);
    } else if (code == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS) {
        calm(s, TG_METRIC_H2_CALMED_CONTINUATIONS, "a header block without end");
        write_goaway(s, NGHTTP2_ENHANCE_YOUR_CALM);
    } else if (code == NGHTTP2_ERR_FLOODED) {
        tg_limit_hit(h2_control);
        calm(s, TG_METRIC_H2_CALMED_FRAMES, "too many frames that ask for an answer");
        write_goaway(s, NGHTTP2_ENHANCE_YOUR_CALM);
    } else {
        tg_log_kv(TG_LOG_DEBUG, "http", "HTTP/2 connection closed",
                  tg_log_str("reason", tg_str_c(nghttp2_strerror(code))));
        write_goaway(s, NGHTTP2_PROTOCOL_ERROR);
    }
}

/* False when the connection is ours no more. */
static bool receive(struct tg_h2_server *s, const char *p, size_t n)
{
    bool was_busy = !tg_list_is_empty(&s->streams);
    s->busy = true;
    s->uploads = false;
    ssize_t took = nghttp2_session_mem_recv(s->session, (const uint8_t *)p, n);
    s->busy = false;
    if (took < 0) {
        receive_failed(s, (int)took);
        return false;
    }
    if (s->failure != TG_OK) {
        finish(s, s->failure);
        return false;
    }
    if (s->requests >= limits_of(s)->connection_requests)
        begin_going(s);
    if (!was_busy && !tg_list_is_empty(&s->streams))
        s->looked_at = tg_h2_server_now(s);
    tg_h2_server_wake(s);
    return true;
}

/* What is read at once is what one connection may begin in one round of the loop, and each request
 * takes its memory until the round is over: little where heads come, less where they are reset. */
static size_t read_size(const struct tg_h2_server *s)
{
    if (s->uploads)
        return READ_BODIES;
    return s->floods[TG_H2_FLOOD_RESETS] > RESETS_ODD ? READ_LEAST : READ_HEADS;
}

static void drop_input(struct tg_h2_server *s, size_t n)
{
    s->lingered += (uint32_t)n;
    if (s->lingered > LINGER_BYTES)
        finish(s, TG_E_CLOSED);
}

static void on_readable(struct tg_conn *conn)
{
    struct tg_h2_server *s = TG_CONTAINER_OF(conn, struct tg_h2_server, conn);
    struct tg_slab *slab = conn->worker->slab;
    tg_magic_check(s, SERVER_MAGIC);
    size_t size = read_size(s);
    char *room = tg_slab_lease(slab, size);
    size_t n = 0;
    if (room == NULL) {
        finish(s, TG_E_NOMEM);
        return;
    }
    enum tg_err err = tg_conn_read(conn, room, size, &n);
    if (err == TG_OK && !is_serving(s))
        drop_input(s, n);
    else if (err == TG_OK)
        (void)receive(s, room, n); /* what is to be done next is noted */
    else if (err != TG_E_AGAIN)
        finish(s, err);
    tg_slab_return(slab, room, size);
}

/* ---- Other events of the connection ------------------------------------------------------------
 */

static void on_drained(struct tg_conn *conn)
{
    struct tg_h2_server *s = TG_CONTAINER_OF(conn, struct tg_h2_server, conn);
    tg_magic_check(s, SERVER_MAGIC);
    if (is_serving(s))
        send_all(s);
}

static void on_lost(struct tg_conn *conn, enum tg_err err)
{
    struct tg_h2_server *s = TG_CONTAINER_OF(conn, struct tg_h2_server, conn);
    tg_magic_check(s, SERVER_MAGIC);
    finish(s, err);
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

enum tg_err tg_h2_server_adopt(struct tg_h2_server *s, struct tg_conn *from, struct tg_str first,
                               const struct tg_h2_server_events *events)
{
    *s = (struct tg_h2_server){.magic = SERVER_MAGIC, .events = events};
    tg_list_init(&s->streams);
    tg_list_init(&s->drained);
    tg_h2_region_init(&s->region);
    tg_task_init(&s->flush, on_flush);
    tg_h2_pace_init(&s->pace, limits_of(s)->h2_window);
    enum tg_err err = tg_conn_adopt(&s->conn, from, &conn_handler);
    if (err == TG_OK)
        err = tg_h2_frames_open(s);
    if (err != TG_OK) {
        tg_h2_region_release(&s->region);
        tg_conn_close(&s->conn);
        s->magic = 0;
        s->state = TG_H2_SERVER_CLOSED;
        return err;
    }
    s->since = s->heading_at = s->looked_at = s->flood_at = tg_h2_server_now(s);
    tg_h2_server_wake(s);
    if (first.n == 0 || receive(s, first.p, first.n))
        settle(s);
    return TG_OK;
}

void tg_h2_server_drain(struct tg_h2_server *s)
{
    if (is_serving(s))
        begin_going(s);
    else if (s->state == TG_H2_SERVER_LINGER)
        settle(s);
}

void tg_h2_server_close(struct tg_h2_server *s)
{
    finish(s, TG_E_CANCELLED);
}

enum tg_h2_relief tg_h2_server_relieve(struct tg_h2_server *s, uint64_t at, uint64_t patience)
{
    enum tg_h2_relief relief = TG_H2_RELIEF_NONE;
    if (s->state == TG_H2_SERVER_CLOSED || s->busy)
        return TG_H2_RELIEF_NONE;
    if (tg_list_is_empty(&s->streams)) {
        if (at - s->since < patience * (s->proven ? TG_STREAM_CREDIT : 1))
            return TG_H2_RELIEF_NONE;
        if (is_serving(s))
            write_goaway(s, NGHTTP2_NO_ERROR);
        finish(s, TG_E_CANCELLED);
        return TG_H2_RELIEF_IDLE;
    }
    if (s->heading != NULL && at - s->heading_at >= patience) {
        finish(s, TG_E_TIMEOUT);
        return TG_H2_RELIEF_SLOW;
    }
    if (is_serving(s))
        tg_h2_stream_narrow(s);
    TG_LIST_FOREACH(&s->streams, it)
    {
        struct tg_h2_stream *st = TG_LIST_ENTRY(it, struct tg_h2_stream, link);
        if (st->wait == TG_H2_WAIT_NONE || st->wait != tg_h2_stream_waits(st) ||
            at - st->pace_at < patience || !is_slow(st, at))
            continue;
        tg_h2_stream_break(st, TG_E_TIMEOUT, 0, NGHTTP2_ENHANCE_YOUR_CALM);
        relief = TG_H2_RELIEF_SLOW;
    }
    return relief;
}
