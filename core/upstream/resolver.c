/* resolver.c: see resolver.h.
 *
 * The map holds pointers to answers, whose size varies; they are freed as they leave it. */
#include "base/banned.h"
#include "upstream/resolver.h"

#include "base/assert.h"
#include "base/map.h"
#include "observe/metrics.h"

#include <string.h>

#define CACHE_BYTES ((uint64_t)8 << 20) /* however many records answers have */

struct tg_resolver {
    struct tg_worker *worker;
    const struct tg_resolver_source *source;
    struct tg_map *cache; /* of struct tg_answer *, by question and name */
    uint32_t cache_max;
    uint32_t under_way;     /* queries that the source has */
    uint32_t under_way_max; /* limits, as the following */
    uint64_t ttl_min, ttl_max, stale;
    struct tg_list queries;  /* of struct tg_query, the first asked first */
    struct tg_answer failed; /* where nothing can be had and nothing be kept; the last member */
};

/* ---- The cache ---------------------------------------------------------------------------------
 */

struct key {
    char text[TG_NAME_MAX + 2];
    size_t n;
};

static void make_key(struct key *key, struct tg_str name, enum tg_question question)
{
    tg_assert(name.n <= TG_NAME_MAX);
    key->text[0] = (char)('0' + question);
    for (size_t i = 0; i < name.n; i++)
        key->text[i + 1] = tg_char_lower(name.p[i]);
    key->n = name.n + 1;
}

static struct tg_map_key map_key(const struct key *key)
{
    return tg_map_key(key->text, key->n);
}

static void on_leave(void *arg, const struct tg_map_leaver *leaver, enum tg_map_reason reason)
{
    struct tg_answer *answer;
    (void)arg;
    if (reason == TG_MAP_CAPACITY)
        tg_limit_hit(dns_cache);
    memcpy(&answer, leaver->value, sizeof(answer));
    tg_mem_free(TG_MEM_CONNECTION, answer);
}

static struct tg_map *new_cache(uint32_t entries)
{
    struct tg_map_options options = {
        .tag = TG_MEM_CONNECTION,
        .policy = TG_MAP_LRU,
        .max_entries = entries,
        .max_bytes = CACHE_BYTES,
        .value_size = sizeof(struct tg_answer *),
        .key_room = 64,
        .on_leave = on_leave,
    };
    return tg_map_new(&options);
}

static uint64_t now_of(const struct tg_resolver *resolver)
{
    return tg_loop_now(&resolver->worker->loop);
}

static struct tg_answer *find(struct tg_resolver *resolver, const struct key *key)
{
    struct tg_answer **found = tg_map_get(resolver->cache, map_key(key), now_of(resolver));
    return found != NULL ? *found : NULL;
}

static size_t size_of(const struct tg_answer *answer)
{
    return sizeof(*answer) + answer->n * sizeof(answer->records[0]);
}

/* A copy of `answer` in the cache; NULL: no memory for it. */
static struct tg_answer *keep(struct tg_resolver *resolver, const struct key *key,
                              const struct tg_answer *answer)
{
    struct tg_answer *copy = tg_mem_alloc(TG_MEM_CONNECTION, size_of(answer));
    struct tg_map_terms terms = {.cost = (uint32_t)size_of(answer)};
    if (copy == NULL)
        return NULL;
    memcpy(copy, answer, size_of(answer));
    if (tg_map_set(resolver->cache, map_key(key), &copy, &terms, now_of(resolver)) == TG_OK) {
        tg_limit_note(dns_cache, tg_map_stats(resolver->cache)->entries);
        return copy;
    }
    tg_mem_free(TG_MEM_CONNECTION, copy);
    return NULL;
}

/* ---- Life --------------------------------------------------------------------------------------
 */

void tg_resolver_set_limits(struct tg_resolver *resolver, const struct tg_limits *limits)
{
    uint32_t entries = (uint32_t)limits->dns_cache;
    resolver->under_way_max = (uint32_t)limits->dns_queries;
    resolver->ttl_min = limits->dns_ttl_min;
    resolver->ttl_max = TG_MAX(limits->dns_ttl_max, limits->dns_ttl_min);
    resolver->stale = limits->dns_stale;
    if (entries == resolver->cache_max)
        return;
    struct tg_map *cache = new_cache(entries);
    if (cache == NULL)
        return; /* the old one serves on */
    tg_map_free(&resolver->cache);
    resolver->cache = cache;
    resolver->cache_max = entries;
}

struct tg_resolver *tg_resolver_new(struct tg_worker *worker,
                                    const struct tg_resolver_source *source,
                                    const struct tg_limits *limits)
{
    struct tg_resolver *resolver = tg_mem_zalloc(TG_MEM_CONNECTION, 1, sizeof(*resolver));
    if (resolver == NULL)
        return NULL;
    resolver->worker = worker;
    resolver->source = source;
    tg_list_init(&resolver->queries);
    tg_resolver_set_limits(resolver, limits);
    if (resolver->cache != NULL)
        return resolver;
    tg_mem_free(TG_MEM_CONNECTION, resolver);
    return NULL;
}

static void free_query(struct tg_query *query)
{
    tg_list_remove(&query->link);
    tg_mem_free(TG_MEM_CONNECTION, query);
}

void tg_resolver_free(struct tg_resolver **resolver)
{
    struct tg_resolver *taken = *resolver;
    *resolver = NULL;
    if (taken == NULL)
        return;
    taken->source->drop_all(taken->source->arg);
    TG_LIST_FOREACH(&taken->queries, it)
    {
        struct tg_query *query = TG_LIST_ENTRY(it, struct tg_query, link);
        tg_assert(tg_list_is_empty(&query->lookups));
        free_query(query);
    }
    tg_map_free(&taken->cache);
    tg_mem_free(TG_MEM_CONNECTION, taken);
}

/* ---- Queries -----------------------------------------------------------------------------------
 */

static struct tg_query *query_for(struct tg_resolver *resolver, const struct key *key,
                                  enum tg_question question)
{
    TG_LIST_FOREACH(&resolver->queries, it)
    {
        struct tg_query *query = TG_LIST_ENTRY(it, struct tg_query, link);
        if (query->question == question &&
            tg_str_eq(tg_str_c(query->name), tg_str(key->text + 1, key->n - 1)))
            return query;
    }
    struct tg_query *query = tg_mem_zalloc(TG_MEM_CONNECTION, 1, sizeof(*query));
    if (query == NULL)
        return NULL;
    query->question = question;
    memcpy(query->name, key->text + 1, key->n - 1);
    query->resolver = resolver;
    tg_list_init(&query->lookups);
    tg_list_push_back(&resolver->queries, &query->link);
    return query;
}

static bool may_send(struct tg_resolver *resolver)
{
    if (resolver->under_way < resolver->under_way_max)
        return true;
    tg_limit_hit(dns_queries);
    return false;
}

static void send_queued(struct tg_resolver *resolver)
{
    TG_LIST_FOREACH(&resolver->queries, it)
    {
        struct tg_query *query = TG_LIST_ENTRY(it, struct tg_query, link);
        if (query->sent)
            continue;
        if (!may_send(resolver))
            return;
        query->sent = resolver->source->send(resolver->source->arg, query) == TG_OK;
        if (!query->sent)
            return; /* with the next that is asked or answered, if there is one */
        tg_limit_note(dns_queries, ++resolver->under_way);
        tg_metric_inc(resolver->worker->cells, TG_METRIC_DNS_QUERIES);
    }
}

static const struct tg_answer *answer_failed(struct tg_resolver *resolver)
{
    struct tg_answer *answer = &resolver->failed;
    answer->kind = TG_ANSWER_FAILED;
    answer->problem = "no memory for a query";
    answer->until = answer->useful = now_of(resolver) + TG_RESOLVER_RETRY;
    return answer;
}

static bool is_fresh(const struct tg_answer *known, uint64_t now, uint64_t max_age)
{
    return now < known->until && (max_age == 0 || now < known->since + max_age);
}

const struct tg_answer *tg_resolver_ask(struct tg_resolver *resolver, struct tg_str name,
                                        enum tg_question question, struct tg_lookup *lookup)
{
    struct key key;
    make_key(&key, name, question);
    const struct tg_answer *known = find(resolver, &key);
    if (known != NULL && is_fresh(known, now_of(resolver), lookup->max_age))
        return known;
    struct tg_query *query = query_for(resolver, &key, question);
    if (query == NULL)
        return answer_failed(resolver);
    send_queued(resolver);
    if (!query->sent && resolver->under_way == 0) { /* nobody would send it later */
        if (tg_list_is_empty(&query->lookups))
            free_query(query);
        return answer_failed(resolver);
    }
    tg_list_push_back(&query->lookups, &lookup->link);
    return NULL;
}

const struct tg_answer *tg_resolver_recall(struct tg_resolver *resolver, struct tg_str name,
                                           enum tg_question question)
{
    struct key key;
    make_key(&key, name, question);
    const struct tg_answer *known = find(resolver, &key);
    return known != NULL && known->kind == TG_ANSWER_RECORDS && now_of(resolver) < known->useful
               ? known
               : NULL;
}

void tg_resolver_cancel(struct tg_lookup *lookup)
{
    if (lookup->link.next != NULL)
        tg_list_remove(&lookup->link);
}

/* ---- Answers -----------------------------------------------------------------------------------
 */

static void count(struct tg_resolver *resolver, const struct tg_answer *answer)
{
    static const enum tg_metric_id ids[] = {
        [TG_ANSWER_FAILED] = TG_METRIC_DNS_FAILED,
        [TG_ANSWER_NONE] = TG_METRIC_DNS_NONE,
        [TG_ANSWER_RECORDS] = TG_METRIC_DNS_FOUND,
    };
    tg_metric_inc(resolver->worker->cells, ids[answer->kind]);
}

/* What is kept of `answer`, in the cache; with stale records where there is no better. */
static struct tg_answer *settle(struct tg_resolver *resolver, const struct key *key,
                                const struct tg_answer *answer)
{
    uint64_t now = now_of(resolver);
    struct tg_answer *old = find(resolver, key);
    bool failed = answer->kind == TG_ANSWER_FAILED;
    if (failed && old != NULL && old->kind == TG_ANSWER_RECORDS && now < old->useful) {
        old->stale = true;
        old->problem = answer->problem;
        old->until = now + TG_RESOLVER_RETRY;
        tg_metric_inc(resolver->worker->cells, TG_METRIC_DNS_STALE);
        return old;
    }
    struct tg_answer *kept = keep(resolver, key, answer);
    if (kept == NULL)
        return NULL;
    uint64_t ttl = failed ? TG_RESOLVER_RETRY
                          : TG_MIN(TG_MAX(answer->ttl, resolver->ttl_min), resolver->ttl_max);
    kept->stale = false;
    kept->since = now;
    kept->until = now + ttl;
    kept->useful = kept->until + resolver->stale;
    return kept;
}

/* A copy that stays while those who wait are told, whatever they ask meanwhile. */
static struct tg_answer *copy_of(const struct tg_answer *answer)
{
    struct tg_answer *copy = tg_mem_alloc(TG_MEM_CONNECTION, size_of(answer));
    if (copy != NULL)
        memcpy(copy, answer, size_of(answer));
    return copy;
}

/* The query is over: all who wait for it are told, of `answer` or, where it is NULL, of a failure.
 */
static void tell(struct tg_query *query, const struct tg_answer *answer)
{
    struct tg_resolver *resolver = query->resolver;
    struct tg_list told;
    tg_list_init(&told);
    TG_LIST_FOREACH(&query->lookups, it)
    {
        tg_list_remove(it);
        tg_list_push_back(&told, it);
    }
    free_query(query);
    while (!tg_list_is_empty(&told)) {
        struct tg_lookup *lookup = TG_LIST_ENTRY(told.next, struct tg_lookup, link);
        tg_list_remove(&lookup->link);
        lookup->on_answer(lookup, answer != NULL ? answer : answer_failed(resolver));
    }
}

void tg_resolver_settle(struct tg_query *query, const struct tg_answer *answer)
{
    struct key key;
    struct tg_resolver *resolver = query->resolver;
    tg_assert(query->sent && answer->n <= TG_ANSWER_MAX);
    make_key(&key, tg_str_c(query->name), query->question);
    count(resolver, answer);
    struct tg_answer *kept = settle(resolver, &key, answer);
    struct tg_answer *copy = kept != NULL ? copy_of(kept) : NULL;
    tg_limit_note(dns_queries, --resolver->under_way);
    tell(query, copy);
    tg_mem_free(TG_MEM_CONNECTION, copy);
    send_queued(resolver);
    /* With none on its way no answer would send the others either. */
    while (resolver->under_way == 0 && !tg_list_is_empty(&resolver->queries))
        tell(TG_LIST_ENTRY(resolver->queries.next, struct tg_query, link), NULL);
}
