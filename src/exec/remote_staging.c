#include "exec/remote_staging.h"

#include <stdlib.h>

#include "base/clock.h"
#include "rpc/messages.h"

/* A node that does not answer frees by the lease. It is short, as who waits for room hears of a
 * stop only afterwards. */
#define FREE_MS 1000u

struct freeing {
	struct remote_child *node;
	void (*again)(void *context); /* or NULL */
	void *context;
};

static void on_freed(void *context, enum rpc_code code, const char *text, const uint8_t *data,
                     size_t size)
{
	struct freeing *freeing = context;
	struct remote_child *node = freeing->node;

	/* The lease sees to what was not freed. */
	(void)code;
	(void)text;
	(void)data;
	(void)size;
	staging_cache_freed(&node->staging);
	if (freeing->again)
		freeing->again(freeing->context);
	free(freeing);
	remote_answered(node);
}

/* What the cache counts as being freed. */
static void begin(struct remote_child *node, const struct transport_storage *place,
                  void (*again)(void *context), void *context)
{
	struct freeing *freeing = malloc(sizeof(*freeing));
	struct rpc_buffer buffer;

	if (!freeing || msg_free_encode(&place->handle, &buffer) != SIMPLER_OK) {
		free(freeing);
		staging_cache_freed(&node->staging);
		if (again)
			again(context);
		return;
	}
	*freeing = (struct freeing){ node, again, context };
	remote_asks(node);
	rpc_unary(node->channel, MSG_FREE_TENSOR, clock_after_ms(FREE_MS), false, &buffer, on_freed,
	          freeing);
}

void remote_staging_free(struct remote_child *node, const struct transport_storage *place)
{
	staging_cache_frees(&node->staging);
	begin(node, place, NULL, NULL);
}

void remote_staging_look(struct remote_child *node)
{
	struct transport_storage place;

	while (staging_cache_pop_old(&node->staging, &place))
		begin(node, &place, NULL, NULL);
	staging_cache_age(&node->staging);
}

bool remote_staging_make_room(struct remote_child *node, struct staging_mark mark,
                              enum rpc_code code, void (*again)(void *context), void *context)
{
	struct transport_storage place;

	if (code != RPC_RESOURCE_EXHAUSTED)
		return false;
	if (staging_cache_pop(&node->staging, &place)) {
		begin(node, &place, again, context);
		return true;
	}
	if (!staging_cache_has_changed(&node->staging, mark))
		return false;
	again(context);
	return true;
}
