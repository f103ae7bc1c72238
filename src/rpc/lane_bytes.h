/* Records that wait to go out by a lane, one behind the other; see rpc/lane_record.h. */
#ifndef RPC_LANE_BYTES_H
#define RPC_LANE_BYTES_H

#include <stddef.h>
#include <stdint.h>

/* All zero to begin with. */
struct lane_bytes {
	uint8_t *bytes;
	size_t size, capacity;
};

/* Room for so many more, behind those that are there; they count when the caller adds them to
 * `size`. NULL when memory is out. */
uint8_t *lane_bytes_room(struct lane_bytes *bytes, size_t size);
/* Nothing is in it any more. Much memory is given back, so that one large record or one burst is
 * not kept for as long as the lane lasts. */
void lane_bytes_clear(struct lane_bytes *bytes);
void lane_bytes_release(struct lane_bytes *bytes);
/* How many of the bytes, which are whole records and at least one, are the next batch: as many
 * records as have room in `most` bytes, and one in any case. */
size_t lane_bytes_cut(const uint8_t *bytes, size_t size, size_t most);

#endif
