/*
 * Request heads: the scan gives the same verdict for the whole input and in two pieces, and a head
 * that is taken keeps every promise that the rest of the gateway relies on.
 *
 * Input: the first byte says where the input is cut in two, the rest is what a client sends.
 */
#include "http/h1_parse.h"
#include "http/uri.h"
#include "http_fuzz.h"

static void check_fields(const struct tg_request_head *head, const char *p, size_t n)
{
    unsigned hosts = 0;
    unsigned lengths = 0;
    unsigned encodings = 0;
    for (uint32_t i = 0; i < head->fields.n; i++) {
        const struct tg_field *f = &head->fields.v[i];
        tg_assert(tg_str_is_token(f->name) && tg_str_all(f->value, TG_CHAR_VALUE));
        tg_assert(fuzz_within(f->name, p, n) && fuzz_within(f->value, p, n));
        tg_assert(f->id == tg_field_id(f->name));
        tg_assert(tg_str_eq(f->value, tg_str_trim(f->value)));
        hosts += f->id == TG_FIELD_HOST;
        lengths += f->id == TG_FIELD_CONTENT_LENGTH;
        encodings += f->id == TG_FIELD_TRANSFER_ENCODING;
    }
    tg_assert(hosts == 1 || (hosts == 0 && head->minor == 0));
    tg_assert(lengths + encodings <= 1);
    tg_assert((head->framing == TG_FRAMING_CHUNKED) == (encodings == 1));
    tg_assert(head->framing != TG_FRAMING_CLOSE);
}

static void check_target(const struct tg_request_head *head)
{
    struct tg_str again;
    tg_assert(tg_str_is_token(head->method_name));
    tg_assert(tg_str_all(head->target, TG_CHAR_TARGET));
    tg_assert(head->path.n > 0 && head->path.p[0] == '/');
    tg_assert(tg_uri_normalise_path(head->path, false, &arena, &again) == TG_OK);
    tg_assert(tg_str_eq(again, head->path));
    tg_assert(tg_str_all(head->host, TG_CHAR_HOST) || head->host.p[0] == '[');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_head_limits limits = {.fields = 30, .target = 512};
    struct tg_head_scan whole = {0};
    struct tg_head_scan parts = {0};
    struct tg_request_head head;
    struct tg_refusal refusal = {0};
    const char *why = NULL;
    if (size == 0)
        return 0;
    fuzz_begin();
    size_t n = size - 1;
    size_t cut = n > 0 ? data[0] % n : 0;
    char *p = fuzz_copy((const char *)data + 1, n);
    char *front = fuzz_copy(p, cut);
    enum tg_scan_result result = tg_head_scan(&whole, p, n, &why);
    enum tg_scan_result in_two = tg_head_scan(&parts, front, cut, &why);
    if (in_two == TG_SCAN_MORE)
        in_two = tg_head_scan(&parts, p, n, &why);
    tg_assert(result == in_two);
    if (result == TG_SCAN_DONE) {
        tg_assert(whole.at == parts.at && whole.start == parts.start);
        size_t head_n = whole.at - whole.start;
        char *exact = fuzz_copy(p + whole.start, head_n);
        if (tg_h1_parse_request(exact, head_n, &limits, &arena, &head, &refusal)) {
            check_fields(&head, exact, head_n);
            check_target(&head);
        } else {
            tg_assert(refusal.status >= 400 && refusal.reason != NULL);
        }
        free(exact);
    }
    free(front);
    free(p);
    fuzz_end();
    return 0;
}
