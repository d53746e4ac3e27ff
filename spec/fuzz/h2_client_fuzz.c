/*
 * A connection to an origin that speaks HTTP/2, which is fed bytes while exchanges are open on it:
 * each comes to one end, told once, bodies are what the head said, and nothing is left. One of them
 * asks for a tunnel.
 *
 * Input: the first byte says how the exchanges behave and how the bytes are cut; the rest is what
 * the origin sends, behind its SETTINGS unless the byte has its highest bit.
 */
#include "http/h2_call.h"

#include "base/assert.h"
#include "observe/log.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CALLS 4

struct exchange {
    struct tg_h2_call call;
    struct tg_arena arena;
    bool open, head, over, tunnel;
    bool has_length;
    uint64_t left; /* of a body with a length */
};

static struct tg_worker worker;
static struct tg_h2_client client;
static struct exchange exchanges[CALLS];
static unsigned behaviour;
static bool closed;

static struct exchange *exchange_of(struct tg_call *call)
{
    struct exchange *x = call->owner;
    tg_assert(x->open && !x->over);
    return x;
}

static void end_exchange(struct exchange *x)
{
    if (!x->open)
        return;
    x->open = false;
    tg_h2_call_close(&x->call);
    tg_arena_release(&x->arena);
}

static void on_info(struct tg_call *call, const struct tg_response_head *head)
{
    tg_assert(!exchange_of(call)->head && head->status >= 100 && head->status < 200);
}

static void on_head(struct tg_call *call, const struct tg_response_head *head)
{
    struct exchange *x = exchange_of(call);
    tg_assert(!x->head && head->status <= 999);
    tg_assert(head->status >= 200 || (head->status == 101 && call->asks_tunnel));
    x->head = true;
    x->tunnel = head->status == 101;
    x->has_length = head->framing == TG_FRAMING_LENGTH;
    x->left = head->length;
    for (uint32_t i = 0; i < head->fields.n; i++) {
        tg_assert(tg_str_is_token(head->fields.v[i].name));
        tg_assert(!tg_h2_field_is_forbidden(head->fields.v[i].id) ||
                  (x->tunnel && head->fields.v[i].id == TG_FIELD_UPGRADE));
    }
    if (x->tunnel)
        tg_call_begin_tunnel(call);
    if (behaviour & 1)
        tg_call_read(call, false);
}

static void on_body(struct tg_call *call, struct tg_str data)
{
    struct exchange *x = exchange_of(call);
    tg_assert(x->head && data.n > 0);
    if (x->has_length) {
        tg_assert(data.n <= x->left);
        x->left -= data.n;
    }
    if (behaviour & 2 && data.n % 5 == 1)
        end_exchange(x);
}

static void on_end(struct tg_call *call, const struct tg_fields *trailers)
{
    struct exchange *x = exchange_of(call);
    tg_assert(x->head && trailers != NULL && (!x->has_length || x->left == 0));
    x->over = !x->tunnel; /* of a tunnel it is one side's end */
    if (x->tunnel)
        tg_call_send_body(call, TG_STR("more"));
    if (behaviour & 4)
        end_exchange(x);
}

static void on_nothing(struct tg_call *call)
{
    (void)call;
}

static void on_failed(struct tg_call *call, enum tg_err err, const char *reason)
{
    struct exchange *x = exchange_of(call);
    tg_assert(err != TG_E_PROTOCOL || reason != NULL);
    end_exchange(x);
}

static const struct tg_call_events events = {
    .on_info = on_info,
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_pause = on_nothing,
    .on_drained = on_nothing,
    .on_failed = on_failed,
};

static void on_room(struct tg_h2_client *c)
{
    (void)tg_h2_client_room(c);
}

static void on_closed(struct tg_h2_client *c)
{
    tg_assert(!closed && c->state == TG_H2_CLIENT_CLOSED);
    closed = true;
}

static const struct tg_h2_client_events client_events = {on_room, on_closed};

static void ask(struct exchange *x, enum tg_method method, bool body, bool tunnel)
{
    static const struct tg_call_limits limits = {.fields = 20,
                                                 .head = 2000,
                                                 .buffer = 4096,
                                                 .response = TG_USEC_PER_SEC,
                                                 .io = TG_USEC_PER_SEC};
    *x = (struct exchange){.open = true};
    tg_arena_init(&x->arena, worker.slab, (size_t)1 << 18);
    tg_assert(tg_h2_call_open(&x->call, &client) == TG_OK);
    struct tg_call *call = &x->call.call;
    tg_call_begin(call, &x->arena, method, &limits, &events, x);
    call->asks_tunnel = tunnel;
    tg_fmt_add(tg_call_stage(call, 64), TG_STR("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    tg_call_set_framing(call, body ? TG_FRAMING_CHUNKED : TG_FRAMING_NONE);
    if (body)
        tg_call_send_body(call, TG_STR("a body that does not end"));
    else
        tg_call_send_end(call, NULL);
}

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
    tg_assert(tg_worker_init(&worker, 0, NULL) == TG_OK);
    tg_log_set_level(TG_LOG_ERROR);
    return 0;
}

static void read_what_waits(void)
{
    for (unsigned i = 0; i < CALLS; i++) {
        if (exchanges[i].open && !exchanges[i].over)
            tg_call_read(&exchanges[i].call.call, true);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct tg_conn_handler none;
    static const char settings[15] = {
        0, 0, 6, NGHTTP2_SETTINGS, 0, 0, 0, 0, 0, 0, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 0,
        0, 0, 1};
    static const struct tg_h2_client_conf conf = {
        .streams = 100, .max_window = 1 << 20, .head = 2000, .ping = TG_USEC_PER_SEC};
    struct tg_conn conn;
    int fds[2];
    if (size < 2)
        return 0;
    closed = false;
    behaviour = data[0];
    tg_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    tg_assert(tg_conn_open(&conn, &worker, fds[0], &none) == TG_OK);
    tg_assert(tg_h2_client_open(&client, &conn, &conf, &client_events, NULL) == TG_OK);
    for (unsigned i = 0; i < CALLS; i++)
        ask(&exchanges[i], i == 1 ? TG_METHOD_HEAD : TG_METHOD_GET, i == 2, i == 3);
    feed(fds[1], settings, behaviour & 0x80 ? 0 : sizeof(settings));
    size_t cut = (size_t)(behaviour >> 3 & 15) * 16 + 1;
    for (size_t at = 1; at < size && !closed; at += cut) {
        feed(fds[1], (const char *)data + at, TG_MIN(cut, size - at));
        if (at % 3 == 1)
            read_what_waits();
    }
    read_what_waits();
    close(fds[1]);
    for (int i = 0; i < 3; i++)
        ev_run(worker.loop.ev, EVRUN_NOWAIT);
    for (unsigned i = 0; i < CALLS; i++)
        end_exchange(&exchanges[i]);
    tg_assert(client.call_count == 0);
    tg_h2_client_close(&client);
    ev_run(worker.loop.ev, EVRUN_NOWAIT);
    tg_assert(tg_slab_leased(worker.slab) == 0);
    return 0;
}
