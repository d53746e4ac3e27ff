/* pace.h: how long the answers of a service took of late, as a distribution.
 *
 * Two histograms take turns: one fills for TG_PACE_WINDOW, the other has what came before. A
 * quantile is of both together, so it is of one to two windows, and is worked out again a few times
 * a second at most.
 *
 * One thread. Memory: some 9 KiB. Cost: recording is some ns, a quantile some 2 us when it is
 * worked out.
 */
#ifndef TG_UPSTREAM_PACE_H
#define TG_UPSTREAM_PACE_H

#include "base/clock.h"
#include "observe/histogram.h"

#define TG_PACE_WINDOW (30 * TG_USEC_PER_SEC)
#define TG_PACE_ENOUGH 100u /* answers without which nothing is said */

struct tg_pace;

/* NULL: no memory. */
struct tg_pace *tg_pace_new(void) TG_MUST_USE;
void tg_pace_free(struct tg_pace **pace);

/* An answer took `us`, and was there at `now` (us). */
void tg_pace_record(struct tg_pace *pace, uint64_t us, uint64_t now);

/* The time in us that a share `q` (0..1) of the answers did not exceed; 0: too few of late. */
uint64_t tg_pace_quantile(struct tg_pace *pace, double q, uint64_t now);

#endif
