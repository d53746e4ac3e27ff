/* load.c: scratch VM, check, freeze, in one call.
 *
 * The VM lives for the length of the call, so an evaluated configuration costs its snapshot and
 * nothing more. Revisions count the loads of this process that succeeded, from any thread.
 */
#include "base/banned.h"
#include "config/load.h"

#include "config/build.h"
#include "config/scratch.h"

#include <stdatomic.h>

static _Atomic uint64_t revisions;

/* Failures that nobody has explained yet. */
static void explain(enum tg_err err, const char *path, FILE *diagnostics)
{
    if (err == TG_E_NOMEM || err == TG_E_UNAVAILABLE)
        (void)fprintf(diagnostics, "%s: cannot be evaluated: %s [TG1011]\n", path,
                      tg_err_text(err));
}

enum tg_err tg_config_load(const char *path, FILE *diagnostics, struct tg_snapshot **out)
{
    return tg_config_load_over(path, NULL, diagnostics, out);
}

enum tg_err tg_config_load_over(const char *path, const struct tg_config_files *files,
                                FILE *diagnostics, struct tg_snapshot **out)
{
    struct tg_scratch *scratch = NULL;
    enum tg_err err = tg_scratch_new(&tg_scratch_default_bounds, &scratch);

    if (err == TG_OK)
        tg_scratch_set_files(scratch, files);
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
