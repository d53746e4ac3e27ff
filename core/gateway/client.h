/* client.h: client connections of a worker, and the sockets that they come from.
 *
 * An acceptor watches one listening socket and opens a struct tg_client for each connection, within
 * limits.connection.total and .per_address; what is above is closed at once and counted.
 */
#ifndef TG_GATEWAY_CLIENT_H
#define TG_GATEWAY_CLIENT_H

#include "gateway/gate.h"
#include "net/listen.h"

/* Makes the acceptors of this worker fit the gate's snapshot: opens those that are missing on this
 * worker's socket of each listener, closes those whose listener is gone. The sockets stay the
 * set's. TG_E_NOT_FOUND: a socket is missing; TG_E_NOMEM. */
enum tg_err tg_acceptors_fit(struct tg_gate *gate, const struct tg_listen_set *sockets) TG_MUST_USE;

/* Serves the connected socket `fd` (taken over, also on failure) as if listener `index` of the
 * snapshot had accepted it from `peer`. TG_E_LIMIT: one connection too many, as accepting counts
 * them; TG_E_NOMEM. */
enum tg_err tg_client_adopt(struct tg_gate *gate, uint32_t index, int fd,
                            const struct tg_addr *peer) TG_MUST_USE;

/* Clients that are open go on with the listeners of the gate's snapshot; those whose listener is
 * gone end after their exchange. Part of tg_acceptors_fit(), for gates without sockets. */
void tg_clients_fit(struct tg_gate *gate);

/* Memory is short: closes connections that are idle, the least recently used first, some at a time,
 * and those that keep the gateway waiting: tg_h1_server_relieve(). */
void tg_clients_relieve(struct tg_gate *gate, uint64_t now);

/* Acceptors that stopped because of memory go on. */
void tg_acceptors_resume(struct tg_gate *gate);

/* Takes what waits in the queues and closes all acceptors. */
void tg_acceptors_close(struct tg_gate *gate);

/* Lets go of the acceptors that tg_acceptors_fit() or _close() closed: to be called in the round
 * after, by a task that was posted then. From now on nothing here knows their sockets, and another
 * thread may close them. */
void tg_acceptors_settle(struct tg_gate *gate);

/* Idle connections close now, the others after their exchange. */
void tg_clients_drain(struct tg_gate *gate);

/* All connections close now. */
void tg_clients_close(struct tg_gate *gate);

/* The process's count of connections per client address. */
enum tg_err tg_client_addresses_new(struct tg_shared_map **out) TG_MUST_USE;
void tg_client_addresses_free(struct tg_shared_map **map);

#endif
