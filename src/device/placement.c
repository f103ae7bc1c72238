#include "device/placement.h"

#include "wire/args.h"

static void describe(struct placement *placement, const struct simpler_args *args)
{
	placement->tensor_count = args->tensor_count;
	placement->block_count = 0;
	for (uint32_t i = 0; i < args->tensor_count; i++) {
		struct placed *placed = &placement->tensors[i];
		simpler_tag tag = args->tags[i];

		layout_init(&placed->layout, &args->tensors[i]);
		placed->reads =
			tag == SIMPLER_INPUT || tag == SIMPLER_INOUT || tag == SIMPLER_NO_DEP;
		placed->writes = tag == SIMPLER_OUTPUT || tag == SIMPLER_INOUT ||
		                 tag == SIMPLER_OUTPUT_EXISTING;
		placed->block = PLACEMENT_NO_BLOCK;
		placed->offset = 0;
	}
}

/* Contiguous tensors before others, and those by their addresses. */
static bool comes_before(const struct layout *a, const struct layout *b)
{
	if (layout_is_contiguous(a) != layout_is_contiguous(b))
		return layout_is_contiguous(a);
	return (uintptr_t)a->data < (uintptr_t)b->data;
}

static void sort(struct placement *placement)
{
	for (uint32_t i = 0; i < placement->tensor_count; i++) {
		const struct layout *layout = &placement->tensors[i].layout;
		uint32_t at = i;

		for (; at > 0; at--) {
			uint32_t before = placement->order[at - 1];

			if (!comes_before(layout, &placement->tensors[before].layout))
				break;
			placement->order[at] = before;
		}
		placement->order[at] = i;
	}
}

static void add_block(struct placement *placement, struct placed *placed)
{
	placed->block = placement->block_count++;
	placement->blocks[placed->block] = placed->layout.bytes;
}

/* `placed` begins no earlier than `first`, with which the last block begins. Whether it shares a
 * byte with what is in there. */
static bool join_block(struct placement *placement, const struct placed *first,
                       struct placed *placed)
{
	uint64_t offset, end;

	if (!first)
		return false;
	offset = (uint64_t)(placed->layout.data - first->layout.data);
	if (offset >= placement->blocks[first->block])
		return false;
	placed->block = first->block;
	placed->offset = offset;
	end = offset + placed->layout.bytes;
	if (end > placement->blocks[first->block])
		placement->blocks[first->block] = end;
	return true;
}

static void place_contiguous(struct placement *placement)
{
	const struct placed *first = NULL;

	for (uint32_t i = 0; i < placement->tensor_count; i++) {
		struct placed *placed = &placement->tensors[placement->order[i]];

		if (!layout_is_contiguous(&placed->layout) || placed->layout.bytes == 0 ||
		    join_block(placement, first, placed))
			continue;
		add_block(placement, placed);
		first = placed;
	}
}

static void place_strided(struct placement *placement, uint32_t index)
{
	struct placed *placed = &placement->tensors[index];

	for (uint32_t i = 0; i < index; i++) {
		const struct placed *other = &placement->tensors[i];

		if (layout_equals(&placed->layout, &other->layout)) {
			placed->block = other->block;
			return;
		}
	}
	add_block(placement, placed);
}

/* Tensors of different blocks must not share what is written. */
static simpler_status check_pair(const struct placement *placement, uint32_t a, uint32_t b)
{
	const struct placed *one = &placement->tensors[a], *other = &placement->tensors[b];

	if (one->block == other->block || (!one->writes && !other->writes) ||
	    !layout_overlaps(&one->layout, &other->layout))
		return SIMPLER_OK;
	return error_raise(SIMPLER_EINVAL,
	                   "tensors %u and %u of a chip task share bytes of the host, one is "
	                   "written, and they are not the same view: they would be packed into two "
	                   "places of the device. Make them the same view, or contiguous, or pass "
	                   "one of them",
	                   (unsigned)a, (unsigned)b);
}

static simpler_status check_strided(const struct placement *placement, uint32_t index)
{
	simpler_status status = SIMPLER_OK;

	for (uint32_t i = 0; i < placement->tensor_count && !status; i++) {
		bool checked = i <= index && !layout_is_contiguous(&placement->tensors[i].layout);

		if (!checked)
			status =
				check_pair(placement, i < index ? i : index, i < index ? index : i);
	}
	return status;
}

simpler_status placement_make(struct placement *placement, const simpler_args *args)
{
	simpler_status status = SIMPLER_OK;

	describe(placement, args);
	sort(placement);
	place_contiguous(placement);
	for (uint32_t i = 0; i < placement->tensor_count; i++) {
		if (!layout_is_contiguous(&placement->tensors[i].layout))
			place_strided(placement, i);
	}
	for (uint32_t i = 0; i < placement->tensor_count && !status; i++) {
		if (!layout_is_contiguous(&placement->tensors[i].layout))
			status = check_strided(placement, i);
	}
	return status;
}
