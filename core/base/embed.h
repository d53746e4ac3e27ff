/*
 * The Lua files that the binary carries: lua/ and plugins/, as they stood when it was built.
 *
 * The Makefile generates the table with the assembler's .incbin (build/gen/embed.S), so text is
 * neither escaped nor copied: an entry points into the program's read-only data. Names are paths
 * from the top of the repository, such as "lua/tidegate/init.lua" or "plugins/cors/init.lua".
 *
 * Threads: everything here is constant; any thread may read it.
 * Ownership: names and texts are borrowed for the life of the process; nobody frees them.
 */
#ifndef TG_BASE_EMBED_H
#define TG_BASE_EMBED_H

#include <stddef.h>

struct tg_embed {
    const char
        *name; /* path from the top of the repository; NULL in the entry that ends the table */
    const char *data; /* the file's bytes; one NUL follows them, which size does not count */
    size_t size;      /* bytes in the file */
};

/* Every embedded file, sorted by name (bytewise), closed by an entry whose name is NULL. */
extern const struct tg_embed tg_embed_table[];

/* The file called `name`, or NULL. `name` must not be NULL. Costs one string compare per file. */
const struct tg_embed *tg_embed_find(const char *name);

#endif
