/* quarantine.c: see quarantine.h for the states. */
#include "base/banned.h"
#include "script/quarantine.h"

#include "base/assert.h"

static void move_to(struct tg_quarantine *q, enum tg_quarantine_state state, uint64_t now)
{
    static const bool legal[3][3] = {
        [TG_QUARANTINE_FREE] = {[TG_QUARANTINE_SHUT] = true},
        [TG_QUARANTINE_SHUT] = {[TG_QUARANTINE_TRIAL] = true},
        [TG_QUARANTINE_TRIAL] = {[TG_QUARANTINE_SHUT] = true, [TG_QUARANTINE_FREE] = true},
    };
    tg_assert(legal[q->state][state]);
    q->state = state;
    q->since = now;
    q->kills = 0;
    q->times += state == TG_QUARANTINE_SHUT;
}

void tg_quarantine_init(struct tg_quarantine *q, const struct tg_limits *limits)
{
    *q = (struct tg_quarantine){.state = TG_QUARANTINE_FREE, .pause_us = limits->plugin_pause_min};
}

bool tg_quarantine_allows(struct tg_quarantine *q, const struct tg_limits *limits, uint64_t now)
{
    if (TG_LIKELY(q->state == TG_QUARANTINE_FREE))
        return true;
    if (q->state == TG_QUARANTINE_SHUT) {
        if (now - q->since < q->pause_us)
            return false;
        move_to(q, TG_QUARANTINE_TRIAL, now);
        return true;
    }
    if (now - q->since >= TG_QUARANTINE_WINDOW_US) {
        move_to(q, TG_QUARANTINE_FREE, now);
        q->pause_us = limits->plugin_pause_min;
    }
    return true;
}

bool tg_quarantine_note_kill(struct tg_quarantine *q, const struct tg_limits *limits, uint64_t now)
{
    if (q->state == TG_QUARANTINE_SHUT)
        return false;
    if (q->state == TG_QUARANTINE_TRIAL) {
        q->pause_us = TG_MIN(q->pause_us * 2, limits->plugin_pause_max);
        move_to(q, TG_QUARANTINE_SHUT, now);
        return true;
    }
    if (now - q->since >= TG_QUARANTINE_WINDOW_US) {
        q->since = now;
        q->kills = 0;
    }
    tg_limit_note(plugin_kills, ++q->kills);
    if (q->kills <= limits->plugin_kills)
        return false;
    tg_limit_hit(plugin_kills);
    move_to(q, TG_QUARANTINE_SHUT, now);
    return true;
}

const char *tg_quarantine_label(enum tg_quarantine_state state)
{
    static const char *const labels[] = {"free", "shut", "trial"};
    tg_assert(state < TG_COUNT_OF(labels));
    return labels[state];
}
