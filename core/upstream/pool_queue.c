/* pool_queue.c: those who wait for a connection: a queue for each site. See pool.h.
 *
 * A place is given to a waiter by waking it; until it has asked again, `promised` keeps the place
 * from those who come later. */
#include "base/banned.h"
#include "upstream/pool_internal.h"

static void set_waiting(struct tg_pool *pool, struct tg_pool_site *site, int by)
{
    site->waiting_count += (uint32_t)by;
    pool->waiting += (uint32_t)by;
    if (site->origin != NULL)
        atomic_fetch_add_explicit(&site->origin->waiting, (uint32_t)by, memory_order_relaxed);
    if (site->waiting_count == 0)
        tg_origin_unref(&site->origin, tg_pool_now(pool));
}

static void on_turn(struct tg_task *task)
{
    struct tg_pool_waiter *waiter = TG_CONTAINER_OF(task, struct tg_pool_waiter, task);
    waiter->on_turn(waiter);
}

enum tg_err tg_pool_wait(struct tg_pool *pool, struct tg_pool_site *site,
                         const struct tg_pool_target *target)
{
    struct tg_pool_waiter *waiter = target->waiter;
    if (waiter == NULL)
        return TG_E_UNAVAILABLE;
    bool again = waiter->turn; /* somebody else was faster: its place is kept */
    tg_pool_end_turn(site, waiter);
    if (!again && site->waiting_count >= target->conf->max_waiting)
        return TG_E_UNAVAILABLE;
    if (!again) {
        waiter->order = pool->order++;
        waiter->since = tg_pool_now(pool);
    }
    if (site->origin == NULL && target->origin != NULL)
        site->origin = tg_origin_hold(target->origin);
    site->conf = *target->conf;
    waiter->priority = target->priority;
    waiter->site = site;
    tg_list_init(&waiter->link);
    tg_task_init(&waiter->task, on_turn);
    if (again)
        tg_list_push_front(&site->waiting, &waiter->link);
    else
        tg_list_push_back(&site->waiting, &waiter->link);
    set_waiting(pool, site, 1);
    tg_pool_look_soon(pool, TG_POOL_LOOK);
    return TG_E_AGAIN;
}

/* By priority, then first come; each fourth turn is the oldest's. */
static struct tg_pool_waiter *next_waiter(struct tg_pool_site *site)
{
    struct tg_pool_waiter *best = NULL;
    bool oldest = site->turns++ % 4 == 3;
    TG_LIST_FOREACH(&site->waiting, it)
    {
        struct tg_pool_waiter *w = TG_LIST_ENTRY(it, struct tg_pool_waiter, link);
        if (best == NULL || (oldest ? w->order < best->order : w->priority > best->priority))
            best = w;
    }
    return best;
}

/* Whether one more lease would find a connection or a place for one. */
static bool has_room(const struct tg_pool_site *site)
{
    const struct tg_pool_conf *conf = &site->conf;
    uint32_t ready = tg_pool_is_many(site) ? tg_pool_shared_room(site) : site->idle_count;
    if (ready > site->promised)
        return true;
    if (tg_pool_is_many(site) && site->connecting + site->promised > 0)
        return false; /* what is being made will have room for many */
    if (conf->max_connecting > 0 && site->connecting + site->promised >= conf->max_connecting)
        return false;
    if (tg_pool_is_full(site, site->promised))
        return false;
    return conf->max_open == 0 || site->origin == NULL ||
           atomic_load_explicit(&site->origin->open, memory_order_relaxed) + site->promised <
               conf->max_open;
}

void tg_pool_serve(struct tg_pool *pool, struct tg_pool_site *site)
{
    while (site->waiting_count > 0 && has_room(site)) {
        struct tg_pool_waiter *waiter = next_waiter(site);
        tg_list_remove(&waiter->link);
        set_waiting(pool, site, -1);
        waiter->turn = true;
        site->promised++;
        tg_size_note_wait(&site->size, tg_pool_now(pool) - waiter->since);
        tg_loop_defer(&pool->worker->loop, &waiter->task);
    }
}

void tg_pool_leave(struct tg_pool *pool, struct tg_pool_waiter *waiter)
{
    struct tg_pool_site *site = waiter->site;
    if (site == NULL)
        return;
    tg_task_cancel(&waiter->task);
    if (waiter->turn) {
        tg_pool_end_turn(site, waiter);
        tg_pool_serve(pool, site);
    } else {
        tg_list_remove(&waiter->link);
        set_waiting(pool, site, -1);
        tg_size_note_wait(&site->size, tg_pool_now(pool) - waiter->since);
        waiter->site = NULL;
    }
    tg_pool_drop_site_if_empty(pool, site);
}

void tg_pool_end_turn(struct tg_pool_site *site, struct tg_pool_waiter *waiter)
{
    if (waiter == NULL || !waiter->turn)
        return;
    waiter->turn = false;
    waiter->site = NULL;
    site->promised--;
}
