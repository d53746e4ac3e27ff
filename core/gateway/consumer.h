/* consumer.h: a request is somebody's: what changes when a plugin of the access phase says so.
 *
 * The request remembers who it is (r->consumer, r->credential), and from there on the consumer's
 * own plugins take part. A route's chains were computed with the configuration; so were those of
 * each list of plugins that consumers share. Here the two become one, in the request's arena, once:
 * the phases that follow walk arrays as they always do, a consumer without plugins costs nothing,
 * and no product of routes and consumers is kept anywhere.
 *
 *   - An instance of the consumer takes the place of one of the same plugin and id; on_route ones
 *     have taken the place of the consumer's before. So the most specific runs.
 *   - Others stand where stage and priority put them, behind those of the route that are equal in
 *     both, in body_filter and header_filter in front of them.
 *   - What has run in this access phase stays run; what would have been before it runs next, so
 *     that no guard is left out because somebody was authenticated late.
 *   - Authenticated again as another one, the chains are made anew from the route's.
 *
 * Importance and queue priority that the consumer declares hold in place of the route's; when the
 * access phase is over, overload.h looks at the request once more.
 *
 * Threads: the worker's. Cost: some 100 ns with three plugins of the consumer's and ten of the
 * route's; what it takes from the arena is bounded by limits.request.memory.
 */
#ifndef TG_GATEWAY_CONSUMER_H
#define TG_GATEWAY_CONSUMER_H

#include "base/fmt.h"
#include "consumer/store.h"
#include "gateway/request.h"

/* How a consumer is recognised without the help of a plugin's code. */
struct tg_recognition {
    struct tg_str header; /* whose first value is the credential; p == NULL: not at all */
    enum tg_credential_kind kind;
};

/* The request is `consumer`'s (borrowed from r->snapshot's store), recognised by `credential`
 * (copied; an identifier for logs and limits, never the secret itself; p == NULL: not told).
 * TG_E_UNAVAILABLE: the access phase is over; TG_E_NOMEM: the request is whose it was. */
enum tg_err tg_request_authenticate(struct tg_request *r, const struct tg_consumer *consumer,
                                    struct tg_str credential) TG_MUST_USE;

/* The same for whom `by` recognises. TG_E_NOT_FOUND: no header, or a value that nobody has. */
enum tg_err tg_request_recognise(struct tg_request *r, const struct tg_recognition *by) TG_MUST_USE;

/* How important the request is, and where it waits for a connection (0..9): what its consumer
 * declares, else what its route does. */
enum tg_importance tg_request_importance(const struct tg_request *r);
uint32_t tg_request_queue_priority(const struct tg_request *r);

/* Writes what a credential that a store found is called: "key:1". */
void tg_credential_write_name(enum tg_credential_kind kind, uint32_t nth, struct tg_fmt *out);

#endif
