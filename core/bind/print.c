/* print.c: the API as text for people and editors: see bind.h. Everything comes from api.def. */
#include "base/banned.h"
#include "bind/bind.h"

#include "bind/object.h"

/* ---- LuaLS types ---- */

/* Writes args "a: t, b?: u" as @param lines, and their names into `names`. */
static void print_params(FILE *out, const struct tg_api_entry *entry, struct tg_fmt *names)
{
    const char *p = entry->args;
    for (int n = 1; *p != '\0'; n++) {
        int depth = 0;
        size_t length = 0;
        for (; p[length] != '\0' && (depth > 0 || p[length] != ','); length++)
            depth += strchr("{<(", p[length]) != NULL   ? 1
                     : strchr("}>)", p[length]) != NULL ? -1
                                                        : 0;
        struct tg_str arg = tg_str_trim(tg_str(p, length));
        size_t colon = tg_str_find(arg, ':', 0);
        struct tg_str type = tg_str_trim(tg_str_sub(arg, colon + 1, arg.n));
        fprintf(out, "---@param %.*s %.*s\n", (int)colon, arg.p, TG_STR_ARG(type));
        tg_fmt_printf(names, "%s%.*s", n > 1 ? ", " : "", TG_STR_ARG(tg_api_arg_name(entry, n)));
        p += length + (p[length] == ',');
    }
}

static void print_type_of_function(FILE *out, const struct tg_api_entry *entry)
{
    char room[256];
    struct tg_fmt names;
    const char *class = tg_api_scope_info(entry->scope)->class;
    tg_fmt_init(&names, room, sizeof(room));
    fprintf(out, "\n---%s\n---Phases: ", entry->doc);
    char phases_room[128];
    struct tg_fmt phases;
    tg_fmt_init(&phases, phases_room, sizeof(phases_room));
    tg_api_write_phases(entry->phases, &phases);
    fprintf(out, "%.*s\n", (int)phases.n, phases.p);
    if ((entry->flags & TG_API_SUSPENDS) != 0)
        fputs("---@async\n", out);
    print_params(out, entry, &names);
    if (entry->returns[0] != '\0')
        fprintf(out, "---@return %s\n", entry->returns);
    fprintf(out, "function %s%c%s(%.*s) end\n", strchr(class, '.') + 1,
            entry->type == TG_API_IS_METHOD ? ':' : '.', entry->name, (int)names.n, names.p);
}

static void print_type_of_scope(FILE *out, enum tg_api_scope scope)
{
    const struct tg_api_scope_info *info = tg_api_scope_info(scope);
    const char *local = strchr(info->class, '.') + 1;
    fprintf(out, "\n---%s\n---@class %s\n", info->doc, info->class);
    for (size_t i = 0; i < tg_api_entry_count; i++) {
        const struct tg_api_entry *entry = &tg_api_entries[i];
        if (entry->scope == scope && entry->type == TG_API_IS_FIELD)
            fprintf(out, "---@field %s %s %s\n", entry->name, entry->returns, entry->doc);
    }
    for (unsigned i = 0; scope == TG_SCOPE_TG && i < TG_SCOPES; i++) {
        const struct tg_api_scope_info *part = tg_api_scope_info((enum tg_api_scope)i);
        if (part->form == TG_FORM_LIBRARY && i != TG_SCOPE_TG)
            fprintf(out, "---@field %s %s %s\n", strchr(part->name, '.') + 1, part->class,
                    part->doc);
    }
    if (scope == TG_SCOPE_JSON)
        fputs("---@field null userdata stands for JSON's null\n", out);
    fprintf(out, "local %s = {}\n", local);
    for (size_t i = 0; i < tg_api_entry_count; i++) {
        const struct tg_api_entry *entry = &tg_api_entries[i];
        if (entry->scope == scope && entry->type != TG_API_IS_FIELD)
            print_type_of_function(out, entry);
    }
}

void tg_bind_types(FILE *out)
{
    fputs("---@meta tidegate\n-- Written by `tidegate types`; the next run replaces it.\n\n"
          "---@class tidegate.Error\n---@field code string\n---@field message string\n"
          "---@operator concat(any): string\n",
          out);
    for (unsigned i = 0; i < TG_SCOPES; i++)
        print_type_of_scope(out, (enum tg_api_scope)i);
    fputs("\nreturn Library\n", out);
}

/* ---- The reference ---- */

static void print_entry(FILE *out, const struct tg_api_entry *entry)
{
    char room[256];
    struct tg_fmt f;
    const struct tg_api_scope_info *info = tg_api_scope_info(entry->scope);
    tg_fmt_init(&f, room, sizeof(room));
    tg_api_write_phases(entry->phases, &f);
    if (entry->type == TG_API_IS_FIELD)
        fprintf(out, "%s.%s: %s\n", info->name, entry->name, entry->returns);
    else
        fprintf(out, "%s%c%s(%s)%s%s\n", info->name, entry->type == TG_API_IS_METHOD ? ':' : '.',
                entry->name, entry->args, entry->returns[0] != '\0' ? " -> " : "", entry->returns);
    fprintf(out, "    %s\n    in: %.*s", entry->doc, (int)f.n, f.p);
    if ((entry->flags & TG_API_SUSPENDS) != 0)
        fputs("; may wait", out);
    if ((entry->flags & TG_API_NORETURN) != 0)
        fputs("; does not return", out);
    fputs("\n\n", out);
}

/* Whether `name` asks for `entry`: its full name without parentheses, or its scope's. */
static bool is_asked(const struct tg_api_entry *entry, const char *name)
{
    char full[96];
    const char *scope = tg_api_scope_info(entry->scope)->name;
    if (name == NULL || strcmp(name, scope) == 0)
        return true;
    snprintf(full, sizeof(full), "%s%c%s", scope, entry->type == TG_API_IS_METHOD ? ':' : '.',
             entry->name);
    return strcmp(name, full) == 0;
}

bool tg_bind_doc(FILE *out, const char *name)
{
    enum tg_api_scope last = TG_SCOPES;
    bool found = false;
    for (size_t i = 0; i < tg_api_entry_count; i++) {
        const struct tg_api_entry *entry = &tg_api_entries[i];
        if (!is_asked(entry, name))
            continue;
        if (name == NULL && entry->scope != last)
            fprintf(out, "# %s: %s\n\n", tg_api_scope_info(entry->scope)->name,
                    tg_api_scope_info(entry->scope)->doc);
        last = entry->scope;
        print_entry(out, entry);
        found = true;
    }
    return found;
}
