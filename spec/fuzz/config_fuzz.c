/*
 * Any bytes as a configuration: it loads, or it is refused with something to read. The trusted Lua
 * files never fail themselves (TG_E_SCRIPT), whatever the script gives them. The file is in memory
 * only, and the first line that every configuration begins with is there already.
 */
#include "base/banned.h"
#include "config/scratch.h"

#include "base/assert.h"

#include <sys/mman.h>
#include <unistd.h>

static const char first_line[] = "local tg = require 'tidegate' ";

/* A name under which the bytes can be opened as a file. */
static int make_file(const uint8_t *data, size_t size, char path[static 32])
{
    int fd = memfd_create("gateway.lua", MFD_CLOEXEC);
    tg_assert(fd >= 0);
    ssize_t head = write(fd, first_line, sizeof(first_line) - 1);
    ssize_t body = write(fd, data, size);
    tg_assert(head == (ssize_t)sizeof(first_line) - 1 && body == (ssize_t)size);
    (void)snprintf(path, 32, "/proc/self/fd/%d", fd);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct tg_scratch_bounds bounds = {(size_t)8 << 20, 500 * TG_USEC_PER_MSEC};
    struct tg_scratch *scratch = NULL;
    char *said = NULL;
    size_t said_size = 0;
    char path[32];
    int fd = make_file(data, size, path);
    FILE *out = open_memstream(&said, &said_size);

    tg_assert(out != NULL && tg_scratch_new(&bounds, &scratch) == TG_OK);
    enum tg_err err = tg_scratch_load(scratch, path, out);
    (void)fclose(out);
    tg_assert(err == TG_OK || err == TG_E_CONFIG || err == TG_E_TIMEOUT || err == TG_E_LIMIT);
    tg_assert(err == TG_OK || said_size > 0);
    tg_scratch_free(&scratch);
    free(said);
    (void)close(fd);
    return 0;
}
