/* sockets.h: the sockets that a configuration needs, for supervisor and gateway process.
 *
 * Each listener gets one socket per worker. The number of workers is settled when the program
 * starts and holds for its life, since sockets of a standing listener are neither added nor closed
 * (net/listen.h); a reload that changes settings.workers says so and waits for the next start.
 */
#ifndef TG_CLI_SOCKETS_H
#define TG_CLI_SOCKETS_H

#include "cli/boot.h"
#include "cli/control.h"

#include <stdio.h>

/* How many workers `snapshot` asks for: settings.workers, or where that is 0 one for each CPU that
 * the process may use; 1 to TG_LISTEN_SOCKETS_MAX. */
uint32_t tg_sockets_workers(const struct tg_snapshot *snapshot);

/* Opens what `snapshot` needs and `set` lacks, and names all its listeners as wanted; the caller
 * commits or rolls back. On failure every listener that cannot be opened is told on `diagnostics`,
 * a line each, and the set is rolled back. */
enum tg_err tg_sockets_open(struct tg_listen_set *set, const struct tg_snapshot *snapshot,
                            uint32_t workers, FILE *diagnostics) TG_MUST_USE;

/* Says in the log where `set` listens since the last commit, a line for each new listener of
 * `snapshot`, and warns when fewer files may be open than it lets clients in. */
void tg_sockets_announce(const struct tg_listen_set *set, const struct tg_snapshot *snapshot);

/* In the supervisor: sends the sockets that were added since the last commit, those of one listener
 * after the other from number *from on (0 at first), which follows. TG_E_AGAIN: the channel is
 * full; another call goes on where this one ended. */
enum tg_err tg_sockets_send(const struct tg_listen_set *set, uint32_t *from,
                            int control_fd) TG_MUST_USE;

/* In the gateway process: takes the descriptors of a SOCKETS message over into boot->sockets. What
 * goes wrong comes to light in tg_sockets_fit(), as a socket that is missing. */
void tg_sockets_receive(struct tg_boot *boot, struct tg_control_message *message);

/* In the gateway process, on reload: names the listeners of `snapshot` as wanted, opening sockets
 * under --single. On failure `reason` holds one line, and the caller rolls
 * back. */
enum tg_err tg_sockets_fit(struct tg_boot *boot, const struct tg_snapshot *snapshot,
                           char reason[TG_CONTROL_TEXT_MAX]) TG_MUST_USE;

#endif
