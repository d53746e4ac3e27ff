/* background.h: plugin code that runs beside the phases of requests: timers, queues, events, and
 * the tasks of ctx:spawn().
 *
 * A background activation calls one function of a plugin, under the bounds of a phase: CPU time,
 * wall time, memory and churn as the plugin's instances have them, the widest where they differ.
 * Nobody waits for it; who started it is told once how it ended.
 *
 *     tg_background_start() --- runs at once ---+--> on_end(arg, ok)
 *              |  suspended, preempted          |
 *              +----> resumed by the loop ------+
 *
 * What starts activations by itself is an activator: it belongs to one plugin's VM. All sleep until
 * the VM's snapshot is in force (start), and stop for good when another takes its place (retire):
 * activations that run then come to their end, new ones do not begin, but for what `retire` itself
 * starts. The VM is closed after the last of them.
 *
 * Bound, but for tasks: TG_BACKGROUND_MAX activations of a plugin in one worker at a time; who
 * wants one more asks again when told that one has ended (on_room). A plugin in quarantine starts
 * none.
 *
 * Threads: the worker's.
 */
#ifndef TG_GATEWAY_BACKGROUND_H
#define TG_GATEWAY_BACKGROUND_H

#include "event/loop.h"
#include "gateway/wait.h"

#define TG_BACKGROUND_MAGIC 0x0bac4610u
#define TG_BACKGROUND_MAX   16

struct tg_gate;
struct tg_vm_entry;
struct tg_vm_set;

/* What an activation is made of. */
struct tg_background_call {
    struct tg_vm_entry *entry; /* the activation takes a reference */
    int function;              /* registry reference; borrowed */
    const char *what;          /* "timer", "event", "queue": for log lines */
    /* Pushes the arguments, under tg_run_push(); `arg` is at index 1. NULL: none. */
    lua_CFunction push;
    /* It is over: ok, and `L` holds its results from index 1 on, or it failed, which has been
     * logged. May start others. */
    void (*on_end)(void *arg, bool ok, lua_State *L);
    void *arg; /* borrowed until on_end */

    /* For a task of a request, else NULL and 0. The caller ends it (tg_background_kill()) before
     * the slot: the slot's account pays. */
    struct tg_request *request;
    struct tg_plugin_slot *slot;
    const struct tg_instance_conf *instance; /* whose bounds it has */
    struct tg_background **self;             /* is set while the activation lives */
    /* What went wrong, before on_end; not logged then unless it was a kill. */
    void (*on_error)(void *arg, enum tg_kill kill, struct tg_str what);
};

/* One activation. */
struct tg_background {
    uint32_t magic;
    bool waiting;
    bool timer_on;
    struct tg_list link; /* in gate->background */
    struct tg_background_call call;
    struct tg_account account;
    struct tg_run run;
    struct tg_list held; /* of struct tg_held */
    struct tg_wait *wait;
    struct tg_timer timer; /* wall time, or the end of a wait */
    struct tg_task again;  /* next round: preempted */
    uint64_t wall_deadline;
};

/* Something of a plugin that starts activations. Embedded by its owner.
 *
 * One with on_room lasts as long as the VM. One without may be freed by any code of the plugin that
 * runs (a timer that is cancelled), so who walks the list and starts activations on the way takes
 * the next one only afterwards. */
struct tg_activator {
    struct tg_list link;                             /* in entry->activators */
    void (*start)(struct tg_activator *activator);   /* the snapshot is in force */
    void (*retire)(struct tg_activator *activator);  /* it is not any more */
    void (*on_room)(struct tg_activator *activator); /* an activation has ended; NULL: no matter */
    void (*release)(struct tg_activator *activator); /* the VM is about to be closed: frees it */
    void (*give_up)(struct tg_activator *activator); /* it lingers, and nothing begins any more */
    struct tg_list lingering;                        /* in gate->lingering, or none */
};

/* Starts an activation. TG_E_LIMIT: TG_BACKGROUND_MAX run; TG_E_UNAVAILABLE: the plugin is in
 * quarantine, or the gate has stopped; TG_E_NOMEM. on_end comes then not at all, otherwise perhaps
 * before this returns. Outside of plugin code. */
enum tg_err tg_background_start(const struct tg_background_call *call) TG_MUST_USE;

/* Adds `activator` to the plugin; start() is called now if the snapshot is in force already. */
void tg_activator_add(struct tg_vm_entry *entry, struct tg_activator *activator);

/* `entry` is in force from now on, or not any more. The second happens once, and is final; another
 * call does nothing. */
void tg_background_begin(struct tg_vm_entry *entry);
void tg_background_retire(struct tg_vm_entry *entry);

/* The same for all VMs that belong to a set; not for those that another has kept, nor for those
 * that have begun (retire_all: may be NULL). */
void tg_background_begin_all(struct tg_vm_set *set);
void tg_background_retire_all(struct tg_vm_set *set);

/* `activator` has work left after its VM was retired: it keeps the VM alive, and the gate from
 * having drained, until it settles. give_up() is called when the gate stops: it settles then. A
 * second call does nothing. */
void tg_activator_linger(struct tg_vm_entry *entry, struct tg_activator *activator);

/* Its work is done; does nothing unless it lingers. May free it with its VM: a last step. */
void tg_activator_settle(struct tg_vm_entry *entry, struct tg_activator *activator);

/* Ends one that is suspended or preempted, without a word in the log: nobody waits for it any more.
 * Outside of plugin code. */
void tg_background_kill(struct tg_background *background);

/* Kills all activations of the gate, and no more begin; who lingers gives up: the process is about
 * to end. */
void tg_background_stop(struct tg_gate *gate);

/* For gateway/wait. */
enum tg_err tg_background_wait(struct tg_background *background, struct tg_wait *wait,
                               uint64_t until) TG_MUST_USE;
void tg_background_wake(struct tg_background *background);

#endif
