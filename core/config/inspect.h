/* inspect.h: configurations that are looked at and not served: check, routes, schema.
 *
 * What is told comes from lua/tidegate/inspect/, one module a question, in a scratch VM of its own
 * with wider bounds than a load has, since it holds up to two configurations and what it writes
 * about them. Whether a configuration loads within the bounds of `run` is asked from
 * tg_config_load() alone.
 *
 * Threads: any. Takes as long as two loads and more; for commands, not for a gateway that serves.
 */
#ifndef TG_CONFIG_INSPECT_H
#define TG_CONFIG_INSPECT_H

#include "config/snapshot.h"

#include <lua.h>
#include <stdio.h>

struct tg_inspect {
    const char *what;                      /* "routes": lua/tidegate/inspect/routes.lua */
    const char *path;                      /* of the configuration, for messages; borrowed */
    void (*fill)(lua_State *L, void *arg); /* sets the fields of the question; may raise */
    void *arg;
};

/* Asks, and writes what people get to `out` and `err`. The exit status: 0 done, 1 the configuration
 * has mistakes, 2 what was asked for is not there, 3 the system refused something. */
int tg_inspect(const struct tg_inspect *question, FILE *out, FILE *err);

struct tg_check {
    const char *path;
    const char *old; /* what to compare with; NULL: nothing */
    bool strict;     /* a warning is a mistake */
    bool json;
    /* Tries what only the layers above can, and writes what is wrong; NULL: nothing. */
    enum tg_err (*rehearse)(struct tg_snapshot *snapshot, FILE *out);
};

/* `tidegate check`: loads the file as `run` would, looks at it, and tells. The exit status: 0 when
 * it loads, 1 when it has mistakes, 3 when it could not be looked at. */
int tg_config_check(const struct tg_check *check, FILE *out, FILE *err) TG_MUST_USE;

#endif
