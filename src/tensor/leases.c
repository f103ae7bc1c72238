#include "tensor/leases.h"

#include <stddef.h>
#include <stdlib.h>

bool leases_init(struct leases *leases, uint32_t capacity)
{
	leases->count = 0;
	leases->heap = calloc((size_t)capacity + 1, sizeof(struct lease *));
	return leases->heap != NULL;
}

void leases_release(struct leases *leases)
{
	free(leases->heap);
}

static void put(struct leases *leases, struct lease *lease, uint32_t place)
{
	leases->heap[place] = lease;
	lease->place = place;
}

static void move_up(struct leases *leases, struct lease *lease)
{
	uint32_t place = lease->place;

	for (; place > 1 && leases->heap[place / 2]->deadline > lease->deadline; place /= 2)
		put(leases, leases->heap[place / 2], place);
	put(leases, lease, place);
}

static void move_down(struct leases *leases, struct lease *lease)
{
	uint32_t place = lease->place;

	for (;;) {
		uint32_t below = place * 2;

		if (below < leases->count &&
		    leases->heap[below + 1]->deadline < leases->heap[below]->deadline)
			below++;
		if (below > leases->count || leases->heap[below]->deadline >= lease->deadline)
			break;
		put(leases, leases->heap[below], place);
		place = below;
	}
	put(leases, lease, place);
}

void leases_set(struct leases *leases, struct lease *lease, int64_t deadline)
{
	lease->deadline = deadline;
	if (lease->place == 0)
		put(leases, lease, ++leases->count);
	move_up(leases, lease);
	move_down(leases, lease);
}

void leases_remove(struct leases *leases, struct lease *lease)
{
	struct lease *last;

	if (lease->place == 0)
		return;
	last = leases->heap[leases->count--];
	if (last != lease) {
		put(leases, last, lease->place);
		move_up(leases, last);
		move_down(leases, last);
	}
	lease->place = 0;
}

struct lease *leases_first(const struct leases *leases)
{
	return leases->count ? leases->heap[1] : NULL;
}
