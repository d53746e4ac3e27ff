/* proxy_header.h: the PROXY protocol, versions 1 and 2: a load balancer's word on who the client
 * is, in front of what the client says.
 *
 *   v1   "PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\r\n", at most 107 bytes
 *   v2   12 bytes of signature, version and command, family, length, addresses, extensions
 *
 * Both are read strictly; what is no header is an error, since a port that expects one must not
 * guess. LOCAL (v2) and UNKNOWN (v1) say nothing of a client: the connection's own addresses count.
 * Extensions of v2 are skipped.
 *
 * Pure: bytes in, values out. Cost: one look at each byte.
 */
#ifndef TG_NET_PROXY_HEADER_H
#define TG_NET_PROXY_HEADER_H

#include "base/err.h"
#include "net/addr.h"

/* Longest header taken: the addresses of v2 with some 300 bytes of extensions. */
#define TG_PROXY_HEADER_MAX 536

struct tg_proxy_header {
    size_t size;           /* bytes that it takes */
    struct tg_addr client; /* len 0: it tells of none */
    struct tg_addr local;
};

/* Reads the header that begins at `p`. TG_OK; TG_E_AGAIN: it is not whole, and nothing is wrong so
 * far; TG_E_PROTOCOL: this is none; TG_E_LIMIT: longer than TG_PROXY_HEADER_MAX. */
enum tg_err tg_proxy_header_read(const char *p, size_t n, struct tg_proxy_header *out) TG_MUST_USE;

/* Writes a header that tells of `client` and `local`, of version 1 or 2, into `room`; the number of
 * bytes. Addresses of different families, or none, make it UNKNOWN or LOCAL. */
size_t tg_proxy_header_write(char room[TG_PROXY_HEADER_MAX], int version,
                             const struct tg_addr *client, const struct tg_addr *local);

#endif
