/* api.h: the plugin API as data: what api.def lists, for registration, checks and printing.
 *
 * Entries are constant and live for ever; any thread may read them. An entry is the first upvalue
 * of the C function that it describes, so that a function knows its name, arguments and phases.
 */
#ifndef TG_BIND_API_H
#define TG_BIND_API_H

#include "base/fmt.h"
#include "config/snapshot.h"

#include <lua.h>

struct tg_bind_object;

enum tg_api_scope {
#define TG_API_SCOPE(ID, id, form, name, class, doc) TG_SCOPE_##ID,
#define TG_API_FIELD(...)
#define TG_API_METHOD(...)
#define TG_API_FUNCTION(...)
#include "bind/api.def"
#undef TG_API_SCOPE
#undef TG_API_FIELD
#undef TG_API_METHOD
#undef TG_API_FUNCTION
    TG_SCOPES
};

enum tg_api_form {
    TG_FORM_REQUEST, /* an object that ctx hands out */
    TG_FORM_LIBRARY, /* a table of functions */
    TG_FORM_VALUE    /* an object that a function of the library makes */
};

enum tg_api_type { TG_API_IS_FIELD, TG_API_IS_METHOD, TG_API_IS_FUNCTION };

enum tg_api_flag {
    TG_API_SUSPENDS = 1, /* may wait: the plugin's other requests go on */
    TG_API_NORETURN = 2, /* ends the phase */
    TG_API_CHAINS = 4,   /* returns its object */
};

/* Bits of tg_api_entry.phases: 1 << enum tg_phase, and this one for init and configure. */
#define TG_API_INIT (1u << TG_PHASES)

struct tg_api_scope_info {
    enum tg_api_form form;
    const char *name;  /* "ctx.req" */
    const char *class; /* "tidegate.Req" */
    const char *doc;
};

struct tg_api_entry {
    enum tg_api_type type;
    enum tg_api_scope scope;
    const char *name;
    unsigned phases;
    unsigned flags;
    const char *args;    /* "name: type, name?: type"; fields have none */
    const char *returns; /* type of a field, or types of what is returned; "" for nothing */
    const char *doc;
    lua_CFunction call;                                      /* methods and functions */
    int (*get)(lua_State *L, struct tg_bind_object *object); /* fields: pushes one value */
};

/* All entries, those of a scope side by side, in the order of api.def. */
extern const struct tg_api_entry tg_api_entries[];
extern const size_t tg_api_entry_count;

const struct tg_api_scope_info *tg_api_scope_info(enum tg_api_scope scope);

/* Name of argument `n` (from 1) of `entry`, without the mark of an optional one; empty when there
 * is none. Static storage. */
struct tg_str tg_api_arg_name(const struct tg_api_entry *entry, int n);

/* Writes "ctx.req:header()", "ctx.req.path" or "tg.json.encode()". */
void tg_api_write_name(const struct tg_api_entry *entry, struct tg_fmt *out);

/* Writes "rewrite, access". */
void tg_api_write_phases(unsigned phases, struct tg_fmt *out);

/* Writes why `entry` may not be used in `phase`, where it may, and what to do: three lines. */
void tg_api_write_wrong_phase(const struct tg_api_entry *entry, enum tg_phase phase,
                              struct tg_fmt *out);

/* Writes that `scope` has no `word` (NULL: what was asked for is no name but of the Lua type
 * `type`), and what may have been meant. */
void tg_api_write_unknown(enum tg_api_scope scope, const char *word, const char *type,
                          struct tg_fmt *out);

/* Writes that `word` of `scope` cannot be assigned to, and what changes it instead. */
void tg_api_write_unassignable(enum tg_api_scope scope, const char *word, struct tg_fmt *out);

#endif
