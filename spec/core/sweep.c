/*
 * Lets a sweep fail one allocation of a unit test (make sweep, spec/sweep.lua).
 *
 * Linked into every unit test. TG_SWEEP_AT=n makes the nth allocation of the program fail;
 * TG_SWEEP_COUNT=path makes the program write, when it ends, how many allocations it asked for.
 * Without these variables nothing happens. A test that calls tg_mem_fail_at() itself starts the
 * count anew, and from there on the sweep has no say.
 *
 * Threads: runs before and after main, when there is only one.
 */
#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

__attribute__((constructor)) static void sweep_begin(void)
{
    const char *at = getenv("TG_SWEEP_AT");

    if (at != NULL)
        tg_mem_fail_at(strtoull(at, NULL, 10));
    else if (getenv("TG_SWEEP_COUNT") != NULL)
        tg_mem_fail_at(UINT64_MAX); /* counts, never fails */
}

__attribute__((destructor)) static void sweep_end(void)
{
    const char *path = getenv("TG_SWEEP_COUNT");
    FILE *file = path != NULL ? fopen(path, "w") : NULL;

    if (file == NULL)
        return;
    fprintf(file, "%" PRIu64 "\n", tg_mem_fail_count());
    fclose(file);
}
