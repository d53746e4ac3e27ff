/* hosts.c: see hosts.h. */
#include "base/banned.h"
#include "upstream/hosts.h"

/* Takes the next word off `line`; empty: there is none. */
static struct tg_str next_word(struct tg_str *line)
{
    size_t from = 0, to;
    while (from < line->n && (line->p[from] == ' ' || line->p[from] == '\t'))
        from++;
    for (to = from; to < line->n && line->p[to] != ' ' && line->p[to] != '\t'; to++) {
    }
    struct tg_str word = tg_str_sub(*line, from, to);
    *line = tg_str_sub(*line, to, line->n);
    return word;
}

static bool names(struct tg_str rest, struct tg_str name)
{
    for (struct tg_str word = next_word(&rest); word.n > 0; word = next_word(&rest)) {
        if (tg_str_eq_nocase(word, name))
            return true;
    }
    return false;
}

static bool is_localhost(struct tg_str name)
{
    static const struct tg_str below = {".localhost", 10};
    return tg_str_eq_nocase(name, tg_str_sub(below, 1, below.n)) ||
           (name.n > below.n &&
            tg_str_eq_nocase(tg_str_sub(name, name.n - below.n, name.n), below));
}

static uint32_t find_localhost(struct tg_addr *out, uint32_t max)
{
    static const char *const addresses[] = {"127.0.0.1", "::1"};
    uint32_t n = 0;
    while (n < max && n < TG_COUNT_OF(addresses) &&
           tg_addr_parse_ip(tg_str_c(addresses[n]), &out[n]) == TG_OK)
        n++;
    return n;
}

uint32_t tg_hosts_find(struct tg_str text, struct tg_str name, struct tg_addr *out, uint32_t max)
{
    uint32_t n = 0;
    while (text.n > 0 && n < max) {
        size_t end = tg_str_find(text, '\n', 0);
        struct tg_str line = tg_str_sub(text, 0, end);
        text = tg_str_sub(text, TG_MIN(end + 1, text.n), text.n);
        if (line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        line = tg_str_sub(line, 0, tg_str_find(line, '#', 0));
        struct tg_str address = next_word(&line);
        if (address.n > 0 && names(line, name) && tg_addr_parse_ip(address, &out[n]) == TG_OK)
            n++;
    }
    return n == 0 && is_localhost(name) ? find_localhost(out, max) : n;
}
