/* names.c: see names.h. */
#include "base/banned.h"
#include "harness/names.h"

#include "base/mem.h"

struct asked {
    struct tg_list link;
    uint32_t id;
    struct tg_query *query;
};

static enum tg_err send_query(void *arg, struct tg_query *query)
{
    struct tg_names *names = arg;
    struct asked *asked = tg_mem_zalloc(TG_MEM_OTHER, 1, sizeof(*asked));
    if (asked == NULL)
        return TG_E_NOMEM;
    asked->id = ++names->count;
    asked->query = query;
    tg_list_push_back(&names->asked, &asked->link);
    names->on_query(names->arg, asked->id, query);
    return TG_OK;
}

static void forget(struct asked *asked)
{
    tg_list_remove(&asked->link);
    tg_mem_free(TG_MEM_OTHER, asked);
}

static void drop_all(void *arg)
{
    struct tg_names *names = arg;
    TG_LIST_FOREACH(&names->asked, it)
    forget(TG_LIST_ENTRY(it, struct asked, link));
}

void tg_names_init(struct tg_names *names,
                   void (*on_query)(void *arg, uint32_t id, const struct tg_query *query),
                   void *arg)
{
    *names = (struct tg_names){.source = {send_query, drop_all, names}};
    names->on_query = on_query;
    names->arg = arg;
    tg_list_init(&names->asked);
}

struct tg_answer *tg_names_answer(enum tg_answer_kind kind, uint64_t ttl)
{
    struct tg_answer *answer = tg_mem_zalloc(
        TG_MEM_OTHER, 1, sizeof(*answer) + TG_ANSWER_MAX * sizeof(answer->records[0]));
    if (answer == NULL)
        return NULL;
    answer->kind = kind;
    answer->ttl = ttl;
    if (kind != TG_ANSWER_RECORDS)
        answer->problem = kind == TG_ANSWER_NONE ? "the spec says so" : "the spec lets it fail";
    return answer;
}

bool tg_names_settle(struct tg_names *names, uint32_t id, const struct tg_answer *answer)
{
    TG_LIST_FOREACH(&names->asked, it)
    {
        struct asked *asked = TG_LIST_ENTRY(it, struct asked, link);
        if (asked->id != id)
            continue;
        struct tg_query *query = asked->query;
        forget(asked);
        tg_resolver_settle(query, answer);
        return true;
    }
    return false;
}
