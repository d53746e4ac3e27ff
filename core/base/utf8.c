/* utf8.c: one sequence, by the table of RFC 3629, section 4. */
#include "base/banned.h"
#include "base/utf8.h"

static bool in(unsigned char c, unsigned char low, unsigned char high)
{
    return c >= low && c <= high;
}

size_t tg_utf8_len(const char *p, size_t n)
{
    const unsigned char *s = (const unsigned char *)p;
    if (n == 0)
        return 0;
    if (s[0] < 0x80)
        return 1;
    if (in(s[0], 0xc2, 0xdf))
        return n >= 2 && in(s[1], 0x80, 0xbf) ? 2 : 0;
    if (in(s[0], 0xe0, 0xef)) {
        unsigned char low = s[0] == 0xe0 ? 0xa0 : 0x80;
        unsigned char high = s[0] == 0xed ? 0x9f : 0xbf;
        return n >= 3 && in(s[1], low, high) && in(s[2], 0x80, 0xbf) ? 3 : 0;
    }
    if (in(s[0], 0xf0, 0xf4)) {
        unsigned char low = s[0] == 0xf0 ? 0x90 : 0x80;
        unsigned char high = s[0] == 0xf4 ? 0x8f : 0xbf;
        bool rest = n >= 4 && in(s[2], 0x80, 0xbf) && in(s[3], 0x80, 0xbf);
        return rest && in(s[1], low, high) ? 4 : 0;
    }
    return 0;
}
