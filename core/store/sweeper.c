/* sweeper.c: see sweeper.h. */
#include "base/banned.h"
#include "store/sweeper.h"

static void on_timer(struct tg_timer *timer)
{
    struct tg_sweeper *sweeper = TG_CONTAINER_OF(timer, struct tg_sweeper, timer);
    uint64_t now = tg_loop_now(sweeper->loop);
    bool done = tg_zones_sweep(sweeper->zones, now, TG_SWEEPER_SLICE);
    tg_timer_set(timer, now + (done ? TG_SWEEPER_PERIOD : TG_SWEEPER_REST));
}

enum tg_err tg_sweeper_init(struct tg_sweeper *sweeper, struct tg_loop *loop,
                            struct tg_zones *zones)
{
    sweeper->loop = loop;
    sweeper->zones = zones;
    enum tg_err err = tg_timer_init(&sweeper->timer, &loop->timers, on_timer);
    if (err == TG_OK)
        tg_timer_set(&sweeper->timer, tg_loop_now(loop) + TG_SWEEPER_PERIOD);
    return err;
}

void tg_sweeper_release(struct tg_sweeper *sweeper)
{
    tg_timer_release(&sweeper->timer);
}
