/* plugins_internal.h: what plugins.c, plugins_chunk.c, plugins_message.c and plugins_defer.c call
 * of each other.
 *
 * All of it is about the plugin whose turn it is, r->plugins. One thread: the request's worker.
 */
#ifndef TG_GATEWAY_PLUGINS_INTERNAL_H
#define TG_GATEWAY_PLUGINS_INTERNAL_H

#include "gateway/plugins.h"

/* ---- plugins.c ---- */

/* The turn of `instance`, unless the request is none for it; the verdict as of tg_plugins_run(). */
enum tg_step tg_plugins_offer(struct tg_request *r,
                              const struct tg_instance_conf *instance) TG_MUST_USE;

/* What was put on the new r->plugins.run begins: bounds from the instance; then, with `nargs`
 * arguments on its stack, it runs. */
void tg_plugins_begin_run(struct tg_request *r);
enum tg_step tg_plugins_enter(struct tg_request *r, int nargs) TG_MUST_USE;

/* It failed for want of memory: its on_error decides. / The exchange is broken off: STOP. */
enum tg_step tg_plugins_fail_memory(struct tg_request *r) TG_MUST_USE;
enum tg_step tg_plugins_break_off(struct tg_request *r) TG_MUST_USE;

/* ---- plugins_chunk.c ---- */

/* The bytes that go along the chain: how many, pushed as one string (raises when memory is out),
 * dropped. */
size_t tg_plugins_chunk_size(const struct tg_plugin_run *p);
void tg_plugins_push_chunk(lua_State *L, const struct tg_plugin_run *p);
void tg_plugins_drop_chunk(struct tg_plugin_run *p);

/* The caller's bytes become ours, since the filter waits; false: no memory. */
bool tg_plugins_keep_chunk(struct tg_plugin_run *p) TG_MUST_USE;

/* What is left is moved to r->plugins.out; false: no memory. */
bool tg_plugins_hand_out_chunk(struct tg_plugin_run *p) TG_MUST_USE;

/* What the filter returned takes the place of the chunk. NULL, or what is wrong with it. */
const char *tg_plugins_take_results(struct tg_plugin_run *p);

/* ---- plugins_message.c ---- */

/* Goes on along the plugins of the message. */
enum tg_step tg_plugins_message_chain(struct tg_request *r) TG_MUST_USE;

/* What the plugin returned of the message. NULL, or what is wrong with it. */
const char *tg_plugins_take_verdict(struct tg_plugin_run *p);

/* ---- plugins_defer.c ---- */

/* Runs what was deferred, one after the other. */
enum tg_step tg_plugins_run_deferred(struct tg_request *r) TG_MUST_USE;

/* p->deferred, which is there, is over. */
void tg_plugins_end_deferred(struct tg_plugin_run *p);

#endif
