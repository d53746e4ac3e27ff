/* pattern_call.c: searching for, and handing out, what a pattern function of Lua found.
 *
 * The budget is read from the VM before each search and written back after it, before anything is
 * raised, so that a call that fails has paid for its steps. Captures are checked when they are
 * read: a match may leave some unfinished, which matters only to who asks for them.
 */
#include "base/banned.h"
#include "script/pattern_call.h"

/* Captures that fit without asking Lua for more stack. */
enum { CAPTURES_UNCHECKED = LUA_MINSTACK - 10 };

void tg_pattern_fail(lua_State *L, enum tg_pattern_level level, const char *text)
{
    luaL_where(L, level);
    lua_pushstring(L, text);
    lua_concat(L, 2);
    lua_error(L);
    __builtin_unreachable();
}

/* Raises what a verdict other than MATCH and NONE means. */
TG_NORETURN static void fail_verdict(lua_State *L, const struct tg_pattern_hooks *hooks,
                                     enum tg_pattern_level level, const struct tg_pattern *m,
                                     enum tg_pattern_verdict verdict)
{
    if (verdict != TG_PATTERN_STEPS)
        tg_pattern_fail(L, level, m->error);
    if (hooks->on_exceeded != NULL)
        hooks->on_exceeded(L, hooks->arg);
    tg_pattern_fail(
        L, level,
        "pattern matching took too many steps (anchor the pattern, or use fewer of '.-' and '.*')");
}

bool tg_pattern_find_charged(lua_State *L, const struct tg_pattern_hooks *hooks,
                             enum tg_pattern_level level, struct tg_pattern *m, size_t from)
{
    enum tg_pattern_verdict verdict;

    if (hooks->steps != NULL)
        m->steps = *hooks->steps;
    verdict = tg_pattern_find(m, from);
    if (hooks->steps != NULL)
        *hooks->steps = m->steps;
    if (TG_UNLIKELY(verdict > TG_PATTERN_NONE))
        fail_verdict(L, hooks, level, m, verdict);
    return verdict == TG_PATTERN_MATCH;
}

void tg_pattern_charge(lua_State *L, const struct tg_pattern_hooks *hooks,
                       enum tg_pattern_level level, struct tg_pattern *m)
{
    uint64_t *left = hooks->steps != NULL ? hooks->steps : &m->steps;

    if (TG_UNLIKELY(*left == 0))
        fail_verdict(L, hooks, level, m, TG_PATTERN_STEPS);
    --*left;
}

struct tg_pattern_capture tg_pattern_capture_at(lua_State *L, enum tg_pattern_level level,
                                                const struct tg_pattern *m, unsigned index)
{
    struct tg_pattern_capture capture = {m->from, m->to - m->from};

    if (index < m->level)
        capture = m->capture[index];
    else if (index > 0)
        tg_pattern_fail(L, level, "invalid capture index");
    if (capture.n == TG_PATTERN_UNFINISHED)
        tg_pattern_fail(L, level, "unfinished capture");
    return capture;
}

void tg_pattern_push_capture(lua_State *L, enum tg_pattern_level level, const struct tg_pattern *m,
                             unsigned index)
{
    struct tg_pattern_capture capture = tg_pattern_capture_at(L, level, m, index);

    if (capture.n == TG_PATTERN_POSITION)
        lua_pushinteger(L, (lua_Integer)capture.at + 1);
    else
        lua_pushlstring(L, tg_pattern_text(m, capture.at, 0).p, capture.n);
}

int tg_pattern_push_captures(lua_State *L, enum tg_pattern_level level, const struct tg_pattern *m,
                             unsigned least)
{
    unsigned n = TG_MAX(m->level, least);

    if (n > CAPTURES_UNCHECKED)
        luaL_checkstack(L, (int)n, "too many captures");
    for (unsigned i = 0; i < n; i++)
        tg_pattern_push_capture(L, level, m, i);
    return (int)n;
}
