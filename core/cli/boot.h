/* boot.h: the gateway process, from its first thread to its last.
 *
 * The supervisor (or `run --single`) prepares what a gateway process starts with and calls
 * tg_boot_run() once, in a process that has one thread. What happens inside, keeper, watchdog and
 * workers, is this unit's; it is the only place that wires the layers together.
 *
 * Orders arrive as messages on control_fd (cli/control.h), which becomes readable; signals of the
 * process have been turned into messages already (cli/signals.h), so nothing here handles signals.
 *
 *     DRAIN     stop accepting: take what waits in the sockets' queues, close them, answer with
 *               "Connection: close", return when the last request ended or
 *               settings.limits.drain_timeout has passed. Comes again at times; that is fine.
 *     STOP      return as soon as queued log lines are written.
 *     REOPEN    open the log files anew.
 *     SOCKETS   tg_sockets_receive(): the sockets of a listener to come; serve them after the
 *               RELOAD that follows.
 *     RELOAD    tg_reload_prepare(), change over, tg_listen_set_commit() once no worker serves a
 *               socket that goes, tg_reload_answer(). On failure tg_listen_set_rollback() and
 *               tg_reload_answer() with the error; everything stays. Every RELOAD is answered, and
 *               a second one comes only after the answer (but not under --single).
 *     SETTLED   a reload ended in the supervisor: for the counts, and for who asked for it.
 *
 * What is asked through the admin listener goes to the supervisor as an ORDER, and comes back as a
 * RELOAD or as SETTLED; under --single it is seen to at once.
 *
 * TG_E_CLOSED from the channel means the same as DRAIN. When the workers accept,
 * tg_control_ready() says so.
 */
#ifndef TG_CLI_BOOT_H
#define TG_CLI_BOOT_H

#include "config/revisions.h"
#include "config/snapshot.h"
#include "net/listen.h"

struct tg_boot {
    const char *config_path;        /* for reloads; borrowed */
    struct tg_snapshot *snapshot;   /* to start with; borrowed, take a reference */
    struct tg_revisions *revisions; /* the newest one is `snapshot`; borrowed. With their sources
                                       under --single alone */
    struct tg_listen_set *sockets;  /* borrowed; one socket per worker: worker w serves fds[w] */
    int control_fd;                 /* borrowed, non-blocking */
    uint32_t workers;               /* settled for the life of the supervisor */
    uint32_t restarts;              /* processes before this one that ended unasked */
    bool single;                    /* no supervisor: sockets of a reload are opened here */
    bool dev;                       /* answers tell what failed */
};

/* Runs the gateway; returns the exit status (enum tg_exit) when it is drained or stopped, or
 * when it cannot start, having logged why. All threads it started have ended then. */
int tg_boot_run(struct tg_boot *boot);

#endif
