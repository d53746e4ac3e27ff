/* world.c: see world.h.
 *
 * Only regular files are read, opened without blocking: a FIFO or a device would hold who
 * evaluates.
 */
#include "base/banned.h"
#include "config/world.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* All of the descriptor's `n` bytes into `room`; false when it ends early or fails. */
static bool read_all(int fd, char *room, size_t n)
{
    while (n > 0) {
        ssize_t got = read(fd, room, n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        room += got;
        n -= (size_t)got;
    }
    return true;
}

static enum tg_err read_open(int fd, struct tg_source_item *out)
{
    struct stat info;

    if (fstat(fd, &info) != 0)
        return refuse_errno(out, errno);
    if (!S_ISREG(info.st_mode))
        return refuse(out, "not a regular file");
    size_t n = (size_t)info.st_size;
    if (n > TG_WORLD_FILE_MAX)
        return refuse(out, "larger than 16 MiB");
    char *text = tg_mem_alloc(TG_MEM_CONFIG, n + 1);
    if (text == NULL)
        return TG_E_NOMEM;
    if (!read_all(fd, text, n)) {
        tg_mem_free(TG_MEM_CONFIG, text);
        return refuse(out, "it changed while it was read");
    }
    text[n] = '\0';
    out->text = tg_str(text, n);
    out->absent = false;
    return TG_OK;
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

static enum tg_err list_paths(const char *pattern, struct tg_source_item *out)
{
    glob_t matches = {0};

    (void)glob(pattern, 0, NULL, &matches);
    enum tg_err err = join_paths(&matches, out);
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
