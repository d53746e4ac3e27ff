/* map_index.c: see map_index.h. */
#include "base/banned.h"
#include "base/map_index.h"

/* ---- Keys ---------------------------------------------------------------------------------- */

static bool is_long(const struct tg_map *map, const struct tg_map_key *key)
{
    return key->n > map->options.key_room;
}

/* The 128 bits that stand for a long key. */
static void hash_long(const struct tg_map *map, const struct tg_map_key *key, unsigned char *out)
{
    uint64_t second = tg_hash_keyed(map->second_key, key->p, key->n);
    memcpy(out, &key->hash, sizeof(key->hash));
    memcpy(out + sizeof(key->hash), &second, sizeof(second));
}

void tg_map_store_key(const struct tg_map *map, struct tg_map_entry *e,
                      const struct tg_map_key *key)
{
    e->hash = tg_map_short_hash(key->hash);
    e->key_n = is_long(map, key) ? TG_MAP_KEY_IS_HASH : (uint8_t)key->n;
    if (is_long(map, key))
        hash_long(map, key, e->key);
    else if (key->n > 0)
        memcpy(e->key, key->p, key->n);
}

static bool key_is(const struct tg_map *map, const struct tg_map_entry *e,
                   const struct tg_map_key *key)
{
    unsigned char hash[TG_MAP_HASH_BYTES];
    if (!is_long(map, key))
        return e->key_n == key->n && (key->n == 0 || memcmp(e->key, key->p, key->n) == 0);
    if (e->key_n != TG_MAP_KEY_IS_HASH)
        return false;
    hash_long(map, key, hash);
    return memcmp(e->key, hash, sizeof(hash)) == 0;
}

/* ---- Buckets ------------------------------------------------------------------------------- */

struct tg_map_entry *tg_map_find(const struct tg_map *map, const struct tg_map_key *key)
{
    uint32_t hash = tg_map_short_hash(key->hash);
    uint64_t first = tg_map_bucket_of(map, hash);
    uint64_t at = first;
    do {
        const struct tg_map_bucket *bucket = &map->index[at];
        unsigned found = tg_map_matching(bucket, map->tag_mask, hash << map->number_bits);
        for (; found != 0; found &= found - 1) {
            uint32_t number = bucket->slots[__builtin_ctz(found)] & ~map->tag_mask;
            if (number != 0 && key_is(map, tg_map_entry_at(map, number), key))
                return tg_map_entry_at(map, number);
        }
        if (bucket->passed == 0)
            return NULL;
        at = tg_map_next_bucket(map, at);
    } while (at != first); /* where there are few, entries may have passed over all of them */
    return NULL;
}
