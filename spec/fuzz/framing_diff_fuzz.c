/*
 * Where a message ends: our framing against llhttp's own over head and body. What we take, llhttp
 * takes too, with the same body and the same end; we may refuse more.
 *
 * llhttp runs in its strict mode over the untouched bytes and knows nothing of our scan and checks;
 * it is told which answers have no body, as its users must. Left out: CONNECT and 101, after which
 * there is no message any more.
 *
 * Input: the first byte picks request, response, or response to HEAD; the rest is the stream.
 */
#include "http/h1_body.h"
#include "http_fuzz.h"

#include <llhttp.h>

enum kind { REQUEST, RESPONSE, RESPONSE_TO_HEAD, KINDS };

/* How one side sees the stream. */
struct view {
    bool refused;
    bool head; /* complete */
    bool message;
    bool excused;  /* refused where we may go on: see excuse() */
    bool trailers; /* the last chunk was met */
    bool skip;
    enum tg_framing framing;
    size_t end;
    size_t n;
    char *body;
};

/* ---- Ours --------------------------------------------------------------------------------------
 */

static void decode_body(struct view *v, char *p, size_t n, size_t at, uint64_t length)
{
    struct tg_h1_body body;
    struct tg_str data = {p, 0};
    size_t used = 0;
    tg_h1_body_init(&body, v->framing, length, &arena, 100, 4096);
    enum tg_body_result result = TG_BODY_MORE;
    if (at < n || v->framing == TG_FRAMING_NONE)
        result = tg_h1_body_decode(&body, p + at, n - at, &used, &data);
    v->refused = result == TG_BODY_BAD;
    v->message = result == TG_BODY_END;
    v->end = at + used;
    v->n = data.n;
    memcpy(v->body, data.p, data.n);
}

static struct view our_view(enum kind kind, char *p, size_t n)
{
    struct view v = {.body = malloc(n + 1)};
    struct tg_head_limits limits = {.fields = 100, .target = 4096};
    struct tg_head_scan scan = {0};
    struct tg_request_head request;
    struct tg_response_head response;
    struct tg_refusal refusal;
    const char *why;
    uint64_t length;
    tg_assert(v.body != NULL);
    enum tg_scan_result result = tg_head_scan(&scan, p, n, &why);
    v.refused = result == TG_SCAN_BAD;
    v.head = result == TG_SCAN_DONE;
    if (!v.head)
        return v;
    const char *head = p + scan.start;
    size_t head_n = scan.at - scan.start;
    if (kind == REQUEST) {
        v.refused = !tg_h1_parse_request(head, head_n, &limits, &arena, &request, &refusal);
        v.skip = !v.refused && request.method == TG_METHOD_CONNECT;
        v.framing = request.framing;
        length = request.length;
    } else {
        enum tg_method method = kind == RESPONSE ? TG_METHOD_GET : TG_METHOD_HEAD;
        v.refused =
            !tg_h1_parse_response(head, head_n, &limits, method, &arena, &response, &refusal);
        v.skip = !v.refused && response.status == 101;
        v.framing = response.framing;
        length = response.length;
    }
    if (!v.refused && !v.skip)
        decode_body(&v, p, n, scan.at, length);
    return v;
}

/* ---- llhttp's ----------------------------------------------------------------------------------
 */

struct watcher {
    struct view view;
    enum kind kind;
};

static int on_head(llhttp_t *parser)
{
    struct watcher *w = parser->data;
    unsigned status = parser->status_code;
    bool bodiless = status < 200 || status == 204 || status == 304 || w->kind == RESPONSE_TO_HEAD;
    w->view.head = true;
    return w->kind != REQUEST && bodiless ? 1 : 0;
}

static int on_body(llhttp_t *parser, const char *p, size_t n)
{
    struct watcher *w = parser->data;
    memcpy(w->view.body + w->view.n, p, n);
    w->view.n += n;
    return 0;
}

static int on_chunk(llhttp_t *parser)
{
    struct watcher *w = parser->data;
    w->view.trailers = parser->content_length == 0;
    return 0;
}

static int on_message(llhttp_t *parser)
{
    struct watcher *w = parser->data;
    w->view.message = true;
    return HPE_PAUSED;
}

/* Trailers: fields of the framing that stand there are refused by llhttp and dropped by us, as RFC
 * 9110, 6.5.1 has it. Chunk extensions: llhttp takes only one that has a value, the grammar any
 * number (h1_chunked_fuzz.c looks at that). */
static bool excuse(const struct view *v, const char *p)
{
    size_t begin = v->end;
    while (begin > 0 && p[begin - 1] != '\n')
        begin--;
    return v->trailers || (v->head && memchr(p + begin, ';', v->end - begin) != NULL);
}

static struct view their_view(enum kind kind, const char *p, size_t n)
{
    static const llhttp_settings_t settings = {
        .on_headers_complete = on_head,
        .on_body = on_body,
        .on_chunk_header = on_chunk,
        .on_message_complete = on_message,
    };
    struct watcher w = {.kind = kind, .view = {.body = malloc(n + 1)}};
    llhttp_t parser;
    tg_assert(w.view.body != NULL);
    llhttp_init(&parser, kind == REQUEST ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
    parser.data = &w;
    enum llhttp_errno code = llhttp_execute(&parser, p, n);
    w.view.end = n;
    if (code != HPE_OK && llhttp_get_error_pos(&parser) != NULL)
        w.view.end = (size_t)(llhttp_get_error_pos(&parser) - p);
    w.view.refused = code != HPE_OK && code != HPE_PAUSED && code != HPE_PAUSED_UPGRADE;
    w.view.excused = w.view.refused && excuse(&w.view, p);
    if (code == HPE_OK && w.view.head && !w.view.message && !w.view.trailers &&
        llhttp_message_needs_eof(&parser))
        w.view.framing = TG_FRAMING_CLOSE;
    return w.view;
}

static void compare(const struct view *ours, const struct view *theirs)
{
    if (ours->refused || ours->skip)
        return;
    if (!ours->head || theirs->refused) { /* we look at field lines when all of them are there */
        tg_assert(!theirs->message && (!ours->message || theirs->excused));
        return;
    }
    tg_assert(theirs->head);
    tg_assert(ours->message == theirs->message);
    tg_assert((ours->framing == TG_FRAMING_CLOSE) == (theirs->framing == TG_FRAMING_CLOSE));
    tg_assert(ours->n == theirs->n && memcmp(ours->body, theirs->body, ours->n) == 0);
    if (ours->message)
        tg_assert(ours->end == theirs->end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    fuzz_begin();
    enum kind kind = (enum kind)(data[0] % KINDS);
    char *p = fuzz_copy((const char *)data + 1, size - 1); /* ours decodes in place */
    struct view ours = our_view(kind, p, size - 1);
    struct view theirs = their_view(kind, (const char *)data + 1, size - 1);
    compare(&ours, &theirs);
    free(ours.body);
    free(theirs.body);
    free(p);
    fuzz_end();
    return 0;
}
