/* sink.c: the queues, and the one thread that empties them.
 *
 * Queue. Producers append to a lineq.h under the sink's lock; only the writer takes away, by whole
 * lines. `sent` is how far it came into the first line, so when a target is replaced in the middle
 * of a line, that line is written again from its start. What the writer peeks at stays in place, so
 * it copies without the lock.
 *
 * Locks, taken in this order: hub.pass (one thread writes at a time), hub.lock (list of sinks,
 * references), sink->lock (its queue). System calls that may take time happen under hub.pass alone.
 * Sinks are freed under pass and lock, so a pass may walk the list with short holds of the lock.
 *
 * Sleeping. The writer sets `asleep` before it looks at the queues for the last time; a producer
 * looks at `asleep` after it has appended. Both touch the sink's lock in between, so either the
 * writer sees the line or the producer sees `asleep`.
 */
#include "base/banned.h"
#include "observe/sink.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/mem.h"
#include "observe/lineq.h"
#include "observe/target.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define TICK_MS     50
#define RETRY_AFTER TG_USEC_PER_SEC
#define POLL_MAX    16 /* targets without room that a sleep waits for; others wait for the tick */

struct tg_sink {
    struct tg_list link; /* hub.sinks; hub.lock */
    unsigned refs;       /* hub.lock; 0: drains, then goes */
    uint64_t close_at;   /* hub.lock; when a sink without references goes at the latest */

    size_t size; /* of the queue; constant */
    pthread_mutex_t lock;
    struct tg_lineq queue; /* lock */

    struct tg_target target; /* below: the thread that holds hub.pass */
    size_t sent;
    bool full;         /* the target had no room */
    bool told;         /* trouble was reported */
    unsigned rotation; /* the one that it has followed */
    uint64_t retry_at; /* 0, or when a target in trouble is tried again */
    char spec[];
};

static struct {
    pthread_mutex_t pass;
    pthread_mutex_t lock;
    pthread_cond_t passed; /* with lock: a pass has ended */
    struct tg_list sinks;
    int wake_fd;
    bool running; /* lock */
    pthread_t thread;
    _Atomic bool asleep;
    _Atomic bool stop;
    _Atomic unsigned rotation; /* calls of tg_sink_reopen_all() */
    _Atomic uint64_t dropped;
    _Atomic(void (*)(const char *, enum tg_sink_news, int)) report;
    char scratch[TG_LINEQ_LINE_MAX]; /* pass */
} hub = {
    .pass = PTHREAD_MUTEX_INITIALIZER,
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .sinks = {&hub.sinks, &hub.sinks},
    .wake_fd = -1,
};

static pthread_once_t hub_once = PTHREAD_ONCE_INIT;

/* ---- the process: set-up and fork ------------------------------------------------------------ */

static void init_condition(void)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&hub.passed, &attr);
    pthread_condattr_destroy(&attr);
}

/* A fork must not find a queue half changed. The writer's own place in a write does not matter: the
 * child forgets what was queued. */
static void before_fork(void)
{
    pthread_mutex_lock(&hub.lock);
    TG_LIST_FOREACH(&hub.sinks, it)
    pthread_mutex_lock(&TG_LIST_ENTRY(it, struct tg_sink, link)->lock);
}

static void after_fork_in_parent(void)
{
    TG_LIST_FOREACH(&hub.sinks, it)
    pthread_mutex_unlock(&TG_LIST_ENTRY(it, struct tg_sink, link)->lock);
    pthread_mutex_unlock(&hub.lock);
}

static void after_fork_in_child(void)
{
    TG_LIST_FOREACH(&hub.sinks, it)
    {
        struct tg_sink *sink = TG_LIST_ENTRY(it, struct tg_sink, link);
        tg_lineq_reset(&sink->queue);
        sink->sent = 0;
        pthread_mutex_unlock(&sink->lock);
    }
    pthread_mutex_init(&hub.pass, NULL); /* the writer may have held it */
    init_condition();
    close(hub.wake_fd); /* shared with the parent */
    hub.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    hub.running = false;
    atomic_store(&hub.asleep, false);
    pthread_mutex_unlock(&hub.lock);
}

static void init_hub(void)
{
    init_condition();
    hub.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

static void wake_writer(void)
{
    atomic_store_explicit(&hub.asleep, false, memory_order_relaxed);
    (void)!write(hub.wake_fd, &(uint64_t){1}, sizeof(uint64_t));
}

static void count_dropped(uint64_t lines)
{
    atomic_fetch_add_explicit(&hub.dropped, lines, memory_order_relaxed);
}

bool tg_sink_write(struct tg_sink *sink, const char *p, size_t n)
{
    tg_assert(n > 0 && p[n - 1] == '\n');
    pthread_mutex_lock(&sink->lock);
    size_t before = sink->queue.used;
    bool taken = tg_lineq_push(&sink->queue, p, n);
    size_t after = sink->queue.used;
    pthread_mutex_unlock(&sink->lock);
    tg_limit_note(log_queue, after);
    if (!taken) {
        count_dropped(1);
        tg_limit_hit(log_queue);
    }
    bool half = before < sink->size / 2 && after >= sink->size / 2;
    if (half || atomic_load_explicit(&hub.asleep, memory_order_relaxed))
        wake_writer();
    return taken;
}

/* ---- writing: under hub.pass ----------------------------------------------------------------- */

/* Copies what comes next into the scratch buffer, up to the end of a line. */
static size_t fetch(struct tg_sink *sink)
{
    struct tg_str parts[2];
    pthread_mutex_lock(&sink->lock);
    size_t left = tg_lineq_peek(&sink->queue, sink->sent, parts);
    pthread_mutex_unlock(&sink->lock);
    size_t first = TG_MIN(parts[0].n, sizeof(hub.scratch));
    size_t second = TG_MIN(parts[1].n, sizeof(hub.scratch) - first);
    memcpy(hub.scratch, parts[0].p, first);
    memcpy(hub.scratch + first, parts[1].p, second);
    if (first + second == left)
        return left;
    const char *newline = memrchr(hub.scratch, '\n', first + second);
    tg_assert(newline != NULL);
    return (size_t)(newline + 1 - hub.scratch);
}

static void report(const struct tg_sink *sink, enum tg_sink_news news, int sys_errno)
{
    void (*to)(const char *, enum tg_sink_news, int) = atomic_load(&hub.report);
    if (to != NULL)
        to(sink->spec, news, sys_errno);
}

/* Notes that the first `done` bytes of the scratch buffer are written. */
static void consume(struct tg_sink *sink, size_t done)
{
    if (done == 0)
        return;
    const char *newline = memrchr(hub.scratch, '\n', done);
    size_t whole = newline != NULL ? (size_t)(newline + 1 - hub.scratch) : 0;
    pthread_mutex_lock(&sink->lock);
    if (whole > 0)
        tg_lineq_advance(&sink->queue, sink->sent + whole);
    tg_limit_note(log_queue, sink->queue.used);
    tg_lineq_mute(&sink->queue, false);
    pthread_mutex_unlock(&sink->lock);
    sink->sent = whole > 0 ? done - whole : sink->sent + done;
    if (sink->told)
        report(sink, TG_SINK_WORKS, 0);
    sink->told = false;
}

static void tell_trouble(struct tg_sink *sink, int sys_errno)
{
    if (!sink->told)
        report(sink, TG_SINK_FAILS, sys_errno);
    sink->told = true;
}

/* Acts on a write that failed before the `n` bytes at `rest`, which are whole lines but for the
 * first one's beginning; true when the next line may be tried. */
static bool settle(struct tg_sink *sink, enum tg_err err, const char *rest, size_t n)
{
    int sys_errno = errno;
    if (err == TG_E_AGAIN) {
        sink->full = true;
        return false;
    }
    if (err == TG_E_SYSTEM) {
        sink->retry_at = tg_clock_mono_now() + RETRY_AFTER;
        tell_trouble(sink, sys_errno);
        return false;
    }
    const char *newline = memchr(rest, '\n', n);
    bool one = err == TG_E_LIMIT && newline != NULL;
    pthread_mutex_lock(&sink->lock);
    size_t lost = one ? sink->sent + (size_t)(newline + 1 - rest) : sink->queue.used;
    count_dropped(tg_lineq_discard(&sink->queue, lost));
    tg_lineq_mute(&sink->queue, !one);
    pthread_mutex_unlock(&sink->lock);
    sink->sent = 0;
    if (!one)
        tell_trouble(sink, sys_errno);
    return one;
}

/* Opens the target anew if tg_sink_reopen_all() was called since the last time; true when `sent`
 * starts over. */
static bool follow_rotation(struct tg_sink *sink)
{
    unsigned rotation = atomic_load(&hub.rotation);
    if (sink->rotation == rotation)
        return false;
    sink->rotation = rotation;
    if (tg_target_reopen(&sink->target) != TG_OK) {
        report(sink, TG_SINK_NOT_OPENED, errno);
        return false;
    }
    sink->sent = 0;
    sink->retry_at = 0;
    return true;
}

/* Writes one scratch buffer, at most; false when there is no more to write, or no way to. */
static bool write_round(struct tg_sink *sink, size_t *tried)
{
    enum tg_err err = TG_OK;
    size_t done = 0;
    size_t n = fetch(sink);
    if (follow_rotation(sink)) /* after fetch: lines written after the call go to the new file */
        n = fetch(sink);
    if (n == 0)
        return false;
    while (err == TG_OK && done < n) {
        size_t took;
        err = tg_target_write(&sink->target, hub.scratch + done, n - done, &took);
        done += took;
    }
    int sys_errno = errno;
    consume(sink, done);
    *tried += n;
    errno = sys_errno;
    return err == TG_OK || settle(sink, err, hub.scratch + done, n - done);
}

/* What a visit to one sink or to all of them found: nothing to write; something, and it is written
 * or its target takes no more; or more than one visit writes. */
enum visit { VISIT_IDLE, VISIT_WROTE, VISIT_MORE };

/* Empties one queue as far as its target goes along. One queue's worth at a time, so that a busy
 * sink does not keep the others waiting. */
static enum visit write_out(struct tg_sink *sink)
{
    size_t tried = 0;
    sink->full = false;
    follow_rotation(sink);
    if (sink->retry_at > tg_clock_mono_now())
        return VISIT_IDLE;
    while (write_round(sink, &tried)) {
        if (tried >= sink->size)
            return VISIT_MORE;
    }
    return tried > 0 ? VISIT_WROTE : VISIT_IDLE;
}

/* Steps through the list, which only a pass makes shorter. */
static struct tg_sink *next_sink(struct tg_sink *sink)
{
    pthread_mutex_lock(&hub.lock);
    struct tg_list *next = sink != NULL ? sink->link.next : hub.sinks.next;
    pthread_mutex_unlock(&hub.lock);
    return next != &hub.sinks ? TG_LIST_ENTRY(next, struct tg_sink, link) : NULL;
}

static void free_sink(struct tg_sink *sink)
{
    tg_target_release(&sink->target);
    pthread_mutex_destroy(&sink->lock);
    tg_lineq_release(&sink->queue);
    tg_mem_free(TG_MEM_OBSERVE, sink);
}

/* Frees the sinks that nobody holds and that are empty or out of time. hub.lock is held. */
static void reap(void)
{
    TG_LIST_FOREACH(&hub.sinks, it)
    {
        struct tg_sink *sink = TG_LIST_ENTRY(it, struct tg_sink, link);
        if (sink->refs > 0)
            continue;
        pthread_mutex_lock(&sink->lock);
        bool over = tg_lineq_is_idle(&sink->queue);
        if (!over && tg_clock_mono_now() >= sink->close_at) {
            count_dropped(tg_lineq_discard(&sink->queue, sink->queue.used));
            over = true;
        }
        pthread_mutex_unlock(&sink->lock);
        if (over) {
            tg_list_remove(it);
            free_sink(sink);
        }
    }
}

/* One round over all sinks; the most that a visit found. */
static enum visit run_pass(void)
{
    enum visit most = VISIT_IDLE;
    pthread_mutex_lock(&hub.pass);
    for (struct tg_sink *sink = next_sink(NULL); sink != NULL; sink = next_sink(sink)) {
        enum visit found = write_out(sink);
        most = TG_MAX(most, found);
    }
    pthread_mutex_lock(&hub.lock);
    reap();
    pthread_cond_broadcast(&hub.passed);
    pthread_mutex_unlock(&hub.lock);
    pthread_mutex_unlock(&hub.pass);
    return most;
}

/* hub.lock is held. */
static bool all_idle(void)
{
    bool idle = true;
    TG_LIST_FOREACH(&hub.sinks, it)
    {
        struct tg_sink *sink = TG_LIST_ENTRY(it, struct tg_sink, link);
        pthread_mutex_lock(&sink->lock);
        idle = idle && tg_lineq_is_idle(&sink->queue);
        pthread_mutex_unlock(&sink->lock);
    }
    return idle;
}

/* Sleeps until a target has room again, somebody calls, or `timeout` ms are over (-1: never). */
static void wait_for_work(int timeout)
{
    struct pollfd fds[1 + POLL_MAX] = {{.fd = hub.wake_fd, .events = POLLIN}};
    nfds_t n = 1;
    uint64_t calls;
    pthread_mutex_lock(&hub.pass);
    for (struct tg_sink *sink = next_sink(NULL); sink != NULL; sink = next_sink(sink)) {
        if (sink->full && n < TG_COUNT_OF(fds))
            fds[n++] = (struct pollfd){.fd = sink->target.fd, .events = POLLOUT};
    }
    pthread_mutex_unlock(&hub.pass);
    if (poll(fds, n, timeout) > 0 && (fds[0].revents & POLLIN) != 0)
        (void)!read(hub.wake_fd, &calls, sizeof(calls));
}

/* Empties all queues on this thread, or only that of `only`, which has no references any more. */
static bool drain_here(const struct tg_sink *only, uint64_t deadline)
{
    for (;;) {
        bool done = true;
        enum visit found = run_pass();
        pthread_mutex_lock(&hub.lock);
        TG_LIST_FOREACH(&hub.sinks, it)
        done = done && TG_LIST_ENTRY(it, struct tg_sink, link) != only;
        done = only != NULL ? done : all_idle();
        pthread_mutex_unlock(&hub.lock);
        if (done || tg_clock_mono_now() >= deadline)
            return done;
        wait_for_work(found == VISIT_MORE ? 0 : TICK_MS);
    }
}

static bool nothing_queued(void)
{
    pthread_mutex_lock(&hub.lock);
    bool idle = all_idle();
    pthread_mutex_unlock(&hub.lock);
    return idle;
}

/* ---- the writer thread ----------------------------------------------------------------------- */

static void *writer_main(void *unused)
{
    (void)unused;
    while (!atomic_load(&hub.stop)) {
        enum visit found = run_pass();
        int timeout = found == VISIT_MORE ? 0 : TICK_MS;
        if (found == VISIT_IDLE) {
            atomic_store_explicit(&hub.asleep, true, memory_order_relaxed);
            if (nothing_queued())
                timeout = -1;
            else
                atomic_store_explicit(&hub.asleep, false, memory_order_relaxed);
        }
        wait_for_work(timeout);
        atomic_store_explicit(&hub.asleep, false, memory_order_relaxed);
    }
    return NULL;
}

/* hub.lock is held. */
static enum tg_err start_thread(void)
{
    sigset_t all;
    sigset_t old;
    atomic_store(&hub.stop, false);
    sigfillset(&all); /* signals are for the loops; SIGPIPE becomes EPIPE */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int failed = pthread_create(&hub.thread, NULL, writer_main, NULL);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    hub.running = failed == 0;
    errno = failed;
    return failed == 0 ? TG_OK : TG_E_SYSTEM;
}

enum tg_err tg_sink_thread_start(void)
{
    pthread_once(&hub_once, init_hub);
    pthread_mutex_lock(&hub.lock);
    enum tg_err err = hub.running ? TG_OK : start_thread();
    pthread_mutex_unlock(&hub.lock);
    return err;
}

bool tg_sink_thread_stop(uint64_t timeout)
{
    struct timespec until;
    bool flushed = tg_sink_flush(timeout);
    pthread_mutex_lock(&hub.lock);
    bool running = hub.running;
    hub.running = false;
    pthread_mutex_unlock(&hub.lock);
    if (!running)
        return flushed;
    atomic_store(&hub.stop, true);
    wake_writer();
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 1;
    if (pthread_timedjoin_np(hub.thread, NULL, &until) != 0)
        pthread_detach(hub.thread); /* a disk holds it: the process goes without */
    return flushed;
}

/* ---- for everybody --------------------------------------------------------------------------- */

bool tg_sink_flush(uint64_t timeout)
{
    uint64_t deadline = tg_clock_mono_now() + timeout;
    struct timespec until = {.tv_sec = (time_t)(deadline / TG_USEC_PER_SEC),
                             .tv_nsec = (long)(deadline % TG_USEC_PER_SEC * 1000)};
    pthread_once(&hub_once, init_hub);
    pthread_mutex_lock(&hub.lock);
    bool running = hub.running;
    bool idle = all_idle();
    if (running && !idle)
        wake_writer();
    while (running && !idle) {
        bool late = pthread_cond_timedwait(&hub.passed, &hub.lock, &until) != 0;
        idle = all_idle();
        if (late)
            break;
    }
    pthread_mutex_unlock(&hub.lock);
    return running ? idle : drain_here(NULL, deadline);
}

static enum tg_err new_sink(const char *spec, size_t queue, struct tg_sink **out)
{
    size_t n = strlen(spec) + 1;
    struct tg_sink *sink = tg_mem_zalloc(TG_MEM_OBSERVE, 1, sizeof(*sink) + n);
    if (sink == NULL)
        return TG_E_NOMEM;
    memcpy(sink->spec, spec, n);
    sink->refs = 1;
    sink->size = queue;
    sink->target.fd = -1;
    sink->rotation = atomic_load(&hub.rotation);
    enum tg_err err = tg_lineq_init(&sink->queue, queue);
    if (err == TG_OK)
        err = tg_target_init(&sink->target, sink->spec);
    int sys_errno = errno;
    pthread_mutex_init(&sink->lock, NULL);
    if (err == TG_OK)
        *out = sink;
    else
        free_sink(sink);
    errno = sys_errno;
    return err;
}

enum tg_err tg_sink_open(const char *spec, size_t queue, struct tg_sink **out)
{
    pthread_once(&hub_once, init_hub);
    pthread_mutex_lock(&hub.lock);
    TG_LIST_FOREACH(&hub.sinks, it)
    {
        struct tg_sink *sink = TG_LIST_ENTRY(it, struct tg_sink, link);
        if (strcmp(sink->spec, spec) != 0)
            continue;
        sink->refs++;
        *out = sink;
        pthread_mutex_unlock(&hub.lock);
        return TG_OK;
    }
    enum tg_err err = new_sink(spec, queue, out);
    if (err == TG_OK)
        tg_list_push_back(&hub.sinks, &(*out)->link);
    pthread_mutex_unlock(&hub.lock);
    return err;
}

void tg_sink_close(struct tg_sink **sinkp)
{
    struct tg_sink *sink = *sinkp;
    uint64_t deadline = tg_clock_mono_now() + TG_SINK_CLOSE_TIMEOUT;
    if (sink == NULL)
        return;
    *sinkp = NULL;
    pthread_mutex_lock(&hub.lock);
    tg_assert(sink->refs > 0);
    bool last = --sink->refs == 0;
    bool running = hub.running;
    sink->close_at = deadline;
    pthread_mutex_unlock(&hub.lock);
    if (last && running)
        wake_writer();
    else if (last)
        drain_here(sink, deadline);
}

void tg_sink_reopen_all(void)
{
    atomic_fetch_add(&hub.rotation, 1);
    wake_writer();
}

void tg_sink_make_nothing(void)
{
    tg_target_make_nothing(true);
}

struct tg_sink_stats tg_sink_stats(struct tg_sink *sink)
{
    pthread_mutex_lock(&sink->lock);
    struct tg_sink_stats stats = {sink->queue.lines, sink->queue.dropped, sink->queue.used};
    pthread_mutex_unlock(&sink->lock);
    return stats;
}

uint64_t tg_sink_dropped_total(void)
{
    return atomic_load_explicit(&hub.dropped, memory_order_relaxed);
}

void tg_sink_on_trouble(void (*to)(const char *spec, enum tg_sink_news news, int sys_errno))
{
    atomic_store(&hub.report, to);
}
