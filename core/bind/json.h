/* json.h: JSON text to Lua values and back (RFC 8259), within bounds.
 *
 *   depth   TG_JSON_DEPTH levels of lists and objects
 *   nodes   TG_JSON_NODES values and keys
 *   bytes   TG_JSON_BYTES of text
 *
 * Decoding: null becomes tg.json.null, lists carry the mark of tg.json.array(), so that an empty
 * one stays a list when it is encoded again; numbers are doubles; of equal names the last counts;
 * text must be valid UTF-8, lone surrogates are refused. Encoding: a table is a list when it is
 * marked or its keys are 1..n, an object when all keys are strings; an empty one without a mark is
 * an object. No metamethod is called. Names keep the order of the table's traversal.
 *
 * Both may raise for want of memory, and hold nothing but Lua values when they do.
 */
#ifndef TG_BIND_JSON_H
#define TG_BIND_JSON_H

#include "base/str.h"

#include <lua.h>

#define TG_JSON_DEPTH 64
#define TG_JSON_NODES 100000
#define TG_JSON_BYTES ((size_t)8 << 20)

/* Pushes the value of `text` (borrowed for the call): 1. Or nil and an error table that says what
 * is wrong at which byte: 2. */
int tg_json_push_decoded(lua_State *L, struct tg_str text);

/* Pushes the value at `index` as a string. Raises when it cannot be written as JSON. */
void tg_json_push_encoded(lua_State *L, int index);

#endif
