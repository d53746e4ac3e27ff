/* cmd_types.c: `tidegate types`: the plugin API and the config language as annotations for LuaLS,
 * the Lua language server.
 *
 * Written below the working directory, where editors look: the annotations are replaced at each
 * run, so that they follow the program; the server's own settings belong to the user and are only
 * written where there are none.
 */
#include "base/banned.h"
#include "cli/command.h"

#include "bind/bind.h"
#include "config/inspect.h"

#include <errno.h>
#include <sys/stat.h>

#define FOLDER      ".tidegate"
#define TYPES       FOLDER "/types"
#define FILE_API    TYPES "/tidegate.lua"
#define FILE_CONFIG TYPES "/config.lua"
#define SETTINGS    ".luarc.json"

static const char settings_text[] = "{\n"
                                    "  \"runtime.version\": \"LuaJIT\",\n"
                                    "  \"workspace.library\": [\"" TYPES "\"]\n"
                                    "}\n";

static int refused(const char *path)
{
    fprintf(stderr, "tidegate types: cannot write %s: %s\n", path, strerror(errno));
    return TG_EXIT_SYSTEM;
}

static int write_api(void)
{
    if ((mkdir(FOLDER, 0777) != 0 && errno != EEXIST) ||
        (mkdir(TYPES, 0777) != 0 && errno != EEXIST))
        return refused(TYPES);
    FILE *file = fopen(FILE_API, "we");
    if (file == NULL)
        return refused(FILE_API);
    tg_bind_types(file);
    bool failed = ferror(file) != 0;
    if (fclose(file) != 0 || failed)
        return refused(FILE_API);
    puts("wrote " FILE_API);
    return TG_EXIT_OK;
}

static void ask_for_all(lua_State *L, void *arg)
{
    (void)L;
    (void)arg;
}

/* The config language, and what the plugins that are there take. */
static int write_config(void)
{
    FILE *file = fopen(FILE_CONFIG, "we");
    if (file == NULL)
        return refused(FILE_CONFIG);
    int status =
        tg_inspect(&(struct tg_inspect){"types", FILE_CONFIG, ask_for_all, NULL}, file, stderr);
    bool failed = ferror(file) != 0;
    if (fclose(file) != 0 || failed)
        return refused(FILE_CONFIG);
    if (status == TG_EXIT_OK)
        puts("wrote " FILE_CONFIG);
    return status;
}

static int write_settings(void)
{
    FILE *file = fopen(SETTINGS, "wxe");
    if (file == NULL && errno == EEXIST) {
        puts("kept " SETTINGS "; editors find the types where its workspace.library names " TYPES);
        return TG_EXIT_OK;
    }
    if (file == NULL)
        return refused(SETTINGS);
    fputs(settings_text, file);
    if (fclose(file) != 0)
        return refused(SETTINGS);
    puts("wrote " SETTINGS);
    return TG_EXIT_OK;
}

static int types(const struct tg_args *args)
{
    if ((args->options & 1u) != 0) {
        tg_bind_types(stdout);
        return TG_EXIT_OK;
    }
    int status = write_api();
    if (status == TG_EXIT_OK)
        status = write_config();
    return status == TG_EXIT_OK ? write_settings() : status;
}

static const struct tg_option options[] = {
    {"stdout", "print the plugin API and write no file", NULL},
    {NULL, NULL, NULL},
};

const struct tg_command tg_command_types = {
    .name = "types",
    .operands = "",
    .options = options,
    .summary = "write plugin API and config language as types for editors (LuaLS)",
    .details =
        "Writes " FILE_API ", " FILE_CONFIG " and, where there is\n"
        "none, " SETTINGS ", below the working directory. The plugins in plugins/ are among\n"
        "those that tg.use completes.\n",
    .run = types,
};
