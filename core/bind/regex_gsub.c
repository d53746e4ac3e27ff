/* regex_gsub.c: regex:gsub, whose replacement may be a function that suspends.
 *
 * The loop is Lua (lua/tidegate/regex_gsub.lua) around these functions:
 *
 *     begin(regex, text, replacement, max)  -> work, found, calls, text
 *     captures(work)                        -> what the function gets: groups, or the match
 *     step(work, value)                     -> work, found   value takes the match's place
 *     finish(work, text)                    -> result, number of replacements
 *
 * With a text as replacement nothing is called and step() replaces up to STEP_MATCHES matches at a
 * time. In that text $0 to $9 and ${10} are groups, ${name} is a named one, $$ a dollar sign;
 * groups that took no part are empty. The text is checked before the first search.
 *
 * `work` is a userdata with the result so far behind it; when it is full, step() moves it to a
 * larger one. It points into regex, text and replacement, which the loop's locals keep alive.
 */
#include "base/banned.h"
#include "bind/regex.h"

#include "bind/wrap.h"

#define FIRST_ROOM   256
#define STEP_MATCHES 64
#define STEP_WORK    50000 /* steps of the searches after which no other begins */
#define TEXT_MAX     65536 /* bytes of a replacement text, which are gone through at each match */

struct work {
    struct tg_regex *regex;
    struct tg_str subject;
    struct tg_str replacement; /* of the text form */
    bool calls;
    size_t copied; /* bytes of the subject that are in the result, or replaced there */
    size_t left;   /* replacements that may still be made */
    size_t count;
    struct tg_regex_match match;
    size_t n, size; /* result so far, and room for it */
    char text[];
};

/* ---- The replacement text -------------------------------------------------------------------- */

/* Number of the group that `name` is; -1 when there is none. */
static int group_of(const struct tg_regex *regex, struct tg_str name)
{
    char text[40];
    uint64_t number;
    if (tg_str_to_u64(name, &number))
        return number <= regex->groups ? (int)number : -1;
    if (name.n == 0 || name.n >= sizeof(text))
        return -1;
    memcpy(text, name.p, name.n);
    text[name.n] = '\0';
    int found = pcre2_substring_number_from_name(regex->code, (PCRE2_SPTR)text);
    return found > 0 ? found : -1;
}

/* Takes the next part off *rest: text as it is (*group -1), or a group. False at the end, and, with
 * *wrong set, at a "$" that is followed by nothing of ours. */
static bool next_part(const struct tg_regex *regex, struct tg_str *rest, struct tg_str *text,
                      int *group, bool *wrong)
{
    *group = -1;
    size_t dollar = tg_str_find(*rest, '$', 0);
    if (rest->n == 0)
        return false;
    if (dollar > 0) {
        *text = tg_str_sub(*rest, 0, dollar);
        *rest = tg_str_sub(*rest, dollar, rest->n);
        return true;
    }
    size_t end = 2; /* of "$1", "$$" */
    struct tg_str name = tg_str_sub(*rest, 1, 2);
    if (tg_str_eq(name, TG_STR("{"))) {
        size_t close = tg_str_find(*rest, '}', 2);
        *wrong = close == rest->n;
        name = tg_str_sub(*rest, 2, close);
        end = close + 1;
    }
    bool dollar_sign = end == 2 && tg_str_eq(name, TG_STR("$"));
    *text = name;
    *group = dollar_sign ? -1 : group_of(regex, name);
    *wrong = *wrong || (*group < 0 && !dollar_sign);
    *rest = tg_str_sub(*rest, end, rest->n);
    return !*wrong;
}

static void check_replacement(lua_State *L, const struct tg_regex *regex, struct tg_str rest)
{
    struct tg_str text;
    int group;
    bool wrong = false;
    while (next_part(regex, &rest, &text, &group, &wrong))
        continue;
    if (wrong)
        tg_bind_arg_error(L, 2,
                          "\"$\" is followed by the number of a group, ${name} of one that "
                          "the expression has, or \"$\"");
}

/* ---- The result ------------------------------------------------------------------------------ */

/* Appends to the result of the work at stack index 1, which may be moved. */
static struct work *add(lua_State *L, struct work *work, struct tg_str text)
{
    if (text.n > work->size - work->n) {
        size_t size = TG_MAX(work->size * 2, work->n + text.n);
        struct work *larger = lua_newuserdata(L, sizeof(*work) + size);
        memcpy(larger, work, sizeof(*work) + work->n);
        larger->size = size;
        lua_replace(L, 1);
        work = larger;
    }
    if (text.n > 0)
        memcpy(work->text + work->n, text.p, text.n);
    work->n += text.n;
    return work;
}

static struct tg_str group_text(const struct work *work, int group)
{
    size_t start = work->match.v[2 * group];
    if (start == PCRE2_UNSET)
        return TG_STR("");
    return tg_str_sub(work->subject, start, work->match.v[2 * group + 1]);
}

static struct work *add_replacement(lua_State *L, struct work *work)
{
    struct tg_str rest = work->replacement;
    struct tg_str text;
    int group;
    bool wrong = false;
    while (next_part(work->regex, &rest, &text, &group, &wrong))
        work = add(L, work, group < 0 ? text : group_text(work, group));
    return work;
}

/* Looks for the next match behind the one that was replaced. */
static bool search(lua_State *L, struct work *work, size_t from)
{
    return work->left > 0 && tg_regex_search(L, work->regex, work->subject, from, &work->match);
}

/* Replaces the match by `value`, or by the replacement text. The next search begins at *from. */
static struct work *replace(lua_State *L, struct work *work, const struct tg_str *value,
                            size_t *from)
{
    work = add(L, work, tg_str_sub(work->subject, work->copied, work->match.v[0]));
    work = value != NULL ? add(L, work, *value) : add_replacement(L, work);
    work->copied = work->match.v[1];
    work->left--;
    work->count++;
    *from = tg_regex_next(work->regex, work->subject, &work->match);
    return work;
}

/* ---- What the loop calls --------------------------------------------------------------------- */

/* begin(...): the method gsub as Lua sees it through its loop. */
int tg_api_regex_gsub(lua_State *L)
{
    struct tg_regex *regex = tg_bind_check_value(L);
    struct tg_str subject = tg_bind_arg_str(L, 1);
    bool calls = lua_isfunction(L, 3);
    struct tg_str replacement = TG_STR("");
    size_t left = SIZE_MAX;
    if (!calls && lua_type(L, 3) != LUA_TSTRING)
        tg_bind_arg_error(L, 2, "expected a string or a function");
    if (!calls)
        replacement = tg_bind_arg_str(L, 2);
    if (replacement.n > TEXT_MAX)
        tg_bind_arg_error(L, 2, "a text of more than 64 KiB");
    check_replacement(L, regex, replacement);
    if (!lua_isnoneornil(L, 4))
        left = (size_t)tg_bind_arg_int(L, 3, 0, INT32_MAX);
    struct work *work = lua_newuserdata(L, sizeof(*work) + FIRST_ROOM);
    memset(work, 0, sizeof(*work));
    work->regex = regex;
    work->subject = subject;
    work->replacement = replacement;
    work->calls = calls;
    work->left = left;
    work->size = FIRST_ROOM;
    lua_pushboolean(L, search(L, work, 0));
    lua_pushboolean(L, calls);
    lua_pushvalue(L, 2);
    return 4;
}

static int captures(lua_State *L)
{
    const struct work *work = lua_touserdata(L, 1);
    return tg_regex_push_groups(L, work->regex, work->subject, &work->match, true);
}

/* What the function returned, at index 2: nil and false keep the match. */
static struct tg_str returned(lua_State *L, const struct work *work)
{
    size_t n;
    if (!lua_toboolean(L, 2))
        return group_text(work, 0);
    const char *p = lua_tolstring(L, 2, &n);
    if (p == NULL)
        tg_bind_arg_error(L, 2, "the function returned neither a string nor nil");
    return tg_str(p, n);
}

static int step(lua_State *L)
{
    struct work *work = lua_touserdata(L, 1);
    bool found = true;
    size_t from;
    lua_settop(L, 2);
    if (work->calls) {
        struct tg_str value = returned(L, work);
        work = replace(L, work, &value, &from);
        found = search(L, work, from);
    }
    uint64_t used = 0;
    for (int i = 0; !work->calls && found && i < STEP_MATCHES && used < STEP_WORK; i++) {
        work = replace(L, work, NULL, &from);
        found = search(L, work, from);
        used += work->regex->used + work->replacement.n;
    }
    lua_pushvalue(L, 1);
    lua_pushboolean(L, found);
    return 2;
}

static int finish(lua_State *L)
{
    struct work *work = lua_touserdata(L, 1);
    size_t count = work->count;
    lua_settop(L, 2);
    if (count > 0) {
        work = add(L, work, tg_str_sub(work->subject, work->copied, work->subject.n));
        lua_pushlstring(L, work->text, work->n);
    }
    lua_pushinteger(L, (lua_Integer)count);
    return 2;
}

void tg_regex_wrap_gsub(lua_State *L)
{
    static const lua_CFunction parts[] = {captures, step, finish};
    tg_bind_wrap(L, "lua/tidegate/regex_gsub.lua", "gsub", parts, TG_COUNT_OF(parts));
}
