/*
 * What choosing a target costs: one pick among 100, for every algorithm, with equal weights and
 * with different ones. Prints `bench <name> <value> <unit>` lines: CPU time of this thread, the
 * least of five rounds; balance.pick_ns.100 is the worst of them all.
 */
#include "base/banned.h"
#include "upstream/balance.h"

#include "base/assert.h"
#include "base/clock.h"

#include <stdio.h>

#define TARGETS 100u
#define ROUNDS  5
#define PICKS   UINT64_C(300000)

static struct tg_balance_target targets[TARGETS];
static char names[TARGETS][24];

static double measure(struct tg_balance *balance)
{
    struct tg_rand rand;
    double least = 1e9;
    tg_rand_init_seed(&rand, 1);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t sum = 0;
        uint64_t start = tg_clock_thread_cpu();
        for (uint64_t i = 0; i < PICKS; i++) {
            struct tg_balance_ask ask = {
                .now = 1, .key = i * UINT64_C(0x9e3779b97f4a7c15), .keyed = true, .rand = &rand};
            uint32_t index;
            tg_assert(tg_balance_pick(balance, &ask, &index) == TG_OK);
            sum += index;
        }
        double ns = (double)(tg_clock_thread_cpu() - start) * 1e3 / (double)PICKS;
        tg_assert(sum > 0);
        least = TG_MIN(least, ns);
    }
    return least;
}

static double measure_kind(struct tg_registry *registry, enum tg_balance_kind kind, bool equal)
{
    struct tg_policy policy = {.balance = {.kind = kind, .bound = 1.25, .panic = 0.3}};
    struct tg_balance_options options = {
        .registry = registry, .service = TG_STR("bench"), .policy = &policy, .now = 1};
    for (uint32_t i = 0; i < TARGETS; i++)
        targets[i].weight = equal ? 1 : 1 + i % 5;
    struct tg_balance *balance = tg_balance_new(&options, targets, TARGETS);
    tg_assert(balance != NULL);
    for (uint32_t i = 0; i < TARGETS; i++) {
        struct tg_origin *origin = tg_balance_origin(balance, i);
        origin->in_flight = 3 + i % 4;
        tg_origin_note_latency(origin, 1000 + i, 1);
    }
    tg_balance_fleet(balance)->in_flight = TARGETS * 5;
    double ns = measure(balance);
    tg_balance_unref(&balance, 1);
    return ns;
}

int main(void)
{
    static const char *const kinds[] = {"round_robin", "least_requests", "latency", "hash",
                                        "random"};
    struct tg_registry *registry = tg_registry_new();
    double worst = 0;
    tg_assert(registry != NULL);
    for (uint32_t i = 0; i < TARGETS; i++) {
        snprintf(names[i], sizeof(names[i]), "10.0.0.%u:80", i);
        targets[i].name = tg_str_c(names[i]);
    }
    for (int kind = TG_BALANCE_ROUND_ROBIN; kind <= TG_BALANCE_RANDOM; kind++) {
        double equal = measure_kind(registry, (enum tg_balance_kind)kind, true);
        double weighted = measure_kind(registry, (enum tg_balance_kind)kind, false);
        printf("bench balance.pick_ns.100.%s %.1f ns\n", kinds[kind], equal);
        printf("bench balance.pick_ns.100.%s.weighted %.1f ns\n", kinds[kind], weighted);
        worst = TG_MAX(worst, TG_MAX(equal, weighted));
    }
    printf("bench balance.pick_ns.100 %.1f ns\n", worst);
    tg_registry_unref(&registry);
    return 0;
}
