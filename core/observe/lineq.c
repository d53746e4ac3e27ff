/* lineq.c: the ring, and the bookkeeping that makes drops add up.
 *
 *        at                                  at + used
 *   [....|line\n|line\n|our note\n|line\n|.............]
 *                                 ^ at + note_end
 *
 * At most one note is in the ring at a time. When a target that is gone takes the ring's content
 * with it, the note's own count goes back to `untold` and the note itself is not counted, so that
 * at any time: lines pushed = lines read + lines queued + lines dropped, and what all notes that
 * were read tell, plus `note_lines`, plus `untold`, is `dropped`.
 */
#include "base/banned.h"
#include "observe/lineq.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/fmt.h"
#include "base/mem.h"

#include <inttypes.h>

#define NOTE_MAX 160

enum tg_err tg_lineq_init(struct tg_lineq *q, size_t size)
{
    tg_assert(size >= TG_LINEQ_MIN);
    *q = (struct tg_lineq){.size = size, .ring = tg_mem_alloc(TG_MEM_OBSERVE, size)};
    return q->ring != NULL ? TG_OK : TG_E_NOMEM;
}

void tg_lineq_release(struct tg_lineq *q)
{
    tg_mem_free(TG_MEM_OBSERVE, q->ring);
    q->ring = NULL;
}

/* Index in the ring of the byte `offset` behind `at`. */
static size_t index_of(const struct tg_lineq *q, size_t offset)
{
    size_t index = q->at + offset;
    return index >= q->size ? index - q->size : index;
}

static void append(struct tg_lineq *q, const char *p, size_t n)
{
    size_t end = index_of(q, q->used);
    size_t first = TG_MIN(n, q->size - end);
    memcpy(q->ring + end, p, first);
    memcpy(q->ring, p + first, n - first);
    q->used += n;
}

static size_t format_note(const struct tg_lineq *q, char *out)
{
    char time[TG_CLOCK_RFC3339_LEN];
    struct tg_clock now;
    struct tg_fmt f;
    tg_clock_init(&now);
    tg_clock_rfc3339(now.real, time);
    tg_fmt_init(&f, out, NOTE_MAX);
    if (q->json)
        tg_fmt_printf(&f, "{\"time\":\"%.*s\",\"level\":\"warn\",\"component\":\"log\",",
                      (int)sizeof(time), time);
    else
        tg_fmt_printf(&f, "%.*s warn log: ", (int)sizeof(time), time);
    tg_fmt_printf(&f,
                  q->json ? "\"message\":\"dropped %" PRIu64 " lines\"}\n"
                          : "dropped %" PRIu64 " lines\n",
                  q->untold);
    tg_assert(!f.failed);
    return f.n;
}

/* Puts in a note if one is due and leaves room for `spare` bytes. */
static void append_note(struct tg_lineq *q, size_t spare)
{
    char note[NOTE_MAX];
    if (q->untold == 0 || q->note_end > 0 || q->muted)
        return;
    size_t n = format_note(q, note);
    if (q->size - q->used < n + spare)
        return;
    append(q, note, n);
    q->note_end = q->used;
    q->note_lines = q->untold;
    q->untold = 0;
}

static bool takes(struct tg_lineq *q, size_t n)
{
    size_t room = q->size - q->used;
    if (n > TG_LINEQ_LINE_MAX || (q->dropping && room < q->size / 4))
        return false;
    q->dropping = room < n;
    return !q->dropping;
}

bool tg_lineq_push(struct tg_lineq *q, const char *p, size_t n)
{
    if (!takes(q, n)) {
        q->dropped++;
        q->untold++;
        return false;
    }
    q->json = p[0] == '{';
    append_note(q, n);
    append(q, p, n);
    q->lines++;
    return true;
}

size_t tg_lineq_peek(struct tg_lineq *q, size_t skip, struct tg_str out[2])
{
    tg_assert(skip <= q->used);
    if (q->used == 0)
        append_note(q, 0);
    size_t n = q->used - skip;
    size_t from = index_of(q, skip);
    size_t first = TG_MIN(n, q->size - from);
    out[0] = tg_str(q->ring + from, first);
    out[1] = tg_str(q->ring, n - first);
    return n;
}

void tg_lineq_advance(struct tg_lineq *q, size_t n)
{
    tg_assert(n <= q->used);
    q->at = index_of(q, n);
    q->used -= n;
    q->note_end = q->note_end > n ? q->note_end - n : 0;
    if (q->used == 0)
        q->at = 0; /* a queue that is read in time touches few pages */
}

uint64_t tg_lineq_discard(struct tg_lineq *q, size_t n)
{
    uint64_t lines = 0;
    tg_assert(n <= q->used);
    for (size_t i = 0; i < n; i++)
        lines += q->ring[index_of(q, i)] == '\n';
    if (q->note_end > 0 && q->note_end <= n) {
        lines--;
        q->untold += q->note_lines;
    }
    tg_lineq_advance(q, n);
    q->dropped += lines;
    q->untold += lines;
    return lines;
}

void tg_lineq_reset(struct tg_lineq *q)
{
    q->at = q->used = q->note_end = 0;
    q->untold = 0;
    q->dropping = false;
}

void tg_lineq_mute(struct tg_lineq *q, bool muted)
{
    q->muted = muted;
}

bool tg_lineq_is_idle(const struct tg_lineq *q)
{
    return q->used == 0 && (q->untold == 0 || q->muted);
}
