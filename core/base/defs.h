/* defs.h: the few macros that every unit needs. Nothing here has state or a cost at run time. */
#ifndef TG_BASE_DEFS_H
#define TG_BASE_DEFS_H

#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>

#define TG_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* The structure that holds `member` at `ptr`. */
#define TG_CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define TG_MIN(a, b) ((a) < (b) ? (a) : (b))
#define TG_MAX(a, b) ((a) > (b) ? (a) : (b))

#define TG_LIKELY(x)   __builtin_expect(!!(x), 1)
#define TG_UNLIKELY(x) __builtin_expect(!!(x), 0)

#define TG_MUST_USE          __attribute__((warn_unused_result))
#define TG_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define TG_NORETURN          __attribute__((noreturn))
#define TG_NOT_INLINED       __attribute__((noinline))
#define TG_UNUSED            __attribute__((unused))

/* True when the build watches memory: recyclers then hand every block back to the system at once,
 * so that the sanitizer sees each use after free. */
#if defined(__SANITIZE_ADDRESS__)
#define TG_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TG_ASAN 1
#endif
#endif
#ifndef TG_ASAN
#define TG_ASAN 0
#endif

#define TG_USEC_PER_SEC  UINT64_C(1000000)
#define TG_USEC_PER_MSEC UINT64_C(1000)

#endif
