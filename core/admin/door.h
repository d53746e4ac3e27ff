/* door.h: the admin listener's socket, and the file that a unix socket leaves in the file system.
 *
 * The file has mode 0600 from its first moment: it takes its mode from the descriptor, so the
 * process's umask, which other threads use, is left alone. A socket file on which nobody listens is
 * what a process left that was killed: it is replaced. Anything else of that name, a live socket
 * above all, is an error. Closing removes the file if it is still the one that was made here.
 *
 * One thread. A closed door has fd -1.
 */
#ifndef TG_ADMIN_DOOR_H
#define TG_ADMIN_DOOR_H

#include "admin/address.h"
#include "net/listen.h"

#include <sys/types.h>

#define TG_ADMIN_DOOR_CLOSED ((struct tg_admin_door){.fd = -1})

struct tg_admin_door {
    int fd; /* non-blocking, close-on-exec */

    /* private */
    struct tg_admin_address address;
    dev_t device; /* of the socket's file */
    ino_t inode;
};

/* Listens on `text`. On failure the door is closed and `reason` holds one line such as "cannot
 * listen on unix:/run/t.sock: another process listens there". */
enum tg_err tg_admin_door_open(struct tg_admin_door *door, struct tg_str text,
                               char reason[TG_LISTEN_REASON_MAX]) TG_MUST_USE;

/* Closed twice is fine. */
void tg_admin_door_close(struct tg_admin_door *door);

#endif
