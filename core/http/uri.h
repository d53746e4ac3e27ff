/* uri.h: request targets (RFC 9112, 3.2; RFC 3986).
 *
 * Normalised once, and the result is what the router, plugins and origins all see, so that no rule
 * is passed by another spelling:
 *   - percent-encoded unreserved characters are decoded (RFC 3986, 6.2.2.2), other encodings stay
 *     and get upper-case digits; an encoded slash therefore stays encoded and separates nothing;
 *   - "." and ".." segments are removed (5.2.4), encoded dots included;
 *   - doubled slashes stay, or are merged first where the listener says so.
 * Reserved characters keep the spelling in which they came, since "a;b" and "a%3Bb" may differ.
 * Refused: a "%" without two hex digits, an encoded NUL, escapes of bytes that are no UTF-8
 * (overlong forms, surrogates and stray bytes among them), ".." above the root, bytes that are not
 * visible ASCII.
 */
#ifndef TG_HTTP_URI_H
#define TG_HTTP_URI_H

#include "base/arena.h"
#include "base/err.h"

/* Normalises the path `raw` (it starts with "/"); `merge`: doubled slashes count as one. `*out` is
 * `raw` itself when nothing changes, else in the arena. Normalising the result changes nothing.
 * TG_E_INVALID for what is refused, TG_E_NOMEM. */
enum tg_err tg_uri_normalise_path(struct tg_str raw, bool merge, struct tg_arena *arena,
                                  struct tg_str *out) TG_MUST_USE;

/* Splits "host[:port]" (RFC 9110, 7.2). Host: a reg-name, IPv4 address or "[IPv6]", not empty; the
 * port 0..65535, 0 when absent or empty. TG_E_INVALID. */
enum tg_err tg_uri_split_authority(struct tg_str authority, struct tg_str *host,
                                   uint16_t *port) TG_MUST_USE;

/* Decodes percent-encoding (and "+" as a space where `plus`) into `arena`. Malformed escapes are
 * kept as they are. p == NULL: no memory. */
struct tg_str tg_uri_decode(struct tg_str s, bool plus, struct tg_arena *arena) TG_MUST_USE;

/* The same into `out`, which has s.n bytes; how many it makes. */
size_t tg_uri_decode_into(struct tg_str s, bool plus, char *out);

/* Whether `s` stands for `text`. Allocates nothing. */
bool tg_uri_decodes_to(struct tg_str s, bool plus, struct tg_str text);

/* Appends `s` percent-encoded, unreserved characters and those of `keep` as they are. */
struct tg_fmt;
void tg_uri_encode(struct tg_fmt *f, struct tg_str s, const char *keep);

/* Takes the next "name=value" off a query string; both stay encoded. False at the end. */
bool tg_uri_next_param(struct tg_str *query, struct tg_str *name, struct tg_str *value);

#endif
