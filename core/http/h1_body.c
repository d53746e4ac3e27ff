/* h1_body.c: the chunk machine.
 *
 *   SIZE -> [extensions] -> SIZE_LF -> DATA -> DATA_CR -> DATA_LF -> SIZE ...
 *                              \ size 0 -> TRAILER -> done
 *
 *   extensions: EXT_START -> EXT_NAME -> EXT_VALUE -> EXT_TOKEN, or EXT_QUOTED -> EXT_END; and
 * again from EXT_START after ";"
 */
#include "base/banned.h"
#include "http/h1_body.h"

enum chunk_state {
    SIZE,
    EXT_START,
    EXT_NAME,
    EXT_VALUE,
    EXT_TOKEN,
    EXT_QUOTED,
    EXT_END,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER,
    DONE
};

#define SIZE_DIGITS_MAX 15
#define EXTENSION_MAX   4096

void tg_h1_body_init(struct tg_h1_body *body, enum tg_framing framing, uint64_t length,
                     struct tg_arena *arena, uint32_t max_fields, uint32_t max_trailer)
{
    *body = (struct tg_h1_body){
        .framing = framing,
        .left = framing == TG_FRAMING_LENGTH ? length : 0,
        .state = SIZE,
        .max_fields = max_fields,
        .max_trailer = max_trailer,
        .arena = arena,
        .scan = {.lines = 1}, /* field lines only, and the empty line may be the first */
    };
    tg_fields_init(&body->trailers, arena);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = tg_char_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A byte of the line that holds the chunk's size; false when it may not stand there. */
static bool size_byte(struct tg_h1_body *b, char c)
{
    int digit = hex_digit(c);
    if (digit >= 0) {
        b->left = b->left * 16 + (uint64_t)digit;
        return ++b->size_digits <= SIZE_DIGITS_MAX;
    }
    if (b->size_digits == 0)
        return false;
    b->state = c == '\r' ? SIZE_LF : EXT_START;
    return c == '\r' || c == ';';
}

/* A byte of the extensions (RFC 9112, 7.1.1), which say nothing to us: checked and dropped. Without
 * spaces, empty parts, and escapes in quotes, about which parsers do not agree. */
static bool extension_byte(struct tg_h1_body *b, char c)
{
    if (++b->extension > EXTENSION_MAX)
        return false;
    if (b->state == EXT_QUOTED) {
        if (c == '"')
            b->state = EXT_END;
        return c != '\\' && tg_char_is(c, TG_CHAR_VALUE);
    }
    bool whole = b->state == EXT_NAME || b->state == EXT_TOKEN || b->state == EXT_END;
    if (whole && (c == '\r' || c == ';'))
        b->state = c == ';' ? EXT_START : SIZE_LF;
    else if (c == '=' && b->state == EXT_NAME)
        b->state = EXT_VALUE;
    else if (c == '"' && b->state == EXT_VALUE)
        b->state = EXT_QUOTED;
    else if (b->state == EXT_END || !tg_char_is(c, TG_CHAR_TOKEN))
        return false;
    else if (b->state == EXT_START)
        b->state = EXT_NAME;
    else if (b->state == EXT_VALUE)
        b->state = EXT_TOKEN;
    return true;
}

static bool size_line_end(struct tg_h1_body *b, char c)
{
    b->state = b->left > 0 ? DATA : TRAILER;
    return c == '\n';
}

static bool framing_byte(struct tg_h1_body *b, char c)
{
    switch ((enum chunk_state)b->state) {
    case SIZE:
        return size_byte(b, c);
    case EXT_START:
    case EXT_NAME:
    case EXT_VALUE:
    case EXT_TOKEN:
    case EXT_QUOTED:
    case EXT_END:
        return extension_byte(b, c);
    case SIZE_LF:
        return size_line_end(b, c);
    case DATA_CR:
        b->state = DATA_LF;
        return c == '\r';
    case DATA_LF:
        b->state = SIZE;
        b->left = 0;
        b->size_digits = 0;
        return c == '\n';
    default:
        return false;
    }
}

/* Keeps trailer bytes in the arena, because they may come in pieces. */
static bool keep_trailer(struct tg_h1_body *b, const char *p, size_t n)
{
    if (b->trailer_n + n > b->max_trailer)
        return false;
    if (b->trailer_n + n > b->trailer_cap) {
        size_t cap = TG_MAX((size_t)b->trailer_cap * 2, TG_MAX(n + b->trailer_n, 256));
        char *grown = tg_arena_alloc(b->arena, cap);
        if (grown == NULL)
            return false;
        if (b->trailer_n > 0)
            memcpy(grown, b->trailer, b->trailer_n);
        b->trailer = grown;
        b->trailer_cap = (uint32_t)cap;
    }
    memcpy(b->trailer + b->trailer_n, p, n);
    b->trailer_n += (uint32_t)n;
    return true;
}

/* Takes trailer bytes up to the empty line that ends the message. */
static enum tg_body_result decode_trailer(struct tg_h1_body *b, const char *p, size_t n,
                                          size_t *used)
{
    const char *why;
    uint32_t before = b->trailer_n;
    size_t part = TG_MIN(n, (size_t)(b->max_trailer - b->trailer_n));
    *used = part;
    if (part == 0 || !keep_trailer(b, p, part))
        return TG_BODY_BAD;
    switch (tg_head_scan(&b->scan, b->trailer, b->trailer_n, &why)) {
    case TG_SCAN_MORE:
        return b->trailer_n < b->max_trailer ? TG_BODY_MORE : TG_BODY_BAD;
    case TG_SCAN_BAD:
        return TG_BODY_BAD;
    case TG_SCAN_DONE:
        break;
    }
    *used = b->scan.at - before;
    b->state = DONE;
    bool ok = tg_h1_parse_trailers(b->trailer, b->scan.at, b->max_fields, b->arena, &b->trailers);
    return ok ? TG_BODY_END : TG_BODY_BAD;
}

static enum tg_body_result decode_chunked(struct tg_h1_body *b, char *p, size_t n, size_t *used,
                                          struct tg_str *data)
{
    char *out = NULL; /* where the next decoded byte goes */
    size_t i = 0;
    *used = n;
    while (i < n) {
        if (b->state == TRAILER) {
            size_t taken;
            enum tg_body_result result = decode_trailer(b, p + i, n - i, &taken);
            *used = i + taken;
            return result;
        }
        if (b->state != DATA) {
            if (!framing_byte(b, p[i++]))
                return TG_BODY_BAD;
            continue;
        }
        size_t run = (size_t)TG_MIN(b->left, (uint64_t)(n - i));
        if (out == NULL) {
            data->p = p + i;
            out = p + i;
        }
        if (out != p + i)
            memmove(out, p + i, run);
        out += run;
        data->n += run;
        i += run;
        b->left -= run;
        if (b->left == 0)
            b->state = DATA_CR;
    }
    return TG_BODY_MORE;
}

enum tg_body_result tg_h1_body_decode(struct tg_h1_body *body, char *p, size_t n, size_t *used,
                                      struct tg_str *data)
{
    enum tg_body_result result = TG_BODY_MORE;
    *data = tg_str(p, 0);
    *used = 0;
    switch (body->framing) {
    case TG_FRAMING_NONE:
        return TG_BODY_END;
    case TG_FRAMING_LENGTH:
        data->n = *used = (size_t)TG_MIN(body->left, (uint64_t)n);
        body->left -= *used;
        result = body->left == 0 ? TG_BODY_END : TG_BODY_MORE;
        break;
    case TG_FRAMING_CLOSE:
        data->n = *used = n;
        break;
    case TG_FRAMING_CHUNKED:
        result = body->state == DONE ? TG_BODY_END : decode_chunked(body, p, n, used, data);
        break;
    }
    body->seen += data->n;
    return result;
}

bool tg_h1_body_end(struct tg_h1_body *body)
{
    return body->framing == TG_FRAMING_CLOSE || body->framing == TG_FRAMING_NONE;
}
