/* world.c: see world.h.
 *
 * Only regular files are read, opened without blocking: a FIFO or a device would hold who
 * evaluates. They are read to their end, since what /proc and /sys hold is not as large as they
 * say; one that was written to meanwhile is refused, so that nobody gets half of the old text and
 * half of the new.
 *
 * A folder that cannot be listed is not taken for an empty one: what it holds would be gone from a
 * configuration that is valid.
 */
#include "base/banned.h"
#include "config/world.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

#define TOO_LARGE "larger than 16 MiB"

/* A copy of `n` bytes as the text of `out`. */
static enum tg_err set_text(struct tg_source_item *out, const char *p, size_t n, bool absent)
{
    char *text = tg_mem_alloc(TG_MEM_CONFIG, n + 1);

    if (text == NULL)
        return TG_E_NOMEM;
    memcpy(text, p, n);
    text[n] = '\0';
    out->text = tg_str(text, n);
    out->absent = absent;
    return TG_OK;
}

static enum tg_err refuse(struct tg_source_item *out, const char *why)
{
    return set_text(out, why, strlen(why), true);
}

static enum tg_err refuse_errno(struct tg_source_item *out, int number)
{
    char room[128];

    return refuse(out, strerror_r(number, room, sizeof(room)));
}

/* ---- Files ----------------------------------------------------------------------------------- */

/* Reads from `fd` to its end, at most TG_WORLD_FILE_MAX bytes; some `expected` are. */
static enum tg_err read_to_end(int fd, size_t expected, struct tg_source_item *out)
{
    size_t room = expected + 1; /* one more, to see the end; there is always some left */
    size_t n = 0;
    ssize_t got = -1;
    char *text = tg_mem_alloc(TG_MEM_CONFIG, room);
    while (text != NULL && got != 0 && n <= TG_WORLD_FILE_MAX) {
        got = read(fd, text + n, room - n);
        if (got < 0 && errno != EINTR)
            break;
        n += got > 0 ? (size_t)got : 0;
        if (n < room)
            continue;
        room += TG_MAX(room, (size_t)4096);
        char *larger = tg_mem_realloc(TG_MEM_CONFIG, text, room);
        if (larger == NULL)
            tg_mem_free(TG_MEM_CONFIG, text);
        text = larger;
    }
    if (text == NULL)
        return TG_E_NOMEM;
    if (got != 0) {
        int number = errno;
        tg_mem_free(TG_MEM_CONFIG, text);
        return got < 0 ? refuse_errno(out, number) : refuse(out, TOO_LARGE);
    }
    text[n] = '\0';
    out->text = tg_str(text, n);
    out->absent = false;
    return TG_OK;
}

static bool is_as_it_was(const struct stat *before, int fd)
{
    struct stat now;

    return fstat(fd, &now) == 0 && now.st_size == before->st_size &&
           now.st_mtim.tv_sec == before->st_mtim.tv_sec &&
           now.st_mtim.tv_nsec == before->st_mtim.tv_nsec;
}

static enum tg_err read_open(int fd, struct tg_source_item *out)
{
    struct stat info;

    if (fstat(fd, &info) != 0)
        return refuse_errno(out, errno);
    if (!S_ISREG(info.st_mode))
        return refuse(out, "not a regular file");
    if ((size_t)info.st_size > TG_WORLD_FILE_MAX)
        return refuse(out, TOO_LARGE);
    enum tg_err err = read_to_end(fd, (size_t)info.st_size, out);
    if (err != TG_OK || out->absent || is_as_it_was(&info, fd))
        return err;
    tg_mem_free(TG_MEM_CONFIG, (void *)(uintptr_t)out->text.p);
    return refuse(out, "it changed while it was read");
}

static enum tg_err read_file(const char *path, struct tg_source_item *out)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0)
        return refuse_errno(out, errno);
    enum tg_err err = read_open(fd, out);
    (void)close(fd);
    return err;
}

/* ---- The others ------------------------------------------------------------------------------ */

/* The paths, sorted, each followed by a NUL. */
static enum tg_err join_paths(const glob_t *matches, struct tg_source_item *out)
{
    size_t n = 0;

    for (size_t i = 0; i < matches->gl_pathc; i++)
        n += strlen(matches->gl_pathv[i]) + 1;
    char *text = tg_mem_alloc(TG_MEM_CONFIG, n + 1);
    if (text == NULL)
        return TG_E_NOMEM;
    out->text = tg_str(text, n);
    out->absent = false;
    for (size_t i = 0; i < matches->gl_pathc; i++) {
        size_t length = strlen(matches->gl_pathv[i]) + 1;
        memcpy(text, matches->gl_pathv[i], length);
        text += length;
    }
    return TG_OK;
}

/* What kept glob() from listing a folder; it has no argument to hand that on. */
static _Thread_local int unlisted;

/* A folder that is not there holds nothing. */
static int on_unlisted(const char *folder, int number)
{
    (void)folder;
    if (number != ENOENT)
        unlisted = number;
    return number != ENOENT;
}

static enum tg_err list_paths(const char *pattern, struct tg_source_item *out)
{
    glob_t matches = {0};
    enum tg_err err;

    unlisted = 0;
    int status = glob(pattern, 0, on_unlisted, &matches);
    if (status == GLOB_NOSPACE)
        err = TG_E_NOMEM;
    else if (unlisted != 0)
        err = refuse_errno(out, unlisted);
    else
        err = join_paths(&matches, out);
    globfree(&matches);
    return err;
}

static enum tg_err read_variable(const char *name, struct tg_source_item *out)
{
    const char *value = getenv(name);

    return value != NULL ? set_text(out, value, strlen(value), false) : refuse(out, "");
}

enum tg_err tg_world_read(enum tg_source_kind kind, const char *name, struct tg_source_item *out)
{
    switch (kind) {
    case TG_SOURCE_FILE:
        return read_file(name, out);
    case TG_SOURCE_GLOB:
        return list_paths(name, out);
    default:
        return read_variable(name, out);
    }
}
