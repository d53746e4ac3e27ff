/* table.c: the lookup, a branch-and-bound search for the entry of least rank.
 *
 * For one host at a time, from the most to the least specific pattern, the path tree is walked with
 * the text child tried before the parameters and those before the ends at this node. That visits
 * likely winners first; correctness does not rest on it, only on the ranks: whatever is found later
 * with a lower rank replaces what was found before, and a subtree whose least rank is higher than
 * the best found is not entered. A node is reached in one way only, so no lookup visits one twice.
 *
 * While nothing is found nothing is skipped, therefore `allow` is complete when it is needed.
 *
 * There is no cache of answers in front. One of 8,192 entries by host and path was measured with
 * 100,000 routes: 35 ns instead of 145 where a hundred requests repeat, but 1,100 ns instead of 780
 * where they vary, which is when a table of that size is looked up. The gain is less than a
 * hundredth of a request's cost, and a route with conditions could not be kept at all.
 */
#include "base/banned.h"
#include "route/table.h"

#include "base/mem.h"
#include "route/layout.h"

struct search {
    const struct tg_route_table *table;
    const struct tg_route_query *query;
    const char *path;
    size_t n;
    uint64_t method;
    uint32_t best;      /* rank of `found` */
    uint32_t undecided; /* least rank of an entry whose expression gave up */
    const struct tg_route_entry *found;
    uint64_t allow;
    size_t matched; /* by the pattern of `found`, before the rest or what follows a prefix */
    struct tg_route_span spans[TG_ROUTE_CAPTURES_MAX];      /* of the branch being walked */
    struct tg_route_span won[TG_ROUTE_CAPTURES_MAX];        /* of `found` */
    struct tg_route_span groups[TG_ROUTE_CAPTURES_MAX + 1]; /* of the expression tried last */
};

/* ---- Paths --------------------------------------------------------------------------------- */

static void accept(struct search *s, const struct tg_route_entry *entry, size_t at)
{
    bool regex = entry->end == TG_ROUTE_KEY_REGEX;
    s->found = entry;
    s->best = entry->rank;
    s->matched = entry->end == TG_ROUTE_KEY_REST ? at - 1 : at;
    if (regex)
        s->matched = s->groups[tg_route_regex_groups(s->table->regexes[entry->regex])].n;
    memcpy(s->won, regex ? s->groups : s->spans, entry->captures * sizeof(s->won[0]));
    if (entry->end == TG_ROUTE_KEY_REST)
        s->won[entry->captures - 1] = (struct tg_route_span){(uint32_t)at, (uint32_t)(s->n - at)};
}

/* The expression and the conditions of an entry that has any: may it be taken? One whose method is
 * not `allowed` wins in no case: that it gives up decides nothing. */
static bool holds(struct search *s, const struct tg_route_entry *entry, bool allowed)
{
    const struct tg_route_table *t = s->table;
    enum tg_route_regex_verdict verdict = TG_ROUTE_REGEX_YES;
    unsigned failed;
    if (entry->end == TG_ROUTE_KEY_REGEX)
        verdict = tg_route_regex_match(t->regexes[entry->regex], tg_str(s->path, s->n), s->groups);
    if (verdict == TG_ROUTE_REGEX_YES && entry->program != 0)
        verdict = tg_route_program_test(t, &t->programs[entry->program - 1], s->query, &failed);
    if (verdict > TG_ROUTE_REGEX_YES && allowed)
        s->undecided = TG_MIN(s->undecided, entry->rank);
    return verdict == TG_ROUTE_REGEX_YES;
}

/* Takes the first of `count` entries that allows the method, unless a better one is known. */
static void consider(struct search *s, const struct tg_route_entry *entry, uint32_t count,
                     size_t at)
{
    bool at_bound = at == s->n || s->path[at] == '/';
    for (; count > 0 && entry->rank < s->best; entry++, count--) {
        bool allowed = (entry->methods & s->method) != 0;
        if ((entry->end == TG_ROUTE_KEY_PREFIX && !at_bound) || (!allowed && s->found != NULL))
            continue;
        if ((entry->program != 0 || entry->end == TG_ROUTE_KEY_REGEX) && !holds(s, entry, allowed))
            continue;
        if (allowed) {
            accept(s, entry, at);
            return;
        }
        s->allow |= entry->methods;
    }
}

static uint32_t text_child(const struct tg_route_node *node, const char *text, char c)
{
    const char *firsts = text + node->label_n;
    const char *hit = node->texts > 0 ? memchr(firsts, c, node->texts) : NULL;
    return hit != NULL ? node->children + (uint32_t)(hit - firsts) : TG_ROUTE_NO_NODE;
}

static bool set_has(const struct tg_route_set *set, unsigned char c)
{
    return (set->bits[c >> 3] >> (c & 7) & 1) != 0;
}

static bool segment_fits(const struct search *s, uint16_t set, size_t from, size_t to)
{
    if (set == TG_ROUTE_NO_SET)
        return true;
    for (size_t i = from; i < to; i++) {
        if (!set_has(&s->table->sets[set], (unsigned char)s->path[i]))
            return false;
    }
    return true;
}

static void walk(struct search *s, uint32_t index, size_t at, unsigned depth);

/* Walks the children of `node` that take the whole segment at `at`. */
static void walk_params(struct search *s, const struct tg_route_node *node, size_t at,
                        unsigned depth)
{
    const char *slash = memchr(s->path + at, '/', s->n - at);
    size_t end = slash != NULL ? (size_t)(slash - s->path) : s->n;
    uint32_t child = node->children + node->texts;
    if (end == at)
        return;
    for (uint16_t i = 0; i < node->params; i++, child++) {
        if (!segment_fits(s, s->table->nodes[child].set, at, end))
            continue;
        s->spans[depth] = (struct tg_route_span){(uint32_t)at, (uint32_t)(end - at)};
        walk(s, child, end, depth + 1);
    }
}

/* Searches the subtree at `index`, whose label begins at `at`; `depth` parameters lie behind. */
static void walk(struct search *s, uint32_t index, size_t at, unsigned depth)
{
    const struct tg_route_table *t = s->table;
    while (index != TG_ROUTE_NO_NODE) {
        const struct tg_route_node *node = &t->nodes[index];
        const char *text = t->text + node->text;
        if (node->best >= s->best || s->n - at < node->label_n ||
            memcmp(s->path + at, text, node->label_n) != 0)
            return;
        at += node->label_n;
        const struct tg_route_entry *entries = t->entries + node->entries;
        if (at == s->n) {
            consider(s, entries, node->exact, at);
            consider(s, entries + node->exact, node->tails, at);
            return;
        }
        index = text_child(node, text, s->path[at]);
        if (node->params == 0 && node->tails == 0)
            continue;
        walk(s, index, at, depth);
        if (node->params > 0)
            walk_params(s, node, at, depth);
        consider(s, entries + node->exact, node->tails, at);
        return;
    }
}

/* ---- Hosts --------------------------------------------------------------------------------- */

static bool name_is(const char *name, struct tg_str host)
{
    for (size_t i = 0; i < host.n; i++) {
        if (name[i] != tg_char_lower(host.p[i]))
            return false;
    }
    return true;
}

/* Root of the tree for one host pattern, or TG_ROUTE_NO_NODE. */
static uint32_t find_root(const struct tg_route_table *t, struct tg_str name, uint64_t hash,
                          enum tg_route_host_kind kind, uint16_t port)
{
    uint32_t end = tg_route_hash_end(hash, kind, port);
    for (uint32_t i = end;; i++) {
        const struct tg_route_host_slot *slot = &t->hosts[i & t->host_mask];
        if (slot->root == TG_ROUTE_NO_NODE)
            return TG_ROUTE_NO_NODE;
        if (slot->hash == end && slot->kind == kind && slot->port == port && slot->n == name.n &&
            name_is(t->text + slot->text, name))
            return slot->root;
    }
}

/* Searches the trees of one host pattern: with the port, then without. */
static void search_host(struct search *s, struct tg_str name, uint64_t hash,
                        enum tg_route_host_kind kind, uint16_t port)
{
    if (s->table->has_ports && port != 0)
        walk(s, find_root(s->table, name, hash, kind, port), 0, 0);
    walk(s, find_root(s->table, name, hash, kind, 0), 0, 0);
}

/* Exact name, then each wildcard from the longest to the shortest. */
static void search_named(struct search *s, struct tg_str host, uint16_t port)
{
    uint64_t hashes[TG_ROUTE_HOST_MAX + 1]; /* of the suffix that begins at this offset */
    uint64_t hash = TG_ROUTE_HASH_START;
    for (size_t i = host.n; i-- > 0;) {
        hash = tg_route_hash_step(hash, tg_char_lower(host.p[i]));
        hashes[i] = hash;
    }
    search_host(s, host, hash, TG_ROUTE_HOST_EXACT, port);
    if (!s->table->has_wildcards)
        return;
    for (size_t i = tg_str_find(host, '.', 0); i + 1 < host.n; i = tg_str_find(host, '.', i + 1))
        search_host(s, tg_str_sub(host, i + 1, host.n), hashes[i + 1], TG_ROUTE_HOST_WILDCARD,
                    port);
}

/* ---- Interface ----------------------------------------------------------------------------- */

static void fill_captures(const struct search *s, struct tg_route_match *out)
{
    const char *name = s->table->text + s->found->names;
    out->capture_count = s->found->captures;
    for (unsigned i = 0; i < out->capture_count; i++) {
        size_t n = (unsigned char)*name;
        out->captures[i].name = tg_str(name + 1, n);
        out->captures[i].value = tg_str(s->path + s->won[i].at, s->won[i].n);
        name += 1 + n;
    }
}

enum tg_route_verdict tg_route_match(const struct tg_route_table *table,
                                     const struct tg_route_query *query, struct tg_route_match *out)
{
    struct search s;
    struct tg_str host = query->host;
    s.table = table;
    s.query = query;
    s.path = query->path.p;
    s.n = query->path.n;
    s.method = tg_route_methods_find(&table->methods, query->method);
    s.best = TG_ROUTE_NO_RANK;
    s.undecided = TG_ROUTE_NO_RANK;
    s.found = NULL;
    s.allow = 0;
    out->handle = NULL;
    out->allow = 0;
    out->capture_count = 0;
    if (s.n == 0)
        return TG_ROUTE_NOT_FOUND;
    if (host.n > 1 && host.p[host.n - 1] == '.')
        host.n--;
    if (host.n > 0 && host.n <= TG_ROUTE_HOST_MAX)
        search_named(&s, host, query->port);
    search_host(&s, tg_str("", 0), TG_ROUTE_HASH_START, TG_ROUTE_HOST_ANY, query->port);
    if (s.undecided < s.best)
        return TG_ROUTE_UNDECIDED;
    if (s.found != NULL) {
        out->handle = s.found->handle;
        out->matched = s.matched;
        fill_captures(&s, out);
        return TG_ROUTE_FOUND;
    }
    out->allow = s.allow;
    return s.allow != 0 ? TG_ROUTE_WRONG_METHOD : TG_ROUTE_NOT_FOUND;
}

void tg_route_table_write_allow(const struct tg_route_table *table, uint64_t allow,
                                struct tg_fmt *out)
{
    tg_route_methods_write(&table->methods, allow, out);
}

size_t tg_route_table_bytes(const struct tg_route_table *table)
{
    return table->bytes;
}

void tg_route_table_free(struct tg_route_table **tablep)
{
    struct tg_route_table *table = *tablep;
    if (table == NULL)
        return;
    tg_mem_free(TG_MEM_CONFIG, table->hosts);
    tg_mem_free(TG_MEM_CONFIG, table->nodes);
    tg_mem_free(TG_MEM_CONFIG, table->entries);
    tg_mem_free(TG_MEM_CONFIG, table->sets);
    tg_mem_free(TG_MEM_CONFIG, table->programs);
    tg_mem_free(TG_MEM_CONFIG, table->tests);
    tg_mem_free(TG_MEM_CONFIG, table->values);
    tg_mem_free(TG_MEM_CONFIG, table->ranges);
    tg_mem_free(TG_MEM_CONFIG, table->bands);
    for (uint32_t i = 0; i < table->regex_count; i++)
        tg_route_regex_unref(&table->regexes[i]);
    tg_mem_free(TG_MEM_CONFIG, table->regexes);
    tg_mem_free(TG_MEM_CONFIG, table->text);
    tg_mem_free(TG_MEM_CONFIG, table);
    *tablep = NULL;
}
