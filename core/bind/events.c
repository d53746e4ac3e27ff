/* events.c: tg.events: plain data from a plugin in one worker to subscribers in all.
 *
 * Topics are the gateway's: any plugin that declares needs.events may publish and subscribe. Data
 * crosses as bytes (script/marshal), each subscriber gets a copy.
 *
 *     publish -> store/bus -> each worker -> subscriptions of VMs in force -> handler(data, topic)
 *
 * A subscription runs its handler for one event at a time, in the order of arrival; what comes
 * meanwhile waits in its own queue, at most QUEUE_MAX events. What is beyond, or comes while
 * nothing of the plugin may begin, is dropped, counted and logged. A failed handler loses its
 * event. Subscriptions belong to the VM and end with its configuration.
 */
#include "base/banned.h"
#include "bind/zone.h"

#include "gateway/background.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "script/marshal.h"

#define QUEUE_MAX         256
#define DATA_MAX          ((size_t)256 << 10)
#define DATA_NODES        10000
#define TOPIC_MAX         128
#define SUBSCRIPTIONS_MAX 64
#define DROPS_PER_SECOND  1 /* lines */

struct event {
    struct tg_list link;
    struct tg_message *message; /* one reference */
};

struct subscription {
    struct tg_activator activator;
    struct tg_vm_entry *entry;
    struct tg_list queue; /* of struct event, the oldest first */
    unsigned count;
    struct event *current; /* being handled; owned */
    int function;
    size_t n;
    char topic[TOPIC_MAX];
};

static void check_declared(lua_State *L)
{
    if (!tg_bind_vm_entry(L)->host.plugin->wants_events)
        tg_bind_call_error(L, "the plugin does not declare needs = { events = true }");
}

static struct tg_str check_topic(lua_State *L)
{
    struct tg_str topic = tg_bind_arg_str(L, 1);
    if (topic.n == 0 || topic.n > TOPIC_MAX)
        tg_bind_arg_error(L, 1, "a topic has 1 to 128 bytes");
    return topic;
}

int tg_api_events_publish(lua_State *L)
{
    check_declared(L);
    struct tg_str topic = check_topic(L);
    struct tg_marshal_options options = {.root = "data",
                                         .nodes = DATA_NODES,
                                         .bytes = DATA_MAX,
                                         .is_spent = tg_run_is_spent,
                                         .tag = TG_MEM_COUNTER};
    struct tg_blob blob = {0};
    char why[192];
    lua_settop(L, 2);
    enum tg_err err = tg_marshal_encode(L, 2, &options, &blob, why, sizeof(why));
    if (err == TG_E_LIMIT)
        return tg_bind_fail(L, "too_large", why);
    if (err == TG_E_INVALID)
        tg_bind_arg_error(L, 2, why);
    const struct tg_gate *gate = tg_bind_vm_entry(L)->host.gate;
    if (err == TG_OK)
        err = tg_bus_publish(gate->gateway->bus,
                             gate->snapshot != NULL ? gate->snapshot->revision : 0, topic,
                             tg_str(blob.p, blob.n));
    tg_blob_release(&blob);
    if (err == TG_E_LIMIT)
        return tg_bind_fail(L, "limit", "events wait already, not every worker gets this one");
    if (err != TG_OK)
        return tg_bind_fail(L, "unavailable", tg_err_text(err));
    lua_pushboolean(L, 1);
    return 1;
}

/* ---- Delivery ---- */

static void free_event(struct event **eventp)
{
    struct event *event = *eventp;
    *eventp = NULL;
    if (event == NULL)
        return;
    tg_message_unref(&event->message);
    tg_mem_free(TG_MEM_PLUGIN, event);
}

static int push_event(lua_State *L)
{
    const struct subscription *subscription = lua_touserdata(L, 1);
    const struct tg_message *message = subscription->current->message;
    if (tg_marshal_decode(L, message->data) != TG_OK)
        lua_pushnil(L);
    tg_bind_push_str(L, message->topic);
    return 2;
}

static void pump(struct subscription *subscription);

static void on_end(void *arg, bool ok, lua_State *L)
{
    struct subscription *subscription = arg;
    (void)ok;
    (void)L;
    free_event(&subscription->current);
    pump(subscription);
}

static void note_drop(const struct subscription *subscription, const char *why)
{
    static struct tg_log_gate gate;
    uint64_t missed;
    tg_metric_inc(subscription->entry->host.gate->worker->cells, TG_METRIC_PLUGIN_EVENTS_DROPPED);
    if (!tg_log_gate_pass(&gate, DROPS_PER_SECOND, tg_clock_mono_now(), &missed))
        return;
    tg_log_kv(TG_LOG_WARN, "plugin", "an event is dropped",
              tg_log_str("plugin", subscription->entry->host.plugin->name),
              tg_log_str("topic", tg_str(subscription->topic, subscription->n)),
              tg_log_str("reason", tg_str_c(why)), tg_log_u64("suppressed", missed));
}

static void drop_queue(struct subscription *subscription, const char *why)
{
    while (subscription->count > 0) {
        struct event *event = TG_LIST_ENTRY(subscription->queue.next, struct event, link);
        tg_list_remove(&event->link);
        subscription->count--;
        free_event(&event);
        note_drop(subscription, why);
    }
}

/* Starts the handler for `event`, which is taken off the queue. */
static enum tg_err begin(struct subscription *subscription, struct event *event)
{
    const struct tg_background_call call = {
        .entry = subscription->entry,
        .function = subscription->function,
        .what = "event",
        .push = push_event,
        .on_end = on_end,
        .arg = subscription,
    };
    tg_list_remove(&event->link);
    subscription->count--;
    subscription->current = event;
    enum tg_err err = tg_background_start(&call);
    if (err != TG_OK)
        subscription->current = NULL;
    return err;
}

/* Starts the handler for the oldest event, unless it runs; one that the plugin has no memory for is
 * lost. Where nothing may begin (it is in quarantine) all that wait are: nobody would come back to
 * them. */
static void pump(struct subscription *subscription)
{
    static const char unavailable[] = "the plugin is in quarantine, or the gateway stops";
    enum tg_err err = TG_E_NOMEM;
    while (err == TG_E_NOMEM && subscription->current == NULL && subscription->count > 0) {
        struct event *event = TG_LIST_ENTRY(subscription->queue.next, struct event, link);
        err = begin(subscription, event);
        if (err == TG_OK) /* the subscription may be gone */
            return;
        if (err == TG_E_LIMIT) { /* on_room comes */
            tg_list_push_front(&subscription->queue, &event->link);
            subscription->count++;
            return;
        }
        free_event(&event);
        note_drop(subscription, err == TG_E_UNAVAILABLE ? unavailable : tg_err_text(err));
    }
    if (err == TG_E_UNAVAILABLE)
        drop_queue(subscription, unavailable);
}

static void add_event(struct subscription *subscription, struct tg_message *message)
{
    struct event *event = NULL;
    if (subscription->count < QUEUE_MAX)
        event = tg_mem_alloc(TG_MEM_PLUGIN, sizeof(*event));
    if (event == NULL) {
        note_drop(subscription, "events come faster than the plugin handles them");
        return;
    }
    event->message = tg_message_ref(message);
    tg_list_push_back(&subscription->queue, &event->link);
    subscription->count++;
    pump(subscription);
}

/* ---- As an activator ---- */

static struct subscription *subscription_of(struct tg_activator *activator)
{
    return TG_CONTAINER_OF(activator, struct subscription, activator);
}

static void start(struct tg_activator *activator)
{
    (void)activator; /* events come from now on: see tg_bind_deliver() */
}

static void retire(struct tg_activator *activator)
{
    drop_queue(subscription_of(activator),
               "the VM of the plugin is replaced, or the gateway stops");
}

static void on_room(struct tg_activator *activator)
{
    pump(subscription_of(activator));
}

static void release(struct tg_activator *activator)
{
    struct subscription *subscription = subscription_of(activator);
    drop_queue(subscription, "the plugin ends");
    tg_vm_unref(subscription->entry->vm, &subscription->function);
    tg_mem_free(TG_MEM_PLUGIN, subscription);
}

void tg_bind_deliver(struct tg_gate *gate, struct tg_message *message)
{
    struct tg_vm_set *set = gate->vms;
    for (uint32_t i = 0; set != NULL && i < set->snapshot->plugin_count; i++) {
        const struct tg_list *all = &set->entries[i]->activators;
        for (struct tg_list *it = all->next; it != all; it = it->next) { /* handlers may run */
            struct tg_activator *activator = TG_LIST_ENTRY(it, struct tg_activator, link);
            struct subscription *subscription = subscription_of(activator);
            if (activator->release == release &&
                tg_str_eq(tg_str(subscription->topic, subscription->n), message->topic))
                add_event(subscription, message);
        }
    }
}

static unsigned count_subscriptions(const struct tg_vm_entry *entry)
{
    unsigned count = 0;
    TG_LIST_FOREACH(&entry->activators, it)
    count += TG_LIST_ENTRY(it, struct tg_activator, link)->release == release;
    return count;
}

int tg_api_events_subscribe(lua_State *L)
{
    struct tg_vm_entry *entry = tg_bind_vm_entry(L);
    tg_bind_check_set_up(L);
    check_declared(L);
    struct tg_str topic = check_topic(L);
    if (lua_type(L, 2) != LUA_TFUNCTION)
        tg_bind_arg_error(L, 2, "expected a function");
    if (count_subscriptions(entry) == SUBSCRIPTIONS_MAX)
        tg_bind_call_error(L, "a plugin has at most 64 subscriptions");
    lua_settop(L, 2);
    int function = luaL_ref(L, LUA_REGISTRYINDEX);
    struct subscription *subscription = tg_mem_zalloc(TG_MEM_PLUGIN, 1, sizeof(*subscription));
    if (subscription == NULL)
        tg_bind_call_error(L, tg_err_text(TG_E_NOMEM));
    subscription->activator = (struct tg_activator){
        .start = start, .retire = retire, .on_room = on_room, .release = release};
    subscription->entry = entry;
    subscription->function = function;
    subscription->n = topic.n;
    memcpy(subscription->topic, topic.p, topic.n);
    tg_list_init(&subscription->queue);
    tg_activator_add(entry, &subscription->activator);
    return 0;
}
