/* A mailbox's states: the drawing at the head of ipc/mailbox.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>

#include "base/clock.h"
#include "ipc/mailbox.h"

enum { FREE = MAILBOX_FREE, READY, RUNNING, DONE, LOST };

#define GENERATION 7u

/* --- the edges --- */

static const struct {
	const char *name;
	int now, from, to;
	uint32_t generation; /* the box itself is at generation 7 */
	bool moves;
} cases[] = {
	{ "parent posts", FREE, FREE, READY, 7, true },
	{ "worker takes a ready box", READY, READY, RUNNING, 7, true },
	{ "worker finishes", RUNNING, RUNNING, DONE, 7, true },
	{ "parent frees", DONE, DONE, FREE, 7, true },
	{ "worker died before it took the task", READY, READY, LOST, 7, true },
	{ "worker died while it ran the task", RUNNING, RUNNING, LOST, 7, true },
	{ "parent frees a lost box", LOST, LOST, FREE, 7, true },
	{ "parent takes a task back", READY, READY, FREE, 7, true },

	{ "post to a box that has a task", READY, FREE, READY, 7, false },
	{ "post over an outcome", DONE, FREE, READY, 7, false },
	{ "take twice", RUNNING, READY, RUNNING, 7, false },
	{ "take nothing", FREE, READY, RUNNING, 7, false },
	{ "finish twice", DONE, RUNNING, DONE, 7, false },
	{ "finish before taking", READY, RUNNING, DONE, 7, false },
	{ "finish after loss", LOST, RUNNING, DONE, 7, false },
	{ "lose what is done", DONE, RUNNING, LOST, 7, false },
	{ "lose nothing", FREE, READY, LOST, 7, false },
	{ "free twice", FREE, DONE, FREE, 7, false },
	{ "take back what has begun", RUNNING, READY, FREE, 7, false },
	{ "take back what is done", DONE, READY, FREE, 7, false },
	{ "take back twice", FREE, READY, FREE, 7, false },

	{ "late finish of an older task", RUNNING, RUNNING, DONE, 6, false },
	{ "take of an older task", READY, READY, RUNNING, 6, false },
	{ "post for an older task", FREE, FREE, READY, 6, false },
	{ "free of an older task", DONE, DONE, FREE, 6, false },
	{ "finish of a task to come", RUNNING, RUNNING, DONE, 8, false },
	{ "take back of an older task", READY, READY, FREE, 6, false },
};

static uint64_t word(uint32_t generation, int state)
{
	return (uint64_t)generation << 32 | (uint64_t)state;
}

static void a_slot_moves_along_its_edges_only(void **state)
{
	static struct mailbox_slot slot;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint32_t after = cases[i].to == FREE ? GENERATION + 1 : GENERATION;
		bool moved;

		atomic_store(&slot.word, word(GENERATION, cases[i].now));
		moved = mailbox_move(&slot, cases[i].generation, (enum mailbox_state)cases[i].from,
		                     (enum mailbox_state)cases[i].to);
		if (moved != cases[i].moves)
			fail_msg("%s: moved is %d", cases[i].name, moved);
		assert_true(atomic_load(&slot.word) ==
		            (moved ? word(after, cases[i].to) : word(GENERATION, cases[i].now)));
	}
}

static void a_generation_wraps(void **state)
{
	static struct mailbox_slot slot;

	(void)state;
	atomic_store(&slot.word, word(UINT32_MAX, DONE));
	assert_true(mailbox_move(&slot, UINT32_MAX, MAILBOX_DONE, MAILBOX_FREE));
	assert_true(atomic_load(&slot.word) == 0);
}

static void the_state_is_that_of_the_generation_asked_for(void **state)
{
	static const struct {
		uint64_t word;
		int expected; /* asked for generation 7 */
	} words[] = {
		{ 0, FREE },
		{ UINT64_C(7) << 32 | READY, READY },
		{ UINT64_C(7) << 32 | RUNNING, RUNNING },
		{ UINT64_C(7) << 32 | DONE, DONE },
		{ UINT64_C(7) << 32 | LOST, LOST },
		{ UINT64_C(8) << 32 | DONE, FREE },
		{ UINT64_C(7) << 32 | 5, FREE },
		{ UINT64_C(7) << 32 | 0x100 | DONE, FREE },
		{ UINT64_MAX, FREE },
	};
	static struct mailbox_slot slot;

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		atomic_store(&slot.word, words[i].word);
		assert_int_equal(mailbox_state(&slot, GENERATION), words[i].expected);
	}
}

/* --- a task's way --- */

/* A mailbox, and its worker's place in it. */
struct served {
	struct mailbox box;
	uint32_t next;
};

static int set_up(void **state)
{
	static struct served served;

	memset(&served, 0, sizeof(served));
	*state = &served;
	return 0;
}

static struct record_task a_task(uint64_t token)
{
	struct record_task task;

	memset(&task, 0, sizeof(task));
	task.token = token;
	task.callable = 11;
	task.scalar_count = 1;
	task.scalars[0] = token * 2;
	return task;
}

static void post(struct mailbox *box, uint32_t slot, uint32_t generation)
{
	struct record_task task = a_task(generation);

	assert_int_equal(mailbox_post(&box->slots[slot], generation, &task), SIMPLER_OK);
}

/* Take a task, which is to be in this slot at this generation. */
static void take(struct served *served, uint32_t slot, uint32_t generation)
{
	uint32_t in, at;

	assert_true(mailbox_take(&served->box, &served->next, &in, &at));
	assert_int_equal(in, slot);
	assert_int_equal(at, generation);
}

static void assert_nothing_to_take(struct served *served)
{
	uint32_t slot, generation;

	assert_false(mailbox_take(&served->box, &served->next, &slot, &generation));
}

static void finish(struct mailbox *box, uint32_t slot, uint32_t generation)
{
	struct record_outcome outcome = { .token = generation };

	mailbox_finish(box, slot, generation, &outcome);
}

static void a_task_goes_down_and_its_outcome_comes_back(void **state)
{
	struct served *served = *state;
	struct mailbox *box = &served->box;
	struct record_task received;
	struct record_outcome outcome = { .token = 42 };

	assert_nothing_to_take(served);
	post(box, 0, 0);
	take(served, 0, 0);
	assert_nothing_to_take(served);
	assert_int_equal(mailbox_read(box, 0, &received), SIMPLER_OK);
	assert_int_equal(received.callable, 11);
	error_init(&outcome.error, SIMPLER_EINVAL, "no");
	mailbox_finish(box, 0, 0, &outcome);
	memset(&outcome, 0, sizeof(outcome));
	assert_int_equal(mailbox_collect(&box->slots[0], 0, &outcome), SIMPLER_OK);
	assert_int_equal(outcome.token, 42);
	assert_int_equal(outcome.error.status, SIMPLER_EINVAL);
	assert_string_equal(error_step(&outcome.error, 0), "no");
	post(box, 0, 1);
}

static void tasks_are_taken_in_the_order_they_were_posted(void **state)
{
	struct served *served = *state;

	for (uint32_t i = 0; i < MAILBOX_SLOTS; i++)
		post(&served->box, i, 0);
	for (uint32_t i = 0; i < MAILBOX_SLOTS / 2; i++)
		take(served, i, 0);
	/* The next ones go where the first were. */
	for (uint32_t i = 0; i < MAILBOX_SLOTS / 2; i++) {
		struct record_outcome outcome;

		finish(&served->box, i, 0);
		assert_int_equal(mailbox_collect(&served->box.slots[i], 0, &outcome), SIMPLER_OK);
		post(&served->box, i, 1);
	}
	for (uint32_t i = MAILBOX_SLOTS / 2; i < MAILBOX_SLOTS; i++)
		take(served, i, 0);
	for (uint32_t i = 0; i < MAILBOX_SLOTS / 2; i++)
		take(served, i, 1);
	assert_nothing_to_take(served);
}

static void a_slot_that_runs_or_was_taken_back_is_passed_over(void **state)
{
	struct served *served = *state;

	for (uint32_t i = 0; i < 4; i++)
		post(&served->box, i, 0);
	take(served, 0, 0);
	assert_true(mailbox_retract(&served->box.slots[2], 0));
	take(served, 1, 0);
	take(served, 3, 0);
	assert_nothing_to_take(served);
}

static void a_task_is_taken_back_until_it_has_begun(void **state)
{
	struct served *served = *state;
	struct mailbox *box = &served->box;

	post(box, 0, 0);
	assert_false(mailbox_retract(&box->slots[0], 1));
	assert_true(mailbox_retract(&box->slots[0], 0));
	assert_false(mailbox_retract(&box->slots[0], 0));
	assert_nothing_to_take(served);
	post(box, 0, 1);
	take(served, 0, 1);
	assert_false(mailbox_retract(&box->slots[0], 1));
	finish(box, 0, 1);
	assert_int_equal(mailbox_state(&box->slots[0], 1), MAILBOX_DONE);
}

static void a_stop_is_of_one_task(void **state)
{
	struct served *served = *state;
	struct mailbox *box = &served->box;
	uint32_t ticket = mailbox_ticket(box);
	struct record_outcome outcome;

	post(box, 0, 0);
	post(box, 1, 0);
	take(served, 0, 0);
	take(served, 1, 0);
	mailbox_stop(box, 1);
	assert_true(mailbox_ticket(box) != ticket);
	assert_false(mailbox_is_stopped(box, 0));
	assert_true(mailbox_is_stopped(box, 1));
	finish(box, 1, 0);
	assert_int_equal(mailbox_collect(&box->slots[1], 0, &outcome), SIMPLER_OK);
	post(box, 1, 1);
	assert_false(mailbox_is_stopped(box, 1));
}

static void a_slot_in_use_takes_no_task_and_keeps_what_it_has(void **state)
{
	struct served *served = *state;
	struct mailbox *box = &served->box;
	struct record_task task = a_task(99), kept;

	post(box, 0, 0);
	assert_int_equal(mailbox_post(&box->slots[0], 0, &task), SIMPLER_ESTATE);
	assert_int_equal(mailbox_post(&box->slots[0], 1, &task), SIMPLER_ESTATE);
	assert_int_equal(mailbox_read(box, 0, &kept), SIMPLER_OK);
	assert_int_equal(kept.token, 0);
}

static void there_is_nothing_to_collect_before_it_is_done(void **state)
{
	struct served *served = *state;
	struct mailbox *box = &served->box;
	struct mailbox_slot *slot = &box->slots[0];
	struct record_outcome outcome;

	assert_int_equal(mailbox_collect(slot, 0, &outcome), SIMPLER_ESTATE);
	post(box, 0, 0);
	assert_int_equal(mailbox_collect(slot, 0, &outcome), SIMPLER_ESTATE);
	take(served, 0, 0);
	assert_int_equal(mailbox_collect(slot, 0, &outcome), SIMPLER_ESTATE);
	finish(box, 0, 0);
	assert_int_equal(mailbox_collect(slot, 0, &outcome), SIMPLER_OK);
	assert_int_equal(mailbox_collect(slot, 0, &outcome), SIMPLER_ESTATE);
}

/* --- what a worker may have done before it died, or instead of its work --- */

static void after_a_death_the_slot_is_free_at_the_next_generation(void **state)
{
	static const struct {
		uint64_t word;
		int was;
	} found[] = {
		{ UINT64_C(7) << 32 | FREE, FREE },       { UINT64_C(7) << 32 | READY, READY },
		{ UINT64_C(7) << 32 | RUNNING, RUNNING }, { UINT64_C(7) << 32 | DONE, DONE },
		{ UINT64_C(9) << 32 | DONE, FREE },       { UINT64_MAX, FREE },
	};
	static struct mailbox_slot slot;

	(void)state;
	for (size_t i = 0; i < sizeof(found) / sizeof(found[0]); i++) {
		atomic_store(&slot.word, found[i].word);
		atomic_store(&slot.stop, 1);
		assert_int_equal(mailbox_abandon(&slot, GENERATION), found[i].was);
		assert_true(atomic_load(&slot.word) == word(GENERATION + 1, FREE));
		assert_int_equal(atomic_load(&slot.stop), 0);
	}
}

static void after_a_death_nobody_sleeps_at_the_bell(void **state)
{
	struct served *served = *state;

	atomic_store(&served->box.to_worker.sleepers, 3);
	mailbox_reset(&served->box);
	assert_int_equal(doorbell_sleepers(&served->box.to_worker), 0);
}

static void a_late_finish_after_abandon_matches_nothing(void **state)
{
	struct served *served = *state;
	struct mailbox_slot *slot = &served->box.slots[0];

	post(&served->box, 0, 0);
	take(served, 0, 0);
	assert_int_equal(mailbox_abandon(slot, 0), MAILBOX_RUNNING);
	post(&served->box, 0, 1);
	finish(&served->box, 0, 0);
	assert_int_equal(mailbox_state(slot, 1), MAILBOX_READY);
}

static void a_worker_cannot_make_the_parent_believe_a_length(void **state)
{
	static const uint32_t lengths[] = { 0, 1, RECORD_OUTCOME_MAX + 1, MAILBOX_PAYLOAD_BYTES + 1,
		                            UINT32_MAX };
	struct served *served = *state;
	struct mailbox_slot *slot = &served->box.slots[0];
	struct record_outcome outcome;

	for (uint32_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		post(&served->box, 0, i);
		take(served, 0, i);
		finish(&served->box, 0, i);
		atomic_store(&slot->payload_size, lengths[i]);
		assert_int_equal(mailbox_collect(slot, i, &outcome), SIMPLER_EPROTOCOL);
		assert_int_equal(mailbox_state(slot, i), MAILBOX_FREE);
	}
	post(&served->box, 0, sizeof(lengths) / sizeof(lengths[0]));
}

static void a_worker_that_writes_to_a_free_slot_is_found_out(void **state)
{
	static const uint64_t words[] = { 1, DONE, UINT64_C(1) << 32, UINT64_MAX };
	struct served *served = *state;
	struct record_task task = a_task(1);

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		atomic_store(&served->box.slots[0].word, words[i]);
		assert_int_equal(mailbox_post(&served->box.slots[0], 0, &task), SIMPLER_ESTATE);
		assert_false(mailbox_retract(&served->box.slots[0], 7));
	}
}

static void a_worker_reads_no_length_on_trust_either(void **state)
{
	static const uint32_t lengths[] = { 0, 1, RECORD_TASK_MAX + 1, UINT32_MAX };
	struct served *served = *state;
	struct record_task task;

	post(&served->box, 0, 0);
	take(served, 0, 0);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		atomic_store(&served->box.slots[0].payload_size, lengths[i]);
		assert_int_equal(mailbox_read(&served->box, 0, &task), SIMPLER_EPROTOCOL);
		assert_int_equal(task.token, 0);
	}
}

/* --- two threads --- */

#define ROUNDS 2000u
#define DEEP   4u /* tasks in the mailbox at once */

struct pair {
	struct mailbox box;
	_Atomic bool closing;
	struct doorbell finished;
};

static void serve_one(struct mailbox *box, uint32_t slot, uint32_t generation)
{
	struct record_task task;
	struct record_outcome outcome = { .token = 0 };

	if (mailbox_read(box, slot, &task) == SIMPLER_OK)
		outcome.token = task.scalars[0];
	mailbox_finish(box, slot, generation, &outcome);
}

static void *serve(void *argument)
{
	struct pair *pair = argument;
	struct spin_budget spin = { 0 };
	uint32_t next = 0, slot, generation;

	while (!atomic_load(&pair->closing)) {
		uint32_t ticket = mailbox_ticket(&pair->box);

		if (mailbox_take(&pair->box, &next, &slot, &generation)) {
			serve_one(&pair->box, slot, generation);
			(void)doorbell_ring(&pair->finished);
		} else if (!atomic_load(&pair->closing)) {
			(void)mailbox_wait(&pair->box, ticket, &spin, CLOCK_NEVER);
		}
	}
	return NULL;
}

static void await_done(struct pair *pair, uint32_t slot, uint32_t generation)
{
	struct spin_budget spin = { 0 };
	uint32_t ticket = doorbell_ticket(&pair->finished);

	while (mailbox_state(&pair->box.slots[slot], generation) != MAILBOX_DONE) {
		assert_true(doorbell_wait(&pair->finished, ticket, &spin, clock_after_ms(60000)));
		ticket = doorbell_ticket(&pair->finished);
	}
}

static void collect(struct pair *pair, uint32_t task)
{
	uint32_t slot = task % DEEP, generation = task / DEEP;
	struct record_outcome outcome;

	await_done(pair, slot, generation);
	assert_int_equal(mailbox_collect(&pair->box.slots[slot], generation, &outcome), SIMPLER_OK);
	assert_int_equal(outcome.token, 2 * generation);
}

static void a_worker_serves_task_after_task_until_it_is_closed(void **state)
{
	static struct pair pair;
	pthread_t worker;

	(void)state;
	assert_int_equal(pthread_create(&worker, NULL, serve, &pair), 0);
	for (uint32_t i = 0; i < ROUNDS; i++) {
		if (i >= DEEP)
			collect(&pair, i - DEEP);
		post(&pair.box, i % DEEP, i / DEEP);
		mailbox_wake(&pair.box);
	}
	for (uint32_t i = ROUNDS - DEEP; i < ROUNDS; i++)
		collect(&pair, i);
	atomic_store(&pair.closing, true);
	doorbell_ring_all(&pair.box.to_worker);
	assert_int_equal(pthread_join(worker, NULL), 0);
}

/* Each is either taken back or run, and never both. */
static void taking_back_races_with_taking(void **state)
{
	static struct pair pair;
	uint32_t generation = 0;
	pthread_t worker;

	(void)state;
	assert_int_equal(pthread_create(&worker, NULL, serve, &pair), 0);
	for (uint32_t i = 0; i < ROUNDS; i++, generation++) {
		struct record_outcome outcome;

		post(&pair.box, 0, generation);
		mailbox_wake(&pair.box);
		if (mailbox_retract(&pair.box.slots[0], generation))
			continue;
		await_done(&pair, 0, generation);
		assert_int_equal(mailbox_collect(&pair.box.slots[0], generation, &outcome),
		                 SIMPLER_OK);
	}
	atomic_store(&pair.closing, true);
	doorbell_ring_all(&pair.box.to_worker);
	assert_int_equal(pthread_join(worker, NULL), 0);
}

#define WITH_BOX(test) cmocka_unit_test_setup(test, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slot_moves_along_its_edges_only),
		cmocka_unit_test(a_generation_wraps),
		cmocka_unit_test(the_state_is_that_of_the_generation_asked_for),
		WITH_BOX(a_task_goes_down_and_its_outcome_comes_back),
		WITH_BOX(tasks_are_taken_in_the_order_they_were_posted),
		WITH_BOX(a_slot_that_runs_or_was_taken_back_is_passed_over),
		WITH_BOX(a_task_is_taken_back_until_it_has_begun),
		WITH_BOX(a_stop_is_of_one_task),
		WITH_BOX(a_slot_in_use_takes_no_task_and_keeps_what_it_has),
		WITH_BOX(there_is_nothing_to_collect_before_it_is_done),
		WITH_BOX(after_a_death_nobody_sleeps_at_the_bell),
		WITH_BOX(a_late_finish_after_abandon_matches_nothing),
		WITH_BOX(a_worker_cannot_make_the_parent_believe_a_length),
		WITH_BOX(a_worker_that_writes_to_a_free_slot_is_found_out),
		WITH_BOX(a_worker_reads_no_length_on_trust_either),
		cmocka_unit_test(after_a_death_the_slot_is_free_at_the_next_generation),
		cmocka_unit_test(a_worker_serves_task_after_task_until_it_is_closed),
		cmocka_unit_test(taking_back_races_with_taking),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
