/* fetch.h: a request that a plugin makes: one exchange with an origin of a named service, the whole
 * request in memory, and the whole response or (with on_piece) a piece of it at a time.
 *
 *     tg_fetch_new()      the caller fills in what is public, in the fetch's own arena
 *     tg_fetch_start()    on_done follows, once, from the loop
 *        ... CONNECTING -> SENT -> done ...
 *     tg_fetch_free()     at any time: an exchange that is not over is broken off, its connection
 *                         closed; on_done does not come any more
 *
 * Targets are chosen as for proxied requests (target.h): while connecting fails the next one is
 * tried, each once; a kept connection that the origin had closed is replaced once when the method
 * is idempotent. Connections come from, and go back to, the worker's pool.
 *
 * Streamed: on_piece tells that the head is there, and later that bytes are in `received`; nothing
 * more is read then until the caller, who empties `received`, calls tg_fetch_read(). on_done may
 * come while bytes are in `received` still.
 *
 * Bounds: `max_body` bytes of response body, limits.request.memory for heads and the request,
 * `deadline` for the head; who waits bounds the whole. TG_FETCHES_MAX of a VM at a time.
 *
 * Threads: the worker's. Memory goes at the end of the loop's round.
 */
#ifndef TG_GATEWAY_FETCH_H
#define TG_GATEWAY_FETCH_H

#include "base/fmt.h"
#include "gateway/gate.h"
#include "http/call.h"

#define TG_FETCHES_MAX 32

struct tg_vm_entry;
struct tg_targets;

struct tg_fetch {
    uint32_t magic;
    struct tg_arena arena; /* of all that belongs to it, itself included */

    /* what is sent: filled in by the caller */
    const struct tg_service_conf *service; /* borrowed, of `snapshot` */
    enum tg_method method;
    struct tg_str method_name;
    struct tg_fmt target; /* path and query, encoded; in the arena */
    struct tg_fmt fields; /* lines of checked fields, without Host and framing; in the arena */
    struct tg_str body;   /* p == NULL: none */
    uint64_t max_body;    /* bytes */
    uint64_t deadline;    /* us of the loop's clock */
    void (*on_done)(struct tg_fetch *fetch);
    void (*on_piece)(struct tg_fetch *fetch); /* NULL: the response is not streamed */
    void *arg;

    /* what came of it: valid in and after on_done */
    enum tg_err err;              /* TG_OK: there is a response; TG_E_LIMIT: body too large */
    const char *reason;           /* what the origin did wrong, or NULL; static */
    bool connected;               /* the failure came after the connection was there */
    struct tg_response_head head; /* in the arena */
    struct tg_buf received;       /* the body, or the piece of it that came last */

    /* private */
    struct tg_gate *gate;
    struct tg_vm_entry *entry;    /* one reference */
    struct tg_snapshot *snapshot; /* of the plugin's services when it began; one reference */
    struct tg_targets *targets;   /* of the same; one reference */
    struct tg_try try;
    uint64_t sent_at; /* us */
    struct tg_call *call;
    struct tg_roster_waiter name_waiter;
    const struct tg_balance *chosen_from; /* only compared */
    uint32_t index;                       /* of the target, there */
    uint32_t tried[TG_TRIES_MAX];
    uint32_t tried_count;
    uint32_t attempts;
    bool by_http1;      /* the origin asked for that */
    uint64_t body_seen; /* bytes of the response's body */
    struct tg_task read_later;
    struct tg_task free_later;
};

/* A fetch for the plugin of `entry`. TG_E_LIMIT: TG_FETCHES_MAX are there; TG_E_NOMEM. */
enum tg_err tg_fetch_new(struct tg_vm_entry *entry, struct tg_fetch **out) TG_MUST_USE;

/* Begins. On failure nothing has been sent, and on_done does not come. May be called from plugin
 * code: it enters no VM. */
enum tg_err tg_fetch_start(struct tg_fetch *fetch) TG_MUST_USE;

/* Asks for the next piece of a streamed response, from the next round of the loop on. */
void tg_fetch_read(struct tg_fetch *fetch);

void tg_fetch_free(struct tg_fetch **fetch);

#endif
