/* regex.c: PCRE2 behind regex.h.
 *
 * Counting backtracks alone does not bound time, since what lies between two of them may run over
 * the whole subject. So expressions are compiled with automatic callouts: before each item PCRE2
 * calls back, JIT or not, and the distance to where the last one was is taken from a budget. The
 * budget of the search that runs is the thread's, because the match context that leads to it is
 * shared by all threads; a search ends before its thread begins another.
 *
 * The trial. An expression whose time grows with the square of the subject or worse needs a subject
 * that nearly matches: a run of bytes that its repetitions take, and an end that they do not. Runs
 * of the usual suspects are tried behind the start, with the budget of a request.
 */
#include "base/banned.h"
#include "route/regex.h"

#include "base/assert.h"
#include "base/mem.h"

#include <stdatomic.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define STEP_BYTES  16 /* of the subject that count as one step */
#define MATCH_LIMIT 100000
#define DEPTH_LIMIT 10000
#define HEAP_LIMIT  256 /* KiB */
#define TRIAL_RUN   512 /* bytes */

struct tg_route_regex {
    _Atomic uint32_t refs;
    bool anchored;
    uint32_t groups;
    size_t bytes;
    char *pattern;
    size_t n;
    pcre2_general_context *memory;
    pcre2_match_context *context;
    pcre2_code *code;
};

/* Of the search that this thread is in. */
struct meter {
    int64_t steps; /* left */
    size_t last;   /* where the last callout was */
};

static _Thread_local struct meter meter;
static _Thread_local char message[160]; /* of the last expression that did not compile */

static void *allocate(size_t size, void *arg)
{
    (void)arg;
    return tg_mem_alloc(TG_MEM_CONFIG, size);
}

static void release(void *p, void *arg)
{
    (void)arg;
    tg_mem_free(TG_MEM_CONFIG, p);
}

static int on_callout(pcre2_callout_block *block, void *arg)
{
    size_t at = block->current_position;
    size_t moved = at > meter.last ? at - meter.last : meter.last - at;
    (void)arg;
    meter.steps -= 1 + (int64_t)(moved / STEP_BYTES);
    meter.last = at;
    return meter.steps < 0 ? PCRE2_ERROR_CALLOUT : 0;
}

static enum tg_err fail(struct tg_route_problem *problem, size_t at, const char *text,
                        const char *hint)
{
    *problem = (struct tg_route_problem){text, hint, at};
    return TG_E_INVALID;
}

/* ---- Compiling ------------------------------------------------------------------------------- */

static enum tg_err compile(struct tg_route_regex *r, struct tg_route_problem *problem)
{
    uint32_t options = PCRE2_AUTO_CALLOUT | PCRE2_NEVER_BACKSLASH_C | PCRE2_NEVER_UTF |
                       PCRE2_NEVER_UCP | (r->anchored ? PCRE2_ANCHORED : 0);
    int number = PCRE2_ERROR_NOMEMORY;
    PCRE2_SIZE at = 0;
    pcre2_compile_context *context = pcre2_compile_context_create(r->memory);
    if (context == NULL)
        return TG_E_NOMEM;
    pcre2_set_parens_nest_limit(context, TG_ROUTE_REGEX_NEST_MAX);
    r->code = pcre2_compile((PCRE2_SPTR)r->pattern, r->n, options, &number, &at, context);
    pcre2_compile_context_free(context);
    if (r->code != NULL)
        return TG_OK;
    if (number == PCRE2_ERROR_NOMEMORY || number == PCRE2_ERROR_HEAP_FAILED)
        return TG_E_NOMEM;
    if (pcre2_get_error_message(number, (PCRE2_UCHAR *)message, sizeof(message)) < 0)
        message[0] = '\0';
    return fail(problem, at, message, "regular expressions are those of PCRE2");
}

/* What can be told without trying. */
static enum tg_err check_size(struct tg_route_regex *r, struct tg_route_problem *problem)
{
    size_t code = 0, jit = 0;
    pcre2_pattern_info(r->code, PCRE2_INFO_SIZE, &code);
    pcre2_pattern_info(r->code, PCRE2_INFO_CAPTURECOUNT, &r->groups);
    if (code > TG_ROUTE_REGEX_CODE_MAX)
        return fail(problem, 0, "its code is larger than 32 KiB",
                    "large counts in {...} multiply; use + or * instead");
    if (r->groups > TG_ROUTE_CAPTURES_MAX)
        return fail(problem, 0, "more than 16 capturing groups", "write (?:...) to group only");
    for (unsigned i = 1; i <= r->groups; i++) {
        if (tg_route_regex_group_name(r, i).n > TG_ROUTE_NAME_MAX)
            return fail(problem, 0, "a group's name is longer than 64 bytes", "shorten it");
    }
    (void)pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE); /* without it the interpreter serves */
    pcre2_pattern_info(r->code, PCRE2_INFO_JITSIZE, &jit);
    r->bytes = sizeof(*r) + r->n + 1 + code + jit;
    return TG_OK;
}

/* Searches a subject that begins with what the pattern spells out, goes on with a run of `unit` and
 * a byte that hardly anything takes, and ends in the pattern itself: a byte that must occur does.
 */
static enum tg_route_regex_verdict try_run(const struct tg_route_regex *r, struct tg_str unit)
{
    char subject[2 * TG_ROUTE_REGEX_MAX + TRIAL_RUN + 16];
    size_t n = 0;
    for (size_t i = r->n > 0 && r->pattern[0] == '^'; i < r->n; i++) {
        if (strchr("\\[](){}.*+?|^$", r->pattern[i]) != NULL)
            break;
        subject[n++] = r->pattern[i];
    }
    for (size_t i = 0; i < TRIAL_RUN; i++)
        subject[n++] = unit.p[i % unit.n];
    subject[n++] = '\x01';
    memcpy(subject + n, r->pattern, r->n);
    n += r->n;
    return tg_route_regex_match(r, tg_str(subject, n), NULL);
}

static enum tg_err try_runs(const struct tg_route_regex *r, struct tg_route_problem *problem)
{
    static const struct tg_str units[] = {{"a", 1},  {"0", 1},  {"/", 1},  {"-", 1},
                                          {"a/", 2}, {"0/", 2}, {"a.", 2}, {"=", 1}};
    for (size_t i = 0; i < TG_COUNT_OF(units); i++) {
        enum tg_route_regex_verdict verdict = try_run(r, units[i]);
        if (verdict == TG_ROUTE_REGEX_NOMEM)
            return TG_E_NOMEM;
        if (verdict == TG_ROUTE_REGEX_LIMIT)
            return fail(problem, 0,
                        "it takes more than 100000 steps on 512 bytes that nearly match",
                        "repetitions within repetitions, or one after the other, try all ways to "
                        "divide the text: use [^/]+ for a segment, possessive ++ and *+");
    }
    return TG_OK;
}

static enum tg_err make(struct tg_route_regex *r, struct tg_route_problem *problem)
{
    r->memory = pcre2_general_context_create(allocate, release, NULL);
    if (r->memory == NULL || r->pattern == NULL)
        return TG_E_NOMEM;
    r->context = pcre2_match_context_create(r->memory);
    if (r->context == NULL)
        return TG_E_NOMEM;
    pcre2_set_match_limit(r->context, MATCH_LIMIT);
    pcre2_set_depth_limit(r->context, DEPTH_LIMIT);
    pcre2_set_heap_limit(r->context, HEAP_LIMIT);
    pcre2_set_callout(r->context, on_callout, NULL);
    enum tg_err err = compile(r, problem);
    if (err == TG_OK)
        err = check_size(r, problem);
    return err == TG_OK ? try_runs(r, problem) : err;
}

enum tg_err tg_route_regex_new(struct tg_str pattern, bool anchored, struct tg_route_regex **out,
                               struct tg_route_problem *problem)
{
    struct tg_route_regex *r;
    if (pattern.n > TG_ROUTE_REGEX_MAX)
        return fail(problem, TG_ROUTE_REGEX_MAX, "longer than 1024 bytes", "shorten it");
    r = tg_mem_zalloc(TG_MEM_CONFIG, 1, sizeof(*r));
    if (r == NULL)
        return TG_E_NOMEM;
    atomic_init(&r->refs, 1);
    r->anchored = anchored;
    r->n = pattern.n;
    r->pattern = tg_mem_strndup(TG_MEM_CONFIG, pattern.p, pattern.n);
    enum tg_err err = make(r, problem);
    if (err != TG_OK)
        tg_route_regex_unref(&r);
    *out = r;
    return err;
}

/* ---- Life and looks -------------------------------------------------------------------------- */

struct tg_route_regex *tg_route_regex_ref(struct tg_route_regex *r)
{
    atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    return r;
}

void tg_route_regex_unref(struct tg_route_regex **rp)
{
    struct tg_route_regex *r = *rp;
    *rp = NULL;
    if (r == NULL || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) > 1)
        return;
    pcre2_code_free(r->code);
    pcre2_match_context_free(r->context);
    pcre2_general_context_free(r->memory);
    tg_mem_free(TG_MEM_CONFIG, r->pattern);
    tg_mem_free(TG_MEM_CONFIG, r);
}

struct tg_str tg_route_regex_pattern(const struct tg_route_regex *r)
{
    return tg_str(r->pattern, r->n);
}

bool tg_route_regex_is_anchored(const struct tg_route_regex *r)
{
    return r->anchored;
}

unsigned tg_route_regex_groups(const struct tg_route_regex *r)
{
    return r->groups;
}

struct tg_str tg_route_regex_group_name(const struct tg_route_regex *r, unsigned group)
{
    const unsigned char *entry;
    uint32_t count = 0, size = 0;
    pcre2_pattern_info(r->code, PCRE2_INFO_NAMECOUNT, &count);
    pcre2_pattern_info(r->code, PCRE2_INFO_NAMEENTRYSIZE, &size);
    pcre2_pattern_info(r->code, PCRE2_INFO_NAMETABLE, &entry);
    for (uint32_t i = 0; i < count; i++, entry += size) { /* [number, 2 bytes] name [0] */
        if ((unsigned)(entry[0] << 8 | entry[1]) == group)
            return tg_str_c((const char *)entry + 2);
    }
    return TG_STR("");
}

size_t tg_route_regex_bytes(const struct tg_route_regex *r)
{
    return r->bytes;
}

/* ---- Matching -------------------------------------------------------------------------------- */

static int search(const struct tg_route_regex *r, struct tg_str subject, pcre2_match_data *data,
                  uint32_t options)
{
    meter = (struct meter){TG_ROUTE_REGEX_STEPS_MAX, 0};
    return pcre2_match(r->code, (PCRE2_SPTR)subject.p, subject.n, 0, options, data, r->context);
}

enum tg_route_regex_verdict tg_route_regex_match(const struct tg_route_regex *r,
                                                 struct tg_str subject, struct tg_route_span *spans)
{
    pcre2_match_data *data = pcre2_match_data_create(r->groups + 1, r->memory);
    if (data == NULL)
        return TG_ROUTE_REGEX_NOMEM;
    int rc = search(r, subject, data, 0);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) /* the interpreter has its stack on the heap */
        rc = search(r, subject, data, PCRE2_NO_JIT);
    const PCRE2_SIZE *v = pcre2_get_ovector_pointer(data);
    for (unsigned i = 0; rc > 0 && spans != NULL && i <= r->groups; i++) {
        unsigned group = i < r->groups ? i + 1 : 0;
        PCRE2_SIZE from = v[2 * group], to = v[2 * group + 1];
        bool took_part = from != PCRE2_UNSET && to >= from;
        spans[i].at = took_part ? (uint32_t)from : 0;
        spans[i].n = took_part ? (uint32_t)(to - from) : 0;
    }
    pcre2_match_data_free(data);
    if (rc == PCRE2_ERROR_NOMATCH)
        return TG_ROUTE_REGEX_NO;
    if (rc == PCRE2_ERROR_NOMEMORY)
        return TG_ROUTE_REGEX_NOMEM;
    return rc > 0 ? TG_ROUTE_REGEX_YES : TG_ROUTE_REGEX_LIMIT;
}
