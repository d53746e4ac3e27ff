/* cidr_set.c: see cidr_set.h.
 *
 *     block   | struct tg_cidr_set | IPv6 ranges | IPv4 ranges | IPv6 starts | IPv4 starts |
 *
 * The starts are the trie's one level. The addresses from the first range to the last are cut into
 * equal parts, a power of two of them and at most one for each network, so a part is found by a
 * subtraction and a shift, whatever prefix all networks share. starts[i] is the number of ranges
 * that begin before part i; what begins in it stands from there to starts[i + 1].
 *
 * IPv6 addresses are cut by their upper 64 bits. Networks that differ in the lower ones only stand
 * in one part, and are found by the search alone.
 */
#include "base/banned.h"
#include "net/cidr_set.h"

#include "base/assert.h"

#include <stdlib.h>

#define PARTS_FROM 16u /* networks; among fewer the search alone is as fast */

struct wide {
    uint64_t high, low;
};

struct range6 {
    struct wide first, last;
};

struct range4 {
    uint32_t first, last;
};

/* Where to look among sorted ranges. */
struct parts {
    uint64_t from; /* the first address, or its upper half, */
    uint64_t to;   /* and the last */
    unsigned shift;
    uint32_t *starts; /* into the block; NULL: there are no parts */
};

struct tg_cidr_set {
    uint32_t count6, count4;
    struct range6 *v6; /* into the block */
    struct range4 *v4;
    struct parts parts6, parts4;
};

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

static bool is_four(const struct tg_cidr *network)
{
    tg_assert(network->size == 4 || network->size == 16);
    return network->size == 4 || is_mapped(network);
}

static uint32_t count_four(const struct tg_cidr *networks, uint32_t count)
{
    uint32_t four = 0;
    for (uint32_t i = 0; i < count; i++)
        four += is_four(&networks[i]);
    return four;
}

/* How many parts there are for `count` networks: a power of two, or none. */
static uint32_t parts_for(uint32_t count)
{
    return count >= PARTS_FROM ? 1u << (31 - __builtin_clz(count)) : 0;
}

static size_t starts_size(uint32_t count)
{
    return count >= PARTS_FROM ? (parts_for(count) + 1) * sizeof(uint32_t) : 0;
}

static size_t size_for(uint32_t six, uint32_t four)
{
    return sizeof(struct tg_cidr_set) + six * sizeof(struct range6) + four * sizeof(struct range4) +
           starts_size(six) + starts_size(four);
}

size_t tg_cidr_set_size(const struct tg_cidr *networks, uint32_t count)
{
    uint32_t four = count_four(networks, count);
    return size_for(count - four, four);
}

/* Cuts what is between `from` and `to` for `networks` of them; the starts are to be counted. */
static void cut(struct parts *parts, uint32_t networks, uint64_t from, uint64_t to)
{
    parts->from = from;
    parts->to = to;
    if (parts->starts == NULL)
        return;
    while ((to - from) >> parts->shift >= parts_for(networks))
        parts->shift++;
    memset(parts->starts, 0, starts_size(networks));
}

/* A range begins at `address`; the ranges come in order. */
static void count_start(const struct parts *parts, uint64_t address)
{
    parts->starts[((address - parts->from) >> parts->shift) + 1]++;
}

static void add_up(const struct parts *parts, uint32_t networks)
{
    for (uint32_t i = 0; i < parts_for(networks); i++)
        parts->starts[i + 1] += parts->starts[i];
}

/* Cuts both arrays, which had room for `six` and `four`. */
static void cut_all(struct tg_cidr_set *set, uint32_t six, uint32_t four)
{
    if (set->count6 > 0)
        cut(&set->parts6, six, set->v6[0].first.high, set->v6[set->count6 - 1].last.high);
    if (set->count4 > 0)
        cut(&set->parts4, four, set->v4[0].first, set->v4[set->count4 - 1].last);
    for (uint32_t i = 0; set->parts6.starts != NULL && i < set->count6; i++)
        count_start(&set->parts6, set->v6[i].first.high);
    for (uint32_t i = 0; set->parts4.starts != NULL && i < set->count4; i++)
        count_start(&set->parts4, set->v4[i].first);
    add_up(&set->parts6, six);
    add_up(&set->parts4, four);
}

struct tg_cidr_set *tg_cidr_set_init(void *room, const struct tg_cidr *networks, uint32_t count)
{
    uint32_t four = count_four(networks, count), six = count - four;
    struct tg_cidr_set *set = room;
    *set = (struct tg_cidr_set){.v6 = (struct range6 *)(set + 1)};
    set->v4 = (struct range4 *)(set->v6 + six);
    uint32_t *starts = (uint32_t *)(set->v4 + four);
    set->parts6.starts = six >= PARTS_FROM ? starts : NULL;
    set->parts4.starts = four >= PARTS_FROM ? starts + starts_size(six) / sizeof(*starts) : NULL;
    for (uint32_t i = 0; i < count; i++) {
        const struct tg_cidr *network = &networks[i];
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
    cut_all(set, six, four);
    return set;
}

/* ---- Asking ---------------------------------------------------------------------------------- */

/* Ranges from `low` to `high` may be the first that begins behind the address; those before do not.
 */
struct span {
    uint32_t low, high;
};

static struct span span_of(const struct parts *parts, uint32_t count, uint64_t at)
{
    if (parts->starts == NULL)
        return (struct span){0, count};
    const uint32_t *start = &parts->starts[(at - parts->from) >> parts->shift];
    return (struct span){start[0], start[1]};
}

/* In both: `low` becomes the number of ranges that begin at or before the address; only the last of
 * them can contain it. */
static bool contains4(const struct tg_cidr_set *set, uint32_t ip)
{
    if (set->count4 == 0 || ip < set->parts4.from || ip > set->parts4.to)
        return false;
    struct span s = span_of(&set->parts4, set->count4, ip);
    while (s.low < s.high) {
        uint32_t middle = s.low + (s.high - s.low) / 2;
        if (set->v4[middle].first <= ip)
            s.low = middle + 1;
        else
            s.high = middle;
    }
    return s.low > 0 && ip <= set->v4[s.low - 1].last;
}

static bool contains6(const struct tg_cidr_set *set, struct wide ip)
{
    if (set->count6 == 0 || ip.high < set->parts6.from || ip.high > set->parts6.to)
        return false;
    struct span s = span_of(&set->parts6, set->count6, ip.high);
    while (s.low < s.high) {
        uint32_t middle = s.low + (s.high - s.low) / 2;
        if (compare_wide(set->v6[middle].first, ip) <= 0)
            s.low = middle + 1;
        else
            s.high = middle;
    }
    return s.low > 0 && compare_wide(ip, set->v6[s.low - 1].last) <= 0;
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
