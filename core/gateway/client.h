/* client.h: client connections of a worker, and the sockets that they come from.
 *
 * An acceptor watches one listening socket and opens a struct tg_client for each connection, within
 * limits.connection.total and .per_address; what is above is closed at once and counted. The
 * descriptor of the socket belongs to the process's listen set, not to the acceptor.
 */
#ifndef TG_GATEWAY_CLIENT_H
#define TG_GATEWAY_CLIENT_H

#include "gateway/gate.h"

/* Starts to accept on `fd` (borrowed) for the listener at address text `address` (borrowed,
 * outlives the acceptor): each connection looks its listener up by it, so reloads reach open
 * sockets. */
enum tg_err tg_acceptor_open(struct tg_gate *gate, int fd, struct tg_str address) TG_MUST_USE;

/* Takes what waits in the queues and closes all acceptors (not their sockets). */
void tg_acceptors_close(struct tg_gate *gate);

/* Closes the acceptor of one address: its listener is gone. */
void tg_acceptor_close(struct tg_gate *gate, struct tg_str address);

/* Idle connections close now, the others after their exchange. */
void tg_clients_drain(struct tg_gate *gate);

/* All connections close now. */
void tg_clients_close(struct tg_gate *gate);

/* The process's count of connections per client address. */
enum tg_err tg_client_addresses_new(struct tg_shared_map **out) TG_MUST_USE;
void tg_client_addresses_free(struct tg_shared_map **map);

#endif
