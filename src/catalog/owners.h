/*
 * Which sessions own a callable, and a bounded memory of those that have left one. Plain structures
 * under the catalog's lock.
 */
#ifndef CATALOG_OWNERS_H
#define CATALOG_OWNERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct owner {
	uint64_t session;
	int64_t until; /* of a callable that is prepared; CLOCK_NEVER once it is committed */
	struct owner *next;
};

/* NULL when it is none. */
struct owner *owners_find(struct owner *owners, uint64_t session);
/* The new one, owning until CLOCK_NEVER; NULL when memory is out. */
struct owner *owners_add(struct owner **owners, uint64_t session);
/* False when it was none. */
bool owners_remove(struct owner **owners, uint64_t session);
/* Returns how many there were. */
size_t owners_clear(struct owner **owners);
bool owners_any_committed(const struct owner *owners);
/* When the first of them stops to own what it has prepared; CLOCK_NEVER: none does. */
int64_t owners_first_until(const struct owner *owners);

#define DEPARTURES 1024

/* The last to have left, so that who repeats himself, or comes too late, is told the truth. */
struct departures {
	struct departure {
		uint64_t session, callable_id, version;
		bool revoked; /* it did not leave by itself: the policy allows it no more */
	} all[DEPARTURES];
	size_t next; /* to be overwritten */
};

void departures_add(struct departures *departures, struct departure departure);
/* Whether this session left it; version 0 means any. */
bool departures_have(const struct departures *departures, uint64_t session, uint64_t callable_id,
                     uint64_t version);
/* Whether anybody did. */
bool departures_have_any(const struct departures *departures, uint64_t callable_id,
                         uint64_t version);
/* Whether the last who did had it taken away. */
bool departures_revoked(const struct departures *departures, uint64_t callable_id,
                        uint64_t version);

#endif
