/*
 * PROXY headers: any bytes are read without harm; what was read is written and read again as the
 * same; a header that is cut anywhere is not whole yet, never another header.
 */
#include "net/proxy_header.h"

#include "base/assert.h"

static void check(const char *p, const struct tg_proxy_header *header)
{
    struct tg_proxy_header again;
    char room[TG_PROXY_HEADER_MAX];
    tg_assert(header->size > 0 && header->size <= TG_PROXY_HEADER_MAX);
    for (size_t n = 0; n < header->size; n++)
        tg_assert(tg_proxy_header_read(p, n, &again) == TG_E_AGAIN);
    for (int version = 1; version <= 2; version++) {
        size_t n = tg_proxy_header_write(room, version, &header->client, &header->local);
        tg_assert(n > 0 && tg_proxy_header_read(room, n, &again) == TG_OK && again.size == n);
        if (header->client.len == 0 || header->local.len == 0 ||
            header->client.u.any.sa_family != header->local.u.any.sa_family)
            continue;
        tg_assert(tg_addr_eq(&again.client, &header->client));
        tg_assert(tg_addr_eq(&again.local, &header->local));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_proxy_header header;
    if (tg_proxy_header_read((const char *)data, size, &header) == TG_OK) {
        tg_assert(header.size <= size);
        check((const char *)data, &header);
    }
    return 0;
}
