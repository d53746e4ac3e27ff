/* tls_context.h: what connections of one listener, or to one service, agree to: certificates,
 * versions, who is trusted.
 *
 * Built with the snapshot, by the thread that reads the configuration; never changes afterwards, is
 * shared by all workers and counted: the snapshot holds a reference, and each connection one.
 *
 * A listener's certificates stand in sets: all those of the same names, one of each kind of key, so
 * that a client gets ECDSA where it can and RSA where it must. A name finds its set exactly first,
 * then by the longest wildcard ("*.a.test" takes names of any depth below a.test), else the set of
 * the first certificate, or the handshake ends with unrecognized_name.
 *
 * Threads: building, one; everything else, any.
 */
#ifndef TG_NET_TLS_CONTEXT_H
#define TG_NET_TLS_CONTEXT_H

#include "net/tls_leaf.h"

/* modern: TLS 1.3 alone. intermediate: TLS 1.2 too, with forward secrecy and AEAD. */
enum tg_tls_profile { TG_TLS_MODERN, TG_TLS_INTERMEDIATE };

/* Whether clients show a certificate. OPTIONAL lets those pass who show none, and those whose
 * certificate is not trusted, as such. */
enum tg_tls_client_auth { TG_TLS_AUTH_NONE, TG_TLS_AUTH_OPTIONAL, TG_TLS_AUTH_REQUIRED };

struct tg_tls_certificate {
    const struct tg_str *hosts; /* none: the names in the certificate */
    uint32_t host_count;
    struct tg_str cert, key; /* PEM */
    struct tg_tls_staple_options staple;
};

/* All borrowed for the call. */
struct tg_tls_server_options {
    struct tg_str name; /* of the listener: sessions of one are not resumed on another */
    enum tg_tls_profile profile;
    int min_version; /* TLS1_2_VERSION or TLS1_3_VERSION; 0: the profile's */
    const struct tg_tls_certificate *certificates;
    uint32_t certificate_count;
    bool reject_unknown; /* names without a certificate: unrecognized_name */
    enum tg_tls_client_auth client_auth;
    struct tg_str ca; /* PEM; who signs clients' certificates */
    bool tickets;
    uint64_t ticket_life; /* us */
    uint32_t sessions;    /* kept for clients without tickets */
    bool fingerprint;     /* JA4 is computed */
    bool asks_plugins;    /* the certificate phase runs */
    bool http2;           /* is offered beside HTTP/1.1 */
};

struct tg_tls_client_options {
    bool verify;
    struct tg_str ca;        /* PEM; empty: the system's roots */
    struct tg_str name;      /* SNI, and what the certificate must be for; empty: the target's */
    struct tg_str cert, key; /* PEM, our own; empty: none */
    const unsigned char (*pins)[32]; /* SHA-256 of accepted public keys (SPKI) */
    uint32_t pin_count;
    int min_version; /* as above; 0: TLS 1.2 */
};

struct tg_tls_context;

/* TG_E_INVALID with `why`; TG_E_NOMEM. One reference, the caller's. */
enum tg_err tg_tls_server_new(const struct tg_tls_server_options *options,
                              struct tg_tls_context **out, struct tg_tls_problem *why) TG_MUST_USE;
enum tg_err tg_tls_client_new(const struct tg_tls_client_options *options,
                              struct tg_tls_context **out, struct tg_tls_problem *why) TG_MUST_USE;

struct tg_tls_context *tg_tls_context_ref(struct tg_tls_context *context);

/* Drops the caller's reference (NULL is fine) and nulls it. */
void tg_tls_context_unref(struct tg_tls_context **context);

/* Of a server context: its certificates, in the order of the options, as long as it lives. */
uint32_t tg_tls_context_leaves(struct tg_tls_context *context, struct tg_tls_leaf **out);

/* Of a client context: equal for equal options, across reloads and processes; never 0. */
uint64_t tg_tls_context_id(const struct tg_tls_context *context);

/* Room for a JA4 fingerprint and its NUL. */
#define TG_TLS_JA4_MAX 40

#endif
