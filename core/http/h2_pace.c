/* h2_pace.c: see h2_pace.h. */
#include "base/banned.h"
#include "http/h2_pace.h"

#define LEAST (10 * TG_USEC_PER_MSEC) /* between two measures */

void tg_h2_pace_init(struct tg_h2_pace *pace, uint64_t most)
{
    *pace = (struct tg_h2_pace){.window = TG_H2_WINDOW,
                                .most = (uint32_t)TG_MAX(most, (uint64_t)TG_H2_WINDOW)};
}

bool tg_h2_pace_count(struct tg_h2_pace *pace, size_t n, bool large, uint64_t now)
{
    if (pace->window >= pace->most)
        return false;
    if (pace->asked) {
        pace->came = (uint32_t)TG_MIN(pace->came + (uint64_t)n, (uint64_t)UINT32_MAX);
        return false;
    }
    if (!large || now < pace->at + LEAST)
        return false;
    pace->asked = true;
    pace->at = now;
    pace->came = (uint32_t)n;
    return true;
}

enum tg_h2_pace_step tg_h2_pace_measured(struct tg_h2_pace *pace)
{
    uint64_t came = pace->came;
    bool asked = pace->asked;
    pace->asked = false;
    if (!asked || came < pace->window - pace->window / 3 || pace->window >= pace->most)
        return TG_H2_PACE_KEPT;
    pace->window = (uint32_t)TG_MIN(2 * came, pace->most);
    return 2 * came > pace->most ? TG_H2_PACE_FULL : TG_H2_PACE_GROWN;
}
