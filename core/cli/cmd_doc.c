/* cmd_doc.c: `tidegate doc [NAME]`: the reference of the plugin API, from the table that also
 * registers it (bind/api.def). */
#include "base/banned.h"
#include "cli/command.h"

#include "bind/bind.h"

static int doc(const struct tg_args *args)
{
    const char *name = args->operand_count > 0 ? args->operands[0] : NULL;
    if (tg_bind_doc(stdout, name))
        return TG_EXIT_OK;
    fprintf(
        stderr,
        "tidegate doc: the plugin API has nothing called \"%s\"; `tidegate doc` prints all of "
        "it,\n  a name is an object (ctx.req, tg.json) or one of its functions "
        "(ctx.req:header, tg.json.encode);\n  the table that a plugin's file returns, its phases "
        "among them, prints `tidegate schema plugin`\n",
        name);
    return TG_EXIT_USAGE;
}

const struct tg_command tg_command_doc = {
    .name = "doc",
    .operands = "[NAME]",
    .max_operands = 1,
    .summary = "print the reference of the plugin API, or of one object or function",
    .details =
        "NAME is an object, such as ctx.req or tg.json, or one of its functions or fields,\n"
        "such as ctx.req:header, ctx.req.path or tg.json.encode. What a plugin's file returns,\n"
        "its phases among it, is not of the API: `tidegate schema plugin` prints that.\n",
    .run = doc,
};
