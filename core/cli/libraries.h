/* libraries.h: libraries that let us, allocate through base/mem: OpenSSL, libev and c-ares.
 *
 * What they hold is then in an account (TG_MEM_LIBRARY, of the reserve of settings.memory).
 * LuaJIT has an allocator of its own (script/alloc.h), expressions are given base/mem by
 * route/regex. What is left, such as stacks and the C library's own buffers, is seen in the
 * resident memory of the process.
 */
#ifndef TG_CLI_LIBRARIES_H
#define TG_CLI_LIBRARIES_H

/* Once, before any library is used. */
void tg_libraries_adopt(void);

#endif
