/* inspect.c: see inspect.h.
 *
 * A check is a load, then a look. The load decides: what it refuses is refused, within the bounds
 * that `run` grants. Mistakes of the script are found again by the look, which has them as data and
 * not as text; what only C can tell (bounds, the rehearsal) is handed on as the text that was
 * written.
 */
#include "base/banned.h"
#include "config/inspect.h"

#include "base/mem.h"
#include "config/load.h"
#include "config/scratch.h"
#include "config/sources.h"

#include <sys/mman.h>
#include <unistd.h>

static const struct tg_scratch_bounds bounds = {
    .memory = (size_t)2 << 30,
    .time = 300 * TG_USEC_PER_SEC,
};

enum { STATUS_CONFIG = 1, STATUS_SYSTEM = 3 };

int tg_inspect(const struct tg_inspect *question, FILE *out, FILE *err)
{
    struct tg_scratch *scratch = NULL;
    char module[64];
    int status = STATUS_SYSTEM;

    (void)snprintf(module, sizeof(module), "tidegate.inspect.%s", question->what);
    const struct tg_scratch_call call = {module, question->fill, question->arg, out, err};
    struct tg_sources *sources = tg_sources_new();
    enum tg_err made = sources != NULL ? tg_scratch_new(&bounds, &scratch) : TG_E_NOMEM;
    if (made == TG_OK) {
        tg_scratch_read_from(scratch, NULL, sources);
        made = tg_scratch_ask(scratch, &call, question->path, &status);
    }
    tg_scratch_free(&scratch);
    tg_sources_unref(&sources);
    if (made == TG_OK)
        return status;
    if (made == TG_E_NOMEM || made == TG_E_UNAVAILABLE)
        (void)fprintf(err, "%s: cannot be looked at: %s [TG1011]\n", question->path,
                      tg_err_text(made));
    return made == TG_E_TIMEOUT || made == TG_E_LIMIT ? STATUS_CONFIG : STATUS_SYSTEM;
}

/* ---- Checking -------------------------------------------------------------------------------- */

/* What the load and the rehearsal said, and what came out of them. */
struct verdict {
    const struct tg_check *check;
    enum tg_err load;
    enum tg_err rehearsal;
    char *said; /* owned */
    size_t said_n;
    uint32_t counts[5]; /* listeners, services, routes, plugins, consumers */
};

static void set_string(lua_State *L, const char *name, const char *value)
{
    lua_pushstring(L, value);
    lua_setfield(L, -2, name);
}

static void set_bool(lua_State *L, const char *name, bool value)
{
    lua_pushboolean(L, value);
    lua_setfield(L, -2, name);
}

static void fill(lua_State *L, void *arg)
{
    static const char *const names[] = {"listener", "service", "route", "plugin", "consumer"};
    const struct verdict *verdict = arg;

    set_string(L, "path", verdict->check->path);
    set_string(L, "old", verdict->check->old);
    set_bool(L, "strict", verdict->check->strict);
    set_bool(L, "json", verdict->check->json);
    set_bool(L, "loads", verdict->load == TG_OK);
    set_bool(L, "evaluates", verdict->load == TG_OK || verdict->load == TG_E_CONFIG);
    set_bool(L, "starts", verdict->rehearsal == TG_OK);
    lua_pushlstring(L, verdict->said != NULL ? verdict->said : "", verdict->said_n);
    lua_setfield(L, -2, "said");
    lua_createtable(L, TG_COUNT_OF(names), 0);
    for (unsigned i = 0; i < TG_COUNT_OF(names); i++) {
        lua_createtable(L, 0, 2);
        set_string(L, "noun", names[i]);
        lua_pushnumber(L, verdict->counts[i]);
        lua_setfield(L, -2, "count");
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "counts");
}

static void note_counts(struct verdict *verdict, const struct tg_snapshot *snapshot)
{
    verdict->counts[0] = snapshot->listener_count;
    verdict->counts[1] = snapshot->service_count;
    verdict->counts[2] = snapshot->route_count;
    verdict->counts[3] = snapshot->plugin_count;
    verdict->counts[4] = snapshot->consumer_count;
}

/* Loads and rehearses. Warnings of a load that succeeded are dropped: the look finds them again. */
static void judge(struct verdict *verdict, FILE *said)
{
    struct tg_snapshot *snapshot = NULL;

    verdict->load = tg_config_load(verdict->check->path, said, &snapshot);
    if (verdict->load != TG_OK)
        return;
    note_counts(verdict, snapshot);
    (void)fflush(said);
    rewind(said);
    if (ftruncate(fileno(said), 0) == 0 && verdict->check->rehearse != NULL)
        verdict->rehearsal = verdict->check->rehearse(snapshot, said);
    tg_snapshot_unref(&snapshot);
}

/* A file without a name, in memory. NULL when there is none to be had. */
static FILE *open_notes(void)
{
    int fd = memfd_create("check", MFD_CLOEXEC);
    FILE *file = fd >= 0 ? fdopen(fd, "w+") : NULL;

    if (file == NULL && fd >= 0)
        (void)close(fd);
    return file;
}

/* All that was written to `notes` into the verdict. */
static enum tg_err read_notes(struct verdict *verdict, FILE *notes)
{
    long n = ftell(notes);

    verdict->said = n >= 0 ? tg_mem_alloc(TG_MEM_OTHER, (size_t)n + 1) : NULL;
    if (verdict->said == NULL)
        return TG_E_NOMEM;
    rewind(notes);
    verdict->said_n = fread(verdict->said, 1, (size_t)n, notes);
    return TG_OK;
}

int tg_config_check(const struct tg_check *check, FILE *out, FILE *err)
{
    struct verdict verdict = {.check = check};
    const struct tg_inspect question = {"check", check->path, fill, &verdict};
    FILE *notes = open_notes();
    int status = STATUS_SYSTEM;

    if (notes != NULL) {
        judge(&verdict, notes);
        if (read_notes(&verdict, notes) == TG_OK)
            status = tg_inspect(&question, out, err);
        (void)fclose(notes);
    }
    if (verdict.said == NULL)
        (void)fprintf(err, "%s: %s\n", check->path, tg_err_text(TG_E_NOMEM));
    tg_mem_free(TG_MEM_OTHER, verdict.said);
    return status;
}
