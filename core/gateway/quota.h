/* quota.h: several limits that a request must all pass, asked in one go: tg.limit.quota, and the
 * plugin rate-limit.
 *
 *     rule: keys ----> bytes ----> limit/table ----> verdict --+--> all let through: go on
 *     consumer, route  "=4:..."    of the zone                 +--> one refuses: see the outcome
 *                                                              +--> RateLimit, X-RateLimit-*
 *
 * Order. What is counted is worked out first, for all rules. Where there are several, those with a
 * rate are looked at before one is charged, so that a request which one of them refuses costs
 * nothing with the others (but for what another worker takes in that moment). Work in flight is
 * entered before rates are charged, and left at once when a rate refuses.
 *
 * Keys. A rule counts by one fact of the request or by several together. Facts are marked and,
 * where there are several, have their length in front, so that no client can choose parts that read
 * as others. A request without a fact counts by its address, together with all such, or not at all,
 * or is refused, as the rule says.
 *
 * Once. A request is asked once for each quota; who asks again gets the same outcome. So a refusal
 * in a prepared step is told to the plugin's function without being asked for, and counted, anew.
 *
 * Refusals. A quota may answer by itself: count the refusal, note it in the access record, prepare
 * the answer. Else the plugin's function does what it likes.
 *
 * Threads: the worker's; tables are shared. Cost: some 150 ns and a check of the table for each
 * rule (two where there are several), and the headers' text.
 */
#ifndef TG_GATEWAY_QUOTA_H
#define TG_GATEWAY_QUOTA_H

#include "gateway/prepared.h"
#include "gateway/request.h"
#include "limit/flight.h"
#include "limit/rate.h"

#define TG_QUOTA_RULES_MAX 16
#define TG_QUOTA_KEYS_MAX  8

enum tg_quota_fact {
    TG_QUOTA_ALL, /* nothing: everybody together */
    TG_QUOTA_CONSUMER,
    TG_QUOTA_CREDENTIAL,
    TG_QUOTA_IP,
    TG_QUOTA_ROUTE,
    TG_QUOTA_SERVICE,
    TG_QUOTA_HEADER, /* a request header's first value */
    TG_QUOTA_SHARED  /* text, a number or a boolean of ctx.shared */
};

/* A request without the fact */
enum tg_quota_absent {
    TG_QUOTA_BY_IP,  /* counts by its address (of IPv6 the /64 network), */
    TG_QUOTA_SHARE,  /* together with all such, */
    TG_QUOTA_SKIP,   /* is not counted, */
    TG_QUOTA_REFUSE, /* or is refused */
    TG_QUOTA_ABSENTS
};

struct tg_quota_key {
    struct tg_str text; /* as it was written: "ip/24" */
    enum tg_quota_fact fact;
    struct tg_field header; /* HEADER: identified by its name */
    struct tg_str shared;   /* SHARED: "plugin.key" */
    uint8_t v4, v6;         /* IP: lengths of prefixes, 1..32 and 1..128 */
};

struct tg_quota_rule {
    struct tg_str name;   /* visible ASCII but quotes and backslashes */
    struct tg_str prefix; /* of the key's bytes: what tells its counters from those of others */
    struct tg_quota_key keys[TG_QUOTA_KEYS_MAX];
    uint32_t key_count; /* 1 at least */
    enum tg_quota_absent absent;
    bool in_flight;
    struct tg_rate_rule rate;     /* unless in_flight; sound */
    struct tg_flight_rule flight; /* where in_flight; sound */
    uint32_t cost;                /* of a rate: 1..most */
    uint32_t most;                /* that is ever granted at once */
};

/* What a quota does by itself with a request that it refuses. Slices belong to the VM. */
struct tg_quota_refusal {
    unsigned status;               /* 400..599; 0: nothing, the plugin's function decides */
    struct tg_str body;            /* JSON */
    struct tg_str field;           /* of the access record, for the limit's name; p == NULL: none */
    struct tg_instrument *counter; /* with the labels limit and mode; NULL: none */
    unsigned limit_at;             /* which of its two labels is the limit's name: 0 or 1 */
};

/* All of it belongs to the VM of the plugin, as do the slices. */
struct tg_quota {
    struct tg_str zone;     /* name; p == NULL: the plugin's own */
    bool dry_run;           /* nothing is refused, no headers are told */
    bool ratelimit;         /* tell RateLimit and RateLimit-Policy, */
    bool x_ratelimit;       /* X-RateLimit-Limit, -Remaining and -Reset */
    struct tg_str policies; /* value of RateLimit-Policy */
    struct tg_quota_refusal refusal;
    uint32_t n; /* 1 at least */
    struct tg_quota_rule v[];
};

/* What came of a request. In its arena. */
struct tg_quota_outcome {
    struct tg_quota_outcome *next;
    const struct tg_quota *quota;
    enum tg_err err; /* not TG_OK: counters could not be had; nothing was granted */
    const struct tg_quota_key *missing; /* which fact it lacks; NULL: none that it needs */
    uint32_t refused;                   /* bit i: rule i refuses, or in a dry run would */
    bool settled;                       /* tg_quota_settle() has done its part */
    uint64_t retry; /* us until more is granted by the rule that refuses; 0: when work has ended */
};

/* What a key is: true when `text` is one. `*out` borrows from it. */
bool tg_quota_key_parse(struct tg_str text, struct tg_quota_key *out) TG_MUST_USE;

/* Writes the part of RateLimit-Policy for `rule`. */
void tg_quota_write_policy(const struct tg_quota_rule *rule, struct tg_fmt *f);

/* Asks `quota` for `r`, on behalf of the plugin of `slot`, or says what came of it before; records
 * the headers of the answer. NULL: no memory. What is in flight ends with the request. */
struct tg_quota_outcome *tg_quota_take(const struct tg_quota *quota, struct tg_request *r,
                                       struct tg_plugin_slot *slot) TG_MUST_USE;

/* Goes by what came of it: DONE, the request is let through; ANSWERED, the quota has answered by
 * itself; LEFT, the function of the plugin decides. What it counts and notes it does once. */
enum tg_prepared tg_quota_settle(struct tg_request *r, struct tg_quota_outcome *outcome);

#endif
