/*
 * What the tests of http/h2_client and http/h2_call share: a call on a connection whose far end is
 * nghttp2's server, driven by the test. What either side is told goes as words into `trace` (ours)
 * and `seen` (the origin's), e.g. "head 200|body:abc|end|" and "request 1|body:x|end|".
 *
 * Include it after http/h2_call.h. The origin's frames go out with origin_flush(), which also takes
 * what we sent.
 */
#ifndef TG_SPEC_H2_CALL_FIXTURE_H
#define TG_SPEC_H2_CALL_FIXTURE_H

#include "../net/wire.h"

static struct tg_h2_client client;
static TG_UNUSED struct tg_h2_call call, a, b;
static struct tg_arena arena;
static struct tg_call_limits limits;
static struct tg_h2_client_conf conf;
static nghttp2_session *origin;
static int far;
static char trace[4096], seen[4096];
static int rooms, closed, failed;
static bool takes_tunnels; /* the origin does; set it before open_client() */

static void note(char *to, const char *format, ...)
{
    va_list args;
    size_t n = strlen(to);
    va_start(args, format);
    vsnprintf(to + n, 4096 - n - 1, format, args);
    va_end(args);
    strncat(to, "|", 4096 - strlen(to) - 1);
}

/* ---- Ours --------------------------------------------------------------------------------------
 */

static void on_info(struct tg_call *c, const struct tg_response_head *head)
{
    (void)c;
    note(trace, "info %u", head->status);
}

static void on_head(struct tg_call *c, const struct tg_response_head *head)
{
    (void)c;
    note(trace, "head %u", head->status);
}

static void on_body(struct tg_call *c, struct tg_str data)
{
    (void)c;
    if (data.n < 100)
        note(trace, "body:%.*s", TG_STR_ARG(data));
    else
        note(trace, "body of %zu", data.n);
}

static void on_end(struct tg_call *c, const struct tg_fields *trailers)
{
    (void)c;
    note(trace, trailers->n > 0 ? "end+%u" : "end", trailers->n);
}

static void on_pause(struct tg_call *c)
{
    (void)c;
}

static void on_drained(struct tg_call *c)
{
    (void)c;
    note(trace, "drained");
}

static void on_failed(struct tg_call *c, enum tg_err err, const char *reason)
{
    (void)c;
    (void)reason;
    note(trace, "failed %s%s", tg_err_name(err),
         c->refusal == TG_CALL_UNTOUCHED ? " untouched" : "");
    failed++;
}

static const struct tg_call_events events = {NULL,   on_info,  on_head,    on_body,
                                             on_end, on_pause, on_drained, on_failed};

static void on_room(struct tg_h2_client *c)
{
    (void)c;
    rooms++;
}

static void on_closed(struct tg_h2_client *c)
{
    (void)c;
    closed++;
}

static const struct tg_h2_client_events client_events = {on_room, on_closed};

/* ---- The origin's ------------------------------------------------------------------------------
 */

static int seen_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    (void)session;
    (void)arg;
    if (frame->hd.type == NGHTTP2_HEADERS)
        note(seen, frame->headers.cat == NGHTTP2_HCAT_REQUEST ? "request %d" : "trailers %d",
             frame->hd.stream_id);
    if (frame->hd.type == NGHTTP2_RST_STREAM)
        note(seen, "reset %d %u", frame->hd.stream_id, frame->rst_stream.error_code);
    if (frame->hd.type == NGHTTP2_GOAWAY)
        note(seen, "goaway");
    if (frame->hd.type == NGHTTP2_PING && !(frame->hd.flags & NGHTTP2_FLAG_ACK))
        note(seen, "ping");
    if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
        frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
        note(seen, "end");
    return 0;
}

static int seen_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                     size_t n, void *arg)
{
    (void)session, (void)flags, (void)id, (void)arg;
    if (n < 100)
        note(seen, "body:%.*s", (int)n, (const char *)data);
    return 0;
}

/* Moves bytes both ways until nothing is left to move. */
static void origin_flush(void)
{
    static char room[65536];
    const uint8_t *p;
    for (int round = 0; round < 20; round++) {
        ssize_t n;
        while ((n = nghttp2_session_mem_send(origin, &p)) > 0)
            wire_send_bytes(far, (const char *)p, (size_t)n);
        wire_rounds();
        while (far >= 0 && (n = recv(far, room, sizeof(room), 0)) > 0)
            assert_int_equal(nghttp2_session_mem_recv(origin, (uint8_t *)room, (size_t)n), n);
    }
}

static void origin_open(uint32_t streams)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, streams},
        {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, takes_tunnels},
    };
    assert_int_equal(nghttp2_session_callbacks_new(&callbacks), 0);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, seen_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, seen_data);
    assert_int_equal(nghttp2_session_server_new(&origin, callbacks, NULL), 0);
    nghttp2_session_callbacks_del(callbacks);
    assert_int_equal(nghttp2_submit_settings(origin, NGHTTP2_FLAG_NONE, settings, 2), 0);
}

#define NV(name, value)                                                                            \
    {                                                                                              \
        (uint8_t *)(uintptr_t)(name), (uint8_t *)(uintptr_t)(value), strlen(name), strlen(value),  \
            0                                                                                      \
    }

static ssize_t give(nghttp2_session *session, int32_t id, uint8_t *to, size_t length,
                    uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    const char **text = source->ptr;
    size_t n = TG_MIN(strlen(*text), length);
    (void)session, (void)id, (void)arg;
    memcpy(to, *text, n);
    *text += n;
    if (**text == '\0')
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

/* An answer: `body` NULL for a head that ends the stream. */
static void origin_answer(int32_t id, const char *status, const char *body)
{
    static const char *bodies[8];
    nghttp2_nv nv = NV(":status", status);
    nghttp2_data_provider provider = {.source.ptr = &bodies[id % 8], .read_callback = give};
    bodies[id % 8] = body;
    assert_int_equal(nghttp2_submit_response(origin, id, &nv, 1, body != NULL ? &provider : NULL),
                     0);
    origin_flush();
}

/* ---- Both --------------------------------------------------------------------------------------
 */

static void assert_trace(const char *want)
{
    origin_flush();
    assert_string_equal(trace, want);
    trace[0] = '\0';
}

static void assert_seen(const char *want)
{
    origin_flush();
    assert_string_equal(seen, want);
    seen[0] = '\0';
}

static const struct tg_conn_handler nobody;

static TG_UNUSED void open_client(uint32_t streams)
{
    int fds[2];
    struct tg_conn conn;
    wire_local_pair(fds);
    far = fds[1];
    origin_open(streams);
    assert_int_equal(tg_conn_open(&conn, &worker, fds[0], &nobody), TG_OK);
    assert_int_equal(tg_h2_client_open(&client, &conn, &conf, &client_events, NULL), TG_OK);
    origin_flush();
}

static TG_UNUSED void begin(struct tg_h2_call *of, enum tg_method method, const char *head,
                            enum tg_framing framing)
{
    assert_int_equal(tg_h2_call_open(of, &client), TG_OK);
    tg_call_begin(&of->call, &arena, method, &limits, &events, NULL);
    tg_fmt_add(tg_call_stage(&of->call, 64), tg_str_c(head));
    tg_call_set_framing(&of->call, framing);
}

#define GET  "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST "POST / HTTP/1.1\r\nHost: a\r\n\r\n"

static TG_UNUSED void get(struct tg_h2_call *of)
{
    begin(of, TG_METHOD_GET, GET, TG_FRAMING_NONE);
    tg_call_send_end(&of->call, NULL);
    origin_flush();
}

static int setup(void **state)
{
    int rc = wire_init(state);
    trace[0] = seen[0] = '\0';
    far = -1;
    rooms = closed = failed = 0;
    takes_tunnels = false;
    client.magic = 0;
    limits = (struct tg_call_limits){.fields = 20,
                                     .head = 1024,
                                     .buffer = 8192,
                                     .response = 20 * TG_USEC_PER_SEC,
                                     .io = 10 * TG_USEC_PER_SEC};
    conf = (struct tg_h2_client_conf){
        .streams = 100, .max_window = 1 << 20, .head = 1024, .ping = 5 * TG_USEC_PER_SEC};
    tg_arena_init(&arena, worker.slab, (size_t)4 << 20);
    return rc;
}

static int teardown(void **state)
{
    if (client.magic != 0) {
        while (!tg_list_is_empty(&client.calls)) /* of a test that failed */
            tg_h2_call_close(TG_LIST_ENTRY(client.calls.next, struct tg_h2_call, link));
        tg_h2_client_close(&client);
    }
    tg_arena_release(&arena);
    if (far >= 0)
        close(far);
    nghttp2_session_del(origin);
    origin = NULL;
    wire_rounds();
    return wire_release(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
