/* pattern_gsub.c: gsub, whose replacements may suspend.
 *
 * There are two ways. A replacement that is a string or a table without a metatable calls nothing
 * back and is done by one C function, replace(). Everything else is driven from the Lua function
 * below, which calls replacements itself, so that they can yield and their errors keep their
 * position:
 *
 *     begin(s, p, repl, n)  -> work, found, s, p   or nothing: leave it to replace()
 *     captures(work)        -> captures of the match
 *     step(work, v)         -> work, found         v takes the match's place; the next one
 *     finish(work, s)       -> result, number of matches
 *
 * `work` is a userdata (struct work) with the matcher and, behind it, the text built so far; when
 * it is full, step() moves it to a larger one. The matcher points into s and p, which the driver's
 * locals keep alive. Only these functions ever see a work.
 *
 * A work that has not grown is kept for the next call, in a table that begin() and finish() share.
 * It is taken out and put back in C, since the VM may suspend the driver between any two of its
 * instructions and run another gsub.
 *
 * replace() is entered by a tail call, so Lua takes it for the function that the plugin called: a
 * bad argument is reported with the plugin's line and the name it used, as for a built-in. In the
 * driven functions the plugin is one level further up.
 */
#include "base/banned.h"
#include "script/pattern_gsub.h"

#include "base/str.h"
#include "script/pattern.h"
#include "script/pattern_call.h"

#include <lauxlib.h>

static const char driver[] =
    "local type, begin, captures, step, finish, replace = ...\n"
    "return function(...)\n"
    "  local _, _, repl = ...\n"
    "  local kind = type(repl)\n"
    "  if kind == 'string' then return replace(...) end\n"
    "  local work, found, s, p = begin(...)\n"
    "  if not work then return replace(...) end\n"
    "  if kind == 'function' then\n"
    "    while found do work, found = step(work, (repl(captures(work)))) end\n"
    "  else\n"
    "    while found do work, found = step(work, repl[captures(work, true)]) end\n"
    "  end\n"
    "  return finish(work, s)\n"
    "end\n";

/* ---- What both ways share -------------------------------------------------------------------- */

/* How often to replace at most; argument 4. */
static size_t check_max(lua_State *L)
{
    lua_Number max = lua_isnoneornil(L, 4) ? (lua_Number)SIZE_MAX : luaL_checknumber(L, 4);

    if (!(max >= 1))
        return 0;
    return max >= (lua_Number)SIZE_MAX ? SIZE_MAX : (size_t)max;
}

/* Where gsub stands. */
struct progress {
    size_t at;    /* bytes of the subject that are done with */
    size_t left;  /* replacements that may still be made */
    size_t count; /* of those made */
    bool over;    /* anchored, or at the end: no further match is looked for */
};

/* Looks for the next match; false when there is none, or none is wanted. */
static bool next_match(lua_State *L, enum tg_pattern_level level, struct tg_pattern *m,
                       struct progress *at)
{
    if (at->over || at->left == 0)
        return false;
    at->over = m->anchored;
    return tg_pattern_find_charged(L, tg_pattern_hooks_of(L), level, m, at->at);
}

/* Goes past a match that was replaced. Returns what follows it in the result as it is: one byte
 * when the match was empty, so that there is progress. */
static struct tg_str pass_match(struct progress *at, const struct tg_pattern *m)
{
    bool empty = m->from == m->to, at_end = m->to == tg_pattern_subject(m).n;

    at->over = at->over || (empty && at_end);
    at->at = m->to + (empty && !at_end);
    at->left--;
    at->count++;
    return tg_pattern_text(m, m->to, at->at);
}

/* Size of a text buffer of `size` bytes that holds `n` and is to take `more`. */
static size_t grown_size(lua_State *L, size_t size, size_t n, size_t more)
{
    if (more > SIZE_MAX / 4 - n)
        luaL_error(L, "string.gsub: the result is too long");
    return TG_MAX(size * 2, n + more);
}

/* ---- Without calling back -------------------------------------------------------------------- */

/* The text that replace() builds: on the C stack, then in a userdata at `slot` of the Lua stack. */
struct builder {
    lua_State *L;
    char *p;
    size_t n, size;
    int slot;
    char local[1024];
};

static void builder_grow(struct builder *b, size_t more)
{
    size_t size = grown_size(b->L, b->size, b->n, more);
    char *p = lua_newuserdata(b->L, size);

    memcpy(p, b->p, b->n);
    lua_replace(b->L, b->slot);
    b->p = p;
    b->size = size;
}

static inline void builder_add(struct builder *b, struct tg_str text)
{
    if (text.n > b->size - b->n)
        builder_grow(b, text.n);
    memcpy(b->p + b->n, text.p, text.n);
    b->n += text.n;
}

static void add_capture(struct builder *b, const struct tg_pattern *m, unsigned index)
{
    struct tg_pattern_capture capture =
        tg_pattern_capture_at(b->L, TG_PATTERN_LEVEL_DIRECT, m, index);
    char digits[24];

    if (capture.n == TG_PATTERN_POSITION) {
        snprintf(digits, sizeof(digits), "%zu", capture.at + 1);
        builder_add(b, tg_str_c(digits));
    } else {
        builder_add(b, tg_pattern_text(m, capture.at, capture.at + capture.n));
    }
}

/* A replacement string: %0 to %9 are captures, % before anything else is dropped, and at the end of
 * the string it gives a zero byte, as in LuaJIT (Lua's strings end with one). Each costs a step:
 * captures may be empty, so what is built does not bound how many there are. */
static void add_template(struct builder *b, struct tg_pattern *m, struct tg_str repl)
{
    size_t done = 0, escape;

    while ((escape = tg_str_find(repl, '%', done)) < repl.n) {
        char c = repl.p[escape + 1];

        tg_pattern_charge(b->L, tg_pattern_hooks_of(b->L), TG_PATTERN_LEVEL_DIRECT, m);
        builder_add(b, tg_str_sub(repl, done, escape));
        if (c == '0')
            builder_add(b, tg_pattern_text(m, m->from, m->to));
        else if (c >= '1' && c <= '9')
            add_capture(b, m, (unsigned)(c - '1'));
        else
            builder_add(b, tg_str(&repl.p[escape + 1], 1));
        done = escape + 2;
    }
    builder_add(b, tg_str_sub(repl, done, repl.n));
}

/* The replacement that a function or table gave, at stack index `at`: nil and false keep the
 * match. Borrowed from the stack or the subject. */
static struct tg_str check_value(lua_State *L, enum tg_pattern_level level,
                                 const struct tg_pattern *m, int at)
{
    if (!lua_toboolean(L, at))
        return tg_pattern_text(m, m->from, m->to);
    if (!lua_isstring(L, at)) {
        lua_pushfstring(L, "invalid replacement value (a %s)", luaL_typename(L, at));
        tg_pattern_fail(L, level, lua_tostring(L, -1));
    }
    return tg_pattern_str_at(L, at);
}

static void add_from_table(struct builder *b, const struct tg_pattern *m)
{
    lua_State *L = b->L;

    tg_pattern_push_capture(L, TG_PATTERN_LEVEL_DIRECT, m, 0);
    lua_rawget(L, 3);
    builder_add(b, check_value(L, TG_PATTERN_LEVEL_DIRECT, m, -1));
    lua_pop(L, 1);
}

/* Stack: 1 to 4 are gsub's arguments, 5 is the builder's slot. */
static int replace_all(lua_State *L, struct tg_pattern *m, size_t max)
{
    struct progress at = {.left = max};
    bool table = lua_istable(L, 3);
    struct tg_str repl = table ? TG_STR("") : tg_pattern_str_at(L, 3);
    struct builder b;

    b.L = L;
    b.p = b.local;
    b.n = 0;
    b.size = sizeof(b.local);
    b.slot = 5;
    while (next_match(L, TG_PATTERN_LEVEL_DIRECT, m, &at)) {
        builder_add(&b, tg_pattern_text(m, at.at, m->from));
        if (table)
            add_from_table(&b, m);
        else
            add_template(&b, m, repl);
        builder_add(&b, pass_match(&at, m));
    }
    if (at.count == 0) {
        lua_pushvalue(L, 1);
    } else {
        builder_add(&b, tg_pattern_text(m, at.at, tg_pattern_subject(m).n));
        lua_pushlstring(L, b.p, b.n);
    }
    lua_pushinteger(L, (lua_Integer)at.count);
    return 2;
}

static int l_replace(lua_State *L)
{
    struct tg_pattern m;
    struct tg_str s = tg_pattern_check_str(L, 1), p = tg_pattern_check_str(L, 2);
    int kind = lua_type(L, 3);
    size_t max = check_max(L);

    if (kind != LUA_TSTRING && kind != LUA_TNUMBER && kind != LUA_TTABLE)
        luaL_argerror(L, 3, "string/function/table expected");
    lua_settop(L, 5);
    tg_pattern_init(&m, s, p, TG_PATTERN_CARET_ANCHORS, TG_PATTERN_STEPS_DEFAULT);
    return replace_all(L, &m, max);
}

/* ---- Calling back ---------------------------------------------------------------------------- */

struct work {
    struct progress at;
    struct tg_pattern m;
    size_t n, size; /* text built so far, and room for it */
    char text[];
};

enum { WORK_TEXT_SIZE = 256 };

/* The second upvalue of all functions: a table with the spare work at 1, if there is one. */
#define SPARES lua_upvalueindex(2)

/* Whether replace() can do it, or has to report a bad argument. */
static bool needs_no_call(lua_State *L)
{
    if (!lua_isstring(L, 1) || !lua_isstring(L, 2))
        return true;
    if (!lua_isnil(L, 4) && !lua_isnumber(L, 4))
        return true;
    if (lua_isfunction(L, 3))
        return false;
    return !lua_istable(L, 3) || !lua_getmetatable(L, 3);
}

/* Pushes the spare work, no longer a spare, or a new one. */
static struct work *take_work(lua_State *L)
{
    struct work *work;

    lua_rawgeti(L, SPARES, 1);
    work = lua_touserdata(L, -1);
    if (work != NULL) {
        lua_pushnil(L);
        lua_rawseti(L, SPARES, 1);
        return work;
    }
    lua_pop(L, 1);
    work = lua_newuserdata(L, sizeof(*work) + WORK_TEXT_SIZE);
    work->size = WORK_TEXT_SIZE;
    return work;
}

/* Arguments: those of gsub. */
static int l_begin(lua_State *L)
{
    struct work *work;
    struct tg_str s, p;

    lua_settop(L, 4);
    if (needs_no_call(L))
        return 0;
    work = take_work(L);
    work->at = (struct progress){.left = check_max(L)};
    work->n = 0;
    s = tg_pattern_str_at(L, 1);
    p = tg_pattern_str_at(L, 2);
    tg_pattern_init(&work->m, s, p, TG_PATTERN_CARET_ANCHORS, TG_PATTERN_STEPS_DEFAULT);
    lua_pushboolean(L, next_match(L, TG_PATTERN_LEVEL_DRIVEN, &work->m, &work->at));
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    return 4;
}

/* Arguments: work, and whether only the first capture is wanted. */
static int l_captures(lua_State *L)
{
    struct work *work = lua_touserdata(L, 1);

    if (!lua_toboolean(L, 2))
        return tg_pattern_push_captures(L, TG_PATTERN_LEVEL_DRIVEN, &work->m, 1);
    tg_pattern_push_capture(L, TG_PATTERN_LEVEL_DRIVEN, &work->m, 0);
    return 1;
}

/* Appends to the text of the work at stack index 1, which may be moved. */
static struct work *work_add(lua_State *L, struct work *work, struct tg_str text)
{
    if (text.n > work->size - work->n) {
        size_t size = grown_size(L, work->size, work->n, text.n);
        struct work *larger = lua_newuserdata(L, sizeof(*work) + size);

        memcpy(larger, work, sizeof(*work) + work->n);
        larger->size = size;
        lua_replace(L, 1);
        work = larger;
    }
    memcpy(work->text + work->n, text.p, text.n);
    work->n += text.n;
    return work;
}

/* Arguments: work, replacement. */
static int l_step(lua_State *L)
{
    struct work *work = lua_touserdata(L, 1);
    struct tg_str value = check_value(L, TG_PATTERN_LEVEL_DRIVEN, &work->m, 2);

    work = work_add(L, work, tg_pattern_text(&work->m, work->at.at, work->m.from));
    work = work_add(L, work, value);
    work = work_add(L, work, pass_match(&work->at, &work->m));
    lua_pushvalue(L, 1);
    lua_pushboolean(L, next_match(L, TG_PATTERN_LEVEL_DRIVEN, &work->m, &work->at));
    return 2;
}

/* Arguments: work, subject. The driver does not use the work again. */
static int l_finish(lua_State *L)
{
    struct work *work = lua_touserdata(L, 1);
    size_t count = work->at.count;

    if (count == 0) {
        lua_pushvalue(L, 2);
    } else {
        work = work_add(L, work,
                        tg_pattern_text(&work->m, work->at.at, tg_pattern_subject(&work->m).n));
        lua_pushlstring(L, work->text, work->n);
    }
    lua_pushinteger(L, (lua_Integer)count);
    if (work->size == WORK_TEXT_SIZE) {
        lua_pushvalue(L, 1);
        lua_rawseti(L, SPARES, 1);
    }
    return 2;
}

/* ---- Opening --------------------------------------------------------------------------------- */

void tg_pattern_push_gsub(lua_State *L, int hooks)
{
    static const lua_CFunction parts[] = {l_begin, l_captures, l_step, l_finish, l_replace};

    int spares;

    lua_createtable(L, 1, 0);
    spares = lua_gettop(L);
    if (luaL_loadbufferx(L, driver, sizeof(driver) - 1, "=gsub", "t") != 0)
        lua_error(L);
    lua_getglobal(L, "type");
    luaL_checktype(L, -1, LUA_TFUNCTION);
    for (size_t i = 0; i < TG_COUNT_OF(parts); i++) {
        lua_pushvalue(L, hooks);
        lua_pushvalue(L, spares);
        lua_pushcclosure(L, parts[i], 2);
    }
    lua_call(L, 1 + (int)TG_COUNT_OF(parts), 1);
    lua_remove(L, spares);
}
