/* map_watch.c: one list under one lock, and a table of the families. See map_watch.h. */
#include "base/banned.h"
#include "observe/map_watch.h"

#include "observe/exposition.h"

#include <inttypes.h>
#include <pthread.h>

enum value_kind { COUNT, SECONDS /* of a number of us */ };

/* A family with one number a map. */
struct family {
    const char *name;
    const char *type;
    const char *help;
    size_t offset; /* in struct tg_map_stats, of a uint64_t */
    enum value_kind kind;
};

static const struct family families[] = {
    {"tidegate_map_entries", "gauge", "Entries of bounded maps.",
     offsetof(struct tg_map_stats, entries), COUNT},
    {"tidegate_map_entries_peak", "gauge", "The most entries that there were, summed over shards.",
     offsetof(struct tg_map_stats, entries_peak), COUNT},
    {"tidegate_map_bytes", "gauge", "What the entries of bounded maps are charged.",
     offsetof(struct tg_map_stats, bytes), COUNT},
    {"tidegate_map_pinned", "gauge", "Entries that cannot be pushed out.",
     offsetof(struct tg_map_stats, pinned), COUNT},
    {"tidegate_map_hits_total", "counter", "Look-ups that found an entry.",
     offsetof(struct tg_map_stats, hits), COUNT},
    {"tidegate_map_misses_total", "counter", "Look-ups that found none.",
     offsetof(struct tg_map_stats, misses), COUNT},
    {"tidegate_map_refused_total", "counter", "Entries for which no room could be made.",
     offsetof(struct tg_map_stats, refused), COUNT},
    {"tidegate_map_sweeps_total", "counter", "Passes for expired entries, of each shard.",
     offsetof(struct tg_map_stats, sweeps), COUNT},
    {"tidegate_map_sweep_seconds_total", "counter", "Time spent on these passes.",
     offsetof(struct tg_map_stats, sweep_us), SECONDS},
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct tg_list watches = {&watches, &watches}; /* under the lock */

void tg_map_watch_add(struct tg_map_watch *watch, struct tg_str name, struct tg_shared_map *map)
{
    snprintf(watch->name, sizeof(watch->name), "%.*s", TG_STR_ARG(name));
    watch->map = map;
    pthread_mutex_lock(&lock);
    tg_list_push_back(&watches, &watch->link);
    pthread_mutex_unlock(&lock);
}

void tg_map_watch_remove(struct tg_map_watch *watch)
{
    if (watch->map == NULL)
        return;
    pthread_mutex_lock(&lock);
    tg_list_remove(&watch->link);
    pthread_mutex_unlock(&lock);
    watch->map = NULL;
}

/* ---- The text; the lock is held ---------------------------------------------------------------
 */

static bool is_first_of_its_name(const struct tg_map_watch *watch)
{
    TG_LIST_FOREACH(&watches, it)
    {
        const struct tg_map_watch *other = TG_LIST_ENTRY(it, struct tg_map_watch, link);
        if (other == watch)
            return true;
        if (strcmp(other->name, watch->name) == 0)
            return false;
    }
    return true;
}

/* The statistics of all maps with the name of `watch`: those that are numbers one after the other.
 */
static void sum_of_name(const struct tg_map_watch *watch, struct tg_map_stats *sum)
{
    _Static_assert(sizeof(struct tg_map_stats) % sizeof(uint64_t) == 0, "numbers alone");
    uint64_t numbers[sizeof(struct tg_map_stats) / sizeof(uint64_t)] = {0};
    TG_LIST_FOREACH(&watches, it)
    {
        const struct tg_map_watch *other = TG_LIST_ENTRY(it, struct tg_map_watch, link);
        uint64_t own[TG_COUNT_OF(numbers)];
        struct tg_map_stats stats;
        if (strcmp(other->name, watch->name) != 0)
            continue;
        tg_shared_map_stats(other->map, &stats);
        memcpy(own, &stats, sizeof(own));
        for (size_t i = 0; i < TG_COUNT_OF(numbers); i++)
            numbers[i] += own[i];
    }
    memcpy(sum, numbers, sizeof(*sum));
}

static void write_family(struct tg_fmt *f, const struct family *family)
{
    tg_exposition_head(f, tg_str_c(family->name), family->type, tg_str_c(family->help));
    TG_LIST_FOREACH(&watches, it)
    {
        const struct tg_map_watch *watch = TG_LIST_ENTRY(it, struct tg_map_watch, link);
        struct tg_map_stats stats;
        uint64_t value;
        if (!is_first_of_its_name(watch))
            continue;
        sum_of_name(watch, &stats);
        memcpy(&value, (const char *)&stats + family->offset, sizeof(value));
        tg_fmt_printf(f, "%s{map=\"%s\"} ", family->name, watch->name);
        if (family->kind == SECONDS)
            tg_exposition_seconds(f, value);
        else
            tg_fmt_printf(f, "%" PRIu64, value);
        tg_fmt_char(f, '\n');
    }
}

static void write_evictions(struct tg_fmt *f)
{
    static const char name[] = "tidegate_map_evictions_total";
    tg_exposition_head(f, tg_str_c(name), "counter", TG_STR("Entries that left, by reason."));
    TG_LIST_FOREACH(&watches, it)
    {
        const struct tg_map_watch *watch = TG_LIST_ENTRY(it, struct tg_map_watch, link);
        struct tg_map_stats stats;
        if (!is_first_of_its_name(watch))
            continue;
        sum_of_name(watch, &stats);
        for (int reason = 0; reason < TG_MAP_REASONS; reason++)
            tg_fmt_printf(f, "%s{map=\"%s\",reason=\"%s\"} %" PRIu64 "\n", name, watch->name,
                          tg_map_reason_name((enum tg_map_reason)reason), stats.left[reason]);
    }
}

void tg_map_watches_write(struct tg_fmt *f)
{
    pthread_mutex_lock(&lock);
    if (!tg_list_is_empty(&watches)) {
        for (size_t i = 0; i < TG_COUNT_OF(families); i++)
            write_family(f, &families[i]);
        write_evictions(f);
    }
    pthread_mutex_unlock(&lock);
}

void tg_map_watches_visit(void (*visit)(void *arg, const char *name,
                                        const struct tg_map_stats *stats),
                          void *arg)
{
    pthread_mutex_lock(&lock);
    TG_LIST_FOREACH(&watches, it)
    {
        const struct tg_map_watch *watch = TG_LIST_ENTRY(it, struct tg_map_watch, link);
        struct tg_map_stats sum;
        if (!is_first_of_its_name(watch))
            continue;
        sum_of_name(watch, &sum);
        visit(arg, watch->name, &sum);
    }
    pthread_mutex_unlock(&lock);
}
