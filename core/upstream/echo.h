/* echo.h: an origin inside the process, so that nobody needs a second server to see what the
 * gateway sends: a service says `builtin = "echo"`.
 *
 * Each connection is a pair of sockets whose far end is served by http/h1_server: requests pass the
 * same code, byte for byte, as those to a real origin. The answer is a JSON object with method,
 * target, headers and body as they arrived:
 *
 *   {"method":"GET","target":"/x?y=1","version":"HTTP/1.1","headers":[["Host","a"],...],
 *    "body":"...","body_bytes":3,"body_truncated":false}
 *
 * Bounded: 64 KiB of a body are kept, whatever is in it, the rest is counted. The record has at
 * most 1 MiB: headers so large that they alone exceed it, which limits above the standard let
 * through, are answered with 431.
 */
#ifndef TG_UPSTREAM_ECHO_H
#define TG_UPSTREAM_ECHO_H

#include "http/h1_client.h"

/* Opens `client` on a new connection to an echo origin on this worker's loop; on_connected follows
 * as for a real one. The far end puts itself into `echoes` and frees itself when the connection
 * ends. */
enum tg_err tg_echo_open(struct tg_worker *worker, struct tg_list *echoes,
                         struct tg_h1_client *client, const struct tg_call_events *events,
                         void *owner) TG_MUST_USE;

/* Closes all far ends: the worker ends. */
void tg_echo_close_all(struct tg_list *echoes);

#endif
