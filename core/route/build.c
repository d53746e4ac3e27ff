/* build.c: from sorted items to the arrays of layout.h.
 *
 * The items are sorted by key. Then all items of one host are neighbours, and within a host all
 * items below one tree node: a node is a range of items and a depth in their keys, and the tree is
 * written top down without ever existing in another form. The ranks come from a second sort, by
 * priority, stable in the order of the keys.
 *
 * Recursion goes as deep as a path pattern has bytes at the most (TG_ROUTE_PATH_MAX). The first
 * failed allocation is latched in the writer, which then writes nothing more.
 */
#include "base/banned.h"
#include "route/build.h"

#include "base/mem.h"
#include "route/items.h"

struct writer {
    const struct tg_route_builder *b;
    struct tg_route_item *items;
    uint32_t *order; /* item indices, sorted */
    uint32_t count;
    uint32_t hosts; /* different hosts */
    struct tg_route_pool nodes;
    struct tg_route_pool entries;
    struct tg_route_pool text; /* begins with the builder's names, so that their offsets hold */
    struct tg_route_table *table;
    bool failed;
};

/* The items of one subtree: order[lo..hi), whose keys agree in the first `depth` bytes. */
struct range {
    uint32_t lo;
    uint32_t hi;
    uint32_t depth;
};

static const struct tg_route_record *record_of(const struct tg_route_builder *b,
                                               const struct tg_route_item *item)
{
    return (const struct tg_route_record *)(const void *)b->routes.p + item->route;
}

static struct tg_str text_of(const struct tg_route_builder *b, uint32_t at, size_t n)
{
    return tg_str(b->texts.p + at, n);
}

static const unsigned char *key_of(const struct writer *w, uint32_t place)
{
    return (const unsigned char *)w->b->keys.p + w->items[w->order[place]].key;
}

/* ---- Order --------------------------------------------------------------------------------- */

static int compare_numbers(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int compare_bytes(const char *a, size_t a_n, const char *b, size_t b_n)
{
    int order = memcmp(a, b, TG_MIN(a_n, b_n));
    return order != 0 ? order : compare_numbers((int64_t)a_n, (int64_t)b_n);
}

static const struct tg_route_program *program_of(const struct tg_route_builder *b,
                                                 const struct tg_route_item *item)
{
    static const struct tg_route_program none = {
        .criteria = {255, 255, 255, 255, 1, 1, 255, 255, 255}};
    const struct tg_route_program *programs =
        (const struct tg_route_program *)(void *)b->programs.p;
    return item->program != 0 ? &programs[item->program - 1] : &none;
}

/* Items with equal keys: priority, method, conditions, fewer methods. */
static int compare_match(const struct tg_route_builder *b, const struct tg_route_item *x,
                         const struct tg_route_item *y)
{
    int order = compare_numbers(record_of(b, y)->priority, record_of(b, x)->priority);
    if (order == 0)
        order = compare_numbers(x->method_class, y->method_class);
    if (order == 0 && (x->program | y->program) != 0)
        order = memcmp(program_of(b, x)->criteria, program_of(b, y)->criteria, TG_ROUTE_CRITERIA);
    return order != 0 ? order : compare_numbers(x->method_count, y->method_count);
}

static int compare_items(const void *xp, const void *yp, void *arg)
{
    const struct writer *w = arg;
    const struct tg_route_builder *b = w->b;
    const struct tg_route_item *x = &w->items[*(const uint32_t *)xp];
    const struct tg_route_item *y = &w->items[*(const uint32_t *)yp];
    const struct tg_route_record *rx = record_of(b, x);
    const struct tg_route_record *ry = record_of(b, y);
    int order = compare_bytes(b->keys.p + x->key, x->key_n, b->keys.p + y->key, y->key_n);
    if (order == 0)
        order = compare_match(b, x, y);
    if (order == 0)
        order = compare_bytes(b->texts.p + rx->name, rx->name_n, b->texts.p + ry->name, ry->name_n);
    return order != 0 ? order : compare_numbers(x - w->items, y - w->items);
}

/* By priority; those of one priority keep their order. */
static int compare_priority(const void *xp, const void *yp, void *arg)
{
    const struct writer *w = arg;
    uint32_t x = *(const uint32_t *)xp, y = *(const uint32_t *)yp;
    int order = compare_numbers(record_of(w->b, &w->items[w->order[y]])->priority,
                                record_of(w->b, &w->items[w->order[x]])->priority);
    return order != 0 ? order : compare_numbers(x, y);
}

/* Hands the pool's memory, cut to size, to the table; NULL stays NULL. */
static void *detach(struct tg_route_pool *pool, size_t *bytes)
{
    void *p = pool->p != NULL ? tg_mem_realloc(TG_MEM_CONFIG, pool->p, pool->n) : NULL;
    *bytes += pool->n;
    *pool = (struct tg_route_pool){NULL, 0, 0};
    return p;
}

/* Notes from which rank on which priority holds, for whoever explains a match. */
static void write_bands(struct writer *w, const uint32_t *by_rank)
{
    struct tg_route_pool bands = {NULL, 0, 0};
    uint32_t at;
    for (uint32_t rank = 0; rank < w->count; rank++) {
        int32_t priority = record_of(w->b, &w->items[w->order[by_rank[rank]]])->priority;
        struct tg_route_band band = {priority, rank};
        const struct tg_route_band *last = (struct tg_route_band *)(void *)bands.p;
        size_t n = bands.n / sizeof(band);
        if (n > 0 && last[n - 1].priority == priority)
            continue;
        if (!tg_route_pool_copy(&bands, &band, sizeof(band), &at))
            w->failed = true;
    }
    w->table->band_count = (uint32_t)(bands.n / sizeof(struct tg_route_band));
    w->table->bands = detach(&bands, &w->table->bytes);
}

static enum tg_err rank_items(struct writer *w)
{
    uint32_t *places = tg_mem_alloc(TG_MEM_CONFIG, (w->count + (size_t)1) * sizeof(*places));
    if (places == NULL)
        return TG_E_NOMEM;
    for (uint32_t i = 0; i < w->count; i++)
        places[i] = i;
    qsort_r(places, w->count, sizeof(*places), compare_priority, w);
    for (uint32_t i = 0; i < w->count; i++)
        w->items[w->order[places[i]]].rank = i;
    write_bands(w, places);
    tg_mem_free(TG_MEM_CONFIG, places);
    return TG_OK;
}

/* ---- Conflicts ----------------------------------------------------------------------------- */

static bool same_key(const struct tg_route_builder *b, const struct tg_route_item *x,
                     const struct tg_route_item *y)
{
    return compare_bytes(b->keys.p + x->key, x->key_n, b->keys.p + y->key, y->key_n) == 0;
}

static void report(const struct tg_route_builder *b, const struct tg_route_item *x,
                   const struct tg_route_item *y, tg_route_on_conflict *on_conflict, void *arg)
{
    const struct tg_route_record *rx = record_of(b, x);
    const struct tg_route_record *ry = record_of(b, y);
    struct tg_route_conflict conflict = {
        .first = text_of(b, rx->name, rx->name_n),
        .second = text_of(b, ry->name, ry->name_n),
        .host = text_of(b, x->host_text, x->host_text_n),
        .path = text_of(b, x->path, x->path_n),
    };
    if (on_conflict != NULL)
        on_conflict(arg, &conflict);
}

/* For items that only the name tells apart: do they take the same requests? */
static int compare_requests(const void *xp, const void *yp, void *arg)
{
    const struct writer *w = arg;
    uint32_t xi = *(const uint32_t *)xp, yi = *(const uint32_t *)yp;
    const struct tg_route_item *x = &w->items[w->order[xi]], *y = &w->items[w->order[yi]];
    const struct tg_route_program *px = program_of(w->b, x), *py = program_of(w->b, y);
    const char *texts = w->b->texts.p;
    int order = (x->methods > y->methods) - (x->methods < y->methods);
    if (order == 0 && (x->program | y->program) != 0)
        order = compare_bytes(texts + px->identity, px->identity_n, texts + py->identity,
                              py->identity_n);
    return order;
}

static int compare_requests_and_places(const void *xp, const void *yp, void *arg)
{
    int order = compare_requests(xp, yp, arg);
    return order != 0 ? order : compare_numbers(*(const uint32_t *)xp, *(const uint32_t *)yp);
}

/* Reports the conflicts among the places [lo, hi), whose items only the name tells apart. */
static bool find_in_group(struct writer *w, uint32_t *places, uint32_t lo, uint32_t hi,
                          tg_route_on_conflict *on_conflict, void *arg)
{
    uint32_t n = hi - lo;
    bool found = false;
    for (uint32_t i = 0; i < n; i++)
        places[i] = lo + i;
    qsort_r(places, n, sizeof(*places), compare_requests_and_places, w);
    for (uint32_t i = 1; i < n; i++) {
        const struct tg_route_item *x = &w->items[w->order[places[i - 1]]];
        const struct tg_route_item *y = &w->items[w->order[places[i]]];
        if (x->route == y->route || compare_requests(&places[i - 1], &places[i], w) != 0)
            continue;
        report(w->b, x, y, on_conflict, arg);
        found = true;
    }
    return found;
}

/* Looks at each run of items that only the name tells apart. The HEAD that a route for GET takes on
 * the side is never the cause: its GET items conflict already. */
static enum tg_err find_conflicts(struct writer *w, tg_route_on_conflict *on_conflict, void *arg)
{
    bool found = false;
    uint32_t hi;
    uint32_t *places = tg_mem_alloc(TG_MEM_CONFIG, (w->count + (size_t)1) * sizeof(*places));
    if (places == NULL)
        return TG_E_NOMEM;
    for (uint32_t lo = 0; lo < w->count; lo = hi) {
        const struct tg_route_item *x = &w->items[w->order[lo]];
        hi = lo + 1;
        while (hi < w->count && same_key(w->b, x, &w->items[w->order[hi]]) &&
               compare_match(w->b, x, &w->items[w->order[hi]]) == 0)
            hi++;
        if (hi - lo > 1 && x->method_class != TG_ROUTE_METHODS_AUTO_HEAD)
            found |= find_in_group(w, places, lo, hi, on_conflict, arg);
    }
    tg_mem_free(TG_MEM_CONFIG, places);
    return found ? TG_E_EXISTS : TG_OK;
}

/* ---- Tree ---------------------------------------------------------------------------------- */

static struct tg_route_node *node_at(const struct writer *w, uint32_t index)
{
    return (struct tg_route_node *)(void *)w->nodes.p + index;
}

/* Room for `count` nodes side by side; the index of the first. */
static uint32_t add_nodes(struct writer *w, uint32_t count)
{
    uint32_t index = (uint32_t)(w->nodes.n / sizeof(struct tg_route_node));
    void *nodes = tg_route_pool_add(&w->nodes, count * sizeof(struct tg_route_node));
    if (nodes == NULL)
        w->failed = true;
    else
        memset(nodes, 0, count * sizeof(struct tg_route_node));
    return index;
}

static uint32_t add_text(struct writer *w, const void *p, size_t n)
{
    uint32_t at = 0;
    if (!tg_route_pool_copy(&w->text, p, n, &at))
        w->failed = true;
    return at;
}

static void add_entry(struct writer *w, uint32_t place, unsigned end)
{
    const struct tg_route_item *item = &w->items[w->order[place]];
    struct tg_route_entry entry = {
        .methods = item->methods,
        .handle = record_of(w->b, item)->handle,
        .rank = item->rank,
        .names = item->names,
        .program = item->program,
        .end = end,
        .captures = item->captures & 31,
        .auto_head = item->method_class == TG_ROUTE_METHODS_AUTO_HEAD,
        .method_count = item->method_count & 63,
        .regex = item->regex & 4095,
    };
    uint32_t at;
    if (!tg_route_pool_copy(&w->entries, &entry, sizeof(entry), &at))
        w->failed = true;
}

static int compare_ranks(const void *xp, const void *yp)
{
    const struct tg_route_entry *x = xp, *y = yp;
    return compare_numbers(x->rank, y->rank);
}

static bool is_text(unsigned char byte)
{
    return byte != TG_ROUTE_KEY_EXACT && byte < TG_ROUTE_KEY_SET;
}

/* Does a path end here, without all of the rest being spelled out? */
static bool is_tail(unsigned char byte)
{
    return byte == TG_ROUTE_KEY_REGEX || byte >= TG_ROUTE_KEY_REST;
}

/* Bytes at the front of the range that all its keys share and that are text. */
static uint32_t label_size(const struct writer *w, struct range r)
{
    const unsigned char *first = key_of(w, r.lo) + r.depth;
    const unsigned char *last = key_of(w, r.hi - 1) + r.depth;
    uint32_t n = 0;
    while (is_text(first[n]) && first[n] == last[n])
        n++;
    return n;
}

/* Do two keys go on with the same byte, or the same parameter? */
static bool same_step(const unsigned char *a, const unsigned char *b)
{
    if (*a != *b || *a != TG_ROUTE_KEY_SET)
        return *a == *b;
    return memcmp(a, b, tg_route_token_size(a)) == 0;
}

/* The front of `*r` whose keys go on with the same byte or parameter as the first; cut off `*r`. */
static struct range take_group(const struct writer *w, struct range *r)
{
    const unsigned char *first = key_of(w, r->lo) + r->depth;
    uint32_t lo = r->lo, hi = r->hi; /* lo belongs to the group, hi does not */
    while (hi - lo > 1) {
        uint32_t middle = lo + (hi - lo) / 2;
        if (same_step(key_of(w, middle) + r->depth, first))
            lo = middle;
        else
            hi = middle;
    }
    struct range group = {r->lo, hi, r->depth};
    r->lo = hi;
    return group;
}

/* Writes the entries that end at the node and counts its children. */
static void fill_ends(struct writer *w, struct tg_route_node *node, struct range r)
{
    node->entries = (uint32_t)(w->entries.n / sizeof(struct tg_route_entry));
    while (r.lo < r.hi) {
        struct range group = take_group(w, &r);
        unsigned char byte = key_of(w, group.lo)[group.depth];
        uint32_t size = group.hi - group.lo;
        node->exact += byte == TG_ROUTE_KEY_EXACT ? size : 0;
        node->tails += is_tail(byte) ? size : 0;
        node->params += tg_route_is_parameter(byte);
        node->texts += is_text(byte);
        if (is_text(byte)) {
            add_text(w, &byte, 1);
            continue;
        }
        for (uint32_t i = group.lo; !tg_route_is_parameter(byte) && i < group.hi; i++)
            add_entry(w, i, byte);
    }
}

/* Brings the tails of the node in order and tells the least rank of all its entries. */
static uint32_t order_ends(const struct writer *w, const struct tg_route_node *node)
{
    uint32_t best = TG_ROUTE_NO_RANK;
    if (node->exact + node->tails == 0)
        return best;
    struct tg_route_entry *exact = (struct tg_route_entry *)(void *)w->entries.p + node->entries;
    struct tg_route_entry *tails = exact + node->exact;
    qsort(tails, node->tails, sizeof(*tails), compare_ranks);
    if (node->exact > 0)
        best = exact->rank;
    return node->tails > 0 ? TG_MIN(best, tails->rank) : best;
}

static void fill_node(struct writer *w, uint32_t index, struct range r);

/* Writes the subtrees below the node, each from its group of items. */
static uint32_t fill_children(struct writer *w, uint32_t child, struct range r)
{
    uint32_t best = TG_ROUTE_NO_RANK;
    while (r.lo < r.hi && !w->failed) {
        struct range group = take_group(w, &r);
        const unsigned char *at = key_of(w, group.lo) + group.depth;
        if (*at == TG_ROUTE_KEY_EXACT || is_tail(*at))
            continue;
        size_t token = tg_route_is_parameter(*at) ? tg_route_token_size(at) : 0;
        node_at(w, child)->set =
            *at == TG_ROUTE_KEY_SET ? tg_route_builder_set(w->b, at + 3) : TG_ROUTE_NO_SET;
        group.depth += (uint32_t)token;
        fill_node(w, child, group);
        best = TG_MIN(best, node_at(w, child)->best);
        child++;
    }
    return best;
}

static void fill_node(struct writer *w, uint32_t index, struct range r)
{
    struct tg_route_node node = *node_at(w, index);
    uint32_t label_n = label_size(w, r);
    node.label_n = (uint16_t)label_n;
    node.text = add_text(w, key_of(w, r.lo) + r.depth, label_n);
    r.depth += label_n;
    fill_ends(w, &node, r);
    node.children = add_nodes(w, (uint32_t)node.texts + node.params);
    if (w->failed)
        return;
    node.best = order_ends(w, &node);
    uint32_t below = fill_children(w, node.children, r);
    node.best = TG_MIN(node.best, below);
    *node_at(w, index) = node;
}

/* ---- Hosts --------------------------------------------------------------------------------- */

/* One past the last item of the host whose first item stands at `lo`. */
static uint32_t host_end(const struct writer *w, uint32_t lo)
{
    uint32_t n = w->items[w->order[lo]].host_n;
    uint32_t hi = lo + 1;
    while (hi < w->count && w->items[w->order[hi]].host_n == n &&
           memcmp(key_of(w, hi), key_of(w, lo), n) == 0)
        hi++;
    return hi;
}

static enum tg_err make_slots(struct writer *w)
{
    struct tg_route_table *t = w->table;
    size_t slots = 4;
    for (uint32_t lo = 0; lo < w->count; lo = host_end(w, lo))
        w->hosts++;
    while (slots < (size_t)w->hosts * 2)
        slots *= 2;
    t->hosts = tg_mem_alloc(TG_MEM_CONFIG, slots * sizeof(*t->hosts));
    if (t->hosts == NULL)
        return TG_E_NOMEM;
    t->host_mask = (uint32_t)(slots - 1);
    for (size_t i = 0; i < slots; i++)
        t->hosts[i] = (struct tg_route_host_slot){.root = TG_ROUTE_NO_NODE};
    return TG_OK;
}

/* Enters a host, as its key describes it, with the tree at `root`. */
static void add_host(struct writer *w, const unsigned char *key, uint32_t key_n, uint32_t root)
{
    struct tg_route_table *t = w->table;
    const char *name = (const char *)key + 2; /* [kind] [labels] name [0] [no port] [port, 2] */
    size_t n = key_n - 6;
    struct tg_route_host_slot slot = {
        .text = add_text(w, name, n),
        .root = root,
        .port = (uint16_t)(key[key_n - 2] << 8 | key[key_n - 1]),
        .n = (uint8_t)n,
        .kind = key[0],
    };
    uint64_t hash = TG_ROUTE_HASH_START;
    while (n-- > 0)
        hash = tg_route_hash_step(hash, name[n]);
    slot.hash = tg_route_hash_end(hash, (enum tg_route_host_kind)slot.kind, slot.port);
    uint32_t i = slot.hash;
    while (t->hosts[i & t->host_mask].root != TG_ROUTE_NO_NODE)
        i++;
    t->hosts[i & t->host_mask] = slot;
    t->has_ports |= slot.port != 0;
    t->has_wildcards |= slot.kind == TG_ROUTE_HOST_WILDCARD;
}

static void write_trees(struct writer *w)
{
    uint32_t hi;
    for (uint32_t lo = 0; lo < w->count && !w->failed; lo = hi) {
        uint32_t host_n = w->items[w->order[lo]].host_n;
        hi = host_end(w, lo);
        uint32_t root = add_nodes(w, 1);
        if (w->failed)
            return;
        node_at(w, root)->set = TG_ROUTE_NO_SET;
        fill_node(w, root, (struct range){lo, hi, host_n});
        add_host(w, key_of(w, lo), host_n, root);
    }
}

/* ---- Putting it together ------------------------------------------------------------------- */

/* A copy of the pool for the table; latches `failed`. NULL for an empty one. */
static void *copy_pool(struct writer *w, const struct tg_route_pool *from)
{
    struct tg_route_pool copy = {NULL, 0, 0};
    uint32_t at;
    if (!tg_route_pool_copy(&copy, from->p, from->n, &at))
        w->failed = true;
    return detach(&copy, &w->table->bytes);
}

/* The table's own references of the expressions. */
static void take_regexes(struct writer *w)
{
    struct tg_route_table *t = w->table;
    t->regexes = copy_pool(w, &w->b->regexes);
    t->regex_count = t->regexes != NULL ? (uint32_t)(w->b->regexes.n / sizeof(*t->regexes)) : 0;
    for (uint32_t i = 0; i < t->regex_count; i++)
        t->bytes += tg_route_regex_bytes(tg_route_regex_ref(t->regexes[i]));
}

static enum tg_err write_table(struct writer *w)
{
    struct tg_route_table *t = w->table;
    uint32_t at;
    t->methods = w->b->methods;
    if (make_slots(w) != TG_OK || rank_items(w) != TG_OK ||
        !tg_route_pool_copy(&w->text, w->b->names.p, w->b->names.n, &at))
        return TG_E_NOMEM;
    t->bytes += sizeof(*t) + (t->host_mask + (size_t)1) * sizeof(*t->hosts);
    t->sets = copy_pool(w, &w->b->sets);
    t->programs = copy_pool(w, &w->b->programs);
    t->tests = copy_pool(w, &w->b->tests);
    t->values = copy_pool(w, &w->b->values);
    t->ranges = copy_pool(w, &w->b->ranges);
    take_regexes(w);
    add_text(w, "", 1); /* so that there is text to point into, even for a lone route without any */
    write_trees(w);
    if (w->failed)
        return TG_E_NOMEM;
    t->entry_count = (uint32_t)(w->entries.n / sizeof(struct tg_route_entry));
    t->nodes = detach(&w->nodes, &t->bytes);
    t->entries = detach(&w->entries, &t->bytes);
    t->text = detach(&w->text, &t->bytes);
    return TG_OK;
}

enum tg_err tg_route_table_build(struct tg_route_builder *b, tg_route_on_conflict *on_conflict,
                                 void *arg, struct tg_route_table **out)
{
    struct writer w = {.b = b, .items = (struct tg_route_item *)(void *)b->items.p};
    enum tg_err err = TG_E_NOMEM;
    w.count = (uint32_t)(b->items.n / sizeof(struct tg_route_item));
    w.order = tg_mem_alloc(TG_MEM_CONFIG, (w.count + (size_t)1) * sizeof(*w.order));
    w.table = tg_mem_zalloc(TG_MEM_CONFIG, 1, sizeof(*w.table));
    if (w.order != NULL && w.table != NULL) {
        for (uint32_t i = 0; i < w.count; i++)
            w.order[i] = i;
        qsort_r(w.order, w.count, sizeof(*w.order), compare_items, &w);
        err = find_conflicts(&w, on_conflict, arg);
        if (err == TG_OK)
            err = write_table(&w);
    }
    tg_route_pool_release(&w.nodes);
    tg_route_pool_release(&w.entries);
    tg_route_pool_release(&w.text);
    tg_mem_free(TG_MEM_CONFIG, w.order);
    if (err == TG_OK)
        *out = w.table;
    else
        tg_route_table_free(&w.table);
    return err;
}
