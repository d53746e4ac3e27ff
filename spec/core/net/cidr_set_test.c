/* cidr_set_test.c: sets of networks: edges, merging, both families, and a linear search as oracle.
 */
#include "base/banned.h"
#include "net/cidr_set.h"

#include "base/mem.h"
#include "base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static struct tg_cidr_set *make(const char *const *texts, uint32_t count)
{
    struct tg_cidr networks[16];
    assert_true(count <= TG_COUNT_OF(networks));
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(tg_cidr_parse(tg_str_c(texts[i]), &networks[i]), TG_OK);
    void *room = tg_mem_alloc(TG_MEM_OTHER, tg_cidr_set_size(networks, count));
    assert_non_null(room);
    return tg_cidr_set_init(room, networks, count);
}

static bool contains(const struct tg_cidr_set *set, const char *ip)
{
    struct tg_addr addr;
    assert_int_equal(tg_addr_parse_ip(tg_str_c(ip), &addr), TG_OK);
    return tg_cidr_set_contains(set, &addr);
}

static void an_empty_set_contains_nothing(void **state)
{
    (void)state;
    struct tg_cidr_set *set = make(NULL, 0);
    assert_false(contains(set, "0.0.0.0"));
    assert_false(contains(set, "::"));
    assert_int_equal(tg_cidr_set_count(set), 0);
    tg_mem_free(TG_MEM_OTHER, set);
}

static void networks_end_where_they_end(void **state)
{
    (void)state;
    static const char *const texts[] = {"10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "fd00::1",
                                        "255.255.255.255"};
    struct tg_cidr_set *set = make(texts, TG_COUNT_OF(texts));
    assert_true(contains(set, "10.0.0.0") && contains(set, "10.255.255.255"));
    assert_false(contains(set, "9.255.255.255") || contains(set, "11.0.0.0"));
    assert_true(contains(set, "192.0.2.7") && contains(set, "255.255.255.255"));
    assert_false(contains(set, "192.0.2.6") || contains(set, "192.0.2.8"));
    assert_true(contains(set, "2001:db8::") && contains(set, "2001:db8:ffff:ffff:ffff:ffff::"));
    assert_false(contains(set, "2001:db7:ffff::") || contains(set, "2001:db9::"));
    assert_true(contains(set, "fd00::1") && !contains(set, "fd00::2"));
    assert_true(contains(set, "::ffff:10.1.2.3"));
    tg_mem_free(TG_MEM_OTHER, set);
}

static void overlapping_and_adjoining_networks_merge(void **state)
{
    (void)state;
    static const char *const texts[] = {"10.128.0.0/9", "10.0.0.0/9",  "10.1.0.0/16",
                                        "fe00::/8",     "ff00::/8",    "fe80::/10",
                                        "224.0.0.0/3",  "240.0.0.0/4", "ffff::/16"};
    struct tg_cidr_set *set = make(texts, TG_COUNT_OF(texts));
    assert_int_equal(tg_cidr_set_count(set), 3);
    assert_true(contains(set, "10.200.0.1") && contains(set, "255.255.255.255"));
    assert_true(contains(set, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
    assert_false(contains(set, "fdff::"));
    tg_mem_free(TG_MEM_OTHER, set);
}

static void families_are_apart(void **state)
{
    (void)state;
    static const char *const six[] = {"::/0"};
    static const char *const four[] = {"0.0.0.0/0"};
    struct tg_cidr_set *set = make(six, 1);
    assert_true(contains(set, "::") && contains(set, "2001:db8::1"));
    assert_false(contains(set, "192.0.2.1") || contains(set, "::ffff:192.0.2.1"));
    tg_mem_free(TG_MEM_OTHER, set);
    set = make(four, 1);
    assert_true(contains(set, "0.0.0.0") && contains(set, "255.255.255.255"));
    assert_false(contains(set, "::1"));
    tg_mem_free(TG_MEM_OTHER, set);
}

static void a_linear_search_agrees(void **state)
{
    (void)state;
    struct tg_rand rand;
    tg_rand_init_seed(&rand, 4711);
    for (int round = 0; round < 200; round++) {
        struct tg_cidr networks[24];
        for (size_t i = 0; i < TG_COUNT_OF(networks); i++) {
            struct tg_cidr *net = &networks[i];
            *net = (struct tg_cidr){.size = tg_rand_below(&rand, 2) ? 4 : 16};
            net->bits = (uint8_t)(net->size * 8u - tg_rand_below(&rand, 12));
            net->bytes[net->size - 2] = (unsigned char)tg_rand_below(&rand, 2);
            net->bytes[net->size - 1] = (unsigned char)tg_rand_below(&rand, 256);
            for (unsigned bit = net->bits; bit < net->size * 8u; bit++)
                net->bytes[bit / 8] &= (unsigned char)~(0x80u >> bit % 8);
        }
        void *room = tg_mem_alloc(TG_MEM_OTHER, tg_cidr_set_size(networks, TG_COUNT_OF(networks)));
        assert_non_null(room);
        struct tg_cidr_set *set = tg_cidr_set_init(room, networks, TG_COUNT_OF(networks));
        for (int ip = 0; ip < 1024; ip++) {
            char text[32];
            struct tg_addr addr;
            bool expected = false;
            int low = ip & 511;
            snprintf(text, sizeof(text), ip < 512 ? "0.0.%d.%d" : "::%x%02x", low >> 8, low & 255);
            assert_int_equal(tg_addr_parse_ip(tg_str_c(text), &addr), TG_OK);
            for (size_t i = 0; i < TG_COUNT_OF(networks); i++)
                expected = expected || tg_cidr_contains(&networks[i], &addr);
            assert_int_equal(tg_cidr_set_contains(set, &addr), expected);
        }
        tg_mem_free(TG_MEM_OTHER, set);
    }
}

/* A network of a kind: 0 scattered IPv4, 1 all below 10.0.0.0/12, 2 scattered IPv6, 3 IPv6 that
 * differ in the lower half only, 4 some of each. */
static struct tg_cidr network_of(struct tg_rand *rand, unsigned kind)
{
    struct tg_cidr net = {.size = kind < 2 ? 4 : 16};
    if (kind == 4)
        return network_of(rand, (unsigned)tg_rand_below(rand, 4));
    for (unsigned i = kind == 3 ? 8 : 0; i < net.size; i++)
        net.bytes[i] = (unsigned char)tg_rand_below(rand, 256);
    if (kind == 1) {
        net.bytes[0] = 10;
        net.bytes[1] &= 15;
    }
    net.bits =
        (uint8_t)((kind == 3 ? 64 : 8) + tg_rand_below(rand, kind == 3 ? 65 : net.size * 8u - 7));
    if (net.bits < 16 && tg_rand_below(rand, 50) > 0)
        net.bits = 24; /* few that swallow the others */
    for (unsigned bit = net.bits; bit < net.size * 8u; bit++)
        net.bytes[bit / 8] &= (unsigned char)~(0x80u >> bit % 8);
    return net;
}

static struct tg_addr address_of(const unsigned char *bytes, unsigned size)
{
    struct tg_addr addr = {.len = 1};
    addr.u.any.sa_family = size == 4 ? AF_INET : AF_INET6;
    memcpy(size == 4 ? (void *)&addr.u.v4.sin_addr : (void *)&addr.u.v6.sin6_addr, bytes, size);
    return addr;
}

/* Addresses at the edges of networks, and any; sets small and large enough to be cut into parts. */
static void a_linear_search_agrees_on_sets_of_all_shapes(void **state)
{
    static struct tg_cidr networks[600];
    struct tg_rand rand;
    (void)state;
    tg_rand_init_seed(&rand, 42);
    for (unsigned round = 0; round < 60; round++) {
        uint32_t count = 1 + (uint32_t)tg_rand_below(&rand, round % 3 == 0 ? 20 : 600);
        for (uint32_t i = 0; i < count; i++)
            networks[i] = network_of(&rand, round % 5);
        void *room = tg_mem_alloc(TG_MEM_OTHER, tg_cidr_set_size(networks, count));
        assert_non_null(room);
        struct tg_cidr_set *set = tg_cidr_set_init(room, networks, count);
        for (int ask = 0; ask < 2000; ask++) {
            struct tg_cidr near = tg_rand_below(&rand, 4) > 0
                                      ? networks[tg_rand_below(&rand, count)]
                                      : network_of(&rand, round % 5);
            unsigned last = near.size - 1u - (unsigned)tg_rand_below(&rand, 2);
            near.bytes[last] = (unsigned char)(near.bytes[last] + tg_rand_below(&rand, 3) - 1);
            struct tg_addr addr = address_of(near.bytes, near.size);
            bool expected = false;
            for (uint32_t i = 0; i < count && !expected; i++)
                expected = tg_cidr_contains(&networks[i], &addr);
            assert_int_equal(tg_cidr_set_contains(set, &addr), expected);
        }
        tg_mem_free(TG_MEM_OTHER, set);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_set_contains_nothing),
        cmocka_unit_test(networks_end_where_they_end),
        cmocka_unit_test(overlapping_and_adjoining_networks_merge),
        cmocka_unit_test(families_are_apart),
        cmocka_unit_test(a_linear_search_agrees),
        cmocka_unit_test(a_linear_search_agrees_on_sets_of_all_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
