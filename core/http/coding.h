/* coding.h: content codings (RFC 9110, 8.4.1) by name, and which of them a client wants.
 *
 * Undoing one is http/decoder.h, applying one http/encoder.h. Pure functions, any thread.
 */
#ifndef TG_HTTP_CODING_H
#define TG_HTTP_CODING_H

#include "http/field.h"

enum tg_coding {
    TG_CODING_OTHER, /* none, or not one that is known here */
    TG_CODING_GZIP,
    TG_CODING_DEFLATE,
    TG_CODING_BR,
    TG_CODING_ZSTD,
    TG_CODINGS
};

/* The coding of that name, without case; "x-gzip" is gzip (RFC 9110, 8.4.1.3). */
enum tg_coding tg_coding_of(struct tg_str name);

/* Its name as a head says it, static storage; "identity" for OTHER. */
struct tg_str tg_coding_name(enum tg_coding coding);

/* What Content-Encoding says of a body: its one coding, and true; OTHER and true where it has none
 * ("identity" is none); false where it has several, or one that is not known here. */
bool tg_coding_only(const struct tg_fields *fields, enum tg_coding *coding);

/* What a request's Accept-Encoding makes of the codings on offer. */
struct tg_coding_wish {
    enum tg_coding coding; /* the one to use; OTHER: none of them */
    bool not_identity;     /* the client refuses a body without any (RFC 9110, 12.5.3) */
};

/* Of `offered`, the best first, the one that the client wants most: the highest weight, then what
 * stands first here. None where identity has a higher weight than all of them, or where the field
 * is missing, empty or no list of codings with weights. */
struct tg_coding_wish tg_coding_choose(const struct tg_fields *request,
                                       const enum tg_coding *offered, uint32_t n);

#endif
