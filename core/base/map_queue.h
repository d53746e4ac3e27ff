/* map_queue.h: who comes and who goes, for the files of the map: the queue in which all entries
 * stand that are not pinned, what is counted of them, and room for new ones. map.h tells the
 * policies.
 */
#ifndef TG_BASE_MAP_QUEUE_H
#define TG_BASE_MAP_QUEUE_H

#include "base/map_layout.h"

/* The entry `number` comes, key, hash and cost written: it can be found, is counted, and stands in
 * the queue as the youngest unless it is pinned. */
void tg_map_enter(struct tg_map *map, uint32_t number, bool pinned);

/* It goes, and is free; when it was the last, memory is given back. */
void tg_map_drop(struct tg_map *map, uint32_t number, enum tg_map_reason reason);

/* Takes an entry out of the queue, or makes it the youngest there; nothing where it is so already.
 */
void tg_map_set_pinned(struct tg_map *map, uint32_t number, struct tg_map_entry *e, bool pinned);

/* Pushes entries out until `bytes` and `entries` more are within the caps, at `time` since the
 * epoch; tg_map_fits() has said that it can be done. */
void tg_map_make_room(struct tg_map *map, uint64_t bytes, uint64_t entries, uint64_t time);

/* Could `bytes` more be held, with everything pushed out that may be? `own` is the entry that they
 * replace, or NULL. */
static inline bool tg_map_fits(const struct tg_map *map, const struct tg_map_entry *own,
                               uint64_t bytes)
{
    uint64_t fixed = map->pinned_bytes;
    if (own == NULL && map->stats.pinned >= map->options.max_entries)
        return false;
    if (own != NULL && own->pinned)
        fixed -= tg_map_bytes_of(map, own->cost);
    return map->options.max_bytes == 0 ||
           (bytes <= map->options.max_bytes && fixed <= map->options.max_bytes - bytes);
}

/* Would `more` bytes (may be "negative") keep within the cap? */
static inline bool tg_map_within_bytes(const struct tg_map *map, uint64_t more)
{
    return map->options.max_bytes == 0 || map->stats.bytes + more <= map->options.max_bytes;
}

/* For tg_map_tell(), where there is an owner to be told. */
void tg_map_tell_owner(struct tg_map *map, struct tg_map_entry *e, enum tg_map_reason reason);

/* Counts that `e` goes, or that its value does, and tells the owner. */
static inline void tg_map_tell(struct tg_map *map, struct tg_map_entry *e,
                               enum tg_map_reason reason)
{
    map->stats.left[reason]++;
    if (map->options.on_leave != NULL)
        tg_map_tell_owner(map, e, reason);
}

#endif
