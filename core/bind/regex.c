/* regex.c: tg.re: compiling expressions, match, find and gmatch. See regex.h for the bounds.
 *
 * Expressions belong into init and configure, where there is time to make them fast. Compiling is
 * cached per VM, so an expression that is compiled in a phase costs a look-up from the second time
 * on. The cache is emptied when it is full: a plugin that makes expressions out of requests pays
 * for compiling, not for a heap that grows.
 *
 * The userdata is there, and known to own something, before PCRE2 allocates the first byte, so an
 * error at any point leaks nothing.
 */
#include "base/banned.h"
#include "bind/regex.h"

#include "bind/wrap.h"
#include "bind/zone.h"
#include "gateway/wait.h"

#define PATTERN_MAX  4096
#define UTF_LATE_MAX 512 /* with the flag u in a phase: 24 bytes of it may take a ms */
#define NESTING_MAX  100
#define CACHED_MAX   128
#define JIT_MAX      ((size_t)4 << 20) /* bytes of machine code per VM; beyond: none for new ones */
#define JIT_LATE_MAX 2048 /* bytes of compiled code that is turned into machine code in a phase */
#define STEPS        400000
#define STEP_BYTES   16 /* of the subject that count as one step */
#define MATCH_LIMIT  1000000
#define DEPTH_LIMIT  100000
#define HEAP_LIMIT   256 /* KiB; a quarter of what plugins have for a request as a rule */

/* A key in the registry; only the address matters. */
static char cache_key;

/* ---- Memory ---------------------------------------------------------------------------------- */

/* In front of each block: its size, which Lua's allocator wants back. */
union head {
    size_t size;
    max_align_t align;
};

static void *allocate(size_t size, void *arg)
{
    struct tg_regex *regex = arg;
    union head *head = regex->alloc(regex->alloc_arg, NULL, 0, sizeof(*head) + size);
    if (head == NULL)
        return NULL;
    head->size = sizeof(*head) + size;
    return head + 1;
}

static void release(void *p, void *arg)
{
    struct tg_regex *regex = arg;
    union head *head = p;
    if (p != NULL)
        regex->alloc(regex->alloc_arg, head - 1, head[-1].size, 0);
}

void tg_bind_free_regex(void *value)
{
    struct tg_regex *regex = value;
    if (regex->jit_used != NULL)
        *regex->jit_used -= regex->jit_bytes;
    pcre2_code_free(regex->code);
    pcre2_match_data_free(regex->data);
    pcre2_match_context_free(regex->context);
    pcre2_general_context_free(regex->memory);
}

/* ---- Compiling ------------------------------------------------------------------------------- */

/* Argument 2: letters. */
static uint32_t arg_flags(lua_State *L, bool *utf)
{
    static const uint32_t options[] = {['i'] = PCRE2_CASELESS,
                                       ['m'] = PCRE2_MULTILINE,
                                       ['s'] = PCRE2_DOTALL,
                                       ['x'] = PCRE2_EXTENDED,
                                       ['u'] = PCRE2_UTF | PCRE2_UCP | PCRE2_MATCH_INVALID_UTF};
    struct tg_str flags = lua_isnoneornil(L, 2) ? TG_STR("") : tg_bind_arg_str(L, 2);
    uint32_t result = PCRE2_AUTO_CALLOUT | PCRE2_NEVER_BACKSLASH_C;
    for (size_t i = 0; i < flags.n; i++) {
        unsigned char c = (unsigned char)flags.p[i];
        if (c >= TG_COUNT_OF(options) || options[c] == 0)
            tg_bind_arg_error(L, 2, "expected letters out of i, m, s, u and x");
        result |= options[c];
    }
    *utf = (result & PCRE2_UTF) != 0;
    return *utf ? result : result | PCRE2_NEVER_UTF | PCRE2_NEVER_UCP;
}

/* Pushes nil and what is wrong with the pattern. */
static int fail_pattern(lua_State *L, int error, size_t offset)
{
    char text[160];
    char what[224];
    if (pcre2_get_error_message(error, (PCRE2_UCHAR *)text, sizeof(text)) < 0)
        text[0] = '\0';
    snprintf(what, sizeof(what), "%s (at character %zu)", text, offset + 1);
    return tg_bind_fail(L, "bad_input", what);
}

static TG_NORETURN void raise_memory(lua_State *L)
{
    tg_bind_call_error(L, "not enough memory");
}

/* The code of `pattern`, NULL with *error and *offset. */
static pcre2_code *compile(struct tg_regex *regex, struct tg_str pattern, uint32_t options,
                           int *error, size_t *offset)
{
    pcre2_compile_context *context = pcre2_compile_context_create(regex->memory);
    *error = PCRE2_ERROR_NOMEMORY;
    if (context == NULL)
        return NULL;
    pcre2_set_parens_nest_limit(context, NESTING_MAX);
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR)pattern.p, pattern.n, options, error, offset, context);
    pcre2_compile_context_free(context);
    return code;
}

/* Machine code, while the VM has not too much of it. Without, the interpreter serves. Making it
 * takes many times as long as compiling, 30 ms for an expression of 4 KiB: where a request waits
 * (`late`) only short ones get it. */
static void make_jit(struct tg_regex *regex, bool late)
{
    size_t size = 0;
    pcre2_pattern_info(regex->code, PCRE2_INFO_SIZE, &size);
    if (*regex->jit_used >= JIT_MAX || (late && size > JIT_LATE_MAX) ||
        pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE) != 0)
        return;
    pcre2_pattern_info(regex->code, PCRE2_INFO_JITSIZE, &regex->jit_bytes);
    *regex->jit_used += regex->jit_bytes;
}

static void make_context(lua_State *L, struct tg_regex *regex)
{
    regex->context = pcre2_match_context_create(regex->memory);
    if (regex->context == NULL)
        raise_memory(L);
    pcre2_set_match_limit(regex->context, MATCH_LIMIT);
    pcre2_set_depth_limit(regex->context, DEPTH_LIMIT);
    pcre2_set_heap_limit(regex->context, HEAP_LIMIT);
}

/* Pushes the expression: 1; or nil and an error: 2. */
static int push_compiled(lua_State *L, struct tg_str pattern, uint32_t options, bool utf)
{
    int error;
    size_t offset = 0;
    struct tg_regex *regex = tg_bind_new_value(L, TG_SCOPE_REGEX, sizeof(*regex));
    regex->utf = utf;
    regex->alloc = lua_getallocf(L, &regex->alloc_arg);
    regex->jit_used = &tg_bind_vm_entry(L)->host.jit_bytes;
    regex->memory = pcre2_general_context_create(allocate, release, regex);
    if (regex->memory == NULL)
        raise_memory(L);
    regex->code = compile(regex, pattern, options, &error, &offset);
    if (regex->code == NULL && error == PCRE2_ERROR_NOMEMORY)
        raise_memory(L);
    if (regex->code == NULL)
        return fail_pattern(L, error, offset);
    pcre2_pattern_info(regex->code, PCRE2_INFO_CAPTURECOUNT, &regex->groups);
    if (regex->groups > TG_REGEX_GROUPS_MAX)
        return tg_bind_fail(L, "bad_input", "more than 64 capturing groups; use (?:...)");
    make_context(L, regex);
    make_jit(regex, tg_run_is_hosted(tg_run_current(L)));
    return 1;
}

/* Puts the expression on top of the stack into the cache, at index 3, under the key at index 4. */
static void remember(lua_State *L)
{
    lua_rawgeti(L, 3, 1);
    int count = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    if (count >= CACHED_MAX) {
        lua_newtable(L);
        lua_replace(L, 3);
        lua_pushlightuserdata(L, &cache_key);
        lua_pushvalue(L, 3);
        lua_rawset(L, LUA_REGISTRYINDEX);
        count = 0;
    }
    lua_pushvalue(L, 4);
    lua_pushvalue(L, -2);
    lua_rawset(L, 3);
    lua_pushinteger(L, count + 1);
    lua_rawseti(L, 3, 1);
}

int tg_api_re_compile(lua_State *L)
{
    struct tg_str pattern = tg_bind_arg_str(L, 1);
    bool utf;
    uint32_t options = arg_flags(L, &utf);
    if (pattern.n > PATTERN_MAX)
        return tg_bind_fail(L, "bad_input", "longer than 4096 bytes");
    if (utf && pattern.n > UTF_LATE_MAX && tg_run_is_hosted(tg_run_current(L)))
        return tg_bind_fail(L, "bad_input",
                            "longer than 512 bytes with the flag u; compile it in configure");
    lua_settop(L, 2);
    lua_pushlightuserdata(L, &cache_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    char prefix[16];
    snprintf(prefix, sizeof(prefix), "%08x:", (unsigned)options);
    lua_pushstring(L, prefix);
    lua_pushvalue(L, 1);
    lua_concat(L, 2);
    lua_pushvalue(L, 4);
    lua_rawget(L, 3);
    if (!lua_isnil(L, -1))
        return 1;
    int results = push_compiled(L, pattern, options, utf);
    if (results == 1)
        remember(L);
    return results;
}

/* ---- Searching ------------------------------------------------------------------------------- */

struct meter {
    int64_t steps; /* left */
    size_t last;   /* where the last callout was */
};

static int on_callout(pcre2_callout_block *block, void *arg)
{
    struct meter *meter = arg;
    size_t at = block->current_position;
    size_t moved = at > meter->last ? at - meter->last : meter->last - at;
    meter->steps -= 1 + (int64_t)(moved / STEP_BYTES);
    meter->last = at;
    return meter->steps < 0 ? PCRE2_ERROR_CALLOUT : 0;
}

static TG_NORETURN void raise_limit(lua_State *L, const char *which)
{
    char what[160];
    snprintf(what, sizeof(what),
             "the search went over its limit of %s (anchor the expression, or "
             "use possessive repetition)",
             which);
    tg_bind_raise(L, "limit", what);
}

/* Raises what `rc` means, which is neither a match nor none. */
static TG_NORETURN void raise_search(lua_State *L, int rc)
{
    char text[160];
    switch (rc) {
    case PCRE2_ERROR_CALLOUT:
        raise_limit(L, "steps");
    case PCRE2_ERROR_MATCHLIMIT:
        raise_limit(L, "backtracks");
    case PCRE2_ERROR_DEPTHLIMIT:
    case PCRE2_ERROR_RECURSELOOP:
        raise_limit(L, "depth");
    case PCRE2_ERROR_HEAPLIMIT:
        raise_limit(L, "memory");
    case PCRE2_ERROR_NOMEMORY:
        raise_memory(L);
    default:
        if (pcre2_get_error_message(rc, (PCRE2_UCHAR *)text, sizeof(text)) < 0)
            text[0] = '\0';
        tg_bind_call_error(L, text);
    }
}

/* One search into regex->data. What the interpreter allocates for frames stays with that; it is
 * told by *frames. */
static int search(struct tg_regex *regex, struct tg_str subject, size_t from, bool *frames)
{
    PCRE2_SPTR p = (PCRE2_SPTR)subject.p;
    *frames = regex->jit_bytes == 0;
    int rc = pcre2_match(regex->code, p, subject.n, from, 0, regex->data, regex->context);
    if (rc != PCRE2_ERROR_JIT_STACKLIMIT)
        return rc;
    *frames = true; /* on the heap, and more of them */
    return pcre2_match(regex->code, p, subject.n, from, PCRE2_NO_JIT, regex->data, regex->context);
}

/* \K in a group that is called from a lookaround may set the start of the match in front of where
 * the search began, or behind its end: who goes from match to match would not get on. */
static void take_match(const struct tg_regex *regex, size_t from, struct tg_regex_match *match)
{
    memcpy(match->v, pcre2_get_ovector_pointer(regex->data),
           2 * (regex->groups + 1) * sizeof(match->v[0]));
    match->v[0] = TG_MIN(TG_MAX(match->v[0], from), match->v[1]);
}

bool tg_regex_search(lua_State *L, struct tg_regex *regex, struct tg_str subject, size_t from,
                     struct tg_regex_match *match)
{
    struct meter meter = {STEPS, from};
    bool frames;
    if (from > subject.n)
        return false;
    if (regex->data == NULL)
        regex->data = pcre2_match_data_create_from_pattern(regex->code, regex->memory);
    if (regex->data == NULL)
        raise_memory(L);
    pcre2_set_callout(regex->context, on_callout, &meter);
    int rc = search(regex, subject, from, &frames);
    regex->used = (uint64_t)(STEPS - meter.steps);
    if (frames && regex->utf) /* the interpreter looks first whether all of it is UTF-8 */
        regex->used += (subject.n - from) / STEP_BYTES;
    if (rc >= 0)
        take_match(regex, from, match);
    if (frames) {
        pcre2_match_data_free(regex->data);
        regex->data = NULL;
    }
    if (rc < 0 && rc != PCRE2_ERROR_NOMATCH)
        raise_search(L, rc);
    return rc >= 0;
}

size_t tg_regex_next(const struct tg_regex *regex, struct tg_str subject,
                     const struct tg_regex_match *match)
{
    size_t at = match->v[1];
    if (match->v[0] != at)
        return at;
    at++;
    while (regex->utf && at < subject.n && ((unsigned char)subject.p[at] & 0xc0) == 0x80)
        at++;
    return at;
}

int tg_regex_push_groups(lua_State *L, const struct tg_regex *regex, struct tg_str subject,
                         const struct tg_regex_match *match, bool whole)
{
    if (regex->groups == 0 && whole) {
        lua_pushlstring(L, subject.p + match->v[0], match->v[1] - match->v[0]);
        return 1;
    }
    luaL_checkstack(L, TG_REGEX_GROUPS_MAX + 4, NULL);
    for (uint32_t i = 1; i <= regex->groups; i++) {
        size_t start = match->v[2 * i];
        if (start == PCRE2_UNSET)
            lua_pushnil(L);
        else
            lua_pushlstring(L, subject.p + start, match->v[2 * i + 1] - start);
    }
    return (int)regex->groups;
}

/* ---- Methods --------------------------------------------------------------------------------- */

/* Argument 2, a position from 1, as an offset; beyond the end: n + 1, where nothing matches. */
static size_t arg_start(lua_State *L, size_t n)
{
    if (lua_isnoneornil(L, 3))
        return 0;
    size_t start = (size_t)tg_bind_arg_int(L, 2, 1, INT32_MAX) - 1;
    return TG_MIN(start, n + 1);
}

int tg_api_regex_match(lua_State *L)
{
    struct tg_regex *regex = tg_bind_check_value(L);
    struct tg_str subject = tg_bind_arg_str(L, 1);
    struct tg_regex_match match;
    if (!tg_regex_search(L, regex, subject, arg_start(L, subject.n), &match)) {
        lua_pushnil(L);
        return 1;
    }
    return tg_regex_push_groups(L, regex, subject, &match, true);
}

int tg_api_regex_find(lua_State *L)
{
    struct tg_regex *regex = tg_bind_check_value(L);
    struct tg_str subject = tg_bind_arg_str(L, 1);
    struct tg_regex_match match;
    if (!tg_regex_search(L, regex, subject, arg_start(L, subject.n), &match)) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushinteger(L, (lua_Integer)match.v[0] + 1);
    lua_pushinteger(L, (lua_Integer)match.v[1]);
    return 2 + tg_regex_push_groups(L, regex, subject, &match, false);
}

/* Upvalues: the entry, the expression, the subject, where to look on. */
static int next_match(lua_State *L)
{
    struct tg_regex *regex = lua_touserdata(L, lua_upvalueindex(2));
    size_t n;
    const char *p = lua_tolstring(L, lua_upvalueindex(3), &n);
    struct tg_str subject = tg_str(p, n);
    struct tg_regex_match match;
    size_t from = (size_t)lua_tonumber(L, lua_upvalueindex(4));
    bool found = tg_regex_search(L, regex, subject, from, &match);
    lua_pushnumber(L, (lua_Number)(found ? tg_regex_next(regex, subject, &match) : n + 1));
    lua_replace(L, lua_upvalueindex(4));
    int count = found ? tg_regex_push_groups(L, regex, subject, &match, true) : 0;
    if (count > 0 && lua_isnil(L, -count)) { /* would end the loop */
        lua_pushboolean(L, 0);
        lua_replace(L, -count - 1);
    }
    return count;
}

int tg_api_regex_gmatch(lua_State *L)
{
    tg_bind_check_value(L);
    tg_bind_arg_str(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_pushnumber(L, 0);
    lua_pushcclosure(L, next_match, 4);
    return 1;
}

void tg_bind_wrap_regex(lua_State *L)
{
    lua_pushlightuserdata(L, &cache_key);
    lua_newtable(L);
    lua_rawset(L, LUA_REGISTRYINDEX);
    tg_regex_wrap_gsub(L);
}
