/* tls_conn.c: see tls_conn.h.
 *
 *     tg_conn_write -> SSL_write -> BIO -> tg_conn_send_raw -> socket, or the connection's queue
 *     tg_conn_read <- SSL_read <- BIO <- tg_conn_recv_raw
 *
 * The BIO remembers the error of the socket (`raw`), because what OpenSSL tells of it is less. */
#include "base/banned.h"
#include "net/tls_conn.h"

#include "base/assert.h"
#include "base/limits.h"
#include "base/mem.h"
#include "net/client_hello.h"
#include "net/conn.h"
#include "net/tls_internal.h"
#include "observe/metrics.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#define TLS_MAGIC  0x7150c0deu
#define RECORD_MAX 16384u
#define SNI_MAX    255

/* Bytes that may wait when reading makes more of them. */
#define ANSWERS_MAX ((size_t)256 << 10)

struct tls {
    struct tg_transport transport;
    uint32_t magic;
    SSL *ssl;
    struct tg_tls_context *context; /* one reference */
    struct tg_tls_shared *shared;   /* borrowed; NULL: nothing is resumed */
    struct tg_worker *worker;
    const struct tg_tls_hooks *hooks;
    struct tg_tls_facts *facts;
    struct tg_addr addr; /* of an origin */
    enum tg_err raw;     /* what the socket last said */
    const char *problem;
    bool done;    /* the handshake is over */
    bool reading; /* SSL_read() is at work */
    bool spoke;   /* this step of the handshake has queued something */
    bool heard;   /* the ClientHello was read */
    bool chosen;  /* a plugin chose the certificate */
    bool got_http;
    bool over; /* failed, or ended by the peer: nothing may be said any more */
};

static struct tls *tls_of(const struct tg_transport *t)
{
    struct tls *tls = TG_CONTAINER_OF(t, struct tls, transport);
    tg_magic_check(tls, TLS_MAGIC);
    return tls;
}

static uint64_t now(const struct tls *tls)
{
    return tg_loop_now(&tls->worker->loop);
}

/* ---- The BIO -----------------------------------------------------------------------------------
 */

static int bio_write(BIO *bio, const char *p, size_t n, size_t *written)
{
    struct tls *tls = BIO_get_data(bio);
    struct iovec iov = {(void *)(uintptr_t)p, n};
    /* A peer that asks for answers of TLS itself (new keys) and takes none shall not fill memory.
     */
    if (tls->reading && tg_conn_pending(tls->transport.conn) > ANSWERS_MAX)
        tls->raw = TG_E_LIMIT;
    else if (!tls->done) {
        tls->raw = tg_conn_queue_raw(tls->transport.conn, p, n);
        tls->spoke = true;
    } else
        tls->raw = tg_conn_send_raw(tls->transport.conn, &iov, 1);
    *written = tls->raw == TG_OK ? n : 0;
    return tls->raw == TG_OK;
}

static int bio_read(BIO *bio, char *p, size_t cap, size_t *n)
{
    struct tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *n = 0;
    /* No answer can be there to what has not left yet: the kernel need not be asked. */
    tls->raw = tls->spoke ? TG_E_AGAIN : tg_conn_recv_raw(tls->transport.conn, p, cap, n);
    if (tls->raw == TG_E_AGAIN)
        BIO_set_retry_read(bio);
    return tls->raw == TG_OK;
}

static long bio_ctrl(BIO *bio, int command, long number, void *p)
{
    struct tls *tls = BIO_get_data(bio);
    (void)number;
    (void)p;
    if (command == BIO_CTRL_EOF)
        return tls->raw == TG_E_CLOSED;
    return command == BIO_CTRL_FLUSH || command == BIO_CTRL_DUP;
}

static BIO_METHOD *bio_method;
static pthread_once_t bio_once = PTHREAD_ONCE_INIT;

static void make_bio_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "tidegate");
    if (method == NULL || BIO_meth_set_write_ex(method, bio_write) != 1 ||
        BIO_meth_set_read_ex(method, bio_read) != 1 || BIO_meth_set_ctrl(method, bio_ctrl) != 1)
        return;
    bio_method = method; /* for the life of the process, as OpenSSL's own */
}

static bool attach_bio(struct tls *tls)
{
    pthread_once(&bio_once, make_bio_method);
    BIO *bio = bio_method != NULL ? BIO_new(bio_method) : NULL;
    if (bio == NULL)
        return false;
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls->ssl, bio, bio);
    return true;
}

/* ---- Facts -------------------------------------------------------------------------------------
 */

struct tg_tls_facts *tg_tls_facts_ref(struct tg_tls_facts *facts)
{
    facts->refs++;
    return facts;
}

void tg_tls_facts_unref(struct tg_tls_facts **factsp)
{
    struct tg_tls_facts *facts = *factsp;
    *factsp = NULL;
    if (facts == NULL || --facts->refs > 0)
        return;
    X509_free(facts->peer);
    tg_mem_free(TG_MEM_CONNECTION, (char *)(uintptr_t)facts->sni.p);
    tg_mem_free(TG_MEM_CONNECTION, facts);
}

struct tg_tls_facts *tg_tls_facts_of(const struct tg_transport *t)
{
    return t != NULL ? tls_of(t)->facts : NULL;
}

bool tg_tls_got_http(const struct tg_transport *t)
{
    return t != NULL && tls_of(t)->got_http;
}

/* The name that the client asks for, as it will be compared and shown. */
static enum tg_err keep_name(struct tg_tls_facts *facts, struct tg_str name)
{
    if (name.n == 0 || name.n > SNI_MAX || facts->sni.p != NULL)
        return TG_OK;
    char *copy = tg_mem_strndup(TG_MEM_CONNECTION, name.p, name.n);
    if (copy == NULL)
        return TG_E_NOMEM;
    for (size_t i = 0; i < name.n; i++)
        copy[i] = tg_char_lower(copy[i]);
    facts->sni = tg_str(copy, name.n);
    return TG_OK;
}

/* The handshake is over: what came of it. */
static void note_facts(struct tls *tls)
{
    struct tg_tls_facts *facts = tls->facts;
    const unsigned char *alpn;
    unsigned n;
    SSL_get0_alpn_selected(tls->ssl, &alpn, &n);
    if (n == 8)
        facts->alpn = TG_STR("http/1.1");
    else if (n == 2)
        facts->alpn = TG_STR("h2");
    facts->version = SSL_version(tls->ssl) == TLS1_3_VERSION ? "1.3" : "1.2";
    facts->cipher = SSL_CIPHER_standard_name(SSL_get_current_cipher(tls->ssl));
    facts->resumed = SSL_session_reused(tls->ssl) == 1;
    if (tls->context->is_server)
        facts->peer = SSL_get1_peer_certificate(tls->ssl);
    facts->verified = facts->peer != NULL && SSL_get_verify_result(tls->ssl) == X509_V_OK;
}

/* ---- The handshake of a server -----------------------------------------------------------------
 */

static void read_hello(struct tls *tls)
{
    struct tg_client_hello hello;
    const unsigned char *p;
    size_t n;
    if (SSL_client_hello_get0_ext(tls->ssl, TLSEXT_TYPE_server_name, &p, &n) == 1 &&
        keep_name(tls->facts, tg_client_hello_name(p, n)) != TG_OK)
        tls->facts->sni = (struct tg_str){NULL, 0};
    if (!tls->context->fingerprint)
        return;
    tg_client_hello_read(tls->ssl, &hello);
    tg_client_hello_ja4(&hello, tls->facts->ja4);
}

/* Shows the certificates of `set` in place of those that the connection began with. */
static bool use_set(struct tls *tls, SSL_CTX *set)
{
    return set == SSL_get_SSL_CTX(tls->ssl) || SSL_set_SSL_CTX(tls->ssl, set) != NULL;
}

static int on_client_hello(SSL *ssl, int *alert, void *arg)
{
    struct tls *tls = SSL_get_app_data(ssl);
    const struct tg_tls_context *context = tls->context;
    (void)arg;
    if (!tls->heard)
        read_hello(tls);
    tls->heard = true;
    if (tls->hooks != NULL && context->asks_plugins) {
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
    if (tls->chosen)
        return SSL_CLIENT_HELLO_SUCCESS;
    SSL_CTX *set = tg_tls_context_find(context, tls->facts->sni);
    if (set == NULL && context->reject_unknown) {
        *alert = SSL_AD_UNRECOGNIZED_NAME;
        tls->problem = "no certificate for that name";
        return SSL_CLIENT_HELLO_ERROR;
    }
    *alert = SSL_AD_INTERNAL_ERROR;
    return set == NULL || use_set(tls, set) ? SSL_CLIENT_HELLO_SUCCESS : SSL_CLIENT_HELLO_ERROR;
}

/* HTTP/2 where the listener speaks it and the client too, else HTTP/1.1. Who offers other things
 * alone is told so (RFC 7301, 3.2); who offers nothing gets HTTP/1.1 all the same. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *n, const unsigned char *in,
                   unsigned in_n, void *arg)
{
    static const unsigned char both[] = "\x02h2\x08http/1.1";
    const struct tls *tls = SSL_get_app_data(ssl);
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
    struct tls *tls = SSL_get_app_data(ssl);
    int result = tg_tls_shared_ticket(tls->shared, tls->context->ticket_life, now(tls), name, iv,
                                      cipher, mac, encrypts);
    /* In TLS 1.3 clients use a ticket once (RFC 8446, C.4): who shows one gets the next. */
    return result == 1 && !encrypts && SSL_version(ssl) == TLS1_3_VERSION ? 2 : result;
}

/* A session was put into the listener's cache, where the oldest went if it was full. */
static int on_kept_session(SSL *ssl, SSL_SESSION *session)
{
    SSL_CTX *ctx = SSL_get_SSL_CTX(ssl);
    long kept = SSL_CTX_sess_number(ctx);
    (void)session;
    tg_limit_note(tls_sessions, (uint64_t)TG_MAX(kept, 0L));
    if (kept >= SSL_CTX_sess_get_cache_size(ctx))
        tg_limit_hit(tls_sessions);
    return 0; /* the reference stays the cache's */
}

/* The OCSP response of the certificate that is shown, if there is one now. */
static int on_status(SSL *ssl, void *arg)
{
    struct tg_tls_context *context = arg;
    const struct tls *tls = SSL_get_app_data(ssl);
    int64_t now_s = (int64_t)(tls->worker->loop.clock.real / TG_USEC_PER_SEC);
    const X509 *shown = SSL_get_certificate(ssl);
    size_t n = 0;
    for (uint32_t i = 0; shown != NULL && i < context->leaf_count; i++) {
        struct tg_tls_leaf *leaf = &context->leaves[i];
        if (!leaf->staples || X509_cmp(leaf->cert, shown) != 0)
            continue;
        unsigned char *copy = tg_tls_leaf_copy(leaf, now_s, &n);
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
    if (context->tickets)
        SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket);
}

/* ---- The handshake of a client -----------------------------------------------------------------
 */

/* "settings address name": under what a session with an origin is kept. */
static struct tg_str session_key(const struct tls *tls, char room[512])
{
    char text[TG_ADDR_TEXT_MAX];
    int n = snprintf(room, 512, "%llx %s %s", (unsigned long long)tls->context->id,
                     tg_addr_text(&tls->addr, text).p,
                     tls->facts->sni.p != NULL ? tls->facts->sni.p : "");
    return tg_str(room, (size_t)TG_MIN(n, 511));
}

static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls *tls = SSL_get_app_data(ssl);
    char room[512];
    if (tls->shared == NULL || !SSL_SESSION_is_resumable(session))
        return 0;
    tg_tls_shared_put(tls->shared, session_key(tls, room), session, now(tls));
    return 1; /* the reference is taken over */
}

void tg_tls_hook_client(SSL_CTX *ctx)
{
    SSL_CTX_sess_set_new_cb(ctx, on_new_session);
}

static bool set_offer(struct tls *tls, enum tg_tls_offer offer)
{
    static const struct {
        const unsigned char *names;
        unsigned n;
    } offers[] = {
        [TG_TLS_OFFER_HTTP1] = {(const unsigned char *)"\x08http/1.1", 9},
        [TG_TLS_OFFER_HTTP2] = {(const unsigned char *)"\x02h2", 3},
        [TG_TLS_OFFER_BOTH] = {(const unsigned char *)"\x02h2\x08http/1.1", 12},
    };
    return SSL_set_alpn_protos(tls->ssl, offers[offer].names, offers[offer].n) == 0;
}

static bool is_pinned(struct tls *tls)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned char *spki = NULL;
    bool found = tls->context->pin_count == 0;
    X509 *peer = found ? NULL : SSL_get1_peer_certificate(tls->ssl);
    int n = peer != NULL ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(peer), &spki) : 0;
    if (n > 0 && EVP_Digest(spki, (size_t)n, digest, NULL, EVP_sha256(), NULL) == 1) {
        for (uint32_t i = 0; i < tls->context->pin_count; i++)
            found |= memcmp(tls->context->pins[i], digest, 32) == 0;
    }
    OPENSSL_free(spki);
    X509_free(peer);
    return found;
}

/* ---- Steps of the handshake --------------------------------------------------------------------
 */

/* Why the handshake failed, in words. */
static enum tg_err explain(struct tls *tls)
{
    unsigned long e = ERR_peek_last_error();
    long verdict = SSL_get_verify_result(tls->ssl);
    int reason = ERR_GET_REASON(e);
    tls->over = true;
    tls->got_http = reason == SSL_R_HTTP_REQUEST;
    if (tls->problem == NULL && reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
        tls->problem = X509_verify_cert_error_string(verdict);
        ERR_clear_error();
        return TG_E_UNTRUSTED;
    }
    if (tls->problem == NULL && e != 0 && reason != SSL_R_UNEXPECTED_EOF_WHILE_READING)
        tls->problem = ERR_reason_error_string(e);
    ERR_clear_error();
    if (tls->problem != NULL)
        return TG_E_TLS;
    return tls->raw != TG_OK && tls->raw != TG_E_AGAIN ? tls->raw : TG_E_TLS;
}

/* Whether the last word of the handshake was the client's: what it wants mostly follows at once,
 * or its end does, and is read without another wait. Where that word was ours, the client has yet
 * to hear it. */
static bool ends_with_client(const struct tls *tls)
{
    return tls->context->is_server &&
           (tls->facts->resumed || SSL_version(tls->ssl) == TLS1_3_VERSION);
}

static enum tg_err greet(struct tg_transport *t)
{
    struct tls *tls = tls_of(t);
    ERR_clear_error();
    int result = SSL_do_handshake(tls->ssl);
    int why = result == 1 ? SSL_ERROR_NONE : SSL_get_error(tls->ssl, result);
    tls->spoke = false;
    enum tg_err err = tg_conn_flush_raw(t->conn); /* alerts and tickets too */
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_CLIENT_HELLO_CB)
        return err == TG_OK ? TG_E_AGAIN : err;
    if (why != SSL_ERROR_NONE)
        return explain(tls);
    if (err != TG_OK)
        return err;
    if (!tls->context->is_server && !is_pinned(tls)) {
        tls->problem = "its public key is none of those that are pinned";
        return TG_E_UNTRUSTED;
    }
    tls->done = true;
    note_facts(tls);
    t->more = SSL_has_pending(tls->ssl) == 1 || ends_with_client(tls);
    if (!tls->context->is_server)
        tg_metric_inc(tls->worker->cells, tls->facts->resumed ? TG_METRIC_UPSTREAM_TLS_RESUMED
                                                              : TG_METRIC_UPSTREAM_TLS_FULL);
    return TG_OK;
}

/* ---- Bytes -------------------------------------------------------------------------------------
 */

/* What SSL_read() meant when it gave nothing. */
static enum tg_err read_failed(struct tls *tls, int why)
{
    if (why == SSL_ERROR_WANT_READ)
        return TG_E_AGAIN;
    bool cut = why == SSL_ERROR_SSL &&
               ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
    enum tg_err raw = tls->raw != TG_OK && tls->raw != TG_E_AGAIN ? tls->raw : TG_E_PROTOCOL;
    ERR_clear_error();
    tls->transport.conn->eof = true;
    if (why == SSL_ERROR_ZERO_RETURN)
        return TG_E_CLOSED;
    tls->over = true;
    if (cut)
        return TG_E_RESET; /* the end did not come from the peer, as far as anybody can tell */
    return raw;
}

static enum tg_err read_tls(struct tg_transport *t, char *p, size_t cap, size_t *n)
{
    struct tls *tls = tls_of(t);
    size_t at = 0;
    t->more = false;
    while (at < cap) {
        size_t got = 0;
        ERR_clear_error();
        tls->reading = true;
        bool read = SSL_read_ex(tls->ssl, p + at, cap - at, &got) == 1;
        tls->reading = false;
        if (!read) {
            int why = SSL_get_error(tls->ssl, 0);
            if (at == 0)
                return read_failed(tls, why);
            t->more = why != SSL_ERROR_WANT_READ; /* the end is told in its turn */
            break;
        }
        at += got;
        t->more = SSL_has_pending(tls->ssl) == 1;
        if (!t->more)
            break; /* what the socket has comes with the next event */
    }
    *n = at;
    return TG_OK;
}

static enum tg_err encrypt(struct tls *tls, const char *p, size_t n)
{
    while (n > 0) {
        size_t written = 0;
        ERR_clear_error();
        if (SSL_write_ex(tls->ssl, p, n, &written) != 1) {
            ERR_clear_error();
            tls->over = true;
            return tls->raw != TG_OK && tls->raw != TG_E_AGAIN ? tls->raw : TG_E_PROTOCOL;
        }
        p += written;
        n -= written;
    }
    return TG_OK;
}

/* Small pieces leave in one record: each record costs a header, a tag and a system call. */
static enum tg_err write_tls(struct tg_transport *t, struct iovec *iov, int count)
{
    struct tls *tls = tls_of(t);
    char record[RECORD_MAX];
    size_t held = 0;
    enum tg_err err = TG_OK;
    for (int i = 0; i < count && err == TG_OK; i++) {
        const char *p = iov[i].iov_base;
        size_t n = iov[i].iov_len;
        if (held + n <= sizeof(record) && count > 1) {
            memcpy(record + held, p, n);
            held += n;
            continue;
        }
        err = encrypt(tls, record, held);
        held = 0;
        if (err == TG_OK)
            err = encrypt(tls, p, n);
    }
    return err == TG_OK ? encrypt(tls, record, held) : err;
}

static void shutdown_tls(struct tg_transport *t)
{
    struct tls *tls = tls_of(t);
    if (!tls->done || tls->over || (SSL_get_shutdown(tls->ssl) & SSL_SENT_SHUTDOWN))
        return;
    ERR_clear_error();
    (void)SSL_shutdown(tls->ssl); /* 0: sent, and we do not wait for the peer's */
    ERR_clear_error();
}

static const char *problem(const struct tg_transport *t)
{
    return tls_of(t)->problem;
}

/* ---- Life --------------------------------------------------------------------------------------
 */

static void free_tls(struct tg_transport **t, bool quietly)
{
    struct tls *tls = tls_of(*t);
    *t = NULL;
    /* Where bytes wait, or the peer has gone, the record would not reach it. */
    if (!quietly && tg_conn_pending(tls->transport.conn) == 0 && !tls->transport.conn->eof)
        shutdown_tls(&tls->transport);
    else if (tls->ssl != NULL && tls->done && !quietly)
        SSL_set_shutdown(tls->ssl, SSL_SENT_SHUTDOWN); /* the session stays good */
    tls->magic = 0;
    SSL_free(tls->ssl);
    tg_tls_facts_unref(&tls->facts);
    tg_tls_context_unref(&tls->context);
    tg_mem_free(TG_MEM_CONNECTION, tls);
}

static const struct tg_transport_ops tls_ops = {
    .greet = greet,
    .read = read_tls,
    .write = write_tls,
    .shutdown = shutdown_tls,
    .problem = problem,
    .free = free_tls,
};

static struct tls *new_tls(struct tg_tls_context *context, struct tg_tls_shared *shared,
                           struct tg_worker *worker)
{
    struct tls *tls = tg_mem_zalloc(TG_MEM_CONNECTION, 1, sizeof(*tls));
    if (tls == NULL)
        return NULL;
    tls->transport.ops = &tls_ops;
    tls->magic = TLS_MAGIC;
    tls->context = tg_tls_context_ref(context);
    tls->shared = shared;
    tls->worker = worker;
    tls->facts = tg_mem_zalloc(TG_MEM_CONNECTION, 1, sizeof(*tls->facts));
    tls->ssl = tls->facts != NULL ? SSL_new(context->main) : NULL;
    if (tls->facts != NULL)
        tls->facts->refs = 1;
    if (tls->ssl != NULL && SSL_set_app_data(tls->ssl, tls) == 1 && attach_bio(tls))
        return tls;
    struct tg_transport *t = &tls->transport;
    free_tls(&t, true);
    return NULL;
}

struct tg_transport *tg_tls_accept(struct tg_tls_context *context, struct tg_tls_shared *shared,
                                   struct tg_worker *worker, const struct tg_tls_hooks *hooks)
{
    struct tls *tls = new_tls(context, shared, worker);
    if (tls == NULL)
        return NULL;
    tls->hooks = hooks;
    SSL_set_accept_state(tls->ssl);
    return &tls->transport;
}

/* The name to ask for and to check; an address is checked, but not asked for (RFC 6066, 3). */
static bool set_peer_name(struct tls *tls, struct tg_str name)
{
    char room[TG_ADDR_TEXT_MAX];
    struct tg_addr addr;
    X509_VERIFY_PARAM *param = SSL_get0_param(tls->ssl);
    if (tls->context->name != NULL)
        name = tg_str_c(tls->context->name);
    if (name.n > 0 && tg_addr_parse_ip(name, &addr) != TG_OK) {
        return keep_name(tls->facts, name) == TG_OK && tls->facts->sni.p != NULL &&
               SSL_set_tlsext_host_name(tls->ssl, tls->facts->sni.p) == 1 &&
               SSL_set1_host(tls->ssl, tls->facts->sni.p) == 1;
    }
    struct tg_str ip = tg_addr_ip_text(name.n > 0 ? &addr : &tls->addr, room);
    return X509_VERIFY_PARAM_set1_ip_asc(param, ip.p) == 1;
}

struct tg_transport *tg_tls_connect(struct tg_tls_context *context, struct tg_tls_shared *shared,
                                    struct tg_worker *worker, const struct tg_addr *addr,
                                    struct tg_str name, enum tg_tls_offer offer)
{
    char room[512];
    struct tls *tls = new_tls(context, shared, worker);
    if (tls == NULL)
        return NULL;
    tls->addr = *addr;
    SSL_set_connect_state(tls->ssl);
    if (!set_peer_name(tls, name) || !set_offer(tls, offer)) {
        struct tg_transport *t = &tls->transport;
        free_tls(&t, true);
        return NULL;
    }
    SSL_SESSION *session =
        shared != NULL ? tg_tls_shared_get(shared, session_key(tls, room), now(tls)) : NULL;
    if (session != NULL)
        SSL_set_session(tls->ssl, session); /* where that fails, the handshake is a full one */
    SSL_SESSION_free(session);
    return &tls->transport;
}

/* ---- What the certificate phase may do ---------------------------------------------------------
 */

enum tg_err tg_tls_choose(struct tg_transport *t, struct tg_str name)
{
    struct tls *tls = tls_of(t);
    SSL_CTX *set = tg_tls_context_find(tls->context, name);
    if (set == NULL)
        return TG_E_NOT_FOUND;
    tls->chosen = true;
    return use_set(tls, set) ? TG_OK : TG_E_NOMEM;
}

enum tg_err tg_tls_show(struct tg_transport *t, struct tg_str cert, struct tg_str key,
                        struct tg_tls_problem *why)
{
    struct tls *tls = tls_of(t);
    struct tg_tls_credentials c;
    enum tg_err err = tg_tls_credentials_read(cert, key, &c, why);
    if (err != TG_OK)
        return err;
    SSL_certs_clear(tls->ssl);
    bool used = SSL_use_cert_and_key(tls->ssl, c.leaf, c.key, c.chain, 1) == 1;
    tg_tls_credentials_release(&c);
    ERR_clear_error();
    tls->chosen = true;
    return used ? TG_OK : TG_E_NOMEM;
}

static int pass_anybody(int verified, X509_STORE_CTX *store)
{
    (void)verified;
    (void)store;
    return 1;
}

enum tg_err tg_tls_ask(struct tg_transport *t, struct tg_str ca, unsigned depth,
                       struct tg_tls_problem *why)
{
    struct tls *tls = tls_of(t);
    STACK_OF(X509) *list = NULL;
    if (depth > 0)
        SSL_set_verify_depth(tls->ssl, (int)depth);
    SSL_set_verify(tls->ssl, SSL_get_verify_mode(tls->ssl) | SSL_VERIFY_PEER,
                   tls->context->client_auth == TG_TLS_AUTH_REQUIRED ? NULL : pass_anybody);
    if (ca.n == 0)
        return TG_OK;
    enum tg_err err = tg_tls_certificates_read(ca, &list, why);
    if (err != TG_OK)
        return err;
    X509_STORE *store = X509_STORE_new();
    for (int i = 0; store != NULL && i < sk_X509_num(list); i++) {
        X509_STORE_add_cert(store, sk_X509_value(list, i));
        SSL_add_client_CA(tls->ssl, sk_X509_value(list, i));
    }
    bool set = store != NULL && SSL_set0_verify_cert_store(tls->ssl, store) == 1;
    sk_X509_pop_free(list, X509_free);
    ERR_clear_error();
    return set ? TG_OK : TG_E_NOMEM;
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
