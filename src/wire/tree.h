/*
 * The tree of workers that a process is the root of, as it is sent to a next-level worker that was
 * forked: one datagram, from which the process makes its own children and what to send to them.
 * Pure functions; native-endian, as records are.
 */
#ifndef WIRE_TREE_H
#define WIRE_TREE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define TREE_MAX_NODES    64u
#define TREE_MIN_LEVEL    3u
#define TREE_MAX_LEVEL    5u
#define TREE_MAX_CHILDREN 256u /* of one worker: sub workers, chips and workers together */
#define TREE_DEVICE_BYTES 32   /* of a device's name, its terminator included */

struct tree_node {
	uint32_t level;
	uint32_t sub_workers, chips;
	uint32_t first_child,
		child_count;            /* workers; `first_child` matters only if there are any */
	char device[TREE_DEVICE_BYTES]; /* of the chips */
	uint64_t heap_bytes;
	uint32_t max_tasks;
	uint64_t grace_ms;
};

/*
 * nodes[0] is the receiver. The children of a node are nodes[first_child] and those behind it, one
 * level below; the blocks of children follow each other in the order of their parents, so that each
 * node but the first is the child of exactly one before it. In other words: level by level, from
 * left to right. Only level 3 has chips, and it has no workers below.
 */
struct tree {
	uint32_t count;
	struct tree_node nodes[TREE_MAX_NODES];
};

/* Longest encoding. */
#define TREE_BYTES_MAX (4u + TREE_MAX_NODES * 80u)

/* SIMPLER_EINVAL, saying why, for anything but what is described above. Whether a heap, a limit or
 * a device can be is for those to say who make it. */
simpler_status tree_check(const struct tree *tree);

/* The bytes written, or 0 when `capacity` is too small, which for TREE_BYTES_MAX never happens. */
size_t tree_encode(const struct tree *tree, void *bytes, size_t capacity);
/* SIMPLER_EPROTOCOL for what tree_check() refuses, too; `*out` is unspecified then. */
simpler_status tree_decode(const void *bytes, size_t size, struct tree *out);

/* The tree below and including a node: what to send to that child. `out` is another tree. */
void tree_subtree(const struct tree *tree, uint32_t node, struct tree *out);

#endif
