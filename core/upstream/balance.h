/* balance.h: which target of a service gets the next request.
 *
 * A balancer belongs to one worker and one service of one snapshot. Its lists hold what may be used
 * now: they are made anew when a target of the fleet goes out or comes in (fleet->changes), when
 * one may come in by itself, and every REFRESH while a target is warming up or places differ. In
 * between a pick looks at nothing else, so targets that are out cost nothing.
 *
 *   round robin     smooth weighted (the largest credit wins and pays the sum); with equal weights
 * a plain turn least requests  in flight over weight, from a start that turns, so ties go round
 *   latency         of two at random the one with the smaller latency times load
 *   hash            rendezvous: the largest of hash(key, target); a target that goes moves its own
 *                   keys and no other. Targets whose load is `bound` times the mean are passed over
 *   random          by weight
 *
 * Places. Targets of one zone and region are a group: those of the gateway's own zone come first,
 * then its region, then the others, nearer ones (by measured latency) first. So are targets of one
 * priority, which comes before the place. A group takes its
 * share of the requests as long as SPARE times its usable weight is enough; what is lacking goes to
 * the next one. Without places and priorities there is one group.
 *
 * Panic: with fewer usable than the `panic` share, all targets are used, since what is left would
 * not bear the load and the verdicts are likely to be wrong.
 *
 * Cost: at 100 targets 10 to 200 ns. Memory: some 300 bytes a target. One thread.
 */
#ifndef TG_UPSTREAM_BALANCE_H
#define TG_UPSTREAM_BALANCE_H

#include "upstream/origin.h"
#include "upstream/pace.h"

struct tg_balance;

/* How a target is written down. */
enum tg_target_kind {
    TG_TARGET_ADDRESS, /* an address, or a unix socket */
    TG_TARGET_NAME,    /* a name with a port: as many targets as it has addresses (roster.h) */
    TG_TARGET_SRV,     /* a service of the DNS, with ports, weights and priorities */
};

/* A target as the config has it, or one of those that a name stands for. */
struct tg_balance_target {
    struct tg_str name;
    struct tg_addr addr;        /* of TG_TARGET_ADDRESS */
    uint32_t weight;            /* 1..65535 */
    struct tg_str zone, region; /* empty: none */
    enum tg_target_kind kind;
    struct tg_str host;     /* what Host says */
    struct tg_str domain;   /* what a certificate is for; empty: the address */
    struct tg_str query;    /* the name that is looked up */
    uint16_t port;          /* of TG_TARGET_NAME */
    uint16_t priority;      /* groups of a lower one come first */
    uint64_t refresh;       /* us after which a name is looked up again at the latest; 0: its TTL */
    struct tg_addr another; /* where the same is to be had in the other family; len 0: nowhere */
};

/* Where the gateway itself is; empty: not said. */
struct tg_place {
    struct tg_str zone, region;
};

struct tg_balance_options {
    struct tg_registry *registry;   /* borrowed for the call */
    struct tg_str service;          /* its name, borrowed for the call */
    const struct tg_policy *policy; /* borrowed */
    struct tg_place place;          /* borrowed for the call */
    uint64_t now;                   /* us */
    bool passing;
};

/* What a pick is for. */
struct tg_balance_ask {
    uint64_t now;          /* us */
    uint64_t key;          /* hash of the key; of use to TG_BALANCE_HASH */
    bool keyed;            /* there is one; else a hashing balancer picks at random */
    const uint32_t *tried; /* indexes to avoid while there is another */
    uint32_t tried_count;
    struct tg_rand *rand;
};

/* A balancer over `n` targets of TG_TARGET_ADDRESS, holding their origins, with one reference. With
 * `passing` their names may go after the call: what is shown of them is the origins' own then.
 * Other strings stay as long as the policy. NULL: no memory. */
struct tg_balance *tg_balance_new(const struct tg_balance_options *options,
                                  const struct tg_balance_target *targets, uint32_t n) TG_MUST_USE;

struct tg_balance *tg_balance_ref(struct tg_balance *balance);

/* Drops a reference; the last lets go of the origins at `now`. */
void tg_balance_unref(struct tg_balance **balance, uint64_t now);

/* TG_OK and the index of a target; TG_E_UNAVAILABLE: none may be used. */
enum tg_err tg_balance_pick(struct tg_balance *balance, const struct tg_balance_ask *ask,
                            uint32_t *index) TG_MUST_USE;

/* Whether a target may be used that is not among the tried. */
bool tg_balance_has_other(struct tg_balance *balance, const struct tg_balance_ask *ask);

/* Targets that may be used, and whether that is panic. */
uint32_t tg_balance_usable(struct tg_balance *balance, uint64_t now, bool *panic);

/* Where there is but one target, and nothing known of it takes it out: its origin and *index; else
 * NULL. */
struct tg_origin *tg_balance_single(struct tg_balance *balance, uint64_t now, uint32_t *index);

/* How long the service's answers took of late, as whoever asks for it records them. NULL: no
 * memory. */
struct tg_pace *tg_balance_pace(struct tg_balance *balance);

struct tg_origin *tg_balance_origin(struct tg_balance *balance, uint32_t index);
struct tg_fleet *tg_balance_fleet(struct tg_balance *balance);
const struct tg_policy *tg_balance_policy(const struct tg_balance *balance);
uint32_t tg_balance_count(const struct tg_balance *balance); /* of targets */

/* A target; valid as long as the balancer. */
const struct tg_balance_target *tg_balance_target_at(const struct tg_balance *balance,
                                                     uint32_t index);
/* The index of the target of that name; tg_balance_count(): there is none (any more). */
uint32_t tg_balance_find(const struct tg_balance *balance, struct tg_str name);
/* Its targets come from names, and may be replaced by others at any time. */
bool tg_balance_is_passing(const struct tg_balance *balance);

#endif
