/* scratch.c: a Lua state with two bounds, memory and time.
 *
 * Memory. The allocator counts what the state holds and refuses growth past the cap. LuaJIT has no
 * emergency collection: a refusal is an error even when most of the heap is garbage. So the count
 * hook collects when the heap is above three quarters of the cap and has grown by an eighth of the
 * cap since it was smallest. A shrink is never refused, and the size of a NULL block is never
 * believed: LuaJIT passes stale ones after a refusal.
 *
 * Time. The count hook looks at the clock. Once time is up the hook is set to every instruction and
 * raises at each, so that no pcall in the script gets anywhere; what is being run ends at once. The
 * only place this cannot reach is inside one C function of Lua's own library.
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

#include <lauxlib.h>
#include <luajit.h>
#include <lualib.h>
#include <string.h>

#define HOOK_INSTRUCTIONS 1000
#define SOFT_MEMORY       (TG_SCRATCH_MEMORY / 4 * 3)
#define COLLECT_STEP      (TG_SCRATCH_MEMORY / 8)
#define PLACE_DEPTH       200 /* stack levels that are searched for a line of the script */

struct tg_scratch {
    lua_State *L;
    struct tg_scratch_host host;
    size_t used;       /* bytes the state holds */
    size_t low;        /* smallest heap that the hook saw since it last collected */
    bool refused;      /* the cap was hit */
    bool late;         /* time is up */
    uint64_t deadline; /* us of the monotonic clock */
    char place[256];   /* "gateway.lua:12", where time ran out; may be empty */
};

/* ---- The bounds ------------------------------------------------------------------------------ */

static void *allocate(void *ud, void *ptr, size_t old_size, size_t new_size)
{
    struct tg_scratch *scratch = ud;

    if (ptr == NULL)
        old_size = 0;
    if (new_size == 0) {
        tg_mem_free(TG_MEM_CONFIG, ptr);
        scratch->used -= old_size;
        return NULL;
    }
    if (new_size > old_size && new_size - old_size > TG_SCRATCH_MEMORY - scratch->used) {
        scratch->refused = true;
        return NULL;
    }
    void *block = tg_mem_realloc(TG_MEM_CONFIG, ptr, new_size);
    if (block != NULL)
        scratch->used += new_size - old_size;
    return block;
}

static struct tg_scratch *scratch_from(lua_State *L)
{
    void *ud = NULL;

    (void)lua_getallocf(L, &ud);
    return ud;
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
    if (!scratch->late && tg_clock_mono_now() > scratch->deadline) {
        scratch->late = true;
        note_place(scratch, L);
        lua_sethook(L, on_count, LUA_MASKCOUNT, 1);
    }
    if (scratch->late)
        luaL_error(L, "time is up");
    scratch->low = TG_MIN(scratch->low, scratch->used);
    if (scratch->used > SOFT_MEMORY && scratch->used > scratch->low + COLLECT_STEP) {
        lua_gc(L, LUA_GCCOLLECT, 0);
        scratch->low = scratch->used;
    }
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
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "loaders");
    lua_pushcfunction(L, find_trusted);
    lua_rawseti(L, -2, 2);
    for (int i = (int)lua_objlen(L, -1); i > 2; i--) {
        lua_pushnil(L);
        lua_rawseti(L, -2, i);
    }
    lua_pop(L, 2);
}

/* ---- Evaluating ------------------------------------------------------------------------------ */

/* Renders the reports at the top of the stack and writes them. */
static void write_reports(lua_State *L, struct tg_scratch *scratch, bool loaded)
{
    size_t n;

    lua_getfield(L, -1, "render");
    lua_pushvalue(L, -2);
    if (loaded)
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

/* Protected: (path) -> tree or nil. */
static int evaluate(lua_State *L)
{
    struct tg_scratch *scratch = scratch_from(L);

    open_libraries(L);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "tidegate.config");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "load");
    lua_createtable(L, 0, 2);
    lua_pushvalue(L, 1);
    lua_setfield(L, -2, "path");
    tg_scratch_host_push(L, &scratch->host);
    lua_setfield(L, -2, "host");
    lua_call(L, 1, 2);
    bool loaded = lua_istable(L, -2);
    write_reports(L, scratch, loaded);
    lua_pop(L, 1);
    return 1;
}

/* A message of our own, for what Lua cannot tell any more. */
static void write_bound(struct tg_scratch *scratch, const char *path, const char *what,
                        const char *hint)
{
    (void)fprintf(scratch->host.out,
                  "%s: %s\n      = %s\n\n1 error in 1 file — configuration not loaded\n",
                  scratch->place[0] != '\0' ? scratch->place : path, what, hint);
}

static enum tg_err explain_failure(struct tg_scratch *scratch, const char *path)
{
    if (scratch->late) {
        write_bound(scratch, path, "the configuration takes longer than 5 s to evaluate",
                    "look for a loop that does not end");
        return TG_E_TIMEOUT;
    }
    if (scratch->refused && !scratch->host.wrote) {
        write_bound(scratch, path, "the configuration needs more than 64 MiB to evaluate",
                    "look for a table or a string that grows without end");
        return TG_E_LIMIT;
    }
    if (scratch->host.wrote)
        return TG_E_CONFIG;
    const char *message = lua_tostring(scratch->L, 1);
    if (message == NULL || strcmp(message, "not enough memory") == 0)
        return TG_E_NOMEM;
    (void)fprintf(scratch->host.out, "%s: internal error: %s\n", path, message);
    return TG_E_SCRIPT;
}

enum tg_err tg_scratch_load(struct tg_scratch *scratch, const char *path, FILE *diagnostics)
{
    lua_State *L = scratch->L;

    scratch->host.out = diagnostics;
    scratch->deadline = tg_clock_mono_now() + TG_SCRATCH_TIME;
    lua_sethook(L, on_count, LUA_MASKCOUNT, HOOK_INSTRUCTIONS);
    lua_pushcfunction(L, evaluate);
    lua_pushstring(L, path);
    int status = lua_pcall(L, 1, 1, 0);
    lua_sethook(L, NULL, 0, 0);
    if (status == 0 && lua_istable(L, 1) && !scratch->late)
        return TG_OK;
    return explain_failure(scratch, path);
}

/* ---- Life ------------------------------------------------------------------------------------ */

enum tg_err tg_scratch_new(struct tg_scratch **out)
{
    struct tg_scratch *scratch = tg_mem_zalloc(TG_MEM_CONFIG, 1, sizeof(*scratch));

    if (scratch == NULL)
        return TG_E_NOMEM;
    tg_scratch_host_init(&scratch->host);
    scratch->L = lua_newstate(allocate, scratch);
    if (scratch->L == NULL) {
        tg_mem_free(TG_MEM_CONFIG, scratch);
        return TG_E_UNAVAILABLE;
    }
    *out = scratch;
    return TG_OK;
}

lua_State *tg_scratch_state(struct tg_scratch *scratch)
{
    return scratch->L;
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
    lua_close(mine->L);
    tg_scratch_host_release(&mine->host);
    tg_mem_free(TG_MEM_CONFIG, mine);
}
