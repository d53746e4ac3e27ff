/* dns_answer.h: from a message of a DNS server to an answer: a pure function of its bytes.
 *
 * c-ares takes the records apart; what it does not tell is read here: how long records of any type
 * may be kept (the least TTL of the answer section), and how long their absence (RFC 2308: the SOA
 * record of the authority section).
 */
#ifndef TG_UPSTREAM_DNS_ANSWER_H
#define TG_UPSTREAM_DNS_ANSWER_H

#include "upstream/resolver.h"

/* Which records are looked for. */
enum tg_dns_type { TG_DNS_A, TG_DNS_AAAA, TG_DNS_SRV };

/* Records of one type and message are at most this many, so that both families find room. */
#define TG_DNS_RECORDS_MAX (TG_ANSWER_MAX / 2)

/* Adds the records of `type` in the message to `answer` (which has room for TG_ANSWER_MAX) and
 * tells what it is: NONE, whatever the message's own code says, where it has none of them; FAILED
 * where it is none, or memory is out. *ttl (us) of what was found, or of its absence; 0: nothing is
 * said. */
enum tg_answer_kind tg_dns_answer_read(enum tg_dns_type type, const unsigned char *p, size_t n,
                                       struct tg_answer *answer, uint64_t *ttl);

#endif
