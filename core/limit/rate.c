/* rate.c: the steps. See rate.h for the laws; the names here are those of the formulas there. */
#include "base/banned.h"
#include "limit/rate.h"

#include "base/assert.h"

const char *tg_rate_rule_check(const struct tg_rate_rule *rule)
{
    bool has_burst = rule->kind == TG_RATE_BUCKET || rule->kind == TG_RATE_GCRA;
    uint64_t most = has_burst ? TG_MAX(rule->limit, rule->burst) : rule->limit;
    if (rule->limit == 0 || (has_burst && rule->burst == 0))
        return "a limit of nothing";
    if (rule->per < TG_RATE_PER_MIN || rule->per > TG_RATE_PER_MAX)
        return "a period is from 1ms to 366d";
    if (rule->kind == TG_RATE_LOG && rule->limit > TG_RATE_LOG_MAX)
        return "a log is for limits up to 128";
    if (most > TG_RATE_PRODUCT_MAX / rule->per)
        return "so large a limit over so long a period cannot be counted";
    return NULL;
}

uint64_t tg_rate_memory(const struct tg_rate_rule *rule)
{
    switch (rule->kind) {
    case TG_RATE_FIXED:
    case TG_RATE_LOG:
        return rule->per;
    case TG_RATE_SLIDING:
        return 2 * rule->per;
    default:
        return rule->burst * rule->per / rule->limit + 1;
    }
}

static uint64_t divide_up(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

/* ---- Windows --------------------------------------------------------------------------------- */

/* Moves the state to the window of `now`; the time that has passed in it. */
static uint64_t enter_window(const struct tg_rate_rule *rule, struct tg_rate_state *state,
                             uint64_t now)
{
    uint64_t start = now - now % rule->per;
    if (state->time < start) {
        state->before = start - state->time == rule->per ? state->now : 0;
        state->now = 0;
        state->time = start;
    }
    return TG_MIN(TG_MAX(now, state->time) - state->time, rule->per - 1);
}

static void step_fixed(const struct tg_rate_rule *rule, struct tg_rate_state *state, uint64_t cost,
                       uint64_t now, struct tg_rate_verdict *out)
{
    uint64_t left = rule->per - enter_window(rule, state, now);
    uint64_t room = rule->limit > state->now ? rule->limit - state->now : 0;
    out->allowed = cost <= room;
    if (out->allowed)
        state->now += (uint32_t)cost;
    out->remaining = out->allowed ? room - cost : room;
    out->reset = left;
    out->retry = out->allowed ? 0 : cost > rule->limit ? TG_RATE_NEVER : left;
}

/* Time from now until `cost` more count in, `passed` of the window being over. */
static uint64_t wait_sliding(const struct tg_rate_rule *rule, const struct tg_rate_state *state,
                             uint64_t before, uint64_t cost, uint64_t passed)
{
    uint64_t per = rule->per;
    if (cost > rule->limit)
        return TG_RATE_NEVER;
    /* In this window, when less of the one before counts; else in the next, where this one is it.
     */
    if (state->now + cost <= rule->limit) {
        tg_assert(before > 0); /* or it would have been granted */
        return per - (rule->limit - state->now - cost) * per / before - passed;
    }
    uint64_t now = TG_MIN(state->now, rule->limit);
    return per - passed + per - (rule->limit - cost) * per / now;
}

static void step_sliding(const struct tg_rate_rule *rule, struct tg_rate_state *state,
                         uint64_t cost, uint64_t now, struct tg_rate_verdict *out)
{
    uint64_t per = rule->per;
    uint64_t passed = enter_window(rule, state, now);
    /* Both were within the limit when they were granted; it may have been lowered since. */
    uint64_t before = TG_MIN(state->before, rule->limit);
    uint64_t used = TG_MIN(state->now, rule->limit) * per + before * (per - passed);
    uint64_t room = rule->limit * per > used ? (rule->limit * per - used) / per : 0;
    out->allowed = cost <= room;
    if (out->allowed)
        state->now += (uint32_t)cost;
    out->remaining = out->allowed ? room - cost : room;
    out->retry = out->allowed ? 0 : wait_sliding(rule, state, before, cost, passed);
    out->reset = state->now > 0 ? 2 * per - passed : before > 0 ? per - passed : 0;
}

/* ---- Buckets --------------------------------------------------------------------------------- */

/* Decides on a bucket in which `missing` is missing; what is missing afterwards. */
static uint64_t take(const struct tg_rate_rule *rule, uint64_t missing, uint64_t cost,
                     struct tg_rate_verdict *out)
{
    uint64_t full = rule->burst * rule->per;
    missing = TG_MIN(missing, full); /* the burst may have been lowered since */
    uint64_t room = (full - missing) / rule->per;
    out->allowed = cost <= room;
    if (out->allowed)
        missing += cost * rule->per;
    out->remaining = out->allowed ? room - cost : room;
    out->reset = divide_up(missing, rule->limit);
    if (out->allowed)
        out->retry = 0;
    else if (cost > rule->burst)
        out->retry = TG_RATE_NEVER;
    else
        out->retry = divide_up(missing - (full - cost * rule->per), rule->limit);
    return missing;
}

static void step_bucket(const struct tg_rate_rule *rule, struct tg_rate_state *state, uint64_t cost,
                        uint64_t now, struct tg_rate_verdict *out)
{
    uint64_t passed = now > state->time ? now - state->time : 0;
    uint64_t missing = state->missing;
    missing = passed > missing / rule->limit ? 0 : missing - passed * rule->limit;
    state->missing = take(rule, missing, cost, out);
    state->time = TG_MAX(now, state->time);
}

static void step_gcra(const struct tg_rate_rule *rule, struct tg_rate_state *state, uint64_t cost,
                      uint64_t now, struct tg_rate_verdict *out)
{
    uint64_t ahead = 0; /* of the rate, in us times `limit` */
    uint64_t fraction = TG_MIN(state->fraction, rule->limit - UINT64_C(1));
    if (state->time >= now) {
        uint64_t whole = TG_MIN(state->time - now, tg_rate_memory(rule));
        ahead = whole * rule->limit + fraction;
    }
    ahead = take(rule, ahead, cost, out);
    state->time = now + ahead / rule->limit;
    state->fraction = ahead % rule->limit;
}

void tg_rate_step(const struct tg_rate_rule *rule, struct tg_rate_state *state, uint64_t cost,
                  uint64_t now, struct tg_rate_verdict *out)
{
    switch (rule->kind) {
    case TG_RATE_FIXED:
        step_fixed(rule, state, cost, now, out);
        break;
    case TG_RATE_SLIDING:
        step_sliding(rule, state, cost, now, out);
        break;
    case TG_RATE_BUCKET:
        step_bucket(rule, state, cost, now, out);
        break;
    case TG_RATE_GCRA:
        step_gcra(rule, state, cost, now, out);
        break;
    default:
        tg_assert(rule->kind != TG_RATE_LOG && rule->kind < TG_RATE_KINDS);
    }
}

/* ---- Log ------------------------------------------------------------------------------------- */

/* The time of unit `n`, 0 being the oldest: `*time`; false when it cannot be had. */
static bool time_of(const struct tg_rate_rule *rule, const struct tg_rate_state *state,
                    const struct tg_rate_times *times, uint32_t n, uint64_t *time)
{
    const uint64_t *at = times->at(times->arg, (state->first + n) % rule->limit);
    if (at == NULL)
        return false;
    *time = *at;
    return true;
}

/* Forgets the units that `per` has passed since. */
static bool forget(const struct tg_rate_rule *rule, struct tg_rate_state *state,
                   const struct tg_rate_times *times, uint64_t now)
{
    uint64_t time;
    if (now - state->time >= rule->per)
        state->count = 0;
    while (state->count > 0) {
        if (!time_of(rule, state, times, 0, &time))
            return false;
        if (now - TG_MIN(time, now) < rule->per)
            break;
        state->first = (state->first + 1) % rule->limit;
        state->count--;
    }
    return true;
}

static bool remember(const struct tg_rate_rule *rule, struct tg_rate_state *state,
                     const struct tg_rate_times *times, uint64_t cost, uint64_t now)
{
    for (uint32_t i = 0; i < cost; i++) {
        uint64_t *at = times->at(times->arg, (state->first + state->count + i) % rule->limit);
        if (at == NULL)
            return false;
        *at = now;
    }
    state->count += (uint32_t)cost;
    state->time = now;
    return true;
}

bool tg_rate_step_log(const struct tg_rate_rule *rule, struct tg_rate_state *state,
                      const struct tg_rate_times *times, uint64_t cost, uint64_t now,
                      struct tg_rate_verdict *out)
{
    uint64_t time;
    now = TG_MAX(now, state->time);
    *out = (struct tg_rate_verdict){0};
    if (!forget(rule, state, times, now))
        return false;
    uint64_t room = rule->limit - state->count;
    out->allowed = cost <= room;
    if (out->allowed && cost > 0 && !remember(rule, state, times, cost, now)) {
        out->allowed = false;
        return false;
    }
    out->remaining = out->allowed ? room - cost : room;
    out->reset = state->count > 0 ? state->time + rule->per - now : 0;
    if (out->allowed)
        return true;
    out->retry = TG_RATE_NEVER;
    if (cost > rule->limit)
        return true;
    /* As many of the oldest must go as are missing. One whose time is not known any more goes with
     * the one before it; that of the oldest is known, or it would have been forgotten. */
    uint32_t n = (uint32_t)(cost - room);
    do {
        if (!time_of(rule, state, times, --n, &time))
            return false;
    } while (n > 0 && time + rule->per <= now);
    out->retry = time + rule->per - now;
    return true;
}
