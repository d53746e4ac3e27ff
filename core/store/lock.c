/* lock.c: see lock.h.
 *
 * A lock exists from the first claim on its key to the end of the last. Who ends it hands it on
 * under the mutex: the state of the next claim changes there and then, so the key is never free
 * while somebody waits; only the news travels, as a task posted to the claim's loop. A task cannot
 * be called back, so a claim that is ended while its news travels is freed when that arrives.
 *
 *     state      in a queue   task posted   freed by
 *     WAITING    yes          no            end
 *     HELD       no           no            end
 *     GRANTED    no           yes           -> HELD when the task runs
 *     CALLED     no           yes           -> DONE when the task runs
 *     DONE       no           no            end
 *     ENDED      no           yes           the task, or tg_claims_release()
 */
#include "base/banned.h"
#include "store/lock.h"

#include "base/assert.h"

#define TAG     TG_MEM_COUNTER
#define BUCKETS 64

enum state { WAITING, HELD, GRANTED, CALLED, DONE, ENDED };

struct lock {
    struct tg_list link;    /* in its bucket */
    struct tg_list waiting; /* of struct tg_claim, the oldest first */
    uint32_t waiters;
    uint64_t hash;
    size_t n;
    char key[];
};

struct tg_claim {
    enum state state;
    struct lock *lock;      /* WAITING, HELD, GRANTED */
    struct tg_list waiting; /* in lock->waiting */
    struct tg_list link;    /* in claims->list; the worker's own */
    struct tg_task task;
    struct tg_claims *claims;
    struct tg_zone *zone; /* one reference */
    void (*on_ready)(void *arg, bool held);
    void *arg;
};

struct tg_locks {
    pthread_mutex_t mutex;
    struct tg_list buckets[BUCKETS]; /* of struct lock */
};

static void enter(struct tg_locks *locks)
{
    tg_assert(pthread_mutex_lock(&locks->mutex) == 0);
}

static void leave(struct tg_locks *locks)
{
    tg_assert(pthread_mutex_unlock(&locks->mutex) == 0);
}

struct tg_locks *tg_locks_new(void)
{
    struct tg_locks *locks = tg_mem_zalloc(TAG, 1, sizeof(*locks));
    if (locks == NULL)
        return NULL;
    for (unsigned i = 0; i < BUCKETS; i++)
        tg_list_init(&locks->buckets[i]);
    tg_assert(pthread_mutex_init(&locks->mutex, NULL) == 0);
    return locks;
}

void tg_locks_free(struct tg_locks **locksp)
{
    struct tg_locks *locks = *locksp;
    if (locks == NULL)
        return;
    for (unsigned i = 0; i < BUCKETS; i++)
        tg_assert(tg_list_is_empty(&locks->buckets[i]));
    pthread_mutex_destroy(&locks->mutex);
    tg_mem_free(TAG, locks);
    *locksp = NULL;
}

/* ---- Under the mutex ---- */

static struct lock *find(struct tg_locks *locks, struct tg_map_key key)
{
    TG_LIST_FOREACH(&locks->buckets[key.hash % BUCKETS], it)
    {
        struct lock *lock = TG_LIST_ENTRY(it, struct lock, link);
        if (lock->hash == key.hash && tg_str_eq(tg_str(lock->key, lock->n), tg_str(key.p, key.n)))
            return lock;
    }
    return NULL;
}

static struct lock *add(struct tg_locks *locks, struct tg_map_key key)
{
    struct lock *lock = tg_mem_alloc(TAG, sizeof(*lock) + key.n);
    if (lock == NULL)
        return NULL;
    tg_list_init(&lock->waiting);
    lock->waiters = 0;
    lock->hash = key.hash;
    lock->n = key.n;
    if (key.n > 0)
        memcpy(lock->key, key.p, key.n);
    tg_list_push_back(&locks->buckets[key.hash % BUCKETS], &lock->link);
    return lock;
}

/* Takes the oldest out of the queue and sends it the news. */
static void send_first(struct lock *lock, enum state state)
{
    struct tg_claim *claim = TG_LIST_ENTRY(lock->waiting.next, struct tg_claim, waiting);
    tg_list_remove(&claim->waiting);
    lock->waiters--;
    claim->state = state;
    tg_loop_post(claim->claims->loop, &claim->task);
}

static void hand_on(struct lock *lock, bool call_all)
{
    while (call_all && lock->waiters > 0)
        send_first(lock, CALLED);
    if (lock->waiters > 0) {
        send_first(lock, GRANTED);
        return;
    }
    tg_list_remove(&lock->link);
    tg_mem_free(TAG, lock);
}

static enum tg_err join(struct tg_locks *locks, struct tg_claim *claim, struct tg_map_key key)
{
    struct lock *lock = find(locks, key);
    if (lock == NULL) {
        claim->lock = add(locks, key);
        claim->state = HELD;
        return claim->lock != NULL ? TG_OK : TG_E_NOMEM;
    }
    if (lock->waiters == TG_LOCK_WAITERS_MAX)
        return TG_E_LIMIT;
    claim->lock = lock;
    claim->state = WAITING;
    lock->waiters++;
    tg_list_push_back(&lock->waiting, &claim->waiting);
    return TG_E_AGAIN;
}

/* The claim takes no part any more; true: nothing is on its way to it. */
static bool part(struct tg_claim *claim, bool call_all)
{
    enum state was = claim->state;
    claim->state = ENDED;
    if (was == WAITING) {
        tg_list_remove(&claim->waiting);
        claim->lock->waiters--;
    } else if (was == HELD || was == GRANTED) {
        hand_on(claim->lock, call_all);
    }
    return was != GRANTED && was != CALLED;
}

/* ---- Claims ---- */

static void free_claim(struct tg_claim *claim)
{
    tg_list_remove(&claim->link);
    tg_zone_unref(&claim->zone);
    tg_mem_free(TAG, claim);
}

/* The news has arrived. */
static void on_news(struct tg_task *task)
{
    struct tg_claim *claim = TG_CONTAINER_OF(task, struct tg_claim, task);
    struct tg_locks *locks = tg_zone_locks(claim->zone);
    enter(locks);
    enum state was = claim->state;
    if (was == GRANTED)
        claim->state = HELD;
    else if (was == CALLED)
        claim->state = DONE;
    leave(locks);
    if (was == ENDED)
        free_claim(claim);
    else
        claim->on_ready(claim->arg, was == GRANTED);
}

enum tg_err tg_claim_new(struct tg_claims *claims, struct tg_zone *zone, struct tg_str key,
                         void (*on_ready)(void *arg, bool held), void *arg, struct tg_claim **out)
{
    struct tg_locks *locks = tg_zone_locks(zone);
    struct tg_claim *claim = tg_mem_zalloc(TAG, 1, sizeof(*claim));
    tg_assert(key.n <= TG_LOCK_KEY_MAX);
    if (claim == NULL)
        return TG_E_NOMEM;
    claim->claims = claims;
    claim->zone = tg_zone_ref(zone);
    claim->on_ready = on_ready;
    claim->arg = arg;
    tg_task_init(&claim->task, on_news);
    tg_list_init(&claim->waiting);
    tg_list_push_back(&claims->list, &claim->link);
    enter(locks);
    enum tg_err err = join(locks, claim, tg_map_key(key.p, key.n));
    leave(locks);
    if (err != TG_OK && err != TG_E_AGAIN) {
        free_claim(claim);
        return err;
    }
    *out = claim;
    return err;
}

void tg_claim_end(struct tg_claim **claimp, bool call_all)
{
    struct tg_claim *claim = *claimp;
    if (claim == NULL)
        return;
    *claimp = NULL;
    struct tg_locks *locks = tg_zone_locks(claim->zone);
    enter(locks);
    bool is_free = part(claim, call_all);
    leave(locks);
    if (is_free)
        free_claim(claim);
}

void tg_claims_init(struct tg_claims *claims, struct tg_loop *loop)
{
    claims->loop = loop;
    tg_list_init(&claims->list);
}

void tg_claims_release(struct tg_claims *claims)
{
    TG_LIST_FOREACH(&claims->list, it)
    {
        struct tg_claim *claim = TG_LIST_ENTRY(it, struct tg_claim, link);
        tg_assert(claim->state == ENDED);
        free_claim(claim);
    }
}
