/* crew.c: see crew.h.
 *
 * Each member has one task per order, posted at most once at a time: prepare and finish belong to a
 * reload, of which there is one; drain and stop are given once; of questions there is one at a
 * time.
 *
 * A loop that has ended drops what is still in its mailbox. So a member that ended, which is the
 * last that it says, has answered every question as well as it ever will. */
#include "base/banned.h"
#include "cli/crew.h"

#include "base/assert.h"
#include "event/watchdog.h"
#include "gateway/client.h"
#include "gateway/gate.h"
#include "net/outbox.h"
#include "observe/metrics.h"

struct member {
    struct tg_worker worker;
    struct tg_gate gate;
    struct tg_watch watch;
    struct tg_crew *crew;
    bool started;
    bool over;                                        /* its loop has ended */
    bool asked;                                       /* it owes an answer to the question */
    bool owes_finished, owes_quiet;                   /* answers that come a round later */
    unsigned closed_in;                               /* the round of the loop before that */
    struct tg_task prepare, finish, drain, stop, ask; /* orders: run on the worker */
    struct tg_task settle;                            /* that round's part of finish and drain */
    struct tg_task prepared, finished, quiet, ended, answered; /* answers: run on the keeper */
    /* of the reload; written by one side while the other waits */
    struct tg_snapshot *snapshot; /* one reference */
    struct tg_vm_set *vms;
    enum tg_err err;
    struct tg_vm_error why;
};

struct question {
    void (*visit)(void *of, struct tg_gate *gate); /* NULL: none is under way */
    void (*done)(void *of);
    void *of;
    uint32_t waiting; /* for answers, and while it is being put */
};

struct tg_crew {
    const struct tg_boot *boot;
    struct tg_loop *keeper;
    const struct tg_crew_events *events;
    void *arg;
    struct tg_gateway gateway;
    struct tg_watchdog *dog;
    uint32_t count;
    uint32_t waiting; /* for answers of the reload */
    uint32_t running; /* members whose loop has not ended */
    uint32_t quiet;   /* members that accept no more */
    bool wanted;      /* the reload is to be adopted */
    bool adopt;       /* the reload's verdict */
    enum tg_err verdict;
    const char *reason; /* why not; of the first member that could not */
    bool draining;
    bool stopping;
    struct question question;
    struct member *members;
};

/* ---- On the workers ----------------------------------------------------------------------------
 */

static void answer(struct member *m, struct tg_task *task)
{
    tg_loop_post(m->crew->keeper, task);
}

/* The sockets of the acceptors that were closed are nothing to this worker any more: who waited for
 * that may close them. */
static void settle(struct member *m)
{
    tg_acceptors_settle(&m->gate);
    if (m->owes_finished)
        answer(m, &m->finished);
    if (m->owes_quiet)
        answer(m, &m->quiet);
    m->owes_finished = m->owes_quiet = false;
}

static void on_settle(struct tg_task *task)
{
    struct member *m = TG_CONTAINER_OF(task, struct member, settle);
    if (m->closed_in == ev_iteration(m->worker.loop.ev))
        tg_loop_post(&m->worker.loop, &m->settle); /* another order came in before it */
    else
        settle(m);
}

/* Acceptors were closed in this round: the answer comes in the next. */
static void settle_later(struct member *m, bool *owes)
{
    bool is_posted = m->owes_finished || m->owes_quiet;
    m->closed_in = ev_iteration(m->worker.loop.ev);
    *owes = true;
    if (!is_posted)
        tg_loop_post(&m->worker.loop, &m->settle);
}

static void on_prepare(struct tg_task *task)
{
    struct member *m = TG_CONTAINER_OF(task, struct member, prepare);
    if (m->vms == NULL)
        m->err = tg_vm_set_new(&m->gate, m->snapshot, &m->vms, &m->why);
    if (m->err == TG_OK || m->err == TG_E_AGAIN)
        m->err = tg_vm_set_make(m->vms, &m->why);
    if (m->err == TG_E_AGAIN) /* one VM in a round, so that the traffic goes on */
        tg_loop_post(&m->worker.loop, &m->prepare);
    else
        answer(m, &m->prepared);
}

static void on_finish(struct tg_task *task)
{
    struct member *m = TG_CONTAINER_OF(task, struct member, finish);
    m->err = TG_OK;
    if (m->crew->adopt) {
        m->err = tg_gate_adopt(&m->gate, m->snapshot, m->vms);
        if (m->err == TG_OK)
            m->err = tg_acceptors_fit(&m->gate, m->crew->boot->sockets);
    } else {
        tg_vm_set_unref(&m->vms);
        tg_snapshot_unref(&m->snapshot);
    }
    m->snapshot = NULL;
    m->vms = NULL;
    settle_later(m, &m->owes_finished);
}

static void on_gate_drained(struct tg_gate *gate)
{
    tg_loop_stop(&gate->worker->loop);
}

static void on_drain(struct tg_task *task)
{
    struct member *m = TG_CONTAINER_OF(task, struct member, drain);
    tg_gate_drain(&m->gate);
    settle_later(m, &m->owes_quiet);
}

static void on_stop(struct tg_task *task)
{
    tg_gate_stop(&TG_CONTAINER_OF(task, struct member, stop)->gate);
}

static void on_ask(struct tg_task *task)
{
    struct member *m = TG_CONTAINER_OF(task, struct member, ask);
    const struct question *q = &m->crew->question;
    q->visit(q->of, &m->gate);
    answer(m, &m->answered);
}

/* Plugin code of this worker is watched from here on. */
static void watch(struct member *m)
{
    struct tg_runner *runner = &m->gate.runner;
    tg_watch_init(&m->watch, &runner->seq, runner->slice_us, tg_runner_interrupt, runner);
    if (tg_watchdog_add(m->crew->dog, &m->watch) != TG_OK) {
        tg_log(TG_LOG_ERROR, "boot", "worker %u: its CPU clock cannot be read", m->worker.index);
        abort(); /* without it a plugin could hold the worker for ever */
    }
    runner->asleep = &m->watch.asleep;
    runner->wake = tg_watchdog_wake;
    runner->wake_arg = m->crew->dog;
}

static void *run(void *arg)
{
    struct member *m = arg;
    watch(m);
    if (tg_overload_init(&m->gate) != TG_OK)
        tg_log(TG_LOG_ERROR, "boot", "worker %u: no memory for its overload clock",
               m->worker.index);
    tg_loop_run(&m->worker.loop);
    tg_overload_release(&m->gate);
    tg_acceptors_close(&m->gate);
    settle(m);
    tg_gate_release(&m->gate); /* stops plugins: still under the watchdog */
    tg_watchdog_remove(m->crew->dog, &m->watch);
    answer(m, &m->ended);
    return NULL;
}

/* ---- On the keeper: reloads --------------------------------------------------------------------
 */

static void post_all(struct tg_crew *crew, struct tg_task *(*task_of)(struct member *m))
{
    crew->waiting = crew->count;
    for (uint32_t i = 0; i < crew->count; i++)
        tg_loop_post(&crew->members[i].worker.loop, task_of(&crew->members[i]));
}

static struct tg_task *prepare_of(struct member *m)
{
    return &m->prepare;
}

static struct tg_task *finish_of(struct member *m)
{
    return &m->finish;
}

/* The first member that failed, or NULL. */
static struct member *first_failed(struct tg_crew *crew)
{
    for (uint32_t i = 0; i < crew->count; i++) {
        if (crew->members[i].err != TG_OK)
            return &crew->members[i];
    }
    return NULL;
}

static void on_prepared(struct tg_task *task)
{
    struct tg_crew *crew = TG_CONTAINER_OF(task, struct member, prepared)->crew;
    if (--crew->waiting > 0)
        return;
    const struct member *failed = first_failed(crew);
    crew->adopt = failed == NULL && crew->wanted;
    crew->verdict = failed == NULL ? TG_OK : TG_E_SCRIPT;
    crew->reason = failed != NULL ? failed->why.text : "";
    post_all(crew, finish_of);
}

static void on_finished(struct tg_task *task)
{
    struct tg_crew *crew = TG_CONTAINER_OF(task, struct member, finished)->crew;
    if (--crew->waiting > 0)
        return;
    struct member *failed = first_failed(crew);
    if (failed != NULL)
        tg_log(TG_LOG_ERROR, "reload", "worker %u: %s", failed->worker.index,
               tg_err_text(failed->err));
    crew->events->on_reloaded(crew->arg, crew->verdict, crew->reason);
}

void tg_crew_reload(struct tg_crew *crew, struct tg_snapshot *snapshot, bool adopt)
{
    crew->wanted = adopt;
    for (uint32_t i = 0; i < crew->count; i++)
        crew->members[i].snapshot = tg_snapshot_ref(snapshot);
    post_all(crew, prepare_of);
}

/* ---- On the keeper: questions ------------------------------------------------------------------
 */

static void settle_question(struct tg_crew *crew)
{
    struct question asked = crew->question;
    if (--crew->question.waiting > 0)
        return;
    crew->question = (struct question){0}; /* done() may ask the next one */
    asked.done(asked.of);
}

static void note_answer(struct member *m)
{
    if (!m->asked)
        return;
    m->asked = false;
    settle_question(m->crew);
}

static void on_answered(struct tg_task *task)
{
    note_answer(TG_CONTAINER_OF(task, struct member, answered));
}

void tg_crew_ask(struct tg_crew *crew, void (*visit)(void *of, struct tg_gate *gate),
                 void (*done)(void *of), void *of)
{
    tg_assert(crew->question.visit == NULL);
    crew->question = (struct question){visit, done, of, 1};
    for (uint32_t i = 0; i < crew->count; i++) {
        struct member *m = &crew->members[i];
        if (m->over)
            continue;
        m->asked = true;
        crew->question.waiting++;
        tg_loop_post(&m->worker.loop, &m->ask);
    }
    settle_question(crew);
}

/* ---- On the keeper: the end --------------------------------------------------------------------
 */

static void on_quiet(struct tg_task *task)
{
    struct tg_crew *crew = TG_CONTAINER_OF(task, struct member, quiet)->crew;
    if (++crew->quiet == crew->count)
        crew->events->on_quiet(crew->arg);
}

static void on_ended(struct tg_task *task)
{
    struct member *m = TG_CONTAINER_OF(task, struct member, ended);
    struct tg_crew *crew = m->crew;
    m->over = true;
    note_answer(m);
    if (--crew->running == 0)
        crew->events->on_ended(crew->arg);
}

void tg_crew_drain(struct tg_crew *crew)
{
    for (uint32_t i = 0; i < crew->count && !crew->draining; i++)
        tg_loop_post(&crew->members[i].worker.loop, &crew->members[i].drain);
    crew->draining = true;
}

void tg_crew_stop(struct tg_crew *crew)
{
    for (uint32_t i = 0; i < crew->count && !crew->stopping; i++)
        tg_loop_post(&crew->members[i].worker.loop, &crew->members[i].stop);
    crew->stopping = true;
}

/* ---- Life --------------------------------------------------------------------------------------
 */

static void init_tasks(struct member *m)
{
    tg_task_init(&m->prepare, on_prepare);
    tg_task_init(&m->finish, on_finish);
    tg_task_init(&m->drain, on_drain);
    tg_task_init(&m->stop, on_stop);
    tg_task_init(&m->ask, on_ask);
    tg_task_init(&m->settle, on_settle);
    tg_task_init(&m->prepared, on_prepared);
    tg_task_init(&m->finished, on_finished);
    tg_task_init(&m->quiet, on_quiet);
    tg_task_init(&m->ended, on_ended);
    tg_task_init(&m->answered, on_answered);
}

static enum tg_err prepare_member(struct tg_crew *crew, uint32_t index,
                                  struct tg_metric_cells *cells)
{
    struct member *m = &crew->members[index];
    init_tasks(m);
    enum tg_err err = tg_worker_init(&m->worker, index, cells);
    if (err != TG_OK)
        return err;
    m->crew = crew;
    err = tg_gate_init(&m->gate, &m->worker, &crew->gateway);
    m->gate.on_drained = on_gate_drained;
    return err == TG_OK ? tg_outbox_open(&m->worker) : err;
}

static void release_member(struct member *m)
{
    if (m->crew == NULL)
        return;
    if (m->started)
        tg_worker_join(&m->worker);
    else
        tg_gate_release(&m->gate);
    tg_loop_run_deferred(&m->worker.loop);
    tg_outbox_close(&m->worker);
    tg_worker_release(&m->worker);
}

void tg_crew_free(struct tg_crew **crewp)
{
    struct tg_crew *crew = *crewp;
    if (crew == NULL)
        return;
    for (uint32_t i = 0; i < crew->count; i++)
        release_member(&crew->members[i]);
    tg_watchdog_free(&crew->dog);
    tg_gateway_release(&crew->gateway);
    tg_mem_free(TG_MEM_OTHER, crew->members);
    tg_mem_free(TG_MEM_OTHER, crew);
    *crewp = NULL;
}

/* All or none: a process with some of its workers would leave sockets unserved. */
static enum tg_err start_all(struct tg_crew *crew)
{
    for (uint32_t i = 0; i < crew->count; i++) {
        struct member *m = &crew->members[i];
        enum tg_err err = tg_worker_start(&m->worker, run, m);
        if (err != TG_OK) {
            tg_crew_stop(crew);
            return err;
        }
        m->started = true;
        crew->running++;
    }
    return TG_OK;
}

struct tg_gateway *tg_crew_gateway(struct tg_crew *crew)
{
    return &crew->gateway;
}

enum tg_err tg_crew_new(const struct tg_boot *boot, struct tg_loop *keeper,
                        struct tg_metrics *metrics, const struct tg_crew_events *events, void *arg,
                        struct tg_crew **out)
{
    struct tg_crew *crew = tg_mem_zalloc(TG_MEM_OTHER, 1, sizeof(*crew));
    struct member *members = tg_mem_zalloc(TG_MEM_OTHER, boot->workers, sizeof(*members));
    if (crew == NULL || members == NULL || tg_gateway_init(&crew->gateway) != TG_OK) {
        tg_mem_free(TG_MEM_OTHER, members);
        tg_mem_free(TG_MEM_OTHER, crew);
        return TG_E_NOMEM;
    }
    crew->boot = boot;
    crew->gateway.dev = boot->dev;
    crew->keeper = keeper;
    crew->events = events;
    crew->arg = arg;
    crew->count = boot->workers;
    crew->members = members;
    enum tg_err err = tg_watchdog_new(&crew->dog);
    for (uint32_t i = 0; i < crew->count && err == TG_OK; i++)
        err = prepare_member(crew, i, tg_metrics_cells(metrics, i));
    if (err == TG_OK)
        err = start_all(crew);
    if (err != TG_OK) {
        tg_crew_free(&crew);
        return err;
    }
    *out = crew;
    return TG_OK;
}
