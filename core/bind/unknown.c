/* unknown.c: what is told of a name that the API has not, for people who know another gateway's.
 *
 * A slip of the pen finds the nearest name of the same object. What is there under another object
 * ("ctx.req:set_header") is said to be there, "get_header" is looked for as "header", and a few
 * words that all other gateways have, and that mean something else here, are listed.
 */
#include "base/banned.h"
#include "bind/api.h"

#include "base/guess.h"

/* What people look for that has another name or another place. */
static const struct {
    enum tg_api_scope scope;
    const char *word;
    const char *advice;
} other_words[] = {
    {TG_SCOPE_REQ, "uri", "ctx.req.path is the path, ctx.req.query_string the query"},
    {TG_SCOPE_REQ, "url", "ctx.req.path is the path, ctx.req.query_string the query"},
    {TG_SCOPE_REQ, "args", "ctx.req:query(name) is a parameter, ctx.req:query_all() has them all"},
    {TG_SCOPE_REQ, "ip", "ctx.client.ip is the client's address"},
    {TG_SCOPE_RESP, "body", "the body passes body_filter(conf, ctx, chunk, eof)"},
    {TG_SCOPE_RESP, "set_body", "what body_filter(conf, ctx, chunk, eof) returns is the body"},
    {TG_SCOPE_RESP, "exit", "ctx:exit(status, body, headers) answers"},
    {TG_SCOPE_TG, "sleep", "ctx:sleep(duration) waits"},
    {TG_SCOPE_TG, "now", "tg.time.now() is the time"},
    {TG_SCOPE_TG, "exit", "ctx:exit(status, body, headers) answers"},
};

/* The name of `scope` that `word` is nearest to, or NULL. What tg holds besides its own functions
 * are the libraries: "tg.json". */
static const char *nearest_name(enum tg_api_scope scope, const char *word)
{
    const char *nearest = NULL;
    unsigned best = TG_GUESS_NONE;
    for (size_t i = 0; i < tg_api_entry_count + TG_SCOPES; i++) {
        const char *name = NULL;
        if (i < tg_api_entry_count) {
            name = tg_api_entries[i].scope == scope ? tg_api_entries[i].name : NULL;
        } else if (scope == TG_SCOPE_TG) {
            const struct tg_api_scope_info *info =
                tg_api_scope_info((enum tg_api_scope)(i - tg_api_entry_count));
            name = info->form == TG_FORM_LIBRARY ? strchr(info->name, '.') : NULL;
            name = name != NULL ? name + 1 : NULL;
        }
        unsigned rank = name != NULL ? tg_guess_rank(word, name) : TG_GUESS_NONE;
        if (rank < best) {
            best = rank;
            nearest = name;
        }
    }
    return nearest;
}

static const struct tg_api_entry *find_entry(enum tg_api_scope scope, const char *name)
{
    for (size_t i = 0; i < tg_api_entry_count; i++) {
        if (tg_api_entries[i].scope == scope && strcmp(tg_api_entries[i].name, name) == 0)
            return &tg_api_entries[i];
    }
    return NULL;
}

static const char *other_word(enum tg_api_scope scope, const char *word)
{
    for (size_t i = 0; i < TG_COUNT_OF(other_words); i++) {
        if (other_words[i].scope == scope && strcmp(other_words[i].word, word) == 0)
            return other_words[i].advice;
    }
    return NULL;
}

/* Names the objects of a request, other than `scope`, that have `word`; false when none has. */
static bool write_owners(enum tg_api_scope scope, const char *word, struct tg_fmt *f)
{
    unsigned count = 0;
    if (tg_api_scope_info(scope)->form != TG_FORM_REQUEST)
        return false;
    for (unsigned i = 0; i < TG_SCOPES; i++) {
        const struct tg_api_scope_info *info = tg_api_scope_info((enum tg_api_scope)i);
        if (i == scope || info->form != TG_FORM_REQUEST ||
            find_entry((enum tg_api_scope)i, word) == NULL)
            continue;
        tg_fmt_printf(f, "%s%s", count++ > 0 ? " and " : "; there is one in ", info->name);
    }
    return count > 0;
}

void tg_api_write_unknown(enum tg_api_scope scope, const char *word, const char *type,
                          struct tg_fmt *f)
{
    const struct tg_api_scope_info *info = tg_api_scope_info(scope);
    const char *what = info->form == TG_FORM_LIBRARY ? "function" : "field or method";
    tg_fmt_printf(f, "%s has no %s \"%.64s\"", info->name, what, word != NULL ? word : type);
    const char *advice = word != NULL ? other_word(scope, word) : NULL;
    if (advice != NULL) {
        tg_fmt_printf(f, "; %s", advice);
        return;
    }
    const char *nearest = word != NULL ? nearest_name(scope, word) : NULL;
    if (nearest == NULL && word != NULL && strncmp(word, "get_", 4) == 0)
        nearest = nearest_name(scope, word + 4);
    if (nearest != NULL)
        tg_fmt_printf(f, "; did you mean \"%s\"?", nearest);
    else if (word == NULL || !write_owners(scope, word, f))
        tg_fmt_printf(f, "; `tidegate doc %s` tells what it has", info->name);
}

void tg_api_write_unassignable(enum tg_api_scope scope, const char *word, struct tg_fmt *f)
{
    const struct tg_api_scope_info *info = tg_api_scope_info(scope);
    char setter[64];
    snprintf(setter, sizeof(setter), "set_%.48s", word);
    tg_fmt_printf(f, "%s cannot be written to; ", info->name);
    if (find_entry(scope, setter) != NULL)
        tg_fmt_printf(f, "call %s:%s()", info->name, setter);
    else if (scope == TG_SCOPE_REQ && find_entry(TG_SCOPE_UPSTREAM, setter) != NULL)
        tg_fmt_printf(f, "ctx.upstream:%s() changes what the origin gets", setter);
    else
        tg_fmt_printf(f, "values of a request belong into ctx.state");
}
