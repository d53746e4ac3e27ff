/* reload.h: a reload in the gateway process, from the order to the answer.
 *
 *     RELOAD -> tg_reload_prepare() -> change over -> tg_reload_commit() -> tg_reload_answer()
 *                      |                    | fails: tg_reload_drop()             ^
 *                      +---- decided -------+-------------------------------------+
 *
 * Whoever decides last logs the outcome, once: the supervisor, or the process itself under
 * --single.
 */
#ifndef TG_CLI_RELOAD_H
#define TG_CLI_RELOAD_H

#include "cli/boot.h"
#include "cli/candidate.h"
#include "cli/control.h"

struct tg_reload {
    bool running;
    uint32_t id;                   /* of the RELOAD, for the answer */
    struct tg_candidate candidate; /* its snapshot is what is to come into force */
};

/* Logs what became of an order; `now` is the revision in force. */
void tg_reload_log(const char *path, const struct tg_revision *now,
                   const struct tg_settlement *settled);

/* In the gateway process: makes the candidate of a RELOAD message, whose descriptors are taken
 * over, compares it with `now`, which is in force, and names its listeners in boot->sockets. It is
 * decided when there is nothing to change over to. Takes up to seconds, so not on a worker's
 * thread. */
void tg_reload_prepare(struct tg_reload *reload, struct tg_boot *boot,
                       struct tg_control_message *message, const struct tg_snapshot *now);

/* Its snapshot is in force everywhere. */
void tg_reload_commit(struct tg_reload *reload, struct tg_boot *boot);

/* It is not, or was decided at once: what tg_reload_prepare() did with the sockets is undone. */
void tg_reload_drop(struct tg_reload *reload, struct tg_boot *boot);

/* Tells the supervisor, or the log under --single, how it ended. */
void tg_reload_answer(const struct tg_reload *reload, const struct tg_boot *boot);

/* The reload is over. */
void tg_reload_end(struct tg_reload *reload);

/* What a descriptor of notes holds, at most `size` bytes, in `room`. -1: nothing. */
struct tg_str tg_reload_read_notes(int fd, char *room, size_t size);

#endif
