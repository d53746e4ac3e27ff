/* reload.h: how the outcome of a reload is told.
 *
 * Whoever decides last logs it, once: the supervisor, or the process itself under --single.
 */
#ifndef TG_CLI_RELOAD_H
#define TG_CLI_RELOAD_H

#include "cli/boot.h"

/* Logs that the configuration at `path` is in force, or with an error why `current` stays. `reason`
 * (one line) matters in the second case only. */
void tg_reload_log(const char *path, const struct tg_snapshot *current, enum tg_err err,
                   const char *reason);

/* In the gateway process: answers the RELOAD of that id, when all is changed over or put back.
 * `current` is the snapshot in force from now on. */
void tg_reload_answer(const struct tg_boot *boot, uint32_t id, const struct tg_snapshot *current,
                      enum tg_err err, const char *reason);

#endif
