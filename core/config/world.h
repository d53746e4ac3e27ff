/* world.h: what a configuration can see of the machine: files, names of files, the environment. */
#ifndef TG_CONFIG_WORLD_H
#define TG_CONFIG_WORLD_H

#include "config/sources.h"

#define TG_WORLD_FILE_MAX ((size_t)16 << 20)

/* Reads the thing of that kind and name (terminated) as it is now: out->text, out->absent are set,
 * the rest is left alone. out->text.p is the caller's: tg_mem_free(TG_MEM_CONFIG, ...). Only
 * regular files of at most TG_WORLD_FILE_MAX bytes are read. TG_E_NOMEM. */
enum tg_err tg_world_read(enum tg_source_kind kind, const char *name,
                          struct tg_source_item *out) TG_MUST_USE;

#endif
