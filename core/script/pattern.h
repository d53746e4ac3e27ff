/* pattern.h: Lua 5.1 patterns (reference manual, 5.4.1) with a bound on time and memory.
 *
 * LuaJIT's own string functions take exponential time for some patterns, in C, where no hook stops
 * them, and recurse on the C stack. This matcher answers the same questions with
 *   - a budget of steps, counted down while it works and left for the caller to read, so that one
 *     activation of a plugin can share a budget among many calls. A step is one visit of a pattern
 *     item, one backtrack, or a run of bytes scanned by a fast loop (8 bytes, 64 where memchr
 *     scans): 2 to 6 ns on current machines;
 *   - a list of choices on the C stack of fixed size (6 KiB), never recursion;
 *   - no allocation, no global state, no dependency on the locale.
 *
 * What differs from LuaJIT, on purpose:
 *   - a zero byte in a pattern is an ordinary character, as in Lua 5.2; LuaJIT ends the pattern;
 *   - a branch that cannot match because of the literal behind it is not entered, so a pattern too
 *     complex for LuaJIT there just fails to match;
 *   - the budget.
 * A malformed pattern is reported when matching reaches the malformed part, as in LuaJIT: "x["
 * fails on "x", and does not match "y".
 *
 * Use: tg_pattern_init() once for a subject and pattern, then tg_pattern_find() from any offset, as
 * often as wanted. Ownership: subject and pattern are borrowed for the life of the struct, their
 * pointers not NULL; there is nothing to release. Threads: each struct belongs to one.
 */
#ifndef TG_SCRIPT_PATTERN_H
#define TG_SCRIPT_PATTERN_H

#include "base/defs.h"
#include "base/str.h"
#include "script/pattern_set.h"

#define TG_PATTERN_CAPTURES 32  /* captures in a pattern; more: TG_PATTERN_BAD */
#define TG_PATTERN_DEPTH    200 /* choices and captures open at once; more: TG_PATTERN_DEEP */
#define TG_PATTERN_SETS     4   /* sets kept in expanded form */

enum tg_pattern_verdict {
    TG_PATTERN_MATCH,
    TG_PATTERN_NONE,  /* no match */
    TG_PATTERN_BAD,   /* malformed pattern; `error` says how */
    TG_PATTERN_STEPS, /* the budget is used up; `steps` is 0 */
    TG_PATTERN_DEEP,  /* more than TG_PATTERN_DEPTH; `error` says so */
};

/* Lengths that are none. A capture may still be unfinished when the pattern has matched: that is
 * an error only for who reads it, "unfinished capture". */
#define TG_PATTERN_POSITION   SIZE_MAX
#define TG_PATTERN_UNFINISHED (SIZE_MAX - 1)

/* Bytes [at, at + n) of the subject; with n TG_PATTERN_POSITION the offset itself is captured. */
struct tg_pattern_capture {
    size_t at;
    size_t n;
};

/* Where `^` at the start of a pattern anchors (find, match, gsub), or is a character (gmatch). */
enum tg_pattern_caret { TG_PATTERN_CARET_ANCHORS, TG_PATTERN_CARET_IS_CHAR };

struct tg_pattern {
    /* Read after tg_pattern_find(). */
    uint64_t steps;    /* left; may be set between calls */
    const char *error; /* after _BAD and _DEEP; static storage */
    size_t from;       /* after _MATCH: bytes [from, to) of the subject */
    size_t to;
    unsigned level; /* number of captures */
    bool anchored;  /* a leading ^ anchors: a match is looked for at one offset only */
    struct tg_pattern_capture capture[TG_PATTERN_CAPTURES];

    /* private */
    const uint8_t *subject;
    const uint8_t *subject_end;
    const uint8_t *pattern; /* behind the anchor */
    const uint8_t *pattern_end;
    struct tg_pattern_slot {
        const uint8_t *text; /* the '[' that the set stands for; NULL: empty */
        const uint8_t *end;  /* behind its ']' */
        struct tg_pattern_set set;
    } slot[TG_PATTERN_SETS];
};

/* Prepares for matching `pattern` against `subject` with `steps` to spend. */
void tg_pattern_init(struct tg_pattern *m, struct tg_str subject, struct tg_str pattern,
                     enum tg_pattern_caret caret, uint64_t steps);

/* The first match that starts at offset `from` (at most the subject's length) or, unless anchored,
 * behind it. A pattern without a match never fails but for the verdicts above. */
enum tg_pattern_verdict tg_pattern_find(struct tg_pattern *m, size_t from) TG_MUST_USE;

/* The subject, and bytes [from, to) of it; borrowed from it. */
static inline struct tg_str tg_pattern_subject(const struct tg_pattern *m)
{
    return tg_str((const char *)m->subject, (size_t)(m->subject_end - m->subject));
}

static inline struct tg_str tg_pattern_text(const struct tg_pattern *m, size_t from, size_t to)
{
    return tg_str((const char *)m->subject + from, to - from);
}

/* Whether `pattern` holds no character with a special meaning, so that tg_pattern_find_plain()
 * finds the same. As in LuaJIT, `)` and `]` count as plain where nothing else is special. */
bool tg_pattern_is_plain(struct tg_str pattern);

/* Offset of the first occurrence of `needle` at `from` or behind it; SIZE_MAX when there is none.
 * Linear time; no steps. */
size_t tg_pattern_find_plain(struct tg_str subject, struct tg_str needle, size_t from);

#endif
