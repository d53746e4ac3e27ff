/* api.c: see api.h. The table is made from api.def; the letters of its phases are macros here.
 *
 * A list of phases is one macro per combination that occurs, so that a typing error in api.def does
 * not compile.
 */
#include "base/banned.h"
#include "bind/api.h"

#include "bind/object.h"

#define C      (1u << TG_PHASE_CERTIFICATE)
#define R      (1u << TG_PHASE_REWRITE)
#define A      (1u << TG_PHASE_ACCESS)
#define H      (1u << TG_PHASE_HEADER_FILTER)
#define B      (1u << TG_PHASE_BODY_FILTER | 1u << TG_PHASE_MESSAGE)
#define M      (1u << TG_PHASE_MESSAGE)
#define L      (1u << TG_PHASE_LOG)
#define I      TG_API_INIT
#define RA     (R | A)
#define RAH    (RA | H)
#define RAHB   (RAH | B)
#define RAHBL  (RAHB | L)
#define AHBL   (A | H | B | L)
#define HBL    (H | B | L)
#define CRAHB  (C | RAHB)
#define CRAHBL (C | RAHBL)
#define IRAHBL (I | C | RAHBL) /* everywhere: the library belongs to no request */

static const struct tg_api_scope_info scopes[] = {
#define TG_API_SCOPE(ID, id, form, name, class, doc) {TG_FORM_##form, name, class, doc},
#define TG_API_FIELD(...)
#define TG_API_METHOD(...)
#define TG_API_FUNCTION(...)
#include "bind/api.def"
#undef TG_API_SCOPE
#undef TG_API_FIELD
#undef TG_API_METHOD
#undef TG_API_FUNCTION
};

#define SUSPENDS TG_API_SUSPENDS
#define NORETURN TG_API_NORETURN
#define CHAINS   TG_API_CHAINS

const struct tg_api_entry tg_api_entries[] = {
#define TG_API_SCOPE(...)
#define TG_API_FIELD(SCOPE, scope, name, phases, returns, doc)                                     \
    {TG_API_IS_FIELD,        TG_SCOPE_##SCOPE, #name, phases, 0, "", returns, doc, NULL,           \
     tg_api_##scope##_##name},
#define TG_API_METHOD(SCOPE, scope, name, phases, flags, args, returns, doc)                       \
    {TG_API_IS_METHOD,                                                                             \
     TG_SCOPE_##SCOPE,                                                                             \
     #name,                                                                                        \
     phases,                                                                                       \
     flags,                                                                                        \
     args,                                                                                         \
     returns,                                                                                      \
     doc,                                                                                          \
     tg_api_##scope##_##name,                                                                      \
     NULL},
#define TG_API_FUNCTION(SCOPE, scope, name, phases, flags, args, returns, doc)                     \
    {TG_API_IS_FUNCTION,                                                                           \
     TG_SCOPE_##SCOPE,                                                                             \
     #name,                                                                                        \
     phases,                                                                                       \
     flags,                                                                                        \
     args,                                                                                         \
     returns,                                                                                      \
     doc,                                                                                          \
     tg_api_##scope##_##name,                                                                      \
     NULL},
#include "bind/api.def"
#undef TG_API_SCOPE
#undef TG_API_FIELD
#undef TG_API_METHOD
#undef TG_API_FUNCTION
};

const size_t tg_api_entry_count = TG_COUNT_OF(tg_api_entries);

const struct tg_api_scope_info *tg_api_scope_info(enum tg_api_scope scope)
{
    return &scopes[scope];
}

struct tg_str tg_api_arg_name(const struct tg_api_entry *entry, int n)
{
    struct tg_str rest = tg_str_c(entry->args);
    for (int depth = 0; rest.n > 0 && n > 1; rest = tg_str_sub(rest, 1, rest.n)) {
        depth += strchr("{<(", rest.p[0]) != NULL ? 1 : strchr("}>)", rest.p[0]) != NULL ? -1 : 0;
        n -= rest.p[0] == ',' && depth == 0;
    }
    rest = tg_str_trim(rest);
    size_t end = 0;
    while (end < rest.n && rest.p[end] != ':' && rest.p[end] != '?')
        end++;
    return tg_str_sub(rest, 0, end);
}

void tg_api_write_name(const struct tg_api_entry *entry, struct tg_fmt *out)
{
    const char *scope = scopes[entry->scope].name;
    if (entry->type == TG_API_IS_FIELD)
        tg_fmt_printf(out, "%s.%s", scope, entry->name);
    else
        tg_fmt_printf(out, "%s%c%s()", scope, entry->type == TG_API_IS_METHOD ? ':' : '.',
                      entry->name);
}

void tg_api_write_phases(unsigned phases, struct tg_fmt *out)
{
    const char *comma = "";
    if ((phases & TG_API_INIT) != 0) {
        tg_fmt_lit(out, "init, configure");
        comma = ", ";
    }
    for (unsigned phase = 0; phase < TG_PHASES; phase++) {
        if ((phases & 1u << phase) == 0)
            continue;
        tg_fmt_printf(out, "%s%s", comma, tg_phase_name((enum tg_phase)phase));
        comma = ", ";
    }
}

/* Why it is too late, or too early, for what `entry` does. */
static const char *wrong_phase_reason(const struct tg_api_entry *entry, enum tg_phase phase,
                                      bool late)
{
    if (entry->phases == M)
        return "it belongs to a message of a WebSocket";
    if (late && entry->phases == C)
        return "the handshake is over";
    if (!late && phase == TG_PHASE_CERTIFICATE)
        return "there is no request yet";
    if (!late && entry->scope == TG_SCOPE_UPSTREAM && entry->phases == A)
        return "the service is not known yet";
    if (!late && (entry->phases & A) != 0)
        return "no route is known yet";
    if (!late)
        return entry->phases == L ? "the response is not complete" : "there is no response yet";
    if (entry->scope == TG_SCOPE_UPSTREAM)
        return "the request went to the origin already";
    if (entry->scope == TG_SCOPE_REQ)
        return "the body went to the origin already";
    return (entry->flags & TG_API_SUSPENDS) != 0 ? "nothing may wait here"
                                                 : "headers are already sent";
}

void tg_api_write_wrong_phase(const struct tg_api_entry *entry, enum tg_phase phase,
                              struct tg_fmt *out)
{
    bool late = (entry->phases & ((1u << phase) - 1) & CRAHBL) != 0;
    tg_api_write_name(entry, out);
    tg_fmt_printf(out, " is not available in %s (%s)\n  available in: ", tg_phase_name(phase),
                  wrong_phase_reason(entry, phase, late));
    tg_api_write_phases(entry->phases, out);
    unsigned best = TG_PHASES; /* the nearest phase that would do */
    for (unsigned i = 0; i < TG_PHASES; i++) {
        bool nearer = late ? i < phase : best == TG_PHASES;
        if ((entry->phases & 1u << i) != 0 && nearer)
            best = i;
    }
    if (best == TG_PHASES) {
        tg_fmt_lit(out, "\n  hint: call it in P.configure(conf) and keep the result");
        return;
    }
    const char *verb = strncmp(entry->name, "set_", 4) == 0 ? "set"
                       : entry->type == TG_API_IS_FIELD     ? "read"
                                                            : "call";
    tg_fmt_printf(out, "\n  hint: declare function P.%s(conf, ctx) and %s it there",
                  tg_phase_name((enum tg_phase)best), verb);
}
