/* h1_parse.c: the scan, the first line, the field lines, and the rules of framing.
 *
 * llhttp is the judge of first lines: of all but the usual ones, which it would take as they are.
 * It reads byte by byte through code that is large beside the rest of a request's, and behind the
 * scan, which has seen to line ends and controls, what is left to do for a usual line is to find
 * two spaces, and for a field a colon behind a token. spec/fuzz/framing_diff_fuzz.c holds the whole
 * against llhttp. */
#include "base/banned.h"
#include "http/h1_parse.h"

#include <llhttp.h>

/* ---- The scan ----------------------------------------------------------------------------------
 */

#ifdef __SSE2__

typedef unsigned char block __attribute__((vector_size(16)));
typedef char block_marks __attribute__((vector_size(16)));

/* Bit i of the result: byte i of the sixteen at `p` is below 0x20 or is 0x7f. */
static inline unsigned mark_controls(const char *p)
{
    block bytes;
    memcpy(&bytes, p, sizeof(bytes));
    block_marks marks = (block_marks)((bytes < (block){} + 0x20) | (bytes == (block){} + 0x7f));
    return (unsigned)__builtin_ia32_pmovmskb128(marks);
}

/* Moves `at` on by blocks up to the first control character; true when one was found. */
static inline bool skip_blocks(const char *p, size_t *at, size_t n)
{
    for (; *at + 16 <= n; *at += 16) {
        unsigned marks = mark_controls(p + *at);
        if (marks != 0) {
            *at += (unsigned)__builtin_ctz(marks);
            return true;
        }
    }
    return false;
}

/* How many letters and hyphens, of which nearly all names are made, are at `p`; some may be left
 * out at the end of its `n` bytes. */
static inline size_t count_usual(const char *p, size_t n)
{
    size_t at = 0;
    for (; at + 16 <= n; at += 16) {
        block bytes;
        memcpy(&bytes, p + at, sizeof(bytes));
        block letters = (bytes | 0x20) - 'a';
        block_marks usual = (block_marks)((letters < (block){} + 26) | (bytes == (block){} + '-'));
        unsigned others = ~(unsigned)__builtin_ia32_pmovmskb128(usual) & 0xffff;
        if (others != 0)
            return at + (unsigned)__builtin_ctz(others);
    }
    return at;
}

#else

static inline size_t count_usual(const char *p, size_t n)
{
    (void)p, (void)n;
    return 0;
}

#define ONES UINT64_C(0x0101010101010101)
#define HIGH UINT64_C(0x8080808080808080)

/* Marks (in bit 7) the bytes of `w` that are below 0x20 or are 0x7f. A borrow may mark a byte above
 * a true one too, so only the lowest mark is to be believed. */
static inline uint64_t mark_controls(uint64_t w)
{
    uint64_t x = w ^ (ONES * 0x7f);
    return ((w - ONES * 0x20) & ~w & HIGH) | ((x - ONES) & ~x & HIGH);
}

static inline bool skip_blocks(const char *p, size_t *at, size_t n)
{
    for (; *at + 8 <= n; *at += 8) {
        uint64_t w;
        memcpy(&w, p + *at, 8); /* little endian: the lowest byte is the first */
        uint64_t marks = mark_controls(w);
        if (marks != 0) {
            *at += (size_t)__builtin_ctzll(marks) / 8;
            return true;
        }
    }
    return false;
}

#endif

/* First position from `at` on that holds a control character, or n. */
static size_t next_control(const char *p, size_t at, size_t n)
{
    if (skip_blocks(p, &at, n))
        return at;
    while (at < n && ((unsigned char)p[at] >= 0x20 && p[at] != 0x7f))
        at++;
    return at;
}

/* p[at] ends a line that began at scan->line_start. */
static enum tg_scan_result end_line(struct tg_head_scan *scan, size_t at)
{
    bool empty = at == scan->line_start;
    scan->at = scan->line_start = (uint32_t)at + 2;
    if (!empty) {
        scan->lines++;
        return TG_SCAN_MORE;
    }
    if (scan->lines > 0)
        return TG_SCAN_DONE;
    scan->start = scan->at; /* an empty line before the first: RFC 9112, 2.2 */
    return TG_SCAN_MORE;
}

enum tg_scan_result tg_head_scan(struct tg_head_scan *scan, const char *p, size_t n,
                                 const char **why)
{
    for (;;) {
        size_t begin = scan->line_start;
        if (scan->at == begin && begin < n && (p[begin] == ' ' || p[begin] == '\t')) {
            *why = "folded line or space at the start of a line";
            return TG_SCAN_BAD;
        }
        size_t at = next_control(p, scan->at, n);
        scan->at = (uint32_t)at;
        if (at == n)
            return TG_SCAN_MORE;
        if (p[at] == '\t' && scan->lines > 0) {
            scan->at++;
            continue;
        }
        if (p[at] != '\r') {
            *why = p[at] == '\n' ? "bare LF in a head" : "control character in a head";
            return TG_SCAN_BAD;
        }
        if (at + 1 == n)
            return TG_SCAN_MORE;
        if (p[at + 1] != '\n') {
            *why = "bare CR in a head";
            return TG_SCAN_BAD;
        }
        if (end_line(scan, at) == TG_SCAN_DONE)
            return TG_SCAN_DONE;
    }
}

/* ---- The first line ----------------------------------------------------------------------------
 */

static int on_target(llhttp_t *parser, const char *p, size_t n)
{
    struct tg_str *target = parser->data;
    *target = tg_str(p, n);
    return 0;
}

static const llhttp_settings_t first_line_settings = {.on_url = on_target, .on_status = on_target};

/* What llhttp makes of a first line, its end included: `parser` holds what it says, `*target` its
 * target, or reason. */
static bool judge_first_line(llhttp_t *parser, llhttp_type_t type, struct tg_str line,
                             struct tg_str *target, struct tg_refusal *refusal)
{
    *target = tg_str("", 0);
    llhttp_init(parser, type, &first_line_settings);
    parser->data = target;
    enum llhttp_errno code = llhttp_execute(parser, line.p, line.n);
    if (code == HPE_OK)
        return true;
    if (code == HPE_INVALID_METHOD)
        return tg_head_refuse(refusal, 501, "method not known");
    if (code == HPE_INVALID_VERSION)
        return tg_head_refuse(refusal, 505, "HTTP version not supported");
    return tg_head_refuse(refusal, 400, "malformed head");
}

/* "HTTP/1.0" or "HTTP/1.1" and nothing else. */
static bool read_version(struct tg_str s, uint8_t *minor)
{
    bool good = s.n == 8 && memcmp(s.p, "HTTP/1.", 7) == 0 && (s.p[7] == '0' || s.p[7] == '1');
    *minor = good && s.p[7] == '1';
    return good;
}

/* A method, a target and a version with single spaces between them (RFC 9112, 3): llhttp lets more
 * spaces pass, and RTSP. */
static bool split_request_line(struct tg_str line, struct tg_request_head *h)
{
    size_t first = tg_str_find(line, ' ', 0);
    size_t second = tg_str_find(line, ' ', first + 1);
    h->method_name = tg_str_sub(line, 0, first);
    h->target = tg_str_sub(line, first + 1, second);
    h->major = 1;
    h->method = tg_method_from_name(h->method_name);
    return h->target.n > 0 && line.n >= 2 &&
           read_version(tg_str_sub(line, second + 1, line.n - 2), &h->minor);
}

static bool read_request_line(struct tg_str line, struct tg_request_head *h,
                              struct tg_refusal *refusal)
{
    llhttp_t parser;
    struct tg_str target;
    bool good = split_request_line(line, h);
    if (TG_LIKELY(good && h->method != TG_METHOD_OTHER && h->target.p[0] == '/'))
        return true;
    if (!tg_str_is_token(h->method_name)) /* what logs and plugins see of it */
        h->method_name = h->target = (struct tg_str){NULL, 0};
    if (!judge_first_line(&parser, HTTP_REQUEST, line, &target, refusal))
        return false;
    if (parser.http_major != 1 || parser.http_minor > 1)
        return tg_head_refuse(refusal, 505, "HTTP version not supported");
    if (parser.method == HTTP_PRI) /* reserved: RFC 9113, 3.4 */
        return tg_head_refuse(refusal, 501, "method not known");
    return (good && tg_str_eq(target, h->target)) ||
           tg_head_refuse(refusal, 400, "malformed request line");
}

/* A version, three digits and a reason. */
static bool split_status_line(struct tg_str line, struct tg_response_head *h)
{
    if (line.n < sizeof("HTTP/1.1 200 -\r\n") - 1 || line.p[8] != ' ' || line.p[12] != ' ' ||
        line.p[13] == ' ' || !read_version(tg_str_sub(line, 0, 8), &h->minor))
        return false;
    for (size_t i = 9; i < 12; i++) {
        if (line.p[i] < '0' || line.p[i] > '9')
            return false;
        h->status = 10 * h->status + (unsigned)(line.p[i] - '0');
    }
    h->reason = tg_str_sub(line, 13, line.n - 2);
    return true;
}

static bool read_status_line(struct tg_str line, struct tg_response_head *h,
                             struct tg_refusal *refusal)
{
    llhttp_t parser;
    if (TG_LIKELY(split_status_line(line, h)))
        return true;
    if (!judge_first_line(&parser, HTTP_RESPONSE, line, &h->reason, refusal))
        return tg_head_refuse(refusal, 502, "origin: malformed head");
    if (parser.http_major != 1 || parser.http_minor > 1)
        return tg_head_refuse(refusal, 502, "origin: HTTP version not supported");
    h->minor = parser.http_minor;
    h->status = parser.status_code;
    return true;
}

/* The first line of a head, its end included. */
static struct tg_str first_line_of(struct tg_str head)
{
    return tg_str_sub(head, 0, tg_str_find(head, '\n', 0) + 1);
}

/* ---- Field lines -------------------------------------------------------------------------------
 */

/* Length of the name in front of a colon, with which `line` has to begin; 0: there is none. More
 * lines may stand behind it: the end of one is part of no name. */
static inline size_t read_name(struct tg_str line)
{
    size_t n = count_usual(line.p, line.n);
    while (n < line.n && tg_char_is(line.p[n], TG_CHAR_TOKEN))
        n++;
    return n < line.n && line.p[n] == ':' ? n : 0;
}

/* The fields of a head behind its first line. What stands in values has been looked at by the scan,
 * which let nothing pass that may not be there. */
static bool read_fields(struct tg_str rest, uint32_t max_fields, struct tg_fields *fields,
                        struct tg_refusal *refusal)
{
    while (rest.n > 2) { /* the empty line */
        size_t name_n = read_name(rest);
        if (name_n == 0)
            return tg_head_refuse(refusal, 400, "line that is no \"name: value\"");
        struct tg_str name = {rest.p, name_n};
        struct tg_str value = {rest.p + name_n + 1, rest.n - name_n - 1};
        size_t end = tg_str_find(value, '\r', 0);
        rest = tg_str_sub(value, end + 2, value.n);
        value.n = end;
        if (fields->n >= max_fields)
            return tg_head_refuse(refusal, 431, "too many header fields");
        if (tg_fields_add(fields, name, tg_str_trim(value)) != TG_OK)
            return tg_head_refuse(refusal, 503, "out of memory for the head");
    }
    return true;
}

/* ---- Rules that both directions share ----------------------------------------------------------
 */

/* A tab behind a value, in the line of a field that says where a message ends: llhttp, and others,
 * take it for a part of the value, which is a way to disagree. */
static bool has_tab_behind(const struct tg_fields *fields, enum tg_field_id id)
{
    const struct tg_field *f = tg_fields_find_id(fields, id);
    const char *p = f != NULL ? f->value.p + f->value.n : "";
    while (*p == ' ')
        p++;
    return *p == '\t';
}

/* As tg_head_read_length, for the lines of a head. */
static bool read_length(const struct tg_fields *fields, uint64_t *length, bool *given)
{
    return tg_head_read_length(fields, length, given) &&
           !(*given && has_tab_behind(fields, TG_FIELD_CONTENT_LENGTH));
}

/* Transfer-Encoding: exactly "chunked", once (RFC 9112, 6.1 allows others before it; nobody who
 * speaks to a gateway sends them, and each is a way to disagree about the body). */
static bool read_chunked(const struct tg_fields *fields, bool *given)
{
    const struct tg_field *f = tg_fields_find_id(fields, TG_FIELD_TRANSFER_ENCODING);
    *given = f != NULL;
    if (f == NULL)
        return true;
    return tg_fields_next_field(fields, f, f) == NULL &&
           tg_str_eq_nocase(f->value, TG_STR("chunked")) &&
           !has_tab_behind(fields, TG_FIELD_TRANSFER_ENCODING);
}

static bool read_keep_alive(const struct tg_fields *fields, unsigned minor)
{
    if (tg_fields_find_id(fields, TG_FIELD_CONNECTION) == NULL)
        return minor >= 1;
    if (tg_fields_list_has(fields, TG_FIELD_CONNECTION, TG_STR("close")))
        return false;
    return minor >= 1 || tg_fields_list_has(fields, TG_FIELD_CONNECTION, TG_STR("keep-alive"));
}

/* ---- Requests ----------------------------------------------------------------------------------
 */

static bool read_request_framing(struct tg_request_head *h, struct tg_refusal *refusal)
{
    bool has_length;
    bool chunked;
    if (!read_length(&h->fields, &h->length, &has_length))
        return tg_head_refuse(refusal, 400,
                              "Content-Length is repeated, no number, or has a tab behind it");
    if (!read_chunked(&h->fields, &chunked))
        return tg_head_refuse(
            refusal, 400, "Transfer-Encoding is not a single \"chunked\", or has a tab behind it");
    if (has_length && chunked)
        return tg_head_refuse(refusal, 400, "both Content-Length and Transfer-Encoding");
    if (chunked && h->minor == 0)
        return tg_head_refuse(refusal, 400, "Transfer-Encoding in HTTP/1.0");
    h->framing = chunked                       ? TG_FRAMING_CHUNKED
                 : has_length && h->length > 0 ? TG_FRAMING_LENGTH
                                               : TG_FRAMING_NONE;
    return true;
}

/* Whether Upgrade names a protocol that carries requests: HTTP/2 (h2c), or HTTP under TLS (RFC
 * 2817). Behind the switch they would reach the origin past routes and plugins. */
static bool carries_requests(const struct tg_fields *fields)
{
    static const struct tg_str names[] = {{"h2c", 3}, {"h2", 2}, {"http", 4}, {"tls", 3}};
    for (uint32_t i = 0; i < fields->n; i++) {
        struct tg_str list = fields->v[i].value;
        struct tg_str item;
        if (fields->v[i].id != TG_FIELD_UPGRADE)
            continue;
        while (tg_str_next_item(&list, &item)) {
            struct tg_str name = tg_str_trim(tg_str_sub(item, 0, tg_str_find(item, '/', 0)));
            for (size_t k = 0; k < TG_COUNT_OF(names); k++) {
                if (tg_str_eq_nocase(name, names[k]))
                    return true;
            }
        }
    }
    return false;
}

static void read_wishes(struct tg_request_head *h)
{
    h->keep_alive = read_keep_alive(&h->fields, h->minor);
    if (h->minor == 0)
        return;
    h->expect_continue = h->framing != TG_FRAMING_NONE &&
                         tg_fields_list_has(&h->fields, TG_FIELD_EXPECT, TG_STR("100-continue"));
    h->te_trailers = tg_fields_list_has(&h->fields, TG_FIELD_TE, TG_STR("trailers"));
    h->upgrade = h->framing == TG_FRAMING_NONE &&
                 tg_fields_find_id(&h->fields, TG_FIELD_UPGRADE) != NULL &&
                 tg_fields_list_has(&h->fields, TG_FIELD_CONNECTION, TG_STR("upgrade")) &&
                 !carries_requests(&h->fields);
}

bool tg_h1_parse_request(const char *p, size_t n, const struct tg_head_limits *limits,
                         struct tg_arena *arena, struct tg_request_head *out,
                         struct tg_refusal *refusal)
{
    struct tg_str head = tg_str(p, n);
    struct tg_str line = first_line_of(head);
    *out = (struct tg_request_head){0};
    tg_fields_init(&out->fields, arena);
    if (!read_request_line(line, out, refusal) ||
        !read_fields(tg_str_sub(head, line.n, n), limits->fields, &out->fields, refusal))
        return false;
    if (!tg_head_read_target(limits, arena, out, refusal) || !tg_head_read_host(out, refusal) ||
        !read_request_framing(out, refusal))
        return false;
    read_wishes(out);
    return true;
}

/* ---- Responses ---------------------------------------------------------------------------------
 */

static bool has_no_body(unsigned status, enum tg_method method)
{
    return method == TG_METHOD_HEAD || status < 200 || status == 204 || status == 304 ||
           (method == TG_METHOD_CONNECT && status < 300);
}

static bool read_response_framing(struct tg_response_head *h, enum tg_method method,
                                  struct tg_refusal *refusal)
{
    bool chunked;
    if (!read_length(&h->fields, &h->length, &h->has_length))
        return tg_head_refuse(
            refusal, 502, "origin: Content-Length is repeated, no number, or has a tab behind it");
    if (!read_chunked(&h->fields, &chunked))
        return tg_head_refuse(
            refusal, 502,
            "origin: Transfer-Encoding is not a single \"chunked\", or has a tab behind it");
    if (h->has_length && chunked)
        return tg_head_refuse(refusal, 502, "origin: both Content-Length and Transfer-Encoding");
    if (chunked && h->minor == 0)
        return tg_head_refuse(refusal, 502, "origin: Transfer-Encoding in HTTP/1.0");
    if (has_no_body(h->status, method))
        h->framing = TG_FRAMING_NONE;
    else if (chunked)
        h->framing = TG_FRAMING_CHUNKED;
    else if (h->has_length)
        h->framing = h->length > 0 ? TG_FRAMING_LENGTH : TG_FRAMING_NONE;
    else
        h->framing = TG_FRAMING_CLOSE;
    return true;
}

bool tg_h1_parse_response(const char *p, size_t n, const struct tg_head_limits *limits,
                          enum tg_method method, struct tg_arena *arena,
                          struct tg_response_head *out, struct tg_refusal *refusal)
{
    struct tg_str head = tg_str(p, n);
    struct tg_str line = first_line_of(head);
    *out = (struct tg_response_head){0};
    tg_fields_init(&out->fields, arena);
    if (!read_status_line(line, out, refusal))
        return false;
    if (!read_fields(tg_str_sub(head, line.n, n), limits->fields, &out->fields, refusal)) {
        if (refusal->status != 503)
            *refusal = (struct tg_refusal){502, "origin: malformed head or too many fields"};
        return false;
    }
    if (out->status < 100 || out->status > 599)
        return tg_head_refuse(refusal, 502, "origin: status code out of range");
    if (!read_response_framing(out, method, refusal))
        return false;
    out->keep_alive = out->framing != TG_FRAMING_CLOSE && read_keep_alive(&out->fields, out->minor);
    return true;
}

/* ---- Trailers ----------------------------------------------------------------------------------
 */

bool tg_h1_parse_trailers(const char *p, size_t n, uint32_t max_fields, struct tg_arena *arena,
                          struct tg_fields *out)
{
    struct tg_str rest = tg_str(p, n);
    uint32_t count = 0;
    tg_fields_init(out, arena);
    while (rest.n > 2) {
        size_t end = tg_str_find(rest, '\n', 0);
        struct tg_str line = tg_str_sub(rest, 0, end - 1);
        size_t name_n = read_name(line);
        struct tg_str name = tg_str_sub(line, 0, name_n);
        struct tg_str value = tg_str_trim(tg_str_sub(line, name_n + 1, line.n));
        if (end == rest.n || name_n == 0 || !tg_str_all(value, TG_CHAR_VALUE))
            return false;
        if (++count > max_fields)
            return false;
        if (tg_field_may_trail(tg_field_id(name)) && tg_fields_add(out, name, value) != TG_OK)
            return false;
        rest = tg_str_sub(rest, end + 1, rest.n);
    }
    return true;
}
