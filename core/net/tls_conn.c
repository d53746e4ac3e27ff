/* tls_conn.c: see tls_conn.h.
 *
 *     tg_conn_write -> SSL_write -> BIO -> tg_conn_send_raw -> socket, or the connection's queue
 *     tg_conn_read <- SSL_read <- BIO <- tg_conn_recv_raw
 *
 * The BIO remembers the error of the socket (`raw`), because what OpenSSL tells of it is less. */
#include "base/banned.h"
#include "net/tls_conn.h"

#include "base/limits.h"
#include "base/mem.h"
#include "net/conn.h"
#include "net/tls_internal.h"
#include "observe/log.h"
#include "observe/metrics.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#define RECORD_MAX 16384u

/* Bytes that may wait when reading makes more of them. */
#define ANSWERS_MAX ((size_t)256 << 10)

/* Records in a row that hold no data: new keys, tickets, wishes to negotiate anew. */
#define EMPTY_MAX 32u

/* Records that are read in one go, before the loop has its turn. */
#define RECORDS_MAX 64

/* ---- The BIO -----------------------------------------------------------------------------------
 */

static int bio_write(BIO *bio, const char *p, size_t n, size_t *written)
{
    struct tg_tls *tls = BIO_get_data(bio);
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
    struct tg_tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *n = 0;
    /* A peer that changes its keys on and on is served until what it sent before is used up. No
     * answer can be there to what has not left yet: the kernel need not be asked. */
    if (tls->empty > EMPTY_MAX)
        tls->raw = TG_E_LIMIT;
    else if (tls->spoke)
        tls->raw = TG_E_AGAIN;
    else
        tls->raw = tg_conn_recv_raw(tls->transport.conn, p, cap, n);
    if (tls->raw == TG_E_AGAIN)
        BIO_set_retry_read(bio);
    return tls->raw == TG_OK;
}

static long bio_ctrl(BIO *bio, int command, long number, void *p)
{
    struct tg_tls *tls = BIO_get_data(bio);
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

/* OpenSSL tells of each record and each message of a handshake, before it looks at them. */
static void on_message(int ours, int version, int type, const void *p, size_t n, SSL *ssl,
                       void *arg)
{
    struct tg_tls *tls = SSL_get_app_data(ssl);
    (void)version;
    (void)arg;
    if (ours)
        return;
    if (type == SSL3_RT_HEADER)
        tls->empty += tls->done;
    else if (type == SSL3_RT_HANDSHAKE && tls->context->is_server && !tls->done)
        tg_tls_hear(tls, p, n);
}

void tg_tls_hook(SSL_CTX *ctx)
{
    SSL_CTX_set_msg_callback(ctx, on_message);
}

static bool attach_bio(struct tg_tls *tls)
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
    return t != NULL ? tg_tls_of(t)->facts : NULL;
}

bool tg_tls_got_http(const struct tg_transport *t)
{
    return t != NULL && tg_tls_of(t)->got_http;
}

enum tg_err tg_tls_keep_name(struct tg_tls_facts *facts, struct tg_str name)
{
    if (name.n == 0 || name.n > TG_TLS_NAME_MAX || facts->sni.p != NULL)
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
static void note_facts(struct tg_tls *tls)
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

/* ---- The handshake of a client -----------------------------------------------------------------
 */

/* "settings address name": under what a session with an origin is kept. */
static struct tg_str session_key(const struct tg_tls *tls, char room[512])
{
    char text[TG_ADDR_TEXT_MAX];
    int n = snprintf(room, 512, "%llx %s %s", (unsigned long long)tls->context->id,
                     tg_addr_text(&tls->addr, text).p,
                     tls->facts->sni.p != NULL ? tls->facts->sni.p : "");
    return tg_str(room, (size_t)TG_MIN(n, 511));
}

static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
    struct tg_tls *tls = SSL_get_app_data(ssl);
    char room[512];
    if (tls->shared == NULL || !SSL_SESSION_is_resumable(session))
        return 0;
    tg_tls_shared_put(tls->shared, session_key(tls, room), session, tg_tls_now(tls));
    return 1; /* the reference is taken over */
}

void tg_tls_hook_client(SSL_CTX *ctx)
{
    SSL_CTX_sess_set_new_cb(ctx, on_new_session);
}

static bool set_offer(struct tg_tls *tls, enum tg_tls_offer offer)
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

static bool is_pinned(struct tg_tls *tls)
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
static enum tg_err explain(struct tg_tls *tls)
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
    if (tls->problem == NULL && reason == SSL_R_WRONG_VERSION_NUMBER) /* of the first record */
        tls->problem = "the other side does not speak TLS (wrong version number)";
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
static bool ends_with_client(const struct tg_tls *tls)
{
    return tls->context->is_server &&
           (tls->facts->resumed || SSL_version(tls->ssl) == TLS1_3_VERSION);
}

static enum tg_err greet(struct tg_transport *t)
{
    struct tg_tls *tls = tg_tls_of(t);
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

static void note_flood(const struct tg_tls *tls)
{
    char room[TG_ADDR_TEXT_MAX];
    struct tg_addr peer;
    tg_conn_peer(tls->transport.conn, &peer);
    tg_metric_inc(tls->worker->cells, TG_METRIC_TLS_FLOODS);
    tg_log_every(10, TG_LOG_INFO, "tls", "too many records without data from %s: closed",
                 tg_addr_text(&peer, room).p);
}

/* What SSL_read() meant when it gave nothing, and never will again. */
static enum tg_err why_ended(struct tg_tls *tls, int why)
{
    bool cut = why == SSL_ERROR_SSL &&
               ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
    enum tg_err raw = tls->raw != TG_OK && tls->raw != TG_E_AGAIN ? tls->raw : TG_E_PROTOCOL;
    ERR_clear_error();
    tls->transport.conn->eof = true;
    tls->parted = why == SSL_ERROR_ZERO_RETURN && tls->raw != TG_E_CLOSED;
    if (why == SSL_ERROR_ZERO_RETURN)
        return TG_E_CLOSED;
    tls->over = true;
    if (raw == TG_E_LIMIT)
        note_flood(tls);
    return cut ? TG_E_RESET /* the end did not come from the peer, as far as anybody can tell */
               : raw;
}

/* Some bytes of one record, by SSL_read_ex() or SSL_peek_ex(). OpenSSL tells an end once, so it is
 * kept. */
static enum tg_err read_some(struct tg_tls *tls, int (*step)(SSL *, void *, size_t, size_t *),
                             char *p, size_t cap, size_t *n)
{
    if (tls->ended != TG_OK)
        return tls->ended;
    ERR_clear_error();
    tls->reading = true;
    bool got = step(tls->ssl, p, cap, n) == 1;
    tls->reading = false;
    if (got) {
        tls->empty = 0;
        return TG_OK;
    }
    int why = SSL_get_error(tls->ssl, 0);
    if (why == SSL_ERROR_WANT_READ)
        return TG_E_AGAIN;
    tls->ended = why_ended(tls, why);
    return tls->ended;
}

static enum tg_err read_tls(struct tg_transport *t, char *p, size_t cap, size_t *n)
{
    struct tg_tls *tls = tg_tls_of(t);
    enum tg_err err = TG_OK;
    size_t at = 0;
    t->more = false;
    for (int records = 0; at < cap && records < RECORDS_MAX; records++) {
        size_t got = 0;
        err = read_some(tls, SSL_read_ex, p + at, cap - at, &got);
        at += got;
        t->more = err == TG_OK && SSL_has_pending(tls->ssl) == 1;
        if (!t->more)
            break; /* what the socket has comes with the next event */
    }
    *n = at;
    if (at == 0)
        return err;
    t->more |= err != TG_OK && err != TG_E_AGAIN; /* the end is told in its turn */
    return TG_OK;
}

static enum tg_err peek_tls(struct tg_transport *t)
{
    struct tg_tls *tls = tg_tls_of(t);
    char byte;
    size_t n;
    enum tg_err err = read_some(tls, SSL_peek_ex, &byte, 1, &n);
    t->more |= err != TG_E_AGAIN;
    return err != TG_OK && tls->raw == TG_E_CLOSED ? TG_E_CLOSED : err;
}

static enum tg_err encrypt(struct tg_tls *tls, const char *p, size_t n)
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
    struct tg_tls *tls = tg_tls_of(t);
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
    struct tg_tls *tls = tg_tls_of(t);
    if (!tls->done || tls->over || (SSL_get_shutdown(tls->ssl) & SSL_SENT_SHUTDOWN))
        return;
    ERR_clear_error();
    (void)SSL_shutdown(tls->ssl); /* 0: sent, and we do not wait for the peer's */
    ERR_clear_error();
}

static const char *problem(const struct tg_transport *t)
{
    return tg_tls_of(t)->problem;
}

/* ---- Life --------------------------------------------------------------------------------------
 */

static void free_tls(struct tg_transport **t, bool quietly)
{
    struct tg_tls *tls = tg_tls_of(*t);
    const struct tg_conn *conn = (*t)->conn; /* NULL: it ends before it had one, quietly */
    *t = NULL;
    /* Where bytes wait, or the peer has gone, the record would not reach it. */
    if (!quietly && tg_conn_pending(conn) == 0 && (!conn->eof || tls->parted))
        shutdown_tls(&tls->transport);
    else if (tls->ssl != NULL && tls->done && !quietly)
        SSL_set_shutdown(tls->ssl, SSL_SENT_SHUTDOWN); /* the session stays good */
    tls->magic = 0;
    SSL_free(tls->ssl);
    X509_STORE_free(tls->asked);
    tg_tls_facts_unref(&tls->facts);
    tg_tls_context_unref(&tls->context);
    tg_mem_free(TG_MEM_CONNECTION, tls);
}

static const struct tg_transport_ops tls_ops = {
    .greet = greet,
    .read = read_tls,
    .peek = peek_tls,
    .write = write_tls,
    .shutdown = shutdown_tls,
    .problem = problem,
    .free = free_tls,
};

static struct tg_tls *new_tls(struct tg_tls_context *context, struct tg_tls_shared *shared,
                              struct tg_worker *worker)
{
    struct tg_tls *tls = tg_mem_zalloc(TG_MEM_CONNECTION, 1, sizeof(*tls));
    if (tls == NULL)
        return NULL;
    tls->transport.ops = &tls_ops;
    tls->magic = TG_TLS_MAGIC;
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
    struct tg_tls *tls = new_tls(context, shared, worker);
    if (tls == NULL)
        return NULL;
    tls->hooks = hooks;
    SSL_set_accept_state(tls->ssl);
    return &tls->transport;
}

/* The name to ask for and to check; an address is checked, but not asked for (RFC 6066, 3). */
static bool set_peer_name(struct tg_tls *tls, struct tg_str name)
{
    char room[TG_ADDR_TEXT_MAX];
    struct tg_addr addr;
    X509_VERIFY_PARAM *param = SSL_get0_param(tls->ssl);
    if (tls->context->name != NULL)
        name = tg_str_c(tls->context->name);
    if (name.n > 0 && tg_addr_parse_ip(name, &addr) != TG_OK) {
        return tg_tls_keep_name(tls->facts, name) == TG_OK && tls->facts->sni.p != NULL &&
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
    struct tg_tls *tls = new_tls(context, shared, worker);
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
        shared != NULL ? tg_tls_shared_get(shared, session_key(tls, room), tg_tls_now(tls)) : NULL;
    if (session != NULL)
        SSL_set_session(tls->ssl, session); /* where that fails, the handshake is a full one */
    SSL_SESSION_free(session);
    return &tls->transport;
}
