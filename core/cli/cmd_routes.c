/* cmd_routes.c: `tidegate routes [FILE]`, `tidegate routes --explain METHOD URL [FILE]`: what a
 * configuration does with requests, told from the file alone; no gateway needs to run. */
#include "base/banned.h"
#include "cli/command.h"

#include "cli/explain.h"
#include "config/inspect.h"

#include <lua.h>

enum { OPTION_EXPLAIN, OPTION_HEADER, OPTION_CLIENT, OPTION_SNI, OPTION_JSON };

struct question {
    const char *path;
    bool json;
};

static bool is_given(const struct tg_args *args, unsigned option)
{
    return (args->options & 1u << option) != 0;
}

static void fill(lua_State *L, void *arg)
{
    const struct question *question = arg;

    lua_pushstring(L, question->path);
    lua_setfield(L, -2, "path");
    lua_pushboolean(L, question->json);
    lua_setfield(L, -2, "json");
}

static int list(const struct tg_args *args)
{
    struct question question = {
        .path = args->operand_count > 0 ? args->operands[0] : TG_COMMAND_CONFIG,
        .json = is_given(args, OPTION_JSON),
    };

    if (args->given_count > 0) {
        fputs("tidegate routes: -H, --client and --sni go with --explain\n", stderr);
        return TG_EXIT_USAGE;
    }
    if (args->operand_count > 1) {
        fprintf(stderr,
                "tidegate routes: \"%s\" is one word too many; to ask about a request: "
                "tidegate routes --explain METHOD URL [FILE]\n",
                args->operands[1]);
        return TG_EXIT_USAGE;
    }
    return tg_inspect(&(struct tg_inspect){"routes", question.path, fill, &question}, stdout,
                      stderr);
}

static bool is_url(const char *word)
{
    return word[0] == '/' || strstr(word, "://") != NULL;
}

static int explain(const struct tg_args *args)
{
    /* FILE may come first as well: it is the one that leaves METHOD before a URL. */
    bool file_first =
        args->operand_count == 3 && is_url(args->operands[2]) && !is_url(args->operands[1]);
    struct tg_explain question = {
        .path = args->operand_count < 3 ? TG_COMMAND_CONFIG : args->operands[file_first ? 0 : 2],
        .method = args->operands[file_first ? 1 : 0],
        .url = args->operands[file_first ? 2 : 1],
        .client = args->values[OPTION_CLIENT],
        .sni = args->values[OPTION_SNI],
        .json = is_given(args, OPTION_JSON),
    };

    if (args->operand_count < 2) {
        fputs("tidegate routes: --explain needs a request: tidegate routes --explain GET "
              "http://api.example.test/v1/orders\n",
              stderr);
        return TG_EXIT_USAGE;
    }
    for (unsigned i = 0; i < args->given_count; i++) {
        if (args->given[i].option == OPTION_HEADER)
            question.headers[question.header_count++] = args->given[i].value;
    }
    return tg_explain(&question, stdout, stderr);
}

static int routes(const struct tg_args *args)
{
    return is_given(args, OPTION_EXPLAIN) ? explain(args) : list(args);
}

static const struct tg_option options[] = {
    [OPTION_EXPLAIN] = {"explain", "tell which route takes a request, and why", NULL},
    [OPTION_HEADER] = {"H", "a header field of the request, once or more", "\"NAME: VALUE\""},
    [OPTION_CLIENT] = {"client", "the client's address (127.0.0.1)", "ADDRESS"},
    [OPTION_SNI] = {"sni", "the name in the TLS handshake", "NAME"},
    [OPTION_JSON] = {"json", "print JSON", NULL},
    {NULL, NULL, NULL},
};

const struct tg_command tg_command_routes = {
    .name = "routes",
    .operands = "[METHOD URL] [FILE]",
    .max_operands = 3,
    .options = options,
    .summary = "list the routes of a configuration, or explain a match",
    .details =
        "Without --explain: one line for each host and path of a route, in the order in\n"
        "which they are tried. With it: the route that takes METHOD URL and what it captures,\n"
        "why the others do not, which plugins run in each phase and where they were attached,\n"
        "and what goes to the origin. No gateway needs to run.\n",
    .run = routes,
};
