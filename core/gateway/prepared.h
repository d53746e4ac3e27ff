/* prepared.h: phases without Lua: what a plugin's configure() prepared in their place.
 *
 * Much of what plugins do for a usual request is known when they are configured: header edits, a
 * question to a limit, a figure that is counted. Such work is a step, a function in C over data of
 * the VM. A stand-in is a step and the requests that it is for:
 *
 *     instance, phase --> stand-in  when, by --> step     tg.edits{...}:instead_of("access", when)
 *                         stand-in  when     --> step     tg.limit.quota{...}:instead_of("access")
 *                         (none)             --> the plugin's function
 *
 * The first whose condition holds, and which recognises the request's consumer where it is to, does
 * its step; a step may still leave the request to the function, and then has changed nothing that
 * the function does not know of. So the rule is prepared and the exception stays in Lua: whoever
 * adds a kind of step writes one function here and lets Lua reach the same code, or the two ways
 * would drift apart.
 *
 * A step runs where the phase would: for plugins that the quarantine shuts out, or that were killed
 * in this request, there is none; order, conditions and on_error are those of the instance. It
 * opens no account, since it takes nothing from the VM.
 *
 * Threads: the worker's. Cost: the condition's and the step's.
 */
#ifndef TG_GATEWAY_PREPARED_H
#define TG_GATEWAY_PREPARED_H

#include "gateway/consumer.h"

struct tg_expr;

#define TG_STAND_INS_MAX 16 /* for one phase of one instance */

/* What came of a step, or of all stand-ins for a phase. */
enum tg_prepared {
    TG_PREPARED_DONE,     /* the phase is done */
    TG_PREPARED_ANSWERED, /* and an answer prepared, as if the function had called ctx:exit() */
    TG_PREPARED_LEFT,     /* it is left to the plugin's function */
    TG_PREPARED_FAILED    /* there was no memory for it */
};

struct tg_prepared_step {
    /* For r->plugins.slot and .phase. `of` outlives the request: the slot keeps its VM. */
    enum tg_prepared (*run)(const void *of, struct tg_request *r);
    const void *of; /* in the VM */
};

struct tg_stand_in {
    struct tg_stand_in *next;
    struct tg_expr *when; /* owned; NULL: for all */
    struct tg_recognition by;
    struct tg_prepared_step step;
};

/* Of one instance, by phase, in the order in which they were added. Zeroes: none. */
struct tg_stand_ins {
    struct tg_stand_in *phase[TG_PHASES];
};

/* From now on `step` is `phase` for requests of which `when` holds (NULL: of all) and, with `by`
 * (NULL: nothing; copied, its header's name is borrowed), whose consumer it recognises, unless an
 * earlier one is. `when` is taken on TG_OK. TG_E_LIMIT: TG_STAND_INS_MAX are there; TG_E_NOMEM. */
enum tg_err tg_prepared_add(struct tg_stand_ins *ins, enum tg_phase phase, struct tg_expr *when,
                            const struct tg_recognition *by,
                            struct tg_prepared_step step) TG_MUST_USE;

void tg_prepared_release(struct tg_stand_ins *ins);

/* Does what `ins` have for the phase that r->plugins is in. */
enum tg_prepared tg_prepared_run(const struct tg_stand_ins *ins, struct tg_request *r);

/* Whether `when` (NULL: always) holds of the request as the client sent it. Where there is no
 * memory to find out it does: a guard is not passed by filling the memory up. */
bool tg_condition_holds(const struct tg_expr *when, struct tg_request *r);

#endif
