/* client_hello.h: what a ClientHello says, and the fingerprint JA4 that follows from it, such as
 * t13d1516h2_8daaf6152771_e5627efa2ab1:
 *
 *   t13           over TCP; the highest version offered
 *   d             a server name is there; i: none
 *   15 16         how many cipher suites and extensions
 *   h2            first and last character of the first protocol of ALPN; 00: none
 *   8daaf6152771  SHA-256 of the cipher suites (sorted), 12 digits
 *   e5627efa2ab1  SHA-256 of extensions (sorted) and signature algorithms, 12 digits
 *
 * It is read from the message itself: OpenSSL does not tell of extensions that it does not know,
 * and those are what tells clients apart. GREASE values (RFC 8701) count for nothing. Lists are cut
 * at TG_CLIENT_HELLO_LIST entries; a client that sends more is fingerprinted by those. Pure.
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

/* Reads a message of a handshake, with its head of four bytes. False: it is no ClientHello. A list
 * that breaks off counts as empty: OpenSSL, which reads it too, refuses such a hello. */
bool tg_client_hello_read(const unsigned char *message, size_t n,
                          struct tg_client_hello *out) TG_MUST_USE;

/* Writes the fingerprint, terminated. Sorts the lists. */
void tg_client_hello_ja4(struct tg_client_hello *hello, char out[TG_TLS_JA4_MAX]);

#endif
