/* histogram.c: from a value to its bucket and back.
 *
 * For a value v of b bits, b > SUB_BITS, the highest SUB_BITS + 1 bits name the bucket: the first
 * is 1 and gives the octave together with b, the others are the place within it. So the index is (b
 * - SUB_BITS - 1) octaves of 16 buckets, plus those five bits read as a number of 16 to 31; for
 * smaller values it is the value. The last bucket holds what is beyond the range.
 */
#include "base/banned.h"
#include "observe/histogram.h"

#include "base/assert.h"

#include <math.h>

#define SUB_BITS  TG_HISTOGRAM_SUB_BITS
#define SUB_COUNT (1u << SUB_BITS)
#define LAST      (TG_HISTOGRAM_BUCKETS - 1)

static inline unsigned bucket_of(uint64_t value)
{
    if (value < SUB_COUNT)
        return (unsigned)value;
    unsigned shift = 63u - (unsigned)__builtin_clzll(value) - SUB_BITS;
    unsigned index = shift * SUB_COUNT + (unsigned)(value >> shift);
    return TG_MIN(index, (unsigned)LAST);
}

/* The smallest value of a bucket, and how many values it has. */
static uint64_t bucket_start(unsigned index, uint64_t *width)
{
    unsigned octave = index >> SUB_BITS;
    unsigned shift = octave > 1 ? octave - 1 : 0;
    *width = UINT64_C(1) << shift;
    return (uint64_t)(index - shift * SUB_COUNT) << shift;
}

static inline uint64_t get(const _Atomic uint64_t *cell)
{
    return atomic_load_explicit(cell, memory_order_relaxed);
}

static inline void add(_Atomic uint64_t *cell, uint64_t n)
{
    atomic_store_explicit(cell, get(cell) + n, memory_order_relaxed);
}

static inline void raise_to(_Atomic uint64_t *cell, uint64_t value)
{
    if (value > get(cell))
        atomic_store_explicit(cell, value, memory_order_relaxed);
}

void tg_histogram_init(struct tg_histogram *h)
{
    memset(h, 0, sizeof(*h));
}

void tg_histogram_record(struct tg_histogram *h, uint64_t value)
{
    add(&h->counts[bucket_of(value)], 1);
    add(&h->sum, value);
    raise_to(&h->max, value);
}

void tg_histogram_merge(struct tg_histogram *to, const struct tg_histogram *from)
{
    for (unsigned i = 0; i < TG_HISTOGRAM_BUCKETS; i++)
        add(&to->counts[i], get(&from->counts[i]));
    add(&to->sum, get(&from->sum));
    raise_to(&to->max, get(&from->max));
}

static uint64_t count_up_to(const struct tg_histogram *h, unsigned buckets)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < buckets; i++)
        count += get(&h->counts[i]);
    return count;
}

uint64_t tg_histogram_count(const struct tg_histogram *h)
{
    return count_up_to(h, TG_HISTOGRAM_BUCKETS);
}

uint64_t tg_histogram_sum(const struct tg_histogram *h)
{
    return get(&h->sum);
}

uint64_t tg_histogram_max(const struct tg_histogram *h)
{
    return get(&h->max);
}

uint64_t tg_histogram_count_below(const struct tg_histogram *h, unsigned bits)
{
    tg_assert(bits <= TG_HISTOGRAM_MAX_BITS);
    return count_up_to(h, bucket_of(UINT64_C(1) << bits));
}

uint64_t tg_histogram_quantile(const struct tg_histogram *h, double q)
{
    uint64_t total = tg_histogram_count(h);
    uint64_t seen = 0;
    uint64_t width;
    tg_assert(q >= 0 && q <= 1);
    uint64_t rank = (uint64_t)ceil(q * (double)total);
    if (q >= 1 || total == 0)
        return tg_histogram_max(h);
    for (unsigned i = 0; i < LAST; i++) {
        seen += get(&h->counts[i]);
        if (seen < TG_MAX(rank, 1))
            continue;
        uint64_t start = bucket_start(i, &width);
        return TG_MIN(start + width / 2, tg_histogram_max(h));
    }
    return tg_histogram_max(h);
}
