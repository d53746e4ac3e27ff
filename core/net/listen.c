/* listen.c: opening listening sockets and keeping them.
 *
 * Opening is done in this order: probe, then bind and listen on each socket. The probe is a socket
 * without SO_REUSEPORT that is bound and closed again: the kernel refuses it when any other socket
 * listens on the address. Without it, a second gateway of the same user would join the first one's
 * group and silently take half of its connections. SO_REUSEADDR lets probe and sockets pass
 * connections in TIME_WAIT.
 *
 * A set holds as many listeners as a configuration names, some tens at most, so they stand in an
 * array that is searched from the front; all of this runs at start and on reload only.
 */
#include "base/banned.h"
#include "net/listen.h"

#include "base/assert.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/un.h>
#include <unistd.h>

void tg_listen_set_init(struct tg_listen_set *set)
{
    *set = (struct tg_listen_set){0};
}

static bool is_path(struct tg_str key)
{
    return tg_str_starts(key, TG_STR("unix:"));
}

/* Removes the file of a unix socket, unless it has become somebody else's. */
static void remove_file(struct tg_listen *listen)
{
    struct stat st;
    const char *path = listen->key + sizeof("unix:") - 1;
    if (listen->inode != 0 && lstat(path, &st) == 0 && st.st_ino == listen->inode &&
        st.st_dev == listen->device)
        unlink(path);
    listen->inode = 0;
}

static void close_sockets(struct tg_listen *listen)
{
    remove_file(listen);
    while (listen->count > 0)
        close(listen->fds[--listen->count]);
}

static void listen_free(struct tg_listen **listen)
{
    if (*listen == NULL)
        return;
    close_sockets(*listen);
    tg_mem_free(TG_MEM_OTHER, (*listen)->key);
    tg_mem_free(TG_MEM_OTHER, *listen);
    *listen = NULL;
}

void tg_listen_set_release(struct tg_listen_set *set)
{
    for (uint32_t i = 0; i < set->count; i++)
        listen_free(&set->v[i]);
    tg_mem_free(TG_MEM_OTHER, set->v);
    tg_listen_set_init(set);
}

void tg_listen_set_disown_files(struct tg_listen_set *set)
{
    for (uint32_t i = 0; i < set->count; i++)
        set->v[i]->inode = 0;
}

struct tg_listen *tg_listen_set_find(const struct tg_listen_set *set, struct tg_str key)
{
    for (uint32_t i = 0; i < set->count; i++) {
        if (tg_str_eq(tg_str_c(set->v[i]->key), key))
            return set->v[i];
    }
    return NULL;
}

static bool make_room(struct tg_listen_set *set)
{
    if (set->count < set->cap)
        return true;
    uint32_t cap = set->cap == 0 ? 8 : set->cap * 2;
    void *v = tg_mem_realloc(TG_MEM_OTHER, set->v, cap * sizeof(*set->v));
    if (v == NULL)
        return false;
    set->v = v;
    set->cap = cap;
    return true;
}

/* A new listener without sockets; NULL when memory is out. */
static struct tg_listen *add(struct tg_listen_set *set, struct tg_str key)
{
    if (!make_room(set))
        return NULL;
    struct tg_listen *listen = tg_mem_zalloc(TG_MEM_OTHER, 1, sizeof(*listen));
    if (listen == NULL)
        return NULL;
    listen->key = tg_mem_strndup(TG_MEM_OTHER, key.p, key.n);
    if (listen->key == NULL) {
        listen_free(&listen);
        return NULL;
    }
    listen->added = true;
    set->v[set->count++] = listen;
    return listen;
}

/* Takes the listeners without sockets out of the array. */
static void sweep(struct tg_listen_set *set)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < set->count; i++) {
        if (set->v[i]->count == 0)
            listen_free(&set->v[i]);
        else
            set->v[kept++] = set->v[i];
    }
    set->count = kept;
}

/* ---- Opening --------------------------------------------------------------------------------- */

static int set_flag(int fd, int level, int option)
{
    int on = 1;
    return setsockopt(fd, level, option, &on, sizeof(on));
}

/* A socket bound to `addr`, or -1 and errno. */
static int bound_socket(const struct tg_addr *addr, bool shared)
{
    int family = addr->u.any.sa_family;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (set_flag(fd, SOL_SOCKET, SO_REUSEADDR) == 0 &&
        (!shared || set_flag(fd, SOL_SOCKET, SO_REUSEPORT) == 0) &&
        (family != AF_INET6 || set_flag(fd, IPPROTO_IPV6, IPV6_V6ONLY) == 0) &&
        bind(fd, &addr->u.any, addr->len) == 0)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/* Sees that nobody else listens on `addr`; false and errno otherwise. */
static bool probe(const struct tg_addr *addr)
{
    int fd = bound_socket(addr, false);
    if (fd < 0)
        return false;
    close(fd);
    return true;
}

/* Where `fd` is bound. */
static bool bound_address(int fd, struct tg_addr *out)
{
    struct sockaddr_storage name;
    socklen_t len = sizeof(name);
    if (getsockname(fd, (struct sockaddr *)&name, &len) != 0)
        return false;
    tg_addr_from_sockaddr((struct sockaddr *)&name, len, out);
    return true;
}

/* A listening socket on `addr`, or -1 and errno. */
static int listening_socket(const struct tg_addr *addr)
{
    int fd = bound_socket(addr, true);
    if (fd < 0)
        return -1;
    if (set_flag(fd, IPPROTO_TCP, TCP_NODELAY) == 0 && listen(fd, TG_LISTEN_BACKLOG) == 0)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/* Opens the sockets of a new listener. The first decides the port where 0 was asked for. */
static bool open_sockets(struct tg_listen *listen, uint32_t count)
{
    if (tg_addr_port(&listen->addr) != 0 && !probe(&listen->addr))
        return false;
    while (listen->count < count) {
        int fd = listening_socket(&listen->addr);
        if (fd < 0)
            return false;
        listen->fds[listen->count++] = fd;
        if (listen->count == 1 && !bound_address(fd, &listen->addr))
            return false;
    }
    return true;
}

/* ---- Unix sockets ------------------------------------------------------------------------------
 */

/* Whether somebody accepts on the socket's file; where that is not known, it is not removed. */
static bool is_served(const struct sockaddr_un *un)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return true;
    bool refused =
        connect(fd, (const struct sockaddr *)un, sizeof(*un)) != 0 && errno == ECONNREFUSED;
    close(fd);
    return !refused;
}

/* Makes room for the socket's file; false and errno where something stands in the way. */
static bool clear_path(const struct sockaddr_un *un)
{
    struct stat st;
    if (lstat(un->sun_path, &st) != 0)
        return true; /* nothing there; what else is wrong, bind() will say */
    errno = EEXIST;
    if (!S_ISSOCK(st.st_mode))
        return false;
    errno = EADDRINUSE;
    if (is_served(un))
        return false;
    return unlink(un->sun_path) == 0;
}

/* Opens one socket at the path and copies it. */
static bool open_path(struct tg_listen *l, uint32_t count)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct stat st;
    const char *path = l->key + sizeof("unix:") - 1;
    errno = ENAMETOOLONG;
    if (strlen(path) >= sizeof(un.sun_path))
        return false;
    memcpy(un.sun_path, path, strlen(path) + 1);
    if (!clear_path(&un))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    l->fds[l->count++] = fd;
    if (bind(fd, (struct sockaddr *)&un, sizeof(un)) != 0)
        return false;
    if (lstat(path, &st) == 0) {
        l->device = st.st_dev;
        l->inode = st.st_ino;
    }
    if (listen(fd, TG_LISTEN_BACKLOG) != 0)
        return false;
    while (l->count < count) {
        int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (copy < 0)
            return false;
        l->fds[l->count++] = copy;
    }
    return true;
}

/* What `sys_errno` of opening a unix socket means, and what helps. */
static const char *path_problem(int sys_errno)
{
    switch (sys_errno) {
    case EACCES:
    case EPERM:
        return "permission denied (the gateway's user has to be able to write to the folder)";
    case EADDRINUSE:
        return "address in use (another process listens there; `ss -lxp` names it)";
    case ENOENT:
        return "the folder of that path does not exist";
    case EEXIST:
        return "there is a file of that name which is not a socket";
    case ENAMETOOLONG:
        return "the path of a unix socket has at most 107 bytes, the configuration's folder "
               "included";
    default:
        return strerror(sys_errno);
    }
}

/* The same of an address. */
static const char *address_problem(int sys_errno)
{
    switch (sys_errno) {
    case EACCES:
        return "permission denied (ports below 1024 need CAP_NET_BIND_SERVICE)";
    case EADDRINUSE:
        return "address in use (another process listens there; `ss -ltnp` names it)";
    case EADDRNOTAVAIL:
        return "no such address on this machine (`ip address` lists those it has)";
    case EAFNOSUPPORT:
        return "the system has this address family switched off";
    default:
        return strerror(sys_errno);
    }
}

static enum tg_err opening_failed(struct tg_str key, int sys_errno, char *reason)
{
    const char *problem = is_path(key) ? path_problem(sys_errno) : address_problem(sys_errno);
    if (sys_errno == EMFILE)
        problem = "too many open files (raise the limit of the service, `ulimit -Hn`)";
    snprintf(reason, TG_LISTEN_REASON_MAX, "cannot listen on %.*s: %s", TG_STR_ARG(key), problem);
    return sys_errno == ENOMEM ? TG_E_NOMEM : TG_E_SYSTEM;
}

enum tg_err tg_listen_set_open(struct tg_listen_set *set, struct tg_str key,
                               const struct tg_addr *addr, uint32_t count,
                               char reason[TG_LISTEN_REASON_MAX])
{
    tg_assert(count >= 1 && count <= TG_LISTEN_SOCKETS_MAX);
    if (tg_listen_set_want(set, key) == TG_OK)
        return TG_OK;
    struct tg_listen *listen = add(set, key);
    if (listen == NULL)
        return opening_failed(key, ENOMEM, reason);
    listen->addr = *addr;
    listen->wanted = true;
    if (is_path(key) ? open_path(listen, count) : open_sockets(listen, count))
        return TG_OK;
    int saved = errno;
    close_sockets(listen);
    sweep(set);
    return opening_failed(key, saved, reason);
}

/* ---- Sockets from elsewhere, and the end of a transaction -------------------------------------
 */

static enum tg_err take_in(struct tg_listen_set *set, struct tg_str key, const int *fds, uint32_t n)
{
    struct tg_addr addr;
    struct tg_listen *listen = tg_listen_set_find(set, key);
    if (listen != NULL && !listen->added)
        return TG_E_EXISTS;
    if (n == 0 || n > TG_LISTEN_SOCKETS_MAX)
        return TG_E_LIMIT;
    if (!bound_address(fds[0], &addr))
        return TG_E_SYSTEM;
    if (listen == NULL)
        listen = add(set, key);
    if (listen == NULL)
        return TG_E_NOMEM;
    close_sockets(listen);
    listen->addr = addr;
    listen->count = n;
    memcpy(listen->fds, fds, n * sizeof(*fds));
    return TG_OK;
}

enum tg_err tg_listen_set_adopt(struct tg_listen_set *set, struct tg_str key, const int *fds,
                                uint32_t n)
{
    enum tg_err err = take_in(set, key, fds, n);
    for (uint32_t i = 0; err != TG_OK && i < n; i++)
        close(fds[i]);
    return err;
}

enum tg_err tg_listen_set_want(struct tg_listen_set *set, struct tg_str key)
{
    struct tg_listen *listen = tg_listen_set_find(set, key);
    if (listen == NULL)
        return TG_E_NOT_FOUND;
    listen->wanted = true;
    return TG_OK;
}

void tg_listen_set_commit(struct tg_listen_set *set)
{
    for (uint32_t i = 0; i < set->count; i++) {
        struct tg_listen *listen = set->v[i];
        if (!listen->wanted)
            close_sockets(listen);
        listen->added = false;
        listen->wanted = false;
    }
    sweep(set);
}

void tg_listen_set_rollback(struct tg_listen_set *set)
{
    for (uint32_t i = 0; i < set->count; i++) {
        struct tg_listen *listen = set->v[i];
        if (listen->added)
            close_sockets(listen);
        listen->wanted = false;
    }
    sweep(set);
}
