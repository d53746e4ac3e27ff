/* bus.h: messages from any worker to all workers.
 *
 * Each worker joins with a mailbox. Who publishes puts one reference to the same immutable message
 * into every mailbox, its own included, and wakes the loops; messages reach a worker in the order
 * in which they were put there, and those of one publisher in its order.
 *
 *     publish ---> mailbox of worker 0 ---> on_message, in its loop
 *             \--> mailbox of worker 1 ---> on_message, in its loop
 *
 * Workers change to a new configuration one after the other, and one that has changed may publish
 * before its neighbour has. So a message carries the edition of its publisher, a mailbox that of
 * its reader, and a message of a later edition waits in the mailbox until its reader has come as
 * far: it would else reach handlers of the old configuration, or none while the process starts.
 *
 * Bounds: TG_BUS_MESSAGES and TG_BUS_BYTES in one mailbox; what does not fit there is dropped
 * there, and the publisher is told.
 *
 * Threads: publish from any; a mailbox belongs to its worker. Cost: one mutex for the bus, held for
 * as long as it takes to link one node per worker.
 */
#ifndef TG_STORE_BUS_H
#define TG_STORE_BUS_H

#include "base/str.h"
#include "event/loop.h"

#define TG_BUS_MESSAGES 1024
#define TG_BUS_BYTES    ((size_t)4 << 20)

struct tg_bus;

/* Immutable, counted. */
struct tg_message {
    _Atomic uint32_t refs;
    uint64_t edition;
    struct tg_str topic; /* both in the message's own memory */
    struct tg_str data;
    char bytes[];
};

/* Where one worker gets its messages. Embedded by its owner; does not move while it has joined. */
struct tg_mailbox {
    struct tg_bus *bus; /* borrowed; NULL: not joined */
    struct tg_list link;
    struct tg_loop *loop;
    struct tg_task news;
    void (*on_message)(void *arg, struct tg_message *message); /* borrowed: take a reference */
    void *arg;
    /* under the bus's mutex */
    uint64_t edition; /* of the configuration that its reader has; 0: none yet */
    struct tg_list letters;
    uint32_t count;
    size_t bytes;
    bool posted;
};

/* A bus without members, owned by the caller; NULL when memory is out. */
struct tg_bus *tg_bus_new(void) TG_MUST_USE;

/* All members have left. */
void tg_bus_free(struct tg_bus **bus);

/* The worker of `loop` gets messages from now on: on_message(arg), from the loop. */
void tg_bus_join(struct tg_bus *bus, struct tg_mailbox *mailbox, struct tg_loop *loop,
                 void (*on_message)(void *arg, struct tg_message *message), void *arg);

/* It gets no more; what waited is dropped. The loops of all workers have stopped. A second call
 * does nothing. */
void tg_bus_leave(struct tg_mailbox *mailbox);

/* The reader of this mailbox has the configuration of that edition now: what waited for it comes in
 * the loop's next round. Editions grow. */
void tg_bus_advance(struct tg_mailbox *mailbox, uint64_t edition);

/* Sends `data` under `topic` (both copied) to all members, on behalf of a publisher who has
 * `edition`. TG_E_LIMIT: not all had room; the others get it. TG_E_NOMEM: nobody, or not all. */
enum tg_err tg_bus_publish(struct tg_bus *bus, uint64_t edition, struct tg_str topic,
                           struct tg_str data) TG_MUST_USE;

struct tg_message *tg_message_ref(struct tg_message *message);

/* Drops the caller's reference and nulls it. */
void tg_message_unref(struct tg_message **message);

#endif
