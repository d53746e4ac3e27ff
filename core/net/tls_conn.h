/* tls_conn.h: TLS on a connection: the transport of OpenSSL (see transport.h), both sides of it.
 *
 *     tg_tls_accept / tg_tls_connect -> tg_conn_secure() -> handshake -> on_connected
 *
 * OpenSSL reads and writes through a BIO of ours. What it wants to write never waits inside it: it
 * goes to the socket or into the connection's queue as ciphertext, so a record is encrypted once.
 *
 * A server asks hooks->on_hello for each ClientHello, resumed sessions included, when its context
 * says so. It may let the handshake wait, and take it up again by tg_conn_resume().
 *
 * What was agreed on is a struct tg_tls_facts, counted, so that a request may look at it after its
 * connection went. One thread, the connection's.
 */
#ifndef TG_NET_TLS_CONN_H
#define TG_NET_TLS_CONN_H

#include "base/str.h"
#include "net/addr.h"
#include "net/tls_context.h"
#include "net/tls_shared.h"
#include "net/transport.h"

struct tg_worker;

struct tg_tls_facts {
    uint32_t refs;
    struct tg_str sni;   /* as the client asked, lower case; empty: it did not. Own memory */
    struct tg_str alpn;  /* "h2", "http/1.1"; empty: nothing was agreed on; static */
    const char *version; /* "1.2", "1.3"; NULL before the handshake is over */
    const char *cipher;
    bool resumed;
    bool verified; /* the client's certificate is one that we trust */
    X509 *peer;    /* NULL: it showed none */
    char ja4[TG_TLS_JA4_MAX];
};

struct tg_tls_facts *tg_tls_facts_ref(struct tg_tls_facts *facts);
void tg_tls_facts_unref(struct tg_tls_facts **facts);

enum tg_tls_verdict { TG_TLS_GO_ON, TG_TLS_WAIT, TG_TLS_REFUSE };

/* What a server asks of its owner. */
struct tg_tls_hooks {
    /* The ClientHello is read; what may be changed of the answer is in tls_hello.h. WAIT: asked
     * again after tg_conn_resume(). REFUSE: *alert goes. */
    enum tg_tls_verdict (*on_hello)(void *owner, struct tg_transport *t, int *alert);
    void *owner;
};

/* The transport of an accepted connection; NULL: no memory. `context` gives a reference of its own.
 * `shared` outlives the connection; hooks may be NULL. */
struct tg_transport *tg_tls_accept(struct tg_tls_context *context, struct tg_tls_shared *shared,
                                   struct tg_worker *worker, const struct tg_tls_hooks *hooks);

/* What an origin may pick by ALPN; of both it gets the newer first. */
enum tg_tls_offer { TG_TLS_OFFER_HTTP1, TG_TLS_OFFER_HTTP2, TG_TLS_OFFER_BOTH };

/* The transport of a connection to an origin at `addr`. `name`: what its certificate must be for
 * where the context has no name of its own; empty: the address. `shared` NULL: no resumption. */
struct tg_transport *tg_tls_connect(struct tg_tls_context *context, struct tg_tls_shared *shared,
                                    struct tg_worker *worker, const struct tg_addr *addr,
                                    struct tg_str name, enum tg_tls_offer offer);

/* The facts of a connection's transport, borrowed; NULL where it is no TLS. */
struct tg_tls_facts *tg_tls_facts_of(const struct tg_transport *t);

/* The peer spoke HTTP instead of TLS. */
bool tg_tls_got_http(const struct tg_transport *t);

#endif
