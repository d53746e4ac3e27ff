/*
 * ClientHellos: any bytes are read without harm, and make a fingerprint of the form that it has.
 */
#include "net/client_hello.h"

#include "base/assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_client_hello hello;
    char ja4[TG_TLS_JA4_MAX];
    (void)tg_client_hello_name(data, size);
    if (!tg_client_hello_read(data, size, &hello))
        return 0;
    tg_client_hello_ja4(&hello, ja4);
    tg_assert(strlen(ja4) == 36 && ja4[0] == 't' && ja4[10] == '_' && ja4[23] == '_');
    return 0;
}
