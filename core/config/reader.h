/* reader.h: single fields of checked tables, as C values.
 *
 * `table` is the absolute index of the table; the stack stays as it was. What is read is trusted to
 * be of its type. May raise when memory is out: in protected mode only.
 */
#ifndef TG_CONFIG_READER_H
#define TG_CONFIG_READER_H

#include "config/snapshot.h"

#include <lua.h>

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
