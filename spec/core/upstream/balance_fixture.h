/* balance_fixture.h: a service with some targets, its balancer, and picks by the thousand. */
#ifndef BALANCE_FIXTURE_H
#define BALANCE_FIXTURE_H

#include "upstream/balance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SEC         TG_USEC_PER_SEC
#define TARGETS_MAX 128

struct balance_fixture {
    struct tg_registry *registry;
    struct tg_policy policy;
    struct tg_balance *balance;
    struct tg_balance_target targets[TARGETS_MAX];
    char names[TARGETS_MAX][24];
    uint32_t n;
    struct tg_place place;
    struct tg_rand rand;
    uint64_t now;
    uint32_t hits[TARGETS_MAX]; /* of the last pick_many() */
};

static TG_UNUSED void fixture_begin(struct balance_fixture *f, enum tg_balance_kind kind)
{
    memset(f, 0, sizeof(*f));
    f->registry = tg_registry_new();
    assert_non_null(f->registry);
    f->policy.balance.kind = kind;
    f->now = 1000 * SEC;
    tg_rand_init_seed(&f->rand, 42);
}

static TG_UNUSED void fixture_add(struct balance_fixture *f, uint32_t weight)
{
    uint32_t i = f->n++;
    snprintf(f->names[i], sizeof(f->names[i]), "10.0.%u.%u:80", i / 200, i % 200 + 1);
    f->targets[i].name = tg_str_c(f->names[i]);
    f->targets[i].weight = weight;
}

/* Over the targets but `without` (TARGETS_MAX: all), in place of the one before. */
static TG_UNUSED void fixture_build(struct balance_fixture *f, uint32_t without)
{
    struct tg_balance_target list[TARGETS_MAX];
    struct tg_balance_options options = {f->registry, TG_STR("orders"), &f->policy,
                                         f->place,    f->now,           false};
    uint32_t n = 0;
    for (uint32_t i = 0; i < f->n; i++) {
        if (i != without)
            list[n++] = f->targets[i];
    }
    struct tg_balance *balance = tg_balance_new(&options, list, n);
    assert_non_null(balance);
    tg_balance_unref(&f->balance, f->now);
    f->balance = balance;
}

static TG_UNUSED void fixture_end(struct balance_fixture *f)
{
    tg_balance_unref(&f->balance, f->now);
    tg_registry_unref(&f->registry);
}

static TG_UNUSED uint32_t pick_keyed(struct balance_fixture *f, uint64_t key)
{
    struct tg_balance_ask ask = {.now = f->now, .key = key, .keyed = true, .rand = &f->rand};
    uint32_t index = UINT32_MAX;
    assert_int_equal(tg_balance_pick(f->balance, &ask, &index), TG_OK);
    return index;
}

static TG_UNUSED void pick_many(struct balance_fixture *f, uint32_t times)
{
    memset(f->hits, 0, sizeof(f->hits));
    for (uint32_t i = 0; i < times; i++)
        f->hits[pick_keyed(f, tg_rand_u64(&f->rand))]++;
}

/* The balancer's next refresh sees it so. */
static TG_UNUSED void eject(struct balance_fixture *f, uint32_t index)
{
    struct tg_try_outcome bad = {.told = true};
    struct tg_origin *origin = tg_balance_origin(f->balance, index);
    f->policy.judges = true;
    f->policy.outlier = (struct tg_outlier_conf){
        .failures = 1, .window = 10 * SEC, .eject = 30 * SEC, .eject_max = 300 * SEC, .max_out = 1};
    assert_int_equal(tg_origin_record(origin, &f->policy, f->n, f->now, &bad), TG_CHANGE_EJECTED);
}

#endif
