/*
 * Response heads: what is taken keeps what the gateway relies on, and what we write of it reads
 * back as the same fields.
 *
 * Input: the first byte picks the method of the request, the rest is what an origin sends.
 */
#include "http/h1_parse.h"
#include "http/h1_write.h"
#include "http_fuzz.h"

static const struct tg_head_limits limits = {.fields = 30};

static void check_head(const struct tg_response_head *head, enum tg_method method)
{
    tg_assert(head->status >= 100 && head->status <= 599);
    tg_assert(tg_str_all(head->reason, TG_CHAR_VALUE));
    for (uint32_t i = 0; i < head->fields.n; i++) {
        tg_assert(tg_str_is_token(head->fields.v[i].name));
        tg_assert(tg_str_all(head->fields.v[i].value, TG_CHAR_VALUE));
    }
    if (method == TG_METHOD_HEAD || head->status < 200 || head->status == 204 ||
        head->status == 304)
        tg_assert(head->framing == TG_FRAMING_NONE);
    tg_assert(head->framing != TG_FRAMING_CLOSE || !head->keep_alive);
}

/* Written and read again: the fields that are passed on are the same, in the same order. */
static void check_round_trip(const struct tg_response_head *head)
{
    struct tg_response_head again;
    struct tg_refusal refusal;
    struct tg_fmt f;
    uint32_t k = 0;
    tg_fmt_init_arena(&f, &arena, 256);
    tg_h1_write_status(&f, head->status, head->reason);
    tg_h1_write_fields(&f, &head->fields);
    tg_fmt_lit(&f, "\r\n");
    struct tg_str text = tg_fmt_str(&f);
    tg_assert(text.p != NULL);
    tg_assert(
        tg_h1_parse_response(text.p, text.n, &limits, TG_METHOD_HEAD, &arena, &again, &refusal));
    tg_assert(again.status == head->status && !again.has_length);
    for (uint32_t i = 0; i < head->fields.n; i++) {
        const struct tg_field *field = &head->fields.v[i];
        if (tg_field_is_hop(field->id) || field->id == TG_FIELD_CONTENT_LENGTH)
            continue;
        tg_assert(k < again.fields.n);
        tg_assert(tg_str_eq(again.fields.v[k].name, field->name));
        tg_assert(tg_str_eq(again.fields.v[k].value, field->value));
        k++;
    }
    tg_assert(k == again.fields.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_head_scan scan = {0};
    struct tg_response_head head;
    struct tg_refusal refusal = {0};
    const char *why = NULL;
    if (size == 0)
        return 0;
    fuzz_begin();
    enum tg_method method = (enum tg_method)(data[0] % TG_METHODS);
    char *p = fuzz_copy((const char *)data + 1, size - 1);
    if (tg_head_scan(&scan, p, size - 1, &why) == TG_SCAN_DONE) {
        size_t n = scan.at - scan.start;
        if (tg_h1_parse_response(p + scan.start, n, &limits, method, &arena, &head, &refusal)) {
            check_head(&head, method);
            check_round_trip(&head);
        } else {
            tg_assert(refusal.status >= 500 && refusal.reason != NULL);
        }
    }
    free(p);
    fuzz_end();
    return 0;
}
