/* flight.c: see flight.h. The bound has 16 bits behind the point: the smallest step up, one over
 * TG_FLIGHT_MAX, is one of them. */
#include "base/banned.h"
#include "limit/flight.h"

#include "base/assert.h"

#define ONE (UINT32_C(1) << 16)

const char *tg_flight_rule_check(const struct tg_flight_rule *rule)
{
    if (rule->max == 0 || rule->max > TG_FLIGHT_MAX)
        return "at most 1 to 65535 may be in flight";
    if (rule->latency != 0 && (rule->min == 0 || rule->min > rule->max))
        return "the least bound is from 1 to the greatest";
    return NULL;
}

/* The bound times ONE. */
static uint32_t exact_bound(const struct tg_flight_rule *rule, const struct tg_flight_state *state)
{
    uint32_t most = rule->max * ONE;
    if (rule->latency == 0 || state->bound == 0)
        return most;
    return TG_MIN(TG_MAX(state->bound, rule->min * ONE), most);
}

uint32_t tg_flight_bound(const struct tg_flight_rule *rule, const struct tg_flight_state *state)
{
    return exact_bound(rule, state) / ONE;
}

bool tg_flight_enter(const struct tg_flight_rule *rule, struct tg_flight_state *state)
{
    if (state->in_flight >= tg_flight_bound(rule, state))
        return false;
    state->in_flight++;
    return true;
}

static void adapt(const struct tg_flight_rule *rule, struct tg_flight_state *state,
                  const struct tg_flight_end *end, uint64_t now)
{
    uint32_t bound = exact_bound(rule, state);
    if (!end->failed && end->took <= rule->latency) {
        if (state->in_flight * UINT64_C(2) * ONE >= bound)
            bound +=
                (uint32_t)TG_MIN((UINT64_C(1) << 32) / bound, (uint64_t)(rule->max * ONE - bound));
    } else if (state->cut == 0 || now >= state->cut + rule->latency) {
        bound = TG_MAX((uint32_t)(bound * UINT64_C(9) / 10), rule->min * ONE);
        state->cut = TG_MAX(now, UINT64_C(1));
    }
    state->bound = bound;
}

void tg_flight_leave(const struct tg_flight_rule *rule, struct tg_flight_state *state,
                     const struct tg_flight_end *end, uint64_t now)
{
    tg_assert(state->in_flight > 0);
    if (rule->latency != 0)
        adapt(rule, state, end, now);
    state->in_flight--;
}
