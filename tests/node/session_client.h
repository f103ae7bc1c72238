/* A client of a session, in C, that sees codes and notes as they come; and a counter on the node,
 * of which each run of FAKE_ANSWER that has it makes one more. Everything asserts. */
#ifndef TESTS_NODE_SESSION_CLIENT_H
#define TESTS_NODE_SESSION_CLIENT_H

#include "front_end.h"

struct rpc_channel *session_connect(struct front_end *front_end, uint64_t session);
struct msg_attached session_attach(struct rpc_channel *channel);
void session_detach(struct rpc_channel *channel);
void session_stop_task(struct rpc_channel *channel, uint64_t task);

struct msg_handle counter_make(struct rpc_channel *channel);
int64_t counter_read(struct rpc_channel *channel, const struct msg_handle *counter);

/* Have the engine answer what it holds. */
void release_held(struct front_end *front_end);

#endif
