/* instrument.c: see instrument.h.
 *
 * A part finds a series by its text in an open hash table of its own, which only its worker
 * touches. Series are appended under the instrument's lock and never change afterwards, so what a
 * worker once learned it may use for ever, and a reader that has asked for their number needs no
 * lock. When all series are taken a worker learns all of them
 * once; then whatever its table does not have is overflow, and costs no lock.
 */
#include "base/banned.h"
#include "observe/instrument.h"

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "observe/exposition.h"
#include "observe/histogram.h"

#include <inttypes.h>
#include <pthread.h>

#define WORKERS_MAX 256
#define OVERFLOW    TG_INSTRUMENT_SERIES_MAX /* index of that series */
#define CELLS       (TG_INSTRUMENT_SERIES_MAX + 1)
#define SLOTS       512 /* power of two, twice the series */

/* Bounds of the exposition: powers of two, us or bytes. */
#define FIRST_SECONDS 7
#define LAST_SECONDS  26
#define FIRST_BYTES   6
#define LAST_BYTES    30

struct part {
    uint16_t slots[SLOTS];          /* index of a series + 1; 0: free */
    bool complete;                  /* all series are known here, and no more can come */
    _Atomic uint64_t values[CELLS]; /* bits of doubles */
    _Atomic(struct tg_histogram *) histograms[CELLS];
};

struct series {
    char *text; /* owned */
    size_t n;
    uint64_t hash;
};

struct tg_instrument {
    struct tg_instrument *next;
    bool replaced; /* by one of another shape */
    struct tg_instrument_spec spec;
    char *text; /* what the spec's slices point into; owned */
    pthread_mutex_t lock;
    uint32_t count; /* of series, under the lock */
    struct series series[TG_INSTRUMENT_SERIES_MAX];
    _Atomic(struct part *) parts[WORKERS_MAX];
};

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct tg_instrument *first; /* under registry_lock; the order of making */
static unsigned instrument_count;

/* ---- Making ---------------------------------------------------------------------------------- */

static bool same_shape(const struct tg_instrument_spec *a, const struct tg_instrument_spec *b)
{
    if (a->kind != b->kind || a->unit != b->unit || a->label_count != b->label_count)
        return false;
    for (unsigned i = 0; i < a->label_count; i++) {
        if (!tg_str_eq(a->labels[i], b->labels[i]))
            return false;
    }
    return true;
}

static struct tg_str keep(char **at, struct tg_str s)
{
    char *copy = *at;
    if (s.n > 0)
        memcpy(copy, s.p, s.n);
    *at += s.n;
    return tg_str(copy, s.n);
}

static bool copy_spec(struct tg_instrument *instrument, const struct tg_instrument_spec *spec)
{
    size_t n = spec->owner.n + spec->name.n + spec->help.n + 1;
    for (unsigned i = 0; i < spec->label_count; i++)
        n += spec->labels[i].n;
    instrument->text = tg_mem_alloc(TG_MEM_OBSERVE, n);
    if (instrument->text == NULL)
        return false;
    char *at = instrument->text;
    instrument->spec = *spec;
    instrument->spec.owner = keep(&at, spec->owner);
    instrument->spec.name = keep(&at, spec->name);
    instrument->spec.help = keep(&at, spec->help);
    for (unsigned i = 0; i < spec->label_count; i++)
        instrument->spec.labels[i] = keep(&at, spec->labels[i]);
    return true;
}

static struct tg_instrument *make(const struct tg_instrument_spec *spec)
{
    struct tg_instrument *instrument = tg_mem_zalloc(TG_MEM_OBSERVE, 1, sizeof(*instrument));
    if (instrument == NULL)
        return NULL;
    if (!copy_spec(instrument, spec)) {
        tg_mem_free(TG_MEM_OBSERVE, instrument);
        return NULL;
    }
    tg_assert(pthread_mutex_init(&instrument->lock, NULL) == 0);
    return instrument;
}

/* Under registry_lock. */
static enum tg_err find_or_make(const struct tg_instrument_spec *spec, struct tg_instrument **out)
{
    struct tg_instrument **end = &first;
    struct tg_instrument *shown = NULL; /* of that name, in the exposition */
    struct tg_instrument *found = NULL; /* of that name and shape */
    for (; *end != NULL; end = &(*end)->next) {
        const struct tg_instrument_spec *known = &(*end)->spec;
        if (!tg_str_eq(known->owner, spec->owner) || !tg_str_eq(known->name, spec->name))
            continue;
        shown = (*end)->replaced ? shown : *end;
        found = same_shape(known, spec) ? *end : found;
    }
    if (found == NULL && instrument_count == TG_INSTRUMENTS_MAX)
        return TG_E_LIMIT;
    if (found == NULL) {
        found = *end = make(spec);
        if (found == NULL)
            return TG_E_NOMEM;
        instrument_count++;
    }
    if (shown != NULL)
        shown->replaced = true;
    found->replaced = false;
    *out = found;
    return TG_OK;
}

enum tg_err tg_instrument_get(const struct tg_instrument_spec *spec, struct tg_instrument **out)
{
    tg_assert(spec->label_count <= TG_INSTRUMENT_LABELS_MAX);
    pthread_mutex_lock(&registry_lock);
    enum tg_err err = find_or_make(spec, out);
    pthread_mutex_unlock(&registry_lock);
    return err;
}

const struct tg_instrument_spec *tg_instrument_spec(const struct tg_instrument *instrument)
{
    return &instrument->spec;
}

static void free_instrument(struct tg_instrument *instrument)
{
    for (unsigned i = 0; i < WORKERS_MAX; i++) {
        struct part *part = atomic_load(&instrument->parts[i]);
        for (unsigned cell = 0; part != NULL && cell < CELLS; cell++)
            tg_mem_free(TG_MEM_OBSERVE, atomic_load(&part->histograms[cell]));
        tg_mem_free(TG_MEM_OBSERVE, part);
    }
    for (uint32_t i = 0; i < instrument->count; i++)
        tg_mem_free(TG_MEM_OBSERVE, instrument->series[i].text);
    pthread_mutex_destroy(&instrument->lock);
    tg_mem_free(TG_MEM_OBSERVE, instrument->text);
    tg_mem_free(TG_MEM_OBSERVE, instrument);
}

void tg_instruments_release(void)
{
    pthread_mutex_lock(&registry_lock);
    while (first != NULL) {
        struct tg_instrument *instrument = first;
        first = instrument->next;
        free_instrument(instrument);
    }
    instrument_count = 0;
    pthread_mutex_unlock(&registry_lock);
}

/* ---- Series ---------------------------------------------------------------------------------- */

struct tg_str tg_instrument_labels(const struct tg_instrument *instrument,
                                   const struct tg_str *values, char room[TG_INSTRUMENT_TEXT_MAX])
{
    struct tg_fmt f;
    tg_fmt_init(&f, room, TG_INSTRUMENT_TEXT_MAX);
    for (unsigned i = 0; i < instrument->spec.label_count; i++) {
        if (i > 0)
            tg_fmt_char(&f, ',');
        tg_fmt_add(&f, instrument->spec.labels[i]);
        tg_fmt_lit(&f, "=\"");
        tg_exposition_label(&f, tg_str_sub(values[i], 0, TG_INSTRUMENT_VALUE_MAX));
        tg_fmt_char(&f, '"');
    }
    return f.failed ? TG_STR("") : tg_str(room, f.n);
}

static struct part *part_of(struct tg_instrument *instrument, unsigned worker)
{
    tg_assert(worker < WORKERS_MAX);
    struct part *part = atomic_load_explicit(&instrument->parts[worker], memory_order_relaxed);
    if (TG_LIKELY(part != NULL))
        return part;
    part = tg_mem_zalloc(TG_MEM_OBSERVE, 1, sizeof(*part));
    atomic_store_explicit(&instrument->parts[worker], part, memory_order_release);
    return part;
}

/* The slot that has the series of that text, or where it belongs. */
static uint16_t *slot_of(const struct tg_instrument *instrument, struct part *part, uint64_t hash,
                         struct tg_str labels)
{
    for (uint64_t at = hash;; at++) {
        uint16_t *slot = &part->slots[at % SLOTS];
        if (*slot == 0)
            return slot;
        const struct series *series = &instrument->series[*slot - 1];
        if (series->hash == hash && tg_str_eq(tg_str(series->text, series->n), labels))
            return slot;
    }
}

/* Index of the series of that text among all, made when there is none and room; under the lock. */
static uint32_t find_series(struct tg_instrument *instrument, uint64_t hash, struct tg_str labels)
{
    for (uint32_t i = 0; i < instrument->count; i++) {
        const struct series *series = &instrument->series[i];
        if (series->hash == hash && tg_str_eq(tg_str(series->text, series->n), labels))
            return i;
    }
    if (instrument->count == TG_INSTRUMENT_SERIES_MAX)
        return OVERFLOW;
    char *text = tg_mem_strndup(TG_MEM_OBSERVE, labels.p, labels.n);
    if (text == NULL)
        return OVERFLOW;
    instrument->series[instrument->count] = (struct series){text, labels.n, hash};
    return instrument->count++;
}

static void learn_all(struct tg_instrument *instrument, struct part *part)
{
    for (uint32_t i = 0; i < instrument->count; i++) {
        const struct series *series = &instrument->series[i];
        *slot_of(instrument, part, series->hash, tg_str(series->text, series->n)) =
            (uint16_t)(i + 1);
    }
    part->complete = true;
}

/* Index of the cell that `labels` count in. */
static uint32_t cell_of(struct tg_instrument *instrument, struct part *part, struct tg_str labels)
{
    uint64_t hash = tg_hash_bytes(labels.p, labels.n);
    uint16_t *slot = slot_of(instrument, part, hash, labels);
    if (TG_LIKELY(*slot != 0))
        return *slot - 1u;
    if (part->complete)
        return OVERFLOW;
    pthread_mutex_lock(&instrument->lock);
    uint32_t index = find_series(instrument, hash, labels);
    if (index != OVERFLOW)
        *slot = (uint16_t)(index + 1);
    if (instrument->count == TG_INSTRUMENT_SERIES_MAX)
        learn_all(instrument, part);
    pthread_mutex_unlock(&instrument->lock);
    return index;
}

/* ---- Writing --------------------------------------------------------------------------------- */

static double load(const _Atomic uint64_t *cell)
{
    uint64_t bits = atomic_load_explicit(cell, memory_order_relaxed);
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static void store(_Atomic uint64_t *cell, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    atomic_store_explicit(cell, bits, memory_order_relaxed);
}

bool tg_instrument_add(struct tg_instrument *instrument, unsigned worker, struct tg_str labels,
                       double n)
{
    struct part *part = part_of(instrument, worker);
    if (part == NULL)
        return false;
    _Atomic uint64_t *cell = &part->values[cell_of(instrument, part, labels)];
    store(cell, load(cell) + n);
    return true;
}

bool tg_instrument_set(struct tg_instrument *instrument, unsigned worker, struct tg_str labels,
                       double value)
{
    struct part *part = part_of(instrument, worker);
    if (part == NULL)
        return false;
    store(&part->values[cell_of(instrument, part, labels)], value);
    return true;
}

bool tg_instrument_observe(struct tg_instrument *instrument, unsigned worker, struct tg_str labels,
                           double value)
{
    struct part *part = part_of(instrument, worker);
    if (part == NULL)
        return false;
    _Atomic(struct tg_histogram *) *cell = &part->histograms[cell_of(instrument, part, labels)];
    struct tg_histogram *histogram = atomic_load_explicit(cell, memory_order_relaxed);
    if (histogram == NULL) {
        histogram = tg_mem_zalloc(TG_MEM_OBSERVE, 1, sizeof(*histogram));
        if (histogram == NULL)
            return false;
        atomic_store_explicit(cell, histogram, memory_order_release);
    }
    double scaled = instrument->spec.unit == TG_INSTRUMENT_SECONDS ? value * 1e6 : value;
    tg_histogram_record(histogram, scaled < 1e18 ? (uint64_t)TG_MAX(scaled, 0) : UINT64_C(1) << 60);
    return true;
}

/* ---- Reading: without lock, series that are there do not change ------------------------------ */

static uint32_t series_count(struct tg_instrument *instrument)
{
    pthread_mutex_lock(&instrument->lock);
    uint32_t count = instrument->count;
    pthread_mutex_unlock(&instrument->lock);
    return count;
}

static struct tg_str labels_of(const struct tg_instrument *instrument, uint32_t cell)
{
    return tg_str(instrument->series[cell].text, instrument->series[cell].n);
}

static double sum(struct tg_instrument *instrument, uint32_t cell)
{
    double total = 0;
    for (unsigned i = 0; i < WORKERS_MAX; i++) {
        struct part *part = atomic_load_explicit(&instrument->parts[i], memory_order_acquire);
        total += part != NULL ? load(&part->values[cell]) : 0;
    }
    return total;
}

/* Whether any worker recorded in the cell; `out` is empty before. */
static bool merge(struct tg_instrument *instrument, uint32_t cell, struct tg_histogram *out)
{
    bool any = false;
    tg_histogram_init(out);
    for (unsigned i = 0; i < WORKERS_MAX; i++) {
        struct part *part = atomic_load_explicit(&instrument->parts[i], memory_order_acquire);
        if (part == NULL)
            continue;
        struct tg_histogram *from =
            atomic_load_explicit(&part->histograms[cell], memory_order_acquire);
        if (from != NULL)
            tg_histogram_merge(out, from);
        any = any || from != NULL;
    }
    return any;
}

double tg_instrument_read(struct tg_instrument *instrument, struct tg_str labels)
{
    struct tg_histogram histogram;
    uint32_t count = series_count(instrument);
    for (uint32_t i = 0; i < count; i++) {
        if (!tg_str_eq(labels_of(instrument, i), labels))
            continue;
        if (instrument->spec.kind == TG_INSTRUMENT_HISTOGRAM && merge(instrument, i, &histogram))
            return (double)tg_histogram_count(&histogram);
        return sum(instrument, i);
    }
    return 0;
}

/* ---- The text -------------------------------------------------------------------------------- */

/* "tidegate_plugin_hmac_auth_rejected_total" */
static struct tg_str family_of(const struct tg_instrument_spec *spec, char *room, size_t size)
{
    static const char *const units[] = {"_seconds", "_bytes"};
    struct tg_fmt f;
    tg_fmt_init(&f, room, size);
    tg_fmt_lit(&f, "tidegate_plugin_");
    for (size_t i = 0; i < spec->owner.n; i++)
        tg_fmt_char(&f, spec->owner.p[i] == '-' ? '_' : spec->owner.p[i]);
    if (spec->owner.n > 0)
        tg_fmt_char(&f, '_');
    tg_fmt_add(&f, spec->name);
    if (spec->kind == TG_INSTRUMENT_COUNTER)
        tg_fmt_lit(&f, "_total");
    else if (spec->kind == TG_INSTRUMENT_HISTOGRAM)
        tg_fmt_add(&f, tg_str_c(units[spec->unit]));
    return tg_str(room, f.n);
}

static void write_bound(struct tg_fmt *f, enum tg_instrument_unit unit, uint64_t bound)
{
    if (unit == TG_INSTRUMENT_BYTES)
        tg_fmt_printf(f, "%" PRIu64, bound);
    else
        tg_exposition_seconds(f, bound);
}

static void write_histogram(struct tg_fmt *f, struct tg_str family, enum tg_instrument_unit unit,
                            struct tg_str labels, const struct tg_histogram *h)
{
    bool seconds = unit == TG_INSTRUMENT_SECONDS;
    const char *comma = labels.n > 0 ? "," : "";
    unsigned last = seconds ? LAST_SECONDS : LAST_BYTES;
    for (unsigned bits = seconds ? FIRST_SECONDS : FIRST_BYTES; bits <= last; bits++) {
        tg_fmt_printf(f, "%.*s_bucket{%.*s%sle=\"", TG_STR_ARG(family), TG_STR_ARG(labels), comma);
        write_bound(f, unit, UINT64_C(1) << bits);
        tg_fmt_printf(f, "\"} %" PRIu64 "\n", tg_histogram_count_below(h, bits));
    }
    tg_fmt_printf(f, "%.*s_bucket{%.*s%sle=\"+Inf\"} %" PRIu64 "\n", TG_STR_ARG(family),
                  TG_STR_ARG(labels), comma, tg_histogram_count(h));
    tg_fmt_printf(f, "%.*s_sum{%.*s} ", TG_STR_ARG(family), TG_STR_ARG(labels));
    write_bound(f, unit, tg_histogram_sum(h));
    tg_fmt_printf(f, "\n%.*s_count{%.*s} %" PRIu64 "\n", TG_STR_ARG(family), TG_STR_ARG(labels),
                  tg_histogram_count(h));
}

/* Whether any worker ever counted something there, for the series that is not always shown. */
static bool is_used(struct tg_instrument *instrument, uint32_t cell)
{
    struct tg_histogram histogram;
    return sum(instrument, cell) != 0 || merge(instrument, cell, &histogram);
}

static void write_series(struct tg_fmt *f, struct tg_instrument *instrument, struct tg_str family,
                         uint32_t cell, struct tg_str labels)
{
    struct tg_histogram histogram;
    if (instrument->spec.kind == TG_INSTRUMENT_HISTOGRAM) {
        if (merge(instrument, cell, &histogram))
            write_histogram(f, family, instrument->spec.unit, labels, &histogram);
        return;
    }
    bool bare = labels.n == 0;
    tg_fmt_printf(f, "%.*s%s%.*s%s %.15g\n", TG_STR_ARG(family), bare ? "" : "{",
                  TG_STR_ARG(labels), bare ? "" : "}", sum(instrument, cell));
}

static void write_instrument(struct tg_fmt *f, struct tg_instrument *instrument)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    const struct tg_instrument_spec *spec = &instrument->spec;
    struct tg_str overflow[TG_INSTRUMENT_LABELS_MAX] = {{NULL, 0}};
    char name[192];
    char room[TG_INSTRUMENT_TEXT_MAX];
    struct tg_str family = family_of(spec, name, sizeof(name));
    tg_exposition_head(f, family, kinds[spec->kind], spec->help);
    uint32_t count = series_count(instrument);
    for (uint32_t i = 0; i < count; i++)
        write_series(f, instrument, family, i, labels_of(instrument, i));
    for (unsigned i = 0; i < spec->label_count; i++)
        overflow[i] = TG_STR("overflow");
    if (is_used(instrument, OVERFLOW))
        write_series(f, instrument, family, OVERFLOW,
                     tg_instrument_labels(instrument, overflow, room));
}

void tg_instrument_visit(struct tg_instrument *instrument, struct tg_str prefix,
                         void (*visit)(void *arg, struct tg_str labels, double value,
                                       const struct tg_histogram *histogram),
                         void *arg)
{
    struct tg_histogram histogram;
    bool is_histogram = instrument->spec.kind == TG_INSTRUMENT_HISTOGRAM;
    uint32_t count = series_count(instrument);
    for (uint32_t i = 0; i < count; i++) {
        struct tg_str labels = labels_of(instrument, i);
        if (!tg_str_starts(labels, prefix))
            continue;
        if (!is_histogram)
            visit(arg, labels, sum(instrument, i), NULL);
        else if (merge(instrument, i, &histogram))
            visit(arg, labels, 0, &histogram);
    }
}

/* The first one that is shown behind `after`; NULL: at all, and then: there is none. */
static struct tg_instrument *next_shown(struct tg_instrument *after)
{
    pthread_mutex_lock(&registry_lock);
    struct tg_instrument *next = after != NULL ? after->next : first;
    while (next != NULL && next->replaced)
        next = next->next;
    pthread_mutex_unlock(&registry_lock);
    return next;
}

void tg_instruments_write(struct tg_fmt *f)
{
    struct tg_instrument *instrument = NULL;
    while ((instrument = next_shown(instrument)) != NULL)
        write_instrument(f, instrument);
}
