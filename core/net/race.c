/* race.c: see race.h. */
#include "base/banned.h"
#include "net/race.h"

#include "base/assert.h"
#include "observe/metrics.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/un.h>
#include <unistd.h>

static struct ev_loop *ev_of(const struct tg_race *race)
{
    return race->conn->worker->loop.ev;
}

static void drop_socket(struct tg_race *race)
{
    if (race->fd < 0)
        return;
    ev_io_stop(ev_of(race), &race->io);
    close(race->fd);
    race->fd = -1;
}

/* The second attempt has failed: the first decides, unless it has. */
static void lose(struct tg_race *race)
{
    drop_socket(race);
    race->failed = true;
    if (race->first_failed)
        tg_conn_end_race(race->conn, -1, race->first_error);
}

static void on_writable(struct ev_loop *ev, ev_io *w, int events)
{
    struct tg_race *race = w->data;
    int error = 0, fd = race->fd;
    socklen_t len = sizeof(error);
    (void)ev;
    (void)events;
    tg_assert(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0);
    if (error != 0) {
        lose(race);
        return;
    }
    ev_io_stop(ev_of(race), &race->io);
    race->fd = -1;
    tg_metric_inc(race->conn->worker->cells, TG_METRIC_UPSTREAM_OTHER_FAMILY);
    tg_conn_end_race(race->conn, fd, TG_OK);
}

/* False: there will be no second attempt. */
static bool begin(struct tg_race *race)
{
    int on = 1;
    struct sockaddr_un room;
    socklen_t len;
    const struct sockaddr *to = tg_addr_sockaddr(&race->addr, &room, &len);
    tg_timer_clear(&race->timer);
    race->fd = socket(race->addr.u.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    race->failed = race->fd < 0;
    if (race->failed)
        return false;
    setsockopt(race->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    ev_io_init(&race->io, on_writable, race->fd, EV_WRITE);
    race->io.data = race;
    if (connect(race->fd, to, len) != 0 && errno != EINPROGRESS) {
        close(race->fd);
        race->fd = -1;
        race->failed = true;
        return false;
    }
    ev_io_start(ev_of(race), &race->io);
    return true;
}

static void on_delay(struct tg_timer *timer)
{
    (void)begin(TG_CONTAINER_OF(timer, struct tg_race, timer));
}

struct tg_race *tg_race_new(struct tg_conn *conn, const struct tg_addr *addr)
{
    struct tg_race *race = tg_slab_lease(conn->worker->slab, sizeof(*race));
    if (race == NULL)
        return NULL;
    *race = (struct tg_race){.conn = conn, .addr = *addr, .fd = -1};
    if (tg_timer_init(&race->timer, &conn->worker->loop.timers, on_delay) != TG_OK) {
        tg_slab_return(conn->worker->slab, race, sizeof(*race));
        return NULL;
    }
    tg_timer_set(&race->timer, tg_loop_now(&conn->worker->loop) + TG_RACE_DELAY);
    return race;
}

void tg_race_free(struct tg_race **race)
{
    struct tg_race *taken = *race;
    *race = NULL;
    if (taken == NULL)
        return;
    drop_socket(taken);
    tg_timer_release(&taken->timer);
    tg_slab_return(taken->conn->worker->slab, taken, sizeof(*taken));
}

bool tg_race_goes_on(struct tg_race *race, enum tg_err err)
{
    race->first_failed = true;
    race->first_error = err;
    return !race->failed && (race->fd >= 0 || begin(race));
}
