/* mirror.h: copies of requests for another service, whose answers nobody waits for.
 *
 *     tg_mirror_begin()   the original begins to go out: shall there be a copy?
 *     tg_mirror_body()    a piece of its body, which is copied up to the route's max_body
 *     tg_mirror_end()     it is whole: the copy leaves on a connection of its own
 *     tg_mirror_drop()    the request is over before its body was whole: no copy
 *
 * The original never waits and never fails for its copy: what cannot be had (memory, a place among
 * limits.mirror.copies, a connection) makes the copy end, is counted, and that is all. The copy
 * has the head that the service gets, with its own service's path and, unless the route says what
 * Host is, its target's name; it does not switch protocols and has no trailers. Its answer is read
 * up to TG_MIRROR_ANSWER bytes and thrown away.
 *
 * Ownership: a copy that waits for its body belongs to the request (r->mirror), one that is under
 * way to the gate. It holds the snapshot that it began with. Threads: the worker's.
 */
#ifndef TG_GATEWAY_MIRROR_H
#define TG_GATEWAY_MIRROR_H

#include "gateway/request.h"

#define TG_MIRROR_ANSWER 65536 /* bytes of an answer; more: the connection is closed */

/* The route has a mirror, and the request's head is about to be sent. Sets r->mirror, or not. */
void tg_mirror_begin(struct tg_request *r);

/* These take r->mirror, which is not NULL, and null it when it does not wait any more. */
void tg_mirror_body(struct tg_request *r, struct tg_str data);
void tg_mirror_end(struct tg_request *r);
void tg_mirror_drop(struct tg_request *r);

/* Ends all copies that are under way. */
void tg_mirrors_stop(struct tg_gate *gate);

#endif
