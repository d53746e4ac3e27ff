/* cache.c: see cache.h. The map's own time to live is ttl + stale; the slot says how much of it is
 * fresh. */
#include "base/banned.h"
#include "store/cache.h"

#include "store/dict.h"

enum tg_cache_verdict tg_cache_get(struct tg_zone *zone, struct tg_str name, uint64_t now,
                                   struct tg_zone_value *value)
{
    struct tg_map_key key = tg_map_key(name.p, name.n);
    struct tg_map *map = tg_shared_map_lease(tg_zone_map(zone), key);
    const struct tg_zone_slot *slot = tg_map_get(map, key, now);
    enum tg_cache_verdict verdict = TG_CACHE_MISS;
    *value = (struct tg_zone_value){.type = TG_ZONE_ABSENT};
    if (slot != NULL) {
        tg_zone_slot_read(slot, value);
        verdict = slot->until == 0 || now < slot->until ? TG_CACHE_FRESH : TG_CACHE_STALE;
    }
    tg_shared_map_return(tg_zone_map(zone), key, &map);
    return verdict;
}

enum tg_err tg_cache_set(struct tg_zone *zone, struct tg_str name, struct tg_zone_value *value,
                         uint64_t ttl, uint64_t stale, uint64_t now)
{
    struct tg_map_key key = tg_map_key(name.p, name.n);
    struct tg_map *map = tg_shared_map_lease(tg_zone_map(zone), key);
    uint64_t lives = ttl == 0 ? TG_MAP_NEVER : ttl + stale;
    enum tg_err err = tg_zone_slot_set(map, key, value, ttl == 0 ? 0 : now + ttl, lives, now);
    tg_shared_map_return(tg_zone_map(zone), key, &map);
    return err;
}

bool tg_cache_delete(struct tg_zone *zone, struct tg_str key, uint64_t now)
{
    return tg_dict_delete(zone, key, now);
}
