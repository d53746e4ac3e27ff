/* tls_pem.h: certificates and private keys out of PEM text.
 *
 * What a configuration or a plugin gives as text becomes OpenSSL's objects here, checked: readable,
 * of a kind that TLS uses, the key belonging to the certificate. Reasons name what is wrong and
 * never show a byte of a key.
 *
 * Threads: none shared; the objects are OpenSSL's and counted by it.
 */
#ifndef TG_NET_TLS_PEM_H
#define TG_NET_TLS_PEM_H

#include "base/err.h"
#include "base/str.h"

#include <openssl/ssl.h>

#define TG_TLS_REASON_MAX 256 /* room for the words of a failure, with the NUL */

/* A certificate with its chain and key; all owned. */
struct tg_tls_credentials {
    X509 *leaf;
    STACK_OF(X509) * chain; /* what stands behind the leaf in the text; may be empty */
    EVP_PKEY *key;
};

/* Why something was not taken. */
struct tg_tls_problem {
    const char *field;    /* "cert", "key" or "ca": what is to blame; static */
    uint32_t certificate; /* of a listener: which one, from 1; 0: none of them */
    char text[TG_TLS_REASON_MAX];
};

/* Reads `cert` (leaf first, then its chain) and `key`. TG_E_INVALID with `why`; TG_E_NOMEM. */
enum tg_err tg_tls_credentials_read(struct tg_str cert, struct tg_str key,
                                    struct tg_tls_credentials *out,
                                    struct tg_tls_problem *why) TG_MUST_USE;

/* Frees what it holds; it is empty then. */
void tg_tls_credentials_release(struct tg_tls_credentials *credentials);

/* All certificates of `text`, at least one; freed by sk_X509_pop_free(*out, X509_free). */
enum tg_err tg_tls_certificates_read(struct tg_str text, STACK_OF(X509) * *out,
                                     struct tg_tls_problem *why) TG_MUST_USE;

/* "RSA", "ECDSA", "Ed25519" or "other": of which a name takes one certificate each; static. */
const char *tg_tls_key_kind(const X509 *leaf);

/* Seconds since 1970 at which the certificate ends. */
int64_t tg_tls_not_after(const X509 *leaf);

/* Calls take(arg, name) for each DNS name of the certificate, its common name where it has none. */
void tg_tls_names(const X509 *leaf, void (*take)(void *arg, struct tg_str name), void *arg);

#endif
