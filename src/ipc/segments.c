#include "ipc/segments.h"

#include <stdlib.h>

#include "base/error.h"
#include "os/memory.h"

void segments_init(struct segments *segments)
{
	*segments = (struct segments){ .entries = NULL };
	atomic_init(&segments->count, 0);
	(void)pthread_rwlock_init(&segments->lock, NULL);
}

void segments_release(struct segments *segments)
{
	for (uint32_t i = 0; i < atomic_load(&segments->count); i++)
		memory_unmap(segments->entries[i].base, segments->entries[i].bytes);
	free(segments->entries);
	(void)pthread_rwlock_destroy(&segments->lock);
}

/* --- under the lock --- */

/* Their number if it is none of them. */
static uint32_t place_of(const struct segments *segments, uint32_t id)
{
	uint32_t count = atomic_load_explicit(&segments->count, memory_order_relaxed), at = 0;

	while (at < count && segments->entries[at].id != id)
		at++;
	return at;
}

static simpler_status make_room(struct segments *segments)
{
	uint32_t wanted = segments->capacity ? segments->capacity * 2 : 8;
	struct memory_segment *grown;

	if (atomic_load(&segments->count) < segments->capacity)
		return SIMPLER_OK;
	grown = realloc(segments->entries, wanted * sizeof(*grown));
	if (!grown)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a memory segment");
	segments->entries = grown;
	segments->capacity = wanted;
	return SIMPLER_OK;
}

static simpler_status map(struct segments *segments, const struct record_segment *record, int fd)
{
	uint32_t count = atomic_load(&segments->count);
	uint64_t there;
	void *base;
	simpler_status status;

	if (place_of(segments, record->id) < count)
		return SIMPLER_OK;
	status = make_room(segments);
	if (status == SIMPLER_OK)
		status = memory_size(fd, &there);
	if (status == SIMPLER_OK && there < record->bytes)
		status = error_raise(SIMPLER_EPROTOCOL,
		                     "memory segment %u has fewer bytes than it is said to have",
		                     record->id);
	if (status == SIMPLER_OK)
		status = memory_map(fd, record->bytes, &base);
	if (status != SIMPLER_OK)
		return status;
	segments->entries[count] = (struct memory_segment){ record->id, base, record->bytes };
	atomic_store(&segments->count, count + 1);
	return SIMPLER_OK;
}

static void unmap(struct segments *segments, uint32_t id)
{
	uint32_t count = atomic_load(&segments->count), at = place_of(segments, id);

	if (at == count)
		return;
	memory_unmap(segments->entries[at].base, segments->entries[at].bytes);
	segments->entries[at] = segments->entries[count - 1];
	atomic_store(&segments->count, count - 1);
}

/* --- all --- */

simpler_status segments_take(struct segments *segments, const struct record_segment *record, int fd)
{
	simpler_status status = SIMPLER_OK;

	(void)pthread_rwlock_wrlock(&segments->lock);
	if (record->bytes > 0)
		status = map(segments, record, fd);
	else
		unmap(segments, record->id);
	(void)pthread_rwlock_unlock(&segments->lock);
	return status;
}

static bool holds(const struct memory_segment *segment, uintptr_t low, uint64_t span)
{
	uintptr_t base = (uintptr_t)segment->base;

	return low >= base && low - base <= segment->bytes && span <= segment->bytes - (low - base);
}

bool segments_at(struct segments *segments, uintptr_t low, uint64_t span,
                 struct memory_segment *out)
{
	bool found = false;

	if (atomic_load_explicit(&segments->count, memory_order_acquire) == 0)
		return false;
	(void)pthread_rwlock_rdlock(&segments->lock);
	for (uint32_t i = 0; i < atomic_load(&segments->count) && !found; i++) {
		found = holds(&segments->entries[i], low, span);
		if (found)
			*out = segments->entries[i];
	}
	(void)pthread_rwlock_unlock(&segments->lock);
	return found;
}

static bool find(struct segments *segments, uint32_t id, struct memory_segment *out)
{
	bool found;
	uint32_t at;

	(void)pthread_rwlock_rdlock(&segments->lock);
	at = place_of(segments, id);
	found = at < atomic_load(&segments->count);
	if (found)
		*out = segments->entries[at];
	(void)pthread_rwlock_unlock(&segments->lock);
	return found;
}

static const struct memory_segment *among(const struct memory_segment *known, uint32_t count,
                                          uint32_t id)
{
	for (uint32_t i = 0; i < count; i++) {
		if (known[i].id == id)
			return &known[i];
	}
	return NULL;
}

bool segments_of_task(struct segments *segments, const struct memory_segment *fixed,
                      uint32_t fixed_count, const struct record_task *task,
                      struct memory_segment *out, uint32_t *count)
{
	*count = 0;
	for (uint32_t i = 0; i < task->tensor_count; i++) {
		const struct record_tensor *tensor = &task->tensors[i];
		const struct memory_segment *known;

		if (tensor->nbytes == 0 || among(out, *count, tensor->segment))
			continue;
		known = among(fixed, fixed_count, tensor->segment);
		if (known)
			out[*count] = *known;
		else if (!find(segments, tensor->segment, &out[*count]))
			return false;
		++*count;
	}
	return true;
}
