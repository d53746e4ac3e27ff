/* gate.h: the gateway's part of one worker: what all its requests share.
 *
 *   struct tg_gateway   one for the process: counts that hold across workers
 *   struct tg_gate      one per worker: snapshot in force, its VMs, the pool, the clients
 *
 * A reload hands each gate the new snapshot with VMs that were built beforehand (tg_gate_adopt);
 * requests in flight keep what they began with. Draining: listeners stop, idle connections close,
 * open requests end, then on_drained.
 *
 * Threads: a gate belongs to its worker; tg_gateway holds atomics only.
 */
#ifndef TG_GATEWAY_GATE_H
#define TG_GATEWAY_GATE_H

#include "gateway/accounting.h"
#include "gateway/overload.h"
#include "gateway/plugins.h"
#include "gateway/request.h"
#include "http/encoder.h"
#include "observe/map_watch.h"
#include "store/bus.h"
#include "store/lock.h"
#include "upstream/dns.h"
#include "upstream/pool.h"

struct tg_shared_map;
struct tg_tls_shared;

struct tg_gateway {
    _Atomic uint64_t connections;    /* of clients, open now */
    _Atomic uint64_t handshakes;     /* of clients: arrivals under way */
    struct tg_tls_shared *tls;       /* ticket keys, sessions of origins; owned */
    struct tg_shared_map *addresses; /* connections per client address; owned */
    struct tg_map_watch addresses_watch;
    struct tg_zones *zones;       /* what plugins share; owned */
    struct tg_bus *bus;           /* what they tell each other; owned */
    struct tg_registry *registry; /* what is known of origins; one reference */
    struct tg_overload_shared overload;
    bool dev; /* answers tell what failed: set before the first request */
};

struct tg_gate {
    struct tg_worker *worker;                /* borrowed */
    struct tg_gateway *gateway;              /* borrowed */
    struct tg_snapshot *snapshot;            /* one reference */
    struct tg_vm_set *vms;                   /* one reference */
    struct tg_pool *pool;                    /* owned */
    struct tg_dns *dns;                      /* owned; NULL: names are looked up elsewhere */
    struct tg_resolver *resolver;            /* owned */
    const struct tg_gate_observer *observer; /* borrowed; NULL: nobody looks */
    struct tg_runner runner;
    struct tg_accounting accounting;
    struct tg_overload overload;
    struct tg_encoder_pool encoders;
    struct tg_list requests;      /* of struct tg_request */
    struct tg_list arrivals;      /* of connections that are no clients yet: arrival.h */
    struct tg_list mirrors;       /* of struct tg_mirror */
    uint32_t mirror_count;        /* in there */
    struct tg_list clients;       /* of struct tg_client; those idle longest come first */
    struct tg_list acceptors;     /* of struct tg_acceptor */
    bool stopped;                 /* no background work begins any more */
    struct tg_list background;    /* of struct tg_background */
    struct tg_mailbox mailbox;    /* events for the plugins in force */
    struct tg_list lingering;     /* of struct tg_activator: retired with work left */
    struct tg_claims claims;      /* on locks of zones */
    struct tg_zone_value in_hand; /* what core/bind copies into a VM; released with the next */
    struct tg_bind_object *free_objects;      /* of core/bind, for requests to come */
    void (*on_drained)(struct tg_gate *gate); /* once, after tg_gate_drain() */

    /* private */
    uint64_t date_second;
    char date[TG_CLOCK_HTTP_DATE_LEN];
};

enum tg_err tg_gateway_init(struct tg_gateway *gateway) TG_MUST_USE;
void tg_gateway_release(struct tg_gateway *gateway);

/* A gate on `worker`; it serves nothing before tg_gate_adopt(). */
enum tg_err tg_gate_init(struct tg_gate *gate, struct tg_worker *worker,
                         struct tg_gateway *gateway) TG_MUST_USE;

/* Before the first snapshot: names are looked up by `source` (borrowed) in place of DNS servers.
 * TG_E_NOMEM. */
enum tg_err tg_gate_resolve_by(struct tg_gate *gate,
                               const struct tg_resolver_source *source) TG_MUST_USE;

/* Puts a snapshot and its VMs in force; one reference of each is taken over, also on failure (then
 * the old ones stay). On the worker's thread. */
enum tg_err tg_gate_adopt(struct tg_gate *gate, struct tg_snapshot *snapshot,
                          struct tg_vm_set *vms) TG_MUST_USE;

/* No request, client or acceptor may be left. */
void tg_gate_release(struct tg_gate *gate);

/* Begins to drain; on_drained comes when no client is left, perhaps at once. */
void tg_gate_drain(struct tg_gate *gate);

/* Ends everything that is open, now. on_drained comes at the end of the round. */
void tg_gate_stop(struct tg_gate *gate);

/* In request.c: the request ends now, whatever it does or waits for. */
void tg_request_stop(struct tg_request *r);

/* A client or request is gone: tells on_drained when it was the last. */
void tg_gate_check_drained(struct tg_gate *gate);

/* The time now as in a Date field; valid until the next second. */
struct tg_str tg_gate_date(struct tg_gate *gate);

#endif
