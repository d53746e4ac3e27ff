/*
 * TLS on a pair of sockets, our server and our client at its ends: handshakes that come about and
 * those that do not, bytes both ways, sessions that are resumed, and what is no TLS.
 */
#include "net/tls_conn.h"

#include "wire.h"

#include "net/conn.h"
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

static struct identity root, leaf;
static struct tg_tls_context *server_context, *client_context;
static struct tg_tls_shared *server_shared, *client_shared;
static struct tg_metrics *metrics;
static struct end server, client;
static enum tg_tls_verdict verdict; /* of a plugin */
static int asked;
static int recvs;

/* In the place of the C library's: how often the kernel is asked for bytes. */
ssize_t recv(int fd, void *p, size_t n, int flags)
{
    recvs++;
    return recvfrom(fd, p, n, flags, NULL, NULL);
}

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
    (void)t;
    asked++;
    *alert = tg_tls_alert(TG_STR("access_denied"));
    return verdict;
}

static const struct tg_tls_hooks hooks = {.on_hello = on_hello};

static int make(void **state)
{
    (void)state;
    identity_make(&root, NULL, false, 30, NULL, 0, NULL);
    identity_make(&leaf, "DNS:a.test", false, 30, &root, 0, NULL);
    return 0;
}

static int drop(void **state)
{
    (void)state;
    identity_free(&root);
    identity_free(&leaf);
    return 0;
}

/* The server's context, and one that trusts its issuer and wants `name`. */
static void open_contexts(const char *name, bool asks, int min_version)
{
    struct tg_tls_certificate one = {.cert = tg_str_c(leaf.cert_pem),
                                     .key = tg_str_c(leaf.key_pem)};
    struct tg_tls_server_options so = {.name = TG_STR("https"),
                                       .profile = TG_TLS_INTERMEDIATE,
                                       .certificates = &one,
                                       .certificate_count = 1,
                                       .tickets = true,
                                       .ticket_life = 3600 * TG_USEC_PER_SEC,
                                       .sessions = 10,
                                       .fingerprint = true,
                                       .asks_plugins = asks,
                                       .min_version = min_version};
    struct tg_tls_client_options co = {
        .verify = true, .ca = tg_str_c(root.cert_pem), .name = tg_str_c(name)};
    struct tg_tls_problem why = {0};
    assert_int_equal(tg_tls_server_new(&so, &server_context, &why), TG_OK);
    assert_int_equal(tg_tls_client_new(&co, &client_context, &why), TG_OK);
}

static int setup(void **state)
{
    server = client = (struct end){0};
    asked = 0;
    verdict = TG_TLS_GO_ON;
    server_shared = tg_tls_shared_new();
    client_shared = tg_tls_shared_new();
    metrics = tg_metrics_new(1);
    if (wire_init(state) != 0 || server_shared == NULL || client_shared == NULL || metrics == NULL)
        return -1;
    worker.cells = tg_metrics_cells(metrics, 0);
    return 0;
}

static int teardown(void **state)
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

static void accept_on(int fd)
{
    server = (struct end){0};
    assert_int_equal(tg_conn_open(&server.conn, &worker, fd, &handler), TG_OK);
    server.t = tg_tls_accept(server_context, server_shared, &worker, &hooks);
    assert_non_null(server.t);
    tg_conn_secure(&server.conn, server.t);
}

/* Both ends begin; `addr` is where the client thinks that it is. */
static void connect_both(void)
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

static void shake_hands(void)
{
    connect_both();
    wire_until(&server.connected);
    wire_until(&client.connected);
    assert_int_equal(server.err, TG_OK);
    assert_int_equal(client.err, TG_OK);
}

static void send_text(struct end *from, struct end *to, const char *text)
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

static void both_ends_agree_and_bytes_pass(void **state)
{
    static char large[40000];
    (void)state;
    open_contexts("a.test", false, 0);
    shake_hands();
    const struct tg_tls_facts *facts = tg_tls_facts_of(server.t);
    assert_string_equal(facts->version, "1.3");
    assert_true(tg_str_eq(facts->sni, TG_STR("a.test")));
    assert_true(tg_str_eq(facts->alpn, TG_STR("http/1.1")));
    assert_false(facts->resumed);
    assert_int_equal(facts->ja4[0], 't');
    send_text(&client, &server, "a question");
    memset(large, 'x', sizeof(large) - 1);
    send_text(&server, &client, large);
    assert_null(tg_tls_facts_of(NULL));
}

/* The server asks for the hello and for the client's last word, the client for what comes between:
 * not for the answer to what was only just said. */
static void no_answer_is_looked_for_too_early(void **state)
{
    (void)state;
    open_contexts("a.test", false, 0);
    connect_both();
    recvs = 0;
    wire_until(&server.connected);
    assert_int_equal(recvs, 3);
}

/* The client had the last word, so its request is looked for without another event. */
static void what_follows_the_last_word_is_read_at_once(void **state)
{
    (void)state;
    open_contexts("a.test", false, 0);
    shake_hands();
    wire_until(&server.readable);
    wire_rounds();
    assert_int_equal(server.readable, 1);
    assert_int_equal(server.in_n + server.ended, 0);
    send_text(&client, &server, "and now");
}

static void a_proper_end_is_told_from_a_broken_one(void **state)
{
    (void)state;
    open_contexts("a.test", false, 0);
    shake_hands();
    tg_conn_close(&client.conn);
    wire_until(&server.ended);
    assert_int_equal(server.err, TG_E_CLOSED);
}

static void the_next_connection_is_resumed(void **state)
{
    (void)state;
    open_contexts("a.test", false, 0);
    shake_hands();
    send_text(&server, &client, "with the tickets");
    tg_conn_close(&client.conn);
    tg_conn_close(&server.conn);
    wire_rounds();
    shake_hands();
    assert_true(tg_tls_facts_of(server.t)->resumed);
    assert_true(tg_tls_facts_of(client.t)->resumed);
}

static void a_certificate_for_another_name_is_not_trusted(void **state)
{
    (void)state;
    open_contexts("b.test", false, 0);
    connect_both();
    wire_until(&client.connected);
    wire_until(&server.connected);
    assert_int_equal(client.err, TG_E_UNTRUSTED);
    assert_string_equal(client.problem, "hostname mismatch");
    assert_int_equal(server.err, TG_E_TLS);
}

static void a_plugin_may_refuse(void **state)
{
    (void)state;
    open_contexts("a.test", true, 0);
    verdict = TG_TLS_REFUSE;
    connect_both();
    wire_until(&client.connected);
    wire_until(&server.connected);
    assert_int_equal(asked, 1);
    assert_string_equal(server.problem, "refused by a plugin");
    assert_int_equal(client.err, TG_E_TLS);
}

static void a_plugin_may_wait(void **state)
{
    (void)state;
    open_contexts("a.test", true, 0);
    verdict = TG_TLS_WAIT;
    connect_both();
    wire_rounds();
    assert_int_equal(asked, 1);
    assert_int_equal(server.connected + client.connected, 0);
    verdict = TG_TLS_GO_ON;
    tg_conn_resume(&server.conn);
    wire_until(&client.connected);
    assert_int_equal(asked, 2);
    assert_int_equal(client.err, TG_OK);
}

/* What becomes of a server that is told this. */
static void told(const char *bytes, size_t n)
{
    int fds[2];
    wire_local_pair(fds);
    accept_on(fds[0]);
    wire_send_bytes(fds[1], bytes, n);
    wire_until(&server.connected);
    assert_int_not_equal(server.err, TG_OK);
    close(fds[1]);
}

static void http_is_noticed(void **state)
{
    (void)state;
    open_contexts("a.test", false, 0);
    told("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27);
    assert_true(tg_tls_got_http(server.t));
    tg_conn_close(&server.conn);
}

static void rubbish_fails(void **state)
{
    (void)state;
    open_contexts("a.test", false, 0);
    told("\x16\x03\x01\x00\x05rubbish", 12);
    assert_false(tg_tls_got_http(server.t));
    tg_conn_close(&server.conn);
    told("\0\0\0\0\0\0\0\0\0\0\0\0", 12);
    assert_false(tg_tls_got_http(server.t));
    assert_non_null(server.problem);
}

/* A client that goes away in the middle of its hello. */
static void half_a_hello_fails_when_the_client_goes(void **state)
{
    int fds[2];
    (void)state;
    open_contexts("a.test", false, 0);
    wire_local_pair(fds);
    accept_on(fds[0]);
    wire_send_bytes(fds[1], "\x16\x03\x01\x02\x00\x01", 6);
    wire_rounds();
    assert_int_equal(server.connected, 0);
    close(fds[1]);
    wire_until(&server.connected);
    assert_int_not_equal(server.err, TG_OK);
}

static void alerts_have_names(void **state)
{
    (void)state;
    assert_int_equal(tg_tls_alert(TG_STR("unrecognized_name")), 112);
    assert_int_equal(tg_tls_alert(TG_STR("internal_error")), 80);
    assert_int_equal(tg_tls_alert(TG_STR("nonsense")), -1);
}

#define with_wire(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_wire(both_ends_agree_and_bytes_pass),
        with_wire(no_answer_is_looked_for_too_early),
        with_wire(what_follows_the_last_word_is_read_at_once),
        with_wire(a_proper_end_is_told_from_a_broken_one),
        with_wire(the_next_connection_is_resumed),
        with_wire(a_certificate_for_another_name_is_not_trusted),
        with_wire(a_plugin_may_refuse),
        with_wire(a_plugin_may_wait),
        with_wire(http_is_noticed),
        with_wire(rubbish_fails),
        with_wire(half_a_hello_fails_when_the_client_goes),
        cmocka_unit_test(alerts_have_names),
    };
    return cmocka_run_group_tests_name("tls_conn", tests, make, drop);
}
