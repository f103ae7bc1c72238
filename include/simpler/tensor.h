/*
 * Tensors: a shape, an element type and strides over bytes that somebody else owns.
 *
 * simpler_tensor is a plain value; copy it freely. It never owns the bytes it describes.
 * All functions are pure, thread-safe and never block.
 */
#ifndef SIMPLER_TENSOR_H
#define SIMPLER_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "simpler/export.h"
#include "simpler/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Most dimensions of a tensor. */
#define SIMPLER_MAX_DIMS 8

/** Element types. The numbers are the wire's and never change. */
typedef enum simpler_dtype {
	SIMPLER_FLOAT32 = 0,
	SIMPLER_FLOAT16 = 1,
	SIMPLER_INT32 = 2,
	SIMPLER_INT16 = 3,
	SIMPLER_INT8 = 4,
	SIMPLER_UINT8 = 5,
	SIMPLER_BFLOAT16 = 6,
	SIMPLER_INT64 = 7,
	SIMPLER_UINT64 = 8,
	SIMPLER_UINT16 = 9,
	SIMPLER_UINT32 = 10,
	SIMPLER_FLOAT64 = 11,
	SIMPLER_BOOL = 12
} simpler_dtype;

/** How a task uses a tensor; the graph is inferred from it. The numbers are the wire's. */
typedef enum simpler_tag {
	SIMPLER_INPUT = 0,           /**< reads; waits for the last writers */
	SIMPLER_OUTPUT = 1,          /**< writes all of it; its old bytes never travel */
	SIMPLER_INOUT = 2,           /**< reads and writes */
	SIMPLER_OUTPUT_EXISTING = 3, /**< writes; waits for nobody: the program vouches for it */
	SIMPLER_NO_DEP = 4           /**< reads; stays out of the graph */
} simpler_tag;

/** Where a task finds a tensor's bytes. The program chooses; nothing switches behind its back. */
typedef enum simpler_backing {
	/**
	 * Memory that the worker shares with its children on this machine, used in place, no copy:
	 * what an orchestration function or task was itself handed, or what simpler_alloc() and
	 * simpler_orch_alloc() gave. A remote node cannot take it.
	 */
	SIMPLER_SHARED = 0,
	/**
	 * Bytes of the caller's memory that travel inside the dispatch message, and back inside
	 * the answer: copy-in/copy-out. At most SIMPLER_INLINE_MAX bytes a tensor; more is an
	 * error, never a silent switch to something else. A child on this machine takes it only if
	 * it lies in shared memory, and then uses it in place.
	 */
	SIMPLER_INLINE = 1,
	/**
	 * Bytes of the caller's memory that are copied to the node's tensor pool before the task
	 * and back after it, in chunks: copy-in/copy-out. An output-only tag sends no bytes there.
	 * A child on this machine takes it only if it lies in shared memory, and then uses it in
	 * place.
	 */
	SIMPLER_STAGED = 2,
	/**
	 * Storage on a node that a handle names, used there in place: no byte travels with the
	 * task. Only by simpler_args_add_handle() and simpler_args_add_remote_output().
	 */
	SIMPLER_REMOTE = 3
} simpler_backing;

/** Most bytes of one SIMPLER_INLINE tensor: 1 MiB. */
#define SIMPLER_INLINE_MAX ((size_t)1 << 20)

/**
 * A view of elements in memory. `shape` counts elements; `strides` counts elements, too, from one
 * index to the next of the same dimension; both are valid in [0, ndim). A zero-dimensional tensor
 * has one element. A dimension of 0 makes an empty tensor, whose `data` may be NULL.
 */
typedef struct simpler_tensor {
	void *data;
	simpler_dtype dtype;
	uint32_t ndim;
	int64_t shape[SIMPLER_MAX_DIMS];
	int64_t strides[SIMPLER_MAX_DIMS];
} simpler_tensor;

/** Bytes of one element; 0 for a value that is no dtype. */
SIMPLER_API size_t simpler_dtype_size(simpler_dtype dtype);
/** Such as "int64"; "unknown" for a value that is no dtype. */
SIMPLER_API const char *simpler_dtype_name(simpler_dtype dtype);
/** Such as "INOUT"; "unknown" for a value that is no tag. */
SIMPLER_API const char *simpler_tag_name(simpler_tag tag);

/**
 * Describe `ndim` dimensions of `shape` in row-major order at `data`.
 *
 * @return SIMPLER_EINVAL for an unknown dtype, too many or negative dimensions, a size in bytes
 *         that does not fit 63 bits (dimensions of 0 count as 1 in this: they excuse no other),
 *         or a NULL `data` with elements behind it.
 */
SIMPLER_API simpler_status simpler_tensor_init(simpler_tensor *tensor, void *data,
                                               simpler_dtype dtype, uint32_t ndim,
                                               const int64_t *shape);

/** One-dimensional simpler_tensor_init(). */
SIMPLER_API simpler_status simpler_tensor_init_1d(simpler_tensor *tensor, void *data,
                                                  simpler_dtype dtype, int64_t count);

/** Number of elements; 0 for an empty or an invalid tensor. */
SIMPLER_API uint64_t simpler_tensor_count(const simpler_tensor *tensor);
/** Bytes of its elements (not of the range that its strides span); 0 if empty or invalid. */
SIMPLER_API uint64_t simpler_tensor_bytes(const simpler_tensor *tensor);
/** Whether the elements lie in row-major order without gaps. Empty tensors do. */
SIMPLER_API bool simpler_tensor_is_contiguous(const simpler_tensor *tensor);

#ifdef __cplusplus
}
#endif

#endif
