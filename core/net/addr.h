/* addr.h: socket addresses and networks.
 *
 * An address is an IPv4 or IPv6 endpoint in the form the kernel takes. IPv4-mapped IPv6 addresses
 * (RFC 4291, 2.5.5.2) are turned into IPv4 on the way in, so one client has one spelling.
 * Plain values: copied freely, nothing to release. Text forms follow RFC 5952 for IPv6.
 */
#ifndef TG_NET_ADDR_H
#define TG_NET_ADDR_H

#include "base/err.h"
#include "base/str.h"

#include <netinet/in.h>
#include <sys/socket.h>

struct tg_addr {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } u;
    socklen_t len; /* 0: no address */
};

/* A network: an address and how many leading bits count. */
struct tg_cidr {
    unsigned char bytes[16];
    uint8_t size; /* 4 or 16 */
    uint8_t bits; /* 0..32 or 0..128 */
};

/* Room for "[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535" and a NUL. */
#define TG_ADDR_TEXT_MAX 64

/* Parses "127.0.0.1:8080" or "[::1]:8080"; TG_E_INVALID for anything else, names included. */
enum tg_err tg_addr_parse(struct tg_str text, struct tg_addr *out) TG_MUST_USE;

/* Parses a bare IP address, with or without brackets for IPv6; the port is 0. */
enum tg_err tg_addr_parse_ip(struct tg_str text, struct tg_addr *out) TG_MUST_USE;

/* From what accept() or getpeername() gave. */
void tg_addr_from_sockaddr(const struct sockaddr *sa, socklen_t len, struct tg_addr *out);

/* Writes "ip:port" or "[ip]:port" / the bare IP; returns the slice of `room`, terminated. */
struct tg_str tg_addr_text(const struct tg_addr *addr, char room[TG_ADDR_TEXT_MAX]);
struct tg_str tg_addr_ip_text(const struct tg_addr *addr, char room[TG_ADDR_TEXT_MAX]);

uint16_t tg_addr_port(const struct tg_addr *addr);

/* The 4 or 16 bytes of the IP address, borrowed from `addr`; `*size` tells how many. */
const unsigned char *tg_addr_ip_bytes(const struct tg_addr *addr, size_t *size);

bool tg_addr_eq(const struct tg_addr *a, const struct tg_addr *b);

/* Parses "10.0.0.0/8", "fd00::/8" or a bare address (all bits count). Bits past the length must be
 * zero: "10.0.0.1/8" is TG_E_INVALID. "::ffff:10.0.0.0/104" is 10.0.0.0/8. */
enum tg_err tg_cidr_parse(struct tg_str text, struct tg_cidr *out) TG_MUST_USE;

bool tg_cidr_contains(const struct tg_cidr *net, const struct tg_addr *addr);

#endif
