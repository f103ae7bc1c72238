/* Which transport moves bytes to and from a node, and how many it has moved. */
#include "base/log.h"
#include "exec/remote_node.h"

static const char *const names[REMOTE_TRANSPORTS] = {
	[SIMPLER_TRANSPORT_AUTO] = "auto",
	[SIMPLER_TRANSPORT_STREAM] = "stream",
	[SIMPLER_TRANSPORT_SHM] = "shm",
};

static simpler_status choose_auto(struct remote_child *node, struct transport **out)
{
	bool shared = node->transports[SIMPLER_TRANSPORT_SHM] != NULL;
	simpler_transport choice = shared ? SIMPLER_TRANSPORT_SHM : SIMPLER_TRANSPORT_STREAM;

	atomic_fetch_add_explicit(&node->auto_moves, 1, memory_order_relaxed);
	if (!atomic_exchange(&node->told_auto, true))
		simpler_log(SIMPLER_LOG_INFO,
		            "the bytes of tensors go to %s by the transport '%s', which 'auto' "
		            "chose%s",
		            node->child.name, names[choice],
		            shared ? "" : ": it shares no memory with this process");
	*out = node->transports[choice];
	return SIMPLER_OK;
}

simpler_status remote_choose(struct remote_child *node, simpler_transport choice,
                             struct transport **out)
{
	if (choice == SIMPLER_TRANSPORT_AUTO)
		return choose_auto(node, out);
	if ((unsigned)choice >= REMOTE_TRANSPORTS)
		return error_raise(SIMPLER_EINVAL, "%d is no transport (simpler_transport)",
		                   (int)choice);
	*out = node->transports[choice];
	if (*out)
		return SIMPLER_OK;
	return error_raise(SIMPLER_EUNAVAILABLE,
	                   "the transport '%s' was named, and there is none to %s, which shares no "
	                   "memory with this process; name another or leave it to 'auto'",
	                   names[choice], node->child.name);
}

static void count(struct remote_bytes *bytes, const struct transport *transport)
{
	if (!transport)
		return;
	bytes->sent = atomic_load_explicit(&transport->sent, memory_order_relaxed);
	bytes->received = atomic_load_explicit(&transport->received, memory_order_relaxed);
}

void remote_count(const struct exec_child *child, struct remote_traffic *out)
{
	const struct remote_child *node = (const struct remote_child *)child;

	*out = (struct remote_traffic){ .auto_moves = atomic_load(&node->auto_moves) };
	count(&out->stream, node->transports[SIMPLER_TRANSPORT_STREAM]);
	count(&out->shm, node->transports[SIMPLER_TRANSPORT_SHM]);
	out->inlined.sent = atomic_load(&node->inline_sent);
	out->inlined.received = atomic_load(&node->inline_received);
}
