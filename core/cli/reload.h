/* reload.h: the two ends of a reload in the gateway process, and how its outcome is told.
 *
 *     RELOAD -> tg_reload_prepare() -> change over -> tg_listen_set_commit() -> tg_reload_answer()
 *                      |                    | fails: tg_listen_set_rollback()         ^
 *                      +---- fails ---------+-----------------------------------------+
 *
 * Whoever decides last logs the outcome, once: the supervisor, or the process itself under
 * --single.
 */
#ifndef TG_CLI_RELOAD_H
#define TG_CLI_RELOAD_H

#include "cli/boot.h"
#include "cli/control.h"

/* The reason where mistakes have been printed. */
#define TG_RELOAD_MISTAKES "the mistakes above must be mended first"

/* Logs that the configuration at `path` is in force, or with an error why `current` stays. `reason`
 * (one line) matters in the second case only. */
void tg_reload_log(const char *path, const struct tg_snapshot *current, enum tg_err err,
                   const char *reason);

/* In the gateway process: evaluates boot->config_path aside and names the listeners of the result
 * in boot->sockets. `*out` is a new reference. On failure nothing has changed, and `reason` holds
 * one line. Takes up to seconds, so not on a worker's thread. */
enum tg_err tg_reload_prepare(struct tg_boot *boot, struct tg_snapshot **out,
                              char reason[TG_CONTROL_TEXT_MAX]) TG_MUST_USE;

/* In the gateway process: answers the RELOAD of that id, when all is changed over or put back.
 * `current` is the snapshot in force from now on. */
void tg_reload_answer(const struct tg_boot *boot, uint32_t id, const struct tg_snapshot *current,
                      enum tg_err err, const char *reason);

#endif
