/* attempt.c: one after the other, the requests that are sent for one of a client: which target is
 * next, what is noted of each, whether there may be another, and when.
 *
 * A request without `retry` in its service's configuration is tried again where no connection came
 * about, on each target once. The rules of `retry` are in README.md, "What fails".
 */
#include "base/banned.h"
#include "gateway/internal.h"
#include "gateway/param.h"
#include "gateway/target.h"
#include "gateway/vm_set.h"

#include "base/hash.h"
#include "consumer/store.h"
#include "observe/metrics.h"

/* Methods, and bytes of a body, that lua/tidegate/upstream.lua has for defaults too. */
#define IDEMPOTENT                                                                                 \
    (1u << TG_METHOD_GET | 1u << TG_METHOD_HEAD | 1u << TG_METHOD_PUT | 1u << TG_METHOD_DELETE |   \
     1u << TG_METHOD_OPTIONS)
#define KEPT ((uint64_t)64 * 1024)

static const struct tg_retry_conf *rules(const struct tg_request *r)
{
    return r->out.retry != NULL ? r->out.retry : &r->service->policy.retry;
}

static struct tg_balance *balance_of(const struct tg_request *r)
{
    return r->vms->targets->balances[r->service->index];
}

/* How many targets there are to try; one that a plugin chose is alone. */
static uint32_t count_of(const struct tg_request *r)
{
    const struct tg_balance *balance = r->out.target_set ? NULL : balance_of(r);
    return balance != NULL ? tg_balance_count(balance) : 1;
}

const char *tg_attempt_label(const struct tg_attempt *attempt)
{
    if (attempt->stale)
        return "stale";
    if (attempt->cancelled)
        return "cancelled";
    if (attempt->error == TG_OK && attempt->class == TG_RETRY_NEVER)
        return NULL;
    return tg_retry_label(attempt->class);
}

struct tg_retry_conf tg_request_retry(const struct tg_request *r)
{
    struct tg_retry_conf retry = r->service != NULL ? *rules(r) : (struct tg_retry_conf){0};
    if (!retry.given)
        retry = (struct tg_retry_conf){.given = true,
                                       .attempts = 1,
                                       .on = 1u << TG_RETRY_CONNECT | 1u << TG_RETRY_RESET,
                                       .methods = IDEMPOTENT,
                                       .budget = 0.2,
                                       .backoff = 25 * TG_USEC_PER_MSEC,
                                       .backoff_most = 250 * TG_USEC_PER_MSEC,
                                       .buffer = KEPT};
    return retry;
}

enum tg_err tg_request_set_retry(struct tg_request *r, const struct tg_retry_conf *retry)
{
    struct tg_retry_conf *own = tg_arena_alloc(&r->arena, sizeof(*own));
    if (own == NULL)
        return TG_E_NOMEM;
    *own = *retry;
    r->out.retry = own;
    return TG_OK;
}

/* ---- Keys --------------------------------------------------------------------------------------
 */

/* The same in every process, so that several gateways agree. */
static uint64_t hash_of(struct tg_str key)
{
    return tg_hash_keyed((struct tg_hash_key){0, 0}, key.p, key.n);
}

/* The first field of that name; p == NULL: there is none. */
static struct tg_str header(const struct tg_fields *fields, struct tg_str name)
{
    const struct tg_field *field = tg_fields_find(fields, name);
    return field != NULL ? field->value : (struct tg_str){0};
}

/* The key of a hashing balancer, hashed; where the request lacks it, that of the client's address.
 */
static uint64_t key_of(const struct tg_request *r)
{
    const struct tg_balance_conf *conf = &r->service->policy.balance;
    struct tg_str key = {0};
    if (r->out.hash_key_set)
        return r->out.hash_key;
    if (conf->by == TG_HASH_HEADER)
        key = header(&r->in.fields, conf->name);
    if (conf->by == TG_HASH_COOKIE)
        key = tg_param_cookie(r, conf->name);
    if (conf->by == TG_HASH_CONSUMER && r->consumer != NULL)
        key = r->consumer->name;
    if (key.p == NULL)
        key.p = (const char *)tg_addr_ip_bytes(&r->client, &key.n);
    return hash_of(key);
}

void tg_request_set_hash_key(struct tg_request *r, struct tg_str key)
{
    r->out.hash_key = hash_of(key);
    r->out.hash_key_set = true;
}

/* ---- One after the other -----------------------------------------------------------------------
 */

/* Whom this request was sent to already. */
static uint32_t tried_targets(const struct tg_request *r, uint32_t tried[TG_TRIES_MAX])
{
    uint32_t n = 0;
    const struct tg_balance *balance = balance_of(r);
    bool passing = balance != NULL && tg_balance_is_passing(balance);
    if (r->upstream.last == NULL)
        return 0;
    for (const struct tg_attempt *a = &r->upstream.first; a != NULL && n < TG_TRIES_MAX;
         a = a->next)
        tried[n++] = passing ? tg_balance_find(balance, a->target) : a->index;
    return n;
}

static struct tg_balance_ask ask_of(const struct tg_request *r, uint32_t tried[TG_TRIES_MAX])
{
    bool keyed = r->service->policy.balance.kind == TG_BALANCE_HASH;
    return (struct tg_balance_ask){
        .now = tg_request_now(r),
        .key = keyed ? key_of(r) : 0,
        .keyed = keyed,
        .tried = tried,
        .tried_count = tried_targets(r, tried),
        .rand = &r->gate->worker->rand,
    };
}

static struct tg_str text_of(struct tg_request *r, const struct tg_addr *addr)
{
    char *room = tg_arena_alloc(&r->arena, TG_ADDR_TEXT_MAX);
    return room != NULL ? tg_addr_text(addr, room) : TG_STR("");
}

/* The record of another attempt, behind those there are; NULL: no memory. */
static struct tg_attempt *add_record(struct tg_request *r)
{
    struct tg_upstream_facts *facts = &r->upstream;
    struct tg_attempt *a = &facts->first;
    if (facts->last != NULL) {
        struct tg_attempt *end = facts->last;
        a = tg_arena_zalloc(&r->arena, sizeof(*a));
        if (a == NULL)
            return NULL;
        while (end->next != NULL) /* hedges are behind the one at hand */
            end = end->next;
        end->next = a;
    }
    facts->attempts++;
    a->started = tg_request_now(r);
    a->class = TG_RETRY_NEVER;
    return a;
}

/* The next target; where there is but one, nothing is asked. */
static enum tg_err choose(struct tg_request *r, bool *breaker)
{
    uint32_t tried[TG_TRIES_MAX];
    struct tg_balance *balance = balance_of(r);
    uint64_t now = tg_request_now(r);
    enum tg_err err = TG_OK;
    if (!tg_try_begin_single(&r->try, balance, now)) {
        struct tg_balance_ask ask = ask_of(r, tried);
        err = tg_try_begin(&r->try, balance, &ask, breaker);
        if (err == TG_E_UNAVAILABLE && tg_balance_count(balance) == 0)
            err = tg_targets_state(r->vms->targets, r->service->index);
    }
    r->target = r->try.index;
    return err;
}

bool tg_attempt_has_other(const struct tg_request *r)
{
    uint32_t tried[TG_TRIES_MAX];
    struct tg_balance_ask ask = ask_of(r, tried);
    return r->upstream.attempts < TG_TRIES_MAX && tg_balance_has_other(balance_of(r), &ask);
}

enum tg_err tg_attempt_choose(const struct tg_request *r, struct tg_try *try)
{
    uint32_t tried[TG_TRIES_MAX];
    struct tg_balance_ask ask = ask_of(r, tried);
    bool breaker;
    return tg_try_begin(try, balance_of(r), &ask, &breaker);
}

/* Names in `a` the target that was chosen. */
static void note_target(struct tg_request *r, struct tg_attempt *a, const struct tg_try *try)
{
    const struct tg_balance_target *target = tg_target_at(try->balance, try->index);
    bool passing = try->balance != NULL && tg_balance_is_passing(try->balance);
    a->index = try->index;
    a->target = passing ? text_of(r, &target->addr) : target->name;
}

struct tg_attempt *tg_attempt_add_hedge(struct tg_request *r, const struct tg_try *try)
{
    struct tg_attempt *a = add_record(r);
    if (a == NULL)
        return NULL;
    r->upstream.hedges++;
    a->hedge = true;
    note_target(r, a, try);
    return a;
}

enum tg_err tg_attempt_begin(struct tg_request *r, bool same, bool *breaker)
{
    *breaker = false;
    enum tg_err err = same || r->out.target_set ? TG_OK : choose(r, breaker);
    if (err != TG_OK)
        return err;
    struct tg_attempt *a = add_record(r);
    if (a == NULL)
        return TG_E_NOMEM;
    r->upstream.last = a;
    r->upstream.called = true;
    r->upstream.connect_start = a->started;
    r->upstream.connected = 0;
    if (TG_UNLIKELY(r->out.target_set)) {
        r->upstream.addr = r->out.target;
        a->index = UINT32_MAX;
        a->target = text_of(r, &r->upstream.addr);
        return TG_OK;
    }
    r->upstream.addr = tg_target_at(r->try.balance, r->try.index)->addr;
    note_target(r, a, &r->try);
    return TG_OK;
}

void tg_attempt_answered(struct tg_request *r, unsigned status)
{
    struct tg_attempt *a = r->upstream.last;
    uint64_t now = tg_request_now(r);
    a->status = r->upstream.status;
    a->ended = now;
    if (TG_UNLIKELY(rules(r)->status_count > 0) && tg_retry_wants_status(rules(r), status))
        a->class = TG_RETRY_STATUS; /* else it is as it was opened: NEVER */
    tg_try_answered(&r->try, status, now - r->upstream.connected, now);
}

void tg_attempt_failed(struct tg_request *r, enum tg_err err, bool connected, bool stale)
{
    struct tg_attempt *a = r->upstream.last;
    a->ended = a->ended == 0 ? tg_request_now(r) : a->ended;
    a->error = r->upstream.error = err;
    a->stale = stale;
    a->class = tg_retry_class_of(err, connected);
    if (!stale)
        tg_try_failed(&r->try, err, a->class, a->ended);
}

void tg_attempt_end(struct tg_request *r)
{
    tg_try_end(&r->try, tg_request_now(r));
    if (r->retrying) {
        tg_retry_end(&tg_balance_fleet(balance_of(r))->retries);
        r->retrying = false;
    }
}

/* ---- Another one? ------------------------------------------------------------------------------
 */

/* Whether what went of the body can go again. */
static bool is_replayable(const struct tg_request *r)
{
    return !r->body_seen || r->out.body_set || r->replayable;
}

static bool may_be_repeated(const struct tg_request *r, enum tg_retry_class class)
{
    const struct tg_retry_conf *conf = rules(r);
    if (r->in.method == TG_METHOD_CONNECT && class != TG_RETRY_CONNECT)
        return false;
    if (!conf->given)
        return class == TG_RETRY_CONNECT &&
               r->upstream.attempts < TG_MIN(count_of(r), TG_TRIES_MAX);
    uint32_t spent = r->upstream.attempts - r->upstream.hedges;
    if (!(conf->on & 1u << class) || spent > conf->attempts)
        return false;
    return class == TG_RETRY_CONNECT || (conf->methods & 1u << r->out.method) != 0;
}

/* Takes the place in the budget that this request does not have yet. */
static bool afford(struct tg_request *r)
{
    struct tg_balance *balance = balance_of(r);
    if (!rules(r)->given || r->retrying || balance == NULL)
        return true;
    struct tg_fleet *fleet = tg_balance_fleet(balance);
    uint32_t live =
        atomic_load_explicit(&fleet->in_flight, memory_order_relaxed) +
        atomic_load_explicit(&fleet->retries, memory_order_relaxed); /* may be pausing */
    r->retrying = tg_retry_begin(rules(r), &fleet->retries, live + 1);
    if (!r->retrying)
        tg_metric_inc(r->gate->worker->cells, TG_METRIC_UPSTREAM_RETRIES_REFUSED);
    return r->retrying;
}

/* What the origin asked for by Retry-After in seconds, in us; 0: nothing. Dates are not waited for:
 * they are minutes away, and a client is waiting. */
static uint64_t asked_pause(const struct tg_request *r)
{
    uint64_t seconds = 0;
    if (r->upstream.last->class != TG_RETRY_STATUS)
        return 0;
    struct tg_str value = header(&r->upstream.fields, TG_STR("retry-after"));
    if (value.n == 0 || value.n > 6)
        return 0;
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] < '0' || value.p[i] > '9')
            return 0;
        seconds = seconds * 10 + (uint64_t)(value.p[i] - '0');
    }
    return seconds * TG_USEC_PER_SEC;
}

bool tg_attempt_again(struct tg_request *r, uint64_t *at)
{
    uint32_t tried[TG_TRIES_MAX];
    struct tg_attempt *a = r->upstream.last;
    const struct tg_retry_conf *conf = rules(r);
    uint64_t now = tg_request_now(r);
    if (!may_be_repeated(r, a->class) || !is_replayable(r) || now >= r->deadline ||
        r->upstream.attempts >= TG_TRIES_MAX)
        return false;
    uint64_t pause =
        conf->given ? tg_retry_backoff(conf, r->upstream.attempts - 1, &r->gate->worker->rand) : 0;
    struct tg_balance *balance = r->out.target_set ? NULL : balance_of(r);
    struct tg_balance_ask ask = ask_of(r, tried);
    if (balance == NULL || !tg_balance_has_other(balance, &ask))
        pause = TG_MAX(pause, asked_pause(r));
    if (now + pause >= r->deadline || !afford(r))
        return false;
    tg_metric_inc(r->gate->worker->cells, TG_METRIC_UPSTREAM_RETRIES);
    *at = pause > 0 ? now + pause : 0;
    return true;
}

/* ---- The body, kept for another ----------------------------------------------------------------
 */

/* Whether there may be a use for it: by the rules of `retry`, or because HTTP/2 can say that
 * nothing was done of a request, which then goes again whatever its method. */
static bool is_worth_keeping(const struct tg_request *r, const struct tg_retry_conf *conf)
{
    if (r->hedge != NULL || r->origin->protocol == TG_CALL_HTTP2)
        return true;
    return conf->given && conf->attempts > 0 &&
           ((conf->methods & 1u << r->out.method) || conf->on & 1u << TG_RETRY_CONNECT);
}

void tg_attempt_keep(struct tg_request *r, struct tg_str data)
{
    const struct tg_retry_conf *conf = rules(r);
    if (!r->body_seen)
        r->replayable = is_worth_keeping(r, conf);
    r->body_seen = true;
    if (!r->replayable)
        return;
    if (r->replay.size + data.n <= (conf->given ? conf->buffer : KEPT) &&
        tg_buf_append(&r->replay, data.p, data.n) == TG_OK)
        return;
    r->replayable = false;
    tg_buf_release(&r->replay);
}
