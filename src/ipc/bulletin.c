/*
 * A sequence lock: the words are atomic, so that reading one that is being written is no race, only
 * a reason to read again. Each is released and acquired, in place of fences, which a thread
 * sanitizer does not know: who sees one word of a publication sees that `turn` has moved on.
 */
#include "ipc/bulletin.h"

#include <assert.h>
#include <string.h>

#define WORDS (BULLETIN_BYTES / sizeof(uint64_t))
/* Copying takes less time than there is between two publications, by far. */
#define ATTEMPTS 4

void bulletin_publish(struct bulletin *bulletin, const void *bytes, size_t size)
{
	uint32_t turn = atomic_load_explicit(&bulletin->turn, memory_order_relaxed) | 1;
	uint64_t words[WORDS] = { 0 };

	assert(size <= BULLETIN_BYTES);
	memcpy(words, bytes, size);
	atomic_store_explicit(&bulletin->turn, turn, memory_order_relaxed);
	atomic_store_explicit(&bulletin->size, (uint32_t)size, memory_order_release);
	for (size_t i = 0; i < WORDS; i++)
		atomic_store_explicit(&bulletin->words[i], words[i], memory_order_release);
	atomic_store_explicit(&bulletin->turn, turn + 1, memory_order_release);
}

uint32_t bulletin_turn(const struct bulletin *bulletin)
{
	return atomic_load_explicit(&bulletin->turn, memory_order_acquire);
}

static bool try_to_read(const struct bulletin *bulletin, uint64_t words[WORDS], uint32_t *size)
{
	uint32_t turn = bulletin_turn(bulletin);

	if (turn == 0 || turn % 2 == 1)
		return false;
	*size = atomic_load_explicit(&bulletin->size, memory_order_acquire);
	for (size_t i = 0; i < WORDS; i++)
		words[i] = atomic_load_explicit(&bulletin->words[i], memory_order_acquire);
	return atomic_load_explicit(&bulletin->turn, memory_order_relaxed) == turn;
}

bool bulletin_read(const struct bulletin *bulletin, uint8_t bytes[BULLETIN_BYTES], size_t *size)
{
	uint64_t words[WORDS];
	uint32_t claimed;

	for (unsigned i = 0; i < ATTEMPTS; i++) {
		if (!try_to_read(bulletin, words, &claimed))
			continue;
		*size = claimed < BULLETIN_BYTES ? claimed : BULLETIN_BYTES;
		memcpy(bytes, words, BULLETIN_BYTES);
		return true;
	}
	return false;
}
