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
struct tg_sources;

/* Loads the file at `path` into *out: one reference, the caller's, with the next revision. What
 * people should know goes to `diagnostics` (borrowed): every mistake, warnings also on success.
 * TG_E_CONFIG and any other failure: nothing was loaded, and why has been written. */
enum tg_err tg_config_load(const char *path, FILE *diagnostics,
                           struct tg_snapshot **out) TG_MUST_USE;

/* The same out of `sources` (borrowed): what they lack is read and noted there while they record,
 * also when the load fails. Sealed sources give what they gave before. */
enum tg_err tg_config_load_from(const char *path, struct tg_sources *sources, FILE *diagnostics,
                                struct tg_snapshot **out) TG_MUST_USE;

/* The same with `files` (borrowed, scratch_host.h) before those of the file system. */
enum tg_err tg_config_load_over(const char *path, const struct tg_config_files *files,
                                FILE *diagnostics, struct tg_snapshot **out) TG_MUST_USE;

/* Where the admin listener of a gateway with the configuration at `path` is: its address,
 * terminated, in `out`; empty: it has none. A configuration with mistakes is asked too, as far as
 * it goes: then they are written to `diagnostics`, and the answer is what its settings said.
 * TG_E_CONFIG and any other failure: that is not known; TG_E_LIMIT: it is longer than `size`. */
enum tg_err tg_config_find_admin(const char *path, FILE *diagnostics, char *out,
                                 size_t size) TG_MUST_USE;

#endif
