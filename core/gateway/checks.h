/* checks.h: has the checker ask what a snapshot says: health.active of its services.
 *
 * Targets that are names are looked up here as well, since the checker is not a worker's: a change
 * of what they stand for changes what is checked. Threads: the checker's worker.
 */
#ifndef TG_GATEWAY_CHECKS_H
#define TG_GATEWAY_CHECKS_H

#include "config/snapshot.h"
#include "upstream/checker.h"
#include "upstream/roster.h"

/* Embedded. Zeroes: nothing is checked. */
struct tg_checks {
    struct tg_worker *worker;
    struct tg_registry *registry; /* borrowed, as are the following */
    struct tg_checker *checker;
    struct tg_dns *dns; /* NULL: names are looked up elsewhere */
    struct tg_resolver *resolver;

    /* private */
    struct tg_snapshot *snapshot; /* one reference */
    struct tg_roster **rosters;   /* by the service's index; NULL: no names, or no checks */
};

/* From now on the targets of `snapshot` are checked and no others. What there is no memory for is
 * not checked, and logged. */
void tg_checks_follow(struct tg_checks *checks, struct tg_snapshot *snapshot);

/* Before the checker and the resolver go; allowed on zeroes. */
void tg_checks_release(struct tg_checks *checks);

#endif
