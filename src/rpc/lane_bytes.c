#include "rpc/lane_bytes.h"

#include <stdlib.h>

#include "wire/little_endian.h"

#define FIRST_BYTES ((size_t)4096)
#define KEPT_BYTES  ((size_t)4 << 20)

uint8_t *lane_bytes_room(struct lane_bytes *bytes, size_t size)
{
	size_t capacity = bytes->capacity ? bytes->capacity : FIRST_BYTES;
	uint8_t *grown;

	while (capacity - bytes->size < size)
		capacity *= 2;
	if (capacity != bytes->capacity) {
		grown = realloc(bytes->bytes, capacity);
		if (!grown)
			return NULL;
		bytes->bytes = grown;
		bytes->capacity = capacity;
	}
	return bytes->bytes + bytes->size;
}

void lane_bytes_clear(struct lane_bytes *bytes)
{
	bytes->size = 0;
	if (bytes->capacity > KEPT_BYTES)
		lane_bytes_release(bytes);
}

void lane_bytes_release(struct lane_bytes *bytes)
{
	free(bytes->bytes);
	*bytes = (struct lane_bytes){ 0 };
}

size_t lane_bytes_cut(const uint8_t *bytes, size_t size, size_t most)
{
	size_t cut = load_le32(bytes);

	if (size <= most)
		return size;
	while (cut + load_le32(bytes + cut) <= most)
		cut += load_le32(bytes + cut);
	return cut;
}
