/* breaker.c: see breaker.h. */
#include "base/banned.h"
#include "upstream/breaker.h"

static void move(struct tg_breaker *b, enum tg_breaker_state to, uint64_t now)
{
    b->state = to;
    b->since = now;
    b->out = b->passed = 0;
    if (to == TG_BREAKER_OPEN)
        b->opened++;
    if (to == TG_BREAKER_CLOSED)
        tg_window_reset(&b->window);
}

static bool is_over(const struct tg_breaker *b, const struct tg_breaker_conf *conf, uint64_t now)
{
    return now >= b->since + conf->cooldown;
}

bool tg_breaker_would_allow(const struct tg_breaker *breaker, const struct tg_breaker_conf *conf,
                            uint64_t now)
{
    switch (breaker->state) {
    case TG_BREAKER_CLOSED:
        return true;
    case TG_BREAKER_OPEN:
        return is_over(breaker, conf, now);
    case TG_BREAKER_HALF_OPEN:
        return breaker->out < conf->probes || is_over(breaker, conf, now);
    }
    return true;
}

bool tg_breaker_allow(struct tg_breaker *breaker, const struct tg_breaker_conf *conf, uint64_t now,
                      bool *probe)
{
    *probe = false;
    if (conf->ratio <= 0 || breaker->state == TG_BREAKER_CLOSED)
        return true;
    if (!tg_breaker_would_allow(breaker, conf, now))
        return false;
    if (breaker->state == TG_BREAKER_OPEN)
        move(breaker, TG_BREAKER_HALF_OPEN, now);
    if (breaker->out >= conf->probes)
        breaker->out = 0; /* given up: nothing was heard of them for a whole cooldown */
    breaker->out++;
    breaker->since = now;
    *probe = true;
    return true;
}

static bool record_probe(struct tg_breaker *b, const struct tg_breaker_conf *conf, uint64_t now,
                         bool good)
{
    if (b->state != TG_BREAKER_HALF_OPEN)
        return false; /* another probe has decided meanwhile */
    if (!good) {
        move(b, TG_BREAKER_OPEN, now);
        return true;
    }
    b->out -= b->out > 0;
    if (++b->passed >= conf->probes)
        move(b, TG_BREAKER_CLOSED, now);
    return false;
}

bool tg_breaker_record(struct tg_breaker *breaker, const struct tg_breaker_conf *conf, uint64_t now,
                       bool good, bool probe)
{
    if (conf->ratio <= 0)
        return false;
    if (probe)
        return record_probe(breaker, conf, now, good);
    if (breaker->state != TG_BREAKER_CLOSED)
        return false; /* it began before the breaker opened */
    tg_window_add(&breaker->window, conf->window, now, good);
    uint64_t bad = breaker->window.all_bad;
    uint64_t all = bad + breaker->window.all_good;
    if (good || all < conf->volume || (double)bad < conf->ratio * (double)all)
        return false;
    move(breaker, TG_BREAKER_OPEN, now);
    return true;
}

void tg_breaker_cancel(struct tg_breaker *breaker, bool probe)
{
    if (probe && breaker->state == TG_BREAKER_HALF_OPEN)
        breaker->out -= breaker->out > 0;
}

const char *tg_breaker_label(enum tg_breaker_state state)
{
    static const char *const labels[] = {"closed", "open", "half-open"};
    return labels[state];
}
