/* client_hello.c: see client_hello.h. Lists in a ClientHello are of 16-bit numbers in network
 * order, behind their length in bytes. */
#include "base/banned.h"
#include "net/client_hello.h"

#include "base/fmt.h"

#include <openssl/evp.h>

struct tg_str tg_client_hello_name(const unsigned char *p, size_t n)
{
    /* list length (2), type (1), name length (2), name */
    if (n < 5 || ((size_t)p[0] << 8 | p[1]) != n - 2 || p[2] != TLSEXT_NAMETYPE_host_name)
        return TG_STR("");
    size_t length = (size_t)p[3] << 8 | p[4];
    if (length > n - 5 || memchr(p + 5, '\0', length) != NULL)
        return TG_STR("");
    return tg_str((const char *)p + 5, length);
}

/* 0a0a, 1a1a, ... fafa */
static bool is_grease(unsigned value)
{
    return (value & 0x0f0fu) == 0x0a0au && value >> 8 == (value & 0xffu);
}

static void add(uint16_t *list, size_t *count, unsigned value)
{
    if (!is_grease(value) && *count < TG_CLIENT_HELLO_LIST)
        list[(*count)++] = (uint16_t)value;
}

/* The numbers of `n` bytes at `p`. */
static void add_all(uint16_t *list, size_t *count, const unsigned char *p, size_t n)
{
    for (size_t i = 0; i + 1 < n; i += 2)
        add(list, count, (unsigned)p[i] << 8 | p[i + 1]);
}

static void read_extensions(SSL *ssl, struct tg_client_hello *out)
{
    int *present = NULL;
    size_t n = 0;
    if (SSL_client_hello_get1_extensions_present(ssl, &present, &n) != 1)
        return;
    for (size_t i = 0; i < n; i++)
        add(out->extensions, &out->extension_count, (unsigned)present[i]);
    OPENSSL_free(present);
}

static void read_version(SSL *ssl, struct tg_client_hello *out)
{
    const unsigned char *p;
    size_t n;
    uint16_t versions[TG_CLIENT_HELLO_LIST];
    size_t count = 0;
    out->version = (uint16_t)SSL_client_hello_get0_legacy_version(ssl);
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_supported_versions, &p, &n) != 1 || n < 1)
        return;
    add_all(versions, &count, p + 1, n - 1);
    out->version = 0;
    for (size_t i = 0; i < count; i++)
        out->version = TG_MAX(out->version, versions[i]);
}

static char hex_of(const unsigned char *p, size_t n, bool last)
{
    static const char digits[] = "0123456789abcdef";
    return last ? digits[p[n - 1] & 15] : digits[p[0] >> 4];
}

static bool is_alnum(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static void read_alpn(SSL *ssl, struct tg_client_hello *out)
{
    const unsigned char *p;
    size_t n;
    memcpy(out->alpn, "00", 2);
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &p,
                                  &n) != 1 ||
        n < 4 || p[2] == 0 || (size_t)p[2] + 3 > n)
        return;
    size_t length = p[2];
    p += 3;
    bool plain = is_alnum(p[0]) && is_alnum(p[length - 1]);
    out->alpn[0] = plain ? (char)p[0] : hex_of(p, length, false);
    out->alpn[1] = plain ? (char)p[length - 1] : hex_of(p, length, true);
}

void tg_client_hello_read(SSL *ssl, struct tg_client_hello *out)
{
    const unsigned char *p;
    size_t n;
    *out = (struct tg_client_hello){0};
    read_version(ssl, out);
    read_extensions(ssl, out);
    read_alpn(ssl, out);
    out->has_name = SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &n) == 1;
    n = SSL_client_hello_get0_ciphers(ssl, &p);
    add_all(out->ciphers, &out->cipher_count, p, n);
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_signature_algorithms, &p, &n) == 1 && n > 2)
        add_all(out->signatures, &out->signature_count, p + 2, n - 2);
}

/* ---- JA4 ---------------------------------------------------------------------------------------
 */

static int compare(const void *a, const void *b)
{
    return *(const uint16_t *)a - *(const uint16_t *)b;
}

static void add_list(struct tg_fmt *f, const uint16_t *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            tg_fmt_char(f, ',');
        tg_fmt_hex(f, list[i], 4);
    }
}

/* The first 12 digits of the SHA-256; of nothing: zeroes. */
static void add_digest(struct tg_fmt *f, const struct tg_fmt *text)
{
    unsigned char digest[EVP_MAX_MD_SIZE] = {0};
    if (text->n > 0)
        EVP_Digest(text->p, text->n, digest, NULL, EVP_sha256(), NULL);
    for (int i = 0; i < 6; i++)
        tg_fmt_hex(f, digest[i], 2);
}

static const char *version_text(uint16_t version)
{
    switch (version) {
    case TLS1_3_VERSION:
        return "13";
    case TLS1_2_VERSION:
        return "12";
    case TLS1_1_VERSION:
        return "11";
    case TLS1_VERSION:
        return "10";
    default:
        return "00";
    }
}

void tg_client_hello_ja4(struct tg_client_hello *hello, char out[TG_TLS_JA4_MAX])
{
    char room[2 * TG_CLIENT_HELLO_LIST * 5];
    uint16_t rest[TG_CLIENT_HELLO_LIST];
    size_t rest_n = 0;
    struct tg_fmt f;
    struct tg_fmt text;
    qsort(hello->ciphers, hello->cipher_count, sizeof(uint16_t), compare);
    qsort(hello->extensions, hello->extension_count, sizeof(uint16_t), compare);
    for (size_t i = 0; i < hello->extension_count; i++) {
        uint16_t id = hello->extensions[i];
        if (id != TLSEXT_TYPE_server_name &&
            id != TLSEXT_TYPE_application_layer_protocol_negotiation)
            rest[rest_n++] = id;
    }
    tg_fmt_init(&f, out, TG_TLS_JA4_MAX);
    tg_fmt_printf(&f, "t%s%c%02zu%02zu%c%c_", version_text(hello->version),
                  hello->has_name ? 'd' : 'i', TG_MIN(hello->cipher_count, 99u),
                  TG_MIN(hello->extension_count, 99u), hello->alpn[0], hello->alpn[1]);
    tg_fmt_init(&text, room, sizeof(room));
    add_list(&text, hello->ciphers, hello->cipher_count);
    add_digest(&f, &text);
    tg_fmt_char(&f, '_');
    tg_fmt_init(&text, room, sizeof(room));
    add_list(&text, rest, rest_n);
    if (rest_n > 0 && hello->signature_count > 0)
        tg_fmt_char(&text, '_');
    add_list(&text, hello->signatures, hello->signature_count);
    add_digest(&f, &text);
    tg_fmt_char(&f, '\0');
}
