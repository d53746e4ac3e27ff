/* time.c: tg.time.parse and duration: times as others write them.
 *
 * Both answer in seconds, as a number, which is what the rest of tg.time gives and takes. A double
 * holds microseconds since 1970 exactly for the next 250 years.
 */
#include "base/banned.h"
#include "bind/object.h"

#include "base/date.h"

int tg_api_time_parse(lua_State *L)
{
    struct tg_str text = tg_bind_arg_str(L, 1);
    int64_t now = (int64_t)tg_bind_clock(L)->real;
    int64_t us;
    if (!tg_date_parse_rfc3339(text, &us) && !tg_date_parse_http(text, now, &us))
        return tg_bind_fail(L, "bad_input", "neither a date of HTTP nor one of RFC 3339");
    lua_pushnumber(L, (lua_Number)us / 1e6);
    return 1;
}

int tg_api_time_duration(lua_State *L)
{
    uint64_t us;
    tg_bind_arg_any(L, 1);
    if (!tg_bind_to_duration(L, 1, &us))
        return tg_bind_fail(L, "bad_input",
                            "expected seconds, or text such as \"250ms\", \"5s\", \"2m\", \"1h\"");
    lua_pushnumber(L, (lua_Number)us / 1e6);
    return 1;
}
