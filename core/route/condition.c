/* condition.c: conditions of routes: compiled into programs when a route is added, tested in a
 * lookup.
 *
 * A program's tests stand in the order of enum tg_route_source, and by name within one, its values
 * in byte order without doubles: two routes that ask for the same have the same programs, however
 * they were written. That spelling, with all names and values spelled out, is the program's
 * identity, by which conflicts are found.
 *
 * Routes often ask for the same as others near them, so a program is shared with one of the last
 * few that is equal: that saves memory, and in a lookup it is in the cache already.
 *
 * Networks become disjoint ranges of addresses in order, as in net/cidr_set.h; a question is a
 * binary search, and so is one for a value among many.
 */
#include "base/banned.h"
#include "route/condition.h"

#include "base/mem.h"
#include "route/builder.h"
#include "route/items.h"
#include "route/table.h"

#define RECENT 32 /* programs among which an equal one is looked for */

/* A route's conditions on their way in. */
struct compile {
    struct tg_route_builder *b;
    struct tg_route_program program;
    struct tg_route_refusal *refusal;
    enum tg_route_field field; /* being compiled, for refusals */
    size_t index;
    enum tg_err err; /* the first failure; nothing is added behind it */
};

static const struct tg_route_problem out_of_memory = {"memory is out", "", 0};

static void refuse(struct compile *c, enum tg_err err, struct tg_route_problem what)
{
    if (c->err != TG_OK)
        return;
    c->err = err;
    *c->refusal = (struct tg_route_refusal){c->field, c->index, what};
}

static int compare_strings(struct tg_str a, struct tg_str b)
{
    size_t n = TG_MIN(a.n, b.n);
    int order = n > 0 ? memcmp(a.p, b.p, n) : 0;
    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

static int compare_values(const void *xp, const void *yp)
{
    const struct tg_str *x = xp, *y = yp;
    return compare_strings(*x, *y);
}

/* ---- Compiling: the pools ------------------------------------------------------------------ */

/* Appends to what tells programs apart. */
static void identify(struct compile *c, const void *p, size_t n)
{
    uint32_t at;
    if (c->err == TG_OK && !tg_route_pool_copy(&c->b->texts, p, n, &at))
        refuse(c, TG_E_NOMEM, out_of_memory);
    c->program.identity_n += (uint32_t)n;
}

static void identify_string(struct compile *c, struct tg_str s)
{
    uint32_t n = (uint32_t)s.n;
    identify(c, &n, sizeof(n));
    identify(c, s.p, s.n);
}

/* Puts text where the table will have it, as it is or in lower case. */
static uint32_t keep(struct compile *c, struct tg_str s, bool lower)
{
    uint32_t at = 0;
    if (c->err != TG_OK)
        return at;
    if (!tg_route_pool_copy(&c->b->names, s.p, s.n, &at)) {
        refuse(c, TG_E_NOMEM, out_of_memory);
        return at;
    }
    for (size_t i = 0; lower && i < s.n; i++)
        c->b->names.p[at + i] = tg_char_lower(s.p[i]);
    identify_string(c, tg_str(c->b->names.p + at, s.n));
    return at;
}

/* Without the dot at the end of a host's name, which is the root of the DNS. */
static struct tg_str without_root(struct tg_str host)
{
    host.n -= host.n > 1 && host.p[host.n - 1] == '.';
    return host;
}

/* Appends the values, in order and without doubles. */
static void keep_values(struct compile *c, struct tg_route_test *test, const struct tg_str *values,
                        size_t count)
{
    struct tg_route_pool *pool = &c->b->values;
    struct tg_str *sorted = tg_mem_alloc(TG_MEM_CONFIG, (count + 1) * sizeof(*sorted));
    uint32_t at;
    test->at = (uint32_t)(pool->n / sizeof(struct tg_route_value));
    if (sorted == NULL) {
        refuse(c, TG_E_NOMEM, out_of_memory);
        return;
    }
    for (size_t i = 0; i < count; i++)
        sorted[i] = test->kind == TG_ROUTE_TEST_HOST ? without_root(values[i]) : values[i];
    qsort(sorted, count, sizeof(*sorted), compare_values);
    for (size_t i = 0; i < count && c->err == TG_OK; i++) {
        if (i > 0 && tg_str_eq(sorted[i], sorted[i - 1]))
            continue;
        struct tg_route_value value = {keep(c, sorted[i], test->kind == TG_ROUTE_TEST_HOST),
                                       (uint32_t)sorted[i].n};
        if (!tg_route_pool_copy(pool, &value, sizeof(value), &at))
            refuse(c, TG_E_NOMEM, out_of_memory);
        test->count++;
    }
    tg_mem_free(TG_MEM_CONFIG, sorted);
}

static void add_test(struct compile *c, const struct tg_route_test *test)
{
    uint32_t at;
    if (c->err == TG_OK && !tg_route_pool_copy(&c->b->tests, test, sizeof(*test), &at))
        refuse(c, TG_E_NOMEM, out_of_memory);
    c->program.count++;
}

/* Begins a test, and what is said of it in the identity. */
static struct tg_route_test begin_test(struct compile *c, enum tg_route_source source,
                                       enum tg_route_test_kind kind)
{
    unsigned char head[2] = {(unsigned char)source, (unsigned char)kind};
    identify(c, head, sizeof(head));
    return (struct tg_route_test){.source = head[0], .kind = head[1]};
}

/* ---- Compiling: headers, query, cookies ---------------------------------------------------- */

static int compare_conditions(const void *xp, const void *yp)
{
    const struct tg_route_condition *x = *(const struct tg_route_condition *const *)xp;
    const struct tg_route_condition *y = *(const struct tg_route_condition *const *)yp;
    int order = (int)x->source - (int)y->source;
    for (size_t i = 0; order == 0 && i < x->name.n && i < y->name.n; i++) {
        bool folded = x->source == TG_ROUTE_HEADER;
        char a = folded ? tg_char_lower(x->name.p[i]) : x->name.p[i];
        char b = folded ? tg_char_lower(y->name.p[i]) : y->name.p[i];
        order = (int)(unsigned char)a - (int)(unsigned char)b;
    }
    return order != 0 ? order : (x->name.n > y->name.n) - (x->name.n < y->name.n);
}

static const char *what_is_wrong(const struct tg_route_condition *condition)
{
    if (condition->source > TG_ROUTE_COOKIE)
        return "not a condition on a header, a query parameter or a cookie";
    if (condition->name.n == 0 || condition->name.n > TG_ROUTE_VALUE_MAX)
        return "a name has 1 to 4096 bytes";
    if (condition->kind != TG_ROUTE_TEST_PRESENT && condition->value_count == 0)
        return "a condition without values never holds";
    if (condition->value_count > TG_ROUTE_VALUES_MAX)
        return "more than 1024 values";
    for (size_t i = 0; i < condition->value_count; i++) {
        if (condition->values[i].n > TG_ROUTE_VALUE_MAX)
            return "a value is longer than 4096 bytes";
    }
    return NULL;
}

static void count_condition(struct compile *c, const struct tg_route_condition *condition,
                            uint32_t values)
{
    unsigned char *criteria = c->program.criteria;
    static const unsigned char by_source[] = {
        [TG_ROUTE_HEADER] = TG_ROUTE_BY_HEADERS,
        [TG_ROUTE_QUERY] = TG_ROUTE_BY_QUERY,
        [TG_ROUTE_COOKIE] = TG_ROUTE_BY_COOKIES,
    };
    criteria[by_source[condition->source]]--;
    if (condition->kind == TG_ROUTE_TEST_REGEX)
        criteria[TG_ROUTE_BY_REGEXES]--;
    else if (condition->kind == TG_ROUTE_TEST_VALUE)
        criteria[values == 1 ? TG_ROUTE_BY_VALUES : TG_ROUTE_BY_LISTS]--;
}

static void add_condition(struct compile *c, const struct tg_route_condition *condition)
{
    struct tg_route_problem what = {what_is_wrong(condition), "change what the route asks for", 0};
    struct tg_route_test test = begin_test(c, condition->source, condition->kind);
    if (what.text != NULL) {
        refuse(c, TG_E_INVALID, what);
        return;
    }
    test.name_n = (uint16_t)condition->name.n;
    test.name = keep(c, condition->name, condition->source == TG_ROUTE_HEADER);
    if (condition->kind == TG_ROUTE_TEST_REGEX) {
        enum tg_err err =
            tg_route_builder_regex(c->b, condition->values[0], false, &test.at, &what);
        if (err != TG_OK)
            refuse(c, err, what);
        identify_string(c, condition->values[0]);
    } else if (condition->kind == TG_ROUTE_TEST_VALUE) {
        keep_values(c, &test, condition->values, condition->value_count);
    }
    add_test(c, &test);
    count_condition(c, condition, test.count);
}

static void add_conditions(struct compile *c, const struct tg_route_spec *spec)
{
    const struct tg_route_condition *sorted[TG_ROUTE_CONDITIONS_MAX];
    struct tg_route_problem many = {"more than 64 conditions on one route", "use fewer", 0};
    struct tg_route_problem twice = {"the same name twice", "give it a list of values", 0};
    c->field = TG_ROUTE_FIELD_CONDITIONS;
    if (spec->condition_count > TG_ROUTE_CONDITIONS_MAX) {
        refuse(c, TG_E_LIMIT, many);
        return;
    }
    for (size_t i = 0; i < spec->condition_count; i++)
        sorted[i] = &spec->conditions[i];
    qsort(sorted, spec->condition_count, sizeof(sorted[0]), compare_conditions);
    for (size_t i = 0; i < spec->condition_count && c->err == TG_OK; i++) {
        c->index = (size_t)(sorted[i] - spec->conditions);
        if (i > 0 && compare_conditions(&sorted[i - 1], &sorted[i]) == 0)
            refuse(c, TG_E_INVALID, twice);
        add_condition(c, sorted[i]);
    }
}

/* ---- Compiling: networks, scheme, names of TLS --------------------------------------------- */

static struct tg_route_range range_of(const struct tg_route_network *network)
{
    struct tg_route_range range;
    for (unsigned i = 0; i < 16; i++) {
        unsigned fixed = network->bits > 8 * i ? TG_MIN(network->bits - 8 * i, 8u) : 0;
        unsigned mask = 0xffu >> fixed; /* bits that are free */
        range.low[i] = (unsigned char)(network->bytes[i] & ~mask);
        range.high[i] = (unsigned char)(network->bytes[i] | mask);
    }
    return range;
}

/* Where the addresses of IPv4 stand among those of IPv6, and what is right below and above. */
static const struct tg_route_range four = {
    .low = {[10] = 0xff, [11] = 0xff},
    .high = {[10] = 0xff, [11] = 0xff, [12] = 0xff, [13] = 0xff, [14] = 0xff, [15] = 0xff}};
static const unsigned char below_four[16] = {
    [10] = 0xff, [11] = 0xfe, [12] = 0xff, [13] = 0xff, [14] = 0xff, [15] = 0xff};
static const unsigned char above_four[16] = {[9] = 1};

/* The addresses of a network into `out`; how many ranges: a network of IPv6 that is as wide as to
 * lie on both sides of IPv4 has two. */
static size_t ranges_of(const struct tg_route_network *network, struct tg_route_range *out)
{
    out[0] = range_of(network);
    if (network->bits >= TG_ROUTE_FOUR_BITS || memcmp(out[0].low, four.low, 16) > 0 ||
        memcmp(out[0].high, four.high, 16) < 0)
        return 1;
    memcpy(out[1].low, above_four, 16);
    memcpy(out[1].high, out[0].high, 16);
    memcpy(out[0].high, below_four, 16);
    return memcmp(out[1].low, out[1].high, 16) <= 0 ? 2 : 1;
}

static int compare_ranges(const void *xp, const void *yp)
{
    const struct tg_route_range *x = xp, *y = yp;
    return memcmp(x->low, y->low, sizeof(x->low));
}

/* True when `b`, which does not begin before `a`, overlaps it or begins right behind it. */
static bool touches(const struct tg_route_range *a, const struct tg_route_range *b)
{
    unsigned char next[16];
    unsigned carry = 1;
    memcpy(next, a->high, sizeof(next));
    for (unsigned i = 16; i-- > 0 && carry > 0;) {
        carry += next[i];
        next[i] = (unsigned char)carry;
        carry >>= 8;
    }
    return carry > 0 || memcmp(b->low, next, sizeof(next)) <= 0;
}

/* Merges the ranges in order; how many are left. */
static uint32_t merge(struct tg_route_range *ranges, size_t count)
{
    uint32_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (n == 0 || !touches(&ranges[n - 1], &ranges[i]))
            ranges[n++] = ranges[i];
        else if (memcmp(ranges[i].high, ranges[n - 1].high, 16) > 0)
            memcpy(ranges[n - 1].high, ranges[i].high, 16);
    }
    return n;
}

static void add_networks(struct compile *c, const struct tg_route_spec *spec)
{
    struct tg_route_problem many = {"more than 1024 networks on one route", "merge some", 0};
    struct tg_route_pool *pool = &c->b->ranges;
    size_t count = spec->network_count, before = pool->n, n = 0;
    unsigned widest = 128;
    c->field = TG_ROUTE_FIELD_NETWORKS;
    c->index = 0;
    if (count == 0)
        return;
    if (count > TG_ROUTE_VALUES_MAX) {
        refuse(c, TG_E_LIMIT, many);
        return;
    }
    struct tg_route_test test = begin_test(c, TG_ROUTE_NETWORK, TG_ROUTE_TEST_NETWORK);
    struct tg_route_range *ranges = tg_route_pool_add(pool, 2 * count * sizeof(*ranges));
    if (ranges == NULL) {
        refuse(c, TG_E_NOMEM, out_of_memory);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        n += ranges_of(&spec->networks[i], ranges + n);
        widest = TG_MIN(widest, spec->networks[i].bits);
    }
    qsort(ranges, n, sizeof(*ranges), compare_ranges);
    test.at = (uint32_t)(before / sizeof(*ranges));
    test.count = merge(ranges, n);
    pool->n = before + test.count * sizeof(*ranges);
    identify(c, ranges, test.count * sizeof(*ranges));
    c->program.criteria[TG_ROUTE_BY_NETWORKS] = (unsigned char)(128 - widest);
    add_test(c, &test);
}

static void add_scheme(struct compile *c, const struct tg_route_spec *spec)
{
    if (spec->scheme.n == 0)
        return;
    struct tg_route_test test = begin_test(c, TG_ROUTE_SCHEME, TG_ROUTE_TEST_VALUE);
    keep_values(c, &test, &spec->scheme, 1);
    c->program.criteria[TG_ROUTE_BY_SCHEME] = 0;
    add_test(c, &test);
}

static void add_snis(struct compile *c, const struct tg_route_spec *spec)
{
    struct tg_route_problem what = {"more than 1024 names on one route", "use wildcards", 0};
    struct tg_route_host host;
    c->field = TG_ROUTE_FIELD_SNIS;
    if (spec->sni_count == 0)
        return;
    if (spec->sni_count > TG_ROUTE_VALUES_MAX)
        refuse(c, TG_E_LIMIT, what);
    struct tg_route_test test = begin_test(c, TG_ROUTE_SNI, TG_ROUTE_TEST_HOST);
    for (c->index = 0; c->index < spec->sni_count && c->err == TG_OK; c->index++) {
        enum tg_err err = tg_route_host_parse(spec->snis[c->index], &host, &what);
        if (err == TG_OK && (host.port != 0 || host.kind == TG_ROUTE_HOST_ANY)) {
            what = (struct tg_route_problem){"a name of a TLS handshake has no port, and is one",
                                             "write api.example.com or *.example.com", 0};
            err = TG_E_INVALID;
        }
        if (err != TG_OK)
            refuse(c, err, what);
    }
    if (c->err == TG_OK)
        keep_values(c, &test, spec->snis, spec->sni_count);
    c->program.criteria[TG_ROUTE_BY_SNI] = 0;
    add_test(c, &test);
}

/* 1 + the index of one of the last programs that asks for the same; 0: none does. */
static uint32_t find_recent(const struct tg_route_builder *b,
                            const struct tg_route_program *program)
{
    const struct tg_route_program *programs =
        (const struct tg_route_program *)(void *)b->programs.p;
    uint32_t count = (uint32_t)(b->programs.n / sizeof(*programs));
    for (uint32_t i = count; i > 0 && count - i < RECENT; i--) {
        const struct tg_route_program *p = &programs[i - 1];
        if (p->identity_n == program->identity_n &&
            memcmp(p->criteria, program->criteria, sizeof(p->criteria)) == 0 &&
            memcmp(b->texts.p + p->identity, b->texts.p + program->identity, p->identity_n) == 0)
            return i;
    }
    return 0;
}

/* Appends the program, or takes one that is there and the pools back to the sizes `before`. */
static uint32_t add_program(struct compile *c, const struct tg_route_builder *before)
{
    struct tg_route_builder *b = c->b;
    uint32_t at, known = find_recent(b, &c->program);
    if (known == 0) {
        if (!tg_route_pool_copy(&b->programs, &c->program, sizeof(c->program), &at))
            refuse(c, TG_E_NOMEM, out_of_memory);
        return (uint32_t)(b->programs.n / sizeof(c->program));
    }
    b->texts.n = before->texts.n;
    b->names.n = before->names.n;
    b->tests.n = before->tests.n;
    b->values.n = before->values.n;
    b->ranges.n = before->ranges.n;
    return known;
}

enum tg_err tg_route_builder_conditions(struct tg_route_builder *b,
                                        const struct tg_route_spec *spec, uint32_t *program,
                                        struct tg_route_refusal *refusal)
{
    struct compile c = {.b = b, .refusal = refusal, .err = TG_OK};
    const struct tg_route_builder before = *b;
    memset(c.program.criteria, 255, sizeof(c.program.criteria));
    c.program.criteria[TG_ROUTE_BY_SCHEME] = 1;
    c.program.criteria[TG_ROUTE_BY_SNI] = 1;
    c.program.tests = (uint32_t)(b->tests.n / sizeof(struct tg_route_test));
    c.program.identity = (uint32_t)b->texts.n;
    add_conditions(&c, spec);
    add_networks(&c, spec);
    add_scheme(&c, spec);
    add_snis(&c, spec);
    *program = 0;
    if (c.err == TG_OK && c.program.count > 0)
        *program = add_program(&c, &before);
    return c.err;
}

/* ---- Testing --------------------------------------------------------------------------------- */

static struct tg_str value_at(const struct tg_route_table *t, uint32_t index)
{
    return tg_str(t->text + t->values[index].at, t->values[index].n);
}

static bool is_listed(const struct tg_route_table *t, const struct tg_route_test *test,
                      struct tg_str value)
{
    uint32_t lo = test->at, hi = test->at + test->count;
    while (lo < hi) {
        uint32_t middle = lo + (hi - lo) / 2;
        int order = compare_strings(value, value_at(t, middle));
        if (order == 0)
            return true;
        if (order < 0)
            hi = middle;
        else
            lo = middle + 1;
    }
    return false;
}

static bool is_within(const struct tg_route_table *t, const struct tg_route_test *test,
                      struct tg_str address)
{
    const struct tg_route_range *ranges = t->ranges + test->at;
    uint32_t lo = 0, hi = test->count; /* ranges before lo begin at or below the address */
    if (address.n != 16)
        return false;
    while (lo < hi) {
        uint32_t middle = lo + (hi - lo) / 2;
        if (memcmp(ranges[middle].low, address.p, 16) <= 0)
            lo = middle + 1;
        else
            hi = middle;
    }
    return lo > 0 && memcmp(address.p, ranges[lo - 1].high, 16) <= 0;
}

static bool is_named(const struct tg_route_table *t, const struct tg_route_test *test,
                     struct tg_str name)
{
    name = without_root(name);
    for (uint32_t i = 0; i < test->count; i++) {
        struct tg_str pattern = value_at(t, test->at + i);
        bool wild = tg_str_starts(pattern, TG_STR("*."));
        struct tg_str end = tg_str_sub(pattern, wild, pattern.n);
        if (wild ? name.n > end.n : name.n == end.n) {
            if (tg_str_eq_nocase(tg_str_sub(name, name.n - end.n, name.n), end))
                return true;
        }
    }
    return false;
}

static enum tg_route_regex_verdict test_value(const struct tg_route_table *t,
                                              const struct tg_route_test *test, struct tg_str value)
{
    bool yes = true;
    switch ((enum tg_route_test_kind)test->kind) {
    case TG_ROUTE_TEST_PRESENT:
        break;
    case TG_ROUTE_TEST_VALUE:
        yes = is_listed(t, test, value);
        break;
    case TG_ROUTE_TEST_REGEX:
        return tg_route_regex_match(t->regexes[test->at], value.n > 0 ? value : TG_STR(""), NULL);
    case TG_ROUTE_TEST_NETWORK:
        yes = is_within(t, test, value);
        break;
    case TG_ROUTE_TEST_HOST:
        yes = is_named(t, test, value);
        break;
    }
    return yes ? TG_ROUTE_REGEX_YES : TG_ROUTE_REGEX_NO;
}

static enum tg_route_regex_verdict run_test(const struct tg_route_table *t,
                                            const struct tg_route_test *test,
                                            const struct tg_route_query *query)
{
    enum tg_route_source source = (enum tg_route_source)test->source;
    struct tg_str name = tg_str(t->text + test->name, test->name_n);
    struct tg_str value;
    for (unsigned nth = 0; query->fetch(query->arg, source, name, nth, &value); nth++) {
        enum tg_route_regex_verdict verdict = test_value(t, test, value);
        if (verdict != TG_ROUTE_REGEX_NO || source != TG_ROUTE_HEADER)
            return verdict;
    }
    return TG_ROUTE_REGEX_NO;
}

enum tg_route_regex_verdict tg_route_program_test(const struct tg_route_table *t,
                                                  const struct tg_route_program *program,
                                                  const struct tg_route_query *query,
                                                  unsigned *failed)
{
    for (unsigned i = 0; i < program->count; i++) {
        enum tg_route_regex_verdict verdict = TG_ROUTE_REGEX_NO;
        *failed = i;
        if (query->fetch != NULL)
            verdict = run_test(t, &t->tests[program->tests + i], query);
        if (verdict != TG_ROUTE_REGEX_YES)
            return verdict;
    }
    return TG_ROUTE_REGEX_YES;
}
