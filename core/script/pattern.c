/* pattern.c: the matcher for Lua patterns.
 *
 * A pattern is read as it stands; nothing is compiled. A cursor (offset in the subject, place in
 * the pattern) moves item by item. Where an item leaves a choice (how many repetitions) or changes
 * what backtracking must restore (captures), a frame goes on a stack; a failure takes the topmost
 * frame that has an alternative left:
 *
 *     pattern   (%w+)=(.-);
 *     frames    OPEN  GREEDY  CLOSE  OPEN  LAZY  CLOSE
 *                     ^ gives back      ^ takes one more byte
 *                       one byte
 *
 * Since patterns have no alternation, which captures are open depends on the const uint8_t *in the
 * pattern alone, and each frame restores exactly what it changed.
 *
 * Speed comes from four things. A single-character item is normalised to one of four kinds, with
 * character classes and sets as bit sets, and a repetition is one tight loop. A literal behind a
 * repetition is looked up before the rest of the pattern is tried, so `.-\n` is a memchr. A literal
 * or single-character item at the start of a pattern skips the offsets where it cannot match. Sets
 * are expanded once and kept in a few slots, found by their const uint8_t *in the pattern.
 *
 * Bounds: every turn of the main loop costs a step, and every scan costs steps in proportion to
 * its length. A scan is not cut short, it is paid for afterwards: the budget may be overdrawn by
 * one pass over the subject, which is linear. Frames are bounded by TG_PATTERN_DEPTH.
 */
#include "base/banned.h"
#include "script/pattern.h"

#include "base/assert.h"

enum { BYTES_PER_STEP = 8, MEMCHR_BYTES_PER_STEP = 64, NO_BYTE = -1 };

/* ---- Items ----------------------------------------------------------------------------------- */

enum item_kind { ITEM_ANY, ITEM_CHAR, ITEM_NOT_CHAR, ITEM_SET };

/* An item that matches one character. */
struct item {
    enum item_kind kind;
    uint8_t c;
    const struct tg_pattern_set
        *set;           /* borrowed from classes[] or a slot, until another set is read */
    const uint8_t *end; /* behind the item: where a quantifier may stand */
};

static inline void spend(struct tg_pattern *m, size_t bytes, unsigned bytes_per_step)
{
    size_t cost = bytes / bytes_per_step;
    m->steps -= TG_MIN(cost, m->steps);
}

static enum tg_pattern_verdict bad(struct tg_pattern *m, const char *error)
{
    m->error = error;
    return TG_PATTERN_BAD;
}

static enum tg_pattern_verdict read_set(struct tg_pattern *m, const uint8_t *p, struct item *item)
{
    struct tg_pattern_slot *slot = &m->slot[(size_t)(p - m->pattern) % TG_PATTERN_SETS];

    if (slot->text != p) {
        const uint8_t *end = tg_pattern_set_end(p, m->pattern_end);
        if (end == NULL)
            return bad(m, "malformed pattern (missing ']')");
        spend(m, (size_t)(end - p), 1);
        tg_pattern_set_init(&slot->set, p, end);
        slot->text = p;
        slot->end = end;
    }
    item->kind = ITEM_SET;
    item->set = &slot->set;
    item->end = slot->end;
    return TG_PATTERN_MATCH;
}

/* Reads the single-character item at `p`: TG_PATTERN_MATCH, or TG_PATTERN_BAD. */
static inline enum tg_pattern_verdict read_item(struct tg_pattern *m, const uint8_t *p,
                                                struct item *item)
{
    item->c = *p;
    item->end = p + 1;
    switch (*p) {
    case '.':
        item->kind = ITEM_ANY;
        return TG_PATTERN_MATCH;
    case '%':
        if (p + 1 >= m->pattern_end)
            return bad(m, "malformed pattern (ends with '%')");
        item->end = p + 2;
        item->c = p[1];
        item->set = tg_pattern_class(p[1]);
        item->kind = item->set != NULL ? ITEM_SET : ITEM_CHAR;
        return TG_PATTERN_MATCH;
    case '[':
        if (m->pattern_end - p < 4 || p[1] != '^' || p[2] == '%' || p[3] != ']')
            return read_set(m, p, item);
        item->kind = ITEM_NOT_CHAR;
        item->c = p[2];
        item->end = p + 4;
        return TG_PATTERN_MATCH;
    default:
        item->kind = ITEM_CHAR;
        return TG_PATTERN_MATCH;
    }
}

static inline bool item_has(const struct item *item, uint8_t c)
{
    switch (item->kind) {
    case ITEM_ANY:
        return true;
    case ITEM_CHAR:
        return c == item->c;
    case ITEM_NOT_CHAR:
        return c != item->c;
    case ITEM_SET:
        return tg_pattern_set_has(item->set, c);
    }
    return false;
}

/* The first byte in [s, end) that is `c`, or end. */
static inline const uint8_t *scan_byte(struct tg_pattern *m, const uint8_t *s, const uint8_t *end,
                                       uint8_t c)
{
    const uint8_t *found = s < end ? memchr(s, c, (size_t)(end - s)) : NULL;
    found = found != NULL ? found : end;
    spend(m, (size_t)(found - s), MEMCHR_BYTES_PER_STEP);
    return found;
}

/* Behind the longest run of bytes from `s` on that `item` matches. */
static inline const uint8_t *scan_run(struct tg_pattern *m, const struct item *item,
                                      const uint8_t *s)
{
    const uint8_t *start = s, *end = m->subject_end;

    switch (item->kind) {
    case ITEM_ANY:
        return end;
    case ITEM_NOT_CHAR:
        return scan_byte(m, s, end, item->c);
    case ITEM_CHAR:
        while (s < end && *s == item->c)
            s++;
        break;
    case ITEM_SET:
        while (s < end && tg_pattern_set_has(item->set, *s))
            s++;
        break;
    }
    spend(m, (size_t)(s - start), BYTES_PER_STEP);
    return s;
}

/* ---- Looking ahead --------------------------------------------------------------------------- */

/* Number of captures that are open. */
static unsigned open_captures(const struct tg_pattern *m)
{
    unsigned open = 0;
    for (unsigned i = 0; i < m->level; i++)
        open += m->capture[i].n == TG_PATTERN_UNFINISHED;
    return open;
}

/* Skips the captures that open and close at `p`; stops before one that is malformed, so that its
 * error shows when matching gets there. */
static const uint8_t *skip_captures(const struct tg_pattern *m, const uint8_t *p)
{
    unsigned level, open;

    if (p >= m->pattern_end || (*p != '(' && *p != ')'))
        return p;
    level = m->level;
    open = open_captures(m);
    for (; p < m->pattern_end; p++) {
        if (*p == '(' && level < TG_PATTERN_CAPTURES) {
            level++;
            open++;
        } else if (*p == ')' && open > 0) {
            open--;
        } else {
            break;
        }
    }
    return p;
}

/* Whether a quantifier at `p` lets the item before it be absent. */
static inline bool is_optional(const struct tg_pattern *m, const uint8_t *p)
{
    return p < m->pattern_end && (*p == '*' || *p == '-' || *p == '?');
}

/* The byte that any match of the pattern from `p` on must start with, or NO_BYTE when that is not
 * known. Never sees past a malformed item. */
static int required_byte(const struct tg_pattern *m, const uint8_t *p)
{
    int c;

    p = skip_captures(m, p);
    if (p >= m->pattern_end)
        return NO_BYTE;
    switch (*p) {
    case '.':
    case '[':
    case '(':
    case ')':
        return NO_BYTE;
    case '$':
        if (p + 1 == m->pattern_end)
            return NO_BYTE;
        break;
    case '%':
        if (++p >= m->pattern_end)
            return NO_BYTE;
        if (*p == 'b' && m->pattern_end - p > 2)
            return p[1];
        if (*p == 'b' || *p == 'f' || (*p >= '0' && *p <= '9') || tg_pattern_class(*p) != NULL)
            return NO_BYTE;
        break;
    }
    c = *p++;
    return is_optional(m, p) ? NO_BYTE : c;
}

/* ---- Choices --------------------------------------------------------------------------------- */

enum frame_kind { FRAME_OPEN, FRAME_CLOSE, FRAME_MAYBE, FRAME_GREEDY, FRAME_LAZY };

struct frame {
    enum frame_kind kind;
    int next; /* GREEDY, LAZY: required byte behind the repetition; CLOSE: index of the capture */
    const uint8_t *s;   /* where the rest was tried last (GREEDY, LAZY) or is to be tried (MAYBE) */
    const uint8_t *p;   /* the rest of the pattern */
    const uint8_t *low; /* GREEDY: where the shortest repetition ends; LAZY: the item */
};

struct frames {
    unsigned count;
    struct frame at[TG_PATTERN_DEPTH - 1]; /* the match itself is the first level */
};

struct cursor {
    const uint8_t *s;
    const uint8_t *p;
};

enum flow {
    FLOW_ON,   /* the cursor has moved */
    FLOW_FAIL, /* no match this way: backtrack */
    FLOW_END,  /* the pattern is used up: a match */
    FLOW_BAD,
    FLOW_DEEP,
};

static inline struct frame *push(struct frames *frames, enum frame_kind kind)
{
    if (TG_UNLIKELY(frames->count == TG_COUNT_OF(frames->at)))
        return NULL;
    struct frame *frame = &frames->at[frames->count++];
    frame->kind = kind;
    return frame;
}

/* Gives back bytes of a greedy repetition until the required byte fits: false when none is left. */
static bool retreat(struct tg_pattern *m, struct frame *frame)
{
    const uint8_t *s = frame->s, *start = s;

    if (frame->next == NO_BYTE) {
        if (s == frame->low)
            return false;
        frame->s--;
        return true;
    }
    while (s > frame->low) {
        s--;
        if (*s == frame->next) {
            spend(m, (size_t)(start - s), BYTES_PER_STEP);
            frame->s = s;
            return true;
        }
    }
    spend(m, (size_t)(start - s), BYTES_PER_STEP);
    frame->s = s;
    return false;
}

/* Takes bytes into a lazy repetition until the required byte follows: false when it cannot. */
static bool seek_next(struct tg_pattern *m, struct frame *frame, const struct item *item)
{
    const uint8_t *s = frame->s;

    if (frame->next == NO_BYTE)
        return true;
    if (item->kind == ITEM_ANY) {
        frame->s = scan_byte(m, s, m->subject_end, (uint8_t)frame->next);
        return frame->s < m->subject_end;
    }
    while (s < m->subject_end && *s != frame->next && item_has(item, *s))
        s++;
    spend(m, (size_t)(s - frame->s), BYTES_PER_STEP);
    frame->s = s;
    return s < m->subject_end && *s == frame->next;
}

/* Takes one more byte into a lazy repetition. The item was read when the frame was pushed, so
 * reading it again cannot fail. */
static bool advance(struct tg_pattern *m, struct frame *frame)
{
    struct item item;

    if (frame->s >= m->subject_end || read_item(m, frame->low, &item) != TG_PATTERN_MATCH)
        return false;
    if (!item_has(&item, *frame->s))
        return false;
    frame->s++;
    return seek_next(m, frame, &item);
}

/* Takes the next alternative into `at`; false when there is none. */
static bool backtrack(struct tg_pattern *m, struct frames *frames, struct cursor *at)
{
    for (; frames->count > 0; frames->count--) {
        struct frame *frame = &frames->at[frames->count - 1];
        bool again = false;

        switch (frame->kind) {
        case FRAME_OPEN:
            m->level--;
            break;
        case FRAME_CLOSE:
            m->capture[frame->next].n = TG_PATTERN_UNFINISHED;
            break;
        case FRAME_MAYBE:
            *at = (struct cursor){frame->s, frame->p};
            frames->count--;
            return true;
        case FRAME_GREEDY:
            again = retreat(m, frame);
            break;
        case FRAME_LAZY:
            again = advance(m, frame);
            break;
        }
        if (again) {
            *at = (struct cursor){frame->s, frame->p};
            return true;
        }
    }
    return false;
}

/* ---- Single items and repetitions ------------------------------------------------------------ */

static enum flow repeat_greedy(struct tg_pattern *m, struct frames *frames, struct cursor *at,
                               const struct item *item, ptrdiff_t least)
{
    struct frame *frame;
    const uint8_t *end = scan_run(m, item, at->s);

    if (end - at->s <= least) {
        if (end - at->s < least)
            return FLOW_FAIL;
        *at = (struct cursor){end, item->end + 1}; /* no choice, no frame */
        return FLOW_ON;
    }
    frame = push(frames, FRAME_GREEDY);
    if (frame == NULL)
        return FLOW_DEEP;
    frame->low = at->s + least;
    frame->p = item->end + 1;
    frame->next = required_byte(m, frame->p);
    frame->s = end;
    if (frame->next != NO_BYTE && (end == m->subject_end || *end != frame->next) &&
        !retreat(m, frame))
        return FLOW_FAIL;
    *at = (struct cursor){frame->s, frame->p};
    return FLOW_ON;
}

static enum flow repeat_lazy(struct tg_pattern *m, struct frames *frames, struct cursor *at,
                             const struct item *item)
{
    struct frame *frame = push(frames, FRAME_LAZY);

    if (frame == NULL)
        return FLOW_DEEP;
    frame->low = at->p;
    frame->p = item->end + 1;
    frame->next = required_byte(m, frame->p);
    frame->s = at->s;
    if (!seek_next(m, frame, item)) {
        frames->count--;
        return FLOW_FAIL;
    }
    *at = (struct cursor){frame->s, frame->p};
    return FLOW_ON;
}

static enum flow maybe(struct frames *frames, struct cursor *at, const struct item *item, bool has)
{
    struct frame *frame;

    if (has) {
        frame = push(frames, FRAME_MAYBE);
        if (frame == NULL)
            return FLOW_DEEP;
        frame->s = at->s;
        frame->p = item->end + 1;
    }
    *at = (struct cursor){at->s + has, item->end + 1};
    return FLOW_ON;
}

/* A single-character item with its quantifier. */
static inline enum flow step_item(struct tg_pattern *m, struct frames *frames, struct cursor *at)
{
    struct item item;
    bool has;

    if (read_item(m, at->p, &item) != TG_PATTERN_MATCH)
        return FLOW_BAD;
    switch (item.end < m->pattern_end ? *item.end : 0) {
    case '*':
    case '+':
        return repeat_greedy(m, frames, at, &item, *item.end == '+');
    case '-':
        return repeat_lazy(m, frames, at, &item);
    }
    has = at->s < m->subject_end && item_has(&item, *at->s);
    if (item.end < m->pattern_end && *item.end == '?')
        return maybe(frames, at, &item, has);
    if (!has)
        return FLOW_FAIL;
    *at = (struct cursor){at->s + 1, item.end};
    return FLOW_ON;
}

/* ---- Captures, balance, frontier ------------------------------------------------------------- */

static enum flow open_capture(struct tg_pattern *m, struct frames *frames, struct cursor *at)
{
    bool position = at->p + 1 < m->pattern_end && at->p[1] == ')';

    if (m->level == TG_PATTERN_CAPTURES) {
        m->error = "too many captures";
        return FLOW_BAD;
    }
    if (push(frames, FRAME_OPEN) == NULL)
        return FLOW_DEEP;
    m->capture[m->level++] = (struct tg_pattern_capture){
        (size_t)(at->s - m->subject), position ? TG_PATTERN_POSITION : TG_PATTERN_UNFINISHED};
    at->p += position ? 2 : 1;
    return FLOW_ON;
}

static enum flow close_capture(struct tg_pattern *m, struct frames *frames, struct cursor *at)
{
    struct frame *frame;
    unsigned i = m->level;

    do {
        if (i-- == 0) {
            m->error = "invalid pattern capture";
            return FLOW_BAD;
        }
    } while (m->capture[i].n != TG_PATTERN_UNFINISHED);
    frame = push(frames, FRAME_CLOSE);
    if (frame == NULL)
        return FLOW_DEEP;
    frame->next = (int)i;
    m->capture[i].n = (size_t)(at->s - m->subject) - m->capture[i].at;
    at->p++;
    return FLOW_ON;
}

/* %1 to %9. A position capture has no text and matches nothing. */
static enum flow back_reference(struct tg_pattern *m, struct cursor *at)
{
    unsigned index = at->p[1] - '0';
    const struct tg_pattern_capture *capture;

    capture = index > 0 && index <= m->level ? &m->capture[index - 1] : NULL;
    if (capture == NULL || capture->n == TG_PATTERN_UNFINISHED) {
        m->error = "invalid capture index";
        return FLOW_BAD;
    }
    if (capture->n == TG_PATTERN_POSITION || capture->n > (size_t)(m->subject_end - at->s))
        return FLOW_FAIL;
    spend(m, capture->n, BYTES_PER_STEP);
    if (capture->n > 0 && *at->s != m->subject[capture->at])
        return FLOW_FAIL;
    if (memcmp(at->s, m->subject + capture->at, capture->n) != 0)
        return FLOW_FAIL;
    *at = (struct cursor){at->s + capture->n, at->p + 2};
    return FLOW_ON;
}

/* %bxy: from an x to the y that balances it. Where both are one character, the next one does. */
static enum flow balance(struct tg_pattern *m, struct cursor *at)
{
    const uint8_t *s = at->s;
    size_t nesting = 1;

    if (m->pattern_end - at->p < 4) {
        m->error = "unbalanced pattern";
        return FLOW_BAD;
    }
    if (s >= m->subject_end || *s != at->p[2])
        return FLOW_FAIL;
    while (++s < m->subject_end) {
        if (*s == at->p[3]) {
            if (--nesting == 0)
                break;
        } else if (*s == at->p[2]) {
            nesting++;
        }
    }
    spend(m, (size_t)(s - at->s), BYTES_PER_STEP);
    if (s >= m->subject_end)
        return FLOW_FAIL;
    *at = (struct cursor){s + 1, at->p + 4};
    return FLOW_ON;
}

/* %f[set]: the byte before is not in the set, the byte here is; both ends count as zero bytes. */
static enum flow frontier(struct tg_pattern *m, struct cursor *at)
{
    struct item item;
    const uint8_t *p = at->p + 2;
    uint8_t before = at->s > m->subject ? at->s[-1] : 0;
    uint8_t here = at->s < m->subject_end ? *at->s : 0;

    if (p >= m->pattern_end || *p != '[') {
        m->error = "missing '[' after '%f' in pattern";
        return FLOW_BAD;
    }
    if (read_item(m, p, &item) != TG_PATTERN_MATCH)
        return FLOW_BAD;
    if (item_has(&item, before) || !item_has(&item, here))
        return FLOW_FAIL;
    at->p = item.end;
    return FLOW_ON;
}

/* ---- The main loop --------------------------------------------------------------------------- */

static inline enum flow step(struct tg_pattern *m, struct frames *frames, struct cursor *at)
{
    const uint8_t *p = at->p, *end = m->pattern_end;

    if (p == end)
        return FLOW_END;
    switch (*p) {
    case '(':
        return open_capture(m, frames, at);
    case ')':
        return close_capture(m, frames, at);
    case '$':
        if (p + 1 == end)
            return at->s == m->subject_end ? FLOW_END : FLOW_FAIL;
        break;
    case '%':
        if (p + 1 == end)
            break;
        if (p[1] == 'b')
            return balance(m, at);
        if (p[1] == 'f')
            return frontier(m, at);
        if (p[1] >= '0' && p[1] <= '9')
            return back_reference(m, at);
        break;
    }
    return step_item(m, frames, at);
}

/* Matches the whole pattern at `s`. */
static enum tg_pattern_verdict match_at(struct tg_pattern *m, const uint8_t *s)
{
    struct frames frames;
    struct cursor at = {s, m->pattern};

    frames.count = 0;
    m->level = 0;
    for (;;) {
        if (TG_UNLIKELY(m->steps == 0))
            return TG_PATTERN_STEPS;
        m->steps--;
        switch (step(m, &frames, &at)) {
        case FLOW_ON:
            break;
        case FLOW_FAIL:
            if (!backtrack(m, &frames, &at))
                return TG_PATTERN_NONE;
            break;
        case FLOW_END:
            m->from = (size_t)(s - m->subject);
            m->to = (size_t)(at.s - m->subject);
            return TG_PATTERN_MATCH;
        case FLOW_BAD:
            return TG_PATTERN_BAD;
        case FLOW_DEEP:
            m->error = "pattern too complex";
            return TG_PATTERN_DEEP;
        }
    }
}

/* ---- Where a match may start ----------------------------------------------------------------- */

/* What the first byte of every match must be like; ITEM_ANY when nothing is known. A set is copied
 * to `copy`, since matching may reuse its slot. */
static void read_first(struct tg_pattern *m, struct item *first, struct tg_pattern_set *copy)
{
    int c;
    const uint8_t *p;

    *first = (struct item){.kind = ITEM_ANY};
    m->level = 0;
    c = required_byte(m, m->pattern);
    if (c != NO_BYTE) {
        *first = (struct item){.kind = ITEM_CHAR, .c = (uint8_t)c};
        return;
    }
    p = skip_captures(m, m->pattern);
    if (p >= m->pattern_end || (*p != '[' && *p != '%'))
        return;
    if (*p == '%' && (p + 1 >= m->pattern_end || tg_pattern_class(p[1]) == NULL))
        return;
    if (read_item(m, p, first) != TG_PATTERN_MATCH || is_optional(m, first->end)) {
        *first = (struct item){.kind = ITEM_ANY};
        return;
    }
    if (first->kind == ITEM_SET) {
        *copy = *first->set;
        first->set = copy;
    }
}

/* The first const uint8_t *from `s` on where a match may start; the subject's end when there is
 * none. */
static const uint8_t *skip_to(struct tg_pattern *m, const struct item *first, const uint8_t *s)
{
    const uint8_t *start = s, *end = m->subject_end;

    if (first->kind == ITEM_ANY)
        return s;
    if (first->kind == ITEM_CHAR)
        return scan_byte(m, s, end, first->c);
    while (s < end && !item_has(first, *s))
        s++;
    spend(m, (size_t)(s - start), BYTES_PER_STEP);
    return s;
}

enum tg_pattern_verdict tg_pattern_find(struct tg_pattern *m, size_t from)
{
    struct item first;
    struct tg_pattern_set copy;
    enum tg_pattern_verdict verdict;
    const uint8_t *s = m->subject + from;

    tg_assert(from <= (size_t)(m->subject_end - m->subject));
    if (m->anchored)
        return match_at(m, s);
    read_first(m, &first, &copy);
    for (;; s++) {
        s = skip_to(m, &first, s);
        verdict = match_at(m, s);
        if (verdict != TG_PATTERN_NONE || s == m->subject_end)
            return verdict;
    }
}

void tg_pattern_init(struct tg_pattern *m, struct tg_str subject, struct tg_str pattern,
                     enum tg_pattern_caret caret, uint64_t steps)
{
    m->steps = steps;
    m->error = NULL;
    m->subject = (const uint8_t *)subject.p;
    m->subject_end = m->subject + subject.n;
    m->pattern = (const uint8_t *)pattern.p;
    m->pattern_end = m->pattern + pattern.n;
    m->anchored = caret == TG_PATTERN_CARET_ANCHORS && pattern.n > 0 && *pattern.p == '^';
    m->pattern += m->anchored;
    for (unsigned i = 0; i < TG_PATTERN_SETS; i++)
        m->slot[i].text = NULL;
}

/* ---- Plain search ---------------------------------------------------------------------------- */

bool tg_pattern_is_plain(struct tg_str pattern)
{
    /* Of ASCII's first word: $ % ( * + - . ? ; of its second: [ and ^. */
    static const struct tg_pattern_set special = {{UINT64_C(0x80006d3000000000), 0x48000000, 0, 0}};

    for (size_t i = 0; i < pattern.n; i++) {
        if (tg_pattern_set_has(&special, (uint8_t)pattern.p[i]))
            return false;
    }
    return true;
}

/* memmem() prepares tables before it looks at a byte, which pays when a few occurrences of the
 * first byte have led nowhere. */
size_t tg_pattern_find_plain(struct tg_str subject, struct tg_str needle, size_t from)
{
    const char *s = subject.p + from, *end = subject.p + subject.n;

    tg_assert(from <= subject.n);
    if (needle.n == 0)
        return from;
    for (int tries = 0; tries < 8; tries++) {
        s = s < end ? memchr(s, needle.p[0], (size_t)(end - s)) : NULL;
        if (s == NULL || (size_t)(end - s) < needle.n)
            return SIZE_MAX;
        if (memcmp(s, needle.p, needle.n) == 0)
            return (size_t)(s - subject.p);
        s++;
    }
    s = memmem(s, (size_t)(end - s), needle.p, needle.n);
    return s != NULL ? (size_t)(s - subject.p) : SIZE_MAX;
}
