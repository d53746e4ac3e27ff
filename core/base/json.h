/* json.h: writing JSON (RFC 8259) into a builder.
 *
 * The writer places commas and quotes; the caller calls begin, key, value and end in an order that
 * makes sense. Strings may hold any bytes: control characters are escaped, bytes that are not
 * valid UTF-8 become U+FFFD, so the output is always valid JSON. Failure latches in the builder.
 */
#ifndef TG_BASE_JSON_H
#define TG_BASE_JSON_H

#include "base/fmt.h"

struct tg_json {
    struct tg_fmt *f; /* borrowed */
    bool comma;       /* the next element needs one in front */
};

void tg_json_init(struct tg_json *j, struct tg_fmt *f);

void tg_json_begin_object(struct tg_json *j);
void tg_json_end_object(struct tg_json *j);
void tg_json_begin_array(struct tg_json *j);
void tg_json_end_array(struct tg_json *j);

void tg_json_key(struct tg_json *j, struct tg_str key);
void tg_json_str(struct tg_json *j, struct tg_str value);

/* The inside of a string: `s` escaped, without the quotes around it. */
void tg_json_text(struct tg_fmt *f, struct tg_str s);
void tg_json_u64(struct tg_json *j, uint64_t value);
void tg_json_i64(struct tg_json *j, int64_t value);
void tg_json_double(struct tg_json *j, double value); /* null for NaN and infinities */
void tg_json_bool(struct tg_json *j, bool value);
void tg_json_null(struct tg_json *j);

/* key and value at once */
void tg_json_field_str(struct tg_json *j, const char *key, struct tg_str value);
void tg_json_field_u64(struct tg_json *j, const char *key, uint64_t value);

#endif
