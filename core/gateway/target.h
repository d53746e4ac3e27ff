/* target.h: which target of a service is asked, for whoever sends requests to origins: requests
 * that are proxied (proxy.c) and those that plugins make (fetch.c).
 *
 * No state but the gate's turn counts. Threads: the worker's.
 */
#ifndef TG_GATEWAY_TARGET_H
#define TG_GATEWAY_TARGET_H

#include "gateway/gate.h"
#include "net/proxy_header.h"

/* The index of the target that is next: in turn, each as often as its weight says. */
uint32_t tg_target_pick(struct tg_gate *gate, const struct tg_service_conf *service);

/* Address of target `index` (modulo their number); len 0 for the built-in echo origin. */
struct tg_addr tg_target_addr(const struct tg_service_conf *service, uint32_t index);

/* "10.0.0.11:9000", or "localhost" for the built-in echo origin. */
struct tg_str tg_target_name(const struct tg_service_conf *service, uint32_t index);

/* True when a kept connection failed before a byte of an answer came: the origin had closed it, and
 * what was sent may go out once more on a fresh one if its method is idempotent (RFC 9112, 9.3.1).
 */
bool tg_target_was_stale(const struct tg_h1_client *client, enum tg_err err);

/* Counts a failure. */
void tg_target_count_failure(struct tg_gate *gate, enum tg_err err, bool connecting);

/* How connections to the service are made, besides where to: TLS, and a PROXY header in `room`
 * (which lives as long as `target` is used) that speaks of `client`, who came to `local`; NULL: the
 * gateway speaks for itself. */
void tg_target_dress(const struct tg_service_conf *service, const struct tg_addr *client,
                     const struct tg_addr *local, struct tg_pool_target *target,
                     char room[TG_PROXY_HEADER_MAX]);

#endif
