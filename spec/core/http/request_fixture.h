/*
 * What the tests of request heads share. A refusal may come from the scan or from the parser: both
 * are run, as the gateway does. Include it after http/h1_parse.h.
 */
#ifndef TG_SPEC_REQUEST_FIXTURE_H
#define TG_SPEC_REQUEST_FIXTURE_H

#include "http_fixture.h"

static struct tg_request_head head;
static struct tg_refusal refusal;
static struct tg_head_limits limits;

static TG_UNUSED int setup(void **state)
{
    limits = (struct tg_head_limits){.fields = 20, .target = 256};
    return fixture_init(state);
}

static TG_UNUSED bool parse_bytes(const char *p, size_t n)
{
    struct tg_head_scan scan = {0};
    const char *why = NULL;
    refusal = (struct tg_refusal){0};
    enum tg_scan_result result = tg_head_scan(&scan, p, n, &why);
    if (result == TG_SCAN_MORE)
        fail_msg("not a whole head: %.*s", (int)n, p);
    if (result == TG_SCAN_BAD) {
        refusal = (struct tg_refusal){400, why};
        return false;
    }
    return tg_h1_parse_request(p + scan.start, scan.at - scan.start, &limits, &arena, &head,
                               &refusal);
}

static TG_UNUSED void assert_takes(const char *text)
{
    if (!parse_bytes(text, strlen(text)))
        fail_msg("refused with %u, %s:\n%s", refusal.status, refusal.reason, text);
}

static TG_UNUSED void assert_refuses_bytes(unsigned status, const char *p, size_t n)
{
    if (parse_bytes(p, n))
        fail_msg("taken:\n%.*s", (int)n, p);
    if (refusal.status != status)
        fail_msg("%u (%s), not %u:\n%.*s", refusal.status, refusal.reason, status, (int)n, p);
    assert_non_null(refusal.reason);
}

static TG_UNUSED void assert_refuses(unsigned status, const char *text)
{
    assert_refuses_bytes(status, text, strlen(text));
}

/* A request with these field lines behind a good Host. */
static TG_UNUSED const char *with(const char *lines)
{
    static char text[4096];
    snprintf(text, sizeof(text), "POST / HTTP/1.1\r\nHost: a\r\n%s\r\n", lines);
    return text;
}

#endif
