/* watch.c: see watch.h.
 *
 * Folders rather than files, because editors replace files and because files may come that were
 * missing. A set of folders is an inotify instance of its own, so that the old watches go with it.
 */
#include "base/banned.h"
#include "cli/watch.h"

#include "base/clock.h"
#include "base/mem.h"

#include <sys/inotify.h>
#include <unistd.h>

#define PAUSE         (100 * TG_USEC_PER_MSEC)
#define LONGEST_PAUSE TG_USEC_PER_SEC
#define LOOK_EVERY    (60 * TG_USEC_PER_SEC) /* at certificates, whatever happened */
#define EVENTS                                                                                     \
    (IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB |            \
     IN_DELETE_SELF | IN_MOVE_SELF)

struct tg_watch_files {
    int fd;
    enum tg_sources_part part;
    struct tg_sources *sources; /* one reference, or NULL */
    uint64_t looked;            /* us: at the files */
    uint64_t first;             /* us: something happened; 0: nothing since */
    uint64_t last;
};

enum tg_err tg_watch_files_new(enum tg_sources_part part, struct tg_watch_files **out)
{
    struct tg_watch_files *files = tg_mem_zalloc(TG_MEM_OTHER, 1, sizeof(*files));
    if (files == NULL)
        return TG_E_NOMEM;
    files->part = part;
    files->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (files->fd < 0) {
        tg_mem_free(TG_MEM_OTHER, files);
        return TG_E_SYSTEM;
    }
    *out = files;
    return TG_OK;
}

void tg_watch_files_free(struct tg_watch_files **files)
{
    struct tg_watch_files *mine = *files;
    *files = NULL;
    if (mine == NULL)
        return;
    close(mine->fd);
    tg_sources_unref(&mine->sources);
    tg_mem_free(TG_MEM_OTHER, mine);
}

/* Watches the folder of `path`, or, where a pattern begins, the one above it. A folder that is
 * watched already is so once. */
static int watch_folder(int fd, struct tg_str path)
{
    char folder[4096];
    size_t end = 0;
    for (size_t i = 0; i < path.n && strchr("*?[", path.p[i]) == NULL; i++)
        end = path.p[i] == '/' ? i + 1 : end;
    if (end >= sizeof(folder))
        return -1;
    memcpy(folder, end > 0 ? path.p : "./", end > 0 ? end : 3);
    folder[end > 0 ? end : 2] = '\0';
    return inotify_add_watch(fd, folder, EVENTS);
}

void tg_watch_files_set(struct tg_watch_files *files, struct tg_sources *sources, bool restored)
{
    struct tg_sources *now = NULL;
    int highest = 0;
    if (restored && tg_sources_renew(sources, files->part, &now) != TG_OK)
        return; /* out of memory: what was watched, and how that was, stays */
    sources = restored ? now : tg_sources_ref(sources);
    tg_sources_unref(&files->sources);
    files->sources = sources;
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd < 0)
        return; /* the old folders stay watched */
    for (const struct tg_source_item *source = tg_sources_first(sources);
         source != NULL && highest < TG_WATCH_FOLDERS_MAX; source = tg_sources_next(source)) {
        if (source->kind != TG_SOURCE_ENV && (source->pem || files->part == TG_SOURCES_ALL))
            highest = TG_MAX(highest, watch_folder(fd, source->name));
    }
    close(files->fd);
    files->fd = fd;
    files->first = files->last = tg_clock_mono_now(); /* what changed since they were read */
}

int tg_watch_files_fd(const struct tg_watch_files *files)
{
    return files != NULL ? files->fd : -1;
}

uint64_t tg_watch_files_due(const struct tg_watch_files *files)
{
    if (files == NULL)
        return UINT64_MAX;
    if (files->first == 0)
        return files->part == TG_SOURCES_PEM ? files->looked + LOOK_EVERY : UINT64_MAX;
    return TG_MIN(files->last + PAUSE, files->first + LONGEST_PAUSE);
}

bool tg_watch_files_changed(struct tg_watch_files *files, uint64_t now)
{
    char room[4096];
    bool happened = false;
    if (files == NULL)
        return false;
    while (read(files->fd, room, sizeof(room)) > 0)
        happened = true;
    if (happened) {
        files->last = now;
        files->first = files->first != 0 ? files->first : now;
    }
    if (now < tg_watch_files_due(files))
        return false;
    files->first = 0;
    files->looked = now;
    return files->sources != NULL && tg_sources_are_stale(files->sources, files->part);
}
