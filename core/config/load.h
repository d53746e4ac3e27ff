/* load.h: from a config file to a snapshot, or to the list of its mistakes.
 *
 * The one way in for the CLI (check, run) and the keeper (reload). Everything is built aside; what
 * does not load leaves nothing behind and changes nothing.
 *
 * Threads: any, one load at a time each. Takes milliseconds for a small file and at most some
 * seconds (see scratch.h), so not on a worker's thread.
 */
#ifndef TG_CONFIG_LOAD_H
#define TG_CONFIG_LOAD_H

#include "config/snapshot.h"

#include <stdio.h>

struct tg_config_files;

/* Loads the file at `path` into *out: one reference, the caller's, with the next revision. What
 * people should know goes to `diagnostics` (borrowed): every mistake, warnings also on success.
 * TG_E_CONFIG and any other failure: nothing was loaded, and why has been written. */
enum tg_err tg_config_load(const char *path, FILE *diagnostics,
                           struct tg_snapshot **out) TG_MUST_USE;

/* The same with `files` (borrowed, scratch_host.h) before those of the file system. */
enum tg_err tg_config_load_over(const char *path, const struct tg_config_files *files,
                                FILE *diagnostics, struct tg_snapshot **out) TG_MUST_USE;

#endif
