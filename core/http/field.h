/* field.h: lists of header fields, as parsed and as plugins edit them.
 *
 * A list keeps the order and the spelling in which the fields came. Names and values are slices:
 * of the head as it was read, or of the request's arena once somebody edits; the list itself grows
 * in the same arena. Names compare without case; names of field.def also have a number, so that
 * the gateway's own look-ups compare integers, and the others a mark, so that nearly all that
 * differ are told apart by one. A list knows which numbers and which kinds of marks it may have:
 * what is not there is, as a rule, not searched for.
 */
#ifndef TG_HTTP_FIELD_H
#define TG_HTTP_FIELD_H

#include "base/arena.h"
#include "base/err.h"

enum tg_field_id {
    TG_FIELD_OTHER,
#define TG_FIELD(id, name, flags) TG_FIELD_##id,
#include "http/field.def"
#undef TG_FIELD
    TG_FIELDS
};

struct tg_field {
    struct tg_str name;
    struct tg_str value;
    enum tg_field_id id;
    uint32_t mark; /* of a name of TG_FIELD_OTHER; equal for names that are equal without case */
};

struct tg_fields {
    struct tg_field *v;
    uint32_t n;
    uint32_t cap;
    struct tg_arena *arena; /* borrowed; v grows there */
    uint64_t seen; /* bit of each known id that was ever added; above them: of kinds of marks */
};

_Static_assert(TG_FIELDS <= 48, "tg_fields.seen has a bit for each known field, and some more");

/* An empty list that grows in `arena`. */
void tg_fields_init(struct tg_fields *fields, struct tg_arena *arena);

/* The number of a name, TG_FIELD_OTHER when field.def does not list it. */
enum tg_field_id tg_field_id(struct tg_str name);

/* Sets id and mark of a field that somebody makes by hand, from its name. */
void tg_field_identify(struct tg_field *field);

/* Number and mark of a name in one, for who looks it up often. */
uint64_t tg_field_key(struct tg_str name);

bool tg_field_is_hop(enum tg_field_id id);
bool tg_field_is_own(enum tg_field_id id);
bool tg_field_may_trail(enum tg_field_id id);

/* Appends a field; the slices are borrowed and must live as long as the list. TG_E_NOMEM. */
enum tg_err tg_fields_add(struct tg_fields *fields, struct tg_str name,
                          struct tg_str value) TG_MUST_USE;

/* The forms that take a whole field skip the look-up of its number and mark, which it has. */
enum tg_err tg_fields_add_field(struct tg_fields *fields, const struct tg_field *field) TG_MUST_USE;
enum tg_err tg_fields_set_field(struct tg_fields *fields, const struct tg_field *field) TG_MUST_USE;
uint32_t tg_fields_remove_field(struct tg_fields *fields, const struct tg_field *field);

/* The same for a known field: under its name in lower case, or as `name` spells it. */
enum tg_err tg_fields_add_id(struct tg_fields *fields, enum tg_field_id id,
                             struct tg_str value) TG_MUST_USE;
enum tg_err tg_fields_add_as(struct tg_fields *fields, enum tg_field_id id, struct tg_str name,
                             struct tg_str value) TG_MUST_USE;

/* Replaces all fields of that name by one, at the place of the first. */
enum tg_err tg_fields_set(struct tg_fields *fields, struct tg_str name,
                          struct tg_str value) TG_MUST_USE;

/* Removes all fields of that name; how many there were. */
uint32_t tg_fields_remove(struct tg_fields *fields, struct tg_str name);

/* Removes every field for which `drop` says so. */
uint32_t tg_fields_filter(struct tg_fields *fields,
                          bool (*drop)(const struct tg_field *field, const void *arg),
                          const void *arg);

/* First field of that name or id, or NULL; valid until the next change of the list. */
const struct tg_field *tg_fields_find(const struct tg_fields *fields, struct tg_str name);
const struct tg_field *tg_fields_find_id(const struct tg_fields *fields, enum tg_field_id id);

/* The first of that name, whose key is known. */
const struct tg_field *tg_fields_find_key(const struct tg_fields *fields, struct tg_str name,
                                          uint64_t key);

/* The next after `from` (NULL: the first) of that name. */
const struct tg_field *tg_fields_next(const struct tg_fields *fields, struct tg_str name,
                                      const struct tg_field *from);

/* The same for the name of `as`, whose number and mark are known. */
const struct tg_field *tg_fields_next_field(const struct tg_fields *fields,
                                            const struct tg_field *as, const struct tg_field *from);

/* True when a comma separated list in one of the fields `id` has `item`, without case. */
bool tg_fields_list_has(const struct tg_fields *fields, enum tg_field_id id, struct tg_str item);

/* Copies the list (not the bytes that it points to) into `out`. */
enum tg_err tg_fields_copy(const struct tg_fields *fields, struct tg_fields *out) TG_MUST_USE;

#endif
