/* tls_internal.h: what the files of TLS share; nobody else includes it. */
#ifndef TG_NET_TLS_INTERNAL_H
#define TG_NET_TLS_INTERNAL_H

#include "net/tls_context.h"

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

/* The set of `name` in lower case; NULL: none. */
SSL_CTX *tg_tls_context_find(const struct tg_tls_context *context, struct tg_str name);

/* tls_conn.c: the callbacks of a handshake, which a new SSL_CTX is given. */
void tg_tls_hook_server(SSL_CTX *ctx, struct tg_tls_context *context);
void tg_tls_hook_client(SSL_CTX *ctx);

#endif
