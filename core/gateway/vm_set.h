/* vm_set.h: the VMs of one snapshot in one worker, as plugins.c looks into them.
 *
 * entries[i] is the VM of snapshot->plugins[i], configured[n] of it the registry reference of the
 * configured table of the plugin's nth instance. After three kills in ten seconds a VM is made anew
 * and takes its place here; whoever runs in the old one holds a reference, and the last of them
 * runs the plugin's stop() and closes it. Quarantines belong to plugins, not to VMs.
 * zones[i] is what snapshot->zones[i] declares.
 * The lifetime functions of sets are in plugins.h. One thread: the worker's.
 */
#ifndef TG_GATEWAY_VM_SET_H
#define TG_GATEWAY_VM_SET_H

#include "event/loop.h"
#include "gateway/plugins.h"
#include "script/quarantine.h"
#include "store/zone.h"

struct tg_targets;

enum tg_vm_state { TG_VM_NEW, TG_VM_IN_FORCE, TG_VM_RETIRED };

#define TG_STAND_INS_MAX 16 /* for one phase of one instance */

/* Header edits that are a phase of an instance for some requests, or all: the VM is not entered for
 * it. */
struct tg_stand_in {
    struct tg_stand_in *next;
    struct tg_expr *when;         /* owned; NULL: for all */
    const struct tg_edits *edits; /* in the VM */
};

/* Of one instance; the first whose condition holds, of at most TG_STAND_INS_MAX. */
struct tg_stand_ins {
    struct tg_stand_in *access;        /* edits of what goes to the origin */
    struct tg_stand_in *header_filter; /* of the response */
};

struct tg_vm_entry {
    uint32_t refs;
    enum tg_vm_state state;
    bool rebuild;            /* another takes its place in the next round */
    struct tg_vm *vm;        /* owned */
    struct tg_vm_host host;  /* what the VM's callbacks get */
    struct tg_limits limits; /* the operator's, with the plugin's own heap */
    int *configured;         /* owned */
    /* By instance: what configure() prepared in place of a phase (edits:instead_of). Owned. */
    struct tg_stand_ins *stand_ins;
    struct tg_stand_ins *configuring; /* of the instance whose configure() runs; NULL: none does */
    /* Bounds in the background: the widest that one of the plugin's instances has. */
    uint64_t memory, churn, cpu, wall;
    struct tg_zone *dict; /* needs.dict, needs.cache: one reference each; NULL: not declared */
    struct tg_zone *cache;
    struct tg_list activators; /* of struct tg_activator; owned */
    struct tg_task room;       /* tells them that an activation has ended */
    uint32_t background;       /* activations that run */
    uint32_t fetches;          /* exchanges of tg.http */
};

/* What became of a plugin's activations in this worker, with and without a request, since the
 * snapshot came into force; its VMs come and go meanwhile. */
struct tg_plugin_tally {
    uint64_t errors; /* raised, and failures of its own word */
    uint64_t kills[TG_KILL_COUNT];
    uint64_t rebuilds;
    uint64_t collections; /* forced ones, in VMs that were replaced */
};

struct tg_vm_set {
    uint32_t refs;
    struct tg_gate *gate;              /* borrowed */
    struct tg_snapshot *snapshot;      /* one reference */
    struct tg_vm_entry **entries;      /* one reference each; NULL: not made */
    struct tg_quarantine *quarantines; /* of snapshot->plugins, as are the tallies; owned */
    struct tg_plugin_tally *tallies;
    struct tg_zone **zones;     /* of snapshot->zones; one reference each */
    struct tg_targets *targets; /* balancers of snapshot->services; one reference */
    struct tg_task rebuild;     /* while it waits it holds a reference to the set */
};

struct tg_vm_entry *tg_vm_entry_ref(struct tg_vm_entry *entry);
void tg_vm_entry_unref(struct tg_vm_entry **entry);

/* While `entry` configures an instance: from now on `edits` are its `phase` (access or
 * header_filter) for requests of which `when` holds, unless an earlier one is. `when` is taken on
 * TG_OK. TG_E_LIMIT: the instance has TG_STAND_INS_MAX for that phase; TG_E_NOMEM. */
enum tg_err tg_vm_entry_stand_in(struct tg_vm_entry *entry, enum tg_phase phase,
                                 struct tg_expr *when, const struct tg_edits *edits) TG_MUST_USE;

/* An activation in `entry` was killed: some in a short time cost the plugin its VM, too many shut
 * it out for a while. */
void tg_vm_entry_note_kill(struct tg_vm_entry *entry, enum tg_kill reason);

/* An activation in `entry` failed otherwise. */
void tg_vm_entry_note_error(struct tg_vm_entry *entry);

#endif
