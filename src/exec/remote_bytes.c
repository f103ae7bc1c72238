/* Which transport moves bytes to and from a node, and how many it has moved. */
#include "base/log.h"
#include "exec/node_session.h"
#include "exec/remote_node.h"

static const char *const names[REMOTE_TRANSPORTS] = {
	[SIMPLER_TRANSPORT_AUTO] = "auto",
	[SIMPLER_TRANSPORT_STREAM] = "stream",
	[SIMPLER_TRANSPORT_SHM] = "shm",
};

void remote_share_memory(struct remote_child *node, const char *address)
{
	struct transport **shm = &node->transports[SIMPLER_TRANSPORT_SHM];

	node->shm_life = remote_life(&node->child);
	if (address[0] != '\0' &&
	    shm_transport_create(address, node_session_id(node->session), shm) != SIMPLER_OK)
		simpler_log(SIMPLER_LOG_DEBUG, "%s shares no memory with this process: %s",
		            node->child.name, simpler_last_error_step(0));
}

/* After the daemon was started anew it is other memory than the node's. */
static struct transport *shm_of(struct remote_child *node)
{
	return node->shm_life == remote_life(&node->child) ? node->transports[SIMPLER_TRANSPORT_SHM]
	                                                   : NULL;
}

static bool reaches(struct transport *transport, const struct transport_storage *storage)
{
	return transport && (!storage || transport->ops->reaches(transport, storage));
}

static void choose_auto(struct remote_child *node, const struct transport_storage *storage,
                        struct transport **out)
{
	struct transport *shm = shm_of(node);
	bool shared = reaches(shm, storage);

	atomic_fetch_add_explicit(&node->auto_moves, 1, memory_order_relaxed);
	if (!atomic_exchange(&node->told_auto, true))
		simpler_log(SIMPLER_LOG_INFO,
		            "the bytes of tensors go to %s by the transport '%s', which 'auto' "
		            "chose%s",
		            node->child.name,
		            names[shared ? SIMPLER_TRANSPORT_SHM : SIMPLER_TRANSPORT_STREAM],
		            shared ? "" : ": it shares no memory with this process");
	*out = shared ? shm : node->transports[SIMPLER_TRANSPORT_STREAM];
}

simpler_status remote_choose(struct remote_child *node, simpler_transport choice,
                             const struct transport_storage *storage, struct transport **out)
{
	if ((unsigned)choice >= REMOTE_TRANSPORTS)
		return error_raise(SIMPLER_EINVAL, "%d is no transport (simpler_transport)",
		                   (int)choice);
	if (choice == SIMPLER_TRANSPORT_AUTO) {
		choose_auto(node, storage, out);
		return SIMPLER_OK;
	}
	*out = choice == SIMPLER_TRANSPORT_SHM ? shm_of(node) : node->transports[choice];
	if (reaches(*out, storage))
		return SIMPLER_OK;
	return error_raise(
		SIMPLER_EUNAVAILABLE,
		"the transport '%s' was named, and %s; name another or leave it to 'auto'",
		names[choice],
		*out ? "the tensor is not in the memory that the node shares with this "
		       "process"
		     : "the node shares no memory with this process");
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
	out->staging_reused = atomic_load(&node->staging_reused);
	out->inlined.sent = atomic_load(&node->inline_sent);
	out->inlined.received = atomic_load(&node->inline_received);
	remote_count_lanes(node, out);
}
