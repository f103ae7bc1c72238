/*
 * Random graphs against a model that knows no ranges and no last writers: it compares a new task
 * with every live one, byte by byte, and keeps who waits for whom as a matrix, which poison follows
 * within its domain. After each operation it looks at all tasks and all storages to find what must
 * have become ready, has left its place, or is unused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dag/dag.h"
#include "random.h"

#define MAX_TASKS    40
#define MAX_USES     4
#define MAX_AFTER    3
#define MAX_HOLDS    3
#define MAX_SCOPES   5
#define MAX_STORAGES 24
#define MAX_DOMAINS  3
#define OLD_IDS      64
#define BYTES        60 /* of a store: few, so that ranges meet in all ways; a bit of a word each */

/* The last three are poisoned: as it comes, with its event taken, and out of the way without that.
 */
enum model_state { GONE, WAITING, READY_QUEUED, READY, RUNNING, POISONED, TOLD, RESOLVED };
enum storage_state { NONE, OPEN, ENDED, UNUSED_QUEUED };

struct model_task {
	enum model_state state;
	dag_task_id id, cause;
	uint64_t number; /* in the order of submission */
	uint64_t domain;
	struct dag_use uses[MAX_USES];
	uint64_t bytes[MAX_USES]; /* of each use, a bit each */
	size_t use_count;
	uint64_t waits_for, holds; /* a bit each */
};

struct model_storage {
	enum storage_state state;
	dag_storage_id id;
	size_t scope;
};

/* Events to come, in order; those of one batch in any order. */
struct expected {
	uint64_t batches[MAX_TASKS];
	size_t which[MAX_TASKS], count;
};

struct model {
	struct dag *dag;
	struct model_task tasks[MAX_TASKS];
	struct model_storage storages[MAX_STORAGES];
	dag_scope_id scopes[MAX_SCOPES], old_scope; /* 0: not open */
	uint32_t live;
	uint64_t submitted, batch;
	struct expected task_events, storage_events;
	dag_task_id old_ids[OLD_IDS];
	dag_storage_id old_storages[OLD_IDS];
};

static uint64_t bit(size_t i)
{
	return UINT64_C(1) << i;
}

/* Where byte 0 of a store is: some stores end with the last byte there is. */
static uint64_t origin_of(uint64_t store)
{
	return store % 8192 ? UINT64_MAX - BYTES : 0;
}

static uint64_t bytes_of(const struct dag_use *use)
{
	uint64_t bytes = 0, from = use->offset - origin_of(use->store);

	for (uint64_t i = 0; i < use->nbytes; i++) {
		if (use->pitch == 0 || i % use->pitch < use->width)
			bytes |= bit(from + i);
	}
	return bytes;
}

static uint64_t bounds_of(const struct dag_use *use)
{
	return ((bit(use->nbytes) - 1)) << (use->offset - origin_of(use->store));
}

static uint64_t modulo(uint64_t bytes, uint64_t divisor)
{
	uint64_t rest = 0;

	for (size_t i = 0; i < BYTES; i++) {
		if (bytes & bit(i))
			rest |= bit(i % divisor);
	}
	return rest;
}

/* The rule at the head of dag.h for two strided uses of different pitch. */
static bool may_meet(const struct dag_use *a, uint64_t a_bytes, const struct dag_use *b,
                     uint64_t b_bytes)
{
	uint64_t divisor = a->pitch < b->pitch ? a->pitch : b->pitch;

	while (a->pitch % divisor || b->pitch % divisor)
		divisor--;
	return (a_bytes & bounds_of(b)) && (b_bytes & bounds_of(a)) &&
	       (modulo(a_bytes, divisor) & modulo(b_bytes, divisor));
}

static bool overlap(const struct dag_use *a, uint64_t a_bytes, const struct dag_use *b,
                    uint64_t b_bytes)
{
	bool contiguous = a_bytes == bounds_of(a) || b_bytes == bounds_of(b);

	if (contiguous || a->pitch == b->pitch)
		return (a_bytes & b_bytes) != 0;
	return may_meet(a, a_bytes, b, b_bytes);
}

static bool uses_conflict(const struct model_task *earlier, size_t i,
                          const struct model_task *later, size_t j)
{
	const struct dag_use *before = &earlier->uses[i], *after = &later->uses[j];

	if (before->store != after->store || after->access == DAG_VOUCHED ||
	    (before->access == DAG_READ && after->access == DAG_READ))
		return false;
	return overlap(before, earlier->bytes[i], after, later->bytes[j]);
}

static bool tasks_conflict(const struct model_task *earlier, const struct model_task *later)
{
	for (size_t i = 0; i < earlier->use_count; i++) {
		for (size_t j = 0; j < later->use_count; j++) {
			if (uses_conflict(earlier, i, later, j))
				return true;
		}
	}
	return false;
}

static bool is_poisoned(const struct model_task *task)
{
	return task->state == POISONED || task->state == TOLD || task->state == RESOLVED;
}

/* Whether it can run, or does. */
static bool is_in_graph(const struct model_task *task)
{
	return task->state != GONE && !is_poisoned(task);
}

/* Whether later tasks can wait for it. */
static bool has_place(const struct model_task *task)
{
	return task->state != GONE && task->state != RESOLVED;
}

static void expect(struct expected *events, size_t which, uint64_t batch)
{
	assert_true(events->count < MAX_TASKS);
	events->which[events->count] = which;
	events->batches[events->count++] = batch;
}

/* Of the first batch. */
static void met(struct expected *events, size_t which)
{
	size_t i = 0;

	while (i < events->count && events->which[i] != which)
		i++;
	assert_true(i < events->count && events->batches[i] == events->batches[0]);
	events->count--;
	for (; i < events->count; i++) {
		events->which[i] = events->which[i + 1];
		events->batches[i] = events->batches[i + 1];
	}
}

static void forget(struct model *model, struct model_task *task)
{
	task->state = GONE;
	task->holds = 0;
	model->live--;
	model->old_ids[random_below(OLD_IDS)] = task->id;
}

/* The task submitted first of those that wait for this one. */
static struct model_task *first_behind(struct model *model, size_t which)
{
	struct model_task *first = NULL;

	for (size_t i = 0; i < MAX_TASKS; i++) {
		struct model_task *task = &model->tasks[i];

		if ((task->waits_for & bit(which)) && (!first || task->number < first->number))
			first = task;
	}
	return first;
}

/* A task leaves its place, and so do those that are poisoned and waited for it last; others become
 * ready. */
static void resolve(struct model *model, size_t which)
{
	size_t order[MAX_TASKS] = { which }, count = 1;
	struct model_task *behind;

	for (size_t i = 0; i < count; i++) {
		struct model_task *task = &model->tasks[order[i]];

		while ((behind = first_behind(model, order[i]))) {
			size_t next = (size_t)(behind - model->tasks);

			behind->waits_for &= ~bit(order[i]);
			if (behind->waits_for != 0)
				continue;
			if (is_poisoned(behind)) {
				order[count++] = next;
				continue;
			}
			behind->state = READY_QUEUED;
			expect(&model->task_events, next, ++model->batch);
		}
		if (task->state == POISONED)
			task->state = RESOLVED;
		else
			forget(model, task);
	}
}

/* Expect the storages that the operation that was just done must have made unused. */
static void settle(struct model *model)
{
	uint64_t held = 0;

	for (size_t i = 0; i < MAX_TASKS; i++)
		held |= model->tasks[i].holds;
	++model->batch;
	for (size_t i = 0; i < MAX_STORAGES; i++) {
		if (model->storages[i].state == ENDED && !(held & bit(i))) {
			model->storages[i].state = UNUSED_QUEUED;
			expect(&model->storage_events, i, model->batch);
		}
	}
}

static void task_event_came(struct model *model, const struct dag_event *event)
{
	struct model_task *task = event->payload;

	assert_true(event->kind == DAG_TASK_READY || event->kind == DAG_TASK_POISONED);
	met(&model->task_events, (size_t)(task - model->tasks));
	assert_int_equal(event->task, task->id);
	if (event->kind == DAG_TASK_READY) {
		assert_int_equal(task->state, READY_QUEUED);
		task->state = READY;
		return;
	}
	assert_true(task->state == POISONED || task->state == RESOLVED);
	assert_int_equal(event->cause, task->cause);
	if (task->state == POISONED) {
		task->state = TOLD;
		task->holds = 0;
	} else {
		forget(model, task);
	}
	settle(model);
}

static void storage_event_came(struct model *model, const struct dag_event *event)
{
	struct model_storage *storage = event->payload;

	assert_int_equal(event->kind, DAG_STORAGE_UNUSED);
	met(&model->storage_events, (size_t)(storage - model->storages));
	assert_int_equal(event->storage, storage->id);
	model->old_storages[random_below(OLD_IDS)] = storage->id;
	storage->state = NONE;
}

static void take_events(struct model *model, uint32_t limit)
{
	struct dag_event event;

	for (; limit > 0; limit--) {
		bool any = dag_next_event(model->dag, &event);

		assert_int_equal(any, model->task_events.count || model->storage_events.count);
		if (!any)
			return;
		if (model->task_events.count)
			task_event_came(model, &event);
		else
			storage_event_came(model, &event);
	}
}

/* All of its domain that wait for a task, directly or through any others, and are not poisoned. */
static uint64_t to_be_poisoned(const struct model *model, size_t which)
{
	uint64_t marked = bit(which), before, found = 0;

	do {
		before = marked;
		for (size_t i = 0; i < MAX_TASKS; i++) {
			if (model->tasks[i].waits_for & marked)
				marked |= bit(i);
		}
	} while (marked != before);
	for (size_t i = 0; i < MAX_TASKS; i++) {
		if ((marked & bit(i)) && i != which && !is_poisoned(&model->tasks[i]) &&
		    model->tasks[i].domain == model->tasks[which].domain)
			found |= bit(i);
	}
	return found;
}

static void poison(struct model *model, uint64_t tasks, dag_task_id cause)
{
	++model->batch;
	for (size_t i = 0; i < MAX_TASKS; i++) {
		struct model_task *task = &model->tasks[i];

		if (!(tasks & bit(i)))
			continue;
		if (task->state != READY_QUEUED) /* else there is an event of it already */
			expect(&model->task_events, i, model->batch);
		task->state = POISONED;
		task->cause = cause;
	}
}

static void finish(struct model *model, struct model_task *task, bool ok)
{
	size_t which = (size_t)(task - model->tasks);

	dag_finish(model->dag, task->id, ok);
	if (!ok)
		poison(model, to_be_poisoned(model, which), task->id);
	resolve(model, which);
}

/* A task in any state. */
static void cancel(struct model *model)
{
	size_t which = random_below(MAX_TASKS);
	struct model_task *task = &model->tasks[which];
	simpler_status status = dag_cancel(model->dag, task->id);

	if (!is_in_graph(task)) {
		assert_int_equal(status, SIMPLER_ENOTFOUND);
	} else if (task->state == RUNNING) {
		assert_int_equal(status, SIMPLER_ESTATE);
	} else {
		assert_int_equal(status, SIMPLER_OK);
		poison(model, bit(which), task->id);
		poison(model, to_be_poisoned(model, which), task->id);
		if (task->waits_for == 0)
			resolve(model, which);
	}
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

static void make_contiguous(struct dag_use *use)
{
	static const struct {
		uint64_t from, size;
	} usual[] = { { 0, BYTES }, { 0, 12 }, { 12, 12 }, { 24, 24 }, { 6, 12 }, { 3, 51 } };

	if (random_below(2)) {
		size_t i = random_below(6);

		use->offset = usual[i].from;
		use->nbytes = usual[i].size;
	} else {
		use->offset = random_below(BYTES);
		use->nbytes = random_below((uint32_t)(BYTES - use->offset) + 1);
	}
}

/* Columns of the store as a matrix of five rows, or of every other one of them, which has the same
 * first and last byte; or any. */
static void make_strided(struct dag_use *use)
{
	uint32_t rows;

	if (random_below(2)) {
		use->pitch = random_below(4) ? 12 : 24;
		use->width = 3;
		use->offset = random_below(4) * use->width;
		rows = 5;
		if (random_below(4) == 0)
			use->offset += random_below(3) * use->pitch;
	} else {
		use->pitch = 1 + random_below(15);
		use->width = 1 + random_below((uint32_t)use->pitch);
		use->offset = random_below((uint32_t)(BYTES - use->width) + 1);
		rows = 1 + random_below(8);
	}
	while (use->offset + (rows - 1) * use->pitch + use->width > BYTES)
		rows--;
	use->nbytes = (rows - 1) * use->pitch + use->width;
}

static struct dag_use random_use(void)
{
	static const enum dag_access accesses[] = { DAG_READ,  DAG_READ,  DAG_READ,   DAG_WRITE,
		                                    DAG_WRITE, DAG_WRITE, DAG_VOUCHED };
	struct dag_use use = { .store = random_below(4) * 4096u,
		               .access = accesses[random_below(7)] };

	if (random_below(2))
		make_contiguous(&use);
	else
		make_strided(&use);
	use.offset += origin_of(use.store);
	return use;
}

/* Another task that is live, or an id that is gone. */
static dag_task_id random_after(struct model *model, struct model_task *task)
{
	size_t which = random_below(MAX_TASKS);
	struct model_task *other = &model->tasks[which];

	if (random_below(2) || other == task || other->state == GONE)
		return model->old_ids[random_below(OLD_IDS)];
	if (has_place(other))
		task->waits_for |= bit(which);
	return other->id;
}

/* A storage that can be held, if `*valid` stays. */
static dag_storage_id random_hold(struct model *model, struct model_task *task, bool *valid)
{
	size_t which = random_below(MAX_STORAGES);
	struct model_storage *storage = &model->storages[which];

	for (size_t i = 0; i < MAX_STORAGES && storage->state != OPEN; i++) {
		which = (which + 1) % MAX_STORAGES;
		storage = &model->storages[which];
	}
	if (storage->state != OPEN || random_below(64) == 0) {
		storage = &model->storages[random_below(MAX_STORAGES)];
		*valid = false;
		return storage->state == ENDED || storage->state == UNUSED_QUEUED
		               ? storage->id
		               : model->old_storages[random_below(OLD_IDS)];
	}
	task->holds |= bit(which);
	return storage->id;
}

/* Refused, with all that comes before it in the order of the checks. */
static simpler_status spoil(struct model_task *task, bool holds_valid, bool full)
{
	if (task->use_count > 0 && random_below(64) == 0) {
		struct dag_use *use = &task->uses[random_below((uint32_t)task->use_count)];

		*use = (struct dag_use){ .offset = 1, .nbytes = UINT64_MAX };
		if (random_below(2))
			*use = (struct dag_use){ .nbytes = 12, .pitch = 8, .width = 3 };
		return SIMPLER_EINVAL;
	}
	if (!holds_valid)
		return SIMPLER_ESTALE;
	return full ? SIMPLER_ENOSPACE : SIMPLER_OK;
}

static void add_to_graph(struct model *model, struct model_task *task)
{
	size_t which = (size_t)(task - model->tasks);

	for (size_t i = 0; i < task->use_count; i++)
		task->bytes[i] = bytes_of(&task->uses[i]);
	for (size_t i = 0; i < MAX_TASKS; i++) {
		if (i != which && has_place(&model->tasks[i]) &&
		    tasks_conflict(&model->tasks[i], task))
			task->waits_for |= bit(i);
	}
	model->live++;
	task->state = task->waits_for ? WAITING : READY_QUEUED;
	if (task->state == READY_QUEUED)
		expect(&model->task_events, which, ++model->batch);
}

static void submit(struct model *model)
{
	struct model_task refused = { .state = GONE }, *task = pick(model, GONE), *place = task;
	struct model_task made = { .number = ++model->submitted,
		                   .domain = random_below(MAX_DOMAINS) };
	dag_task_id after[MAX_AFTER];
	dag_storage_id holds[MAX_HOLDS];
	struct dag_submission submission = { .uses = made.uses, .after = after, .holds = holds };
	simpler_status status, wanted;
	bool holds_valid = true;

	if (!place)
		place = &refused;
	submission.payload = place;
	submission.domain = made.domain;
	made.use_count = submission.use_count = random_below(MAX_USES + 1);
	submission.after_count = random_below(4) ? 0 : random_below(MAX_AFTER + 1);
	submission.hold_count = random_below(2) ? 0 : random_below(MAX_HOLDS + 1);
	for (size_t i = 0; i < made.use_count; i++)
		made.uses[i] = random_use();
	for (size_t i = 0; i < submission.after_count; i++)
		after[i] = random_after(model, &made);
	for (size_t i = 0; i < submission.hold_count; i++)
		holds[i] = random_hold(model, &made, &holds_valid);
	wanted = spoil(&made, holds_valid, task == NULL);
	status = dag_submit(model->dag, &submission, &made.id);
	assert_int_equal(status, wanted);
	if (status != SIMPLER_OK)
		return;
	*place = made;
	add_to_graph(model, place);
}

static void open_or_close_scope(struct model *model)
{
	size_t which = random_below(MAX_SCOPES);
	dag_scope_id *scope = &model->scopes[which];

	assert_int_equal(dag_scope_close(model->dag, model->old_scope), SIMPLER_ESTALE);
	if (!*scope) {
		assert_int_equal(dag_scope_open(model->dag, scope), SIMPLER_OK);
		assert_true(*scope != 0 && *scope != model->old_scope);
		return;
	}
	assert_int_equal(dag_scope_close(model->dag, *scope), SIMPLER_OK);
	model->old_scope = *scope;
	*scope = 0;
	for (size_t i = 0; i < MAX_STORAGES; i++) {
		if (model->storages[i].state == OPEN && model->storages[i].scope == which)
			model->storages[i].state = ENDED;
	}
}

static void add_storage(struct model *model, struct model_storage *storage)
{
	size_t scope = random_below(MAX_SCOPES);
	dag_scope_id id = model->scopes[scope] ? model->scopes[scope] : model->old_scope;
	simpler_status status = dag_storage_add(model->dag, id, storage, &storage->id);

	assert_int_equal(status, model->scopes[scope] ? SIMPLER_OK : SIMPLER_ESTALE);
	if (status != SIMPLER_OK)
		return;
	storage->scope = scope;
	storage->state = OPEN;
}

static void change_storages(struct model *model)
{
	struct model_storage *storage = &model->storages[random_below(MAX_STORAGES)];
	simpler_status status;

	if (random_below(8) == 0) {
		open_or_close_scope(model);
	} else if (storage->state == NONE) {
		add_storage(model, storage);
	} else if (random_below(4) == 0) {
		status = dag_storage_release(model->dag, storage->id);
		assert_int_equal(status, storage->state == OPEN ? SIMPLER_OK : SIMPLER_ESTALE);
		if (status == SIMPLER_OK)
			storage->state = ENDED;
	}
}

static void start_or_finish(struct model *model)
{
	struct model_task *task;

	if (random_below(2) && (task = pick(model, READY))) {
		dag_start(model->dag, task->id);
		task->state = RUNNING;
	} else if ((task = pick(model, RUNNING))) {
		finish(model, task, random_below(8) != 0);
	}
}

static void check_payload(struct model *model)
{
	struct model_task *task = &model->tasks[random_below(MAX_TASKS)];

	assert_ptr_equal(dag_payload(model->dag, task->id), is_in_graph(task) ? task : NULL);
}

static void step(struct model *model, uint32_t submits_in_ten)
{
	if (random_below(10) < submits_in_ten)
		submit(model);
	else if (random_below(32) == 0)
		cancel(model);
	else if (random_below(4) == 0)
		change_storages(model);
	else
		start_or_finish(model);
	settle(model);
	/* Mostly all, at times some or none, so that what is queued meets other operations. */
	take_events(model, random_below(4) ? UINT32_MAX : random_below(3));
	assert_int_equal(dag_live(model->dag), model->live);
	check_payload(model);
}

static void random_graphs_behave_like_the_model(void **state)
{
	static struct model model;
	uint64_t operations = random_begin("dag", 10000000);
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
