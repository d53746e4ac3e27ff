/* candidate.h: a configuration that may come into force: what an order leads to, evaluated.
 *
 *     make     reads or restores, evaluates, compares with what is in force
 *     tell     what was printed goes to stderr, for who starts the gateway: that may wait for a
 *              reader
 *     log      the same for a gateway that runs: it goes where the log goes, and never waits
 *     release
 *
 * A candidate is decided when there is nothing left to do: refused, or unchanged. Otherwise it has
 * a snapshot, and whoever made it goes on.
 *
 * Threads: the supervisor's, or the keeper's under --single. Takes up to seconds.
 */
#ifndef TG_CLI_CANDIDATE_H
#define TG_CLI_CANDIDATE_H

#include "config/order.h"
#include "config/revisions.h"
#include "config/snapshot.h"

#include <stdio.h>

struct tg_candidate {
    struct tg_order order;
    bool decided;
    enum tg_outcome outcome; /* when it is */
    enum tg_err err;
    char reason[TG_ORDER_REASON_MAX];
    struct tg_snapshot *snapshot; /* one reference, nobody else's; NULL when it is decided */
    struct tg_sources *sources;   /* one reference; NULL when there are none. What a refused one has
                                     tells which files were read */
    uint32_t number;              /* of the revision that it would be */
    uint32_t origin;              /* the revision that it restores, or 0 */
    FILE *notes;                  /* what was printed; in memory, by a descriptor. Or stderr */
};

/* Sees to the order, of which a copy is kept. */
void tg_candidate_make(struct tg_candidate *candidate, const char *path,
                       const struct tg_revisions *revisions, const struct tg_order *order);

/* It will not come into force; `reason` is copied. */
void tg_candidate_refuse(struct tg_candidate *candidate, enum tg_err err, const char *reason);

/* The same where its notes tell why: the first mistake in them is the reason. */
void tg_candidate_refuse_mistakes(struct tg_candidate *candidate, enum tg_err err);

void tg_candidate_tell(struct tg_candidate *candidate);
void tg_candidate_log(struct tg_candidate *candidate);

/* The descriptor of what was printed, borrowed, or -1. */
int tg_candidate_notes(struct tg_candidate *candidate);

/* An empty candidate may be released, and again. */
void tg_candidate_release(struct tg_candidate *candidate);

/* What there is to say after a dry run. */
#define TG_CANDIDATE_VALID "it is valid and would be taken over"

#endif
