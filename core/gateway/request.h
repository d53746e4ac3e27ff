/* request.h: one request on its way through the gateway.
 *
 * Everything that lives as long as the request is in its arena, the struct itself included. The
 * state says where it stands; set_state() in request.c is the only place that moves it.
 *
 *            +--------- a plugin or the gateway answers -----------------------+
 *            |            |            |             |                         v
 *   REWRITE -> ACCESS -> CONNECT -> SENDING -> HEADER_FILTER -> RELAY -> LOG -> DONE
 *                 ^                    |                          |      ^
 *                 |                    +---------> TUNNEL --------+------+
 *                 +------- the origin of a WebSocket is gone -+
 *
 *   HANDSHAKE      of a connection, not of a request: the certificate phase, then DONE
 *   REWRITE        head known; plugins of global and listener scope; then routing
 *   ACCESS         route known; plugins of the route
 *   CONNECT        waiting for a connection to the origin
 *   SENDING        the request goes out, the response head is awaited
 *   HEADER_FILTER  response head known (from origin, plugin or gateway)
 *   RELAY          response body streams through body filters to the client
 *   TUNNEL         both directions are raw bytes; a WebSocket that is inspected (ws.h) may go back
 *                  to CONNECT for another connection to the origin, while its client is served
 *   LOG            the answer is out or broken; plugins look at it
 *
 * A request waits in its state while a plugin is suspended (r->plugins.waiting). The client may
 * vanish in every state: the request then goes to LOG with r->aborted set.
 *
 * Threads: one worker's. This header is what core/bind shows to Lua: functions that take a
 * request and may fail for a reason of the caller's return tg_err; none calls back into Lua.
 */
#ifndef TG_GATEWAY_REQUEST_H
#define TG_GATEWAY_REQUEST_H

#include "base/buf.h"
#include "base/json.h"
#include "config/snapshot.h"
#include "event/worker.h"
#include "http/message.h"
#include "http/stream.h"
#include "script/marshal.h"
#include "script/run.h"
#include "upstream/pool.h"
#include "upstream/roster.h"
#include "upstream/try.h"

struct tg_consumer;
struct tg_wait;
struct tg_compression;
struct tg_decode;
struct tg_decompression;
struct tg_encode;
struct tg_unpack;
struct tg_tls_facts;
struct tg_transport;
struct tg_mirror;
struct tg_param_text;
struct tg_quota_outcome;
struct tg_hedge;
struct tg_ws;

#define TG_REQUEST_MAGIC 0x7e90e57du

struct tg_gate;
struct tg_request;
struct tg_vm_entry;
struct tg_vm_set;
struct tg_call;

enum tg_request_state {
    TG_REQUEST_HANDSHAKE, /* no request yet: plugins look at a connection's ClientHello */
    TG_REQUEST_REWRITE,
    TG_REQUEST_ACCESS,
    TG_REQUEST_CONNECT,
    TG_REQUEST_SENDING,
    TG_REQUEST_HEADER_FILTER,
    TG_REQUEST_RELAY,
    TG_REQUEST_TUNNEL,
    TG_REQUEST_LOG,
    TG_REQUEST_DONE,
    TG_REQUEST_STATES
};

/* A TLS handshake that plugins have a say in: the part of gateway/arrival that they see. */
struct tg_handshake {
    struct tg_transport *transport;
    int alert; /* of ctx.tls:reject(); 0: none */
    /* The chain, which waited, came to `step`, an enum tg_step. */
    void (*on_step)(struct tg_handshake *h, int step);
};

/* Where the answer came from: ctx.resp.source. */
enum tg_source { TG_SOURCE_GATEWAY, TG_SOURCE_PLUGIN, TG_SOURCE_UPSTREAM };

/* What a plugin did to the response before there is one (phases rewrite and access). */
enum tg_edit_kind { TG_EDIT_SET, TG_EDIT_ADD, TG_EDIT_REMOVE, TG_EDIT_STATUS };

struct tg_edit {
    struct tg_edit *next;
    enum tg_edit_kind kind;
    unsigned status;
    struct tg_field field;
};

/* Edits that were checked beforehand, of a configuration: applied without copies, so they outlive
 * every request that they are applied to. */
struct tg_edits {
    const struct tg_compression *compression;     /* of the response; NULL: none */
    const struct tg_decompression *decompression; /* of the request's body; NULL: none */
    uint32_t n;
    struct tg_edits_item {
        enum tg_edit_kind kind; /* SET, ADD or REMOVE */
        struct tg_field field;
        /* NULL: the field's value as it is. Else it makes the value, fit for a field and living as
         * long as the request; p == NULL: no memory. */
        struct tg_str (*render)(const void *of, struct tg_request *r);
        const void *of;
        bool unless_empty; /* no edit where the value is empty */
    } v[];
};

/* What one plugin (all its instances) holds for this request. */
struct tg_plugin_slot {
    struct tg_plugin_slot *next;
    struct tg_vm_entry *entry; /* the VM that it began with: one reference, while `open` */
    struct tg_vm *vm;          /* the entry's */
    uint32_t plugin;           /* index in snapshot->plugins */
    const struct tg_instance_conf *instance; /* the one that ran last */
    bool open;
    bool entered; /* its account is open while it is, and core/bind has a part */
    struct tg_account account;
    bool killed;                   /* for this request: it takes no further part */
    struct tg_list held;           /* of struct tg_held */
    uint32_t deferred;             /* functions given to ctx:defer() */
    uint32_t tasks;                /* of ctx:spawn() that are not over */
    uint64_t cpu_ns;               /* CPU time so far, of a request that is measured */
    struct tg_bind_object *object; /* what ctx and its parts point to; core/bind's */
    int state_ref; /* of ctx.state, LUA_NOREF before the first use; both owned by core/bind */
};

/* A function that waits for the request's end: ctx:defer(). */
struct tg_deferred {
    struct tg_deferred *next;
    const struct tg_instance_conf *instance; /* whose bounds it has */
    struct tg_plugin_slot *slot;
    int function;              /* registry reference in the slot's VM; owned */
    struct tg_account account; /* while it runs */
};

/* A value that a plugin shows to others: ctx.shared. */
struct tg_shared_value {
    struct tg_shared_value *next;
    struct tg_str key; /* "plugin.key" */
    struct tg_blob blob;
};

/* How the request goes to the origin. NULL slices mean "as the client sent it". */
struct tg_outbound {
    struct tg_str method_name;
    enum tg_method method;
    struct tg_str path;      /* encoded, starts with "/" */
    struct tg_str host;      /* what Host says; p == NULL: see tg_forward_host() */
    struct tg_str query;     /* without "?" */
    bool query_set;          /* query replaces the client's; p == NULL: none */
    bool fields_copied;      /* fields replaces in.fields */
    struct tg_str made_host; /* then: the Host that stands in them, unless a plugin set one */
    struct tg_fields fields;
    bool body_set; /* body replaces the client's */
    struct tg_str body;
    bool target_set;
    struct tg_addr target;
    uint64_t connect_timeout, response_timeout, io_timeout; /* 0: as the route says */
    uint64_t hash_key;                                      /* ctx.upstream:hash_key(), hashed */
    bool hash_key_set;
    const struct tg_retry_conf *retry; /* in the arena; NULL: as the service says */
    bool upgrade;                      /* the wish to switch protocols goes on to the origin */
};

/* One request to one target, as the access log tells it. */
struct tg_attempt {
    struct tg_attempt *next;
    struct tg_str target;      /* as the configuration spells it, or an address in the arena */
    uint32_t index;            /* of the target; UINT32_MAX: a plugin's own */
    uint64_t started;          /* us */
    uint64_t ended;            /* us: the head was there, or it failed; 0: not yet */
    uint16_t status;           /* 0: no answer */
    enum tg_err error;         /* TG_OK: there was an answer, or nothing is known yet */
    enum tg_retry_class class; /* of what was wrong; TG_RETRY_NEVER: nothing that may be repeated */
    bool stale;                /* a kept connection that the origin had closed */
    bool hedge;                /* sent beside another that was not answered: hedge.h */
    bool cancelled;            /* the other one was answered first */
};

/* What is known of the origin's side: ctx.upstream, the access log. */
struct tg_upstream_facts {
    bool called;
    uint8_t hedges;  /* of the attempts */
    uint16_t status; /* 0: no answer yet */
    uint32_t attempts;
    struct tg_attempt first; /* the others are in the arena */
    struct tg_attempt *last; /* the one at hand, or that was last; NULL: none */
    struct tg_addr addr;     /* of that attempt; len 0 before */
    uint64_t connect_start;  /* us; 0: not yet */
    uint64_t connected;
    uint64_t head_at;        /* response head complete */
    enum tg_err error;       /* of that attempt */
    struct tg_fields fields; /* as the origin sent them */
};

/* The request's body when somebody asked to have it whole. */
struct tg_collected_body {
    bool wanted;
    bool piecewise; /* who waits wants what comes next, not the end */
    bool complete;
    bool too_large;
    uint64_t max;
    size_t offset; /* piecewise: of what is waited for */
    struct tg_buf buf;
    struct tg_str whole; /* p != NULL once it was asked for: one piece in the arena */
};

/* A message of a WebSocket on its way through plugins. */
struct tg_plugin_message {
    bool from_origin;
    bool text;
    bool unchanged; /* all plugins let it pass as it was: the caller has it */
    bool dropped;
    uint16_t close; /* the WebSocket is to be closed so; 0: no */
    struct tg_str reason;
    size_t max; /* bytes that it may have in the end */
};

/* The plugin that runs or waits. */
struct tg_plugin_run {
    enum tg_phase phase;
    uint32_t next; /* index in the chain */
    bool active;   /* run is initialised */
    bool waiting;  /* run is suspended */
    bool chunk_eof;
    const struct tg_instance_conf *instance;
    struct tg_plugin_slot *slot;
    struct tg_deferred *deferred; /* what runs instead of a phase; NULL: the phase */
    struct tg_run run;
    struct tg_task again;    /* next round: preempted */
    struct tg_str chunk;     /* what the body filter got, while the caller's bytes are there */
    struct tg_buf chunk_buf; /* the same afterwards, or what the filter before made of it */
    struct tg_buf *out;      /* where the last filter's bytes go; the caller's */
    struct tg_plugin_message message;
    bool failed;           /* ctx:fail() ended the phase */
    struct tg_str failure; /* what it said; in the arena */
    struct tg_str shown;   /* what failed, for the client (run --dev); in the arena, or p == NULL */
    /* What the waiting host function waits for; called once with results to be pushed on run.L, or
     * with cancelled = true when the activation ends. NULL: nothing is waited for. */
    int (*on_resume)(struct tg_request *r, bool cancelled);
    struct tg_wait *wait; /* of tg_request_wait(); borrowed */
};

struct tg_request {
    uint32_t magic;
    enum tg_request_state state;
    struct tg_list link; /* in the gate's list of requests */
    struct tg_arena arena;
    struct tg_gate *gate;         /* of this worker; borrowed */
    struct tg_snapshot *snapshot; /* borrowed from vms, which holds it */
    struct tg_vm_set *vms;        /* one reference */
    struct tg_stream *stream;     /* borrowed; NULL once the exchange is over */
    const struct tg_listener_conf *listener;

    char id[TG_RAND_ID_LEN];
    uint64_t started;      /* us, mono */
    uint64_t started_real; /* us since 1970 */
    uint64_t deadline;     /* us, mono: the response head must be out */

    /* what the client sent; never changes */
    struct tg_request_head in;
    struct tg_addr peer;            /* the other end of the connection */
    struct tg_addr client;          /* the client as trusted proxies tell it, else peer */
    struct tg_str scheme;           /* "http" or "https", as trusted proxies tell it */
    struct tg_str client_host;      /* host as trusted proxies tell it, else in.authority */
    bool trusted;                   /* the peer is a trusted proxy */
    struct tg_handshake *handshake; /* in the certificate phase, else NULL; borrowed */
    struct tg_tls_facts *tls;       /* of the connection; NULL: clear text; one reference */

    /* where it goes */
    const struct tg_route_conf *route; /* NULL: none */
    const struct tg_service_conf *service;
    bool service_set; /* by a plugin */
    const struct tg_chains *chains;
    const struct tg_chains *route_chains; /* without the consumer's own; NULL: it has none */
    const struct tg_consumer *consumer;   /* whose it is; the snapshot's. NULL: nobody's */
    struct tg_str credential;             /* by which: "key:1"; p == NULL: not told */
    struct tg_str *capture_names;         /* in the arena */
    struct tg_str *captures;
    uint32_t capture_count;
    size_t matched;                    /* bytes of in.path that the route's pattern matched */
    struct tg_param_text *param_texts; /* param.c's: what was decoded of the head, by name */
    struct tg_outbound out;
    struct tg_upstream_facts upstream;
    struct tg_mirror *mirror; /* a copy that waits for the body; NULL: none; owned by mirror.c */
    struct tg_call *origin;   /* leased; NULL: none */
    bool mirror_seen;         /* whether there is one has been decided */
    bool connected;           /* it may be written to */
    bool by_http1;            /* an origin asked for that */
    uint8_t repeats;          /* times it went once more because an origin did nothing of it */
    uint32_t target;          /* index in the balancer of the attempt */
    struct tg_pool_waiter waiter;
    struct tg_roster_waiter name_waiter; /* for the first answer about the service's names */
    struct tg_hedge *hedge;              /* NULL: none; in the arena */
    struct tg_try try;                   /* the attempt, as the origin is told of it */
    bool retrying;                       /* it holds a place in the budget of the service */
    struct tg_buf replay;                /* what went of the client's body, for a repetition */
    bool replayable;                     /* all that went is there */
    bool out_ended;                      /* the request went out whole */
    bool in_ended;                       /* the client's body has come whole */
    bool continue_sent;                  /* 100 went to the client */
    bool body_seen;                      /* a byte of a body went to an origin */

    uint64_t grpc_until; /* us: when the client's grpc-timeout is over; 0: it has none */

    /* the answer */
    enum tg_source source;
    struct tg_response_head resp; /* what the client gets; edited in header_filter */
    struct tg_str resp_body;      /* of an answer that is not the origin's */
    const struct tg_fields *resp_trailers;
    bool grpc;             /* the client speaks gRPC; known once it matters */
    bool grpc_told;        /* the answer has a status of gRPC: */
    uint8_t grpc_status;   /* 0..16 */
    struct tg_edit *edits; /* recorded in rewrite and access, oldest first */
    struct tg_edit **edits_end;
    uint32_t edit_count; /* all header edits, against limits.request_edits */
    bool head_sent;
    bool answer_room;    /* see tg_request_make_room() */
    bool upstream_ended; /* the origin's body has come whole */
    bool ended;          /* send_end was called */
    struct tg_ws *ws;    /* its WebSocket, inspected; in the arena. NULL: it has none */
    bool tunnel;         /* it is, or was, one: both sides speak past the gateway */
    bool is_websocket;   /* such a tunnel of WebSocket frames, inspected or not */
    bool let_in;         /* counted by overload.h: among all in flight, */
    bool adaptive;       /* among those of the adaptive bound */
    enum tg_importance admitted_as;
    bool aborted;      /* the client did not get the whole answer */
    bool abort_wanted; /* tg_request_abort() was called */
    const char *error; /* machine name of what went wrong, e.g. "upstream_timeout"; NULL: fine */
    uint64_t head_sent_at;
    uint64_t bytes_sent;     /* of the response body, to the client */
    uint64_t bytes_received; /* of the request body */

    /* bodies for plugins */
    struct tg_collected_body body;
    struct tg_decode *decode; /* NULL: the origin's body is relayed as it is; owned */
    struct tg_unpack *unpack; /* NULL: the client's body goes as it is; owned by unpack.c */
    const struct tg_compression *compression; /* wished for; NULL: none. Of a VM */
    struct tg_encode *encode;                 /* NULL: the client gets the body as it is; owned */
    bool filter_buffers; /* ctx.resp:buffer{}: one call of body_filter with the whole body */
    bool held_eof;       /* what is held is the end */
    uint64_t filter_max;
    struct tg_buf held;     /* response bytes that wait for a body filter */
    struct tg_buf filtered; /* what the filters gave, on its way to the stream */

    struct tg_timer clock; /* of the gateway: waiting for 100 (Continue), an idle tunnel */
    uint64_t last_byte;    /* us: in a tunnel */

    struct tg_timer timer; /* sleep and wall time of the plugin that runs */
    bool clock_on;
    bool timer_on;
    bool measured; /* what its plugins cost: accounting.h */
    uint64_t wall_deadline;
    struct tg_plugin_run plugins;
    struct tg_plugin_slot *slots;
    struct tg_deferred *deferred; /* the last one first */
    struct tg_shared_value *shared;
    struct tg_quota_outcome *quotas; /* that it was asked for: quota.h */
    struct tg_str log_fields;  /* extra members of the access record as JSON text, without braces */
    struct tg_task read_later; /* the body that a plugin waits for is read at the round's end */
    struct tg_task free_later;
};

/* ---- Answers: for core/bind and the gateway ---- */

/* Room in the arena for an error, whatever plugins have used of limits.request.memory. */
void tg_request_make_room(struct tg_request *r);

/* Prepares an answer of this process's own: status 200..599, `body` and the fields' slices are in
 * the arena or static. The phase then ends (the plugin by tg_run_exit()), the answer passes the
 * header and body filters. In header_filter it replaces the origin's answer. */
enum tg_err tg_request_answer(struct tg_request *r, enum tg_source source, unsigned status,
                              struct tg_str body) TG_MUST_USE;

/* Adds or replaces a field of the answer that tg_request_answer() prepared, or, in header_filter,
 * of the response. TG_E_INVALID: name or value not valid in a head; TG_E_EXISTS: the field is the
 * gateway's own (framing); TG_E_LIMIT: too many edits; TG_E_NOMEM. Slices are copied. */
enum tg_err tg_request_edit_response(struct tg_request *r, enum tg_edit_kind kind,
                                     struct tg_str name, struct tg_str value) TG_MUST_USE;

/* Whether a plugin may edit a field of this name so: TG_E_INVALID, TG_E_EXISTS as above. Sets the
 * field's number and mark. */
enum tg_err tg_edit_check(struct tg_field *field) TG_MUST_USE;

/* Applies prepared edits to the response, or to what goes to the origin. They do not count against
 * limits.request.edits: their number is the configuration's. TG_E_NOMEM. */
enum tg_err tg_request_apply_response(struct tg_request *r,
                                      const struct tg_edits *edits) TG_MUST_USE;
enum tg_err tg_request_apply_upstream(struct tg_request *r,
                                      const struct tg_edits *edits) TG_MUST_USE;

/* The same for one field, identified, whose slices live as long as the request. */
enum tg_err tg_request_apply_field(struct tg_request *r, enum tg_edit_kind kind,
                                   const struct tg_field *field) TG_MUST_USE;

/* Status of the response, now (header_filter) or as soon as there is one. TG_E_INVALID unless
 * 200..599. */
enum tg_err tg_request_set_status(struct tg_request *r, unsigned status) TG_MUST_USE;

/* Adds a member to the access record: what is written to `j` between these two, into `f`, is the
 * value of `key` (letters, digits and "_"). TG_E_LIMIT: plugins have added too much; TG_E_NOMEM. */
void tg_request_begin_log_field(struct tg_request *r, struct tg_str key, struct tg_fmt *f,
                                struct tg_json *j);
enum tg_err tg_request_end_log_field(struct tg_request *r, const struct tg_fmt *f) TG_MUST_USE;

/* Sets, adds or removes a field of what goes to the origin; errors as above. Slices are copied. */
enum tg_err tg_request_edit_upstream(struct tg_request *r, enum tg_edit_kind kind,
                                     struct tg_str name, struct tg_str value) TG_MUST_USE;

/* Method, path (starts with "/", encoded) and query of what goes to the origin; copied.
 * TG_E_INVALID when they may not stand in a request line. An empty query removes it. */
enum tg_err tg_request_set_method(struct tg_request *r, struct tg_str method) TG_MUST_USE;
enum tg_err tg_request_set_path(struct tg_request *r, struct tg_str path) TG_MUST_USE;
enum tg_err tg_request_set_query(struct tg_request *r, struct tg_str query) TG_MUST_USE;

/* Body that goes to the origin in place of the client's; copied. */
enum tg_err tg_request_set_body(struct tg_request *r, struct tg_str body) TG_MUST_USE;

/* In the message phase: the WebSocket is to be closed, both ways, once the plugin that runs has
 * ended. `reason` is copied. TG_E_INVALID: a code that no peer may send, or a reason that is too
 * long or no UTF-8; TG_E_NOMEM. */
enum tg_err tg_request_close_websocket(struct tg_request *r, uint16_t code,
                                       struct tg_str reason) TG_MUST_USE;

/* Sends the request to another declared service. TG_E_NOT_FOUND. */
enum tg_err tg_request_set_service(struct tg_request *r, struct tg_str name) TG_MUST_USE;

/* The key by which a hashing balancer chooses the target. */
void tg_request_set_hash_key(struct tg_request *r, struct tg_str key);

/* How attempts may follow one another: as things are (defaults where nothing is configured), and
 * from now on. TG_E_NOMEM. */
struct tg_retry_conf tg_request_retry(const struct tg_request *r);
enum tg_err tg_request_set_retry(struct tg_request *r,
                                 const struct tg_retry_conf *retry) TG_MUST_USE;

/* ---- Waiting: for core/bind; each is followed by `return tg_run_suspend(L)` ---- */

/* What gateway/wait.h says of tg_wait_begin(), for the plugin that runs. */
enum tg_err tg_request_wait(struct tg_request *r, struct tg_wait *wait, uint64_t until) TG_MUST_USE;

/* Collects the client's body, at most `max` bytes. TG_OK: it is there already, or will not come
 * (r->body.too_large): do not suspend. TG_E_AGAIN: suspend; on_resume runs when it is there.
 * TG_E_UNAVAILABLE: the body went elsewhere already. */
enum tg_err tg_request_wait_body(struct tg_request *r, uint64_t max,
                                 int (*on_resume)(struct tg_request *r,
                                                  bool cancelled)) TG_MUST_USE;

/* A body of more than `max` bytes is refused with 413 from here on; never more than is allowed
 * already. False: it is known to be larger, or that much has come. */
bool tg_request_limit_body(struct tg_request *r, uint64_t max);

/* Waits for what the client's body has at `offset`. TG_OK: tg_request_chunk() has it already, or
 * the body ends there, or is larger than `max` (r->body.too_large). Else as tg_request_wait_body().
 */
enum tg_err tg_request_wait_chunk(struct tg_request *r, uint64_t max, size_t offset,
                                  int (*on_resume)(struct tg_request *r,
                                                   bool cancelled)) TG_MUST_USE;

/* The plugin does not wait any more, whatever has come: the rest is not read until somebody asks.
 */
void tg_request_unwait_body(struct tg_request *r);

/* What was waited for there: bytes in one piece, borrowed until more come; empty at the end. */
struct tg_str tg_request_chunk(const struct tg_request *r);

/* The collected body in one piece, in the arena; p == NULL: no memory. */
struct tg_str tg_request_body(struct tg_request *r);

/* ---- Views ---- */

/* What the origin would be sent now: fields as edited so far. */
const struct tg_fields *tg_request_upstream_fields(const struct tg_request *r);

/* The exchange is to be broken off: ctx:abort(). Takes effect when the plugin that runs has ended
 * (STOP): the client sees an incomplete answer. */
void tg_request_abort(struct tg_request *r);

/* What was wrong with an attempt: its class, "stale", "cancelled", or NULL. */
const char *tg_attempt_label(const struct tg_attempt *attempt);

const char *tg_request_state_name(enum tg_request_state state);
const char *tg_source_name(enum tg_source source);

#endif
