/* target.h: the targets of services, for whoever sends requests to origins: requests that are
 * proxied (proxy.c) and those that plugins make (fetch.c).
 *
 * Balancers belong to a snapshot in a worker (struct tg_targets, held by its VMs' set); what they
 * know of origins is the process's (upstream/origin.h). Threads: the worker's.
 */
#ifndef TG_GATEWAY_TARGET_H
#define TG_GATEWAY_TARGET_H

#include "gateway/gate.h"
#include "net/proxy_header.h"
#include "upstream/balance.h"

#define TG_TRIES_MAX 16u /* of one request */

/* The balancers of a snapshot's services in one worker. */
struct tg_targets {
    uint32_t refs;
    uint32_t n;
    struct tg_loop *loop;          /* borrowed */
    struct tg_balance *balances[]; /* by the service's index; NULL: the built-in echo origin */
};

/* With one reference, the caller's. TG_E_NOMEM. */
enum tg_err tg_targets_new(struct tg_gate *gate, const struct tg_snapshot *snapshot,
                           struct tg_targets **out) TG_MUST_USE;
/* Has `pool` keep connections ready where the services ask for it, and nowhere else. The snapshot,
 * which they are of, and its targets must stay until the next call or the end of the pool. */
void tg_targets_keep_warm(struct tg_targets *targets, const struct tg_snapshot *snapshot,
                          struct tg_pool *pool);

struct tg_targets *tg_targets_ref(struct tg_targets *targets);
void tg_targets_unref(struct tg_targets **targets);

/* Address of target `index`, the service's; len 0 for the built-in echo origin. */
const struct tg_addr *tg_target_addr(const struct tg_service_conf *service, uint32_t index);

/* "10.0.0.11:9000", or "localhost" for the built-in echo origin. */
struct tg_str tg_target_name(const struct tg_service_conf *service, uint32_t index);

/* True when a kept connection failed before a byte of an answer came: the origin had closed it, and
 * what was sent may go out once more on a fresh one if its method is idempotent (RFC 9112, 9.3.1).
 */
bool tg_target_was_stale(const struct tg_call *call, enum tg_err err);

/* Counts a failure. */
void tg_target_count_failure(struct tg_gate *gate, enum tg_err err, bool connecting);

/* How connections to the service are made, besides where to: TLS, and a PROXY header in `room`
 * (which lives as long as `target` is used) that speaks of `client`, who came to `local`; NULL: the
 * gateway speaks for itself. */
void tg_target_dress(const struct tg_service_conf *service, const struct tg_addr *client,
                     const struct tg_addr *local, struct tg_pool_target *target,
                     char room[TG_PROXY_HEADER_MAX]);

#endif
