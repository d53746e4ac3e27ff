/*
 * Rates from any bytes: rules as a plugin may give them, costs, keys and times as clients make
 * them. What is checked is what no rule may break: sound rules never overflow (sanitizers watch), a
 * bucket and cells decide alike, what is refused is granted when it was promised, and no window
 * grants more than its limit.
 */
#include "base/banned.h"
#include "limit/table.h"

#include "base/assert.h"

/* us: a table knows the times of nine years (base/map.c), and here for half of them. */
#define LIFE (UINT64_C(1) << 47)

struct input {
    const uint8_t *p;
    size_t n;
};

/* A number of up to `bytes` bytes; zeroes when the input is used up. */
static uint64_t take_number(struct input *in, size_t bytes)
{
    uint64_t value = 0;
    for (; bytes > 0 && in->n > 0; bytes--, in->n--)
        value = value << 8 | *in->p++;
    return value;
}

static struct tg_rate_verdict ask(struct tg_limit_table *table, const struct tg_rate_rule *rule,
                                  struct tg_str key, uint64_t cost, uint64_t now)
{
    struct tg_rate_verdict verdict;
    tg_assert(tg_limit_table_take(table, rule, key, cost, now, &verdict) == TG_OK);
    tg_assert(verdict.allowed == (verdict.retry == 0));
    return verdict;
}

/* The same request under both laws of the same rate. */
static void ask_both(struct tg_limit_table *table, struct tg_rate_rule rule, struct tg_str key,
                     uint64_t cost, uint64_t now)
{
    rule.kind = TG_RATE_BUCKET;
    struct tg_rate_verdict bucket = ask(table, &rule, key, cost, now);
    rule.kind = TG_RATE_GCRA;
    struct tg_rate_verdict cells = ask(table, &rule, key, cost, now);
    tg_assert(bucket.allowed == cells.allowed && bucket.remaining == cells.remaining);
    tg_assert(bucket.retry == cells.retry && bucket.reset == cells.reset);
}

static void play(struct tg_limit_table *table, const struct tg_rate_rule *rule, struct input *in)
{
    uint64_t start = take_number(in, 6), now = start, window = 0, granted = 0;
    while (in->n > 0) {
        size_t n = take_number(in, 1) % 4;
        struct tg_str key = tg_str((const char *)in->p, TG_MIN(in->n, n));
        uint64_t cost = take_number(in, 1 + in->n % 4);
        now += take_number(in, 1 + in->n % 6);
        if (now - start >= LIFE)
            return;
        struct tg_rate_verdict verdict = ask(table, rule, key, cost, now);
        tg_assert(verdict.remaining <= TG_MAX(rule->limit, rule->burst));
        if (verdict.retry != 0 && verdict.retry != TG_RATE_NEVER) {
            now += verdict.retry;
            if (now - start >= LIFE)
                return;
            verdict = ask(table, rule, key, cost, now);
            tg_assert(verdict.allowed);
        }
        if (rule->kind == TG_RATE_FIXED && key.n == 0 && verdict.allowed) {
            granted = now / rule->per == window ? granted + cost : cost;
            window = now / rule->per;
            tg_assert(granted <= rule->limit);
        }
        if (rule->kind >= TG_RATE_BUCKET)
            ask_both(table, *rule, TG_STR("both"), cost, now);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct tg_rate_rule rule = {.kind = (enum tg_rate_kind)(take_number(&in, 1) % TG_RATE_KINDS)};
    rule.limit = (uint32_t)take_number(&in, 1 + in.n % 4);
    rule.burst = (uint32_t)take_number(&in, 1 + in.n % 4);
    rule.per = take_number(&in, 1 + in.n % 6);
    if (tg_rate_rule_check(&rule) != NULL)
        return 0;
    struct tg_limit_table *table = tg_limit_table_new(TG_MEM_COUNTER, (uint64_t)1 << 20);
    tg_assert(table != NULL);
    play(table, &rule, &in);
    tg_limit_table_free(&table);
    return 0;
}
