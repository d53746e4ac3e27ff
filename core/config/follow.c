/* follow.c: see follow.h.
 *
 * What a VM took in when it was made must be the same: the plugin's text and modules (a digest),
 * its declared needs, the bounds of its heap and of its activations, the configured tables. What
 * the gateway asks at each activation (when, on_error, the limits of an instance, chains) may
 * change, and so may services, which plugins look up by name at each call. Handles of zones live in
 * VMs: when a zone that was declared is gone or has another size, no VM is kept. A new zone harms
 * nobody.
 *
 * Instances have no names that last. Those of a plugin are matched by the digests of their
 * configurations, equal ones in order.
 */
#include "base/banned.h"
#include "config/follow.h"

#include <stdlib.h>

/* The instances of a plugin, sorted by digest, then nth. */
struct sorted {
    const struct tg_instance_conf **v;
    uint32_t n;
};

static int compare(const void *a, const void *b)
{
    const struct tg_instance_conf *one = *(const struct tg_instance_conf *const *)a;
    const struct tg_instance_conf *two = *(const struct tg_instance_conf *const *)b;

    if (one->digest != two->digest)
        return one->digest < two->digest ? -1 : 1;
    return one->nth < two->nth ? -1 : one->nth > two->nth;
}

static enum tg_err sort(const struct tg_plugin_conf *plugin, struct sorted *out)
{
    out->n = plugin->instance_count;
    out->v = tg_mem_alloc(TG_MEM_CONFIG, TG_MAX(out->n, 1u) * sizeof(struct tg_instance_conf *));
    if (out->v == NULL)
        return TG_E_NOMEM;
    if (out->n > 0)
        memcpy(out->v, plugin->instances, out->n * sizeof(struct tg_instance_conf *));
    qsort(out->v, out->n, sizeof(struct tg_instance_conf *), compare);
    return TG_OK;
}

static bool same_code(const struct tg_plugin_conf *a, const struct tg_plugin_conf *b)
{
    return a->digest == b->digest && a->phases == b->phases && a->heap == b->heap &&
           a->dict == b->dict && a->cache == b->cache && a->limit == b->limit &&
           a->wants_timers == b->wants_timers && a->wants_events == b->wants_events &&
           a->wants_http == b->wants_http && a->wants_sink == b->wants_sink &&
           a->instance_count == b->instance_count;
}

/* Limits of plugins are given to a VM when it is made. */
static bool same_limits(const struct tg_snapshot *next, const struct tg_snapshot *now)
{
    struct tg_limits a = next->settings.limits;
    struct tg_limits b = now->settings.limits;

    for (int i = 0; i < TG_LIMIT_COUNT; i++) {
        enum tg_limit_id id = (enum tg_limit_id)i;
        bool of_plugins = strncmp(tg_limit_info(id)->path, "plugin", 6) == 0;
        if (of_plugins && *tg_limit_field(&a, id) != *tg_limit_field(&b, id))
            return false;
    }
    return true;
}

static bool has_zone(const struct tg_snapshot *snapshot, const struct tg_zone_conf *zone)
{
    for (uint32_t i = 0; i < snapshot->zone_count; i++) {
        const struct tg_zone_conf *other = &snapshot->zones[i];
        if (other->kind == zone->kind && other->size == zone->size && other->stale == zone->stale &&
            tg_str_eq(other->name, zone->name))
            return true;
    }
    return false;
}

static bool same_zones(const struct tg_snapshot *next, const struct tg_snapshot *now)
{
    bool same = true;

    for (uint32_t i = 0; i < now->zone_count && same; i++)
        same = has_zone(next, &now->zones[i]);
    return same;
}

static const struct tg_plugin_conf *find(const struct tg_snapshot *snapshot, struct tg_str name)
{
    for (uint32_t i = 0; i < snapshot->plugin_count; i++) {
        if (tg_str_eq(snapshot->plugins[i].name, name))
            return &snapshot->plugins[i];
    }
    return NULL;
}

/* Fills `kept` when the sorted instances are the same. */
static enum tg_err match(struct tg_snapshot *next, const struct sorted *here,
                         const struct sorted *there, struct tg_kept *kept)
{
    bool identical = true;

    for (uint32_t i = 0; i < here->n; i++) {
        if (here->v[i]->digest != there->v[i]->digest)
            return TG_OK;
        identical = identical && here->v[i]->nth == there->v[i]->nth;
    }
    kept->kept = true;
    if (identical)
        return TG_OK;
    uint32_t *order = tg_snapshot_alloc(next, here->n, sizeof(*order));
    kept->kept = order != NULL;
    if (order == NULL)
        return TG_E_NOMEM;
    for (uint32_t i = 0; i < here->n; i++)
        order[here->v[i]->nth] = there->v[i]->nth;
    kept->order = order;
    return TG_OK;
}

static enum tg_err follow_plugin(struct tg_snapshot *next, const struct tg_plugin_conf *plugin,
                                 const struct tg_snapshot *now, struct tg_kept *kept)
{
    const struct tg_plugin_conf *before = find(now, plugin->name);
    struct sorted here = {NULL, 0};
    struct sorted there = {NULL, 0};

    if (before == NULL || !same_code(plugin, before))
        return TG_OK;
    kept->index = before->index;
    enum tg_err err = sort(plugin, &here);
    if (err == TG_OK)
        err = sort(before, &there);
    if (err == TG_OK)
        err = match(next, &here, &there, kept);
    tg_mem_free(TG_MEM_CONFIG, here.v);
    tg_mem_free(TG_MEM_CONFIG, there.v);
    return err;
}

enum tg_err tg_snapshot_follow(struct tg_snapshot *next, const struct tg_snapshot *now)
{
    struct tg_kept *kept = tg_snapshot_alloc(next, next->plugin_count, sizeof(*kept));
    enum tg_err err = kept == NULL ? TG_E_NOMEM : TG_OK;
    bool any = same_limits(next, now) && same_zones(next, now);

    for (uint32_t i = 0; any && i < next->plugin_count && err == TG_OK; i++)
        err = follow_plugin(next, &next->plugins[i], now, &kept[i]);
    if (err != TG_OK)
        return err;
    next->follows = now->revision;
    next->kept = kept;
    return TG_OK;
}
