/* tls_leaf.h: one certificate of a listener: what people want to know of it, and the OCSP response
 * that is stapled to handshakes which show it (RFC 6066, 8).
 *
 * A leaf belongs to its context and is frozen with it, but for the staple, which whoever keeps it
 * fresh replaces at any time. A handshake copies what is there and never waits for it to come.
 *
 * Threads: the staple, any, under a lock that is held for a copy of some KiB; the rest, any.
 */
#ifndef TG_NET_TLS_LEAF_H
#define TG_NET_TLS_LEAF_H

#include "net/tls_pem.h"

#include <pthread.h>

struct tg_tls_leaf {
    char *name;             /* the first that it is for; owned */
    const char *kind;       /* of its key: "ECDSA" */
    int64_t not_after;      /* seconds since 1970 */
    bool must_staple;       /* it says that a handshake without a staple is none (RFC 7633) */
    bool staples;           /* the configuration wants a staple */
    char *url;              /* of who gives it; owned. NULL: nobody is known */
    X509 *cert;             /* owned */
    EVP_PKEY *key;          /* owned */
    STACK_OF(X509) * chain; /* behind it; owned */

    /* private */
    pthread_mutex_t lock;
    unsigned char *der; /* owned; NULL: there is no staple */
    size_t der_n;
    int64_t until; /* seconds since 1970: it is good before that; 0: it does not say */
};

/* What a configuration says of stapling for one certificate; borrowed. */
struct tg_tls_staple_options {
    bool wanted;
    struct tg_str url;      /* in place of the certificate's own; empty: that */
    struct tg_str response; /* DER; empty: it is asked for */
};

/* A leaf of these credentials, whose objects are counted up. TG_E_INVALID with `why`: a response
 * that is not for it, or no way to get one; TG_E_NOMEM. A response whose time is over is taken and
 * never shown: the configuration that it came with may be older than that, and has to go on. */
enum tg_err tg_tls_leaf_init(struct tg_tls_leaf *leaf, const struct tg_tls_credentials *credentials,
                             const struct tg_tls_staple_options *options,
                             struct tg_tls_problem *why) TG_MUST_USE;

/* A zeroed one is fine. */
void tg_tls_leaf_release(struct tg_tls_leaf *leaf);

/* Puts a copy of `der` in the place of the staple, to be shown before `until` (seconds since 1970;
 * 0: for ever). TG_E_NOMEM: the old one stays. */
enum tg_err tg_tls_leaf_staple(struct tg_tls_leaf *leaf, struct tg_str der,
                               int64_t until) TG_MUST_USE;

/* The staple of `from`, if it has one, becomes that of `leaf`, which is for the same certificate.
 */
enum tg_err tg_tls_leaf_inherit(struct tg_tls_leaf *leaf, struct tg_tls_leaf *from) TG_MUST_USE;

/* Whether there is a staple to show at `now` (seconds since 1970). */
bool tg_tls_leaf_is_stapled(struct tg_tls_leaf *leaf, int64_t now);

/* A copy of the staple by OPENSSL_malloc(), the caller's; *n bytes. NULL: none that is good at
 * `now`. */
unsigned char *tg_tls_leaf_copy(struct tg_tls_leaf *leaf, int64_t now, size_t *n);

#endif
