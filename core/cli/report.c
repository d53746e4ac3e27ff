/* report.c: see report.h. Everything that may raise runs in protected mode, with the report as a
 * light userdata. */
#include "base/banned.h"
#include "cli/report.h"

#include "base/mem.h"
#include "bind/json.h"
#include "harness/host.h"

#include <lauxlib.h>
#include <lualib.h>

struct tg_report {
    lua_State *L; /* the function is at index 1 */
};

/* What tg_report_print() hands to the protected part. */
struct job {
    const struct tg_str *answers;
    unsigned count;
    const char *operand;
};

/* Protected: (name) -> the module */
static int load(lua_State *L)
{
    luaL_openlibs(L);
    tg_host_install(L);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "tidegate.report.");
    lua_pushvalue(L, 1);
    lua_concat(L, 2);
    lua_call(L, 1, 1);
    return 1;
}

static void complain(lua_State *L)
{
    const char *why = lua_tostring(L, -1);
    fprintf(stderr, "tidegate: %s\n", why != NULL ? why : "the report failed");
    lua_pop(L, 1);
}

enum tg_err tg_report_new(const char *name, struct tg_report **out)
{
    struct tg_report *report = tg_mem_zalloc(TG_MEM_OTHER, 1, sizeof(*report));
    if (report == NULL)
        return TG_E_NOMEM;
    report->L = luaL_newstate();
    if (report->L == NULL) {
        tg_report_free(&report);
        return TG_E_NOMEM;
    }
    lua_pushcfunction(report->L, load);
    lua_pushstring(report->L, name);
    if (lua_pcall(report->L, 1, 1, 0) != 0) {
        complain(report->L);
        tg_report_free(&report);
        return TG_E_SCRIPT;
    }
    *out = report;
    return TG_OK;
}

void tg_report_free(struct tg_report **report)
{
    if (*report == NULL)
        return;
    if ((*report)->L != NULL)
        lua_close((*report)->L);
    tg_mem_free(TG_MEM_OTHER, *report);
    *report = NULL;
}

/* Protected: (function, job) -> text, or nil and why */
static int make_text(lua_State *L)
{
    const struct job *job = lua_touserdata(L, 2);
    lua_pushvalue(L, 1);
    lua_createtable(L, (int)job->count, 0);
    for (unsigned i = 0; i < job->count; i++) {
        int top = lua_gettop(L);
        if (tg_json_push_decoded(L, job->answers[i]) != 1 || !lua_istable(L, -1))
            return luaL_error(L, "the gateway's answer is not JSON; is it of another version?");
        lua_rawseti(L, top, (int)i + 1);
        lua_settop(L, top);
    }
    if (job->operand != NULL)
        lua_pushstring(L, job->operand);
    else
        lua_pushnil(L);
    lua_call(L, 2, 2);
    return 2;
}

enum tg_err tg_report_print(struct tg_report *report, const struct tg_str *answers, unsigned count,
                            const char *operand, FILE *out)
{
    lua_State *L = report->L;
    struct job job = {answers, count, operand};
    size_t n;
    lua_settop(L, 1);
    lua_pushcfunction(L, make_text);
    lua_pushvalue(L, 1);
    lua_pushlightuserdata(L, &job);
    if (lua_pcall(L, 2, 2, 0) != 0) {
        complain(L);
        return TG_E_SCRIPT;
    }
    const char *text = lua_tolstring(L, -2, &n);
    if (text == NULL) {
        complain(L);
        return TG_E_NOT_FOUND;
    }
    fwrite(text, 1, n, out);
    return TG_OK;
}
