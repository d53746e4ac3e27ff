/* instrument.h: counters, gauges and histograms that come into being while the gateway runs: what
 * plugins declare, and what the gateway notes about plugins.
 *
 * An instrument belongs to an owner (a plugin) and has a name; both survive reloads, so a counter
 * goes on where it was. Its series are told apart by label values. There are SERIES_MAX of them at
 * most; what comes beyond counts in one more, whose labels are all "overflow".
 *
 *     instrument      series        one part per worker
 *     rejected   -->  reason="a"    [ 3 ] [ 5 ]   = 8
 *                     reason="b"    [ 0 ] [ 1 ]   = 1
 *                     overflow      [ 7 ] [ 0 ]   = 7
 *
 * Threads: a part is written by its worker alone, without lock; a series that a worker sees for the
 * first time costs it the instrument's lock, which nobody holds for longer than it takes to look
 * for a series: not who writes the text. Any thread may read, and sums over the parts: a gauge
 * that workers set is the sum of what each set last. Instruments are never freed before
 * tg_instruments_release(), so pointers to them stay valid in any VM; there are INSTRUMENTS_MAX.
 *
 * Cost: some 40 ns an update (hash of the labels, one compare, one store). Memory: 3 KiB per worker
 * that uses an instrument; a histogram takes 4.2 KiB more per series and worker that records in it.
 */
#ifndef TG_OBSERVE_INSTRUMENT_H
#define TG_OBSERVE_INSTRUMENT_H

#include "base/err.h"
#include "base/fmt.h"

#define TG_INSTRUMENT_LABELS_MAX 8
#define TG_INSTRUMENT_SERIES_MAX 200
#define TG_INSTRUMENT_TEXT_MAX                                                                     \
    1600                           /* bytes of the labels of a series, as the exposition has them  \
                                    */
#define TG_INSTRUMENT_VALUE_MAX 64 /* bytes of a label's value; the rest is cut off */
#define TG_INSTRUMENTS_MAX      1024

enum tg_instrument_kind { TG_INSTRUMENT_COUNTER, TG_INSTRUMENT_GAUGE, TG_INSTRUMENT_HISTOGRAM };

/* What a histogram counts: seconds (kept in us) or bytes. */
enum tg_instrument_unit { TG_INSTRUMENT_SECONDS, TG_INSTRUMENT_BYTES };

/* Names match [a-z_][a-z0-9_]*: 64 bytes at most, those of labels 32. */
struct tg_instrument_spec {
    struct tg_str owner; /* a plugin's name */
    struct tg_str name;
    struct tg_str help;
    enum tg_instrument_kind kind;
    enum tg_instrument_unit unit;
    struct tg_str labels[TG_INSTRUMENT_LABELS_MAX];
    unsigned label_count;
};

struct tg_histogram;
struct tg_instrument;

/* The instrument of that owner and name, made when there is none. One of another shape (kind, unit,
 * labels) is taken out of the exposition and a new one takes its place; the old one may still be
 * written. Text is copied. TG_E_LIMIT, TG_E_NOMEM. */
enum tg_err tg_instrument_get(const struct tg_instrument_spec *spec,
                              struct tg_instrument **out) TG_MUST_USE;

/* What it was made with; borrowed, constant. */
const struct tg_instrument_spec *tg_instrument_spec(const struct tg_instrument *instrument);

/* Writes `reason="quota",code="7"` for `values`, one for each label, escaped, into `room`. The
 * result is what the functions below take as `labels`; the empty slice where there are none. */
struct tg_str tg_instrument_labels(const struct tg_instrument *instrument,
                                   const struct tg_str *values, char room[TG_INSTRUMENT_TEXT_MAX]);

/* On the thread of worker `worker` (0..255). False: no memory, nothing was counted. `n` is finite,
 * for add not negative; observe takes seconds or bytes. */
bool tg_instrument_add(struct tg_instrument *instrument, unsigned worker, struct tg_str labels,
                       double n);
bool tg_instrument_set(struct tg_instrument *instrument, unsigned worker, struct tg_str labels,
                       double value);
bool tg_instrument_observe(struct tg_instrument *instrument, unsigned worker, struct tg_str labels,
                           double value);

/* The value of a series, or how often a histogram was recorded in; 0 when there is none. */
double tg_instrument_read(struct tg_instrument *instrument, struct tg_str labels);

/* Calls `visit` for every series whose labels begin with `prefix` and that holds something: its
 * value, or its histogram (us or bytes, summed over the workers), which is NULL for the other
 * kinds. */
void tg_instrument_visit(struct tg_instrument *instrument, struct tg_str prefix,
                         void (*visit)(void *arg, struct tg_str labels, double value,
                                       const struct tg_histogram *histogram),
                         void *arg);

/* Writes all in the Prometheus text format (version 0.0.4): families
 * tidegate_plugin_<owner>_<name>, "-" as "_", counters with _total, histograms with their unit. */
void tg_instruments_write(struct tg_fmt *f);

/* Frees all of them: at the end of a process or test, when nobody uses one any more. */
void tg_instruments_release(void);

#endif
