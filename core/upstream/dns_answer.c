/* dns_answer.c: see dns_answer.h. */
#include "base/banned.h"
#include "upstream/dns_answer.h"

#include <ares.h>
#include <string.h>

#define HEADER_SIZE 12u
#define FIXED_SIZE  10u /* of a record, between its name and its data */
#define TYPE_SOA    6u
#define SOA_MINIMUM 4u /* bytes of it, the last of its data */
#define LABEL_MASK  0xc0u
#define WALK_MAX    1024u /* records of a message */

/* ---- TTLs --------------------------------------------------------------------------------------
 */

struct walk {
    const unsigned char *p;
    size_t n;
    size_t at;
};

struct rr {
    unsigned type;
    uint32_t ttl;
    const unsigned char *data;
    size_t n;
};

static unsigned u16_at(const unsigned char *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

static uint32_t u32_at(const unsigned char *p)
{
    return (uint32_t)u16_at(p) << 16 | u16_at(p + 2);
}

static bool skip_name(struct walk *w)
{
    while (w->at < w->n) {
        unsigned length = w->p[w->at];
        if ((length & LABEL_MASK) == LABEL_MASK) {
            w->at += 2;
            return w->at <= w->n;
        }
        w->at += length + 1;
        if (length == 0)
            return w->at <= w->n;
    }
    return false;
}

static bool next_record(struct walk *w, struct rr *rr)
{
    if (!skip_name(w) || w->n - w->at < FIXED_SIZE)
        return false;
    const unsigned char *fixed = w->p + w->at;
    *rr = (struct rr){.type = u16_at(fixed), .ttl = u32_at(fixed + 4), .n = u16_at(fixed + 8)};
    w->at += FIXED_SIZE;
    rr->data = w->p + w->at;
    if (w->n - w->at < rr->n)
        return false;
    w->at += rr->n;
    return true;
}

static uint64_t seconds(uint32_t ttl)
{
    return ttl > INT32_MAX ? 0 : ttl * TG_USEC_PER_SEC; /* RFC 2181, 8 */
}

/* How long the answer, or with `absent` that there is none, may be kept; 0: not said. */
static uint64_t read_ttl(const unsigned char *p, size_t n, bool absent)
{
    struct walk w = {p, n, HEADER_SIZE};
    struct rr rr;
    uint64_t least = UINT64_MAX;
    unsigned answers = u16_at(p + 6);
    unsigned all = TG_MIN(answers + (absent ? u16_at(p + 8) : 0), WALK_MAX);
    for (unsigned i = u16_at(p + 4); i > 0; i--) {
        if (!skip_name(&w) || w.n - w.at < 4)
            return 0;
        w.at += 4;
    }
    for (unsigned i = 0; i < all && next_record(&w, &rr); i++) {
        bool soa = i >= answers && rr.type == TYPE_SOA && rr.n >= SOA_MINIMUM;
        if (absent && soa)
            return TG_MIN(seconds(rr.ttl), seconds(u32_at(rr.data + rr.n - SOA_MINIMUM)));
        if (!absent)
            least = TG_MIN(least, seconds(rr.ttl));
    }
    return least == UINT64_MAX ? 0 : least;
}

/* ---- Records -----------------------------------------------------------------------------------
 */

static struct tg_record *add(struct tg_answer *answer)
{
    struct tg_record *record = &answer->records[answer->n++];
    *record = (struct tg_record){0};
    return record;
}

static int read_v4(const unsigned char *p, int n, struct tg_answer *answer)
{
    struct ares_addrttl found[TG_DNS_RECORDS_MAX];
    int count = TG_DNS_RECORDS_MAX;
    int status = ares_parse_a_reply(p, n, NULL, found, &count);
    for (int i = 0; status == ARES_SUCCESS && i < count; i++) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = found[i].ipaddr};
        tg_addr_from_sockaddr((const struct sockaddr *)&in, sizeof(in), &add(answer)->addr);
    }
    return status;
}

static int read_v6(const unsigned char *p, int n, struct tg_answer *answer)
{
    struct ares_addr6ttl found[TG_DNS_RECORDS_MAX];
    int count = TG_DNS_RECORDS_MAX;
    int status = ares_parse_aaaa_reply(p, n, NULL, found, &count);
    for (int i = 0; status == ARES_SUCCESS && i < count; i++) {
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
        memcpy(&in6.sin6_addr, &found[i].ip6addr, sizeof(in6.sin6_addr));
        tg_addr_from_sockaddr((const struct sockaddr *)&in6, sizeof(in6), &add(answer)->addr);
    }
    return status;
}

/* A name of letters, digits, "-", "_" and dots, in lower case; false for others, and for ".", which
 * says that there is no such service (RFC 2782). */
static bool copy_name(char to[TG_NAME_MAX + 1], const char *from)
{
    size_t n = strlen(from);
    if (n > 0 && from[n - 1] == '.')
        n--;
    if (n == 0 || n > TG_NAME_MAX)
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = tg_char_lower(from[i]);
        bool plain =
            (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
        if (!plain)
            return false;
        to[i] = c;
    }
    to[n] = '\0';
    return true;
}

static int read_srv(const unsigned char *p, int n, struct tg_answer *answer)
{
    struct ares_srv_reply *list = NULL;
    char name[TG_NAME_MAX + 1];
    int status = ares_parse_srv_reply(p, n, &list);
    for (struct ares_srv_reply *s = list; s != NULL && answer->n < TG_ANSWER_MAX; s = s->next) {
        if (s->port == 0 || !copy_name(name, s->host))
            continue;
        struct tg_record *record = add(answer);
        record->port = s->port;
        record->priority = s->priority;
        record->weight = s->weight;
        memcpy(record->target, name, sizeof(name));
    }
    ares_free_data(list);
    return status;
}

enum tg_answer_kind tg_dns_answer_read(enum tg_dns_type type, const unsigned char *p, size_t n,
                                       struct tg_answer *answer, uint64_t *ttl)
{
    static int (*const readers[])(const unsigned char *, int, struct tg_answer *) = {
        [TG_DNS_A] = read_v4,
        [TG_DNS_AAAA] = read_v6,
        [TG_DNS_SRV] = read_srv,
    };
    uint32_t before = answer->n;
    *ttl = 0;
    if (p == NULL || n < HEADER_SIZE || n > UINT16_MAX)
        return TG_ANSWER_FAILED;
    int status = readers[type](p, (int)n, answer);
    if (status != ARES_SUCCESS && status != ARES_ENODATA)
        return TG_ANSWER_FAILED;
    bool absent = answer->n == before;
    *ttl = read_ttl(p, n, absent);
    return absent ? TG_ANSWER_NONE : TG_ANSWER_RECORDS;
}
