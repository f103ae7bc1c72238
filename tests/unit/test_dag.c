/* The graph, case by case: the access table of dag/dag.h, ranges contiguous and strided, poison and
 * cancellation, ids and limits. Poison where domains meet is in test_dag_domains.c, scopes and
 * storages are in test_dag_storage.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "dag/dag.h"
#include "dag/ranges.h"
#include "random.h"

#define MAX_STEPS 6

/* R, W and V are the accesses, of bytes [from, to) of store 1 unless it is said otherwise. */
#define R(from, to) USE(1, from, to, DAG_READ)
#define W(from, to) USE(1, from, to, DAG_WRITE)
#define V(from, to) USE(1, from, to, DAG_VOUCHED)
#define USE(store, from, to, access)                                                               \
	{                                                                                          \
		store, from, (to) - (from), 0, 0, access                                           \
	}
/* Strided: `rows` rows of `width` bytes, the first at `from`, each `pitch` behind the one before.
 */
#define SR(from, rows, pitch, width) STRIDED(from, rows, pitch, width, DAG_READ)
#define SW(from, rows, pitch, width) STRIDED(from, rows, pitch, width, DAG_WRITE)
#define SV(from, rows, pitch, width) STRIDED(from, rows, pitch, width, DAG_VOUCHED)
#define STRIDED(from, rows, pitch, width, access)                                                  \
	{                                                                                          \
		1, from, ((rows)-1) * (pitch) + (width), pitch, width, access                      \
	}

/*
 * Tasks 0, 1, 2 ... are submitted in this order. `waits` has the digits of all tasks that one
 * waits for, directly or not.
 */
struct step {
	struct dag_use uses[3];
	const char *waits;
};

static const struct order_case {
	const char *name;
	struct step steps[MAX_STEPS];
} order_cases[] = {
	{ "a read waits for the last writer", { { { W(0, 8) }, "" }, { { R(0, 8) }, "0" } } },
	{ "a write waits for the last writer", { { { W(0, 8) }, "" }, { { W(0, 8) }, "0" } } },
	{ "a write waits for readers", { { { R(0, 8) }, "" }, { { W(0, 8) }, "0" } } },
	{ "two readers are not ordered", { { { R(0, 8) }, "" }, { { R(0, 8) }, "" } } },
	{ "a vouched write waits for no writer", { { { W(0, 8) }, "" }, { { V(0, 8) }, "" } } },
	{ "a vouched write waits for no reader", { { { R(0, 8) }, "" }, { { V(0, 8) }, "" } } },
	{ "a read waits for a vouched writer", { { { V(0, 8) }, "" }, { { R(0, 8) }, "0" } } },
	{ "a write waits for a vouched writer", { { { V(0, 8) }, "" }, { { W(0, 8) }, "0" } } },
	{ "a vouched writer joins the writers before it",
	  { { { W(0, 8) }, "" }, { { V(0, 8) }, "" }, { { R(0, 8) }, "01" } } },
	{ "a vouched writer leaves the readers before it",
	  { { { R(0, 8) }, "" }, { { V(0, 8) }, "" }, { { W(0, 8) }, "01" } } },
	{ "all vouched writers count",
	  { { { V(0, 8) }, "" }, { { V(0, 8) }, "" }, { { R(0, 8) }, "01" } } },
	{ "a write waits for all readers since the last one",
	  { { { W(0, 8) }, "" },
	    { { R(0, 8) }, "0" },
	    { { R(0, 8) }, "0" },
	    { { W(0, 8) }, "012" },
	    { { R(0, 8) }, "0123" } } },
	{ "no uses, no order", { { { W(0, 8) }, "" }, { { R(0, 0) }, "" }, { { R(0, 0) }, "" } } },
	{ "an empty range orders nothing",
	  { { { W(4, 4) }, "" }, { { W(0, 8) }, "" }, { { W(4, 4) }, "" } } },
	{ "adjacent ranges do not overlap",
	  { { { W(8, 16) }, "" }, { { W(0, 8) }, "" }, { { W(16, 24) }, "" } } },
	{ "one byte in common is enough",
	  { { { W(8, 16) }, "" }, { { W(0, 9) }, "0" }, { { R(15, 24) }, "0" } } },
	{ "the same bytes of another store are other bytes",
	  { { { W(0, 8) }, "" }, { { USE(2, 0, 8, DAG_WRITE) }, "" } } },
	{ "a part waits for the whole",
	  { { { W(0, 16) }, "" }, { { R(4, 8) }, "0" }, { { W(6, 12) }, "01" } } },
	{ "the whole waits for all parts",
	  { { { W(0, 4) }, "" },
	    { { W(4, 8) }, "" },
	    { { R(8, 12) }, "" },
	    { { R(0, 12) }, "01" },
	    { { W(0, 12) }, "0123" } } },
	{ "a writer of the end leaves the beginning to the one before",
	  { { { W(0, 8) }, "" },
	    { { W(6, 16) }, "0" },
	    { { R(0, 6) }, "0" },
	    { { R(8, 16) }, "01" },
	    { { W(4, 6) }, "02" } } },
	{ "a writer of the beginning leaves the end to the one before",
	  { { { W(4, 12) }, "" },
	    { { W(0, 6) }, "0" },
	    { { R(6, 12) }, "0" },
	    { { R(0, 4) }, "01" },
	    { { W(6, 8) }, "02" } } },
	{ "a writer of the middle leaves both ends",
	  { { { W(0, 12) }, "" },
	    { { W(4, 8) }, "0" },
	    { { R(0, 4) }, "0" },
	    { { R(8, 12) }, "0" },
	    { { R(5, 6) }, "01" },
	    { { W(0, 12) }, "01234" } } },
	{ "readers of part of a read range are not ordered either",
	  { { { R(0, 12) }, "" },
	    { { R(4, 8) }, "" },
	    { { W(6, 7) }, "01" },
	    { { W(0, 4) }, "0" } } },
	{ "a task does not wait for itself",
	  { { { R(0, 8), W(0, 8), V(2, 4) }, "" }, { { W(4, 6), R(5, 12), R(5, 12) }, "0" } } },
	{ "a task that reads and writes is a writer for those after it",
	  { { { W(0, 8), R(0, 8) }, "" }, { { R(0, 8) }, "0" } } },
	{ "several uses add up",
	  { { { W(0, 4) }, "" },
	    { { W(4, 8) }, "" },
	    { { W(8, 12) }, "" },
	    { { R(0, 4), R(8, 12) }, "02" } } },
	{ "a range may end at the last byte there is",
	  { { { W(UINT64_MAX - 8, UINT64_MAX) }, "" },
	    { { R(UINT64_MAX - 1, UINT64_MAX) }, "0" } } },
	{ "blocks of columns of one matrix do not wait for one another, all of it for each",
	  { { { SW(0, 8, 16, 4) }, "" },
	    { { SW(4, 8, 16, 4) }, "" },
	    { { SW(8, 8, 16, 4) }, "" },
	    { { SW(12, 8, 16, 4) }, "" },
	    { { R(0, 128) }, "0123" },
	    { { SW(4, 8, 16, 4) }, "01234" } } },
	{ "blocks of columns wait for who wrote all of the matrix",
	  { { { W(0, 128) }, "" }, { { SR(0, 8, 16, 4) }, "0" }, { { SW(4, 8, 16, 4) }, "0" } } },
	{ "one column in common is enough",
	  { { { SW(0, 8, 16, 5) }, "" },
	    { { SR(4, 8, 16, 4) }, "0" },
	    { { SR(5, 8, 16, 4) }, "" } } },
	{ "the same columns of other rows are other bytes",
	  { { { SW(0, 4, 16, 4) }, "" },
	    { { SW(64, 4, 16, 4) }, "" },
	    { { SR(48, 2, 16, 4) }, "01" } } },
	{ "columns that wrap around the pitch meet those of the next row",
	  { { { SW(12, 4, 16, 8) }, "" },
	    { { SR(0, 4, 16, 4) }, "0" },
	    { { SR(4, 4, 16, 8) }, "" },
	    { { SR(0, 1, 16, 12) }, "" },
	    { { SR(64, 2, 16, 4) }, "0" } } },
	{ "bytes in the gap are free, up to both neighbours",
	  { { { SW(0, 4, 16, 4) }, "" },
	    { { W(4, 16) }, "" },
	    { { R(4, 17) }, "01" },
	    { { R(19, 32) }, "0" },
	    { { W(52, 64) }, "" } } },
	{ "rows without gaps are contiguous",
	  { { { SW(0, 4, 16, 16) }, "" }, { { SW(64, 1, 16, 4) }, "" }, { { R(60, 68) }, "01" } } },
	{ "vouched columns join the writers of all",
	  { { { W(0, 64) }, "" }, { { SV(0, 4, 16, 4) }, "" }, { { SR(2, 4, 16, 4) }, "01" } } },
	{ "different pitches that cannot meet modulo their divisor do not wait",
	  { { { SW(0, 8, 12, 4) }, "" },
	    { { SW(4, 8, 18, 2) }, "" },
	    { { SW(3, 8, 18, 2) }, "01" } } },
	{ "different pitches that may meet wait, even if they do not",
	  { { { SW(0, 2, 12, 2) }, "" }, { { SW(3, 2, 10, 2) }, "0" } } },
	{ "different pitches do not wait where one is in a gap of the other",
	  { { { SW(0, 2, 64, 8) }, "" },
	    { { SW(8, 4, 14, 3) }, "" },
	    { { SW(7, 4, 14, 3) }, "01" } } },
	{ "the same first and last byte, and other bytes between",
	  { { { SR(0, 5, 16, 4) }, "" },
	    { { R(0, 68) }, "" },
	    { { SR(0, 3, 32, 4) }, "" },
	    { { W(8, 10) }, "1" },
	    { { W(16, 17) }, "01" },
	    { { W(32, 33) }, "012" } } },
	{ "a strided writer leaves the gaps to the one before",
	  { { { W(0, 64) }, "" },
	    { { SW(0, 4, 16, 4) }, "0" },
	    { { R(4, 16) }, "0" },
	    { { R(0, 2) }, "01" } } },
	{ "a contiguous writer of some rows leaves the others",
	  { { { SW(0, 4, 16, 4) }, "" },
	    { { W(0, 32) }, "0" },
	    { { SR(32, 2, 16, 4) }, "0" },
	    { { SR(0, 2, 16, 4) }, "01" } } },
	{ "a strided writer takes over a part of its rows and columns",
	  { { { SR(17, 2, 16, 2) }, "" },
	    { { SW(0, 4, 16, 4) }, "0" },
	    { { SW(17, 2, 16, 2) }, "01" },
	    { { R(17, 19) }, "012" } } },
};

static struct dag *new_dag(uint32_t max_tasks)
{
	struct dag *dag = dag_create(&(struct dag_options){ .max_tasks = max_tasks });

	assert_non_null(dag);
	return dag;
}

static dag_task_id submit(struct dag *dag, const struct dag_use *uses, size_t count)
{
	struct dag_submission submission = { .uses = uses, .use_count = count };
	dag_task_id id = 0;

	assert_int_equal(dag_submit(dag, &submission, &id), SIMPLER_OK);
	assert_true(id != 0);
	return id;
}

static dag_task_id submit_after(struct dag *dag, const dag_task_id *after, size_t count)
{
	struct dag_submission submission = { .after = after, .after_count = count };
	dag_task_id id = 0;

	assert_int_equal(dag_submit(dag, &submission, &id), SIMPLER_OK);
	return id;
}

static void expect_ready(struct dag *dag, dag_task_id task)
{
	struct dag_event event;

	assert_true(dag_next_event(dag, &event));
	assert_int_equal(event.kind, DAG_TASK_READY);
	assert_int_equal(event.task, task);
}

static void expect_poisoned(struct dag *dag, dag_task_id task, dag_task_id cause)
{
	struct dag_event event;

	assert_true(dag_next_event(dag, &event));
	assert_int_equal(event.kind, DAG_TASK_POISONED);
	assert_int_equal(event.task, task);
	assert_int_equal(event.cause, cause);
}

static void expect_quiet(struct dag *dag)
{
	struct dag_event event;

	assert_false(dag_next_event(dag, &event));
}

static void run(struct dag *dag, dag_task_id task, bool ok)
{
	dag_start(dag, task);
	dag_finish(dag, task, ok);
}

/* Does task `waiting` start although `awaited` never ends, when all others may run? */
static bool starts_without(const struct order_case *each, size_t waiting, size_t awaited)
{
	struct dag *dag = new_dag(MAX_STEPS);
	dag_task_id ids[MAX_STEPS];
	struct dag_event event;
	bool started = false;

	for (size_t i = 0; i <= waiting; i++)
		ids[i] = submit(dag, each->steps[i].uses, 3);
	while (dag_next_event(dag, &event)) {
		started = started || event.task == ids[waiting];
		dag_start(dag, event.task);
		if (event.task != ids[awaited])
			dag_finish(dag, event.task, true);
	}
	dag_destroy(dag);
	return started;
}

static void tasks_wait_as_the_access_table_says(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(order_cases) / sizeof(order_cases[0]); i++) {
		const struct order_case *each = &order_cases[i];

		for (size_t b = 1; b < MAX_STEPS && each->steps[b].waits; b++) {
			for (size_t a = 0; a < b; a++) {
				bool waits = strchr(each->steps[b].waits, (int)('0' + a)) != NULL;

				if (starts_without(each, b, a) == waits)
					fail_msg("%s: task %zu %s task %zu", each->name, b,
					         waits ? "does not wait for" : "waits for", a);
			}
		}
	}
}

static void ready_tasks_come_in_the_order_of_submission(void **state)
{
	struct dag *dag = new_dag(8);
	struct dag_use write = W(0, 8), read = R(0, 8);
	dag_task_id writer = submit(dag, &write, 1);
	dag_task_id readers[3];

	(void)state;
	for (int i = 0; i < 3; i++)
		readers[i] = submit(dag, &read, 1);
	expect_ready(dag, writer);
	expect_quiet(dag);
	run(dag, writer, true);
	for (int i = 0; i < 3; i++)
		expect_ready(dag, readers[i]);
	expect_quiet(dag);
	dag_destroy(dag);
}

static void the_payload_comes_back_with_the_events(void **state)
{
	struct dag *dag = new_dag(8);
	struct dag_use write = W(0, 8);
	int first, second;
	dag_task_id ids[2];
	struct dag_event event;

	(void)state;
	assert_int_equal(dag_submit(dag,
	                            &(struct dag_submission){
					    .payload = &first, .uses = &write, .use_count = 1 },
	                            &ids[0]),
	                 SIMPLER_OK);
	assert_int_equal(dag_submit(dag,
	                            &(struct dag_submission){
					    .payload = &second, .after = ids, .after_count = 1 },
	                            &ids[1]),
	                 SIMPLER_OK);
	assert_ptr_equal(dag_payload(dag, ids[0]), &first);
	assert_true(dag_next_event(dag, &event));
	assert_ptr_equal(event.payload, &first);
	dag_start(dag, ids[0]);
	assert_ptr_equal(dag_payload(dag, ids[0]), &first);
	assert_ptr_equal(dag_payload(dag, ids[1]), &second);
	dag_finish(dag, ids[0], false);
	assert_null(dag_payload(dag, ids[0]));
	assert_null(dag_payload(dag, ids[1])); /* poisoned */
	assert_true(dag_next_event(dag, &event));
	assert_ptr_equal(event.payload, &second);
	assert_null(dag_payload(dag, 0));
	dag_destroy(dag);
}

static void a_task_runs_after_those_it_names(void **state)
{
	struct dag *dag = new_dag(8);
	dag_task_id first = submit_after(dag, NULL, 0), second = submit_after(dag, NULL, 0), third;

	(void)state;
	third = submit_after(dag, (dag_task_id[]){ first, second, first }, 3);
	expect_ready(dag, first);
	expect_ready(dag, second);
	run(dag, second, true);
	expect_quiet(dag);
	run(dag, first, true);
	expect_ready(dag, third);
	dag_destroy(dag);
}

static void naming_what_is_gone_or_never_was_waits_for_nothing(void **state)
{
	struct dag *dag = new_dag(8);
	dag_task_id gone = submit_after(dag, NULL, 0), same_slot, last;

	(void)state;
	expect_ready(dag, gone);
	run(dag, gone, true);
	same_slot = submit_after(dag, NULL, 0);
	assert_int_equal((uint32_t)same_slot, (uint32_t)gone);
	assert_true(same_slot != gone);
	expect_ready(dag, same_slot);
	last = submit_after(dag, (dag_task_id[]){ gone, 0, 77, UINT64_MAX }, 4);
	expect_ready(dag, last);
	dag_destroy(dag);
}

static void poison_reaches_all_behind_once_with_the_root_cause(void **state)
{
	struct dag *dag = new_dag(8);
	struct dag_use write = W(0, 8), both[] = { R(0, 8), W(8, 16) },
		       join[] = { R(0, 8), R(8, 16) };
	dag_task_id root = submit(dag, &write, 1);
	dag_task_id middle = submit(dag, both, 2);
	dag_task_id last = submit(dag, join, 2); /* behind both, by two ways */
	dag_task_id other = submit_after(dag, NULL, 0);

	(void)state;
	expect_ready(dag, root);
	expect_ready(dag, other);
	run(dag, root, false);
	expect_poisoned(dag, middle, root);
	expect_poisoned(dag, last, root);
	expect_quiet(dag);
	run(dag, other, true);
	assert_int_equal(dag_live(dag), 0);
	dag_destroy(dag);
}

static void the_first_failure_is_the_cause(void **state)
{
	struct dag *dag = new_dag(8);
	dag_task_id a = submit_after(dag, NULL, 0), b = submit_after(dag, NULL, 0);
	dag_task_id c = submit_after(dag, (dag_task_id[]){ a, b }, 2);

	(void)state;
	expect_ready(dag, a);
	expect_ready(dag, b);
	run(dag, b, false);
	expect_poisoned(dag, c, b);
	run(dag, a, false);
	expect_quiet(dag);
	dag_destroy(dag);
}

static void readers_that_fail_poison_the_writer_that_waits(void **state)
{
	struct dag *dag = new_dag(8);
	struct dag_use read = R(0, 8), write = W(0, 8), vouched = V(0, 8);
	dag_task_id reader = submit(dag, &read, 1);
	dag_task_id free_writer = submit(dag, &vouched, 1);
	dag_task_id writer = submit(dag, &write, 1);

	(void)state;
	expect_ready(dag, reader);
	expect_ready(dag, free_writer);
	run(dag, reader, false);
	expect_poisoned(dag, writer, reader);
	expect_quiet(dag);
	dag_destroy(dag);
}

static void a_poisoned_writer_does_not_let_later_ones_overtake(void **state)
{
	struct dag *dag = new_dag(8);
	struct dag_use read = R(0, 8), take[] = { W(4, 12), R(20, 24) }, fail = W(20, 24);
	struct dag_use last_bytes = W(6, 8);
	dag_task_id reader = submit(dag, &read, 1), fails = submit(dag, &fail, 1);
	dag_task_id writer = submit(dag, take, 2), later;

	(void)state;
	expect_ready(dag, reader);
	expect_ready(dag, fails);
	run(dag, fails, false);
	expect_poisoned(dag, writer, fails);
	later = submit(dag, &last_bytes, 1);
	expect_quiet(dag);
	run(dag, reader, true);
	expect_ready(dag, later);
	dag_destroy(dag);
}

static void a_failure_is_over_once_the_task_is_gone(void **state)
{
	struct dag *dag = new_dag(8);
	struct dag_use write = W(0, 8), read = R(0, 8);
	dag_task_id failed = submit(dag, &write, 1), poisoned = submit(dag, &read, 1), later;

	(void)state;
	expect_ready(dag, failed);
	run(dag, failed, false);
	later = submit(dag, &write, 1);
	expect_poisoned(dag, poisoned, failed);
	expect_ready(dag, later);
	later = submit_after(dag, (dag_task_id[]){ failed, poisoned }, 2);
	expect_ready(dag, later);
	dag_destroy(dag);
}

/* This one waits for nothing any more. */
static void a_poisoned_task_counts_until_its_event_is_taken(void **state)
{
	struct dag *dag = new_dag(2);
	dag_task_id root = submit_after(dag, NULL, 0), behind = submit_after(dag, &root, 1), id;

	(void)state;
	expect_ready(dag, root);
	run(dag, root, false);
	assert_int_equal(dag_live(dag), 1);
	id = submit_after(dag, &behind, 1); /* waits for nothing: it has left its place */
	assert_int_equal(dag_live(dag), 2);
	expect_poisoned(dag, behind, root);
	expect_ready(dag, id);
	assert_int_equal(dag_live(dag), 1);
	dag_destroy(dag);
}

static void poisoned_tasks_go_with_the_last_one_they_waited_for(void **state)
{
	struct dag *dag = new_dag(102);
	dag_task_id lasting = submit_after(dag, NULL, 0), last;

	(void)state;
	expect_ready(dag, lasting);
	for (uint32_t i = 0; i < 100; i++) {
		dag_task_id fails = submit_after(dag, NULL, 0), behind;

		behind = submit_after(dag, (dag_task_id[]){ lasting, fails }, 2);
		expect_ready(dag, fails);
		run(dag, fails, false);
		expect_poisoned(dag, behind, fails);
		assert_int_equal(dag_live(dag), 2 + i);
	}
	last = submit_after(dag, &lasting, 1);
	run(dag, lasting, true);
	assert_int_equal(dag_live(dag), 1);
	expect_ready(dag, last);
	expect_quiet(dag);
	dag_destroy(dag);
}

static void a_full_graph_refuses_and_names_the_limit(void **state)
{
	struct dag *dag = new_dag(300); /* more than one block of slots, and not a whole number */
	dag_task_id first = submit_after(dag, NULL, 0), id = 0;
	struct dag_use write = W(0, 8);

	(void)state;
	for (int i = 1; i < 300; i++)
		submit_after(dag, &first, 1);
	assert_int_equal(dag_live(dag), dag_capacity(dag));
	assert_int_equal(
		dag_submit(dag, &(struct dag_submission){ .uses = &write, .use_count = 1 }, &id),
		SIMPLER_ENOSPACE);
	assert_non_null(strstr(simpler_last_error(), "300"));
	assert_int_equal(id, 0);
	expect_ready(dag, first);
	expect_quiet(dag);
	run(dag, first, true);
	submit(dag, &write, 1); /* the refused one left no trace: this is the first writer */
	for (int i = 1; i <= 300; i++) {
		struct dag_event event;

		assert_true(dag_next_event(dag, &event));
		assert_int_equal(event.kind, DAG_TASK_READY);
	}
	dag_destroy(dag);
}

static const struct invalid_case {
	const char *name;
	struct dag_use use;
} invalid_cases[] = {
	{ "it wraps around", { 1, UINT64_MAX - 3, 4, 0, 0, DAG_WRITE } },
	{ "strided, it wraps around", { 1, UINT64_MAX - 9, 10, 8, 2, DAG_WRITE } },
	{ "rows of no bytes", { 1, 0, 16, 8, 0, DAG_WRITE } },
	{ "rows longer than the pitch", { 1, 0, 17, 8, 9, DAG_WRITE } },
	{ "less than a row", { 1, 0, 3, 8, 4, DAG_WRITE } },
	{ "no row at all", { 1, 0, 0, 8, 4, DAG_WRITE } },
	{ "the last row is cut off", { 1, 0, 11, 8, 4, DAG_WRITE } },
	{ "the last gap is counted", { 1, 0, 16, 8, 4, DAG_WRITE } },
};

static void an_invalid_use_is_refused_and_changes_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(invalid_cases) / sizeof(invalid_cases[0]); i++) {
		struct dag *dag = new_dag(4);
		struct dag_use uses[] = { W(0, 8), invalid_cases[i].use };
		struct dag_submission submission = { .uses = uses, .use_count = 2 };
		dag_task_id id;

		if (dag_submit(dag, &submission, &id) != SIMPLER_EINVAL)
			fail_msg("%s: not refused", invalid_cases[i].name);
		assert_non_null(strstr(simpler_last_error(), "use 1"));
		assert_int_equal(dag_live(dag), 0);
		expect_ready(dag, submit(dag, uses, 1));
		dag_destroy(dag);
	}
}

/* How far the task that is cancelled has come. */
enum progress { SUBMITTED, QUEUED, TAKEN, STARTED, ENDED, POISONED, CANCELLED };

static const struct cancel_case {
	const char *name;
	enum progress progress;
	simpler_status status;
} cancel_cases[] = {
	{ "one that waits", SUBMITTED, SIMPLER_OK },
	{ "one that is ready, which nobody was told", QUEUED, SIMPLER_OK },
	{ "one that is ready, and it was told", TAKEN, SIMPLER_OK },
	{ "one that runs", STARTED, SIMPLER_ESTATE },
	{ "one that has ended", ENDED, SIMPLER_ENOTFOUND },
	{ "one that is poisoned", POISONED, SIMPLER_ENOTFOUND },
	{ "one that was cancelled", CANCELLED, SIMPLER_ENOTFOUND },
};

static void bring_to(struct dag *dag, dag_task_id first, dag_task_id task, enum progress progress)
{
	if (progress == CANCELLED)
		assert_int_equal(dag_cancel(dag, task), SIMPLER_OK);
	if (progress == SUBMITTED || progress == CANCELLED)
		return;
	run(dag, first, progress != POISONED);
	if (progress == QUEUED || progress == POISONED)
		return;
	expect_ready(dag, task);
	if (progress >= STARTED)
		dag_start(dag, task);
	if (progress == ENDED)
		dag_finish(dag, task, true);
}

static void cancelling_depends_on_how_far_it_has_come(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cancel_cases) / sizeof(cancel_cases[0]); i++) {
		const struct cancel_case *each = &cancel_cases[i];
		struct dag *dag = new_dag(8);
		struct dag_use write = W(0, 8), read = R(4, 8);
		dag_task_id first = submit(dag, &write, 1), task = submit(dag, &write, 1);
		dag_task_id behind = submit(dag, &read, 1), last = submit_after(dag, &behind, 1);
		simpler_status status;

		expect_ready(dag, first);
		bring_to(dag, first, task, each->progress);
		status = dag_cancel(dag, task);
		if (status != each->status)
			fail_msg("%s: %s", each->name, simpler_status_name(status));
		if (status == SIMPLER_OK) {
			assert_null(dag_payload(dag, task));
			expect_poisoned(dag, task, task);
			expect_poisoned(dag, behind, task);
			expect_poisoned(dag, last, task);
			expect_quiet(dag);
		}
		dag_destroy(dag);
	}
}

static void cancelling_leaves_the_others_and_their_order(void **state)
{
	struct dag *dag = new_dag(8);
	struct dag_use write = W(0, 8), columns = SW(0, 2, 4, 2), read = R(2, 6);
	dag_task_id first = submit(dag, &columns, 1), other = submit_after(dag, NULL, 0);
	dag_task_id cancelled = submit(dag, &write, 1), behind = submit(dag, &read, 1), later;

	(void)state;
	assert_int_equal(dag_cancel(dag, cancelled), SIMPLER_OK);
	later = submit(dag, &read, 1); /* of the first task's second row */
	expect_ready(dag, first);
	expect_ready(dag, other);
	expect_poisoned(dag, cancelled, cancelled);
	expect_poisoned(dag, behind, cancelled);
	expect_quiet(dag);
	run(dag, first, true);
	expect_ready(dag, later);
	run(dag, later, true);
	run(dag, other, true);
	assert_int_equal(dag_live(dag), 0);
	dag_destroy(dag);
}

/* In the middle of the queue, so that its neighbours must stay. */
static void a_cancelled_task_is_not_told_as_ready(void **state)
{
	struct dag *dag = new_dag(8);
	dag_task_id ids[3];
	struct dag_event event;

	(void)state;
	for (int i = 0; i < 3; i++)
		ids[i] = submit_after(dag, NULL, 0);
	assert_int_equal(dag_cancel(dag, ids[1]), SIMPLER_OK);
	for (int i = 0; i < 3; i++) {
		assert_true(dag_next_event(dag, &event));
		assert_int_equal(event.kind,
		                 event.task == ids[1] ? DAG_TASK_POISONED : DAG_TASK_READY);
	}
	expect_quiet(dag);
	assert_int_equal(dag_live(dag), 2);
	dag_destroy(dag);
}

static void destroying_drops_what_is_live(void **state)
{
	struct dag *dag = new_dag(16);
	struct dag_use write = W(0, 8);

	(void)state;
	for (int i = 0; i < 16; i++)
		submit(dag, &write, 1);
	dag_destroy(dag);
	dag_destroy(NULL);
}

/* Whatever parts of a store come and go under a use that stays, nothing is left of them. */
static void memory_is_in_proportion_to_the_uses(void **state)
{
	enum { LISTS = 8 };
	struct ranges_use *lists[LISTS] = { NULL }, *lasting = NULL;
	struct dag_use whole = V(0, 100000);
	struct ranges ranges;

	(void)state;
	random_begin("ranges", 10000);
	assert_true(ranges_init(&ranges));
	for (uint32_t i = 0; i < 10000; i++) {
		struct dag_use part = { random_below(2),
			                random_below(90000),
			                1 + random_below(10000),
			                0,
			                0,
			                i % 3 ? DAG_WRITE : DAG_READ };

		if (i % 4 == 0) { /* a column of a matrix */
			part.pitch = 100;
			part.width = 1 + random_below(99);
			part.nbytes = random_below(80) * part.pitch + part.width;
		}
		assert_true(ranges_reserve(&ranges, 2));
		if (i == 0)
			ranges_record(&ranges, &whole, NULL, &lasting);
		ranges_forget(&ranges, &lists[i % LISTS]);
		ranges_record(&ranges, &part, NULL, &lists[i % LISTS]);
		assert_true(ranges.uses.taken <= LISTS + 1);
		assert_true(ranges.ranges.taken <= ranges.uses.taken);
		assert_true(ranges.stores.taken <= ranges.uses.taken);
	}
	for (int i = 0; i < LISTS; i++)
		ranges_forget(&ranges, &lists[i]);
	ranges_forget(&ranges, &lasting);
	assert_int_equal(ranges.uses.taken + ranges.ranges.taken + ranges.stores.taken, 0);
	ranges_release(&ranges);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tasks_wait_as_the_access_table_says),
		cmocka_unit_test(ready_tasks_come_in_the_order_of_submission),
		cmocka_unit_test(the_payload_comes_back_with_the_events),
		cmocka_unit_test(a_task_runs_after_those_it_names),
		cmocka_unit_test(naming_what_is_gone_or_never_was_waits_for_nothing),
		cmocka_unit_test(poison_reaches_all_behind_once_with_the_root_cause),
		cmocka_unit_test(the_first_failure_is_the_cause),
		cmocka_unit_test(readers_that_fail_poison_the_writer_that_waits),
		cmocka_unit_test(a_poisoned_writer_does_not_let_later_ones_overtake),
		cmocka_unit_test(a_failure_is_over_once_the_task_is_gone),
		cmocka_unit_test(a_poisoned_task_counts_until_its_event_is_taken),
		cmocka_unit_test(poisoned_tasks_go_with_the_last_one_they_waited_for),
		cmocka_unit_test(a_full_graph_refuses_and_names_the_limit),
		cmocka_unit_test(an_invalid_use_is_refused_and_changes_nothing),
		cmocka_unit_test(cancelling_depends_on_how_far_it_has_come),
		cmocka_unit_test(cancelling_leaves_the_others_and_their_order),
		cmocka_unit_test(a_cancelled_task_is_not_told_as_ready),
		cmocka_unit_test(memory_is_in_proportion_to_the_uses),
		cmocka_unit_test(destroying_drops_what_is_live),
	};

	return cmocka_run_group_tests_name("dag", tests, NULL, NULL);
}
