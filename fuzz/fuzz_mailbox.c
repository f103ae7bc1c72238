/*
 * A parent and a worker of one mailbox, and a third who writes into the shared memory under both.
 * Whatever it writes, each side refuses or keeps to its bounds, and a slot that the parent has
 * given up or collected is free for it again. The input is a list of steps: see step(). Seeds:
 * make-ipc-seeds.
 */
#include <stdlib.h>
#include <string.h>

#include "ipc/mailbox.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *next;
	size_t left;
};

struct world {
	struct mailbox *box;
	uint32_t generation[MAILBOX_SLOTS]; /* the parent's own */
	uint32_t next;                      /* where the worker looks */
	struct record_task task;
	struct record_outcome outcome;
};

static uint32_t read_number(struct input *input, size_t bytes)
{
	uint32_t number = 0;

	for (; bytes > 0 && input->left > 0; bytes--, input->left--)
		number = number << 8 | *input->next++;
	return number;
}

static void post(struct world *world, uint32_t at)
{
	memset(&world->task, 0, sizeof(world->task));
	world->task.token = at + 1;
	(void)mailbox_post(&world->box->slots[at], world->generation[at], &world->task);
}

/* It is the parent's own again, also if what was in it makes no sense. */
static void collect(struct world *world, uint32_t at)
{
	struct mailbox_slot *slot = &world->box->slots[at];
	bool done = mailbox_state(slot, world->generation[at]) == MAILBOX_DONE;
	simpler_status status = mailbox_collect(slot, world->generation[at], &world->outcome);

	if (done != (status != SIMPLER_ESTATE))
		abort();
	if (done)
		world->generation[at]++;
	if (status == SIMPLER_OK && world->outcome.error.status != SIMPLER_OK &&
	    strlen(error_step(&world->outcome.error, 0) ? error_step(&world->outcome.error, 0)
	                                                : "") > RECORD_OUTCOME_MAX)
		abort();
}

static void abandon(struct world *world, uint32_t at)
{
	struct mailbox_slot *slot = &world->box->slots[at];

	(void)mailbox_abandon(slot, world->generation[at]);
	world->generation[at]++;
	post(world, at);
	if (mailbox_state(slot, world->generation[at]) != MAILBOX_READY)
		abort();
}

static void serve(struct world *world, bool fails)
{
	uint32_t slot, generation;

	if (!mailbox_take(world->box, &world->next, &slot, &generation))
		return;
	if (slot >= MAILBOX_SLOTS || world->next >= MAILBOX_SLOTS)
		abort();
	if (mailbox_read(world->box, slot, &world->task) != SIMPLER_OK)
		fails = true;
	record_outcome_fill(&world->outcome, world->task.token,
	                    fails ? SIMPLER_EPROTOCOL : SIMPLER_OK);
	mailbox_finish(world->box, slot, generation, &world->outcome);
}

static void scribble(struct world *world, uint32_t at, uint32_t where, struct input *input)
{
	uint8_t *bytes = (uint8_t *)&world->box->slots[at];
	size_t size = read_number(input, 1) % 33;

	for (size_t i = 0; i < size; i++)
		bytes[(where + i) % sizeof(world->box->slots[at])] = (uint8_t)read_number(input, 1);
}

/* One byte says what to do, one in which slot, one where in it. */
static void step(struct world *world, struct input *input)
{
	uint32_t what = read_number(input, 1), at = read_number(input, 1) % MAILBOX_SLOTS;
	uint32_t where = read_number(input, 1);

	switch (what % 7) {
	case 0:
		post(world, at);
		break;
	case 1:
		serve(world, where % 2 == 1);
		break;
	case 2:
		collect(world, at);
		break;
	case 3:
		world->generation[at] +=
			mailbox_retract(&world->box->slots[at], world->generation[at]);
		break;
	case 4:
		abandon(world, at);
		break;
	case 5:
		mailbox_stop(world->box, at);
		break;
	default:
		scribble(world, at, where, input);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world world;
	struct input input = { data, size };

	memset(world.generation, 0, sizeof(world.generation));
	world.next = 0;
	world.box = aligned_alloc(64, sizeof(*world.box));
	if (!world.box)
		return 0;
	memset(world.box, 0, sizeof(*world.box));
	while (input.left > 0)
		step(&world, &input);
	free(world.box);
	return 0;
}
