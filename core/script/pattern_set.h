/* pattern_set.h: sets of bytes for Lua patterns: the classes (%a, %D, ...) and [...].
 *
 * A set is 256 bits; asking it is a shift. The classes are those of Lua 5.1 and LuaJIT's %g
 * (visible characters), in ASCII. Texts are slices with an explicit end and may hold zero bytes.
 * Pure functions on the caller's memory; any thread.
 */
#ifndef TG_SCRIPT_PATTERN_SET_H
#define TG_SCRIPT_PATTERN_SET_H

#include "base/defs.h"

/* Members of a set, one bit for each byte value. */
struct tg_pattern_set {
    uint64_t bits[4];
};

/* By the letter behind the '%': a complement has the upper case letter. All zeroes: no class. */
extern const struct tg_pattern_set tg_pattern_classes[128];

static inline bool tg_pattern_set_has(const struct tg_pattern_set *set, uint8_t c)
{
    return (set->bits[c >> 6] >> (c & 63)) & 1;
}

/* The class that `%c` stands for, static storage, or NULL where it stands for the character. */
static inline const struct tg_pattern_set *tg_pattern_class(uint8_t c)
{
    if (c >= TG_COUNT_OF(tg_pattern_classes))
        return NULL;
    const struct tg_pattern_set *set = &tg_pattern_classes[c];
    return (set->bits[0] | set->bits[1]) != 0 ? set : NULL;
}

/* Behind the ']' that closes the set whose '[' is at `p`; NULL when there is none before
 * `pattern_end`. A ']' as the first member, also after '^', does not close. */
const uint8_t *tg_pattern_set_end(const uint8_t *p, const uint8_t *pattern_end);

/* Fills `set` from its text [p, end), from '[' to ']', as tg_pattern_set_end() found it. */
void tg_pattern_set_init(struct tg_pattern_set *set, const uint8_t *p, const uint8_t *end);

#endif
