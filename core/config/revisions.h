/* revisions.h: the configurations that were in force, the last ones, to go back to.
 *
 * A revision is the sources of an evaluation (sources.h) and a number, counted from 1 since the
 * start. Evaluating them again gives what ran then, whatever has become of the files since: secrets
 * and environment are among them. So they are memory only, and gone with the supervisor.
 *
 * Bounds: TG_REVISIONS_MAX of them, and TG_REVISIONS_BYTES in all; the oldest go first, the newest
 * stays whatever it takes. A revision that restores another shares its sources.
 *
 * Threads: one.
 */
#ifndef TG_CONFIG_REVISIONS_H
#define TG_CONFIG_REVISIONS_H

#include "config/sources.h"

#define TG_REVISIONS_MAX   10
#define TG_REVISIONS_BYTES ((size_t)64 << 20)

struct tg_revision {
    uint32_t number;
    uint32_t origin;            /* the revision that it restores; 0: it was read from the files */
    uint64_t since;             /* us since 1970: it came into force */
    struct tg_sources *sources; /* sealed; one reference. NULL: forgotten */
    char digest[TG_SOURCES_DIGEST_LEN + 1];
};

struct tg_revisions {
    struct tg_revision v[TG_REVISIONS_MAX]; /* the oldest first */
    uint32_t count;
};

void tg_revisions_init(struct tg_revisions *revisions);
void tg_revisions_release(struct tg_revisions *revisions);

/* `sources` (a reference is taken; they are sealed) come into force as `number`, larger than all
 * before. */
void tg_revisions_add(struct tg_revisions *revisions, uint32_t number, uint32_t origin,
                      struct tg_sources *sources);

/* Drops the sources of all, for who tells of revisions and never restores one: a gateway process
 * under a supervisor, whose budget they would take. */
void tg_revisions_forget_sources(struct tg_revisions *revisions);

/* In force; NULL before the first. The one before it; NULL: there is none. The one of that number,
 * or NULL. Borrowed until the next add. */
const struct tg_revision *tg_revisions_newest(const struct tg_revisions *revisions);
const struct tg_revision *tg_revisions_previous(const struct tg_revisions *revisions);
const struct tg_revision *tg_revisions_find(const struct tg_revisions *revisions, uint32_t number);

#endif
