/* exposition.c: see exposition.h. */
#include "base/banned.h"
#include "observe/exposition.h"

#include "base/clock.h"
#include "base/utf8.h"

#include <inttypes.h>

/* Text on one line; `escaped` are the characters that take a backslash. */
static void write_text(struct tg_fmt *f, struct tg_str text, const char *escaped)
{
    for (size_t i = 0; i < text.n;) {
        char c = text.p[i];
        size_t n = tg_utf8_len(text.p + i, text.n - i);
        if (c != '\0' && strchr(escaped, c) != NULL)
            tg_fmt_char(f, '\\');
        if (n > 1)
            tg_fmt_add(f, tg_str_sub(text, i, i + n));
        else
            tg_fmt_char(f, n == 0 ? '?' : (unsigned char)c < ' ' ? ' ' : c);
        i += TG_MAX(n, (size_t)1);
    }
}

void tg_exposition_head(struct tg_fmt *f, struct tg_str family, const char *kind,
                        struct tg_str help)
{
    tg_fmt_printf(f, "# HELP %.*s ", TG_STR_ARG(family));
    write_text(f, help, "\\");
    tg_fmt_printf(f, "\n# TYPE %.*s %s\n", TG_STR_ARG(family), kind);
}

void tg_exposition_label(struct tg_fmt *f, struct tg_str value)
{
    write_text(f, value, "\"\\");
}

void tg_exposition_seconds(struct tg_fmt *f, uint64_t us)
{
    tg_fmt_printf(f, "%" PRIu64 ".%06u", us / TG_USEC_PER_SEC, (unsigned)(us % TG_USEC_PER_SEC));
}
