/*
 * Objects of one size, taken and given back in constant time.
 *
 * Memory comes from malloc in blocks and stays with the slab until it is released, so an owner that
 * has seen its peak allocates nothing more. Reserving is a step of its own: a caller first makes
 * sure of all that an operation will need and then changes state with calls that cannot fail.
 */
#ifndef BASE_SLAB_H
#define BASE_SLAB_H

#include <stdbool.h>
#include <stddef.h>

struct slab_block;
struct slab_free;

struct slab {
	size_t object_bytes;
	size_t taken, total;
	struct slab_free *free;
	struct slab_block *blocks;
};

/* `object_bytes` at least the size of a pointer. Objects are aligned for any type. */
void slab_init(struct slab *slab, size_t object_bytes);
void slab_release(struct slab *slab);

/* Have at least `total` objects, those that are taken included. False when memory is out. */
bool slab_reserve(struct slab *slab, size_t total);
/* One of those reserved, its bytes unspecified. */
void *slab_take(struct slab *slab);
void slab_give(struct slab *slab, void *object);

#endif
