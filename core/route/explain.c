/* explain.c: a walk over all trees of the table, with a verdict for every entry.
 *
 * The walk keeps what the path's pattern is so far as tokens (text as it is, a byte and the index
 * of a set for a parameter) and whether the request's path fits it; where it does not, the subtree
 * is walked all the same, since its routes are told of too. Each entry becomes a row; the rows are
 * sorted by route to find each route's closest one, then by outcome.
 *
 * Recursion goes as deep as a path pattern has bytes at the most.
 */
#include "base/banned.h"
#include "route/explain.h"

#include "base/mem.h"
#include "route/items.h"
#include "route/layout.h"

#define TOKENS_MAX 4096 /* a key's room */

struct row {
    const struct tg_route_entry *entry;
    const struct tg_route_host_slot *slot;
    uint32_t node;
    uint32_t path; /* in `texts` */
    uint32_t path_n;
    uint32_t test; /* index of the test that failed, where one did */
    uint8_t check; /* TG_ROUTE_CHECK_COUNT: it matches */
    bool gave_up;
};

struct visit {
    const struct tg_route_table *table;
    const struct tg_route_query *query;
    struct tg_str host;
    uint64_t method;
    const struct tg_route_host_slot *slot;
    enum tg_route_check of_slot; /* what of the slot fails; TG_ROUTE_CHECK_COUNT: nothing */
    struct row *rows;
    size_t count;
    struct tg_route_pool texts; /* of path patterns */
    unsigned char tokens[TOKENS_MAX];
    size_t tokens_n;
    bool failed; /* memory is out */
};

const char *tg_route_check_text(enum tg_route_check check)
{
    static const char *const texts[] = {
#define TG_ROUTE_CHECK(id, text) text,
        TG_ROUTE_CHECKS(TG_ROUTE_CHECK)
#undef TG_ROUTE_CHECK
    };
    return texts[check];
}

const char *tg_route_criterion_text(enum tg_route_criterion criterion)
{
    static const char *const texts[] = {
#define TG_ROUTE_CRITERION(id, text) text,
        TG_ROUTE_CRITERIA_LIST(TG_ROUTE_CRITERION)
#undef TG_ROUTE_CRITERION
    };
    return texts[criterion];
}

/* ---- Patterns as text ------------------------------------------------------------------------ */

static void add_text(struct visit *v, const void *p, size_t n)
{
    uint32_t at;
    if (!tg_route_pool_copy(&v->texts, p, n, &at))
        v->failed = true;
}

static bool has(const struct tg_route_set *set, unsigned byte)
{
    return (set->bits[byte >> 3] >> (byte & 7) & 1) != 0;
}

/* "[0-9a-f]+" of a set; bytes that cannot be shown, or mean something in a set, as \xHH. */
static void add_set(struct visit *v, const struct tg_route_set *set)
{
    char room[16];
    add_text(v, ":[", 2);
    for (unsigned from = 0; from < 256; from++) {
        unsigned to = from;
        if (!has(set, from))
            continue;
        while (to < 255 && has(set, to + 1))
            to++;
        for (unsigned i = 0, byte = from; i < (to > from ? 2u : 1u); i++, byte = to) {
            bool plain = byte > ' ' && byte < 0x7f && strchr("\\]^-", (int)byte) == NULL;
            int n = snprintf(room, sizeof(room), plain ? "%s%c" : "%s\\x%02X",
                             i > 0 && to > from + 1 ? "-" : "", (int)byte);
            add_text(v, room, (size_t)n);
        }
        from = to;
    }
    add_text(v, "]+", 2);
}

/* "{name" and what `name`, a length byte and bytes, is followed by. */
static const char *add_name(struct visit *v, const char *name)
{
    size_t n = (unsigned char)*name;
    add_text(v, "{", 1);
    add_text(v, name + 1, n);
    return name + 1 + n;
}

/* The pattern that leads to `entry`, whose tokens are at hand. */
static void add_pattern(struct visit *v, const struct tg_route_entry *entry)
{
    const struct tg_route_table *t = v->table;
    const char *name = t->text + entry->names;
    if (entry->end == TG_ROUTE_KEY_REGEX) {
        struct tg_str pattern = tg_route_regex_pattern(t->regexes[entry->regex]);
        add_text(v, "~", 1);
        add_text(v, pattern.p, pattern.n);
        return;
    }
    for (size_t i = 0; i < v->tokens_n; i++) {
        unsigned char byte = v->tokens[i];
        if (!tg_route_is_parameter(byte)) {
            add_text(v, &byte, 1);
            continue;
        }
        name = add_name(v, name);
        if (byte == TG_ROUTE_KEY_SET)
            add_set(v, &t->sets[v->tokens[++i]]);
        add_text(v, "}", 1);
    }
    if (entry->end == TG_ROUTE_KEY_PREFIX)
        add_text(v, "/*", 2);
    if (entry->end == TG_ROUTE_KEY_REST) {
        (void)add_name(v, name);
        add_text(v, "...}", 4);
    }
}

/* ---- Walking --------------------------------------------------------------------------------- */

/* Where the walk is in the request's path, and whether that fits what the tree says so far. */
struct place {
    size_t at;
    bool fits;
};

static bool path_ends(const struct visit *v, const struct tg_route_entry *entry, struct place place)
{
    struct tg_str path = v->query->path;
    if (!place.fits || entry->end == TG_ROUTE_KEY_REST || entry->end == TG_ROUTE_KEY_REGEX)
        return place.fits;
    bool at_end = place.at == path.n;
    return at_end || (entry->end == TG_ROUTE_KEY_PREFIX && path.p[place.at] == '/');
}

/* Checks what the entry asks in the order of enum tg_route_check. */
static void check_entry(const struct visit *v, struct row *row, struct place place)
{
    const struct tg_route_table *t = v->table;
    const struct tg_route_entry *entry = row->entry;
    enum tg_route_regex_verdict verdict = TG_ROUTE_REGEX_YES;
    unsigned failed = 0;
    row->check = (uint8_t)v->of_slot;
    if (v->of_slot != TG_ROUTE_CHECK_COUNT)
        return;
    row->check = TG_ROUTE_CHECK_PATH;
    if (!path_ends(v, entry, place))
        return;
    if (entry->end == TG_ROUTE_KEY_REGEX)
        verdict = tg_route_regex_match(t->regexes[entry->regex], v->query->path, NULL);
    if (verdict == TG_ROUTE_REGEX_YES && entry->program != 0) {
        const struct tg_route_program *program = &t->programs[entry->program - 1];
        verdict = tg_route_program_test(t, program, v->query, &failed);
        row->test = program->tests + failed;
        row->check = (uint8_t)(TG_ROUTE_CHECK_HEADER + t->tests[row->test].source);
    }
    row->gave_up = verdict > TG_ROUTE_REGEX_YES;
    if (verdict != TG_ROUTE_REGEX_YES)
        return;
    row->check = (entry->methods & v->method) != 0 ? TG_ROUTE_CHECK_COUNT : TG_ROUTE_CHECK_METHOD;
}

static void add_rows(struct visit *v, uint32_t node, struct place place)
{
    const struct tg_route_node *n = &v->table->nodes[node];
    for (uint32_t i = 0; i < n->exact + n->tails && !v->failed; i++) {
        struct row *row = &v->rows[v->count++];
        *row = (struct row){.entry = &v->table->entries[n->entries + i],
                            .slot = v->slot,
                            .node = node,
                            .path = (uint32_t)v->texts.n};
        add_pattern(v, row->entry);
        row->path_n = (uint32_t)v->texts.n - row->path;
        check_entry(v, row, place);
    }
}

/* Takes a segment for the parameter in front of `node`. */
static struct place take_segment(const struct visit *v, const struct tg_route_node *node,
                                 struct place place)
{
    struct tg_str path = v->query->path;
    size_t end = place.fits ? tg_str_find(path, '/', place.at) : place.at;
    place.fits = place.fits && end > place.at;
    for (size_t i = place.at; place.fits && node->set != TG_ROUTE_NO_SET && i < end; i++)
        place.fits = has(&v->table->sets[node->set], (unsigned char)path.p[i]);
    place.at = end;
    return place;
}

static void walk(struct visit *v, uint32_t index, struct place place)
{
    const struct tg_route_node *node = &v->table->nodes[index];
    const char *label = v->table->text + node->text;
    struct tg_str path = v->query->path;
    size_t before = v->tokens_n;
    memcpy(v->tokens + v->tokens_n, label, node->label_n);
    v->tokens_n += node->label_n;
    place.fits = place.fits &&
                 tg_str_starts(tg_str_sub(path, place.at, path.n), tg_str(label, node->label_n));
    place.at += place.fits ? node->label_n : 0;
    add_rows(v, index, place);
    for (uint32_t i = 0; i < (uint32_t)node->texts + node->params && !v->failed; i++) {
        const struct tg_route_node *child = &v->table->nodes[node->children + i];
        size_t here = v->tokens_n;
        struct place next = place;
        if (i >= node->texts) {
            bool free = child->set == TG_ROUTE_NO_SET;
            v->tokens[v->tokens_n++] = free ? TG_ROUTE_KEY_FREE : TG_ROUTE_KEY_SET;
            if (!free)
                v->tokens[v->tokens_n++] = (unsigned char)child->set;
            next = take_segment(v, child, place);
        }
        walk(v, node->children + i, next);
        v->tokens_n = here;
    }
    v->tokens_n = before;
}

static enum tg_route_check check_slot(const struct visit *v, const struct tg_route_host_slot *slot)
{
    struct tg_str name = tg_str(v->table->text + slot->text, slot->n);
    struct tg_str host = v->host;
    bool fits = slot->kind == TG_ROUTE_HOST_ANY;
    if (slot->kind == TG_ROUTE_HOST_EXACT)
        fits = tg_str_eq_nocase(name, host);
    if (slot->kind == TG_ROUTE_HOST_WILDCARD && host.n > name.n + 1)
        fits = host.p[host.n - name.n - 1] == '.' &&
               tg_str_eq_nocase(tg_str_sub(host, host.n - name.n, host.n), name);
    if (!fits)
        return TG_ROUTE_CHECK_HOST;
    if (slot->port != 0 && slot->port != v->query->port)
        return TG_ROUTE_CHECK_PORT;
    return TG_ROUTE_CHECK_COUNT;
}

static void walk_all(struct visit *v)
{
    const struct tg_route_table *t = v->table;
    for (uint32_t i = 0; i <= t->host_mask && !v->failed; i++) {
        if (t->hosts[i].root == TG_ROUTE_NO_NODE)
            continue;
        v->slot = &t->hosts[i];
        v->of_slot = check_slot(v, v->slot);
        walk(v, v->slot->root, (struct place){0, v->query->path.n > 0});
    }
}

/* ---- Comparing ------------------------------------------------------------------------------- */

static int32_t priority_of(const struct tg_route_table *t, uint32_t rank)
{
    uint32_t i = 0;
    while (i + 1 < t->band_count && t->bands[i + 1].first <= rank)
        i++;
    return t->bands[i].priority;
}

static unsigned method_class(const struct tg_route_entry *entry)
{
    if (entry->methods == TG_ROUTE_METHOD_ANY)
        return TG_ROUTE_METHODS_ANY;
    return entry->auto_head != 0 ? TG_ROUTE_METHODS_AUTO_HEAD : TG_ROUTE_METHODS_NAMED;
}

/* The criterion among the conditions, TG_ROUTE_CRITERION_COUNT when they ask for as much. */
static enum tg_route_criterion compare_programs(const struct tg_route_table *t,
                                                const struct tg_route_entry *x,
                                                const struct tg_route_entry *y)
{
    static const unsigned char none[TG_ROUTE_CRITERIA] = {255, 255, 255, 255, 1, 1, 255, 255, 255};
    const unsigned char *a = x->program != 0 ? t->programs[x->program - 1].criteria : none;
    const unsigned char *b = y->program != 0 ? t->programs[y->program - 1].criteria : none;
    for (unsigned i = 0; i < TG_ROUTE_CRITERIA; i++) {
        if (a[i] != b[i])
            return (enum tg_route_criterion)(TG_ROUTE_CRITERION_HEADERS + i);
    }
    return TG_ROUTE_CRITERION_COUNT;
}

_Static_assert((int)TG_ROUTE_CRITERION_REGEXES - (int)TG_ROUTE_CRITERION_HEADERS ==
                   (int)TG_ROUTE_BY_REGEXES,
               "criteria stand in the order of their bytes");

/* By what `x` is before `y`; both match. */
static enum tg_route_criterion compare_rows(const struct tg_route_table *t, const struct row *x,
                                            const struct row *y)
{
    const struct tg_route_host_slot *a = x->slot, *b = y->slot;
    if (priority_of(t, x->entry->rank) != priority_of(t, y->entry->rank))
        return TG_ROUTE_CRITERION_PRIORITY;
    if (a != b && (a->kind != b->kind ||
                   !tg_str_eq(tg_str(t->text + a->text, a->n), tg_str(t->text + b->text, b->n))))
        return TG_ROUTE_CRITERION_HOST;
    if (a != b)
        return TG_ROUTE_CRITERION_PORT;
    if (x->node != y->node || x->entry->end != y->entry->end || x->entry->regex != y->entry->regex)
        return TG_ROUTE_CRITERION_PATH;
    if (method_class(x->entry) != method_class(y->entry))
        return TG_ROUTE_CRITERION_METHOD;
    enum tg_route_criterion criterion = compare_programs(t, x->entry, y->entry);
    if (criterion != TG_ROUTE_CRITERION_COUNT)
        return criterion;
    return x->entry->method_count != y->entry->method_count ? TG_ROUTE_CRITERION_METHODS
                                                            : TG_ROUTE_CRITERION_NAME;
}

/* The further a row came the earlier it stands, then by precedence. */
static int compare_progress(const void *xp, const void *yp)
{
    const struct row *x = xp, *y = yp;
    if (x->check != y->check)
        return (int)y->check - (int)x->check;
    return (x->entry->rank > y->entry->rank) - (x->entry->rank < y->entry->rank);
}

static int compare_routes(const void *xp, const void *yp)
{
    const struct row *x = xp, *y = yp;
    uintptr_t a = (uintptr_t)x->entry->handle, b = (uintptr_t)y->entry->handle;
    return a != b ? (a > b) - (a < b) : compare_progress(xp, yp);
}

static bool takes_method(const struct visit *v, const struct row *row)
{
    return (row->entry->methods & v->method) != 0;
}

/* The first row that gave up and might have won; NULL: one that matches is before all of those. */
static const struct row *find_undecided(const struct visit *v)
{
    const struct row *found = NULL;
    uint32_t best = TG_ROUTE_NO_RANK;
    for (size_t i = 0; i < v->count; i++) {
        const struct row *row = &v->rows[i];
        if (row->entry->rank >= best)
            continue;
        if (row->check != TG_ROUTE_CHECK_COUNT && !(row->gave_up && takes_method(v, row)))
            continue;
        best = row->entry->rank;
        found = row->gave_up ? row : NULL;
    }
    return found;
}

/* Leaves one row of each route, in the order in which they are told: the one that came closest, but
 * the one that keeps the whole undecided. */
static void sort_rows(struct visit *v)
{
    size_t n = 0;
    const struct row *found = find_undecided(v);
    const struct row undecided = found != NULL ? *found : (struct row){.entry = NULL};
    qsort(v->rows, v->count, sizeof(*v->rows), compare_routes);
    for (size_t i = 0; i < v->count; i++) {
        if (n == 0 || v->rows[i].entry->handle != v->rows[n - 1].entry->handle)
            v->rows[n++] = v->rows[i];
    }
    v->count = n;
    for (size_t i = 0; i < n && found != NULL; i++) {
        if (v->rows[i].entry->handle == undecided.entry->handle)
            v->rows[i] = undecided;
    }
    qsort(v->rows, v->count, sizeof(*v->rows), compare_progress);
}

/* ---- Telling --------------------------------------------------------------------------------- */

static struct tg_str host_text(const struct tg_route_table *t,
                               const struct tg_route_host_slot *slot, char *room, size_t n)
{
    static const char *const starts[] = {
        [TG_ROUTE_HOST_EXACT] = "", [TG_ROUTE_HOST_WILDCARD] = "*.", [TG_ROUTE_HOST_ANY] = "*"};
    char port[8] = "";
    if (slot->port != 0)
        (void)snprintf(port, sizeof(port), ":%u", slot->port);
    int size =
        snprintf(room, n, "%s%.*s%s", starts[slot->kind], (int)slot->n, t->text + slot->text, port);
    return tg_str(room, (size_t)size);
}

static void tell(const struct visit *v, const struct row *row, const struct row *first,
                 tg_route_on_candidate *on_candidate, void *arg)
{
    const struct tg_route_table *t = v->table;
    char room[TG_ROUTE_HOST_MAX + 16];
    bool matches = row->check == TG_ROUTE_CHECK_COUNT;
    struct tg_route_candidate candidate = {
        .handle = row->entry->handle,
        .outcome = !matches       ? TG_ROUTE_FAILS
                   : row == first ? TG_ROUTE_WINS
                                  : TG_ROUTE_LOSES,
        .priority = priority_of(t, row->entry->rank),
        .gave_up = row->gave_up,
        .host = host_text(t, row->slot, room, sizeof(room)),
        .path = tg_str(v->texts.p + row->path, row->path_n),
    };
    if (candidate.outcome == TG_ROUTE_LOSES)
        candidate.criterion = compare_rows(t, first, row);
    if (!matches)
        candidate.check = (enum tg_route_check)row->check;
    if (!matches && row->check >= TG_ROUTE_CHECK_HEADER && row->check <= TG_ROUTE_CHECK_COOKIE)
        candidate.name = tg_str(t->text + t->tests[row->test].name, t->tests[row->test].name_n);
    on_candidate(arg, &candidate);
}

/* The row that all others are behind: the winner, or one that gave up and might have won. */
static const struct row *find_first(const struct visit *v, enum tg_route_verdict *verdict)
{
    const struct row *first =
        v->count > 0 && v->rows[0].check == TG_ROUTE_CHECK_COUNT ? &v->rows[0] : NULL;
    *verdict = first != NULL ? TG_ROUTE_FOUND : TG_ROUTE_NOT_FOUND;
    if (first == NULL && v->count > 0 && v->rows[0].check == TG_ROUTE_CHECK_METHOD)
        *verdict = TG_ROUTE_WRONG_METHOD;
    for (size_t i = 0; i < v->count; i++) {
        const struct row *row = &v->rows[i];
        if (!row->gave_up || !takes_method(v, row) ||
            (first != NULL && first->entry->rank < row->entry->rank))
            continue;
        first = row;
        *verdict = TG_ROUTE_UNDECIDED;
    }
    return first;
}

enum tg_err tg_route_explain(const struct tg_route_table *table, const struct tg_route_query *query,
                             size_t max, tg_route_on_candidate *on_candidate, void *arg,
                             enum tg_route_verdict *verdict, size_t *left_out)
{
    struct visit *v = tg_mem_zalloc(TG_MEM_CONFIG, 1, sizeof(*v));
    enum tg_err err = TG_E_NOMEM;
    if (v == NULL)
        return TG_E_NOMEM;
    v->table = table;
    v->query = query;
    v->host = query->host;
    if (v->host.n > 1 && v->host.p[v->host.n - 1] == '.')
        v->host.n--;
    v->method = tg_route_methods_find(&table->methods, query->method);
    v->rows = tg_mem_alloc(TG_MEM_CONFIG, (table->entry_count + (size_t)1) * sizeof(*v->rows));
    if (v->rows != NULL)
        walk_all(v);
    if (v->rows != NULL && !v->failed) {
        sort_rows(v);
        const struct row *first = find_first(v, verdict);
        for (size_t i = 0; i < v->count && i < max; i++)
            tell(v, &v->rows[i], first, on_candidate, arg);
        *left_out = v->count > max ? v->count - max : 0;
        err = TG_OK;
    }
    tg_route_pool_release(&v->texts);
    tg_mem_free(TG_MEM_CONFIG, v->rows);
    tg_mem_free(TG_MEM_CONFIG, v);
    return err;
}
