/* worker.c: making and ending of worker threads. */
#include "base/banned.h"
#include "event/worker.h"

#include "base/assert.h"

#include <signal.h>

#define STACK_SIZE     ((size_t)128 << 20) /* address space; only what is touched becomes memory */
#define SLAB_WATERMARK ((size_t)4 << 20)

enum tg_err tg_worker_init(struct tg_worker *worker, uint32_t index, struct tg_metric_cells *cells)
{
    *worker = (struct tg_worker){.index = index, .cells = cells};
    enum tg_err err = tg_loop_init(&worker->loop);
    if (err != TG_OK)
        return err;
    worker->slab = tg_slab_new(TG_MEM_CONNECTION, SLAB_WATERMARK);
    if (worker->slab == NULL) {
        tg_loop_release(&worker->loop);
        return TG_E_NOMEM;
    }
    tg_rand_init(&worker->rand);
    return TG_OK;
}

void tg_worker_release(struct tg_worker *worker)
{
    tg_loop_release(&worker->loop);
    tg_slab_free(&worker->slab);
}

/* Signals belong to the process's first thread, but for those that a thread is sent by name. */
static void block_process_signals(sigset_t *old)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD, SIGPIPE};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < TG_COUNT_OF(numbers); i++)
        sigaddset(&set, numbers[i]);
    tg_assert(pthread_sigmask(SIG_BLOCK, &set, old) == 0);
}

enum tg_err tg_worker_start(struct tg_worker *worker, void *(*main)(void *arg), void *arg)
{
    pthread_attr_t attr;
    sigset_t old;
    tg_assert(pthread_attr_init(&attr) == 0);
    tg_assert(pthread_attr_setstacksize(&attr, STACK_SIZE) == 0);
    block_process_signals(&old);
    int rc = pthread_create(&worker->thread, &attr, main, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return rc == 0 ? TG_OK : tg_err_from_errno(rc);
}

void tg_worker_join(struct tg_worker *worker)
{
    tg_assert(pthread_join(worker->thread, NULL) == 0);
}
