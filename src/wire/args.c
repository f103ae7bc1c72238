/*
 * The argument builder. Each add function checks first and changes the builder last, so that a
 * refused argument leaves no trace but the sticky error.
 */
#include "wire/args.h"

#include <inttypes.h>
#include <stdlib.h>

#include "wire/tensor.h"

simpler_args *simpler_args_create(void)
{
	simpler_args *args = malloc(sizeof(*args));

	simpler_args_reset(args);
	return args;
}

void simpler_args_destroy(simpler_args *args)
{
	free(args);
}

void simpler_args_reset(simpler_args *args)
{
	if (!args)
		return;
	args->tensor_count = 0;
	args->scalar_count = 0;
	args->error.status = SIMPLER_OK;
	args->error.steps = 0;
	args->error.used = 0;
}

/* The thread's last error becomes the builder's. */
static simpler_status keep(simpler_args *args, simpler_status status)
{
	if (status)
		error_save(&args->error);
	return status;
}

/* Whether the builder takes anything more. */
static simpler_status check_builder(const simpler_args *args)
{
	if (!args)
		return error_raise(SIMPLER_EINVAL, "the argument builder is a NULL pointer: "
		                                   "simpler_args_create() ran out of memory");
	return args->error.status ? error_restore(&args->error) : SIMPLER_OK;
}

static simpler_status check_room(const simpler_args *args)
{
	if (args->scalar_count > 0)
		return error_raise(SIMPLER_EINVAL,
		                   "a tensor was added after %" PRIu32
		                   " scalar%s: add all tensors first, then the scalars",
		                   args->scalar_count, args->scalar_count == 1 ? "" : "s");
	if (args->tensor_count == SIMPLER_MAX_TENSORS)
		return error_raise(SIMPLER_ENOSPACE, "a task takes at most %d tensors",
		                   SIMPLER_MAX_TENSORS);
	return SIMPLER_OK;
}

static simpler_status check_use(simpler_tag tag, simpler_backing backing, uint64_t nbytes)
{
	if ((unsigned)tag > SIMPLER_NO_DEP)
		return error_raise(SIMPLER_EINVAL, "%d is no tag (simpler_tag)", (int)tag);
	if (backing == SIMPLER_REMOTE)
		return error_raise(
			SIMPLER_EINVAL,
			"a tensor of this process is not SIMPLER_REMOTE; add what is on a "
			"node by its handle, with simpler_args_add_handle()");
	if ((unsigned)backing > SIMPLER_STAGED)
		return error_raise(SIMPLER_EINVAL, "%d is no backing (simpler_backing)",
		                   (int)backing);
	if (backing == SIMPLER_INLINE && nbytes > SIMPLER_INLINE_MAX)
		return error_raise(SIMPLER_EINVAL,
		                   "an inline tensor has %" PRIu64
		                   " bytes, the limit is %zu: use SIMPLER_STAGED",
		                   nbytes, SIMPLER_INLINE_MAX);
	return SIMPLER_OK;
}

static bool is_written(simpler_tag tag)
{
	return tag == SIMPLER_OUTPUT || tag == SIMPLER_INOUT || tag == SIMPLER_OUTPUT_EXISTING;
}

/* What a tensor that is not contiguous has to keep to besides. */
static simpler_status check_strides(const simpler_tensor *tensor, simpler_tag tag,
                                    simpler_backing backing)
{
	struct tensor_footprint footprint;
	simpler_status status = tensor_footprint(tensor, &footprint);

	if (status)
		return status;
	if (backing != SIMPLER_SHARED)
		return error_raise(SIMPLER_EINVAL,
		                   "the tensor is not contiguous: copy it to row-major order, or "
		                   "use it in shared memory (SIMPLER_SHARED)");
	if (footprint.before > (uintptr_t)tensor->data)
		return error_raise(SIMPLER_EINVAL,
		                   "the tensor begins %" PRIu64
		                   " bytes before its data, which is below address 0",
		                   footprint.before);
	if (is_written(tag) && tensor_may_overlap(tensor))
		return error_raise(SIMPLER_EINVAL,
		                   "elements of the tensor overlap, and %s writes them: give each "
		                   "its own bytes",
		                   simpler_tag_name(tag));
	return SIMPLER_OK;
}

static simpler_status check_tensor(const simpler_tensor *tensor, simpler_tag tag,
                                   simpler_backing backing)
{
	uint64_t nbytes;
	simpler_status status = tensor_check(tensor, &nbytes);

	if (!status)
		status = check_use(tag, backing, nbytes);
	if (!status && !simpler_tensor_is_contiguous(tensor))
		status = check_strides(tensor, tag, backing);
	return status;
}

static void append(simpler_args *args, const simpler_tensor *tensor, simpler_tag tag,
                   simpler_backing backing, simpler_tensor *made)
{
	args->tensors[args->tensor_count] = *tensor;
	args->tags[args->tensor_count] = tag;
	args->backings[args->tensor_count] = backing;
	args->made[args->tensor_count] = made;
	args->remotes[args->tensor_count].made = NULL;
	args->remotes[args->tensor_count].transport = SIMPLER_TRANSPORT_AUTO;
	args->tensor_count++;
}

static simpler_status add_tensor(simpler_args *args, const simpler_tensor *tensor, simpler_tag tag,
                                 simpler_backing backing)
{
	simpler_status status = check_room(args);

	if (status)
		return status;
	status = check_tensor(tensor, tag, backing);
	if (status)
		return error_context("tensor %" PRIu32 " of the arguments", args->tensor_count);
	append(args, tensor, tag, backing, NULL);
	return SIMPLER_OK;
}

static simpler_status add_output(simpler_args *args, simpler_dtype dtype, uint32_t ndim,
                                 const int64_t *shape, simpler_tensor *made)
{
	simpler_tensor tensor;
	uint64_t nbytes;
	simpler_status status = check_room(args);

	if (status)
		return status;
	status = made ? tensor_describe(&tensor, dtype, ndim, shape, &nbytes)
	              : error_raise(
				SIMPLER_EINVAL,
				"`made` is a NULL pointer: later tasks could not use the output");
	if (status)
		return error_context("tensor %" PRIu32 " of the arguments", args->tensor_count);
	append(args, &tensor, SIMPLER_OUTPUT, SIMPLER_SHARED, made);
	return SIMPLER_OK;
}

static simpler_status add_staged(simpler_args *args, const simpler_tensor *tensor, simpler_tag tag,
                                 simpler_transport transport)
{
	simpler_status status;

	if ((unsigned)transport > SIMPLER_TRANSPORT_FABRIC)
		return error_raise(SIMPLER_EINVAL, "%d is no transport (simpler_transport)",
		                   (int)transport);
	status = add_tensor(args, tensor, tag, SIMPLER_STAGED);
	if (status == SIMPLER_OK)
		args->remotes[args->tensor_count - 1].transport = transport;
	return status;
}

static simpler_status check_view(simpler_tensor *tensor, uint64_t offset, simpler_dtype dtype,
                                 uint32_t ndim, const int64_t *shape, simpler_tag tag)
{
	uint64_t nbytes;
	simpler_status status = tensor_describe(tensor, dtype, ndim, shape, &nbytes);

	if (status)
		return status;
	if ((unsigned)tag > SIMPLER_NO_DEP)
		return error_raise(SIMPLER_EINVAL, "%d is no tag (simpler_tag)", (int)tag);
	if (offset % simpler_dtype_size(dtype) != 0)
		return error_raise(SIMPLER_EINVAL,
		                   "an offset of %" PRIu64 " bytes is no multiple of the %zu that "
		                   "an element of %s has",
		                   offset, simpler_dtype_size(dtype), simpler_dtype_name(dtype));
	if (offset > INT64_MAX || nbytes > INT64_MAX - offset)
		return error_raise(SIMPLER_EINVAL,
		                   "offset %" PRIu64 " and %" PRIu64 " bytes do not fit 63 bits",
		                   offset, nbytes);
	return SIMPLER_OK;
}

/* `view` says what is known of the place. */
static simpler_status add_remote(simpler_args *args, const struct args_remote *view,
                                 simpler_dtype dtype, uint32_t ndim, const int64_t *shape,
                                 simpler_tag tag)
{
	simpler_tensor tensor;
	simpler_status status = check_room(args);

	if (status)
		return status;
	status = check_view(&tensor, view->offset, dtype, ndim, shape, tag);
	if (status)
		return error_context("tensor %" PRIu32 " of the arguments", args->tensor_count);
	append(args, &tensor, tag, SIMPLER_REMOTE, NULL);
	args->remotes[args->tensor_count - 1] = *view;
	return SIMPLER_OK;
}

simpler_status simpler_args_add_tensor(simpler_args *args, const simpler_tensor *tensor,
                                       simpler_tag tag, simpler_backing backing)
{
	simpler_status status = check_builder(args);

	return status ? status : keep(args, add_tensor(args, tensor, tag, backing));
}

simpler_status simpler_args_add_output(simpler_args *args, simpler_dtype dtype, uint32_t ndim,
                                       const int64_t *shape, simpler_tensor *made)
{
	simpler_status status = check_builder(args);

	return status ? status : keep(args, add_output(args, dtype, ndim, shape, made));
}

simpler_status simpler_args_add_staged(simpler_args *args, const simpler_tensor *tensor,
                                       simpler_tag tag, simpler_transport transport)
{
	simpler_status status = check_builder(args);

	return status ? status : keep(args, add_staged(args, tensor, tag, transport));
}

simpler_status simpler_args_add_handle(simpler_args *args, simpler_tensor_handle handle,
                                       uint64_t offset, simpler_dtype dtype, uint32_t ndim,
                                       const int64_t *shape, simpler_tag tag)
{
	const struct args_remote view = { .handle = handle, .offset = offset };
	simpler_status status = check_builder(args);

	return status ? status : keep(args, add_remote(args, &view, dtype, ndim, shape, tag));
}

simpler_status simpler_args_add_remote_output(simpler_args *args, simpler_dtype dtype,
                                              uint32_t ndim, const int64_t *shape,
                                              simpler_tensor_handle *made)
{
	const struct args_remote view = { .made = made };
	simpler_status status = check_builder(args);

	if (status)
		return status;
	if (!made)
		return keep(args, error_raise(SIMPLER_EINVAL, "`made` is a NULL pointer: nobody "
		                                              "could use or free the output"));
	return keep(args, add_remote(args, &view, dtype, ndim, shape, SIMPLER_OUTPUT));
}

simpler_status simpler_args_add_scalar(simpler_args *args, uint64_t value)
{
	simpler_status status = check_builder(args);

	if (status)
		return status;
	if (args->scalar_count == SIMPLER_MAX_SCALARS)
		return keep(args, error_raise(SIMPLER_ENOSPACE, "a task takes at most %d scalars",
		                              SIMPLER_MAX_SCALARS));
	args->scalars[args->scalar_count++] = value;
	return SIMPLER_OK;
}

/* A run may be given no arguments at all: NULL reads as empty. */
size_t simpler_args_tensor_count(const simpler_args *args)
{
	return args ? args->tensor_count : 0;
}

size_t simpler_args_scalar_count(const simpler_args *args)
{
	return args ? args->scalar_count : 0;
}

static simpler_status check_index(const char *what, size_t index, size_t count)
{
	if (index < count)
		return SIMPLER_OK;
	return error_raise(SIMPLER_EINVAL, "%s index %zu is out of range: there %s %zu %s%s", what,
	                   index, count == 1 ? "is" : "are", count, what, count == 1 ? "" : "s");
}

simpler_status simpler_args_tensor(const simpler_args *args, size_t index, simpler_tensor *out)
{
	simpler_status status = check_index("tensor", index, simpler_args_tensor_count(args));

	if (!status)
		*out = args->tensors[index];
	return status;
}

simpler_status simpler_args_tag(const simpler_args *args, size_t index, simpler_tag *out)
{
	simpler_status status = check_index("tensor", index, simpler_args_tensor_count(args));

	if (!status)
		*out = args->tags[index];
	return status;
}

simpler_status simpler_args_scalar(const simpler_args *args, size_t index, uint64_t *out)
{
	simpler_status status = check_index("scalar", index, simpler_args_scalar_count(args));

	if (!status)
		*out = args->scalars[index];
	return status;
}
