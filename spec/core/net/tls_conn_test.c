/*
 * TLS on a pair of sockets, our server and our client at its ends: handshakes that come about and
 * those that do not, bytes both ways, sessions that are resumed, and what is no TLS.
 */
#include "net/tls_conn.h"

#include "tls_pair.h"

static int recvs;

/* In the place of the C library's: how often the kernel is asked for bytes. */
ssize_t recv(int fd, void *p, size_t n, int flags)
{
    recvs++;
    return recvfrom(fd, p, n, flags, NULL, NULL);
}

static void both_ends_agree_and_bytes_pass(void **state)
{
    static char large[40000];
    (void)state;
    open_contexts();
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
    open_contexts();
    connect_both();
    recvs = 0;
    wire_until(&server.connected);
    assert_int_equal(recvs, 3);
}

/* The client had the last word, so its request is looked for without another event. */
static void what_follows_the_last_word_is_read_at_once(void **state)
{
    (void)state;
    open_contexts();
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
    open_contexts();
    shake_hands();
    tg_conn_close(&client.conn);
    wire_until(&server.ended);
    assert_int_equal(server.err, TG_E_CLOSED);
}

static void the_next_connection_is_resumed(void **state)
{
    (void)state;
    open_contexts();
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
    client_options.name = TG_STR("b.test");
    open_contexts();
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
    server_options.asks_plugins = true;
    open_contexts();
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
    server_options.asks_plugins = true;
    open_contexts();
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
    open_contexts();
    told("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27);
    assert_true(tg_tls_got_http(server.t));
    tg_conn_close(&server.conn);
}

static void rubbish_fails(void **state)
{
    (void)state;
    open_contexts();
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
    open_contexts();
    wire_local_pair(fds);
    accept_on(fds[0]);
    wire_send_bytes(fds[1], "\x16\x03\x01\x02\x00\x01", 6);
    wire_rounds();
    assert_int_equal(server.connected, 0);
    close(fds[1]);
    wire_until(&server.connected);
    assert_int_not_equal(server.err, TG_OK);
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
    };
    return cmocka_run_group_tests_name("tls_conn", tests, make, drop);
}
