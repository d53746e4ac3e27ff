/*
 * Our server and our client of TLS at the two ends of a pair of sockets. Include it after the
 * unit's own header. A test program makes the identities once (make, drop) and has setup and
 * teardown around each test.
 */
#ifndef TG_SPEC_NET_TLS_PAIR_H
#define TG_SPEC_NET_TLS_PAIR_H

#include "wire.h"

#include "net/conn.h"
#include "net/tls_hello.h"
#include "observe/metrics.h"
#include "tls_fixture.h"

/* One end. */
struct end {
    struct tg_conn conn;
    struct tg_transport *t; /* the connection's */
    int connected;
    int readable;
    enum tg_err err;
    const char *problem;
    char in[65536];
    int in_n;
    int ended;
};

static struct identity root, leaf; /* of a.test, signed by the root */
static struct tg_tls_context *server_context, *client_context;
static struct tg_tls_shared *server_shared, *client_shared;
static struct tg_metrics *metrics;
static struct end server, client;
static enum tg_tls_verdict verdict; /* of a plugin */
static int asked;
static void (*on_asked)(struct tg_transport *t); /* what a plugin does in the phase */

static void on_connected(struct tg_conn *conn, enum tg_err err)
{
    struct end *e = TG_CONTAINER_OF(conn, struct end, conn);
    e->connected++;
    e->err = err;
    if (err == TG_OK) {
        tg_conn_set_reading(conn, true);
        return;
    }
    e->problem = e->t->ops->problem(e->t);
}

static void on_readable(struct tg_conn *conn)
{
    struct end *e = TG_CONTAINER_OF(conn, struct end, conn);
    size_t n = 0;
    e->readable++;
    enum tg_err err = tg_conn_read(conn, e->in + e->in_n, sizeof(e->in) - (size_t)e->in_n, &n);
    e->in_n += err == TG_OK ? (int)n : 0;
    if (err != TG_OK && err != TG_E_AGAIN) {
        e->ended++;
        e->err = err;
        tg_conn_close(conn);
    }
}

static void on_nothing(struct tg_conn *conn)
{
    (void)conn;
}

static void on_end(struct tg_conn *conn, enum tg_err err)
{
    struct end *e = TG_CONTAINER_OF(conn, struct end, conn);
    e->ended++;
    e->err = err;
}

static const struct tg_conn_handler handler = {
    .on_readable = on_readable,
    .on_drained = on_nothing,
    .on_gone = on_end,
    .on_failed = on_end,
    .on_timeout = on_nothing,
    .on_connected = on_connected,
};

static enum tg_tls_verdict on_hello(void *owner, struct tg_transport *t, int *alert)
{
    (void)owner;
    asked++;
    if (on_asked != NULL)
        on_asked(t);
    *alert = tg_tls_alert(TG_STR("access_denied"));
    return verdict;
}

static const struct tg_tls_hooks hooks = {.on_hello = on_hello};

static TG_UNUSED int make(void **state)
{
    (void)state;
    identity_make(&root, NULL, false, 30, NULL, 0, NULL);
    identity_make(&leaf, "DNS:a.test", false, 30, &root, 0, NULL);
    return 0;
}

static TG_UNUSED int drop(void **state)
{
    (void)state;
    identity_free(&root);
    identity_free(&leaf);
    return 0;
}

/* What both sides are made of; a test changes what it is about, then opens them. */
static struct tg_tls_certificate server_certificates[2];
static struct tg_tls_server_options server_options;
static struct tg_tls_client_options client_options;

static TG_UNUSED struct tg_tls_certificate certificate_of(const struct identity *id)
{
    return (struct tg_tls_certificate){.cert = tg_str_c(id->cert_pem),
                                       .key = tg_str_c(id->key_pem)};
}

static TG_UNUSED void set_options(void)
{
    server_certificates[0] = certificate_of(&leaf);
    server_options = (struct tg_tls_server_options){.name = TG_STR("https"),
                                                    .profile = TG_TLS_INTERMEDIATE,
                                                    .certificates = server_certificates,
                                                    .certificate_count = 1,
                                                    .tickets = true,
                                                    .ticket_life = 3600 * TG_USEC_PER_SEC,
                                                    .sessions = 10,
                                                    .fingerprint = true};
    client_options = (struct tg_tls_client_options){
        .verify = true, .ca = tg_str_c(root.cert_pem), .name = TG_STR("a.test")};
}

static TG_UNUSED void open_contexts(void)
{
    struct tg_tls_problem why = {0};
    tg_tls_context_unref(&server_context);
    tg_tls_context_unref(&client_context);
    assert_int_equal(tg_tls_server_new(&server_options, &server_context, &why), TG_OK);
    assert_int_equal(tg_tls_client_new(&client_options, &client_context, &why), TG_OK);
}

static TG_UNUSED int setup(void **state)
{
    server = client = (struct end){0};
    asked = 0;
    verdict = TG_TLS_GO_ON;
    on_asked = NULL;
    set_options();
    server_shared = tg_tls_shared_new();
    client_shared = tg_tls_shared_new();
    metrics = tg_metrics_new(1);
    if (wire_init(state) != 0 || server_shared == NULL || client_shared == NULL || metrics == NULL)
        return -1;
    worker.cells = tg_metrics_cells(metrics, 0);
    return 0;
}

static TG_UNUSED int teardown(void **state)
{
    tg_conn_close(&server.conn);
    tg_conn_close(&client.conn);
    tg_tls_context_unref(&server_context);
    tg_tls_context_unref(&client_context);
    tg_tls_shared_free(&server_shared);
    tg_tls_shared_free(&client_shared);
    int left = wire_release(state);
    tg_metrics_free(&metrics);
    return left;
}

static TG_UNUSED void accept_on(int fd)
{
    server = (struct end){0};
    assert_int_equal(tg_conn_open(&server.conn, &worker, fd, &handler), TG_OK);
    server.t = tg_tls_accept(server_context, server_shared, &worker, &hooks);
    assert_non_null(server.t);
    tg_conn_secure(&server.conn, server.t);
}

/* Both ends begin; `addr` is where the client thinks that it is. */
static TG_UNUSED void connect_both(void)
{
    int fds[2];
    struct tg_addr addr;
    wire_local_pair(fds);
    assert_int_equal(tg_addr_parse(TG_STR("127.0.0.1:443"), &addr), TG_OK);
    accept_on(fds[0]);
    client = (struct end){0};
    assert_int_equal(tg_conn_open(&client.conn, &worker, fds[1], &handler), TG_OK);
    client.t = tg_tls_connect(client_context, client_shared, &worker, &addr, TG_STR(""),
                              TG_TLS_OFFER_HTTP1);
    assert_non_null(client.t);
    tg_conn_secure(&client.conn, client.t);
}

static TG_UNUSED void shake_hands(void)
{
    connect_both();
    wire_until(&server.connected);
    wire_until(&client.connected);
    assert_int_equal(server.err, TG_OK);
    assert_int_equal(client.err, TG_OK);
}

static TG_UNUSED void send_text(struct end *from, struct end *to, const char *text)
{
    struct iovec iov[2] = {{(void *)(uintptr_t)text, 1},
                           {(void *)(uintptr_t)(text + 1), strlen(text) - 1}};
    int before = to->in_n;
    assert_int_equal(tg_conn_write(&from->conn, iov, 2), TG_OK);
    uint64_t end = tg_clock_mono_now() + SUPPORT_PATIENCE * MS;
    while (to->in_n < before + (int)strlen(text) && tg_clock_mono_now() < end)
        wire_rounds();
    assert_int_equal(to->in_n, before + (int)strlen(text));
    assert_memory_equal(to->in + before, text, strlen(text));
}

#endif
