/* dict.c: see dict.h. Between lease and return of a shard nothing waits, and nothing is allocated
 * but a segment of entries once in a while. */
#include "base/banned.h"
#include "store/dict.h"

#include "base/assert.h"

static struct tg_map_key key_of(struct tg_str key)
{
    return tg_map_key(key.p, key.n);
}

static uint64_t end_of(uint64_t ttl, uint64_t now)
{
    return ttl == 0 ? 0 : now + ttl;
}

void tg_dict_get(struct tg_zone *zone, struct tg_str name, uint64_t now,
                 struct tg_zone_value *value)
{
    struct tg_map_key key = key_of(name);
    struct tg_map *map = tg_shared_map_lease(tg_zone_map(zone), key);
    const struct tg_zone_slot *slot = tg_map_get(map, key, now);
    *value = (struct tg_zone_value){.type = TG_ZONE_ABSENT};
    if (slot != NULL)
        tg_zone_slot_read(slot, value);
    tg_shared_map_return(tg_zone_map(zone), key, &map);
}

enum tg_err tg_dict_set(struct tg_zone *zone, struct tg_str name, struct tg_zone_value *value,
                        uint64_t ttl, uint64_t now)
{
    struct tg_map_key key = key_of(name);
    struct tg_map *map = tg_shared_map_lease(tg_zone_map(zone), key);
    enum tg_err err = tg_zone_slot_set(map, key, value, end_of(ttl, now), ttl, now);
    tg_shared_map_return(tg_zone_map(zone), key, &map);
    return err;
}

enum tg_err tg_dict_add(struct tg_zone *zone, struct tg_str name, struct tg_zone_value *value,
                        uint64_t ttl, uint64_t now)
{
    struct tg_map_key key = key_of(name);
    struct tg_map *map = tg_shared_map_lease(tg_zone_map(zone), key);
    enum tg_err err = TG_E_EXISTS;
    if (tg_map_get(map, key, now) == NULL)
        err = tg_zone_slot_set(map, key, value, end_of(ttl, now), ttl, now);
    tg_shared_map_return(tg_zone_map(zone), key, &map);
    tg_zone_value_release(value);
    return err;
}

/* The same on the leased map. */
static enum tg_err incr(struct tg_map *map, struct tg_map_key key, double by, const double *init,
                        uint64_t ttl, uint64_t now, double *result)
{
    struct tg_zone_slot *slot = tg_map_get(map, key, now);
    if (slot != NULL) {
        if (slot->type != TG_ZONE_NUMBER)
            return TG_E_INVALID;
        *result = slot->number += by;
        return TG_OK;
    }
    if (init == NULL)
        return TG_E_NOT_FOUND;
    struct tg_zone_value value = {.type = TG_ZONE_NUMBER, .number = *init + by};
    *result = value.number;
    return tg_zone_slot_set(map, key, &value, end_of(ttl, now), ttl, now);
}

enum tg_err tg_dict_incr(struct tg_zone *zone, struct tg_str name, double by, const double *init,
                         uint64_t ttl, uint64_t now, double *result)
{
    struct tg_map_key key = key_of(name);
    struct tg_map *map = tg_shared_map_lease(tg_zone_map(zone), key);
    enum tg_err err = incr(map, key, by, init, ttl, now, result);
    tg_shared_map_return(tg_zone_map(zone), key, &map);
    return err;
}

static bool has_value(const struct tg_zone_slot *slot, const struct tg_zone_value *value)
{
    enum tg_zone_type type = slot != NULL ? slot->type : TG_ZONE_ABSENT;
    if (type != value->type)
        return false;
    if (type == TG_ZONE_ABSENT)
        return true;
    if (type == TG_ZONE_NUMBER || type == TG_ZONE_BOOLEAN)
        return slot->number == value->number;
    return tg_str_eq(tg_str(slot->text->bytes, slot->text->n),
                     tg_str(value->text->bytes, value->text->n));
}

/* Sets or deletes on the leased map; `slot` is what is there, or NULL. */
static enum tg_err swap(struct tg_map *map, struct tg_map_key key, const struct tg_zone_slot *slot,
                        struct tg_zone_value *value, const uint64_t *ttl, uint64_t now)
{
    uint64_t until = slot != NULL ? slot->until : 0;
    if (value->type == TG_ZONE_ABSENT) {
        tg_map_remove(map, key, now);
        return TG_OK;
    }
    if (ttl != NULL)
        until = end_of(*ttl, now);
    uint64_t left = until == 0 ? 0 : until > now ? until - now : 1;
    return tg_zone_slot_set(map, key, value, until, left, now);
}

enum tg_err tg_dict_cas(struct tg_zone *zone, struct tg_str name,
                        const struct tg_zone_value *expected, struct tg_zone_value *value,
                        const uint64_t *ttl, uint64_t now, bool *swapped)
{
    struct tg_map_key key = key_of(name);
    struct tg_map *map = tg_shared_map_lease(tg_zone_map(zone), key);
    const struct tg_zone_slot *slot = tg_map_get(map, key, now);
    enum tg_err err = TG_OK;
    *swapped = has_value(slot, expected);
    if (*swapped)
        err = swap(map, key, slot, value, ttl, now);
    tg_shared_map_return(tg_zone_map(zone), key, &map);
    tg_zone_value_release(value);
    return err;
}

bool tg_dict_delete(struct tg_zone *zone, struct tg_str name, uint64_t now)
{
    struct tg_map_key key = key_of(name);
    struct tg_map *map = tg_shared_map_lease(tg_zone_map(zone), key);
    bool found = tg_map_remove(map, key, now);
    tg_shared_map_return(tg_zone_map(zone), key, &map);
    return found;
}

bool tg_dict_ttl(struct tg_zone *zone, struct tg_str name, uint64_t now, uint64_t *left)
{
    struct tg_map_key key = key_of(name);
    struct tg_map *map = tg_shared_map_lease(tg_zone_map(zone), key);
    const struct tg_zone_slot *slot = tg_map_get(map, key, now);
    bool found = slot != NULL;
    *left = 0;
    if (found && slot->until != 0)
        *left = slot->until > now ? slot->until - now : 1;
    tg_shared_map_return(tg_zone_map(zone), key, &map);
    return found;
}
