/* pattern_set.c: the table of character classes, and sets from their text.
 *
 * The table is constant and indexed by the letter behind the '%', in both cases; classes hold ASCII
 * only, whatever the locale says. A set's text is read twice, once for its end and once for its
 * members: both are linear, and the matcher charges them to its budget.
 */
#include "base/banned.h"
#include "script/pattern_set.h"

/* Classes hold ASCII only, so the upper two words are empty, and full in the complement. */
#define CLASS(letter, lo, hi)                                                                      \
    [letter] = {{UINT64_C(lo), UINT64_C(hi), 0, 0}},                                               \
    [(letter)-0x20] = {{~UINT64_C(lo), ~UINT64_C(hi), UINT64_MAX, UINT64_MAX}}

/* Indexed by the letter behind the '%'; no class has an empty complement, so an all-zero entry
 * means that the letter names none. %g, the visible characters, is LuaJIT's addition. */
const struct tg_pattern_set tg_pattern_classes[128] = {
    CLASS('a', 0x0, 0x07fffffe07fffffe),
    CLASS('c', 0x00000000ffffffff, 0x8000000000000000),
    CLASS('d', 0x03ff000000000000, 0x0),
    CLASS('g', 0xfffffffe00000000, 0x7fffffffffffffff),
    CLASS('l', 0x0, 0x07fffffe00000000),
    CLASS('p', 0xfc00fffe00000000, 0x78000001f8000001),
    CLASS('s', 0x0000000100003e00, 0x0),
    CLASS('u', 0x0, 0x0000000007fffffe),
    CLASS('w', 0x03ff000000000000, 0x07fffffe07fffffe),
    CLASS('x', 0x03ff000000000000, 0x0000007e0000007e),
    CLASS('z', 0x0000000000000001, 0x0),
};

static inline void add(struct tg_pattern_set *set, uint8_t c)
{
    set->bits[c >> 6] |= UINT64_C(1) << (c & 63);
}

/* All from `low` to `high`, a word at a time: a range costs no more than its three bytes. */
static void add_range(struct tg_pattern_set *set, unsigned low, unsigned high)
{
    for (unsigned first = low & ~63u; first <= high; first += 64) {
        uint64_t from = UINT64_MAX << (low > first ? low - first : 0);
        uint64_t to = UINT64_MAX >> (high < first + 63 ? first + 63 - high : 0);
        set->bits[first >> 6] |= from & to;
    }
}

const uint8_t *tg_pattern_set_end(const uint8_t *p, const uint8_t *pattern_end)
{
    p++;
    if (p < pattern_end && *p == '^')
        p++;
    do {
        if (p >= pattern_end)
            return NULL;
        if (*p++ == '%' && p < pattern_end)
            p++;
    } while (p >= pattern_end || *p != ']');
    return p + 1;
}

void tg_pattern_set_init(struct tg_pattern_set *set, const uint8_t *p, const uint8_t *end)
{
    const uint8_t *last = end - 1;
    bool complement = p[1] == '^';

    memset(set, 0, sizeof(*set));
    for (p += 1 + complement; p < last; p++) {
        if (*p == '%') {
            const struct tg_pattern_set *class = tg_pattern_class(*++p);
            for (int i = 0; class != NULL && i < 4; i++)
                set->bits[i] |= class->bits[i];
            if (class == NULL)
                add(set, *p);
        } else if (p + 2 < last && p[1] == '-') {
            add_range(set, p[0], p[2]);
            p += 2;
        } else {
            add(set, *p);
        }
    }
    for (int i = 0; complement && i < 4; i++)
        set->bits[i] = ~set->bits[i];
}
