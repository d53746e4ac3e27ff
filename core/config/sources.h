/* sources.h: what one evaluation of a configuration read: files, lists of files, the environment.
 *
 * A configuration is a function of its sources: the same ones give the same snapshot. So they are
 * what a revision keeps, what travels from the supervisor to the gateway process, and what decides
 * whether anything has changed.
 *
 *     recording   each thing is read from the world once and noted, also that it was not there;
 *                 asked for again, it is what it was
 *     sealed      nothing is read from the world any more: what was not noted does not exist
 *
 * The values of secrets are among them, so they stay in memory: they are never written to a file,
 * and have no part in the digest, which anybody may see.
 *
 * Bounds: TG_SOURCES_MAX bytes with all names, TG_SOURCES_COUNT_MAX things.
 * Threads: one at a time, but for the count of references.
 */
#ifndef TG_CONFIG_SOURCES_H
#define TG_CONFIG_SOURCES_H

#include "base/err.h"
#include "base/str.h"

#define TG_SOURCES_MAX       ((size_t)64 << 20)
#define TG_SOURCES_COUNT_MAX 65536

enum tg_source_kind { TG_SOURCE_FILE, TG_SOURCE_GLOB, TG_SOURCE_ENV, TG_SOURCE_KINDS };

/* One thing; all slices are the sources'. */
struct tg_source_item {
    enum tg_source_kind kind;
    bool secret;        /* its text is not for the digest */
    bool pem;           /* a file that holds certificates or keys, or did before it was renewed */
    bool absent;        /* it could not be read: `text` says why (empty: it is not there) */
    struct tg_str name; /* path, pattern, name of the variable */
    struct tg_str text; /* GLOB: paths, each followed by a NUL */
};

struct tg_sources;

/* Empty, recording, with one reference, the caller's; NULL when memory is out. */
struct tg_sources *tg_sources_new(void) TG_MUST_USE;
struct tg_sources *tg_sources_ref(struct tg_sources *sources);
void tg_sources_unref(struct tg_sources **sources);

/* The thing of that kind and name: what was noted, else, while recording, what the world says now,
 * which is noted. `secret`: its text is not for the digest from now on. *out is valid as long as
 * the sources. TG_E_LIMIT: a bound; TG_E_NOMEM. */
enum tg_err tg_sources_get(struct tg_sources *sources, enum tg_source_kind kind, struct tg_str name,
                           bool secret, const struct tg_source_item **out) TG_MUST_USE;

/* The first thing that was read, and the one after `source`; NULL: there is none. */
const struct tg_source_item *tg_sources_first(const struct tg_sources *sources);
const struct tg_source_item *tg_sources_next(const struct tg_source_item *source);

void tg_sources_seal(struct tg_sources *sources);
bool tg_sources_are_sealed(const struct tg_sources *sources);

/* Bytes that they hold. */
size_t tg_sources_size(const struct tg_sources *sources);

/* Whether both hold the same. */
bool tg_sources_equal(const struct tg_sources *a, const struct tg_sources *b);

/* Of which sources something is asked: all, or files of PEM: certificates and keys. */
enum tg_sources_part { TG_SOURCES_ALL, TG_SOURCES_PEM };

/* Whether the world says something else of that part now. Reads every file of it anew. */
bool tg_sources_are_stale(const struct tg_sources *sources, enum tg_sources_part part);

/* The same things, sealed, but that part is what the world says now. Errors as for _get(). */
enum tg_err tg_sources_renew(const struct tg_sources *sources, enum tg_sources_part part,
                             struct tg_sources **out) TG_MUST_USE;

/* SHA-256 of names and texts but those of secrets, in lower case hexadecimal. */
#define TG_SOURCES_DIGEST_LEN 64
void tg_sources_digest(const struct tg_sources *sources, char out[TG_SOURCES_DIGEST_LEN + 1]);

/* A descriptor (close-on-exec, the caller's) of memory that holds them, for another process. */
enum tg_err tg_sources_send(const struct tg_sources *sources, int *fd) TG_MUST_USE;

/* What tg_sources_send() put into `fd` (borrowed), sealed. TG_E_PROTOCOL: it is something else. */
enum tg_err tg_sources_receive(int fd, struct tg_sources **out) TG_MUST_USE;

#endif
