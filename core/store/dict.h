/* dict.h: what plugins do with a dict zone: values under keys, changed in one step for all workers.
 *
 * Each function leases the key's shard once, so for every other thread it happens wholly or not at
 * all: increments of many workers add up exactly, of two `add`s one wins.
 *
 * Times are microseconds of the caller's loop clock; `ttl` 0 is no end. Values that come in carry
 * one reference to their text, which is taken over whatever the outcome; values that go out carry
 * one, which the caller releases (tg_zone_value_release()).
 *
 * Failures: TG_E_LIMIT: the value is too large for the zone (or its shard); TG_E_NOMEM.
 * Threads: any. Cost: one hash, one lock, some 200 ns.
 */
#ifndef TG_STORE_DICT_H
#define TG_STORE_DICT_H

#include "store/zone.h"

/* The value of `key`; absent when there is none. */
void tg_dict_get(struct tg_zone *zone, struct tg_str key, uint64_t now,
                 struct tg_zone_value *value);

/* Sets `key`. */
enum tg_err tg_dict_set(struct tg_zone *zone, struct tg_str key, struct tg_zone_value *value,
                        uint64_t ttl, uint64_t now) TG_MUST_USE;

/* Sets `key` where it is absent; TG_E_EXISTS: it is not. */
enum tg_err tg_dict_add(struct tg_zone *zone, struct tg_str key, struct tg_zone_value *value,
                        uint64_t ttl, uint64_t now) TG_MUST_USE;

/* Adds `by` to the number under `key`; *result receives the sum. An absent key begins at *init and
 * lives for `ttl`; TG_E_NOT_FOUND when `init` is NULL. The time of a key that is there stays.
 * TG_E_INVALID: the value is not a number. */
enum tg_err tg_dict_incr(struct tg_zone *zone, struct tg_str key, double by, const double *init,
                         uint64_t ttl, uint64_t now, double *result) TG_MUST_USE;

/* Sets `key` to `value` (absent: deletes it) if it has the value `expected` (absent: has none);
 * *swapped tells. `ttl` NULL keeps the time that the key has. DATA is equal when its bytes are. */
enum tg_err tg_dict_cas(struct tg_zone *zone, struct tg_str key,
                        const struct tg_zone_value *expected, struct tg_zone_value *value,
                        const uint64_t *ttl, uint64_t now, bool *swapped) TG_MUST_USE;

/* Deletes `key`; false when there was none. */
bool tg_dict_delete(struct tg_zone *zone, struct tg_str key, uint64_t now);

/* Time that `key` has left, in us; 0: no end. False when there is none. */
bool tg_dict_ttl(struct tg_zone *zone, struct tg_str key, uint64_t now, uint64_t *left);

#endif
