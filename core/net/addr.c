/* addr.c: parsing and printing through inet_pton and inet_ntop. */
#include "base/banned.h"
#include "net/addr.h"

#include "base/assert.h"
#include "base/fmt.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/un.h>

#define MAPPED_BITS 96 /* in front of an IPv4 address that is written as IPv6 */

/* ---- Unix sockets ------------------------------------------------------------------------------
 */

static struct {
    pthread_mutex_t lock;
    char *v[TG_ADDR_PATHS_MAX]; /* owned, for good */
    uint32_t n;
} paths = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Who has a number has it from who made it, so the path is there for any thread. */
static const char *path_of(const struct tg_addr *addr)
{
    return paths.v[addr->u.local.path];
}

/* A terminated copy, because inet_pton wants one; false when too long to be an address. */
static bool terminated(struct tg_str s, char room[TG_ADDR_TEXT_MAX])
{
    if (s.n == 0 || s.n >= TG_ADDR_TEXT_MAX || memchr(s.p, '\0', s.n) != NULL)
        return false;
    memcpy(room, s.p, s.n);
    room[s.n] = '\0';
    return true;
}

static bool parse_port(struct tg_str s, uint16_t *out)
{
    uint64_t port;
    if (s.n > 5 || !tg_str_to_u64(s, &port) || port > 65535)
        return false;
    *out = (uint16_t)port;
    return true;
}

static void set_v4(struct tg_addr *out, struct in_addr ip, uint16_t port)
{
    *out = (struct tg_addr){.len = sizeof(out->u.v4)};
    out->u.v4.sin_family = AF_INET;
    out->u.v4.sin_addr = ip;
    out->u.v4.sin_port = htons(port);
}

static void set_v6(struct tg_addr *out, const struct in6_addr *ip, uint16_t port)
{
    if (IN6_IS_ADDR_V4MAPPED(ip)) {
        struct in_addr v4;
        memcpy(&v4, &ip->s6_addr[12], sizeof(v4));
        set_v4(out, v4, port);
        return;
    }
    *out = (struct tg_addr){.len = sizeof(out->u.v6)};
    out->u.v6.sin6_family = AF_INET6;
    out->u.v6.sin6_addr = *ip;
    out->u.v6.sin6_port = htons(port);
}

static enum tg_err parse_host(struct tg_str host, uint16_t port, struct tg_addr *out)
{
    char text[TG_ADDR_TEXT_MAX];
    struct in_addr v4;
    struct in6_addr v6;
    bool brackets = host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';
    if (brackets)
        host = tg_str_sub(host, 1, host.n - 1);
    if (!terminated(host, text))
        return TG_E_INVALID;
    if (!brackets && inet_pton(AF_INET, text, &v4) == 1)
        set_v4(out, v4, port);
    else if (inet_pton(AF_INET6, text, &v6) == 1)
        set_v6(out, &v6, port);
    else
        return TG_E_INVALID;
    return TG_OK;
}

enum tg_err tg_addr_parse(struct tg_str text, struct tg_addr *out)
{
    uint16_t port;
    size_t colon = text.n;
    while (colon > 0 && text.p[colon - 1] != ':')
        colon--;
    if (colon == 0 || !parse_port(tg_str_sub(text, colon, text.n), &port))
        return TG_E_INVALID;
    struct tg_str host = tg_str_sub(text, 0, colon - 1);
    bool bare_v6 = host.n > 0 && host.p[0] != '[' && tg_str_find(host, ':', 0) < host.n;
    return bare_v6 ? TG_E_INVALID : parse_host(host, port, out);
}

enum tg_err tg_addr_parse_ip(struct tg_str text, struct tg_addr *out)
{
    return parse_host(text, 0, out);
}

void tg_addr_from_sockaddr(const struct sockaddr *sa, socklen_t len, struct tg_addr *out)
{
    *out = (struct tg_addr){0};
    if (sa->sa_family == AF_INET && len >= sizeof(struct sockaddr_in)) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof(in));
        set_v4(out, in.sin_addr, ntohs(in.sin_port));
    } else if (sa->sa_family == AF_INET6 && len >= sizeof(struct sockaddr_in6)) {
        struct sockaddr_in6 in6;
        memcpy(&in6, sa, sizeof(in6));
        set_v6(out, &in6.sin6_addr, ntohs(in6.sin6_port));
        if (out->len == sizeof(out->u.v6))
            out->u.v6.sin6_scope_id = in6.sin6_scope_id;
    }
}

/* inet_ntop() goes through sprintf(); this is on the way of every request. */
static struct tg_str ipv4_text(const struct tg_addr *addr, char room[TG_ADDR_TEXT_MAX])
{
    size_t size;
    const unsigned char *ip = tg_addr_ip_bytes(addr, &size);
    char *at = room;
    for (size_t i = 0; i < 4; i++) {
        unsigned byte = ip[i];
        if (byte >= 100)
            *at++ = (char)('0' + byte / 100);
        if (byte >= 10)
            *at++ = (char)('0' + byte / 10 % 10);
        *at++ = (char)('0' + byte % 10);
        *at++ = '.';
    }
    *--at = '\0'; /* instead of the last dot */
    return tg_str(room, (size_t)(at - room));
}

struct tg_str tg_addr_ip_text(const struct tg_addr *addr, char room[TG_ADDR_TEXT_MAX])
{
    if (addr->len > 0 && addr->u.any.sa_family == AF_INET)
        return ipv4_text(addr, room);
    room[0] = '\0';
    if (addr->len > 0 && !tg_addr_is_unix(addr))
        tg_assert(inet_ntop(AF_INET6, &addr->u.v6.sin6_addr, room, TG_ADDR_TEXT_MAX) != NULL);
    return tg_str_c(room);
}

struct tg_str tg_addr_text(const struct tg_addr *addr, char room[TG_ADDR_TEXT_MAX])
{
    char ip[TG_ADDR_TEXT_MAX];
    bool v6 = addr->u.any.sa_family == AF_INET6;
    struct tg_fmt f;
    tg_fmt_init(&f, room, TG_ADDR_TEXT_MAX);
    if (tg_addr_is_unix(addr)) {
        tg_fmt_lit(&f, "unix:");
        tg_fmt_add(&f, tg_str_c(path_of(addr)));
        tg_fmt_char(&f, '\0');
        return tg_str(room, f.n - 1);
    }
    tg_fmt_add(&f, v6 ? TG_STR("[") : TG_STR(""));
    tg_fmt_add(&f, tg_addr_ip_text(addr, ip));
    tg_fmt_add(&f, v6 ? TG_STR("]:") : TG_STR(":"));
    tg_fmt_u64(&f, tg_addr_port(addr));
    tg_fmt_char(&f, '\0');
    tg_assert(!f.failed);
    return tg_str(room, f.n - 1);
}

uint16_t tg_addr_port(const struct tg_addr *addr)
{
    if (addr->len == 0 || tg_addr_is_unix(addr))
        return 0;
    return ntohs(addr->u.any.sa_family == AF_INET6 ? addr->u.v6.sin6_port : addr->u.v4.sin_port);
}

const unsigned char *tg_addr_ip_bytes(const struct tg_addr *addr, size_t *size)
{
    bool v6 = addr->u.any.sa_family == AF_INET6;
    *size = addr->len == 0 || tg_addr_is_unix(addr) ? 0 : v6 ? 16 : 4;
    return v6 ? addr->u.v6.sin6_addr.s6_addr : (const unsigned char *)&addr->u.v4.sin_addr;
}

/* With the lock. */
static enum tg_err find_path(struct tg_str path, uint16_t *out)
{
    for (uint32_t i = 0; i < paths.n; i++) {
        if (tg_str_eq(tg_str_c(paths.v[i]), path)) {
            *out = (uint16_t)i;
            return TG_OK;
        }
    }
    if (paths.n == TG_ADDR_PATHS_MAX)
        return TG_E_LIMIT;
    char *copy = tg_mem_strndup(TG_MEM_CONFIG, path.p, path.n);
    if (copy == NULL)
        return TG_E_NOMEM;
    paths.v[paths.n] = copy;
    *out = (uint16_t)paths.n++;
    return TG_OK;
}

enum tg_err tg_addr_from_path(struct tg_str path, struct tg_addr *out)
{
    uint16_t number;
    tg_assert(path.n > 0 && path.n <= TG_ADDR_PATH_MAX);
    pthread_mutex_lock(&paths.lock);
    enum tg_err err = find_path(path, &number);
    pthread_mutex_unlock(&paths.lock);
    *out = (struct tg_addr){0};
    if (err != TG_OK)
        return err;
    out->len = sizeof(out->u.local);
    out->u.local = (struct tg_addr_unix){AF_UNIX, number};
    return TG_OK;
}

const struct sockaddr *tg_addr_sockaddr(const struct tg_addr *addr, struct sockaddr_un *room,
                                        socklen_t *len)
{
    *len = addr->len;
    if (!tg_addr_is_unix(addr))
        return &addr->u.any;
    *room = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(room->sun_path, path_of(addr), strlen(path_of(addr)) + 1);
    *len = sizeof(*room);
    return (const struct sockaddr *)room;
}

bool tg_addr_eq(const struct tg_addr *a, const struct tg_addr *b)
{
    if (tg_addr_is_unix(a) || tg_addr_is_unix(b))
        return tg_addr_is_unix(a) && tg_addr_is_unix(b) && a->u.local.path == b->u.local.path;
    size_t na;
    size_t nb;
    const unsigned char *ia = tg_addr_ip_bytes(a, &na);
    const unsigned char *ib = tg_addr_ip_bytes(b, &nb);
    return na == nb && tg_addr_port(a) == tg_addr_port(b) && memcmp(ia, ib, na) == 0;
}

/* True when the first `bits` bits of both agree. */
static bool same_bits(const unsigned char *a, const unsigned char *b, unsigned bits)
{
    unsigned whole = bits / 8;
    unsigned char mask = (unsigned char)(0xff00u >> (bits % 8));
    if (memcmp(a, b, whole) != 0)
        return false;
    return bits % 8 == 0 || ((a[whole] ^ b[whole]) & mask) == 0;
}

enum tg_err tg_cidr_parse(struct tg_str text, struct tg_cidr *out)
{
    size_t slash = tg_str_find(text, '/', 0);
    struct tg_addr addr;
    uint64_t bits;
    size_t size;
    if (tg_addr_parse_ip(tg_str_sub(text, 0, slash), &addr) != TG_OK)
        return TG_E_INVALID;
    const unsigned char *ip = tg_addr_ip_bytes(&addr, &size);
    *out = (struct tg_cidr){.size = (uint8_t)size, .bits = (uint8_t)(size * 8)};
    memcpy(out->bytes, ip, size);
    if (slash == text.n)
        return TG_OK;
    struct tg_str digits = tg_str_sub(text, slash + 1, text.n);
    bool mapped = size == 4 && tg_str_find(text, ':', 0) < text.n;
    if (digits.n > 3 || !tg_str_to_u64(digits, &bits) || bits > (mapped ? 128 : size * 8))
        return TG_E_INVALID;
    if (mapped && bits < MAPPED_BITS)
        return TG_E_INVALID; /* neither a network of IPv4 nor one that an address could be in */
    if (mapped)
        bits -= MAPPED_BITS;
    out->bits = (uint8_t)bits;
    for (size_t i = bits; i < size * 8; i++) {
        if (out->bytes[i / 8] & (0x80u >> (i % 8)))
            return TG_E_INVALID;
    }
    return TG_OK;
}

bool tg_cidr_contains(const struct tg_cidr *net, const struct tg_addr *addr)
{
    size_t size;
    const unsigned char *ip = tg_addr_ip_bytes(addr, &size);
    return size == net->size && same_bits(ip, net->bytes, net->bits);
}
