/*
 * What is behind the public simpler_args: flat and of fixed size, so that filling and copying one
 * allocates nothing. A worker process fills one for a callable directly; everybody else goes
 * through simpler/args.h.
 */
#ifndef WIRE_ARGS_H
#define WIRE_ARGS_H

#include "base/error.h"
#include "simpler/args.h"

struct simpler_args {
	uint32_t tensor_count, scalar_count;
	simpler_tensor tensors[SIMPLER_MAX_TENSORS];
	simpler_tag tags[SIMPLER_MAX_TENSORS];
	simpler_backing backings[SIMPLER_MAX_TENSORS];
	uint64_t scalars[SIMPLER_MAX_SCALARS];
	struct error error; /* the builder's first; status SIMPLER_OK if there is none */
};

/* SIMPLER_OK, or the builder's first error again, as this thread's last error. */
simpler_status args_check(const simpler_args *args);

#endif
