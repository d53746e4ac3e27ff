/*
 * Header blocks of HTTP/2: a block that is taken keeps every promise that the rest of the gateway
 * relies on, and nothing in it can end a line, name another host or lengthen a body once it is
 * written as HTTP/1.1.
 *
 * Input: fields, each a byte for the length of its name, one for that of its value, and both; a
 * name length of 0x80 and more takes one of the pseudo names. The first byte says whether a body
 * follows.
 */
#include "http/h2_fields.h"
#include "http/uri.h"
#include "http_fuzz.h"

static const char *const pseudo[] = {":method",   ":scheme", ":authority", ":path",
                                     ":protocol", ":status", "host",       "content-length"};

static void fill(struct tg_h2_block *block, const char *p, size_t n)
{
    for (size_t at = 0; at + 2 <= n;) {
        unsigned name_n = (unsigned char)p[at];
        size_t value_n = (unsigned char)p[at + 1];
        struct tg_str name;
        at += 2;
        if (name_n >= 0x80) {
            name = tg_str_c(pseudo[name_n % TG_COUNT_OF(pseudo)]);
        } else {
            name = tg_str(p + at, TG_MIN(name_n, n - at));
            at += name.n;
        }
        struct tg_str value = tg_str(p + at, TG_MIN(value_n, n - at));
        at += value.n;
        tg_h2_block_add(block, name, value);
    }
}

static void check_fields(const struct tg_fields *fields, bool trailers)
{
    unsigned hosts = 0;
    unsigned lengths = 0;
    for (uint32_t i = 0; i < fields->n; i++) {
        const struct tg_field *f = &fields->v[i];
        tg_assert(tg_str_is_token(f->name) && tg_str_is_value(f->value));
        tg_assert(tg_str_eq(f->value, tg_str_trim(f->value)));
        tg_assert(f->id == tg_field_id(f->name) && !tg_h2_field_is_forbidden(f->id));
        for (size_t c = 0; c < f->name.n; c++)
            tg_assert(f->name.p[c] < 'A' || f->name.p[c] > 'Z');
        tg_assert(!trailers || tg_field_may_trail(f->id));
        hosts += f->id == TG_FIELD_HOST;
        lengths += f->id == TG_FIELD_CONTENT_LENGTH;
    }
    tg_assert(hosts == (trailers ? 0 : 1) && lengths <= 1);
}

static void check_request(const struct tg_request_head *head, bool ended)
{
    struct tg_str again;
    tg_assert(tg_str_is_token(head->method_name));
    tg_assert(tg_str_all(head->target, TG_CHAR_TARGET));
    tg_assert(head->path.n > 0 && head->path.p[0] == '/');
    tg_assert(tg_uri_normalise_path(head->path, false, &arena, &again) == TG_OK);
    tg_assert(tg_str_eq(again, head->path));
    tg_assert(tg_str_all(head->host, TG_CHAR_HOST) || head->host.p[0] == '[');
    tg_assert(head->framing != TG_FRAMING_CLOSE);
    tg_assert(!ended || head->framing == TG_FRAMING_NONE);
    tg_assert(head->framing != TG_FRAMING_LENGTH || head->length > 0);
    const struct tg_field *host = tg_fields_find_id(&head->fields, TG_FIELD_HOST);
    tg_assert(tg_str_eq_nocase(host->value, head->authority));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_head_limits limits = {.fields = 30, .target = 512};
    struct tg_h2_block block;
    struct tg_request_head head;
    struct tg_fields trailers;
    struct tg_refusal refusal = {0};
    if (size == 0)
        return 0;
    fuzz_begin();
    char *p = fuzz_copy((const char *)data + 1, size - 1);
    bool ended = data[0] & 1;
    tg_h2_block_init(&block, &arena, 30, 4096);
    fill(&block, p, size - 1);
    if (tg_h2_block_request(&block, &limits, ended, &head, &refusal)) {
        check_fields(&head.fields, false);
        check_request(&head, ended);
    } else {
        tg_assert((refusal.status == 0 || refusal.status >= 400) && refusal.reason != NULL);
    }
    tg_h2_block_init(&block, &arena, 30, 4096);
    fill(&block, p, size - 1);
    if (tg_h2_block_trailers(&block, &trailers, &refusal))
        check_fields(&trailers, true);
    free(p);
    fuzz_end();
    return 0;
}
