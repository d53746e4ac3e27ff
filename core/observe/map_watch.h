/* map_watch.h: bounded maps that the metrics tell of, by name.
 *
 * Whoever owns a shared map embeds a watch and adds it under a name; the Prometheus text then has
 * the map's statistics (struct tg_map_stats) under the label `map`. Maps of one name are shown as
 * one, their sum: a zone whose size has changed has two for as long as requests of the old
 * configuration last.
 *
 * Threads: any. A read takes each shard's lock once a family, for some ten nanoseconds.
 */
#ifndef TG_OBSERVE_MAP_WATCH_H
#define TG_OBSERVE_MAP_WATCH_H

#include "base/fmt.h"
#include "base/list.h"
#include "base/shared_map.h"

#define TG_MAP_WATCH_NAME_MAX 160

struct tg_map_watch {
    /* private */
    struct tg_list link;
    struct tg_shared_map *map;
    char name[TG_MAP_WATCH_NAME_MAX];
};

/* Shows `map` (borrowed until the removal) as `name`: letters, digits and "._-/"; what is longer
 * than TG_MAP_WATCH_NAME_MAX is cut. */
void tg_map_watch_add(struct tg_map_watch *watch, struct tg_str name, struct tg_shared_map *map);

/* No more; allowed on a zeroed watch and twice. */
void tg_map_watch_remove(struct tg_map_watch *watch);

/* Calls visit(arg, name, stats) for each name, with the sum of its maps. It must not add or remove
 * watches; `name` and `stats` are valid during the call. */
void tg_map_watches_visit(void (*visit)(void *arg, const char *name,
                                        const struct tg_map_stats *stats),
                          void *arg);

/* Writes the families tidegate_map_... in the Prometheus text format; nothing when no map is
 * watched. Some 1.5 KiB a map. Failure latches in the builder. */
void tg_map_watches_write(struct tg_fmt *f);

#endif
