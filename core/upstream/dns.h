/* dns.h: asks DNS servers, through c-ares, on a worker's loop: the source of its resolver.
 *
 * A question for addresses is two queries, for A and AAAA, whose records are one answer; one family
 * alone is an answer as well. Names of the hosts file come first and are not asked for; they are
 * looked up again after HOSTS_TTL. The servers are those of the settings, else those of
 * resolv.conf, whose search list applies then. Both files are watched: what they say counts from
 * then on, and queries under way are sent anew. c-ares chooses identifiers and ports, repeats what
 * is lost, and turns to TCP for what was cut.
 *
 * Threads: its worker's. Neither sockets nor waiting block the loop; the two files are read in it,
 * at the start and when they change.
 */
#ifndef TG_UPSTREAM_DNS_H
#define TG_UPSTREAM_DNS_H

#include "upstream/resolver.h"

/* Where names are looked up. */
struct tg_dns_conf {
    struct tg_str servers;     /* "127.0.0.1:53,[::1]:53"; empty: those of resolv.conf */
    struct tg_str hosts;       /* path of the hosts file; empty: none is read */
    struct tg_str resolv_conf; /* path */
    uint64_t timeout;          /* us */
    uint32_t tries;
};

struct tg_dns;

/* Asks nobody before it is configured. NULL: no memory. */
struct tg_dns *tg_dns_new(struct tg_worker *worker) TG_MUST_USE;

/* After the resolver that it is the source of. */
void tg_dns_free(struct tg_dns **dns);

const struct tg_resolver_source *tg_dns_source(struct tg_dns *dns);

/* From now on names are looked up as `conf` (copied) says; queries under way begin anew. On failure
 * all stays as it was. */
enum tg_err tg_dns_configure(struct tg_dns *dns, const struct tg_dns_conf *conf) TG_MUST_USE;

#endif
