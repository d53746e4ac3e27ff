/*
 * Templates: the first byte chooses a kind, the first line is a template, the rest a value. Parts
 * lie within the template and lose nothing of it but braces; a value never brings what would end
 * its place: no blank, "?" or "#" into a path, no "&" into a query, no "<" into markup.
 */
#include "http/template.h"

#include "base/fmt.h"
#include "http/token.h"
#include "http_fuzz.h"

static void check_parts(struct tg_str text, const struct tg_template_parts *parts)
{
    size_t bytes = 0;
    tg_assert(parts->n <= TG_TEMPLATE_PARTS_MAX);
    for (uint32_t i = 0; i < parts->n; i++) {
        tg_assert(parts->v[i].text.n > 0 && fuzz_within(parts->v[i].text, text.p, text.n));
        bytes += parts->v[i].text.n + (parts->v[i].is_name ? 2 : 0);
    }
    tg_assert(bytes <= text.n);
}

static void check_path(struct tg_str value)
{
    struct tg_fmt f;
    tg_fmt_init_arena(&f, &arena, 64);
    tg_template_put_path(&f, value);
    tg_assert(!f.failed);
    size_t slashes = 0;
    for (size_t i = 0; i < f.n; i++) {
        tg_assert(tg_char_is(f.p[i], TG_CHAR_TARGET) && f.p[i] != '?' && f.p[i] != '#');
        slashes += f.p[i] == '/';
    }
    for (size_t i = 0; i < value.n; i++)
        slashes -= value.p[i] == '/';
    tg_assert(slashes == 0);
    size_t n = f.n;
    tg_template_put_path(&f, tg_str(f.p, n)); /* what was encoded stays */
    tg_assert(f.n == 2 * n && (n == 0 || memcmp(f.p, f.p + n, n) == 0));
}

static void check_others(struct tg_str value)
{
    struct tg_fmt f;
    tg_fmt_init_arena(&f, &arena, 64);
    tg_template_put_query(&f, value);
    for (size_t i = 0; i < f.n; i++)
        tg_assert(tg_char_is(f.p[i], TG_CHAR_UNRESERVED) || f.p[i] == '%');
    tg_fmt_init_arena(&f, &arena, 64);
    tg_template_put_body(&f, value, TG_ESCAPE_MARKUP);
    for (size_t i = 0; i < f.n; i++)
        tg_assert(f.p[i] != '<' && f.p[i] != '>' && f.p[i] != '"' && f.p[i] != '\'');
    tg_fmt_init_arena(&f, &arena, 64);
    tg_template_put_body(&f, value, TG_ESCAPE_PLAIN);
    for (size_t i = 0; i < f.n; i++)
        tg_assert(f.p[i] >= ' ' && f.p[i] != '<' && f.p[i] != '>' && f.p[i] != '"');
    tg_fmt_init_arena(&f, &arena, 64);
    tg_template_put_body(&f, value, TG_ESCAPE_JSON);
    for (size_t i = 0; i < f.n; i++)
        tg_assert((unsigned char)f.p[i] >= ' ' && (f.p[i] != '"' || (i > 0 && f.p[i - 1] == '\\')));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_template_parts parts;
    struct tg_template_problem problem = {0};
    if (size == 0 || size > 8192)
        return 0;
    fuzz_begin();
    char *copy = fuzz_copy((const char *)data + 1, size - 1);
    struct tg_str all = tg_str(copy, size - 1);
    size_t end = tg_str_find(all, '\n', 0);
    struct tg_str text = tg_str_sub(all, 0, end);
    enum tg_template_kind kind = (enum tg_template_kind)(data[0] & 3);
    if (tg_template_parse(kind, text, &parts, &problem) == TG_OK)
        check_parts(text, &parts);
    else
        tg_assert(problem.text != NULL && problem.hint != NULL && problem.at <= text.n);
    check_path(tg_str_sub(all, end + 1, all.n));
    check_others(tg_str_sub(all, end + 1, all.n));
    fuzz_end();
    free(copy);
    return 0;
}
