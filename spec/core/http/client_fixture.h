/*
 * What the tests of http/h1_client share: the far end of a socket pair plays the origin, the test
 * is the gateway and writes down what it is told as words in `trace`, e.g. "head
 * 200|body:abc|end|".
 *
 * Include it after http/h1_client.h. then_head, then_body and then_end are what a callback does
 * besides writing down. A resting connection must hold no memory: next_exchange() checks that.
 */
#ifndef TG_SPEC_CLIENT_FIXTURE_H
#define TG_SPEC_CLIENT_FIXTURE_H

#include "../net/wire.h"
#include "base/limits.h"

#define REST (30 * TG_USEC_PER_SEC)

static struct tg_h1_client client;
static struct tg_arena arena;
static struct tg_call_limits limits;
static int far;
static char trace[8192];
static int connected, drained, failed;

static void (*then_head)(const struct tg_response_head *head);
static void (*then_body)(void);
static void (*then_end)(void);

static TG_UNUSED void note(const char *format, ...)
{
    va_list args;
    size_t n = strlen(trace);
    va_start(args, format);
    vsnprintf(trace + n, sizeof(trace) - n, format, args);
    va_end(args);
    strncat(trace, "|", sizeof(trace) - strlen(trace) - 1);
}

static TG_UNUSED void assert_trace(const char *want)
{
    wire_rounds();
    assert_string_equal(trace, want);
    trace[0] = '\0';
}

static void on_connected(struct tg_call *c)
{
    (void)c;
    connected++;
}

static void on_info(struct tg_call *c, const struct tg_response_head *head)
{
    (void)c;
    note("info %u", head->status);
}

static void on_head(struct tg_call *c, const struct tg_response_head *head)
{
    (void)c;
    note("head %u", head->status);
    if (then_head != NULL)
        then_head(head);
}

static void on_body(struct tg_call *c, struct tg_str data)
{
    (void)c;
    note("body:%.*s", TG_STR_ARG(data));
    if (then_body != NULL)
        then_body();
}

static void on_end(struct tg_call *c, const struct tg_fields *trailers)
{
    (void)c;
    note(trailers->n > 0 ? "end+%u" : "end", trailers->n);
    if (then_end != NULL)
        then_end();
}

static void on_pause(struct tg_call *c)
{
    (void)c;
}

static void on_drained(struct tg_call *c)
{
    (void)c;
    drained++;
}

static void on_failed(struct tg_call *c, enum tg_err err, const char *reason)
{
    (void)c;
    assert_true(err != TG_E_PROTOCOL || reason != NULL);
    note("failed %s", tg_err_name(err));
    failed++;
}

static const struct tg_call_events events = {on_connected, on_info,  on_head,    on_body,
                                             on_end,       on_pause, on_drained, on_failed};

static TG_UNUSED int setup(void **state)
{
    int rc = wire_init(state);
    memset(&client, 0, sizeof(client));
    trace[0] = '\0';
    far = -1;
    connected = drained = failed = 0;
    then_head = NULL;
    then_body = then_end = NULL;
    limits = (struct tg_call_limits){.fields = 20,
                                     .head = 1024,
                                     .buffer = 8192,
                                     .response = 20 * TG_USEC_PER_SEC,
                                     .io = 10 * TG_USEC_PER_SEC};
    tg_arena_init(&arena, worker.slab, (size_t)4 << 20);
    return rc;
}

static TG_UNUSED int teardown(void **state)
{
    if (client.magic != 0)
        tg_h1_client_close(&client);
    tg_arena_release(&arena);
    if (far >= 0)
        close(far);
    wire_rounds();
    return wire_release(state);
}

static TG_UNUSED void open_pair(void (*pair)(int fds[2]))
{
    int fds[2];
    pair(fds);
    far = fds[1];
    assert_int_equal(tg_h1_client_open_fd(&client, &worker, fds[0], &events, NULL), TG_OK);
    assert_int_equal(connected, 0);
    wire_until(&connected);
}

static TG_UNUSED void begin(enum tg_method method, const char *head, enum tg_framing framing)
{
    tg_call_begin(&client.call, &arena, method, &limits, &events, NULL);
    tg_fmt_add(tg_call_stage(&client.call, 64), tg_str_c(head));
    tg_call_set_framing(&client.call, framing);
}

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

/* A request without a body, sent and seen. */
static TG_UNUSED void get(void)
{
    begin(TG_METHOD_GET, GET, TG_FRAMING_NONE);
    tg_call_send_end(&client.call, NULL);
    wire_expect(far, GET);
}

/* An exchange whose request is out; the origin then sends `answer`. */
static TG_UNUSED void answered(const char *answer, const char *want)
{
    wire_send(far, answer);
    assert_trace(want);
}

static TG_UNUSED void next_exchange(void)
{
    assert_true(tg_h1_client_is_reusable(&client));
    tg_h1_client_rest(&client, &events, NULL, REST);
    tg_arena_release(&arena);
    assert_int_equal(tg_slab_leased(worker.slab), 0); /* a resting connection holds nothing */
}

#define POST_CHUNKED "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"

/* Sends a body until the kernel takes no more. */
static TG_UNUSED void fill(void)
{
    static char block[65536];
    for (int i = 0; i < 1000 && tg_call_pending(&client.call) == 0; i++)
        tg_call_send_body(&client.call, tg_str(block, sizeof(block)));
    assert_true(tg_call_pending(&client.call) > 0);
}

#endif
