/* field.c: lists of header fields. Known names are found through a table of 256 slots, filled
 * before main(), keyed by length and two letters: one probe and one compare for nearly all. */
#include "base/banned.h"
#include "http/field.h"

#include "base/assert.h"

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

/* Equal to the lower-case `known`, in words of eight: setting bit 5 makes letters lower-case,
 * leaves
 * "-" and digits, and maps nothing else that may stand in a name to one of these. */
static bool is_known(struct tg_str name, struct tg_str known)
{
    const uint64_t bit5 = UINT64_C(0x2020202020202020);
    size_t i = 0;
    if (name.n != known.n)
        return false;
    for (; i + 8 <= name.n; i += 8) {
        uint64_t a;
        uint64_t b;
        memcpy(&a, name.p + i, 8);
        memcpy(&b, known.p + i, 8);
        if ((a | bit5) != b)
            return false;
    }
    for (; i < name.n; i++) {
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

static enum tg_err append(struct tg_fields *fields, struct tg_field field)
{
    if (fields->n == fields->cap) {
        enum tg_err err = grow(fields);
        if (err != TG_OK)
            return err;
    }
    fields->v[fields->n++] = field;
    fields->seen |= UINT64_C(1) << field.id;
    return TG_OK;
}

enum tg_err tg_fields_add(struct tg_fields *fields, struct tg_str name, struct tg_str value)
{
    return append(fields, (struct tg_field){name, value, tg_field_id(name)});
}

enum tg_err tg_fields_add_id(struct tg_fields *fields, enum tg_field_id id, struct tg_str value)
{
    return append(fields, (struct tg_field){names[id], value, id});
}

static bool may_have(const struct tg_fields *fields, enum tg_field_id id)
{
    return (fields->seen >> id & 1) != 0;
}

static bool is_named(const struct tg_field *field, enum tg_field_id id, struct tg_str name)
{
    if (id != TG_FIELD_OTHER)
        return field->id == id;
    return field->id == TG_FIELD_OTHER && field->name.n == name.n &&
           tg_str_eq_nocase(field->name, name);
}

/* Removes fields of that name from index `from` on. */
static uint32_t remove_from(struct tg_fields *fields, uint32_t from, enum tg_field_id id,
                            struct tg_str name)
{
    uint32_t kept = from;
    for (uint32_t i = from; i < fields->n; i++) {
        if (is_named(&fields->v[i], id, name))
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
    return append(fields, *field);
}

enum tg_err tg_fields_set_field(struct tg_fields *fields, const struct tg_field *field)
{
    enum tg_field_id id = field->id;
    for (uint32_t i = 0; may_have(fields, id) && i < fields->n; i++) {
        if (!is_named(&fields->v[i], id, field->name))
            continue;
        fields->v[i] = *field;
        remove_from(fields, i + 1, id, field->name);
        return TG_OK;
    }
    return append(fields, *field);
}

enum tg_err tg_fields_set(struct tg_fields *fields, struct tg_str name, struct tg_str value)
{
    struct tg_field field = {name, value, tg_field_id(name)};
    return tg_fields_set_field(fields, &field);
}

uint32_t tg_fields_remove_field(struct tg_fields *fields, const struct tg_field *field)
{
    if (!may_have(fields, field->id))
        return 0;
    return remove_from(fields, 0, field->id, field->name);
}

uint32_t tg_fields_remove(struct tg_fields *fields, struct tg_str name)
{
    struct tg_field field = {name, TG_STR(""), tg_field_id(name)};
    return tg_fields_remove_field(fields, &field);
}

uint32_t tg_fields_remove_id(struct tg_fields *fields, enum tg_field_id id)
{
    tg_assert(id != TG_FIELD_OTHER);
    if (!may_have(fields, id))
        return 0;
    return remove_from(fields, 0, id, names[id]);
}

uint32_t tg_fields_filter(struct tg_fields *fields,
                          bool (*drop)(const struct tg_field *field, const void *arg),
                          const void *arg)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < fields->n; i++) {
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

const struct tg_field *tg_fields_next(const struct tg_fields *fields, struct tg_str name,
                                      const struct tg_field *from)
{
    enum tg_field_id id = tg_field_id(name);
    uint32_t i = from == NULL ? 0 : (uint32_t)(from - fields->v) + 1;
    for (; i < fields->n; i++) {
        if (is_named(&fields->v[i], id, name))
            return &fields->v[i];
    }
    return NULL;
}

const struct tg_field *tg_fields_find(const struct tg_fields *fields, struct tg_str name)
{
    return tg_fields_next(fields, name, NULL);
}

const struct tg_field *tg_fields_find_id(const struct tg_fields *fields, enum tg_field_id id)
{
    for (uint32_t i = 0; may_have(fields, id) && i < fields->n; i++) {
        if (fields->v[i].id == id)
            return &fields->v[i];
    }
    return NULL;
}

bool tg_fields_list_has(const struct tg_fields *fields, enum tg_field_id id, struct tg_str item)
{
    for (uint32_t i = 0; may_have(fields, id) && i < fields->n; i++) {
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
