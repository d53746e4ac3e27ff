/* json.c: see json.h. Strings are copied in runs of bytes that need no escape. */
#include "base/banned.h"
#include "base/json.h"

#include "base/utf8.h"

#include <math.h>

void tg_json_init(struct tg_json *j, struct tg_fmt *f)
{
    *j = (struct tg_json){.f = f};
}

static void element(struct tg_json *j)
{
    if (j->comma)
        tg_fmt_char(j->f, ',');
    j->comma = true;
}

static void begin(struct tg_json *j, char c)
{
    element(j);
    tg_fmt_char(j->f, c);
    j->comma = false;
}

static void end(struct tg_json *j, char c)
{
    tg_fmt_char(j->f, c);
    j->comma = true;
}

void tg_json_begin_object(struct tg_json *j)
{
    begin(j, '{');
}

void tg_json_end_object(struct tg_json *j)
{
    end(j, '}');
}

void tg_json_begin_array(struct tg_json *j)
{
    begin(j, '[');
}

void tg_json_end_array(struct tg_json *j)
{
    end(j, ']');
}

static void escape(struct tg_fmt *f, unsigned char c)
{
    static const char letters[] = "btn\0fr"; /* for 8, 9, 10, 12, 13 */
    char letter = c >= 8 && c <= 13 ? letters[c - 8] : '\0';
    if (c == '"' || c == '\\')
        letter = (char)c;
    tg_fmt_char(f, '\\');
    if (letter != '\0') {
        tg_fmt_char(f, letter);
        return;
    }
    tg_fmt_lit(f, "u");
    tg_fmt_hex(f, c, 4);
}

void tg_json_text(struct tg_fmt *f, struct tg_str s)
{
    size_t from = 0;
    size_t i = 0;
    while (i < s.n) {
        unsigned char c = (unsigned char)s.p[i];
        if (c >= 0x20 && c != '"' && c != '\\' && c < 0x80) {
            i++;
            continue;
        }
        size_t len = c < 0x80 ? 0 : tg_utf8_len(s.p + i, s.n - i);
        if (len > 0) {
            i += len;
            continue;
        }
        tg_fmt_add(f, tg_str_sub(s, from, i));
        if (c < 0x80)
            escape(f, c);
        else
            tg_fmt_lit(f, "\xef\xbf\xbd");
        from = ++i;
    }
    tg_fmt_add(f, tg_str_sub(s, from, s.n));
}

static void quoted(struct tg_fmt *f, struct tg_str s)
{
    tg_fmt_char(f, '"');
    tg_json_text(f, s);
    tg_fmt_char(f, '"');
}

void tg_json_key(struct tg_json *j, struct tg_str key)
{
    element(j);
    quoted(j->f, key);
    tg_fmt_char(j->f, ':');
    j->comma = false;
}

void tg_json_str(struct tg_json *j, struct tg_str value)
{
    element(j);
    quoted(j->f, value);
}

void tg_json_u64(struct tg_json *j, uint64_t value)
{
    element(j);
    tg_fmt_u64(j->f, value);
}

void tg_json_i64(struct tg_json *j, int64_t value)
{
    element(j);
    if (value < 0)
        tg_fmt_char(j->f, '-');
    tg_fmt_u64(j->f, value < 0 ? UINT64_C(0) - (uint64_t)value : (uint64_t)value);
}

void tg_json_double(struct tg_json *j, double value)
{
    if (!isfinite(value)) {
        tg_json_null(j);
        return;
    }
    char text[32];
    int digits = 15; /* the fewest that read back as the same number */
    do {
        snprintf(text, sizeof(text), "%.*g", digits, value);
    } while (strtod(text, NULL) != value && digits++ < 17);
    element(j);
    tg_fmt_bytes(j->f, text, strlen(text));
}

void tg_json_bool(struct tg_json *j, bool value)
{
    element(j);
    if (value)
        tg_fmt_lit(j->f, "true");
    else
        tg_fmt_lit(j->f, "false");
}

void tg_json_null(struct tg_json *j)
{
    element(j);
    tg_fmt_lit(j->f, "null");
}

void tg_json_field_str(struct tg_json *j, const char *key, struct tg_str value)
{
    tg_json_key(j, tg_str_c(key));
    tg_json_str(j, value);
}

void tg_json_field_u64(struct tg_json *j, const char *key, uint64_t value)
{
    tg_json_key(j, tg_str_c(key));
    tg_json_u64(j, value);
}
