/* snapshot.h: one configuration, frozen.
 *
 * A snapshot is built aside by config/build, never changes afterwards and is shared by all workers
 * without a lock. It is reference counted: the process holds one reference to the current one,
 * every request holds one to the one it began on, so a reload lets old requests end on what they
 * know. The last unref frees it whole: all memory below lives in its blocks (see snapshot.c).
 *
 * Nothing that must survive a reload lives here: upstream connections, counters and VMs are kept
 * by stable names (service, target, plugin name and source digest) outside.
 *
 * Times are microseconds, sizes bytes. Strings are terminated for logging, and slices where they
 * are compared.
 */
#ifndef TG_CONFIG_SNAPSHOT_H
#define TG_CONFIG_SNAPSHOT_H

#include "base/budget.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/str.h"
#include "net/addr.h"
#include "observe/log.h"
#include "store/zone.h"
#include "upstream/balance.h"
#include "upstream/dns.h"

struct tg_consumer_store;
struct tg_answers_conf; /* these: config/traffic.h */
struct tg_canary_conf;
struct tg_mirror_conf;
struct tg_redirect_conf;
struct tg_rewrite_conf;
struct tg_split_conf;
struct tg_websocket_conf; /* config/websocket.h */
struct tg_route_table;
struct tg_expr;
struct tg_tls_context;

/* The phases that a request passes, in order. CERTIFICATE is a connection's, before its first;
 * MESSAGE is passed by each message of a WebSocket. */
enum tg_phase {
    TG_PHASE_CERTIFICATE,
    TG_PHASE_REWRITE,
    TG_PHASE_ACCESS,
    TG_PHASE_HEADER_FILTER,
    TG_PHASE_BODY_FILTER,
    TG_PHASE_MESSAGE,
    TG_PHASE_LOG,
    TG_PHASES
};

/* What plugins call it: "access". Static storage. */
const char *tg_phase_name(enum tg_phase phase);

/* What becomes of a request when a plugin fails. */
enum tg_on_error { TG_ON_ERROR_FAIL, TG_ON_ERROR_SKIP, TG_ON_ERROR_CLOSE };

/* A file that a plugin requires: read when the configuration was, so what runs is what was checked.
 */
struct tg_module_conf {
    struct tg_str name;      /* as required: "keys" */
    struct tg_str chunkname; /* as error messages name it: "plugins/hmac/keys.lua" */
    struct tg_str source;
};

/* What is turned away first when there is too much to do: gateway/overload.h. */
enum tg_importance { TG_IMPORTANCE_LOW, TG_IMPORTANCE_NORMAL, TG_IMPORTANCE_HIGH };

/* A plugin file, once per snapshot, whatever number of instances uses it. */
struct tg_plugin_conf {
    struct tg_str name;
    struct tg_str version;
    struct tg_str stage;     /* "guard" */
    struct tg_str chunkname; /* as error messages name the file: "plugins/cors/init.lua" */
    struct tg_str source;    /* text of the file */
    const struct tg_module_conf *modules; /* what `require` finds besides the library */
    uint32_t module_count;
    const struct tg_str *exports; /* keys that other plugins may read from ctx.shared */
    uint32_t export_count;
    uint64_t digest; /* of name, file, source and modules */
    uint32_t index;  /* in snapshot->plugins */
    uint32_t place;  /* stage and priority as one number: lower runs earlier */
    const struct tg_instance_conf *const *instances; /* that use it, by `nth` */
    uint32_t instance_count;
    unsigned phases;                 /* bit (1 << tg_phase) for each phase function it declares */
    struct tg_expr *when[TG_PHASES]; /* the phase is for such requests only; NULL: for all. Freed
                                        with the snapshot */
    bool wants_request_body;         /* needs.body */
    bool wants_response_body;
    bool wants_decode; /* needs.decode: its body_filter gets no compressed bodies */
    uint64_t dict;     /* needs.dict, needs.cache, needs.limit: sizes of its own zones, 0: none */
    uint64_t cache;
    uint64_t limit;
    bool wants_timers; /* needs.timers, needs.events */
    bool wants_events;
    bool wants_http; /* needs.http, needs.sink */
    bool wants_sink;
    uint64_t heap; /* limit of its VM, bytes */
};

/* One `tg.use`: a plugin with a configuration. */
struct tg_instance_conf {
    const struct tg_plugin_conf *plugin;
    struct tg_str id;
    uint32_t index;      /* in snapshot->instances */
    uint32_t nth;        /* among its plugin's, from 0 */
    struct tg_str conf;  /* normalised configuration, script/marshal encoding */
    struct tg_str where; /* "gateway.lua:65", for messages */
    struct tg_str scope; /* "routes.orders", with its id "routes.orders#id": its plugin has no other
                            of this name; stays over reloads */
    uint64_t digest;     /* of conf and scope; equal where they are */
    struct tg_expr *when; /* NULL: always; freed with the snapshot */
    enum tg_on_error on_error;
    uint64_t memory, churn, cpu, wall, body; /* limits: of settings, plugin and instance */
};

/* The instances that run in one phase, in order. */
struct tg_chain {
    const struct tg_instance_conf *const *v;
    uint32_t n;
};

struct tg_chains {
    struct tg_chain phase[TG_PHASES];
    bool decodes; /* a body_filter of these belongs to a plugin that wants_decode */
};

/* What consumers with equal plugins share: which instances are theirs. They are put among those of
 * the request's route when somebody is authenticated: gateway/consumer.h. */
struct tg_consumer_plugins {
    const struct tg_chains *chains; /* on all routes but these */
    const struct tg_consumer_route {
        uint32_t route; /* index in snapshot->routes, ascending */
        const struct tg_chains *chains;
    } * routes;
    uint32_t route_count;
};

struct tg_service_conf {
    struct tg_str name;
    uint32_t index;
    bool builtin_echo;  /* answered by the gateway itself */
    struct tg_str path; /* in front of every path that goes there; empty: none */
    const struct tg_balance_target *targets; /* their names are the keys of what is known of them */
    uint32_t target_count;
    uint64_t connect_timeout, response_timeout, io_timeout;
    struct tg_tls_context *tls; /* NULL: clear text; one reference */
    int proxy_protocol;         /* version of the PROXY header that origins get; 0: none */
    struct tg_policy policy;
    const struct tg_str *tags;
    uint32_t tag_count;
};

struct tg_route_conf {
    struct tg_str name;
    uint32_t index;
    const struct tg_service_conf *service; /* NULL: `split`, `redirect` or plugins must answer; 404
                                            * if none does */
    struct tg_str strip_prefix;            /* empty: none */
    bool preserve_host;
    bool client_cert;        /* only clients whose certificate was verified: 403 for others */
    uint32_t queue_priority; /* 0..9, where requests wait for a connection; 9 comes first */
    enum tg_importance importance;
    const struct tg_str *tags;
    uint32_t tag_count;
    /* What the route asks for instead of its service's, for the deadline instead of the settings';
     * 0 where it is silent. */
    uint64_t connect_timeout, response_timeout, io_timeout, deadline;
    const struct tg_hedge_conf *hedge;     /* NULL: as the service says */
    const struct tg_rewrite_conf *rewrite; /* these may be NULL: none */
    const struct tg_redirect_conf *redirect;
    const struct tg_split_conf *split;
    const struct tg_canary_conf *canary;
    bool chooses_late; /* split or canary need to know whose the request is */
    const struct tg_mirror_conf *mirror;
    const struct tg_websocket_conf *websocket;
    const struct tg_answers_conf *answers;
    /* Global, listener, service and route instances, ordered: one element for each listener, by
     * its index. Routes with the same plugins share theirs. The rewrite chain is empty. */
    const struct tg_chains *const *chains;
};

struct tg_listener_conf {
    struct tg_str name;
    uint32_t index;
    struct tg_str address; /* canonical, the key by which sockets are kept on reload */
    struct tg_addr addr;
    const struct tg_cidr *trusted; /* networks whose X-Forwarded-* and Forwarded are believed */
    uint32_t trusted_count;
    bool allow_trace;
    bool allow_connect;
    bool merge_slashes;         /* how paths are normalised: http/uri.h */
    bool answer_options;        /* OPTIONS that no route takes: Allow instead of 405 */
    bool http2;                 /* spoken: by agreement (ALPN), or in clear by prior knowledge */
    bool proxy_protocol;        /* a PROXY header comes first, from trusted networks alone */
    bool redirects;             /* to https, all requests */
    uint16_t redirect_port;     /* of https there */
    struct tg_tls_context *tls; /* NULL: clear text; one reference */
    struct tg_str hsts;         /* value of Strict-Transport-Security; empty: none */
    /* Global and listener instances: certificate for every TLS handshake, rewrite for every
     * request, the other phases for a request that no route takes. The access chain is empty. */
    const struct tg_chains *chains;
};

/* A zone that plugins share: tg.zone.dict, .cache, .limit. What is in it outlives the snapshot. */
struct tg_zone_conf {
    struct tg_str name;
    enum tg_zone_kind kind;
    uint64_t size;  /* bytes */
    uint64_t stale; /* of a cache, us */
};

struct tg_settings {
    uint32_t workers; /* 0: one per CPU that the process may use */
    enum tg_log_level log_level;
    struct tg_str server_name;  /* in Via; "tidegate" */
    struct tg_str admin_listen; /* "unix:/run/admin.sock", "127.0.0.1:9901"; empty: no listener */
    struct tg_place place;      /* where the gateway is; empty: not said */
    bool admin_write;           /* it takes orders through an address and port as well */
    struct tg_limits limits;
    struct tg_budget budget;
    uint64_t adaptive_latency; /* us within which requests should be answered; 0: fixed bound */
    uint32_t adaptive_min;     /* in flight in a worker, always let in */
    const struct tg_answers_conf *answers; /* NULL: none */
    struct tg_dns_conf dns; /* without timeout and tries, which are among the limits */
};

/* What becomes of a plugin's VMs when the snapshot takes over from another: config/follow.h. */
struct tg_kept {
    bool kept;             /* they go on: code, limits and configurations are the same */
    uint32_t index;        /* of the plugin there */
    const uint32_t *order; /* `nth` of an instance here -> of its equal there; NULL: the same */
};

struct tg_snapshot {
    _Atomic uint32_t refs;
    uint64_t revision; /* counts loads in this process, 1 is the first */
    struct tg_str path;
    struct tg_settings settings;
    const struct tg_listener_conf *listeners;
    uint32_t listener_count;
    const struct tg_service_conf *services;
    uint32_t service_count;
    const struct tg_route_conf *routes;
    uint32_t route_count;
    const struct tg_zone_conf *zones;
    uint32_t zone_count;
    struct tg_consumer_store *consumers; /* the declared ones; freed with the snapshot */
    uint32_t consumer_count;
    enum tg_importance consumers_importance; /* the highest that one declares; low: none does */
    const struct tg_consumer_plugins
        *consumer_plugins; /* what tg_consumer.plugins counts, from 1 */
    const struct tg_plugin_conf *plugins;
    uint32_t plugin_count;
    const struct tg_instance_conf *instances;
    uint32_t instance_count;
    struct tg_route_table *table; /* its handles are indexes into routes, as uintptr_t */
    uint64_t follows;             /* revision of the snapshot that it takes over from; 0: of none */
    const struct tg_kept *kept;   /* of plugins; NULL: none is kept */

    struct tg_list dead;              /* private: while it waits to be freed */
    struct tg_snapshot_block *blocks; /* private: the memory of all the above */
};

/* An empty snapshot with one reference, the caller's; NULL when memory is out. */
struct tg_snapshot *tg_snapshot_new(void) TG_MUST_USE;

/* `count * size` bytes of zeroes that live as long as the snapshot, aligned to 16; NULL when memory
 * is out. Only while it is built, by the thread that builds it. */
void *tg_snapshot_alloc(struct tg_snapshot *snapshot, size_t count, size_t size) TG_MUST_USE;

/* Copy of `s` in the snapshot's memory, terminated; p is NULL when memory is out. */
struct tg_str tg_snapshot_copy(struct tg_snapshot *snapshot, struct tg_str s) TG_MUST_USE;

/* Takes a reference; returns `snapshot`. Any thread. */
struct tg_snapshot *tg_snapshot_ref(struct tg_snapshot *snapshot);

/* Drops the caller's reference and nulls it; the last one frees the snapshot, or leaves that to
 * tg_snapshot_reap(). Any thread. */
void tg_snapshot_unref(struct tg_snapshot **snapshot);

/* Large snapshots take milliseconds to free, which no worker's loop has. With `wake` set, the last
 * unref only puts the snapshot aside and calls wake(arg), in its own thread; whoever is woken calls
 * tg_snapshot_reap(). NULL: freed at once, as it is at the start. While no other thread has a
 * snapshot. */
void tg_snapshot_reap_by(void (*wake)(void *arg), void *arg);

/* Frees what was put aside. Any thread. */
void tg_snapshot_reap(void);

#endif
