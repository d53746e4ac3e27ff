/* store.h: where consumers are found: by name, and by a credential.
 *
 * The interface behind which stores stand. The first is the set that a configuration declares
 * (declared.h): immutable, part of a snapshot, in memory as a whole. Others may hold more than fits
 * a configuration and change while they are used; what they hand out stays valid as said here, so
 * that callers need not know which they have.
 *
 * Lifetime: what a store found is borrowed, unchanged, for as long as the caller keeps the store
 * from going (a request: its snapshot).
 * Threads: any number may look things up at once.
 */
#ifndef TG_CONSUMER_STORE_H
#define TG_CONSUMER_STORE_H

#include "base/err.h"
#include "consumer/kind.h"

/* Groups or tags. Consumers with equal lists share one. */
struct tg_consumer_words {
    uint32_t n;
    struct tg_str v[];
};

/* One consumer. Slices are terminated. */
struct tg_consumer {
    struct tg_str name;
    struct tg_str id; /* stable over a change of name; the name unless the operator set one */
    struct tg_str custom_id; /* what another system calls it; p == NULL: none */
    struct tg_str metadata;  /* a map, in the encoding of script/marshal; p == NULL: none */
    const struct tg_consumer_words *groups;
    const struct tg_consumer_words *tags;
    uint32_t plugins; /* which list of plugins it has: a number of the owner's; 0: none */
    /* What its requests are in place of what their routes say, one more than the number that the
     * owner means by it; 0: as the route says. */
    uint8_t importance;
    uint8_t queue_priority;
};

/* Whom a credential belongs to. */
struct tg_consumer_match {
    const struct tg_consumer *consumer;
    uint32_t nth; /* among the consumer's credentials of that kind, from 1 */
};

struct tg_consumer_store;

struct tg_consumer_store_ops {
    enum tg_err (*find)(const struct tg_consumer_store *store, struct tg_str name,
                        const struct tg_consumer **out);
    enum tg_err (*find_by)(const struct tg_consumer_store *store, enum tg_credential_kind kind,
                           struct tg_str value, struct tg_consumer_match *out);
    void (*free)(struct tg_consumer_store *store);
};

/* Embedded as the first member by each store. */
struct tg_consumer_store {
    const struct tg_consumer_store_ops *ops;
};

/* The consumer called `name` into *out. TG_E_NOT_FOUND; TG_E_NOMEM. `store` may be NULL: it is
 * empty. */
enum tg_err tg_consumer_find(const struct tg_consumer_store *store, struct tg_str name,
                             const struct tg_consumer **out) TG_MUST_USE;

/* The consumer whose credential of `kind` is `value` into *out; the same errors. Takes the same
 * time for a value that nobody has as for one that somebody has. */
enum tg_err tg_consumer_find_by(const struct tg_consumer_store *store, enum tg_credential_kind kind,
                                struct tg_str value, struct tg_consumer_match *out) TG_MUST_USE;

/* Frees *store (NULL is fine) and nulls it: nobody may hold anything of it. */
void tg_consumer_store_free(struct tg_consumer_store **store);

bool tg_consumer_words_have(const struct tg_consumer_words *words, struct tg_str word);

#endif
