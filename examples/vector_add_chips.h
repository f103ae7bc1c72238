/*
 * What the program and the module of this example have in common: how one vector addition becomes a
 * task for each of two chips. The program calls it for chips of its own, the module on a node.
 */
#ifndef VECTOR_ADD_CHIPS_H
#define VECTOR_ADD_CHIPS_H

#include <simpler/orch.h>

#define CHIPS 2

/* Elements [from, to) of a vector, as a vector. */
static inline simpler_status slice(const simpler_args *args, size_t index, int64_t from, int64_t to,
                                   simpler_tensor *out)
{
	simpler_tensor whole;

	if (simpler_args_tensor(args, index, &whole) != SIMPLER_OK)
		return simpler_last_status();
	if (whole.ndim != 1 || to > whole.shape[0])
		return simpler_fail(SIMPLER_EINVAL, "tensor %zu is no vector of %lld elements",
		                    index, (long long)to);
	return simpler_tensor_init_1d(
		out, (char *)whole.data + (size_t)from * simpler_dtype_size(whole.dtype),
		whole.dtype, to - from);
}

/* Arguments of chip `chip`: its share of x, y and z, and its place in `ran_in`. */
static inline simpler_status share(const simpler_args *args, int64_t chip, simpler_args *out)
{
	static const simpler_tag tags[] = { SIMPLER_INPUT, SIMPLER_INPUT, SIMPLER_OUTPUT };
	simpler_tensor x, part;
	simpler_status status = simpler_args_tensor(args, 0, &x);

	for (size_t i = 0; i < 3 && status == SIMPLER_OK; i++) {
		int64_t count = (int64_t)simpler_tensor_count(&x);

		status = slice(args, i, count * chip / CHIPS, count * (chip + 1) / CHIPS, &part);
		if (status == SIMPLER_OK)
			status = simpler_args_add_tensor(out, &part, tags[i], SIMPLER_SHARED);
	}
	if (status == SIMPLER_OK)
		status = slice(args, 3, chip, chip + 1, &part);
	if (status == SIMPLER_OK)
		status = simpler_args_add_tensor(out, &part, SIMPLER_OUTPUT, SIMPLER_SHARED);
	return status;
}

/* z = x + y, half of it on each of two chips at once. A group, so that they are two. */
static inline simpler_status add_on_two_chips(simpler_orch *orch, simpler_chip kernel,
                                              const simpler_args *args)
{
	simpler_args *shares[CHIPS] = { simpler_args_create(), simpler_args_create() };
	const simpler_args *members[CHIPS] = { shares[0], shares[1] };
	simpler_status status = SIMPLER_OK;

	for (int64_t chip = 0; chip < CHIPS && status == SIMPLER_OK; chip++)
		status = share(args, chip, shares[chip]);
	if (status == SIMPLER_OK)
		status = simpler_submit_chip_group(orch, kernel, members, CHIPS, NULL, NULL);
	for (size_t chip = 0; chip < CHIPS; chip++)
		simpler_args_destroy(shares[chip]);
	return status;
}

#endif
