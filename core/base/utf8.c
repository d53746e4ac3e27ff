/* utf8.c: sequences by the table of RFC 3629, section 4. */
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

/* Bytes at `p` that are ASCII, eight at a time. */
static size_t skip_ascii(const unsigned char *p, size_t n)
{
    size_t at = 0;
    for (uint64_t eight; n - at >= sizeof(eight); at += sizeof(eight)) {
        memcpy(&eight, p + at, sizeof(eight));
        if ((eight & UINT64_C(0x8080808080808080)) != 0)
            break;
    }
    while (at < n && p[at] < 0x80)
        at++;
    return at;
}

/* What follows a lead byte; false when it is none. */
static bool begin(struct tg_utf8 *state, unsigned char lead)
{
    state->low = 0x80;
    state->high = 0xbf;
    if (in(lead, 0xc2, 0xdf)) {
        state->need = 1;
    } else if (in(lead, 0xe0, 0xef)) {
        state->need = 2;
        state->low = lead == 0xe0 ? 0xa0 : 0x80;
        state->high = lead == 0xed ? 0x9f : 0xbf;
    } else if (in(lead, 0xf0, 0xf4)) {
        state->need = 3;
        state->low = lead == 0xf0 ? 0x90 : 0x80;
        state->high = lead == 0xf4 ? 0x8f : 0xbf;
    } else {
        return false;
    }
    return true;
}

bool tg_utf8_take(struct tg_utf8 *state, const char *p, size_t n)
{
    const unsigned char *s = (const unsigned char *)p;
    for (size_t i = 0; i < n; i++) {
        if (state->need > 0) {
            if (!in(s[i], state->low, state->high))
                return false;
            *state = (struct tg_utf8){(uint8_t)(state->need - 1), 0x80, 0xbf};
            continue;
        }
        i += skip_ascii(s + i, n - i);
        if (i < n && !begin(state, s[i]))
            return false;
    }
    return true;
}
