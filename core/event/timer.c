/* timer.c: a 4-ary heap with lazy deadlines. See timer.h for the picture.
 *
 * A 4-ary heap touches fewer cache lines than a binary one for the same number of timers; ties are
 * broken by nothing in the heap, but a tick sorts what is due by deadline before it fires. */
#include "base/banned.h"
#include "event/timer.h"

#include "base/assert.h"
#include "base/mem.h"

#define ARITY 4u

void tg_timers_init(struct tg_timers *timers)
{
    *timers = (struct tg_timers){0};
}

void tg_timers_release(struct tg_timers *timers)
{
    tg_assert(timers->timers == 0);
    tg_mem_free(TG_MEM_CONNECTION, timers->heap);
    *timers = (struct tg_timers){0};
}

static void place(struct tg_timers *h, uint32_t slot, struct tg_timer *t)
{
    h->heap[slot] = t;
    t->slot = slot;
}

static void sift_up(struct tg_timers *h, uint32_t slot, struct tg_timer *t)
{
    while (slot > 0) {
        uint32_t parent = (slot - 1) / ARITY;
        if (h->heap[parent]->heap_at <= t->heap_at)
            break;
        place(h, slot, h->heap[parent]);
        slot = parent;
    }
    place(h, slot, t);
}

static void sift_down(struct tg_timers *h, uint32_t slot, struct tg_timer *t)
{
    for (;;) {
        uint32_t first = slot * ARITY + 1;
        uint32_t best = first;
        if (first >= h->n)
            break;
        for (uint32_t i = first + 1; i < TG_MIN(first + ARITY, h->n); i++) {
            if (h->heap[i]->heap_at < h->heap[best]->heap_at)
                best = i;
        }
        if (h->heap[best]->heap_at >= t->heap_at)
            break;
        place(h, slot, h->heap[best]);
        slot = best;
    }
    place(h, slot, t);
}

static void insert(struct tg_timers *h, struct tg_timer *t, uint64_t at)
{
    tg_assert(h->n < h->cap);
    t->heap_at = at;
    h->n++;
    sift_up(h, h->n - 1, t);
}

static void take_out(struct tg_timers *h, struct tg_timer *t)
{
    uint32_t slot = t->slot;
    struct tg_timer *last = h->heap[--h->n];
    t->slot = TG_TIMER_NO_SLOT;
    if (last == t)
        return;
    if (slot > 0 && h->heap[(slot - 1) / ARITY]->heap_at > last->heap_at)
        sift_up(h, slot, last);
    else
        sift_down(h, slot, last);
}

uint64_t tg_timers_next(const struct tg_timers *timers)
{
    return timers->n > 0 ? timers->heap[0]->heap_at : UINT64_MAX;
}

enum tg_err tg_timer_init(struct tg_timer *timer, struct tg_timers *timers,
                          void (*on_fire)(struct tg_timer *timer))
{
    if (timers->timers == timers->cap) {
        uint32_t cap = TG_MAX(timers->cap * 2, 64);
        struct tg_timer **heap =
            tg_mem_realloc(TG_MEM_CONNECTION, timers->heap, cap * sizeof(*heap));
        if (heap == NULL)
            return TG_E_NOMEM;
        timers->heap = heap;
        timers->cap = cap;
    }
    timers->timers++;
    *timer = (struct tg_timer){.timers = timers, .on_fire = on_fire, .slot = TG_TIMER_NO_SLOT};
    tg_list_init(&timer->link);
    return TG_OK;
}

void tg_timer_release(struct tg_timer *timer)
{
    if (timer->timers == NULL)
        return;
    if (timer->slot != TG_TIMER_NO_SLOT)
        take_out(timer->timers, timer);
    tg_list_remove(&timer->link);
    timer->timers->timers--;
    timer->timers = NULL;
}

void tg_timer_set(struct tg_timer *timer, uint64_t deadline)
{
    tg_assert_slow(timer->timers != NULL && deadline > 0);
    timer->deadline = deadline;
    if (timer->slot != TG_TIMER_NO_SLOT && timer->heap_at <= deadline)
        return;
    if (timer->slot != TG_TIMER_NO_SLOT) {
        timer->heap_at = deadline;
        sift_up(timer->timers, timer->slot, timer);
        return;
    }
    insert(timer->timers, timer, deadline);
}

/* Puts `t` into the ready list behind all that are due before it. */
static void make_ready(struct tg_list *ready, struct tg_timer *t)
{
    struct tg_list *at = ready->prev;
    while (at != ready && TG_LIST_ENTRY(at, struct tg_timer, link)->deadline > t->deadline)
        at = at->prev;
    t->ready = true;
    tg_list_insert_after(at, &t->link);
}

void tg_timers_tick(struct tg_timers *timers, uint64_t now)
{
    struct tg_list ready;
    tg_list_init(&ready);
    while (timers->n > 0 && timers->heap[0]->heap_at <= now) {
        struct tg_timer *t = timers->heap[0];
        take_out(timers, t);
        if (t->deadline > now)
            insert(timers, t, t->deadline);
        else if (t->deadline > 0 && !t->ready)
            make_ready(&ready, t);
    }
    while (!tg_list_is_empty(&ready)) {
        struct tg_timer *t = TG_LIST_ENTRY(ready.next, struct tg_timer, link);
        tg_list_remove(&t->link);
        t->ready = false;
        if (t->deadline == 0 || t->deadline > now)
            continue; /* cleared or moved by a callback before it; set() put it in the heap */
        t->deadline = 0;
        t->on_fire(t);
    }
}
