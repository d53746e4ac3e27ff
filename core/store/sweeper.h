/* sweeper.h: drops what has expired from all zones, regularly and in small slices.
 *
 * An expired entry is dropped when somebody asks for it; those for which nobody asks take room
 * until a sweep. Every TG_SWEEPER_PERIOD one begins; it works for TG_SWEEPER_SLICE at a time and
 * rests for TG_SWEEPER_REST, so that neither the loop nor a shard's lock is held for long.
 *
 * One thread: the loop's.
 */
#ifndef TG_STORE_SWEEPER_H
#define TG_STORE_SWEEPER_H

#include "event/loop.h"
#include "store/zone.h"

#define TG_SWEEPER_PERIOD (UINT64_C(300) * TG_USEC_PER_SEC)
#define TG_SWEEPER_SLICE  (UINT64_C(1) * TG_USEC_PER_MSEC)
#define TG_SWEEPER_REST   (UINT64_C(10) * TG_USEC_PER_MSEC)

struct tg_sweeper {
    /* private */
    struct tg_timer timer;
    struct tg_loop *loop;
    struct tg_zones *zones;
};

/* Sweeps `zones` from `loop`; both borrowed until the release. TG_E_NOMEM. */
enum tg_err tg_sweeper_init(struct tg_sweeper *sweeper, struct tg_loop *loop,
                            struct tg_zones *zones) TG_MUST_USE;

/* Allowed on a zeroed one and twice. */
void tg_sweeper_release(struct tg_sweeper *sweeper);

#endif
