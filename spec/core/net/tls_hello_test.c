/*
 * What a server makes of a ClientHello: its fingerprint, the certificate that it shows, whom it
 * asks for a certificate and when a session counts.
 */
#include "net/tls_hello.h"

#include "tls_pair.h"

#include "base/limits.h"
#include "net/tls_internal.h"

#define UNKNOWN 17513 /* an extension that browsers send and OpenSSL does not know */

static struct identity other, partner, stranger, alice;
static const struct identity *trusted; /* by the plugin; NULL: it asks nothing */

static int make_all(void **state)
{
    identity_make(&partner, NULL, false, 30, NULL, 0, NULL);
    identity_make(&stranger, NULL, false, 30, NULL, 0, NULL);
    identity_make(&alice, "DNS:alice.test", false, 1, &partner, 0, NULL);
    if (make(state) != 0)
        return -1;
    identity_make(&other, "DNS:b.test", false, 30, &root, 0, NULL);
    return 0;
}

static int drop_all(void **state)
{
    identity_free(&other);
    identity_free(&partner);
    identity_free(&stranger);
    identity_free(&alice);
    return drop(state);
}

/* In the phase: those that `trusted` has signed are asked for. */
static void ask(struct tg_transport *t)
{
    struct tg_tls_problem why = {0};
    if (trusted != NULL)
        assert_int_equal(tg_tls_ask(t, tg_str_c(trusted->cert_pem), 0, &why), TG_OK);
}

/* Certificates for a.test and b.test, plugins that ask, and alice, who wants `name`. */
static void set_alice(struct tg_str name)
{
    server_certificates[1] = certificate_of(&other);
    server_options.certificate_count = 2;
    server_options.asks_plugins = true;
    on_asked = ask;
    client_options.name = name;
    client_options.cert = tg_str_c(alice.cert_pem);
    client_options.key = tg_str_c(alice.key_pem);
}

static void open_at_most(int version)
{
    open_contexts();
    SSL_CTX_set_max_proto_version(client_context->main, version);
}

/* One connection, from the handshake to its end; what the server knows of it then. */
static struct tg_tls_facts *visit(void)
{
    shake_hands();
    send_text(&server, &client, "with the tickets");
    struct tg_tls_facts *facts = tg_tls_facts_ref(tg_tls_facts_of(server.t));
    tg_conn_close(&client.conn);
    tg_conn_close(&server.conn);
    return facts;
}

static void expect_visit(const struct identity *asks_for, bool resumed, bool verified)
{
    trusted = asks_for;
    struct tg_tls_facts *facts = visit();
    bool as_expected = facts->resumed == resumed && facts->verified == verified &&
                       (facts->peer != NULL) == (asks_for != NULL);
    tg_tls_facts_unref(&facts);
    assert_true(as_expected);
}

/* ---- Fingerprints ------------------------------------------------------------------------------
 */

static int extension_count(void)
{
    struct tg_tls_facts *facts = visit();
    int count = (facts->ja4[6] - '0') * 10 + facts->ja4[7] - '0';
    tg_tls_facts_unref(&facts);
    return count;
}

static void extensions_that_openssl_does_not_know_count(void **state)
{
    (void)state;
    open_contexts();
    int before = extension_count();
    client_options.min_version = TLS1_2_VERSION; /* as before, but nothing is resumed */
    open_contexts();
    assert_int_equal(SSL_CTX_add_custom_ext(client_context->main, UNKNOWN, SSL_EXT_CLIENT_HELLO,
                                            NULL, NULL, NULL, NULL, NULL),
                     1);
    assert_int_equal(extension_count(), before + 1);
}

/* ---- Certificates of clients -------------------------------------------------------------------
 */

static void whom_a_plugin_trusts_does_not_hang_on_the_certificate_shown(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    static const struct tg_str names[] = {{"a.test", 6}, {"b.test", 6}};
    (void)state;
    for (int i = 0; i < 4; i++) {
        set_alice(names[i / 2]);
        open_at_most(versions[i % 2]);
        expect_visit(&partner, false, true);
    }
}

/* The listener knows alice, but the plugin wants somebody else. */
static void a_plugin_may_trust_others_than_the_listener(void **state)
{
    (void)state;
    server_options.client_auth = TG_TLS_AUTH_OPTIONAL;
    server_options.ca = tg_str_c(partner.cert_pem);
    set_alice(TG_STR("b.test"));
    open_contexts();
    expect_visit(&stranger, false, false);
    expect_visit(&partner, false, true);
}

static void a_session_counts_where_the_same_was_asked(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    (void)state;
    for (int i = 0; i < 2; i++) {
        set_alice(TG_STR("b.test"));
        open_at_most(versions[i]);
        expect_visit(&partner, false, true);
        expect_visit(&partner, true, true);
        expect_visit(&stranger, false, false);
        expect_visit(&stranger, true, false);
        expect_visit(NULL, false, false);
        expect_visit(&partner, false, true);
    }
}

/* alice's certificate ends in a day, and her sessions with it. */
static void a_session_ends_with_the_certificate_that_it_vouches_for(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    (void)state;
    trusted = &partner;
    for (int i = 0; i < 4; i++) {
        set_alice(TG_STR("a.test"));
        server_options.ticket_life = 7 * 86400 * TG_USEC_PER_SEC;
        server_options.tickets = i / 2 == 0;
        open_at_most(versions[i % 2]);
        shake_hands();
        const SSL_SESSION *session = SSL_get_session(tg_tls_of(server.t)->ssl);
        assert_in_range(SSL_SESSION_get_timeout(session), 86400 - 3600, 86400);
        tg_conn_close(&client.conn);
        tg_conn_close(&server.conn);
    }
}

static void ask_twice(struct tg_transport *t)
{
    struct tg_tls_problem why = {0};
    assert_int_equal(tg_tls_ask(t, tg_str_c(stranger.cert_pem), 1, &why), TG_OK);
    ask(t);
}

static void the_last_question_counts(void **state)
{
    (void)state;
    set_alice(TG_STR("b.test"));
    on_asked = ask_twice;
    open_contexts();
    expect_visit(&partner, false, true);
    on_asked = ask;
    expect_visit(&partner, true, true);
}

/* ---- Certificates of the server ----------------------------------------------------------------
 */

static void choose(struct tg_transport *t)
{
    assert_int_equal(tg_tls_choose(t, TG_STR("c.test")), TG_E_NOT_FOUND);
    assert_int_equal(tg_tls_choose(t, TG_STR("B.Test")), TG_OK);
}

static void a_plugin_may_choose_by_name(void **state)
{
    (void)state;
    set_alice(TG_STR("b.test"));
    on_asked = choose;
    open_contexts();
    shake_hands();
}

static void sessions_are_counted_whatever_was_shown(void **state)
{
    (void)state;
    set_alice(TG_STR("b.test"));
    server_options.tickets = false;
    tg_limit_note(tls_sessions, 0);
    open_at_most(TLS1_2_VERSION);
    expect_visit(NULL, false, false);
    assert_int_equal(tg_limit_use(TG_LIMIT_ID_tls_sessions), 1);
    expect_visit(NULL, true, false);
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
        with_wire(extensions_that_openssl_does_not_know_count),
        with_wire(whom_a_plugin_trusts_does_not_hang_on_the_certificate_shown),
        with_wire(a_plugin_may_trust_others_than_the_listener),
        with_wire(a_session_counts_where_the_same_was_asked),
        with_wire(a_session_ends_with_the_certificate_that_it_vouches_for),
        with_wire(the_last_question_counts),
        with_wire(a_plugin_may_choose_by_name),
        with_wire(sessions_are_counted_whatever_was_shown),
        cmocka_unit_test(alerts_have_names),
    };
    return cmocka_run_group_tests_name("tls_hello", tests, make_all, drop_all);
}
