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

	{ "late finish of an older task", RUNNING, RUNNING, DONE, 6, false },
	{ "take of an older task", READY, READY, RUNNING, 6, false },
	{ "post for an older task", FREE, FREE, READY, 6, false },
	{ "free of an older task", DONE, DONE, FREE, 6, false },
	{ "finish of a task to come", RUNNING, RUNNING, DONE, 8, false },
};

static uint64_t word(uint32_t generation, int state)
{
	return (uint64_t)generation << 32 | (uint64_t)state;
}

static void a_box_moves_along_its_edges_only(void **state)
{
	static struct mailbox box;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint32_t after = cases[i].to == FREE ? GENERATION + 1 : GENERATION;
		bool moved;

		atomic_store(&box.word, word(GENERATION, cases[i].now));
		moved = mailbox_move(&box, cases[i].generation, (enum mailbox_state)cases[i].from,
		                     (enum mailbox_state)cases[i].to);
		if (moved != cases[i].moves)
			fail_msg("%s: moved is %d", cases[i].name, moved);
		assert_true(atomic_load(&box.word) ==
		            (moved ? word(after, cases[i].to) : word(GENERATION, cases[i].now)));
	}
}

static void a_generation_wraps(void **state)
{
	static struct mailbox box;

	(void)state;
	atomic_store(&box.word, word(UINT32_MAX, DONE));
	assert_true(mailbox_move(&box, UINT32_MAX, MAILBOX_DONE, MAILBOX_FREE));
	assert_true(atomic_load(&box.word) == 0);
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
	static struct mailbox box;

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		atomic_store(&box.word, words[i].word);
		assert_int_equal(mailbox_state(&box, GENERATION), words[i].expected);
	}
}

/* --- a task's way --- */

static struct record_task a_task(uint64_t token)
{
	struct record_task task = { .token = token, .callable = 11, .scalar_count = 1 };

	task.scalars[0] = token * 2;
	return task;
}

static void post(struct mailbox *box, uint32_t generation)
{
	struct record_task task = a_task(generation);

	assert_int_equal(mailbox_post(box, generation, &task), SIMPLER_OK);
}

static void finish(struct mailbox *box, uint32_t generation)
{
	struct record_outcome outcome = { .token = generation };

	mailbox_finish(box, generation, &outcome);
}

static void a_task_goes_down_and_its_outcome_comes_back(void **state)
{
	static struct mailbox box;
	struct record_task received;
	struct record_outcome outcome = { .token = 42 };
	uint32_t ticket = doorbell_ticket(&box.to_worker), generation;

	(void)state;
	assert_false(mailbox_take(&box, &generation));
	post(&box, 0);
	assert_true(doorbell_ticket(&box.to_worker) != ticket);
	assert_true(mailbox_take(&box, &generation));
	assert_false(mailbox_take(&box, &generation));
	assert_int_equal(generation, 0);
	assert_int_equal(record_task_decode(box.payload, atomic_load(&box.payload_size), &received),
	                 SIMPLER_OK);
	assert_int_equal(received.callable, 11);
	error_init(&outcome.error, SIMPLER_EINVAL, "no");
	mailbox_finish(&box, generation, &outcome);
	memset(&outcome, 0, sizeof(outcome));
	assert_int_equal(mailbox_collect(&box, 0, &outcome), SIMPLER_OK);
	assert_int_equal(outcome.token, 42);
	assert_int_equal(outcome.error.status, SIMPLER_EINVAL);
	assert_string_equal(error_step(&outcome.error, 0), "no");
	post(&box, 1);
}

static void a_box_in_use_takes_no_task_and_keeps_what_it_has(void **state)
{
	static struct mailbox box;
	struct record_task task = a_task(99), kept;

	(void)state;
	post(&box, 0);
	assert_int_equal(mailbox_post(&box, 0, &task), SIMPLER_ESTATE);
	assert_int_equal(mailbox_post(&box, 1, &task), SIMPLER_ESTATE);
	assert_int_equal(record_task_decode(box.payload, box.payload_size, &kept), SIMPLER_OK);
	assert_int_equal(kept.token, 0);
}

static void there_is_nothing_to_collect_before_it_is_done(void **state)
{
	static struct mailbox box;
	struct record_outcome outcome;
	uint32_t generation;

	(void)state;
	assert_int_equal(mailbox_collect(&box, 0, &outcome), SIMPLER_ESTATE);
	post(&box, 0);
	assert_int_equal(mailbox_collect(&box, 0, &outcome), SIMPLER_ESTATE);
	assert_true(mailbox_take(&box, &generation));
	assert_int_equal(mailbox_collect(&box, 0, &outcome), SIMPLER_ESTATE);
	finish(&box, generation);
	assert_int_equal(mailbox_collect(&box, 0, &outcome), SIMPLER_OK);
	assert_int_equal(mailbox_collect(&box, 0, &outcome), SIMPLER_ESTATE);
}

/* --- what a worker may have done before it died, or instead of its work --- */

static void after_a_death_the_box_is_free_at_the_next_generation(void **state)
{
	static const struct {
		uint64_t word;
		bool lost;
	} found[] = {
		{ UINT64_C(7) << 32 | FREE, false },   { UINT64_C(7) << 32 | READY, true },
		{ UINT64_C(7) << 32 | RUNNING, true }, { UINT64_C(7) << 32 | DONE, false },
		{ UINT64_C(9) << 32 | DONE, false },   { UINT64_MAX, false },
	};
	static struct mailbox box;

	(void)state;
	for (size_t i = 0; i < sizeof(found) / sizeof(found[0]); i++) {
		atomic_store(&box.word, found[i].word);
		atomic_store(&box.to_worker.sleepers, 1);
		assert_int_equal(mailbox_abandon(&box, GENERATION), found[i].lost);
		assert_true(atomic_load(&box.word) == word(GENERATION + 1, FREE));
		assert_int_equal(atomic_load(&box.to_worker.sleepers), 0);
	}
}

static void a_late_finish_after_abandon_matches_nothing(void **state)
{
	static struct mailbox box;
	uint32_t generation;

	(void)state;
	post(&box, 0);
	assert_true(mailbox_take(&box, &generation));
	assert_true(mailbox_abandon(&box, 0));
	post(&box, 1);
	finish(&box, generation);
	assert_int_equal(mailbox_state(&box, 1), MAILBOX_READY);
}

static void a_worker_cannot_make_the_parent_believe_a_length(void **state)
{
	static const uint32_t lengths[] = { 0, 1, RECORD_OUTCOME_MAX + 1, MAILBOX_PAYLOAD_BYTES + 1,
		                            UINT32_MAX };
	static struct mailbox box;
	struct record_outcome outcome;
	uint32_t generation;

	(void)state;
	for (uint32_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		post(&box, i);
		assert_true(mailbox_take(&box, &generation));
		finish(&box, generation);
		atomic_store(&box.payload_size, lengths[i]);
		assert_int_equal(mailbox_collect(&box, i, &outcome), SIMPLER_EPROTOCOL);
		assert_int_equal(mailbox_state(&box, i), MAILBOX_FREE);
	}
	post(&box, sizeof(lengths) / sizeof(lengths[0]));
}

/* --- two threads --- */

#define ROUNDS 2000u

struct pair {
	struct mailbox box;
	struct doorbell finished;
};

static void serve_one(struct mailbox *box, uint32_t generation)
{
	struct record_task task;
	struct record_outcome outcome = { .token = 0 };

	if (record_task_decode(box->payload, atomic_load(&box->payload_size), &task) == SIMPLER_OK)
		outcome.token = task.scalars[0];
	mailbox_finish(box, generation, &outcome);
}

static void *serve(void *argument)
{
	struct pair *pair = argument;
	struct spin_budget spin = { 0 };
	uint32_t generation;

	while (!atomic_load(&pair->box.stop)) {
		uint32_t ticket = doorbell_ticket(&pair->box.to_worker);

		if (mailbox_take(&pair->box, &generation)) {
			serve_one(&pair->box, generation);
			doorbell_ring(&pair->finished);
		} else if (!atomic_load(&pair->box.stop)) {
			(void)doorbell_wait(&pair->box.to_worker, ticket, &spin, CLOCK_NEVER);
		}
	}
	return NULL;
}

static void await_done(struct pair *pair, uint32_t generation)
{
	struct spin_budget spin = { 0 };
	uint32_t ticket = doorbell_ticket(&pair->finished);

	while (mailbox_state(&pair->box, generation) != MAILBOX_DONE) {
		assert_true(doorbell_wait(&pair->finished, ticket, &spin, clock_after_ms(60000)));
		ticket = doorbell_ticket(&pair->finished);
	}
}

static void a_worker_serves_task_after_task_until_it_is_stopped(void **state)
{
	static struct pair pair;
	struct record_outcome outcome;
	pthread_t worker;

	(void)state;
	assert_int_equal(pthread_create(&worker, NULL, serve, &pair), 0);
	for (uint32_t i = 0; i < ROUNDS; i++) {
		post(&pair.box, i);
		await_done(&pair, i);
		assert_int_equal(mailbox_collect(&pair.box, i, &outcome), SIMPLER_OK);
		assert_int_equal(outcome.token, 2 * i);
	}
	atomic_store(&pair.box.stop, 1);
	doorbell_ring_all(&pair.box.to_worker);
	assert_int_equal(pthread_join(worker, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_box_moves_along_its_edges_only),
		cmocka_unit_test(a_generation_wraps),
		cmocka_unit_test(the_state_is_that_of_the_generation_asked_for),
		cmocka_unit_test(a_task_goes_down_and_its_outcome_comes_back),
		cmocka_unit_test(a_box_in_use_takes_no_task_and_keeps_what_it_has),
		cmocka_unit_test(there_is_nothing_to_collect_before_it_is_done),
		cmocka_unit_test(after_a_death_the_box_is_free_at_the_next_generation),
		cmocka_unit_test(a_late_finish_after_abandon_matches_nothing),
		cmocka_unit_test(a_worker_cannot_make_the_parent_believe_a_length),
		cmocka_unit_test(a_worker_serves_task_after_task_until_it_is_stopped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
