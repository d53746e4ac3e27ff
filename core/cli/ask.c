/* ask.c: see ask.h. The request says "Connection: close", so the answer ends with the connection,
 * and its length says whether that was all of it. */
#include "base/banned.h"
#include "cli/ask.h"

#include "admin/admin.h"
#include "base/mem.h"
#include "config/load.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- Whom --------------------------------------------------------------------------------------
 */

/* Without a word where the address is found, and with all of them where it is not. */
static enum tg_err find_admin(const char *path, struct tg_ask *ask)
{
    FILE *nowhere = fopen("/dev/null", "we");
    enum tg_err err = TG_E_SYSTEM;
    if (nowhere != NULL) {
        err = tg_config_find_admin(path, nowhere, ask->text, sizeof(ask->text));
        (void)fclose(nowhere);
    }
    if (err == TG_OK || err == TG_E_LIMIT)
        return err;
    return tg_config_find_admin(path, stderr, ask->text, sizeof(ask->text));
}

/* What the configuration says; with mistakes too, since it is then that a gateway which runs on
 * without them is asked most. */
static int read_config(const struct tg_args *args, struct tg_ask *ask)
{
    const char *path = args->values[TG_ASK_OPTION_CONFIG];
    path = path != NULL ? path : TG_COMMAND_CONFIG;
    enum tg_err err = find_admin(path, ask);
    if (err == TG_OK && ask->text[0] != '\0')
        return TG_EXIT_OK;
    if (err == TG_OK)
        fprintf(stderr,
                "tidegate %s: %s has no admin listener; add to its tg.settings:\n"
                "    admin = { listen = \"unix:admin.sock\" }\n"
                "or name the listener of a gateway with --admin ADDRESS\n",
                ask->command, path);
    else if (err == TG_E_LIMIT)
        fprintf(stderr, "tidegate %s: %s: the path of settings.admin.listen is too long\n",
                ask->command, path);
    else
        fprintf(stderr,
                "tidegate %s: %s cannot tell where the admin listener is; name it in place of the "
                "file: --admin unix:PATH\n",
                ask->command, path);
    return TG_EXIT_CONFIG;
}

int tg_ask_find(const struct tg_args *args, struct tg_ask *out)
{
    const char *given = args->values[TG_ASK_OPTION_ADMIN];
    *out = (struct tg_ask){.command = args->command->name};
    if (given != NULL && strlen(given) < sizeof(out->text)) {
        snprintf(out->text, sizeof(out->text), "%s", given);
    } else if (given == NULL) {
        int status = read_config(args, out);
        if (status != TG_EXIT_OK)
            return status;
    }
    if (tg_admin_address_parse(tg_str_c(out->text), &out->address) == TG_OK)
        return TG_EXIT_OK;
    fprintf(stderr,
            "tidegate %s: \"%s\" is no address of an admin listener: unix:PATH, with at most %zu "
            "bytes of path, or IP:PORT\n",
            out->command, given != NULL ? given : out->text, TG_ADMIN_PATH_MAX);
    return TG_EXIT_USAGE;
}

/* ---- Asking ------------------------------------------------------------------------------------
 */

static int complain(const struct tg_ask *ask, const char *what)
{
    fprintf(stderr, "tidegate %s: %s: %s\n", ask->command, ask->text, what);
    return TG_EXIT_SYSTEM;
}

static int complain_unreachable(const struct tg_ask *ask)
{
    if (errno == EACCES && tg_admin_address_is_local(&ask->address))
        return complain(ask,
                        "permission denied; the socket is for the gateway's user alone, ask as "
                        "that user or as root");
    fprintf(stderr,
            "tidegate %s: no gateway listens on %s: %s; `tidegate run` starts one, --admin ADDRESS "
            "names another\n",
            ask->command, ask->text, strerror(errno));
    return TG_EXIT_SYSTEM;
}

/* Whether `fd` is ready for `events` before `deadline`. */
static bool wait_for(int fd, short events, uint64_t deadline)
{
    struct pollfd p = {.fd = fd, .events = events};
    for (;;) {
        uint64_t now = tg_clock_mono_now();
        if (now >= deadline)
            return false;
        int n = poll(&p, 1, (int)((deadline - now) / TG_USEC_PER_MSEC) + 1);
        if (n > 0 || (n < 0 && errno != EINTR))
            return n > 0;
    }
}

/* A connection, or -1 with errno. */
static int open_connection(const struct tg_ask *ask, uint64_t deadline)
{
    int err = 0;
    socklen_t len = sizeof(err);
    int fd = socket(ask->address.u.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, &ask->address.u.any, ask->address.len) == 0)
        return fd;
    err = errno;
    if (err == EINPROGRESS) {
        err = ETIMEDOUT;
        if (wait_for(fd, POLLOUT, deadline))
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len);
    }
    if (err == 0)
        return fd;
    close(fd);
    errno = err;
    return -1;
}

static bool send_request(int fd, const char *method, const char *path, uint64_t deadline)
{
    char head[256];
    int n = snprintf(head, sizeof(head),
                     "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n"
                     "Connection: close\r\n\r\n",
                     method, path);
    return wait_for(fd, POLLOUT, deadline) && send(fd, head, (size_t)n, MSG_NOSIGNAL) == n;
}

/* Everything up to the end of the connection into `answer`, terminated. */
static bool receive_all(int fd, struct tg_ask_answer *answer, uint64_t deadline)
{
    size_t room = 0;
    for (;;) {
        if (room - answer->n < 2) {
            room = TG_MAX(room * 2, 16384u);
            char *grown =
                room <= TG_ASK_BYTES ? tg_mem_realloc(TG_MEM_OTHER, answer->text, room) : NULL;
            if (grown == NULL)
                return false;
            answer->text = grown;
        }
        ssize_t n = recv(fd, answer->text + answer->n, room - answer->n - 1, 0);
        if (n > 0)
            answer->n += (size_t)n;
        else if (n == 0)
            break;
        else if (errno != EAGAIN && errno != EINTR)
            return false;
        else if (!wait_for(fd, POLLIN, deadline))
            return false;
    }
    answer->text[answer->n] = '\0';
    return true;
}

/* Takes the head off. False when what came is no whole answer of an admin listener. */
static bool take_head(struct tg_ask_answer *answer)
{
    static const char prefix[] = "HTTP/1.1 ";
    const char *end = strstr(answer->text, "\r\n\r\n");
    const char *mark = strstr(answer->text, "\r\nServer: " TG_ADMIN_SERVER "\r\n");
    const char *length = strstr(answer->text, "\r\nContent-Length: ");
    if (strncmp(answer->text, prefix, sizeof(prefix) - 1) != 0 || end == NULL || mark == NULL ||
        length == NULL || mark > end || length > end)
        return false;
    answer->status = (unsigned)strtoul(answer->text + sizeof(prefix) - 1, NULL, 10);
    size_t told = strtoul(length + sizeof("\r\nContent-Length: ") - 1, NULL, 10);
    size_t head = (size_t)(end + 4 - answer->text);
    answer->n -= head;
    memmove(answer->text, answer->text + head, answer->n + 1);
    return answer->n == told;
}

static int exchange(const struct tg_ask *ask, const char *method, const char *path,
                    uint64_t timeout, struct tg_ask_answer *out)
{
    char late_text[128];
    uint64_t deadline = tg_clock_mono_now() + timeout;
    *out = (struct tg_ask_answer){0};
    int fd = open_connection(ask, deadline);
    if (fd < 0)
        return complain_unreachable(ask);
    bool whole = send_request(fd, method, path, deadline) && receive_all(fd, out, deadline);
    close(fd);
    if (whole && take_head(out))
        return TG_EXIT_OK;
    bool late = tg_clock_mono_now() >= deadline;
    tg_ask_answer_release(out);
    snprintf(late_text, sizeof(late_text), "the gateway did not answer within %u s%s",
             (unsigned)(timeout / TG_USEC_PER_SEC),
             timeout == TG_ASK_TIMEOUT ? "" : "; `tidegate status` tells what became of the order");
    return complain(ask, late ? late_text
                              : "what listens there gave no whole answer; is it a gateway's admin "
                                "listener, with room for one more connection, and did the gateway "
                                "not end meanwhile?");
}

int tg_ask_get(const struct tg_ask *ask, const char *path, struct tg_ask_answer *out)
{
    return exchange(ask, "GET", path, TG_ASK_TIMEOUT, out);
}

int tg_ask_order(const struct tg_ask *ask, const char *path, struct tg_ask_answer *out)
{
    return exchange(ask, "POST", path, TG_ASK_ORDER_TIMEOUT, out);
}

void tg_ask_answer_release(struct tg_ask_answer *answer)
{
    tg_mem_free(TG_MEM_OTHER, answer->text);
    *answer = (struct tg_ask_answer){0};
}
