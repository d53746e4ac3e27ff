/* tls_hello.c: see tls_hello.h.
 *
 * SSL_set_SSL_CTX() puts certificates in place together with the store that clients' certificates
 * are verified by, so a store that a plugin gave is put back after it. */
#include "base/banned.h"
#include "net/tls_hello.h"

#include "base/limits.h"
#include "net/client_hello.h"
#include "net/tls_internal.h"

#include <openssl/err.h>

/* ---- The handshake of a server -----------------------------------------------------------------
 */

void tg_tls_hear(struct tg_tls *tls, const unsigned char *message, size_t n)
{
    struct tg_client_hello hello;
    if (!tls->context->fingerprint || tls->heard || !tg_client_hello_read(message, n, &hello))
        return;
    tg_client_hello_ja4(&hello, tls->facts->ja4);
}

/* Notes the name that the client asks for; false: no memory. */
static bool read_name(struct tg_tls *tls)
{
    const unsigned char *p;
    size_t n;
    tls->heard = true;
    return SSL_client_hello_get0_ext(tls->ssl, TLSEXT_TYPE_server_name, &p, &n) != 1 ||
           tg_tls_keep_name(tls->facts, tg_client_hello_name(p, n)) == TG_OK;
}

/* Shows the certificates of `set` in place of those that the connection began with. */
static bool use_set(struct tg_tls *tls, SSL_CTX *set)
{
    if (set == SSL_get_SSL_CTX(tls->ssl))
        return true;
    return SSL_set_SSL_CTX(tls->ssl, set) != NULL &&
           (tls->asked == NULL || SSL_set1_verify_cert_store(tls->ssl, tls->asked) == 1);
}

/* Shows what the listener has for the name that the client asks for. */
static int show_by_name(struct tg_tls *tls, int *alert)
{
    SSL_CTX *set = tg_tls_context_find(tls->context, tls->facts->sni);
    if (set == NULL && tls->context->reject_unknown) {
        *alert = SSL_AD_UNRECOGNIZED_NAME;
        tls->problem = "no certificate for that name";
        return SSL_CLIENT_HELLO_ERROR;
    }
    *alert = SSL_AD_INTERNAL_ERROR;
    return set == NULL || use_set(tls, set) ? SSL_CLIENT_HELLO_SUCCESS : SSL_CLIENT_HELLO_ERROR;
}

static int on_client_hello(SSL *ssl, int *alert, void *arg)
{
    struct tg_tls *tls = SSL_get_app_data(ssl);
    (void)arg;
    *alert = SSL_AD_INTERNAL_ERROR;
    if (!tls->heard && !read_name(tls))
        return SSL_CLIENT_HELLO_ERROR;
    if (tls->hooks != NULL && tls->context->asks_plugins) {
        switch (tls->hooks->on_hello(tls->hooks->owner, &tls->transport, alert)) {
        case TG_TLS_WAIT:
            tls->transport.parked = true;
            return SSL_CLIENT_HELLO_RETRY;
        case TG_TLS_REFUSE:
            tls->problem = "refused by a plugin";
            return SSL_CLIENT_HELLO_ERROR;
        case TG_TLS_GO_ON:
            break;
        }
    }
    return tls->chosen ? SSL_CLIENT_HELLO_SUCCESS : show_by_name(tls, alert);
}

/* HTTP/2 where the listener speaks it and the client too, else HTTP/1.1. Who offers other things
 * alone is told so (RFC 7301, 3.2); who offers nothing gets HTTP/1.1 all the same. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *n, const unsigned char *in,
                   unsigned in_n, void *arg)
{
    static const unsigned char both[] = "\x02h2\x08http/1.1";
    const struct tg_tls *tls = SSL_get_app_data(ssl);
    unsigned skipped = tls->context->http2 ? 0 : 3;
    unsigned char *chosen;
    (void)arg;
    if (SSL_select_next_proto(&chosen, n, both + skipped, sizeof(both) - 1 - skipped, in, in_n) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int encrypts)
{
    struct tg_tls *tls = SSL_get_app_data(ssl);
    int result = tg_tls_shared_ticket(tls->shared, tls->context->ticket_life, tg_tls_now(tls), name,
                                      iv, cipher, mac, encrypts);
    /* In TLS 1.3 clients use a ticket once (RFC 8446, C.4): who shows one gets the next. */
    return result == 1 && !encrypts && SSL_version(ssl) == TLS1_3_VERSION ? 2 : result;
}

/* A session vouches for the client's certificate no longer than that is good. */
static void bound_session(const SSL *ssl, SSL_SESSION *session)
{
    const X509 *peer = SSL_SESSION_get0_peer(session);
    if (peer == NULL || SSL_get_verify_result(ssl) != X509_V_OK)
        return;
    int64_t left = tg_tls_not_after(peer) - SSL_SESSION_get_time(session);
    if (left < SSL_SESSION_get_timeout(session))
        SSL_SESSION_set_timeout(session, (long)TG_MAX(left, 0));
}

static int on_new_ticket(SSL *ssl, void *arg)
{
    (void)arg;
    bound_session(ssl, SSL_get_session(ssl));
    return 1;
}

/* A session was put into the listener's cache, where the oldest went if it was full. */
static int on_kept_session(SSL *ssl, SSL_SESSION *session)
{
    const struct tg_tls *tls = SSL_get_app_data(ssl);
    SSL_CTX *ctx = tls->context->main; /* whatever set is shown, it keeps the sessions */
    long kept = SSL_CTX_sess_number(ctx);
    bound_session(ssl, session);
    tg_limit_note(tls_sessions, (uint64_t)TG_MAX(kept, 0L));
    if (kept >= SSL_CTX_sess_get_cache_size(ctx))
        tg_limit_hit(tls_sessions);
    return 0; /* the reference stays the cache's */
}

/* The OCSP response of the certificate that is shown, if there is one now. */
static int on_status(SSL *ssl, void *arg)
{
    struct tg_tls_context *context = arg;
    const struct tg_tls *tls = SSL_get_app_data(ssl);
    int64_t now = (int64_t)(tls->worker->loop.clock.real / TG_USEC_PER_SEC);
    const X509 *shown = SSL_get_certificate(ssl);
    size_t n = 0;
    for (uint32_t i = 0; shown != NULL && i < context->leaf_count; i++) {
        struct tg_tls_leaf *leaf = &context->leaves[i];
        if (!leaf->staples || X509_cmp(leaf->cert, shown) != 0)
            continue;
        unsigned char *copy = tg_tls_leaf_copy(leaf, now, &n);
        if (copy == NULL)
            break;
        SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)n); /* takes it over */
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_NOACK;
}

void tg_tls_hook_server(SSL_CTX *ctx, struct tg_tls_context *context)
{
    SSL_CTX_set_tlsext_status_cb(ctx, on_status);
    SSL_CTX_set_tlsext_status_arg(ctx, context);
    SSL_CTX_sess_set_new_cb(ctx, on_kept_session);
    SSL_CTX_set_client_hello_cb(ctx, on_client_hello, NULL);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
    SSL_CTX_set_session_ticket_cb(ctx, on_new_ticket, NULL, NULL);
    if (context->tickets)
        SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket);
}

/* ---- What the certificate phase may do ---------------------------------------------------------
 */

enum tg_err tg_tls_choose(struct tg_transport *t, struct tg_str name)
{
    struct tg_tls *tls = tg_tls_of(t);
    char lower[TG_TLS_NAME_MAX];
    if (name.n > sizeof(lower))
        return TG_E_NOT_FOUND;
    for (size_t i = 0; i < name.n; i++)
        lower[i] = tg_char_lower(name.p[i]);
    SSL_CTX *set = tg_tls_context_find(tls->context, tg_str(lower, name.n));
    if (set == NULL)
        return TG_E_NOT_FOUND;
    tls->chosen = true;
    return use_set(tls, set) ? TG_OK : TG_E_NOMEM;
}

enum tg_err tg_tls_show(struct tg_transport *t, struct tg_str cert, struct tg_str key,
                        struct tg_tls_problem *why)
{
    struct tg_tls *tls = tg_tls_of(t);
    struct tg_tls_credentials c;
    enum tg_err err = tg_tls_credentials_read(cert, key, &c, why);
    if (err != TG_OK)
        return err;
    /* Those of other kinds go only when this one is sure to stay: a plugin that fails may be one
     * that the handshake does without. */
    bool used = SSL_use_cert_and_key(tls->ssl, c.leaf, c.key, c.chain, 1) == 1;
    if (used) {
        SSL_certs_clear(tls->ssl);
        used = SSL_use_cert_and_key(tls->ssl, c.leaf, c.key, c.chain, 1) == 1;
        tls->chosen = true;
    }
    tg_tls_credentials_release(&c);
    ERR_clear_error();
    return used ? TG_OK : tg_tls_refuse_weak(why);
}

/* Sessions that began under other questions are not resumed: nobody has looked at the client's
 * certificate as this question would have it. */
static bool name_session(struct tg_tls *tls, struct tg_str ca, unsigned depth)
{
    const struct tg_tls_context *context = tls->context;
    const struct tg_str pieces[] = {
        {(const char *)context->session_name, sizeof(context->session_name)},
        {(const char *)&depth, sizeof(depth)},
        ca,
    };
    unsigned char digest[32];
    return tg_tls_digest(pieces, TG_COUNT_OF(pieces), digest) &&
           SSL_set_session_id_context(tls->ssl, digest, sizeof(digest)) == 1;
}

/* Whom the certificates of `ca` stand for, and their names, which the client is told. */
static enum tg_err read_trust(struct tg_str ca, X509_STORE **store, STACK_OF(X509_NAME) * *names,
                              struct tg_tls_problem *why)
{
    STACK_OF(X509) *list = NULL;
    enum tg_err err = tg_tls_certificates_read(ca, &list, why);
    if (err != TG_OK)
        return err;
    *store = X509_STORE_new();
    *names = sk_X509_NAME_new_null();
    bool good = *store != NULL && *names != NULL;
    for (int i = 0; good && i < sk_X509_num(list); i++) {
        X509 *cert = sk_X509_value(list, i);
        X509_NAME *name = X509_NAME_dup(X509_get_subject_name(cert));
        X509_STORE_add_cert(*store, cert); /* one that is there twice is one */
        good = name != NULL && sk_X509_NAME_push(*names, name) > 0;
        if (!good)
            X509_NAME_free(name);
    }
    sk_X509_pop_free(list, X509_free);
    ERR_clear_error();
    return good ? TG_OK : TG_E_NOMEM;
}

enum tg_err tg_tls_ask(struct tg_transport *t, struct tg_str ca, unsigned depth,
                       struct tg_tls_problem *why)
{
    struct tg_tls *tls = tg_tls_of(t);
    X509_STORE *store = NULL;
    STACK_OF(X509_NAME) *names = NULL;
    enum tg_err err = ca.n > 0 ? read_trust(ca, &store, &names, why) : TG_OK;
    if (err != TG_OK) {
        X509_STORE_free(store);
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return err;
    }
    X509_STORE_free(tls->asked);
    tls->asked = store;
    SSL_set_client_CA_list(tls->ssl, names); /* takes it over; NULL: the listener's */
    SSL_set_verify_depth(tls->ssl, depth > 0 ? (int)depth : -1);
    SSL_set_verify(tls->ssl, SSL_get_verify_mode(tls->ssl) | SSL_VERIFY_PEER,
                   tls->context->client_auth == TG_TLS_AUTH_REQUIRED ? NULL : tg_tls_pass_anybody);
    return SSL_set1_verify_cert_store(tls->ssl, store) == 1 && name_session(tls, ca, depth)
               ? TG_OK
               : TG_E_NOMEM;
}

int tg_tls_alert(struct tg_str name)
{
    static const struct {
        const char *name;
        int number;
    } alerts[] = {
        {"access_denied", SSL_AD_ACCESS_DENIED},
        {"bad_certificate", SSL_AD_BAD_CERTIFICATE},
        {"certificate_required", SSL_AD_CERTIFICATE_REQUIRED},
        {"handshake_failure", SSL_AD_HANDSHAKE_FAILURE},
        {"insufficient_security", SSL_AD_INSUFFICIENT_SECURITY},
        {"internal_error", SSL_AD_INTERNAL_ERROR},
        {"unrecognized_name", SSL_AD_UNRECOGNIZED_NAME},
    };
    for (size_t i = 0; i < TG_COUNT_OF(alerts); i++) {
        if (tg_str_eq(name, tg_str_c(alerts[i].name)))
            return alerts[i].number;
    }
    return -1;
}
