/*
 * Checking a tensor's description, for whoever is handed one, and telling which bytes its elements
 * have. Pure functions.
 */
#ifndef WIRE_TENSOR_H
#define WIRE_TENSOR_H

#include <stdint.h>

#include "base/error.h"
#include "simpler/tensor.h"

/* SIMPLER_EINVAL saying what is wrong with it, strides aside: see simpler_tensor_init(). `*nbytes`
 * is the size of its elements. */
simpler_status tensor_check(const simpler_tensor *tensor, uint64_t *nbytes);

/* simpler_tensor_init() for what is still to be given its place: `data` is NULL. On failure
 * `*tensor` is unspecified. */
simpler_status tensor_describe(simpler_tensor *tensor, simpler_dtype dtype, uint32_t ndim,
                               const int64_t *shape, uint64_t *nbytes);

/*
 * The bytes that a tensor's elements have, as rows of the same length at the same distance. An
 * empty tensor has none: all is 0.
 *
 *     data - before      |-width-|          |-width-|          |-width-|
 *                        |------pitch-------|
 *                        |---------------------span--------------------|
 *
 * Bytes that several elements have count once, and the order of the elements does not matter: the
 * transpose of a contiguous matrix is one run of bytes. Where `pitch` is 0 the bytes are taken to
 * be all of the span: they are one run, or they lie in another way than rows do, such as the middle
 * of a cube, and the span is what is certain to hold them.
 */
struct tensor_footprint {
	uint64_t before;       /* bytes of the span that lie before `data`: of negative strides */
	uint64_t span;         /* bytes from the lowest to past the highest */
	uint64_t pitch, width; /* 0 < width < pitch, or both 0 */
};

/* `data` does not matter here, and may be NULL. SIMPLER_EINVAL for what tensor_check() refuses
 * otherwise, and for strides that span more than 63 bits. */
simpler_status tensor_footprint(const simpler_tensor *tensor, struct tensor_footprint *out);

/*
 * Whether two elements may share a byte, of a tensor that has a footprint. False is certain. True
 * may be wrong for a layout whose dimensions interlock, such as strides of 2 and 3: it is taken to
 * overlap where a stride is shorter than what the shorter strides span.
 */
bool tensor_may_overlap(const simpler_tensor *tensor);

#endif
