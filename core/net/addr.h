/* addr.h: socket addresses and networks.
 *
 * An address is an IPv4 or IPv6 endpoint in the form the kernel takes, or a unix socket by its
 * path, which stands in it as a number: paths come from configurations, are few, and are kept for
 * the life of the process. IPv4-mapped IPv6 addresses (RFC 4291, 2.5.5.2) are turned into IPv4 on
 * the way in, so one client has one spelling. Plain values: copied freely, nothing to release. Text
 * forms follow RFC 5952 for IPv6.
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
        struct tg_addr_unix {
            sa_family_t family;
            uint16_t path; /* its number: each path has one */
        } local;
    } u;
    socklen_t len; /* 0: no address */
};

/* A network: an address and how many leading bits count. */
struct tg_cidr {
    unsigned char bytes[16];
    uint8_t size; /* 4 or 16 */
    uint8_t bits; /* 0..32 or 0..128 */
};

/* Bytes that the kernel has for the path of a unix socket. */
#define TG_ADDR_PATH_MAX 107u

/* Room for "unix:" with a path, or "[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535", and a
 * NUL.
 */
#define TG_ADDR_TEXT_MAX 128

/* Parses "127.0.0.1:8080" or "[::1]:8080"; TG_E_INVALID for anything else, names included. */
enum tg_err tg_addr_parse(struct tg_str text, struct tg_addr *out) TG_MUST_USE;

/* Parses a bare IP address, with or without brackets for IPv6; the port is 0. */
enum tg_err tg_addr_parse_ip(struct tg_str text, struct tg_addr *out) TG_MUST_USE;

/* The unix socket of that path (1 to TG_ADDR_PATH_MAX bytes, copied). TG_E_NOMEM; TG_E_LIMIT: there
 * were TG_ADDR_PATHS_MAX already. Any thread. */
#define TG_ADDR_PATHS_MAX 4096u
enum tg_err tg_addr_from_path(struct tg_str path, struct tg_addr *out) TG_MUST_USE;

static inline bool tg_addr_is_unix(const struct tg_addr *addr)
{
    return addr->len > 0 && addr->u.any.sa_family == AF_UNIX;
}

/* What connect() takes: `addr` itself, or for a unix socket what is written into `room`. */
struct sockaddr_un;
const struct sockaddr *tg_addr_sockaddr(const struct tg_addr *addr, struct sockaddr_un *room,
                                        socklen_t *len);

/* From what accept() or getpeername() gave. */
void tg_addr_from_sockaddr(const struct sockaddr *sa, socklen_t len, struct tg_addr *out);

/* Writes "ip:port", "[ip]:port" or "unix:path" / the bare IP (empty for a unix socket); returns the
 * slice of `room`, terminated. */
struct tg_str tg_addr_text(const struct tg_addr *addr, char room[TG_ADDR_TEXT_MAX]);
struct tg_str tg_addr_ip_text(const struct tg_addr *addr, char room[TG_ADDR_TEXT_MAX]);

uint16_t tg_addr_port(const struct tg_addr *addr);

/* The 4 or 16 bytes of the IP address, borrowed from `addr`; `*size` tells how many: 0 for none,
 * and for a unix socket. */
const unsigned char *tg_addr_ip_bytes(const struct tg_addr *addr, size_t *size);

bool tg_addr_eq(const struct tg_addr *a, const struct tg_addr *b);

/* Parses "10.0.0.0/8", "fd00::/8" or a bare address (all bits count). Bits past the length must be
 * zero: "10.0.0.1/8" is TG_E_INVALID. "::ffff:10.0.0.0/104" is 10.0.0.0/8. */
enum tg_err tg_cidr_parse(struct tg_str text, struct tg_cidr *out) TG_MUST_USE;

bool tg_cidr_contains(const struct tg_cidr *net, const struct tg_addr *addr);

#endif
