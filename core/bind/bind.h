/* bind.h: core/bind as the program sees it.
 *
 * tg_bind_install() is called once, before the first VM is made; it fills tg_plugin_host. The
 * printers write what api.def says, for `tidegate types` and `tidegate doc`.
 */
#ifndef TG_BIND_BIND_H
#define TG_BIND_BIND_H

#include <stdbool.h>
#include <stdio.h>

void tg_bind_install(void);

/* Writes the API as LuaLS annotations: one file that an editor loads as a library. */
void tg_bind_types(FILE *out);

/* Writes the reference of everything (name == NULL), of one object ("ctx.req", "tg.json") or of one
 * function ("ctx.req:header", "ctx.req.path"). False: there is nothing of that name. */
bool tg_bind_doc(FILE *out, const char *name);

#endif
