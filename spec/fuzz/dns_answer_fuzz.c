/*
 * Messages of DNS servers: any bytes are read without harm, as answers to each kind of question;
 * what is found is within its bounds and plain; and the hosts file, of the same bytes.
 */
#include "base/assert.h"
#include "upstream/dns_answer.h"
#include "upstream/hosts.h"

#include <stdlib.h>
#include <string.h>

static union {
    struct tg_answer answer;
    char room[sizeof(struct tg_answer) + TG_ANSWER_MAX * sizeof(struct tg_record)];
} out;

static void check_record(enum tg_dns_type type, const struct tg_record *record)
{
    if (type != TG_DNS_SRV) {
        tg_assert(record->addr.len > 0 && tg_addr_port(&record->addr) == 0);
        return;
    }
    size_t n = strlen(record->target);
    tg_assert(record->port > 0 && n > 0 && n <= TG_NAME_MAX);
    for (size_t i = 0; i < n; i++)
        tg_assert(record->target[i] == tg_char_lower(record->target[i]) && record->target[i] > ' ');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_addr found[8];
    uint64_t ttl;
    for (int type = TG_DNS_A; type <= TG_DNS_SRV; type++) {
        memset(&out, 0, sizeof(out));
        enum tg_answer_kind kind =
            tg_dns_answer_read((enum tg_dns_type)type, data, size, &out.answer, &ttl);
        tg_assert(out.answer.n <= TG_ANSWER_MAX && ttl <= INT32_MAX * TG_USEC_PER_SEC);
        tg_assert((kind == TG_ANSWER_RECORDS) == (out.answer.n > 0));
        for (uint32_t i = 0; i < out.answer.n; i++)
            check_record((enum tg_dns_type)type, &out.answer.records[i]);
    }
    struct tg_str text = tg_str((const char *)data, size);
    tg_assert(tg_hosts_find(text, TG_STR("a.test"), found, 8) <= 8);
    return 0;
}
