/* crypto_pbkdf2.c: tg.crypto.pbkdf2: PBKDF2 with HMAC (RFC 8018, 5.2), in slices.
 *
 *     DK = T_1 || T_2 || ...    T_i = U_1 xor U_2 xor ... xor U_c
 *     U_1 = HMAC(password, salt || i as 4 bytes)    U_j = HMAC(password, U_j-1)
 *
 * Deriving is slow on purpose: 100000 iterations of SHA-256 are some 50 ms. OpenSSL's own function
 * would hold the worker for all of them, so the loop over slices is Lua (lua/tidegate/steps.lua)
 * and this file does STEP iterations at a time, 0.3 ms or so. Between two of them the plugin may be
 * preempted or, when its CPU budget is used up, killed: a plugin that checks passwords declares
 * limits.cpu accordingly, and its operator allows it.
 *
 * The state is a userdata with a copy of password and salt; the HMAC context lives within a step
 * (its set-up costs four compressions in a step of a thousand).
 */
#include "base/banned.h"
#include "bind/crypto.h"
#include "bind/wrap.h"

#include <openssl/core_names.h>
#include <openssl/err.h>

#define STEP           500
#define ITERATIONS_MAX 10000000
#define OUT_MAX        1024 /* bytes of a derived key */
#define TEXT_MAX       4096 /* bytes of password and salt, each */

struct work {
    const EVP_MD *digest;
    size_t digest_size;
    uint64_t iterations;
    uint64_t left;  /* iterations of this block that are to be made */
    uint32_t block; /* number of the block that is made, from 1 */
    size_t done;    /* bytes of whole blocks */
    size_t size;    /* bytes asked for */
    struct tg_str password;
    struct tg_str salt;
    unsigned char u[EVP_MAX_MD_SIZE];
    unsigned char t[EVP_MAX_MD_SIZE];
    unsigned char out[OUT_MAX + EVP_MAX_MD_SIZE];
    char text[]; /* password, salt */
};

static struct tg_str arg_text(lua_State *L, int n)
{
    struct tg_str text = tg_bind_arg_str(L, n);
    if (text.n > TEXT_MAX)
        tg_bind_arg_error(L, n, "more than 4096 bytes");
    return text;
}

/* begin(...): the arguments of pbkdf2; the work, and true: there is more to do. */
int tg_api_crypto_pbkdf2(lua_State *L)
{
    const EVP_MD *digest = tg_crypto_arg_digest(L, 1);
    struct tg_str password = arg_text(L, 2);
    struct tg_str salt = arg_text(L, 3);
    uint64_t iterations = (uint64_t)tg_bind_arg_int(L, 4, 1, ITERATIONS_MAX);
    size_t size = (size_t)tg_bind_arg_int(L, 5, 1, OUT_MAX);
    struct work *work = lua_newuserdata(L, sizeof(*work) + password.n + salt.n);
    *work = (struct work){.digest = digest,
                          .digest_size = (size_t)EVP_MD_get_size(digest),
                          .iterations = iterations,
                          .left = iterations,
                          .block = 1,
                          .size = size};
    memcpy(work->text, password.p, password.n);
    memcpy(work->text + password.n, salt.p, salt.n);
    work->password = tg_str(work->text, password.n);
    work->salt = tg_str(work->text + password.n, salt.n);
    lua_pushboolean(L, true);
    return 2;
}

/* HMAC of `a` and `b` with the key that `mac` has, into `out`. */
static bool hmac(EVP_MAC_CTX *mac, struct tg_str a, struct tg_str b, unsigned char *out)
{
    size_t n;
    return EVP_MAC_init(mac, NULL, 0, NULL) == 1 &&
           EVP_MAC_update(mac, (const unsigned char *)a.p, a.n) == 1 &&
           EVP_MAC_update(mac, (const unsigned char *)b.p, b.n) == 1 &&
           EVP_MAC_final(mac, out, &n, EVP_MAX_MD_SIZE) == 1;
}

/* One iteration: the next U, and T with it. */
static bool iterate(struct work *work, EVP_MAC_CTX *mac)
{
    unsigned char number[4] = {(unsigned char)(work->block >> 24),
                               (unsigned char)(work->block >> 16),
                               (unsigned char)(work->block >> 8), (unsigned char)work->block};
    bool first = work->left == work->iterations;
    struct tg_str from = first ? work->salt : tg_str((const char *)work->u, work->digest_size);
    struct tg_str index = tg_str((const char *)number, first ? sizeof(number) : 0);
    if (!hmac(mac, from, index, work->u))
        return false;
    for (size_t i = 0; i < work->digest_size; i++)
        work->t[i] = first ? work->u[i] : work->t[i] ^ work->u[i];
    return true;
}

static bool run_step(struct work *work, EVP_MAC_CTX *mac)
{
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST,
                                         (char *)(uintptr_t)EVP_MD_get0_name(work->digest), 0),
        OSSL_PARAM_construct_end()};
    if (EVP_MAC_init(mac, (const unsigned char *)work->password.p, work->password.n, params) != 1)
        return false;
    for (unsigned i = 0; i < STEP && work->done < work->size; i++) {
        if (!iterate(work, mac))
            return false;
        if (--work->left > 0)
            continue;
        memcpy(work->out + work->done, work->t, work->digest_size);
        work->done += work->digest_size;
        work->left = work->iterations;
        work->block++;
    }
    return true;
}

/* step(work): whether there is more to do. */
static int step(lua_State *L)
{
    struct work *work = lua_touserdata(L, 1);
    EVP_MAC *hmac_mac = EVP_MAC_fetch(NULL, OSSL_MAC_NAME_HMAC, NULL);
    EVP_MAC_CTX *mac = hmac_mac != NULL ? EVP_MAC_CTX_new(hmac_mac) : NULL;
    bool ran = mac != NULL && run_step(work, mac);
    EVP_MAC_CTX_free(mac);
    EVP_MAC_free(hmac_mac);
    if (!ran)
        tg_crypto_raise(L);
    lua_pushboolean(L, work->done < work->size);
    return 1;
}

static int finish(lua_State *L)
{
    struct work *work = lua_touserdata(L, 1);
    lua_pushlstring(L, (const char *)work->out, work->size);
    OPENSSL_cleanse(work->u, sizeof(work->u) + sizeof(work->t) + sizeof(work->out));
    OPENSSL_cleanse(work->text, work->password.n);
    return 1;
}

void tg_bind_wrap_crypto(lua_State *L)
{
    static const lua_CFunction parts[] = {step, finish};
    tg_bind_wrap(L, "lua/tidegate/steps.lua", "pbkdf2", parts, TG_COUNT_OF(parts));
}
