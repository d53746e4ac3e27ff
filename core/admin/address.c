/* address.c: see address.h. */
#include "base/banned.h"
#include "admin/address.h"

#include "net/addr.h"

#include <stddef.h>

static enum tg_err parse_path(struct tg_str path, struct tg_admin_address *out)
{
    if (path.n == 0 || path.n > TG_ADMIN_PATH_MAX || memchr(path.p, '\0', path.n) != NULL)
        return TG_E_INVALID;
    out->u.local.sun_family = AF_UNIX;
    memcpy(out->u.local.sun_path, path.p, path.n);
    out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.n + 1);
    return TG_OK;
}

enum tg_err tg_admin_address_parse(struct tg_str text, struct tg_admin_address *out)
{
    struct tg_addr addr;
    memset(out, 0, sizeof(*out));
    if (tg_str_starts(text, TG_STR("unix:")))
        return parse_path(tg_str_sub(text, 5, text.n), out);
    if (tg_addr_parse(text, &addr) != TG_OK || tg_addr_port(&addr) == 0)
        return TG_E_INVALID;
    memcpy(&out->u, &addr.u, addr.len);
    out->len = addr.len;
    return TG_OK;
}

bool tg_admin_address_is_loopback(const struct tg_admin_address *address)
{
    struct tg_addr addr;
    size_t size;
    if (tg_admin_address_is_local(address))
        return false;
    tg_addr_from_sockaddr(&address->u.any, address->len, &addr);
    const unsigned char *ip = tg_addr_ip_bytes(&addr, &size);
    if (size == sizeof(addr.u.v4.sin_addr))
        return ip[0] == IN_LOOPBACKNET;
    return size == sizeof(in6addr_loopback) && memcmp(ip, &in6addr_loopback, size) == 0;
}

bool tg_admin_host_is_plain(struct tg_str host)
{
    struct tg_addr ignored;
    return tg_str_eq_nocase(host, TG_STR("localhost")) || tg_addr_parse_ip(host, &ignored) == TG_OK;
}
