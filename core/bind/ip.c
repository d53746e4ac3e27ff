/* ip.c: tg.ip: sets of networks.
 *
 * The set lives in its userdata. A list is checked whole before the set is made, in a scratch
 * userdata, and a network that is wrong is named with its place in the list.
 */
#include "base/banned.h"
#include "bind/object.h"

#include "net/cidr_set.h"

#define NETWORKS_MAX 100000

struct ip_set {
    uint32_t magic;
    struct tg_cidr_set *set; /* behind this struct */
    uint64_t room[];
};

/* Pushes a userdata with the networks of the list at index 1. */
static struct tg_cidr *push_networks(lua_State *L, uint32_t count)
{
    struct tg_cidr *networks = lua_newuserdata(L, count * sizeof(*networks));
    char what[160];
    for (uint32_t i = 0; i < count; i++) {
        size_t n = 0;
        lua_rawgeti(L, 1, (int)i + 1);
        bool text = lua_type(L, -1) == LUA_TSTRING;
        const char *p = text ? lua_tolstring(L, -1, &n) : "";
        if (tg_cidr_parse(tg_str(p, n), &networks[i]) != TG_OK) {
            snprintf(what, sizeof(what),
                     "network %u (%.48s): expected text such as \"10.0.0.0/8\" or "
                     "\"2001:db8::1\"; bits beyond the length are zero",
                     i + 1, text ? p : luaL_typename(L, -1));
            tg_bind_arg_error(L, 1, what);
        }
        lua_pop(L, 1);
    }
    return networks;
}

int tg_api_ip_set(lua_State *L)
{
    tg_bind_arg_table(L, 1, false);
    size_t count = lua_objlen(L, 1);
    if (count > NETWORKS_MAX)
        tg_bind_arg_error(L, 1, "more than 100000 networks");
    const struct tg_cidr *networks = push_networks(L, (uint32_t)count);
    size_t size = tg_cidr_set_size(networks, (uint32_t)count);
    struct ip_set *value = tg_bind_new_value(L, TG_SCOPE_IP_SET, sizeof(*value) + size);
    value->set = tg_cidr_set_init(value->room, networks, (uint32_t)count);
    return 1;
}

/* Zeroes what is beyond the first `bits` of `size` bytes. */
static void mask(unsigned char *bytes, size_t size, unsigned bits)
{
    for (size_t i = 0; i < size; i++) {
        unsigned kept = bits > 8 * i ? TG_MIN(bits - 8 * (unsigned)i, 8u) : 0;
        bytes[i] &= (unsigned char)(0xff00u >> kept);
    }
}

int tg_api_ip_network(lua_State *L)
{
    struct tg_addr addr;
    char room[TG_ADDR_TEXT_MAX];
    unsigned v4 = (unsigned)tg_bind_arg_int(L, 2, 0, 32);
    unsigned v6 = (unsigned)tg_bind_arg_int(L, 3, 0, 128);
    if (tg_addr_parse_ip(tg_bind_arg_str(L, 1), &addr) != TG_OK)
        return tg_bind_fail(L, "bad_input", "no IP address");
    bool is_v4 = addr.u.any.sa_family == AF_INET;
    if (is_v4)
        mask((unsigned char *)&addr.u.v4.sin_addr, 4, v4);
    else
        mask(addr.u.v6.sin6_addr.s6_addr, 16, v6);
    struct tg_str text = tg_addr_ip_text(&addr, room);
    lua_pushfstring(L, "%s/%d", text.p, (int)(is_v4 ? v4 : v6));
    return 1;
}

int tg_api_ip_set_contains(lua_State *L)
{
    const struct ip_set *value = tg_bind_check_value(L);
    struct tg_addr addr;
    if (tg_addr_parse_ip(tg_bind_arg_str(L, 1), &addr) != TG_OK)
        return tg_bind_fail(L, "bad_input", "no IP address");
    lua_pushboolean(L, tg_cidr_set_contains(value->set, &addr));
    return 1;
}
