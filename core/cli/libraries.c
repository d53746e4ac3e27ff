/* libraries.c: see libraries.h. */
#include "base/banned.h"
#include "cli/libraries.h"

#include "base/mem.h"

#include <ares.h>
#include <ev.h>
#include <openssl/crypto.h>

static void *resize(void *p, size_t size)
{
    if (size != 0)
        return tg_mem_realloc(TG_MEM_LIBRARY, p, size);
    tg_mem_free(TG_MEM_LIBRARY, p);
    return NULL;
}

static void *crypto_alloc(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return size != 0 ? tg_mem_alloc(TG_MEM_LIBRARY, size) : NULL;
}

static void *crypto_realloc(void *p, size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return resize(p, size);
}

static void crypto_free(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    tg_mem_free(TG_MEM_LIBRARY, p);
}

static void *event_realloc(void *p, long size)
{
    return resize(p, size > 0 ? (size_t)size : 0);
}

static void *dns_alloc(size_t size)
{
    return resize(NULL, size);
}

static void *dns_realloc(void *p, size_t size)
{
    return resize(p, size);
}

static void dns_free(void *p)
{
    tg_mem_free(TG_MEM_LIBRARY, p);
}

void tg_libraries_adopt(void)
{
    (void)CRYPTO_set_mem_functions(crypto_alloc, crypto_realloc, crypto_free);
    ev_set_allocator(event_realloc);
    (void)ares_library_init_mem(ARES_LIB_INIT_ALL, dns_alloc, dns_free, dns_realloc);
}
