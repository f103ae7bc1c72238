/* Registering on several nodes, all or nothing, and taking it back: what the nodes are asked, in
 * which order, and what is left when one fails. */
#include "worker_fixture.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "worker/registration.h"

#define NODES   3
#define THREADS 4
#define ROUNDS  200

struct rig {
	struct fixture *fixture;
	struct registration *registration;
	struct fake *nodes[NODES];
	struct exec_callable *fn; /* used */
};

static int set_up(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	assert_non_null(rig);
	fixture_set_up((void **)&rig->fixture);
	rig->nodes[0] = rig->fixture->node;
	for (int i = 1; i < NODES; i++)
		rig->nodes[i] = fixture_add(rig->fixture->core, SIMPLER_KIND_ORCH, 8, 8);
	rig->registration = registration_create(rig->fixture->core);
	assert_non_null(rig->registration);
	callables_on_gone(rig->fixture->core->callables, registration_gone, rig->registration);
	assert_int_equal(callables_find(rig->fixture->core->callables, rig->fixture->fn.id,
	                                SIMPLER_KIND_ORCH, &rig->fn),
	                 SIMPLER_OK);
	*state = rig;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *rig = *state;

	registration_close(rig->registration);
	registration_join(rig->registration);
	fixture_tear_down((void **)&rig->fixture);
	registration_destroy(rig->registration);
	free(rig);
	return 0;
}

static struct callables *callables_of(const struct rig *rig)
{
	return rig->fixture->core->callables;
}

static bool retire_fn(const struct rig *rig)
{
	bool last;

	assert_int_equal(
		callables_retire(callables_of(rig), rig->fixture->fn.id, SIMPLER_KIND_ORCH, &last),
		SIMPLER_OK);
	return last;
}

static bool is_gone(const struct rig *rig)
{
	return callables_await_forgotten(callables_of(rig), rig->fixture->fn.id, clock_now());
}

/* "PCAW": what a node was asked, by first letters; and forget it. */
static const char *asked(struct fake *node)
{
	static char text[FAKE_MAX_ASKED + 1];
	uint32_t count;

	pthread_mutex_lock(&node->lock);
	for (count = 0; count < node->ask_count; count++)
		text[count] = "PCAW"[node->asked[count]];
	node->ask_count = 0;
	pthread_mutex_unlock(&node->lock);
	text[count] = '\0';
	return text;
}

static void assert_all_asked(struct rig *rig, const char *wishes)
{
	for (int i = 0; i < NODES; i++)
		assert_string_equal(asked(rig->nodes[i]), wishes);
}

static void assert_ships(struct rig *rig)
{
	if (registration_ship(rig->registration, rig->fn) != SIMPLER_OK)
		fail_msg("%s", simpler_last_error());
}

/* --- all or nothing --- */

static void R03_a_callable_is_prepared_on_all_nodes_and_then_committed_on_all(void **state)
{
	struct rig *rig = *state;

	assert_ships(rig);
	assert_all_asked(rig, "PC");
	assert_ships(rig);
	assert_all_asked(rig, "");
}

static void what_one_node_does_not_take_is_left_on_none_and_can_be_tried_again(void **state)
{
	static const struct {
		const char *name;
		bool refuses[EXEC_WITHDRAW + 1];
		const char *asked;
	} cases[] = {
		{ "it cannot load it", { [EXEC_PREPARE] = true }, "PA" },
		{ "it is lost while it prepares",
		  { [EXEC_PREPARE] = true, [EXEC_ABORT] = true },
		  "PA" },
		{ "it takes no commit", { [EXEC_COMMIT] = true }, "PCAW" },
		{ "it is lost between prepare and commit",
		  { [EXEC_COMMIT] = true, [EXEC_ABORT] = true, [EXEC_WITHDRAW] = true },
		  "PCAW" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (int failing = 0; failing < NODES; failing++) {
			struct rig *rig;
			struct fake *node;

			set_up((void **)&rig);
			node = rig->nodes[failing];
			memcpy(node->refuses, cases[i].refuses, sizeof(node->refuses));
			assert_int_equal(registration_ship(rig->registration, rig->fn),
			                 SIMPLER_EUNAVAILABLE);
			assert_non_null(strstr(simpler_last_error(), node->child.name));
			for (int j = 0; j < NODES; j++) {
				if (strcmp(asked(rig->nodes[j]), cases[i].asked) != 0)
					fail_msg("%s: node %d", cases[i].name, j);
			}
			memset(node->refuses, 0, sizeof(node->refuses));
			assert_ships(rig);
			assert_all_asked(rig, "PC");
			tear_down((void **)&rig);
		}
	}
	(void)state;
}

static void of_several_answers_that_of_the_first_node_is_told(void **state)
{
	struct rig *rig = *state;

	rig->nodes[1]->refuses[EXEC_PREPARE] = rig->nodes[2]->refuses[EXEC_PREPARE] = true;
	assert_int_equal(registration_ship(rig->registration, rig->fn), SIMPLER_EUNAVAILABLE);
	assert_non_null(strstr(simpler_last_error(), rig->nodes[1]->child.name));
	assert_null(strstr(simpler_last_error(), rig->nodes[2]->child.name));
}

/* A ship in a thread of its own. */
struct shipping {
	pthread_t thread;
	struct rig *rig;
	struct exec_callable *callable;
	simpler_status status;
};

static void *shipping_main(void *argument)
{
	struct shipping *shipping = argument;

	shipping->status = registration_ship(shipping->rig->registration, shipping->callable);
	return NULL;
}

static void begin_shipping(struct shipping *shipping, struct rig *rig,
                           struct exec_callable *callable)
{
	shipping->rig = rig;
	shipping->callable = callable;
	assert_int_equal(pthread_create(&shipping->thread, NULL, shipping_main, shipping), 0);
}

static simpler_status end_shipping(struct shipping *shipping)
{
	assert_int_equal(pthread_join(shipping->thread, NULL), 0);
	return shipping->status;
}

static void answer_all(struct rig *rig, simpler_status status)
{
	for (int i = NODES - 1; i >= 0; i--)
		fake_answer(rig->nodes[i], status);
}

static void keep_asked(struct rig *rig, bool keep)
{
	for (int i = 0; i < NODES; i++)
		rig->nodes[i]->keeps_asked = keep;
}

/* Were they asked one after the other, the last would have nothing to answer first. */
static void all_nodes_are_asked_at_once(void **state)
{
	struct rig *rig = *state;
	struct shipping shipping;

	keep_asked(rig, true);
	begin_shipping(&shipping, rig, rig->fn);
	answer_all(rig, SIMPLER_OK);
	answer_all(rig, SIMPLER_OK);
	assert_int_equal(end_shipping(&shipping), SIMPLER_OK);
	assert_all_asked(rig, "PC");
}

static void who_registers_the_same_meanwhile_waits_and_tries_what_failed_again(void **state)
{
	struct rig *rig = *state;
	struct shipping first, second;

	keep_asked(rig, true);
	begin_shipping(&first, rig, rig->fn);
	fake_answer(rig->nodes[0], SIMPLER_OK);
	begin_shipping(&second, rig, rig->fn);
	fake_answer(rig->nodes[1], SIMPLER_EINVAL);
	fake_answer(rig->nodes[2], SIMPLER_OK);
	answer_all(rig, SIMPLER_OK); /* abort */
	answer_all(rig, SIMPLER_OK); /* the other's prepare, */
	answer_all(rig, SIMPLER_OK); /* and commit */
	/* The second may have come first, if it was quick. */
	assert_int_equal(end_shipping(&first) + end_shipping(&second), SIMPLER_EINVAL);
	assert_all_asked(rig, "PAPC");
}

static void what_runs_on_no_node_is_asked_of_none(void **state)
{
	struct rig *rig = *state;
	struct exec_callable *sub;

	assert_int_equal(
		callables_find(callables_of(rig), rig->fixture->sub.id, SIMPLER_KIND_SUB, &sub),
		SIMPLER_OK);
	assert_int_equal(registration_ship(rig->registration, sub), SIMPLER_OK);
	assert_all_asked(rig, "");
}

/* --- and off again --- */

static void the_last_to_unregister_withdraws_it_from_all_nodes(void **state)
{
	struct rig *rig = *state;
	const struct callable_spec again = { .module = rig->fixture->module,
		                             .name = "shift",
		                             .kind = SIMPLER_KIND_ORCH };
	uint64_t handle;

	assert_ships(rig);
	assert_int_equal(callables_add(callables_of(rig), &again, NULL, &handle), SIMPLER_OK);
	assert_int_equal(handle, rig->fixture->fn.id);
	callables_release(callables_of(rig), rig->fn);
	assert_all_asked(rig, "PC");
	assert_false(retire_fn(rig));
	assert_all_asked(rig, "");
	assert_true(retire_fn(rig));
	assert_all_asked(rig, "W");
	assert_true(is_gone(rig));
}

static void what_was_not_shipped_is_forgotten_at_once(void **state)
{
	struct rig *rig = *state;

	callables_release(callables_of(rig), rig->fn);
	assert_true(retire_fn(rig));
	assert_true(is_gone(rig));
	assert_all_asked(rig, "");
}

static void a_node_that_is_lost_keeps_nobody_from_unregistering(void **state)
{
	struct rig *rig = *state;

	assert_ships(rig);
	callables_release(callables_of(rig), rig->fn);
	rig->nodes[1]->refuses[EXEC_WITHDRAW] = true;
	assert_true(retire_fn(rig));
	assert_true(is_gone(rig));
	assert_all_asked(rig, "PCW");
}

static void it_is_gone_when_all_nodes_have_answered(void **state)
{
	struct rig *rig = *state;

	assert_ships(rig);
	callables_release(callables_of(rig), rig->fn);
	keep_asked(rig, true);
	assert_true(retire_fn(rig));
	fake_answer(rig->nodes[2], SIMPLER_OK);
	fake_answer(rig->nodes[0], SIMPLER_OK);
	assert_false(is_gone(rig));
	fake_answer(rig->nodes[1], SIMPLER_OK);
	assert_true(is_gone(rig));
}

static _Atomic bool was_refused; /* the function below has come so far */

ORCH(submits_and_unregisters)
{
	FIXTURE_OF_STATE();
	bool last;

	assert_int_equal(simpler_submit_next_level(orch, fixture->fn, NULL, NULL, NULL),
	                 SIMPLER_OK);
	assert_int_equal(callables_retire(fixture->core->callables, fixture->fn.id,
	                                  SIMPLER_KIND_ORCH, &last),
	                 SIMPLER_OK);
	assert_true(last);
	assert_int_equal(simpler_submit_next_level(orch, fixture->fn, NULL, NULL, NULL),
	                 SIMPLER_ESTALE);
	assert_non_null(strstr(simpler_last_error(), "'shift' was unregistered"));
	atomic_store(&was_refused, true);
	return SIMPLER_OK;
}

static void unregistering_waits_for_tasks_in_flight_and_refuses_new_ones(void **state)
{
	struct rig *rig = *state;
	struct exec_task *task;
	struct background run;

	assert_ships(rig);
	callables_release(callables_of(rig), rig->fn);
	assert_all_asked(rig, "PC");
	background_begin(&run, rig->fixture, submits_and_unregisters);
	task = fake_take(rig->nodes[0]);
	while (!atomic_load(&was_refused))
		sched_yield();
	assert_false(is_gone(rig));
	fake_end_well(task);
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_OK);
	assert_true(callables_await_forgotten(callables_of(rig), rig->fixture->fn.id, CLOCK_NEVER));
	assert_all_asked(rig, "W");
}

static struct exec_callable *register_again(const struct rig *rig)
{
	const struct callable_spec again = { .module = rig->fixture->module,
		                             .name = "shift",
		                             .kind = SIMPLER_KIND_ORCH };
	struct exec_callable *callable;
	uint64_t handle;

	assert_int_equal(callables_add(callables_of(rig), &again, NULL, &handle), SIMPLER_OK);
	assert_int_not_equal(handle, rig->fixture->fn.id);
	assert_int_equal(callables_find(callables_of(rig), handle, SIMPLER_KIND_ORCH, &callable),
	                 SIMPLER_OK);
	return callable;
}

/* While a task of the old one goes on, the new one is there already, and stays when that ends. */
static void what_is_registered_again_while_it_goes_stays_on_the_nodes(void **state)
{
	struct rig *rig = *state;
	struct exec_callable *again;

	assert_ships(rig);
	assert_true(retire_fn(rig));
	again = register_again(rig);
	assert_int_equal(registration_ship(rig->registration, again), SIMPLER_OK);
	callables_release(callables_of(rig), rig->fn);
	assert_true(is_gone(rig));
	assert_all_asked(rig, "PC");
}

static void what_is_registered_again_while_nodes_drop_it_waits_until_they_have(void **state)
{
	struct rig *rig = *state;
	struct exec_callable *again;
	struct shipping shipping;

	assert_ships(rig);
	callables_release(callables_of(rig), rig->fn);
	keep_asked(rig, true);
	assert_true(retire_fn(rig));
	again = register_again(rig);
	begin_shipping(&shipping, rig, again);
	answer_all(rig, SIMPLER_OK); /* withdraw, then prepare and commit */
	answer_all(rig, SIMPLER_OK);
	answer_all(rig, SIMPLER_OK);
	assert_int_equal(end_shipping(&shipping), SIMPLER_OK);
	assert_all_asked(rig, "PCWPC");
}

/* --- threads --- */

struct racer {
	pthread_t thread;
	struct rig *rig;
};

/* As a program's threads do: register, submit in a run of their own, unregister. */
ORCH(submits_one)
{
	struct {
		struct fixture *fixture;
		simpler_orch_fn fn;
	} call;

	(void)args;
	(void)config;
	memcpy(&call, state.data, sizeof(call));
	return simpler_submit_next_level(orch, call.fn, NULL, NULL, NULL);
}

static void register_submit_unregister(struct rig *rig, uint64_t captured)
{
	const struct callable_spec spec = { .module = rig->fixture->module,
		                            .name = "shift",
		                            .kind = SIMPLER_KIND_ORCH,
		                            .state = { &captured, sizeof(captured) } };
	struct {
		struct fixture *fixture;
		simpler_orch_fn fn;
	} call = { .fixture = rig->fixture };
	const struct run_call run = { .fn = submits_one,
		                      .name = "test",
		                      .state = { &call, sizeof(call) },
		                      .timeout_ms = SIMPLER_FOREVER };
	struct exec_callable *callable;
	bool last;

	assert_int_equal(callables_add(callables_of(rig), &spec, NULL, &call.fn.id), SIMPLER_OK);
	assert_int_equal(
		callables_find(callables_of(rig), call.fn.id, SIMPLER_KIND_ORCH, &callable),
		SIMPLER_OK);
	assert_int_equal(registration_ship(rig->registration, callable), SIMPLER_OK);
	callables_release(callables_of(rig), callable);
	assert_int_equal(core_run(rig->fixture->core, &run), SIMPLER_OK);
	assert_int_equal(callables_retire(callables_of(rig), call.fn.id, SIMPLER_KIND_ORCH, &last),
	                 SIMPLER_OK);
	if (last)
		assert_true(callables_await_forgotten(callables_of(rig), call.fn.id, CLOCK_NEVER));
}

static void *race(void *argument)
{
	struct racer *racer = argument;

	for (uint64_t i = 0; i < ROUNDS; i++)
		register_submit_unregister(racer->rig, i % 2);
	return NULL;
}

static void threads_register_submit_and_unregister_the_same_at_once(void **state)
{
	struct rig *rig = *state;
	struct racer racers[THREADS];

	for (int i = 0; i < NODES; i++) {
		rig->nodes[i]->at_once = true;
		rig->nodes[i]->forgets_asked = true;
	}
	for (unsigned i = 0; i < THREADS; i++) {
		racers[i].rig = rig;
		assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(racers[i].thread, NULL), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* --- nodes that go and come back --- */

static void lose(struct rig *rig, int at)
{
	registration_lost(rig->registration, &rig->nodes[at]->child);
}

static void restore(struct rig *rig, int at, uint32_t times)
{
	registration_returned(rig->registration, &rig->nodes[at]->child);
	fake_wait_for_admissions(rig->nodes[at], times);
}

static void a_node_that_was_lost_is_passed_over_and_told_when_it_returns(void **state)
{
	struct rig *rig = *state;

	rig->nodes[1]->life = 7;
	lose(rig, 1);
	assert_ships(rig);
	assert_string_equal(asked(rig->nodes[0]), "PC");
	assert_string_equal(asked(rig->nodes[1]), "");
	restore(rig, 1, 1);
	assert_int_equal(rig->nodes[1]->admitted, SIMPLER_OK);
	assert_int_equal(rig->nodes[1]->admitted_life, 7);
	assert_string_equal(asked(rig->nodes[1]), "PC");
	assert_string_equal(asked(rig->nodes[0]), "");
}

static void a_node_that_is_back_takes_part_again(void **state)
{
	struct rig *rig = *state;

	lose(rig, 1);
	restore(rig, 1, 1);
	assert_string_equal(asked(rig->nodes[1]), "");
	assert_ships(rig);
	assert_all_asked(rig, "PC");
}

static void a_node_that_refuses_when_it_returns_is_tried_again(void **state)
{
	struct rig *rig = *state;

	assert_ships(rig);
	assert_all_asked(rig, "PC");
	lose(rig, 2);
	rig->nodes[2]->refuses[EXEC_COMMIT] = true;
	restore(rig, 2, 1);
	assert_int_equal(rig->nodes[2]->admitted, SIMPLER_EUNAVAILABLE);
	rig->nodes[2]->refuses[EXEC_COMMIT] = false;
	restore(rig, 2, 2);
	assert_int_equal(rig->nodes[2]->admitted, SIMPLER_OK);
	assert_string_equal(asked(rig->nodes[2]), "PCPC");
}

static void *ship_main(void *context)
{
	struct rig *rig = context;

	assert_ships(rig);
	return NULL;
}

static void what_is_on_its_way_when_a_node_returns_is_told_before_it_takes_part(void **state)
{
	struct rig *rig = *state;
	const char *told;
	pthread_t thread;

	lose(rig, 1);
	rig->nodes[0]->keeps_asked = true;
	assert_int_equal(pthread_create(&thread, NULL, ship_main, rig), 0);
	registration_returned(rig->registration, &rig->nodes[1]->child);
	fake_answer(rig->nodes[0], SIMPLER_OK);
	fake_answer(rig->nodes[0], SIMPLER_OK);
	(void)pthread_join(thread, NULL);
	fake_wait_for_admissions(rig->nodes[1], 1);
	assert_int_equal(rig->nodes[1]->admitted, SIMPLER_OK);
	told = asked(rig->nodes[1]);
	/* Once more where the node was being told all while the answers came. */
	if (strcmp(told, "PCPC") != 0)
		assert_string_equal(told, "PC");
}

static void one_that_was_unregistered_and_is_in_use_is_told_too(void **state)
{
	struct rig *rig = *state;

	assert_ships(rig);
	assert_all_asked(rig, "PC");
	assert_true(retire_fn(rig));
	lose(rig, 1);
	restore(rig, 1, 1);
	assert_string_equal(asked(rig->nodes[1]), "PC");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(R03_a_callable_is_prepared_on_all_nodes_and_then_committed_on_all),
		cmocka_unit_test(
			what_one_node_does_not_take_is_left_on_none_and_can_be_tried_again),
		CASE(of_several_answers_that_of_the_first_node_is_told),
		CASE(all_nodes_are_asked_at_once),
		CASE(who_registers_the_same_meanwhile_waits_and_tries_what_failed_again),
		CASE(what_runs_on_no_node_is_asked_of_none),
		CASE(the_last_to_unregister_withdraws_it_from_all_nodes),
		CASE(what_was_not_shipped_is_forgotten_at_once),
		CASE(a_node_that_is_lost_keeps_nobody_from_unregistering),
		CASE(it_is_gone_when_all_nodes_have_answered),
		CASE(unregistering_waits_for_tasks_in_flight_and_refuses_new_ones),
		CASE(what_is_registered_again_while_it_goes_stays_on_the_nodes),
		CASE(what_is_registered_again_while_nodes_drop_it_waits_until_they_have),
		CASE(threads_register_submit_and_unregister_the_same_at_once),
		CASE(a_node_that_was_lost_is_passed_over_and_told_when_it_returns),
		CASE(a_node_that_is_back_takes_part_again),
		CASE(a_node_that_refuses_when_it_returns_is_tried_again),
		CASE(what_is_on_its_way_when_a_node_returns_is_told_before_it_takes_part),
		CASE(one_that_was_unregistered_and_is_in_use_is_told_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
