/* internal.h: what the files of admin/ share.
 *
 *     admin.c    life, the listener's transactions, accepting
 *     client.c   a connection: which view is asked for, and its answer
 *     upstreams.c   what is known of origins, as such a view
 *     certificates.c   when certificates end
 *     view.c     the views: they write text into a builder and know nothing of HTTP
 *     census.c   what the workers tell
 *     door.c, address.c   the listening socket, and what it is called
 *
 * Private to core/admin; admin.h is the contract.
 */
#ifndef TG_ADMIN_INTERNAL_H
#define TG_ADMIN_INTERNAL_H

#include "admin/admin.h"
#include "admin/census.h"
#include "admin/door.h"
#include "base/fmt.h"
#include "config/order.h"
#include "config/revisions.h"
#include "event/loop.h"
#include "gateway/accounting.h"
#include "upstream/origin.h"

struct tg_admin {
    struct tg_admin_options options;
    enum tg_admin_state state;
    uint64_t started;                /* us, monotonic */
    struct tg_accounting accounting; /* the gates' figures, to read them */
    struct tg_snapshot *snapshot;    /* in force; one reference */
    struct tg_admin_door door;       /* that serves */
    struct tg_admin_door coming;     /* of the transaction */
    bool changes;                    /* the transaction puts `coming` in the place of `door` */
    ev_io io;
    struct tg_timer pause;        /* descriptors are out: try again later */
    struct tg_limits limits;      /* of its connections */
    struct tg_list clients;       /* of struct tg_admin_client */
    uint32_t open;                /* how many there are */
    struct tg_census *census;     /* while the workers are asked; owned */
    struct tg_registry *registry; /* what is known of origins; borrowed; NULL: nothing yet */
    uint32_t ordered;             /* number of the order that is under way; 0: none */
    uint32_t last_number;
    struct tg_admin_last {
        uint64_t at; /* us since 1970; 0: there was none */
        enum tg_outcome outcome;
        char reason[TG_ORDER_REASON_MAX];
    } last; /* what became of the last order that was no dry run */
};

/* What is known of origins: the view /upstreams, and their part of /metrics. */
unsigned tg_admin_write_upstreams(const struct tg_admin *admin, struct tg_fmt *f);
void tg_admin_write_targets(const struct tg_admin *admin, struct tg_fmt *f);

/* What /metrics has of certificates. */
void tg_admin_write_certificates(const struct tg_admin *admin, struct tg_fmt *f);

/* Takes over the socket, which came through admin->door, also on failure. */
enum tg_err tg_admin_client_open(struct tg_admin *admin, int fd) TG_MUST_USE;

/* Answers the client that waits for this order, if it is still there. */
void tg_admin_clients_settle(struct tg_admin *admin, const struct tg_settlement *settled);

/* Writes the answer to an order and returns its status. */
unsigned tg_admin_write_settlement(const struct tg_admin *admin, struct tg_fmt *f,
                                   const struct tg_settlement *settled);

/* Ends every connection at once. */
void tg_admin_clients_close(struct tg_admin *admin);

/* The workers have answered: so are those who wait for that. */
void tg_admin_clients_answer(struct tg_admin *admin);

struct tg_admin_view {
    const char *path;
    const char *type;  /* media type of the answer */
    bool needs_census; /* admin->census is there when it is written */
    /* Writes the answer's body and returns its status. */
    unsigned (*write)(const struct tg_admin *admin, struct tg_fmt *f);
};

/* Writes the paths that there are, for people: "/metrics, ... and /upstreams". */
void tg_admin_view_write_paths(struct tg_fmt *f);

/* The view of that path, or NULL. */
const struct tg_admin_view *tg_admin_view_find(struct tg_str path);

/* An answer that is no view: RFC 9457. */
void tg_admin_write_problem(struct tg_fmt *f, unsigned status, const char *detail);

#endif
