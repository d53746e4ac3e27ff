/*
 * What several unit tests need: a folder of their own, pipes with a path, and reading that waits
 * for what must come, never for a time.
 *
 * Include it after the unit's own header. cmocka's own header must follow setjmp.h, stdarg.h and
 * stdint.h; this file brings all of them, and the system headers that most tests want. A failed
 * wait fails the test by cmocka's assertions.
 */
#ifndef TG_SPEC_CORE_SUPPORT_H
#define TG_SPEC_CORE_SUPPORT_H

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* How long something that must happen may take at most, in ms. */
#define SUPPORT_PATIENCE 10000

/* A new folder under the system's folder for temporary files; path into `out`. */
static inline void support_folder(char out[static 64])
{
    const char *base = getenv("TMPDIR");
    int n = snprintf(out, 64, "%s/tidegate-XXXXXX", base != NULL ? base : "/tmp");
    assert_in_range(n, 1, 63);
    assert_non_null(mkdtemp(out));
}

static inline int support_remove_one(const char *path, const struct stat *st, int flag,
                                     struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

/* Removes a folder and what is in it. */
static inline void support_remove(const char *folder)
{
    nftw(folder, support_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* A pipe; `path` becomes a name under which its writing end can be opened. */
struct support_pipe {
    int reader; /* does not block */
    int writer; /* keeps the pipe open; close it to let the reader see the end */
    char path[32];
};

static inline void support_pipe_open(struct support_pipe *p)
{
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    p->reader = fds[0];
    p->writer = fds[1];
    snprintf(p->path, sizeof(p->path), "/dev/fd/%d", p->writer);
}

static inline void support_pipe_close(struct support_pipe *p)
{
    close(p->reader);
    close(p->writer);
}

/* Waits until `fd` can be read. */
static inline void support_await(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, SUPPORT_PATIENCE), 1);
}

/* Reads from `fd` until `out` holds the line break number `lines`; returns how many bytes came.
 * `out` is terminated. */
static inline size_t support_read_lines(int fd, char *out, size_t cap, size_t lines)
{
    size_t n = 0;
    size_t seen = 0;
    while (seen < lines) {
        assert_true(n + 1 < cap);
        support_await(fd);
        ssize_t got = read(fd, out + n, cap - n - 1);
        assert_true(got > 0);
        for (ssize_t i = 0; i < got; i++)
            seen += out[n + (size_t)i] == '\n';
        n += (size_t)got;
    }
    out[n] = '\0';
    return n;
}

/* The whole file, terminated; the caller frees it. */
static inline char *support_read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long n = ftell(file);
    assert_true(n >= 0);
    rewind(file);
    char *text = malloc((size_t)n + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, (size_t)n, file), (size_t)n);
    text[n] = '\0';
    fclose(file);
    if (size != NULL)
        *size = (size_t)n;
    return text;
}

#endif
