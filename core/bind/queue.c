/* queue.c: tg.queue: items that a plugin collects and handles in batches, for no request.
 *
 *     push -> items ... -> batch full, or flush over -> handler(items) --- ok ---> gone
 *                            ^                             |
 *                            +--- after a pause, `retry` times, then dropped and logged
 *
 * A queue belongs to its VM in one worker. One handler runs at a time, so batches keep their order.
 * When another configuration takes over, or the process drains, what is left is handled at once,
 * without pauses; until it is, the queue keeps the VM alive.
 *
 * Items are plain data as bytes (script/marshal), outside of the VM's heap; max_bytes bounds them,
 * and a push beyond is refused.
 */
#include "base/banned.h"
#include "bind/zone.h"

#include "gateway/background.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "script/marshal.h"

#define QUEUES_MAX        16
#define NAME_MAX_BYTES    64
#define BYTES_MAX         ((uint64_t)4 << 20)
#define BYTES_STANDARD    ((uint64_t)1 << 20)
#define BATCH_MAX         10000
#define BATCH_STANDARD    100
#define RETRY_MAX         100
#define RETRY_STANDARD    3
#define PAUSE_MIN         (100 * TG_USEC_PER_MSEC)
#define PAUSE_MAX         (30 * TG_USEC_PER_SEC)
#define LOSSES_PER_SECOND 5 /* lines */
#define ITEM_NODES        10000
#define REASON_MAX        640 /* as much as tg_run_describe() takes of an error, and more */

static const char *const options[] = {"name",  "batch",   "flush", "max_bytes",
                                      "retry", "handler", NULL};

struct item {
    struct tg_list link;
    size_t n;
    char bytes[];
};

struct queue {
    struct tg_activator activator;
    struct tg_vm_entry *entry;
    struct tg_timer clock; /* flush, or the end of a pause */
    struct tg_list items;  /* of struct item */
    unsigned count;
    uint64_t bytes;
    unsigned in_hand; /* items at the front that the handler has */
    bool cut;         /* the batch in hand is a part of what was due */
    unsigned failures;
    char reason[REASON_MAX]; /* of the last failure */
    size_t reason_n;         /* 0: it was logged, when the handler raised or was killed */
    unsigned batch;
    unsigned retry;
    uint64_t flush;
    uint64_t max_bytes;
    int handler;
    size_t n;
    char name[NAME_MAX_BYTES];
};

struct queue_object {
    uint32_t magic;
    struct queue *queue; /* lives as long as the VM */
};

static void pump(struct queue *q);

static struct tg_loop *loop_of(const struct queue *q)
{
    return &q->entry->host.gate->worker->loop;
}

static bool is_retired(const struct queue *q)
{
    return q->entry->state == TG_VM_RETIRED;
}

/* ---- Items ---- */

static uint64_t size_of(size_t n)
{
    return sizeof(struct item) + n;
}

static void drop_items(struct queue *q, unsigned count)
{
    while (count-- > 0) {
        struct item *item = TG_LIST_ENTRY(q->items.next, struct item, link);
        tg_list_remove(&item->link);
        q->count--;
        q->bytes -= size_of(item->n);
        tg_mem_free(TG_MEM_PLUGIN, item);
    }
}

static void lose_items(struct queue *q, unsigned count, struct tg_str why)
{
    static struct tg_log_gate gate;
    uint64_t missed;
    if (count == 0)
        return;
    tg_metric_add(q->entry->host.gate->worker->cells, TG_METRIC_PLUGIN_ITEMS_LOST, count);
    drop_items(q, count);
    if (!tg_log_gate_pass(&gate, LOSSES_PER_SECOND, tg_clock_mono_now(), &missed))
        return;
    tg_log_kv(TG_LOG_ERROR, "plugin", "a queue has lost items",
              tg_log_str("plugin", q->entry->host.plugin->name),
              tg_log_str("queue", tg_str(q->name, q->n)), tg_log_u64("items", count),
              tg_log_str("reason", why), tg_log_u64("suppressed", missed));
}

/* A batch failed and is tried again. What raised has been logged. */
static void tell_failure(const struct queue *q)
{
    static struct tg_log_gate gate;
    uint64_t missed;
    if (q->reason_n == 0 ||
        !tg_log_gate_pass(&gate, LOSSES_PER_SECOND, tg_clock_mono_now(), &missed))
        return;
    tg_log_kv(TG_LOG_WARN, "plugin", "a queue's handler failed; its batch is tried again",
              tg_log_str("plugin", q->entry->host.plugin->name),
              tg_log_str("queue", tg_str(q->name, q->n)), tg_log_u64("items", q->in_hand),
              tg_log_str("reason", tg_str(q->reason, q->reason_n)),
              tg_log_u64("suppressed", missed));
}

/* Pushes the list of the items in hand. */
static int push_batch(lua_State *L)
{
    const struct queue *q = lua_touserdata(L, 1);
    int i = 0;
    lua_createtable(L, (int)q->in_hand, 0);
    for (struct tg_list *it = q->items.next; i < (int)q->in_hand; it = it->next) {
        const struct item *item = TG_LIST_ENTRY(it, struct item, link);
        if (tg_marshal_decode(L, tg_str(item->bytes, item->n)) != TG_OK)
            lua_pushnil(L);
        lua_rawseti(L, -2, ++i);
    }
    return 1;
}

/* ---- Handling ---- */

/* A queue that is retired lets go of its VM when it is empty. May free the queue: a last step. */
static void settle(struct queue *q)
{
    if (q->count == 0 && q->in_hand == 0)
        tg_activator_settle(q->entry, &q->activator);
}

static void linger(struct queue *q)
{
    if (is_retired(q) && q->count > 0)
        tg_activator_linger(q->entry, &q->activator);
}

/* What the handler returned: false, or nil and a reason, is a failure too. */
static bool is_success(lua_State *L)
{
    if (lua_gettop(L) == 0)
        return true;
    return lua_isnil(L, 1) ? lua_isnoneornil(L, 2) : lua_toboolean(L, 1) != 0;
}

/* Keeps what the handler said, if it said something. */
static void note_reason(struct queue *q, bool ok, lua_State *L)
{
    q->reason_n = 0;
    if (!ok)
        return;
    lua_settop(L, 2);
    if (lua_isnil(L, 2)) {
        static const struct tg_str untold = TG_STR("the handler returned false");
        memcpy(q->reason, untold.p, untold.n);
        q->reason_n = untold.n;
        return;
    }
    q->reason_n = tg_run_describe(q->entry->vm, L, q->reason, sizeof(q->reason));
}

static uint64_t pause_of(const struct queue *q)
{
    return TG_MIN(PAUSE_MIN << TG_MIN(q->failures - 1, 10u), PAUSE_MAX);
}

static void on_end(void *arg, bool ok, lua_State *L)
{
    struct queue *q = arg;
    unsigned count = q->in_hand;
    if (ok && is_success(L)) {
        drop_items(q, count);
        q->failures = 0;
    } else {
        note_reason(q, ok, L);
        if (q->failures++ < q->retry && !is_retired(q)) {
            tell_failure(q);
            q->in_hand = 0;
            tg_timer_set(&q->clock, tg_loop_now(loop_of(q)) + pause_of(q));
            return;
        }
        static const struct tg_str untold = TG_STR("the handler fails");
        lose_items(q, count, q->reason_n > 0 ? tg_str(q->reason, q->reason_n) : untold);
        q->failures = 0;
    }
    q->in_hand = 0;
    pump(q);
}

/* When the next batch is due by itself; nothing while there is nothing. */
static void arm(struct queue *q)
{
    bool now = q->count >= q->batch || is_retired(q);
    if (q->count > 0)
        tg_timer_set(&q->clock, tg_loop_now(loop_of(q)) + (now ? 0 : q->flush));
}

/* No memory for the first item alone. It is tried again like one that the handler fails on. */
static void put_off(struct queue *q)
{
    if (q->failures++ == q->retry) {
        lose_items(q, 1,
                   TG_STR("an item does not fit limits.plugin.memory, or there is no memory"));
        q->failures = 0;
        arm(q);
        return;
    }
    tg_timer_set(&q->clock, tg_loop_now(loop_of(q)) + pause_of(q));
}

/* Hands a batch to the handler, a smaller one where the plugin has no memory for all of it. */
static void send_batch(struct queue *q)
{
    const struct tg_background_call call = {
        .entry = q->entry,
        .function = q->handler,
        .what = "queue",
        .push = push_batch,
        .on_end = on_end,
        .arg = q,
    };
    q->in_hand = TG_MIN(q->count, q->batch);
    q->cut = false;
    enum tg_err err = tg_background_start(&call);
    while (err == TG_E_NOMEM && q->in_hand > 1) {
        q->in_hand /= 2;
        q->cut = true;
        err = tg_background_start(&call);
    }
    if (err == TG_OK) /* q may be gone */
        return;
    q->in_hand = 0;
    if (err == TG_E_LIMIT)
        return; /* on_room comes */
    if (is_retired(q)) {
        lose_items(q, q->count, tg_str_c(tg_err_text(err)));
        settle(q);
        return;
    }
    if (err == TG_E_NOMEM)
        put_off(q);
    else
        tg_timer_set(&q->clock, tg_loop_now(loop_of(q)) + PAUSE_MAX);
}

/* Goes on after a batch: the next at once when it is full, is the rest of one, or the end is near.
 */
static void pump(struct queue *q)
{
    if (q->in_hand > 0)
        return;
    if (q->count == 0)
        settle(q);
    else if (q->count >= q->batch || q->cut || is_retired(q))
        send_batch(q);
    else if (q->clock.deadline == 0)
        arm(q);
}

static void on_clock(struct tg_timer *clock)
{
    struct queue *q = TG_CONTAINER_OF(clock, struct queue, clock);
    if (q->in_hand == 0 && q->count > 0 && q->entry->state != TG_VM_NEW)
        send_batch(q);
}

/* ---- As an activator ---- */

static struct queue *queue_of(struct tg_activator *activator)
{
    return TG_CONTAINER_OF(activator, struct queue, activator);
}

static void start(struct tg_activator *activator)
{
    arm(queue_of(activator));
}

static void retire(struct tg_activator *activator)
{
    struct queue *q = queue_of(activator);
    linger(q);
    pump(q);
}

static void on_room(struct tg_activator *activator)
{
    struct queue *q = queue_of(activator);
    if (q->clock.deadline == 0 || is_retired(q)) /* flush and pauses are over */
        pump(q);
}

static void give_up(struct tg_activator *activator)
{
    struct queue *q = queue_of(activator);
    lose_items(q, q->count, TG_STR("the gateway stops"));
    settle(q);
}

static void release(struct tg_activator *activator)
{
    struct queue *q = queue_of(activator);
    lose_items(q, q->count, TG_STR("the plugin ends"));
    tg_timer_release(&q->clock);
    tg_vm_unref(q->entry->vm, &q->handler);
    tg_mem_free(TG_MEM_PLUGIN, q);
}

/* ---- For Lua ---- */

/* Pushes the member `name` of the option table. */
static int push_option(lua_State *L, const char *name)
{
    lua_pushstring(L, name);
    lua_rawget(L, 1);
    return lua_type(L, -1);
}

static TG_NORETURN void raise_option(lua_State *L, const char *what)
{
    tg_bind_arg_error(L, 1, what);
}

static unsigned count_option(lua_State *L, const char *name, unsigned standard, unsigned max,
                             const char *what)
{
    int type = push_option(L, name);
    lua_Number value = lua_tonumber(L, -1);
    lua_pop(L, 1);
    if (type == LUA_TNIL)
        return standard;
    if (type != LUA_TNUMBER || !(value >= 0 && value <= max) || value != (unsigned)value)
        raise_option(L, what);
    return (unsigned)value;
}

static void read_options(lua_State *L, struct queue *q)
{
    tg_bind_arg_table(L, 1, false);
    tg_bind_check_options(L, 1, options);
    if (push_option(L, "name") != LUA_TSTRING || lua_objlen(L, -1) == 0 ||
        lua_objlen(L, -1) > NAME_MAX_BYTES)
        raise_option(L, "name: expected a name of 1 to 64 bytes");
    q->n = lua_objlen(L, -1);
    memcpy(q->name, lua_tostring(L, -1), q->n);
    q->batch = count_option(L, "batch", BATCH_STANDARD, BATCH_MAX, "batch: expected 1 to 10000");
    q->retry = count_option(L, "retry", RETRY_STANDARD, RETRY_MAX, "retry: expected 0 to 100");
    if (q->batch == 0)
        raise_option(L, "batch: expected 1 to 10000");
    q->flush = TG_USEC_PER_SEC;
    tg_bind_option_duration(L, 1, "flush", &q->flush);
    q->max_bytes = BYTES_STANDARD;
    bool given = push_option(L, "max_bytes") != LUA_TNIL;
    if (given && (!tg_bind_to_size(L, -1, &q->max_bytes) || q->max_bytes > BYTES_MAX))
        raise_option(L, "max_bytes: expected a size such as \"1MiB\", at most 4MiB");
    if (push_option(L, "handler") != LUA_TFUNCTION)
        raise_option(L, "handler: expected a function");
}

static unsigned count_queues(const struct tg_vm_entry *entry)
{
    unsigned count = 0;
    TG_LIST_FOREACH(&entry->activators, it)
    count += TG_LIST_ENTRY(it, struct tg_activator, link)->release == release;
    return count;
}

/* A copy of `from` that the VM's entry owns. */
static struct queue *add_queue(lua_State *L, const struct queue *from)
{
    struct queue *q = tg_mem_zalloc(TG_MEM_PLUGIN, 1, sizeof(*q));
    if (q == NULL)
        tg_bind_call_error(L, tg_err_text(TG_E_NOMEM));
    *q = *from;
    q->entry = tg_bind_vm_entry(L);
    q->activator = (struct tg_activator){.start = start,
                                         .retire = retire,
                                         .on_room = on_room,
                                         .release = release,
                                         .give_up = give_up};
    tg_list_init(&q->items);
    if (tg_timer_init(&q->clock, &loop_of(q)->timers, on_clock) != TG_OK) {
        tg_mem_free(TG_MEM_PLUGIN, q);
        tg_bind_call_error(L, tg_err_text(TG_E_NOMEM));
    }
    tg_activator_add(q->entry, &q->activator);
    return q;
}

int tg_api_tg_queue(lua_State *L)
{
    struct queue given = {0};
    tg_bind_check_set_up(L);
    read_options(L, &given);
    if (count_queues(tg_bind_vm_entry(L)) == QUEUES_MAX)
        tg_bind_call_error(L, "a plugin has at most 16 queues");
    given.handler = luaL_ref(L, LUA_REGISTRYINDEX);
    struct queue_object *object = tg_bind_new_value(L, TG_SCOPE_QUEUE, sizeof(*object));
    object->queue = add_queue(L, &given);
    return 1;
}

int tg_api_queue_push(lua_State *L)
{
    struct queue *q = ((struct queue_object *)tg_bind_check_value(L))->queue;
    struct tg_marshal_options marshal = {.root = "item",
                                         .nodes = ITEM_NODES,
                                         .bytes = (size_t)q->max_bytes,
                                         .is_spent = tg_run_is_spent,
                                         .tag = TG_MEM_PLUGIN};
    struct tg_blob blob = {0};
    char why[192];
    if (lua_isnoneornil(L, 2))
        tg_bind_arg_error(L, 1, "expected a value");
    if (q->entry->refs == 0)
        return tg_bind_fail(L, "unavailable", "the plugin stops: no handler runs any more");
    lua_settop(L, 2);
    enum tg_err err = tg_marshal_encode(L, 2, &marshal, &blob, why, sizeof(why));
    if (err == TG_E_INVALID)
        tg_bind_arg_error(L, 1, why);
    if (err == TG_E_LIMIT)
        return tg_bind_fail(L, "too_large", why);
    if (err == TG_OK && q->bytes + size_of(blob.n) > q->max_bytes) {
        tg_blob_release(&blob);
        return tg_bind_fail(L, "limit", "the queue is full: its handler does not keep up");
    }
    struct item *item = err == TG_OK ? tg_mem_alloc(TG_MEM_PLUGIN, size_of(blob.n)) : NULL;
    if (item == NULL) {
        tg_blob_release(&blob);
        return tg_bind_fail(L, "unavailable", tg_err_text(TG_E_NOMEM));
    }
    item->n = blob.n;
    memcpy(item->bytes, blob.p, blob.n);
    tg_blob_release(&blob);
    tg_list_push_back(&q->items, &item->link);
    q->bytes += size_of(item->n);
    q->count++;
    linger(q);
    if (q->in_hand == 0 && q->failures == 0 &&
        (q->clock.deadline == 0 || q->count >= q->batch || is_retired(q)))
        arm(q);
    lua_pushboolean(L, 1);
    return 1;
}
