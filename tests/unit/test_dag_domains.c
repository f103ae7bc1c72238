/* Poison where domains meet, and the place in the order that a poisoned task keeps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dag/dag.h"

#define MAX_STEPS 14
#define NAMES     8
#define MANY      100000

/* R and W are the accesses, of bytes [from, to). */
#define R(from, to) USE(from, to, DAG_READ)
#define W(from, to) USE(from, to, DAG_WRITE)
#define USE(from, to, access)                                                                      \
	{                                                                                          \
		1, from, (to) - (from), 0, 0, access                                               \
	}

enum op { END, SUBMIT, SUCCEED, FAIL, CANCEL, TAKE, LIVE };

/*
 * Tasks are letters. A submit is into the domain of that number, with uses and the names of those
 * it is to run `after`. TAKE takes all events, which are to be these: "a" is that task a is ready,
 * which starts it, "b!a" that b is poisoned by a. LIVE is how many are.
 */
struct step {
	enum op op;
	char task;
	uint32_t number;
	struct dag_use uses[2];
	const char *text;
};

#define ADD(task, domain, ...)                                                                     \
	{                                                                                          \
		SUBMIT, task, domain, { __VA_ARGS__ }, ""                                          \
	}
#define AFTER(task, domain, after)                                                                 \
	{                                                                                          \
		SUBMIT, task, domain, { { 0 } }, after                                             \
	}
#define DO(op, task)                                                                               \
	{                                                                                          \
		op, task, 0, { { 0 } }, ""                                                         \
	}
#define EVENTS(text)                                                                               \
	{                                                                                          \
		TAKE, ' ', 0, { { 0 } }, text                                                      \
	}
#define LIVE_ARE(number)                                                                           \
	{                                                                                          \
		LIVE, ' ', number, { { 0 } }, ""                                                   \
	}

static const struct domain_case {
	const char *name;
	struct step steps[MAX_STEPS];
} domain_cases[] = {
	{ "a failure leaves a reader of another domain, which then starts",
	  { ADD('a', 1, W(0, 8)), ADD('b', 2, R(0, 8)), ADD('c', 1, R(0, 8)), EVENTS("a"),
	    DO(FAIL, 'a'), EVENTS("c!a b"), DO(SUCCEED, 'b'), LIVE_ARE(0) } },
	/* a writes; b of its domain takes its bytes over and is poisoned by x; c waits for b alone.
	 */
	{ "a foreign reader of a poisoned writer does not run beside the writer before",
	  { ADD('a', 1, W(0, 8)), ADD('x', 1, W(8, 16)), ADD('b', 1, W(0, 16)),
	    ADD('c', 2, R(0, 8)), EVENTS("ax"), DO(FAIL, 'x'), EVENTS("b!x"), LIVE_ARE(3),
	    DO(SUCCEED, 'a'), EVENTS("c"), LIVE_ARE(1) } },
	{ "the same, and the writer before fails, too",
	  { ADD('a', 1, W(0, 8)), ADD('x', 1, W(8, 16)), ADD('b', 1, W(0, 16)),
	    ADD('c', 2, R(0, 8)), EVENTS("ax"), DO(FAIL, 'x'), EVENTS("b!x"), DO(FAIL, 'a'),
	    EVENTS("c"), LIVE_ARE(1) } },
	{ "cancelled in the middle of a chain with a foreign reader at its end",
	  { ADD('a', 1, W(0, 8)), ADD('b', 1, R(0, 8), W(8, 16)), ADD('c', 1, R(8, 16), W(16, 24)),
	    ADD('d', 1, R(16, 24), W(24, 32)), ADD('e', 2, R(24, 32)), EVENTS("a"), DO(CANCEL, 'c'),
	    EVENTS("c!c d!c"), LIVE_ARE(5), DO(SUCCEED, 'a'), EVENTS("b"), DO(SUCCEED, 'b'),
	    EVENTS("e"), LIVE_ARE(1) } },
	{ "the same with the events taken late",
	  { ADD('a', 1, W(0, 8)), ADD('b', 1, R(0, 8), W(8, 16)), ADD('c', 1, R(8, 16), W(16, 24)),
	    ADD('d', 1, R(16, 24), W(24, 32)), ADD('e', 2, R(24, 32)), EVENTS("a"), DO(CANCEL, 'b'),
	    DO(SUCCEED, 'a'), LIVE_ARE(4), EVENTS("b!b c!b d!b e"), LIVE_ARE(1) } },
	{ "cancelled although it was ready, with successors of both domains",
	  { ADD('a', 1, W(0, 8)), ADD('b', 2, R(0, 8)), ADD('c', 1, R(0, 8)), EVENTS("a"),
	    ADD('d', 1, W(8, 16)), ADD('e', 2, R(8, 16)), DO(CANCEL, 'd'), EVENTS("d!d e"),
	    DO(SUCCEED, 'a'), EVENTS("bc") } },
	{ "poison reaches those of its domain behind one of another, which runs",
	  { ADD('a', 1, W(0, 8)), ADD('b', 2, W(0, 8)), ADD('c', 1, R(0, 8)), EVENTS("a"),
	    DO(FAIL, 'a'), EVENTS("c!a b"), DO(SUCCEED, 'b'), LIVE_ARE(0) } },
	{ "who comes later waits for a poisoned task, of whatever domain, and is not poisoned by "
	  "it",
	  { ADD('a', 1, W(0, 8)), ADD('x', 1, W(8, 16)), ADD('b', 1, W(0, 16)), EVENTS("ax"),
	    DO(FAIL, 'x'), EVENTS("b!x"), ADD('c', 1, R(8, 9)), ADD('d', 2, R(9, 10)),
	    AFTER('e', 1, "b"), EVENTS(""), DO(SUCCEED, 'a'), EVENTS("cde"), LIVE_ARE(3) } },
	{ "and it is poisoned by what the poisoned task itself waits for",
	  { ADD('a', 1, W(0, 8)), ADD('x', 1, W(8, 16)), ADD('b', 1, W(0, 16)), EVENTS("ax"),
	    DO(FAIL, 'x'), EVENTS("b!x"), ADD('c', 1, R(0, 8)), ADD('d', 2, R(0, 8)), DO(FAIL, 'a'),
	    EVENTS("c!a d"), LIVE_ARE(1) } },
	{ "also if a third failure came between",
	  { AFTER('a', 1, ""), AFTER('y', 1, ""), AFTER('x', 1, ""), AFTER('b', 1, "axy"),
	    EVENTS("ayx"), DO(FAIL, 'x'), AFTER('c', 1, "b"), DO(FAIL, 'y'), EVENTS("b!x c!y"),
	    AFTER('d', 1, "c"), DO(FAIL, 'a'), EVENTS("d!a"), LIVE_ARE(0) } },
	{ "one domain fails after another before the same tasks",
	  { AFTER('a', 1, ""), AFTER('b', 2, ""), AFTER('c', 1, "ab"), AFTER('d', 2, "c"),
	    AFTER('e', 3, "cd"), EVENTS("ab"), DO(FAIL, 'a'), EVENTS("c!a"), DO(FAIL, 'b'),
	    EVENTS("d!b e"), LIVE_ARE(1) } },
	{ "in one domain alone all is poisoned at once",
	  { ADD('a', 1, W(0, 8)), ADD('b', 1, R(0, 8), W(8, 16)), ADD('c', 1, R(8, 16)),
	    ADD('d', 1, W(0, 8)), EVENTS("a"), DO(FAIL, 'a'), LIVE_ARE(3), EVENTS("b!a d!a c!a"),
	    LIVE_ARE(0) } },
};

struct names {
	struct dag *dag;
	dag_task_id ids[26];
};

static char name_of(const struct names *names, dag_task_id id)
{
	for (size_t i = 0; i < 26; i++) {
		if (names->ids[i] == id)
			return (char)('a' + i);
	}
	return '?';
}

/* Without the spaces, which are for the eye. */
static void squeeze(const char *text, char *out)
{
	for (; *text; text++) {
		if (*text != ' ')
			*out++ = *text;
	}
	*out = '\0';
}

static void take_events(const struct names *names, char *out)
{
	struct dag_event event;

	while (dag_next_event(names->dag, &event)) {
		*out++ = name_of(names, event.task);
		if (event.kind == DAG_TASK_READY) {
			dag_start(names->dag, event.task);
			continue;
		}
		*out++ = '!';
		*out++ = name_of(names, event.cause);
		assert_null(dag_payload(names->dag, event.task));
		assert_int_equal(dag_cancel(names->dag, event.task), SIMPLER_ENOTFOUND);
	}
	*out = '\0';
}

static void submit(struct names *names, const struct step *step)
{
	dag_task_id after[NAMES];
	struct dag_submission submission = { .payload = names,
		                             .domain = step->number,
		                             .uses = step->uses,
		                             .use_count = 2,
		                             .after = after,
		                             .after_count = strlen(step->text) };

	for (size_t i = 0; i < submission.after_count; i++)
		after[i] = names->ids[step->text[i] - 'a'];
	assert_int_equal(dag_submit(names->dag, &submission, &names->ids[step->task - 'a']),
	                 SIMPLER_OK);
}

static void take_step(struct names *names, const struct step *step, const char *name, size_t index)
{
	char events[4 * NAMES], wanted[4 * NAMES];

	switch (step->op) {
	case SUBMIT:
		submit(names, step);
		break;
	case CANCEL:
		assert_int_equal(dag_cancel(names->dag, names->ids[step->task - 'a']), SIMPLER_OK);
		break;
	case LIVE:
		if (dag_live(names->dag) != step->number)
			fail_msg("%s, step %zu: %u live", name, index, dag_live(names->dag));
		break;
	case TAKE:
		take_events(names, events);
		squeeze(step->text, wanted);
		if (strcmp(events, wanted) != 0)
			fail_msg("%s, step %zu: events are '%s'", name, index, events);
		break;
	default:
		dag_finish(names->dag, names->ids[step->task - 'a'], step->op == SUCCEED);
		break;
	}
}

static void order_crosses_domains_and_poison_does_not(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(domain_cases) / sizeof(domain_cases[0]); i++) {
		const struct domain_case *each = &domain_cases[i];
		struct names names = { .dag = dag_create(
					       &(struct dag_options){ .max_tasks = NAMES }) };

		assert_non_null(names.dag);
		for (size_t s = 0; s < MAX_STEPS && each->steps[s].op != END; s++)
			take_step(&names, &each->steps[s], each->name, s);
		dag_destroy(names.dag);
	}
}

/* A running task of domain 1, MANY of it each behind the one before, and one of domain 2. */
static struct dag *chain_of_many(dag_task_id *ids)
{
	struct dag *dag = dag_create(&(struct dag_options){ .max_tasks = MANY + 2 });
	struct dag_event event;

	assert_non_null(dag);
	for (uint32_t i = 0; i < MANY + 2; i++) {
		struct dag_submission submission = { .domain = i <= MANY ? 1 : 2,
			                             .after = &ids[i - (i > 0)],
			                             .after_count = i > 0 };

		assert_int_equal(dag_submit(dag, &submission, &ids[i]), SIMPLER_OK);
	}
	assert_true(dag_next_event(dag, &event));
	dag_start(dag, event.task);
	return dag;
}

static void take_many_poisoned(struct dag *dag)
{
	struct dag_event event;

	for (uint32_t i = 0; i < MANY; i++) {
		assert_true(dag_next_event(dag, &event));
		assert_int_equal(event.kind, DAG_TASK_POISONED);
	}
}

static void expect_last(struct dag *dag, dag_task_id last)
{
	struct dag_event event;

	assert_true(dag_next_event(dag, &event));
	assert_int_equal(event.kind, DAG_TASK_READY);
	assert_int_equal(event.task, last);
	assert_int_equal(dag_live(dag), 1);
	dag_destroy(dag);
}

/* A stack would overflow if any of this recursed. */
static void long_chains_are_poisoned_and_resolved(void **state)
{
	dag_task_id *ids = calloc(MANY + 2, sizeof(*ids));
	struct dag_event event;
	struct dag *dag;

	(void)state;
	assert_non_null(ids);
	dag = chain_of_many(ids);
	dag_finish(dag, ids[0], false);
	take_many_poisoned(dag);
	expect_last(dag, ids[MANY + 1]);

	dag = chain_of_many(ids);
	assert_int_equal(dag_cancel(dag, ids[1]), SIMPLER_OK);
	take_many_poisoned(dag);
	assert_false(dag_next_event(dag, &event));
	assert_int_equal(dag_live(dag), MANY + 2);
	dag_finish(dag, ids[0], true);
	expect_last(dag, ids[MANY + 1]);
	free(ids);
}

/* It would take minutes if each walked what is poisoned already. */
static void cancelling_a_long_chain_from_its_end_is_linear(void **state)
{
	dag_task_id *ids = calloc(MANY + 2, sizeof(*ids));
	struct dag *dag;

	(void)state;
	assert_non_null(ids);
	dag = chain_of_many(ids);
	for (uint32_t i = MANY; i > 0; i--)
		assert_int_equal(dag_cancel(dag, ids[i]), SIMPLER_OK);
	dag_finish(dag, ids[0], false);
	take_many_poisoned(dag);
	expect_last(dag, ids[MANY + 1]);
	free(ids);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order_crosses_domains_and_poison_does_not),
		cmocka_unit_test(long_chains_are_poisoned_and_resolved),
		cmocka_unit_test(cancelling_a_long_chain_from_its_end_is_linear),
	};

	return cmocka_run_group_tests_name("dag_domains", tests, NULL, NULL);
}
