/* signals.h: what signals mean to the program, and how they reach its loops.
 *
 *               supervisor          gateway process     run --single
 *     SIGTERM   drain, then end     DRAIN               DRAIN
 *     SIGINT    as SIGTERM; a       ignored             DRAIN; the second STOP
 *               second one stops
 *     SIGHUP    reload              ignored             RELOAD
 *     SIGUSR1   reopen logs         ignored             REOPEN
 *     SIGUSR2   ignored             ignored             ignored
 *     SIGPIPE   ignored             ignored             ignored
 *
 * All others keep their default action. The supervisor reads its signals from a descriptor. A
 * gateway process gets a handler that sends a message (cli/control.h) into the process's own
 * channel, so its loop has one source of orders. Under a supervisor it ignores what a terminal or a
 * service manager sends to the whole group, because the supervisor passes that on; SIGTERM drains,
 * whoever sends it, and also comes from the kernel when the supervisor dies.
 */
#ifndef TG_CLI_SIGNALS_H
#define TG_CLI_SIGNALS_H

#include "base/err.h"

/* In the supervisor: from here on SIGTERM, SIGINT, SIGHUP, SIGUSR1 and SIGCHLD are read from `*fd`
 * (owned by the caller) with tg_signals_next(). They stay blocked until tg_signals_relay(). */
enum tg_err tg_signals_watch(int *fd) TG_MUST_USE;

/* The number of the next signal, or 0 when there is none. */
int tg_signals_next(int fd);

/* In a gateway process, before it starts a thread: signals become messages that are sent into
 * `fd`, the end of the channel that boot does not read; it must stay open as long as the process
 * lives. Threads may keep these signals unblocked or not, as long as one does not block them. */
enum tg_err tg_signals_relay(int fd, bool supervised) TG_MUST_USE;

#endif
