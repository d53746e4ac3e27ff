/* pace.c: see pace.h. */
#include "base/banned.h"
#include "upstream/pace.h"

#include "base/mem.h"

#define FRESH (TG_USEC_PER_SEC / 4) /* how long a quantile that was worked out holds */

struct tg_pace {
    struct tg_histogram recent, older;
    uint64_t turned_at; /* us: when `recent` began */
    double q;           /* of `known` */
    uint64_t known;     /* us */
    uint64_t known_at;  /* us; 0: never */
};

struct tg_pace *tg_pace_new(void)
{
    return tg_mem_zalloc(TG_MEM_CONFIG, 1, sizeof(struct tg_pace));
}

void tg_pace_free(struct tg_pace **pace)
{
    tg_mem_free(TG_MEM_CONFIG, *pace);
    *pace = NULL;
}

/* Forgets what is older than two windows. */
static void turn(struct tg_pace *p, uint64_t now)
{
    if (now < p->turned_at + TG_PACE_WINDOW)
        return;
    bool old = now >= p->turned_at + 2 * TG_PACE_WINDOW;
    tg_histogram_init(&p->older);
    if (!old)
        tg_histogram_merge(&p->older, &p->recent);
    tg_histogram_init(&p->recent);
    p->turned_at = now;
}

void tg_pace_record(struct tg_pace *pace, uint64_t us, uint64_t now)
{
    turn(pace, now);
    tg_histogram_record(&pace->recent, us);
}

uint64_t tg_pace_quantile(struct tg_pace *pace, double q, uint64_t now)
{
    turn(pace, now);
    if (pace->known_at > 0 && pace->q == q && now < pace->known_at + FRESH)
        return pace->known;
    struct tg_histogram both;
    tg_histogram_init(&both);
    tg_histogram_merge(&both, &pace->recent);
    tg_histogram_merge(&both, &pace->older);
    pace->q = q;
    pace->known_at = now;
    pace->known = tg_histogram_count(&both) < TG_PACE_ENOUGH ? 0 : tg_histogram_quantile(&both, q);
    return pace->known;
}
