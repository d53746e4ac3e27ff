/* cidr_set.c: see cidr_set.h.
 *
 *     block   | struct tg_cidr_set | IPv6 ranges, 32 bytes each ... | IPv4 ranges, 8 bytes each ...
 * |
 *
 * There is room for all networks in either array, since a block is made before they are looked at:
 * one made in two passes would be smaller and the interface larger.
 */
#include "base/banned.h"
#include "net/cidr_set.h"

#include "base/assert.h"

#include <stdlib.h>

struct wide {
    uint64_t high, low;
};

struct range6 {
    struct wide first, last;
};

struct range4 {
    uint32_t first, last;
};

struct tg_cidr_set {
    uint32_t count6, count4;
    struct range6 *v6; /* into the block */
    struct range4 *v4;
};

size_t tg_cidr_set_size(uint32_t count)
{
    return sizeof(struct tg_cidr_set) + count * (sizeof(struct range6) + sizeof(struct range4));
}

/* ---- Numbers --------------------------------------------------------------------------------- */

static uint32_t load32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static struct wide load_wide(const unsigned char *p)
{
    return (struct wide){(uint64_t)load32(p) << 32 | load32(p + 4),
                         (uint64_t)load32(p + 8) << 32 | load32(p + 12)};
}

static int compare_wide(struct wide a, struct wide b)
{
    if (a.high != b.high)
        return a.high < b.high ? -1 : 1;
    return (a.low > b.low) - (a.low < b.low);
}

/* The number after `a`; after the last comes the last. */
static struct wide after(struct wide a)
{
    if (a.high == UINT64_MAX && a.low == UINT64_MAX)
        return a;
    a.low++;
    a.high += a.low == 0;
    return a;
}

/* ---- Making ---------------------------------------------------------------------------------- */

static int compare4(const void *one, const void *two)
{
    const struct range4 *a = one;
    const struct range4 *b = two;
    return (a->first > b->first) - (a->first < b->first);
}

static int compare6(const void *one, const void *two)
{
    const struct range6 *a = one;
    const struct range6 *b = two;
    return compare_wide(a->first, b->first);
}

/* The lowest `host` bits of 64 set; host is 0 to 64 and beyond. */
static uint64_t low_bits(unsigned host)
{
    return host >= 64 ? UINT64_MAX : (UINT64_C(1) << host) - 1;
}

static void add4(struct tg_cidr_set *set, const unsigned char *bytes, unsigned bits)
{
    uint32_t first = load32(bytes);
    set->v4[set->count4++] = (struct range4){first, first | (uint32_t)low_bits(32 - bits)};
}

static void add6(struct tg_cidr_set *set, const struct tg_cidr *network)
{
    unsigned host = 128 - network->bits;
    struct wide first = load_wide(network->bytes);
    struct wide last = {first.high | (host > 64 ? low_bits(host - 64) : 0),
                        first.low | low_bits(host)};
    set->v6[set->count6++] = (struct range6){first, last};
}

static bool is_mapped(const struct tg_cidr *network)
{
    static const unsigned char prefix[12] = {[10] = 0xff, [11] = 0xff};
    return network->size == 16 && network->bits >= 96 &&
           memcmp(network->bytes, prefix, sizeof(prefix)) == 0;
}

static uint32_t merge4(struct range4 *v, uint32_t count)
{
    uint32_t kept = 0;
    for (uint32_t i = 1; i < count; i++) {
        bool touches = v[kept].last == UINT32_MAX || v[i].first <= v[kept].last + 1;
        if (touches)
            v[kept].last = TG_MAX(v[kept].last, v[i].last);
        else
            v[++kept] = v[i];
    }
    return count > 0 ? kept + 1 : 0;
}

static uint32_t merge6(struct range6 *v, uint32_t count)
{
    uint32_t kept = 0;
    for (uint32_t i = 1; i < count; i++) {
        if (compare_wide(v[i].first, after(v[kept].last)) > 0)
            v[++kept] = v[i];
        else if (compare_wide(v[i].last, v[kept].last) > 0)
            v[kept].last = v[i].last;
    }
    return count > 0 ? kept + 1 : 0;
}

struct tg_cidr_set *tg_cidr_set_init(void *room, const struct tg_cidr *networks, uint32_t count)
{
    struct tg_cidr_set *set = room;
    set->count6 = set->count4 = 0;
    set->v6 = (struct range6 *)(set + 1);
    set->v4 = (struct range4 *)(set->v6 + count);
    for (uint32_t i = 0; i < count; i++) {
        const struct tg_cidr *network = &networks[i];
        tg_assert(network->size == 4 || network->size == 16);
        if (network->size == 4)
            add4(set, network->bytes, network->bits);
        else if (is_mapped(network))
            add4(set, network->bytes + 12, network->bits - 96u);
        else
            add6(set, network);
    }
    qsort(set->v4, set->count4, sizeof(set->v4[0]), compare4);
    qsort(set->v6, set->count6, sizeof(set->v6[0]), compare6);
    set->count4 = merge4(set->v4, set->count4);
    set->count6 = merge6(set->v6, set->count6);
    return set;
}

/* ---- Asking ---------------------------------------------------------------------------------- */

/* In both: `low` becomes the number of ranges that begin at or before the address; only the last of
 * them can contain it. */
static bool contains4(const struct tg_cidr_set *set, uint32_t ip)
{
    uint32_t low = 0;
    uint32_t high = set->count4;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (set->v4[middle].first <= ip)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && ip <= set->v4[low - 1].last;
}

static bool contains6(const struct tg_cidr_set *set, struct wide ip)
{
    uint32_t low = 0;
    uint32_t high = set->count6;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (compare_wide(set->v6[middle].first, ip) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && compare_wide(ip, set->v6[low - 1].last) <= 0;
}

bool tg_cidr_set_contains(const struct tg_cidr_set *set, const struct tg_addr *addr)
{
    size_t size;
    const unsigned char *bytes = tg_addr_ip_bytes(addr, &size);
    return size == 4 ? contains4(set, load32(bytes))
                     : size == 16 && contains6(set, load_wide(bytes));
}

uint32_t tg_cidr_set_count(const struct tg_cidr_set *set)
{
    return set->count4 + set->count6;
}
