/* client.c: accepting connections, and what becomes of them.
 *
 * A struct tg_client is an h1_server or an h2_server and what the gateway knows of the connection.
 * It is freed at the end of the round in which it closed. What its streams tell goes to exchange.c.
 *
 * Which of the two it is: the handshake of TLS says so, or the first bytes of a connection in clear
 * where the listener takes HTTP/2 there. Then the one becomes the other in its place. */
#include "base/banned.h"
#include "gateway/client.h"

#include "base/assert.h"
#include "base/shared_map.h"
#include "gateway/arrival.h"
#include "gateway/internal.h"
#include "http/h1_server.h"
#include "http/h2_server.h"
#include "net/tls_conn.h"
#include "observe/metrics.h"

#include <errno.h>
#include <unistd.h>

#define ACCEPT_BATCH 32
#define ADDRESSES_MAX                                                                              \
    (1u << 17) /* connected at once; of more, those of one connection go first                     \
                */
#define ADDRESS_SHARDS 16
#define ACCEPT_PAUSE   (100 * TG_USEC_PER_MSEC)
#define RELIEF_LOOK    4096 /* clients looked at in one relief */
#define RELIEF_LEAST   32   /* idle ones that it may close */

struct tg_client {
    union {
        struct tg_h1_server h1;
        struct tg_h2_server h2;
    };
    struct tg_gate *gate;
    struct tg_acceptor *acceptor; /* one reference */
    struct tg_addr peer;
    struct tg_list link;
    struct tg_task free_later;
    bool is_h2;
};

_Static_assert(sizeof(struct tg_client) <= 512, "an idle connection takes half a KiB");

/* Lives as long as it accepts or a client that it opened is there. */
struct tg_acceptor {
    struct tg_gate *gate;
    struct tg_list link;                     /* in the gate's list while it accepts */
    const struct tg_listener_conf *listener; /* in the gate's snapshot */
    char address[TG_LISTEN_KEY_MAX];         /* of the listener, terminated */
    uint32_t refs;
    int fd; /* borrowed; -1: it accepts no more */
    ev_io io;
    bool leaving;          /* until tg_acceptors_settle() */
    struct tg_timer pause; /* descriptors are out: try again later */
    bool waits;            /* memory is short: until tg_acceptors_resume() */
    bool gone;             /* a reload has taken the listener away: nothing new begins */
    int batch;             /* connections taken when it last was acceptable */
    unsigned round;        /* of the loop, that was */
    bool more;             /* and there may be more */
};

static struct tg_client *client_of(struct tg_h1_server *server)
{
    return TG_CONTAINER_OF(server, struct tg_client, h1);
}

static struct tg_client *client_of_h2(struct tg_h2_server *server)
{
    return TG_CONTAINER_OF(server, struct tg_client, h2);
}

/* The listener as the snapshot in force has it; some other one when a reload has taken it away and
 * its last connections end. */
static void find_listener(struct tg_acceptor *a)
{
    const struct tg_snapshot *s = a->gate->snapshot;
    a->listener = &s->listeners[0];
    a->gone = true;
    for (uint32_t i = 0; i < s->listener_count; i++) {
        if (!tg_str_eq(s->listeners[i].address, tg_str_c(a->address)))
            continue;
        a->listener = &s->listeners[i];
        a->gone = false;
    }
}

static void unref_acceptor(struct tg_acceptor *a)
{
    if (--a->refs > 0)
        return;
    tg_list_remove(&a->link);
    tg_slab_return(a->gate->worker->slab, a, sizeof(*a));
}

/* ---- Counting by address -----------------------------------------------------------------------
 */

enum tg_err tg_client_addresses_new(struct tg_shared_map **out)
{
    struct tg_map_options options = {
        .tag = TG_MEM_COUNTER,
        .policy = TG_MAP_LRU,
        .max_entries = ADDRESSES_MAX,
        .value_size = sizeof(uint64_t),
        .key_room = TG_MAP_KEY_ROOM_MIN,
    };
    *out = tg_shared_map_new(&options, ADDRESS_SHARDS);
    return *out != NULL ? TG_OK : TG_E_NOMEM;
}

void tg_client_addresses_free(struct tg_shared_map **map)
{
    tg_shared_map_free(map);
}

/* One more connection from `peer`; false when it is one too many. */
static bool count_address(struct tg_gate *gate, const struct tg_addr *peer)
{
    static const struct tg_map_terms terms;
    uint64_t limit = gate->snapshot->settings.limits.connections_per_address;
    uint64_t now = tg_loop_now(&gate->worker->loop);
    size_t n;
    const void *ip = tg_addr_ip_bytes(peer, &n);
    struct tg_map_key key = tg_map_key(ip, n);
    struct tg_map *map = tg_shared_map_lease(gate->gateway->addresses, key);
    void *value;
    bool ok = tg_map_obtain(map, key, &terms, now, &value) == TG_OK;
    if (ok) {
        uint64_t *count = value;
        ok = *count < limit;
        if (ok)
            tg_limit_note(connections_per_address, ++*count);
    }
    tg_shared_map_return(gate->gateway->addresses, key, &map);
    return ok;
}

static void uncount_address(struct tg_gate *gate, const struct tg_addr *peer)
{
    uint64_t now = tg_loop_now(&gate->worker->loop);
    size_t n;
    const void *ip = tg_addr_ip_bytes(peer, &n);
    struct tg_map_key key = tg_map_key(ip, n);
    struct tg_map *map = tg_shared_map_lease(gate->gateway->addresses, key);
    uint64_t *count = tg_map_get(map, key, now);
    if (count != NULL && *count > 0 && --*count == 0)
        tg_map_remove(map, key, now);
    tg_shared_map_return(gate->gateway->addresses, key, &map);
}

/* ---- Connections -------------------------------------------------------------------------------
 */

static void count_out(struct tg_gateway *g)
{
    uint64_t before = atomic_fetch_sub_explicit(&g->connections, 1, memory_order_relaxed);
    tg_limit_note(connections, before - 1);
}

static void on_free(struct tg_task *task)
{
    struct tg_client *c = TG_CONTAINER_OF(task, struct tg_client, free_later);
    struct tg_gate *gate = c->gate;
    tg_list_remove(&c->link);
    unref_acceptor(c->acceptor);
    tg_slab_return(gate->worker->slab, c, sizeof(*c));
    tg_gate_check_drained(gate);
}

static void gone(struct tg_client *c)
{
    struct tg_gate *gate = c->gate;
    uncount_address(gate, &c->peer);
    count_out(gate->gateway);
    tg_metric_dec(gate->worker->cells, TG_METRIC_CONNECTIONS_OPEN);
    tg_loop_defer(&gate->worker->loop, &c->free_later);
}

/* The youngest of the idle ones now. */
static void fell_idle(struct tg_client *c)
{
    tg_list_remove(&c->link);
    tg_list_push_back(&c->gate->clients, &c->link);
}

/* A request for a stream that begins; NULL: no memory, or its listener is gone. */
static struct tg_request *new_request(struct tg_client *c, struct tg_stream *stream,
                                      const struct tg_conn *conn)
{
    if (c->acceptor->gone)
        return NULL;
    struct tg_request *r = tg_request_new(c->gate, c->acceptor->listener, stream, &c->peer,
                                          tg_tls_facts_of(conn->transport));
    if (r == NULL)
        return NULL;
    stream->events = &tg_exchange_events;
    stream->owner = r;
    return r;
}

/* ---- Connections of HTTP/2 ---------------------------------------------------------------------
 */

static bool h2_begin(struct tg_h2_server *server, struct tg_stream *stream, struct tg_h2_begin *to)
{
    struct tg_client *c = client_of_h2(server);
    struct tg_request *r = new_request(c, stream, &server->conn);
    if (r == NULL)
        return false;
    tg_metric_inc(c->gate->worker->cells, TG_METRIC_H2_STREAMS);
    *to = (struct tg_h2_begin){&r->in, &r->arena, r->listener->merge_slashes};
    return true;
}

static void h2_request(struct tg_stream *stream)
{
    tg_request_start(stream->owner);
}

static void h2_refused(struct tg_stream *stream, const struct tg_refusal *refusal)
{
    tg_request_refuse(stream->owner, refusal->status, refusal->reason);
}

static void h2_closed(struct tg_h2_server *server)
{
    struct tg_client *c = client_of_h2(server);
    tg_metric_dec(c->gate->worker->cells, TG_METRIC_H2_OPEN);
    gone(c);
}

static void h2_idle(struct tg_h2_server *server)
{
    fell_idle(client_of_h2(server));
}

static const struct tg_limits *h2_limits(struct tg_h2_server *server)
{
    return &client_of_h2(server)->gate->snapshot->settings.limits;
}

static const struct tg_h2_server_events h2_events = {
    .begin = h2_begin,
    .request = h2_request,
    .refused = h2_refused,
    .closed = h2_closed,
    .idle = h2_idle,
    .limits = h2_limits,
};

static enum tg_err serve_h2(struct tg_client *c, struct tg_conn *conn, struct tg_str first)
{
    c->is_h2 = true;
    tg_metric_inc(c->gate->worker->cells, TG_METRIC_H2_OPEN);
    enum tg_err err = tg_h2_server_adopt(&c->h2, conn, first, &h2_events);
    if (err != TG_OK)
        tg_metric_dec(c->gate->worker->cells, TG_METRIC_H2_OPEN);
    return err;
}

/* ---- Connections of HTTP/1.1 -------------------------------------------------------------------
 */

static struct tg_request_head *begin(struct tg_h1_server *server, struct tg_arena **arena)
{
    struct tg_request *r = new_request(client_of(server), &server->stream, &server->conn);
    if (r == NULL)
        return NULL;
    server->merge_slashes = r->listener->merge_slashes;
    *arena = &r->arena;
    return &r->in;
}

static void request(struct tg_h1_server *server)
{
    tg_request_start(server->stream.owner);
}

static void refused(struct tg_h1_server *server, const struct tg_refusal *refusal)
{
    tg_request_refuse(server->stream.owner, refusal->status, refusal->reason);
}

static void closed(struct tg_h1_server *server)
{
    gone(client_of(server));
}

static void idle(struct tg_h1_server *server)
{
    struct tg_client *c = client_of(server);
    fell_idle(c);
    if (c->acceptor->gone) /* it had an exchange when that was told to all */
        tg_h1_server_drain(server);
}

static const struct tg_limits *limits(struct tg_h1_server *server)
{
    return &client_of(server)->gate->snapshot->settings.limits;
}

/* It is HTTP/2 from here on, where the listener takes that. */
static bool preface(struct tg_h1_server *server)
{
    struct tg_client *c = client_of(server);
    struct tg_slab *slab = c->gate->worker->slab;
    struct tg_conn conn;
    struct tg_inbuf in;
    if (!c->acceptor->listener->http2 || server->conn.transport != NULL)
        return false;
    if (tg_h1_server_leave(server, &conn, &in) != TG_OK ||
        serve_h2(c, &conn, tg_str(tg_inbuf_at(&in), tg_inbuf_left(&in))) != TG_OK)
        gone(c);
    tg_inbuf_release(&in, slab);
    return true;
}

static const struct tg_h1_server_events server_events = {
    .begin = begin,
    .request = request,
    .refused = refused,
    .closed = closed,
    .idle = idle,
    .limits = limits,
    .preface = preface,
};

/* ---- Accepting ---------------------------------------------------------------------------------
 */

/* Counts the connection in; false, and counted as refused, when there are too many. */
static bool admit(struct tg_gate *gate)
{
    struct tg_gateway *g = gate->gateway;
    uint64_t before = atomic_fetch_add_explicit(&g->connections, 1, memory_order_relaxed);
    if (before < gate->snapshot->settings.limits.connections) {
        tg_limit_note(connections, before + 1);
        return true;
    }
    tg_limit_hit(connections);
    tg_metric_inc(gate->worker->cells, TG_METRIC_CONNECTIONS_REJECTED_TOTAL);
    count_out(g);
    return false;
}

/* The same for what its address has. */
static bool admit_address(struct tg_gate *gate, const struct tg_addr *peer)
{
    if (count_address(gate, peer))
        return true;
    tg_limit_hit(connections_per_address);
    tg_metric_inc(gate->worker->cells, TG_METRIC_CONNECTIONS_REJECTED_ADDRESS);
    return false;
}

/* It will be none; `peer` is NULL where its address was not counted. */
static void dismiss(struct tg_gate *gate, const struct tg_addr *peer)
{
    if (peer != NULL)
        uncount_address(gate, peer);
    count_out(gate->gateway);
}

/* The handshake came to HTTP/2. */
static bool agreed_on_h2(const struct tg_conn *conn)
{
    const struct tg_tls_facts *facts = tg_tls_facts_of(conn->transport);
    return facts != NULL && tg_str_eq(facts->alpn, TG_STR("h2"));
}

/* A client on the socket `fd`, or on what `conn` has; both counted in. */
static enum tg_err serve(struct tg_acceptor *a, int fd, struct tg_conn *conn,
                         const struct tg_addr *peer)
{
    struct tg_gate *gate = a->gate;
    struct tg_client *c = tg_slab_lease(gate->worker->slab, sizeof(*c));
    enum tg_err err = TG_E_NOMEM;
    if (c == NULL) {
        if (conn == NULL)
            close(fd);
    } else {
        c->gate = gate;
        c->acceptor = a;
        c->peer = *peer;
        c->is_h2 = false;
        tg_list_init(&c->link);
        tg_task_init(&c->free_later, on_free);
        if (conn == NULL)
            err = tg_h1_server_open(&c->h1, gate->worker, fd, &server_events);
        else if (agreed_on_h2(conn))
            err = serve_h2(c, conn, TG_STR(""));
        else
            err = tg_h1_server_adopt(&c->h1, conn, &server_events);
    }
    if (err != TG_OK) {
        if (c != NULL)
            tg_slab_return(gate->worker->slab, c, sizeof(*c));
        dismiss(gate, peer);
        return err;
    }
    a->refs++;
    tg_list_push_back(&gate->clients, &c->link);
    tg_metric_inc(gate->worker->cells, TG_METRIC_CONNECTIONS_ACCEPTED);
    tg_metric_inc(gate->worker->cells, TG_METRIC_CONNECTIONS_OPEN);
    return TG_OK;
}

static bool arrival_admit(void *owner, const struct tg_addr *peer)
{
    return admit_address(((struct tg_acceptor *)owner)->gate, peer);
}

static void arrival_done(void *owner, struct tg_conn *conn, const struct tg_addr *peer)
{
    struct tg_acceptor *a = owner;
    if (a->gone)
        dismiss(a->gate, peer);
    else
        (void)serve(a, -1, conn, peer); /* served, or let go of */
    unref_acceptor(a);
}

static void arrival_lost(void *owner, const struct tg_addr *peer)
{
    struct tg_acceptor *a = owner;
    dismiss(a->gate, peer);
    unref_acceptor(a);
}

static const struct tg_arrival_events arrival_events = {
    .admit = arrival_admit,
    .done = arrival_done,
    .lost = arrival_lost,
};

static enum tg_err open_client(struct tg_acceptor *a, int fd, const struct tg_addr *peer)
{
    struct tg_gate *gate = a->gate;
    if (a->gone || !admit(gate)) {
        close(fd);
        return TG_E_LIMIT;
    }
    /* What is handed to us by hand, not by a socket of ours, has no steps to take. */
    if (a->fd >= 0 && (a->listener->tls != NULL || a->listener->proxy_protocol)) {
        a->refs++;
        enum tg_err err = tg_arrival_open(gate, a->listener, fd, peer, &arrival_events, a);
        if (err != TG_OK)
            arrival_lost(a, NULL);
        return err;
    }
    if (admit_address(gate, peer))
        return serve(a, fd, NULL, peer);
    close(fd);
    dismiss(gate, NULL);
    return TG_E_LIMIT;
}

static struct tg_addr local_peer(void)
{
    struct tg_addr addr = {.len = sizeof(addr.u.v4)};
    addr.u.v4.sin_family = AF_INET;
    addr.u.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return addr;
}

/* Takes up to `most` connections; false when the queue is empty or taking failed. */
static bool accept_some(struct tg_acceptor *a, int most)
{
    for (int i = 0; i < most; i++) {
        struct sockaddr_storage ss;
        socklen_t len = sizeof(ss);
        int fd = accept4(a->fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            struct tg_addr peer;
            tg_addr_from_sockaddr((struct sockaddr *)&ss, len, &peer);
            if (peer.len == 0) /* by a unix socket: from this machine */
                peer = local_peer();
            (void)open_client(a, fd, &peer); /* refused and counted, or served */
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            tg_log_every(1, TG_LOG_ERROR, "listener", "cannot accept: %s; trying again",
                         tg_err_text(tg_err_from_errno(errno)));
            ev_io_stop(a->gate->worker->loop.ev, &a->io);
            tg_timer_set(&a->pause, tg_loop_now(&a->gate->worker->loop) + ACCEPT_PAUSE);
        }
        return errno == ECONNABORTED || errno == EINTR;
    }
    return true;
}

/* Mostly one connection waits, and a second accept4() would cost as much only to say so. A queue
 * that is still there in the next round is a longer one: the double is taken then. */
static void accept_batch(struct tg_acceptor *a, unsigned round)
{
    bool lasts = a->more && round == a->round + 1;
    a->batch = lasts ? TG_MIN(2 * a->batch, ACCEPT_BATCH) : 1;
    a->round = round;
    a->more = accept_some(a, a->batch);
}

static void on_acceptable(struct ev_loop *ev, ev_io *w, int revents)
{
    struct tg_acceptor *a = w->data;
    (void)revents;
    int most = tg_overload_accepts(a->gate, ACCEPT_BATCH);
    if (most == ACCEPT_BATCH) {
        accept_batch(a, ev_iteration(ev));
        return;
    }
    (void)accept_some(a, most);
    a->waits = true;
    ev_io_stop(ev, w);
    tg_metric_inc(a->gate->worker->cells, TG_METRIC_ACCEPT_PAUSES);
}

static void on_pause_over(struct tg_timer *timer)
{
    struct tg_acceptor *a = TG_CONTAINER_OF(timer, struct tg_acceptor, pause);
    if (!a->waits)
        ev_io_start(a->gate->worker->loop.ev, &a->io);
}

/* An acceptor for `fd` with one reference, in no list; NULL: no memory. */
static struct tg_acceptor *new_acceptor(struct tg_gate *gate, int fd, struct tg_str address)
{
    tg_assert(address.n < TG_LISTEN_KEY_MAX);
    struct tg_acceptor *a = tg_slab_lease(gate->worker->slab, sizeof(*a));
    if (a == NULL)
        return NULL;
    *a = (struct tg_acceptor){.gate = gate, .fd = fd, .refs = 1};
    memcpy(a->address, address.p, address.n);
    tg_list_init(&a->link);
    find_listener(a);
    return a;
}

enum tg_err tg_client_adopt(struct tg_gate *gate, uint32_t index, int fd,
                            const struct tg_addr *peer)
{
    struct tg_acceptor *a = new_acceptor(gate, -1, gate->snapshot->listeners[index].address);
    if (a == NULL) {
        close(fd);
        return TG_E_NOMEM;
    }
    tg_list_push_back(&gate->acceptors, &a->link);
    enum tg_err err = open_client(a, fd, peer);
    unref_acceptor(a);
    return err;
}

static enum tg_err open_acceptor(struct tg_gate *gate, int fd, struct tg_str address)
{
    struct tg_acceptor *a = new_acceptor(gate, fd, address);
    if (a == NULL)
        return TG_E_NOMEM;
    enum tg_err err = tg_timer_init(&a->pause, &gate->worker->loop.timers, on_pause_over);
    if (err != TG_OK) {
        tg_slab_return(gate->worker->slab, a, sizeof(*a));
        return err;
    }
    ev_io_init(&a->io, on_acceptable, fd, EV_READ);
    a->io.data = a;
    ev_io_start(gate->worker->loop.ev, &a->io);
    tg_list_push_back(&gate->acceptors, &a->link);
    return TG_OK;
}

static void on_leaving(struct ev_loop *ev, ev_io *w, int revents)
{
    (void)revents;
    ev_io_stop(ev, w);
}

/* Takes what is in the queue, which the kernel would reset, and stops. libev takes a descriptor out
 * of its epoll only at the next event, and whoever closes the socket or has the number again would
 * meet that: so it is asked to wait for what a listening socket never becomes, writable, and has
 * told the kernel so when the next round's events come. */
static void close_acceptor(struct tg_acceptor *a)
{
    struct ev_loop *ev = a->gate->worker->loop.ev;
    if (a->fd < 0)
        return;
    while (accept_some(a, ACCEPT_BATCH)) {
    }
    ev_io_stop(ev, &a->io);
    ev_io_init(&a->io, on_leaving, a->fd, EV_WRITE);
    ev_io_start(ev, &a->io);
    tg_timer_release(&a->pause);
    a->leaving = true;
    a->fd = -1;
}

void tg_acceptors_settle(struct tg_gate *gate)
{
    TG_LIST_FOREACH(&gate->acceptors, it)
    {
        struct tg_acceptor *a = TG_LIST_ENTRY(it, struct tg_acceptor, link);
        if (!a->leaving)
            continue;
        ev_io_stop(gate->worker->loop.ev, &a->io);
        a->leaving = false;
        unref_acceptor(a);
    }
}

static struct tg_acceptor *find_acceptor(struct tg_gate *gate, struct tg_str address)
{
    TG_LIST_FOREACH(&gate->acceptors, it)
    {
        struct tg_acceptor *a = TG_LIST_ENTRY(it, struct tg_acceptor, link);
        if (a->fd >= 0 && tg_str_eq(tg_str_c(a->address), address))
            return a;
    }
    return NULL;
}

static void drain(struct tg_client *c)
{
    if (c->is_h2)
        tg_h2_server_drain(&c->h2);
    else
        tg_h1_server_drain(&c->h1);
}

/* Who came by a listener that is gone must not go on by another one, whose plugins are others. */
void tg_clients_fit(struct tg_gate *gate)
{
    TG_LIST_FOREACH(&gate->acceptors, it)
    find_listener(TG_LIST_ENTRY(it, struct tg_acceptor, link));
    TG_LIST_FOREACH(&gate->clients, it)
    {
        struct tg_client *c = TG_LIST_ENTRY(it, struct tg_client, link);
        if (c->acceptor->gone)
            drain(c);
    }
}

enum tg_err tg_acceptors_fit(struct tg_gate *gate, const struct tg_listen_set *sockets)
{
    const struct tg_snapshot *s = gate->snapshot;
    enum tg_err err = TG_OK;
    tg_clients_fit(gate);
    TG_LIST_FOREACH(&gate->acceptors, it)
    {
        struct tg_acceptor *a = TG_LIST_ENTRY(it, struct tg_acceptor, link);
        if (a->gone)
            close_acceptor(a);
    }
    for (uint32_t i = 0; i < s->listener_count && err == TG_OK; i++) {
        struct tg_str address = s->listeners[i].address;
        const struct tg_listen *sock = tg_listen_set_find(sockets, address);
        if (find_acceptor(gate, address) != NULL)
            continue;
        err = sock != NULL && gate->worker->index < sock->count
                  ? open_acceptor(gate, sock->fds[gate->worker->index], address)
                  : TG_E_NOT_FOUND;
    }
    return err;
}

void tg_acceptors_resume(struct tg_gate *gate)
{
    TG_LIST_FOREACH(&gate->acceptors, it)
    {
        struct tg_acceptor *a = TG_LIST_ENTRY(it, struct tg_acceptor, link);
        if (!a->waits || a->fd < 0)
            continue;
        a->waits = false;
        ev_io_start(gate->worker->loop.ev, &a->io);
    }
}

void tg_acceptors_close(struct tg_gate *gate)
{
    TG_LIST_FOREACH(&gate->acceptors, it)
    close_acceptor(TG_LIST_ENTRY(it, struct tg_acceptor, link));
}

static void shut(struct tg_client *c)
{
    if (c->is_h2)
        tg_h2_server_close(&c->h2);
    else
        tg_h1_server_close(&c->h1);
}

void tg_clients_drain(struct tg_gate *gate)
{
    tg_arrivals_close(gate);
    TG_LIST_FOREACH(&gate->clients, it)
    drain(TG_LIST_ENTRY(it, struct tg_client, link));
}

void tg_clients_close(struct tg_gate *gate)
{
    tg_arrivals_close(gate);
    TG_LIST_FOREACH(&gate->clients, it)
    shut(TG_LIST_ENTRY(it, struct tg_client, link));
}

enum relief { RELIEF_NONE, RELIEF_IDLE, RELIEF_SLOW };

static enum relief relieve(struct tg_client *c, uint64_t now)
{
    static const enum relief of_h1[] = {
        [TG_H1_RELIEF_NONE] = RELIEF_NONE,
        [TG_H1_RELIEF_IDLE] = RELIEF_IDLE,
        [TG_H1_RELIEF_SLOW] = RELIEF_SLOW,
    };
    static const enum relief of_h2[] = {
        [TG_H2_RELIEF_NONE] = RELIEF_NONE,
        [TG_H2_RELIEF_IDLE] = RELIEF_IDLE,
        [TG_H2_RELIEF_SLOW] = RELIEF_SLOW,
    };
    if (c->is_h2)
        return of_h2[tg_h2_server_relieve(&c->h2, now, TG_OVERLOAD_PATIENCE)];
    return of_h1[tg_h1_server_relieve(&c->h1, now, TG_OVERLOAD_PATIENCE)];
}

/* Idle ones stand in the order in which they fell idle; one that is at work goes behind them all,
 * so that the next relief need not look at it again before the others. */
void tg_clients_relieve(struct tg_gate *gate, uint64_t now)
{
    uint32_t closed = 0, slow = 0, looked = 0;
    const struct tg_list *behind = NULL; /* the first that was put there */
    TG_LIST_FOREACH(&gate->clients, it)
    {
        struct tg_client *c = TG_LIST_ENTRY(it, struct tg_client, link);
        if (it == behind || looked++ == RELIEF_LOOK || closed > RELIEF_LEAST + looked / 8)
            break;
        switch (relieve(c, now)) {
        case RELIEF_IDLE:
            closed++;
            break;
        case RELIEF_SLOW:
            slow++;
            break;
        case RELIEF_NONE:
            behind = behind != NULL ? behind : it;
            tg_list_remove(&c->link);
            tg_list_push_back(&gate->clients, &c->link);
            break;
        }
    }
    tg_metric_add(gate->worker->cells, TG_METRIC_RELIEVED_IDLE, closed);
    tg_metric_add(gate->worker->cells, TG_METRIC_RELIEVED_SLOW, slow);
}
