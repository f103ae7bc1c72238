/*
 * Having a node free what exec/staging_cache.h keeps there. All calls are made in the background,
 * and end before the node is closed.
 */
#ifndef EXEC_REMOTE_STAGING_H
#define EXEC_REMOTE_STAGING_H

#include "exec/remote_node.h"
#include "rpc/rpc.h"

/* What was taken, and is of no use. */
void remote_staging_free(struct remote_child *node, const struct transport_storage *place);
/* Give back what nobody has used since the last time. For the session's thread, or RPC callbacks.
 */
void remote_staging_look(struct remote_child *node);

/*
 * The node refused storage that was asked for since `mark`, with this code. True when it is to be
 * asked for again, as something that was kept there is freed: `again` is called for that, in here
 * or on the RPC client's thread.
 */
bool remote_staging_make_room(struct remote_child *node, struct staging_mark mark,
                              enum rpc_code code, void (*again)(void *context), void *context);

#endif
