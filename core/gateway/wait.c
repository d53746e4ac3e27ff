/* wait.c: see wait.h. Which kind of host it is shows in the magic that both begin with. */
#include "base/banned.h"
#include "gateway/wait.h"

#include "base/assert.h"
#include "gateway/background.h"
#include "gateway/plugins.h"

static struct tg_background *background_of(const struct tg_run *run)
{
    struct tg_background *background = run->host;
    tg_magic_check(background, TG_BACKGROUND_MAGIC);
    return background;
}

/* Whether it is a phase's own activation, not one beside it. */
static bool is_phase(const struct tg_run *run)
{
    const uint32_t *magic = run->host;
    return *magic == TG_REQUEST_MAGIC;
}

struct tg_request *tg_run_request(const struct tg_run *run)
{
    if (run->host == NULL)
        return NULL;
    return is_phase(run) ? run->host : background_of(run)->call.request;
}

uint64_t tg_run_deadline(const struct tg_run *run)
{
    const struct tg_request *r = tg_run_request(run);
    return is_phase(run) ? r->wall_deadline : background_of(run)->wall_deadline;
}

enum tg_err tg_wait_begin(struct tg_run *run, struct tg_wait *wait, uint64_t until)
{
    return is_phase(run) ? tg_request_wait(run->host, wait, until)
                         : tg_background_wait(background_of(run), wait, until);
}

void tg_wait_end(struct tg_run *run)
{
    if (is_phase(run))
        tg_plugins_wake(run->host);
    else
        tg_background_wake(background_of(run));
}

void tg_held_add(struct tg_run *run, struct tg_held *held)
{
    const struct tg_request *r = tg_run_request(run);
    struct tg_list *list;
    if (is_phase(run))
        list = &r->plugins.slot->held;
    else if (r != NULL && held->lasts)
        list = &background_of(run)->call.slot->held;
    else
        list = &background_of(run)->held;
    held->run = run;
    tg_list_push_back(list, &held->link);
}

void tg_held_remove(struct tg_held *held)
{
    tg_list_remove(&held->link);
}

void tg_held_end_run(struct tg_list *list, const struct tg_run *run)
{
    TG_LIST_FOREACH(list, it)
    {
        struct tg_held *held = TG_LIST_ENTRY(it, struct tg_held, link);
        if (held->run != run || (held->lasts && run->kill == TG_KILL_NONE))
            continue;
        tg_list_remove(it);
        held->release(held);
    }
}

void tg_held_inherit(struct tg_list *list, const struct tg_run *run, const struct tg_run *heir)
{
    TG_LIST_FOREACH(list, it)
    {
        struct tg_held *held = TG_LIST_ENTRY(it, struct tg_held, link);
        if (held->run == run)
            held->run = heir;
    }
}

void tg_held_end_all(struct tg_list *list)
{
    TG_LIST_FOREACH(list, it)
    {
        struct tg_held *held = TG_LIST_ENTRY(it, struct tg_held, link);
        tg_list_remove(it);
        held->release(held);
    }
}
