/*
 * Connections to other nodes' daemons: one for each address, opened when it is first needed and
 * kept for the next, for PEERS_MAX addresses; then one that nobody uses makes room.
 *
 * The client behind them, and its thread, is there from the first one on: a node that needs nobody
 * polls for nobody.
 *
 * Thread-safe.
 */
#ifndef NODE_PEERS_H
#define NODE_PEERS_H

#include "node/address.h"
#include "rpc/rpc.h"

#define PEERS_MAX 64u

struct peers;
struct peer;

/* `reach` is that of the daemon's own address: who can be asked by this machine alone asks nobody
 * else either. NULL when memory is out. */
struct peers *peers_create(enum address_reach reach);
/* Nobody uses any. NULL is allowed. */
void peers_destroy(struct peers *peers);

/*
 * The connection to an address, which does not wait for it to be there. To be given back.
 *
 * @return SIMPLER_EINVAL for what is no address; SIMPLER_EPERM for one beyond the daemon's reach;
 *         SIMPLER_ENOSPACE naming the limit.
 */
simpler_status peers_take(struct peers *peers, const char *address, struct peer **out);
void peers_give(struct peers *peers, struct peer *peer);
struct rpc_channel *peer_channel(const struct peer *peer);

#endif
