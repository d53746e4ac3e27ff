/* cidr_set.h: a set of networks, asked whether it contains an address.
 *
 * The networks become disjoint ranges of addresses, sorted, in one block: overlapping and adjoining
 * ones are merged, so 10.0.0.0/9 and 10.128.0.0/9 are one range. A question is a binary search.
 * That takes 8 bytes a network for IPv4 and 32 for IPv6, a fraction of a trie's nodes, and touches
 * fewer cache lines.
 *
 * IPv4 and IPv6 are apart: ::/0 is all of IPv6 and none of IPv4. Addresses of the form
 * ::ffff:a.b.c.d count as IPv4, in networks (from /96 on) as in struct tg_addr.
 *
 * Ownership: the block is the caller's; nothing is to be released. Threads: constant once made.
 * Cost: making n log n, asking some 20 ns for a thousand networks.
 */
#ifndef TG_NET_CIDR_SET_H
#define TG_NET_CIDR_SET_H

#include "net/addr.h"

struct tg_cidr_set;

/* Bytes that a set of at most `count` networks takes; alignment as of uint64_t. */
size_t tg_cidr_set_size(uint32_t count);

/* Makes the set of `count` networks in `room` of tg_cidr_set_size(count) bytes. The networks are
 * not needed afterwards. The set does not move. */
struct tg_cidr_set *tg_cidr_set_init(void *room, const struct tg_cidr *networks, uint32_t count);

bool tg_cidr_set_contains(const struct tg_cidr_set *set, const struct tg_addr *addr);

/* Ranges that are left after merging, of both kinds. */
uint32_t tg_cidr_set_count(const struct tg_cidr_set *set);

#endif
