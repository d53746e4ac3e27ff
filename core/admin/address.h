/* address.h: where the admin listener is: "unix:/run/tidegate/admin.sock" or "127.0.0.1:9901".
 *
 * Both ends read it here: the listener in the gateway process and the commands that ask it, so what
 * one binds the other finds. The text is settings.admin.listen as the snapshot holds it, where a
 * relative path has been put below the folder of the configuration.
 *
 * A plain value; nothing to release.
 */
#ifndef TG_ADMIN_ADDRESS_H
#define TG_ADMIN_ADDRESS_H

#include "base/err.h"
#include "base/str.h"

#include <sys/socket.h>
#include <sys/un.h>

struct tg_admin_address {
    union {
        struct sockaddr any;
        struct sockaddr_un local; /* its path is terminated */
        struct sockaddr_storage room;
    } u;
    socklen_t len;
};

/* Longest path of a unix socket, in bytes. */
#define TG_ADMIN_PATH_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)

/* TG_E_INVALID: neither "unix:PATH" with a path of 1 to TG_ADMIN_PATH_MAX bytes without a NUL, nor
 * an IP address with a port. */
enum tg_err tg_admin_address_parse(struct tg_str text, struct tg_admin_address *out) TG_MUST_USE;

/* Whether only programs of this machine reach it, browsers among them: 127.0.0.0/8 or ::1. */
bool tg_admin_address_is_loopback(const struct tg_admin_address *address);

/* Whether `host`, of a request and without its port, is an IP address or localhost: what nobody
 * else can give a meaning to. */
bool tg_admin_host_is_plain(struct tg_str host);

static inline bool tg_admin_address_is_local(const struct tg_admin_address *address)
{
    return address->u.any.sa_family == AF_UNIX;
}

#endif
