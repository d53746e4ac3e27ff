/* assert.h: statements about the program itself.
 *
 * tg_assert() stays on in release builds and means programmer error: nothing that a client, an
 * origin, a config or a plugin does may reach one. A failure prints where and what to stderr and
 * aborts; the supervisor then starts a new gateway process.
 *
 * tg_assert_slow() is for checks that cost more than a compare; it exists only where
 * TG_DEV is defined (sanitizer builds and unit tests).
 *
 * tg_magic_check() guards an object that came back through a void pointer: each such struct has
 * `uint32_t magic` set at init and cleared at release.
 */
#ifndef TG_BASE_ASSERT_H
#define TG_BASE_ASSERT_H

#include "base/defs.h"

TG_NORETURN void tg_assert_fail(const char *expr, const char *file, int line, const char *func);

#define tg_assert(expr)                                                                            \
    (TG_LIKELY(expr) ? (void)0 : tg_assert_fail(#expr, __FILE__, __LINE__, __func__))

#ifdef TG_DEV
#define tg_assert_slow(expr) tg_assert(expr)
#else
#define tg_assert_slow(expr) ((void)0)
#endif

#define tg_magic_check(obj, value) tg_assert((obj) != NULL && (obj)->magic == (value))

#endif
