/* sink.c: tg.sink: destinations of lines that never block (observe/sink.h), and the access record.
 *
 * A sink object owns one reference, which goes back with it. Writing copies the line into the
 * sink's queue: nothing waits, and a full queue drops and counts.
 *
 * write_record() formats the record straight from the request into a buffer on the C stack. Its
 * members are those that the plugin names, in that order, then what ctx.log:field() added. A value
 * that is not known is left out. Where the whole does not fit, every value is cut, members
 * that do not fit even so are left out, and `cut` says so: each request has its record.
 */
#include "base/banned.h"
#include "bind/zone.h"

#include "base/json.h"
#include "consumer/store.h"
#include "observe/sink.h"

#include <errno.h>

#define SPEC_MAX   1024
#define LINE_ROOM  8192  /* of write(), its newline included */
#define RECORD_MAX 16384 /* of an access record */
#define VALUE_CUT  128   /* of a value in a record that would be longer */
#define FIELDS_MAX 1024  /* that a plugin may ask for */
#define END_ROOM   2     /* of the brace and the newline */
#define CUT_ROOM   11    /* of `,"cut":true` */

struct sink {
    uint32_t magic;
    struct tg_sink *sink; /* one reference; NULL once closed */
};

int tg_api_tg_sink(lua_State *L)
{
    struct tg_str spec = tg_bind_arg_str(L, 1);
    char text[SPEC_MAX];
    const struct tg_vm_entry *entry = tg_bind_vm_entry(L);
    tg_bind_check_set_up(L);
    if (!entry->host.plugin->wants_sink)
        tg_bind_call_error(L, "the plugin does not declare needs = { sink = true }");
    if (spec.n == 0 || spec.n >= sizeof(text) || memchr(spec.p, '\0', spec.n) != NULL)
        tg_bind_arg_error(L, 1, "expected \"stdout\", \"stderr\", \"syslog\" or a path");
    struct sink *sink = tg_bind_new_value(L, TG_SCOPE_SINK, sizeof(*sink));
    memcpy(text, spec.p, spec.n);
    text[spec.n] = '\0';
    errno = 0;
    enum tg_err err = tg_sink_open(text, entry->limits.log_queue, &sink->sink);
    if (err == TG_OK)
        return 1;
    char message[SPEC_MAX + 128];
    snprintf(message, sizeof(message), "cannot open %s: %s", text,
             err != TG_E_SYSTEM ? tg_err_text(err)
             : errno == ENXIO   ? "nobody reads this FIFO"
                                : strerror(errno));
    return tg_bind_fail(L, err == TG_E_INVALID ? "bad_input" : "unavailable", message);
}

void tg_bind_close_sink(void *value)
{
    struct sink *sink = value;
    tg_sink_close(&sink->sink);
}

int tg_api_sink_write(lua_State *L)
{
    const struct sink *sink = tg_bind_check_value(L);
    struct tg_str line = tg_bind_arg_str(L, 1);
    char text[LINE_ROOM];
    if (line.n >= sizeof(text) || memchr(line.p, '\n', line.n) != NULL)
        tg_bind_arg_error(L, 1, "expected one line of at most 8191 bytes, without its newline");
    memcpy(text, line.p, line.n);
    text[line.n] = '\n';
    lua_pushboolean(L, tg_sink_write(sink->sink, text, line.n + 1));
    return 1;
}

/* ---- The access record ---- */

/* A record that is written. */
struct record {
    struct tg_fmt text;
    struct tg_json json;
    size_t longest; /* bytes of a value that are shown */
    char room[RECORD_MAX];
};

static void put_seconds(struct record *to, struct tg_str key, uint64_t us)
{
    tg_json_key(&to->json, key);
    tg_json_double(&to->json, (double)us / 1e6);
}

static void put_str(struct record *to, struct tg_str key, struct tg_str value)
{
    if (value.p == NULL)
        return;
    tg_json_key(&to->json, key);
    tg_json_str(&to->json, tg_str_sub(value, 0, to->longest));
}

static void put_u64(struct record *to, struct tg_str key, uint64_t value)
{
    tg_json_key(&to->json, key);
    tg_json_u64(&to->json, value);
}

static void put_request_field(struct record *to, const struct tg_request *r, struct tg_str key,
                              const char *name)
{
    const struct tg_field *field = tg_fields_find(&r->in.fields, tg_str_c(name));
    if (field != NULL)
        put_str(to, key, field->value);
}

static void put_time(struct record *to, const struct tg_request *r, struct tg_str key)
{
    char text[TG_CLOCK_RFC3339_LEN];
    tg_clock_rfc3339(r->started_real, text);
    put_str(to, key, tg_str(text, sizeof(text)));
}

static void put_id(struct record *to, const struct tg_request *r, struct tg_str key)
{
    put_str(to, key, tg_str(r->id, sizeof(r->id)));
}

static void put_client(struct record *to, const struct tg_request *r, struct tg_str key)
{
    char room[TG_ADDR_TEXT_MAX];
    put_str(to, key, tg_addr_ip_text(&r->client, room));
}

static void put_method(struct record *to, const struct tg_request *r, struct tg_str key)
{
    put_str(to, key, r->in.method_name);
}

static void put_host(struct record *to, const struct tg_request *r, struct tg_str key)
{
    put_str(to, key, r->client_host);
}

static void put_path(struct record *to, const struct tg_request *r, struct tg_str key)
{
    put_str(to, key, r->in.path);
}

static void put_query(struct record *to, const struct tg_request *r, struct tg_str key)
{
    put_str(to, key, r->in.query);
}

static void put_protocol(struct record *to, const struct tg_request *r, struct tg_str key)
{
    static const struct tg_str names[] = {{"HTTP/1.0", 8}, {"HTTP/1.1", 8}, {"HTTP/2", 6}};
    put_str(to, key, names[r->in.major == 2 ? 2 : r->in.minor]);
}

static void put_scheme(struct record *to, const struct tg_request *r, struct tg_str key)
{
    put_str(to, key, r->scheme);
}

static void put_status(struct record *to, const struct tg_request *r, struct tg_str key)
{
    put_u64(to, key, r->resp.status);
}

static void put_source(struct record *to, const struct tg_request *r, struct tg_str key)
{
    put_str(to, key, tg_str_c(tg_source_name(r->source)));
}

static void put_bytes_sent(struct record *to, const struct tg_request *r, struct tg_str key)
{
    put_u64(to, key, r->bytes_sent);
}

static void put_bytes_received(struct record *to, const struct tg_request *r, struct tg_str key)
{
    put_u64(to, key, r->bytes_received);
}

static void put_duration(struct record *to, const struct tg_request *r, struct tg_str key)
{
    put_seconds(to, key, tg_clock_mono_now() - r->started);
}

static void put_upstream(struct record *to, const struct tg_request *r, struct tg_str key)
{
    char room[TG_ADDR_TEXT_MAX];
    if (r->upstream.called && r->upstream.addr.len > 0)
        put_str(to, key, tg_addr_text(&r->upstream.addr, room));
}

static void put_upstream_status(struct record *to, const struct tg_request *r, struct tg_str key)
{
    if (r->upstream.status != 0)
        put_u64(to, key, r->upstream.status);
}

static void put_grpc_status(struct record *to, const struct tg_request *r, struct tg_str key)
{
    if (r->grpc_told)
        put_u64(to, key, r->grpc_status);
}

static void put_upstream_time(struct record *to, const struct tg_request *r, struct tg_str key)
{
    const struct tg_upstream_facts *facts = &r->upstream;
    if (facts->connect_start != 0 && facts->head_at > facts->connect_start)
        put_seconds(to, key, facts->head_at - facts->connect_start);
}

/* Times are seconds: `at` since the request's start, `time` of the attempt to its head or failure.
 */
static void put_attempts(struct record *to, const struct tg_request *r, struct tg_str key)
{
    const struct tg_upstream_facts *facts = &r->upstream;
    if (facts->attempts < 2)
        return; /* the other members tell it all */
    tg_json_key(&to->json, key);
    tg_json_begin_array(&to->json);
    for (const struct tg_attempt *a = &facts->first; a != NULL; a = a->next) {
        const char *label = tg_attempt_label(a);
        tg_json_begin_object(&to->json);
        put_str(to, TG_STR("target"), a->target);
        put_seconds(to, TG_STR("at"), a->started - r->started);
        if (a->ended != 0)
            put_seconds(to, TG_STR("time"), a->ended - a->started);
        if (a->status != 0)
            put_u64(to, TG_STR("status"), a->status);
        if (label != NULL)
            put_str(to, TG_STR("error"), tg_str_c(label));
        if (a->hedge) {
            tg_json_key(&to->json, TG_STR("hedge"));
            tg_json_bool(&to->json, true);
        }
        tg_json_end_object(&to->json);
    }
    tg_json_end_array(&to->json);
}

static void put_route(struct record *to, const struct tg_request *r, struct tg_str key)
{
    if (r->route != NULL)
        put_str(to, key, r->route->name);
}

static void put_service(struct record *to, const struct tg_request *r, struct tg_str key)
{
    if (r->service != NULL)
        put_str(to, key, r->service->name);
}

static void put_consumer(struct record *to, const struct tg_request *r, struct tg_str key)
{
    if (r->consumer != NULL)
        put_str(to, key, r->consumer->name);
}

static void put_consumer_id(struct record *to, const struct tg_request *r, struct tg_str key)
{
    if (r->consumer != NULL)
        put_str(to, key, r->consumer->id);
}

static void put_credential(struct record *to, const struct tg_request *r, struct tg_str key)
{
    put_str(to, key, r->credential);
}

static void put_user_agent(struct record *to, const struct tg_request *r, struct tg_str key)
{
    put_request_field(to, r, key, "user-agent");
}

static void put_referer(struct record *to, const struct tg_request *r, struct tg_str key)
{
    put_request_field(to, r, key, "referer");
}

static void put_error(struct record *to, const struct tg_request *r, struct tg_str key)
{
    if (r->error != NULL)
        put_str(to, key, tg_str_c(r->error));
}

static void put_aborted(struct record *to, const struct tg_request *r, struct tg_str key)
{
    if (!r->aborted)
        return;
    tg_json_key(&to->json, key);
    tg_json_bool(&to->json, true);
}

static const struct {
    struct tg_str name;
    void (*put)(struct record *to, const struct tg_request *r, struct tg_str key);
} members[] = {
#define MEMBER(name)                                                                               \
    {                                                                                              \
        {#name, sizeof(#name) - 1}, put_##name                                                     \
    }
    MEMBER(time),           MEMBER(id),         MEMBER(client),   MEMBER(method),
    MEMBER(scheme),         MEMBER(host),       MEMBER(path),     MEMBER(query),
    MEMBER(protocol),       MEMBER(status),     MEMBER(source),   MEMBER(bytes_sent),
    MEMBER(bytes_received), MEMBER(duration),   MEMBER(upstream), MEMBER(upstream_status),
    MEMBER(upstream_time),  MEMBER(route),      MEMBER(service),  MEMBER(user_agent),
    MEMBER(referer),        MEMBER(error),      MEMBER(aborted),  MEMBER(consumer),
    MEMBER(consumer_id),    MEMBER(credential), MEMBER(attempts), MEMBER(grpc_status),
#undef MEMBER
};

static void put_member(lua_State *L, struct record *to, const struct tg_request *r,
                       struct tg_str name)
{
    for (size_t i = 0; i < TG_COUNT_OF(members); i++) {
        if (tg_str_eq(members[i].name, name)) {
            members[i].put(to, r, name);
            return;
        }
    }
    char what[96];
    snprintf(what, sizeof(what), "the access record has no \"%.*s\"",
             (int)TG_MIN(name.n, (size_t)48), name.p);
    tg_bind_arg_error(L, 2, what);
}

/* In a record that is cut, a member that does not fit is left out. */
static void put_if_it_fits(lua_State *L, struct record *to, const struct tg_request *r,
                           struct tg_str name)
{
    size_t n = to->text.n;
    bool comma = to->json.comma;
    put_member(L, to, r, name);
    if (!to->text.failed)
        return;
    to->text.n = n;
    to->text.failed = false;
    to->json.comma = comma;
}

/* The first members of what plugins added that take at most `room` bytes. */
static struct tg_str fields_that_fit(struct tg_str fields, size_t room)
{
    size_t end = 0;
    unsigned depth = 0;
    bool in_string = false;
    if (fields.n <= room)
        return fields;
    for (size_t i = 0; i <= room; i++) {
        char c = fields.p[i];
        if (in_string && c == '\\')
            i++;
        else if (c == '"')
            in_string = !in_string;
        else if (!in_string && (c == '{' || c == '['))
            depth++;
        else if (!in_string && (c == '}' || c == ']'))
            depth--;
        else if (!in_string && c == ',' && depth == 0)
            end = i;
    }
    return tg_str_sub(fields, 0, end);
}

static void put_plugin_fields(struct record *to, const struct tg_request *r)
{
    struct tg_str fields = r->log_fields;
    if (to->longest < SIZE_MAX && fields.n > 0)
        fields = fields_that_fit(fields, to->text.cap - to->text.n - 1); /* behind a comma */
    if (fields.n == 0)
        return;
    if (to->json.comma)
        tg_fmt_char(&to->text, ',');
    tg_fmt_add(&to->text, fields);
}

/* Writes the members that the list at index 3 names, and what plugins added. False: they do not fit
 * whole; what is cut always does. */
static bool write_members(lua_State *L, struct record *to, const struct tg_request *r)
{
    bool cut = to->longest < SIZE_MAX;
    size_t cap = sizeof(to->room) - END_ROOM;
    tg_fmt_init(&to->text, to->room, cut ? cap - CUT_ROOM - 1 : cap);
    tg_json_init(&to->json, &to->text);
    tg_json_begin_object(&to->json);
    for (int i = 1;; i++) {
        lua_rawgeti(L, 3, i);
        if (lua_type(L, -1) != LUA_TSTRING)
            break;
        if (i > FIELDS_MAX)
            tg_bind_arg_error(L, 2, "at most 1024 members");
        size_t n;
        const char *name = lua_tolstring(L, -1, &n);
        if (cut)
            put_if_it_fits(L, to, r, tg_str(name, n));
        else
            put_member(L, to, r, tg_str(name, n));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    to->text.cap = cap;
    if (cut) {
        tg_json_key(&to->json, TG_STR("cut"));
        tg_json_bool(&to->json, true);
    }
    put_plugin_fields(to, r);
    return !to->text.failed;
}

int tg_api_sink_write_record(lua_State *L)
{
    const struct sink *sink = tg_bind_check_value(L);
    const struct tg_request *r = tg_bind_check_object(L, 2, TG_SCOPE_CTX)->r;
    struct record to;
    tg_bind_arg_table(L, 2, false);
    to.longest = SIZE_MAX;
    bool whole = write_members(L, &to, r);
    if (!whole) { /* no client gets out of the record by what it sends */
        to.longest = VALUE_CUT;
        whole = write_members(L, &to, r);
    }
    if (whole) {
        to.room[to.text.n++] = '}';
        to.room[to.text.n++] = '\n';
    }
    lua_pushboolean(L, whole && tg_sink_write(sink->sink, to.room, to.text.n));
    return 1;
}
