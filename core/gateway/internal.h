/* internal.h: what the files of the request's way call of each other.
 *
 *   client.c   connections and their heads    request.c  life, states, routing, order of phases
 *   exchange.c what streams tell
 *   proxy.c    the exchange with the origin   forward.c  the head that goes to the origin
 *   attempt.c  which target, and which next   hedge.c    a second request beside the first
 *   relay.c    the answer to the client       tunnel.c   raw bytes after an upgrade
 *   edit.c     what plugins may change        answer.c   answers of our own
 *   hide.c     what the origin shall not see  consumer.c whose request it is
 *   decode.c   compressed bodies, for filters that want them decoded
 *   encode.c   bodies compressed for the client
 *   unpack.c   compressed bodies of requests
 *   rewrite.c  paths, queries and hosts       shape.c    which of several services
 *   mirror.c   copies for another service       ws.c       a WebSocket that is inspected: ws.h
 *
 * Nobody outside of this folder includes it; core/bind sees request.h.
 */
#ifndef TG_GATEWAY_INTERNAL_H
#define TG_GATEWAY_INTERNAL_H

#include "base/fmt.h"
#include "gateway/gate.h"
#include "http/call.h"

static inline uint64_t tg_request_now(const struct tg_request *r)
{
    return tg_loop_now(&r->gate->worker->loop);
}

/* ---- request.c ---- */

/* A request whose head is about to be parsed; NULL: no memory. `tls`: what its connection agreed
 * on; NULL: it is in clear. */
struct tg_request *tg_request_new(struct tg_gate *gate, const struct tg_listener_conf *listener,
                                  struct tg_stream *stream, const struct tg_addr *peer,
                                  struct tg_tls_facts *tls);

/* What plugins see of a handshake, in place of a request: it has a listener, a peer and `tls`, and
 * passes the certificate phase alone. NULL: no memory. `h` is borrowed until the end, which the
 * caller brings about, not while a plugin runs. */
struct tg_request *tg_request_new_handshake(struct tg_gate *gate,
                                            const struct tg_listener_conf *listener,
                                            const struct tg_addr *peer, struct tg_handshake *h,
                                            struct tg_tls_facts *tls);
void tg_request_end_handshake(struct tg_request *r);

/* Its head is good: on it goes. / It is not: the answer is `status`. */
void tg_request_start(struct tg_request *r);
void tg_request_refuse(struct tg_request *r, unsigned status, const char *reason);

/* Moves on to `to`; programmer error where the diagram in request.h has no such way. */
void tg_request_set_state(struct tg_request *r, enum tg_request_state to);

/* The exchange with the client is over, well or not: the origin is let go, then LOG and the end. */
void tg_request_finish(struct tg_request *r);

/* The client's answer breaks off here; then as above. */
void tg_request_break(struct tg_request *r, const char *error);

/* Memory is out: ends requests whose bodies are still coming with 503, the oldest first, some at a
 * time. */
void tg_requests_relieve(struct tg_gate *gate, uint64_t now);

/* Sets or clears the gateway's own timer of the request. */
enum tg_err tg_request_set_clock(struct tg_request *r, uint64_t deadline) TG_MUST_USE;
void tg_request_clear_clock(struct tg_request *r);

/* ---- exchange.c ---- */

/* What a client's stream tells the gateway; stream->owner is the struct tg_request. */
extern const struct tg_stream_events tg_exchange_events;

/* Bytes and end of the client's body, decoded: for the plugin that waits, else for the origin. */
void tg_request_take_body(struct tg_request *r, struct tg_str data);
void tg_request_take_body_end(struct tg_request *r, const struct tg_fields *trailers);

/* ---- answer.c ---- */

/* The body of a problem (RFC 9457), in the request's arena: it names the kind of failure and the
 * request, nothing from inside. `detail` and the plugin's name may be empty. {NULL, 0}: no memory.
 */
struct tg_str tg_answer_problem(struct tg_request *r, unsigned status, const char *code,
                                struct tg_str detail, struct tg_str plugin);

/* Prepares the answer for a failure, and says no more: the phase that runs ends with it. False: no
 * memory. */
bool tg_answer_prepare(struct tg_request *r, unsigned status, const char *code, const char *detail);

/* Answers with a problem+json body (RFC 9457): `code` is the machine's name for what happened. In
 * place of whatever was going on; breaks off where a head is out already. */
void tg_answer_error(struct tg_request *r, unsigned status, const char *code);

/* The same for a request that was refused: the code follows from the status, `detail` says why. */
void tg_answer_refusal(struct tg_request *r, unsigned status, const char *detail);

/* 503 with Retry-After, in place of whatever was going on, as above: one to three seconds, so that
 * those who were turned away together do not come back together. */
void tg_answer_overload(struct tg_request *r, const char *code);

/* A handshake of a WebSocket that is no good: 400, or 426 with the version that is spoken. */
void tg_answer_websocket(struct tg_request *r, unsigned status, const char *detail);

/* 405 with the Allow list (may be empty). */
void tg_answer_wrong_method(struct tg_request *r, struct tg_str allow);

/* 308 to the same place at https. */
void tg_answer_https(struct tg_request *r);

/* 204 with the Allow list, to OPTIONS; 200 with the head of a TRACE. */
void tg_answer_options(struct tg_request *r, struct tg_str allow);
void tg_answer_trace(struct tg_request *r);

/* The route's redirect. */
void tg_answer_redirect(struct tg_request *r);

/* ---- rewrite.c ---- */

/* What the route's strip_prefix and `rewrite` make of path, query and host, into r->out, unless a
 * plugin chose.
 * TG_E_INVALID: the captures do not make a path or a host; TG_E_NOMEM. */
enum tg_err tg_rewrite_apply(struct tg_request *r) TG_MUST_USE;

/* Writes the path of a service and a path that goes there, joined with exactly one slash. Where
 * nothing but "/" is left of `path`, the slash at the end is that of `asked` (what the client asked
 * for), or where that is "/" itself, the service's. */
void tg_rewrite_join(struct tg_fmt *f, struct tg_str base, struct tg_str path, struct tg_str asked);

/* Where the route's redirect leads. The port is the redirect's; else the scheme's own where it
 * names a scheme; else the one that the client addressed. Errors as above. */
enum tg_err tg_rewrite_location(struct tg_request *r, struct tg_str *out) TG_MUST_USE;

/* ---- shape.c ---- */

/* The service that canary or split choose, into r->service, with the plugins that run there (none
 * of its own where the route chooses late). */
void tg_shape_choose(struct tg_request *r);

/* True for `percent` (in hundredths) of all calls. */
bool tg_shape_takes(struct tg_request *r, uint32_t percent);

/* ---- proxy.c ---- */

void tg_proxy_start(struct tg_request *r);

/* Bytes and end of the client's body. */
void tg_proxy_body(struct tg_request *r, struct tg_str data);
void tg_proxy_body_end(struct tg_request *r, const struct tg_fields *trailers);

/* Lets the origin's connection go: reused where it may be. */
void tg_proxy_release(struct tg_request *r);

/* The origin did not say 100 (Continue) in time. */
void tg_proxy_continue(struct tg_request *r);

/* The pause before another attempt is over. */
void tg_proxy_again(struct tg_request *r);

/* Another connection to an origin for a tunnel that has lost its own. */
void tg_proxy_reopen(struct tg_request *r);

/* For hedge.c: who hears of the exchange at hand (owner: the request). */
extern const struct tg_call_events tg_proxy_events;

/* How to reach the target of `try`, or the one that a plugin chose, until `deadline`.
 * `room` is used as long as `target` is. */
void tg_proxy_reach(struct tg_request *r, const struct tg_try *try, uint64_t deadline, char *room,
                    struct tg_pool_target *target);

/* Bounds of an exchange that started at `started` (us). */
struct tg_call_limits tg_proxy_limits(const struct tg_request *r, uint64_t started);

/* Writes the framing fields and the empty line; returns how the body goes. */
enum tg_framing tg_proxy_write_framing(struct tg_request *r, struct tg_fmt *f);

void tg_proxy_log_failure(const struct tg_request *r, struct tg_str target, enum tg_err err,
                          const char *reason);

/* ---- attempt.c ---- */

/* Chooses the next target, or stays with the `same`, and opens the record of an attempt.
 * TG_E_UNAVAILABLE: a breaker is open (*breaker) or no target may be used; TG_E_NOMEM. */
enum tg_err tg_attempt_begin(struct tg_request *r, bool same, bool *breaker) TG_MUST_USE;

/* For hedge.c: whether there is a target that was not tried; one, counted in (errors as
 * tg_try_begin()); and the record of an attempt beside the one at hand (NULL: no memory). */
bool tg_attempt_has_other(const struct tg_request *r);
enum tg_err tg_attempt_choose(const struct tg_request *r, struct tg_try *try) TG_MUST_USE;
struct tg_attempt *tg_attempt_add_hedge(struct tg_request *r, const struct tg_try *try);

/* A head is there that counts as `status`. / The attempt failed before or after that. `stale`: it
 * says nothing of the origin. */
void tg_attempt_answered(struct tg_request *r, unsigned status);
void tg_attempt_failed(struct tg_request *r, enum tg_err err, bool connected, bool stale);

/* Its connection is let go of. A second call does nothing. */
void tg_attempt_end(struct tg_request *r);

/* After one that failed or whose status is listed: whether another may follow; *at: when (us), 0:
 * now. Takes a place in the budget of retries. */
bool tg_attempt_again(struct tg_request *r, uint64_t *at);

/* `data` of the client's body goes to the origin: kept for another attempt within bounds. */
void tg_attempt_keep(struct tg_request *r, struct tg_str data);

/* Until when an attempt that started at `started` must have its head, us. */
static inline uint64_t tg_attempt_deadline(const struct tg_request *r, uint64_t started)
{
    const struct tg_retry_conf *own = r->out.retry;
    uint64_t per_try = own != NULL ? own->per_try : r->service->policy.retry.per_try;
    return per_try > 0 ? TG_MIN(started + per_try, r->deadline) : r->deadline;
}

/* ---- forward.c ---- */

/* The field list for the origin, built once and kept in out.fields; TG_E_NOMEM. */
enum tg_err tg_forward_fields(struct tg_request *r) TG_MUST_USE;

/* Bytes that tg_forward_write() needs at most, and the head itself up to the framing fields. */
size_t tg_forward_size(const struct tg_request *r);
void tg_forward_write(struct tg_request *r, struct tg_fmt *f);

/* True when Connection names more than the usual words: fields of that name are not forwarded. */
bool tg_forward_names_fields(const struct tg_fields *fields);

/* Who the client is, as far as trusted proxies tell. */
void tg_forward_trust(struct tg_request *r);

/* The same head for another service: its path, and its Host where the route names none. */
void tg_forward_write_for(struct tg_request *r, const struct tg_service_conf *service,
                          struct tg_str target, struct tg_fmt *f);

/* Host that the origin is told. */
struct tg_str tg_forward_host(const struct tg_request *r);

/* ---- relay.c ---- */

/* An answer is ready in r->resp: filters, then the client. */
void tg_relay_start(struct tg_request *r);
void tg_relay_send(struct tg_request *r); /* after header_filter, whose last word counts */

/* Body from the origin, and its end. */
void tg_relay_body(struct tg_request *r, struct tg_str data);
void tg_relay_end(struct tg_request *r, const struct tg_fields *trailers);

/* What went in is there for the client: the origin pauses. */
void tg_relay_flush(struct tg_request *r);

/* A body filter that waited is done. */
void tg_relay_filtered(struct tg_request *r);

/* The client took what was pending. */
void tg_relay_drained(struct tg_request *r);

/* ---- edit.c ---- */

/* Applies what was recorded before there was a response. */
enum tg_err tg_edit_apply(struct tg_request *r) TG_MUST_USE;

/* ---- tunnel.c ---- */

/* The origin's head opens a tunnel. */
void tg_tunnel_start(struct tg_request *r);
void tg_tunnel_from_client(struct tg_request *r, struct tg_str data);
void tg_tunnel_from_origin(struct tg_request *r, struct tg_str data);
void tg_tunnel_client_ended(struct tg_request *r);
void tg_tunnel_origin_ended(struct tg_request *r);
void tg_tunnel_origin_lost(struct tg_request *r); /* its connection is gone */
void tg_tunnel_client_drained(struct tg_request *r);
void tg_tunnel_origin_drained(struct tg_request *r);
void tg_tunnel_clock(struct tg_request *r);

/* Both directions to the client have ended, and its stream belongs to its protocol again. */
void tg_tunnel_leave_client(struct tg_request *r);

/* Both directions have ended: so does the request. */
void tg_tunnel_finish(struct tg_request *r);

/* From tg_request_finish(): a tunnel is one no longer. */
void tg_tunnel_end(struct tg_request *r);

/* For who looks at what goes through. Reading hands over what is there, as read_body() does. */
void tg_tunnel_to_client(struct tg_request *r, struct tg_str data);
void tg_tunnel_to_origin(struct tg_request *r, struct tg_str data);
void tg_tunnel_read_client(struct tg_request *r, bool on);
void tg_tunnel_read_origin(struct tg_request *r, bool on);
void tg_tunnel_end_client(struct tg_request *r);
void tg_tunnel_end_origin(struct tg_request *r);
size_t tg_tunnel_client_pending(const struct tg_request *r);
size_t tg_tunnel_origin_pending(const struct tg_request *r);

#endif
