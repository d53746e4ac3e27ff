/* watchdog.c: see watchdog.h.
 *
 * The list of watches is under the lock, which the watchdog holds while it looks and signals: a
 * watch that has been removed gets no signal any more. One that is on its way then finds no watch
 * in the thread's `watched`, which is what the handler looks at. The handler stays installed for
 * the life of the process, because the default action of a late signal would end it.
 */
#include "base/banned.h"
#include "event/watchdog.h"

#include "base/assert.h"
#include "base/mem.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>

#define CALM_US 1000 /* between two looks */
#define KEEN_US 250  /* the same when something may become overdue */
#define KEEN    80   /* looks that are so close after something was */
#define DOZE_US 100000
#define DROWSY  50 /* looks without any change before it sleeps */

struct tg_watchdog {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* woken, or to end */
    struct tg_list watches;
    unsigned quiet; /* looks in a row that found nothing running */
    unsigned keen;  /* looks to come that are close */
    bool woken;
    bool ending;
};

static _Thread_local struct tg_watch *volatile watched;

static uint64_t to_us(const struct timespec *ts)
{
    return (uint64_t)ts->tv_sec * TG_USEC_PER_SEC + (uint64_t)ts->tv_nsec / 1000;
}

static void on_signal(int number)
{
    struct tg_watch *watch = watched;
    int saved = errno;
    (void)number;
    if (watch != NULL) {
        atomic_store_explicit(&watch->sent, false, memory_order_relaxed);
        watch->on_overdue(watch->arg, atomic_load_explicit(&watch->due_seq, memory_order_relaxed),
                          atomic_load_explicit(&watch->due_since, memory_order_relaxed));
    }
    errno = saved;
}

/* Looks at one thread; true when something runs or has run since the last look. */
static bool look(struct tg_watchdog *dog, struct tg_watch *watch)
{
    uint64_t seq = atomic_load_explicit(watch->seq, memory_order_relaxed);
    bool is_new = seq != watch->seen_seq;
    struct timespec ts;
    watch->seen_seq = seq;
    if (seq % 2 == 0)
        return is_new;
    if (clock_gettime(watch->clock, &ts) != 0)
        return true;
    uint64_t now = to_us(&ts);
    dog->keen = TG_MAX(dog->keen, 1u);
    if (is_new) {
        watch->seen_since = now;
        return true;
    }
    /* Over by the next look is over now: the slice is a bound, and looks are coarse. */
    if (now + KEEN_US < watch->seen_since + watch->slice_us ||
        atomic_load_explicit(&watch->sent, memory_order_relaxed))
        return true;
    dog->keen = KEEN;
    atomic_store_explicit(&watch->due_since, watch->seen_since, memory_order_relaxed);
    atomic_store_explicit(&watch->due_seq, seq, memory_order_relaxed);
    atomic_store_explicit(&watch->sent, true, memory_order_relaxed);
    if (pthread_kill(watch->thread, TG_WATCHDOG_SIGNAL) != 0)
        atomic_store_explicit(&watch->sent, false, memory_order_relaxed);
    return true;
}

static void look_at_all(struct tg_watchdog *dog)
{
    bool is_busy = false;
    dog->keen -= dog->keen > 0;
    TG_LIST_FOREACH(&dog->watches, it)
    is_busy |= look(dog, TG_LIST_ENTRY(it, struct tg_watch, link));
    dog->quiet = is_busy ? 0 : dog->quiet + 1;
}

static void set_asleep(struct tg_watchdog *dog, bool asleep)
{
    TG_LIST_FOREACH(&dog->watches, it)
    atomic_store_explicit(&TG_LIST_ENTRY(it, struct tg_watch, link)->asleep, asleep,
                          memory_order_relaxed);
}

/* Waits `us`, or until somebody wakes it when it may be woken. The lock is held at both ends. */
static void rest(struct tg_watchdog *dog, uint64_t us)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)us * 1000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    while (!dog->woken && !dog->ending)
        if (pthread_cond_timedwait(&dog->changed, &dog->lock, &until) != 0)
            break;
    dog->woken = false;
}

/* An ordinary thread that shares its processor with one that is busy waits for it, 3 ms in the
 * middle and 12 at times (Linux 6.18), and slices would be as long. A real-time one does not wait;
 * where the process may not have one, it stays ordinary. */
static void go_first(void)
{
    const struct sched_param lowest = {.sched_priority = sched_get_priority_min(SCHED_FIFO)};
    (void)pthread_setschedparam(pthread_self(), SCHED_FIFO, &lowest);
}

static void *watch_all(void *arg)
{
    struct tg_watchdog *dog = arg;
    go_first();
    pthread_mutex_lock(&dog->lock);
    while (!dog->ending) {
        look_at_all(dog);
        if (dog->quiet < DROWSY) {
            rest(dog, dog->keen > 0 ? KEEN_US : CALM_US);
            continue;
        }
        set_asleep(dog, true);
        rest(dog, DOZE_US);
        set_asleep(dog, false);
    }
    pthread_mutex_unlock(&dog->lock);
    return NULL;
}

static bool start_thread(struct tg_watchdog *dog)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int failed = pthread_create(&dog->thread, NULL, watch_all, dog);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return failed == 0;
}

enum tg_err tg_watchdog_new(struct tg_watchdog **out)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    pthread_condattr_t attributes;
    struct tg_watchdog *dog = tg_mem_zalloc(TG_MEM_OTHER, 1, sizeof(*dog));
    *out = NULL;
    if (dog == NULL)
        return TG_E_NOMEM;
    tg_list_init(&dog->watches);
    pthread_mutex_init(&dog->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&dog->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    sigemptyset(&action.sa_mask);
    if (sigaction(TG_WATCHDOG_SIGNAL, &action, NULL) == 0 && start_thread(dog)) {
        *out = dog;
        return TG_OK;
    }
    pthread_cond_destroy(&dog->changed);
    pthread_mutex_destroy(&dog->lock);
    tg_mem_free(TG_MEM_OTHER, dog);
    return TG_E_SYSTEM;
}

void tg_watchdog_free(struct tg_watchdog **dogp)
{
    struct tg_watchdog *dog = *dogp;
    if (dog == NULL)
        return;
    pthread_mutex_lock(&dog->lock);
    tg_assert(tg_list_is_empty(&dog->watches));
    dog->ending = true;
    pthread_cond_signal(&dog->changed);
    pthread_mutex_unlock(&dog->lock);
    pthread_join(dog->thread, NULL);
    pthread_cond_destroy(&dog->changed);
    pthread_mutex_destroy(&dog->lock);
    tg_mem_free(TG_MEM_OTHER, dog);
    *dogp = NULL;
}

void tg_watch_init(struct tg_watch *watch, const _Atomic uint64_t *seq, uint64_t slice_us,
                   void (*on_overdue)(void *arg, uint64_t seq, uint64_t since_us), void *arg)
{
    *watch = (struct tg_watch){
        .seq = seq,
        .slice_us = slice_us,
        .on_overdue = on_overdue,
        .arg = arg,
    };
    tg_list_init(&watch->link);
}

enum tg_err tg_watchdog_add(struct tg_watchdog *dog, struct tg_watch *watch)
{
    sigset_t mine;
    tg_assert(watched == NULL);
    if (pthread_getcpuclockid(pthread_self(), &watch->clock) != 0)
        return TG_E_SYSTEM;
    watch->thread = pthread_self();
    watched = watch;
    sigemptyset(&mine);
    sigaddset(&mine, TG_WATCHDOG_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &mine, NULL);
    pthread_mutex_lock(&dog->lock);
    tg_list_push_back(&dog->watches, &watch->link);
    dog->quiet = 0;
    dog->woken = true;
    pthread_cond_signal(&dog->changed);
    pthread_mutex_unlock(&dog->lock);
    return TG_OK;
}

void tg_watchdog_remove(struct tg_watchdog *dog, struct tg_watch *watch)
{
    tg_assert(watched == watch);
    pthread_mutex_lock(&dog->lock);
    tg_list_remove(&watch->link);
    pthread_mutex_unlock(&dog->lock);
    watched = NULL;
}

void tg_watchdog_wake(void *arg)
{
    struct tg_watchdog *dog = arg;
    pthread_mutex_lock(&dog->lock);
    dog->quiet = 0;
    dog->woken = true;
    pthread_cond_signal(&dog->changed);
    pthread_mutex_unlock(&dog->lock);
}
