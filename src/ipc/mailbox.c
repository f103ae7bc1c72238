#include "ipc/mailbox.h"

#include <assert.h>
#include <string.h>

#include "base/inject.h"

_Static_assert(RECORD_TASK_MAX <= MAILBOX_PAYLOAD_BYTES, "a task record fits a slot");
_Static_assert(RECORD_OUTCOME_MAX <= MAILBOX_PAYLOAD_BYTES, "an outcome record fits a slot");
_Static_assert(sizeof(struct mailbox_slot) % 128 == 64, "an odd number of cache lines");

static uint64_t make_word(uint32_t generation, enum mailbox_state state)
{
	return (uint64_t)generation << 32 | (uint64_t)state;
}

static bool is_drawn(enum mailbox_state from, enum mailbox_state to)
{
	switch (to) {
	case MAILBOX_FREE:
		return from == MAILBOX_DONE || from == MAILBOX_LOST || from == MAILBOX_READY;
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

/* Tests have something happen before each move, and behind it (base/inject.h). */
static void pass(enum mailbox_state from, enum mailbox_state to, bool behind)
{
	static const char *const names[MAILBOX_LOST + 1][MAILBOX_LOST + 1][2] = {
		[MAILBOX_FREE][MAILBOX_READY] = { "mailbox.post", "mailbox.posted" },
		[MAILBOX_READY][MAILBOX_RUNNING] = { "mailbox.take", "mailbox.taken" },
		[MAILBOX_RUNNING][MAILBOX_DONE] = { "mailbox.finish", "mailbox.finished" },
		[MAILBOX_DONE][MAILBOX_FREE] = { "mailbox.collect", "mailbox.collected" },
		[MAILBOX_READY][MAILBOX_FREE] = { "mailbox.retract", "mailbox.retracted" },
		[MAILBOX_READY][MAILBOX_LOST] = { "mailbox.lose_ready", "mailbox.lost_ready" },
		[MAILBOX_RUNNING][MAILBOX_LOST] = { "mailbox.lose_running",
		                                    "mailbox.lost_running" },
	};
	/* LOST to FREE has none here: mailbox_abandon() stores it. */
	const char *name = names[from][to][behind];

	if (name)
		(void)INJECT(name);
}

bool mailbox_move(struct mailbox_slot *slot, uint32_t generation, enum mailbox_state from,
                  enum mailbox_state to)
{
	uint64_t now = make_word(generation, from);
	uint32_t next = to == MAILBOX_FREE ? generation + 1 : generation;
	bool moved;

	assert(is_drawn(from, to));
	pass(from, to, false);
	moved = atomic_compare_exchange_strong(&slot->word, &now, make_word(next, to));
	if (moved)
		pass(from, to, true);
	return moved;
}

/* MAILBOX_FREE for a word that is none of `generation`. */
static enum mailbox_state state_in(uint64_t word, uint32_t generation)
{
	for (int state = MAILBOX_READY; state <= MAILBOX_LOST; state++) {
		if (word == make_word(generation, (enum mailbox_state)state))
			return (enum mailbox_state)state;
	}
	return MAILBOX_FREE;
}

enum mailbox_state mailbox_state(struct mailbox_slot *slot, uint32_t generation)
{
	return state_in(atomic_load(&slot->word), generation);
}

/* --- parent --- */

simpler_status mailbox_post(struct mailbox_slot *slot, uint32_t generation,
                            const struct record_task *task)
{
	size_t size;

	/* Before the payload is touched: it is the worker's unless the slot is free. */
	if (atomic_load(&slot->word) != make_word(generation, MAILBOX_FREE))
		return error_raise(SIMPLER_ESTATE,
		                   "a slot of the mailbox is not free at generation %u",
		                   generation);
	size = record_task_encode(task, slot->payload, sizeof(slot->payload));
	assert(size > 0);
	atomic_store_explicit(&slot->payload_size, (uint32_t)size, memory_order_relaxed);
	atomic_store_explicit(&slot->stop, 0, memory_order_relaxed);
	if (!mailbox_move(slot, generation, MAILBOX_FREE, MAILBOX_READY))
		return error_raise(SIMPLER_EPROTOCOL, "a worker wrote to a slot that was free");
	return SIMPLER_OK;
}

void mailbox_wake(struct mailbox *box)
{
	doorbell_wake(&box->to_worker);
}

bool mailbox_retract(struct mailbox_slot *slot, uint32_t generation)
{
	return mailbox_move(slot, generation, MAILBOX_READY, MAILBOX_FREE);
}

void mailbox_stop(struct mailbox *box, uint32_t slot)
{
	atomic_store(&box->slots[slot].stop, 1);
	(void)doorbell_ring(&box->to_worker);
}

/* A worker that breaks the rules could change the payload while it is decoded: decode a copy. */
static simpler_status decode_outcome(struct mailbox_slot *slot, struct record_outcome *out)
{
	uint32_t size = atomic_load_explicit(&slot->payload_size, memory_order_relaxed);
	uint8_t copy[RECORD_OUTCOME_MAX];

	if (size > sizeof(copy))
		return error_raise(SIMPLER_EPROTOCOL,
		                   "an outcome of %u bytes is over the limit of %zu", size,
		                   sizeof(copy));
	memcpy(copy, slot->payload, size);
	return record_outcome_decode(copy, size, out);
}

simpler_status mailbox_collect(struct mailbox_slot *slot, uint32_t generation,
                               struct record_outcome *out)
{
	simpler_status status;

	if (mailbox_state(slot, generation) != MAILBOX_DONE)
		return error_raise(SIMPLER_ESTATE, "the slot is not done at generation %u",
		                   generation);
	status = decode_outcome(slot, out);
	if (!mailbox_move(slot, generation, MAILBOX_DONE, MAILBOX_FREE))
		return error_raise(SIMPLER_EPROTOCOL, "a worker wrote to a slot that was done");
	return status;
}

enum mailbox_state mailbox_abandon(struct mailbox_slot *slot, uint32_t generation)
{
	enum mailbox_state before = mailbox_state(slot, generation);

	if (before == MAILBOX_READY || before == MAILBOX_RUNNING)
		(void)mailbox_move(slot, generation, before, MAILBOX_LOST);
	atomic_store(&slot->stop, 0);
	(void)INJECT("mailbox.free_lost");
	/* A store and no move, for whatever it left here; the dead do not write. */
	atomic_store(&slot->word, make_word(generation + 1, MAILBOX_FREE));
	return before;
}

void mailbox_reset(struct mailbox *box)
{
	/* It may have died asleep, or have written here what it liked. */
	doorbell_reset(&box->to_worker);
}

/* --- worker --- */

uint32_t mailbox_ticket(struct mailbox *box)
{
	return doorbell_ticket(&box->to_worker);
}

static bool is_ready(struct mailbox_slot *slot, uint32_t *generation)
{
	uint64_t word = atomic_load(&slot->word);

	*generation = (uint32_t)(word >> 32);
	return word == make_word(*generation, MAILBOX_READY);
}

bool mailbox_take(struct mailbox *box, uint32_t *next, uint32_t *slot, uint32_t *generation)
{
	for (uint32_t i = 0; i < MAILBOX_SLOTS; i++) {
		uint32_t at = (*next + i) % MAILBOX_SLOTS;

		/* The parent may take it back in between. */
		if (is_ready(&box->slots[at], generation) &&
		    mailbox_move(&box->slots[at], *generation, MAILBOX_READY, MAILBOX_RUNNING)) {
			*slot = at;
			*next = (at + 1) % MAILBOX_SLOTS;
			return true;
		}
	}
	return false;
}

/* Copied before it is looked at: other workers' user code could write here meanwhile. */
simpler_status mailbox_read(struct mailbox *box, uint32_t slot, struct record_task *out)
{
	const struct mailbox_slot *from = &box->slots[slot];
	uint32_t size = atomic_load_explicit(&from->payload_size, memory_order_relaxed);
	uint8_t copy[RECORD_TASK_MAX];

	out->token = 0;
	if (size > sizeof(copy))
		return error_raise(SIMPLER_EPROTOCOL, "a task of %u bytes is over the limit of %zu",
		                   size, sizeof(copy));
	memcpy(copy, from->payload, size);
	return record_task_decode(copy, size, out);
}

bool mailbox_is_stopped(struct mailbox *box, uint32_t slot)
{
	return atomic_load(&box->slots[slot].stop) != 0;
}

void mailbox_finish(struct mailbox *box, uint32_t slot, uint32_t generation,
                    const struct record_outcome *outcome)
{
	struct mailbox_slot *to = &box->slots[slot];
	size_t size = record_outcome_encode(outcome, to->payload, sizeof(to->payload));

	assert(size > 0);
	atomic_store_explicit(&to->payload_size, (uint32_t)size, memory_order_relaxed);
	/* It can fail only when the parent broke the rules, and then nobody waits for it. */
	(void)mailbox_move(to, generation, MAILBOX_RUNNING, MAILBOX_DONE);
}

static bool any_ready(void *context)
{
	struct mailbox *box = context;
	uint32_t generation;
	bool ready = false;

	for (uint32_t i = 0; i < MAILBOX_SLOTS && !ready; i++)
		ready = is_ready(&box->slots[i], &generation);
	return ready;
}

bool mailbox_wait(struct mailbox *box, uint32_t ticket, struct spin_budget *spin, int64_t deadline)
{
	return doorbell_wait_for(&box->to_worker, ticket, spin, deadline, any_ready, box);
}
