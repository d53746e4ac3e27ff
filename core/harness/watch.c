/* watch.c: see watch.h. */
#include "base/banned.h"
#include "harness/watch.h"

#include <lauxlib.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>

#define AGAIN_US 100000 /* between two attempts */

static lua_State *volatile watched; /* NULL: no limit */
static volatile sig_atomic_t attempts;
static int raises_left;
static double seconds;
static char label[256];

static void on_hook(lua_State *L, lua_Debug *ar)
{
    char text[512];
    lua_Debug frame;
    (void)ar;
    if (--raises_left <= 0)
        lua_sethook(L, NULL, 0, 0);
    const char *source = "?";
    int line = 0;
    for (int level = 0; lua_getstack(L, level, &frame) == 1; level++) {
        lua_getinfo(L, "Sl", &frame);
        source = frame.short_src;
        line = frame.currentline;
        if (line > 0)
            break;
    }
    snprintf(text, sizeof(text), "%s:%d: %s takes longer than %g s: does it end at all?", source,
             line, label, seconds);
    lua_pushstring(L, text);
    lua_error(L);
}

static void on_alarm(int number)
{
    lua_State *L = watched;
    (void)number;
    if (L == NULL)
        return;
    raises_left = ++attempts;
    lua_sethook(L, on_hook, LUA_MASKCOUNT, 1);
}

static void set_alarm(double first)
{
    struct itimerval timer = {.it_interval.tv_usec = AGAIN_US};
    timer.it_value.tv_sec = (time_t)first;
    timer.it_value.tv_usec = (suseconds_t)(fmod(first, 1.0) * 1e6);
    if (first <= 0)
        timer.it_interval.tv_usec = 0;
    setitimer(ITIMER_REAL, &timer, NULL);
}

/* limit(seconds, what) */
static int limit(lua_State *L)
{
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    seconds = luaL_checknumber(L, 1);
    snprintf(label, sizeof(label), "%s", luaL_optstring(L, 2, "the spec"));
    sigemptyset(&action.sa_mask);
    watched = NULL;
    set_alarm(0);
    attempts = 0;
    if (seconds <= 0)
        return 0;
    sigaction(SIGALRM, &action, NULL);
    watched = L;
    set_alarm(seconds);
    return 0;
}

void tg_spec_watch_push(lua_State *L)
{
    lua_pushcfunction(L, limit);
}
