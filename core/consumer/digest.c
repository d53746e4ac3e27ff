/* digest.c: see digest.h.
 *
 * HMAC (RFC 2104) from two SHA-256 runs, since OpenSSL's own HMAC contexts cost several times as
 * much for a value as short as a key: the two padded blocks of the secret are made once.
 */
#include "base/banned.h"
#include "consumer/digest.h"

#include "base/assert.h"
#include "base/rand.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <pthread.h>

#define BLOCK 64 /* of SHA-256 */

static EVP_MD *sha256;
static unsigned char inner_block[BLOCK], outer_block[BLOCK];
static pthread_once_t prepared = PTHREAD_ONCE_INIT;

static void prepare(void)
{
    unsigned char secret[BLOCK];
    sha256 = EVP_MD_fetch(NULL, "sha256", NULL);
    tg_assert(sha256 != NULL);
    tg_rand_secret(secret, sizeof(secret));
    for (size_t i = 0; i < BLOCK; i++) {
        inner_block[i] = secret[i] ^ 0x36;
        outer_block[i] = secret[i] ^ 0x5c;
    }
    OPENSSL_cleanse(secret, sizeof(secret));
}

/* SHA-256 of the two or three pieces. */
static bool hash(EVP_MD_CTX *context, const unsigned char *block, const unsigned char *kind,
                 struct tg_str text, unsigned char *out)
{
    return EVP_DigestInit_ex(context, sha256, NULL) == 1 &&
           EVP_DigestUpdate(context, block, BLOCK) == 1 &&
           (kind == NULL || EVP_DigestUpdate(context, kind, 1) == 1) &&
           EVP_DigestUpdate(context, text.p, text.n) == 1 &&
           EVP_DigestFinal_ex(context, out, NULL) == 1;
}

enum tg_err tg_credential_digest(enum tg_credential_kind kind, struct tg_str value,
                                 unsigned char *out)
{
    const unsigned char number = (unsigned char)kind;
    pthread_once(&prepared, prepare);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool done =
        context != NULL && hash(context, inner_block, &number, value, out) &&
        hash(context, outer_block, NULL, tg_str((const char *)out, TG_CREDENTIAL_DIGEST), out);
    EVP_MD_CTX_free(context);
    if (!done)
        ERR_clear_error();
    return done ? TG_OK : TG_E_NOMEM;
}

bool tg_credential_digest_eq(const unsigned char *a, const unsigned char *b)
{
    return CRYPTO_memcmp(a, b, TG_CREDENTIAL_DIGEST) == 0;
}
