/* upstreams.c: what is known of origins, for /upstreams and /metrics.
 *
 * Read from the registry, under its lock: while it is held no worker makes or frees a connection to
 * an origin, so what is written is bounded to TARGETS_MAX targets and names, some 100 us for a
 * thousand. Targets that no configuration in use has are left out. */
#include "base/banned.h"
#include "admin/internal.h"

#include "base/json.h"
#include "observe/exposition.h"
#include "upstream/names.h"

#define TARGETS_MAX 1000u

struct listing {
    struct tg_json *j;
    struct tg_fmt *f;
    uint64_t now;  /* us */
    uint32_t left; /* targets that may be told yet */
    const struct family *family;
};

static double seconds(uint64_t us)
{
    return (double)us / (double)TG_USEC_PER_SEC;
}

static void field_seconds(struct tg_json *j, const char *key, uint64_t us)
{
    tg_json_key(j, tg_str_c(key));
    tg_json_double(j, seconds(us));
}

/* ---- JSON ---- */

static void write_failures(struct tg_json *j, const struct tg_origin *origin)
{
    tg_json_key(j, TG_STR("failures"));
    tg_json_begin_object(j);
    for (int class = 0; class < TG_RETRY_CLASSES; class ++)
        tg_json_field_u64(j, tg_retry_label((enum tg_retry_class) class), origin->failures[class]);
    tg_json_end_object(j);
}

static void write_origin(struct listing *l, struct tg_origin *origin)
{
    struct tg_json *j = l->j;
    tg_json_begin_object(j);
    tg_json_field_str(j, "target", origin->name);
    tg_json_field_str(j, "state", tg_str_c(tg_origin_label(origin)));
    tg_json_field_u64(j, "in_flight", origin->in_flight);
    tg_json_field_u64(j, "connections_open", origin->open);
    tg_json_field_u64(j, "connections_idle", origin->idle);
    tg_json_field_u64(j, "streams", origin->streams);
    if (origin->size > 0)
        tg_json_field_u64(j, "connections_size", origin->size);
    tg_json_field_u64(j, "waiting", origin->waiting);
    tg_json_field_u64(j, "requests", origin->requests);
    write_failures(j, origin);
    field_seconds(j, "latency_seconds", tg_origin_latency(origin, l->now));
    pthread_mutex_lock(&origin->lock);
    tg_json_field_str(j, "breaker", tg_str_c(tg_breaker_label(origin->breaker.state)));
    tg_json_field_u64(j, "ejections", origin->outlier.ejections);
    if (origin->out & TG_OUT_CHECK)
        tg_json_field_str(j, "check", tg_str_c(origin->check_reason));
    pthread_mutex_unlock(&origin->lock);
    tg_json_end_object(j);
}

static void write_name(struct listing *l, const struct tg_known_name *known)
{
    struct tg_json *j = l->j;
    char room[TG_ADDR_TEXT_MAX];
    tg_json_begin_object(j);
    tg_json_field_str(j, "name", known->name);
    tg_json_field_str(j, "state", tg_str_c(known->state));
    field_seconds(j, "ttl_seconds", known->until > l->now ? known->until - l->now : 0);
    if (known->problem[0] != '\0')
        tg_json_field_str(j, "problem", tg_str_c(known->problem));
    tg_json_key(j, TG_STR("addresses"));
    tg_json_begin_array(j);
    for (uint32_t i = 0; i < known->n; i++)
        tg_json_str(j, tg_addr_text(&known->addrs[i], room));
    tg_json_end_array(j);
    tg_json_end_object(j);
}

static void write_names(struct listing *l, const struct tg_fleet *fleet)
{
    tg_json_key(l->j, TG_STR("names"));
    tg_json_begin_array(l->j);
    TG_LIST_FOREACH(&fleet->names, it)
    {
        if (l->left == 0)
            break;
        write_name(l, TG_LIST_ENTRY(it, struct tg_known_name, link));
        l->left--;
    }
    tg_json_end_array(l->j);
}

static void write_fleet(void *arg, struct tg_fleet *fleet)
{
    struct listing *l = arg;
    struct tg_json *j = l->j;
    if (fleet->holders == 0 || l->left == 0)
        return;
    pthread_mutex_lock(&fleet->lock);
    enum tg_breaker_state state = fleet->breaker.state;
    uint64_t opened = fleet->breaker.opened;
    pthread_mutex_unlock(&fleet->lock);
    tg_json_begin_object(j);
    tg_json_field_str(j, "service", fleet->name);
    tg_json_field_str(j, "breaker", tg_str_c(tg_breaker_label(state)));
    tg_json_field_u64(j, "breaker_opened", opened);
    tg_json_field_u64(j, "in_flight", fleet->in_flight);
    tg_json_field_u64(j, "retrying", fleet->retries);
    if (!tg_list_is_empty(&fleet->names))
        write_names(l, fleet);
    tg_json_key(j, TG_STR("targets"));
    tg_json_begin_array(j);
    TG_LIST_FOREACH(&fleet->origins, it)
    {
        struct tg_origin *origin = TG_LIST_ENTRY(it, struct tg_origin, link);
        if (origin->holders == 0 || l->left == 0)
            continue;
        write_origin(l, origin);
        l->left--;
    }
    tg_json_end_array(j);
    tg_json_end_object(j);
}

unsigned tg_admin_write_upstreams(const struct tg_admin *admin, struct tg_fmt *f)
{
    struct tg_json j;
    struct listing l = {
        .j = &j, .now = tg_loop_now(&admin->options.worker->loop), .left = TARGETS_MAX};
    tg_json_init(&j, f);
    tg_json_begin_object(&j);
    tg_json_key(&j, TG_STR("upstreams"));
    tg_json_begin_array(&j);
    if (admin->registry != NULL)
        tg_registry_visit(admin->registry, write_fleet, &l);
    tg_json_end_array(&j);
    tg_json_end_object(&j);
    tg_fmt_char(f, '\n');
    return 200;
}

/* ---- Metrics ---- */

struct family {
    const char *name, *kind, *help;
    double (*read)(const struct tg_origin *origin, uint64_t now);
};

static double read_requests(const struct tg_origin *origin, uint64_t now)
{
    (void)now;
    return (double)origin->requests;
}

static double read_failures(const struct tg_origin *origin, uint64_t now)
{
    uint64_t sum = 0;
    (void)now;
    for (int class = 0; class < TG_RETRY_CLASSES; class ++)
        sum += origin->failures[class];
    return (double)sum;
}

static double read_in_flight(const struct tg_origin *origin, uint64_t now)
{
    (void)now;
    return (double)origin->in_flight;
}

static double read_open(const struct tg_origin *origin, uint64_t now)
{
    (void)now;
    return (double)origin->open;
}

static double read_streams(const struct tg_origin *origin, uint64_t now)
{
    (void)now;
    return (double)origin->streams;
}

static double read_size(const struct tg_origin *origin, uint64_t now)
{
    (void)now;
    return (double)origin->size;
}

static double read_up(const struct tg_origin *origin, uint64_t now)
{
    (void)now;
    return origin->out == 0 ? 1 : 0;
}

static double read_latency(const struct tg_origin *origin, uint64_t now)
{
    return seconds(tg_origin_latency(origin, now));
}

static const struct family families[] = {
    {"tidegate_target_requests_total", "counter", "Requests sent to a target.", read_requests},
    {"tidegate_target_failures_total", "counter", "Requests to a target that failed, 5xx included.",
     read_failures},
    {"tidegate_target_in_flight", "gauge", "Requests under way at a target.", read_in_flight},
    {"tidegate_target_connections_open", "gauge", "Connections to a target.", read_open},
    {"tidegate_target_streams", "gauge", "Requests on connections to a target that several share.",
     read_streams},
    {"tidegate_target_connections_size", "gauge",
     "Connections that workers may open to a target, where that follows from use; else 0.",
     read_size},
    {"tidegate_target_up", "gauge", "Whether a target is used: not down, ejected or cut off.",
     read_up},
    {"tidegate_target_latency_seconds", "gauge", "Recent time to the head of a target's answer.",
     read_latency},
};

static void write_samples(void *arg, struct tg_fleet *fleet)
{
    struct listing *l = arg;
    TG_LIST_FOREACH(&fleet->origins, it)
    {
        const struct tg_origin *origin = TG_LIST_ENTRY(it, struct tg_origin, link);
        if (origin->holders == 0 || l->left == 0)
            continue;
        l->left--;
        tg_fmt_printf(l->f, "%s{service=\"%.*s\",target=\"", l->family->name,
                      TG_STR_ARG(fleet->name));
        tg_exposition_label(l->f, origin->name); /* it may be a path */
        tg_fmt_printf(l->f, "\"} %.9g\n", l->family->read(origin, l->now));
    }
}

void tg_admin_write_targets(const struct tg_admin *admin, struct tg_fmt *f)
{
    for (size_t i = 0; i < TG_COUNT_OF(families) && admin->registry != NULL; i++) {
        struct listing l = {.f = f,
                            .now = tg_loop_now(&admin->options.worker->loop),
                            .left = TARGETS_MAX,
                            .family = &families[i]};
        tg_exposition_head(f, tg_str_c(families[i].name), families[i].kind,
                           tg_str_c(families[i].help));
        tg_registry_visit(admin->registry, write_samples, &l);
    }
}
