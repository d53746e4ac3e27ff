/* supervisor.h: the process that keeps a gateway process running.
 *
 * It holds the listening sockets and the last good configuration, and starts the gateway process by
 * fork. When that process dies, the next one starts on the same sockets, so connections wait in
 * their queues for it and none is refused. It reloads, drains and stops by signals (cli/signals.h).
 *
 * Restarts. A gateway process that dies is replaced at once, and again at once if its successors
 * die soon too, up to TG_SUPERVISOR_QUICK_DEATHS of them in a row. After that each start waits:
 * 250 ms, doubled from death to death, at most 8 s. A process that lived for 10 s, or a reload,
 * starts the count anew. One that ends with a failure before it ever served, at the first start,
 * ends the supervisor with its exit status instead: nobody depends on it yet, and an operator waits
 * for the answer.
 *
 * Draining takes settings.limits.drain_timeout at most; a gateway process that has not ended 5 s
 * after that is killed. One that was told to stop now has 2 s.
 *
 * The process has one thread and allocates nothing while nothing happens. Once the gateway process
 * has started it waits for nobody: neither for who reads its log, nor for a full channel.
 */
#ifndef TG_CLI_SUPERVISOR_H
#define TG_CLI_SUPERVISOR_H

#include "base/defs.h"

/* Deaths in a row, each within 10 s of its start, that are answered without a pause. */
#define TG_SUPERVISOR_QUICK_DEATHS 5

/* Serves the configuration at `path` until it is told to end; returns the exit status (enum
 * tg_exit): TG_EXIT_OK when the gateway process ended as asked, TG_EXIT_CONFIG when the
 * configuration has mistakes (they stand on stderr), TG_EXIT_SYSTEM when it could not start, or had
 * to be killed to end. In the gateway process that it forks it returns that one's status. `dev`: it
 * reloads when a file that the configuration read changes, and answers tell what failed. */
int tg_supervisor_run(const char *path, bool dev);

#endif
