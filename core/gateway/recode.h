/* recode.h: what a head says of the bytes of a body that is decoded or encoded on its way.
 *
 * Fields of the old bytes (RFC 9110) go: Content-Encoding (8.4), byte ranges (14.3), digests
 * (RFC 9530; the older Digest and Content-MD5). A strong entity tag becomes a weak one (8.8.3): the
 * content is equivalent, its bytes are not. Digests may come in trailers too; those go as well.
 *
 * Lists are edited in place: the caller owns them. Memory comes from their arena.
 */
#ifndef TG_GATEWAY_RECODE_H
#define TG_GATEWAY_RECODE_H

#include "http/field.h"

/* Drops what speaks of the bytes as they were. */
void tg_recode_drop(struct tg_fields *fields);

/* Makes a strong ETag weak; TG_E_NOMEM. */
enum tg_err tg_recode_weaken(struct tg_fields *fields) TG_MUST_USE;

/* `trailers` (may be NULL) without digests of the bytes, in *out: the list itself, or `copy`.
 * TG_E_NOMEM. */
enum tg_err tg_recode_trailers(const struct tg_fields *trailers, struct tg_fields *copy,
                               const struct tg_fields **out) TG_MUST_USE;

#endif
