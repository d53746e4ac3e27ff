/* layout.h: the memory of a route table, shared by the builder that fills it and the lookup.
 *
 *   hosts   open addressing by the hash of (name, kind, port); each slot leads to a path tree
 *   nodes   all trees in one array; a node's children stand side by side: first those that go on
 *           with text, then those behind a parameter, constrained ones first
 *
 *     slot -> node  label "/v1/"             label: the bytes from the parent on, compressed
 *             |- node  label "orders"        entries: exact ends | rest and prefix ends
 *             |- node  label "users"
 *             `- node  {parameter}, label ""
 *
 *   text    per node its label and then the first bytes of its text children, so that a step reads
 *           one node and (mostly) one line of text; also host names and parameter names
 *   entries one per host x path x method set of a route, grouped by node, by rank within a group
 *   sets    the byte sets of constrained parameters
 *   programs, tests, values, ranges
 *           the conditions of routes that have any: a program is a run of tests, a test leads to
 *           its values in text, or to ranges of addresses
 *   regexes expressions of paths and of conditions, each once
 *
 * Ranks are the places in the total order of all entries; the least that matches wins. Each node
 * holds the least rank below it, so that the search skips what cannot win any more.
 *
 * Offsets and indices are 32 bits wide: the builder refuses what would not fit. Not for use outside
 * core/route.
 */
#ifndef TG_ROUTE_LAYOUT_H
#define TG_ROUTE_LAYOUT_H

#include "route/condition.h"
#include "route/method.h"
#include "route/pattern.h"

#define TG_ROUTE_NO_RANK     UINT32_MAX
#define TG_ROUTE_REGEXES_MAX 4096 /* different expressions in one table */

struct tg_route_entry {
    uint64_t methods;
    void *handle;     /* the caller's */
    uint32_t rank;    /* unique in the table */
    uint32_t names;   /* in text: length byte and bytes of each parameter's name */
    uint32_t program; /* 1 + index of its conditions; 0: none */
    unsigned end : 8; /* TG_ROUTE_KEY_EXACT, _REGEX, _REST or _PREFIX */
    unsigned captures : 5;
    unsigned auto_head : 1;    /* TG_ROUTE_METHODS_AUTO_HEAD */
    unsigned method_count : 6; /* that the route names */
    unsigned regex : 12;       /* of TG_ROUTE_KEY_REGEX: index */
};

_Static_assert(sizeof(struct tg_route_entry) == 32, "two entries in a line of the cache");
_Static_assert(TG_ROUTE_CAPTURES_MAX < 32, "captures has five bits");
_Static_assert(TG_ROUTE_REGEXES_MAX <= 4096, "regex has twelve bits");

enum tg_route_method_class {
    TG_ROUTE_METHODS_NAMED,
    TG_ROUTE_METHODS_AUTO_HEAD, /* HEAD on behalf of a route that names GET only */
    TG_ROUTE_METHODS_ANY
};

struct tg_route_node {
    uint32_t best;     /* least rank in this subtree */
    uint32_t text;     /* label, then the first bytes of the text children */
    uint32_t children; /* index of the first child */
    uint32_t entries;  /* index of the first entry */
    uint32_t exact;    /* entries that end exactly here */
    uint32_t tails;    /* regex, rest and prefix entries, behind the exact ones */
    uint16_t label_n;
    uint16_t params; /* children behind a parameter */
    uint16_t texts;  /* children behind text, at most 256 */
    uint16_t set;    /* of a node behind a parameter: index into sets, or TG_ROUTE_NO_SET */
};

#define TG_ROUTE_NO_SET   UINT16_MAX
#define TG_ROUTE_SETS_MAX 256

struct tg_route_set {
    unsigned char bits[TG_ROUTE_SET_BYTES];
};

/* ---- Conditions ---------------------------------------------------------------------------- */

struct tg_route_value {
    uint32_t at; /* in text */
    uint32_t n;
};

/* Addresses from `low` to `high`, both included, as 16 bytes. */
struct tg_route_range {
    unsigned char low[16];
    unsigned char high[16];
};

struct tg_route_test {
    uint8_t source; /* enum tg_route_source */
    uint8_t kind;   /* enum tg_route_test_kind */
    uint16_t name_n;
    uint32_t name; /* in text */
    uint32_t at;   /* index of the first value or range, or of the regex */
    uint32_t count;
};

struct tg_route_program {
    unsigned char criteria[TG_ROUTE_CRITERIA];
    uint16_t count;
    uint32_t tests; /* index of the first */
    uint32_t
        identity; /* used while building: the conditions in one spelling, in the builder's texts */
    uint32_t identity_n;
};

/* A priority, and the ranks from which on entries have it. */
struct tg_route_band {
    int32_t priority;
    uint32_t first;
};

struct tg_route_host_slot {
    uint32_t hash;
    uint32_t text; /* name */
    uint32_t root; /* node; UINT32_MAX in an empty slot */
    uint16_t port;
    uint8_t n;
    uint8_t kind; /* enum tg_route_host_kind */
};

#define TG_ROUTE_NO_NODE UINT32_MAX

struct tg_route_table {
    struct tg_route_host_slot *hosts;
    uint32_t host_mask; /* slots - 1 */
    bool has_ports;
    bool has_wildcards;
    struct tg_route_node *nodes;
    struct tg_route_entry *entries;
    struct tg_route_set *sets;
    struct tg_route_program *programs;
    struct tg_route_test *tests;
    struct tg_route_value *values;
    struct tg_route_range *ranges;
    struct tg_route_regex **regexes; /* one reference of each */
    struct tg_route_band *bands;     /* by rank */
    char *text;
    uint32_t host_slots; /* in use, of hosts */
    uint32_t entry_count;
    uint32_t regex_count;
    uint32_t band_count;
    size_t bytes; /* of all this */
    struct tg_route_methods methods;
};

/* Hash of a host's name, computed from its end so that one pass yields all suffixes: start with
 * TG_ROUTE_HASH_START and take the bytes from the last to the first. Names come from the config, so
 * nobody outside can fill a chain; an unkeyed hash is enough. */
#define TG_ROUTE_HASH_START UINT64_C(0xcbf29ce484222325)

static inline uint64_t tg_route_hash_step(uint64_t hash, char c)
{
    return (hash ^ (unsigned char)c) * UINT64_C(0x9e3779b97f4a7c15);
}

static inline uint32_t tg_route_hash_end(uint64_t hash, enum tg_route_host_kind kind, uint16_t port)
{
    hash = (hash ^ (uint64_t)kind << 16 ^ port) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(hash >> 32);
}

struct tg_route_query;

/* Do the conditions hold? `*failed` is the index, within the program, of the test that decided for
 * NO or LIMIT. In condition.c. */
enum tg_route_regex_verdict tg_route_program_test(const struct tg_route_table *table,
                                                  const struct tg_route_program *program,
                                                  const struct tg_route_query *query,
                                                  unsigned *failed);

#endif
