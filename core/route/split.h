/* split.h: which of several shares a request falls to.
 *
 * By key: rendezvous hashing with weights (Schindelhauer, Schomaker: "Weighted distributed hash
 * tables", 2005). Each share draws a number from the key and its own name, the best of them wins.
 * So a key stays where it is as long as nobody else's weight grows or its own shrinks, whatever the
 * order of the shares and on every worker, process and machine alike: the hash has a fixed key.
 * Growing a weight moves keys to that share only, taking a share away moves its keys only.
 *
 * By chance: a random number decides, each share as often as its weight says.
 *
 * Pure functions. Cost: one hash of the key, and one logarithm for each share.
 */
#ifndef TG_ROUTE_SPLIT_H
#define TG_ROUTE_SPLIT_H

#include "base/str.h"

#define TG_SPLIT_WHOLE 10000 /* a percentage in hundredths: all */

struct tg_split_share {
    uint64_t seed;   /* of its name: tg_split_seed() */
    uint32_t weight; /* 0: nothing falls to it */
};

uint64_t tg_split_seed(struct tg_str name);

/* Index of the share that takes `key`; one of `n` has a weight. */
uint32_t tg_split_by_key(const struct tg_split_share *shares, uint32_t n, struct tg_str key);

/* The same by a random number. */
uint32_t tg_split_by_chance(const struct tg_split_share *shares, uint32_t n, uint64_t random);

/* Whether `key` belongs to the part of all keys that `percent` (in hundredths) says. A larger part
 * holds all of the smaller one. */
bool tg_split_takes(uint64_t seed, uint32_t percent, struct tg_str key);

#endif
