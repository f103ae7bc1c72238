/*
 * The arguments of a task: tensors first, then 64-bit scalars.
 *
 * A caller builds them; a submit copies them, so a builder can be reset and used again at once.
 * A callable reads them. A builder belongs to one thread at a time; arguments handed to a callable
 * may be read by several. Nothing here blocks.
 *
 * Errors of the add functions stick: after the first one a builder adds nothing more, and the
 * submit that is handed it fails with that first error. A program may therefore check the submit
 * alone. simpler_args_reset() clears the error.
 */
#ifndef SIMPLER_ARGS_H
#define SIMPLER_ARGS_H

#include "simpler/handle.h"
#include "simpler/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Most tensors and most scalars of one task. */
#define SIMPLER_MAX_TENSORS 32
#define SIMPLER_MAX_SCALARS 128

typedef struct simpler_args simpler_args;

/** An empty builder, or NULL when memory is out. Release with simpler_args_destroy(). */
SIMPLER_API simpler_args *simpler_args_create(void);
/** NULL is allowed. */
SIMPLER_API void simpler_args_destroy(simpler_args *args);
/** Empty it again, the error included. */
SIMPLER_API void simpler_args_reset(simpler_args *args);

/**
 * Add a tensor. The description is copied, the elements are not: with SIMPLER_INLINE and
 * SIMPLER_STAGED the runtime reads them when the task starts and writes the results of OUTPUT,
 * INOUT and OUTPUT_EXISTING when it has succeeded where it ran, so they must stay valid until the
 * run returns. When results of SIMPLER_STAGED cannot all be fetched then, the task fails, and the
 * error names the tensors that may be half-written; all others are as they were.
 *
 * A tensor with strides stays where it is and is handed on with them, so it is SIMPLER_SHARED. Its
 * elements may overlap (a stride of 0) only where the tag does not write.
 *
 * @return SIMPLER_EINVAL after a scalar was added, for an invalid tensor, tag or backing, for
 *         strides with another backing than SIMPLER_SHARED, for elements that overlap and are
 *         written, or for an inline tensor over SIMPLER_INLINE_MAX; SIMPLER_ENOSPACE past
 *         SIMPLER_MAX_TENSORS.
 */
SIMPLER_API simpler_status simpler_args_add_tensor(simpler_args *args, const simpler_tensor *tensor,
                                                   simpler_tag tag, simpler_backing backing);

/**
 * Add an OUTPUT without a backing: each submit of these arguments allocates it from the worker's
 * shared heap, in the scope that is open then, and describes it in `*made`, for later tasks to use.
 * See simpler_orch_alloc(). `made` stays valid until the last submit.
 *
 * @return SIMPLER_EINVAL after a scalar was added, for a NULL `made`, or for what
 *         simpler_tensor_init() refuses; SIMPLER_ENOSPACE past SIMPLER_MAX_TENSORS.
 */
SIMPLER_API simpler_status simpler_args_add_output(simpler_args *args, simpler_dtype dtype,
                                                   uint32_t ndim, const int64_t *shape,
                                                   simpler_tensor *made);

/**
 * Add a tensor as SIMPLER_STAGED whose bytes go by a transport of the program's choice; otherwise
 * as simpler_args_add_tensor(), which leaves it open. The task fails with SIMPLER_EUNAVAILABLE when
 * there is no such transport to its node.
 */
SIMPLER_API simpler_status simpler_args_add_staged(simpler_args *args, const simpler_tensor *tensor,
                                                   simpler_tag tag, simpler_transport transport);

/**
 * Add a tensor on a node, or a part of one: a row-major view of its bytes from `offset` on. The
 * task goes to that node and works on it in place; see simpler/remote_tensor.h.
 *
 * @param offset  In bytes; a multiple of the element's size.
 * @return SIMPLER_EINVAL after a scalar was added, for what simpler_tensor_init() refuses, an
 *         offset that no element can be at, or an unknown tag; SIMPLER_ENOSPACE past
 *         SIMPLER_MAX_TENSORS. What concerns the handle is the submit's to find.
 */
SIMPLER_API simpler_status simpler_args_add_handle(simpler_args *args, simpler_tensor_handle handle,
                                                   uint64_t offset, simpler_dtype dtype,
                                                   uint32_t ndim, const int64_t *shape,
                                                   simpler_tag tag);

/**
 * Add an OUTPUT that is to stay on the node which runs the task: each submit of these arguments
 * gives it a handle, for later tasks to use at once, and the node allocates it when the task
 * starts. It outlives the run, so that its bytes can be read then, and is the program's to free:
 * also within the run, behind the last submit that uses it.
 *
 * @param made  Valid until the last submit.
 * @return as simpler_args_add_output().
 */
SIMPLER_API simpler_status simpler_args_add_remote_output(simpler_args *args, simpler_dtype dtype,
                                                          uint32_t ndim, const int64_t *shape,
                                                          simpler_tensor_handle *made);

/**
 * Add a scalar; no tensor can follow. Signed and floating values travel as their 64 bits.
 *
 * @return SIMPLER_ENOSPACE past SIMPLER_MAX_SCALARS.
 */
SIMPLER_API simpler_status simpler_args_add_scalar(simpler_args *args, uint64_t value);

/** How many were added. */
SIMPLER_API size_t simpler_args_tensor_count(const simpler_args *args);
SIMPLER_API size_t simpler_args_scalar_count(const simpler_args *args);

/**
 * Tensor `index`, as a view of memory of this process. The bytes of an INPUT or NO_DEP tensor are
 * not to be written.
 *
 * @return SIMPLER_EINVAL for an index out of range; the message names the index and the count.
 */
SIMPLER_API simpler_status simpler_args_tensor(const simpler_args *args, size_t index,
                                               simpler_tensor *out);
/** The tag of tensor `index`; errors as simpler_args_tensor(). */
SIMPLER_API simpler_status simpler_args_tag(const simpler_args *args, size_t index,
                                            simpler_tag *out);
/** Scalar `index`; errors as simpler_args_tensor(). */
SIMPLER_API simpler_status simpler_args_scalar(const simpler_args *args, size_t index,
                                               uint64_t *out);

#ifdef __cplusplus
}
#endif

#endif
