/* tls_shared.c: see tls_shared.h.
 *
 * A ticket key is 80 bytes: 16 that name it in the ticket, 32 for AES-256-CBC, 32 for HMAC-SHA-256,
 * the form that OpenSSL's callback is made for. Sessions are OpenSSL's objects, counted by it. */
#include "base/banned.h"
#include "net/tls_shared.h"

#include "base/shared_map.h"

#include <openssl/core_names.h>
#include <openssl/rand.h>
#include <pthread.h>

#define KEYS           3
#define SESSIONS_MAX   4096
#define SESSION_SHARDS 8
#define SESSION_LIFE   (3600 * TG_USEC_PER_SEC)
#define SESSION_COST   4096 /* bytes that OpenSSL takes for one, roughly */

struct key {
    unsigned char name[16];
    unsigned char cipher[32];
    unsigned char mac[32];
    uint64_t made; /* us; 0: there is none */
};

struct tg_tls_shared {
    pthread_mutex_t lock;
    struct key keys[KEYS]; /* the newest first */
    struct tg_shared_map *sessions;
    EVP_CIPHER *aes; /* fetched once: looking it up for each ticket costs more than the ticket */
};

static void on_leave(void *arg, const struct tg_map_leaver *leaver, enum tg_map_reason reason)
{
    (void)arg;
    (void)reason;
    SSL_SESSION_free(*(SSL_SESSION **)leaver->value);
}

struct tg_tls_shared *tg_tls_shared_new(void)
{
    struct tg_map_options options = {
        .tag = TG_MEM_CONNECTION,
        .policy = TG_MAP_LRU,
        .max_entries = SESSIONS_MAX,
        .value_size = sizeof(SSL_SESSION *),
        .key_room = TG_MAP_KEY_ROOM_MAX,
        .on_leave = on_leave,
    };
    struct tg_tls_shared *shared = tg_mem_zalloc(TG_MEM_CONNECTION, 1, sizeof(*shared));
    if (shared == NULL)
        return NULL;
    pthread_mutex_init(&shared->lock, NULL);
    shared->aes = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    shared->sessions = tg_shared_map_new(&options, SESSION_SHARDS);
    if (shared->aes == NULL || shared->sessions == NULL)
        tg_tls_shared_free(&shared);
    return shared;
}

void tg_tls_shared_free(struct tg_tls_shared **sharedp)
{
    struct tg_tls_shared *shared = *sharedp;
    *sharedp = NULL;
    if (shared == NULL)
        return;
    tg_shared_map_free(&shared->sessions);
    EVP_CIPHER_free(shared->aes);
    OPENSSL_cleanse(shared->keys, sizeof(shared->keys));
    pthread_mutex_destroy(&shared->lock);
    tg_mem_free(TG_MEM_CONNECTION, shared);
}

/* ---- Ticket keys -------------------------------------------------------------------------------
 */

/* Workers' clocks are read at different times, so `now` may be a little before. */
static uint64_t age_of(const struct key *key, uint64_t now)
{
    return now > key->made ? now - key->made : 0;
}

/* Makes a new key when the newest is over its time; false without randomness. */
static bool rotate(struct tg_tls_shared *shared, uint64_t life, uint64_t now)
{
    struct key fresh;
    if (shared->keys[0].made != 0 && age_of(&shared->keys[0], now) < life / 2)
        return true;
    if (RAND_bytes(fresh.name, sizeof(fresh.name)) != 1 ||
        RAND_priv_bytes(fresh.cipher, sizeof(fresh.cipher)) != 1 ||
        RAND_priv_bytes(fresh.mac, sizeof(fresh.mac)) != 1)
        return false;
    fresh.made = TG_MAX(now, 1u);
    memmove(&shared->keys[1], &shared->keys[0], (KEYS - 1) * sizeof(fresh));
    shared->keys[0] = fresh;
    OPENSSL_cleanse(&fresh, sizeof(fresh));
    return true;
}

/* Copies the key to encrypt with, or the one of that name; *age is 0 for the newest. */
static bool choose(struct tg_tls_shared *shared, uint64_t life, uint64_t now,
                   const unsigned char *name, bool encrypts, struct key *out, int *age)
{
    bool found = false;
    pthread_mutex_lock(&shared->lock);
    bool fresh = rotate(shared, life, now);
    for (int i = 0; i < KEYS && !found && fresh; i++) {
        const struct key *key = &shared->keys[i];
        found = key->made != 0 && age_of(key, now) <= life + life / 2 &&
                (encrypts || CRYPTO_memcmp(key->name, name, sizeof(key->name)) == 0);
        if (found)
            *out = *key;
        *age = i;
    }
    pthread_mutex_unlock(&shared->lock);
    return found;
}

static bool begin_mac(EVP_MAC_CTX *mac, struct key *key)
{
    char sha256[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, sizeof(key->mac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, sha256, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_CTX_set_params(mac, params) == 1;
}

int tg_tls_shared_ticket(struct tg_tls_shared *shared, uint64_t life, uint64_t now,
                         unsigned char name[16], unsigned char iv[16], EVP_CIPHER_CTX *cipher,
                         EVP_MAC_CTX *mac, int encrypts)
{
    struct key key;
    int age = 0;
    if (!choose(shared, life, now, name, encrypts != 0, &key, &age))
        return encrypts ? -1 : 0; /* 0: as if the client had shown no ticket */
    bool good = true;
    if (encrypts) {
        memcpy(name, key.name, sizeof(key.name));
        good = RAND_bytes(iv, 16) == 1 &&
               EVP_EncryptInit_ex2(cipher, shared->aes, key.cipher, iv, NULL) == 1;
    } else {
        good = EVP_DecryptInit_ex2(cipher, shared->aes, key.cipher, iv, NULL) == 1;
    }
    good = good && begin_mac(mac, &key);
    OPENSSL_cleanse(&key, sizeof(key));
    if (!good)
        return -1;
    return age > 0 ? 2 : 1; /* 2: take it, and give the client a new one */
}

/* ---- Sessions of origins -----------------------------------------------------------------------
 */

void tg_tls_shared_put(struct tg_tls_shared *shared, struct tg_str key, SSL_SESSION *session,
                       uint64_t now)
{
    const struct tg_map_terms terms = {.ttl = SESSION_LIFE, .cost = SESSION_COST};
    struct tg_map_key k = tg_map_key(key.p, key.n);
    struct tg_map *map = tg_shared_map_lease(shared->sessions, k);
    enum tg_err err = tg_map_set(map, k, &session, &terms, now);
    tg_shared_map_return(shared->sessions, k, &map);
    if (err != TG_OK)
        SSL_SESSION_free(session);
}

SSL_SESSION *tg_tls_shared_get(struct tg_tls_shared *shared, struct tg_str key, uint64_t now)
{
    struct tg_map_key k = tg_map_key(key.p, key.n);
    struct tg_map *map = tg_shared_map_lease(shared->sessions, k);
    SSL_SESSION **kept = tg_map_get(map, k, now);
    SSL_SESSION *session = kept != NULL ? *kept : NULL;
    if (session != NULL)
        SSL_SESSION_up_ref(session);
    tg_shared_map_return(shared->sessions, k, &map);
    return session;
}
