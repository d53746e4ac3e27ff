/* log.h: what the gateway says about itself, one line per event.
 *
 *   2026-01-01T00:00:00.000Z warn upstream: connection refused target=127.0.0.1:9 request=ab12
 *
 *   time, level, component, message, then key=value pairs (logfmt): for people and for grep
 *
 * tg_log() takes a printf format. tg_log_kv() takes a fixed message and fields whose values may
 * come from anybody; values that hold spaces or quotes are quoted. Whatever is written, a line
 * stays one line and a terminal stays as it is: control characters and bytes that are not UTF-8
 * appear as \n, \t or \x1b. Lines are at most TG_LOG_LINE_MAX bytes, values TG_LOG_VALUE_MAX; what
 * is longer ends in "[cut]".
 *
 * Lines go to a sink once tg_log_to() named one, and before that straight to stderr, which does not
 * block either: what it has no room for is dropped, and the next line that passes is preceded by
 * one that counts what was.
 *
 * Threads: all functions from any thread. Cost of a line whose level is off: one relaxed load, the
 * arguments are not evaluated. Of one that is on: formatting, and what tg_sink_write() costs.
 */
#ifndef TG_OBSERVE_LOG_H
#define TG_OBSERVE_LOG_H

#include "base/clock.h"
#include "base/str.h"

#include <stdatomic.h>

/* Longest line with its newline: what one write to a pipe takes whole (PIPE_BUF). */
#define TG_LOG_LINE_MAX 4096

/* Longest value of a field, before escaping, so that one long value does not cost the others. */
#define TG_LOG_VALUE_MAX 512

struct tg_sink;

enum tg_log_level { TG_LOG_DEBUG, TG_LOG_INFO, TG_LOG_WARN, TG_LOG_ERROR };

/* A key (a literal: letters, digits, '_') and its value, text or a number. */
struct tg_log_field {
    const char *key;
    struct tg_str text; /* borrowed for the call; p is NULL: `number` is meant */
    uint64_t number;
};

static inline struct tg_log_field tg_log_str(const char *key, struct tg_str text)
{
    return (struct tg_log_field){.key = key, .text = text.p != NULL ? text : TG_STR("")};
}

static inline struct tg_log_field tg_log_u64(const char *key, uint64_t number)
{
    return (struct tg_log_field){.key = key, .number = number};
}

/* Counts what one noisy place says: at most so many lines a second, the others are suppressed. */
struct tg_log_gate {
    _Atomic uint64_t window;     /* second << 32 | lines passed in it */
    _Atomic uint64_t suppressed; /* since the last line that passed */
};

/* Lowest level that is written; TG_LOG_INFO at first. */
extern _Atomic int tg_log_threshold;

static inline bool tg_log_is_on(enum tg_log_level level)
{
    return (int)level >= atomic_load_explicit(&tg_log_threshold, memory_order_relaxed);
}

void tg_log_set_level(enum tg_log_level level);

/* Level called `name` ("debug", "info", "warn", "error") into `*out`; false when there is none. */
bool tg_log_level_from(struct tg_str name, enum tg_log_level *out) TG_MUST_USE;

/* Name of a level, static storage. */
const char *tg_log_level_name(enum tg_log_level level);

/* Lines go to `sink` (borrowed) from now on, and so do complaints about sinks that cannot write;
 * NULL: straight to stderr again. The caller keeps the sink open until no thread can be inside a
 * log call that began before the next tg_log_to(). */
void tg_log_to(struct tg_sink *sink);

/* Sends lines that are made already, such as what an evaluation printed, where the log goes: as
 * they are, each ended by a newline. */
void tg_log_text(struct tg_str lines);

/* Takes lines in place of the sink, before they become text: for tests. */
struct tg_log_tap {
    /* `message` and `fields` are borrowed for the call; on the thread that logs. */
    void (*on_line)(void *arg, enum tg_log_level level, const char *component,
                    struct tg_str message, const struct tg_log_field *fields, size_t count);
    void *arg;
};

/* From now on all lines go to `tap` (borrowed), however many there are; NULL: to the sink again.
 * While no other thread logs. */
void tg_log_tap(const struct tg_log_tap *tap);

/* tg_log(TG_LOG_WARN, "upstream", "%d targets are down", n) */
#define tg_log(level, component, ...)                                                              \
    do {                                                                                           \
        if (tg_log_is_on(level))                                                                   \
            tg_log_line((level), (component), 0, __VA_ARGS__);                                     \
    } while (0)

/* tg_log_kv(TG_LOG_WARN, "upstream", "connection refused", tg_log_str("target", target)) */
#define tg_log_kv(level, component, message, ...)                                                  \
    do {                                                                                           \
        if (tg_log_is_on(level))                                                                   \
            tg_log_fields((level), (component), (message), (struct tg_log_field[]){__VA_ARGS__},   \
                          sizeof((struct tg_log_field[]){__VA_ARGS__}) /                           \
                              sizeof(struct tg_log_field));                                        \
    } while (0)

/* tg_log(), but at most `per_second` lines a second from this place in the code, all threads
 * together; the first line that passes afterwards carries suppressed=N. */
#define tg_log_every(per_second, level, component, ...)                                            \
    do {                                                                                           \
        static struct tg_log_gate tg_log_gate_here;                                                \
        uint64_t tg_log_missed;                                                                    \
        if (tg_log_is_on(level) && tg_log_gate_pass(&tg_log_gate_here, (per_second),               \
                                                    tg_clock_mono_now(), &tg_log_missed))          \
            tg_log_line((level), (component), tg_log_missed, __VA_ARGS__);                         \
    } while (0)

/* What the macros call. `suppressed` > 0 becomes a field. */
void tg_log_line(enum tg_log_level level, const char *component, uint64_t suppressed,
                 const char *format, ...) TG_PRINTF(4, 5);
void tg_log_fields(enum tg_log_level level, const char *component, const char *message,
                   const struct tg_log_field *fields, size_t count);

/* Whether a line may pass at `now` (us, monotonic); if so, `*suppressed` is how many did not since
 * the last one that did. */
bool tg_log_gate_pass(struct tg_log_gate *gate, uint32_t per_second, uint64_t now,
                      uint64_t *suppressed) TG_MUST_USE;

#endif
