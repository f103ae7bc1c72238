/*
 * What parents and daemons say about shared memory: a place, an ask, an answer; the first byte says
 * which. What is accepted stays what it is when it is encoded and decoded again. Seeds:
 * make-ipc-seeds.
 */
#include <stdlib.h>
#include <string.h>

#include "wire/shm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_place(const uint8_t *data, size_t size)
{
	uint8_t bytes[SHM_PLACE_BYTES];
	struct shm_place place;

	if (shm_place_decode(data, size, &place) != SIMPLER_OK)
		return;
	shm_place_encode(&place, bytes);
	if (size != sizeof(bytes) || memcmp(bytes, data, size) != 0 ||
	    place.offset + place.nbytes > INT64_MAX)
		abort();
}

static void try_ask(const uint8_t *data, size_t size)
{
	uint8_t bytes[SHM_ASK_MAX];
	struct shm_ask ask;

	if (shm_ask_decode(data, size, &ask) != SIMPLER_OK)
		return;
	if (shm_ask_encode(&ask, bytes, sizeof(bytes)) != size || memcmp(bytes, data, size) != 0 ||
	    ask.session == 0)
		abort();
}

static void try_answer(const uint8_t *data, size_t size)
{
	uint8_t bytes[SHM_ANSWER_MAX];
	struct shm_answer answer, again;
	size_t encoded;

	if (shm_answer_decode(data, size, &answer) != SIMPLER_OK)
		return;
	encoded = shm_answer_encode(&answer, bytes, sizeof(bytes));
	if (encoded == 0 || shm_answer_decode(bytes, encoded, &again) != SIMPLER_OK)
		abort();
	if (again.status != answer.status || again.segment != answer.segment ||
	    again.bytes != answer.bytes)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const targets[])(const uint8_t *, size_t) = { try_place, try_ask,
		                                                    try_answer };

	if (size > 0)
		targets[data[0] % 3](data + 1, size - 1);
	return 0;
}
