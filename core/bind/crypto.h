/* crypto.h: what the files of tg.crypto share: algorithms of OpenSSL, fetched once.
 *
 * OpenSSL 3 looks an algorithm up by name at each use unless it was fetched beforehand, which costs
 * more than hashing a short text. So all of them are fetched at the first use in the process and
 * kept until it ends. Threads: any; the first use is guarded by pthread_once.
 */
#ifndef TG_BIND_CRYPTO_H
#define TG_BIND_CRYPTO_H

#include "bind/object.h"

#include <openssl/evp.h>

enum tg_digest { TG_DIGEST_SHA256, TG_DIGEST_SHA384, TG_DIGEST_SHA512, TG_DIGESTS };

/* The algorithm; never NULL in a process that passed its first use (it ends otherwise: an OpenSSL
 * without SHA-2 is a broken installation). */
const EVP_MD *tg_crypto_digest(enum tg_digest digest);

/* The digest that argument `n` names: "sha256", "sha384" or "sha512". Raises for others. */
const EVP_MD *tg_crypto_arg_digest(lua_State *L, int n);

/* For PEM readers: gives no passphrase, where OpenSSL would ask for one at the terminal. */
int tg_crypto_no_passphrase(char *room, int size, int writing, void *arg);

/* Raises that OpenSSL could not do what was asked, for want of memory in all likelihood. The
 * thread's queue of OpenSSL errors is emptied. */
TG_NORETURN void tg_crypto_raise(lua_State *L);

/* Pushes a table of what the certificate says, with `san` (DNS names) and `fingerprint` (SHA-256,
 * hex); false, and nothing is pushed, where it cannot be read. Raises when memory is out. */
bool tg_crypto_push_x509(lua_State *L, X509 *certificate);

#endif
