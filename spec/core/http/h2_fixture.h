/*
 * A gateway for tests of http/h2_server, and a client that speaks HTTP/2 with it: nghttp2's own.
 *
 * Include it after http/h2_server.h. There is one connection, gw.server, and exchanges in the order
 * in which their streams began, gw.x[0] on. Both sides write down what they are told as words:
 * gw_trace, e.g. "GET /a|body:xyz|end|", and peer.trace, e.g. "1:HEADERS 200|1:DATA 2|1:END|".
 * act.request runs when a head is there, and may answer.
 */
#ifndef TG_SPEC_H2_FIXTURE_H
#define TG_SPEC_H2_FIXTURE_H

#include "../net/wire.h"
#include "observe/metrics.h"

#define EXCHANGES 64

struct exchange {
    struct tg_stream *stream; /* NULL: it is over */
    struct tg_arena arena;
    struct tg_request_head head;
};

static struct {
    struct tg_h2_server server;
    struct exchange x[EXCHANGES];
    struct tg_limits limits;
    struct tg_metrics *metrics;
    unsigned begun;
    int closed, drained;
    bool no_memory;
    char trace[8192];
} gw;

static struct {
    void (*request)(struct exchange *x);
    void (*body)(struct exchange *x, struct tg_str data);
} act;

static struct {
    nghttp2_session *session;
    int fd;
    char trace[16384];
    size_t body; /* bytes of all answers */
    bool ended;
} peer;

static TG_UNUSED void write_down(char *trace, size_t room, const char *format, va_list args)
{
    size_t n = strlen(trace);
    vsnprintf(trace + n, room - n, format, args);
    strncat(trace, "|", room - strlen(trace) - 1);
}

static TG_UNUSED void gw_note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    write_down(gw.trace, sizeof(gw.trace), format, args);
    va_end(args);
}

static TG_UNUSED void peer_note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    write_down(peer.trace, sizeof(peer.trace), format, args);
    va_end(args);
}

/* ---- The gateway -------------------------------------------------------------------------------
 */

static struct exchange *exchange_of(struct tg_stream *stream)
{
    return stream->owner;
}

static void end_exchange(struct exchange *x)
{
    x->stream = NULL;
    tg_arena_release(&x->arena);
}

static void gw_body(struct tg_stream *stream, struct tg_str data)
{
    gw_note("body:%.*s", (int)TG_MIN(data.n, (size_t)20), data.p);
    if (act.body != NULL)
        act.body(exchange_of(stream), data);
}

static void gw_body_end(struct tg_stream *stream, const struct tg_fields *trailers)
{
    (void)stream;
    gw_note(trailers->n > 0 ? "end+%u" : "end", trailers->n);
}

static void gw_drained(struct tg_stream *stream)
{
    (void)stream;
    gw.drained++;
}

static TG_UNUSED void answer(struct exchange *x, unsigned status, const char *body);

static void gw_aborted(struct tg_stream *stream, enum tg_err err, unsigned status)
{
    gw_note("aborted %s %u", tg_err_name(err), status);
    if (status != 0)
        answer(exchange_of(stream), status, "");
    else
        end_exchange(exchange_of(stream));
}

static const struct tg_stream_events gw_stream_events = {gw_body, gw_body_end, gw_drained,
                                                         gw_aborted};

static bool gw_begin(struct tg_h2_server *s, struct tg_stream *stream, struct tg_h2_begin *to)
{
    (void)s;
    if (gw.no_memory)
        return false;
    struct exchange *x = &gw.x[gw.begun++ % EXCHANGES];
    assert_null(x->stream);
    tg_arena_init(&x->arena, worker.slab, (size_t)1 << 20);
    x->stream = stream;
    stream->events = &gw_stream_events;
    stream->owner = x;
    *to = (struct tg_h2_begin){.head = &x->head, .arena = &x->arena};
    return true;
}

static void gw_request(struct tg_stream *stream)
{
    struct exchange *x = exchange_of(stream);
    gw_note("%.*s %.*s", TG_STR_ARG(x->head.method_name), TG_STR_ARG(x->head.target));
    if (act.request != NULL)
        act.request(x);
}

static void gw_refused(struct tg_stream *stream, const struct tg_refusal *refusal)
{
    gw_note("refused %u", refusal->status);
    answer(exchange_of(stream), refusal->status, "");
}

static void gw_closed(struct tg_h2_server *s)
{
    (void)s;
    gw_note("closed");
    gw.closed++;
}

static void gw_idle(struct tg_h2_server *s)
{
    (void)s;
    gw_note("idle");
}

static const struct tg_limits *gw_limits(struct tg_h2_server *s)
{
    (void)s;
    return &gw.limits;
}

static const struct tg_h2_server_events gw_events = {
    .begin = gw_begin,
    .request = gw_request,
    .refused = gw_refused,
    .closed = gw_closed,
    .idle = gw_idle,
    .limits = gw_limits,
};

/* ---- Answering ---------------------------------------------------------------------------------
 */

/* The exchange's stream, which must be there. */
static TG_UNUSED struct tg_stream *stream_of(struct exchange *x)
{
    assert_non_null(x->stream);
    return x->stream;
}

static TG_UNUSED void send_head(struct exchange *x, unsigned status, enum tg_framing framing,
                                uint64_t length)
{
    struct tg_response_head head = {
        .status = (uint16_t)status, .framing = framing, .length = length};
    tg_fields_init(&head.fields, &x->arena);
    stream_of(x)->ops->send_head(x->stream, &head);
}

static TG_UNUSED void send_body(struct exchange *x, const char *text)
{
    stream_of(x)->ops->send_body(x->stream, tg_str_c(text));
}

static TG_UNUSED void send_end(struct exchange *x, const struct tg_fields *trailers)
{
    stream_of(x)->ops->send_end(x->stream, trailers);
    end_exchange(x);
}

static TG_UNUSED void answer(struct exchange *x, unsigned status, const char *body)
{
    size_t n = strlen(body);
    send_head(x, status, n > 0 ? TG_FRAMING_LENGTH : TG_FRAMING_NONE, n);
    send_body(x, body);
    send_end(x, NULL);
}

static TG_UNUSED void answer_ok(struct exchange *x)
{
    answer(x, 200, "ok");
}

static TG_UNUSED void read_on(struct exchange *x)
{
    stream_of(x)->ops->read_body(x->stream, true);
}

/* ---- The client --------------------------------------------------------------------------------
 */

static int peer_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                       size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags,
                       void *arg)
{
    (void)session;
    (void)flags;
    (void)arg;
    if (name[0] == ':')
        peer_note("%d:HEADERS %.*s", frame->hd.stream_id, (int)value_n, value);
    else if (name_n < 3 || memcmp(name, "con", 3) != 0)
        peer_note("%d:%.*s=%.*s", frame->hd.stream_id, (int)name_n, name, (int)value_n, value);
    return 0;
}

static int peer_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p,
                     size_t n, void *arg)
{
    (void)session;
    (void)flags;
    (void)p;
    (void)arg;
    peer.body += n;
    peer_note("%d:DATA %zu", id, n);
    return 0;
}

static int peer_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
    (void)session;
    (void)arg;
    peer_note(code == 0 ? "%d:END" : "%d:RESET %s", id, nghttp2_http2_strerror(code));
    return 0;
}

static int peer_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    (void)session;
    (void)arg;
    if (frame->hd.type == NGHTTP2_GOAWAY)
        peer_note("GOAWAY %s", nghttp2_http2_strerror(frame->goaway.error_code));
    return 0;
}

/* Both sides go on until neither has anything to say. */
static TG_UNUSED void talk(void)
{
    for (int quiet = 0; quiet < 3; quiet++) {
        const uint8_t *p;
        char room[65536];
        ssize_t n;
        while (!peer.ended && (n = nghttp2_session_mem_send(peer.session, &p)) > 0) {
            if (send(peer.fd, p, (size_t)n, MSG_NOSIGNAL) != n)
                peer.ended = true;
            quiet = 0;
        }
        wire_rounds();
        n = peer.fd >= 0 ? recv(peer.fd, room, sizeof(room), 0) : -1;
        if (n == 0 && !peer.ended) {
            peer.ended = true;
            peer_note("ended");
        }
        if (n > 0) {
            quiet = 0;
            if (nghttp2_session_mem_recv(peer.session, (uint8_t *)room, (size_t)n) < 0)
                peer_note("broken");
        }
    }
}

/* Compares and forgets, both. */
static TG_UNUSED void assert_traces(const char *gateway, const char *client)
{
    talk();
    assert_string_equal(gw.trace, gateway);
    assert_string_equal(peer.trace, client);
    gw.trace[0] = peer.trace[0] = '\0';
}

static TG_UNUSED void forget(void)
{
    talk();
    gw.trace[0] = peer.trace[0] = '\0';
}

#define NV(n, v)                                                                                   \
    {                                                                                              \
        (uint8_t *)(uintptr_t)(n), (uint8_t *)(uintptr_t)(v), strlen(n), strlen(v),                \
            NGHTTP2_NV_FLAG_NONE                                                                   \
    }

/* A request; with a body (NULL: none) that `provider` gives. Its stream. */
static TG_UNUSED int32_t ask(const char *method, const char *path,
                             const nghttp2_data_provider *provider)
{
    nghttp2_nv nva[] = {NV(":method", method), NV(":scheme", "http"), NV(":authority", "a"),
                        NV(":path", path)};
    return nghttp2_submit_request(peer.session, NULL, nva, 4, provider, NULL);
}

/* ---- Life --------------------------------------------------------------------------------------
 */

static TG_UNUSED void peer_open(int fd)
{
    nghttp2_session_callbacks *callbacks;
    assert_int_equal(nghttp2_session_callbacks_new(&callbacks), 0);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, peer_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, peer_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, peer_stream_close);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, peer_frame);
    assert_int_equal(nghttp2_session_client_new(&peer.session, callbacks, NULL), 0);
    nghttp2_session_callbacks_del(callbacks);
    assert_int_equal(nghttp2_submit_settings(peer.session, NGHTTP2_FLAG_NONE, NULL, 0), 0);
    peer.fd = fd;
}

/* The connection, from one that stands as TLS or a preface leave it. */
static TG_UNUSED enum tg_err server_open(int fd)
{
    static const struct tg_conn_handler none;
    struct tg_conn conn;
    enum tg_err err = tg_conn_open(&conn, &worker, fd, &none);
    return err == TG_OK ? tg_h2_server_adopt(&gw.server, &conn, TG_STR(""), &gw_events) : err;
}

static TG_UNUSED int h2_init(void **state)
{
    int rc = wire_init(state);
    memset(&gw, 0, sizeof(gw));
    memset(&act, 0, sizeof(act));
    memset(&peer, 0, sizeof(peer));
    peer.fd = -1;
    gw.metrics = tg_metrics_new(1);
    assert_non_null(gw.metrics);
    worker.cells = tg_metrics_cells(gw.metrics, 0);
    tg_limits_init(&gw.limits);
    gw.limits.read_rate = gw.limits.write_rate = 0; /* a test of rates sets them */
    return rc;
}

static TG_UNUSED int h2_setup(void **state)
{
    int fds[2];
    int rc = h2_init(state);
    wire_fake_clock();
    wire_local_pair(fds);
    peer_open(fds[1]);
    assert_int_equal(server_open(fds[0]), TG_OK);
    forget();
    return rc;
}

static TG_UNUSED void peer_close(void)
{
    nghttp2_session_del(peer.session);
    if (peer.fd >= 0)
        close(peer.fd);
    peer.session = NULL;
    peer.fd = -1;
}

static TG_UNUSED int h2_teardown(void **state)
{
    if (gw.server.magic != 0)
        tg_h2_server_close(&gw.server);
    peer_close();
    wire_rounds();
    tg_metrics_free(&gw.metrics);
    return wire_release(state);
}

#endif
