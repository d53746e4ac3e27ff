/* assert.c: the end of a process that found itself wrong. Writes with one system call, takes no
 * lock and allocates nothing, because the heap may be what is broken. */
#include "base/banned.h"
#include "base/assert.h"

#include <unistd.h>

void tg_assert_fail(const char *expr, const char *file, int line, const char *func)
{
    char text[512];
    int n = snprintf(text, sizeof(text), "tidegate: assertion failed: %s (%s:%d, %s)\n", expr, file,
                     line, func);
    size_t len = n < 0 ? 0 : TG_MIN((size_t)n, sizeof(text) - 1);
    ssize_t ignored = write(STDERR_FILENO, text, len);
    (void)ignored;
    abort();
}
