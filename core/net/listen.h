/* listen.h: the listening sockets of a process, kept by address across reloads.
 *
 * A listener has one socket per worker on one address (SO_REUSEPORT): the kernel spreads new
 * connections over all of them by a hash of the connection's addresses. So every socket must be
 * served by somebody, and none may be closed while the listener stands, because the connections
 * that wait in its queue would be reset. Hence their number is settled when the listener is opened.
 *
 * Changes are transactions, since a reload may still fail after its sockets were opened:
 *
 *     open / adopt / want   name the listeners that shall stand, adding what is missing
 *     commit                closes the listeners that were not named
 *     rollback              closes the listeners that were added, forgets what was named
 *
 * Sockets are non-blocking, close-on-exec, and have TCP_NODELAY, which accepted connections
 * inherit. IPv6 sockets take IPv6 only (IPV6_V6ONLY), so "0.0.0.0:80" and "[::]:80" stand side by
 * side. A unix socket ("unix:PATH") has no SO_REUSEPORT: its sockets are copies of one descriptor,
 * of which whoever is free accepts. The file of a socket that nobody serves is replaced; the set
 * that made a file removes it. A queue holds TG_LISTEN_BACKLOG connections, or net.core.somaxconn
 * where that is less.
 *
 * Threads: one owner. Whoever serves a socket must have stopped before commit closes it.
 * Memory: a few hundred bytes a listener, TG_MEM_OTHER.
 */
#ifndef TG_NET_LISTEN_H
#define TG_NET_LISTEN_H

#include "base/err.h"
#include "net/addr.h"

#include <sys/stat.h>

#define TG_LISTEN_BACKLOG     4096
#define TG_LISTEN_SOCKETS_MAX 128 /* sockets of one listener */
#define TG_LISTEN_KEY_MAX     128 /* room for a listener's key, with the NUL */
#define TG_LISTEN_REASON_MAX  256 /* room for the words of a failure, with the NUL */

/* One listener. Fields are read by anybody, written by this unit only. */
struct tg_listen {
    char *key;           /* the address as the config writes it, terminated; owned */
    struct tg_addr addr; /* where the sockets are bound: with the real port where 0 was asked; of a
                            unix socket: none */
    dev_t device;        /* of the file that was made for a unix socket, with its inode; 0: none */
    ino_t inode;
    int fds[TG_LISTEN_SOCKETS_MAX];
    uint32_t count;
    bool added;  /* since the last commit */
    bool wanted; /* named since the last commit */
};

struct tg_listen_set {
    struct tg_listen **v; /* owned */
    uint32_t count;
    uint32_t cap; /* private */
};

/* An empty set. */
void tg_listen_set_init(struct tg_listen_set *set);

/* Closes every socket and frees what the set holds; the set is empty then. */
void tg_listen_set_release(struct tg_listen_set *set);

/* In a process that was forked with the set: the files of unix sockets stay those of the other one,
 * which goes on listening when this process has closed its copies. */
void tg_listen_set_disown_files(struct tg_listen_set *set);

/* The listener of address text `key`, borrowed until the next change of the set; NULL if none. */
struct tg_listen *tg_listen_set_find(const struct tg_listen_set *set, struct tg_str key);

/* Names the listener `key` as wanted. Where there is none, `count` sockets (1 to
 * TG_LISTEN_SOCKETS_MAX) are opened on `addr` (where the key is no path); port 0 takes any free
 * port, the same for all of them. An address on which another process listens is refused, though
 * SO_REUSEPORT would share it.
 *
 * On failure the set is as before, and `reason` holds one line such as "cannot listen on
 * 127.0.0.1:80: permission denied (ports below 1024 need CAP_NET_BIND_SERVICE)". */
enum tg_err tg_listen_set_open(struct tg_listen_set *set, struct tg_str key,
                               const struct tg_addr *addr, uint32_t count,
                               char reason[TG_LISTEN_REASON_MAX]) TG_MUST_USE;

/* Adds the listener `key` with its `n` sockets, which came from another process, in place of one of
 * that key that was added but never committed. They belong to the set from here on; on failure
 * (TG_E_EXISTS, TG_E_LIMIT, TG_E_SYSTEM, TG_E_NOMEM) they are closed.
 */
enum tg_err tg_listen_set_adopt(struct tg_listen_set *set, struct tg_str key, const int *fds,
                                uint32_t n) TG_MUST_USE;

/* Names an existing listener as wanted; TG_E_NOT_FOUND when there is none of that key. */
enum tg_err tg_listen_set_want(struct tg_listen_set *set, struct tg_str key) TG_MUST_USE;

/* Ends a transaction: listeners that it did not name are closed, the others stand as they are. */
void tg_listen_set_commit(struct tg_listen_set *set);

/* Ends a transaction: what it added is closed, the set is as it was after the last commit. */
void tg_listen_set_rollback(struct tg_listen_set *set);

#endif
