/* coverage.c: see coverage.h. A file is a bit per line; files are found by their name, the last one
 * first, since plugins run in stretches. */
#include "base/banned.h"
#include "harness/coverage.h"

#include "base/list.h"
#include "base/mem.h"
#include "gateway/plugins.h"

#include <limits.h>
#include <string.h>

#define NAME_MAX_BYTES 256
#define LINES_MAX      16384 /* of one file; further ones are not counted */

struct covered {
    struct tg_list link;
    char name[NAME_MAX_BYTES];
    uint8_t lines[LINES_MAX / CHAR_BIT];
};

static bool is_on;
static struct tg_list files;
static void (*open_library)(lua_State *L, void *arg); /* what the hook was put before */

/* NULL: no memory. */
static struct covered *find_file(const char *name)
{
    TG_LIST_FOREACH(&files, it)
    {
        struct covered *file = TG_LIST_ENTRY(it, struct covered, link);
        if (strncmp(file->name, name, sizeof(file->name) - 1) == 0)
            return file;
    }
    struct covered *file = tg_mem_zalloc(TG_MEM_OTHER, 1, sizeof(*file));
    if (file == NULL)
        return NULL;
    (void)snprintf(file->name, sizeof(file->name), "%s", name);
    tg_list_push_front(&files, &file->link);
    return file;
}

static void on_line(lua_State *L, lua_Debug *ar)
{
    if (lua_getinfo(L, "S", ar) == 0 || ar->source[0] != '@')
        return;
    struct covered *file = find_file(ar->source + 1);
    if (file != NULL && ar->currentline > 0 && ar->currentline < LINES_MAX)
        file->lines[ar->currentline / CHAR_BIT] |= (uint8_t)(1u << ar->currentline % CHAR_BIT);
}

static void open_watched(lua_State *L, void *arg)
{
    open_library(L, arg);
    lua_sethook(L, on_line, LUA_MASKLINE, 0);
}

void tg_coverage_start(void)
{
    if (is_on)
        return;
    is_on = true;
    tg_list_init(&files);
    open_library = tg_plugin_host.open;
    tg_plugin_host.open = open_watched;
}

void tg_coverage_watch(lua_State *L)
{
    if (is_on)
        lua_sethook(L, on_line, LUA_MASKLINE, 0);
}

int tg_coverage_push(lua_State *L)
{
    lua_newtable(L);
    if (!is_on)
        return 1;
    TG_LIST_FOREACH(&files, it)
    {
        const struct covered *file = TG_LIST_ENTRY(it, struct covered, link);
        lua_newtable(L);
        for (int line = 1; line < LINES_MAX; line++) {
            if ((file->lines[line / CHAR_BIT] & (1u << line % CHAR_BIT)) == 0)
                continue;
            lua_pushboolean(L, 1);
            lua_rawseti(L, -2, line);
        }
        lua_setfield(L, -2, file->name);
    }
    return 1;
}
