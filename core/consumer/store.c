/* store.c: see store.h. */
#include "base/banned.h"
#include "consumer/store.h"

enum tg_err tg_consumer_find(const struct tg_consumer_store *store, struct tg_str name,
                             const struct tg_consumer **out)
{
    return store != NULL ? store->ops->find(store, name, out) : TG_E_NOT_FOUND;
}

enum tg_err tg_consumer_find_by(const struct tg_consumer_store *store, enum tg_credential_kind kind,
                                struct tg_str value, struct tg_consumer_match *out)
{
    return store != NULL ? store->ops->find_by(store, kind, value, out) : TG_E_NOT_FOUND;
}

void tg_consumer_store_free(struct tg_consumer_store **store)
{
    struct tg_consumer_store *taken = *store;
    *store = NULL;
    if (taken != NULL)
        taken->ops->free(taken);
}

bool tg_consumer_words_have(const struct tg_consumer_words *words, struct tg_str word)
{
    for (uint32_t i = 0; i < words->n; i++) {
        if (tg_str_eq(words->v[i], word))
            return true;
    }
    return false;
}
