/* crypto.c: tg.crypto: digests, HMAC, comparison, random bytes, authenticated encryption.
 *
 * Everything is OpenSSL's; what is ours is the checking. Results are bytes: tg.hex and tg.base64
 * turn them into text. Contexts of OpenSSL live within one function, which calls nothing of Lua
 * that may raise while it has one: results go into a userdata or a buffer on the C stack that was
 * there before.
 *
 * Time: C code cannot be preempted. A digest takes some 3 ms per MiB without the CPU's own
 * instructions, and strings are bounded by the plugin's memory; sealing and opening are faster.
 * What could take longer whatever the input is, PBKDF2, works in slices (crypto_pbkdf2.c).
 */
#include "base/banned.h"
#include "bind/crypto.h"

#include "base/assert.h"
#include "base/rand.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <pthread.h>

#define RANDOM_MAX  65536
#define TAG_BYTES   16
#define KEY_BYTES   32 /* of both ciphers */
#define NONCE_BYTES 12

enum cipher { CIPHER_AES_256_GCM, CIPHER_CHACHA20_POLY1305, CIPHERS };

static const char *const digest_names[TG_DIGESTS] = {"sha256", "sha384", "sha512"};
static const char *const cipher_names[CIPHERS] = {"aes-256-gcm", "chacha20-poly1305"};

static EVP_MD *digests[TG_DIGESTS];
static EVP_CIPHER *ciphers[CIPHERS]; /* NULL: this OpenSSL has it not */
static pthread_once_t fetched = PTHREAD_ONCE_INIT;

static void fetch_all(void)
{
    for (unsigned i = 0; i < TG_DIGESTS; i++) {
        digests[i] = EVP_MD_fetch(NULL, digest_names[i], NULL);
        tg_assert(digests[i] != NULL);
    }
    for (unsigned i = 0; i < CIPHERS; i++)
        ciphers[i] = EVP_CIPHER_fetch(NULL, cipher_names[i], NULL);
    ERR_clear_error();
}

const EVP_MD *tg_crypto_digest(enum tg_digest digest)
{
    pthread_once(&fetched, fetch_all);
    return digests[digest];
}

/* Which of the `count` names argument `n` is. */
static unsigned arg_name(lua_State *L, int n, const char *const *names, unsigned count)
{
    struct tg_str name = tg_bind_arg_str(L, n);
    char what[128];
    struct tg_fmt f;
    for (unsigned i = 0; i < count; i++) {
        if (tg_str_eq(name, tg_str_c(names[i])))
            return i;
    }
    tg_fmt_init(&f, what, sizeof(what));
    tg_fmt_lit(&f, "expected ");
    for (unsigned i = 0; i < count; i++)
        tg_fmt_printf(&f, "%s\"%s\"", i == 0 ? "" : i + 1 == count ? " or " : ", ", names[i]);
    tg_bind_arg_error(L, n, what);
}

const EVP_MD *tg_crypto_arg_digest(lua_State *L, int n)
{
    return tg_crypto_digest((enum tg_digest)arg_name(L, n, digest_names, TG_DIGESTS));
}

void tg_crypto_raise(lua_State *L)
{
    ERR_clear_error();
    tg_bind_call_error(L, "OpenSSL refused; most likely memory is out");
}

int tg_crypto_no_passphrase(char *room, int size, int writing, void *arg)
{
    (void)room;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

/* ---- Digests --------------------------------------------------------------------------------- */

static int push_digest(lua_State *L, enum tg_digest digest)
{
    struct tg_str data = tg_bind_arg_str(L, 1);
    unsigned char out[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (EVP_Digest(data.p, data.n, out, &n, tg_crypto_digest(digest), NULL) != 1)
        tg_crypto_raise(L);
    lua_pushlstring(L, (const char *)out, n);
    return 1;
}

int tg_api_crypto_sha256(lua_State *L)
{
    return push_digest(L, TG_DIGEST_SHA256);
}

int tg_api_crypto_sha384(lua_State *L)
{
    return push_digest(L, TG_DIGEST_SHA384);
}

int tg_api_crypto_sha512(lua_State *L)
{
    return push_digest(L, TG_DIGEST_SHA512);
}

int tg_api_crypto_hmac(lua_State *L)
{
    const EVP_MD *digest = tg_crypto_arg_digest(L, 1);
    struct tg_str key = tg_bind_arg_str(L, 2);
    struct tg_str data = tg_bind_arg_str(L, 3);
    unsigned char out[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (key.n > INT32_MAX)
        tg_bind_arg_error(L, 2, "a key of more than 2 GiB");
    if (HMAC(digest, key.p, (int)key.n, (const unsigned char *)data.p, data.n, out, &n) == NULL)
        tg_crypto_raise(L);
    lua_pushlstring(L, (const char *)out, n);
    OPENSSL_cleanse(out, sizeof(out));
    return 1;
}

/* Lengths are no secret; contents are compared in a time that depends on the length alone. */
int tg_api_crypto_equal(lua_State *L)
{
    struct tg_str a = tg_bind_arg_str(L, 1);
    struct tg_str b = tg_bind_arg_str(L, 2);
    lua_pushboolean(L, a.n == b.n && CRYPTO_memcmp(a.p, b.p, a.n) == 0);
    return 1;
}

int tg_api_crypto_random(lua_State *L)
{
    size_t n = (size_t)tg_bind_arg_int(L, 1, 1, RANDOM_MAX);
    char *out = lua_newuserdata(L, n);
    tg_rand_secret(out, n);
    lua_pushlstring(L, out, n);
    return 1;
}

/* ---- Authenticated encryption (RFC 5116) ----------------------------------------------------- */

struct aead {
    const EVP_CIPHER *cipher;
    struct tg_str key, nonce, in, extra;
    unsigned char *out; /* in.n bytes, and the tag behind them when sealing */
};

static const unsigned char *bytes(struct tg_str s)
{
    return (const unsigned char *)s.p;
}

/* Arguments of both functions: cipher, key, nonce, data, additional data. */
static struct aead check_aead(lua_State *L)
{
    struct aead a;
    pthread_once(&fetched, fetch_all);
    a.cipher = ciphers[arg_name(L, 1, cipher_names, CIPHERS)];
    if (a.cipher == NULL)
        tg_bind_arg_error(L, 1, "this installation of OpenSSL does not have the cipher");
    a.key = tg_bind_arg_str(L, 2);
    if (a.key.n != KEY_BYTES)
        tg_bind_arg_error(L, 2, "expected 32 bytes");
    a.nonce = tg_bind_arg_str(L, 3);
    if (a.nonce.n != NONCE_BYTES)
        tg_bind_arg_error(L, 3, "expected 12 bytes, never used before with this key");
    a.in = tg_bind_arg_str(L, 4);
    if (a.in.n > INT32_MAX - TAG_BYTES)
        tg_bind_arg_error(L, 4, "more than 2 GiB");
    a.extra = lua_isnoneornil(L, 5) ? TG_STR("") : tg_bind_arg_str(L, 5);
    if (a.extra.n > INT32_MAX)
        tg_bind_arg_error(L, 5, "more than 2 GiB");
    return a;
}

static bool seal(const struct aead *a, EVP_CIPHER_CTX *ctx)
{
    int n = 0;
    int rest = 0;
    bool added = EVP_EncryptInit_ex2(ctx, a->cipher, bytes(a->key), bytes(a->nonce), NULL) == 1 &&
                 EVP_EncryptUpdate(ctx, NULL, &n, bytes(a->extra), (int)a->extra.n) == 1;
    return added && EVP_EncryptUpdate(ctx, a->out, &n, bytes(a->in), (int)a->in.n) == 1 &&
           EVP_EncryptFinal_ex(ctx, a->out + n, &rest) == 1 &&
           EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, a->out + a->in.n) == 1;
}

/* a->in has the tag at its end. False: it is not what was sealed. */
static bool unseal(const struct aead *a, EVP_CIPHER_CTX *ctx)
{
    int n = 0;
    int rest = 0;
    int size = (int)a->in.n - TAG_BYTES;
    unsigned char tag[TAG_BYTES];
    memcpy(tag, a->in.p + size, TAG_BYTES);
    bool added = EVP_DecryptInit_ex2(ctx, a->cipher, bytes(a->key), bytes(a->nonce), NULL) == 1 &&
                 EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, tag) == 1 &&
                 EVP_DecryptUpdate(ctx, NULL, &n, bytes(a->extra), (int)a->extra.n) == 1;
    return added && EVP_DecryptUpdate(ctx, a->out, &n, bytes(a->in), size) == 1 &&
           EVP_DecryptFinal_ex(ctx, a->out + n, &rest) == 1;
}

/* Runs `fn` with a context of its own; the answer is false, too, when there is no memory for it
 * (*ran tells). */
static bool with_context(const struct aead *a, bool (*fn)(const struct aead *, EVP_CIPHER_CTX *),
                         bool *ran)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    *ran = ctx != NULL;
    bool done = ctx != NULL && fn(a, ctx);
    EVP_CIPHER_CTX_free(ctx);
    ERR_clear_error();
    return done;
}

int tg_api_crypto_aead_seal(lua_State *L)
{
    struct aead a = check_aead(L);
    bool ran;
    a.out = lua_newuserdata(L, a.in.n + TAG_BYTES);
    if (!with_context(&a, seal, &ran))
        tg_crypto_raise(L);
    lua_pushlstring(L, (const char *)a.out, a.in.n + TAG_BYTES);
    return 1;
}

int tg_api_crypto_aead_open(lua_State *L)
{
    struct aead a = check_aead(L);
    bool ran;
    if (a.in.n < TAG_BYTES)
        return tg_bind_fail(L, "bad_input", "shorter than a tag of 16 bytes");
    a.out = lua_newuserdata(L, a.in.n);
    bool genuine = with_context(&a, unseal, &ran);
    if (!ran)
        tg_crypto_raise(L);
    if (!genuine)
        return tg_bind_fail(L, "bad_input", "not sealed with this key, nonce and additional data");
    lua_pushlstring(L, (const char *)a.out, a.in.n - TAG_BYTES);
    return 1;
}
