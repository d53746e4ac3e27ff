/* fmt.c: growth and numbers. */
#include "base/banned.h"
#include "base/fmt.h"

#include <stdarg.h>

void tg_fmt_init(struct tg_fmt *f, char *room, size_t cap)
{
    *f = (struct tg_fmt){.p = room, .cap = cap};
}

void tg_fmt_init_arena(struct tg_fmt *f, struct tg_arena *arena, size_t guess)
{
    *f = (struct tg_fmt){.p = tg_arena_alloc(arena, guess), .cap = guess, .arena = arena};
    if (f->p == NULL) {
        f->cap = 0;
        f->failed = true;
    }
}

char *tg_fmt_reserve(struct tg_fmt *f, size_t n)
{
    if (f->failed) {
        f->missing += n;
        return NULL;
    }
    if (f->cap - f->n >= n)
        return f->p + f->n;
    size_t cap = TG_MAX(f->cap * 2, f->n + n);
    char *grown = f->arena != NULL ? tg_arena_alloc(f->arena, cap) : NULL;
    if (grown == NULL) {
        f->failed = true;
        f->missing = n;
        return NULL;
    }
    if (f->n > 0)
        memcpy(grown, f->p, f->n);
    f->p = grown;
    f->cap = cap;
    return f->p + f->n;
}

void tg_fmt_u64(struct tg_fmt *f, uint64_t value)
{
    char digits[20];
    char *at = digits + sizeof(digits);
    do {
        *--at = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    tg_fmt_bytes(f, at, (size_t)(digits + sizeof(digits) - at));
}

void tg_fmt_hex(struct tg_fmt *f, uint64_t value, unsigned digits)
{
    char text[16];
    unsigned n = 0;
    while (n < sizeof(text) && (value > 0 || n < digits)) {
        n++;
        text[sizeof(text) - n] = "0123456789abcdef"[value & 15];
        value >>= 4;
    }
    tg_fmt_bytes(f, text + sizeof(text) - n, n);
}

void tg_fmt_printf(struct tg_fmt *f, const char *format, ...)
{
    va_list args;
    va_list again;
    va_start(args, format);
    va_copy(again, args);
    size_t room = f->failed ? 0 : f->cap - f->n;
    int need = vsnprintf(room > 0 ? f->p + f->n : NULL, room, format, args);
    va_end(args);
    if (need >= 0 && (size_t)need >= room && tg_fmt_reserve(f, (size_t)need + 1) != NULL)
        vsnprintf(f->p + f->n, f->cap - f->n, format, again);
    va_end(again);
    if (need < 0)
        f->failed = true;
    if (!f->failed)
        f->n += (size_t)need;
}
