/* state.h: what a plugin keeps between requests, as fingerprints.
 *
 * Module tables are those that the plugin's functions reach by their upvalues, directly or through
 * other tables and functions. A fingerprint is a sum over a table's keys and values, by content for
 * strings and numbers, by identity for the rest; two of the same table differ when it was written.
 *
 * Bounds: TG_STATE_TABLES tables; what is beyond is not looked at. Cost: one pass over all of them.
 */
#ifndef TG_HARNESS_STATE_H
#define TG_HARNESS_STATE_H

#include "script/vm.h"

#define TG_STATE_TABLES 512
#define TG_STATE_NAME   64

struct tg_state_table {
    const void *identity;
    uint64_t sum;
    char name[TG_STATE_NAME]; /* "cache.hits": the upvalue and the way from there; may be cut */
};

struct tg_state {
    struct tg_state_table tables[TG_STATE_TABLES];
    unsigned count;
};

/* Takes the fingerprints of `vm`, between two activations. */
void tg_state_take(struct tg_vm *vm, struct tg_state *out);

/* The table of `after` that `before` knows with another sum, from *at on, which is moved; NULL: no
 * further one. */
const struct tg_state_table *tg_state_next_written(const struct tg_state *before,
                                                   const struct tg_state *after, unsigned *at);

#endif
