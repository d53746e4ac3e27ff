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
 *
 * Ranks are the places in the total order of all entries; the least that matches wins. Each node
 * holds the least rank below it, so that the search skips what cannot win any more.
 *
 * Offsets and indices are 32 bits wide: the builder refuses what would not fit. Not for use outside
 * core/route.
 */
#ifndef TG_ROUTE_LAYOUT_H
#define TG_ROUTE_LAYOUT_H

#include "route/method.h"
#include "route/pattern.h"

#define TG_ROUTE_NO_RANK UINT32_MAX

struct tg_route_entry {
    uint64_t methods;
    void *handle;   /* the caller's */
    uint32_t rank;  /* unique in the table */
    uint32_t names; /* in text: length byte and bytes of each parameter's name */
    uint8_t end;    /* TG_ROUTE_KEY_EXACT, _REST or _PREFIX */
    uint8_t captures;
};

struct tg_route_node {
    uint32_t best;     /* least rank in this subtree */
    uint32_t text;     /* label, then the first bytes of the text children */
    uint32_t children; /* index of the first child */
    uint32_t entries;  /* index of the first entry */
    uint32_t exact;    /* entries that end exactly here */
    uint32_t tails;    /* rest and prefix entries, behind the exact ones */
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
    char *text;
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

#endif
