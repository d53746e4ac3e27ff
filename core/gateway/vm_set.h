/* vm_set.h: the VMs of one snapshot in one worker, as plugins.c looks into them.
 *
 *   set of revision 1          set of revision 2            request that began on revision 1
 *   entries  cors ------------------ cors  <------------------ slot
 *            auth (retired) <-\     auth (new)                   |
 *                              \-----------------------------------/
 *
 * entries[i] is the VM of snapshot->plugins[i]. A VM whose plugin a reload did not change is in the
 * sets of both revisions (snapshot->kept tells); it belongs to the younger one: host.set,
 * host.plugin and what these hold are that one's. After three kills in ten seconds a VM is made
 * anew and takes its place in the set; whoever runs in the old one holds a reference, and the last
 * of them runs the plugin's stop() and closes it.
 *
 * What a plugin did (its quarantine, its counts) is in a record, which outlives VMs: a VM made anew
 * after kills shares it, one of changed code begins a new one that goes on with the counts.
 *
 * References. Who may look into entries[] (the gate, requests) has a reference to the set. An entry
 * keeps the memory of its set, but not the set's entries, or the two would keep each other: with
 * the last reference the entries go, with the last entry the memory, zones and snapshot. The
 * lifetime functions of sets are in plugins.h. One thread: the worker's.
 */
#ifndef TG_GATEWAY_VM_SET_H
#define TG_GATEWAY_VM_SET_H

#include "event/loop.h"
#include "gateway/plugins.h"
#include "gateway/prepared.h"
#include "script/quarantine.h"
#include "store/zone.h"

struct tg_targets;

enum tg_vm_state { TG_VM_NEW, TG_VM_IN_FORCE, TG_VM_RETIRED };

/* What became of a plugin's activations in this worker, with and without a request, since it was
 * configured first; its VMs come and go meanwhile. */
struct tg_plugin_tally {
    uint64_t errors; /* raised, and failures of its own word */
    uint64_t kills[TG_KILL_COUNT];
    uint64_t rebuilds;
    uint64_t collections; /* forced ones, in VMs that were replaced */
};

struct tg_plugin_record {
    uint32_t refs;
    struct tg_quarantine quarantine;
    struct tg_plugin_tally tally;
    struct tg_plugin_record *next; /* that counts from here on; one reference, or NULL */
};

struct tg_vm_entry {
    uint32_t refs;
    enum tg_vm_state state;
    bool rebuild;                    /* another takes its place in the next round */
    struct tg_vm *vm;                /* owned */
    struct tg_vm_host host;          /* what the VM's callbacks get */
    struct tg_plugin_record *record; /* one reference */
    struct tg_limits limits;         /* the operator's, with the plugin's own heap */
    int *configured;                 /* owned; see tg_vm_set_place() */
    /* By place, as these: what configure() prepared in place of phases. Owned. */
    struct tg_stand_ins *stand_ins;
    struct tg_stand_ins *configuring; /* of the instance whose configure() runs; NULL: none does */
    /* Bounds in the background: the widest that one of the plugin's instances has. */
    uint64_t memory, churn, cpu, wall;
    struct tg_zone *dict; /* needs.dict, .cache, .limit: one reference each; NULL: not declared */
    struct tg_zone *cache;
    struct tg_zone *limit;
    struct tg_list activators; /* of struct tg_activator; owned */
    struct tg_task room;       /* tells them that an activation has ended */
    uint32_t background;       /* activations that run */
    uint32_t fetches;          /* exchanges of tg.http */
    uint32_t told; /* phases, as bits, of which the log says that what they return is ignored */
};

struct tg_vm_set {
    uint32_t refs;
    uint32_t holds;               /* of its memory: one of all references, one of each entry */
    struct tg_gate *gate;         /* borrowed */
    struct tg_snapshot *snapshot; /* one reference */
    struct tg_vm_entry **entries; /* one reference each; NULL: not made, or not taken over yet */
    const uint32_t **orders;      /* of kept plugins, owned: see tg_vm_set_place() */
    struct tg_zone **zones;       /* of snapshot->zones; one reference each */
    struct tg_targets *targets;   /* balancers of snapshot->services; one reference */
    uint32_t next;                /* that tg_vm_set_make() looks at */
    struct tg_task rebuild;       /* while it waits it holds a reference to the set */
};

/* ---- Entries: vm_entry.c ---- */

/* The VM of plugin `index`, loaded and configured, with one reference and a record of its own; on
 * failure `error` tells and nothing is left. */
enum tg_err tg_vm_entry_new(struct tg_vm_set *set, uint32_t index, struct tg_vm_entry **out,
                            struct tg_vm_error *error) TG_MUST_USE;
struct tg_vm_entry *tg_vm_entry_ref(struct tg_vm_entry *entry);
void tg_vm_entry_unref(struct tg_vm_entry **entry);

/* The kept `entry` belongs to plugin `index` of `set` from now on. */
void tg_vm_entry_move(struct tg_vm_entry *entry, struct tg_vm_set *set, uint32_t index);

/* `entry` goes on counting where `old`, the VM of the same plugin's older code, is. */
void tg_vm_entry_succeed(struct tg_vm_entry *entry, struct tg_vm_entry *old);

/* `entry`, a VM made anew, has the record of `old`. */
void tg_vm_entry_share_record(struct tg_vm_entry *entry, struct tg_vm_entry *old);

/* The counts of the plugin. */
struct tg_plugin_tally *tg_vm_entry_tally(struct tg_vm_entry *entry);

/* An activation in `entry` was killed: some in a short time cost the plugin its VM, too many shut
 * it out for a while. */
void tg_vm_entry_note_kill(struct tg_vm_entry *entry, enum tg_kill reason);

/* An activation in `entry` failed otherwise. */
void tg_vm_entry_note_error(struct tg_vm_entry *entry);

/* ---- Sets: vm_set.c ---- */

/* Keeps the memory of `set`, which lasts until as many calls of the other. */
void tg_vm_set_hold(struct tg_vm_set *set);
void tg_vm_set_let_go(struct tg_vm_set *set);

/* `entry` of this set was killed often: in the next round another takes its place. */
void tg_vm_set_rebuild(struct tg_vm_set *set, struct tg_vm_entry *entry);

/* Which of entry->configured is the plugin's `nth` instance of the set: a VM that was kept has them
 * in the order of the configuration that it was made for. */
static inline uint32_t tg_vm_set_place(const struct tg_vm_set *set, uint32_t plugin, uint32_t nth)
{
    const uint32_t *order = set->orders[plugin];
    return TG_LIKELY(order == NULL) ? nth : order[nth];
}

#endif
