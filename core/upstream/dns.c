/* dns.c: see dns.h.
 *
 * c-ares tells which of its sockets it wants to read or write (on_socket), and for how long nothing
 * need be done (ares_timeout); each has a watcher, and all share a timer. It may answer from within
 * any call to it, so what has come is noted in the ask, which is settled at the end of the round.
 */
#include "base/banned.h"
#include "upstream/dns.h"

#include "base/assert.h"
#include "observe/log.h"
#include "upstream/dns_answer.h"
#include "upstream/hosts.h"

#include <ares.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define HOSTS_TTL (5 * TG_USEC_PER_SEC)
#define CLASS_IN  1
#define TYPE_A    1
#define TYPE_AAAA 28
#define TYPE_SRV  33
#define PARTS_MAX 2

/* A query that a question was made into. */
struct part {
    struct ask *ask;
    enum tg_dns_type type;
    bool open;  /* c-ares has it */
    bool again; /* its channel went: another is asked */
    enum tg_answer_kind kind;
    uint64_t ttl; /* us */
};

struct ask {
    struct tg_dns *dns;
    struct tg_query *query; /* the resolver's; NULL: nobody wants to know any more */
    struct tg_list link;
    struct tg_task settle;
    struct part parts[PARTS_MAX];
    unsigned part_count;
    struct tg_answer *answer; /* owned; room for TG_ANSWER_MAX records */
};

struct socket {
    struct tg_dns *dns;
    struct tg_list link;
    ev_io io;
};

struct tg_dns {
    struct tg_worker *worker;
    struct tg_resolver_source source;
    ares_channel channel; /* NULL: not configured */
    bool renewing;        /* answers that a channel breaks off are asked for again */
    struct tg_list asks;
    struct tg_list sockets;
    struct tg_timer timer;
    struct tg_dns_conf conf; /* its strings are owned, and terminated */
    ev_stat hosts_watch, resolv_watch;
    char *hosts; /* text of the file; owned; NULL: none */
    size_t hosts_size;
};

/* ---- Asks --------------------------------------------------------------------------------------
 */

static void free_ask(struct ask *ask)
{
    tg_list_remove(&ask->link);
    tg_task_cancel(&ask->settle);
    tg_mem_free(TG_MEM_CONNECTION, ask->answer);
    tg_mem_free(TG_MEM_CONNECTION, ask);
}

/* What the parts come to: records of one are enough, and a failure of one makes absence doubtful.
 */
static void conclude(struct ask *ask)
{
    struct tg_answer *answer = ask->answer;
    answer->kind = answer->n > 0 ? TG_ANSWER_RECORDS : TG_ANSWER_NONE;
    answer->ttl = UINT64_MAX;
    for (unsigned i = 0; i < ask->part_count; i++) {
        const struct part *part = &ask->parts[i];
        if (part->kind == TG_ANSWER_FAILED && answer->n == 0)
            answer->kind = TG_ANSWER_FAILED;
        if (part->kind == answer->kind)
            answer->ttl = TG_MIN(answer->ttl, part->ttl);
    }
    if (answer->kind == TG_ANSWER_RECORDS)
        answer->problem = NULL;
}

static void on_settle(struct tg_task *task)
{
    struct ask *ask = TG_CONTAINER_OF(task, struct ask, settle);
    if (ask->query != NULL) {
        conclude(ask);
        tg_resolver_settle(ask->query, ask->answer);
    }
    free_ask(ask);
}

static void settle_if_whole(struct ask *ask)
{
    for (unsigned i = 0; i < ask->part_count; i++) {
        if (ask->parts[i].open || ask->parts[i].again)
            return;
    }
    tg_loop_defer(&ask->dns->worker->loop, &ask->settle);
}

static struct ask *new_ask(struct tg_dns *dns, struct tg_query *query)
{
    size_t size = sizeof(struct tg_answer) + TG_ANSWER_MAX * sizeof(struct tg_record);
    struct ask *ask = tg_mem_zalloc(TG_MEM_CONNECTION, 1, sizeof(*ask));
    if (ask == NULL)
        return NULL;
    ask->dns = dns;
    ask->query = query;
    tg_list_init(&ask->link);
    tg_task_init(&ask->settle, on_settle);
    ask->answer = tg_mem_zalloc(TG_MEM_CONNECTION, 1, size);
    if (ask->answer == NULL) {
        free_ask(ask);
        return NULL;
    }
    tg_list_push_back(&dns->asks, &ask->link);
    return ask;
}

/* ---- The channel -------------------------------------------------------------------------------
 */

/* After each call of c-ares: when it wants to be called next. */
static void set_timer(struct tg_dns *dns)
{
    struct timeval room;
    struct timeval *left = ares_timeout(dns->channel, NULL, &room);
    if (left == NULL) {
        tg_timer_clear(&dns->timer);
        return;
    }
    uint64_t us = (uint64_t)left->tv_sec * TG_USEC_PER_SEC + (uint64_t)left->tv_usec;
    tg_timer_set(&dns->timer, tg_loop_now(&dns->worker->loop) + TG_MAX(us, TG_USEC_PER_MSEC));
}

static void on_timer(struct tg_timer *timer)
{
    struct tg_dns *dns = TG_CONTAINER_OF(timer, struct tg_dns, timer);
    ares_process_fd(dns->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    set_timer(dns);
}

static void on_io(struct ev_loop *ev, ev_io *w, int events)
{
    const struct socket *socket = w->data;
    struct tg_dns *dns = socket->dns;
    int fd = w->fd; /* the watcher may go meanwhile */
    (void)ev;
    ares_process_fd(dns->channel, events & EV_READ ? fd : ARES_SOCKET_BAD,
                    events & EV_WRITE ? fd : ARES_SOCKET_BAD);
    set_timer(dns);
}

static struct socket *find_socket(struct tg_dns *dns, int fd)
{
    TG_LIST_FOREACH(&dns->sockets, it)
    {
        struct socket *socket = TG_LIST_ENTRY(it, struct socket, link);
        if (socket->io.fd == fd)
            return socket;
    }
    return NULL;
}

static void close_socket(struct socket *socket)
{
    ev_io_stop(socket->dns->worker->loop.ev, &socket->io);
    tg_list_remove(&socket->link);
    tg_mem_free(TG_MEM_CONNECTION, socket);
}

/* Without memory for a watcher the query times out, and is answered so. */
static void on_socket(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct tg_dns *dns = arg;
    struct ev_loop *ev = dns->worker->loop.ev;
    struct socket *socket = find_socket(dns, fd);
    int events = (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0);
    if (events == 0) {
        if (socket != NULL)
            close_socket(socket);
        return;
    }
    if (socket == NULL) {
        socket = tg_mem_zalloc(TG_MEM_CONNECTION, 1, sizeof(*socket));
        if (socket == NULL)
            return;
        socket->dns = dns;
        ev_io_init(&socket->io, on_io, fd, 0);
        socket->io.data = socket;
        tg_list_push_back(&dns->sockets, &socket->link);
    }
    ev_io_stop(ev, &socket->io);
    ev_io_set(&socket->io, fd, events);
    ev_io_start(ev, &socket->io);
}

static enum tg_err open_channel(struct tg_dns *dns, const struct tg_dns_conf *conf,
                                ares_channel *out)
{
    char resolv_conf[4096], servers[4096], lookups[] = "b";
    snprintf(resolv_conf, sizeof(resolv_conf), "%.*s", TG_STR_ARG(conf->resolv_conf));
    snprintf(servers, sizeof(servers), "%.*s", TG_STR_ARG(conf->servers));
    struct ares_options options = {
        .flags = ARES_FLAG_EDNS,
        .timeout = (int)(conf->timeout / TG_USEC_PER_MSEC),
        .tries = (int)conf->tries,
        .lookups = lookups,
        .sock_state_cb = on_socket,
        .sock_state_cb_data = dns,
        .resolvconf_path = resolv_conf,
    };
    int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS |
               ARES_OPT_SOCK_STATE_CB | ARES_OPT_RESOLVCONF;
    if (servers[0] != '\0')
        mask |= ARES_OPT_DOMAINS; /* none: the search list belongs to the servers of the file */
    int status = ares_init_options(out, &options, mask);
    if (status != ARES_SUCCESS)
        return status == ARES_ENOMEM ? TG_E_NOMEM : TG_E_SYSTEM;
    if (servers[0] != '\0' && ares_set_servers_ports_csv(*out, servers) != ARES_SUCCESS) {
        ares_destroy(*out);
        return TG_E_NOMEM; /* the list was checked with the configuration */
    }
    return TG_OK;
}

/* ---- Queries -----------------------------------------------------------------------------------
 */

static void on_reply(void *arg, int status, int timeouts, unsigned char *p, int n)
{
    struct part *part = arg;
    struct ask *ask = part->ask;
    part->open = false;
    if (status == ARES_EDESTRUCTION && ask->dns->renewing) {
        part->again = true;
        return;
    }
    if (timeouts > 0)
        tg_limit_hit(dns_timeout);
    bool told = status == ARES_SUCCESS || status == ARES_ENODATA || status == ARES_ENOTFOUND;
    part->kind = TG_ANSWER_FAILED;
    if (told && ask->query != NULL)
        part->kind =
            tg_dns_answer_read(part->type, p, n > 0 ? (size_t)n : 0, ask->answer, &part->ttl);
    if (part->kind == TG_ANSWER_FAILED || ask->answer->problem == NULL)
        ask->answer->problem =
            ares_strerror(told && status == ARES_SUCCESS ? ARES_EBADRESP : status);
    settle_if_whole(ask);
}

static void send_part(struct part *part)
{
    static const int types[] = {
        [TG_DNS_A] = TYPE_A, [TG_DNS_AAAA] = TYPE_AAAA, [TG_DNS_SRV] = TYPE_SRV};
    struct ask *ask = part->ask;
    part->open = true;
    part->again = false;
    ares_search(ask->dns->channel, ask->query->name, CLASS_IN, types[part->type], on_reply, part);
}

static void add_part(struct ask *ask, enum tg_dns_type type)
{
    ask->parts[ask->part_count++] = (struct part){.ask = ask, .type = type, .open = true};
}

/* Whether the hosts file has the name, or it is this machine's: the answer is there then. */
static bool answer_from_hosts(struct ask *ask)
{
    const struct tg_dns *dns = ask->dns;
    struct tg_addr found[TG_DNS_RECORDS_MAX];
    if (ask->query->question != TG_QUESTION_ADDRESS)
        return false;
    struct tg_answer *answer = ask->answer;
    answer->n = tg_hosts_find(tg_str(dns->hosts, dns->hosts_size), tg_str_c(ask->query->name),
                              found, TG_DNS_RECORDS_MAX);
    for (uint32_t i = 0; i < answer->n; i++)
        answer->records[i].addr = found[i];
    if (answer->n == 0)
        return false;
    ask->part_count = 1;
    ask->parts[0] = (struct part){.ask = ask, .kind = TG_ANSWER_RECORDS, .ttl = HOSTS_TTL};
    settle_if_whole(ask);
    return true;
}

static enum tg_err send_query(void *arg, struct tg_query *query)
{
    struct tg_dns *dns = arg;
    if (dns->channel == NULL)
        return TG_E_NOMEM;
    struct ask *ask = new_ask(dns, query);
    if (ask == NULL)
        return TG_E_NOMEM;
    if (answer_from_hosts(ask))
        return TG_OK;
    if (query->question == TG_QUESTION_SRV) {
        add_part(ask, TG_DNS_SRV);
    } else {
        add_part(ask, TG_DNS_AAAA);
        add_part(ask, TG_DNS_A);
    }
    for (unsigned i = 0; i < ask->part_count; i++)
        send_part(&ask->parts[i]);
    set_timer(dns);
    return TG_OK;
}

static void drop_all(void *arg)
{
    struct tg_dns *dns = arg;
    TG_LIST_FOREACH(&dns->asks, it)
    TG_LIST_ENTRY(it, struct ask, link)->query = NULL;
    if (dns->channel != NULL)
        ares_cancel(dns->channel); /* each is told of it */
    TG_LIST_FOREACH(&dns->asks, it)
    free_ask(TG_LIST_ENTRY(it, struct ask, link));
}

static void renew_channel(struct tg_dns *dns, ares_channel channel)
{
    ares_channel old = dns->channel;
    dns->channel = channel;
    dns->renewing = true;
    if (old != NULL)
        ares_destroy(old);
    dns->renewing = false;
    TG_LIST_FOREACH(&dns->asks, it)
    {
        struct ask *ask = TG_LIST_ENTRY(it, struct ask, link);
        for (unsigned i = 0; i < ask->part_count; i++) {
            if (ask->parts[i].again)
                send_part(&ask->parts[i]);
        }
    }
    set_timer(dns);
}

/* ---- Files -------------------------------------------------------------------------------------
 */

/* What cannot be read counts as empty. */
static void read_hosts(struct tg_dns *dns)
{
    tg_mem_free(TG_MEM_CONNECTION, dns->hosts);
    dns->hosts = NULL;
    dns->hosts_size = 0;
    int fd = dns->conf.hosts.n > 0 ? open(dns->conf.hosts.p, O_RDONLY | O_CLOEXEC) : -1;
    off_t size = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
    size_t room = size > 0 ? TG_MIN((size_t)size, TG_HOSTS_BYTES_MAX) : 0;
    if (room > 0)
        dns->hosts = tg_mem_alloc(TG_MEM_CONNECTION, room);
    if (dns->hosts != NULL) {
        ssize_t n = pread(fd, dns->hosts, room, 0);
        dns->hosts_size = n > 0 ? (size_t)n : 0;
    }
    if (fd >= 0)
        close(fd);
}

static void on_hosts(struct ev_loop *ev, ev_stat *w, int events)
{
    (void)ev;
    (void)events;
    read_hosts(w->data);
}

static void on_resolv_conf(struct ev_loop *ev, ev_stat *w, int events)
{
    struct tg_dns *dns = w->data;
    ares_channel channel;
    (void)ev;
    (void)events;
    if (open_channel(dns, &dns->conf, &channel) != TG_OK) {
        tg_log(TG_LOG_ERROR, "dns", "resolv.conf has changed and could not be read again");
        return;
    }
    renew_channel(dns, channel);
}

static void stop_watching(struct tg_dns *dns)
{
    ev_stat_stop(dns->worker->loop.ev, &dns->hosts_watch);
    ev_stat_stop(dns->worker->loop.ev, &dns->resolv_watch);
}

static void watch_files(struct tg_dns *dns)
{
    stop_watching(dns);
    if (dns->conf.hosts.n > 0) {
        ev_stat_set(&dns->hosts_watch, dns->conf.hosts.p, 0.);
        ev_stat_start(dns->worker->loop.ev, &dns->hosts_watch);
    }
    if (dns->conf.servers.n == 0) {
        ev_stat_set(&dns->resolv_watch, dns->conf.resolv_conf.p, 0.);
        ev_stat_start(dns->worker->loop.ev, &dns->resolv_watch);
    }
}

/* ---- Life --------------------------------------------------------------------------------------
 */

static void release_conf(struct tg_dns_conf *conf)
{
    tg_mem_free(TG_MEM_CONNECTION, (char *)(uintptr_t)conf->servers.p);
    tg_mem_free(TG_MEM_CONNECTION, (char *)(uintptr_t)conf->hosts.p);
    tg_mem_free(TG_MEM_CONNECTION, (char *)(uintptr_t)conf->resolv_conf.p);
    *conf = (struct tg_dns_conf){0};
}

static struct tg_str own_copy(struct tg_str s)
{
    return tg_str(tg_mem_strndup(TG_MEM_CONNECTION, s.p, s.n), s.n);
}

static enum tg_err copy_conf(struct tg_dns_conf *to, const struct tg_dns_conf *from)
{
    *to = *from;
    to->servers = own_copy(from->servers);
    to->hosts = own_copy(from->hosts);
    to->resolv_conf = own_copy(from->resolv_conf);
    if (to->servers.p != NULL && to->hosts.p != NULL && to->resolv_conf.p != NULL)
        return TG_OK;
    release_conf(to);
    return TG_E_NOMEM;
}

static bool same_conf(const struct tg_dns_conf *a, const struct tg_dns_conf *b)
{
    return tg_str_eq(a->servers, b->servers) && tg_str_eq(a->hosts, b->hosts) &&
           tg_str_eq(a->resolv_conf, b->resolv_conf) && a->timeout == b->timeout &&
           a->tries == b->tries;
}

enum tg_err tg_dns_configure(struct tg_dns *dns, const struct tg_dns_conf *conf)
{
    struct tg_dns_conf copy;
    ares_channel channel;
    if (dns->channel != NULL && same_conf(&dns->conf, conf))
        return TG_OK;
    enum tg_err err = copy_conf(&copy, conf);
    if (err != TG_OK)
        return err;
    err = open_channel(dns, &copy, &channel);
    if (err != TG_OK) {
        release_conf(&copy);
        return err;
    }
    stop_watching(dns);
    release_conf(&dns->conf);
    dns->conf = copy;
    read_hosts(dns);
    watch_files(dns);
    renew_channel(dns, channel);
    return TG_OK;
}

struct tg_dns *tg_dns_new(struct tg_worker *worker)
{
    struct tg_dns *dns = tg_mem_zalloc(TG_MEM_CONNECTION, 1, sizeof(*dns));
    if (dns == NULL)
        return NULL;
    dns->worker = worker;
    dns->source = (struct tg_resolver_source){send_query, drop_all, dns};
    tg_list_init(&dns->asks);
    tg_list_init(&dns->sockets);
    ev_stat_init(&dns->hosts_watch, on_hosts, "", 0.);
    ev_stat_init(&dns->resolv_watch, on_resolv_conf, "", 0.);
    dns->hosts_watch.data = dns->resolv_watch.data = dns;
    if (tg_timer_init(&dns->timer, &worker->loop.timers, on_timer) != TG_OK)
        tg_mem_free(TG_MEM_CONNECTION, dns);
    else
        return dns;
    return NULL;
}

void tg_dns_free(struct tg_dns **dns)
{
    struct tg_dns *taken = *dns;
    *dns = NULL;
    if (taken == NULL)
        return;
    drop_all(taken);
    stop_watching(taken);
    if (taken->channel != NULL)
        ares_destroy(taken->channel); /* which closes its sockets */
    tg_assert(tg_list_is_empty(&taken->sockets) && tg_list_is_empty(&taken->asks));
    tg_timer_release(&taken->timer);
    release_conf(&taken->conf);
    tg_mem_free(TG_MEM_CONNECTION, taken->hosts);
    tg_mem_free(TG_MEM_CONNECTION, taken);
}

const struct tg_resolver_source *tg_dns_source(struct tg_dns *dns)
{
    return &dns->source;
}
