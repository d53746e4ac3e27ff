/* revisions.c: see revisions.h. */
#include "base/banned.h"
#include "config/revisions.h"

#include "base/assert.h"
#include "base/clock.h"

void tg_revisions_init(struct tg_revisions *revisions)
{
    *revisions = (struct tg_revisions){.count = 0};
}

void tg_revisions_release(struct tg_revisions *revisions)
{
    while (revisions->count > 0)
        tg_sources_unref(&revisions->v[--revisions->count].sources);
}

/* Bytes of all sources but those that an earlier revision has too. */
static size_t bytes_of(const struct tg_revisions *revisions)
{
    size_t sum = 0;

    for (uint32_t i = 0; i < revisions->count; i++) {
        const struct tg_sources *sources = revisions->v[i].sources;
        bool counted = sources == NULL;
        for (uint32_t j = 0; j < i && !counted; j++)
            counted = revisions->v[j].sources == sources;
        sum += counted ? 0 : tg_sources_size(sources);
    }
    return sum;
}

static void drop_oldest(struct tg_revisions *revisions)
{
    tg_sources_unref(&revisions->v[0].sources);
    revisions->count--;
    memmove(&revisions->v[0], &revisions->v[1], revisions->count * sizeof(revisions->v[0]));
}

void tg_revisions_add(struct tg_revisions *revisions, uint32_t number, uint32_t origin,
                      struct tg_sources *sources)
{
    const struct tg_revision *newest = tg_revisions_newest(revisions);
    struct tg_clock clock;

    tg_clock_init(&clock);
    tg_assert(newest == NULL || newest->number < number);
    tg_assert(tg_sources_are_sealed(sources));
    if (revisions->count == TG_REVISIONS_MAX)
        drop_oldest(revisions);
    struct tg_revision *revision = &revisions->v[revisions->count++];
    *revision = (struct tg_revision){.number = number,
                                     .origin = origin,
                                     .since = clock.real,
                                     .sources = tg_sources_ref(sources)};
    tg_sources_digest(sources, revision->digest);
    while (revisions->count > 1 && bytes_of(revisions) > TG_REVISIONS_BYTES)
        drop_oldest(revisions);
}

void tg_revisions_forget_sources(struct tg_revisions *revisions)
{
    for (uint32_t i = 0; i < revisions->count; i++)
        tg_sources_unref(&revisions->v[i].sources);
}

const struct tg_revision *tg_revisions_newest(const struct tg_revisions *revisions)
{
    return revisions->count > 0 ? &revisions->v[revisions->count - 1] : NULL;
}

const struct tg_revision *tg_revisions_previous(const struct tg_revisions *revisions)
{
    return revisions->count > 1 ? &revisions->v[revisions->count - 2] : NULL;
}

const struct tg_revision *tg_revisions_find(const struct tg_revisions *revisions, uint32_t number)
{
    for (uint32_t i = 0; i < revisions->count; i++) {
        if (revisions->v[i].number == number)
            return &revisions->v[i];
    }
    return NULL;
}
