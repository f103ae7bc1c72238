/* Every decoder of rpc/messages.h; the first byte says which. What one accepts can be encoded, and
 * is accepted again. Seeds: make-message-seeds. */
#include <stdint.h>
#include <stdlib.h>

#include "rpc/messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TARGET(name, type)                                                                         \
	static void try_##name(const uint8_t *bytes, size_t size)                                  \
	{                                                                                          \
		static struct type first, second;                                                  \
		struct bump bump, again;                                                           \
		struct rpc_buffer encoded;                                                         \
                                                                                                   \
		bump_init(&bump, MSG_BUMP_LIMIT(size));                                            \
		if (msg_##name##_decode(bytes, size, &bump, &first) == SIMPLER_OK) {               \
			if (msg_##name##_encode(&first, &encoded) != SIMPLER_OK)                   \
				abort();                                                           \
			bump_init(&again, MSG_BUMP_LIMIT(encoded.size));                           \
			if (msg_##name##_decode(encoded.data, encoded.size, &again, &second) !=    \
			    SIMPLER_OK)                                                            \
				abort();                                                           \
			bump_release(&again);                                                      \
			rpc_buffer_release(&encoded);                                              \
		}                                                                                  \
		bump_release(&bump);                                                               \
	}
TARGET(health, msg_health)
TARGET(handle, msg_handle)
TARGET(chunk, msg_chunk)
TARGET(alloc, msg_alloc)
TARGET(refresh, msg_refresh)
TARGET(dispatch, msg_dispatch)
TARGET(outcome, msg_outcome)
TARGET(callable_ref, msg_callable_ref)
TARGET(callable, msg_callable)
TARGET(free, msg_handle)
TARGET(module_ref, msg_module_ref)
TARGET(module_chunk, msg_module_chunk)
TARGET(attach, msg_attach)
TARGET(attached, msg_attached)
TARGET(read, msg_read)
TARGET(export, msg_export)
TARGET(grant, msg_grant)
TARGET(import, msg_import)
TARGET(status, msg_status)
TARGET(drain, msg_drain)
TARGET(stop_task, msg_stop_task)
TARGET(fabric, msg_fabric)
TARGET(fabric_joined, msg_fabric_joined)
TARGET(fabric_end, msg_fabric_end)

/* A chunk in parts of as many bytes as the first one says. */
static void try_parts(const uint8_t *bytes, size_t size)
{
	static struct rpc_part parts[4096];
	static struct msg_chunk chunk;
	size_t step = size > 0 ? bytes[0] + 1u : 1, count = 0, left, piece;
	struct msg_parts data;
	struct bump bump;

	for (size_t at = 1; at < size && count < 4096; at += step)
		parts[count++] =
			(struct rpc_part){ bytes + at, at + step < size ? step : size - at };
	bump_init(&bump, MSG_BUMP_LIMIT(size));
	if (msg_chunk_decode_parts(parts, count, &bump, &chunk, &data) == SIMPLER_OK) {
		for (left = chunk.data.size; msg_parts_next(&data, SIZE_MAX, &piece); left -= piece)
			;
		if (left != 0)
			abort();
	}
	bump_release(&bump);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const targets[])(const uint8_t *, size_t) = {
		try_health,     try_handle,    try_chunk,      try_alloc,
		try_refresh,    try_dispatch,  try_outcome,    try_callable_ref,
		try_callable,   try_free,      try_module_ref, try_module_chunk,
		try_attach,     try_attached,  try_read,       try_export,
		try_grant,      try_import,    try_parts,      try_status,
		try_drain,      try_stop_task, try_fabric,     try_fabric_joined,
		try_fabric_end,
	};

	if (size > 0)
		targets[data[0] % (sizeof(targets) / sizeof(targets[0]))](data + 1, size - 1);
	return 0;
}
