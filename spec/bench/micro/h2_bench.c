/*
 * What HTTP/2 keeps: memory of an idle connection, and of a stream that is open on it and waits,
 * beyond the request itself, which costs the same whatever carried it (its arena, which the gateway
 * owns). Counted are slab blocks and what nghttp2 took. Prints `bench <name> <value> <unit>` lines.
 */
#include "base/banned.h"
#include "http/h2_server.h"

#include "base/assert.h"
#include "observe/metrics.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define STREAMS 100u

static struct tg_limits limits;
static struct tg_arena arenas[STREAMS];
static struct tg_request_head heads[STREAMS];
static unsigned begun;
static struct tg_worker worker;

static void on_any_body(struct tg_stream *stream, struct tg_str data)
{
    (void)stream;
    (void)data;
}

static void on_any_end(struct tg_stream *stream, const struct tg_fields *trailers)
{
    (void)stream;
    (void)trailers;
}

static void on_any(struct tg_stream *stream)
{
    (void)stream;
}

static void on_aborted(struct tg_stream *stream, enum tg_err err, unsigned status)
{
    (void)stream;
    (void)err;
    (void)status;
}

static const struct tg_stream_events stream_events = {on_any_body, on_any_end, on_any, on_aborted};

static bool begin(struct tg_h2_server *server, struct tg_stream *stream, struct tg_h2_begin *to)
{
    (void)server;
    tg_assert(begun < STREAMS);
    tg_arena_init(&arenas[begun], worker.slab, (size_t)1 << 20);
    stream->events = &stream_events;
    *to = (struct tg_h2_begin){.head = &heads[begun], .arena = &arenas[begun]};
    begun++;
    return true;
}

static void refused(struct tg_stream *stream, const struct tg_refusal *refusal)
{
    (void)stream;
    (void)refusal;
}

static void ignore(struct tg_h2_server *server)
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
    .request = on_any,
    .refused = refused,
    .closed = ignore,
    .idle = ignore,
    .limits = current_limits,
};

/* Leased blocks, less those of the requests' arenas, and what nghttp2 has beside the slab. */
static size_t memory(void)
{
    size_t n =
        tg_slab_leased(worker.slab) + tg_mem_used(TG_MEM_CONNECTION) - tg_slab_held(worker.slab);
    for (unsigned i = 0; i < begun; i++)
        n -= arenas[i].used;
    return n;
}

/* Lets the client and the server say all that they have to say. */
static void talk(nghttp2_session *client, int fd)
{
    char room[65536];
    for (int i = 0; i < 20; i++) {
        const uint8_t *p;
        ssize_t n;
        while ((n = nghttp2_session_mem_send(client, &p)) > 0)
            tg_assert(send(fd, p, (size_t)n, 0) == n);
        ev_run(worker.loop.ev, EVRUN_NOWAIT);
        n = recv(fd, room, sizeof(room), 0);
        if (n > 0)
            tg_assert(nghttp2_session_mem_recv(client, (uint8_t *)room, (size_t)n) == n);
    }
}

static ssize_t nothing_yet(nghttp2_session *session, int32_t id, uint8_t *p, size_t n,
                           uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    (void)session;
    (void)id;
    (void)p;
    (void)n;
    (void)flags;
    (void)source;
    (void)arg;
    return NGHTTP2_ERR_DEFERRED;
}

#define NV(n, v)                                                                                   \
    {                                                                                              \
        (uint8_t *)(uintptr_t)(n), (uint8_t *)(uintptr_t)(v), sizeof(n) - 1, sizeof(v) - 1, 0      \
    }

static void open_streams(nghttp2_session *client)
{
    static const nghttp2_nv nva[] = {NV(":method", "POST"),      NV(":scheme", "http"),
                                     NV(":authority", "a.test"), NV(":path", "/some/path"),
                                     NV("user-agent", "bench"),  NV("accept", "*/*")};
    static const nghttp2_data_provider body = {.read_callback = nothing_yet};
    for (unsigned i = 0; i < STREAMS; i++)
        tg_assert(nghttp2_submit_request(client, NULL, nva, 6, &body, NULL) > 0);
}

int main(void)
{
    static const struct tg_conn_handler none;
    struct tg_h2_server server;
    struct tg_conn conn;
    nghttp2_session *client;
    nghttp2_session_callbacks *callbacks;
    int fds[2];
    struct tg_metrics *metrics = tg_metrics_new(1);
    tg_assert(metrics != NULL);
    tg_assert(tg_worker_init(&worker, 0, tg_metrics_cells(metrics, 0)) == TG_OK);
    tg_limits_init(&limits);
    tg_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    tg_assert(nghttp2_session_callbacks_new(&callbacks) == 0);
    tg_assert(nghttp2_session_client_new(&client, callbacks, NULL) == 0);
    tg_assert(nghttp2_submit_settings(client, NGHTTP2_FLAG_NONE, NULL, 0) == 0);
    nghttp2_session_callbacks_del(callbacks);
    tg_assert(tg_conn_open(&conn, &worker, fds[0], &none) == TG_OK);

    size_t before = memory();
    tg_assert(tg_h2_server_adopt(&server, &conn, TG_STR(""), &events) == TG_OK);
    talk(client, fds[1]);
    size_t idle = memory();
    open_streams(client);
    talk(client, fds[1]);
    tg_assert(begun == STREAMS);
    printf("bench h2.connection_bytes %zu bytes\n", idle - before + sizeof(server));
    printf("bench h2.stream_bytes %zu bytes\n", (memory() - idle) / STREAMS);

    tg_h2_server_close(&server);
    for (unsigned i = 0; i < begun; i++)
        tg_arena_release(&arenas[i]);
    nghttp2_session_del(client);
    close(fds[1]);
    ev_run(worker.loop.ev, EVRUN_NOWAIT);
    tg_worker_release(&worker);
    tg_metrics_free(&metrics);
    return 0;
}
