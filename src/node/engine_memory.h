/*
 * The memory of sessions that the engine of the day is told of, over its control socket: each
 * before the first task that may name it, all of them again when there is another engine.
 *
 * Not thread-safe: see engine_client.c. `control` is -1 while there is no engine that listens.
 */
#ifndef NODE_ENGINE_MEMORY_H
#define NODE_ENGINE_MEMORY_H

#include "wire/record.h"

struct engine_memory_entry {
	struct record_segment record;
	int fd;    /* borrowed; of no use once it has ended */
	bool told; /* this engine */
	bool ended;
};

struct engine_memory {
	struct engine_memory_entry *entries;
	uint32_t count;
};

/*
 * The engine is sent it before this returns, or will be before the next one gets tasks. `fd` is
 * borrowed until the end.
 *
 * @return SIMPLER_EUNAVAILABLE when the engine reads nothing just now; SIMPLER_ENOMEM.
 */
simpler_status engine_memory_share(struct engine_memory *memory, int control,
                                   const struct record_segment *record, int fd);
/* Nothing of it is used any more. */
void engine_memory_end(struct engine_memory *memory, int control, uint32_t id);

/* An engine has come up, and knows nothing yet. */
simpler_status engine_memory_begin(struct engine_memory *memory, int control);
/* Tell of ends that there was no room for. False when there are some left. */
bool engine_memory_flush(struct engine_memory *memory, int control);
void engine_memory_release(struct engine_memory *memory);

#endif
