/* How many handles and grants each session has, so that none takes all. A handle that was freed
 * while it is pinned counts until it is gone. */
#include <stdlib.h>

#define HASH_NONFATAL_OOM 1 /* an element that found no memory has no table: hh.tbl is NULL */

#include "base/error.h"
#include "tensor/pool_parts.h"

/* uthash's macros are long when they are expanded. */
/* NOLINTBEGIN(readability-function-size) */
static struct pool_owner *find(struct pool *pool, uint64_t session)
{
	struct pool_owner *owner;

	HASH_FIND(hh, pool->owners, &session, sizeof(session), owner);
	return owner;
}

static struct pool_owner *get(struct pool *pool, uint64_t session)
{
	struct pool_owner *owner = find(pool, session);

	if (owner)
		return owner;
	owner = calloc(1, sizeof(*owner));
	if (!owner)
		return NULL;
	owner->session = session;
	HASH_ADD(hh, pool->owners, session, sizeof(owner->session), owner);
	if (owner->hh.tbl)
		return owner;
	free(owner);
	return NULL;
}

static void drop_if_empty(struct pool *pool, struct pool_owner *owner)
{
	if (owner->handles > 0 || owner->grants > 0)
		return;
	HASH_DEL(pool->owners, owner);
	free(owner);
}

/* NOLINTEND(readability-function-size) */

simpler_status pool_own(struct pool *pool, uint64_t session, struct pool_slot *slot)
{
	struct pool_owner *owner = get(pool, session);

	if (!owner)
		return error_raise(SIMPLER_ENOMEM, "out of memory to note a tensor");
	if (owner->handles >= pool->max_session_handles)
		return error_raise(SIMPLER_ENOSPACE,
		                   "this session has %u tensors at the node, which is the limit of "
		                   "one session; free some of them",
		                   owner->handles);
	owner->handles++;
	slot->owner = owner;
	return SIMPLER_OK;
}

simpler_status pool_own_grant(struct pool *pool, const struct pool_slot *slot, struct grant *grant)
{
	struct pool_owner *owner = slot->owner;

	if (owner->grants >= pool->max_session_grants)
		return error_raise(
			SIMPLER_ENOSPACE,
			"this session exports %u tensors of the node, which is the limit "
			"of one session; release grants that are no longer needed",
			owner->grants);
	owner->grants++;
	grant->owner = owner;
	return SIMPLER_OK;
}

void pool_disown(struct pool *pool, struct pool_slot *slot)
{
	struct pool_owner *owner = slot->owner;

	slot->owner = NULL;
	if (!owner)
		return;
	owner->handles--;
	drop_if_empty(pool, owner);
}

void pool_disown_grant(struct pool *pool, struct grant *grant)
{
	struct pool_owner *owner = grant->owner;

	grant->owner = NULL;
	if (!owner)
		return;
	owner->grants--;
	drop_if_empty(pool, owner);
}

void pool_owners_release(struct pool *pool)
{
	struct pool_owner *owner = pool->owners, *next;

	HASH_CLEAR(hh, pool->owners); /* of which they stay a list */
	for (; owner; owner = next) {
		next = owner->hh.next;
		free(owner);
	}
}
