/* field.c: lists of header fields. Known names are found through a table of 256 slots, filled
 * before main(), keyed by length and two letters: one probe and one compare for nearly all. */
#include "base/banned.h"
#include "http/field.h"

enum { HOP = 1, OWN = 2, NOTRAIL = 4 };

static const struct tg_str names[TG_FIELDS] = {
#define TG_FIELD(id, name, flags) [TG_FIELD_##id] = {name, sizeof(name) - 1},
#include "http/field.def"
#undef TG_FIELD
};

static const unsigned char field_flags[TG_FIELDS] = {
#define TG_FIELD(id, name, flags) [TG_FIELD_##id] = (flags),
#include "http/field.def"
#undef TG_FIELD
};

#define SLOTS 256u
static unsigned char slots[SLOTS];

/* Whether `n` bytes (4 or 8) are those of the lower-case `known`: setting bit 5 makes letters
 * lower-case, leaves "-" and digits, and maps nothing else that may stand in a name to one of
 * these. */
static inline bool is_word(const char *p, const char *known, size_t n)
{
    uint64_t a = 0;
    uint64_t b = 0;
    memcpy(&a, p, n);
    memcpy(&b, known, n);
    return (a | (UINT64_C(0x2020202020202020) >> (64 - 8 * n))) == b;
}

/* Equal to the lower-case `known`, in words that may overlap. */
static bool is_known(struct tg_str name, struct tg_str known)
{
    if (name.n != known.n)
        return false;
    if (name.n >= 8) {
        for (size_t i = 0; i + 8 < name.n; i += 8) {
            if (!is_word(name.p + i, known.p + i, 8))
                return false;
        }
        return is_word(name.p + name.n - 8, known.p + name.n - 8, 8);
    }
    if (name.n >= 4)
        return is_word(name.p, known.p, 4) && is_word(name.p + name.n - 4, known.p + name.n - 4, 4);
    for (size_t i = 0; i < name.n; i++) {
        if ((name.p[i] | 0x20) != known.p[i])
            return false;
    }
    return true;
}

static unsigned slot_of(struct tg_str name)
{
    unsigned first = (unsigned char)(name.p[0] | 0x20);
    unsigned last = (unsigned char)(name.p[name.n - 1] | 0x20);
    return ((unsigned)name.n * 7 + first * 31 + last * 3) % SLOTS;
}

__attribute__((constructor)) static void fill_slots(void)
{
    for (unsigned id = 1; id < TG_FIELDS; id++) {
        unsigned slot = slot_of(names[id]);
        while (slots[slot] != 0)
            slot = (slot + 1) % SLOTS;
        slots[slot] = (unsigned char)id;
    }
}

void tg_fields_init(struct tg_fields *fields, struct tg_arena *arena)
{
    *fields = (struct tg_fields){.arena = arena};
}

enum tg_field_id tg_field_id(struct tg_str name)
{
    if (name.n == 0)
        return TG_FIELD_OTHER;
    for (unsigned slot = slot_of(name); slots[slot] != 0; slot = (slot + 1) % SLOTS) {
        if (is_known(name, names[slots[slot]]))
            return (enum tg_field_id)slots[slot];
    }
    return TG_FIELD_OTHER;
}

/* The first and the last eight bytes of a name, or all that it has, in one number. */
static uint32_t mark_of(struct tg_str name)
{
    const uint64_t bit5 = UINT64_C(0x2020202020202020);
    uint64_t first = 0;
    uint64_t last = 0;
    if (name.n >= 8) {
        memcpy(&first, name.p, 8);
        memcpy(&last, name.p + name.n - 8, 8);
    } else {
        for (size_t i = 0; i < name.n; i++)
            first = first << 8 | (unsigned char)name.p[i];
    }
    uint64_t mixed = ((first | bit5) + name.n) * UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ mixed >> 29 ^ (last | bit5)) * UINT64_C(0xbf58476d1ce4e5b9);
    return (uint32_t)(mixed >> 32);
}

static inline uint32_t mark_as(enum tg_field_id id, struct tg_str name)
{
    return id == TG_FIELD_OTHER ? mark_of(name) : 0;
}

void tg_field_identify(struct tg_field *field)
{
    field->id = tg_field_id(field->name);
    field->mark = mark_as(field->id, field->name);
}

uint64_t tg_field_key(struct tg_str name)
{
    enum tg_field_id id = tg_field_id(name);
    return (uint64_t)id << 32 | mark_as(id, name);
}

bool tg_field_is_hop(enum tg_field_id id)
{
    return (field_flags[id] & HOP) != 0;
}

bool tg_field_is_own(enum tg_field_id id)
{
    return (field_flags[id] & OWN) != 0;
}

bool tg_field_may_trail(enum tg_field_id id)
{
    return (field_flags[id] & NOTRAIL) == 0;
}

static enum tg_err grow(struct tg_fields *fields)
{
    uint32_t cap = fields->cap == 0 ? 16 : fields->cap * 2;
    struct tg_field *v = tg_arena_alloc(fields->arena, cap * sizeof(*v));
    if (v == NULL)
        return TG_E_NOMEM;
    if (fields->n > 0)
        memcpy(v, fields->v, fields->n * sizeof(*v));
    fields->v = v;
    fields->cap = cap;
    return TG_OK;
}

/* The bit of tg_fields.seen. */
static inline uint64_t seen_bit(enum tg_field_id id, uint32_t mark)
{
    return UINT64_C(1) << (id != TG_FIELD_OTHER ? id : 48 + mark % 16);
}

/* In parts, not as a field that is made and copied: a processor waits where it reads in one piece
 * what it has just written in several. */
static inline enum tg_err append(struct tg_fields *fields, struct tg_str name, struct tg_str value,
                                 enum tg_field_id id, uint32_t mark)
{
    if (fields->n == fields->cap) {
        enum tg_err err = grow(fields);
        if (err != TG_OK)
            return err;
    }
    fields->v[fields->n++] = (struct tg_field){name, value, id, mark};
    fields->seen |= seen_bit(id, mark);
    return TG_OK;
}

enum tg_err tg_fields_add(struct tg_fields *fields, struct tg_str name, struct tg_str value)
{
    enum tg_field_id id = tg_field_id(name);
    return append(fields, name, value, id, mark_as(id, name));
}

enum tg_err tg_fields_add_id(struct tg_fields *fields, enum tg_field_id id, struct tg_str value)
{
    return append(fields, names[id], value, id, 0);
}

enum tg_err tg_fields_add_as(struct tg_fields *fields, enum tg_field_id id, struct tg_str name,
                             struct tg_str value)
{
    return append(fields, name, value, id, 0);
}

static inline bool may_have_id(const struct tg_fields *fields, enum tg_field_id id)
{
    return (fields->seen >> id & 1) != 0;
}

/* Whether a field called as `field` is can be there. */
static inline bool may_have(const struct tg_fields *fields, const struct tg_field *field)
{
    return (fields->seen & seen_bit(field->id, field->mark)) != 0;
}

static inline bool is_named(const struct tg_field *field, const struct tg_field *as)
{
    if (field->id != as->id || field->mark != as->mark)
        return false;
    return as->id != TG_FIELD_OTHER || tg_str_eq_nocase(field->name, as->name);
}

static bool drop_named(const struct tg_field *field, const void *as)
{
    return is_named(field, as);
}

/* Removes those for which `drop` says so, from index `from` on. */
static inline uint32_t filter_from(struct tg_fields *fields, uint32_t from,
                                   bool (*drop)(const struct tg_field *field, const void *arg),
                                   const void *arg)
{
    uint32_t kept = from;
    for (uint32_t i = from; i < fields->n; i++) {
        if (drop(&fields->v[i], arg))
            continue;
        if (kept != i)
            fields->v[kept] = fields->v[i];
        kept++;
    }
    uint32_t removed = fields->n - kept;
    fields->n = kept;
    return removed;
}

enum tg_err tg_fields_add_field(struct tg_fields *fields, const struct tg_field *field)
{
    return append(fields, field->name, field->value, field->id, field->mark);
}

enum tg_err tg_fields_set_field(struct tg_fields *fields, const struct tg_field *field)
{
    for (uint32_t i = 0; may_have(fields, field) && i < fields->n; i++) {
        if (!is_named(&fields->v[i], field))
            continue;
        fields->v[i] = *field;
        filter_from(fields, i + 1, drop_named, field);
        return TG_OK;
    }
    return append(fields, field->name, field->value, field->id, field->mark);
}

enum tg_err tg_fields_set(struct tg_fields *fields, struct tg_str name, struct tg_str value)
{
    struct tg_field field = {.name = name, .value = value};
    tg_field_identify(&field);
    return tg_fields_set_field(fields, &field);
}

uint32_t tg_fields_remove_field(struct tg_fields *fields, const struct tg_field *field)
{
    return may_have(fields, field) ? filter_from(fields, 0, drop_named, field) : 0;
}

uint32_t tg_fields_remove(struct tg_fields *fields, struct tg_str name)
{
    struct tg_field field = {.name = name};
    tg_field_identify(&field);
    return tg_fields_remove_field(fields, &field);
}

uint32_t tg_fields_filter(struct tg_fields *fields,
                          bool (*drop)(const struct tg_field *field, const void *arg),
                          const void *arg)
{
    return filter_from(fields, 0, drop, arg);
}

const struct tg_field *tg_fields_next_field(const struct tg_fields *fields,
                                            const struct tg_field *as, const struct tg_field *from)
{
    uint32_t i = from == NULL ? 0 : (uint32_t)(from - fields->v) + 1;
    for (; may_have(fields, as) && i < fields->n; i++) {
        if (is_named(&fields->v[i], as))
            return &fields->v[i];
    }
    return NULL;
}

const struct tg_field *tg_fields_next(const struct tg_fields *fields, struct tg_str name,
                                      const struct tg_field *from)
{
    struct tg_field as = {.name = name};
    tg_field_identify(&as);
    return tg_fields_next_field(fields, &as, from);
}

const struct tg_field *tg_fields_find_key(const struct tg_fields *fields, struct tg_str name,
                                          uint64_t key)
{
    const struct tg_field as = {
        .name = name, .id = (enum tg_field_id)(key >> 32), .mark = (uint32_t)key};
    return tg_fields_next_field(fields, &as, NULL);
}

const struct tg_field *tg_fields_find(const struct tg_fields *fields, struct tg_str name)
{
    return tg_fields_next(fields, name, NULL);
}

const struct tg_field *tg_fields_find_id(const struct tg_fields *fields, enum tg_field_id id)
{
    for (uint32_t i = 0; may_have_id(fields, id) && i < fields->n; i++) {
        if (fields->v[i].id == id)
            return &fields->v[i];
    }
    return NULL;
}

bool tg_fields_list_has(const struct tg_fields *fields, enum tg_field_id id, struct tg_str item)
{
    for (uint32_t i = 0; may_have_id(fields, id) && i < fields->n; i++) {
        struct tg_str list = fields->v[i].value;
        struct tg_str one;
        if (fields->v[i].id != id)
            continue;
        while (tg_str_next_item(&list, &one)) {
            if (tg_str_eq_nocase(one, item))
                return true;
        }
    }
    return false;
}

enum tg_err tg_fields_copy(const struct tg_fields *fields, struct tg_fields *out)
{
    *out = (struct tg_fields){
        .cap = fields->n + 8, .n = fields->n, .arena = fields->arena, .seen = fields->seen};
    out->v = tg_arena_alloc(out->arena, out->cap * sizeof(*out->v));
    if (out->v == NULL)
        return TG_E_NOMEM;
    if (fields->n > 0)
        memcpy(out->v, fields->v, fields->n * sizeof(*out->v));
    return TG_OK;
}
