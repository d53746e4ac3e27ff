/* names.h: the source of a harness's resolver: a spec, in place of DNS servers.
 *
 * A question becomes an event; the spec answers it between two rounds of the loop, or never. What
 * the answer holds is put together piece by piece: tg_names_answer(), a record at a time, then
 * tg_names_settle().
 */
#ifndef TG_HARNESS_NAMES_H
#define TG_HARNESS_NAMES_H

#include "upstream/resolver.h"

struct tg_names {
    struct tg_resolver_source source;
    /* Somebody asks; `id` names the question until it is settled. */
    void (*on_query)(void *arg, uint32_t id, const struct tg_query *query);
    void *arg;

    /* private */
    struct tg_list asked;
    uint32_t count;
};

void tg_names_init(struct tg_names *names,
                   void (*on_query)(void *arg, uint32_t id, const struct tg_query *query),
                   void *arg);

/* An answer without records, with room for TG_ANSWER_MAX; the caller's, freed by tg_mem_free() with
 * TG_MEM_OTHER. NULL: no memory. */
struct tg_answer *tg_names_answer(enum tg_answer_kind kind, uint64_t ttl) TG_MUST_USE;

/* Answers the question `id`; `answer` is borrowed. False: nobody waits for it. */
bool tg_names_settle(struct tg_names *names, uint32_t id, const struct tg_answer *answer);

#endif
