/* cidr_set.h: a set of networks, asked whether it contains an address.
 *
 * The networks become disjoint ranges of addresses, sorted, in one block: overlapping and adjoining
 * ones are merged, so 10.0.0.0/9 and 10.128.0.0/9 are one range. Above the ranges stands a trie of
 * one level, as wide as there are networks, that tells among which of them to search: a few.
 *
 * A trie all the way down is larger and no faster (spec/bench/micro/cidr_bench.c has one of 64-way
 * nodes with bitmaps beside this; scattered networks, ns for an address and bytes a network):
 *
 *                   10,000 IPv4    100,000 IPv4   10,000 IPv6    100,000 IPv6
 *     this          14 ns  11 B    19 ns  11 B    17 ns  35 B    36 ns   35 B
 *     trie          13     24      31     13      41     86      183     73
 *     ranges alone  68      8      94      8      79     32      144     32
 *
 * IPv4 and IPv6 are apart: ::/0 is all of IPv6 and none of IPv4. Addresses of the form
 * ::ffff:a.b.c.d count as IPv4, in networks (from /96 on) as in struct tg_addr.
 *
 * Ownership: the block is the caller's; nothing is to be released. Threads: constant once made.
 * Cost: making n log n; asking as above, or a binary search over all where most networks are close
 * to each other and a few far away.
 */
#ifndef TG_NET_CIDR_SET_H
#define TG_NET_CIDR_SET_H

#include "net/addr.h"

struct tg_cidr_set;

/* Bytes that the set of these networks takes; alignment as of uint64_t. */
size_t tg_cidr_set_size(const struct tg_cidr *networks, uint32_t count);

/* Makes the set of `count` networks in `room` of tg_cidr_set_size() bytes. The networks are
 * not needed afterwards. The set does not move. */
struct tg_cidr_set *tg_cidr_set_init(void *room, const struct tg_cidr *networks, uint32_t count);

bool tg_cidr_set_contains(const struct tg_cidr_set *set, const struct tg_addr *addr);

/* Ranges that are left after merging, of both kinds. */
uint32_t tg_cidr_set_count(const struct tg_cidr_set *set);

#endif
