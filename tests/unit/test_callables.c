/* The table of a worker's callables: holds, uses, places that are used again, and handles that are
 * stale then. */
#include "worker_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define THREADS 4
#define ROUNDS  2000

static struct callable_spec spec_of(const struct fixture *fixture, const uint64_t *state)
{
	return (struct callable_spec){ .module = fixture->module,
		                       .name = "shift",
		                       .kind = SIMPLER_KIND_ORCH,
		                       .state = { state, sizeof(*state) } };
}

static uint64_t add(const struct fixture *fixture, uint64_t state, struct callable_holds *holds)
{
	const struct callable_spec spec = spec_of(fixture, &state);
	uint64_t handle;

	assert_int_equal(callables_add(fixture->core->callables, &spec, holds, &handle),
	                 SIMPLER_OK);
	return handle;
}

static struct exec_callable *use(const struct fixture *fixture, uint64_t handle)
{
	struct exec_callable *callable;

	assert_int_equal(
		callables_find(fixture->core->callables, handle, SIMPLER_KIND_ORCH, &callable),
		SIMPLER_OK);
	return callable;
}

static void assert_stale(const struct fixture *fixture, uint64_t handle, const char *says)
{
	struct exec_callable *callable;

	assert_int_equal(
		callables_find(fixture->core->callables, handle, SIMPLER_KIND_ORCH, &callable),
		SIMPLER_ESTALE);
	if (!strstr(simpler_last_error(), says))
		fail_msg("the error is: %s\nand does not say: %s", simpler_last_error(), says);
}

static bool retire(const struct fixture *fixture, uint64_t handle)
{
	bool last;

	assert_int_equal(
		callables_retire(fixture->core->callables, handle, SIMPLER_KIND_ORCH, &last),
		SIMPLER_OK);
	return last;
}

/* --- the program's handles --- */

static void the_same_again_is_the_same_handle_and_counts(void **state)
{
	struct fixture *fixture = *state;
	uint64_t handle = add(fixture, 1, NULL);

	assert_int_equal(add(fixture, 1, NULL), handle);
	assert_int_not_equal(add(fixture, 2, NULL), handle);
	assert_false(retire(fixture, handle));
	callables_release(fixture->core->callables, use(fixture, handle));
	assert_true(retire(fixture, handle));
	assert_stale(fixture, handle, "was unregistered");
}

static void a_stale_handle_never_names_what_has_its_place_now(void **state)
{
	struct fixture *fixture = *state;
	uint64_t old = add(fixture, 1, NULL), new;
	bool last;

	assert_true(retire(fixture, old));
	new = add(fixture, 2, NULL);
	assert_int_equal((uint32_t) new, (uint32_t)old);
	assert_int_not_equal(new, old);
	assert_stale(fixture, old, "was unregistered");
	assert_int_equal(callables_retire(fixture->core->callables, old, SIMPLER_KIND_ORCH, &last),
	                 SIMPLER_ESTALE);
	callables_release(fixture->core->callables, use(fixture, new));
}

static void a_handle_that_nobody_gave_out_is_refused(void **state)
{
	static const uint64_t handles[] = { 0, 4096, 4097, UINT64_MAX, UINT64_C(1) << 32 | 1 };

	for (size_t i = 0; i < sizeof(handles) / sizeof(handles[0]); i++)
		assert_stale(*state, handles[i], "gave out no");
}

static void R22_another_kind_is_named_and_takes_nothing_back(void **state)
{
	struct fixture *fixture = *state;
	bool last;

	assert_int_equal(callables_retire(fixture->core->callables, fixture->sub.id,
	                                  SIMPLER_KIND_ORCH, &last),
	                 SIMPLER_EKIND);
	assert_non_null(strstr(simpler_last_error(), "shift_sub"));
	assert_int_equal(callables_retire(fixture->core->callables, fixture->sub.id,
	                                  SIMPLER_KIND_SUB, &last),
	                 SIMPLER_OK);
	assert_true(last);
}

static void a_use_keeps_what_is_unregistered_and_its_place(void **state)
{
	struct fixture *fixture = *state;
	struct callables *callables = fixture->core->callables;
	uint64_t old = add(fixture, 1, NULL), new;
	struct exec_callable *used = use(fixture, old);

	assert_true(retire(fixture, old));
	assert_stale(fixture, old, "'shift' was unregistered");
	assert_false(callables_await_forgotten(callables, old, clock_now()));
	new = add(fixture, 1, NULL);
	assert_int_not_equal((uint32_t) new, (uint32_t)old);
	assert_string_equal(used->name, "shift");
	callables_release(callables, used);
	assert_true(callables_await_forgotten(callables, old, CLOCK_NEVER));
	assert_int_equal((uint32_t)add(fixture, 2, NULL), (uint32_t)old);
}

static void a_full_table_takes_more_when_one_is_unregistered(void **state)
{
	struct fixture *fixture = *state;
	uint64_t handles[CALLABLES_MAX], one_more = CALLABLES_MAX, handle;
	struct callable_spec spec = spec_of(fixture, &one_more);

	for (uint64_t i = 0; i < CALLABLES_MAX - 2; i++)
		handles[i] = add(fixture, i, NULL);
	assert_int_equal(callables_add(fixture->core->callables, &spec, NULL, &handle),
	                 SIMPLER_ENOSPACE);
	assert_non_null(strstr(simpler_last_error(), "4096"));
	assert_true(retire(fixture, handles[100]));
	assert_int_equal(callables_add(fixture->core->callables, &spec, NULL, &handle), SIMPLER_OK);
	for (uint64_t i = 0; i < CALLABLES_MAX - 2; i++) {
		if (i != 100)
			assert_int_equal(add(fixture, i, NULL), handles[i]);
	}
}

/* --- what runs take --- */

static void a_run_holds_what_it_takes_once_and_until_it_ends(void **state)
{
	struct fixture *fixture = *state;
	struct callable_holds first = { 0 }, second = { 0 };
	uint64_t handle = add(fixture, 1, &first);

	assert_int_equal(add(fixture, 1, &first), handle);
	assert_int_equal(add(fixture, 1, &second), handle);
	callables_drop_all(fixture->core->callables, &first);
	callables_release(fixture->core->callables, use(fixture, handle));
	callables_drop_all(fixture->core->callables, &second);
	assert_stale(fixture, handle, "by a run that has ended");
}

static void what_a_run_took_is_found_again_by_the_next(void **state)
{
	struct fixture *fixture = *state;
	struct callable_holds first = { 0 }, second = { 0 };
	uint64_t handle = add(fixture, 1, &first);

	callables_drop_all(fixture->core->callables, &first);
	assert_int_equal(add(fixture, 1, &second), handle);
	callables_release(fixture->core->callables, use(fixture, handle));
	callables_drop_all(fixture->core->callables, &second);
}

static void runs_that_capture_ever_other_state_never_fill_the_table(void **state)
{
	struct fixture *fixture = *state;
	uint64_t oldest = 0;

	for (uint64_t i = 0; i < 3 * CALLABLES_MAX; i++) {
		struct callable_holds holds = { 0 };
		uint64_t handle = add(fixture, i, &holds);

		if (i == 0)
			oldest = handle;
		callables_drop_all(fixture->core->callables, &holds);
	}
	assert_stale(fixture, oldest, "by a run that has ended");
	/* And what the program holds is still there. */
	callables_release(fixture->core->callables, use(fixture, fixture->fn.id));
}

static void a_use_keeps_what_a_run_took_from_being_pushed_out(void **state)
{
	struct fixture *fixture = *state;
	struct callable_holds holds = { 0 };
	struct exec_callable *used = use(fixture, add(fixture, 0, &holds));
	uint64_t key = used->key;

	callables_drop_all(fixture->core->callables, &holds);
	for (uint64_t i = 1; i < 2 * CALLABLES_MAX; i++) {
		struct callable_holds others = { 0 };

		(void)add(fixture, i, &others);
		callables_drop_all(fixture->core->callables, &others);
	}
	assert_int_equal(used->key, key);
	callables_release(fixture->core->callables, used);
}

static void a_programs_handle_and_a_runs_are_given_back_apart(void **state)
{
	struct fixture *fixture = *state;
	struct callable_holds holds = { 0 };
	uint64_t handle = add(fixture, 1, &holds);
	bool last;

	assert_int_equal(
		callables_retire(fixture->core->callables, handle, SIMPLER_KIND_ORCH, &last),
		SIMPLER_ESTALE);
	assert_non_null(strstr(simpler_last_error(), "that of a run"));
	assert_int_equal(add(fixture, 1, NULL), handle);
	assert_false(retire(fixture, handle));
	callables_release(fixture->core->callables, use(fixture, handle));
	callables_drop_all(fixture->core->callables, &holds);
	assert_stale(fixture, handle, "by a run that has ended");
}

/* --- threads --- */

struct racer {
	pthread_t thread;
	struct fixture *fixture;
	uint64_t number;
};

/* All register and unregister the same, and use it while others do. */
static void *race(void *argument)
{
	struct racer *racer = argument;
	struct callables *callables = racer->fixture->core->callables;

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t handle = add(racer->fixture, i % 3, NULL);
		struct exec_callable *used = use(racer->fixture, handle);

		assert_int_equal(*(const uint64_t *)used->state.data, i % 3);
		if (retire(racer->fixture, handle) && racer->number % 2 == 0)
			assert_false(callables_await_forgotten(callables, handle, clock_now()));
		assert_int_equal(used->key, handle);
		callables_release(callables, used);
	}
	return NULL;
}

static void threads_register_use_and_unregister_the_same_at_once(void **state)
{
	struct racer racers[THREADS];

	for (uint64_t i = 0; i < THREADS; i++) {
		racers[i] = (struct racer){ .fixture = *state, .number = i };
		assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(racers[i].thread, NULL), 0);
	/* Nothing is left but what the fixture has. */
	for (uint64_t i = 0; i < CALLABLES_MAX - 2; i++)
		(void)add(*state, i, NULL);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(the_same_again_is_the_same_handle_and_counts),
		CASE(a_stale_handle_never_names_what_has_its_place_now),
		CASE(a_handle_that_nobody_gave_out_is_refused),
		CASE(R22_another_kind_is_named_and_takes_nothing_back),
		CASE(a_use_keeps_what_is_unregistered_and_its_place),
		CASE(a_full_table_takes_more_when_one_is_unregistered),
		CASE(a_run_holds_what_it_takes_once_and_until_it_ends),
		CASE(what_a_run_took_is_found_again_by_the_next),
		CASE(runs_that_capture_ever_other_state_never_fill_the_table),
		CASE(a_use_keeps_what_a_run_took_from_being_pushed_out),
		CASE(a_programs_handle_and_a_runs_are_given_back_apart),
		CASE(threads_register_use_and_unregister_the_same_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
