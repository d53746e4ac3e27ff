/* utf8.h: UTF-8 validity (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef TG_BASE_UTF8_H
#define TG_BASE_UTF8_H

#include "base/defs.h"

/* Length (1..4) of the valid sequence that starts at `p`, or 0 when there is none in `n` bytes. */
size_t tg_utf8_len(const char *p, size_t n);

#endif
