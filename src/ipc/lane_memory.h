/*
 * The memory of a lane between two processes of one machine, client and node: a ring of dispatches,
 * a ring of outcomes, and what each side sleeps at.
 *
 *   the lane's own memory, made by the node    struct lane_shared, the two rings
 *   the client's bells, made by the client     struct lane_bells, for all its lanes
 *
 * The node's thread sleeps at a bell in the lane's memory; there is one for each lane, so no client
 * comes near another's. Who waits at the client sleeps at the client's bells, whichever node
 * answers: a bit for each lane says whose ring has something, which is a hint, as any of the nodes
 * may overwrite it. What is in a ring is records of rpc/lane_record.h, several to a ring's record.
 *
 * A ring that is full is one whose consumer is asked to say when there is room, which it does in
 * the way it tells of records. So neither waits, and a consumer that never says is one that gets
 * nothing more.
 *
 * Either side may be hostile: what it writes here is checked where it is read (ipc/ring.h), costs
 * the other a look in vain, or keeps it asleep until it looks of itself, as it does now and then.
 */
#ifndef IPC_LANE_MEMORY_H
#define IPC_LANE_MEMORY_H

#include "ipc/ring.h"

#define LANE_RING_BYTES  (UINT64_C(256) << 10)
#define LANE_BATCH_MAX   ((size_t)64 << 10) /* bytes of one ring record */
#define LANE_BELLS_LANES 512u
#define LANE_LOOK_MS     1000 /* how often who sleeps looks of itself */

/* All zero is its initial state. */
struct lane_shared {
	struct doorbell node;
	/* The producer of a ring waits for room in it. */
	_Atomic uint32_t client_wants_room;
	uint8_t pad_client[60];
	_Atomic uint32_t node_wants_room;
	uint8_t pad_node[60];
};

/* All zero is its initial state. */
struct lane_bells {
	struct doorbell_pair pair;
	_Atomic uint64_t hints[LANE_BELLS_LANES / 64]; /* a bit for each lane */
};

size_t lane_memory_bytes(void);
/* Memory of so many bytes, all zero, page-aligned, which has not been given away yet. */
void lane_memory_init(void *memory);

/* One side of a lane. Process-local. */
struct lane_end {
	struct lane_shared *shared;
	struct ring in, out;
	_Atomic uint32_t *wants_room, *other_wants_room;
	/* What did not fit: whoever takes `stuck` back puts it. */
	_Atomic bool stuck;
	const uint8_t *bytes;
	size_t size;
};

/* Once each. */
void lane_end_attach_client(struct lane_end *end, void *memory);
void lane_end_attach_node(struct lane_end *end, void *memory);

enum lane_put {
	LANE_PUT,    /* it is there, and the other side is to be told */
	LANE_STUCK,  /* there is no room; the bytes stay until lane_end_put_rest() has put them */
	LANE_BROKEN, /* it cannot go on, as the thread's last error says */
};

/* Put a batch of at most LANE_BATCH_MAX bytes in. By one thread at a time, and not while another is
 * stuck. */
enum lane_put lane_end_put(struct lane_end *end, const uint8_t *bytes, size_t size);
/* The other side has told of something, which may be room. True when what was stuck is put, or
 * cannot be; then `*out` says which. */
bool lane_end_put_rest(struct lane_end *end, enum lane_put *out);
/* As many batches as are there and fit, one behind the other. By one thread at a time.
 *
 * @param[out] tells The other side waits for the room that this made, and is to be told. */
simpler_status lane_end_take(struct lane_end *end, uint8_t *bytes, size_t capacity, size_t *size,
                             bool *tells);

/* Have the client look at a lane of its own. */
void lane_bells_tell(struct lane_bells *bells, uint32_t lane);
/* Whether there is a hint. */
bool lane_bells_any(struct lane_bells *bells);
/* The hints of 64 lanes, which are not given any more. */
uint64_t lane_bells_take(struct lane_bells *bells, uint32_t word);

#endif
