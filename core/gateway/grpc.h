/* grpc.h: what the gateway itself knows of gRPC: who speaks it, how long the client waits, and what
 * its status is.
 *
 * Calls of gRPC are HTTP/2 requests like others: they stream both ways and their status is in the
 * trailers, so proxy and relay have nothing to do for them. Three things are done here:
 *
 *   deadline   grpc-timeout bounds the time to the answer's head, and goes on reduced by what has
 *              passed. Times of the route bound the head alone, so they do not cut what goes on: a
 *              stream may be longer than the wait for its head
 *   errors     an answer of this process's own (the gateway's, a plugin's) with a status from 400
 *              on becomes one of gRPC: HTTP 200 with grpc-status and grpc-message, and no body
 *   outcome    grpc-status of the answer, for the access log and metrics; one in the answer's head
 *              counts for retries and health as the HTTP status that means the same
 *
 * Threads: the request's worker.
 */
#ifndef TG_GATEWAY_GRPC_H
#define TG_GATEWAY_GRPC_H

#include "gateway/request.h"

#define TG_GRPC_STATUSES 17u

/* Finds out whether the client speaks gRPC: by Content-Type; into r->grpc. */
void tg_grpc_look(struct tg_request *r);

/* Bounds the request by the client's grpc-timeout, before it goes out. */
void tg_grpc_start(struct tg_request *r);

/* Writes what is left of the client's time as the value of grpc-timeout. */
void tg_grpc_write_timeout(const struct tg_request *r, uint64_t now, struct tg_fmt *f);

/* True for that field, of a request that has a time of its own. */
bool tg_grpc_is_timeout(const struct tg_request *r, const struct tg_field *field);

/* Makes an answer of gRPC of one that is this process's own, where the client speaks that, and it
 * is an error and has no grpc-status yet. TG_E_NOMEM. */
enum tg_err tg_grpc_answer(struct tg_request *r) TG_MUST_USE;

/* The HTTP status that the head of an answer to gRPC counts as: what the grpc-status in it means,
 * or its own. */
unsigned tg_grpc_judged(const struct tg_response_head *head);

/* The answer is complete: notes its grpc-status. */
void tg_grpc_note(struct tg_request *r);

/* Reads a grpc-timeout ("100m") into us, at most a year; false: it is none. */
bool tg_grpc_read_timeout(struct tg_str value, uint64_t *us);

#endif
