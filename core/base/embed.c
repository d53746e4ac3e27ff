/*
 * Looking up the Lua files that the binary carries.
 *
 * Purpose: Lua loaders (the config language, bundled plugins) ask for a file by its path in the
 * repository and get its bytes without touching a disk.
 * Invariants: the table ends with an entry whose name is NULL; it is constant.
 * Threads: any. Ownership: everything is borrowed from the program's read-only data.
 * Cost: a scan over some dozens of names. It runs when a VM is built, never per request, so the
 * table needs no index; its order serves listings only.
 */
#include "base/banned.h"
#include "base/embed.h"

#include <string.h>

const struct tg_embed *tg_embed_find(const char *name)
{
    const struct tg_embed *file;

    for (file = tg_embed_table; file->name; file++) {
        if (strcmp(file->name, name) == 0)
            return file;
    }
    return NULL;
}
