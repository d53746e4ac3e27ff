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
    return n;
}
