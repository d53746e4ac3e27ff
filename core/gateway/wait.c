/* wait.c: see wait.h. Which kind of host it is shows in the magic that both begin with. */
#include "base/banned.h"
#include "gateway/wait.h"

#include "base/assert.h"
#include "gateway/background.h"
#include "gateway/plugins.h"

struct tg_request *tg_run_request(const struct tg_run *run)
{
    uint32_t *magic = run->host;
    return magic != NULL && *magic == TG_REQUEST_MAGIC ? run->host : NULL;
}

static struct tg_background *background_of(const struct tg_run *run)
{
    struct tg_background *background = run->host;
    tg_magic_check(background, TG_BACKGROUND_MAGIC);
    return background;
}

enum tg_err tg_wait_begin(struct tg_run *run, struct tg_wait *wait, uint64_t until)
{
    struct tg_request *r = tg_run_request(run);
    return r != NULL ? tg_request_wait(r, wait, until)
                     : tg_background_wait(background_of(run), wait, until);
}

void tg_wait_end(struct tg_run *run)
{
    struct tg_request *r = tg_run_request(run);
    if (r != NULL)
        tg_plugins_wake(r);
    else
        tg_background_wake(background_of(run));
}

void tg_held_add(struct tg_run *run, struct tg_held *held)
{
    struct tg_request *r = tg_run_request(run);
    struct tg_list *list = r != NULL ? &r->plugins.slot->held : &background_of(run)->held;
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

void tg_held_end_all(struct tg_list *list)
{
    TG_LIST_FOREACH(list, it)
    {
        struct tg_held *held = TG_LIST_ENTRY(it, struct tg_held, link);
        tg_list_remove(it);
        held->release(held);
    }
}
