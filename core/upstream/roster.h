/* roster.h: the targets of a service as they are now, in one worker: addresses are what they are,
 * names are looked up, again and again, and stand for the addresses that they have.
 *
 *     declared    10.0.0.1:80      catalog.internal:8080           _http._tcp.shop.internal
 *                      |              |           |                    |              |
 *     looked up        |              |           |             a.shop:8001 (10)  b.shop:8002 (20)
 *                      |              |           |                    |              |
 *     targets     10.0.0.1:80   10.1.0.1:8080 10.1.0.2:8080     10.2.0.1:8001    10.2.0.2:8002
 *
 * A change of what names stand for makes another balancer, over the origins of the registry: an
 * address that stays keeps its counts, latency, breaker and connections, since it keeps its name
 * ("10.1.0.1:8080"). Requests under way hold the balancer that they chose from. Addresses that the
 * DNS gives in another order are no change.
 *
 * Two families. Each address is a target of its own. Of a name with IPv4 and IPv6 the targets are
 * the addresses of one family (that of which there are more, else IPv6; one that the machine has no
 * route for never), and each has one of the other as `another`, which is tried beside it when it is
 * slow to connect (RFC 8305; net/race.h). So balancing, health and counts are not split in two for
 * one machine, and a broken family costs a quarter of a second at most.
 *
 * Of SRV records the priority becomes the group of a target (balance.h) and the weight its weight;
 * 0 counts as 1.
 *
 * Bounds: TG_ROSTER_MAX targets of a service, TG_ANSWER_MAX records of an answer. What does not fit
 * is left out. Threads: its worker's.
 */
#ifndef TG_UPSTREAM_ROSTER_H
#define TG_UPSTREAM_ROSTER_H

#include "upstream/balance.h"
#include "upstream/resolver.h"

#define TG_ROSTER_MAX 1024u

struct tg_roster;

struct tg_roster_options {
    struct tg_balance_options balance; /* of each balancer; `now` and `passing` are not read */
    const struct tg_balance_target *declared; /* borrowed, as are policy, service and place */
    uint32_t n;
    struct tg_worker *worker; /* borrowed, as is: */
    struct tg_resolver *resolver;
    /* The balancer is another one; the one before goes on return. From the loop. */
    void (*on_change)(void *arg, struct tg_roster *roster);
    void *arg;
};

/* Who waits for the first answer; embedded by its owner, zeroed before the first use. */
struct tg_roster_waiter {
    void (*on_ready)(struct tg_roster_waiter *waiter); /* once, from the loop */

    /* private */
    struct tg_list link;
    struct tg_task task;
    bool waits;
};

/* Whether any of the targets is a name, so that a roster is needed. */
bool tg_roster_is_needed(const struct tg_balance_target *declared, uint32_t n);

/* A roster of what needs no looking up. NULL: no memory. */
struct tg_roster *tg_roster_new(const struct tg_roster_options *options) TG_MUST_USE;

/* Names are looked up from now on; of those that the resolver knows the targets are there on
 * return. on_change may come from within. A second call does nothing. */
void tg_roster_begin(struct tg_roster *roster);

/* Nobody may wait. */
void tg_roster_free(struct tg_roster **roster);

/* Borrowed until the next on_change. It may have no targets. */
struct tg_balance *tg_roster_balance(const struct tg_roster *roster);

/* Why there are no targets: TG_E_AGAIN, some name was not answered yet; TG_E_DNS. TG_OK: there are
 * some. */
enum tg_err tg_roster_state(const struct tg_roster *roster);

/* on_ready comes when the state is no longer TG_E_AGAIN, as it is now. */
void tg_roster_wait(struct tg_roster *roster, struct tg_roster_waiter *waiter);

/* It does not come any more; allowed when nobody waits. */
void tg_roster_leave(struct tg_roster_waiter *waiter);

#endif
