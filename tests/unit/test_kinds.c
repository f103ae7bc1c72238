/*
 * Callers in other languages have no handle types: they pass ids as they like. What a submit does
 * with an id of another kind, or of none, by the C interface.
 */
#include <stdio.h>
#include <string.h>

#include "worker/callables.h"
#include "worker_fixture.h"

static simpler_status a_sub(const simpler_args *args, simpler_bytes state)
{
	(void)args;
	(void)state;
	return SIMPLER_OK;
}

static simpler_status an_orch_fn(simpler_orch *orch, const simpler_args *args,
                                 const simpler_config *config, simpler_bytes state)
{
	(void)orch;
	(void)config;
	return a_sub(args, state);
}

static simpler_status a_chip(const simpler_block *block, const simpler_args *args,
                             simpler_bytes state)
{
	(void)block;
	return a_sub(args, state);
}

static uint64_t add(struct fixture *fixture, const void *function, const char *name,
                    simpler_kind kind)
{
	const struct callable_spec spec = { .function = function, .name = name, .kind = kind };
	uint64_t handle;

	assert_int_equal(callables_add(fixture->core->callables, &spec, NULL, &handle), SIMPLER_OK);
	return handle;
}

/* Ids of the three kinds, by kind. */
static uint64_t ids[CORE_KINDS];
static const char *const names[CORE_KINDS] = {
	[SIMPLER_KIND_SUB] = "a_sub",
	[SIMPLER_KIND_ORCH] = "an_orch_fn",
	[SIMPLER_KIND_CHIP] = "a_chip",
};

static void add_all(struct fixture *fixture)
{
	simpler_sub_function *sub = a_sub;
	simpler_orch_function *orch = an_orch_fn;
	simpler_chip_function *chip = a_chip;
	const void *functions[CORE_KINDS] = { NULL };

	memcpy(&functions[SIMPLER_KIND_SUB], &sub, sizeof(sub));
	memcpy(&functions[SIMPLER_KIND_ORCH], &orch, sizeof(orch));
	memcpy(&functions[SIMPLER_KIND_CHIP], &chip, sizeof(chip));
	for (int kind = SIMPLER_KIND_SUB; kind <= SIMPLER_KIND_CHIP; kind++)
		ids[kind] = add(fixture, functions[kind], names[kind], (simpler_kind)kind);
}

static simpler_status submit(simpler_orch *orch, simpler_kind to, uint64_t id, bool group)
{
	const simpler_args *none[] = { NULL };
	const simpler_sub sub = { id };
	const simpler_orch_fn orch_fn = { id };
	const simpler_chip chip = { id };

	switch (to) {
	case SIMPLER_KIND_SUB:
		return group ? simpler_submit_sub_group(orch, sub, none, 1, NULL, NULL)
		             : simpler_submit_sub(orch, sub, NULL, NULL, NULL);
	case SIMPLER_KIND_ORCH:
		return group ? simpler_submit_next_level_group(orch, orch_fn, none, 1, NULL, NULL)
		             : simpler_submit_next_level(orch, orch_fn, NULL, NULL, NULL);
	default:
		return group ? simpler_submit_chip_group(orch, chip, none, 1, NULL, NULL)
		             : simpler_submit_chip(orch, chip, NULL, NULL, NULL);
	}
}

static void check(simpler_orch *orch, simpler_kind to, simpler_kind is, bool group)
{
	char says[160];
	simpler_status status = submit(orch, to, ids[is], group);

	if (to == is) {
		assert_int_equal(status, SIMPLER_OK);
		return;
	}
	assert_int_equal(status, SIMPLER_EKIND);
	(void)snprintf(says, sizeof(says), "'%s' is of kind %s, and %s is needed here", names[is],
	               simpler_kind_name(is), simpler_kind_name(to));
	if (!strstr(simpler_last_error(), says))
		fail_msg("'%s' is not in: %s", says, simpler_last_error());
}

ORCH(every_pair)
{
	FIXTURE_OF_STATE();
	add_all(fixture);
	for (int to = SIMPLER_KIND_SUB; to <= SIMPLER_KIND_CHIP; to++) {
		for (int is = SIMPLER_KIND_SUB; is <= SIMPLER_KIND_CHIP; is++) {
			check(orch, (simpler_kind)to, (simpler_kind)is, false);
			check(orch, (simpler_kind)to, (simpler_kind)is, true);
		}
	}
	return SIMPLER_OK;
}

static void R19_R22_an_id_of_another_kind_is_refused_at_submit_naming_both(void **state)
{
	struct fixture *fixture = *state;
	struct fake *here = fixture_add(fixture->core, SIMPLER_KIND_ORCH, 2, 2);
	struct fake *sub = fixture_add(fixture->core, SIMPLER_KIND_SUB, 2, 2);
	struct fake *chip = fixture_add(fixture->core, SIMPLER_KIND_CHIP, 2, 2);
	struct background run;

	here->child.local = sub->child.local = chip->child.local = true;
	background_begin(&run, fixture, every_pair);
	/* Of the eighteen submits the six that fit have started something. */
	for (int i = 0; i < 2; i++) {
		fake_end_well(fake_take(here));
		fake_end_well(fake_take(sub));
		fake_end_well(fake_take(chip));
	}
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_OK);
	assert_int_equal(fake_started(here), 2);
	assert_int_equal(fake_started(sub), 2);
	assert_int_equal(fake_started(chip), 2);
	assert_int_equal(fake_started(fixture->node), 0);
}

ORCH(numbers_that_are_no_ids)
{
	FIXTURE_OF_STATE();
	const uint64_t numbers[] = { 0, fixture->core->child_count + 1000, UINT64_MAX };

	add_all(fixture);
	for (int to = SIMPLER_KIND_SUB; to <= SIMPLER_KIND_CHIP; to++) {
		for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
			for (int group = 0; group < 2; group++) {
				assert_int_equal(
					submit(orch, (simpler_kind)to, numbers[i], group == 1),
					SIMPLER_ESTALE);
				assert_non_null(strstr(simpler_last_error(),
				                       simpler_kind_name((simpler_kind)to)));
			}
		}
	}
	return SIMPLER_OK;
}

static void R23_a_number_that_is_nobodys_id_is_refused_at_submit(void **state)
{
	struct fixture *fixture = *state;
	struct background run;

	background_begin(&run, fixture, numbers_that_are_no_ids);
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_OK);
	assert_int_equal(fake_started(fixture->node), 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)
	const struct CMUnitTest tests[] = {
		CASE(R19_R22_an_id_of_another_kind_is_refused_at_submit_naming_both),
		CASE(R23_a_number_that_is_nobodys_id_is_refused_at_submit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
