/* dns_fixture.h: a worker with a fake clock, and a source that answers what the test says. */
#ifndef DNS_FIXTURE_H
#define DNS_FIXTURE_H

#include "observe/metrics.h"
#include "upstream/resolver.h"

#include "support.h"

#define SEC       TG_USEC_PER_SEC
#define ASKED_MAX 64u

static struct tg_worker worker;
static struct tg_metrics *metrics;
static struct tg_limits limits;
static struct tg_resolver *resolver;
static struct tg_query *asked[ASKED_MAX]; /* that the source has, the first asked first */
static uint32_t asked_count;
static uint32_t sent; /* in all */
static bool source_fails;

static enum tg_err send_query(void *arg, struct tg_query *query)
{
    (void)arg;
    if (source_fails)
        return TG_E_NOMEM;
    assert_true(asked_count < ASKED_MAX);
    asked[asked_count++] = query;
    sent++;
    return TG_OK;
}

static void drop_all(void *arg)
{
    (void)arg;
    asked_count = 0;
}

static const struct tg_resolver_source source = {send_query, drop_all, NULL};

static TG_UNUSED int dns_setup(void **state)
{
    (void)state;
    asked_count = sent = 0;
    source_fails = false;
    metrics = tg_metrics_new(1);
    if (metrics == NULL || tg_worker_init(&worker, 0, tg_metrics_cells(metrics, 0)) != TG_OK)
        return -1;
    tg_clock_init_fake(&worker.loop.clock, 1000 * SEC);
    tg_limits_init(&limits);
    resolver = tg_resolver_new(&worker, &source, &limits);
    return resolver != NULL ? 0 : -1;
}

static TG_UNUSED int dns_teardown(void **state)
{
    (void)state;
    tg_resolver_free(&resolver);
    tg_worker_release(&worker);
    tg_metrics_free(&metrics);
    return tg_mem_used(TG_MEM_CONNECTION) == 0 ? 0 : -1;
}

static TG_UNUSED void run_deferred(void)
{
    tg_loop_run_deferred(&worker.loop);
}

static TG_UNUSED void move(uint64_t us)
{
    tg_clock_advance(&worker.loop.clock, us);
    tg_timers_tick(&worker.loop.timers, worker.loop.clock.mono);
    run_deferred();
}

/* An answer in the making; of one test at a time. */
static union {
    struct tg_answer answer;
    char room[sizeof(struct tg_answer) + TG_ANSWER_MAX * sizeof(struct tg_record)];
} made;

static TG_UNUSED struct tg_answer *answer_new(enum tg_answer_kind kind, uint64_t ttl)
{
    memset(&made, 0, sizeof(made));
    made.answer.kind = kind;
    made.answer.ttl = ttl;
    made.answer.problem = kind == TG_ANSWER_RECORDS ? NULL : "made up";
    return &made.answer;
}

static TG_UNUSED void answer_add(const char *ip)
{
    struct tg_record *record = &made.answer.records[made.answer.n++];
    assert_int_equal(tg_addr_parse_ip(tg_str_c(ip), &record->addr), TG_OK);
}

static TG_UNUSED void answer_add_server(const char *target, uint16_t port, uint16_t priority,
                                        uint16_t weight)
{
    struct tg_record *record = &made.answer.records[made.answer.n++];
    *record = (struct tg_record){.port = port, .priority = priority, .weight = weight};
    snprintf(record->target, sizeof(record->target), "%s", target);
}

/* Settles the query for `name`, which the source must have, with what was made. */
static TG_UNUSED void settle(const char *name)
{
    for (uint32_t i = 0; i < asked_count; i++) {
        if (strcmp(asked[i]->name, name) != 0)
            continue;
        struct tg_query *query = asked[i];
        memmove(&asked[i], &asked[i + 1], (asked_count - i - 1) * sizeof(asked[0]));
        asked_count--;
        tg_resolver_settle(query, &made.answer);
        run_deferred();
        return;
    }
    fail_msg("nobody asks for %s", name);
}

#endif
