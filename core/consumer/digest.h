/* digest.h: what is kept of a credential: its HMAC-SHA-256 under a secret of this process.
 *
 * A store never keeps the value itself. It looks a digest up by some of its bytes, which nobody
 * outside can choose or predict, so the time that a look-up takes tells nothing about stored keys;
 * then it compares all of them in constant time. A hash that is only keyed (SipHash) would find as
 * well, but who reads the process's memory could compute a key that fits; from an HMAC he cannot.
 *
 * The kind is part of what is digested: a value stored as one kind is not found as another. The
 * secret is drawn at the first use and lives as long as the process, so digests mean nothing in
 * another one. Keys that people can guess stay guessable for who has both secret and digest: they
 * should be random, and long.
 *
 * Threads: any. Cost: some 200 ns for a short value, by OpenSSL with the CPU's instructions.
 */
#ifndef TG_CONSUMER_DIGEST_H
#define TG_CONSUMER_DIGEST_H

#include "base/err.h"
#include "consumer/kind.h"

#define TG_CREDENTIAL_DIGEST 32 /* bytes */

/* The digest of `value` as a credential of `kind`. TG_E_NOMEM. */
enum tg_err tg_credential_digest(enum tg_credential_kind kind, struct tg_str value,
                                 unsigned char *out) TG_MUST_USE;

/* Whether two digests are equal, in a time that does not tell where they differ. */
bool tg_credential_digest_eq(const unsigned char *a, const unsigned char *b);

#endif
