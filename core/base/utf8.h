/* utf8.h: UTF-8 validity (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef TG_BASE_UTF8_H
#define TG_BASE_UTF8_H

#include "base/defs.h"

/* Text that comes in pieces, which may end in the middle of a sequence. Zeroes: nothing came yet.
 */
struct tg_utf8 {
    uint8_t need;      /* bytes that the sequence that has begun lacks; 0: the text may end here */
    uint8_t low, high; /* private: what the next of them may be */
};

/* Takes the next `n` bytes; false as soon as no bytes that follow could make the text valid. */
bool tg_utf8_take(struct tg_utf8 *state, const char *p, size_t n) TG_MUST_USE;

/* Length (1..4) of the valid sequence that starts at `p`, or 0 when there is none in `n` bytes. */
size_t tg_utf8_len(const char *p, size_t n);

#endif
