/*
 * What asking a set of networks costs, and what it holds, for 10,000 and 100,000 networks,
 * scattered and with the lengths that routing tables have. Prints `bench <name> <value> <unit>`
 * lines: CPU time of this thread for an address of which half are in the set, the least of five
 * rounds.
 *
 * As a comment beside each: the same by a trie of 64-way nodes with bitmaps and counted children
 * (Asai, Ohara: "Poptrie", SIGCOMM 2015), 20 bytes a node, with a bit for each leaf: the most
 * compact of the fast ones.
 */
#include "base/banned.h"
#include "net/cidr_set.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rand.h"

#include <stdlib.h>

#define ROUNDS 5
#define ASKED  65536u
#define CALLS  UINT32_C(1000000)

/* ---- The trie -------------------------------------------------------------------------------- */

struct node {
    uint32_t child[2]; /* which of 64 have a node of their own, as two halves: no padding */
    uint32_t leaf[2];  /* which of the others are in the set */
    uint32_t first;    /* of the children, which stand in a row */
};

struct trie {
    struct node *nodes;
    uint32_t count, cap;
};

/* Networks in order, none inside another: those that begin with the `depth` bits of each other. */
struct row {
    const struct tg_cidr *v;
    uint32_t n;
};

/* An address or network as a number, its first bit on top. */
static unsigned __int128 number_of(const unsigned char *bytes, unsigned size)
{
    uint64_t half[2] = {0, 0};
    memcpy(half, bytes, size);
    return (unsigned __int128)__builtin_bswap64(half[0]) << 64 | __builtin_bswap64(half[1]);
}

static unsigned six_bits(unsigned __int128 number, unsigned at)
{
    return (unsigned)(number << at >> 122);
}

static uint64_t whole(const uint32_t half[2])
{
    return (uint64_t)half[1] << 32 | half[0];
}

static void set_bit(uint32_t half[2], unsigned bit)
{
    half[bit / 32] |= 1u << bit % 32;
}

static void fill(struct trie *t, uint32_t at, struct row row, unsigned depth)
{
    uint32_t children = 0, begin[64], length[64] = {0};
    for (uint32_t i = 0; i < row.n; i++) {
        const struct tg_cidr *net = &row.v[i];
        unsigned bits = six_bits(number_of(net->bytes, net->size), depth);
        if (net->bits <= depth + 6) {
            for (unsigned k = 0; k < 1u << (depth + 6 - net->bits); k++)
                set_bit(t->nodes[at].leaf, bits + k);
        } else if (length[bits]++ == 0) {
            begin[bits] = i;
            set_bit(t->nodes[at].child, bits);
            children++;
        }
    }
    uint32_t first = t->nodes[at].first = t->count;
    t->count += children;
    tg_assert(t->count <= t->cap);
    for (unsigned bits = 0, nth = 0; bits < 64; bits++) {
        if (length[bits] > 0)
            fill(t, first + nth++, (struct row){row.v + begin[bits], length[bits]}, depth + 6);
    }
}

static bool find(const struct trie *t, const unsigned char *bytes, unsigned size)
{
    const struct node *node = t->nodes;
    unsigned __int128 number = size == 4 ? number_of(bytes, 4) : number_of(bytes, 16);
    for (unsigned depth = 0;; depth += 6) {
        unsigned bits = six_bits(number, depth);
        uint64_t child = whole(node->child);
        if ((child >> bits & 1) == 0)
            return whole(node->leaf) >> bits & 1;
        uint64_t before = child & ((UINT64_C(1) << bits) - 1);
        node = &t->nodes[node->first + (uint32_t)__builtin_popcountll(before)];
    }
}

/* ---- Networks and addresses ------------------------------------------------------------------ */

static int compare(const void *one, const void *two)
{
    const struct tg_cidr *a = one, *b = two;
    int order = memcmp(a->bytes, b->bytes, sizeof(a->bytes));
    return order != 0 ? order : a->bits - b->bits;
}

/* `count` networks: IPv4 of /16 to /24, most of them /24; IPv6 of /32 to /48 below 2000::/4. */
static void scatter(struct tg_rand *rand, struct tg_cidr *networks, uint32_t count, unsigned size)
{
    for (uint32_t i = 0; i < count; i++) {
        unsigned most = size == 4 ? 24 : 48;
        unsigned less =
            (unsigned)(tg_rand_below(rand, 2) * tg_rand_below(rand, size == 4 ? 9 : 17));
        struct tg_cidr *net = &networks[i];
        *net = (struct tg_cidr){.size = (uint8_t)size, .bits = (uint8_t)(most - less)};
        for (unsigned byte = 0; byte < 8 && byte < size; byte++)
            net->bytes[byte] = (unsigned char)tg_rand_below(rand, 256);
        if (size == 16)
            net->bytes[0] = 0x20 | (net->bytes[0] & 15);
        for (unsigned bit = net->bits; bit < size * 8; bit++)
            net->bytes[bit / 8] &= (unsigned char)~(0x80u >> bit % 8);
    }
    qsort(networks, count, sizeof(*networks), compare);
}

static bool is_inside(const struct tg_cidr *outer, const struct tg_cidr *inner)
{
    for (unsigned bit = 0; bit < outer->bits; bit++) {
        if (((outer->bytes[bit / 8] ^ inner->bytes[bit / 8]) >> (7 - bit % 8) & 1) != 0)
            return false;
    }
    return true;
}

/* Sorted networks without those that lie in another; how many are left. */
static uint32_t drop_inner(struct tg_cidr *networks, uint32_t count)
{
    uint32_t kept = 1;
    for (uint32_t i = 1; i < count; i++) {
        if (!is_inside(&networks[kept - 1], &networks[i]))
            networks[kept++] = networks[i];
    }
    return kept;
}

static void choose(struct tg_rand *rand, const struct tg_cidr *networks, uint32_t count,
                   struct tg_addr *asked)
{
    for (uint32_t i = 0; i < ASKED; i++) {
        struct tg_cidr any = networks[tg_rand_below(rand, count)];
        struct tg_addr *addr = &asked[i];
        if (i % 2 == 0)
            scatter(rand, &any, 1, any.size);
        *addr = (struct tg_addr){.len = 1};
        addr->u.any.sa_family = any.size == 4 ? AF_INET : AF_INET6;
        any.bytes[any.size - 1] = (unsigned char)i;
        memcpy(any.size == 4 ? (void *)&addr->u.v4.sin_addr : (void *)&addr->u.v6.sin6_addr,
               any.bytes, any.size);
    }
}

/* ---- Measuring ------------------------------------------------------------------------------- */

static double of_set(const struct tg_cidr_set *set, const struct tg_addr *asked, uint64_t *found)
{
    uint64_t least = UINT64_MAX;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = tg_clock_thread_cpu();
        for (uint32_t i = 0; i < CALLS; i++)
            *found += tg_cidr_set_contains(set, &asked[i % ASKED]);
        least = TG_MIN(least, tg_clock_thread_cpu() - start);
    }
    return (double)least * 1000 / CALLS;
}

static double of_trie(const struct trie *trie, const struct tg_addr *asked, uint64_t *found)
{
    uint64_t least = UINT64_MAX;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = tg_clock_thread_cpu();
        for (uint32_t i = 0; i < CALLS; i++) {
            size_t size;
            const unsigned char *bytes = tg_addr_ip_bytes(&asked[i % ASKED], &size);
            *found += find(trie, bytes, (unsigned)size);
        }
        least = TG_MIN(least, tg_clock_thread_cpu() - start);
    }
    return (double)least * 1000 / CALLS;
}

static void measure(uint32_t count, unsigned size, const char *name)
{
    static struct tg_addr asked[ASKED];
    struct tg_rand rand;
    uint64_t by_set = 0, by_trie = 0;
    struct trie trie = {.cap = count * 10 + 1, .count = 1};
    tg_rand_init_seed(&rand, count + size);
    struct tg_cidr *networks = tg_mem_alloc_or_die(TG_MEM_OTHER, count * sizeof(*networks));
    scatter(&rand, networks, count, size);
    choose(&rand, networks, count, asked);
    size_t bytes = tg_cidr_set_size(networks, count);
    void *room = tg_mem_alloc_or_die(TG_MEM_OTHER, bytes);
    struct tg_cidr_set *set = tg_cidr_set_init(room, networks, count);
    trie.nodes = tg_mem_zalloc(TG_MEM_OTHER, trie.cap, sizeof(*trie.nodes));
    tg_assert(trie.nodes != NULL);
    fill(&trie, 0, (struct row){networks, drop_inner(networks, count)}, 0);
    double ns = of_set(set, asked, &by_set);
    printf("# trie %s: %.1f ns, %.1f bytes a network\n", name, of_trie(&trie, asked, &by_trie),
           (double)trie.count * sizeof(*trie.nodes) / count);
    tg_assert(by_set == by_trie && by_set > CALLS);
    printf("bench cidr.find_ns.%s %.1f ns\n", name, ns);
    printf("bench cidr.bytes.%s %.1f bytes\n", name, (double)bytes / count);
    tg_mem_free(TG_MEM_OTHER, trie.nodes);
    tg_mem_free(TG_MEM_OTHER, room);
    tg_mem_free(TG_MEM_OTHER, networks);
}

int main(void)
{
    measure(10000, 4, "v4.10k");
    measure(100000, 4, "v4.100k");
    measure(10000, 16, "v6.10k");
    measure(100000, 16, "v6.100k");
    return 0;
}
