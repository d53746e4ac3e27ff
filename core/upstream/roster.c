/* roster.c: see roster.h.
 *
 * An entry is a name that is looked up: one for each declared name, and, while a declared name is
 * that of a service, one more for each of its records. One timer asks again for what is due. */
#include "base/banned.h"
#include "upstream/roster.h"

#include "base/assert.h"
#include "base/mem.h"
#include "observe/log.h"
#include "upstream/names.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct entry {
    struct tg_roster *roster;
    const struct tg_balance_target *declared;
    struct entry *parent; /* NULL: a declared name */
    struct tg_list link;  /* in the roster; those of a service follow it */
    struct tg_lookup lookup;
    enum tg_question question;
    char query[TG_NAME_MAX + 1];
    uint16_t port, weight, priority;
    bool asking;
    bool answered;
    bool named; /* in the service's newest answer; of those that have a parent */
    bool stale;
    enum tg_answer_kind kind;
    const char *problem; /* static */
    uint64_t until;      /* us */
    uint32_t n;
    struct tg_addr addrs[TG_ANSWER_MAX]; /* of ADDRESS; in one order, whatever that of the answer */
    struct tg_known_name *known;         /* of a declared name; held */
};

struct tg_roster {
    struct tg_roster_options options;
    struct tg_fleet *fleet; /* held */
    struct tg_balance *balance;
    struct tg_list entries; /* of struct entry */
    struct tg_list waiters;
    struct tg_timer timer;
    bool begun;
    bool dirty; /* the balancer could not be made for lack of memory */
};

static uint64_t now_of(const struct tg_roster *roster)
{
    return tg_loop_now(&roster->options.worker->loop);
}

bool tg_roster_is_needed(const struct tg_balance_target *declared, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (declared[i].kind != TG_TARGET_ADDRESS)
            return true;
    }
    return false;
}

/* ---- Targets -----------------------------------------------------------------------------------
 */

struct gathered {
    struct tg_balance_target *v;
    char (*names)[TG_ADDR_TEXT_MAX];
    uint32_t n;
};

static bool is_there(const struct gathered *g, const struct tg_addr *addr)
{
    for (uint32_t i = 0; i < g->n; i++) {
        if (tg_addr_eq(&g->v[i].addr, addr))
            return true;
    }
    return false;
}

static void set_port(struct tg_addr *addr, uint16_t port)
{
    if (addr->u.any.sa_family == AF_INET6)
        addr->u.v6.sin6_port = htons(port);
    else
        addr->u.v4.sin_port = htons(port);
}

static void add_target(struct gathered *g, const struct tg_balance_target *declared,
                       const struct tg_addr *addr)
{
    if (g->n >= TG_ROSTER_MAX || is_there(g, addr))
        return;
    struct tg_balance_target *t = &g->v[g->n];
    *t = *declared;
    t->kind = TG_TARGET_ADDRESS;
    t->addr = *addr;
    t->name =
        declared->kind == TG_TARGET_ADDRESS ? declared->name : tg_addr_text(addr, g->names[g->n]);
    g->n++;
}

/* Whether the machine has a route for it: nothing is sent. */
static bool has_route(const struct tg_addr *addr)
{
    int fd = socket(addr->u.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    struct tg_addr to = *addr;
    set_port(&to, 53);
    bool routed = connect(fd, &to.u.any, to.len) == 0;
    close(fd);
    return routed;
}

/* The addresses of IPv4 come first. */
static uint32_t count_v4(const struct entry *e)
{
    uint32_t n = 0;
    while (n < e->n && e->addrs[n].u.any.sa_family == AF_INET)
        n++;
    return n;
}

static void gather_addresses(const struct entry *e, struct gathered *g)
{
    uint32_t v4 = count_v4(e), v6 = e->n - v4;
    bool both = v4 > 0 && v6 > 0;
    bool first_v6 =
        v4 == 0 || (v6 >= v4 && has_route(&e->addrs[v4])) || (both && !has_route(&e->addrs[0]));
    const struct tg_addr *own = &e->addrs[first_v6 ? v4 : 0];
    const struct tg_addr *others = &e->addrs[first_v6 ? 0 : v4];
    uint32_t n = first_v6 ? v6 : v4;
    struct tg_balance_target as = *e->declared;
    as.priority = e->priority;
    if (e->parent != NULL)
        as.weight = TG_MAX(e->weight, 1u);
    for (uint32_t i = 0; i < n; i++) {
        struct tg_addr addr = own[i];
        set_port(&addr, e->port);
        if (both) {
            as.another = others[i % (e->n - n)];
            set_port(&as.another, e->port);
        }
        add_target(g, &as, &addr);
    }
}

static void gather(const struct tg_roster *roster, struct gathered *g)
{
    const struct tg_roster_options *o = &roster->options;
    for (uint32_t i = 0; i < o->n; i++) {
        if (o->declared[i].kind == TG_TARGET_ADDRESS)
            add_target(g, &o->declared[i], &o->declared[i].addr);
    }
    TG_LIST_FOREACH(&roster->entries, it)
    {
        const struct entry *e = TG_LIST_ENTRY(it, struct entry, link);
        if (e->n > 0)
            gather_addresses(e, g);
    }
}

static struct tg_balance *make_balance(const struct tg_roster *roster)
{
    struct tg_balance_options options = roster->options.balance;
    struct gathered g = {0};
    struct tg_balance *balance = NULL;
    options.now = now_of(roster);
    options.passing = true;
    g.v = tg_mem_alloc(TG_MEM_CONFIG, TG_ROSTER_MAX * sizeof(*g.v));
    g.names = tg_mem_alloc(TG_MEM_CONFIG, TG_ROSTER_MAX * sizeof(*g.names));
    if (g.v != NULL && g.names != NULL) {
        gather(roster, &g);
        balance = tg_balance_new(&options, g.v, g.n);
    }
    tg_mem_free(TG_MEM_CONFIG, g.v);
    tg_mem_free(TG_MEM_CONFIG, g.names);
    return balance;
}

/* Another balancer, over the targets of now; without memory for it the old one stays for a while.
 */
static void rebuild(struct tg_roster *roster)
{
    struct tg_balance *balance = make_balance(roster);
    roster->dirty = balance == NULL;
    if (roster->dirty)
        return;
    struct tg_balance *old = roster->balance;
    roster->balance = balance;
    if (roster->options.on_change != NULL)
        roster->options.on_change(roster->options.arg, roster);
    tg_balance_unref(&old, now_of(roster));
}

/* ---- Entries -----------------------------------------------------------------------------------
 */

static void on_answer(struct tg_lookup *lookup, const struct tg_answer *answer);

static struct entry *new_entry(struct tg_roster *roster, const struct tg_balance_target *declared,
                               enum tg_question question, struct tg_str query)
{
    struct entry *e = tg_mem_zalloc(TG_MEM_CONFIG, 1, sizeof(*e));
    if (e == NULL)
        return NULL;
    tg_assert(query.n <= TG_NAME_MAX);
    e->roster = roster;
    e->declared = declared;
    e->question = question;
    e->lookup.on_answer = on_answer;
    e->lookup.max_age = declared->refresh;
    e->port = declared->port;
    e->priority = declared->priority;
    memcpy(e->query, query.p, query.n);
    return e;
}

static void free_entry(struct entry *e)
{
    tg_resolver_cancel(&e->lookup);
    tg_list_remove(&e->link);
    tg_known_name_unref(e->roster->fleet, &e->known);
    tg_mem_free(TG_MEM_CONFIG, e);
}

static int by_address(const void *a, const void *b)
{
    size_t na, nb;
    const unsigned char *pa = tg_addr_ip_bytes(a, &na);
    const unsigned char *pb = tg_addr_ip_bytes(b, &nb);
    return na != nb ? (na < nb ? -1 : 1) : memcmp(pa, pb, na);
}

/* Whether the addresses are others than before. */
static bool take_addresses(struct entry *e, const struct tg_answer *answer)
{
    struct tg_addr found[TG_ANSWER_MAX];
    uint32_t n = answer->kind == TG_ANSWER_RECORDS ? answer->n : 0;
    for (uint32_t i = 0; i < n; i++)
        found[i] = answer->records[i].addr;
    qsort(found, n, sizeof(found[0]), by_address);
    bool same = n == e->n;
    for (uint32_t i = 0; i < n && same; i++)
        same = tg_addr_eq(&found[i], &e->addrs[i]);
    memcpy(e->addrs, found, n * sizeof(found[0]));
    e->n = n;
    return !same;
}

static struct entry *find_child(const struct entry *parent, const struct tg_record *record)
{
    TG_LIST_FOREACH(&parent->roster->entries, it)
    {
        struct entry *e = TG_LIST_ENTRY(it, struct entry, link);
        if (e->parent == parent && e->port == record->port && strcmp(e->query, record->target) == 0)
            return e;
    }
    return NULL;
}

static struct entry *add_child(struct entry *parent, const struct tg_record *record)
{
    struct entry *e =
        new_entry(parent->roster, parent->declared, TG_QUESTION_ADDRESS, tg_str_c(record->target));
    if (e == NULL)
        return NULL;
    e->parent = parent;
    e->port = record->port;
    tg_list_insert_after(&parent->link, &e->link);
    return e;
}

/* The servers of a service: some come, some go, some weigh more. Whether anything has changed that
 * is known yet: those that come have to be looked up first. */
static bool take_servers(struct entry *parent, const struct tg_answer *answer)
{
    bool changed = false;
    TG_LIST_FOREACH(&parent->roster->entries, it)
    {
        struct entry *e = TG_LIST_ENTRY(it, struct entry, link);
        if (e->parent == parent)
            e->named = false;
    }
    for (uint32_t i = 0; answer->kind == TG_ANSWER_RECORDS && i < answer->n; i++) {
        const struct tg_record *record = &answer->records[i];
        struct entry *e = find_child(parent, record);
        if (e == NULL)
            e = add_child(parent, record);
        if (e == NULL)
            continue; /* no memory: with the next answer */
        changed = changed ||
                  (e->n > 0 && (e->weight != record->weight || e->priority != record->priority));
        e->weight = record->weight;
        e->priority = record->priority;
        e->named = true;
    }
    TG_LIST_FOREACH(&parent->roster->entries, it)
    {
        struct entry *e = TG_LIST_ENTRY(it, struct entry, link);
        if (e->parent != parent || e->named)
            continue;
        changed = changed || e->n > 0;
        free_entry(e);
    }
    return changed;
}

/* ---- Telling -----------------------------------------------------------------------------------
 */

static const char *state_name(const struct entry *e)
{
    static const char *const names[] = {
        [TG_ANSWER_FAILED] = "failed", [TG_ANSWER_NONE] = "none", [TG_ANSWER_RECORDS] = "found"};
    if (!e->answered)
        return "pending";
    return e->stale ? "stale" : names[e->kind];
}

static void show(const struct entry *declared)
{
    struct tg_known_name news = {.state = state_name(declared), .until = declared->until};
    if (declared->problem != NULL)
        snprintf(news.problem, sizeof(news.problem), "%s", declared->problem);
    TG_LIST_FOREACH(&declared->roster->entries, it)
    {
        const struct entry *e = TG_LIST_ENTRY(it, struct entry, link);
        for (uint32_t i = 0; (e == declared || e->parent == declared) && i < e->n; i++) {
            if (news.n == TG_ANSWER_MAX)
                break;
            news.addrs[news.n] = e->addrs[i];
            set_port(&news.addrs[news.n++], e->port);
        }
    }
    tg_known_name_set(declared->roster->fleet, declared->known, &news);
}

/* When what is known of a name changes for better or worse. */
static void log_news(const struct entry *e, const char *before)
{
    const char *state = state_name(e);
    bool good = e->kind == TG_ANSWER_RECORDS && !e->stale;
    bool was_bad = strcmp(before, "pending") != 0 && strcmp(before, "found") != 0;
    struct tg_str service = e->roster->fleet->name;
    if (strcmp(before, state) == 0 || (good && !was_bad))
        return;
    if (good)
        tg_log_kv(TG_LOG_INFO, "dns", "a name is found again", tg_log_str("service", service),
                  tg_log_str("name", tg_str_c(e->query)));
    else
        tg_log_kv(TG_LOG_WARN, "dns",
                  e->stale ? "a name cannot be looked up: its old addresses stay in use"
                           : "a name has no address",
                  tg_log_str("service", service), tg_log_str("name", tg_str_c(e->query)),
                  tg_log_str("reason", tg_str_c(e->problem != NULL ? e->problem : state)));
}

static void wake_waiters(struct tg_roster *roster)
{
    while (!tg_list_is_empty(&roster->waiters)) {
        struct tg_roster_waiter *w =
            TG_LIST_ENTRY(roster->waiters.next, struct tg_roster_waiter, link);
        tg_list_remove(&w->link);
        tg_loop_defer(&roster->options.worker->loop, &w->task);
    }
}

/* ---- Asking ------------------------------------------------------------------------------------
 */

/* Whether the targets have to be made anew. */
static bool take(struct entry *e, const struct tg_answer *answer)
{
    uint64_t refresh = e->declared->refresh;
    const char *before = state_name(e);
    e->asking = false;
    e->answered = true;
    e->kind = answer->kind;
    e->stale = answer->stale;
    e->problem = answer->problem;
    e->until = answer->until;
    if (refresh > 0)
        e->until = TG_MIN(e->until, now_of(e->roster) + refresh);
    bool changed =
        e->question == TG_QUESTION_SRV ? take_servers(e, answer) : take_addresses(e, answer);
    log_news(e, before);
    return changed;
}

/* An entry that is to be looked up; answers may have brought others, or taken some away. */
static struct entry *next_due(const struct tg_roster *roster)
{
    TG_LIST_FOREACH(&roster->entries, it)
    {
        struct entry *e = TG_LIST_ENTRY(it, struct entry, link);
        if (!e->asking && now_of(roster) >= e->until)
            return e;
    }
    return NULL;
}

/* Asks for what is due; whether an answer that was there has changed the targets. */
static bool ask_due(struct tg_roster *roster)
{
    bool changed = false;
    struct entry *e;
    while ((e = next_due(roster)) != NULL) {
        struct tg_str query = tg_str_c(e->query);
        e->asking = true;
        const struct tg_answer *answer =
            tg_resolver_ask(roster->options.resolver, query, e->question, &e->lookup);
        if (answer == NULL && !e->answered) {
            answer = tg_resolver_recall(roster->options.resolver, query, e->question);
            if (answer != NULL) {
                changed = take(e, answer) || changed;
                e->asking = true; /* the newer answer is on its way */
            }
        } else if (answer != NULL) {
            changed = take(e, answer) || changed;
        }
    }
    return changed;
}

static void set_timer(struct tg_roster *roster)
{
    uint64_t next = UINT64_MAX;
    TG_LIST_FOREACH(&roster->entries, it)
    {
        const struct entry *e = TG_LIST_ENTRY(it, struct entry, link);
        if (!e->asking)
            next = TG_MIN(next, e->until);
    }
    if (roster->dirty)
        next = TG_MIN(next, now_of(roster) + TG_RESOLVER_RETRY);
    if (next == UINT64_MAX)
        tg_timer_clear(&roster->timer);
    else
        tg_timer_set(&roster->timer, TG_MAX(next, now_of(roster) + 1));
}

/* What has to follow each answer: questions that it raises, the balancer, and who waits for it. */
static void go_on(struct tg_roster *roster, bool changed)
{
    changed = ask_due(roster) || changed || roster->dirty;
    if (changed)
        rebuild(roster);
    TG_LIST_FOREACH(&roster->entries, it)
    {
        const struct entry *e = TG_LIST_ENTRY(it, struct entry, link);
        if (e->parent == NULL)
            show(e);
    }
    set_timer(roster);
    if (tg_roster_state(roster) != TG_E_AGAIN)
        wake_waiters(roster);
}

static void on_answer(struct tg_lookup *lookup, const struct tg_answer *answer)
{
    struct entry *e = TG_CONTAINER_OF(lookup, struct entry, lookup);
    struct tg_roster *roster = e->roster;
    bool changed = take(e, answer);
    go_on(roster, changed);
}

static void on_timer(struct tg_timer *timer)
{
    go_on(TG_CONTAINER_OF(timer, struct tg_roster, timer), false);
}

/* ---- Life --------------------------------------------------------------------------------------
 */

static enum tg_err add_declared(struct tg_roster *roster, const struct tg_balance_target *declared)
{
    enum tg_question question =
        declared->kind == TG_TARGET_SRV ? TG_QUESTION_SRV : TG_QUESTION_ADDRESS;
    struct entry *e = new_entry(roster, declared, question, declared->query);
    if (e == NULL)
        return TG_E_NOMEM;
    tg_list_push_back(&roster->entries, &e->link);
    e->known = tg_known_name_ref(roster->fleet, declared->name);
    return e->known != NULL ? TG_OK : TG_E_NOMEM;
}

struct tg_roster *tg_roster_new(const struct tg_roster_options *options)
{
    struct tg_roster *roster = tg_mem_zalloc(TG_MEM_CONFIG, 1, sizeof(*roster));
    if (roster == NULL)
        return NULL;
    roster->options = *options;
    tg_list_init(&roster->entries);
    tg_list_init(&roster->waiters);
    if (tg_timer_init(&roster->timer, &options->worker->loop.timers, on_timer) != TG_OK) {
        tg_mem_free(TG_MEM_CONFIG, roster);
        return NULL;
    }
    roster->fleet = tg_fleet_ref(options->balance.registry, options->balance.service);
    enum tg_err err = roster->fleet != NULL ? TG_OK : TG_E_NOMEM;
    for (uint32_t i = 0; i < options->n && err == TG_OK; i++) {
        if (options->declared[i].kind != TG_TARGET_ADDRESS)
            err = add_declared(roster, &options->declared[i]);
    }
    if (err == TG_OK)
        roster->balance = make_balance(roster);
    if (roster->balance == NULL)
        tg_roster_free(&roster);
    return roster;
}

void tg_roster_begin(struct tg_roster *roster)
{
    if (roster->begun)
        return;
    roster->begun = true;
    go_on(roster, false);
}

void tg_roster_free(struct tg_roster **rosterp)
{
    struct tg_roster *roster = *rosterp;
    *rosterp = NULL;
    if (roster == NULL)
        return;
    tg_assert(tg_list_is_empty(&roster->waiters));
    TG_LIST_FOREACH(&roster->entries, it)
    free_entry(TG_LIST_ENTRY(it, struct entry, link));
    tg_timer_release(&roster->timer);
    tg_balance_unref(&roster->balance, now_of(roster));
    tg_fleet_unref(&roster->fleet);
    tg_mem_free(TG_MEM_CONFIG, roster);
}

struct tg_balance *tg_roster_balance(const struct tg_roster *roster)
{
    return roster->balance;
}

enum tg_err tg_roster_state(const struct tg_roster *roster)
{
    if (tg_balance_count(roster->balance) > 0)
        return TG_OK;
    TG_LIST_FOREACH(&roster->entries, it)
    {
        if (!TG_LIST_ENTRY(it, struct entry, link)->answered)
            return TG_E_AGAIN;
    }
    return roster->dirty ? TG_E_NOMEM : TG_E_DNS;
}

static void on_ready(struct tg_task *task)
{
    struct tg_roster_waiter *waiter = TG_CONTAINER_OF(task, struct tg_roster_waiter, task);
    waiter->waits = false;
    waiter->on_ready(waiter);
}

void tg_roster_wait(struct tg_roster *roster, struct tg_roster_waiter *waiter)
{
    waiter->waits = true;
    tg_task_init(&waiter->task, on_ready);
    tg_list_push_back(&roster->waiters, &waiter->link);
}

void tg_roster_leave(struct tg_roster_waiter *waiter)
{
    if (!waiter->waits)
        return;
    waiter->waits = false;
    tg_list_remove(&waiter->link);
    tg_task_cancel(&waiter->task);
}
