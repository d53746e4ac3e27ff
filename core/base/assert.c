/* assert.c: the end of a process that found itself wrong. Writes with one system call, takes no
 * lock and allocates nothing, because the heap may be what is broken; and only where stderr has
 * room, because a process that waits for a reader does not end, and is not replaced. */
#include "base/banned.h"
#include "base/assert.h"

#include <poll.h>
#include <unistd.h>

void tg_assert_fail(const char *expr, const char *file, int line, const char *func)
{
    char text[512];
    int n = snprintf(text, sizeof(text), "tidegate: assertion failed: %s (%s:%d, %s)\n", expr, file,
                     line, func);
    size_t len = n < 0 ? 0 : TG_MIN((size_t)n, sizeof(text) - 1);
    struct pollfd room = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&room, 1, 0) == 1)
        (void)!write(STDERR_FILENO, text, len);
    abort();
}
