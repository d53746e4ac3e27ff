/* build.h: from the tree of a checked configuration to the frozen snapshot. */
#ifndef TG_CONFIG_BUILD_H
#define TG_CONFIG_BUILD_H

#include "base/err.h"
#include "config/scratch.h"
#include "config/snapshot.h"

/* Freezes what `scratch` has loaded into *out, one reference, the caller's; takes the route table
 * out of it. `path` is copied. TG_E_NOMEM, or TG_E_CONFIG when a value cannot cross to the plugin
 * VMs, which is written to `diagnostics`; nothing is left of the snapshot then. */
enum tg_err tg_snapshot_build(struct tg_scratch *scratch, const char *path, FILE *diagnostics,
                              struct tg_snapshot **out) TG_MUST_USE;

/* Pushes the address of the admin listener that the table at the top (settings.admin of the tree)
 * asks for; a relative path of a socket goes below the folder of the file `config`. May raise. */
void tg_build_push_admin(lua_State *L, const char *config);

#endif
