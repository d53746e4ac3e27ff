/* proxy_header.c: see proxy_header.h. */
#include "base/banned.h"
#include "net/proxy_header.h"

#include "base/fmt.h"

#define V1_MAX    107
#define V2_FIXED  16
#define V2_INET   12 /* two addresses, two ports */
#define V2_INET6  36
#define V2_STREAM 1

static const char v1_start[] = "PROXY ";
static const char v2_start[] = "\r\n\r\n\0\r\nQUIT\n";

/* ---- Version 1 ---------------------------------------------------------------------------------
 */

/* The next word, which one space or the end follows; empty: there is none. */
static struct tg_str word(struct tg_str *rest)
{
    size_t space = tg_str_find(*rest, ' ', 0);
    struct tg_str w = tg_str_sub(*rest, 0, space);
    *rest = tg_str_sub(*rest, space + 1, rest->n);
    return w;
}

static bool read_port(struct tg_str text, uint16_t *out)
{
    uint64_t port;
    if (text.n == 0 || text.n > 5 || (text.n > 1 && text.p[0] == '0') ||
        !tg_str_to_u64(text, &port) || port > 65535)
        return false;
    *out = htons((uint16_t)port);
    return true;
}

/* An address as the protocol writes it: "TCP4" has no colons, "TCP6" has, and no brackets. */
static bool read_ip(struct tg_str text, bool v4, struct tg_addr *out)
{
    bool colons = tg_str_find(text, ':', 0) < text.n;
    return colons != v4 && tg_str_find(text, '[', 0) == text.n &&
           tg_addr_parse_ip(text, out) == TG_OK;
}

static void set_port(struct tg_addr *addr, uint16_t port)
{
    if (addr->u.any.sa_family == AF_INET6)
        addr->u.v6.sin6_port = port;
    else /* also an IPv4-mapped one */
        addr->u.v4.sin_port = port;
}

static enum tg_err read_v1_line(struct tg_str line, struct tg_proxy_header *out)
{
    struct tg_str protocol = word(&line);
    uint16_t from_port;
    uint16_t to_port;
    if (tg_str_eq(protocol, TG_STR("UNKNOWN")))
        return TG_OK; /* whatever follows is to be ignored */
    bool v4 = tg_str_eq(protocol, TG_STR("TCP4"));
    if (!v4 && !tg_str_eq(protocol, TG_STR("TCP6")))
        return TG_E_PROTOCOL;
    struct tg_str from = word(&line);
    struct tg_str to = word(&line);
    struct tg_str from_digits = word(&line);
    if (!read_ip(from, v4, &out->client) || !read_ip(to, v4, &out->local) ||
        !read_port(from_digits, &from_port) || !read_port(line, &to_port))
        return TG_E_PROTOCOL;
    set_port(&out->client, from_port);
    set_port(&out->local, to_port);
    return TG_OK;
}

static enum tg_err read_v1(const char *p, size_t n, struct tg_proxy_header *out)
{
    size_t most = TG_MIN(n, (size_t)V1_MAX);
    const char *end = memchr(p, '\n', most);
    if (end == NULL)
        return n >= V1_MAX ? TG_E_PROTOCOL : TG_E_AGAIN;
    if (end[-1] != '\r') /* "PROXY " stands before it */
        return TG_E_PROTOCOL;
    size_t start = sizeof(v1_start) - 1;
    out->size = (size_t)(end - p) + 1;
    return read_v1_line(tg_str(p + start, out->size - start - 2), out);
}

/* ---- Version 2 ---------------------------------------------------------------------------------
 */

static void take_v4(const unsigned char *ip, const unsigned char *port, struct tg_addr *out)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    memcpy(&in.sin_addr, ip, 4);
    memcpy(&in.sin_port, port, 2);
    tg_addr_from_sockaddr((struct sockaddr *)&in, sizeof(in), out);
}

static void take_v6(const unsigned char *ip, const unsigned char *port, struct tg_addr *out)
{
    struct sockaddr_in6 in = {.sin6_family = AF_INET6};
    memcpy(&in.sin6_addr, ip, 16);
    memcpy(&in.sin6_port, port, 2);
    tg_addr_from_sockaddr((struct sockaddr *)&in, sizeof(in), out);
}

static enum tg_err read_v2(const unsigned char *p, size_t n, struct tg_proxy_header *out)
{
    if (n < V2_FIXED)
        return TG_E_AGAIN;
    size_t length = (size_t)p[14] << 8 | p[15];
    unsigned command = p[12] & 15u;
    unsigned family = p[13] >> 4;
    if (p[12] >> 4 != 2 || command > 1 || family > 3 || (p[13] & 15u) > 2)
        return TG_E_PROTOCOL;
    if (V2_FIXED + length > TG_PROXY_HEADER_MAX)
        return TG_E_LIMIT;
    if (n < V2_FIXED + length)
        return TG_E_AGAIN;
    out->size = V2_FIXED + length;
    if (command == 0 || (p[13] & 15u) != V2_STREAM)
        return TG_OK; /* the balancer speaks for itself, or of what is no connection */
    p += V2_FIXED;
    if ((family == 1 && length < V2_INET) || (family == 2 && length < V2_INET6))
        return TG_E_PROTOCOL;
    if (family == 1) {
        take_v4(p, p + 8, &out->client);
        take_v4(p + 4, p + 10, &out->local);
    } else if (family == 2) {
        take_v6(p, p + 32, &out->client);
        take_v6(p + 16, p + 34, &out->local);
    }
    return TG_OK;
}

enum tg_err tg_proxy_header_read(const char *p, size_t n, struct tg_proxy_header *out)
{
    size_t v1 = sizeof(v1_start) - 1;
    size_t v2 = sizeof(v2_start) - 1;
    *out = (struct tg_proxy_header){0};
    if (n > 0 && memcmp(p, v1_start, TG_MIN(n, v1)) == 0)
        return n < v1 ? TG_E_AGAIN : read_v1(p, n, out);
    if (n > 0 && memcmp(p, v2_start, TG_MIN(n, v2)) == 0)
        return n < v2 ? TG_E_AGAIN : read_v2((const unsigned char *)p, n, out);
    return n == 0 ? TG_E_AGAIN : TG_E_PROTOCOL;
}

/* ---- Writing -----------------------------------------------------------------------------------
 */

static bool same_family(const struct tg_addr *a, const struct tg_addr *b)
{
    return a->len > 0 && b->len > 0 && a->u.any.sa_family == b->u.any.sa_family;
}

static void write_v1(struct tg_fmt *f, const struct tg_addr *client, const struct tg_addr *local)
{
    char room[TG_ADDR_TEXT_MAX];
    if (!same_family(client, local)) {
        tg_fmt_lit(f, "PROXY UNKNOWN\r\n");
        return;
    }
    tg_fmt_add(f,
               client->u.any.sa_family == AF_INET ? TG_STR("PROXY TCP4 ") : TG_STR("PROXY TCP6 "));
    tg_fmt_add(f, tg_addr_ip_text(client, room));
    tg_fmt_char(f, ' ');
    tg_fmt_add(f, tg_addr_ip_text(local, room));
    tg_fmt_char(f, ' ');
    tg_fmt_u64(f, tg_addr_port(client));
    tg_fmt_char(f, ' ');
    tg_fmt_u64(f, tg_addr_port(local));
    tg_fmt_lit(f, "\r\n");
}

static void add_u16(struct tg_fmt *f, unsigned value)
{
    tg_fmt_char(f, (char)(value >> 8));
    tg_fmt_char(f, (char)(value & 0xff));
}

static void write_v2(struct tg_fmt *f, const struct tg_addr *client, const struct tg_addr *local)
{
    size_t n = 0;
    const unsigned char *from = tg_addr_ip_bytes(client, &n);
    const unsigned char *to = tg_addr_ip_bytes(local, &n);
    tg_fmt_bytes(f, v2_start, sizeof(v2_start) - 1);
    if (!same_family(client, local)) {
        tg_fmt_bytes(f, "\x20\x00\x00\x00", 4);
        return;
    }
    tg_fmt_char(f, '\x21');
    tg_fmt_char(f, n == 4 ? '\x11' : '\x21');
    add_u16(f, (unsigned)(2 * n + 4));
    tg_fmt_bytes(f, (const char *)from, n);
    tg_fmt_bytes(f, (const char *)to, n);
    add_u16(f, tg_addr_port(client));
    add_u16(f, tg_addr_port(local));
}

size_t tg_proxy_header_write(char room[TG_PROXY_HEADER_MAX], int version,
                             const struct tg_addr *client, const struct tg_addr *local)
{
    struct tg_fmt f;
    tg_fmt_init(&f, room, TG_PROXY_HEADER_MAX);
    if (version == 1)
        write_v1(&f, client, local);
    else
        write_v2(&f, client, local);
    return f.n;
}
