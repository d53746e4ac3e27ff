/* cache.h: what plugins do with a cache zone: values that grow stale, and known absences.
 *
 *     stored             ttl over                  ttl + stale over
 *       |----- fresh -----|--------- stale -----------|  gone
 *
 * A stale value stands in when a new one cannot be had. That a key has no value can be stored too
 * (TG_ZONE_ABSENT), so that what does not exist is not asked for again and again.
 *
 * Ownership of texts, times, failures and threads as in store/dict.h.
 */
#ifndef TG_STORE_CACHE_H
#define TG_STORE_CACHE_H

#include "store/zone.h"

enum tg_cache_verdict { TG_CACHE_MISS, TG_CACHE_FRESH, TG_CACHE_STALE };

/* What is stored under `key`; on MISS *value is absent. */
enum tg_cache_verdict tg_cache_get(struct tg_zone *zone, struct tg_str key, uint64_t now,
                                   struct tg_zone_value *value);

/* Stores `value`: fresh for `ttl` us (0: without end), then stale for `stale` us. */
enum tg_err tg_cache_set(struct tg_zone *zone, struct tg_str key, struct tg_zone_value *value,
                         uint64_t ttl, uint64_t stale, uint64_t now) TG_MUST_USE;

/* Drops `key`; false when there was nothing. */
bool tg_cache_delete(struct tg_zone *zone, struct tg_str key, uint64_t now);

#endif
