/* Scopes and storages of the graph, case by case: when a storage is unused, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "dag/dag.h"

#define MAX_STEPS 12
#define NAMES     8

/* Scopes are named 1, 2, ..., storages A, B, ..., tasks a, b, ... A task waits for the one before
 * it, if that is still there, and is READY and told when it need not. */
enum op {
	END,
	OPEN,    /* scope */
	CLOSE,   /* scope */
	ADD,     /* storage, with: its scope */
	RELEASE, /* storage */
	SUBMIT,  /* task, with: the storages it holds */
	SUCCEED, /* task, which is started first */
	FAIL,    /* likewise */
	CANCEL,  /* task */
};

struct step {
	enum op op;
	char name;
	const char *with;
	/* Storages that are told unused after this step, in order; NULL: no event is taken. */
	const char *unused;
	simpler_status status;
};

/* Steps that succeed and after which nothing is unused. */
#define DO(op, name)                                                                               \
	{                                                                                          \
		op, name, "", "", SIMPLER_OK                                                       \
	}
#define DO_WITH(op, name, w)                                                                       \
	{                                                                                          \
		op, name, w, "", SIMPLER_OK                                                        \
	}

static const struct storage_case {
	const char *name;
	struct step steps[MAX_STEPS];
} storage_cases[] = {
	{ "a scope's storages are unused when it closes, in the order they were added",
	  { DO(OPEN, '1'),
	    DO_WITH(ADD, 'A', "1"),
	    DO_WITH(ADD, 'B', "1"),
	    DO_WITH(ADD, 'C', "1"),
	    { CLOSE, '1', "", "ABC", SIMPLER_OK } } },
	{ "nobody's storage stays as long as the scope is open",
	  { DO(OPEN, '1'),
	    DO_WITH(ADD, 'A', "1"),
	    DO_WITH(SUBMIT, 'a', "A"),
	    DO(SUCCEED, 'a'),
	    { CLOSE, '1', "", "A", SIMPLER_OK } } },
	{ "a task that has not ended holds what its scope has left",
	  { DO(OPEN, '1'),
	    DO_WITH(ADD, 'A', "1"),
	    DO_WITH(ADD, 'B', "1"),
	    DO_WITH(SUBMIT, 'a', "B"),
	    { CLOSE, '1', "", "A", SIMPLER_OK },
	    { SUCCEED, 'a', "", "B", SIMPLER_OK } } },
	{ "so does a task that waits, and the last one counts",
	  { DO(OPEN, '1'),
	    DO_WITH(ADD, 'A', "1"),
	    DO_WITH(SUBMIT, 'a', "A"),
	    DO_WITH(SUBMIT, 'b', "A"),
	    DO(CLOSE, '1'),
	    DO(SUCCEED, 'a'),
	    { SUCCEED, 'b', "", "A", SIMPLER_OK } } },
	{ "a task may name a storage twice",
	  { DO(OPEN, '1'),
	    DO_WITH(ADD, 'A', "1"),
	    DO_WITH(SUBMIT, 'a', "AA"),
	    DO(CLOSE, '1'),
	    { SUCCEED, 'a', "", "A", SIMPLER_OK } } },
	{ "a task that failed holds nothing, those it poisoned do until that is told",
	  { DO(OPEN, '1'),
	    DO_WITH(ADD, 'A', "1"),
	    DO_WITH(ADD, 'B', "1"),
	    DO_WITH(ADD, 'C', "1"),
	    DO_WITH(SUBMIT, 'a', "C"),
	    DO_WITH(SUBMIT, 'b', "A"),
	    DO(RELEASE, 'A'),
	    DO(RELEASE, 'C'),
	    { FAIL, 'a', "", NULL, SIMPLER_OK },
	    { CLOSE, '1', "", "CBA", SIMPLER_OK } } },
	{ "a cancelled task holds until that is told",
	  { DO(OPEN, '1'),
	    DO_WITH(ADD, 'A', "1"),
	    DO_WITH(ADD, 'B', "1"),
	    DO_WITH(SUBMIT, 'a', "A"),
	    { CANCEL, 'a', "", NULL, SIMPLER_OK },
	    { CLOSE, '1', "", "BA", SIMPLER_OK } } },
	{ "a scope knows nothing of another",
	  { DO(OPEN, '1'),
	    DO(OPEN, '2'),
	    DO_WITH(ADD, 'A', "1"),
	    DO_WITH(ADD, 'B', "2"),
	    { CLOSE, '1', "", "A", SIMPLER_OK },
	    DO_WITH(ADD, 'C', "2"),
	    { CLOSE, '2', "", "BC", SIMPLER_OK } } },
	{ "a storage is released early, from the middle of its scope",
	  { DO(OPEN, '1'),
	    DO_WITH(ADD, 'A', "1"),
	    DO_WITH(ADD, 'B', "1"),
	    DO_WITH(ADD, 'C', "1"),
	    { RELEASE, 'B', "", "B", SIMPLER_OK },
	    { RELEASE, 'C', "", "C", SIMPLER_OK },
	    DO_WITH(ADD, 'D', "1"),
	    { RELEASE, 'A', "", "A", SIMPLER_OK },
	    { CLOSE, '1', "", "D", SIMPLER_OK } } },
	{ "what was released can be neither held nor released, though a task holds it still",
	  { DO(OPEN, '1'),
	    DO_WITH(ADD, 'A', "1"),
	    DO_WITH(ADD, 'B', "1"),
	    DO_WITH(SUBMIT, 'a', "A"),
	    DO(RELEASE, 'A'),
	    { RELEASE, 'A', "", "", SIMPLER_ESTALE },
	    { SUBMIT, 'b', "BA", "", SIMPLER_ESTALE },
	    { SUCCEED, 'a', "", "A", SIMPLER_OK },
	    { SUBMIT, 'b', "BA", "", SIMPLER_ESTALE },
	    { RELEASE, 'B', "", "B", SIMPLER_OK } /* the refused ones do not hold it */ } },
	{ "a closed scope takes no storage, and does not close again",
	  { DO(OPEN, '1'),
	    DO_WITH(ADD, 'A', "1"),
	    { CLOSE, '1', "", "A", SIMPLER_OK },
	    { ADD, 'B', "1", "", SIMPLER_ESTALE },
	    { CLOSE, '1', "", "", SIMPLER_ESTALE },
	    { RELEASE, 'A', "", "", SIMPLER_ESTALE },
	    DO(OPEN, '2'), /* in the same slot */
	    { ADD, 'B', "1", "", SIMPLER_ESTALE },
	    DO_WITH(ADD, 'B', "2"),
	    { CLOSE, '1', "", "", SIMPLER_ESTALE },
	    { SUBMIT, 'a', "A", "", SIMPLER_ESTALE } } },
};

struct names {
	struct dag *dag;
	dag_scope_id scopes[NAMES];
	dag_storage_id storages[NAMES];
	dag_task_id tasks[NAMES];
};

static simpler_status submit(struct names *names, size_t task, const char *with)
{
	dag_storage_id holds[NAMES];
	struct dag_submission submission = { .holds = holds, .hold_count = strlen(with) };

	for (size_t i = 0; i < submission.hold_count; i++)
		holds[i] = names->storages[with[i] - 'A'];
	if (task > 0) {
		submission.after = &names->tasks[task - 1];
		submission.after_count = 1;
	}
	return dag_submit(names->dag, &submission, &names->tasks[task]);
}

static simpler_status finish(struct names *names, size_t task, bool ok)
{
	dag_start(names->dag, names->tasks[task]);
	dag_finish(names->dag, names->tasks[task], ok);
	return SIMPLER_OK;
}

static simpler_status take_step(struct names *names, const struct step *step)
{
	/* The payload of a storage is its id's place. */
	dag_storage_id *storage = &names->storages[(step->name - 'A') & (NAMES - 1)];
	size_t number = (size_t)(step->name - '0') & (NAMES - 1);
	size_t task = (size_t)(step->name - 'a') & (NAMES - 1);

	switch (step->op) {
	case OPEN:
		return dag_scope_open(names->dag, &names->scopes[number]);
	case CLOSE:
		return dag_scope_close(names->dag, names->scopes[number]);
	case ADD:
		return dag_storage_add(names->dag, names->scopes[step->with[0] - '0'], storage,
		                       storage);
	case RELEASE:
		return dag_storage_release(names->dag, *storage);
	case SUBMIT:
		return submit(names, task, step->with);
	case CANCEL:
		return dag_cancel(names->dag, names->tasks[task]);
	default:
		return finish(names, task, step->op == SUCCEED);
	}
}

/* Take all events; write down the names of storages. */
static void take_events(struct names *names, char *unused)
{
	struct dag_event event;

	while (dag_next_event(names->dag, &event)) {
		dag_storage_id *storage = event.payload;

		if (event.kind != DAG_STORAGE_UNUSED)
			continue;
		assert_int_equal(event.storage, *storage);
		*unused++ = (char)('A' + (storage - names->storages));
	}
	*unused = '\0';
}

static void run_case(const struct storage_case *each)
{
	struct names names = { .dag = dag_create(&(struct dag_options){ .max_tasks = 8 }) };

	assert_non_null(names.dag);
	for (size_t i = 0; i < MAX_STEPS && each->steps[i].op != END; i++) {
		const struct step *step = &each->steps[i];
		simpler_status status = take_step(&names, step);
		char unused[NAMES + 1];

		if (status != step->status)
			fail_msg("%s, step %zu: %s", each->name, i, simpler_status_name(status));
		if (!step->unused)
			continue;
		take_events(&names, unused);
		if (strcmp(unused, step->unused) != 0)
			fail_msg("%s, step %zu: unused is '%s'", each->name, i, unused);
	}
	dag_destroy(names.dag);
}

static void storages_are_unused_when_the_last_one_lets_go(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(storage_cases) / sizeof(storage_cases[0]); i++)
		run_case(&storage_cases[i]);
}

static void events_of_tasks_come_first(void **state)
{
	struct dag *dag = dag_create(&(struct dag_options){ .max_tasks = 8 });
	dag_task_id first, second;
	dag_scope_id scope;
	dag_storage_id storage;
	struct dag_event event;

	(void)state;
	assert_non_null(dag);
	assert_int_equal(dag_scope_open(dag, &scope), SIMPLER_OK);
	assert_int_equal(dag_storage_add(dag, scope, &scope, &storage), SIMPLER_OK);
	assert_int_equal(dag_submit(dag, &(struct dag_submission){ .payload = &first }, &first),
	                 SIMPLER_OK);
	assert_int_equal(dag_scope_close(dag, scope), SIMPLER_OK);
	assert_int_equal(dag_submit(dag, &(struct dag_submission){ .payload = &second }, &second),
	                 SIMPLER_OK);
	for (int i = 0; i < 2; i++) {
		assert_true(dag_next_event(dag, &event));
		assert_int_equal(event.kind, DAG_TASK_READY);
		assert_int_equal(event.task, i == 0 ? first : second);
	}
	assert_true(dag_next_event(dag, &event));
	assert_int_equal(event.kind, DAG_STORAGE_UNUSED);
	assert_ptr_equal(event.payload, &scope);
	assert_false(dag_next_event(dag, &event));
	dag_destroy(dag);
}

static void what_is_refused_says_what_to_do(void **state)
{
	struct dag *dag = dag_create(&(struct dag_options){ .max_tasks = 8 });
	static const dag_storage_id never[] = { 0, 1, UINT64_MAX, UINT64_C(1) << 32 };

	(void)state;
	assert_non_null(dag);
	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
		assert_int_equal(dag_storage_release(dag, never[i]), SIMPLER_ESTALE);
		assert_non_null(strstr(simpler_last_error(), "storage"));
		assert_int_equal(dag_scope_close(dag, never[i]), SIMPLER_ESTALE);
		assert_non_null(strstr(simpler_last_error(), "scope"));
	}
	dag_destroy(dag);
}

/* More than a block of each, all of them live. */
static void there_is_no_limit_to_scopes_and_storages(void **state)
{
	enum { COUNT = 5000 };
	static dag_scope_id scopes[COUNT];
	static dag_storage_id storages[COUNT];
	struct dag *dag = dag_create(&(struct dag_options){ .max_tasks = 1 });
	struct dag_submission submission = { .holds = storages, .hold_count = COUNT };
	struct dag_event event;
	dag_task_id task;

	(void)state;
	assert_non_null(dag);
	for (size_t i = 0; i < COUNT; i++) {
		assert_int_equal(dag_scope_open(dag, &scopes[i]), SIMPLER_OK);
		assert_int_equal(dag_storage_add(dag, scopes[i], &scopes[i], &storages[i]),
		                 SIMPLER_OK);
	}
	assert_int_equal(dag_submit(dag, &submission, &task), SIMPLER_OK);
	assert_true(dag_next_event(dag, &event));
	for (size_t i = 0; i < COUNT; i++)
		assert_int_equal(dag_scope_close(dag, scopes[i]), SIMPLER_OK);
	assert_false(dag_next_event(dag, &event));
	dag_start(dag, task);
	dag_finish(dag, task, true);
	for (size_t i = 0; i < COUNT; i++) {
		assert_true(dag_next_event(dag, &event));
		assert_int_equal(event.kind, DAG_STORAGE_UNUSED);
	}
	assert_false(dag_next_event(dag, &event));
	dag_destroy(dag);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(storages_are_unused_when_the_last_one_lets_go),
		cmocka_unit_test(events_of_tasks_come_first),
		cmocka_unit_test(what_is_refused_says_what_to_do),
		cmocka_unit_test(there_is_no_limit_to_scopes_and_storages),
	};

	return cmocka_run_group_tests_name("dag_storage", tests, NULL, NULL);
}
