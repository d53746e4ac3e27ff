/* library.h: Lua probes of the library `tg`, run in the access phase of a real VM.
 *
 * library_run(body) runs `body` with `tg`, `ctx`, `hex` (bytes of hex digits), `fails(with, fn,
 * ...)` (fn raises an error whose text has `with`) and `refuses(code, value, err)` (a result was
 * nil and an error of that code) at hand; a failed assertion in it fails the test with its message.
 */
#ifndef SPEC_BIND_LIBRARY_H
#define SPEC_BIND_LIBRARY_H

#include "bind/fixture.h"

#define LIBRARY_HEAD                                                                               \
    "local tg = require 'tidegate'\n"                                                              \
    "local hex = tg.hex.decode\n"                                                                  \
    "local function fails(with, fn, ...)\n"                                                        \
    "  local ok, err = pcall(fn, ...)\n"                                                           \
    "  assert(not ok, 'no error')\n"                                                               \
    "  if type(err) == 'table' then err = err.code .. ': ' .. err.message end\n"                   \
    "  assert(string.find(err, with, 1, true), err)\n"                                             \
    "end\n"                                                                                        \
    "local function refuses(code, value, err)\n"                                                   \
    "  assert(value == nil and type(err) == 'table', 'not refused')\n"                             \
    "  assert(err.code == code and #err.message > 0, err.code)\n"                                  \
    "end\n"                                                                                        \
    "local P = { name = 'probe', version = '1', api = 1, stage = 'edge' }\n"

/* Runs a whole plugin's phase access. */
static inline void library_run_plugin(const char *text)
{
    struct fixture f;
    fixture_open(&f, text, TG_ON_ERROR_FAIL);
    struct tg_request *r = fixture_request(&f);
    enum tg_step step = tg_plugins_run(r, TG_PHASE_ACCESS);
    if (r->error != NULL)
        print_error("%s\n", r->error);
    assert_int_equal(step, TG_STEP_NEXT);
    assert_null(r->error);
    fixture_end(r);
    fixture_close(&f);
}

#define library_run(body)                                                                          \
    library_run_plugin(LIBRARY_HEAD "function P.access(_, ctx)\n" body "\nend\nreturn P\n")

#endif
