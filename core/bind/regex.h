/* regex.h: what the files of tg.re share: a compiled expression, and one bounded search.
 *
 * Everything that PCRE2 allocates for an expression comes from the VM's own allocator and is
 * charged like a table of the plugin's; only the machine code of its JIT is not, which is bounded
 * per VM instead. An expression serves one search at a time, which ends before Lua goes on: results
 * are copied out of `data` at once.
 *
 * Bounds of a search. Counting backtracks alone does not bound time, since what lies between two of
 * them may run over the whole subject. So expressions are compiled with automatic callouts: before
 * each item PCRE2 calls back, JIT or not, and the distance to where the last one was is taken from
 * a budget of steps. PCRE2's own limits on backtracks, depth and heap hold besides.
 *
 * Threads: the VM's. Cost: 0.1 us for a path of 20 bytes; a search ends within some 3 ms.
 */
#ifndef TG_BIND_REGEX_H
#define TG_BIND_REGEX_H

#include "bind/object.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define TG_REGEX_GROUPS_MAX 64

struct tg_regex {
    uint32_t magic;
    bool utf;
    uint32_t groups; /* capturing ones */
    lua_Alloc alloc; /* the VM's */
    void *alloc_arg;
    pcre2_general_context *memory; /* from here on owned */
    pcre2_match_context *context;
    pcre2_code *code;
    pcre2_match_data *data; /* NULL until the first search */
    uint64_t used;          /* steps of the last search */
    size_t jit_bytes;       /* counted in *jit_used */
    size_t *jit_used;       /* of all expressions of the VM; in its tg_vm_host */
};

/* Offsets of a match (index 0) and its groups: [2 * i, 2 * i + 1), PCRE2_UNSET both where a group
 * took no part. */
struct tg_regex_match {
    size_t v[2 * (TG_REGEX_GROUPS_MAX + 1)];
};

/* The first match in `subject` from offset `from` on; false when there is none. Raises when the
 * search is over its bounds, or memory is out. */
bool tg_regex_search(lua_State *L, struct tg_regex *regex, struct tg_str subject, size_t from,
                     struct tg_regex_match *match);

/* Where to look on behind a match: its end, or the next character when it was empty. May be one
 * beyond the end of the subject: then there is nothing more. */
size_t tg_regex_next(const struct tg_regex *regex, struct tg_str subject,
                     const struct tg_regex_match *match);

/* Pushes the groups of a match (nil for one that took no part), or the whole match when the
 * expression has none and `whole` is set; returns how many values. */
int tg_regex_push_groups(lua_State *L, const struct tg_regex *regex, struct tg_str subject,
                         const struct tg_regex_match *match, bool whole);

/* Puts the loop of gsub in front of the method in the table of names on top. In regex_gsub.c. */
void tg_regex_wrap_gsub(lua_State *L);

#endif
