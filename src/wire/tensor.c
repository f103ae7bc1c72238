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

/* Wherever its data may be. */
static bool shape_valid(const simpler_tensor *tensor, uint64_t *count, uint64_t *nbytes)
{
	*count = *nbytes = 0;
	return tensor && simpler_dtype_size(tensor->dtype) > 0 && dimensions_valid(tensor) &&
	       measure(tensor, count, nbytes);
}

static bool tensor_valid(const simpler_tensor *tensor, uint64_t *count, uint64_t *nbytes)
{
	return shape_valid(tensor, count, nbytes) && (tensor->data || *nbytes == 0);
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

/* Say why shape_valid() or tensor_valid() is false. */
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

simpler_status tensor_describe(simpler_tensor *tensor, simpler_dtype dtype, uint32_t ndim,
                               const int64_t *shape, uint64_t *nbytes)
{
	int64_t stride = 1;
	uint64_t count;

	if (ndim > 0 && !shape)
		return error_raise(SIMPLER_EINVAL, "the shape of a tensor is a NULL pointer");
	*tensor = (simpler_tensor){ .dtype = dtype, .ndim = ndim };
	for (uint32_t i = 0; i < ndim && i < SIMPLER_MAX_DIMS; i++)
		tensor->shape[i] = shape[i];
	if (!shape_valid(tensor, &count, nbytes))
		return explain(tensor);
	for (uint32_t i = ndim; i-- > 0;) {
		tensor->strides[i] = stride;
		stride *= shape[i] ? shape[i] : 1;
	}
	return SIMPLER_OK;
}

simpler_status simpler_tensor_init(simpler_tensor *tensor, void *data, simpler_dtype dtype,
                                   uint32_t ndim, const int64_t *shape)
{
	simpler_tensor made;
	uint64_t nbytes;
	simpler_status status;

	if (!tensor)
		return error_raise(SIMPLER_EINVAL, "the tensor is a NULL pointer");
	status = tensor_describe(&made, dtype, ndim, shape, &nbytes);
	if (status)
		return status;
	made.data = data;
	if (!data && nbytes > 0)
		return explain(&made);
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

/* --- where the elements lie --- */

/* Steps of `stride` bytes from one of `count` indices to the next. */
struct level {
	uint64_t stride, count;
};

/* The dimensions that there is something to step over in, those of short strides first. The span
 * fits 63 bits, and so does every extent that is part of it. */
struct layout {
	uint32_t count;
	struct level levels[SIMPLER_MAX_DIMS];
	uint64_t before, span;
};

static void insert_level(struct layout *layout, struct level level)
{
	uint32_t at = layout->count++;

	for (; at > 0 && layout->levels[at - 1].stride > level.stride; at--)
		layout->levels[at] = layout->levels[at - 1];
	layout->levels[at] = level;
}

static bool add_dimension(struct layout *layout, size_t element, int64_t count, int64_t stride)
{
	bool backwards = stride < 0;
	uint64_t steps = (uint64_t)count - 1, bytes, extent;

	if (!checked_mul(backwards ? 0 - (uint64_t)stride : (uint64_t)stride, element, &bytes) ||
	    !checked_mul(bytes, steps, &extent) ||
	    !checked_add(layout->span, extent, &layout->span) || layout->span > INT64_MAX)
		return false;
	if (backwards)
		layout->before += extent;
	insert_level(layout, (struct level){ .stride = bytes, .count = (uint64_t)count });
	return true;
}

/* Of a valid tensor that has elements. False when its span does not fit 63 bits. */
static bool lay_out(const simpler_tensor *tensor, struct layout *layout)
{
	size_t element = simpler_dtype_size(tensor->dtype);

	*layout = (struct layout){ .span = element };
	for (uint32_t i = 0; i < tensor->ndim; i++) {
		if (tensor->shape[i] > 1 &&
		    !add_dimension(layout, element, tensor->shape[i], tensor->strides[i]))
			return false;
	}
	return true;
}

/* Find rows: a level extends the run, or the rows, that those below it make; or it is the first to
 * leave gaps and makes the rows; or there are none. */
static void find_rows(const struct layout *layout, size_t element, struct tensor_footprint *out)
{
	uint64_t run = element, pitch = 0, rows = 1;

	for (uint32_t i = 0; i < layout->count; i++) {
		const struct level *level = &layout->levels[i];

		if (pitch == 0 && level->stride <= run) {
			run += (level->count - 1) * level->stride;
		} else if (pitch == 0) {
			pitch = level->stride;
			rows = level->count;
		} else if (level->stride % pitch == 0 && level->stride / pitch <= rows) {
			rows += (level->count - 1) * (level->stride / pitch);
		} else {
			return;
		}
	}
	if (pitch > 0) {
		out->pitch = pitch;
		out->width = run;
	}
}

simpler_status tensor_footprint(const simpler_tensor *tensor, struct tensor_footprint *out)
{
	struct layout layout;
	uint64_t count, nbytes;

	*out = (struct tensor_footprint){ 0 };
	if (!shape_valid(tensor, &count, &nbytes))
		return explain(tensor);
	if (nbytes == 0)
		return SIMPLER_OK;
	if (!lay_out(tensor, &layout))
		return error_raise(SIMPLER_EINVAL,
		                   "the strides of a tensor of %s span a size in bytes that does "
		                   "not fit 63 bits",
		                   simpler_dtype_name(tensor->dtype));
	out->before = layout.before;
	out->span = layout.span;
	find_rows(&layout, simpler_dtype_size(tensor->dtype), out);
	return SIMPLER_OK;
}

bool tensor_may_overlap(const simpler_tensor *tensor)
{
	struct layout layout;
	uint64_t count, nbytes, extent;

	if (!shape_valid(tensor, &count, &nbytes) || nbytes == 0 || !lay_out(tensor, &layout))
		return false;
	extent = simpler_dtype_size(tensor->dtype);
	for (uint32_t i = 0; i < layout.count; i++) {
		const struct level *level = &layout.levels[i];

		if (level->stride < extent)
			return true;
		extent += (level->count - 1) * level->stride;
	}
	return false;
}
