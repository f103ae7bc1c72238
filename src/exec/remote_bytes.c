/* Which transport moves bytes to and from a node, and how many it has moved. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "exec/node_session.h"
#include "exec/remote_node.h"
#include "fabric/fabric.h"
#include "rpc/messages.h"
#include "rpc/rpc.h"

#define PATIENT_MS 1000u
#define AGAIN_MS   10
/* How long `auto` does without a fabric that has failed. */
#define FABRIC_REST_MS 1000u

static const char *const names[REMOTE_TRANSPORTS] = {
	[SIMPLER_TRANSPORT_AUTO] = "auto",
	[SIMPLER_TRANSPORT_STREAM] = "stream",
	[SIMPLER_TRANSPORT_SHM] = "shm",
	[SIMPLER_TRANSPORT_FABRIC] = "fabric",
};

/* --- turning to another life --- */

bool remote_begin_turn(struct remote_child *node)
{
	bool begins;

	pthread_mutex_lock(&node->lock);
	begins = node->turning = !node->closing;
	pthread_mutex_unlock(&node->lock);
	return begins;
}

void remote_end_turn(struct remote_child *node)
{
	pthread_mutex_lock(&node->lock);
	node->turning = false;
	(void)pthread_cond_broadcast(&node->answered);
	pthread_mutex_unlock(&node->lock);
}

void remote_stop_turns(struct remote_child *node)
{
	pthread_mutex_lock(&node->lock);
	node->closing = true;
	while (node->turning)
		(void)pthread_cond_wait(&node->answered, &node->lock);
	pthread_mutex_unlock(&node->lock);
}

static bool is_closing(struct remote_child *node)
{
	bool closing;

	pthread_mutex_lock(&node->lock);
	closing = node->closing;
	pthread_mutex_unlock(&node->lock);
	return closing;
}

/* Of a way to the bytes of a session that has just begun there: a node whose engine has just begun
 * cannot tell it of the session's memory yet. */
static simpler_status try_for_a_while(struct remote_child *node,
                                      simpler_status (*work)(struct remote_child *node))
{
	const struct timespec moment = { .tv_nsec = AGAIN_MS * CLOCK_MS };
	int64_t until = clock_after_ms(PATIENT_MS);
	simpler_status status = work(node);

	while (status == SIMPLER_EUNAVAILABLE && clock_now() < until && !is_closing(node)) {
		(void)nanosleep(&moment, NULL);
		status = work(node);
	}
	return status;
}

/* --- shared memory --- */

void remote_share_memory(struct remote_child *node)
{
	struct transport **shm = &node->transports[SIMPLER_TRANSPORT_SHM];
	char address[NODE_SESSION_SHM_MAX + 1];

	node_session_shm_address(node->attachment, address);
	atomic_store(&node->shm_life, remote_life(&node->child));
	if (address[0] != '\0' &&
	    shm_transport_create(address, node_session_id(node->session), shm) != SIMPLER_OK)
		simpler_log(SIMPLER_LOG_DEBUG, "%s shares no memory with this process: %s",
		            node->child.name, simpler_last_error_step(0));
}

static simpler_status turn_memory(struct remote_child *node)
{
	char address[NODE_SESSION_SHM_MAX + 1];

	node_session_shm_address(node->attachment, address);
	if (address[0] == '\0')
		return error_raise(SIMPLER_EPERM, "it does not share memory any more");
	return shm_transport_turn(node->transports[SIMPLER_TRANSPORT_SHM], address,
	                          node_session_id(node->session));
}

void remote_share_memory_again(struct remote_child *node, uint64_t life)
{
	if (!node->transports[SIMPLER_TRANSPORT_SHM] || atomic_load(&node->shm_life) == life)
		return;
	if (try_for_a_while(node, turn_memory) == SIMPLER_OK)
		atomic_store(&node->shm_life, life);
	else
		simpler_log(SIMPLER_LOG_INFO, "%s shares no memory with this process any more: %s",
		            node->child.name, simpler_last_error_step(0));
}

/* --- the fabric --- */

void remote_use_fabric(struct exec_child *child, struct fabric *fabric)
{
	struct remote_child *node = (struct remote_child *)child;

	node->fabric = fabric;
	(void)snprintf(node->fabric_why, sizeof(node->fabric_why), "%s",
	               "this worker has no fabric: see simpler_worker_options.fabric");
}

static simpler_status take_endpoint(struct remote_child *node, const uint8_t *data, size_t size)
{
	struct transport **fabric = &node->transports[SIMPLER_TRANSPORT_FABRIC];
	struct msg_fabric_joined joined;
	struct fabric_address address;
	simpler_status status;
	struct bump bump;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	status = msg_fabric_joined_decode(data, size, &bump, &joined);
	if (status == SIMPLER_OK) {
		static_assert(MSG_FABRIC_ADDRESS_MAX == FABRIC_ADDRESS_MAX, "the same address");
		address.size = (uint8_t)joined.address.size;
		memcpy(address.bytes, joined.address.data, joined.address.size);
		if (*fabric)
			fabric_transport_turn(*fabric, &address);
		else
			status = fabric_transport_create(node->fabric, &address, fabric);
	}
	bump_release(&bump);
	return status;
}

static simpler_status join(struct remote_child *node)
{
	struct msg_fabric message;
	struct rpc_buffer buffer;
	uint8_t *answer;
	size_t size;
	simpler_status status;

	(void)snprintf(message.provider, sizeof(message.provider), "%s",
	               fabric_provider_name(fabric_provider(node->fabric)));
	status = msg_fabric_encode(&message, &buffer);
	if (status == SIMPLER_OK)
		status = rpc_unary_wait(node->channel, MSG_JOIN_FABRIC, clock_after_ms(PATIENT_MS),
		                        false, &buffer, &answer, &size);
	if (status != SIMPLER_OK)
		return status;
	status = take_endpoint(node, answer, size);
	free(answer);
	return status;
}

static simpler_status join_in_life(struct remote_child *node, uint64_t life)
{
	simpler_status status = try_for_a_while(node, join);

	if (status == SIMPLER_OK)
		atomic_store(&node->fabric_life, life);
	return status;
}

void remote_join_fabric(struct remote_child *node)
{
	if (!node->fabric || join_in_life(node, remote_life(&node->child)) == SIMPLER_OK)
		return;
	(void)snprintf(node->fabric_why, sizeof(node->fabric_why), "%s",
	               simpler_last_error_step(0));
	simpler_log(SIMPLER_LOG_INFO, "no fabric leads to %s: %s", node->child.name,
	            node->fabric_why);
}

/* A node that had none when it was connected to is left at that. */
void remote_rejoin_fabric(struct remote_child *node, uint64_t life)
{
	if (!node->transports[SIMPLER_TRANSPORT_FABRIC] || atomic_load(&node->fabric_life) == life)
		return;
	if (join_in_life(node, life) == SIMPLER_OK)
		atomic_store(&node->fabric_again, 0);
	else
		simpler_log(SIMPLER_LOG_INFO, "no fabric leads to %s any more: %s",
		            node->child.name, simpler_last_error_step(0));
}

/* Until it was turned to it is other memory than that of the session there. */
static struct transport *shm_of(struct remote_child *node)
{
	return atomic_load(&node->shm_life) == remote_life(&node->child)
	               ? node->transports[SIMPLER_TRANSPORT_SHM]
	               : NULL;
}

static struct transport *fabric_of(struct remote_child *node)
{
	return atomic_load(&node->fabric_life) == remote_life(&node->child)
	               ? node->transports[SIMPLER_TRANSPORT_FABRIC]
	               : NULL;
}

static bool reaches(struct transport *transport, const struct transport_storage *storage)
{
	return transport && (!storage || transport->ops->reaches(transport, storage));
}

static void tell_auto(struct remote_child *node, simpler_transport chosen)
{
	if (!atomic_exchange(&node->told_auto, true))
		simpler_log(SIMPLER_LOG_INFO,
		            "the bytes of tensors go to %s by the transport '%s', which 'auto' "
		            "chose%s",
		            node->child.name, names[chosen],
		            chosen == SIMPLER_TRANSPORT_SHM
		                    ? ""
		                    : ": it shares no memory with this process");
}

static struct transport *choose_auto(struct remote_child *node,
                                     const struct transport_storage *storage)
{
	simpler_transport chosen = SIMPLER_TRANSPORT_STREAM;

	atomic_fetch_add_explicit(&node->auto_moves, 1, memory_order_relaxed);
	if (reaches(shm_of(node), storage))
		chosen = SIMPLER_TRANSPORT_SHM;
	else if (reaches(fabric_of(node), storage) &&
	         clock_now() >= atomic_load(&node->fabric_again))
		chosen = SIMPLER_TRANSPORT_FABRIC;
	tell_auto(node, chosen);
	return node->transports[chosen];
}

bool remote_fell_back(struct remote_child *node, simpler_transport choice,
                      const struct transport *transport, const struct error *error)
{
	const struct transport *fabric = node->transports[SIMPLER_TRANSPORT_FABRIC];
	bool first;

	if (choice != SIMPLER_TRANSPORT_AUTO || !transport || transport != fabric ||
	    error->status == SIMPLER_ECANCELLED || error->status == SIMPLER_EDEADLINE)
		return false;
	first = atomic_fetch_add(&node->fabric_fallbacks, 1) == 0;
	atomic_store(&node->fabric_again, clock_after_ms(FABRIC_REST_MS));
	simpler_log(first ? SIMPLER_LOG_WARN : SIMPLER_LOG_DEBUG,
	            "the fabric to %s failed, and 'auto' goes on by a stream: %s", node->child.name,
	            error_step(error, 0));
	return true;
}

static const char *why_not(const struct remote_child *node, simpler_transport choice,
                           const struct transport *transport)
{
	if (transport)
		return choice == SIMPLER_TRANSPORT_SHM
		               ? "the tensor is not in the memory that the node shares with this "
		                 "process"
		               : "the node has not registered the tensor for it";
	if (node->transports[choice])
		return "it led to a session that the node has let go of since, or to a daemon that "
		       "was started anew";
	if (choice == SIMPLER_TRANSPORT_SHM)
		return "the node shares no memory with this process";
	return node->fabric_why;
}

simpler_status remote_choose(struct remote_child *node, simpler_transport choice,
                             const struct transport_storage *storage, struct transport **out)
{
	if ((unsigned)choice >= REMOTE_TRANSPORTS)
		return error_raise(SIMPLER_EINVAL, "%d is no transport (simpler_transport)",
		                   (int)choice);
	if (choice == SIMPLER_TRANSPORT_AUTO) {
		*out = choose_auto(node, storage);
		return SIMPLER_OK;
	}
	*out = choice == SIMPLER_TRANSPORT_SHM      ? shm_of(node)
	       : choice == SIMPLER_TRANSPORT_FABRIC ? fabric_of(node)
	                                            : node->transports[choice];
	if (reaches(*out, storage))
		return SIMPLER_OK;
	return error_raise(
		SIMPLER_EUNAVAILABLE,
		"the transport '%s' was named, and %s; name another or leave it to 'auto'",
		names[choice], why_not(node, choice, *out));
}

static void count(struct remote_bytes *bytes, const struct transport *transport)
{
	if (!transport)
		return;
	bytes->sent = atomic_load_explicit(&transport->sent, memory_order_relaxed);
	bytes->received = atomic_load_explicit(&transport->received, memory_order_relaxed);
}

void remote_count(struct exec_child *child, struct remote_traffic *out)
{
	struct remote_child *node = (struct remote_child *)child;

	*out = (struct remote_traffic){ .auto_moves = atomic_load(&node->auto_moves) };
	count(&out->stream, node->transports[SIMPLER_TRANSPORT_STREAM]);
	count(&out->shm, node->transports[SIMPLER_TRANSPORT_SHM]);
	count(&out->fabric, node->transports[SIMPLER_TRANSPORT_FABRIC]);
	out->fabric_fallbacks = atomic_load(&node->fabric_fallbacks);
	out->staging_reused = atomic_load(&node->staging_reused);
	out->inlined.sent = atomic_load(&node->inline_sent);
	out->inlined.received = atomic_load(&node->inline_received);
	remote_count_lanes(node, out);
}
