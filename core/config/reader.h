/* reader.h: single fields of checked tables, as C values.
 *
 * `table` is the absolute index of the table; the stack stays as it was unless a function pushes.
 * What is read is trusted to be of its type. May raise when memory is out: in protected mode only.
 */
#ifndef TG_CONFIG_READER_H
#define TG_CONFIG_READER_H

#include "config/snapshot.h"

#include <lua.h>

#define TG_READER_NO_MEMORY "not enough memory" /* the text of Lua's own error */

/* Room of the snapshot's, zeroed; raises where there is none. */
void *tg_reader_alloc(lua_State *L, struct tg_snapshot *snapshot, size_t count, size_t size);

/* Pushes the list in a field and tells its length; the caller pops it. */
uint32_t tg_reader_list(lua_State *L, int table, const char *name);

/* Pushes item `i` (counted from 0) of the list at `list`; returns its absolute index. */
int tg_reader_item(lua_State *L, int list, uint32_t i);

/* Copies of the strings of the list in a field. */
const struct tg_str *tg_reader_strs(lua_State *L, struct tg_snapshot *snapshot, int table,
                                    const char *name, uint32_t *count);

/* Copy of a string in the snapshot's memory; empty for nil. */
struct tg_str tg_reader_str(lua_State *L, struct tg_snapshot *snapshot, int table,
                            const char *name);

bool tg_reader_bool(lua_State *L, int table, const char *name);

/* A number; `absent` for nil. */
double tg_reader_number(lua_State *L, int table, const char *name, double absent);

/* A whole number, not negative. */
uint64_t tg_reader_count(lua_State *L, int table, const char *name, uint64_t absent);

/* Seconds as microseconds; `absent` is in microseconds. */
uint64_t tg_reader_time(lua_State *L, int table, const char *name, uint64_t absent);

/* The place in `words` of the string at the top of the stack, which is one of them. */
unsigned tg_reader_word(lua_State *L, const char *const *words, size_t count);

#endif
