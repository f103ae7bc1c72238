/*
 * Names of tensors on nodes, and of ways to move their bytes. See simpler/remote_tensor.h for what
 * is done with them.
 */
#ifndef SIMPLER_HANDLE_H
#define SIMPLER_HANDLE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A tensor stored on a node. Copy it freely: freeing it bumps the slot's generation, so that a
 *  stale copy fails with SIMPLER_ESTALE instead of reading somebody else's data. One that is all 0
 *  names nothing. */
typedef struct simpler_tensor_handle {
	uint64_t node; /**< of which worker, and its node */
	uint32_t slot, generation;
} simpler_tensor_handle;

/** How bytes of tensors go to a node and come back. What is named and not there is an error. */
typedef enum simpler_transport {
	/** Shared memory where there is, else a fabric where there is, else a stream. The choice is
	 *  logged once a node, at SIMPLER_LOG_INFO: to be seen with SIMPLER_LOG=info in the
	 *  environment, or by simpler_log_set_level(). */
	SIMPLER_TRANSPORT_AUTO = 0,
	SIMPLER_TRANSPORT_STREAM = 1, /**< chunks of a gRPC stream: everywhere */
	/** Memory that the node shares with this process, which must be on the same machine. */
	SIMPLER_TRANSPORT_SHM = 2,
	/** One-sided writes and reads by libfabric, RDMA among them, where both sides have it: see
	 *  simpler_worker_options.fabric. */
	SIMPLER_TRANSPORT_FABRIC = 3
} simpler_transport;

#ifdef __cplusplus
}
#endif

#endif
