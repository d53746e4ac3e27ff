/*
 * A connection of HTTP/2 that is fed bytes, before a gateway that reads some bodies, answers some
 * requests at once, some later and some never: it comes to its end, every exchange is told its own,
 * and nothing is left.
 *
 * Input: the first byte says how the gateway behaves and how the bytes are cut; the rest follows
 * the client's preface, which is sent beforehand unless the byte has its highest bit.
 */
#include "http/h2_server.h"

#include "base/assert.h"
#include "observe/log.h"
#include "observe/metrics.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define EXCHANGES 256
#define PREFACE   "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

struct exchange {
    struct tg_stream *stream;
    struct tg_arena arena;
    struct tg_request_head head;
};

static struct tg_worker worker;
static struct tg_metrics *metrics;
static struct tg_limits limits;
static struct exchange exchanges[EXCHANGES];
static unsigned begun;
static unsigned behaviour;
static bool closed;

static void end_exchange(struct exchange *x)
{
    x->stream = NULL;
    tg_arena_release(&x->arena);
}

static void answer(struct exchange *x, unsigned status)
{
    static char text[3000];
    struct tg_response_head head = {.status = (uint16_t)status, .framing = TG_FRAMING_CHUNKED};
    struct tg_stream *stream = x->stream;
    tg_fields_init(&head.fields, &x->arena);
    stream->ops->send_head(stream, &head);
    stream->ops->send_body(stream, tg_str(text, sizeof(text)));
    stream->ops->send_end(stream, NULL);
    end_exchange(x);
}

static void on_body(struct tg_stream *stream, struct tg_str data)
{
    if (data.n % 7 == 3)
        stream->ops->read_body(stream, false);
}

static void on_body_end(struct tg_stream *stream, const struct tg_fields *trailers)
{
    tg_assert(trailers != NULL);
    if (behaviour & 2)
        answer(stream->owner, 200);
}

static void on_drained(struct tg_stream *stream)
{
    (void)stream;
}

static void on_aborted(struct tg_stream *stream, enum tg_err err, unsigned status)
{
    (void)err;
    if (status != 0)
        answer(stream->owner, status);
    else
        end_exchange(stream->owner);
}

static const struct tg_stream_events stream_events = {on_body, on_body_end, on_drained, on_aborted};

static bool begin(struct tg_h2_server *server, struct tg_stream *stream, struct tg_h2_begin *to)
{
    (void)server;
    struct exchange *x = &exchanges[begun % EXCHANGES];
    if (x->stream != NULL)
        return false;
    begun++;
    tg_arena_init(&x->arena, worker.slab, (size_t)1 << 18);
    x->stream = stream;
    stream->events = &stream_events;
    stream->owner = x;
    *to = (struct tg_h2_begin){.head = &x->head, .arena = &x->arena};
    return true;
}

static void request(struct tg_stream *stream)
{
    struct exchange *x = stream->owner;
    tg_assert(x->head.fields.n > 0);
    if (behaviour & 4)
        stream->ops->read_body(stream, true);
    if ((behaviour & 1) && x->stream == stream)
        answer(x, 200);
}

static void refused(struct tg_stream *stream, const struct tg_refusal *refusal)
{
    tg_assert(refusal->status >= 400);
    answer(stream->owner, refusal->status);
}

static void on_closed(struct tg_h2_server *server)
{
    (void)server;
    closed = true;
}

static void on_idle(struct tg_h2_server *server)
{
    (void)server;
}

static const struct tg_limits *current_limits(struct tg_h2_server *server)
{
    (void)server;
    return &limits;
}

static const struct tg_h2_server_events events = {
    .begin = begin,
    .request = request,
    .refused = refused,
    .closed = on_closed,
    .idle = on_idle,
    .limits = current_limits,
};

static void feed(int fd, const char *p, size_t n)
{
    char room[65536];
    if (n > 0)
        (void)!send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    for (int i = 0; i < 3; i++)
        ev_run(worker.loop.ev, EVRUN_NOWAIT);
    while (recv(fd, room, sizeof(room), MSG_DONTWAIT) > 0) {
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    metrics = tg_metrics_new(1);
    tg_assert(metrics != NULL);
    tg_assert(tg_worker_init(&worker, 0, tg_metrics_cells(metrics, 0)) == TG_OK);
    tg_limits_init(&limits);
    tg_log_set_level(TG_LOG_ERROR);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct tg_conn_handler none;
    static const char settings[9] = {0, 0, 0, NGHTTP2_SETTINGS};
    struct tg_h2_server server;
    struct tg_conn conn;
    int fds[2];
    if (size < 2)
        return 0;
    begun = 0;
    closed = false;
    behaviour = data[0];
    tg_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    tg_assert(tg_conn_open(&conn, &worker, fds[0], &none) == TG_OK);
    tg_assert(tg_h2_server_adopt(&server, &conn, TG_STR(""), &events) == TG_OK);
    if (!(behaviour & 0x80)) {
        feed(fds[1], PREFACE, sizeof(PREFACE) - 1);
        feed(fds[1], settings, sizeof(settings));
    }
    size_t cut = (size_t)(behaviour >> 3 & 15) * 16 + 1;
    for (size_t at = 1; at < size && !closed; at += cut)
        feed(fds[1], (const char *)data + at, TG_MIN(cut, size - at));
    if (behaviour & 8 && !closed)
        tg_h2_server_drain(&server);
    feed(fds[1], NULL, 0);
    close(fds[1]);
    for (int i = 0; i < 3; i++)
        ev_run(worker.loop.ev, EVRUN_NOWAIT);
    if (!closed)
        tg_h2_server_close(&server);
    ev_run(worker.loop.ev, EVRUN_NOWAIT);
    for (unsigned i = 0; i < EXCHANGES; i++)
        tg_assert(exchanges[i].stream == NULL);
    tg_assert(tg_slab_leased(worker.slab) == 0);
    return 0;
}
