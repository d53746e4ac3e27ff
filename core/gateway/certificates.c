/* certificates.c: see certificates.h.
 *
 * An entry holds its context, so the leaf that it serves stays. After a reload the entry of the
 * same certificate and responder goes on with the new context's leaf, and gives it what it has. */
#include "base/banned.h"
#include "gateway/certificates.h"

#include "base/assert.h"
#include "base/buf.h"
#include "gateway/target.h"
#include "http/h1_client.h"
#include "http/h1_write.h"
#include "http/uri.h"
#include "net/ocsp.h"
#include "net/tls_context.h"
#include "observe/log.h"
#include "observe/metrics.h"

#define MAGIC       0x0c59ce27u
#define PATIENCE    (10 * TG_USEC_PER_SEC)
#define RETRY_FIRST (60 * TG_USEC_PER_SEC)
#define RETRY_LAST  (3600 * TG_USEC_PER_SEC)
#define LEAST       (5 * TG_USEC_PER_SEC) /* between two questions */
#define MOST        (86400 * TG_USEC_PER_SEC)
#define LOOK_EVERY  (43200 * TG_USEC_PER_SEC) /* at what will end soon */
#define DAY         86400
#define HEAD_MAX    8192u

struct entry {
    uint32_t magic;
    struct tg_certificates *owner;
    struct tg_list link;
    struct tg_tls_context *context; /* one reference */
    struct tg_tls_leaf *leaf;       /* of the context */
    struct tg_str listener;         /* its name; owned */
    bool wanted;                    /* while a configuration is followed */
    struct tg_lookup lookup;        /* of the responder's name, before asking */
    bool asking;
    uint64_t pause; /* us: after the next failure */
    struct tg_timer timer;
    struct tg_h1_client client; /* open while asking */
    struct tg_arena arena;      /* of the exchange */
    struct tg_buf body;
    struct tg_task clean; /* returns arena and body; frees the entry where it is not wanted */
};

struct tg_certificates {
    struct tg_worker *worker;
    struct tg_dns *dns;
    struct tg_resolver *resolver;
    const struct tg_snapshot *snapshot; /* followed; borrowed */
    struct tg_timer look;
    struct tg_list entries;
};

static const struct tg_call_events events;

static uint64_t now_of(const struct entry *e)
{
    return tg_loop_now(&e->owner->worker->loop);
}

static int64_t real_now(const struct tg_worker *worker)
{
    return (int64_t)(worker->loop.clock.real / TG_USEC_PER_SEC);
}

/* ---- The end of a question ---------------------------------------------------------------------
 */

static void stop_asking(struct entry *e)
{
    tg_resolver_cancel(&e->lookup);
    if (!e->asking)
        return;
    e->asking = false;
    tg_h1_client_close(&e->client);
    tg_loop_defer(&e->owner->worker->loop, &e->clean);
}

static void fail(struct entry *e, const char *why)
{
    bool good = tg_tls_leaf_is_stapled(e->leaf, real_now(e->owner->worker));
    stop_asking(e);
    tg_metric_inc(e->owner->worker->cells, TG_METRIC_OCSP_FAILED);
    tg_log_kv(TG_LOG_WARN, "tls",
              good ? "no new OCSP response; the old one is still good"
                   : "no OCSP response to staple",
              tg_log_str("listener", e->listener), tg_log_str("name", tg_str_c(e->leaf->name)),
              tg_log_str("responder", tg_str_c(e->leaf->url)), tg_log_str("reason", tg_str_c(why)));
    tg_timer_set(&e->timer, now_of(e) + e->pause);
    e->pause = TG_MIN(2 * e->pause, RETRY_LAST);
}

/* Half of the time that is left. */
static uint64_t next_distance(const struct entry *e, const struct tg_ocsp_answer *answer)
{
    int64_t left = answer->until - real_now(e->owner->worker);
    if (answer->until == 0)
        return MOST / 24;
    uint64_t half = left > 0 ? (uint64_t)left * TG_USEC_PER_SEC / 2 : 0;
    return TG_MAX(TG_MIN(half, MOST), LEAST);
}

static void take(struct entry *e, struct tg_str der)
{
    struct tg_ocsp_answer answer;
    char why[TG_TLS_REASON_MAX];
    if (tg_ocsp_check(der, e->leaf->cert, e->leaf->chain, &answer, why) != TG_OK) {
        fail(e, why);
        return;
    }
    if (tg_tls_leaf_staple(e->leaf, der, answer.until) != TG_OK) {
        fail(e, tg_err_text(TG_E_NOMEM));
        return;
    }
    e->pause = RETRY_FIRST;
    stop_asking(e);
    tg_metric_inc(e->owner->worker->cells, TG_METRIC_OCSP_GOOD);
    tg_log_kv(TG_LOG_INFO, "tls", "a new OCSP response is stapled",
              tg_log_str("listener", e->listener), tg_log_str("name", tg_str_c(e->leaf->name)));
    tg_timer_set(&e->timer, now_of(e) + next_distance(e, &answer));
}

/* ---- Asking ------------------------------------------------------------------------------------
 */

/* What "http://HOST[:PORT]/PATH" says. */
struct url {
    struct tg_str authority, host, path;
    uint16_t port;
};

/* False: it is none. */
static bool split_url(const char *text, struct url *url)
{
    struct tg_str rest = tg_str_c(text + sizeof("http://") - 1);
    size_t slash = tg_str_find(rest, '/', 0);
    url->authority = tg_str_sub(rest, 0, slash);
    url->path = slash < rest.n ? tg_str_sub(rest, slash, rest.n) : TG_STR("/");
    if (tg_uri_split_authority(url->authority, &url->host, &url->port) != TG_OK)
        return false;
    url->port = url->port != 0 ? url->port : 80;
    return url->host.n <= TG_NAME_MAX;
}

static void dial(struct entry *e, struct tg_addr addr, uint16_t port)
{
    if (addr.u.any.sa_family == AF_INET6)
        addr.u.v6.sin6_port = htons(port);
    else
        addr.u.v4.sin_port = htons(port);
    tg_arena_init(&e->arena, e->owner->worker->slab, (size_t)HEAD_MAX * 8);
    enum tg_err err = tg_h1_client_open(&e->client, e->owner->worker, &addr, PATIENCE, &events, e);
    if (err != TG_OK) {
        fail(e, tg_err_text(err));
        return;
    }
    e->asking = true;
    tg_timer_set(&e->timer, now_of(e) + PATIENCE);
}

static void on_answer(struct tg_lookup *lookup, const struct tg_answer *answer)
{
    struct entry *e = TG_CONTAINER_OF(lookup, struct entry, lookup);
    struct url url;
    tg_magic_check(e, MAGIC);
    if (answer->kind == TG_ANSWER_RECORDS && split_url(e->leaf->url, &url))
        dial(e, answer->records[0].addr, url.port);
    else
        fail(e, answer->problem != NULL ? answer->problem : "the responder's name is not known");
}

static void ask(struct entry *e)
{
    struct url url;
    struct tg_addr addr;
    if (!split_url(e->leaf->url, &url)) {
        fail(e, "the responder's URL is none");
        return;
    }
    if (tg_addr_parse_ip(url.host, &addr) == TG_OK) {
        dial(e, addr, url.port);
        return;
    }
    tg_dns_follow(e->owner->dns, e->owner->resolver, &e->owner->snapshot->settings);
    e->lookup.on_answer = on_answer;
    const struct tg_answer *answer =
        tg_resolver_ask(e->owner->resolver, url.host, TG_QUESTION_ADDRESS, &e->lookup);
    if (answer != NULL)
        on_answer(&e->lookup, answer);
}

static void on_timer(struct tg_timer *timer)
{
    struct entry *e = TG_CONTAINER_OF(timer, struct entry, timer);
    tg_magic_check(e, MAGIC);
    if (e->asking)
        fail(e, tg_err_text(TG_E_TIMEOUT));
    else
        ask(e);
}

static void on_connected(struct tg_call *call)
{
    struct entry *e = call->owner;
    struct tg_call_limits limits = {
        .fields = 100, .head = HEAD_MAX, .buffer = HEAD_MAX, .response = PATIENCE, .io = PATIENCE};
    struct url url;
    size_t n;
    unsigned char *question = tg_ocsp_question(e->leaf->cert, sk_X509_value(e->leaf->chain, 0), &n);
    if (question == NULL || !split_url(e->leaf->url, &url)) {
        OPENSSL_free(question);
        fail(e, tg_err_text(TG_E_NOMEM));
        return;
    }
    tg_call_begin(call, &e->arena, TG_METHOD_POST, &limits, &events, e);
    struct tg_fmt *f = tg_call_stage(call, url.path.n + url.authority.n + 256 + n);
    tg_fmt_lit(f, "POST ");
    tg_fmt_add(f, url.path);
    tg_fmt_lit(f, " HTTP/1.1\r\n");
    tg_h1_write_field(f, TG_STR("Host"), url.authority);
    tg_fmt_lit(f,
               "Content-Type: application/ocsp-request\r\nConnection: close\r\nContent-Length: ");
    tg_fmt_u64(f, n);
    tg_fmt_lit(f, "\r\n\r\n");
    tg_call_set_framing(call, TG_FRAMING_LENGTH);
    tg_call_send_body(call, tg_str((const char *)question, n));
    OPENSSL_free(question);
    tg_call_send_end(call, NULL);
}

static void on_info(struct tg_call *call, const struct tg_response_head *head)
{
    (void)call;
    (void)head;
}

static void on_head(struct tg_call *call, const struct tg_response_head *head)
{
    char why[32];
    if (head->status == 200)
        return;
    snprintf(why, sizeof(why), "status %u", head->status);
    fail(call->owner, why);
}

static void on_body(struct tg_call *call, struct tg_str data)
{
    struct entry *e = call->owner;
    if (e->body.size + data.n > TG_OCSP_MAX)
        fail(e, "the answer is too large");
    else if (tg_buf_append(&e->body, data.p, data.n) != TG_OK)
        fail(e, tg_err_text(TG_E_NOMEM));
}

static void on_end(struct tg_call *call, const struct tg_fields *trailers)
{
    struct entry *e = call->owner;
    size_t n = e->body.size;
    char *whole = tg_mem_alloc(TG_MEM_CONFIG, n);
    (void)trailers;
    if (whole == NULL) {
        fail(e, tg_err_text(TG_E_NOMEM));
        return;
    }
    tg_buf_copy_out(&e->body, whole);
    take(e, tg_str(whole, n));
    tg_mem_free(TG_MEM_CONFIG, whole);
}

static void on_nothing(struct tg_call *call)
{
    (void)call;
}

static void on_failed(struct tg_call *call, enum tg_err err, const char *reason)
{
    fail(call->owner, reason != NULL ? reason : tg_err_text(err));
}

static const struct tg_call_events events = {
    .on_connected = on_connected,
    .on_info = on_info,
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_pause = on_nothing,
    .on_drained = on_nothing,
    .on_failed = on_failed,
};

/* ---- Entries -----------------------------------------------------------------------------------
 */

static void free_entry(struct entry *e)
{
    tg_task_cancel(&e->clean);
    tg_list_remove(&e->link);
    tg_timer_release(&e->timer);
    tg_arena_release(&e->arena);
    tg_buf_release(&e->body);
    tg_tls_context_unref(&e->context);
    tg_mem_free(TG_MEM_CONFIG, (void *)e->listener.p);
    e->magic = 0;
    tg_mem_free(TG_MEM_CONFIG, e);
}

static void on_clean(struct tg_task *task)
{
    struct entry *e = TG_CONTAINER_OF(task, struct entry, clean);
    tg_arena_release(&e->arena);
    tg_buf_release(&e->body);
    if (!e->wanted)
        free_entry(e);
}

/* The entry of the same certificate and responder, that nobody wanted yet. */
static struct entry *find(struct tg_certificates *c, struct tg_str listener,
                          const struct tg_tls_leaf *leaf)
{
    TG_LIST_FOREACH(&c->entries, it)
    {
        struct entry *e = TG_LIST_ENTRY(it, struct entry, link);
        if (!e->wanted && tg_str_eq(e->listener, listener) &&
            strcmp(e->leaf->url, leaf->url) == 0 && X509_cmp(e->leaf->cert, leaf->cert) == 0)
            return e;
    }
    return NULL;
}

static struct entry *new_entry(struct tg_certificates *c, struct tg_str listener)
{
    struct entry *e = tg_mem_zalloc(TG_MEM_CONFIG, 1, sizeof(*e));
    char *name = tg_mem_strndup(TG_MEM_CONFIG, listener.p, listener.n);
    if (e == NULL || name == NULL ||
        tg_timer_init(&e->timer, &c->worker->loop.timers, on_timer) != TG_OK) {
        tg_mem_free(TG_MEM_CONFIG, name);
        tg_mem_free(TG_MEM_CONFIG, e);
        return NULL;
    }
    e->magic = MAGIC;
    e->owner = c;
    e->listener = tg_str(name, listener.n);
    e->pause = RETRY_FIRST;
    tg_buf_init(&e->body, c->worker->slab);
    tg_task_init(&e->clean, on_clean);
    tg_list_push_back(&c->entries, &e->link);
    tg_timer_set(&e->timer, tg_loop_now(&c->worker->loop) + 1);
    return e;
}

static void want(struct tg_certificates *c, const struct tg_listener_conf *listener,
                 struct tg_tls_leaf *leaf)
{
    struct entry *e = find(c, listener->name, leaf);
    if (e == NULL)
        e = new_entry(c, listener->name);
    if (e == NULL) {
        tg_log(TG_LOG_ERROR, "tls", "no memory to ask for OCSP responses for %s", leaf->name);
        return;
    }
    e->wanted = true;
    struct tg_tls_context *old = e->context;
    if (old != NULL && e->leaf != leaf && tg_tls_leaf_inherit(leaf, e->leaf) != TG_OK)
        tg_log(TG_LOG_ERROR, "tls", "no memory for the OCSP response for %s", leaf->name);
    e->context = tg_tls_context_ref(listener->tls);
    e->leaf = leaf;
    tg_tls_context_unref(&old);
}

/* ---- Warnings ----------------------------------------------------------------------------------
 */

static void look_at(const struct tg_certificates *c, const struct tg_listener_conf *listener,
                    struct tg_tls_leaf *leaf)
{
    int64_t left = leaf->not_after - real_now(c->worker);
    if (leaf->must_staple && !leaf->staples)
        tg_log_kv(
            TG_LOG_WARN, "tls",
            "a certificate asks for stapled OCSP responses (must-staple), and there are none: "
            "set ocsp",
            tg_log_str("listener", listener->name), tg_log_str("name", tg_str_c(leaf->name)));
    if (leaf->staples && leaf->url == NULL && !tg_tls_leaf_is_stapled(leaf, real_now(c->worker)))
        tg_log_kv(TG_LOG_WARN, "tls",
                  "the OCSP response of ocsp.file has expired and is not stapled: renew the file "
                  "and reload",
                  tg_log_str("listener", listener->name), tg_log_str("name", tg_str_c(leaf->name)));
    if (left <= 0)
        tg_log_kv(TG_LOG_ERROR, "tls", "a certificate has expired",
                  tg_log_str("listener", listener->name), tg_log_str("name", tg_str_c(leaf->name)));
    else if (left < TG_CERTIFICATES_WARN_DAYS * DAY)
        tg_log_kv(TG_LOG_WARN, "tls", "a certificate expires soon",
                  tg_log_str("listener", listener->name), tg_log_str("name", tg_str_c(leaf->name)),
                  tg_log_u64("days", (uint64_t)left / DAY));
}

/* Each certificate of each listener. */
static void visit(struct tg_certificates *c, bool staples)
{
    const struct tg_snapshot *s = c->snapshot;
    for (uint32_t i = 0; i < s->listener_count; i++) {
        struct tg_tls_leaf *leaves;
        uint32_t n = 0;
        if (s->listeners[i].tls != NULL)
            n = tg_tls_context_leaves(s->listeners[i].tls, &leaves);
        for (uint32_t k = 0; k < n; k++) {
            if (!staples)
                look_at(c, &s->listeners[i], &leaves[k]);
            else if (leaves[k].staples && leaves[k].url != NULL)
                want(c, &s->listeners[i], &leaves[k]);
        }
    }
}

static void on_look(struct tg_timer *timer)
{
    struct tg_certificates *c = TG_CONTAINER_OF(timer, struct tg_certificates, look);
    visit(c, false);
    tg_timer_set(&c->look, tg_loop_now(&c->worker->loop) + LOOK_EVERY);
}

/* ---- All of them -------------------------------------------------------------------------------
 */

struct tg_certificates *tg_certificates_new(struct tg_worker *worker, struct tg_dns *dns,
                                            struct tg_resolver *resolver)
{
    struct tg_certificates *c = tg_mem_zalloc(TG_MEM_CONFIG, 1, sizeof(*c));
    if (c == NULL)
        return NULL;
    c->worker = worker;
    c->dns = dns;
    c->resolver = resolver;
    tg_list_init(&c->entries);
    if (tg_timer_init(&c->look, &worker->loop.timers, on_look) != TG_OK) {
        tg_mem_free(TG_MEM_CONFIG, c);
        return NULL;
    }
    return c;
}

/* Ends what is not wanted: at once, or with the question that is under way. */
static void sweep(struct tg_certificates *c)
{
    TG_LIST_FOREACH(&c->entries, it)
    {
        struct entry *e = TG_LIST_ENTRY(it, struct entry, link);
        if (e->wanted)
            continue;
        stop_asking(e);
        tg_timer_clear(&e->timer);
        tg_loop_defer(&c->worker->loop, &e->clean);
    }
}

void tg_certificates_follow(struct tg_certificates *c, const struct tg_snapshot *snapshot)
{
    c->snapshot = snapshot;
    TG_LIST_FOREACH(&c->entries, it)
    TG_LIST_ENTRY(it, struct entry, link)->wanted = false;
    visit(c, true);
    sweep(c);
    on_look(&c->look);
}

void tg_certificates_free(struct tg_certificates **certificates)
{
    struct tg_certificates *c = *certificates;
    *certificates = NULL;
    if (c == NULL)
        return;
    TG_LIST_FOREACH(&c->entries, it)
    TG_LIST_ENTRY(it, struct entry, link)->wanted = false;
    sweep(c);
    tg_loop_run_deferred(&c->worker->loop);
    tg_timer_release(&c->look);
    tg_mem_free(TG_MEM_CONFIG, c);
}
