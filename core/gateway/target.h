/* target.h: the targets of services, for whoever sends requests to origins: requests that are
 * proxied (proxy.c) and those that plugins make (fetch.c).
 *
 * Balancers belong to a snapshot in a worker (struct tg_targets, held by its VMs' set); what they
 * know of origins is the process's (upstream/origin.h). Where targets are names, a roster
 * (upstream/roster.h) makes another balancer when what they stand for changes. Threads: the
 * worker's.
 */
#ifndef TG_GATEWAY_TARGET_H
#define TG_GATEWAY_TARGET_H

#include "gateway/gate.h"
#include "net/proxy_header.h"
#include "upstream/roster.h"

#define TG_TRIES_MAX 16u /* of one request */

/* The balancers of a snapshot's services in one worker. */
struct tg_targets {
    uint32_t refs;
    uint32_t n;
    struct tg_gate *gate;               /* borrowed */
    const struct tg_snapshot *snapshot; /* borrowed */
    struct tg_roster **rosters;         /* by the service's index; NULL: it has no names */
    /* By the service's index; NULL: the built-in echo origin. Those of services with names change:
     * who waits in between takes it from here again. */
    struct tg_balance *balances[];
};

/* With one reference, the caller's. TG_E_NOMEM. */
enum tg_err tg_targets_new(struct tg_gate *gate, const struct tg_snapshot *snapshot,
                           struct tg_targets **out) TG_MUST_USE;
/* What the settings say of names holds from now on. `dns` may be NULL. */
void tg_dns_follow(struct tg_dns *dns, struct tg_resolver *resolver,
                   const struct tg_settings *settings);

/* Names of targets are looked up from now on, as the settings of their snapshot say. */
void tg_targets_begin(struct tg_targets *targets);

/* Why the service of that index has no targets: see tg_roster_state(). */
enum tg_err tg_targets_state(const struct tg_targets *targets, uint32_t service);

/* Has `pool` keep connections ready where the services ask for it, and nowhere else. The snapshot,
 * which they are of, and its targets must stay until the next call or the end of the pool. */
void tg_targets_keep_warm(struct tg_targets *targets, const struct tg_snapshot *snapshot,
                          struct tg_pool *pool);

struct tg_targets *tg_targets_ref(struct tg_targets *targets);
void tg_targets_unref(struct tg_targets **targets);

/* Target `index`; NULL, which is the built-in echo origin, has one. Valid as long as the balancer.
 */
const struct tg_balance_target *tg_target_at(const struct tg_balance *balance, uint32_t index);

/* True when a kept connection failed before a byte of an answer came: the origin had closed it, and
 * what was sent may go out once more on a fresh one if its method is idempotent (RFC 9112, 9.3.1).
 */
bool tg_target_was_stale(const struct tg_call *call, enum tg_err err);

/* Counts a failure. */
void tg_target_count_failure(struct tg_gate *gate, enum tg_err err, bool connecting);

/* How connections to `at`, a target of the service, are made: where to, TLS, and a PROXY header in
 * `room` (which lives as long as `target` is used) that speaks of `client`, who came to `local`;
 * NULL: the gateway speaks for itself. `balance` is that of `at`. */
void tg_target_dress(const struct tg_service_conf *service, const struct tg_balance *balance,
                     const struct tg_balance_target *at, const struct tg_addr *client,
                     const struct tg_addr *local, struct tg_pool_target *target,
                     char room[TG_PROXY_HEADER_MAX]);

#endif
