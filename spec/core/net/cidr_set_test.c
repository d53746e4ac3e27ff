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
    void *room = tg_mem_alloc(TG_MEM_OTHER, tg_cidr_set_size(count));
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
        void *room = tg_mem_alloc(TG_MEM_OTHER, tg_cidr_set_size(TG_COUNT_OF(networks)));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_set_contains_nothing),
        cmocka_unit_test(networks_end_where_they_end),
        cmocka_unit_test(overlapping_and_adjoining_networks_merge),
        cmocka_unit_test(families_are_apart),
        cmocka_unit_test(a_linear_search_agrees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
