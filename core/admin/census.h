/* census.h: what only the workers know about the plugins, asked from all of them at once.
 *
 *     keeper     tg_census_new()                                tg_census_free()
 *                   | ask                                          ^ all have answered
 *     workers       +---> tg_census_visit() each, on its own loop -+
 *
 * A worker writes its own rows and nothing else, so there is no lock: the mailboxes of the loops
 * order the writing before the reading. A worker that has ended, or has no VMs yet, leaves its rows
 * empty. During a reload a worker may run another snapshot than the census names; plugins are then
 * found by their names.
 *
 * Cost: some 200 bytes a row, workers times plugins of them; a visit takes microseconds.
 */
#ifndef TG_ADMIN_CENSUS_H
#define TG_ADMIN_CENSUS_H

#include "config/snapshot.h"
#include "script/kill.h"
#include "script/quarantine.h"

struct tg_gate;

/* One plugin in one worker. Counts are since the plugin was configured first, across reloads. */
struct tg_census_row {
    bool present;
    size_t heap; /* live bytes of the VM */
    size_t held; /* bytes that its allocator has from the system */
    uint64_t errors;
    uint64_t kills[TG_KILL_COUNT];
    uint64_t collections; /* forced */
    uint64_t rebuilds;
    uint32_t background; /* activations without a request that run now */
    enum tg_quarantine_state quarantine;
    uint64_t quarantines; /* so far */
    uint64_t pause_left;  /* us until it is tried again; 0 unless shut */
};

struct tg_census {
    struct tg_snapshot *snapshot; /* one reference */
    uint32_t workers;
    struct tg_census_row rows[]; /* of worker w and plugin p: w * plugin_count + p */
};

/* An empty census of `snapshot`, the caller's; NULL when memory is out. */
struct tg_census *tg_census_new(struct tg_snapshot *snapshot, uint32_t workers) TG_MUST_USE;

void tg_census_free(struct tg_census **census);

/* Fills the rows of the worker of `gate`, on whose thread it runs. */
void tg_census_visit(struct tg_census *census, struct tg_gate *gate);

/* The row of worker `worker` and plugin `plugin`. */
static inline const struct tg_census_row *tg_census_row(const struct tg_census *census,
                                                        uint32_t worker, uint32_t plugin)
{
    return &census->rows[(size_t)worker * census->snapshot->plugin_count + plugin];
}

#endif
