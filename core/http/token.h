/* token.h: the character classes and method names of RFC 9110.
 *
 * Pure lookups in static tables; nothing to own, any thread.
 */
#ifndef TG_HTTP_TOKEN_H
#define TG_HTTP_TOKEN_H

#include "base/str.h"

enum tg_char_class {
    TG_CHAR_TOKEN = 1,       /* tchar: RFC 9110, 5.6.2 */
    TG_CHAR_TARGET = 2,      /* what may stand in a request target: visible ASCII but '#' */
    TG_CHAR_HOST = 4,        /* reg-name: RFC 3986, 3.2.2, percent signs included */
    TG_CHAR_VALUE = 8,       /* field value: visible ASCII, space, tab, 0x80..0xff: RFC 9110, 5.5 */
    TG_CHAR_UNRESERVED = 16, /* RFC 3986, 2.3 */
    TG_CHAR_HEX = 32,
    TG_CHAR_COOKIE = 64, /* cookie-octet: RFC 6265, 4.1.1 */
};

extern const unsigned char tg_char_classes[256];

static inline bool tg_char_is(char c, enum tg_char_class cls)
{
    return (tg_char_classes[(unsigned char)c] & cls) != 0;
}

/* True when every byte of `s` is of the class; the empty slice is. */
static inline bool tg_str_all(struct tg_str s, enum tg_char_class cls)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!tg_char_is(s.p[i], cls))
            return false;
    }
    return true;
}

/* A non-empty token. */
static inline bool tg_str_is_token(struct tg_str s)
{
    return s.n > 0 && tg_str_all(s, TG_CHAR_TOKEN);
}

/* A field value: no control characters but tabs. Words of eight bytes, for values are long. */
bool tg_str_is_value(struct tg_str s);

/* Methods that the gateway tells apart; the others are TG_METHOD_OTHER and go by their name. */
enum tg_method {
    TG_METHOD_GET,
    TG_METHOD_HEAD,
    TG_METHOD_POST,
    TG_METHOD_PUT,
    TG_METHOD_DELETE,
    TG_METHOD_PATCH,
    TG_METHOD_OPTIONS,
    TG_METHOD_CONNECT,
    TG_METHOD_TRACE,
    TG_METHOD_OTHER,
    TG_METHODS
};

enum tg_method tg_method_from_name(struct tg_str name);

/* RFC 9110, 9.2.2: repeating it has the effect of doing it once. */
bool tg_method_is_idempotent(enum tg_method method);

/* Reason phrase of a status code, "Unknown" when it is not registered. Static storage. */
const char *tg_status_reason(unsigned status);

#endif
