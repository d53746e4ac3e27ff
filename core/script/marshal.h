/* marshal.h: plain Lua data as bytes: how values cross from one VM to another.
 *
 * Plain data is nil, booleans, numbers, strings, and tables of those whose keys are strings,
 * numbers or booleans; metatables are not looked at. A value that appears twice is written twice.
 * Bounds: depth TG_MARSHAL_DEPTH (which is what stops a cycle) and a budget of nodes (values and
 * keys). They do not bound the time: a table that was once large takes long to walk when it is
 * empty, and may be reached on many ways. Where plugins make the value, `is_spent` bounds that.
 *
 *     value  'z' nil | 't' true | 'f' false | 'd' 8 bytes, IEEE 754 of this machine
 *            's' length bytes | '{' list-count pair-count value* (key value)*
 *     lengths and counts are LEB128
 *
 * The encoder touches no metamethod, allocates nothing in the VM but room on its stack, for which
 * it asks before it holds anything, and raises nowhere else. The decoder takes bytes from anywhere:
 * what is not well formed is refused.
 */
#ifndef TG_SCRIPT_MARSHAL_H
#define TG_SCRIPT_MARSHAL_H

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

#include <lua.h>

#define TG_MARSHAL_DEPTH 64
#define TG_MARSHAL_NODES 1000000

struct tg_blob {
    char *p; /* owned, NULL when empty */
    size_t n;
    size_t cap;
    enum tg_mem_tag tag;
};

struct tg_marshal_options {
    const char *root; /* what paths in messages begin with, e.g. "conf" */
    uint32_t nodes;   /* 0: TG_MARSHAL_NODES */
    size_t bytes;     /* most bytes in the blob; 0: no bound */
    /* Asked now and then: true ends it with TG_E_LIMIT. NULL: never asked. */
    bool (*is_spent)(lua_State *L);
    enum tg_mem_tag tag; /* what the blob is charged to */
};

/* Writes the value at `index` of `L` into *out (fresh; released by the caller with
 * tg_blob_release(), also not needed on failure). TG_E_INVALID: the value cannot cross; TG_E_LIMIT:
 * a bound; TG_E_NOMEM. On failure `error` (of `size` bytes) names the path, such as
 * "conf.targets[2].handler: a function cannot cross". Raises when there is no memory for room on
 * the stack: call it from Lua or in protected mode. */
enum tg_err tg_marshal_encode(lua_State *L, int index, const struct tg_marshal_options *options,
                              struct tg_blob *out, char *error, size_t size) TG_MUST_USE;

/* Pushes the value; TG_E_INVALID pushes nothing. May raise (memory): call it in protected mode. */
enum tg_err tg_marshal_decode(lua_State *L, struct tg_str blob) TG_MUST_USE;

/* The value as text, where it is a string, a number or a boolean; numbers are written into `room`,
 * of 32 bytes at least. p == NULL: it is something else, or not well formed. */
struct tg_str tg_marshal_scalar(struct tg_str blob, char *room, size_t size);

/* A digest of the value that `blob` (of the encoder) stands for: equal values have equal digests,
 * whatever order their tables' keys were in. Not for data that somebody makes up. */
uint64_t tg_marshal_digest(struct tg_str blob);

void tg_blob_release(struct tg_blob *blob);

#endif
