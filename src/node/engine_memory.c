#include "node/engine_memory.h"

#include <stdlib.h>

#include "ipc/install.h"
#include "os/descriptor.h"

static bool has_room(int control)
{
	struct pollfd entry = { .fd = control, .events = POLLOUT };

	return control >= 0 && descriptor_poll(&entry, 1, 0) > 0;
}

static simpler_status add(struct engine_memory *memory, const struct record_segment *record, int fd)
{
	struct engine_memory_entry *grown =
		realloc(memory->entries, (memory->count + 1) * sizeof(*grown));

	if (!grown)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a memory segment");
	memory->entries = grown;
	grown[memory->count++] = (struct engine_memory_entry){ .record = *record, .fd = fd };
	return SIMPLER_OK;
}

static void forget(struct engine_memory *memory, uint32_t at)
{
	memory->entries[at] = memory->entries[--memory->count];
}

static simpler_status tell(struct engine_memory_entry *entry, int control)
{
	simpler_status status = segment_send(control, &entry->record, entry->fd);

	entry->told = status == SIMPLER_OK;
	return status;
}

simpler_status engine_memory_share(struct engine_memory *memory, int control,
                                   const struct record_segment *record, int fd)
{
	simpler_status status;

	for (uint32_t i = 0; i < memory->count; i++) {
		if (memory->entries[i].record.id == record->id)
			return SIMPLER_OK;
	}
	status = add(memory, record, fd);
	if (status != SIMPLER_OK || control < 0)
		return status;
	if (has_room(control))
		status = tell(&memory->entries[memory->count - 1], control);
	else
		status = error_raise(SIMPLER_EUNAVAILABLE,
		                     "the node's engine is busy and cannot be told of memory; try "
		                     "again");
	if (status != SIMPLER_OK)
		forget(memory, memory->count - 1);
	return status;
}

void engine_memory_end(struct engine_memory *memory, int control, uint32_t id)
{
	for (uint32_t i = 0; i < memory->count; i++) {
		struct engine_memory_entry *entry = &memory->entries[i];

		if (entry->record.id != id)
			continue;
		entry->ended = true;
		entry->fd = -1;
		(void)engine_memory_flush(memory, control);
		return;
	}
}

bool engine_memory_flush(struct engine_memory *memory, int control)
{
	bool all = true;

	for (uint32_t i = memory->count; i-- > 0;) {
		const struct engine_memory_entry *entry = &memory->entries[i];
		const struct record_segment end = { .id = entry->record.id };

		if (!entry->ended)
			continue;
		if (entry->told && control >= 0 && !has_room(control)) {
			all = false;
			continue;
		}
		/* One that cannot be told is dying, and the next one never knew. */
		if (entry->told && control >= 0)
			(void)segment_send(control, &end, -1);
		forget(memory, i);
	}
	return all;
}

simpler_status engine_memory_begin(struct engine_memory *memory, int control)
{
	simpler_status status = SIMPLER_OK;

	for (uint32_t i = memory->count; i-- > 0;) {
		memory->entries[i].told = false;
		if (memory->entries[i].ended)
			forget(memory, i);
	}
	for (uint32_t i = 0; i < memory->count && status == SIMPLER_OK; i++)
		status = tell(&memory->entries[i], control);
	return status;
}

void engine_memory_release(struct engine_memory *memory)
{
	free(memory->entries);
}
