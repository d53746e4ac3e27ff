/* hosts.h: the text of a hosts file (hosts(5)): which addresses it gives a name. */
#ifndef TG_UPSTREAM_HOSTS_H
#define TG_UPSTREAM_HOSTS_H

#include "net/addr.h"

#define TG_HOSTS_BYTES_MAX ((size_t)1 << 20) /* of a file; larger ones are cut */

/* Fills `out` with the addresses of `name` (any case), ports 0, in the order of the lines; returns
 * how many, at most `max`. Lines that are no entries are passed over. localhost and the names below
 * it are this machine unless a line says otherwise (RFC 6761, 6.3). */
uint32_t tg_hosts_find(struct tg_str text, struct tg_str name, struct tg_addr *out, uint32_t max);

#endif
