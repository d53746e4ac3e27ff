/* scratch.c: a Lua state with two bounds, memory and time.
 *
 * Memory. The state sits on the allocator of plugin VMs, which bounds its heap; it is charged to
 * configurations, so that a reload takes nothing from plugins. LuaJIT has no emergency collection:
 * a refusal is an error even when most of the heap is garbage. So the allocator tells when three
 * quarters are used, the count hook then comes at the next instruction, and it collects. Where
 * settings.memory leaves less than the bound, the heap has three quarters of that: the rest is for
 * what is made of the script. A script can catch the error, and what it makes of it then depends
 * on the machine; so once memory was refused, nothing is loaded, whatever the script did.
 *
 * Time. The count hook looks at the thread's CPU clock, so that a busy machine refuses nothing that
 * an idle one takes. Once time is up the hook is set to every instruction and raises at each, so
 * that no pcall in the script gets anywhere; what is being run ends at once. It does not reach into
 * C functions; the only ones that could take long, the pattern functions, are replaced by those of
 * plugin VMs, which count their steps.
 *
 * Trust. Files of lua/ run with Lua's libraries less io, ffi, loading of C modules, bytecode dumps
 * and most of os. The script itself and the plugins it names get the environments that script.lua
 * and plugin.lua build from them.
 */
#include "base/banned.h"
#include "config/scratch.h"

#include "base/clock.h"
#include "base/embed.h"
#include "base/mem.h"
#include "config/scratch_host.h"
#include "config/sources.h"
#include "script/alloc.h"
#include "script/pattern_lua.h"
#include "script/safe_text.h"

#include <lauxlib.h>
#include <luajit.h>
#include <lualib.h>
#include <string.h>

#define HOOK_INSTRUCTIONS 1000
#define TREE_KEY          "tidegate.tree"  /* in the registry */
#define ADMIN_KEY         "tidegate.admin" /* of a load that failed */
#define PLACE_DEPTH       200 /* stack levels that are searched for a line of the script */

const struct tg_scratch_bounds tg_scratch_default_bounds = {
    .memory = (size_t)256 << 20,
    .time = 5 * TG_USEC_PER_SEC,
};

struct tg_scratch {
    struct tg_alloc *alloc;
    lua_State *L;
    struct tg_scratch_bounds bounds;
    struct tg_scratch_host host;
    const char *path;  /* of the file being loaded; borrowed */
    uint64_t deadline; /* us of the thread's CPU clock */
    bool capped;       /* settings.memory leaves less than the bound on memory */
    bool refused;      /* the bound on memory was hit, or what is left */
    bool late;         /* time is up */
    bool loaded;       /* there is a tree */
    char place[256];   /* "gateway.lua:12", where time or memory ran out; may be empty */
};

/* ---- The bounds ------------------------------------------------------------------------------ */

static struct tg_scratch *scratch_from(lua_State *L)
{
    void *alloc = NULL;

    (void)lua_getallocf(L, &alloc);
    return tg_alloc_arg(alloc);
}

/* Notes the innermost line that is not of a trusted file: their chunks are named "=...". */
static void note_place(struct tg_scratch *scratch, lua_State *L)
{
    lua_Debug frame;

    for (int level = 0; level < PLACE_DEPTH && lua_getstack(L, level, &frame) == 1; level++) {
        lua_getinfo(L, "Sl", &frame);
        if (frame.source[0] != '@')
            continue;
        (void)snprintf(scratch->place, sizeof(scratch->place), "%s:%d", frame.source + 1,
                       frame.currentline);
        return;
    }
}

static void on_count(lua_State *L, lua_Debug *frame)
{
    struct tg_scratch *scratch = scratch_from(L);

    (void)frame;
    if (!scratch->late && tg_clock_thread_cpu() > scratch->deadline) {
        scratch->late = true;
        note_place(scratch, L);
        lua_sethook(L, on_count, LUA_MASKCOUNT, 1);
    }
    if (scratch->late)
        luaL_error(L, "time is up");
    if (tg_alloc_is_pressed(scratch->alloc)) {
        note_place(scratch, L);
        lua_gc(L, LUA_GCCOLLECT, 0);
        tg_alloc_collected(scratch->alloc);
        lua_sethook(L, on_count, LUA_MASKCOUNT, HOOK_INSTRUCTIONS);
    }
}

static void on_pressure(void *arg)
{
    struct tg_scratch *scratch = arg;

    lua_sethook(scratch->L, on_count, LUA_MASKCOUNT, 1);
}

static void on_refused(void *arg, enum tg_kill reason)
{
    struct tg_scratch *scratch = arg;

    (void)reason;
    if (!scratch->refused && scratch->L != NULL)
        note_place(scratch, scratch->L);
    scratch->refused = true;
}

/* ---- The trusted environment ----------------------------------------------------------------- */

static const luaL_Reg libraries[] = {
    {"", luaopen_base},
    {LUA_LOADLIBNAME, luaopen_package},
    {LUA_TABLIBNAME, luaopen_table},
    {LUA_STRLIBNAME, luaopen_string},
    {LUA_MATHLIBNAME, luaopen_math},
    {LUA_BITLIBNAME, luaopen_bit},
    {LUA_DBLIBNAME, luaopen_debug},
    {LUA_OSLIBNAME, luaopen_os},
    {LUA_JITLIBNAME, luaopen_jit},
};

/* What the trusted files do not need of the above. */
static const struct {
    const char *library;
    const char *name;
} removed[] = {
    {"string", "dump"}, {"os", "execute"},  {"os", "exit"},     {"os", "getenv"},
    {"os", "remove"},   {"os", "rename"},   {"os", "tmpname"},  {"os", "setlocale"},
    {"_G", "dofile"},   {"_G", "loadfile"}, {"_G", "newproxy"},
};

/* A searcher for package.loaders: modules are files of lua/ in the binary. */
static int find_trusted(lua_State *L)
{
    static const char *const patterns[] = {"lua/%s.lua", "lua/%s/init.lua"};
    const char *name = luaL_checkstring(L, 1);
    const char *path = luaL_gsub(L, name, ".", "/");

    for (size_t i = 0; i < TG_COUNT_OF(patterns); i++) {
        const struct tg_embed *file = tg_embed_find(lua_pushfstring(L, patterns[i], path));
        if (file == NULL)
            continue;
        const char *chunk = lua_pushfstring(L, "=%s", file->name);
        if (luaL_loadbufferx(L, file->data, file->size, chunk, "t") != 0)
            return lua_error(L);
        return 1;
    }
    lua_pushfstring(L, "\n\tno file of the program is called %s", path);
    return 1;
}

static void open_libraries(lua_State *L)
{
    for (size_t i = 0; i < TG_COUNT_OF(libraries); i++) {
        lua_pushcfunction(L, libraries[i].func);
        lua_pushstring(L, libraries[i].name);
        lua_call(L, 1, 0);
    }
    (void)luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    for (size_t i = 0; i < TG_COUNT_OF(removed); i++) {
        lua_getglobal(L, removed[i].library);
        lua_pushnil(L);
        lua_setfield(L, -2, removed[i].name);
        lua_pop(L, 1);
    }
    lua_getglobal(L, "string");
    tg_pattern_open(L, &(struct tg_pattern_hooks){0});
    tg_safe_text_open(L);
    lua_setglobal(L, "tostring");
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "loaders");
    lua_pushcfunction(L, find_trusted);
    lua_rawseti(L, -2, 2);
    for (int i = (int)lua_objlen(L, -1); i > 2; i--) {
        lua_pushnil(L);
        lua_rawseti(L, -2, i);
    }
    lua_pop(L, 3);
}

/* ---- Evaluating ------------------------------------------------------------------------------ */

/* Renders the reports at the top of the stack and writes them. */
static void write_reports(lua_State *L, struct tg_scratch *scratch)
{
    size_t n;

    lua_getfield(L, -1, "render");
    lua_pushvalue(L, -2);
    if (scratch->loaded)
        lua_pushnil(L);
    else
        lua_pushliteral(L, "configuration not loaded");
    lua_call(L, 2, 1);
    const char *text = lua_tolstring(L, -1, &n);
    if (text != NULL)
        (void)fwrite(text, 1, n, scratch->host.out);
    scratch->host.wrote = scratch->host.wrote || n > 0;
    lua_pop(L, 1);
}

/* Protected: loads scratch->path; the tree goes to the registry. */
static int evaluate(lua_State *L)
{
    struct tg_scratch *scratch = lua_touserdata(L, 1);

    open_libraries(L);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "tidegate.config");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "load");
    lua_createtable(L, 0, 2);
    lua_pushstring(L, scratch->path);
    lua_setfield(L, -2, "path");
    tg_scratch_host_push(L, &scratch->host);
    lua_setfield(L, -2, "host");
    lua_call(L, 1, 3);
    scratch->loaded = lua_istable(L, -3);
    lua_setfield(L, LUA_REGISTRYINDEX, ADMIN_KEY);
    write_reports(L, scratch);
    lua_pop(L, 1);
    lua_setfield(L, LUA_REGISTRYINDEX, TREE_KEY);
    return 0;
}

/* A message of our own, for what Lua cannot tell any more. */
static void write_bound(struct tg_scratch *scratch, const char *what, const char *code,
                        const char *hint)
{
    (void)fprintf(scratch->host.out,
                  "%s: the configuration %s to evaluate [%s]\n      = %s\n\n"
                  "1 error in 1 file — configuration not loaded\n",
                  scratch->place[0] != '\0' ? scratch->place : scratch->path, what, code, hint);
}

static enum tg_err explain_late(struct tg_scratch *scratch)
{
    char what[64];

    (void)snprintf(what, sizeof(what), "takes longer than %g s",
                   (double)scratch->bounds.time / (double)TG_USEC_PER_SEC);
    write_bound(scratch, what, "TG1008",
                "look for a loop that does not end, or grant it more: TIDEGATE_CONFIG_SECONDS");
    return TG_E_TIMEOUT;
}

static enum tg_err explain_large(struct tg_scratch *scratch)
{
    char what[64];

    (void)snprintf(what, sizeof(what), "needs more than %zu MiB", scratch->bounds.memory >> 20);
    write_bound(scratch, what, "TG1009",
                "look for a table or a string that grows without end, or grant it more: "
                "TIDEGATE_CONFIG_MIB");
    return TG_E_LIMIT;
}

/* Was a bound passed, or memory refused? Whatever came out then does not count. */
static bool is_spoilt(const struct tg_scratch *scratch)
{
    return scratch->late || scratch->refused || scratch->host.starved ||
           tg_alloc_has_starved(scratch->alloc);
}

static enum tg_err explain_failure(struct tg_scratch *scratch, int status)
{
    if (scratch->late)
        return explain_late(scratch);
    if (scratch->refused && !scratch->capped)
        return explain_large(scratch);
    if (is_spoilt(scratch))
        return TG_E_NOMEM;
    if (scratch->host.wrote)
        return TG_E_CONFIG;
    /* A script that ran out of memory ends without a message of its own. */
    const char *message = status == LUA_ERRRUN ? lua_tostring(scratch->L, -1) : NULL;
    if (message == NULL || strcmp(message, "not enough memory") == 0)
        return TG_E_NOMEM;
    (void)fprintf(scratch->host.out, "%s: internal error: %s [TG1010]\n", scratch->path, message);
    return TG_E_SCRIPT;
}

/* Runs `function` with `arg` in protected mode and within the bounds; its status. */
static int run_bounded(struct tg_scratch *scratch, lua_CFunction function, void *arg)
{
    lua_State *L = scratch->L;

    scratch->deadline = tg_clock_thread_cpu() + scratch->bounds.time;
    lua_sethook(L, on_count, LUA_MASKCOUNT, HOOK_INSTRUCTIONS);
    (void)tg_alloc_enforce(scratch->alloc, true);
    int status = lua_cpcall(L, function, arg);
    (void)tg_alloc_enforce(scratch->alloc, false);
    lua_sethook(L, NULL, 0, 0);
    return status;
}

enum tg_err tg_scratch_load(struct tg_scratch *scratch, const char *path, FILE *diagnostics)
{
    enum tg_err err = TG_OK;

    scratch->path = path;
    scratch->host.out = diagnostics;
    int status = run_bounded(scratch, evaluate, scratch);
    if (status != 0 || !scratch->loaded || is_spoilt(scratch))
        err = explain_failure(scratch, status);
    lua_settop(scratch->L, 0);
    return err;
}

/* ---- Asking ---------------------------------------------------------------------------------- */

struct asking {
    struct tg_scratch *scratch;
    const struct tg_scratch_call *call;
    int status;
};

static void write_text(lua_State *L, int index, FILE *file)
{
    size_t n;
    const char *text = lua_tolstring(L, index, &n);

    if (text != NULL)
        (void)fwrite(text, 1, n, file);
}

/* Protected: the function of the module, with the request and the host. */
static int ask(lua_State *L)
{
    struct asking *asking = lua_touserdata(L, 1);
    const struct tg_scratch_call *call = asking->call;

    open_libraries(L);
    lua_getglobal(L, "require");
    lua_pushstring(L, call->module);
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "answer");
    lua_newtable(L);
    call->fill(L, call->arg);
    tg_scratch_host_push(L, &asking->scratch->host);
    lua_call(L, 2, 3);
    asking->status = (int)lua_tointeger(L, -3);
    write_text(L, -2, call->out);
    write_text(L, -1, call->err);
    return 0;
}

enum tg_err tg_scratch_ask(struct tg_scratch *scratch, const struct tg_scratch_call *call,
                           const char *path, int *status)
{
    struct asking asking = {scratch, call, 0};
    enum tg_err err = TG_OK;

    scratch->path = path;
    scratch->host.out = call->err;
    scratch->host.keeps_builder = true;
    int failed = run_bounded(scratch, ask, &asking);
    if (failed != 0 || is_spoilt(scratch))
        err = explain_failure(scratch, failed);
    lua_settop(scratch->L, 0);
    *status = asking.status;
    return err;
}

void tg_scratch_push_tree(lua_State *L)
{
    lua_getfield(L, LUA_REGISTRYINDEX, TREE_KEY);
}

void tg_scratch_push_admin(lua_State *L)
{
    lua_getfield(L, LUA_REGISTRYINDEX, ADMIN_KEY);
}

/* ---- Life ------------------------------------------------------------------------------------ */

/* The state on its allocator. */
static enum tg_err open_state(struct tg_scratch *scratch)
{
    const struct tg_alloc_events events = {
        .on_pressure = on_pressure, .on_refused = on_refused, .arg = scratch};
    size_t cap = tg_mem_cap(TG_MEM_CONFIG);
    size_t left = (cap - TG_MIN(tg_mem_used(TG_MEM_CONFIG), cap)) / 4 * 3;

    scratch->capped = left < scratch->bounds.memory;
    scratch->alloc = tg_alloc_new(TG_MEM_CONFIG, TG_MIN(left, scratch->bounds.memory), &events);
    if (scratch->alloc == NULL)
        return TG_E_NOMEM;
    scratch->L = tg_alloc_new_state(scratch->alloc);
    if (scratch->L != NULL)
        return TG_OK;
    bool refused_ours = tg_alloc_growths(scratch->alloc) == 0 && tg_alloc_held(scratch->alloc) > 0;
    return refused_ours ? TG_E_UNAVAILABLE : TG_E_NOMEM;
}

enum tg_err tg_scratch_new(const struct tg_scratch_bounds *bounds, struct tg_scratch **out)
{
    struct tg_scratch *scratch = tg_mem_zalloc(TG_MEM_CONFIG, 1, sizeof(*scratch));

    if (scratch == NULL)
        return TG_E_NOMEM;
    tg_scratch_host_init(&scratch->host);
    scratch->bounds = *bounds;
    scratch->host.sources = tg_sources_new();
    enum tg_err err = scratch->host.sources != NULL ? open_state(scratch) : TG_E_NOMEM;
    if (err != TG_OK)
        tg_scratch_free(&scratch);
    *out = scratch;
    return err;
}

lua_State *tg_scratch_state(struct tg_scratch *scratch)
{
    return scratch->L;
}

void tg_scratch_read_from(struct tg_scratch *scratch, const struct tg_config_files *files,
                          struct tg_sources *sources)
{
    scratch->host.files = files;
    tg_sources_unref(&scratch->host.sources);
    scratch->host.sources = tg_sources_ref(sources);
}

struct tg_route_table *tg_scratch_take_table(struct tg_scratch *scratch)
{
    struct tg_route_table *table = scratch->host.table;

    scratch->host.table = NULL;
    return table;
}

void tg_scratch_free(struct tg_scratch **scratch)
{
    struct tg_scratch *mine = *scratch;

    *scratch = NULL;
    if (mine == NULL)
        return;
    if (mine->L != NULL)
        lua_close(mine->L);
    tg_alloc_free(&mine->alloc);
    tg_scratch_host_release(&mine->host);
    tg_mem_free(TG_MEM_CONFIG, mine);
}
