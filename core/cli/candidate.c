/* candidate.c: see candidate.h.
 *
 * Notes are written into memory that has a descriptor, because they go two ways: to stderr, and to
 * the gateway process for who asked through the admin listener.
 */
#include "base/banned.h"
#include "cli/candidate.h"

#include "base/err.h"
#include "config/load.h"
#include "observe/log.h"

#include <sys/mman.h>
#include <unistd.h>

#define SHOWN_MAX 960 /* bytes of a mistake in a reason, which says more behind it */

static FILE *open_notes(void)
{
    int fd = memfd_create("tidegate-notes", MFD_CLOEXEC);
    FILE *notes = fd >= 0 ? fdopen(fd, "w+") : NULL;
    if (notes == NULL && fd >= 0)
        close(fd);
    return notes != NULL ? notes : stderr;
}

void tg_candidate_refuse(struct tg_candidate *c, enum tg_err err, const char *reason)
{
    c->decided = true;
    c->outcome = TG_OUTCOME_REFUSED;
    c->err = err;
    snprintf(c->reason, sizeof(c->reason), "%s", reason);
    tg_snapshot_unref(&c->snapshot);
}

/* The mistake that a line tells: of the configuration, with a code ("[TG1204]"), or of what is
 * around it. NULL: it tells none. */
static const char *mistake_in(const char *line)
{
    static const char around[] = "tidegate: ";
    if (strncmp(line, around, strlen(around)) == 0)
        return line + strlen(around);
    bool told = line[0] != ' ' && strstr(line, " [TG") != NULL;
    return told && strstr(line, ": warning: ") == NULL ? line : NULL;
}

/* The first mistake that was printed, and how many there are: where it is read, in the status of
 * the gateway or in a log of single lines, what was printed is not above it. */
static void name_mistake(struct tg_candidate *c)
{
    char line[TG_LOG_LINE_MAX];
    unsigned count = 0;
    char first[sizeof(line)];
    bool begins = true;
    rewind(c->notes);
    while (fgets(line, sizeof(line), c->notes) != NULL) {
        size_t n = strcspn(line, "\n");
        bool begun = begins;
        begins = line[n] == '\n';
        line[n] = '\0';
        const char *mistake = begun ? mistake_in(line) : NULL;
        if (mistake != NULL && count++ == 0)
            memcpy(first, mistake, strlen(mistake) + 1);
    }
    (void)fseek(c->notes, 0, SEEK_END);
    if (count == 0)
        return;
    int shown = snprintf(c->reason, sizeof(c->reason), "%.*s", SHOWN_MAX, first);
    if (count > 1)
        snprintf(c->reason + shown, sizeof(c->reason) - (size_t)shown,
                 " (the first of %u mistakes)", count);
}

void tg_candidate_refuse_mistakes(struct tg_candidate *c, enum tg_err err)
{
    tg_candidate_refuse(c, err, "it has mistakes, which stderr tells");
    if (c->notes != stderr)
        name_mistake(c);
}

static void refuse_revision(struct tg_candidate *c, const struct tg_revisions *revisions)
{
    if (c->order.revision == 0)
        snprintf(c->reason, sizeof(c->reason), "there is no revision before this one");
    else
        snprintf(c->reason, sizeof(c->reason), "revision %u is not kept; kept are %u to %u",
                 c->order.revision, revisions->v[0].number, tg_revisions_newest(revisions)->number);
    c->decided = true;
    c->err = TG_E_NOT_FOUND;
}

/* The sources of the revision that is asked for, or new ones that record. */
static void find_sources(struct tg_candidate *c, const struct tg_revisions *revisions)
{
    const struct tg_revision *to = NULL;
    if (c->order.kind == TG_ORDER_CERTIFICATES) {
        enum tg_err err =
            tg_sources_renew(tg_revisions_newest(revisions)->sources, TG_SOURCES_PEM, &c->sources);
        if (err != TG_OK)
            tg_candidate_refuse(c, err, tg_err_text(err));
        return;
    }
    if (c->order.kind != TG_ORDER_ROLLBACK) {
        c->sources = tg_sources_new();
        if (c->sources == NULL)
            tg_candidate_refuse(c, TG_E_NOMEM, tg_err_text(TG_E_NOMEM));
        return;
    }
    to = c->order.revision == 0 ? tg_revisions_previous(revisions)
                                : tg_revisions_find(revisions, c->order.revision);
    if (to == NULL) {
        refuse_revision(c, revisions);
        return;
    }
    c->sources = tg_sources_ref(to->sources);
    c->origin = to->number;
}

static void compare(struct tg_candidate *c, const struct tg_revision *now)
{
    if (now == NULL || !tg_sources_equal(c->sources, now->sources))
        return;
    tg_snapshot_unref(&c->snapshot);
    c->decided = true;
    c->outcome = TG_OUTCOME_UNCHANGED;
    snprintf(c->reason, sizeof(c->reason), "nothing has changed, revision %u stays in force",
             now->number);
}

void tg_candidate_make(struct tg_candidate *c, const char *path,
                       const struct tg_revisions *revisions, const struct tg_order *order)
{
    const struct tg_revision *now = tg_revisions_newest(revisions);
    *c = (struct tg_candidate){.order = *order, .notes = open_notes()};
    c->number = now != NULL ? now->number + 1 : 1;
    find_sources(c, revisions);
    if (c->decided)
        return;
    enum tg_err err = tg_config_load_from(path, c->sources, c->notes, &c->snapshot);
    tg_sources_seal(c->sources);
    if (err != TG_OK) {
        c->snapshot = NULL;
        tg_candidate_refuse_mistakes(c, err);
        return;
    }
    c->snapshot->revision = c->number;
    compare(c, now);
}

int tg_candidate_notes(struct tg_candidate *c)
{
    if (c->notes == NULL || c->notes == stderr || fflush(c->notes) != 0)
        return -1;
    return fileno(c->notes);
}

void tg_candidate_tell(struct tg_candidate *c)
{
    char room[4096];
    int fd = tg_candidate_notes(c);
    ssize_t n = 0;
    for (off_t at = 0; fd >= 0 && (n = pread(fd, room, sizeof(room), at)) > 0; at += n)
        (void)fwrite(room, 1, (size_t)n, stderr);
}

void tg_candidate_log(struct tg_candidate *c)
{
    char room[TG_LOG_LINE_MAX];
    int fd = tg_candidate_notes(c);
    ssize_t n = 0;
    for (off_t at = 0; fd >= 0 && (n = pread(fd, room, sizeof(room) - 1, at)) > 0;) {
        const char *newline = memrchr(room, '\n', (size_t)n);
        size_t taken = newline != NULL ? (size_t)(newline + 1 - room) : (size_t)n;
        size_t shown = taken;
        if (newline == NULL) /* the end of the text, or a line that is longer */
            room[shown++] = '\n';
        tg_log_text(tg_str(room, shown));
        at += (off_t)taken;
    }
}

void tg_candidate_release(struct tg_candidate *c)
{
    tg_snapshot_unref(&c->snapshot);
    tg_sources_unref(&c->sources);
    if (c->notes != NULL && c->notes != stderr)
        (void)fclose(c->notes);
    *c = (struct tg_candidate){.order = {.number = 0}};
}
