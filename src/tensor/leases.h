/* Leases by the time they end: a binary heap whose entries are part of what is leased. */
#ifndef TENSOR_LEASES_H
#define TENSOR_LEASES_H

#include <stdbool.h>
#include <stdint.h>

struct lease {
	int64_t deadline;
	uint32_t place; /* in the heap, from 1; 0 when it is in none */
};

struct leases {
	struct lease **heap; /* [0] is not used */
	uint32_t count;
};

/* Room for `capacity` leases. False when memory is out. */
bool leases_init(struct leases *leases, uint32_t capacity);
void leases_release(struct leases *leases);

/* Add a lease, or move it. */
void leases_set(struct leases *leases, struct lease *lease, int64_t deadline);
/* Does nothing for one that is not in the heap. */
void leases_remove(struct leases *leases, struct lease *lease);
/* The one that ends first; NULL when there is none. */
struct lease *leases_first(const struct leases *leases);

#endif
