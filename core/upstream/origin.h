/* origin.h: what the process knows of its origins, beyond any one configuration.
 *
 *   tg_registry   one for the process: fleets by the name of their service
 *   tg_fleet      the targets of a service together: its breaker, what is under way
 *   tg_origin     one target: load, latency, breaker, ejection, health, counts
 *
 * Keyed by stable names (service; target as the config spells it), so a reload that keeps a target
 * keeps what is known of it, and shared by all workers. What a request touches on its way
 * (in_flight, latency, counts) is atomic and relaxed: figures, of which none guards another. A
 * breaker, an ejection or a verdict of the checker is several words that change together: they are
 * behind the origin's lock, which services without a breaker and passive health never take. Each
 * change of whether a target may be used raises fleet->changes, by which balancers know that their
 * lists are old.
 *
 * Life: a balancer (balance.h) holds a reference to its fleet and origins, so they stay while a
 * snapshot or a request needs them. What nobody holds is kept for TG_ORIGIN_KEEP, so that a target
 * that comes back is remembered, and then goes; beyond TG_ORIGINS_MAX unheld ones the oldest goes
 * at once.
 */
#ifndef TG_UPSTREAM_ORIGIN_H
#define TG_UPSTREAM_ORIGIN_H

#include "base/list.h"
#include "net/addr.h"
#include "upstream/policy.h"

#include <pthread.h>

#define TG_ORIGIN_KEEP (30 * 60 * TG_USEC_PER_SEC)
#define TG_ORIGINS_MAX 1000u /* that nobody holds */

/* Why a target is not used: bits of tg_origin.out. */
enum tg_out {
    TG_OUT_CHECK = 1,   /* the active check says that it is down */
    TG_OUT_EJECTED = 2, /* passive health */
    TG_OUT_BREAKER = 4, /* its breaker is open */
};

struct tg_fleet;

struct tg_origin {
    _Atomic unsigned out;
    _Atomic uint32_t in_flight;  /* requests */
    _Atomic uint64_t latency;    /* us from sending to the head, decaying mean; 0: not known */
    _Atomic uint64_t latency_at; /* us: when it was last told */
    _Atomic uint64_t since;      /* us: when it came into use; 0: it was there from the start */
    _Atomic uint32_t open;       /* connections of all workers */
    _Atomic uint32_t idle;
    _Atomic uint32_t streams;  /* exchanges on connections that carry many */
    _Atomic uint32_t size;     /* connections that workers may open, where that follows from use */
    _Atomic uint32_t waiting;  /* requests that wait for a connection */
    _Atomic uint64_t requests; /* attempts that began */
    _Atomic uint64_t failures[TG_RETRY_CLASSES];

    struct tg_fleet *fleet; /* borrowed: it lives longer */
    struct tg_str name;     /* owned */
    struct tg_addr addr;    /* of the target when it was last declared; the registry's lock */
    struct tg_list link;    /* in the fleet; the registry's lock */
    struct tg_list unheld;  /* in the registry's list of the unheld; its lock */
    uint32_t holders;       /* the registry's lock */
    uint64_t left;          /* us: when the last holder let go; the registry's lock */

    pthread_mutex_t lock; /* of what follows */
    struct tg_breaker breaker;
    struct tg_outlier outlier;
    bool checked;          /* a verdict of the checker is there */
    uint32_t good, bad;    /* checks in a row */
    char check_reason[64]; /* of the last bad one */
};

struct tg_fleet {
    _Atomic uint32_t changes; /* of an origin's `out` */
    _Atomic uint32_t in_flight;
    _Atomic uint32_t retries; /* attempts beyond the first that are under way */
    _Atomic uint32_t ejected; /* origins that are */
    struct tg_registry *registry;
    struct tg_str name;  /* owned */
    struct tg_list link; /* in the registry; its lock, as are: */
    struct tg_list origins;
    struct tg_list names; /* of struct tg_known_name: names.h */
    uint32_t holders;

    pthread_mutex_t lock; /* of: */
    struct tg_breaker breaker;
};

#define TG_REGISTRY_BUCKETS 256u

struct tg_registry {
    pthread_mutex_t lock;
    struct tg_list fleets[TG_REGISTRY_BUCKETS]; /* by the hash of the name */
    struct tg_list unheld;                      /* origins, the longest first */
    uint32_t unheld_count;
    uint32_t refs; /* the process's, and one for each fleet that is held */
};

/* With one reference, the caller's; NULL: no memory. */
struct tg_registry *tg_registry_new(void) TG_MUST_USE;

/* Drops the caller's reference. Fleets that are held yet keep the registry. */
void tg_registry_unref(struct tg_registry **registry);

/* The fleet of a service, made where there is none; held until tg_fleet_unref(). NULL: no memory.
 */
struct tg_fleet *tg_fleet_ref(struct tg_registry *registry, struct tg_str service) TG_MUST_USE;
void tg_fleet_unref(struct tg_fleet **fleet);

/* A target of the held fleet, made where there is none; held until tg_origin_unref(), which comes
 * before that of the fleet. `now` is us of any worker's clock: they agree. */
struct tg_origin *tg_origin_ref(struct tg_fleet *fleet, struct tg_str name,
                                const struct tg_addr *addr, uint64_t now) TG_MUST_USE;

/* One more hold on what the caller has reason to know: it is held, or it is under the fleet's. */
struct tg_origin *tg_origin_hold(struct tg_origin *origin);

void tg_origin_unref(struct tg_origin **origin, uint64_t now);

/* Calls visit for every fleet under the registry's lock; visit may look at its origins. */
void tg_registry_visit(struct tg_registry *registry,
                       void (*visit)(void *arg, struct tg_fleet *fleet), void *arg);

/* ---- Requests ---- */

/* What a breaker, of the fleet and of the origin, says to a request now. *probe as in breaker.h. */
bool tg_fleet_allow(struct tg_fleet *fleet, const struct tg_policy *policy, uint64_t now,
                    bool *probe) TG_MUST_USE;
bool tg_origin_allow(struct tg_origin *origin, const struct tg_policy *policy, uint64_t now,
                     bool *probe) TG_MUST_USE;

/* How an attempt ended. */
struct tg_try_outcome {
    bool told;        /* false: it says nothing about the origin (the client went away) */
    bool good;        /* an answer that is not a 5xx */
    uint64_t latency; /* us to the head; 0: none came */
    bool fleet_probe, origin_probe;
};

/* What changed with an outcome, for the log. */
enum tg_change { TG_CHANGE_NONE, TG_CHANGE_EJECTED = 1, TG_CHANGE_OPENED = 2, TG_CHANGE_FLEET = 4 };

/* An attempt is over: breakers and passive health hear of it. `targets`: of the service. Returns
 * bits of enum tg_change. Nothing to do, and no lock taken, where the policy has neither. */
unsigned tg_origin_record(struct tg_origin *origin, const struct tg_policy *policy,
                          uint32_t targets, uint64_t now, const struct tg_try_outcome *outcome);

/* Takes a measured time to the head into the mean: it rises at once and falls slowly. */
void tg_origin_note_latency(struct tg_origin *origin, uint64_t latency, uint64_t now);

/* An answer was not waited for longer than `latency`: the mean is that much, at least. */
void tg_origin_note_at_least(struct tg_origin *origin, uint64_t latency, uint64_t now);

/* The mean as of now: what was not confirmed for long counts less and less. */
uint64_t tg_origin_latency(const struct tg_origin *origin, uint64_t now);

/* ---- Health ---- */

/* A check of `origin` ended; true: the verdict has changed, see origin->out. */
bool tg_origin_note_check(struct tg_origin *origin, const struct tg_check_conf *conf, uint64_t now,
                          bool good, const char *reason);

/* There is no active check any more: its verdict goes. */
void tg_origin_forget_check(struct tg_origin *origin, uint64_t now);

/* Lets in what has waited long enough, and tells whether the origin may be used at `now`. *next is
 * lowered to when that may change by itself. */
bool tg_origin_is_usable(struct tg_origin *origin, const struct tg_policy *policy, uint64_t now,
                         uint64_t *next);

/* "up", or why it is not used: "down", "ejected", "open". */
const char *tg_origin_label(const struct tg_origin *origin);

#endif
