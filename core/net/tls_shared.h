/* tls_shared.h: what TLS connections of all workers share, and what outlives a reload.
 *
 *   ticket keys   encrypt the sessions that clients keep (RFC 5077, RFC 8446 4.6.1). The newest
 *                 encrypts; it and two older ones decrypt. A key is made anew every half of the
 *                 tickets' life, by whoever needs one then, so a stolen key opens a bounded past.
 *   sessions      those that origins gave us, by settings and address: a bounded map, so that a
 *                 worker resumes what another began.
 *
 * Threads: all functions, any thread; a lock each, held for well under a microsecond.
 */
#ifndef TG_NET_TLS_SHARED_H
#define TG_NET_TLS_SHARED_H

#include "base/err.h"
#include "base/str.h"

#include <openssl/ssl.h>

struct tg_tls_shared;

/* NULL: no memory, or no randomness. */
struct tg_tls_shared *tg_tls_shared_new(void) TG_MUST_USE;
void tg_tls_shared_free(struct tg_tls_shared **shared);

/* The body of OpenSSL's callback for ticket keys: `life` (us) of a ticket, `now` (us, mono). */
int tg_tls_shared_ticket(struct tg_tls_shared *shared, uint64_t life, uint64_t now,
                         unsigned char name[16], unsigned char iv[16], EVP_CIPHER_CTX *cipher,
                         EVP_MAC_CTX *mac, int encrypts);

/* Keeps `session` (taken over) under `key`, in place of an older one. */
void tg_tls_shared_put(struct tg_tls_shared *shared, struct tg_str key, SSL_SESSION *session,
                       uint64_t now);

/* The session under `key`, a reference of the caller's; NULL: none. */
SSL_SESSION *tg_tls_shared_get(struct tg_tls_shared *shared, struct tg_str key, uint64_t now);

#endif
