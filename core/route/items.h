/* items.h: what the builder collects, shared by builder.c (collects) and build.c (makes the table).
 *
 * An item is one host x path pair of one route with one class of methods. Its sort key is a byte
 * string, the host's key and then the path's (pattern.h); items sorted by it stand in order of
 * precedence, and those of one tree node stand together. Offsets lead into the pools of the builder
 * and fit 32 bits, because a pool refuses to grow further.
 *
 * Not for use outside core/route.
 */
#ifndef TG_ROUTE_ITEMS_H
#define TG_ROUTE_ITEMS_H

#include "route/layout.h"

/* A growing array of bytes or structs; doubles, so that appending costs O(1) on average. */
struct tg_route_pool {
    char *p;
    size_t n; /* bytes in use */
    size_t cap;
};

#define TG_ROUTE_POOLS 11 /* of a builder */

/* Room for `n` more bytes at the end, uninitialised, valid until the next call; NULL when memory
 * is out or the pool would exceed 4 GiB. */
void *tg_route_pool_add(struct tg_route_pool *pool, size_t n) TG_MUST_USE;

/* Appends a copy of `n` bytes and tells its offset; false as above. */
bool tg_route_pool_copy(struct tg_route_pool *pool, const void *from, size_t n,
                        uint32_t *at) TG_MUST_USE;

void tg_route_pool_release(struct tg_route_pool *pool);

struct tg_route_item {
    uint64_t methods;
    uint32_t key; /* in keys */
    uint32_t key_n;
    uint32_t host_n;    /* bytes of the key that are the host's */
    uint32_t route;     /* index into routes */
    uint32_t host_text; /* in texts: patterns as written, for messages */
    uint32_t path;
    uint32_t names;   /* in names */
    uint32_t rank;    /* set while a table is built */
    uint32_t program; /* 1 + index; 0: no conditions */
    uint32_t regex;   /* index, where the path is one */
    uint16_t host_text_n;
    uint16_t path_n;
    uint8_t captures;
    uint8_t method_class;
    uint8_t method_count; /* that the route names */
};

struct tg_route_record {
    void *handle;
    uint32_t name; /* in texts */
    uint32_t name_n;
    int32_t priority;
};

struct tg_route_builder {
    struct tg_route_pool keys;
    struct tg_route_pool texts;
    struct tg_route_pool names; /* of parameters, each a length byte and bytes, by path */
    struct tg_route_pool items;
    struct tg_route_pool routes;
    struct tg_route_pool sets; /* TG_ROUTE_SET_BYTES each, all different */
    struct tg_route_pool programs;
    struct tg_route_pool tests;
    struct tg_route_pool values; /* their text is in names, which every table takes over */
    struct tg_route_pool ranges;
    struct tg_route_pool regexes; /* pointers, one reference each */
    struct tg_route_methods methods;
};

/* Index of a set that some route uses, or TG_ROUTE_NO_SET. */
uint16_t tg_route_builder_set(const struct tg_route_builder *builder, const unsigned char *bits);

/* Index of the expression in the builder's regexes, compiled now when it is new. TG_E_INVALID and
 * TG_E_LIMIT with `*problem` set; TG_E_NOMEM. */
enum tg_err tg_route_builder_regex(struct tg_route_builder *builder, struct tg_str pattern,
                                   bool anchored, uint32_t *index,
                                   struct tg_route_problem *problem) TG_MUST_USE;

struct tg_route_spec;
struct tg_route_refusal;

/* Compiles the conditions of `spec` into `*program`: 1 + the index of the program, 0 when it has
 * none. Errors as of tg_route_builder_add(). In condition.c. */
enum tg_err tg_route_builder_conditions(struct tg_route_builder *builder,
                                        const struct tg_route_spec *spec, uint32_t *program,
                                        struct tg_route_refusal *refusal) TG_MUST_USE;

static inline bool tg_route_is_parameter(unsigned char byte)
{
    return byte == TG_ROUTE_KEY_SET || byte == TG_ROUTE_KEY_FREE;
}

/* Bytes of the parameter token at `p` in a key. */
static inline size_t tg_route_token_size(const unsigned char *p)
{
    return *p == TG_ROUTE_KEY_FREE ? 1 : 3 + TG_ROUTE_SET_BYTES;
}

#endif
