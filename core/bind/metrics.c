/* metrics.c: ctx.metrics and tg.metrics: a plugin's instruments.
 *
 * They are declared in the plugin's table, `metrics = { name = { type =, labels =, unit =, help = }
 * }`, which was checked when the configuration was loaded. At the first use in a VM the table is
 * read once more and each instrument looked up in observe/instrument.h, where it lives across
 * reloads; the VM keeps their addresses in a table of the registry, by name.
 *
 * tg.metrics.counter() prepares one: the instrument and where the labels' values come from,
 * anchored, so that counting is a look-up of the series and nothing else, or a phase by itself.
 *
 * A name that is not declared, a wrong kind, labels that are missing or too many are mistakes of
 * the plugin and raise. That a series could not be made for want of memory does not: metrics must
 * not break what they count.
 */
#include "base/banned.h"
#include "bind/fields.h"
#include "bind/prepared.h"
#include "bind/zone.h"

#include "observe/instrument.h"

#define NAME_LONGEST  64 /* bytes, as in lua/tidegate/plugin.lua */
#define LABEL_LONGEST 32
#define HELP_LONGEST  200

static char instruments_key; /* in the registry; only the address matters */

/* ---- Declarations ---------------------------------------------------------------------------- */

/* The text in the field `name` of the table on top of the stack; anchored by that table. */
static struct tg_str text_field(lua_State *L, const char *name)
{
    struct tg_str text = TG_STR("");
    lua_pushstring(L, name);
    lua_rawget(L, -2);
    if (lua_type(L, -1) == LUA_TSTRING)
        text.p = lua_tolstring(L, -1, &text.n);
    lua_pop(L, 1);
    return text;
}

static bool take_kind(struct tg_str type, enum tg_instrument_kind *kind)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    for (unsigned i = 0; i < TG_COUNT_OF(kinds); i++) {
        if (!tg_str_eq(type, tg_str_c(kinds[i])))
            continue;
        *kind = (enum tg_instrument_kind)i;
        return true;
    }
    return false;
}

/* [a-z_][a-z0-9_]* of at most `most` bytes, as the schema says. This table is not the one that was
 * checked, and one bad name would make scrapers refuse all metrics. */
static bool is_name(struct tg_str text, size_t most)
{
    bool good = text.n > 0 && text.n <= most;
    for (size_t i = 0; good && i < text.n; i++) {
        char c = text.p[i];
        good = (c >= 'a' && c <= 'z') || c == '_' || (i > 0 && c >= '0' && c <= '9');
    }
    return good;
}

/* Whether the label number `i` is one that its instrument can have, beside those before it. */
static bool is_label(const struct tg_instrument_spec *spec, size_t i)
{
    struct tg_str label = spec->labels[i];
    bool good = is_name(label, LABEL_LONGEST);
    for (size_t k = 0; good && k < i; k++)
        good = !tg_str_eq(spec->labels[k], label);
    return good && (spec->kind != TG_INSTRUMENT_HISTOGRAM || !tg_str_eq(label, TG_STR("le")));
}

/* Reads the labels of the declaration on top of the stack. */
static bool take_labels(lua_State *L, struct tg_instrument_spec *spec)
{
    bool sound = true;
    lua_pushliteral(L, "labels");
    lua_rawget(L, -2);
    size_t count = lua_istable(L, -1) ? lua_objlen(L, -1) : 0;
    sound = count <= TG_INSTRUMENT_LABELS_MAX;
    for (size_t i = 0; sound && i < count; i++) {
        struct tg_str *label = &spec->labels[i];
        lua_rawgeti(L, -1, (int)i + 1);
        sound = lua_type(L, -1) == LUA_TSTRING;
        label->p = sound ? lua_tolstring(L, -1, &label->n) : NULL;
        sound = sound && is_label(spec, i);
        lua_pop(L, 1);
    }
    spec->label_count = (unsigned)count;
    lua_pop(L, 1);
    return sound;
}

/* The instrument of the declaration on top of the stack, whose name is below it; NULL: it is not
 * sound (the plugin changed its table), or there is no room for more. */
static struct tg_instrument *declare(lua_State *L)
{
    struct tg_instrument_spec spec = {.owner = tg_vm_name(tg_vm_from(L))};
    struct tg_instrument *instrument;
    if (lua_type(L, -2) != LUA_TSTRING || !lua_istable(L, -1))
        return NULL;
    spec.name.p = lua_tolstring(L, -2, &spec.name.n);
    spec.help = tg_str_sub(text_field(L, "help"), 0, HELP_LONGEST);
    if (tg_str_eq(text_field(L, "unit"), TG_STR("bytes")))
        spec.unit = TG_INSTRUMENT_BYTES;
    if (!is_name(spec.name, NAME_LONGEST) || !take_kind(text_field(L, "type"), &spec.kind) ||
        !take_labels(L, &spec))
        return NULL;
    return tg_instrument_get(&spec, &instrument) == TG_OK ? instrument : NULL;
}

/* Pushes the VM's instruments by name, made at the first use. */
static void push_instruments(lua_State *L)
{
    lua_pushlightuserdata(L, &instruments_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    if (lua_istable(L, -1))
        return;
    lua_pop(L, 1);
    lua_newtable(L);
    int all = lua_gettop(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, tg_vm_plugin(tg_vm_from(L)));
    lua_pushliteral(L, "metrics");
    lua_rawget(L, -2);
    if (lua_istable(L, -1)) {
        for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
            struct tg_instrument *instrument = declare(L);
            if (instrument == NULL)
                continue;
            lua_pushvalue(L, -2);
            lua_pushlightuserdata(L, instrument);
            lua_rawset(L, all);
        }
    }
    lua_settop(L, all);
    lua_pushlightuserdata(L, &instruments_key);
    lua_pushvalue(L, all);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

/* ---- Arguments ------------------------------------------------------------------------------- */

struct tg_instrument *tg_bind_find_instrument(lua_State *L, struct tg_str name)
{
    push_instruments(L);
    lua_pushlstring(L, name.p, name.n);
    lua_rawget(L, -2);
    struct tg_instrument *instrument = lua_touserdata(L, -1);
    lua_pop(L, 2);
    return instrument;
}

/* The instrument that argument 1 names, which must be of `kind`. */
static struct tg_instrument *arg_instrument(lua_State *L, enum tg_instrument_kind kind)
{
    static const char *const verbs[] = {"inc() counts in a counter", "set() sets a gauge",
                                        "observe() counts in a histogram"};
    struct tg_str name = tg_bind_arg_str(L, 1);
    char what[192];
    struct tg_instrument *instrument = tg_bind_find_instrument(L, name);
    if (instrument == NULL) {
        snprintf(what, sizeof(what),
                 "the plugin does not declare metrics = { %.*s = { type = ... } }",
                 (int)TG_MIN(name.n, (size_t)64), name.p);
        tg_bind_arg_error(L, 1, what);
    }
    if (tg_instrument_spec(instrument)->kind == kind)
        return instrument;
    snprintf(what, sizeof(what), "%s, and this is none", verbs[kind]);
    tg_bind_arg_error(L, 1, what);
}

static TG_NORETURN void raise_label(lua_State *L, struct tg_str label, const char *why)
{
    char what[128];
    snprintf(what, sizeof(what), "the label \"%.*s\" %s", TG_STR_ARG(label), why);
    tg_bind_arg_error(L, 2, what);
}

/* Raises unless the table has `count` members, each of which is a label that was found there. */
static void check_members(lua_State *L, int table, size_t count)
{
    for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1)) {
        if (count-- == 0)
            tg_bind_arg_error(L, 2, "has a label that the instrument does not declare");
    }
}

/* Argument 2 as the text of a series, in `room`. Values stay on the stack until then. */
static struct tg_str arg_labels(lua_State *L, const struct tg_instrument *instrument,
                                char room[TG_INSTRUMENT_TEXT_MAX])
{
    const struct tg_instrument_spec *spec = tg_instrument_spec(instrument);
    struct tg_str values[TG_INSTRUMENT_LABELS_MAX];
    int table = tg_bind_arg_index(L, 2);
    int top = lua_gettop(L);
    bool given = tg_bind_arg_table(L, 2, true);
    luaL_checkstack(L, TG_INSTRUMENT_LABELS_MAX + 4, NULL);
    for (unsigned i = 0; i < spec->label_count; i++) {
        struct tg_str label = spec->labels[i];
        lua_pushlstring(L, label.p, label.n);
        if (given)
            lua_rawget(L, table);
        int type = given ? lua_type(L, -1) : LUA_TNIL;
        if (type != LUA_TSTRING && type != LUA_TNUMBER)
            raise_label(L, label, "is missing, or not text");
        values[i].p = lua_tolstring(L, -1, &values[i].n);
    }
    if (given)
        check_members(L, table, spec->label_count);
    struct tg_str text = tg_instrument_labels(instrument, values, room);
    lua_settop(L, top);
    return text;
}

/* Argument 3: a finite number. */
static double arg_value(lua_State *L, double standard, bool optional)
{
    int index = tg_bind_arg_index(L, 3);
    if (optional && lua_isnoneornil(L, index))
        return standard;
    double value = lua_type(L, index) == LUA_TNUMBER ? lua_tonumber(L, index) : 0.0 / 0.0;
    if (!(value - value == 0))
        tg_bind_arg_error(L, 3, "expected a number");
    return value;
}

/* ---- The functions --------------------------------------------------------------------------- */

static unsigned worker_of(lua_State *L)
{
    const struct tg_vm_host *host = tg_vm_arg(tg_vm_from(L));
    return tg_gate_worker(host->gate)->index;
}

static void inc(lua_State *L)
{
    char room[TG_INSTRUMENT_TEXT_MAX];
    struct tg_instrument *instrument = arg_instrument(L, TG_INSTRUMENT_COUNTER);
    double n = arg_value(L, 1, true);
    if (n < 0)
        tg_bind_arg_error(L, 3, "a counter only grows");
    (void)tg_instrument_add(instrument, worker_of(L), arg_labels(L, instrument, room), n);
}

static void set(lua_State *L)
{
    char room[TG_INSTRUMENT_TEXT_MAX];
    struct tg_instrument *instrument = arg_instrument(L, TG_INSTRUMENT_GAUGE);
    double value = arg_value(L, 0, false);
    (void)tg_instrument_set(instrument, worker_of(L), arg_labels(L, instrument, room), value);
}

static void observe(lua_State *L)
{
    char room[TG_INSTRUMENT_TEXT_MAX];
    struct tg_instrument *instrument = arg_instrument(L, TG_INSTRUMENT_HISTOGRAM);
    double value = arg_value(L, 0, false);
    if (value < 0)
        tg_bind_arg_error(L, 3, "expected seconds or bytes, not less than 0");
    (void)tg_instrument_observe(instrument, worker_of(L), arg_labels(L, instrument, room), value);
}

int tg_api_ctx_metrics(lua_State *L, struct tg_bind_object *object)
{
    return tg_bind_push_object(L, object, TG_SCOPE_METRICS);
}

/* A method of ctx.metrics: returns its object. */
static int method(lua_State *L, void (*fn)(lua_State *L))
{
    (void)tg_bind_request(L);
    fn(L);
    lua_settop(L, 1);
    return 1;
}

int tg_api_metrics_inc(lua_State *L)
{
    return method(L, inc);
}

int tg_api_metrics_set(lua_State *L)
{
    return method(L, set);
}

int tg_api_metrics_observe(lua_State *L)
{
    return method(L, observe);
}

int tg_api_library_metrics_inc(lua_State *L)
{
    inc(L);
    return 0;
}

int tg_api_library_metrics_set(lua_State *L)
{
    set(L);
    return 0;
}

int tg_api_library_metrics_observe(lua_State *L)
{
    observe(L);
    return 0;
}

/* ---- Prepared counters ----------------------------------------------------------------------- */

struct counter {
    uint32_t magic;
    unsigned label_count;
    struct tg_instrument *instrument;
    struct label {
        struct tg_str text; /* anchored; of a label without template */
        struct tg_bind_template template;
    } v[TG_INSTRUMENT_LABELS_MAX];
};

/* The value of a label on top of the stack: text, or a template. */
static void read_label(lua_State *L, struct tg_str name, struct label *out)
{
    int type = lua_type(L, -1);
    if (tg_bind_to_template(L, -1, &out->template))
        return;
    if (type != LUA_TSTRING && type != LUA_TNUMBER)
        raise_label(L, name, "is missing, or neither text nor a template made without escape");
    out->text.p = lua_tolstring(L, -1, &out->text.n);
    tg_bind_anchor(L, -1);
}

int tg_api_library_metrics_counter(lua_State *L)
{
    tg_bind_check_set_up(L);
    struct tg_instrument *instrument = arg_instrument(L, TG_INSTRUMENT_COUNTER);
    const struct tg_instrument_spec *spec = tg_instrument_spec(instrument);
    lua_settop(L, 2);
    bool given = tg_bind_arg_table(L, 2, true);
    struct counter *counter = tg_bind_new_value(L, TG_SCOPE_COUNTER, sizeof(*counter));
    counter->instrument = instrument;
    counter->label_count = spec->label_count;
    for (unsigned i = 0; i < spec->label_count; i++) {
        lua_pushlstring(L, spec->labels[i].p, spec->labels[i].n);
        if (given)
            lua_rawget(L, 2);
        else
            raise_label(L, spec->labels[i], "is missing");
        read_label(L, spec->labels[i], &counter->v[i]);
        lua_pop(L, 1);
    }
    if (given)
        check_members(L, 2, spec->label_count);
    tg_bind_anchor(L, 3);
    return 1;
}

/* What cannot be counted for want of memory is not: metrics must not break what they count. */
static void count(const struct counter *counter, struct tg_request *r, double n)
{
    char room[TG_INSTRUMENT_TEXT_MAX];
    struct tg_str values[TG_INSTRUMENT_LABELS_MAX];
    for (unsigned i = 0; i < counter->label_count; i++) {
        const struct label *label = &counter->v[i];
        values[i] = label->text;
        if (label->template.render != NULL)
            values[i] = label->template.render(label->template.of, r);
        if (values[i].p == NULL)
            return;
    }
    struct tg_str labels = tg_instrument_labels(counter->instrument, values, room);
    (void)tg_instrument_add(counter->instrument, tg_gate_worker(r->gate)->index, labels, n);
}

int tg_api_counter_inc(lua_State *L)
{
    const struct counter *counter = tg_bind_check_value(L);
    struct tg_request *r = tg_bind_check_object(L, 2, TG_SCOPE_CTX)->r;
    double n = lua_isnoneornil(L, 3) ? 1 : lua_type(L, 3) == LUA_TNUMBER ? lua_tonumber(L, 3) : -1;
    if (!(n >= 0 && n - n == 0))
        tg_bind_arg_error(L, 2, "a counter grows by a number");
    count(counter, r, n);
    lua_settop(L, 1);
    return 1;
}

/* The step: see gateway/prepared.h. */
static enum tg_prepared count_one(const void *of, struct tg_request *r)
{
    count(of, r, 1);
    return TG_PREPARED_DONE;
}

int tg_api_counter_instead_of(lua_State *L)
{
    const struct counter *counter = tg_bind_check_value(L);
    enum tg_phase phase = tg_bind_arg_phase(
        L, 1u << TG_PHASE_ACCESS | 1u << TG_PHASE_HEADER_FILTER | 1u << TG_PHASE_LOG,
        "a counter can be \"access\", \"header_filter\" or \"log\"");
    return tg_bind_instead_of(L, phase, (struct tg_prepared_step){count_one, counter});
}
