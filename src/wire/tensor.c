#include "wire/tensor.h"

#include <inttypes.h>

#include "base/checked.h"

static const struct {
	const char *name;
	size_t size;
} dtypes[] = {
	[SIMPLER_FLOAT32] = { "float32", 4 },   [SIMPLER_FLOAT16] = { "float16", 2 },
	[SIMPLER_INT32] = { "int32", 4 },       [SIMPLER_INT16] = { "int16", 2 },
	[SIMPLER_INT8] = { "int8", 1 },         [SIMPLER_UINT8] = { "uint8", 1 },
	[SIMPLER_BFLOAT16] = { "bfloat16", 2 }, [SIMPLER_INT64] = { "int64", 8 },
	[SIMPLER_UINT64] = { "uint64", 8 },     [SIMPLER_UINT16] = { "uint16", 2 },
	[SIMPLER_UINT32] = { "uint32", 4 },     [SIMPLER_FLOAT64] = { "float64", 8 },
	[SIMPLER_BOOL] = { "bool", 1 },
};

static const char *const tags[] = {
	[SIMPLER_INPUT] = "INPUT",   [SIMPLER_OUTPUT] = "OUTPUT",
	[SIMPLER_INOUT] = "INOUT",   [SIMPLER_OUTPUT_EXISTING] = "OUTPUT_EXISTING",
	[SIMPLER_NO_DEP] = "NO_DEP",
};

size_t simpler_dtype_size(simpler_dtype dtype)
{
	return (size_t)dtype < sizeof(dtypes) / sizeof(dtypes[0]) ? dtypes[dtype].size : 0;
}

const char *simpler_dtype_name(simpler_dtype dtype)
{
	return simpler_dtype_size(dtype) ? dtypes[dtype].name : "unknown";
}

const char *simpler_tag_name(simpler_tag tag)
{
	return (size_t)tag < sizeof(tags) / sizeof(tags[0]) ? tags[tag] : "unknown";
}

static bool dimensions_valid(const simpler_tensor *tensor)
{
	if (tensor->ndim > SIMPLER_MAX_DIMS)
		return false;
	for (uint32_t i = 0; i < tensor->ndim; i++) {
		if (tensor->shape[i] < 0)
			return false;
	}
	return true;
}

/* Elements and their bytes; false when those do not fit 63 bits. A dimension of 0 does not excuse
 * the others, whose strides are products of them. */
static bool measure(const simpler_tensor *tensor, uint64_t *count, uint64_t *nbytes)
{
	bool empty = false;
	uint64_t span = simpler_dtype_size(tensor->dtype);

	*count = 1;
	for (uint32_t i = 0; i < tensor->ndim; i++) {
		uint64_t extent = (uint64_t)tensor->shape[i];

		*count *= extent; /* wraps only if `span` does */
		empty = empty || extent == 0;
		if (!checked_mul(span, extent ? extent : 1, &span) || span > INT64_MAX)
			return false;
	}
	*nbytes = empty ? 0 : span;
	return true;
}

static bool tensor_valid(const simpler_tensor *tensor, uint64_t *count, uint64_t *nbytes)
{
	*count = *nbytes = 0;
	return tensor && simpler_dtype_size(tensor->dtype) > 0 && dimensions_valid(tensor) &&
	       measure(tensor, count, nbytes) && (tensor->data || *nbytes == 0);
}

static simpler_status explain_dimensions(const simpler_tensor *tensor)
{
	if (tensor->ndim > SIMPLER_MAX_DIMS)
		return error_raise(SIMPLER_EINVAL,
		                   "a tensor has %u dimensions, at most %d are possible",
		                   (unsigned)tensor->ndim, SIMPLER_MAX_DIMS);
	for (uint32_t i = 0; i < tensor->ndim; i++) {
		if (tensor->shape[i] < 0)
			return error_raise(SIMPLER_EINVAL,
			                   "dimension %u of a tensor is %" PRId64
			                   ", it must not be negative",
			                   (unsigned)i, tensor->shape[i]);
	}
	return SIMPLER_OK;
}

/* Say why tensor_valid() is false. */
static simpler_status explain(const simpler_tensor *tensor)
{
	uint64_t count, nbytes;
	simpler_status status;

	if (!tensor)
		return error_raise(SIMPLER_EINVAL, "the tensor is a NULL pointer");
	if (simpler_dtype_size(tensor->dtype) == 0)
		return error_raise(SIMPLER_EINVAL, "%d is no element type (simpler_dtype)",
		                   (int)tensor->dtype);
	status = explain_dimensions(tensor);
	if (status)
		return status;
	if (!measure(tensor, &count, &nbytes))
		return error_raise(SIMPLER_EINVAL,
		                   "the dimensions of a tensor of %s multiply to a size in bytes "
		                   "that does not fit 63 bits",
		                   simpler_dtype_name(tensor->dtype));
	return error_raise(SIMPLER_EINVAL,
	                   "the data of a tensor of %" PRIu64 " bytes is a NULL pointer", nbytes);
}

simpler_status tensor_check(const simpler_tensor *tensor, uint64_t *nbytes)
{
	uint64_t count;

	return tensor_valid(tensor, &count, nbytes) ? SIMPLER_OK : explain(tensor);
}

simpler_status simpler_tensor_init(simpler_tensor *tensor, void *data, simpler_dtype dtype,
                                   uint32_t ndim, const int64_t *shape)
{
	simpler_tensor made = { .data = data, .dtype = dtype, .ndim = ndim };
	int64_t stride = 1;
	uint64_t nbytes;
	simpler_status status;

	if (!tensor || (ndim > 0 && !shape))
		return error_raise(SIMPLER_EINVAL, "the %s is a NULL pointer",
		                   tensor ? "shape of a tensor" : "tensor");
	for (uint32_t i = 0; i < ndim && i < SIMPLER_MAX_DIMS; i++)
		made.shape[i] = shape[i];
	status = tensor_check(&made, &nbytes);
	if (status)
		return status;
	for (uint32_t i = ndim; i-- > 0;) {
		made.strides[i] = stride;
		stride *= made.shape[i] ? made.shape[i] : 1;
	}
	*tensor = made;
	return SIMPLER_OK;
}

simpler_status simpler_tensor_init_1d(simpler_tensor *tensor, void *data, simpler_dtype dtype,
                                      int64_t count)
{
	return simpler_tensor_init(tensor, data, dtype, 1, &count);
}

uint64_t simpler_tensor_count(const simpler_tensor *tensor)
{
	uint64_t count, nbytes;

	return tensor_valid(tensor, &count, &nbytes) ? count : 0;
}

uint64_t simpler_tensor_bytes(const simpler_tensor *tensor)
{
	uint64_t count, nbytes;

	return tensor_valid(tensor, &count, &nbytes) ? nbytes : 0;
}

bool simpler_tensor_is_contiguous(const simpler_tensor *tensor)
{
	uint64_t count, nbytes;
	int64_t stride = 1;

	if (!tensor_valid(tensor, &count, &nbytes))
		return false;
	if (count == 0)
		return true;
	for (uint32_t i = tensor->ndim; i-- > 0;) {
		/* Nothing is ever stepped over in a dimension of 1. */
		if (tensor->shape[i] != 1 && tensor->strides[i] != stride)
			return false;
		stride *= tensor->shape[i];
	}
	return true;
}
