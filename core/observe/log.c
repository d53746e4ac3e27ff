/* log.c: putting a line together on the stack and sending it off.
 *
 * The line is built in a fixed buffer by functions that stop at its end and remember that they did;
 * the last bytes are kept free for the mark "[cut]" and the newline, so a line that was cut says
 * so.
 *
 * Straight to stderr writes who has no thread that could wait in its place: the supervisor above
 * all, which has a process to look after while nobody reads a pipe or a terminal is paused.
 */
#include "base/banned.h"
#include "observe/log.h"

#include "base/assert.h"
#include "base/utf8.h"
#include "observe/sink.h"
#include "observe/target.h"

#include <stdarg.h>

#define CUT_MARK "[cut]"

struct line {
    size_t n;
    bool cut;
    char text[TG_LOG_LINE_MAX];
};

#define LINE_ROOM (TG_LOG_LINE_MAX - sizeof(CUT_MARK)) /* the mark's NUL stands for the newline */

_Atomic int tg_log_threshold = TG_LOG_INFO;

static _Atomic(struct tg_sink *) destination;
static _Atomic uint64_t untold;         /* lines without room on stderr that none tells of */
static const struct tg_log_tap *tapped; /* NULL outside of tests */

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void tg_log_set_level(enum tg_log_level level)
{
    atomic_store_explicit(&tg_log_threshold, (int)level, memory_order_relaxed);
}

bool tg_log_level_from(struct tg_str name, enum tg_log_level *out)
{
    for (size_t i = 0; i < TG_COUNT_OF(level_names); i++) {
        if (tg_str_eq(name, tg_str_c(level_names[i]))) {
            *out = (enum tg_log_level)i;
            return true;
        }
    }
    return false;
}

const char *tg_log_level_name(enum tg_log_level level)
{
    return level_names[level];
}

/* ---- building a line ------------------------------------------------------------------------- */

static void add(struct line *line, const char *p, size_t n)
{
    if (line->cut || n > LINE_ROOM - line->n) {
        line->cut = true;
        return;
    }
    memcpy(line->text + line->n, p, n);
    line->n += n;
}

static void add_c(struct line *line, const char *s)
{
    add(line, s, strlen(s));
}

static void add_u64(struct line *line, uint64_t value)
{
    char digits[24];
    int n = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)value);
    add(line, digits, (size_t)n);
}

/* Length of the character at `p` if it may be shown as it is, or 0. The C1 controls (U+0080 to
 * U+009F, c2 80 to c2 9f in UTF-8) steer terminals like the C0 ones and are escaped as well. */
static size_t shown_as_is(const char *p, size_t n)
{
    unsigned char c = (unsigned char)*p;
    if (c < 0x20 || c == 0x7f)
        return 0;
    if (c == 0xc2 && n > 1 && (unsigned char)p[1] < 0xa0)
        return 0;
    return tg_utf8_len(p, n);
}

static void add_escaped(struct line *line, char c)
{
    char text[5];
    if (c == '\n' || c == '\t' || c == '\r') {
        text[0] = '\\';
        text[1] = c == '\n' ? 'n' : c == '\t' ? 't' : 'r';
        add(line, text, 2);
        return;
    }
    snprintf(text, sizeof(text), "\\x%02x", (unsigned)(unsigned char)c);
    add(line, text, 4);
}

/* Adds `s`, escaping what is not to be shown, and backslash and quote too when `quoted`. */
static void add_text(struct line *line, struct tg_str s, bool quoted)
{
    for (size_t i = 0; i < s.n && !line->cut;) {
        size_t n = shown_as_is(s.p + i, s.n - i);
        if (n == 0) {
            add_escaped(line, s.p[i]);
            i++;
            continue;
        }
        if (quoted && (s.p[i] == '"' || s.p[i] == '\\'))
            add(line, "\\", 1);
        add(line, s.p + i, n);
        i += n;
    }
}

static bool needs_quotes(struct tg_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c >= 0x7f)
            return true;
    }
    return s.n == 0;
}

/* The part of a value that is shown; it does not end within a character. */
static struct tg_str clip(struct tg_str s)
{
    size_t n = TG_MIN(s.n, (size_t)TG_LOG_VALUE_MAX);
    while (n > 0 && n < s.n && (s.p[n] & 0xc0) == 0x80)
        n--;
    return tg_str_sub(s, 0, n);
}

static void add_field(struct line *line, const struct tg_log_field *field)
{
    add(line, " ", 1);
    add_c(line, field->key);
    add(line, "=", 1);
    if (field->text.p == NULL) {
        add_u64(line, field->number);
        return;
    }
    struct tg_str shown = clip(field->text);
    bool quoted = needs_quotes(shown);
    if (quoted)
        add(line, "\"", 1);
    add_text(line, shown, quoted);
    if (shown.n < field->text.n)
        add_c(line, CUT_MARK);
    if (quoted)
        add(line, "\"", 1);
}

static void begin(struct line *line, enum tg_log_level level, const char *component)
{
    struct tg_clock now;
    tg_clock_init(&now);
    line->cut = false;
    line->n = TG_CLOCK_RFC3339_LEN;
    tg_clock_rfc3339(now.real, line->text);
    add(line, " ", 1);
    add_c(line, level_names[level]);
    add(line, " ", 1);
    add_c(line, component);
    add(line, ": ", 2);
}

static void finish(struct line *line)
{
    if (line->cut) {
        memcpy(line->text + line->n, CUT_MARK, sizeof(CUT_MARK) - 1);
        line->n += sizeof(CUT_MARK) - 1;
    }
    line->text[line->n++] = '\n';
}

/* ---- where it goes --------------------------------------------------------------------------- */

/* Whether `target` took all of it. */
static bool offer(struct tg_target *target, const char *p, size_t n)
{
    enum tg_err err = TG_OK;
    while (n > 0 && err == TG_OK) {
        size_t took;
        err = tg_target_write(target, p, n, &took);
        p += took;
        n -= took;
    }
    return err == TG_OK;
}

static bool offer_count(struct tg_target *target, uint64_t lines)
{
    struct line note;
    begin(&note, TG_LOG_WARN, "log");
    add_c(&note, "dropped ");
    add_u64(&note, lines);
    add_c(&note, " lines");
    finish(&note);
    return offer(target, note.text, note.n);
}

static void write_straight(const char *p, size_t n)
{
    struct tg_target target;
    uint64_t before = atomic_exchange(&untold, 0);
    bool passed = tg_target_init(&target, "stderr") == TG_OK;
    if (passed && before > 0 && offer_count(&target, before))
        before = 0;
    passed = passed && before == 0 && offer(&target, p, n);
    if (!passed)
        atomic_fetch_add(&untold, before + 1);
}

/* A whole line. */
static void send_off(const char *p, size_t n)
{
    struct tg_sink *sink = atomic_load_explicit(&destination, memory_order_acquire);
    if (sink != NULL)
        tg_sink_write(sink, p, n);
    else
        write_straight(p, n);
}

/* ---- the calls ------------------------------------------------------------------------------- */

void tg_log_line(enum tg_log_level level, const char *component, uint64_t suppressed,
                 const char *format, ...)
{
    struct line line;
    char message[TG_LOG_LINE_MAX];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    size_t shown = n > 0 ? TG_MIN((size_t)n, sizeof(message) - 1) : 0;
    if (tapped != NULL) {
        tapped->on_line(tapped->arg, level, component, tg_str(message, shown), NULL, 0);
        return;
    }
    begin(&line, level, component);
    add_text(&line, tg_str(message, shown), false);
    struct tg_log_field missed = tg_log_u64("suppressed", suppressed);
    if (suppressed > 0)
        add_field(&line, &missed);
    finish(&line);
    send_off(line.text, line.n);
}

void tg_log_fields(enum tg_log_level level, const char *component, const char *message,
                   const struct tg_log_field *fields, size_t count)
{
    struct line line;
    if (tapped != NULL) {
        tapped->on_line(tapped->arg, level, component, tg_str_c(message), fields, count);
        return;
    }
    begin(&line, level, component);
    add_text(&line, tg_str_c(message), false);
    for (size_t i = 0; i < count; i++)
        add_field(&line, &fields[i]);
    finish(&line);
    send_off(line.text, line.n);
}

void tg_log_text(struct tg_str lines)
{
    while (lines.n > 0) {
        const char *newline = memchr(lines.p, '\n', lines.n);
        tg_assert(newline != NULL);
        size_t n = (size_t)(newline + 1 - lines.p);
        send_off(lines.p, n);
        lines = tg_str_sub(lines, n, lines.n);
    }
}

static void on_news(const char *spec, enum tg_sink_news news, int sys_errno)
{
    static const char *const texts[] = {
        [TG_SINK_FAILS] = "cannot write to a sink",
        [TG_SINK_NOT_OPENED] = "cannot open a log file anew; the old one goes on being written",
        [TG_SINK_WORKS] = "a sink takes lines again",
    };
    char room[128];
    if (news == TG_SINK_WORKS) {
        tg_log_kv(TG_LOG_INFO, "log", texts[news], tg_log_str("sink", tg_str_c(spec)));
        return;
    }
    const char *reason = strerror_r(sys_errno, room, sizeof(room));
    tg_log_kv(TG_LOG_WARN, "log", texts[news], tg_log_str("sink", tg_str_c(spec)),
              tg_log_str("reason", tg_str_c(reason)));
}

void tg_log_to(struct tg_sink *sink)
{
    atomic_store_explicit(&destination, sink, memory_order_release);
    tg_sink_on_trouble(sink != NULL ? on_news : NULL);
}

void tg_log_tap(const struct tg_log_tap *tap)
{
    tapped = tap;
}

bool tg_log_gate_pass(struct tg_log_gate *gate, uint32_t per_second, uint64_t now,
                      uint64_t *suppressed)
{
    uint64_t second = now / TG_USEC_PER_SEC & UINT32_MAX;
    uint64_t old = atomic_load_explicit(&gate->window, memory_order_relaxed);
    uint64_t new;
    *suppressed = 0;
    if (tapped != NULL)
        return true;
    do {
        uint64_t passed = old >> 32 == second ? old & UINT32_MAX : 0;
        if (passed >= per_second) {
            atomic_fetch_add_explicit(&gate->suppressed, 1, memory_order_relaxed);
            return false;
        }
        new = second << 32 | (passed + 1);
    } while (!atomic_compare_exchange_weak_explicit(&gate->window, &old, new, memory_order_relaxed,
                                                    memory_order_relaxed));
    *suppressed = atomic_exchange_explicit(&gate->suppressed, 0, memory_order_relaxed);
    return true;
}
