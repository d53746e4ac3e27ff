/* door.c: see door.h. */
#include "base/banned.h"
#include "admin/door.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define BACKLOG 64

/* Whether somebody accepts on the socket's file; a full queue says so too. */
static bool is_served(const struct tg_admin_address *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return true; /* not known: better an error than somebody else's socket removed */
    bool refused = connect(fd, &address->u.any, address->len) != 0 && errno == ECONNREFUSED;
    close(fd);
    return !refused;
}

/* Makes room for the socket's file. NULL, or what stands in the way. */
static const char *clear_path(const struct tg_admin_address *address)
{
    struct stat st;
    const char *path = address->u.local.sun_path;
    if (lstat(path, &st) != 0)
        return NULL; /* nothing there; what else is wrong, bind() will say */
    if (!S_ISSOCK(st.st_mode))
        return "there is a file of that name which is not a socket";
    if (is_served(address))
        return "another process listens there";
    unlink(path);
    return NULL;
}

/* What `sys_errno` of making the file means. */
static const char *path_problem(int sys_errno)
{
    if (sys_errno == ENOENT)
        return "the folder of that path does not exist";
    if (sys_errno == EACCES || sys_errno == EPERM)
        return "permission denied (the gateway's user has to be able to write to the folder)";
    return strerror(sys_errno);
}

static const char *bind_path(struct tg_admin_door *door)
{
    struct stat st;
    const char *why = clear_path(&door->address);
    if (why != NULL)
        return why;
    if (fchmod(door->fd, S_IRUSR | S_IWUSR) != 0 ||
        bind(door->fd, &door->address.u.any, door->address.len) != 0)
        return path_problem(errno);
    if (lstat(door->address.u.local.sun_path, &st) == 0) {
        door->device = st.st_dev;
        door->inode = st.st_ino;
    }
    return NULL;
}

static const char *bind_port(struct tg_admin_door *door)
{
    int on = 1;
    if (setsockopt(door->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(door->fd, &door->address.u.any, door->address.len) != 0)
        return strerror(errno);
    return NULL;
}

enum tg_err tg_admin_door_open(struct tg_admin_door *door, struct tg_str text,
                               char reason[TG_LISTEN_REASON_MAX])
{
    const char *why = "an address is unix:PATH, with at most 107 bytes of path, or IP:PORT";
    *door = TG_ADMIN_DOOR_CLOSED;
    enum tg_err err = tg_admin_address_parse(text, &door->address);
    if (err == TG_OK) {
        int family = door->address.u.any.sa_family;
        door->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (door->fd < 0)
            why = strerror(errno);
        else
            why = family == AF_UNIX ? bind_path(door) : bind_port(door);
        if (why == NULL && listen(door->fd, BACKLOG) != 0)
            why = strerror(errno);
        if (why == NULL)
            return TG_OK;
        err = TG_E_SYSTEM;
    }
    snprintf(reason, TG_LISTEN_REASON_MAX, "cannot listen on %.*s: %s", TG_STR_ARG(text), why);
    tg_admin_door_close(door);
    return err;
}

void tg_admin_door_close(struct tg_admin_door *door)
{
    struct stat st;
    const char *path = door->address.u.local.sun_path;
    if (door->fd >= 0)
        close(door->fd);
    if (door->inode != 0 && lstat(path, &st) == 0 && st.st_ino == door->inode &&
        st.st_dev == door->device)
        unlink(path);
    *door = TG_ADMIN_DOOR_CLOSED;
}
