/* try.c: see try.h. */
#include "base/banned.h"
#include "upstream/try.h"

#include "observe/log.h"

#define RELAXED memory_order_relaxed

/* The breaker of the target at hand lets no more through: one of the others, if theirs do. */
static enum tg_err choose_another(struct tg_try *try, struct tg_balance *balance,
                                  const struct tg_balance_ask *ask)
{
    uint32_t tried[2 * TG_TRIES_MAX];
    struct tg_balance_ask again = *ask;
    again.tried = tried;
    for (again.tried_count = 0; again.tried_count < ask->tried_count; again.tried_count++)
        tried[again.tried_count] = ask->tried[again.tried_count];
    while (again.tried_count < TG_COUNT_OF(tried)) {
        tried[again.tried_count++] = try->index;
        if (!tg_balance_has_other(balance, &again))
            break;
        enum tg_err err = tg_balance_pick(balance, &again, &try->index);
        if (err != TG_OK)
            return err;
        try->origin = tg_balance_origin(balance, try->index);
        if (tg_origin_allow(try->origin, try->policy, ask->now, &try->origin_probe))
            return TG_OK;
    }
    return TG_E_UNAVAILABLE;
}

static enum tg_err choose(struct tg_try *try, struct tg_balance *balance,
                          const struct tg_balance_ask *ask)
{
    enum tg_err err = tg_balance_pick(balance, ask, &try->index);
    if (err != TG_OK)
        return err;
    try->origin = tg_balance_origin(balance, try->index);
    if (!try->policy->judges ||
        tg_origin_allow(try->origin, try->policy, ask->now, &try->origin_probe))
        return TG_OK;
    return choose_another(try, balance, ask);
}

/* The breaker of the service gets its place back: nothing was sent. */
static void give_back_probe(struct tg_try *try, struct tg_fleet *fleet)
{
    if (!try->fleet_probe)
        return;
    pthread_mutex_lock(&fleet->lock);
    tg_breaker_cancel(&fleet->breaker, true);
    pthread_mutex_unlock(&fleet->lock);
}

static void count_in(struct tg_try *try, struct tg_balance *balance)
{
    try->open = true;
    try->balance = tg_balance_ref(balance);
    atomic_fetch_add_explicit(&try->origin->fleet->in_flight, 1, RELAXED);
    atomic_fetch_add_explicit(&try->origin->in_flight, 1, RELAXED);
    atomic_fetch_add_explicit(&try->origin->requests, 1, RELAXED);
}

enum tg_err tg_try_begin(struct tg_try *try, struct tg_balance *balance,
                         const struct tg_balance_ask *ask, bool *breaker)
{
    *try = (struct tg_try){0};
    *breaker = false;
    if (balance == NULL)
        return TG_OK;
    try->policy = tg_balance_policy(balance);
    try->targets = tg_balance_count(balance);
    struct tg_fleet *fleet = tg_balance_fleet(balance);
    if (try->policy->judges && !tg_fleet_allow(fleet, try->policy, ask->now, &try->fleet_probe)) {
        *breaker = true;
        return TG_E_UNAVAILABLE;
    }
    enum tg_err err = choose(try, balance, ask);
    if (err != TG_OK) {
        give_back_probe(try, fleet);
        *breaker = try->origin != NULL;
        try->origin = NULL;
        return err;
    }
    count_in(try, balance);
    return TG_OK;
}

bool tg_try_begin_single(struct tg_try *try, struct tg_balance *balance, uint64_t now)
{
    if (balance == NULL || tg_balance_policy(balance)->judges)
        return false;
    uint32_t index;
    struct tg_origin *origin = tg_balance_single(balance, now, &index);
    if (origin == NULL)
        return false;
    *try = (struct tg_try){
        .policy = tg_balance_policy(balance), .origin = origin, .targets = 1, .index = index};
    count_in(try, balance);
    return true;
}

static void log_changes(const struct tg_try *try, unsigned changes)
{
    struct tg_str service = try->origin->fleet->name;
    struct tg_str target = try->origin->name;
    if (changes & TG_CHANGE_EJECTED)
        tg_log_kv(TG_LOG_WARN, "upstream", "a target is left out after too many failures",
                  tg_log_str("service", service), tg_log_str("target", target));
    if (changes & TG_CHANGE_OPENED)
        tg_log_kv(TG_LOG_WARN, "upstream", "the breaker of a target has opened",
                  tg_log_str("service", service), tg_log_str("target", target));
    if (changes & TG_CHANGE_FLEET)
        tg_log_kv(TG_LOG_WARN, "upstream", "the breaker of a service has opened",
                  tg_log_str("service", service));
}

static void record(struct tg_try *try, bool told, bool good, uint64_t latency, uint64_t now)
{
    try->told = true;
    if (!try->policy->judges)
        return;
    struct tg_try_outcome outcome = {told, good, latency, try->fleet_probe, try->origin_probe};
    unsigned changes = tg_origin_record(try->origin, try->policy, try->targets, now, &outcome);
    if (TG_UNLIKELY(changes != TG_CHANGE_NONE))
        log_changes(try, changes);
}

void tg_try_answered(struct tg_try *try, unsigned status, uint64_t latency, uint64_t now)
{
    if (try->origin == NULL || try->told)
        return;
    tg_origin_note_latency(try->origin, latency, now);
    if (status >= 500)
        atomic_fetch_add_explicit(&try->origin->failures[TG_RETRY_STATUS], 1, RELAXED);
    record(try, true, status < 500, latency, now);
}

void tg_try_failed(struct tg_try *try, enum tg_err err, enum tg_retry_class class, uint64_t now)
{
    if (try->origin == NULL || try->told)
        return;
    if (tg_retry_is_own(err))
        class = TG_RETRY_NEVER;
    atomic_fetch_add_explicit(&try->origin->failures[class], 1, RELAXED);
    record(try, class != TG_RETRY_NEVER, false, 0, now);
}

void tg_try_end(struct tg_try *try, uint64_t now)
{
    if (!try->open)
        return;
    try->open = false;
    atomic_fetch_sub_explicit(&try->origin->in_flight, 1, RELAXED);
    atomic_fetch_sub_explicit(&try->origin->fleet->in_flight, 1, RELAXED);
    if (!try->told)
        record(try, false, false, 0, now);
    tg_balance_unref(&try->balance, now);
}
