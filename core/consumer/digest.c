/* digest.c: see digest.h.
 *
 * HMAC (RFC 2104) from two SHA-256 runs, since OpenSSL's own HMAC contexts cost several times as
 * much for a value as short as a key. Both runs begin with a block that is the secret's alone: it
 * is hashed once, and each digest begins with copies of what that left, half of the work.
 */
#include "base/banned.h"
#include "consumer/digest.h"

#include "base/rand.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>

#define BLOCK 64 /* of SHA-256 */

/* Both are behind their first block, and only read from then on. */
static struct {
    _Atomic bool made;
    pthread_mutex_t lock; /* of who makes them */
    EVP_MD_CTX *inner, *outer;
} runs = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* A run that has taken the block of `secret`, each byte of it mixed with `mask`; NULL: no memory.
 */
static EVP_MD_CTX *begin(const EVP_MD *sha256, const unsigned char *secret, unsigned char mask)
{
    unsigned char block[BLOCK];
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    for (size_t i = 0; i < BLOCK; i++)
        block[i] = secret[i] ^ mask;
    bool begun = context != NULL && EVP_DigestInit_ex(context, sha256, NULL) == 1 &&
                 EVP_DigestUpdate(context, block, BLOCK) == 1;
    OPENSSL_cleanse(block, sizeof(block));
    if (begun)
        return context;
    EVP_MD_CTX_free(context);
    return NULL;
}

/* Makes both, under the lock; false: no memory, and nothing is made. */
static bool make_runs(void)
{
    unsigned char secret[BLOCK];
    EVP_MD *sha256 = EVP_MD_fetch(NULL, "sha256", NULL);
    if (sha256 == NULL)
        return false;
    tg_rand_secret(secret, sizeof(secret));
    runs.inner = begin(sha256, secret, 0x36);
    runs.outer = begin(sha256, secret, 0x5c);
    OPENSSL_cleanse(secret, sizeof(secret));
    EVP_MD_free(sha256); /* the runs hold it */
    if (runs.inner != NULL && runs.outer != NULL)
        return true;
    EVP_MD_CTX_free(runs.inner);
    EVP_MD_CTX_free(runs.outer);
    return false;
}

/* The secret is drawn once; false: no memory, the next call tries again. */
static bool prepare(void)
{
    pthread_mutex_lock(&runs.lock);
    bool made = atomic_load_explicit(&runs.made, memory_order_relaxed) || make_runs();
    atomic_store_explicit(&runs.made, made, memory_order_release);
    pthread_mutex_unlock(&runs.lock);
    return made;
}

/* What is left of the run `from` when it goes on with the two pieces. */
static bool end(EVP_MD_CTX *context, const EVP_MD_CTX *from, struct tg_str kind, struct tg_str text,
                unsigned char *out)
{
    return EVP_MD_CTX_copy_ex(context, from) == 1 &&
           EVP_DigestUpdate(context, kind.p, kind.n) == 1 &&
           EVP_DigestUpdate(context, text.p, text.n) == 1 &&
           EVP_DigestFinal_ex(context, out, NULL) == 1;
}

enum tg_err tg_credential_digest(enum tg_credential_kind kind, struct tg_str value,
                                 unsigned char *out)
{
    const char number = (char)kind;
    bool made = atomic_load_explicit(&runs.made, memory_order_acquire) || prepare();
    EVP_MD_CTX *context = made ? EVP_MD_CTX_new() : NULL;
    bool done =
        context != NULL && end(context, runs.inner, tg_str(&number, 1), value, out) &&
        end(context, runs.outer, TG_STR(""), tg_str((const char *)out, TG_CREDENTIAL_DIGEST), out);
    EVP_MD_CTX_free(context);
    if (!done)
        ERR_clear_error();
    return done ? TG_OK : TG_E_NOMEM;
}

bool tg_credential_digest_eq(const unsigned char *a, const unsigned char *b)
{
    return CRYPTO_memcmp(a, b, TG_CREDENTIAL_DIGEST) == 0;
}
