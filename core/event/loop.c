/* loop.c: libev for descriptors; timers, deferred calls and the mailbox of our own around it. */
#include "base/banned.h"
#include "event/loop.h"

#include "base/assert.h"

static void run_all(struct tg_list *tasks)
{
    while (!tg_list_is_empty(tasks)) {
        struct tg_task *task = TG_LIST_ENTRY(tasks->next, struct tg_task, link);
        tg_list_remove(&task->link);
        task->run(task);
    }
}

/* Moves all nodes of `from` to the empty list `to`. */
static void move_all(struct tg_list *from, struct tg_list *to)
{
    tg_list_init(to);
    if (tg_list_is_empty(from))
        return;
    *to = *from;
    to->next->prev = to;
    to->prev->next = to;
    tg_list_init(from);
}

/* An eighth of those that yielded, in every second round. Those that yield again go behind the
 * others, and are not met twice: the eighth is counted first. */
static void run_yielded(struct tg_loop *loop)
{
    size_t count = 0;
    loop->yielded_ran = !loop->yielded_ran && !tg_list_is_empty(&loop->yielded);
    if (!loop->yielded_ran)
        return;
    for (struct tg_list *l = loop->yielded.next; l != &loop->yielded; l = l->next)
        count++;
    for (size_t n = (count + 7) / 8; n > 0 && !tg_list_is_empty(&loop->yielded); n--) {
        struct tg_task *task = TG_LIST_ENTRY(loop->yielded.next, struct tg_task, link);
        tg_list_remove(&task->link);
        task->run(task);
    }
}

/* Before the wait: what is due runs, and the wait is bounded by what comes next. */
static void on_prepare(struct ev_loop *ev, ev_prepare *w, int events)
{
    struct tg_loop *loop = w->data;
    struct tg_list now;
    (void)events;
    tg_timers_tick(&loop->timers, loop->clock.mono);
    move_all(&loop->deferred, &now);
    run_all(&now);
    run_yielded(loop);

    uint64_t next = tg_timers_next(&loop->timers);
    if (!tg_list_is_empty(&loop->deferred) || !tg_list_is_empty(&loop->yielded))
        next = loop->clock.mono;
    if (next == loop->wake_at)
        return;
    loop->wake_at = next;
    ev_timer_stop(ev, &loop->wake);
    if (next == UINT64_MAX)
        return;
    tg_clock_refresh(&loop->clock);
    uint64_t wait = next > loop->clock.mono ? next - loop->clock.mono : 0;
    ev_now_update(ev);
    ev_timer_set(&loop->wake, (double)wait / 1e6, 0.);
    ev_timer_start(ev, &loop->wake);
}

static void on_wake(struct ev_loop *ev, ev_timer *w, int events)
{
    struct tg_loop *loop = w->data;
    (void)ev;
    (void)events;
    loop->wake_at = 0; /* a wake that fired must be set again */
}

static void on_check(struct ev_loop *ev, ev_check *w, int events)
{
    struct tg_loop *loop = w->data;
    (void)ev;
    (void)events;
    tg_clock_refresh(&loop->clock);
}

static void on_mail(struct ev_loop *ev, ev_async *w, int events)
{
    struct tg_loop *loop = w->data;
    struct tg_list tasks;
    (void)ev;
    (void)events;
    pthread_mutex_lock(&loop->mail_lock);
    move_all(&loop->mailbox, &tasks);
    pthread_mutex_unlock(&loop->mail_lock);
    run_all(&tasks);
}

enum tg_err tg_loop_init(struct tg_loop *loop)
{
    *loop = (struct tg_loop){.wake_at = UINT64_MAX};
    loop->ev = ev_loop_new(EVFLAG_NOENV | EVBACKEND_EPOLL);
    if (loop->ev == NULL)
        return TG_E_SYSTEM;
    tg_clock_init(&loop->clock);
    tg_timers_init(&loop->timers);
    tg_list_init(&loop->deferred);
    tg_list_init(&loop->yielded);
    tg_list_init(&loop->mailbox);
    tg_assert(pthread_mutex_init(&loop->mail_lock, NULL) == 0);

    ev_timer_init(&loop->wake, on_wake, 0., 0.);
    ev_prepare_init(&loop->prepare, on_prepare);
    ev_check_init(&loop->check, on_check);
    ev_async_init(&loop->mail, on_mail);
    loop->wake.data = loop->prepare.data = loop->check.data = loop->mail.data = loop;
    ev_set_priority(&loop->check, EV_MAXPRI); /* the clock first, then I/O */
    ev_prepare_start(loop->ev, &loop->prepare);
    ev_check_start(loop->ev, &loop->check);
    ev_async_start(loop->ev, &loop->mail);
    return TG_OK;
}

void tg_loop_release(struct tg_loop *loop)
{
    if (loop->ev == NULL)
        return;
    ev_timer_stop(loop->ev, &loop->wake);
    ev_prepare_stop(loop->ev, &loop->prepare);
    ev_check_stop(loop->ev, &loop->check);
    ev_async_stop(loop->ev, &loop->mail);
    ev_loop_destroy(loop->ev);
    tg_timers_release(&loop->timers);
    pthread_mutex_destroy(&loop->mail_lock);
    loop->ev = NULL;
}

void tg_loop_run(struct tg_loop *loop)
{
    tg_clock_refresh(&loop->clock);
    ev_run(loop->ev, 0);
}

void tg_loop_stop(struct tg_loop *loop)
{
    ev_break(loop->ev, EVBREAK_ALL);
}

void tg_loop_defer(struct tg_loop *loop, struct tg_task *task)
{
    if (tg_list_is_empty(&task->link))
        tg_list_push_back(&loop->deferred, &task->link);
}

void tg_loop_defer_first(struct tg_loop *loop, struct tg_task *task)
{
    if (tg_list_is_empty(&task->link))
        tg_list_push_front(&loop->deferred, &task->link);
}

void tg_loop_yield(struct tg_loop *loop, struct tg_task *task)
{
    if (tg_list_is_empty(&task->link))
        tg_list_push_back(&loop->yielded, &task->link);
}

void tg_loop_run_deferred(struct tg_loop *loop)
{
    run_all(&loop->deferred);
}

void tg_loop_post(struct tg_loop *loop, struct tg_task *task)
{
    pthread_mutex_lock(&loop->mail_lock);
    tg_list_push_back(&loop->mailbox, &task->link);
    pthread_mutex_unlock(&loop->mail_lock);
    ev_async_send(loop->ev, &loop->mail);
}
