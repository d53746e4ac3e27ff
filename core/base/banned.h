/* banned.h: functions whose use is a defect here, turned into compile errors.
 *
 * Every .c file includes this header first. Unbounded string functions, functions with hidden
 * global state and the raw allocator are poisoned; core/base/mem.c alone asks for the allocator
 * back by defining TG_MEM_ALLOWS_MALLOC before the include. The system headers whose inline
 * functions mention the names come first, so that poisoning does not break them.
 */
#ifndef TG_BASE_BANNED_H
#define TG_BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if __has_include(<luaconf.h>)
#include <luaconf.h>
#endif
#if __has_include(<nghttp2/nghttp2.h>) /* members of a struct have the names */
#include <nghttp2/nghttp2.h>
#endif

/* macros under _FORTIFY_SOURCE where the compiler is clang */
#undef sprintf
#undef vsprintf
#pragma GCC poison strcpy strcat strncpy strncat sprintf vsprintf gets strtok atoi atol atof
#pragma GCC poison asctime ctime gmtime localtime

#ifndef TG_MEM_ALLOWS_MALLOC
#pragma GCC poison malloc calloc realloc reallocarray strdup strndup posix_memalign aligned_alloc
#endif

#endif
