/* token.c: the tables behind token.h. The classes are spelled out as ranges in a constructor-free
 * form: each entry is computed by the preprocessor from the byte's value. */
#include "base/banned.h"
#include "http/token.h"

#define DIGIT(c) ((c) >= '0' && (c) <= '9')
#define ALPHA(c) (((c) >= 'a' && (c) <= 'z') || ((c) >= 'A' && (c) <= 'Z'))
#define ALNUM(c) (DIGIT(c) || ALPHA(c))
#define ONE_OF5(c, a, b, d, e, f)                                                                  \
    ((c) == (a) || (c) == (b) || (c) == (d) || (c) == (e) || (c) == (f))
#define TCHAR(c)                                                                                   \
    (ALNUM(c) || ONE_OF5(c, '!', '#', '$', '%', '&') || ONE_OF5(c, '\'', '*', '+', '-', '.') ||    \
     ONE_OF5(c, '^', '_', '`', '|', '~'))
#define VISIBLE(c)    ((c) > 0x20 && (c) < 0x7f)
#define UNRESERVED(c) (ALNUM(c) || (c) == '-' || (c) == '.' || (c) == '_' || (c) == '~')
#define HOSTCHAR(c)                                                                                \
    (UNRESERVED(c) || ONE_OF5(c, '!', '$', '&', '\'', '(') ||                                      \
     ONE_OF5(c, ')', '*', '+', ',', ';') || (c) == '=' || (c) == '%')
#define HEX(c)    (DIGIT(c) || ((c) >= 'a' && (c) <= 'f') || ((c) >= 'A' && (c) <= 'F'))
#define COOKIE(c) (VISIBLE(c) && (c) != '"' && (c) != ',' && (c) != ';' && (c) != '\\')

#define C1(c)                                                                                      \
    (unsigned char)((TCHAR(c) ? TG_CHAR_TOKEN : 0) |                                               \
                    (VISIBLE(c) && (c) != '#' ? TG_CHAR_TARGET : 0) |                              \
                    (HOSTCHAR(c) ? TG_CHAR_HOST : 0) |                                             \
                    (VISIBLE(c) || (c) == ' ' || (c) == '\t' || (c) >= 0x80 ? TG_CHAR_VALUE : 0) | \
                    (UNRESERVED(c) ? TG_CHAR_UNRESERVED : 0) | (HEX(c) ? TG_CHAR_HEX : 0) |        \
                    (COOKIE(c) ? TG_CHAR_COOKIE : 0))
#define C4(c)  C1(c), C1((c) + 1), C1((c) + 2), C1((c) + 3)
#define C16(c) C4(c), C4((c) + 4), C4((c) + 8), C4((c) + 12)
#define C64(c) C16(c), C16((c) + 16), C16((c) + 32), C16((c) + 48)

const unsigned char tg_char_classes[256] = {C64(0), C64(64), C64(128), C64(192)};

bool tg_str_is_value(struct tg_str s)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    size_t i = 0;
    for (; i + 8 <= s.n; i += 8) {
        uint64_t w;
        memcpy(&w, s.p + i, 8);
        uint64_t del = w ^ (ones * 0x7f);
        uint64_t marks = ((w - ones * 0x20) & ~w) | ((del - ones) & ~del);
        if (marks & (ones << 7)) /* perhaps: a tab is fine, and a mark may be a neighbour's */
            break;
    }
    return tg_str_all(tg_str_sub(s, i, s.n), TG_CHAR_VALUE);
}

static const struct tg_str method_names[] = {
    [TG_METHOD_GET] = {"GET", 3},         [TG_METHOD_HEAD] = {"HEAD", 4},
    [TG_METHOD_POST] = {"POST", 4},       [TG_METHOD_PUT] = {"PUT", 3},
    [TG_METHOD_DELETE] = {"DELETE", 6},   [TG_METHOD_PATCH] = {"PATCH", 5},
    [TG_METHOD_OPTIONS] = {"OPTIONS", 7}, [TG_METHOD_CONNECT] = {"CONNECT", 7},
    [TG_METHOD_TRACE] = {"TRACE", 5},
};

enum tg_method tg_method_from_name(struct tg_str name)
{
    for (unsigned i = 0; i < TG_COUNT_OF(method_names); i++) {
        if (tg_str_eq(method_names[i], name))
            return (enum tg_method)i;
    }
    return TG_METHOD_OTHER;
}

bool tg_method_is_idempotent(enum tg_method method)
{
    switch (method) {
    case TG_METHOD_GET:
    case TG_METHOD_HEAD:
    case TG_METHOD_PUT:
    case TG_METHOD_DELETE:
    case TG_METHOD_OPTIONS:
    case TG_METHOD_TRACE:
        return true;
    default:
        return false;
    }
}

const char *tg_status_reason(unsigned status)
{
    static const struct {
        unsigned status;
        const char *reason;
    } reasons[] = {
#define TG_STATUS(code, text) {code, text},
#include "http/status.def"
#undef TG_STATUS
    };
    if (status == 200)
        return "OK";
    for (size_t i = 0; i < TG_COUNT_OF(reasons); i++) {
        if (reasons[i].status == status)
            return reasons[i].reason;
    }
    return "Unknown";
}
