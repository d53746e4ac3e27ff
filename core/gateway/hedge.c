/* hedge.c: see hedge.h. */
#include "base/banned.h"
#include "gateway/hedge.h"

#include "base/assert.h"
#include "gateway/mirror.h"
#include "gateway/target.h"
#include "gateway/vm_set.h"
#include "observe/metrics.h"

#define HEDGE_MAGIC 0x4ed6e001u
#define LOOK        (10 * TG_USEC_PER_MSEC) /* the least time until a request is looked at again */

enum state { ARMED, DIALLING, SENT, OVER };

struct tg_hedge {
    uint32_t magic;
    enum state state;
    struct tg_request *r;
    struct tg_timer timer;
    uint64_t delay;         /* us */
    struct tg_call *client; /* leased while DIALLING and SENT */
    bool again;             /* it went once more, a kept connection was dead */
    struct tg_try try;
    struct tg_attempt *attempt;
    struct tg_fleet *fleet; /* of the service; borrowed from the balancer */
    uint64_t connected;     /* us */
    bool counted;           /* it has a place in the budget */
};

static const struct tg_call_events events;

static void set_state(struct tg_hedge *h, enum state to)
{
    static const unsigned allowed[] = {
        [ARMED] = 1u << DIALLING | 1u << OVER,
        [DIALLING] = 1u << DIALLING | 1u << SENT | 1u << OVER,
        [SENT] = 1u << DIALLING | 1u << OVER,
        [OVER] = 0,
    };
    tg_assert(allowed[h->state] & (1u << to));
    h->state = to;
}

static bool is_under_way(const struct tg_hedge *h)
{
    return h != NULL && (h->state == DIALLING || h->state == SENT);
}

static void count(const struct tg_request *r, enum tg_metric_id id)
{
    tg_metric_inc(r->gate->worker->cells, id);
}

/* ---- The end -----------------------------------------------------------------------------------
 */

/* Forgets the hedge, which has nothing any more. */
static void end(struct tg_hedge *h)
{
    struct tg_request *r = h->r;
    set_state(h, OVER);
    tg_timer_release(&h->timer);
    if (h->counted)
        tg_retry_end(&h->fleet->retries);
    h->magic = 0;
    r->hedge = NULL;
}

/* An attempt that is let go of before it ended: its target hears nothing of it, but that it has
 * not answered for so long. */
static void note_cancelled(struct tg_request *r, struct tg_attempt *a, const struct tg_try *try,
                           uint64_t connected)
{
    uint64_t now = tg_request_now(r);
    a->ended = now;
    a->cancelled = true;
    if (try->origin != NULL && connected > 0)
        tg_origin_note_at_least(try->origin, now - connected, now);
}

static void let_go(struct tg_hedge *h)
{
    tg_pool_return(h->r->gate->pool, &h->client, &h->r->service->policy.pool);
    tg_try_end(&h->try, tg_request_now(h->r));
}

void tg_hedge_drop(struct tg_request *r)
{
    struct tg_hedge *h = r->hedge;
    if (h == NULL)
        return;
    tg_magic_check(h, HEDGE_MAGIC);
    if (is_under_way(h)) {
        note_cancelled(r, h->attempt, &h->try, h->connected);
        count(r, TG_METRIC_HEDGES_CANCELLED);
        let_go(h);
    }
    end(h);
}

static void record_pace(const struct tg_request *r)
{
    struct tg_balance *balance = r->vms->targets->balances[r->service->index];
    if (tg_hedge_conf_of(r)->share <= 0 || balance == NULL)
        return;
    struct tg_pace *pace = tg_balance_pace(balance);
    uint64_t now = tg_request_now(r);
    if (pace != NULL)
        tg_pace_record(pace, now - r->upstream.last->started, now);
}

void tg_hedge_settle(struct tg_request *r)
{
    record_pace(r);
    tg_hedge_drop(r);
}

/* ---- Changing places ---------------------------------------------------------------------------
 */

/* Lets go of the exchange at hand, whatever it is doing. */
static void give_up_first(struct tg_request *r)
{
    struct tg_attempt *a = r->upstream.last;
    if (a->ended == 0)
        note_cancelled(r, a, &r->try, r->upstream.connected);
    if (r->waiter.site != NULL)
        tg_pool_leave(r->gate->pool, &r->waiter);
    tg_pool_return(r->gate->pool, &r->origin, &r->service->policy.pool);
    r->connected = false;
    tg_request_clear_clock(r);
    tg_attempt_end(r);
}

/* The hedge's exchange becomes the request's own. */
static void change_places(struct tg_hedge *h)
{
    struct tg_request *r = h->r;
    bool sent = h->state == SENT;
    give_up_first(r);
    r->origin = h->client;
    r->origin->events = &tg_proxy_events;
    r->origin->owner = r;
    r->try = h->try;
    r->target = h->try.index;
    r->retrying = h->counted;
    h->counted = false;
    r->upstream.last = h->attempt;
    r->upstream.addr = tg_target_at(r->try.balance, r->target)->addr;
    r->upstream.connect_start = h->attempt->started;
    r->upstream.connected = h->connected;
    if (r->state == TG_REQUEST_SENDING && !sent)
        tg_request_set_state(r, TG_REQUEST_CONNECT);
    else if (r->state == TG_REQUEST_CONNECT && sent)
        tg_request_set_state(r, TG_REQUEST_SENDING);
    r->connected = r->out_ended = sent;
    end(h);
}

bool tg_hedge_take_over(struct tg_request *r)
{
    if (!is_under_way(r->hedge))
        return false;
    count(r, TG_METRIC_HEDGES_TOOK_OVER);
    change_places(r->hedge);
    return true;
}

/* ---- Sending -----------------------------------------------------------------------------------
 */

static void send_kept(struct tg_call *client, const struct tg_buf *buf)
{
    for (size_t at = 0; at < buf->size;) {
        struct tg_str piece = tg_buf_piece(buf, at);
        tg_call_send_body(client, piece);
        at += piece.n;
    }
}

static void mirror_kept(struct tg_request *r, const struct tg_buf *buf)
{
    for (size_t at = 0; at < buf->size && r->mirror != NULL;) {
        struct tg_str piece = tg_buf_piece(buf, at);
        tg_mirror_body(r, piece);
        at += piece.n;
    }
}

/* The copy leaves with the first of the two that goes out; what went before has been copied. */
static void send_mirror(struct tg_request *r)
{
    tg_mirror_begin(r);
    if (r->mirror != NULL && r->out.body_set)
        tg_mirror_body(r, r->out.body);
    else
        mirror_kept(r, &r->body.buf);
    if (r->mirror != NULL)
        tg_mirror_end(r);
}

static void send_request(struct tg_hedge *h)
{
    struct tg_request *r = h->r;
    struct tg_call_limits limits = tg_proxy_limits(r, h->attempt->started);
    set_state(h, SENT);
    h->connected = tg_request_now(r);
    tg_call_begin(h->client, &r->arena, r->out.method, &limits, &events, h);
    struct tg_fmt *f = tg_call_stage(h->client, tg_forward_size(r));
    tg_forward_write(r, f);
    tg_call_set_framing(h->client, tg_proxy_write_framing(r, f));
    if (r->out.body_set) {
        tg_call_send_body(h->client, r->out.body);
    } else {
        send_kept(h->client, &r->replay);
        send_kept(h->client, &r->body.buf);
    }
    tg_call_send_end(h->client, NULL);
    if (r->route->mirror != NULL)
        send_mirror(r);
}

/* A connection to the target that was chosen, and the record of the attempt. */
static enum tg_err dial(struct tg_hedge *h, bool fresh)
{
    struct tg_request *r = h->r;
    struct tg_pool_target target;
    char room[TG_PROXY_HEADER_MAX];
    bool connected;
    uint64_t now = tg_request_now(r);
    tg_proxy_reach(r, &h->try, tg_attempt_deadline(r, now), room, &target);
    target.origin = h->try.origin;
    target.fresh = fresh;
    enum tg_err err = tg_pool_lease(r->gate->pool, &target, &events, h, &h->client, &connected);
    if (err != TG_OK)
        return err;
    h->attempt = tg_attempt_add_hedge(r, &h->try);
    if (h->attempt == NULL) {
        tg_pool_return(r->gate->pool, &h->client, target.conf);
        return TG_E_NOMEM;
    }
    h->connected = 0;
    set_state(h, DIALLING);
    if (connected)
        send_request(h);
    return TG_OK;
}

/* ---- The time has come -------------------------------------------------------------------------
 */

/* Whether all of the body is at hand, to be sent beside the first request. */
static bool has_body(const struct tg_request *r)
{
    if (r->in.framing == TG_FRAMING_NONE || r->out.body_set)
        return true;
    return r->in_ended && (r->body_seen ? r->replayable : r->body.complete);
}

/* Whether the first request is under way: not answered, and not pausing before another. */
static bool is_first_out(const struct tg_request *r)
{
    if (r->state != TG_REQUEST_CONNECT && r->state != TG_REQUEST_SENDING)
        return false;
    return r->origin != NULL || r->waiter.site != NULL;
}

static bool afford(struct tg_hedge *h)
{
    struct tg_retry_conf conf = tg_request_retry(h->r);
    uint32_t live = atomic_load_explicit(&h->fleet->in_flight, memory_order_relaxed);
    h->counted = tg_retry_begin(&conf, &h->fleet->retries, live);
    if (!h->counted)
        count(h->r, TG_METRIC_HEDGES_REFUSED);
    return h->counted;
}

/* A target that was not tried and has connections to spare. */
static enum tg_err choose(struct tg_hedge *h)
{
    if (!tg_attempt_has_other(h->r))
        return TG_E_NOT_FOUND;
    if (!afford(h))
        return TG_E_LIMIT;
    enum tg_err err = tg_attempt_choose(h->r, &h->try);
    if (err == TG_OK && atomic_load_explicit(&h->try.origin->waiting, memory_order_relaxed) > 0)
        err = TG_E_UNAVAILABLE;
    return err;
}

/* The second request; where it cannot go, the hedge is over. */
static void begin(struct tg_hedge *h)
{
    struct tg_request *r = h->r;
    enum tg_err err = choose(h);
    if (err == TG_OK)
        err = dial(h, false);
    if (err == TG_OK) {
        count(r, TG_METRIC_HEDGES);
        return;
    }
    tg_try_end(&h->try, tg_request_now(r));
    end(h);
}

static void on_time(struct tg_timer *timer)
{
    struct tg_hedge *h = TG_CONTAINER_OF(timer, struct tg_hedge, timer);
    tg_magic_check(h, HEDGE_MAGIC);
    if (!is_first_out(h->r) || !has_body(h->r))
        tg_timer_set(&h->timer, tg_request_now(h->r) + TG_MAX(h->delay, LOOK));
    else
        begin(h);
}

static uint64_t delay_of(const struct tg_hedge_conf *conf, struct tg_balance *balance, uint64_t now)
{
    if (conf->share <= 0)
        return conf->after;
    struct tg_pace *pace = tg_balance_pace(balance);
    uint64_t known = pace != NULL ? tg_pace_quantile(pace, conf->share, now) : 0;
    return known > 0 ? TG_MAX(known, conf->after) : 0;
}

/* A hedge without a time to fire keeps the account of the service's latency. */
void tg_hedge_arm(struct tg_request *r)
{
    const struct tg_hedge_conf *conf = tg_hedge_conf_of(r);
    struct tg_balance *balance = r->vms->targets->balances[r->service->index];
    if (!(conf->methods & 1u << r->out.method) || r->in.upgrade || r->out.target_set ||
        balance == NULL || tg_balance_count(balance) < 2)
        return;
    struct tg_hedge *h = tg_arena_zalloc(&r->arena, sizeof(*h));
    if (h == NULL || tg_timer_init(&h->timer, &r->gate->worker->loop.timers, on_time) != TG_OK)
        return;
    h->magic = HEDGE_MAGIC;
    h->r = r;
    h->fleet = tg_balance_fleet(balance);
    r->hedge = h;
    h->delay = delay_of(conf, balance, tg_request_now(r));
    if (h->delay > 0)
        tg_timer_set(&h->timer, tg_request_now(r) + h->delay);
}

/* ---- The second answer -------------------------------------------------------------------------
 */

static void fail(struct tg_hedge *h, enum tg_err err, const char *reason)
{
    struct tg_request *r = h->r;
    bool connected = h->state == SENT;
    bool stale = connected && !h->again && tg_target_was_stale(h->client, err);
    uint64_t now = tg_request_now(r);
    h->again |= stale;
    tg_pool_return(r->gate->pool, &h->client, &r->service->policy.pool);
    h->attempt->ended = now;
    h->attempt->error = err;
    h->attempt->stale = stale;
    h->attempt->class = tg_retry_class_of(err, connected);
    if (stale && dial(h, true) == TG_OK)
        return;
    if (!stale) {
        tg_proxy_log_failure(r, h->attempt->target, err, reason);
        tg_target_count_failure(r->gate, err, !connected);
        tg_try_failed(&h->try, err, h->attempt->class, now);
    }
    count(r, TG_METRIC_HEDGES_FAILED);
    tg_try_end(&h->try, now);
    end(h);
}

static void on_connected(struct tg_call *call)
{
    struct tg_hedge *h = call->owner;
    const char *reason;
    tg_magic_check(h, HEDGE_MAGIC);
    enum tg_err err =
        tg_pool_note_connected(h->r->gate->pool, &h->client, &h->r->service->policy.pool, &reason);
    if (err == TG_OK)
        send_request(h);
    else
        fail(h, err, reason);
}

static void on_info(struct tg_call *call, const struct tg_response_head *head)
{
    (void)call;
    (void)head;
}

/* An answer that would be asked for again is none while the first request is under way. */
static bool is_wanted(const struct tg_hedge *h, unsigned status)
{
    struct tg_retry_conf conf = tg_request_retry(h->r);
    return !tg_retry_wants_status(&conf, status);
}

static void on_head(struct tg_call *call, const struct tg_response_head *head)
{
    struct tg_hedge *h = call->owner;
    struct tg_request *r = h->r;
    uint64_t now = tg_request_now(r);
    tg_magic_check(h, HEDGE_MAGIC);
    if (is_wanted(h, head->status)) {
        count(r, TG_METRIC_HEDGES_WON);
        record_pace(r); /* of the first one: so long, at least */
        change_places(h);
        tg_proxy_events.on_head(call, head);
        return;
    }
    h->attempt->status = (uint16_t)head->status;
    h->attempt->ended = now;
    h->attempt->class = TG_RETRY_STATUS;
    tg_try_answered(&h->try, head->status, now - h->connected, now);
    count(r, TG_METRIC_HEDGES_FAILED);
    let_go(h);
    end(h);
}

static void on_failed(struct tg_call *call, enum tg_err err, const char *reason)
{
    struct tg_hedge *h = call->owner;
    tg_magic_check(h, HEDGE_MAGIC);
    fail(h, err, reason);
}

/* Bodies come after a head, and who has one is no hedge any more. */
static void on_nothing(struct tg_call *call)
{
    (void)call;
}

static const struct tg_call_events events = {
    .on_connected = on_connected,
    .on_info = on_info,
    .on_head = on_head,
    .on_pause = on_nothing,
    .on_drained = on_nothing,
    .on_failed = on_failed,
};
