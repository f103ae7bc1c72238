#include "ipc/mailbox.h"

#include <assert.h>
#include <string.h>

_Static_assert(RECORD_TASK_MAX <= MAILBOX_PAYLOAD_BYTES, "a task record fits a mailbox");
_Static_assert(RECORD_OUTCOME_MAX <= MAILBOX_PAYLOAD_BYTES, "an outcome record fits a mailbox");
_Static_assert(sizeof(struct mailbox) % 64 == 0, "mailboxes lie one behind the other");

static uint64_t make_word(uint32_t generation, enum mailbox_state state)
{
	return (uint64_t)generation << 32 | (uint64_t)state;
}

static bool is_drawn(enum mailbox_state from, enum mailbox_state to)
{
	switch (to) {
	case MAILBOX_FREE:
		return from == MAILBOX_DONE || from == MAILBOX_LOST;
	case MAILBOX_READY:
		return from == MAILBOX_FREE;
	case MAILBOX_RUNNING:
		return from == MAILBOX_READY;
	case MAILBOX_DONE:
		return from == MAILBOX_RUNNING;
	case MAILBOX_LOST:
		return from == MAILBOX_READY || from == MAILBOX_RUNNING;
	}
	return false;
}

bool mailbox_move(struct mailbox *box, uint32_t generation, enum mailbox_state from,
                  enum mailbox_state to)
{
	uint64_t now = make_word(generation, from);
	uint32_t next = to == MAILBOX_FREE ? generation + 1 : generation;

	assert(is_drawn(from, to));
	return atomic_compare_exchange_strong(&box->word, &now, make_word(next, to));
}

static uint64_t read_word(struct mailbox *box)
{
	return atomic_load(&box->word);
}

enum mailbox_state mailbox_state(struct mailbox *box, uint32_t generation)
{
	uint64_t word = read_word(box);

	for (int state = MAILBOX_READY; state <= MAILBOX_LOST; state++) {
		if (word == make_word(generation, (enum mailbox_state)state))
			return (enum mailbox_state)state;
	}
	return MAILBOX_FREE;
}

simpler_status mailbox_post(struct mailbox *box, uint32_t generation,
                            const struct record_task *task)
{
	size_t size;

	/* Before the payload is touched: it is the worker's unless the box is free. */
	if (read_word(box) != make_word(generation, MAILBOX_FREE))
		return error_raise(SIMPLER_ESTATE, "the mailbox is not free at generation %u",
		                   generation);
	size = record_task_encode(task, box->payload, sizeof(box->payload));
	assert(size > 0);
	atomic_store_explicit(&box->payload_size, (uint32_t)size, memory_order_relaxed);
	if (!mailbox_move(box, generation, MAILBOX_FREE, MAILBOX_READY))
		return error_raise(SIMPLER_EPROTOCOL, "a worker wrote to a mailbox that was free");
	doorbell_ring(&box->to_worker);
	return SIMPLER_OK;
}

/* A worker that breaks the rules could change the payload while it is decoded: decode a copy. */
static simpler_status decode_outcome(struct mailbox *box, struct record_outcome *out)
{
	uint32_t size = atomic_load_explicit(&box->payload_size, memory_order_relaxed);
	uint8_t copy[RECORD_OUTCOME_MAX];

	if (size > sizeof(copy))
		return error_raise(SIMPLER_EPROTOCOL,
		                   "an outcome of %u bytes is over the limit of %zu", size,
		                   sizeof(copy));
	memcpy(copy, box->payload, size);
	return record_outcome_decode(copy, size, out);
}

simpler_status mailbox_collect(struct mailbox *box, uint32_t generation, struct record_outcome *out)
{
	simpler_status status;

	if (mailbox_state(box, generation) != MAILBOX_DONE)
		return error_raise(SIMPLER_ESTATE, "the mailbox is not done at generation %u",
		                   generation);
	status = decode_outcome(box, out);
	if (!mailbox_move(box, generation, MAILBOX_DONE, MAILBOX_FREE))
		return error_raise(SIMPLER_EPROTOCOL, "a worker wrote to a mailbox that was done");
	return status;
}

bool mailbox_abandon(struct mailbox *box, uint32_t generation)
{
	bool lost = mailbox_move(box, generation, MAILBOX_READY, MAILBOX_LOST) ||
	            mailbox_move(box, generation, MAILBOX_RUNNING, MAILBOX_LOST);

	/* It may have died asleep, or have written here what it liked. */
	atomic_store(&box->to_worker.sleepers, 0);
	atomic_store(&box->stop, 0);
	/* A store and no move, for whatever it left here; the dead do not write. */
	atomic_store(&box->word, make_word(generation + 1, MAILBOX_FREE));
	return lost;
}

bool mailbox_take(struct mailbox *box, uint32_t *generation)
{
	uint64_t word = read_word(box);

	*generation = (uint32_t)(word >> 32);
	return word == make_word(*generation, MAILBOX_READY) &&
	       mailbox_move(box, *generation, MAILBOX_READY, MAILBOX_RUNNING);
}

void mailbox_finish(struct mailbox *box, uint32_t generation, const struct record_outcome *outcome)
{
	size_t size = record_outcome_encode(outcome, box->payload, sizeof(box->payload));

	assert(size > 0);
	atomic_store_explicit(&box->payload_size, (uint32_t)size, memory_order_relaxed);
	/* It can fail only when the parent broke the rules, and then nobody waits for it. */
	(void)mailbox_move(box, generation, MAILBOX_RUNNING, MAILBOX_DONE);
}
