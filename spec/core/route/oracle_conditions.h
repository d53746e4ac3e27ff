/* oracle_conditions.h: conditions of routes for the oracle of route_oracle.h: made at random,
 * tested and compared one by one, as the rules say it and without the route table's code.
 *
 * Headers, query parameters and cookies have two names each and a few short values, so that random
 * routes and requests meet often. Regular expressions have twins in C.
 */
#ifndef ORACLE_CONDITIONS_H
#define ORACLE_CONDITIONS_H

#include "route/build.h"

#define ORACLE_SOURCES 3 /* headers, query parameters, cookies */
#define ORACLE_NAMES   2

/* A source of choices: random numbers in a test, input bytes in a fuzzer. */
struct oracle_source {
    unsigned (*below)(void *arg, unsigned bound);
    void *arg;
};

static inline unsigned oracle_pick(const struct oracle_source *s, unsigned bound)
{
    return s->below(s->arg, bound);
}

static const char *const oracle_names[ORACLE_NAMES] = {"x-one", "x-two"};
static const char *const oracle_values[] = {"1", "2", "12", ""};
static const char *const oracle_value_regexes[] = {"^1", "2$"};

enum oracle_test { ORACLE_NONE, ORACLE_PRESENT, ORACLE_VALUES, ORACLE_REGEX_TEST };

struct oracle_condition {
    enum oracle_test test;
    unsigned values; /* bits into oracle_values, or index of an expression */
};

struct oracle_network {
    unsigned char bytes[4];
    unsigned bits;
};

static const struct oracle_network oracle_networks[] = {
    {{10, 0, 0, 0}, 8}, {{10, 1, 0, 0}, 16}, {{0, 0, 0, 0}, 0}, {{10, 1, 1, 7}, 32}};
static const unsigned char oracle_addresses[][4] = {
    {10, 1, 1, 7}, {10, 1, 2, 3}, {10, 9, 9, 9}, {192, 0, 2, 1}};
static const char *const oracle_schemes[] = {"", "http", "https"};

struct oracle_conditions {
    struct oracle_condition of[ORACLE_SOURCES][ORACLE_NAMES];
    unsigned networks; /* bits into oracle_networks; 0: any */
    unsigned scheme;   /* 0: any */
    bool sni;          /* asks for a name of TLS: never true here */
};

/* What a request has of it: up to two values for a name. */
struct oracle_facts {
    unsigned count[ORACLE_SOURCES][ORACLE_NAMES];
    unsigned value[ORACLE_SOURCES][ORACLE_NAMES][2];
    unsigned address;
    unsigned scheme; /* 1 or 2 */
};

/* ---- Making -------------------------------------------------------------------------------- */

static inline void oracle_make_conditions(const struct oracle_source *s,
                                          struct oracle_conditions *c)
{
    *c = (struct oracle_conditions){.networks = 0};
    if (oracle_pick(s, 2) == 0)
        return;
    for (unsigned i = 0; i < ORACLE_SOURCES * ORACLE_NAMES; i++) {
        struct oracle_condition *one = &c->of[i / ORACLE_NAMES][i % ORACLE_NAMES];
        if (oracle_pick(s, 4) != 0)
            continue;
        one->test = (enum oracle_test)(1 + oracle_pick(s, 3));
        one->values = one->test == ORACLE_VALUES ? 1 + oracle_pick(s, 15) : oracle_pick(s, 2);
    }
    if (oracle_pick(s, 5) == 0)
        c->networks = 1 + oracle_pick(s, 15);
    if (oracle_pick(s, 6) == 0)
        c->scheme = oracle_pick(s, 3);
    c->sni = oracle_pick(s, 20) == 0;
}

static inline void oracle_make_facts(const struct oracle_source *s, struct oracle_facts *f)
{
    for (unsigned i = 0; i < ORACLE_SOURCES * ORACLE_NAMES; i++) {
        unsigned source = i / ORACLE_NAMES, name = i % ORACLE_NAMES;
        f->count[source][name] = oracle_pick(s, 3);
        for (unsigned k = 0; k < 2; k++)
            f->value[source][name][k] = oracle_pick(s, TG_COUNT_OF(oracle_values));
    }
    f->address = oracle_pick(s, TG_COUNT_OF(oracle_addresses));
    f->scheme = 1 + oracle_pick(s, 2);
}

/* Room for what a spec points to. */
struct oracle_spec_room {
    struct tg_route_condition conditions[ORACLE_SOURCES * ORACLE_NAMES];
    struct tg_str values[ORACLE_SOURCES * ORACLE_NAMES][TG_COUNT_OF(oracle_values)];
    struct tg_route_network networks[TG_COUNT_OF(oracle_networks)];
    struct tg_str sni;
};

static inline void oracle_spec_condition(const struct oracle_condition *one, unsigned i,
                                         struct oracle_spec_room *room, struct tg_route_spec *spec)
{
    static const enum tg_route_test_kind kinds[] = {TG_ROUTE_TEST_PRESENT, TG_ROUTE_TEST_PRESENT,
                                                    TG_ROUTE_TEST_VALUE, TG_ROUTE_TEST_REGEX};
    struct tg_route_condition *c = &room->conditions[spec->condition_count];
    if (one->test == ORACLE_NONE)
        return;
    *c = (struct tg_route_condition){.source = (enum tg_route_source)(i / ORACLE_NAMES),
                                     .kind = kinds[one->test],
                                     .name = tg_str_c(oracle_names[i % ORACLE_NAMES]),
                                     .values = room->values[i]};
    for (unsigned v = TG_COUNT_OF(oracle_values); one->test == ORACLE_VALUES && v-- > 0;) {
        if ((one->values >> v & 1) != 0)
            room->values[i][c->value_count++] = tg_str_c(oracle_values[v]);
    }
    if (one->test == ORACLE_REGEX_TEST)
        room->values[i][c->value_count++] = tg_str_c(oracle_value_regexes[one->values]);
    spec->condition_count++;
}

/* Puts the conditions into `spec`. */
static inline void oracle_spec_conditions(const struct oracle_conditions *c,
                                          struct oracle_spec_room *room, struct tg_route_spec *spec)
{
    spec->conditions = room->conditions;
    for (unsigned i = 0; i < ORACLE_SOURCES * ORACLE_NAMES; i++)
        oracle_spec_condition(&c->of[i / ORACLE_NAMES][i % ORACLE_NAMES], i, room, spec);
    spec->networks = room->networks;
    for (unsigned i = 0; i < TG_COUNT_OF(oracle_networks); i++) {
        struct tg_route_network *n = &room->networks[spec->network_count];
        if ((c->networks >> i & 1) == 0)
            continue;
        *n = (struct tg_route_network){.bytes = {[10] = 0xff, [11] = 0xff},
                                       .bits = (uint8_t)(96 + oracle_networks[i].bits)};
        memcpy(n->bytes + 12, oracle_networks[i].bytes, 4);
        spec->network_count++;
    }
    spec->scheme = tg_str_c(oracle_schemes[c->scheme]);
    room->sni = TG_STR("*.a.test");
    spec->snis = &room->sni;
    spec->sni_count = c->sni;
}

/* ---- Testing ------------------------------------------------------------------------------- */

static inline bool oracle_value_fits(const struct oracle_condition *c, unsigned value)
{
    const char *text = oracle_values[value];
    if (c->test == ORACLE_VALUES)
        return (c->values >> value & 1) != 0;
    if (c->test == ORACLE_REGEX_TEST)
        return c->values == 0 ? text[0] == '1' : strlen(text) > 0 && text[strlen(text) - 1] == '2';
    return true;
}

static inline bool oracle_network_has(const struct oracle_network *n, const unsigned char *address)
{
    for (unsigned bit = 0; bit < n->bits; bit++) {
        unsigned mask = 0x80u >> bit % 8;
        if ((n->bytes[bit / 8] & mask) != (address[bit / 8] & mask))
            return false;
    }
    return true;
}

static inline bool oracle_conditions_hold(const struct oracle_conditions *c,
                                          const struct oracle_facts *f)
{
    bool within = c->networks == 0;
    for (unsigned i = 0; i < ORACLE_SOURCES * ORACLE_NAMES; i++) {
        unsigned source = i / ORACLE_NAMES, name = i % ORACLE_NAMES;
        const struct oracle_condition *one = &c->of[source][name];
        unsigned count = source == 0 ? f->count[source][name] : TG_MIN(f->count[source][name], 1u);
        bool fits = one->test == ORACLE_NONE;
        for (unsigned k = 0; k < count; k++)
            fits |= oracle_value_fits(one, f->value[source][name][k]);
        if (!fits)
            return false;
    }
    for (unsigned i = 0; i < TG_COUNT_OF(oracle_networks); i++)
        within |= (c->networks >> i & 1) != 0 &&
                  oracle_network_has(&oracle_networks[i], oracle_addresses[f->address]);
    return within && !c->sni && (c->scheme == 0 || c->scheme == f->scheme);
}

/* What the table asks of a request; `arg` is a struct oracle_facts. */
static inline bool oracle_fetch(void *arg, enum tg_route_source source, struct tg_str name,
                                unsigned nth, struct tg_str *value)
{
    static _Thread_local unsigned char address[16] = {[10] = 0xff, [11] = 0xff};
    const struct oracle_facts *f = arg;
    if (source == TG_ROUTE_SNI)
        return false;
    if (source == TG_ROUTE_NETWORK) {
        memcpy(address + 12, oracle_addresses[f->address], 4);
        *value = tg_str((const char *)address, sizeof(address));
        return nth == 0;
    }
    *value = tg_str_c(oracle_schemes[f->scheme]);
    if (source == TG_ROUTE_SCHEME)
        return nth == 0;
    unsigned i = tg_str_eq(name, tg_str_c(oracle_names[0])) ? 0 : 1;
    *value = tg_str_c(oracle_values[f->value[source][i][nth & 1]]);
    return nth < f->count[source][i];
}

/* ---- Comparing ----------------------------------------------------------------------------- */

static inline int oracle_count(const struct oracle_conditions *c, int source, int shape)
{
    int count = 0;
    for (int i = 0; i < ORACLE_SOURCES * ORACLE_NAMES; i++) {
        const struct oracle_condition *one = &c->of[i / ORACLE_NAMES][i % ORACLE_NAMES];
        int own = one->test != ORACLE_VALUES            ? (int)one->test
                  : __builtin_popcount(one->values) > 1 ? 4
                                                        : ORACLE_VALUES;
        count += one->test != ORACLE_NONE && (source < 0 || source == i / ORACLE_NAMES) &&
                 (shape < 0 || shape == own);
    }
    return count;
}

/* Bits of the widest network; -1 when there is none. */
static inline int oracle_widest(const struct oracle_conditions *c)
{
    int widest = c->networks == 0 ? -1 : 32;
    for (unsigned i = 0; i < TG_COUNT_OF(oracle_networks); i++) {
        if ((c->networks >> i & 1) != 0)
            widest = TG_MIN(widest, (int)oracle_networks[i].bits);
    }
    return widest;
}

/* Below zero when `a` asks for more. */
static inline int oracle_compare_conditions(const struct oracle_conditions *a,
                                            const struct oracle_conditions *b)
{
    static const int shapes[] = {ORACLE_VALUES, 4, ORACLE_REGEX_TEST};
    int order = 0;
    for (int source = 0; source < ORACLE_SOURCES && order == 0; source++)
        order = oracle_count(b, source, -1) - oracle_count(a, source, -1);
    if (order == 0)
        order = oracle_widest(b) - oracle_widest(a);
    if (order == 0)
        order = (a->scheme == 0) - (b->scheme == 0);
    if (order == 0)
        order = b->sni - a->sni;
    for (unsigned i = 0; i < 3 && order == 0; i++)
        order = oracle_count(b, -1, shapes[i]) - oracle_count(a, -1, shapes[i]);
    return order;
}

/* Do both ask for the same? Networks within others do not count. */
static inline bool oracle_conditions_equal(const struct oracle_conditions *a,
                                           const struct oracle_conditions *b)
{
    static const unsigned covered[][2] = {{1, 0}, {3, 1}, {3, 0}, {0, 2}, {1, 2}, {3, 2}};
    unsigned x = a->networks, y = b->networks;
    for (unsigned i = 0; i < TG_COUNT_OF(covered); i++) {
        x &= (x >> covered[i][1] & 1) != 0 ? ~(1u << covered[i][0]) : ~0u;
        y &= (y >> covered[i][1] & 1) != 0 ? ~(1u << covered[i][0]) : ~0u;
    }
    for (unsigned i = 0; i < ORACLE_SOURCES * ORACLE_NAMES; i++) {
        const struct oracle_condition *p = &a->of[i / ORACLE_NAMES][i % ORACLE_NAMES];
        const struct oracle_condition *q = &b->of[i / ORACLE_NAMES][i % ORACLE_NAMES];
        if (p->test != q->test || (p->test > ORACLE_PRESENT && p->values != q->values))
            return false;
    }
    return x == y && a->scheme == b->scheme && a->sni == b->sni;
}

#endif
