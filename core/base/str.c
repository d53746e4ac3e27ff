/* str.c: the longer functions on slices. */
#include "base/banned.h"
#include "base/str.h"

bool tg_str_eq_nocase(struct tg_str a, struct tg_str b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++) {
        if (a.p[i] != b.p[i] && tg_char_lower(a.p[i]) != tg_char_lower(b.p[i]))
            return false;
    }
    return true;
}

struct tg_str tg_str_trim_all(struct tg_str s)
{
    while (s.n > 0 && tg_char_is_blank(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && tg_char_is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

bool tg_str_next_item(struct tg_str *list, struct tg_str *item)
{
    while (list->n > 0) {
        size_t comma = tg_str_find(*list, ',', 0);
        *item = tg_str_trim(tg_str_sub(*list, 0, comma));
        *list = tg_str_sub(*list, comma + 1, list->n);
        if (item->n > 0)
            return true;
    }
    return false;
}

bool tg_str_to_u64(struct tg_str s, uint64_t *out)
{
    uint64_t value = 0;
    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned digit = (unsigned)(unsigned char)s.p[i] - '0';
        if (digit > 9 || value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}
