/* client_hello.h: what a ClientHello says, and the fingerprint JA4 that follows from it.
 *
 *     t13d1516h2_8daaf6152771_b186095e22b6
 *     |  |  |  |  |            +-- SHA-256 of extensions (sorted) and signature algorithms, 12
 * digits |  |  |  |  +--------------- SHA-256 of cipher suites (sorted), 12 digits |  |  |
 * +------------------ first and last character of the first protocol of ALPN; 00: none |  |
 * +--------------------- how many cipher suites and extensions |  +------------------------ d: a
 * server name is there; i: none
 *     +--------------------------- t: over TCP; highest version offered
 *
 * GREASE values (RFC 8701) count for nothing. Lists are cut at TG_CLIENT_HELLO_LIST entries; a
 * client that sends more is fingerprinted by those. Pure but for tg_client_hello_read().
 */
#ifndef TG_NET_CLIENT_HELLO_H
#define TG_NET_CLIENT_HELLO_H

#include "base/str.h"
#include "net/tls_context.h"

#define TG_CLIENT_HELLO_LIST 128

struct tg_client_hello {
    uint16_t version; /* the highest offered */
    bool has_name;
    uint16_t ciphers[TG_CLIENT_HELLO_LIST];
    size_t cipher_count;
    uint16_t extensions[TG_CLIENT_HELLO_LIST];
    size_t extension_count;
    uint16_t signatures[TG_CLIENT_HELLO_LIST]; /* in the client's order */
    size_t signature_count;
    char alpn[2]; /* "h2" of "h2", "h1" of "http/1.1", "00" */
};

/* The host name in the body of a server_name extension (RFC 6066, 3); empty: none, or malformed. */
struct tg_str tg_client_hello_name(const unsigned char *p, size_t n);

/* Reads it out of OpenSSL, in its callback for the ClientHello. */
void tg_client_hello_read(SSL *ssl, struct tg_client_hello *out);

/* Writes the fingerprint, terminated. Sorts the lists. */
void tg_client_hello_ja4(struct tg_client_hello *hello, char out[TG_TLS_JA4_MAX]);

#endif
