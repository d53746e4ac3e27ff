/* load.c: scratch VM, check, freeze, in one call.
 *
 * The VM lives for the length of the call, so an evaluated configuration costs its snapshot and
 * nothing more. Revisions count the loads of this process that succeeded, from any thread.
 */
#include "base/banned.h"
#include "config/load.h"

#include "base/clock.h"
#include "config/build.h"
#include "config/scratch.h"
#include "config/sources.h"

#include <stdatomic.h>

#define MIB_MAX     16384
#define SECONDS_MAX 3600

static _Atomic uint64_t revisions;

/* Failures that nobody has explained yet. */
static void explain(enum tg_err err, const char *path, FILE *diagnostics)
{
    if (err == TG_E_NOMEM || err == TG_E_UNAVAILABLE)
        (void)fprintf(diagnostics, "%s: cannot be evaluated: %s [TG1011]\n", path,
                      tg_err_text(err));
}

/* Reads a number from 1 to `max` in the environment; false when it is something else. */
static bool number_from(const char *variable, uint64_t max, uint64_t *out, FILE *diagnostics)
{
    const char *text = getenv(variable);

    if (text == NULL || (tg_str_to_u64(tg_str_c(text), out) && *out >= 1 && *out <= max))
        return true;
    (void)fprintf(diagnostics,
                  "tidegate: the environment's %s is \"%s\"; write a number from 1 to %u\n",
                  variable, text, (unsigned)max);
    return false;
}

/* What an evaluation may take: the configuration cannot say so itself. */
static enum tg_err find_bounds(struct tg_scratch_bounds *bounds, FILE *diagnostics)
{
    uint64_t mib = tg_scratch_default_bounds.memory >> 20;
    uint64_t seconds = tg_scratch_default_bounds.time / TG_USEC_PER_SEC;

    if (!number_from("TIDEGATE_CONFIG_MIB", MIB_MAX, &mib, diagnostics) ||
        !number_from("TIDEGATE_CONFIG_SECONDS", SECONDS_MAX, &seconds, diagnostics))
        return TG_E_CONFIG;
    bounds->memory = (size_t)mib << 20;
    bounds->time = seconds * TG_USEC_PER_SEC;
    return TG_OK;
}

static enum tg_err load(const char *path, const struct tg_config_files *files,
                        struct tg_sources *sources, FILE *diagnostics, struct tg_snapshot **out)
{
    struct tg_scratch *scratch = NULL;
    struct tg_scratch_bounds bounds;
    enum tg_err err = find_bounds(&bounds, diagnostics);

    if (err == TG_OK)
        err = tg_scratch_new(&bounds, &scratch);
    if (err == TG_OK)
        tg_scratch_read_from(scratch, files, sources);
    if (err == TG_OK)
        err = tg_scratch_load(scratch, path, diagnostics);
    if (err == TG_OK)
        err = tg_snapshot_build(scratch, path, diagnostics, out);
    if (err == TG_OK)
        (*out)->revision = atomic_fetch_add_explicit(&revisions, 1, memory_order_relaxed) + 1;
    explain(err, path, diagnostics);
    tg_scratch_free(&scratch);
    return err;
}

enum tg_err tg_config_load(const char *path, FILE *diagnostics, struct tg_snapshot **out)
{
    return tg_config_load_over(path, NULL, diagnostics, out);
}

enum tg_err tg_config_load_over(const char *path, const struct tg_config_files *files,
                                FILE *diagnostics, struct tg_snapshot **out)
{
    struct tg_sources *sources = tg_sources_new();
    enum tg_err err = TG_E_NOMEM;

    if (sources != NULL)
        err = load(path, files, sources, diagnostics, out);
    else
        explain(err, path, diagnostics);
    tg_sources_unref(&sources);
    return err;
}

enum tg_err tg_config_load_from(const char *path, struct tg_sources *sources, FILE *diagnostics,
                                struct tg_snapshot **out)
{
    return load(path, NULL, sources, diagnostics, out);
}

/* ---- The admin listener ---- */

struct finding {
    const char *path;
    char *out;
    size_t size;
    bool loaded; /* there is a tree */
    bool found;
    bool fits;
};

/* Protected. */
static int read_admin(lua_State *L)
{
    struct finding *finding = lua_touserdata(L, 1);

    if (finding->loaded) {
        tg_scratch_push_tree(L);
        lua_getfield(L, -1, "settings");
        lua_getfield(L, -1, "admin");
    } else {
        tg_scratch_push_admin(L);
    }
    finding->found = lua_istable(L, -1);
    if (!finding->found)
        return 0;
    tg_build_push_admin(L, finding->path);
    int n = snprintf(finding->out, finding->size, "%s", lua_tostring(L, -1));
    finding->fits = (size_t)n < finding->size;
    return 0;
}

/* In what a load that ended with `err` left. */
static enum tg_err find_in(struct tg_scratch *scratch, struct finding *finding, enum tg_err err)
{
    finding->loaded = err == TG_OK;
    finding->out[0] = '\0';
    if (lua_cpcall(tg_scratch_state(scratch), read_admin, finding) != 0)
        return TG_E_NOMEM;
    if (!finding->found)
        return err;
    return finding->fits ? TG_OK : TG_E_LIMIT;
}

enum tg_err tg_config_find_admin(const char *path, FILE *diagnostics, char *out, size_t size)
{
    struct tg_scratch *scratch = NULL;
    struct tg_scratch_bounds bounds;
    struct finding finding = {.path = path, .out = out, .size = size};
    enum tg_err err = find_bounds(&bounds, diagnostics);

    if (err == TG_OK)
        err = tg_scratch_new(&bounds, &scratch);
    if (err == TG_OK)
        err = tg_scratch_load(scratch, path, diagnostics);
    if (err == TG_E_LIMIT) /* which says something else here, and has been told */
        err = TG_E_CONFIG;
    if (scratch != NULL && (err == TG_OK || err == TG_E_CONFIG))
        err = find_in(scratch, &finding, err);
    explain(err, path, diagnostics);
    tg_scratch_free(&scratch);
    return err;
}
