/*
 * A gateway for tests of http/h1_server: it answers as a test told it, and writes down what it is
 * told as words in `trace`, e.g. "GET /a|body:xyz|end|".
 *
 * Include it after http/h1_server.h. There is one connection at a time, server.server, with the far
 * end `far`. act.request runs when a head is there, act.body when body bytes come, act.body_end
 * when the body is whole; each may use say() and the other helpers to answer. The request's arena
 * is released as soon as its answer has ended or it was aborted, so that the sanitizer sees every
 * later use of what lived there.
 */
#ifndef TG_SPEC_SERVER_FIXTURE_H
#define TG_SPEC_SERVER_FIXTURE_H

#include "../net/wire.h"

static struct {
    struct tg_h1_server server;
    struct tg_arena arena;
    struct tg_request_head head;
    struct tg_limits limits;
    const struct tg_limits *after_reload; /* what is in force instead; NULL: `limits` */
    int begun, closed, drained;
    bool no_memory; /* begin() has none */
    bool aborted;
} gw;

static struct {
    void (*request)(void);
    void (*body)(struct tg_str data);
    void (*body_end)(void);
    void (*aborted)(unsigned status);
} act;

static int far;
static char trace[8192];

static TG_UNUSED void note(const char *format, ...)
{
    va_list args;
    size_t n = strlen(trace);
    va_start(args, format);
    vsnprintf(trace + n, sizeof(trace) - n, format, args);
    va_end(args);
    strncat(trace, "|", sizeof(trace) - strlen(trace) - 1);
}

/* Compares and forgets. */
static TG_UNUSED void assert_trace(const char *want)
{
    wire_rounds();
    assert_string_equal(trace, want);
    trace[0] = '\0';
}

/* ---- Answering ---------------------------------------------------------------------------------
 */

static const struct tg_stream_ops *ops(void)
{
    return gw.server.stream.ops;
}

/* The exchange, which must be there. */
static struct tg_stream *stream(void)
{
    assert_non_null(gw.server.stream.events);
    return &gw.server.stream;
}

static TG_UNUSED void send_head(unsigned status, enum tg_framing framing, uint64_t length)
{
    struct tg_response_head head = {
        .status = (uint16_t)status,
        .framing = framing,
        .length = length,
        .has_length = framing == TG_FRAMING_LENGTH,
    };
    tg_fields_init(&head.fields, &gw.arena);
    ops()->send_head(stream(), &head);
}

static TG_UNUSED void send_body(const char *text)
{
    ops()->send_body(stream(), tg_str_c(text));
}

static TG_UNUSED void send_end(void)
{
    ops()->send_end(stream(), NULL);
    tg_arena_release(&gw.arena);
}

/* A whole answer. */
static TG_UNUSED void say(unsigned status, const char *body)
{
    size_t n = strlen(body);
    send_head(status, n > 0 ? TG_FRAMING_LENGTH : TG_FRAMING_NONE, n);
    send_body(body);
    send_end();
}

static TG_UNUSED void say_ok(void)
{
    say(200, "ok");
}

static TG_UNUSED void read_on(void)
{
    ops()->read_body(stream(), true);
}

#define OK_ANSWER       "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define OK_CLOSE_ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"

/* ---- What the server tells ---------------------------------------------------------------------
 */

static void on_body(struct tg_stream *s, struct tg_str data)
{
    (void)s;
    note("body:%.*s", TG_STR_ARG(data));
    if (act.body != NULL)
        act.body(data);
}

static void on_body_end(struct tg_stream *s, const struct tg_fields *trailers)
{
    (void)s;
    note(trailers->n > 0 ? "end+%u" : "end", trailers->n);
    if (act.body_end != NULL)
        act.body_end();
}

static void on_drained(struct tg_stream *s)
{
    (void)s;
    gw.drained++;
}

static void on_aborted(struct tg_stream *s, enum tg_err err, unsigned status)
{
    (void)s;
    note("aborted %s %u", tg_err_name(err), status);
    gw.aborted = true;
    if (status != 0 && act.aborted != NULL)
        act.aborted(status);
    else
        tg_arena_release(&gw.arena);
}

static const struct tg_stream_events stream_events = {on_body, on_body_end, on_drained, on_aborted};

static struct tg_request_head *begin(struct tg_h1_server *s, struct tg_arena **arena)
{
    if (gw.no_memory)
        return NULL;
    gw.begun++;
    tg_arena_release(&gw.arena);
    s->stream.events = &stream_events;
    *arena = &gw.arena;
    return &gw.head;
}

static void on_request(struct tg_h1_server *s)
{
    (void)s;
    note("%.*s %.*s", TG_STR_ARG(gw.head.method_name), TG_STR_ARG(gw.head.target));
    if (act.request != NULL)
        act.request();
}

static void on_refused(struct tg_h1_server *s, const struct tg_refusal *refusal)
{
    (void)s;
    note("refused %u", refusal->status);
    say(refusal->status, "");
}

static void on_closed(struct tg_h1_server *s)
{
    (void)s;
    note("closed");
    gw.closed++;
}

static const struct tg_limits *current_limits(struct tg_h1_server *s)
{
    (void)s;
    return gw.after_reload != NULL ? gw.after_reload : &gw.limits;
}

static const struct tg_h1_server_events server_events = {
    .begin = begin,
    .request = on_request,
    .refused = on_refused,
    .closed = on_closed,
    .limits = current_limits,
};

/* ---- Acting ---------------------------------------------------------------------------------
 */

#define GET  "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n"

static TG_UNUSED void hang_up(void)
{
    close(far);
    far = -1;
}

/* The far end sends `sent` and sees the refusal and the end. */
static TG_UNUSED void assert_refused(const char *sent, const char *status_line, const char *want)
{
    char answer[256];
    int n = snprintf(answer, sizeof(answer),
                     "HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", status_line);
    assert_in_range(n, 1, sizeof(answer) - 1);
    wire_send(far, sent);
    wire_expect(far, answer);
    wire_expect_end(far);
    assert_trace(want);
}

/* For act.aborted. */
static TG_UNUSED void say_status(unsigned status)
{
    say(status, "");
}

/* Sends a body until the kernel takes no more. */
static TG_UNUSED void fill(void)
{
    static char block[65536];
    for (int i = 0; i < 1000 && ops()->pending(stream()) == 0; i++)
        ops()->send_body(stream(), tg_str(block, sizeof(block)));
    assert_true(ops()->pending(stream()) > 0);
}

/* ---- Life --------------------------------------------------------------------------------------
 */

static TG_UNUSED int server_setup(void **state)
{
    int rc = wire_init(state);
    memset(&gw, 0, sizeof(gw));
    memset(&act, 0, sizeof(act));
    trace[0] = '\0';
    far = -1;
    tg_limits_init(&gw.limits);
    gw.limits.read_rate = gw.limits.write_rate = 0; /* a test of rates sets them */
    tg_arena_init(&gw.arena, worker.slab, (size_t)4 << 20);
    return rc;
}

static TG_UNUSED void server_open(void (*pair)(int fds[2]))
{
    int fds[2];
    pair(fds);
    far = fds[1];
    assert_int_equal(tg_h1_server_open(&gw.server, &worker, fds[0], &server_events), TG_OK);
}

static TG_UNUSED int server_teardown(void **state)
{
    if (gw.server.magic != 0)
        tg_h1_server_close(&gw.server);
    tg_arena_release(&gw.arena);
    if (far >= 0)
        close(far);
    wire_rounds();
    return wire_release(state);
}

#endif
