/*
 * What is behind the public simpler_args: flat and of fixed size, so that filling and copying one
 * allocates nothing. A worker process fills one for a callable directly; everybody else goes
 * through simpler/args.h.
 */
#ifndef WIRE_ARGS_H
#define WIRE_ARGS_H

#include "wire/record.h"

struct simpler_args {
	uint32_t tensor_count, scalar_count;
	simpler_tensor tensors[SIMPLER_MAX_TENSORS];
	simpler_tag tags[SIMPLER_MAX_TENSORS];
	simpler_backing backings[SIMPLER_MAX_TENSORS];
	/* Where to describe a tensor that a submit is to allocate: see simpler_args_add_output().
	 * NULL for all others. */
	simpler_tensor *made[SIMPLER_MAX_TENSORS];
	/* Of SIMPLER_REMOTE and SIMPLER_STAGED ones. */
	struct args_remote {
		simpler_tensor_handle handle;
		uint64_t offset;
		simpler_tensor_handle *made; /* as above */
		simpler_transport transport;
	} remotes[SIMPLER_MAX_TENSORS];
	uint64_t scalars[SIMPLER_MAX_SCALARS];
	struct error error; /* the builder's first; status SIMPLER_OK if there is none */
};

/* Memory that processes share under this number, as this process has mapped it. */
struct memory_segment {
	uint32_t id; /* as in record_tensor.segment */
	uint8_t *base;
	uint64_t bytes;
};

/*
 * Make a decoded task's arguments readable here: positions become pointers into `segments`. An
 * empty tensor lies nowhere and needs no segment.
 *
 * @return SIMPLER_EPROTOCOL when a tensor lies in no such segment or, with all bytes that its
 *         strides span, not within it, or when its shape makes another size; the message names the
 *         tensor.
 */
simpler_status args_from_record(simpler_args *args, const struct record_task *task,
                                const struct memory_segment *segments, size_t segment_count);

#endif
