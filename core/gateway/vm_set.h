/* vm_set.h: the VMs of one snapshot in one worker, as plugins.c looks into them.
 *
 * entries[i] is the VM of snapshot->plugins[i], configured[i] the registry reference of the
 * configured table of snapshot->instances[i] in its plugin's VM, zones[i] what snapshot->zones[i]
 * declares. Nothing moves while the set lives.
 * The lifetime functions are in plugins.h. One thread: the worker's.
 */
#ifndef TG_GATEWAY_VM_SET_H
#define TG_GATEWAY_VM_SET_H

#include "gateway/plugins.h"
#include "script/quarantine.h"
#include "store/zone.h"

struct tg_vm_entry {
    struct tg_vm *vm;        /* owned */
    struct tg_vm_host host;  /* what the VM's callbacks get */
    struct tg_limits limits; /* the operator's, with the plugin's own heap */
    struct tg_quarantine quarantine;
    struct tg_zone *dict; /* needs.dict, needs.cache: one reference each; NULL: not declared */
    struct tg_zone *cache;
    struct tg_list activators; /* of struct tg_activator; owned */
    struct tg_task room;       /* tells them that an activation has ended */
    uint32_t background;       /* activations that run */
};

enum tg_vm_set_state { TG_VM_SET_NEW, TG_VM_SET_IN_FORCE, TG_VM_SET_RETIRED };

struct tg_vm_set {
    uint32_t refs;
    struct tg_gate *gate;         /* borrowed */
    struct tg_snapshot *snapshot; /* one reference */
    uint32_t entry_count;         /* VMs that were made */
    struct tg_vm_entry *entries;
    int *configured;
    struct tg_zone **zones; /* of snapshot->zones; one reference each */
    enum tg_vm_set_state state;
};

#endif
