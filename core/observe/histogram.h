/* histogram.h: how values are distributed, at a fixed size and cost.
 *
 * Buckets are log-linear: 16 of equal width for each power of two, so a value is known to 1/16 of
 * itself, and its bucket's middle is off by 1/32 (3.2 %) at most. Below 16 every value has a bucket
 * of its own.
 *
 *   0 1 2 ... 15 | 16 17 ... 31 | 32-33 34-35 ... 62-63 | 64-67 ... | ... up to 2^36 - 1
 *
 * 2^36 us are 19 hours, 2^36 bytes 64 GiB; larger values share one more bucket, the sum and
 * the maximum take them as they are.
 *
 * Threads: one thread records; any thread may read or merge meanwhile and sees each bucket at some
 * recent value. Cost of a record: three relaxed loads and stores, a few ns. Size: 4.2 KiB.
 */
#ifndef TG_OBSERVE_HISTOGRAM_H
#define TG_OBSERVE_HISTOGRAM_H

#include "base/defs.h"

#include <stdatomic.h>

#define TG_HISTOGRAM_SUB_BITS 4
#define TG_HISTOGRAM_MAX_BITS 36
#define TG_HISTOGRAM_BUCKETS                                                                       \
    (((TG_HISTOGRAM_MAX_BITS - TG_HISTOGRAM_SUB_BITS + 1) << TG_HISTOGRAM_SUB_BITS) + 1)

/* All zeroes is an empty histogram. */
struct tg_histogram {
    /* private */
    _Atomic uint64_t counts[TG_HISTOGRAM_BUCKETS];
    _Atomic uint64_t sum;
    _Atomic uint64_t max;
};

void tg_histogram_init(struct tg_histogram *h);

/* Counts `value`. */
void tg_histogram_record(struct tg_histogram *h, uint64_t value);

/* Adds all that `from` has counted to `to`, which only the caller writes. */
void tg_histogram_merge(struct tg_histogram *to, const struct tg_histogram *from);

/* How many values were counted, their sum (modulo 2^64) and the largest, 0 when there is none. */
uint64_t tg_histogram_count(const struct tg_histogram *h);
uint64_t tg_histogram_sum(const struct tg_histogram *h);
uint64_t tg_histogram_max(const struct tg_histogram *h);

/* How many values were less than 2^bits, bits <= TG_HISTOGRAM_MAX_BITS: exact, but for values
 * beyond the last bucket when bits is TG_HISTOGRAM_MAX_BITS. */
uint64_t tg_histogram_count_below(const struct tg_histogram *h, unsigned bits);

/* The value that a share `q` (0..1) of all values does not exceed: 0.5 is the median; to 3.2 %. The
 * largest value exactly when q is 1. 0 when nothing was counted. */
uint64_t tg_histogram_quantile(const struct tg_histogram *h, double q);

#endif
