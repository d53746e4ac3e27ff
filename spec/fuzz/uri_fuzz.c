/*
 * Paths and authorities: normalising what was normalised changes nothing; the result has no dot
 * segment, no escape that could be decoded and no lower-case digit in one, and decodes to UTF-8
 * without a NUL; doubled slashes are gone where they are merged;
 * encoding and decoding are each other's inverse.
 */
#include "http/token.h"
#include "http/uri.h"

#include "base/fmt.h"
#include "base/utf8.h"
#include "http_fuzz.h"

static void check_path(struct tg_str path)
{
    size_t begin = 1;
    tg_assert(path.n > 0 && path.p[0] == '/');
    for (size_t i = 1; i <= path.n; i++) {
        if (i < path.n && path.p[i] != '/')
            continue;
        struct tg_str segment = tg_str_sub(path, begin, i);
        tg_assert(!tg_str_eq(segment, TG_STR(".")) && !tg_str_eq(segment, TG_STR("..")));
        begin = i + 1;
    }
    for (size_t i = 0; i < path.n; i++) {
        if (path.p[i] != '%')
            continue;
        struct tg_str byte = tg_uri_decode(tg_str_sub(path, i, i + 3), false, &arena);
        tg_assert(byte.n == 1 && byte.p[0] != '\0');
        tg_assert(!tg_char_is(byte.p[0], TG_CHAR_UNRESERVED));
        for (size_t k = i + 1; k < i + 3; k++)
            tg_assert(path.p[k] < 'a');
    }
}

static bool is_utf8(struct tg_str text)
{
    size_t n = 1;
    for (size_t at = 0; at < text.n && n > 0; at += n)
        n = tg_utf8_len(text.p + at, text.n - at);
    return n > 0;
}

static void check_normalising(struct tg_str raw, bool merge)
{
    struct tg_str once;
    struct tg_str twice;
    if (raw.n == 0 || raw.p[0] != '/' || !tg_str_all(raw, TG_CHAR_TARGET))
        return;
    enum tg_err err = tg_uri_normalise_path(raw, merge, &arena, &once);
    tg_assert(err == TG_OK || err == TG_E_INVALID);
    if (err != TG_OK)
        return;
    tg_assert(once.n <= raw.n);
    check_path(once);
    tg_assert(!merge || memmem(once.p, once.n, "//", 2) == NULL);
    tg_assert(is_utf8(tg_uri_decode(once, false, &arena)));
    tg_assert(tg_uri_normalise_path(once, merge, &arena, &twice) == TG_OK);
    tg_assert(tg_str_eq(once, twice));
}

static void check_authority(struct tg_str text)
{
    struct tg_str host;
    uint16_t port;
    if (tg_uri_split_authority(text, &host, &port) != TG_OK)
        return;
    tg_assert(host.n > 0 && host.p == text.p && host.n <= text.n);
    tg_assert(host.n == text.n || text.p[host.n] == ':');
    tg_assert(host.p[0] == '[' ? host.p[host.n - 1] == ']' : tg_str_all(host, TG_CHAR_HOST));
}

static void check_codec(struct tg_str text)
{
    struct tg_fmt f;
    tg_fmt_init_arena(&f, &arena, 64);
    tg_uri_encode(&f, text, "/!");
    struct tg_str encoded = tg_fmt_str(&f);
    tg_assert(encoded.p != NULL);
    struct tg_str back = tg_uri_decode(encoded, false, &arena);
    tg_assert(back.p != NULL && tg_str_eq(back, text));
    back = tg_uri_decode(text, true, &arena);
    tg_assert(back.p != NULL && back.n <= text.n);
}

static void check_params(struct tg_str query)
{
    struct tg_str name;
    struct tg_str value;
    size_t total = 0;
    size_t n = query.n;
    while (tg_uri_next_param(&query, &name, &value))
        total += name.n + value.n;
    tg_assert(total <= n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 8192)
        return 0;
    fuzz_begin();
    char *p = fuzz_copy((const char *)data, size);
    struct tg_str text = tg_str(p, size);
    check_normalising(text, false);
    check_normalising(text, true);
    check_authority(text);
    check_codec(text);
    check_params(text);
    free(p);
    fuzz_end();
    return 0;
}
