#include "catalog/owners.h"

#include <stdlib.h>
#include <utlist.h>

#include "base/clock.h"

struct owner *owners_find(struct owner *owners, uint64_t session)
{
	struct owner *owner;

	LL_FOREACH (owners, owner) {
		if (owner->session == session)
			return owner;
	}
	return NULL;
}

struct owner *owners_add(struct owner **owners, uint64_t session)
{
	struct owner *owner = malloc(sizeof(*owner));

	if (!owner)
		return NULL;
	*owner = (struct owner){ .session = session, .until = CLOCK_NEVER };
	LL_PREPEND(*owners, owner);
	return owner;
}

bool owners_remove(struct owner **owners, uint64_t session)
{
	struct owner *owner = owners_find(*owners, session);

	if (!owner)
		return false;
	LL_DELETE(*owners, owner);
	free(owner);
	return true;
}

size_t owners_clear(struct owner **owners)
{
	struct owner *owner, *next;
	size_t count = 0;

	LL_FOREACH_SAFE (*owners, owner, next) {
		free(owner);
		count++;
	}
	*owners = NULL;
	return count;
}

bool owners_any_committed(const struct owner *owners)
{
	while (owners && owners->until != CLOCK_NEVER)
		owners = owners->next;
	return owners != NULL;
}

int64_t owners_first_until(const struct owner *owners)
{
	const struct owner *owner;
	int64_t first = CLOCK_NEVER;

	LL_FOREACH (owners, owner) {
		if (owner->until < first)
			first = owner->until;
	}
	return first;
}

void departures_add(struct departures *departures, struct departure departure)
{
	departures->all[departures->next] = departure;
	departures->next = (departures->next + 1) % DEPARTURES;
}

/* No callable has id 0, so what was never written matches nothing. */
static bool is_of(const struct departure *departure, uint64_t callable_id, uint64_t version)
{
	return departure->callable_id == callable_id &&
	       (version == 0 || departure->version == version);
}

bool departures_have(const struct departures *departures, uint64_t session, uint64_t callable_id,
                     uint64_t version)
{
	for (size_t i = 0; i < DEPARTURES; i++) {
		if (departures->all[i].session == session &&
		    is_of(&departures->all[i], callable_id, version))
			return true;
	}
	return false;
}

bool departures_have_any(const struct departures *departures, uint64_t callable_id,
                         uint64_t version)
{
	for (size_t i = 0; i < DEPARTURES; i++) {
		if (is_of(&departures->all[i], callable_id, version))
			return true;
	}
	return false;
}

bool departures_revoked(const struct departures *departures, uint64_t callable_id, uint64_t version)
{
	for (size_t i = 1; i <= DEPARTURES; i++) {
		size_t at = (departures->next + DEPARTURES - i) % DEPARTURES;

		if (is_of(&departures->all[at], callable_id, version))
			return departures->all[at].revoked;
	}
	return false;
}
