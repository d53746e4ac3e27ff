/* ocsp.h: questions to and answers of an OCSP responder (RFC 6960), by OpenSSL.
 *
 * Pure: bytes in, bytes out. Whoever is trusted to issue the certificate, or to answer for its
 * issuer, signs an answer; it is good when it says so of this very certificate, at this time.
 *
 * Threads: none shared.
 */
#ifndef TG_NET_OCSP_H
#define TG_NET_OCSP_H

#include "net/tls_pem.h"

#define TG_OCSP_MAX 32768 /* bytes of an answer */

/* What an answer says. */
struct tg_ocsp_answer {
    int64_t since; /* seconds since 1970 */
    int64_t until; /* 0: it does not say */
    bool over;     /* it was good, and is refused because its time is over */
};

/* The question whether `cert`, issued by `issuer`, is good: DER by OPENSSL_malloc(), the caller's.
 * NULL: no memory. */
unsigned char *tg_ocsp_question(X509 *cert, X509 *issuer, size_t *n);

/* Checks the answer `der`, at most TG_OCSP_MAX bytes, of a responder that the issuer, which is the
 * first of `chain`, or a certificate of the issuer's answers for. TG_OK: good, *out tells for how
 * long. TG_E_INVALID: anything else, and `why` tells what; *out is set then too. */
enum tg_err tg_ocsp_check(struct tg_str der, X509 *cert, STACK_OF(X509) * chain,
                          struct tg_ocsp_answer *out, char why[TG_TLS_REASON_MAX]) TG_MUST_USE;

/* Where the certificate says that it may be asked for, by HTTP: a copy by tg_mem (TG_MEM_CONFIG).
 * NULL: it does not, or no memory. */
char *tg_ocsp_url(X509 *cert);

#endif
