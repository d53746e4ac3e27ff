/* crypto_x509.c: tg.crypto.x509_parse: what a certificate says (RFC 5280).
 *
 * Everything is taken out of OpenSSL's object into one struct on the C stack before the first value
 * is pushed, since pushing may raise and the object would leak. What does not fit there is left
 * out: alternative names beyond NAMES_MAX bytes, a subject beyond TEXT_MAX. Nothing is verified:
 * neither the signature nor the dates.
 */
#include "base/banned.h"
#include "bind/crypto.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <time.h>

#define PEM_MAX      16384
#define TEXT_MAX     1024
#define NAMES_MAX    4096
#define DNS_NAME_MAX 255 /* longest DNS name; RFC 1035, 2.3.4 */

struct facts {
    char subject[TEXT_MAX];
    char issuer[TEXT_MAX];
    char serial[64]; /* hex */
    double not_before;
    double not_after;
    char names[NAMES_MAX]; /* DNS names, each terminated */
    size_t names_n;
    unsigned char fingerprint[32];
};

/* RFC 2253 text of a name. */
static bool write_name(const X509_NAME *name, char out[TEXT_MAX])
{
    BIO *bio = BIO_new(BIO_s_mem());
    bool written = bio != NULL && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0;
    int n = written ? BIO_read(bio, out, TEXT_MAX - 1) : -1;
    out[n > 0 ? n : 0] = '\0';
    BIO_free(bio);
    return written;
}

static double to_seconds(const ASN1_TIME *time)
{
    struct tm tm;
    return ASN1_TIME_to_tm(time, &tm) == 1 ? (double)timegm(&tm) : 0;
}

static void write_serial(const ASN1_INTEGER *serial, char out[64])
{
    BIGNUM *number = ASN1_INTEGER_to_BN(serial, NULL);
    char *hex = number != NULL ? BN_bn2hex(number) : NULL;
    snprintf(out, 64, "%s", hex != NULL ? hex : "");
    OPENSSL_free(hex);
    BN_free(number);
}

static void add_names(X509 *certificate, struct facts *facts)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_DNS)
            continue;
        const unsigned char *p = ASN1_STRING_get0_data(name->d.dNSName);
        size_t n = (size_t)ASN1_STRING_length(name->d.dNSName);
        bool sound = n > 0 && n <= DNS_NAME_MAX && memchr(p, '\0', n) == NULL;
        if (!sound || n + 1 > NAMES_MAX - facts->names_n)
            continue;
        memcpy(facts->names + facts->names_n, p, n);
        facts->names[facts->names_n + n] = '\0';
        facts->names_n += n + 1;
    }
    GENERAL_NAMES_free(names);
}

static bool take_facts_of(X509 *certificate, struct facts *facts)
{
    unsigned n = sizeof(facts->fingerprint);
    bool taken =
        write_name(X509_get_subject_name(certificate), facts->subject) &&
        write_name(X509_get_issuer_name(certificate), facts->issuer) &&
        X509_digest(certificate, tg_crypto_digest(TG_DIGEST_SHA256), facts->fingerprint, &n) == 1;
    if (taken) {
        write_serial(X509_get0_serialNumber(certificate), facts->serial);
        facts->not_before = to_seconds(X509_get0_notBefore(certificate));
        facts->not_after = to_seconds(X509_get0_notAfter(certificate));
        add_names(certificate, facts);
    }
    return taken;
}

static bool take_facts(struct tg_str pem, struct facts *facts)
{
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    X509 *certificate =
        bio != NULL ? PEM_read_bio_X509(bio, NULL, tg_crypto_no_passphrase, NULL) : NULL;
    bool taken = certificate != NULL && take_facts_of(certificate, facts);
    X509_free(certificate);
    BIO_free(bio);
    ERR_clear_error();
    return taken;
}

static void set_text(lua_State *L, const char *name, const char *value)
{
    lua_pushstring(L, value);
    lua_setfield(L, -2, name);
}

static void set_number(lua_State *L, const char *name, double value)
{
    lua_pushnumber(L, value);
    lua_setfield(L, -2, name);
}

/* Pushes what both forms of a certificate have, the DNS names as field `names`. */
static void push_facts(lua_State *L, const struct facts *facts, const char *names)
{
    int count = 0;
    lua_createtable(L, 0, 9);
    set_text(L, "subject", facts->subject);
    set_text(L, "issuer", facts->issuer);
    set_text(L, "serial", facts->serial);
    set_number(L, "not_before", facts->not_before);
    set_number(L, "not_after", facts->not_after);
    lua_newtable(L);
    for (size_t at = 0; at < facts->names_n; at += strlen(facts->names + at) + 1) {
        lua_pushstring(L, facts->names + at);
        lua_rawseti(L, -2, ++count);
    }
    lua_setfield(L, -2, names);
}

bool tg_crypto_push_x509(lua_State *L, X509 *certificate)
{
    struct facts facts = {.names_n = 0};
    char hex[2 * sizeof(facts.fingerprint) + 1];
    bool taken = take_facts_of(certificate, &facts);
    ERR_clear_error();
    if (!taken)
        return false;
    push_facts(L, &facts, "san");
    for (size_t i = 0; i < sizeof(facts.fingerprint); i++)
        snprintf(hex + 2 * i, 3, "%02x", facts.fingerprint[i]);
    set_text(L, "fingerprint", hex);
    return true;
}

int tg_api_crypto_x509_parse(lua_State *L)
{
    struct tg_str pem = tg_bind_arg_str(L, 1);
    struct facts facts = {.names_n = 0};
    if (pem.n > PEM_MAX || !take_facts(pem, &facts))
        return tg_bind_fail(L, "bad_input", "no certificate in PEM of at most 16 KiB");
    push_facts(L, &facts, "dns_names");
    lua_pushlstring(L, (const char *)facts.fingerprint, sizeof(facts.fingerprint));
    lua_setfield(L, -2, "fingerprint");
    return 1;
}
