/*
 * Where a task's tensors will lie on a device: which blocks of its memory the task needs, and which
 * tensor is where in which. device/chip.h has the rules for tensors that share bytes. Pure.
 */
#ifndef DEVICE_PLACEMENT_H
#define DEVICE_PLACEMENT_H

#include "base/error.h"
#include "device/layout.h"
#include "simpler/args.h"

#define PLACEMENT_NO_BLOCK UINT32_MAX

struct placement {
	uint32_t tensor_count, block_count;
	uint64_t blocks[SIMPLER_MAX_TENSORS]; /* the bytes of each */
	struct placed {
		struct layout layout; /* on the host */
		bool reads, writes;   /* the bytes that the host has, or will have */
		uint32_t block;       /* PLACEMENT_NO_BLOCK for an empty tensor */
		uint64_t offset;
	} tensors[SIMPLER_MAX_TENSORS];
	/* In this order, a tensor begins in its block no earlier than those of it before. */
	uint32_t order[SIMPLER_MAX_TENSORS];
};

/* SIMPLER_EINVAL naming two tensors that share bytes and cannot be placed. */
simpler_status placement_make(struct placement *placement, const simpler_args *args);

#endif
