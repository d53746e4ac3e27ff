/* policy.h: how a service wants its targets treated: what `balance`, `health`, `breaker`, `retry`,
 * `hedge` and `pool` of the config say, frozen.
 *
 * Plain values inside a snapshot; strings are the snapshot's. A service that says nothing has the
 * policy of zeroes but for what is filled in by config/build: round robin, no checks, no breaker.
 */
#ifndef TG_UPSTREAM_POLICY_H
#define TG_UPSTREAM_POLICY_H

#include "base/str.h"
#include "upstream/breaker.h"
#include "upstream/outlier.h"
#include "upstream/retry.h"

enum tg_balance_kind {
    TG_BALANCE_ROUND_ROBIN,    /* smooth: each target as often as its weight says, spread evenly */
    TG_BALANCE_LEAST_REQUESTS, /* the fewest under way, relative to the weight */
    TG_BALANCE_LATENCY,        /* of two at random the one that answers sooner */
    TG_BALANCE_HASH,           /* the same key to the same target */
    TG_BALANCE_RANDOM,
};

/* Where the key of TG_BALANCE_HASH comes from. */
enum tg_hash_source { TG_HASH_IP, TG_HASH_HEADER, TG_HASH_COOKIE, TG_HASH_KEY, TG_HASH_CONSUMER };

struct tg_balance_conf {
    enum tg_balance_kind kind;
    enum tg_hash_source by;
    struct tg_str name;  /* of the header or cookie */
    double bound;        /* of TG_BALANCE_HASH: load of a target in times the mean, above 1 */
    uint64_t slow_start; /* us in which a target that is back comes up to its weight; 0: at once */
    double panic;        /* share of usable targets below which all are used; 0: never */
};

/* A second request to another target while the first one is not answered. */
struct tg_hedge_conf {
    bool on;
    uint64_t after; /* us from the start of the first one; with `share`: at least */
    double share;   /* of the service's answers of late that were there by then, 0..1; 0: `after` */
    unsigned methods; /* bit (1 << tg_method) */
};

enum tg_check_kind { TG_CHECK_NONE, TG_CHECK_HTTP, TG_CHECK_TCP };

struct tg_check_conf {
    enum tg_check_kind kind;
    struct tg_str method, path, host; /* host empty: the target's own */
    uint16_t statuses[16];            /* of a healthy answer */
    uint32_t status_count;            /* 0: 200 to 399 */
    struct tg_str body;               /* that it contains; empty: any */
    uint64_t every, timeout;          /* us */
    double jitter;                    /* share of `every`, 0..1 */
    uint32_t rise, fall;              /* checks in a row that change the verdict */
};

/* What is spoken with an origin. AUTO: what it picks by ALPN, HTTP/1.1 in clear text. */
enum tg_origin_http { TG_ORIGIN_HTTP1, TG_ORIGIN_HTTP2, TG_ORIGIN_AUTO };

struct tg_pool_conf {
    uint32_t max_idle;     /* per target and worker */
    uint32_t min_idle;     /* kept ready, per target and worker */
    uint32_t max_open;     /* connections to a target, in all workers; 0: no bound */
    uint32_t size_min;     /* of connections that a worker opens to a target, where that follows */
    uint32_t size_max;     /* from use: size.h; 0: it does not */
    uint32_t max_waiting;  /* requests that wait for a connection, per target and worker */
    uint32_t max_requests; /* on one connection; 0: no bound */
    uint64_t wait;         /* us that a request waits for a connection */
    uint64_t idle_timeout; /* us */
    uint64_t lifetime;     /* us, and up to a tenth less; 0: no bound */
    uint32_t max_connecting; /* connections to a target that are being made, per worker; 0: any */

    /* of connections that speak HTTP/2 */
    uint32_t streams; /* at a time on one, whatever the origin allows */
    uint32_t window;  /* bytes: how far a stream's may grow */
    uint32_t head;    /* bytes of an answer's head */
    uint64_t ping;    /* us without a word that is owed, before the origin is asked */
};

struct tg_policy {
    struct tg_balance_conf balance;
    struct tg_outlier_conf outlier;
    struct tg_check_conf check;
    struct tg_breaker_conf breaker;
    struct tg_retry_conf retry;
    struct tg_hedge_conf hedge;
    struct tg_pool_conf pool;
    enum tg_origin_http http;
    bool judges; /* outcomes matter: there is a breaker or passive health */
};

#endif
