/*
 * Chunked bodies: decoding in one piece, in pieces that the input chooses, and by a decoder that is
 * written as plainly as the grammar must agree on the verdict, the body and where it ends.
 *
 * Input: the first byte is the seed of the pieces, the rest is the body.
 */
#include "http/h1_body.h"
#include "http_fuzz.h"

#define MAX_FIELDS  8
#define MAX_TRAILER 256

struct outcome {
    enum tg_body_result result;
    size_t used;
    size_t n;
    char *body;
};

static struct outcome decode(const char *p, size_t n, unsigned seed)
{
    struct outcome out = {.result = TG_BODY_MORE, .body = malloc(n + 1)};
    struct tg_h1_body body;
    size_t at = 0;
    tg_assert(out.body != NULL);
    tg_h1_body_init(&body, TG_FRAMING_CHUNKED, 0, &arena, MAX_FIELDS, MAX_TRAILER);
    while (at < n && out.result == TG_BODY_MORE) {
        struct tg_str data;
        size_t used;
        size_t step = seed == 0 ? n : 1 + (seed = seed * 1103515245 + 12345) / 65536 % 13;
        size_t piece_n = TG_MIN(n - at, step);
        char *piece = fuzz_copy(p + at, piece_n);
        out.result = tg_h1_body_decode(&body, piece, piece_n, &used, &data);
        tg_assert(used <= piece_n && fuzz_within(data, piece, used));
        if (out.result != TG_BODY_BAD) {
            memcpy(out.body + out.n, data.p, data.n);
            out.n += data.n;
            tg_assert(body.seen == out.n);
        }
        out.used = at + used;
        at += piece_n;
        free(piece);
    }
    return out;
}

/* ---- The plain decoder -------------------------------------------------------------------------
 */

struct reader {
    const char *p;
    size_t n;
    size_t at;
    bool bad;
    bool more;
};

/* Next byte, or -1 when there is none. */
static int next(struct reader *r)
{
    if (r->at == r->n) {
        r->more = true;
        return -1;
    }
    return (unsigned char)r->p[r->at++];
}

static bool want(struct reader *r, int c)
{
    int got = next(r);
    if (got >= 0 && got != c)
        r->bad = true;
    return got == c;
}

/* A token that is not empty; the byte behind it, or -1. */
static int read_token(struct reader *r, int c)
{
    if (c >= 0 && !tg_char_is((char)c, TG_CHAR_TOKEN))
        r->bad = true;
    while (c >= 0 && tg_char_is((char)c, TG_CHAR_TOKEN))
        c = next(r);
    return c;
}

static int read_quoted(struct reader *r)
{
    int c = next(r);
    while (c >= 0 && c != '"' && c != '\\' && tg_char_is((char)c, TG_CHAR_VALUE))
        c = next(r);
    if (c >= 0 && c != '"')
        r->bad = true;
    return c == '"' ? next(r) : -1;
}

/* Extensions behind a ";", by recursive descent; the CR behind them, or -1. */
static int read_extensions(struct reader *r, size_t *extension)
{
    size_t begin = r->at;
    int c = ';';
    while (c == ';' && !r->bad) {
        c = read_token(r, next(r));
        if (c != '=' || r->bad)
            continue;
        c = next(r);
        c = c == '"' ? read_quoted(r) : read_token(r, c);
    }
    *extension += r->at - begin;
    if ((c >= 0 && c != '\r') || *extension > 4096)
        r->bad = true;
    return r->bad ? -1 : c;
}

static bool read_size(struct reader *r, uint64_t *size, size_t *extension)
{
    unsigned digits = 0;
    int c;
    *size = 0;
    for (c = next(r); c >= 0 && tg_char_is((char)c, TG_CHAR_HEX); c = next(r)) {
        *size = *size * 16 + (uint64_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
        if (++digits > 15) {
            r->bad = true;
            return false;
        }
    }
    if (c >= 0 && (digits == 0 || (c != ';' && c != '\r'))) {
        r->bad = true;
        return false;
    }
    if (c == ';')
        c = read_extensions(r, extension);
    return c == '\r' && want(r, '\n');
}

/* Reads up to the last chunk's size line; the trailers are left to the decoder's own tests. */
static size_t plain_chunks(struct reader *r, char *out)
{
    size_t n = 0;
    size_t extension = 0;
    uint64_t size;
    while (read_size(r, &size, &extension) && size > 0) {
        size_t here = (size_t)TG_MIN(size, (uint64_t)(r->n - r->at));
        memcpy(out + n, r->p + r->at, here);
        n += here;
        r->at += here;
        r->more = here < size;
        if (r->more || !want(r, '\r') || !want(r, '\n'))
            break;
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    fuzz_begin();
    const char *p = (const char *)data + 1;
    size_t n = size - 1;
    struct outcome whole = decode(p, n, 0);
    struct outcome parts = decode(p, n, data[0] + 1u);
    struct reader r = {.p = p, .n = n};
    char *plain = malloc(n + 1);
    tg_assert(plain != NULL);
    size_t plain_n = plain_chunks(&r, plain);

    tg_assert(whole.result == parts.result);
    if (r.bad)
        tg_assert(whole.result == TG_BODY_BAD);
    if (r.more)
        tg_assert(whole.result == TG_BODY_MORE);
    if (whole.result != TG_BODY_BAD) {
        tg_assert(whole.used == parts.used && whole.n == parts.n && whole.n == plain_n);
        tg_assert(memcmp(whole.body, parts.body, whole.n) == 0);
        tg_assert(memcmp(whole.body, plain, whole.n) == 0);
    }
    free(plain);
    free(whole.body);
    free(parts.body);
    fuzz_end();
    return 0;
}
