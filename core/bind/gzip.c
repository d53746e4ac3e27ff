/* gzip.c: tg.gzip and tg.gunzip (RFC 1952), in steps, within bounds.
 *
 * zlib's state and all memory that it asks for are inside one userdata, from which it is served
 * piece by piece and to which nothing is given back: so it counts in the plugin's account, and an
 * error at any point leaks nothing. The window of compression is 16 KiB (a state of 136 KiB rather
 * than 268), which costs a few per cent of size for texts longer than that.
 *
 * Compressing takes some 20 ms per MiB, more than a plugin's CPU budget allows in one piece, so the
 * loop is Lua (lua/tidegate/steps.lua) around steps of 64 KiB.
 *
 * What comes out of gunzip is bounded by `max`, and by RATIO_MAX times what went in once it is
 * larger than RATIO_FREE: a body of 10 KiB that unfolds to 10 MiB is an attack, not a text. Several
 * members behind each other are one text (RFC 1952, 2.2); anything else behind the last is refused.
 */
#include "base/banned.h"
#include "bind/object.h"
#include "bind/wrap.h"

#include <zlib.h>

#define STEP          65536
#define WINDOW_BITS   14
#define MEMORY_LEVEL  7
#define GZIP_FRAME    16 /* added to the window's bits: gzip, not zlib */
#define DEFLATE_ROOM  ((size_t)144 << 10)
#define INFLATE_ROOM  ((size_t)56 << 10)
#define FIRST_OUT     4096
#define MAX_STANDARD  ((uint64_t)1 << 20)
#define RATIO_MAX     250
#define RATIO_FREE    ((uint64_t)64 << 10)
#define LEVEL_DEFAULT 6

struct work {
    z_stream z;
    bool inflates;
    size_t left; /* bytes of the input that zlib was not shown yet */
    size_t in;   /* bytes of the input that it took */
    size_t n;    /* bytes made */
    uint64_t max;
    const char *code; /* of an error, with its message; NULL: none */
    const char *message;
    size_t used, size; /* of room */
    max_align_t room[];
};

/* ---- zlib's memory --------------------------------------------------------------------------- */

static voidpf take(voidpf arg, uInt items, uInt size)
{
    struct work *work = arg;
    size_t n = ((size_t)items * size + sizeof(max_align_t) - 1) & ~(sizeof(max_align_t) - 1);
    if (n > work->size - work->used)
        return NULL;
    void *p = (char *)work->room + work->used;
    work->used += n;
    return p;
}

static void give_back(voidpf arg, voidpf p)
{
    (void)arg;
    (void)p;
}

/* Pushes the work, the other results of begin(), and what is needed for the loop. */
static struct work *push_work(lua_State *L, struct tg_str in, size_t room)
{
    struct work *work = lua_newuserdata(L, sizeof(*work) + room);
    memset(work, 0, sizeof(*work));
    work->size = room;
    work->left = in.n;
    work->z.zalloc = take;
    work->z.zfree = give_back;
    work->z.opaque = work;
    work->z.next_in = (z_const Bytef *)(uintptr_t)in.p;
    return work;
}

/* The rest of what begin() returns: more, out, input. The work is on top. */
static int begun(lua_State *L, int status)
{
    if (status != Z_OK)
        tg_bind_call_error(L, "zlib refused to begin");
    lua_pushboolean(L, true);
    lua_newuserdata(L, FIRST_OUT);
    lua_pushvalue(L, 1);
    return 4;
}

/* ---- Steps ----------------------------------------------------------------------------------- */

/* Room behind what was made, in the userdata at index 2, which is replaced when it is full. */
static void make_room(lua_State *L, struct work *work)
{
    size_t size = lua_objlen(L, 2);
    if (work->n == size) {
        char *larger = lua_newuserdata(L, size * 2);
        memcpy(larger, lua_touserdata(L, 2), size);
        lua_replace(L, 2);
        size *= 2;
    }
    work->z.next_out = (Bytef *)lua_touserdata(L, 2) + work->n;
    work->z.avail_out = (uInt)TG_MIN(size - work->n, (size_t)STEP);
}

/* Runs zlib on what is next; its status. */
static int run(struct work *work)
{
    uInt in = (uInt)TG_MIN(work->left, (size_t)STEP);
    uInt out = work->z.avail_out;
    bool last = in == work->left;
    work->z.avail_in = in;
    int status = work->inflates ? inflate(&work->z, Z_NO_FLUSH)
                                : deflate(&work->z, last ? Z_FINISH : Z_NO_FLUSH);
    work->left -= in - work->z.avail_in;
    work->in += in - work->z.avail_in;
    work->n += out - work->z.avail_out;
    return status;
}

static bool fail(struct work *work, const char *code, const char *message)
{
    work->code = code;
    work->message = message;
    return false;
}

/* Whether there is more to do after `status` of inflate(). */
static bool inflate_more(struct work *work, int status)
{
    bool progress = work->z.avail_out == 0 || work->left > 0;
    if (work->n > work->max)
        return fail(work, "too_large", "the text is longer than max");
    if (work->n > RATIO_FREE && work->n / RATIO_MAX > work->in)
        return fail(work, "too_large", "the text is more than 250 times as long as its gzip form");
    if (status == Z_STREAM_END) {
        if (work->left == 0)
            return false;
        return inflateReset(&work->z) == Z_OK;
    }
    if (status == Z_BUF_ERROR || (status == Z_OK && !progress))
        return progress ? true : fail(work, "bad_input", "the gzip data end in the middle");
    if (status == Z_OK)
        return true;
    return fail(work, "bad_input", "not gzip data, or damaged");
}

/* step(work, out): whether there is more to do, and out. */
static int step(lua_State *L)
{
    struct work *work = lua_touserdata(L, 1);
    lua_settop(L, 2);
    make_room(L, work);
    int status = run(work);
    bool more = work->inflates ? inflate_more(work, status) : status != Z_STREAM_END;
    lua_pushboolean(L, more);
    lua_pushvalue(L, 2);
    return 2;
}

static int finish(lua_State *L)
{
    const struct work *work = lua_touserdata(L, 1);
    if (work->code != NULL)
        return tg_bind_fail(L, work->code, work->message);
    lua_pushlstring(L, lua_touserdata(L, 2), work->n);
    return 1;
}

/* ---- What begins ----------------------------------------------------------------------------- */

static int arg_level(lua_State *L)
{
    int level = LEVEL_DEFAULT;
    if (!tg_bind_arg_table(L, 2, true))
        return level;
    lua_pushliteral(L, "level");
    lua_rawget(L, 2);
    if (!lua_isnil(L, -1)) {
        lua_Number value = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : 0;
        level = value >= 1 && value <= 9 ? (int)value : 0;
    }
    lua_pop(L, 1);
    if (level == 0)
        tg_bind_arg_error(L, 2, "level: expected 1 (fast) to 9 (small)");
    return level;
}

int tg_api_tg_gzip(lua_State *L)
{
    struct tg_str in = tg_bind_arg_str(L, 1);
    int level = arg_level(L);
    struct work *work = push_work(L, in, DEFLATE_ROOM);
    return begun(L, deflateInit2(&work->z, level, Z_DEFLATED, WINDOW_BITS + GZIP_FRAME,
                                 MEMORY_LEVEL, Z_DEFAULT_STRATEGY));
}

int tg_api_tg_gunzip(lua_State *L)
{
    struct tg_str in = tg_bind_arg_str(L, 1);
    uint64_t max = tg_bind_arg_max(L, 2, MAX_STANDARD);
    struct work *work = push_work(L, in, INFLATE_ROOM);
    work->inflates = true;
    work->max = max;
    return begun(L, inflateInit2(&work->z, MAX_WBITS + GZIP_FRAME));
}

void tg_bind_wrap_gzip(lua_State *L)
{
    static const lua_CFunction parts[] = {step, finish};
    tg_bind_wrap(L, "lua/tidegate/steps.lua", "gzip", parts, TG_COUNT_OF(parts));
    tg_bind_wrap(L, "lua/tidegate/steps.lua", "gunzip", parts, TG_COUNT_OF(parts));
}
