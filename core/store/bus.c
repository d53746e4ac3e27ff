/* bus.c: see bus.h. A mailbox is a list of letters, each a node with one reference to its message;
 * one task per mailbox says that there is something in it. */
#include "base/banned.h"
#include "store/bus.h"

#include "base/assert.h"
#include "base/mem.h"

#include <stdatomic.h>

#define TAG TG_MEM_COUNTER

struct letter {
    struct tg_list link;
    struct tg_message *message; /* one reference */
};

struct tg_bus {
    pthread_mutex_t mutex;
    struct tg_list members; /* of struct tg_mailbox */
};

static struct tg_message *new_message(uint64_t edition, struct tg_str topic, struct tg_str data)
{
    struct tg_message *message = tg_mem_alloc(TAG, sizeof(*message) + topic.n + data.n);
    if (message == NULL)
        return NULL;
    atomic_init(&message->refs, 1);
    message->edition = edition;
    if (topic.n > 0)
        memcpy(message->bytes, topic.p, topic.n);
    if (data.n > 0)
        memcpy(message->bytes + topic.n, data.p, data.n);
    message->topic = tg_str(message->bytes, topic.n);
    message->data = tg_str(message->bytes + topic.n, data.n);
    return message;
}

struct tg_message *tg_message_ref(struct tg_message *message)
{
    atomic_fetch_add_explicit(&message->refs, 1, memory_order_relaxed);
    return message;
}

void tg_message_unref(struct tg_message **messagep)
{
    struct tg_message *message = *messagep;
    *messagep = NULL;
    if (atomic_fetch_sub_explicit(&message->refs, 1, memory_order_acq_rel) == 1)
        tg_mem_free(TAG, message);
}

static size_t size_of(const struct tg_message *message)
{
    return sizeof(*message) + sizeof(struct letter) + message->topic.n + message->data.n;
}

struct tg_bus *tg_bus_new(void)
{
    struct tg_bus *bus = tg_mem_zalloc(TAG, 1, sizeof(*bus));
    if (bus == NULL)
        return NULL;
    tg_list_init(&bus->members);
    tg_assert(pthread_mutex_init(&bus->mutex, NULL) == 0);
    return bus;
}

void tg_bus_free(struct tg_bus **busp)
{
    struct tg_bus *bus = *busp;
    if (bus == NULL)
        return;
    tg_assert(tg_list_is_empty(&bus->members));
    pthread_mutex_destroy(&bus->mutex);
    tg_mem_free(TAG, bus);
    *busp = NULL;
}

/* The oldest letter, when there is one up to `edition`; under the mutex. */
static struct letter *oldest(const struct tg_mailbox *mailbox, uint64_t edition)
{
    if (tg_list_is_empty(&mailbox->letters))
        return NULL;
    struct letter *letter = TG_LIST_ENTRY(mailbox->letters.next, struct letter, link);
    return letter->message->edition <= edition ? letter : NULL;
}

/* Takes the oldest letter up to `edition` out; NULL when there is none. */
static struct letter *take(struct tg_mailbox *mailbox, uint64_t edition)
{
    tg_assert(pthread_mutex_lock(&mailbox->bus->mutex) == 0);
    struct letter *letter = oldest(mailbox, edition);
    if (letter == NULL) {
        mailbox->posted = false;
    } else {
        tg_list_remove(&letter->link);
        mailbox->count--;
        mailbox->bytes -= size_of(letter->message);
    }
    tg_assert(pthread_mutex_unlock(&mailbox->bus->mutex) == 0);
    return letter;
}

static void free_letter(struct letter *letter)
{
    tg_message_unref(&letter->message);
    tg_mem_free(TAG, letter);
}

/* Reads what was there at the beginning, and then lets the loop go round: publishing from
 * on_message does not starve it. */
static void on_news(struct tg_task *task)
{
    struct tg_mailbox *mailbox = TG_CONTAINER_OF(task, struct tg_mailbox, news);
    for (unsigned i = 0; i < TG_BUS_MESSAGES; i++) {
        struct letter *letter = take(mailbox, mailbox->edition);
        if (letter == NULL)
            return;
        mailbox->on_message(mailbox->arg, letter->message);
        free_letter(letter);
    }
    tg_loop_post(mailbox->loop, &mailbox->news);
}

/* Wakes the reader, unless it has nothing to read or knows already; under the mutex. */
static void post_news(struct tg_mailbox *mailbox)
{
    if (mailbox->posted || oldest(mailbox, mailbox->edition) == NULL)
        return;
    tg_loop_post(mailbox->loop, &mailbox->news);
    mailbox->posted = true;
}

void tg_bus_join(struct tg_bus *bus, struct tg_mailbox *mailbox, struct tg_loop *loop,
                 void (*on_message)(void *arg, struct tg_message *message), void *arg)
{
    *mailbox = (struct tg_mailbox){.bus = bus, .loop = loop, .on_message = on_message, .arg = arg};
    tg_list_init(&mailbox->letters);
    tg_task_init(&mailbox->news, on_news);
    tg_assert(pthread_mutex_lock(&bus->mutex) == 0);
    tg_list_push_back(&bus->members, &mailbox->link);
    tg_assert(pthread_mutex_unlock(&bus->mutex) == 0);
}

void tg_bus_leave(struct tg_mailbox *mailbox)
{
    struct tg_bus *bus = mailbox->bus;
    if (bus == NULL)
        return;
    tg_assert(pthread_mutex_lock(&bus->mutex) == 0);
    tg_list_remove(&mailbox->link);
    tg_assert(pthread_mutex_unlock(&bus->mutex) == 0);
    for (;;) {
        struct letter *letter = take(mailbox, UINT64_MAX);
        if (letter == NULL)
            break;
        free_letter(letter);
    }
    mailbox->bus = NULL;
}

void tg_bus_advance(struct tg_mailbox *mailbox, uint64_t edition)
{
    tg_assert(pthread_mutex_lock(&mailbox->bus->mutex) == 0);
    mailbox->edition = edition;
    post_news(mailbox);
    tg_assert(pthread_mutex_unlock(&mailbox->bus->mutex) == 0);
}

/* Puts the message into one mailbox; under the mutex. */
static enum tg_err put(struct tg_mailbox *mailbox, struct tg_message *message)
{
    size_t size = size_of(message);
    if (mailbox->count == TG_BUS_MESSAGES || size > TG_BUS_BYTES - mailbox->bytes)
        return TG_E_LIMIT;
    struct letter *letter = tg_mem_alloc(TAG, sizeof(*letter));
    if (letter == NULL)
        return TG_E_NOMEM;
    letter->message = tg_message_ref(message);
    tg_list_push_back(&mailbox->letters, &letter->link);
    mailbox->count++;
    mailbox->bytes += size;
    post_news(mailbox);
    return TG_OK;
}

enum tg_err tg_bus_publish(struct tg_bus *bus, uint64_t edition, struct tg_str topic,
                           struct tg_str data)
{
    struct tg_message *message = new_message(edition, topic, data);
    enum tg_err result = TG_OK;
    if (message == NULL)
        return TG_E_NOMEM;
    tg_assert(pthread_mutex_lock(&bus->mutex) == 0);
    TG_LIST_FOREACH(&bus->members, it)
    {
        enum tg_err err = put(TG_LIST_ENTRY(it, struct tg_mailbox, link), message);
        result = err != TG_OK ? err : result;
    }
    tg_assert(pthread_mutex_unlock(&bus->mutex) == 0);
    tg_message_unref(&message);
    return result;
}
