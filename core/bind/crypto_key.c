/* crypto_key.c: tg.crypto.key, sign and verify: asymmetric keys and signatures.
 *
 * A key is parsed once, in init or configure as a rule, from PEM: a private key (PKCS#8, SEC 1,
 * PKCS#1), a public key (SubjectPublicKeyInfo) or a certificate, whose public key it then is. Keys
 * that are encrypted with a passphrase are refused; nobody is ever asked for one.
 *
 *     algorithm                  key                      signature
 *     rsa-pss-sha256/384/512     RSA, 2048 to 4096 bits   RSASSA-PSS (RFC 8017, 8.1), the salt as
 *                                                         long as the digest
 *     rsa-pkcs1-sha256/384/512   the same                 RSASSA-PKCS1-v1_5 (RFC 8017, 8.2)
 *     ecdsa-sha256/384/512       P-256, P-384, P-521      DER: SEQUENCE of r and s (RFC 3279)
 *     ecdsa-p1363-sha256/...     the same                 r and s, each as long as the order of
 *                                                         the curve (RFC 7518, 3.4)
 *     ed25519                    Ed25519                  64 bytes (RFC 8032)
 *
 * The userdata owns the EVP_PKEY and is padded by what OpenSSL holds for it at most, so that keys
 * count in the plugin's account. OpenSSL's contexts live within one function without Lua calls.
 *
 * Time: nothing here can be preempted. Measured on a slow core: verifying takes 0.1 ms (RSA 2048:
 * 0.03 ms), signing 0.05 ms with P-256 and Ed25519, 1 ms with RSA 2048 and 6 ms with RSA 4096: more
 * than a slice, so requests should sign with elliptic curves. That holds for keys as they are made;
 * OpenSSL takes RSA keys whose parts are of any size, and curves by their equation, and would work
 * for seconds with those. So parts are measured, and curves go by their names.
 */
#include "base/banned.h"
#include "bind/crypto.h"
#include "bind/wrap.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#define PEM_MAX           16384
#define HELD              6144 /* bytes that OpenSSL holds for a key: RSA 4096 with its CRT parts */
#define SIGNATURE_MAX     512  /* RSA 4096 */
#define RSA_EXPONENT_BITS 64   /* of the public one, which is 65537 as a rule */

struct key {
    uint32_t magic;
    EVP_PKEY *pkey; /* owned */
    bool is_private;
    char held[HELD];
};

struct algorithm {
    const char *name;
    int type;    /* EVP_PKEY_... of the key */
    int padding; /* of RSA */
    int digest;  /* enum tg_digest; -1: the algorithm has its own */
    bool p1363;  /* r and s side by side; OpenSSL knows DER only */
};

static const struct algorithm algorithms[] = {
    {"rsa-pss-sha256", EVP_PKEY_RSA, RSA_PKCS1_PSS_PADDING, TG_DIGEST_SHA256, false},
    {"rsa-pss-sha384", EVP_PKEY_RSA, RSA_PKCS1_PSS_PADDING, TG_DIGEST_SHA384, false},
    {"rsa-pss-sha512", EVP_PKEY_RSA, RSA_PKCS1_PSS_PADDING, TG_DIGEST_SHA512, false},
    {"rsa-pkcs1-sha256", EVP_PKEY_RSA, RSA_PKCS1_PADDING, TG_DIGEST_SHA256, false},
    {"rsa-pkcs1-sha384", EVP_PKEY_RSA, RSA_PKCS1_PADDING, TG_DIGEST_SHA384, false},
    {"rsa-pkcs1-sha512", EVP_PKEY_RSA, RSA_PKCS1_PADDING, TG_DIGEST_SHA512, false},
    {"ecdsa-sha256", EVP_PKEY_EC, 0, TG_DIGEST_SHA256, false},
    {"ecdsa-sha384", EVP_PKEY_EC, 0, TG_DIGEST_SHA384, false},
    {"ecdsa-sha512", EVP_PKEY_EC, 0, TG_DIGEST_SHA512, false},
    {"ecdsa-p1363-sha256", EVP_PKEY_EC, 0, TG_DIGEST_SHA256, true},
    {"ecdsa-p1363-sha384", EVP_PKEY_EC, 0, TG_DIGEST_SHA384, true},
    {"ecdsa-p1363-sha512", EVP_PKEY_EC, 0, TG_DIGEST_SHA512, true},
    {"ed25519", EVP_PKEY_ED25519, 0, -1, false},
};

/* ---- Parsing --------------------------------------------------------------------------------- */

static EVP_PKEY *key_of_certificate(BIO *bio)
{
    X509 *certificate = PEM_read_bio_X509(bio, NULL, tg_crypto_no_passphrase, NULL);
    EVP_PKEY *pkey = certificate != NULL ? X509_get_pubkey(certificate) : NULL;
    X509_free(certificate);
    return pkey;
}

/* The key in `pem`, owned by the caller; NULL when there is none. */
static EVP_PKEY *parse(struct tg_str pem, bool *is_private)
{
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    if (bio == NULL)
        return NULL;
    EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, tg_crypto_no_passphrase, NULL);
    *is_private = pkey != NULL;
    if (pkey == NULL && BIO_reset(bio) == 1)
        pkey = PEM_read_bio_PUBKEY(bio, NULL, tg_crypto_no_passphrase, NULL);
    if (pkey == NULL && BIO_reset(bio) == 1)
        pkey = key_of_certificate(bio);
    BIO_free(bio);
    ERR_clear_error();
    return pkey;
}

/* Whether the part of the key has at most `bits` bits; one that it has not has none. */
static bool is_within(const EVP_PKEY *pkey, const char *part, int bits)
{
    BIGNUM *number = NULL;
    bool within = EVP_PKEY_get_bn_param(pkey, part, &number) != 1 || BN_num_bits(number) <= bits;
    BN_clear_free(number);
    ERR_clear_error();
    return within;
}

/* Two primes, each of half the modulus. */
static bool is_sound_rsa(const EVP_PKEY *pkey)
{
    static const char *const halves[] = {
        OSSL_PKEY_PARAM_RSA_FACTOR1, OSSL_PKEY_PARAM_RSA_FACTOR2, OSSL_PKEY_PARAM_RSA_EXPONENT1,
        OSSL_PKEY_PARAM_RSA_EXPONENT2, OSSL_PKEY_PARAM_RSA_COEFFICIENT1};
    int bits = EVP_PKEY_get_bits(pkey);
    bool sound = bits >= 2048 && bits <= 4096 &&
                 is_within(pkey, OSSL_PKEY_PARAM_RSA_E, RSA_EXPONENT_BITS) &&
                 is_within(pkey, OSSL_PKEY_PARAM_RSA_D, bits) &&
                 is_within(pkey, OSSL_PKEY_PARAM_RSA_FACTOR3, 0);
    for (size_t i = 0; sound && i < TG_COUNT_OF(halves); i++)
        sound = is_within(pkey, halves[i], (bits + 1) / 2);
    return sound;
}

static bool is_known_curve(const EVP_PKEY *pkey)
{
    static const char *const curves[] = {SN_X9_62_prime256v1, SN_secp384r1, SN_secp521r1};
    char name[64] = "";
    bool known = false;
    if (EVP_PKEY_get_group_name(pkey, name, sizeof(name), NULL) == 1) {
        for (size_t i = 0; i < TG_COUNT_OF(curves); i++)
            known = known || strcmp(name, curves[i]) == 0;
    }
    ERR_clear_error();
    return known;
}

static bool is_supported(const EVP_PKEY *pkey)
{
    switch (EVP_PKEY_get_base_id(pkey)) {
    case EVP_PKEY_RSA:
        return is_sound_rsa(pkey);
    case EVP_PKEY_EC:
        return is_known_curve(pkey);
    case EVP_PKEY_ED25519:
        return true;
    default:
        return false;
    }
}

int tg_api_crypto_key(lua_State *L)
{
    struct tg_str pem = tg_bind_arg_str(L, 1);
    if (pem.n > PEM_MAX)
        return tg_bind_fail(L, "bad_input", "more than 16 KiB");
    struct key *key = tg_bind_new_value(L, TG_SCOPE_KEY, sizeof(*key));
    key->pkey = parse(pem, &key->is_private);
    if (key->pkey == NULL)
        return tg_bind_fail(L, "bad_input",
                            "no private key, public key or certificate in PEM, or it is encrypted");
    if (!is_supported(key->pkey))
        return tg_bind_fail(L, "bad_input",
                            "expected RSA of 2048 to 4096 bits (two primes of the same size, a "
                            "small public exponent), P-256, P-384, P-521 or Ed25519");
    return 1;
}

void tg_bind_free_key(void *value)
{
    struct key *key = value;
    EVP_PKEY_free(key->pkey);
}

/* ---- Signatures ------------------------------------------------------------------------------ */

static const struct key *arg_key(lua_State *L, int n)
{
    const struct key *key = lua_touserdata(L, n);
    if (key == NULL || key->magic != TG_BIND_MAGIC + (uint32_t)TG_SCOPE_KEY || key->pkey == NULL)
        tg_bind_arg_error(L, n, "expected what tg.crypto.key() made");
    return key;
}

/* Argument `n`: an algorithm that fits `key`. */
static const struct algorithm *arg_algorithm(lua_State *L, int n, const struct key *key)
{
    struct tg_str name = tg_bind_arg_str(L, n);
    for (size_t i = 0; i < TG_COUNT_OF(algorithms); i++) {
        if (!tg_str_eq(name, tg_str_c(algorithms[i].name)))
            continue;
        if (algorithms[i].type != EVP_PKEY_get_base_id(key->pkey))
            tg_bind_arg_error(L, n, "the key is of another kind");
        return &algorithms[i];
    }
    tg_bind_arg_error(L, n,
                      "expected rsa-pss-, rsa-pkcs1-, ecdsa- or ecdsa-p1363- with sha256, sha384 "
                      "or sha512, or ed25519");
}

static const EVP_MD *digest_of(const struct algorithm *algorithm)
{
    return algorithm->digest < 0 ? NULL : tg_crypto_digest((enum tg_digest)algorithm->digest);
}

/* Whether the paddings of RSA could be set on `ctx`; true for other keys. */
static bool set_padding(EVP_PKEY_CTX *ctx, const struct algorithm *algorithm)
{
    if (algorithm->type != EVP_PKEY_RSA)
        return true;
    if (EVP_PKEY_CTX_set_rsa_padding(ctx, algorithm->padding) != 1)
        return false;
    return algorithm->padding != RSA_PKCS1_PSS_PADDING ||
           EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1;
}

/* Bytes of r, and of s, in a P1363 signature of the key. */
static size_t half_size(const struct key *key)
{
    return ((size_t)EVP_PKEY_get_bits(key->pkey) + 7) / 8;
}

/* Makes r and s of the DER signature of `*n` bytes in `out`. */
static bool to_p1363(const struct key *key, unsigned char *out, size_t *n)
{
    const unsigned char *at = out;
    int half = (int)half_size(key);
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &at, (long)*n);
    bool done = pair != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(pair), out, half) == half &&
                BN_bn2binpad(ECDSA_SIG_get0_s(pair), out + half, half) == half;
    *n = 2 * (size_t)half;
    ECDSA_SIG_free(pair);
    return done;
}

/* Makes DER of r and s, which are of the right length; `out` has room for SIGNATURE_MAX. 0: no
 * memory. */
static size_t to_der(const struct key *key, struct tg_str signature, unsigned char *out)
{
    const unsigned char *at = (const unsigned char *)signature.p;
    int half = (int)half_size(key);
    int n = 0;
    BIGNUM *r = BN_bin2bn(at, half, NULL);
    BIGNUM *s = BN_bin2bn(at + half, half, NULL);
    ECDSA_SIG *pair = ECDSA_SIG_new();
    if (pair != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(pair, r, s) == 1) {
        r = s = NULL; /* pair's */
        n = i2d_ECDSA_SIG(pair, &out);
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(pair);
    return n > 0 ? (size_t)n : 0;
}

static bool sign(const struct key *key, const struct algorithm *algorithm, struct tg_str data,
                 unsigned char *out, size_t *n)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_PKEY_CTX *ctx; /* md's */
    bool done = md != NULL &&
                EVP_DigestSignInit(md, &ctx, digest_of(algorithm), NULL, key->pkey) == 1 &&
                set_padding(ctx, algorithm) &&
                EVP_DigestSign(md, out, n, (const unsigned char *)data.p, data.n) == 1 &&
                (!algorithm->p1363 || to_p1363(key, out, n));
    EVP_MD_CTX_free(md);
    ERR_clear_error();
    return done;
}

/* 1: genuine; 0: not; -1: could not be told. */
static int verify(const struct key *key, const struct algorithm *algorithm, struct tg_str signature,
                  struct tg_str data)
{
    unsigned char der[SIGNATURE_MAX];
    int verdict = -1;
    if (algorithm->p1363) {
        if (signature.n != 2 * half_size(key))
            return 0;
        signature = tg_str((char *)der, to_der(key, signature, der));
        if (signature.n == 0)
            return -1;
    }
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_PKEY_CTX *ctx; /* md's */
    if (md != NULL && EVP_DigestVerifyInit(md, &ctx, digest_of(algorithm), NULL, key->pkey) == 1 &&
        set_padding(ctx, algorithm))
        verdict = EVP_DigestVerify(md, (const unsigned char *)signature.p, signature.n,
                                   (const unsigned char *)data.p, data.n) == 1;
    EVP_MD_CTX_free(md);
    ERR_clear_error();
    return verdict;
}

int tg_api_crypto_sign(lua_State *L)
{
    const struct key *key = arg_key(L, 1);
    const struct algorithm *algorithm = arg_algorithm(L, 2, key);
    struct tg_str data = tg_bind_arg_str(L, 3);
    unsigned char out[SIGNATURE_MAX];
    size_t n = sizeof(out);
    if (!key->is_private)
        tg_bind_arg_error(L, 1, "a public key verifies; signing takes the private one");
    if (!sign(key, algorithm, data, out, &n))
        tg_crypto_raise(L);
    lua_pushlstring(L, (const char *)out, n);
    return 1;
}

int tg_api_crypto_verify(lua_State *L)
{
    const struct key *key = arg_key(L, 1);
    const struct algorithm *algorithm = arg_algorithm(L, 2, key);
    struct tg_str signature = tg_bind_arg_str(L, 3);
    int verdict = verify(key, algorithm, signature, tg_bind_arg_str(L, 4));
    if (verdict < 0)
        tg_crypto_raise(L);
    lua_pushboolean(L, verdict);
    return 1;
}
