/* client_hello.c: see client_hello.h. Numbers in a ClientHello are in network order; lists stand
 * behind their length in bytes. */
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

/* ---- Reading -----------------------------------------------------------------------------------
 */

struct bytes {
    const unsigned char *p;
    size_t n;
};

/* Takes `n` bytes off the front; where there are fewer, nothing, and nothing is left. */
static struct bytes take(struct bytes *from, size_t n)
{
    struct bytes taken = {from->p, n};
    if (n > from->n) {
        from->n = 0;
        taken.n = 0;
        return taken;
    }
    from->p += n;
    from->n -= n;
    return taken;
}

/* A number of `size` bytes; 0 where they are not there. */
static unsigned take_number(struct bytes *from, size_t size)
{
    struct bytes digits = take(from, size);
    unsigned value = 0;
    for (size_t i = 0; i < digits.n; i++)
        value = value << 8 | digits.p[i];
    return value;
}

/* What stands behind a length of `size` bytes. */
static struct bytes take_list(struct bytes *from, size_t size)
{
    size_t n = take_number(from, size);
    return take(from, n);
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

static void add_all(uint16_t *list, size_t *count, struct bytes numbers)
{
    while (numbers.n >= 2)
        add(list, count, take_number(&numbers, 2));
}

static void read_versions(struct bytes versions, struct tg_client_hello *out)
{
    out->version = 0;
    while (versions.n >= 2) {
        unsigned version = take_number(&versions, 2);
        if (!is_grease(version))
            out->version = TG_MAX(out->version, (uint16_t)version);
    }
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

static void read_protocol(struct bytes name, struct tg_client_hello *out)
{
    if (name.n == 0)
        return;
    bool plain = is_alnum(name.p[0]) && is_alnum(name.p[name.n - 1]);
    out->alpn[0] = plain ? (char)name.p[0] : hex_of(name.p, name.n, false);
    out->alpn[1] = plain ? (char)name.p[name.n - 1] : hex_of(name.p, name.n, true);
}

static void read_extension(unsigned type, struct bytes body, struct tg_client_hello *out)
{
    struct bytes list;
    add(out->extensions, &out->extension_count, type);
    switch (type) {
    case TLSEXT_TYPE_server_name:
        out->has_name = true;
        break;
    case TLSEXT_TYPE_supported_versions:
        read_versions(take_list(&body, 1), out);
        break;
    case TLSEXT_TYPE_application_layer_protocol_negotiation:
        list = take_list(&body, 2);
        read_protocol(take_list(&list, 1), out);
        break;
    case TLSEXT_TYPE_signature_algorithms:
        add_all(out->signatures, &out->signature_count, take_list(&body, 2));
        break;
    default:
        break;
    }
}

bool tg_client_hello_read(const unsigned char *message, size_t n, struct tg_client_hello *out)
{
    struct bytes rest = {message, n};
    *out = (struct tg_client_hello){.alpn = {'0', '0'}};
    if (take_number(&rest, 1) != SSL3_MT_CLIENT_HELLO)
        return false;
    rest = take_list(&rest, 3);
    out->version = (uint16_t)take_number(&rest, 2);
    (void)take(&rest, SSL3_RANDOM_SIZE);
    (void)take_list(&rest, 1); /* the session */
    add_all(out->ciphers, &out->cipher_count, take_list(&rest, 2));
    (void)take_list(&rest, 1); /* compression */
    for (struct bytes list = take_list(&rest, 2); list.n >= 4;) {
        unsigned type = take_number(&list, 2);
        read_extension(type, take_list(&list, 2), out);
    }
    return true;
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
