/* signals.c: signals as events, for both kinds of process.
 *
 * The relay keeps what its handler needs in static memory, filled before the handler is installed
 * and constant afterwards: a handler has no argument, and encodes nothing. It calls send() alone,
 * which POSIX lists as safe in handlers, and restores errno. The channel holds some hundred
 * messages; when it is full, its reader is stuck, and one order more would not help.
 */
#include "base/banned.h"
#include "cli/signals.h"

#include "cli/control.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* What a supervisor acts on. */
static const int watched[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGCHLD};

struct order {
    unsigned char wire[TG_CONTROL_WIRE_MAX];
    size_t size;
};

static struct {
    int fd;
    struct order drain, stop, reload, reopen;
    volatile sig_atomic_t interrupted;
} relay;

static void set_action(int signo, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(signo, &action, NULL);
}

/* SIGUSR2 replaces the program elsewhere; its default here would end it. */
static void ignore_some(void)
{
    set_action(SIGPIPE, SIG_IGN);
    set_action(SIGUSR2, SIG_IGN);
}

static void watched_set(sigset_t *set)
{
    sigemptyset(set);
    for (size_t i = 0; i < TG_COUNT_OF(watched); i++)
        sigaddset(set, watched[i]);
}

/* ---- Supervisor ------------------------------------------------------------------------------ */

enum tg_err tg_signals_watch(int *fd)
{
    sigset_t set;
    watched_set(&set);
    /* a signal that the parent had us ignore would never reach the descriptor */
    for (size_t i = 0; i < TG_COUNT_OF(watched); i++)
        set_action(watched[i], SIG_DFL);
    ignore_some();
    sigprocmask(SIG_BLOCK, &set, NULL);
    *fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return *fd >= 0 ? TG_OK : TG_E_SYSTEM;
}

int tg_signals_next(int fd)
{
    struct signalfd_siginfo info;
    ssize_t got;
    do {
        got = read(fd, &info, sizeof(info));
    } while (got < 0 && errno == EINTR);
    return got == sizeof(info) ? (int)info.ssi_signo : 0;
}

/* ---- Gateway process ------------------------------------------------------------------------- */

static void encode(struct order *order, enum tg_control_type type)
{
    struct tg_control_message message = {.type = type};
    order->size = tg_control_encode(&message, order->wire);
}

static const struct order *order_of(int signo)
{
    switch (signo) {
    case SIGHUP:
        return &relay.reload;
    case SIGUSR1:
        return &relay.reopen;
    case SIGINT:
        return relay.interrupted++ == 0 ? &relay.drain : &relay.stop;
    default:
        return &relay.drain;
    }
}

static void on_signal(int signo)
{
    int saved = errno;
    const struct order *order = order_of(signo);
    ssize_t ignored = send(relay.fd, order->wire, order->size, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)ignored;
    errno = saved;
}

enum tg_err tg_signals_relay(int fd, bool supervised)
{
    sigset_t set;
    relay.fd = fd;
    relay.interrupted = 0;
    encode(&relay.drain, TG_CONTROL_DRAIN);
    encode(&relay.stop, TG_CONTROL_STOP);
    encode(&relay.reload, TG_CONTROL_RELOAD);
    encode(&relay.reopen, TG_CONTROL_REOPEN);

    set_action(SIGTERM, on_signal);
    set_action(SIGINT, supervised ? SIG_IGN : on_signal);
    set_action(SIGHUP, supervised ? SIG_IGN : on_signal);
    set_action(SIGUSR1, supervised ? SIG_IGN : on_signal);
    set_action(SIGCHLD, SIG_DFL);
    ignore_some();
    watched_set(&set);
    return sigprocmask(SIG_UNBLOCK, &set, NULL) == 0 ? TG_OK : TG_E_SYSTEM;
}
