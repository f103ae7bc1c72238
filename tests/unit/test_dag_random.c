/*
 * Random graphs against a model that knows no ranges and no last writers: it compares a new task
 * with every live one, use by use, and keeps who waits for whom as a matrix.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dag/dag.h"
#include "random.h"

#define MAX_TASKS 40
#define MAX_USES  4
#define MAX_AFTER 3
#define OLD_IDS   64
#define BYTES     24 /* of a store: few, so that ranges meet in all ways */

enum model_state { GONE, WAITING, READY, RUNNING };

struct model_task {
	enum model_state state;
	dag_task_id id;
	uint64_t number; /* in the order of submission */
	struct dag_use uses[MAX_USES];
	size_t use_count;
	bool waits_for[MAX_TASKS];
};

struct model {
	struct dag *dag;
	struct model_task tasks[MAX_TASKS];
	uint32_t live;
	uint64_t submitted;
	dag_task_id old_ids[OLD_IDS];
};

static bool uses_conflict(const struct dag_use *earlier, const struct dag_use *later)
{
	if (earlier->store != later->store || later->access == DAG_VOUCHED ||
	    (earlier->access == DAG_READ && later->access == DAG_READ))
		return false;
	return earlier->nbytes && later->nbytes &&
	       earlier->offset < later->offset + later->nbytes &&
	       later->offset < earlier->offset + earlier->nbytes;
}

static bool tasks_conflict(const struct model_task *earlier, const struct model_task *later)
{
	for (size_t i = 0; i < earlier->use_count; i++) {
		for (size_t j = 0; j < later->use_count; j++) {
			if (uses_conflict(&earlier->uses[i], &later->uses[j]))
				return true;
		}
	}
	return false;
}

static bool waits(const struct model_task *task)
{
	for (size_t i = 0; i < MAX_TASKS; i++) {
		if (task->waits_for[i])
			return true;
	}
	return false;
}

/* The next event has to be: this task is ready. */
static void expect_ready(struct model *model, struct model_task *task)
{
	struct dag_event event;

	assert_true(dag_next_event(model->dag, &event));
	assert_int_equal(event.kind, DAG_TASK_READY);
	assert_int_equal(event.task, task->id);
	assert_ptr_equal(event.payload, task);
	task->state = READY;
}

static void expect_quiet(struct model *model)
{
	struct dag_event event;

	assert_false(dag_next_event(model->dag, &event));
	assert_int_equal(dag_live(model->dag), model->live);
}

/* The waiting task submitted first of those that wait for nothing any more. */
static struct model_task *first_to_be_ready(struct model *model)
{
	struct model_task *first = NULL;

	for (size_t i = 0; i < MAX_TASKS; i++) {
		struct model_task *task = &model->tasks[i];

		if (task->state == WAITING && !waits(task) &&
		    (!first || task->number < first->number))
			first = task;
	}
	return first;
}

static void forget(struct model *model, struct model_task *task)
{
	task->state = GONE;
	model->live--;
	model->old_ids[random_below(OLD_IDS)] = task->id;
	for (size_t i = 0; i < MAX_TASKS; i++)
		model->tasks[i].waits_for[task - model->tasks] = false;
}

/* Mark all behind `failed`, directly or not. Returns how many. */
static size_t mark_poisoned(const struct model *model, const struct model_task *failed,
                            bool *marked)
{
	size_t count = 0, before;

	marked[failed - model->tasks] = true;
	do {
		before = count;
		for (size_t i = 0; i < MAX_TASKS; i++) {
			for (size_t j = 0; j < MAX_TASKS && !marked[i]; j++) {
				marked[i] = model->tasks[i].state == WAITING && marked[j] &&
				            model->tasks[i].waits_for[j];
				count += marked[i];
			}
		}
	} while (count != before);
	return count;
}

static void finish_failed(struct model *model, struct model_task *task)
{
	bool marked[MAX_TASKS] = { false };
	size_t count = mark_poisoned(model, task, marked);
	struct dag_event event;

	dag_finish(model->dag, task->id, false);
	forget(model, task);
	for (size_t i = 0; i < count; i++) {
		struct model_task *poisoned;

		assert_true(dag_next_event(model->dag, &event));
		assert_int_equal(event.kind, DAG_TASK_POISONED);
		assert_int_equal(event.cause, task->id);
		poisoned = event.payload;
		assert_int_equal(event.task, poisoned->id);
		assert_true(marked[poisoned - model->tasks] && poisoned->state == WAITING);
		forget(model, poisoned);
	}
}

static void finish_well(struct model *model, struct model_task *task)
{
	struct model_task *ready;

	dag_finish(model->dag, task->id, true);
	forget(model, task);
	while ((ready = first_to_be_ready(model)))
		expect_ready(model, ready);
}

static struct model_task *pick(struct model *model, enum model_state state)
{
	size_t start = random_below(MAX_TASKS);

	for (size_t i = 0; i < MAX_TASKS; i++) {
		struct model_task *task = &model->tasks[(start + i) % MAX_TASKS];

		if (task->state == state)
			return task;
	}
	return NULL;
}

static struct dag_use random_use(void)
{
	static const struct {
		uint64_t from, size;
	} usual[] = { { 0, BYTES }, { 0, 8 }, { 8, 8 }, { 16, 8 }, { 4, 8 } };
	static const enum dag_access accesses[] = { DAG_READ,  DAG_READ,  DAG_READ,   DAG_WRITE,
		                                    DAG_WRITE, DAG_WRITE, DAG_VOUCHED };
	struct dag_use use = { .store = random_below(4) * 4096u,
		               .access = accesses[random_below(7)] };

	if (random_below(2)) {
		size_t i = random_below(5);

		use.offset = usual[i].from;
		use.nbytes = usual[i].size;
	} else {
		use.offset = random_below(BYTES);
		use.nbytes = random_below((uint32_t)(BYTES - use.offset) + 1);
	}
	return use;
}

/* Another task that is live, or an id that is gone. */
static dag_task_id random_after(struct model *model, struct model_task *task)
{
	struct model_task *other = &model->tasks[random_below(MAX_TASKS)];

	if (random_below(2) || other == task || other->state == GONE)
		return model->old_ids[random_below(OLD_IDS)];
	task->waits_for[other - model->tasks] = true;
	return other->id;
}

static void submit(struct model *model)
{
	struct model_task refused, *task = pick(model, GONE);
	bool full = task == NULL;
	dag_task_id after[MAX_AFTER];
	size_t after_count = random_below(4) ? 0 : random_below(MAX_AFTER + 1);
	simpler_status status;

	if (full)
		task = &refused;
	*task = (struct model_task){ .number = ++model->submitted,
		                     .use_count = random_below(MAX_USES + 1) };
	for (size_t i = 0; i < task->use_count; i++)
		task->uses[i] = random_use();
	for (size_t i = 0; i < after_count; i++)
		after[i] = full ? 0 : random_after(model, task);
	status = dag_submit(model->dag, task, task->uses, task->use_count, after, after_count,
	                    &task->id);
	assert_int_equal(status, full ? SIMPLER_ENOSPACE : SIMPLER_OK);
	if (full)
		return;
	for (size_t i = 0; i < MAX_TASKS; i++) {
		if (model->tasks[i].state != GONE && tasks_conflict(&model->tasks[i], task))
			task->waits_for[i] = true;
	}
	task->state = WAITING;
	model->live++;
	if (!waits(task))
		expect_ready(model, task);
}

static void step(struct model *model, uint32_t submits_in_ten)
{
	struct model_task *task;

	if (random_below(10) < submits_in_ten) {
		submit(model);
	} else if (random_below(2) && (task = pick(model, READY))) {
		dag_start(model->dag, task->id);
		task->state = RUNNING;
	} else if ((task = pick(model, RUNNING))) {
		if (random_below(8))
			finish_well(model, task);
		else
			finish_failed(model, task);
	}
	expect_quiet(model);
}

static void random_graphs_behave_like_the_model(void **state)
{
	static struct model model;
	uint64_t operations = random_begin("dag", 4000000);
	uint32_t submits_in_ten = 5;

	(void)state;
	model.dag = dag_create(&(struct dag_options){ .max_tasks = MAX_TASKS });
	assert_non_null(model.dag);
	for (uint64_t i = 0; i < operations; i++) {
		/* Let the graph fill up at times, and at times run empty. */
		if (i % 512 == 0)
			submits_in_ten = 1 + random_below(8);
		step(&model, submits_in_ten);
	}
	dag_destroy(model.dag);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_graphs_behave_like_the_model),
	};

	return cmocka_run_group_tests_name("dag_random", tests, NULL, NULL);
}
