/* rehearse.h: a configuration's plugins, loaded and configured as a worker would, and dropped.
 *
 * What reading a configuration cannot tell: whether the plugins' init() and configure() succeed in
 * VMs with the configured bounds. `tidegate check` asks here; `run` and reload find out in the
 * workers themselves, before anything changes. Log files that are not there are not made: root, who
 * may be the one who asks, would own them, and the gateway could not write to them.
 *
 * Threads: starts a worker's and the watchdog's, and ends both before it returns. Time: what the
 * plugins take, bounded for each by what they may take at start.
 */
#ifndef TG_CLI_REHEARSE_H
#define TG_CLI_REHEARSE_H

#include "config/snapshot.h"

#include <stdio.h>

/* Builds the VMs of `snapshot` (borrowed) and ends them again. TG_E_SCRIPT, TG_E_KILLED and any
 * other failure: why has been written to `out`, with file, line and text of the place. */
enum tg_err tg_rehearse(struct tg_snapshot *snapshot, FILE *out) TG_MUST_USE;

#endif
