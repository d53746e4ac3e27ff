/* target.c: opening and writing, one small function per kind of destination.
 *
 * stdout and stderr are shared with whoever started us, so their mode is not touched: O_NONBLOCK
 * belongs to the open file, not to the descriptor, and would make a shell's own writes fail. Before
 * each write a poll without timeout asks for room instead. Sockets are asked by MSG_DONTWAIT, since
 * for them POLLOUT promises no number of bytes.
 *
 * Local syslog keeps the BSD form because that is what journald and rsyslog read on /dev/log; over
 * UDP it is RFC 5424, which has the year and the zone. Both say facility "daemon", severity "info":
 * the level of our own log stands in the line.
 */
#include "base/banned.h"
#include "observe/target.h"

#include "base/clock.h"
#include "base/fmt.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#define SYSLOG_PRIORITY "<30>"

static bool makes_nothing; /* constant while there are targets */

void tg_target_make_nothing(bool nothing)
{
    makes_nothing = nothing;
}

static bool takes_bytes_at_will(int fd)
{
    struct stat st;
    return fstat(fd, &st) != 0 || !S_ISREG(st.st_mode);
}

static bool is_socket(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

static void use_fd(struct tg_target *t, int fd)
{
    t->fd = fd;
    t->kind = takes_bytes_at_will(fd) ? TG_TARGET_STREAM : TG_TARGET_FILE;
    t->socket = is_socket(fd);
}

/* In place of a file that is not there: nothing, if its folder would take it. */
static int open_nothing(const char *path)
{
    char folder[PATH_MAX] = ".";
    const char *slash = strrchr(path, '/');
    size_t n = slash != NULL ? (size_t)(slash + 1 - path) : 0;
    if (n >= sizeof(folder)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(folder, path, n);
    if (faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) != 0)
        return -1;
    return open("/dev/null", O_WRONLY | O_CLOEXEC);
}

static int open_path(const char *path)
{
    int flags = O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    if (!makes_nothing)
        return open(path, flags | O_CREAT, 0640);
    int fd = open(path, flags);
    return fd < 0 && errno == ENOENT ? open_nothing(path) : fd;
}

static enum tg_err set_unix_address(struct tg_target *t, const char *path)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&t->address;
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof(un->sun_path))
        return TG_E_INVALID;
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, n + 1);
    t->address_size = sizeof(*un);
    return TG_OK;
}

/* `where` is "ADDRESS:PORT" or "[ADDRESS]:PORT"; names are not looked up, because that waits. */
static enum tg_err set_udp_address(struct tg_target *t, const char *where)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_DGRAM,
                                   .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char host[INET6_ADDRSTRLEN];
    const char *colon = strrchr(where, ':');
    if (colon == NULL || colon == where || colon[1] == '\0')
        return TG_E_INVALID;
    struct tg_str name = tg_str(where, (size_t)(colon - where));
    if (name.p[0] == '[' && name.p[name.n - 1] == ']')
        name = tg_str_sub(name, 1, name.n - 1);
    if (name.n >= sizeof(host))
        return TG_E_INVALID;
    memcpy(host, name.p, name.n);
    host[name.n] = '\0';
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
        return TG_E_INVALID;
    memcpy(&t->address, found->ai_addr, found->ai_addrlen);
    t->address_size = found->ai_addrlen;
    freeaddrinfo(found);
    return TG_OK;
}

/* A socket that is connected to the syslog daemon; t->fd is -1 when that fails. */
static enum tg_err connect_syslog(struct tg_target *t)
{
    t->fd = socket(t->address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (t->fd < 0)
        return TG_E_SYSTEM;
    if (connect(t->fd, (struct sockaddr *)&t->address, t->address_size) == 0)
        return TG_OK;
    int saved = errno;
    close(t->fd);
    t->fd = -1;
    errno = saved;
    return TG_E_SYSTEM;
}

static enum tg_err init_syslog(struct tg_target *t, const char *rest)
{
    enum tg_err err = TG_E_INVALID;
    if (*rest == '\0' || strncmp(rest, ":unix:", 6) == 0) {
        t->kind = TG_TARGET_SYSLOG_UNIX;
        err = set_unix_address(t, *rest == '\0' ? "/dev/log" : rest + 6);
    } else if (strncmp(rest, ":udp:", 5) == 0) {
        t->kind = TG_TARGET_SYSLOG_UDP;
        err = set_udp_address(t, rest + 5);
    }
    if (err != TG_OK)
        return err;
    (void)!connect_syslog(t); /* write tries again */
    return TG_OK;
}

enum tg_err tg_target_init(struct tg_target *t, const char *spec)
{
    *t = (struct tg_target){.fd = -1};
    if (strcmp(spec, "stdout") == 0 || strcmp(spec, "stderr") == 0) {
        use_fd(t, strcmp(spec, "stdout") == 0 ? STDOUT_FILENO : STDERR_FILENO);
        return TG_OK;
    }
    if (strncmp(spec, "syslog", 6) == 0 && (spec[6] == '\0' || spec[6] == ':'))
        return init_syslog(t, spec + 6);
    int fd = open_path(spec);
    if (fd < 0)
        return TG_E_SYSTEM;
    t->path = spec;
    use_fd(t, fd);
    return TG_OK;
}

void tg_target_release(struct tg_target *t)
{
    bool owned = t->path != NULL || t->address_size > 0;
    if (owned && t->fd >= 0)
        close(t->fd);
    t->fd = -1;
}

enum tg_err tg_target_reopen(struct tg_target *t)
{
    if (t->address_size > 0) {
        tg_target_release(t);
        return connect_syslog(t);
    }
    if (t->path == NULL)
        return TG_OK;
    int fd = open_path(t->path);
    if (fd < 0)
        return TG_E_SYSTEM;
    tg_target_release(t);
    use_fd(t, fd);
    return TG_OK;
}

/* What a failed write means for the lines. */
static enum tg_err outcome_of_errno(void)
{
    switch (errno) {
    case EAGAIN:
    case EINTR:
        return TG_E_AGAIN;
    case EPIPE:
    case ECONNRESET:
    case EBADF:
        return TG_E_RESET;
    case EMSGSIZE:
        return TG_E_LIMIT;
    default:
        return TG_E_SYSTEM;
    }
}

static enum tg_err outcome(ssize_t wrote, size_t *done)
{
    if (wrote < 0)
        return outcome_of_errno();
    *done = (size_t)wrote;
    return wrote > 0 ? TG_OK : TG_E_AGAIN;
}

static bool has_room(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    return poll(&p, 1, 0) == 1; /* errors count as room: the write tells which */
}

static enum tg_err write_stream(struct tg_target *t, const char *p, size_t n, size_t *done)
{
    if (n > PIPE_BUF) {
        const char *newline = memrchr(p, '\n', PIPE_BUF);
        n = newline != NULL ? (size_t)(newline + 1 - p) : PIPE_BUF;
    }
    if (!t->socket && !has_room(t->fd))
        return TG_E_AGAIN;
    ssize_t wrote = t->socket ? send(t->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL) : write(t->fd, p, n);
    return outcome(wrote, done);
}

static enum tg_err write_file(struct tg_target *t, const char *p, size_t n, size_t *done)
{
    return outcome(write(t->fd, p, n), done);
}

/* "Jan  1 00:00:00 tidegate[7]: " in local time, as the local daemons expect it. */
static void local_header(struct tg_fmt *f, uint64_t real)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t seconds = (time_t)(real / TG_USEC_PER_SEC);
    struct tm tm = {0};
    localtime_r(&seconds, &tm);
    tg_fmt_printf(f,
                  SYSLOG_PRIORITY "%.3s %2d %02d:%02d:%02d tidegate[%d]: ", months + 3 * tm.tm_mon,
                  tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)getpid());
}

/* RFC 5424, 6: version 1, time, host, application, process, no message id, no structured data. */
static void rfc5424_header(struct tg_fmt *f, uint64_t real)
{
    char host[256] = "-";
    char time[TG_CLOCK_RFC3339_LEN];
    if (gethostname(host, sizeof(host) - 1) != 0 || host[0] == '\0')
        memcpy(host, "-", 2);
    tg_clock_rfc3339(real, time);
    tg_fmt_printf(f, SYSLOG_PRIORITY "1 %.*s %s tidegate %d - - ", (int)sizeof(time), time, host,
                  (int)getpid());
}

static enum tg_err write_datagram(struct tg_target *t, const char *p, size_t n, size_t *done)
{
    char header[512];
    struct tg_fmt f;
    struct tg_clock now;
    const char *newline = memchr(p, '\n', n);
    size_t line = newline != NULL ? (size_t)(newline - p) : n;
    if (t->fd < 0 && connect_syslog(t) != TG_OK)
        return TG_E_SYSTEM;
    tg_clock_init(&now);
    tg_fmt_init(&f, header, sizeof(header));
    if (t->kind == TG_TARGET_SYSLOG_UNIX)
        local_header(&f, now.real);
    else
        rfc5424_header(&f, now.real);
    struct iovec parts[2] = {{header, f.n}, {(char *)(uintptr_t)p, line}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    if (sendmsg(t->fd, &message, MSG_NOSIGNAL) >= 0) {
        *done = TG_MIN(line + 1, n);
        return TG_OK;
    }
    enum tg_err err = outcome_of_errno();
    if (err == TG_E_AGAIN || err == TG_E_LIMIT)
        return err;
    int saved = errno; /* the daemon went away: connect again next time */
    tg_target_release(t);
    errno = saved;
    return TG_E_SYSTEM;
}

enum tg_err tg_target_write(struct tg_target *t, const char *p, size_t n, size_t *done)
{
    *done = 0;
    switch (t->kind) {
    case TG_TARGET_STREAM:
        return write_stream(t, p, n, done);
    case TG_TARGET_FILE:
        return write_file(t, p, n, done);
    case TG_TARGET_SYSLOG_UNIX:
    case TG_TARGET_SYSLOG_UDP:
        return write_datagram(t, p, n, done);
    }
    return TG_E_INVALID;
}
