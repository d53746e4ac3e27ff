/* tls_internal.h: what the files of TLS share; nobody else includes it. */
#ifndef TG_NET_TLS_INTERNAL_H
#define TG_NET_TLS_INTERNAL_H

#include "base/assert.h"
#include "event/worker.h"
#include "net/tls_conn.h"

#define TG_TLS_MAGIC    0x7150c0deu
#define TG_TLS_NAME_MAX 255 /* bytes of a host's name */

/* A name and the set that serves it. */
struct tg_tls_host {
    char *name;   /* lower case, "*.a.test" as it is; owned */
    SSL_CTX *set; /* borrowed from the context's sets */
};

struct tg_tls_context {
    _Atomic uint32_t refs;
    bool is_server;
    SSL_CTX *main; /* what connections begin with; of a server: borrowed, the first certificate's */

    /* of a server */
    SSL_CTX **sets; /* owned */
    uint32_t set_count;
    struct tg_tls_leaf *leaves; /* by certificate; owned */
    uint32_t leaf_count;
    struct tg_tls_host *hosts; /* sorted by name */
    uint32_t host_count;
    unsigned char session_name[32]; /* of its sessions: they are resumed under no other */
    bool reject_unknown;
    enum tg_tls_client_auth client_auth;
    bool tickets;
    uint64_t ticket_life;
    bool fingerprint;
    bool asks_plugins;
    bool http2;

    /* of a client */
    uint64_t id;
    bool verify;
    char *name; /* owned; NULL: the target's */
    unsigned char (*pins)[32];
    uint32_t pin_count;
};

/* A connection's TLS: owned by its connection, led by tls_conn.c; of a server, tls_hello.c says
 * what it answers to a ClientHello. */
struct tg_tls {
    struct tg_transport transport;
    uint32_t magic;
    SSL *ssl;
    struct tg_tls_context *context; /* one reference */
    struct tg_tls_shared *shared;   /* borrowed; NULL: nothing is resumed */
    struct tg_worker *worker;
    const struct tg_tls_hooks *hooks;
    struct tg_tls_facts *facts;
    struct tg_addr addr; /* of an origin */
    X509_STORE *asked;   /* whom a plugin trusts to sign the client's certificate; owned, or NULL */
    enum tg_err raw;     /* what the socket last said */
    enum tg_err ended;   /* how reading came to its end; TG_OK: it goes on */
    const char *problem;
    uint32_t empty; /* records since the handshake, or since the last that held data */
    bool done;      /* the handshake is over */
    bool reading;   /* SSL_read() is at work */
    bool spoke;     /* this step of the handshake has queued something */
    bool heard;     /* the ClientHello was read */
    bool chosen;    /* a plugin chose the certificate */
    bool got_http;
    bool over;   /* failed: nothing may be said any more */
    bool parted; /* the peer said goodbye, and may be waiting for ours */
};

static inline struct tg_tls *tg_tls_of(const struct tg_transport *t)
{
    struct tg_tls *tls = TG_CONTAINER_OF(t, struct tg_tls, transport);
    tg_magic_check(tls, TG_TLS_MAGIC);
    return tls;
}

static inline uint64_t tg_tls_now(const struct tg_tls *tls)
{
    return tg_loop_now(&tls->worker->loop);
}

/* The name that the peer is asked by, as it will be compared and shown. */
enum tg_err tg_tls_keep_name(struct tg_tls_facts *facts, struct tg_str name) TG_MUST_USE;

/* The set of `name` in lower case; NULL: none. */
SSL_CTX *tg_tls_context_find(const struct tg_tls_context *context, struct tg_str name);

/* TG_E_INVALID: a certificate whose key or signature is no good any more. */
enum tg_err tg_tls_refuse_weak(struct tg_tls_problem *why) TG_MUST_USE;

/* The SHA-256 of these pieces, each behind its length; false: no memory. */
bool tg_tls_digest(const struct tg_str *pieces, size_t count, unsigned char out[32]) TG_MUST_USE;

/* For SSL_set_verify(): what is wrong with a client's certificate is noted, and it may go on. */
int tg_tls_pass_anybody(int verified, X509_STORE_CTX *store);

/* The callbacks of a new SSL_CTX: those of both sides and those of a client (tls_conn.c), and those
 * of a server (tls_hello.c). */
void tg_tls_hook(SSL_CTX *ctx);
void tg_tls_hook_client(SSL_CTX *ctx);
void tg_tls_hook_server(SSL_CTX *ctx, struct tg_tls_context *context);

/* tls_hello.c: a message of the client's handshake, before OpenSSL looks at it. */
void tg_tls_hear(struct tg_tls *tls, const unsigned char *message, size_t n);

#endif
