/* names.c: see names.h. */
#include "base/banned.h"
#include "upstream/names.h"

#include "base/assert.h"
#include "base/mem.h"

#include <string.h>

/* With the lock; NULL: no memory. */
static struct tg_known_name *find_name(struct tg_fleet *fleet, struct tg_str name)
{
    TG_LIST_FOREACH(&fleet->names, it)
    {
        struct tg_known_name *known = TG_LIST_ENTRY(it, struct tg_known_name, link);
        if (tg_str_eq(known->name, name))
            return known;
    }
    struct tg_known_name *known = tg_mem_zalloc(TG_MEM_CONNECTION, 1, sizeof(*known));
    if (known == NULL)
        return NULL;
    known->name = tg_str(tg_mem_strndup(TG_MEM_CONNECTION, name.p, name.n), name.n);
    if (known->name.p == NULL) {
        tg_mem_free(TG_MEM_CONNECTION, known);
        return NULL;
    }
    known->state = "pending";
    tg_list_push_back(&fleet->names, &known->link);
    return known;
}

struct tg_known_name *tg_known_name_ref(struct tg_fleet *fleet, struct tg_str name)
{
    pthread_mutex_lock(&fleet->registry->lock);
    struct tg_known_name *known = find_name(fleet, name);
    if (known != NULL)
        known->holders++;
    pthread_mutex_unlock(&fleet->registry->lock);
    return known;
}

void tg_known_name_unref(struct tg_fleet *fleet, struct tg_known_name **known)
{
    struct tg_known_name *taken = *known;
    *known = NULL;
    if (taken == NULL)
        return;
    pthread_mutex_lock(&fleet->registry->lock);
    tg_assert(taken->holders > 0);
    if (--taken->holders == 0) {
        tg_list_remove(&taken->link);
        tg_mem_free(TG_MEM_CONNECTION, (char *)(uintptr_t)taken->name.p);
        tg_mem_free(TG_MEM_CONNECTION, taken);
    }
    pthread_mutex_unlock(&fleet->registry->lock);
}

void tg_known_name_set(struct tg_fleet *fleet, struct tg_known_name *known,
                       const struct tg_known_name *news)
{
    pthread_mutex_lock(&fleet->registry->lock);
    known->state = news->state;
    known->until = news->until;
    known->n = news->n;
    memcpy(known->problem, news->problem, sizeof(known->problem));
    memcpy(known->addrs, news->addrs, news->n * sizeof(news->addrs[0]));
    pthread_mutex_unlock(&fleet->registry->lock);
}
