/* declared.h: the consumers that a configuration declares, as a store.
 *
 * Made by one thread, then constant:
 *
 *     tg_declared_new(counts)          room for all, exactly
 *     tg_declared_add(spec)            once for each consumer, names ascending or not
 *     tg_declared_add_credential(...)  for the consumer that was added last
 *     tg_declared_store()              what it is looked things up in, and freed by
 *
 * Memory, a consumer: 88 bytes, its texts (names each once, equal lists of groups and tags shared),
 * 6 to 11 of the index by name; 46 to 51 for each credential. With short names and one key that is
 * some 170 bytes, so that a million would take 170 MB, once for the process.
 * Cost: adding 1 us, finding by name 50 ns, by credential as digest.h says.
 */
#ifndef TG_CONSUMER_DECLARED_H
#define TG_CONSUMER_DECLARED_H

#include "consumer/store.h"

/* Consumers, and credentials of a kind, at most. */
#define TG_DECLARED_MAX UINT32_C(0x3fffffff)

struct tg_declared;

struct tg_declared_counts {
    uint32_t consumers;
    uint32_t credentials[TG_CREDENTIAL_KINDS];
};

/* A consumer to be added; everything is copied. */
struct tg_consumer_spec {
    struct tg_str name;
    struct tg_str id;        /* empty: the name */
    struct tg_str custom_id; /* empty: none */
    struct tg_str metadata;  /* empty: none */
    const struct tg_str *groups;
    uint32_t group_count;
    const struct tg_str *tags;
    uint32_t tag_count;
    uint32_t plugins;
    uint8_t importance; /* as in struct tg_consumer */
    uint8_t queue_priority;
};

/* An empty set for what `counts` says, the caller's. NULL: no memory. */
struct tg_declared *tg_declared_new(const struct tg_declared_counts *counts) TG_MUST_USE;

/* TG_E_EXISTS: the name is taken; TG_E_LIMIT: more than was said; TG_E_NOMEM. */
enum tg_err tg_declared_add(struct tg_declared *declared,
                            const struct tg_consumer_spec *spec) TG_MUST_USE;

/* TG_E_INVALID: empty; TG_E_EXISTS: somebody has it; else as above. */
enum tg_err tg_declared_add_credential(struct tg_declared *declared, enum tg_credential_kind kind,
                                       struct tg_str value) TG_MUST_USE;

/* The set as a store, at any time, which is the owner of it: freed with tg_consumer_store_free().
 */
struct tg_consumer_store *tg_declared_store(struct tg_declared *declared);

uint32_t tg_declared_count(const struct tg_declared *declared);

/* Bytes that it holds. */
size_t tg_declared_memory(const struct tg_declared *declared);

#endif
