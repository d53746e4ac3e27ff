/* arrival.c: see arrival.h.
 *
 * A PROXY header is looked at before it is taken, so that not a byte of what follows is read here:
 * what is looked at belongs to the header as long as it is not whole. */
#include "base/banned.h"
#include "gateway/arrival.h"
#include "gateway/internal.h"

#include "base/assert.h"
#include "net/proxy_header.h"
#include "net/tls_conn.h"
#include "observe/metrics.h"

#include <errno.h>
#include <unistd.h>

#define ARRIVAL_MAGIC 0xa6617a10u
#define FAREWELL      (2 * TG_USEC_PER_SEC)
#define FAREWELL_MAX  65536u /* bytes that are read and dropped after the 400 */

struct arrival {
    uint32_t magic;
    bool admitted;
    bool stripped; /* it spoke no TLS: the last word is out */
    bool over;
    struct tg_conn conn;
    struct tg_gate *gate;
    const struct tg_listener_conf *listener; /* of `snapshot` */
    struct tg_snapshot *snapshot;            /* one reference */
    const struct tg_arrival_events *events;
    void *owner;
    struct tg_addr peer;
    struct tg_list link; /* in gate->arrivals */
    struct tg_task free_later;
    struct tg_tls_hooks hooks;
    struct tg_handshake handshake; /* what plugins see */
    struct tg_request *request;    /* of the certificate phase; NULL: it is over, or was not yet */
    bool asked;                    /* the plugins have had their say: */
    bool refused;
    uint32_t dropped;
    uint32_t head_n;
    char head[TG_PROXY_HEADER_MAX];
};

static void count(struct arrival *a, enum tg_metric_id id)
{
    tg_metric_inc(a->gate->worker->cells, id);
}

/* ---- The end -----------------------------------------------------------------------------------
 */

static void on_free(struct tg_task *task)
{
    struct arrival *a = TG_CONTAINER_OF(task, struct arrival, free_later);
    struct tg_gate *gate = a->gate;
    tg_list_remove(&a->link);
    tg_snapshot_unref(&a->snapshot);
    a->magic = 0;
    tg_slab_return(gate->worker->slab, a, sizeof(*a));
    tg_gate_check_drained(gate);
}

static void count_out(struct tg_gate *gate)
{
    uint64_t before =
        atomic_fetch_sub_explicit(&gate->gateway->handshakes, 1, memory_order_relaxed);
    tg_limit_note(handshakes, before - 1);
}

static void end(struct arrival *a)
{
    a->over = true;
    if (a->request != NULL)
        tg_request_end_handshake(a->request);
    a->request = NULL;
    tg_conn_close(&a->conn);
    count_out(a->gate);
    tg_loop_defer(&a->gate->worker->loop, &a->free_later);
}

static void lose(struct arrival *a)
{
    end(a);
    a->events->lost(a->owner, a->admitted ? &a->peer : NULL);
}

static void finish(struct arrival *a)
{
    a->events->done(a->owner, &a->conn, &a->peer);
    end(a);
}

static void refuse(struct arrival *a, const char *what, const char *why)
{
    char room[TG_ADDR_TEXT_MAX];
    tg_log_every(10, TG_LOG_INFO, "listener", "%s on listener %s from %s: %s", what,
                 a->listener->name.p, tg_addr_text(&a->peer, room).p, why);
}

/* ---- TLS ---------------------------------------------------------------------------------------
 */

/* Who speaks HTTP to a TLS port gets an answer that it can show to people. */
static void answer_http(struct arrival *a)
{
    static char text[] = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n"
                         "Content-Length: 51\r\nConnection: close\r\n\r\n"
                         "This port speaks HTTPS; the request came in clear.\n";
    struct iovec iov = {text, sizeof(text) - 1};
    tg_conn_strip(&a->conn);
    if (tg_conn_write(&a->conn, &iov, 1) != TG_OK || tg_conn_pending(&a->conn) > 0) {
        lose(a);
        return;
    }
    a->stripped = true;
    tg_conn_shutdown(&a->conn);
    tg_conn_set_reading(&a->conn, true); /* until it has read that, or has enough */
    tg_conn_set_deadline(&a->conn, tg_loop_now(&a->gate->worker->loop) + FAREWELL);
}

/* The listener as the snapshot in force has it, whose plugins are those that run: a reload may have
 * come since the connection was accepted. NULL: it is gone. */
static const struct tg_listener_conf *listener_now(const struct arrival *a)
{
    const struct tg_snapshot *s = a->gate->snapshot;
    for (uint32_t i = 0; i < s->listener_count; i++) {
        if (tg_str_eq(s->listeners[i].address, a->listener->address))
            return &s->listeners[i];
    }
    return NULL;
}

/* The certificate phase came to its end. */
static void settle_hello(struct arrival *a, enum tg_step step)
{
    a->asked = true;
    a->refused = step == TG_STEP_STOP;
    tg_request_end_handshake(a->request);
    a->request = NULL;
}

static void on_step(struct tg_handshake *h, int step)
{
    struct arrival *a = TG_CONTAINER_OF(h, struct arrival, handshake);
    tg_magic_check(a, ARRIVAL_MAGIC);
    settle_hello(a, (enum tg_step)step);
    tg_conn_resume(&a->conn);
}

static enum tg_tls_verdict on_hello(void *owner, struct tg_transport *t, int *alert)
{
    struct arrival *a = owner;
    tg_magic_check(a, ARRIVAL_MAGIC);
    if (!a->asked) {
        const struct tg_listener_conf *listener = listener_now(a);
        a->handshake = (struct tg_handshake){.transport = t, .on_step = on_step};
        *alert = SSL_AD_INTERNAL_ERROR;
        if (listener != NULL)
            a->request = tg_request_new_handshake(a->gate, listener, &a->peer, &a->handshake,
                                                  tg_tls_facts_of(t));
        if (a->request == NULL)
            return TG_TLS_REFUSE;
        enum tg_step step = tg_plugins_run(a->request, TG_PHASE_CERTIFICATE);
        if (step == TG_STEP_WAIT)
            return TG_TLS_WAIT;
        settle_hello(a, step);
    }
    *alert = a->handshake.alert != 0 ? a->handshake.alert : SSL_AD_INTERNAL_ERROR;
    return a->refused ? TG_TLS_REFUSE : TG_TLS_GO_ON;
}

static void handshake_failed(struct arrival *a, enum tg_err err)
{
    const char *problem = tg_conn_problem(&a->conn);
    if (tg_tls_got_http(a->conn.transport)) {
        count(a, TG_METRIC_TLS_FAILED_HTTP);
        answer_http(a);
        return;
    }
    bool left = err == TG_E_CLOSED || err == TG_E_RESET;
    count(a, left ? TG_METRIC_TLS_FAILED_CLOSED : TG_METRIC_TLS_FAILED_PROTOCOL);
    if (!left)
        refuse(a, "TLS handshake failed", problem != NULL ? problem : tg_err_text(err));
    lose(a);
}

/* Only now, when the client has said something: who stays silent costs no more than a socket. */
static void begin_tls(struct arrival *a)
{
    struct tg_transport *t =
        tg_tls_accept(a->listener->tls, a->gate->gateway->tls, a->gate->worker, &a->hooks);
    if (t == NULL)
        lose(a);
    else
        tg_conn_secure(&a->conn, t);
}

static void on_connected(struct tg_conn *conn, enum tg_err err)
{
    struct arrival *a = TG_CONTAINER_OF(conn, struct arrival, conn);
    tg_magic_check(a, ARRIVAL_MAGIC);
    if (err != TG_OK) {
        handshake_failed(a, err);
        return;
    }
    const struct tg_tls_facts *facts = tg_tls_facts_of(conn->transport);
    count(a, facts->resumed ? TG_METRIC_TLS_RESUMED : TG_METRIC_TLS_FULL);
    finish(a);
}

/* ---- The PROXY header --------------------------------------------------------------------------
 */

static void admit(struct arrival *a)
{
    a->admitted = a->events->admit(a->owner, &a->peer);
    if (!a->admitted)
        lose(a);
    else if (a->listener->tls != NULL)
        tg_conn_set_reading(&a->conn, true); /* its first bytes begin the handshake */
    else
        finish(a);
}

static void refuse_header(struct arrival *a, const char *why)
{
    count(a, TG_METRIC_PROXY_HEADERS_BAD);
    refuse(a, "no PROXY header that is believed", why);
    lose(a);
}

/* Takes `n` bytes off the socket that were looked at. */
static bool take(struct arrival *a, size_t n)
{
    return n == 0 || recv(a->conn.fd, a->head + a->head_n, n, 0) == (ssize_t)n;
}

static void read_header(struct arrival *a)
{
    struct tg_proxy_header header;
    ssize_t n;
    do {
        n = recv(a->conn.fd, a->head + a->head_n, sizeof(a->head) - a->head_n, MSG_PEEK);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        lose(a);
        return;
    }
    enum tg_err err = tg_proxy_header_read(a->head, a->head_n + (size_t)n, &header);
    size_t ours = err == TG_OK ? header.size - a->head_n : (size_t)n;
    if (err != TG_OK && err != TG_E_AGAIN) {
        refuse_header(a, err == TG_E_LIMIT ? "too long" : "malformed");
    } else if (!take(a, ours)) {
        lose(a);
    } else if (err == TG_E_AGAIN) {
        a->head_n += (uint32_t)n;
    } else {
        if (header.client.len > 0)
            a->peer = header.client;
        tg_conn_set_reading(&a->conn, false);
        admit(a);
    }
}

static bool is_trusted(const struct arrival *a)
{
    for (uint32_t i = 0; i < a->listener->trusted_count; i++) {
        if (tg_cidr_contains(&a->listener->trusted[i], &a->peer))
            return true;
    }
    return false;
}

/* ---- Events of the connection ------------------------------------------------------------------
 */

/* After the 400: what the client still sends is dropped. */
static void drop_input(struct arrival *a)
{
    size_t n = 0;
    enum tg_err err = tg_conn_read(&a->conn, a->head, sizeof(a->head), &n);
    a->dropped += (uint32_t)n;
    if ((err != TG_OK && err != TG_E_AGAIN) || a->dropped > FAREWELL_MAX)
        lose(a);
}

static void on_readable(struct tg_conn *conn)
{
    struct arrival *a = TG_CONTAINER_OF(conn, struct arrival, conn);
    tg_magic_check(a, ARRIVAL_MAGIC);
    if (a->stripped)
        drop_input(a);
    else if (a->admitted)
        begin_tls(a);
    else
        read_header(a);
}

static void on_drained(struct tg_conn *conn)
{
    (void)conn; /* nothing of ours waits for it */
}

static void on_lost(struct tg_conn *conn, enum tg_err err)
{
    (void)err;
    lose(TG_CONTAINER_OF(conn, struct arrival, conn));
}

static void on_timeout(struct tg_conn *conn)
{
    struct arrival *a = TG_CONTAINER_OF(conn, struct arrival, conn);
    tg_magic_check(a, ARRIVAL_MAGIC);
    if (!a->stripped) {
        tg_limit_hit(handshake_timeout);
        count(a, TG_METRIC_TLS_FAILED_TIMEOUT);
    }
    lose(a);
}

static const struct tg_conn_handler conn_handler = {
    .on_readable = on_readable,
    .on_drained = on_drained,
    .on_gone = on_lost,
    .on_failed = on_lost,
    .on_timeout = on_timeout,
    .on_connected = on_connected,
};

/* ---- Life --------------------------------------------------------------------------------------
 */

/* One more under way in the process; false, and counted, when that is one too many. */
static bool count_in(struct tg_gate *gate)
{
    uint64_t before =
        atomic_fetch_add_explicit(&gate->gateway->handshakes, 1, memory_order_relaxed);
    if (before < gate->snapshot->settings.limits.handshakes) {
        tg_limit_note(handshakes, before + 1);
        return true;
    }
    atomic_fetch_sub_explicit(&gate->gateway->handshakes, 1, memory_order_relaxed);
    tg_limit_hit(handshakes);
    return false;
}

static enum tg_err open_arrival(struct tg_gate *gate, const struct tg_listener_conf *listener,
                                int fd, const struct tg_addr *peer, struct arrival **out)
{
    struct arrival *a = tg_slab_lease(gate->worker->slab, sizeof(*a));
    if (a == NULL) {
        close(fd);
        return TG_E_NOMEM;
    }
    memset(a, 0, offsetof(struct arrival, head));
    a->magic = ARRIVAL_MAGIC;
    a->gate = gate;
    a->listener = listener;
    a->peer = *peer;
    enum tg_err err = tg_conn_open(&a->conn, gate->worker, fd, &conn_handler);
    if (err != TG_OK)
        tg_slab_return(gate->worker->slab, a, sizeof(*a));
    else
        *out = a;
    return err;
}

enum tg_err tg_arrival_open(struct tg_gate *gate, const struct tg_listener_conf *listener, int fd,
                            const struct tg_addr *peer, const struct tg_arrival_events *events,
                            void *owner)
{
    struct arrival *a = NULL;
    if (!count_in(gate)) {
        close(fd);
        return TG_E_LIMIT;
    }
    enum tg_err err = open_arrival(gate, listener, fd, peer, &a);
    if (err != TG_OK) {
        count_out(gate);
        return err;
    }
    a->snapshot = tg_snapshot_ref(gate->snapshot);
    a->events = events;
    a->owner = owner;
    a->hooks = (struct tg_tls_hooks){.on_hello = on_hello, .owner = a};
    tg_task_init(&a->free_later, on_free);
    tg_list_push_back(&gate->arrivals, &a->link);
    tg_conn_set_deadline(&a->conn, tg_loop_now(&gate->worker->loop) +
                                       gate->snapshot->settings.limits.handshake_timeout);
    if (!listener->proxy_protocol)
        admit(a);
    else if (is_trusted(a))
        tg_conn_set_reading(&a->conn, true);
    else
        refuse_header(a, "the connection comes from no trusted network");
    return TG_OK;
}

void tg_arrivals_close(struct tg_gate *gate)
{
    TG_LIST_FOREACH(&gate->arrivals, it)
    {
        struct arrival *a = TG_LIST_ENTRY(it, struct arrival, link);
        if (!a->over)
            lose(a);
    }
}
