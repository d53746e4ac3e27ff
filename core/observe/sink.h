/* sink.h: a destination of lines that never blocks who writes to it.
 *
 *   workers --tg_sink_write--> [ bounded queue ] --writer thread--> stdout, file, syslog
 *
 * A sink is a queue of bytes in front of a target (target.h says which there are). One thread
 * empties the queues of all sinks of the process. When a queue is full, new lines are dropped and
 * counted until a quarter of it is free again; then a line "dropped N lines" stands where they are
 * missing (lineq.h). Lines are whole or absent, never torn. A file without space keeps its queue
 * and is tried again every second; a pipe that nobody reads any more loses what is queued
 * (counted).
 *
 * Cost of a write: a mutex held for a copy. The writer thread is woken by a system call only when
 * it sleeps, at most once in 50 ms, and when a queue gets half full; otherwise it looks every 50 ms
 * while lines come, and not at all when none do.
 *
 * Threads: every function may be called from any thread. Without the writer thread lines wait in
 * their queues until tg_sink_flush() or tg_sink_close() writes them on the calling thread, which
 * must then have SIGPIPE ignored.
 *
 * fork(): the child has the sinks, but empty (what was queued is the parent's to write) and without
 * a writer thread; it calls tg_sink_thread_start() itself.
 */
#ifndef TG_OBSERVE_SINK_H
#define TG_OBSERVE_SINK_H

#include "base/err.h"

/* How long a sink that was closed may take to write what is queued, in us. */
#define TG_SINK_CLOSE_TIMEOUT (2 * TG_USEC_PER_SEC)

struct tg_sink;

/* What is told of a target. */
enum tg_sink_news {
    TG_SINK_FAILS,      /* it worked, and takes no lines any more */
    TG_SINK_NOT_OPENED, /* it does not open anew, and what was open goes on being written */
    TG_SINK_WORKS       /* it takes lines again */
};

struct tg_sink_stats {
    uint64_t lines;   /* taken into the queue */
    uint64_t dropped; /* refused by a full queue, or lost with a target that is gone */
    size_t queued;    /* bytes that wait now */
};

/* The sink called `spec`, shared with everybody who opened the same: each caller owns one
 * reference. `queue` is the size of its queue in bytes (limit log.queue, TG_LINEQ_MIN at least); a
 * sink that is open already keeps the size it has. TG_E_INVALID: `spec` cannot be read;
 * TG_E_SYSTEM: the destination does not open, errno says why; TG_E_NOMEM. */
enum tg_err tg_sink_open(const char *spec, size_t queue, struct tg_sink **out) TG_MUST_USE;

/* Gives one reference back. The last one closes the sink: the writer thread still writes what is
 * queued, for TG_SINK_CLOSE_TIMEOUT at most; without that thread it is written here and now. */
void tg_sink_close(struct tg_sink **sink);

/* Queues the line at `p`: 1..TG_SINK_LINE_MAX bytes of which the last, and only the last, is a
 * newline. False when it was dropped (and counted). Never blocks. */
bool tg_sink_write(struct tg_sink *sink, const char *p, size_t n);

/* Waits until all queues are empty, `timeout` us at most; false when lines are left. Lines that
 * come meanwhile are waited for too. */
bool tg_sink_flush(uint64_t timeout);

/* Has every file opened anew by its path (log rotation) and syslog connected again, before the next
 * line is written. A file that does not open any more goes on being written where it was. */
void tg_sink_reopen_all(void);

/* No file is made from here on that is not there: see tg_target_make_nothing(). To be called while
 * there are no sinks. */
void tg_sink_make_nothing(void);

/* Starts the writer thread; TG_OK also when it runs already. TG_E_SYSTEM with errno on failure. */
enum tg_err tg_sink_thread_start(void) TG_MUST_USE;

/* Flushes for `timeout` us at most and ends the thread; sinks stay usable as without a thread.
 * False when lines are left in a queue. */
bool tg_sink_thread_stop(uint64_t timeout);

struct tg_sink_stats tg_sink_stats(struct tg_sink *sink);

/* Lines dropped by all sinks since the process started, closed ones included. */
uint64_t tg_sink_dropped_total(void);

/* `report` is called on the writing thread, once for each piece of news, with the sink's spec and
 * errno (0 where it works). Of this header it may call tg_sink_write() alone. NULL: nobody. */
void tg_sink_on_trouble(void (*report)(const char *spec, enum tg_sink_news news, int sys_errno));

#endif
