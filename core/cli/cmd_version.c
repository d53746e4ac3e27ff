/* cmd_version.c: `tidegate version`: the program's version, and those of the libraries that it runs
 * with. A bug report that holds this output says what was running. */
#include "base/banned.h"
#include "cli/command.h"

#include "base/version.h"

#include <ev.h>
#include <llhttp.h>
#include <luajit.h>
#include <openssl/crypto.h>

static int version(const struct tg_args *args)
{
    (void)args;
    puts("tidegate " TG_VERSION);
    puts("  " LUAJIT_VERSION);
    printf("  libev %d.%d\n", ev_version_major(), ev_version_minor());
    printf("  llhttp %d.%d.%d\n", LLHTTP_VERSION_MAJOR, LLHTTP_VERSION_MINOR, LLHTTP_VERSION_PATCH);
    printf("  OpenSSL %s\n", OpenSSL_version(OPENSSL_VERSION_STRING));
    return TG_EXIT_OK;
}

const struct tg_command tg_command_version = {
    .name = "version",
    .operands = "",
    .summary = "print the version, and those of the libraries in use",
    .run = version,
};
