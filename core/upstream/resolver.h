/* resolver.h: what names stand for: answers of the DNS, kept as long as they say, one per worker.
 *
 *     tg_resolver_ask() ---> fresh in the cache: answered at once
 *            |
 *            '--> joins the query that is under way, or begins one (or queues it: QUERIES at a
 * time)
 *                      |
 *                 source ---> tg_resolver_settle() ---> cache ---> on_answer of all who wait
 *
 * The cache is the house's bounded map. An answer is kept for its TTL, between limits.dns.ttl_min
 * and ttl_max; "there is none" for what its SOA record says (RFC 2308), within the same bounds. A
 * failure (no server answers, SERVFAIL) is kept for TG_RESOLVER_RETRY. While an older answer with
 * records is at most limits.dns.stale past its time, a failure does not replace it: it is given out
 * as stale, and asked for again after that pause (RFC 8767). That a name has no records is no
 * failure, and is believed.
 *
 * Who asks the servers is a source: c-ares (dns.h), or a spec.
 *
 * Bounds: limits.dns.cache answers of at most TG_ANSWER_MAX records, limits.dns.queries under way;
 * those who ask bound the queue. Threads: its worker's. The clock is the loop's.
 */
#ifndef TG_UPSTREAM_RESOLVER_H
#define TG_UPSTREAM_RESOLVER_H

#include "base/limits.h"
#include "event/worker.h"
#include "net/addr.h"

#define TG_ANSWER_MAX     64u  /* records of an answer; the others are left out */
#define TG_NAME_MAX       253u /* bytes of a name without the last dot */
#define TG_RESOLVER_RETRY TG_USEC_PER_SEC

/* What is asked for: addresses of both families together, or the servers of a service (RFC 2782).
 */
enum tg_question { TG_QUESTION_ADDRESS, TG_QUESTION_SRV };

enum tg_answer_kind {
    TG_ANSWER_FAILED,  /* nobody could say */
    TG_ANSWER_NONE,    /* there are none: no such name, or none of its records is of that kind */
    TG_ANSWER_RECORDS, /* one or more */
};

struct tg_record {
    struct tg_addr addr; /* ADDRESS; its port is 0 */
    uint16_t port;       /* SRV, as are the others */
    uint16_t priority, weight;
    char target[TG_NAME_MAX + 1]; /* lower case, without the last dot */
};

struct tg_answer {
    enum tg_answer_kind kind;
    const char *problem; /* static: why there are no records, or why they are stale; NULL: fine */
    bool stale;          /* its time is over, and no newer answer can be had */
    uint64_t ttl;        /* us, as the source says */
    uint64_t since;      /* us of the clock: when it came */
    uint64_t until;      /* us of the clock: ask again then */
    uint64_t useful;     /* us of the clock: it may stand in until then */
    uint32_t n;
    struct tg_record records[]; /* addresses: sorted as the servers gave them */
};

struct tg_resolver;

/* A question that somebody waits for; embedded by its owner, zeroed before the first use. */
struct tg_lookup {
    /* Once, from the loop; `answer` is borrowed for the call. May ask again. */
    void (*on_answer)(struct tg_lookup *lookup, const struct tg_answer *answer);
    uint64_t max_age; /* us; older answers do not do, whatever their TTL. 0: as long as it says */

    /* private */
    struct tg_list link;
};

/* A question for a source. */
struct tg_query {
    enum tg_question question;
    char name[TG_NAME_MAX + 1]; /* lower case */

    /* private */
    struct tg_resolver *resolver;
    struct tg_list link;
    struct tg_list lookups;
    bool sent;
};

struct tg_resolver_source {
    /* Finds an answer and calls tg_resolver_settle() once, never from within this call. `query`
     * stays until then, or until drop_all. TG_E_NOMEM: it will not. */
    enum tg_err (*send)(void *arg, struct tg_query *query);
    /* Forgets all queries that it was sent: none is settled any more. */
    void (*drop_all)(void *arg);
    void *arg;
};

/* `source` is borrowed. NULL: no memory. */
struct tg_resolver *tg_resolver_new(struct tg_worker *worker,
                                    const struct tg_resolver_source *source,
                                    const struct tg_limits *limits) TG_MUST_USE;

/* Nobody may wait for an answer. */
void tg_resolver_free(struct tg_resolver **resolver);

/* From now on these bounds hold; a cache of another size begins empty. */
void tg_resolver_set_limits(struct tg_resolver *resolver, const struct tg_limits *limits);

/* The answer, where it is known, borrowed until the next call for this resolver; NULL: on_answer
 * will tell. `name` has at most TG_NAME_MAX bytes, any case, without the last dot. */
const struct tg_answer *tg_resolver_ask(struct tg_resolver *resolver, struct tg_str name,
                                        enum tg_question question, struct tg_lookup *lookup);

/* What was known last and may still stand in, whatever its time; NULL: nothing. Borrowed likewise.
 */
const struct tg_answer *tg_resolver_recall(struct tg_resolver *resolver, struct tg_str name,
                                           enum tg_question question);

/* on_answer does not come any more; allowed when it would not. */
void tg_resolver_cancel(struct tg_lookup *lookup);

/* For sources: what came of `query`, which is gone on return. `answer` is borrowed; only kind,
 * problem, ttl and the records count. */
void tg_resolver_settle(struct tg_query *query, const struct tg_answer *answer);

#endif
