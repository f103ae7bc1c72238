/* The ELF objects that this process was started with or has loaded: the program itself, and shared
 * libraries. What is found stays valid as long as its object is loaded. */
#ifndef OS_IMAGE_H
#define OS_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IMAGE_MAX_PARTS 8

struct image_part {
	const void *bytes;
	size_t size;
};

struct image {
	const char *name; /* the file's, without its folder; "" for the program */
	uintptr_t base;   /* of the offsets in it */
	/* What the linker wrote to tell builds apart; of no size where it was not asked to. */
	struct image_part build_id;
	/* The program headers, then the segments with code: what a build consists of. */
	struct image_part parts[IMAGE_MAX_PARTS];
	size_t part_count;
};

/* The object whose code is at `address`. False when that is in nobody's code. */
bool image_of(const void *address, struct image *out);
/* The object of that name, or of several the one at `index`. False when there are no more. */
bool image_named(const char *name, size_t index, struct image *out);
/* Whether `offset` is in the object's code. */
bool image_has_code(const struct image *image, uint64_t offset);

#endif
