/* outlier.c: see outlier.h. */
#include "base/banned.h"
#include "upstream/outlier.h"

bool tg_outlier_record(struct tg_outlier *outlier, const struct tg_outlier_conf *conf, uint64_t now,
                       bool good)
{
    if (conf->failures == 0 || outlier->until > 0)
        return false;
    tg_window_add(&outlier->window, conf->window, now, good);
    return !good && outlier->window.all_bad >= conf->failures;
}

/* Time without an ejection is time off the next pause. */
static void forgive(struct tg_outlier *o, const struct tg_outlier_conf *conf, uint64_t now)
{
    while (o->ejections > 0 && now >= o->last + conf->eject_max) {
        o->ejections--;
        o->last += conf->eject_max;
    }
}

uint64_t tg_outlier_eject(struct tg_outlier *outlier, const struct tg_outlier_conf *conf,
                          uint64_t now)
{
    forgive(outlier, conf, now);
    outlier->ejections++;
    uint64_t pause = conf->eject * outlier->ejections;
    outlier->until = now + TG_MIN(pause, TG_MAX(conf->eject_max, conf->eject));
    tg_window_reset(&outlier->window);
    return outlier->until;
}

void tg_outlier_admit(struct tg_outlier *outlier, uint64_t now)
{
    outlier->until = 0;
    outlier->last = now;
    tg_window_reset(&outlier->window);
}

bool tg_outlier_has_room(const struct tg_outlier_conf *conf, uint32_t targets, uint32_t out)
{
    uint32_t most = (uint32_t)((double)targets * conf->max_out);
    if (targets < 2 || conf->max_out <= 0)
        return false;
    return out < TG_MAX(most, 1u);
}
