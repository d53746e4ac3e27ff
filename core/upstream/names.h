/* names.h: what the process knows of the names that a service's targets are declared by, for who
 * looks at it from outside (`tidegate upstreams`): the answer that some worker had last.
 *
 * Part of the registry (origin.h), and behind its lock. Any thread.
 */
#ifndef TG_UPSTREAM_NAMES_H
#define TG_UPSTREAM_NAMES_H

#include "upstream/origin.h"
#include "upstream/resolver.h"

struct tg_known_name {
    struct tg_list link; /* in the fleet */
    struct tg_str name;  /* as declared; owned */
    uint32_t holders;
    const char *state; /* static: "pending", "found", "stale", "none", "failed" */
    char problem[64];  /* of the last answer; empty: none */
    uint64_t until;    /* us: it is looked up again */
    uint32_t n;
    struct tg_addr addrs[TG_ANSWER_MAX];
};

/* The name of the held fleet, made where there is none. NULL: no memory. */
struct tg_known_name *tg_known_name_ref(struct tg_fleet *fleet, struct tg_str name) TG_MUST_USE;
void tg_known_name_unref(struct tg_fleet *fleet, struct tg_known_name **known);

/* Takes over state, problem, until and addresses. */
void tg_known_name_set(struct tg_fleet *fleet, struct tg_known_name *known,
                       const struct tg_known_name *news);

#endif
