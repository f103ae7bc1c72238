/* Which child a task goes to: directed, any, groups, and what waits in a child while another idles.
 */
#include <sched.h>
#include <string.h>

#include "worker_fixture.h"

/* A tensor of the worker's heap, as the only argument. */
static simpler_status submit_shared(simpler_orch *orch, const struct fixture *fixture,
                                    simpler_backing backing, simpler_kind kind)
{
	const int64_t shape[] = { 16 };
	simpler_args *args = simpler_args_create();
	simpler_tensor tensor;
	simpler_status status;

	assert_int_equal(simpler_orch_alloc(orch, SIMPLER_INT64, 1, shape, &tensor), SIMPLER_OK);
	assert_int_equal(simpler_args_add_tensor(args, &tensor, SIMPLER_INPUT, backing),
	                 SIMPLER_OK);
	status = kind == SIMPLER_KIND_SUB
	                 ? simpler_submit_sub(orch, fixture->sub, args, NULL, NULL)
	                 : simpler_submit_next_level(orch, fixture->fn, args, NULL, NULL);
	simpler_args_destroy(args);
	return status;
}

/* --- any --- */

ORCH(staged_from_shared_memory)
{
	FIXTURE_OF_STATE();
	return submit_shared(orch, fixture, SIMPLER_STAGED, SIMPLER_KIND_ORCH);
}

static void a_task_goes_where_its_bytes_are(void **state)
{
	struct fixture *fixture = *state;
	struct fake *here = fixture_add(fixture->core, SIMPLER_KIND_ORCH, 2, 2);
	struct background runs[3];

	here->child.local = true;
	/* The node is idle each time; bytes go before load as long as there is a free hand. */
	for (int i = 0; i < 2; i++) {
		background_begin(&runs[i], fixture, staged_from_shared_memory);
		fake_wait_for(here, (uint32_t)i + 1);
	}
	background_begin(&runs[2], fixture, staged_from_shared_memory);
	fake_end_well(fake_take(fixture->node));
	fake_end_well(fake_take(here));
	fake_end_well(fake_take(here));
	for (int i = 0; i < 3; i++) {
		background_end(&runs[i]);
		assert_int_equal(runs[i].status, SIMPLER_OK);
	}
}

ORCH(shared_only)
{
	FIXTURE_OF_STATE();
	return submit_shared(orch, fixture, SIMPLER_SHARED, SIMPLER_KIND_ORCH);
}

static void what_only_local_children_can_take_waits_for_one(void **state)
{
	struct fixture *fixture = *state;
	struct fake *here = fixture_add(fixture->core, SIMPLER_KIND_ORCH, 1, 1);
	struct background first, second, third;

	here->child.local = true;
	background_begin(&first, fixture, shared_only);
	fake_wait_for(here, 1);
	background_begin(&second, fixture, shared_only);
	/* It passes those that wait for the local child. */
	background_begin(&third, fixture, staged_from_shared_memory);
	fake_end_well(fake_take(fixture->node));
	background_end(&third);
	fake_end_well(fake_take(here));
	background_end(&first);
	fake_end_well(fake_take(here));
	background_end(&second);
	assert_int_equal(fake_started(fixture->node), 1);
}

ORCH(mixed_memory)
{
	const int64_t shape[] = { 2 };
	simpler_args *built = simpler_args_create();
	simpler_tensor shared, own;
	FIXTURE_OF_STATE();

	assert_int_equal(simpler_orch_alloc(orch, SIMPLER_INT64, 1, shape, &shared), SIMPLER_OK);
	simpler_tensor_init_1d(&own, fixture->cells, SIMPLER_INT64, 2);
	simpler_args_add_tensor(built, &shared, SIMPLER_INPUT, SIMPLER_SHARED);
	simpler_args_add_tensor(built, &own, SIMPLER_INPUT, SIMPLER_INLINE);
	assert_int_equal(simpler_submit_next_level(orch, fixture->fn, built, NULL, NULL),
	                 SIMPLER_EINVAL);
	assert_non_null(strstr(simpler_last_error(), "no worker can take both"));

	simpler_args_reset(built);
	simpler_args_add_tensor(built, &own, SIMPLER_INPUT, SIMPLER_SHARED);
	assert_int_equal(simpler_submit_next_level(orch, fixture->fn, built, NULL, NULL),
	                 SIMPLER_EINVAL);
	assert_non_null(strstr(simpler_last_error(), "simpler_alloc() or simpler_orch_alloc()"));
	simpler_args_destroy(built);
	return SIMPLER_OK;
}

static void R01_memory_that_is_not_shared_is_refused_at_submit(void **state)
{
	struct background run;

	background_begin(&run, *state, mixed_memory);
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_OK);
}

/* --- functions of the program --- */

static simpler_status own_function(simpler_orch *orch, const simpler_args *args,
                                   const simpler_config *config, simpler_bytes state)
{
	(void)orch;
	(void)args;
	(void)config;
	(void)state;
	return SIMPLER_OK;
}

static simpler_orch_fn add_own_function(const struct fixture *fixture)
{
	simpler_orch_function *function = own_function;
	struct callable_spec spec = { .name = "own_function", .kind = SIMPLER_KIND_ORCH };
	simpler_orch_fn added;

	memcpy(&spec.function, &function, sizeof(function));
	assert_int_equal(callables_add(fixture->core->callables, &spec, NULL, &added.id),
	                 SIMPLER_OK);
	return added;
}

ORCH(own_functions_anywhere)
{
	FIXTURE_OF_STATE();
	for (int i = 0; i < 3; i++)
		assert_int_equal(simpler_submit_next_level(orch, add_own_function(fixture), NULL,
		                                           NULL, NULL),
		                 SIMPLER_OK);
	return SIMPLER_OK;
}

static void functions_of_the_program_go_to_children_of_this_machine(void **state)
{
	struct fixture *fixture = *state;
	struct fake *here = fixture_add(fixture->core, SIMPLER_KIND_ORCH, 1, 1);
	struct background run;

	here->child.local = true;
	background_begin(&run, fixture, own_functions_anywhere);
	for (int i = 0; i < 3; i++)
		fake_end_well(fake_take(here));
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_OK);
	assert_int_equal(fake_started(fixture->node), 0);
}

static void assert_told(const char *what)
{
	if (!strstr(simpler_last_error(), what))
		fail_msg("'%s' is not in: %s", what, simpler_last_error());
}

/* Child 0 is the node. */
ORCH(own_functions_on_a_node)
{
	static const simpler_worker_id both[] = { 1, 0 };
	const simpler_args *none[] = { NULL, NULL };
	simpler_submit_options options = SIMPLER_SUBMIT_OPTIONS_INIT;
	simpler_args *built;
	simpler_tensor own;
	FIXTURE_OF_STATE();
	const simpler_orch_fn fn = add_own_function(fixture);
	bool only_nodes = fixture->core->child_count == 1;

	options.worker = 0;
	assert_int_equal(simpler_submit_next_level(orch, fn, NULL, &options, NULL), SIMPLER_EINVAL);
	assert_told("'own_function' is a function of this program, which exists on this machine");
	assert_told("put it into a module");
	if (only_nodes) {
		assert_int_equal(simpler_submit_next_level(orch, fn, NULL, NULL, NULL),
		                 SIMPLER_EINVAL);
		assert_told("put it into a module");
		return SIMPLER_OK;
	}
	assert_int_equal(simpler_submit_next_level_group(orch, fn, none, 2, NULL, NULL),
	                 SIMPLER_EINVAL);
	assert_told("a group of 2 needs as many workers, and 1 can run 'own_function'");
	options.worker = SIMPLER_ANY_WORKER;
	options.group_workers = both;
	assert_int_equal(simpler_submit_next_level_group(orch, fn, none, 2, &options, NULL),
	                 SIMPLER_EINVAL);
	assert_told("put it into a module");
	built = simpler_args_create();
	simpler_tensor_init_1d(&own, fixture->cells, SIMPLER_INT64, 2);
	simpler_args_add_tensor(built, &own, SIMPLER_INPUT, SIMPLER_INLINE);
	assert_int_equal(simpler_submit_next_level(orch, fn, built, NULL, NULL), SIMPLER_EINVAL);
	assert_told("tensor 0 is in memory of this process alone");
	simpler_args_destroy(built);
	return SIMPLER_OK;
}

static void a_function_of_the_program_is_refused_for_a_node_with_the_reason(void **state)
{
	struct fixture *fixture = *state;
	struct background run;

	background_begin(&run, fixture, own_functions_on_a_node);
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_OK);
	fixture_add(fixture->core, SIMPLER_KIND_ORCH, 1, 1)->child.local = true;
	background_begin(&run, fixture, own_functions_on_a_node);
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_OK);
	assert_int_equal(fake_started(fixture->node), 0);
}

/* --- more than a child runs at once --- */

#define SUBS 6

ORCH(several_subs)
{
	FIXTURE_OF_STATE();
	for (int i = 0; i < SUBS; i++)
		assert_int_equal(simpler_submit_sub(orch, fixture->sub, NULL, NULL, NULL),
		                 SIMPLER_OK);
	return SIMPLER_OK;
}

static void tasks_that_wait_in_a_child_go_to_one_that_is_idle(void **state)
{
	struct fixture *fixture = *state;
	struct fake *a = fixture_add(fixture->core, SIMPLER_KIND_SUB, 1, 4);
	struct fake *b = fixture_add(fixture->core, SIMPLER_KIND_SUB, 1, 4);
	struct background run;

	background_begin(&run, fixture, several_subs);
	fake_wait_for(a, SUBS / 2);
	fake_wait_for(b, SUBS / 2);
	/* The first one's hang; the second does all the others. */
	for (int i = 0; i < SUBS - 1; i++)
		fake_end_well(fake_take(b));
	assert_int_equal(a->count, 1);
	assert_int_equal(a->retracted, SUBS / 2 - 1);
	fake_end_well(fake_take(a));
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_OK);
	assert_int_equal(a->most <= 4 && b->most <= 4, true);
}

/* The node takes eight at once. */
ORCH(local_ones_and_one_too_many_for_the_node)
{
	FIXTURE_OF_STATE();
	for (int i = 0; i < SUBS; i++)
		assert_int_equal(submit_shared(orch, fixture, SIMPLER_SHARED, SIMPLER_KIND_ORCH),
		                 SIMPLER_OK);
	for (int i = 0; i < 9; i++)
		assert_int_equal(fixture_submit(orch, fixture, 0, SIMPLER_INPUT, NULL, NULL),
		                 SIMPLER_OK);
	return SIMPLER_OK;
}

static void wait_until_one_waits_for_the_node(struct fixture *fixture)
{
	bool waits = false;

	fake_wait_for(fixture->node, 8);
	while (!waits) {
		pthread_mutex_lock(&fixture->core->lock);
		waits = fixture->core->crews[SIMPLER_KIND_ORCH].any.first != NULL;
		pthread_mutex_unlock(&fixture->core->lock);
		sched_yield();
	}
}

static void an_idle_child_is_helped_out_while_others_wait_for_a_full_node(void **state)
{
	struct fixture *fixture = *state;
	struct fake *a = fixture_add(fixture->core, SIMPLER_KIND_ORCH, 1, 4);
	struct fake *b = fixture_add(fixture->core, SIMPLER_KIND_ORCH, 1, 4);
	struct background run;
	uint32_t before;

	a->child.local = b->child.local = true;
	background_begin(&run, fixture, local_ones_and_one_too_many_for_the_node);
	wait_until_one_waits_for_the_node(fixture);
	before = a->retracted;
	for (int i = 0; i < SUBS / 2; i++)
		fake_end_well(fake_take(b));
	assert_int_equal(a->retracted, before + 1);
	for (int i = SUBS / 2; i < SUBS - 1; i++)
		fake_end_well(fake_take(b));
	fake_end_well(fake_take(a));
	for (int i = 0; i < 9; i++)
		fake_end_well(fake_take(fixture->node));
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_OK);
}

ORCH(several_directed)
{
	simpler_submit_options options = SIMPLER_SUBMIT_OPTIONS_INIT;
	FIXTURE_OF_STATE();

	options.worker = 1;
	for (int i = 0; i < SUBS; i++)
		assert_int_equal(simpler_submit_sub(orch, fixture->sub, NULL, &options, NULL),
		                 SIMPLER_OK);
	return SIMPLER_OK;
}

static void directed_tasks_stay_with_their_worker(void **state)
{
	struct fixture *fixture = *state;
	struct fake *a = fixture_add(fixture->core, SIMPLER_KIND_SUB, 1, 4);
	struct fake *b = fixture_add(fixture->core, SIMPLER_KIND_SUB, 1, 4);
	struct background run;

	background_begin(&run, fixture, several_directed);
	for (int i = 0; i < SUBS; i++)
		fake_end_well(fake_take(a));
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_OK);
	assert_int_equal(fake_started(b), 0);
	assert_int_equal(a->retracted, 0);
}

/* --- groups --- */

static const simpler_args *const no_args[3];

ORCH(a_group_of_two)
{
	FIXTURE_OF_STATE();
	return simpler_submit_sub_group(orch, fixture->sub, no_args, 2, NULL, NULL);
}

ORCH(one_sub)
{
	FIXTURE_OF_STATE();
	return simpler_submit_sub(orch, fixture->sub, NULL, NULL, NULL);
}

/* What is not started tells nobody, so it is asked. */
ORCH(most_for_the_first_and_one_for_any)
{
	simpler_submit_options options = SIMPLER_SUBMIT_OPTIONS_INIT;
	FIXTURE_OF_STATE();

	/* The first runs one that it might have given up, and keeps what waits behind it. */
	assert_int_equal(simpler_submit_sub(orch, fixture->sub, NULL, NULL, NULL), SIMPLER_OK);
	for (options.worker = 2; options.worker <= 3; options.worker++)
		assert_int_equal(simpler_submit_sub(orch, fixture->sub, NULL, &options, NULL),
		                 SIMPLER_OK);
	options.worker = 1;
	for (int i = 0; i < 2; i++)
		assert_int_equal(simpler_submit_sub(orch, fixture->sub, NULL, &options, NULL),
		                 SIMPLER_OK);
	/* And this one waits in the second. */
	return simpler_submit_sub(orch, fixture->sub, NULL, NULL, NULL);
}

static void what_waits_beside_a_fuller_child_goes_to_one_that_is_idle(void **state)
{
	struct fixture *fixture = *state;
	struct fake *full = fixture_add(fixture->core, SIMPLER_KIND_SUB, 1, 8);
	struct fake *busy = fixture_add(fixture->core, SIMPLER_KIND_SUB, 1, 8);
	struct fake *idle = fixture_add(fixture->core, SIMPLER_KIND_SUB, 1, 8);
	struct background run;

	background_begin(&run, fixture, most_for_the_first_and_one_for_any);
	fake_wait_for(full, 3);
	fake_wait_for(busy, 2);
	fake_wait_for(idle, 1);
	fake_end_well(fake_take(idle));
	fake_wait_for(idle, 1);
	fake_end_well(fake_take(idle));
	fake_end_well(fake_take(busy));
	for (int i = 0; i < 3; i++)
		fake_end_well(fake_take(full));
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_OK);
}

ORCH(subs_beside_a_bound_task_of_another_kind)
{
	simpler_submit_options options = SIMPLER_SUBMIT_OPTIONS_INIT;
	FIXTURE_OF_STATE();

	for (int i = 0; i < 2; i++)
		assert_int_equal(simpler_submit_next_level(orch, fixture->fn, NULL, NULL, NULL),
		                 SIMPLER_OK);
	options.worker = 3;
	assert_int_equal(simpler_submit_next_level(orch, fixture->fn, NULL, &options, NULL),
	                 SIMPLER_OK);
	for (int i = 0; i < 3; i++)
		assert_int_equal(simpler_submit_sub(orch, fixture->sub, NULL, NULL, NULL),
		                 SIMPLER_OK);
	return SIMPLER_OK;
}

/* The second node may have to give up what waits in it, as far as the scheduler knows, and has only
 * a task that is bound to it. */
static void one_kind_of_child_is_relieved_while_another_cannot_be(void **state)
{
	struct fixture *fixture = *state;
	struct fake *a = fixture_add(fixture->core, SIMPLER_KIND_SUB, 1, 2);
	struct fake *b = fixture_add(fixture->core, SIMPLER_KIND_SUB, 1, 2);
	struct fake *node = fixture_add(fixture->core, SIMPLER_KIND_ORCH, 1, 2);
	struct background run;

	background_begin(&run, fixture, subs_beside_a_bound_task_of_another_kind);
	fake_wait_for(node, 2);
	fake_wait_for(b, 1);
	fake_wait_for(a, 2);
	fake_end_well(fake_take(b));
	assert_int_equal(a->count, 1);
	assert_int_equal(b->count, 1);
	fake_end_well(fake_take(a));
	fake_end_well(fake_take(b));
	fake_end_well(fake_take(fixture->node));
	for (int i = 0; i < 2; i++)
		fake_end_well(fake_take(node));
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_OK);
}

static void wait_for_ready(struct worker_core *core, const struct task_queue *queue)
{
	bool ready = false;

	while (!ready) {
		pthread_mutex_lock(&core->lock);
		ready = queue->first != NULL;
		pthread_mutex_unlock(&core->lock);
		sched_yield();
	}
}

static void a_group_starts_together_and_nothing_overtakes_it(void **state)
{
	struct fixture *fixture = *state;
	struct fake *a = fixture_add(fixture->core, SIMPLER_KIND_SUB, 1, 4);
	struct fake *b = fixture_add(fixture->core, SIMPLER_KIND_SUB, 1, 4);
	struct background busy, group, later;

	background_begin(&busy, fixture, one_sub);
	fake_wait_for(a, 1);
	background_begin(&group, fixture, a_group_of_two);
	wait_for_ready(fixture->core, &fixture->core->crews[SIMPLER_KIND_SUB].groups);
	background_begin(&later, fixture, one_sub);
	wait_for_ready(fixture->core, &fixture->core->crews[SIMPLER_KIND_SUB].any);
	assert_int_equal(fake_started(b), 0);
	fake_end_well(fake_take(a));
	background_end(&busy);
	fake_end_well(fake_take(a));
	fake_end_well(fake_take(b));
	background_end(&group);
	assert_int_equal(group.status, SIMPLER_OK);
	if (fake_started(a) == 3)
		fake_end_well(fake_take(a));
	else
		fake_end_well(fake_take(b));
	background_end(&later);
	assert_int_equal(later.status, SIMPLER_OK);
}

static void when_a_member_fails_the_others_are_stopped(void **state)
{
	struct fixture *fixture = *state;
	struct fake *a = fixture_add(fixture->core, SIMPLER_KIND_SUB, 1, 4);
	struct fake *b = fixture_add(fixture->core, SIMPLER_KIND_SUB, 1, 4);
	struct background group;
	struct exec_task *other;

	background_begin(&group, fixture, a_group_of_two);
	fake_wait_for(b, 1);
	fake_end_badly(fake_take(a), SIMPLER_EUSER, "broken");
	fake_wait_for_stops(b, 1);
	other = fake_take(b);
	assert_int_equal(b->stopped, other->id);
	fake_end_well(other);
	background_end(&group);
	assert_int_equal(group.status, SIMPLER_EUSER);
	assert_non_null(strstr(group.text, "member 0 of 2"));
}

static void stop_run(void *run)
{
	run_stop(run, SIMPLER_ECANCELLED);
}

ORCH(a_group_and_one_behind_it)
{
	simpler_submit_options options = SIMPLER_SUBMIT_OPTIONS_INIT;
	FIXTURE_OF_STATE();

	assert_int_equal(simpler_submit_sub_group(orch, fixture->sub, no_args, 2, NULL, NULL),
	                 SIMPLER_OK);
	options.worker = 1;
	return simpler_submit_sub(orch, fixture->sub, NULL, &options, NULL);
}

/* The cancellation comes between a member's failure and the word to the others: its own words must
 * not get mixed up with that one. */
static void a_run_may_be_stopped_while_a_failed_group_is(void **state)
{
	struct fixture *fixture = *state;
	struct fake *a = fixture_add(fixture->core, SIMPLER_KIND_SUB, 1, 1);
	struct fake *b = fixture_add(fixture->core, SIMPLER_KIND_SUB, 1, 1);
	struct background run;

	background_begin(&run, fixture, a_group_and_one_behind_it);
	fake_wait_for(b, 1);
	wait_for_ready(fixture->core, &fixture->core->children[1].directed);
	a->context = run.run;
	a->on_start = stop_run;
	fake_end_badly(fake_take(a), SIMPLER_EUSER, "broken");
	/* Once the task behind, and once each member, of which that of `a` has ended. */
	assert_int_equal(a->stops, 2);
	assert_int_equal(b->stops, 1);
	fake_end_well(fake_take(a));
	fake_end_well(fake_take(b));
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_EUSER);
}

ORCH(wrong_groups)
{
	static const simpler_worker_id twice[] = { 1, 1 }, node[] = { 0, 1 }, gone[] = { 1, 99 };
	simpler_submit_options options = SIMPLER_SUBMIT_OPTIONS_INIT;
	const struct {
		size_t count;
		const simpler_worker_id *workers;
		const char *says;
	} cases[] = {
		{ 0, NULL, "a group has 1 to 256 members" },
		{ SIMPLER_MAX_GROUP + 1, NULL, "a group has 1 to 256 members" },
		{ 3, NULL, "a group of 3 needs as many workers, and 2 can run" },
		{ 2, twice, "name the same worker, 1" },
		{ 2, node, "fake node 0 runs no sub task" },
		{ 2, gone, "worker 99 is not a child here" },
	};
	FIXTURE_OF_STATE();

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		options.group_workers = cases[i].workers;
		assert_int_equal(simpler_submit_sub_group(orch, fixture->sub, no_args,
		                                          cases[i].count, &options, NULL),
		                 SIMPLER_EINVAL);
		assert_non_null(strstr(simpler_last_error(), cases[i].says));
	}
	return SIMPLER_OK;
}

static void a_group_that_cannot_be_is_refused_with_the_reason(void **state)
{
	struct fixture *fixture = *state;
	struct background run;

	(void)fixture_add(fixture->core, SIMPLER_KIND_SUB, 1, 4);
	(void)fixture_add(fixture->core, SIMPLER_KIND_SUB, 1, 4);
	background_begin(&run, fixture, wrong_groups);
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_OK);
}

ORCH(named_and_any_groups)
{
	static const simpler_worker_id named[] = { 2, 3 };
	simpler_submit_options options = SIMPLER_SUBMIT_OPTIONS_INIT;
	FIXTURE_OF_STATE();

	options.group_workers = named;
	assert_int_equal(simpler_submit_sub_group(orch, fixture->sub, no_args, 2, &options, NULL),
	                 SIMPLER_OK);
	return simpler_submit_sub_group(orch, fixture->sub, no_args, 3, NULL, NULL);
}

static void members_go_to_distinct_workers_named_or_not(void **state)
{
	struct fixture *fixture = *state;
	struct fake *workers[3];
	struct background run;

	for (int i = 0; i < 3; i++)
		workers[i] = fixture_add(fixture->core, SIMPLER_KIND_SUB, 1, 4);
	background_begin(&run, fixture, named_and_any_groups);
	fake_end_well(fake_take(workers[1]));
	fake_end_well(fake_take(workers[2]));
	for (int i = 0; i < 3; i++)
		fake_end_well(fake_take(workers[i]));
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_OK);
	assert_int_equal(fake_started(workers[0]), 1);
}

/* --- children that end a task within its start --- */

#define WAITING 40

ORCH(more_than_the_node_takes)
{
	FIXTURE_OF_STATE();

	for (unsigned i = 0; i < fixture->node->child.capacity + WAITING; i++)
		assert_int_equal(simpler_submit_next_level(orch, fixture->fn, NULL, NULL, NULL),
		                 SIMPLER_OK);
	pthread_mutex_lock(&fixture->node->lock);
	fixture->node->at_once = true;
	pthread_mutex_unlock(&fixture->node->lock);
	for (unsigned i = 0; i < fixture->node->child.capacity; i++)
		fake_end_well(fake_take(fixture->node));
	return SIMPLER_OK;
}

static void tasks_that_end_at_once_do_not_start_each_other_from_within(void **state)
{
	struct fixture *fixture = *state;
	struct background run;

	background_begin(&run, fixture, more_than_the_node_takes);
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_OK);
	assert_int_equal(fixture->node->started, fixture->node->child.capacity + WAITING);
	assert_int_equal(fixture->node->deepest, 1);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)
	const struct CMUnitTest tests[] = {
		CASE(a_task_goes_where_its_bytes_are),
		CASE(what_only_local_children_can_take_waits_for_one),
		CASE(R01_memory_that_is_not_shared_is_refused_at_submit),
		CASE(functions_of_the_program_go_to_children_of_this_machine),
		CASE(a_function_of_the_program_is_refused_for_a_node_with_the_reason),
		CASE(tasks_that_wait_in_a_child_go_to_one_that_is_idle),
		CASE(an_idle_child_is_helped_out_while_others_wait_for_a_full_node),
		CASE(directed_tasks_stay_with_their_worker),
		CASE(what_waits_beside_a_fuller_child_goes_to_one_that_is_idle),
		CASE(one_kind_of_child_is_relieved_while_another_cannot_be),
		CASE(a_group_starts_together_and_nothing_overtakes_it),
		CASE(when_a_member_fails_the_others_are_stopped),
		CASE(a_run_may_be_stopped_while_a_failed_group_is),
		CASE(a_group_that_cannot_be_is_refused_with_the_reason),
		CASE(members_go_to_distinct_workers_named_or_not),
		CASE(tasks_that_end_at_once_do_not_start_each_other_from_within),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
