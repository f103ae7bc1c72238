/* Dispatches through the front end, with an engine that answers when and what the test says. */
#include "front_end.h"

#include <signal.h>
#include <stdlib.h>

#include "node/engine_link.h"

static int start(void **state)
{
	*state = front_end_start(NULL);
	return 0;
}

static int stop(void **state)
{
	front_end_stop(*state);
	return 0;
}

static void R16_outcomes_come_in_any_order(void **state)
{
	struct front_end *front_end = *state;
	struct outcome held[3], released;
	struct msg_outcome response;
	struct bump bump;

	for (size_t i = 0; i < 3; i++) {
		const int64_t value = 10 * (int64_t)(i + 1);
		struct msg_dispatch request =
			make_dispatch(&front_end->orch, 100 + i, FAKE_HOLD, 0);

		add_inline(&request, SIMPLER_INOUT, &value, 1);
		dispatch_begin(front_end, &request, &held[i]);
	}
	wait_held(front_end, 3); /* by dispatches that overtake them */
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(outcome_ended(&held[i]), 0);
	struct msg_dispatch request = make_dispatch(&front_end->orch, 1, FAKE_RELEASE, 0);

	dispatch(front_end, &request, &released);
	for (size_t i = 0; i < 3; i++) {
		expect_response(&held[i], &bump, &response);
		assert_int_equal(response.task_id, 100 + i);
		assert_int_equal(response.error_code, 0);
		assert_int_equal(response.output_count, 1);
		assert_int_equal(element(&response.outputs[0], 0), 10 * (int64_t)(i + 1) + 1);
		bump_release(&bump);
		outcome_destroy(&held[i]);
	}
	outcome_destroy(&released);
}

static void a_failure_of_the_task_is_no_failure_of_the_rpc(void **state)
{
	struct front_end *front_end = *state;
	struct msg_dispatch request = make_dispatch(&front_end->orch, 9, FAKE_FAIL, 0);
	struct msg_outcome response;
	struct outcome outcome;
	struct bump bump;

	add_inline(&request, SIMPLER_OUTPUT, NULL, 4);
	dispatch(front_end, &request, &outcome);
	expect_response(&outcome, &bump, &response);
	assert_int_equal(response.task_id, 9);
	assert_int_equal(response.error_code, SIMPLER_USER_STATUS + 7);
	assert_string_equal(response.error_msg, "the cause");
	assert_int_equal(response.line_count, 3);
	assert_string_equal(response.lines[0], "the outer step");
	assert_string_equal(response.lines[1], "the inner step");
	assert_string_equal(response.lines[2], "the cause");
	assert_int_equal(response.output_count, 0);
	bump_release(&bump);
	outcome_destroy(&outcome);
}

static void outputs_come_back_in_argument_order(void **state)
{
	struct front_end *front_end = *state;
	struct msg_dispatch request = make_dispatch(&front_end->orch, 1, FAKE_ANSWER, 0);
	const struct msg_handle stored = alloc_tensor(front_end, 4 * sizeof(int64_t));
	const int64_t ones[] = { 1, 1, 1, 1 };
	struct msg_outcome response;
	struct outcome outcome;
	struct bump bump;

	add_inline(&request, SIMPLER_INPUT, ones, 1);
	add_inline(&request, SIMPLER_OUTPUT, NULL, 5);
	add_inline(&request, SIMPLER_NO_DEP, ones, 2);
	add_handle(&request, SIMPLER_OUTPUT_EXISTING, &stored, 4);
	add_inline(&request, SIMPLER_INOUT, ones, 3);
	add_inline(&request, SIMPLER_OUTPUT, NULL, 0);
	dispatch(front_end, &request, &outcome);
	expect_response(&outcome, &bump, &response);
	assert_int_equal(response.output_count, 4);
	assert_int_equal(response.outputs[0].shape.tag, SIMPLER_OUTPUT);
	assert_int_equal(response.outputs[0].shape.shape[0], 5);
	assert_int_equal(element(&response.outputs[0], 4), 42);
	assert_int_equal(response.outputs[1].shape.tag, SIMPLER_OUTPUT_EXISTING);
	assert_true(response.outputs[1].is_handle);
	assert_int_equal(response.outputs[1].handle.handle_id, stored.handle_id);
	assert_int_equal(response.outputs[2].shape.tag, SIMPLER_INOUT);
	assert_int_equal(element(&response.outputs[2], 2), 2);
	assert_int_equal(response.outputs[3].inline_data.size, 0);
	bump_release(&bump);
	outcome_destroy(&outcome);
}

static void R13_bytes_sent_with_an_output_do_not_reach_the_node(void **state)
{
	static const simpler_tag tags[] = { SIMPLER_OUTPUT, SIMPLER_OUTPUT_EXISTING };
	struct front_end *front_end = *state;
	const int64_t sent[] = { 77, 77, 77 };
	struct msg_outcome response;
	struct outcome outcome;
	struct bump bump;

	for (size_t i = 0; i < 2; i++) {
		struct msg_dispatch request = make_dispatch(&front_end->orch, 1, FAKE_ANSWER, 0);

		add_inline(&request, tags[i], sent, 3);
		dispatch(front_end, &request, &outcome);
		expect_response(&outcome, &bump, &response);
		assert_int_equal(element(&response.outputs[0], 2), 0);
		bump_release(&bump);
		outcome_destroy(&outcome);
	}
}

static void R14_a_handle_is_updated_in_place(void **state)
{
	struct front_end *front_end = *state;
	struct msg_handle stored = alloc_tensor(front_end, 2 * sizeof(int64_t));
	int64_t elements[2];
	struct outcome outcome;
	unsigned chunks;
	size_t size;

	for (size_t i = 0; i < 3; i++) {
		struct msg_dispatch request = make_dispatch(&front_end->orch, 1, FAKE_ANSWER, 0);

		add_handle(&request, SIMPLER_INOUT, &stored, 2);
		dispatch(front_end, &request, &outcome);
		expect(&outcome, RPC_OK, "");
		outcome_destroy(&outcome);
	}
	pull_tensor(front_end, &stored, (uint8_t *)elements, sizeof(elements), &size, &chunks,
	            &outcome);
	expect(&outcome, RPC_OK, "");
	assert_int_equal(size, sizeof(elements));
	assert_int_equal(elements[0], 3);
	assert_int_equal(elements[1], 3);
	outcome_destroy(&outcome);
}

/* --- what is refused before anything runs --- */

static const struct msg_handle *stored_eight(struct front_end *front_end)
{
	static struct msg_handle handle;

	handle = alloc_tensor(front_end, 8);
	return &handle;
}

static void unknown_callable(struct front_end *front_end, struct msg_dispatch *request)
{
	(void)front_end;
	request->callable_id ^= 1;
}

static void other_version(struct front_end *front_end, struct msg_dispatch *request)
{
	(void)front_end;
	request->callable_version ^= 1;
}

static void other_digest(struct front_end *front_end, struct msg_dispatch *request)
{
	request->digest.data = front_end->sub.digest.bytes;
}

static void other_kind(struct front_end *front_end, struct msg_dispatch *request)
{
	(void)front_end;
	request->kind = SIMPLER_KIND_SUB;
}

static void sub_callable(struct front_end *front_end, struct msg_dispatch *request)
{
	*request = make_dispatch(&front_end->sub, 5, FAKE_ANSWER, 0);
	request->kind = SIMPLER_KIND_SUB;
}

static void sub_callable_of_a_client_without_kinds(struct front_end *front_end,
                                                   struct msg_dispatch *request)
{
	*request = make_dispatch(&front_end->sub, 5, FAKE_ANSWER, 0);
	request->kind = 0;
}

static void foreign_handle(struct front_end *front_end, struct msg_dispatch *request)
{
	struct msg_handle handle = *stored_eight(front_end);

	strcpy(handle.node_id, "elsewhere");
	add_handle(request, SIMPLER_INPUT, &handle, 1);
}

static void unknown_handle(struct front_end *front_end, struct msg_dispatch *request)
{
	struct msg_handle handle = *stored_eight(front_end);

	handle.handle_id += 12345;
	add_handle(request, SIMPLER_INPUT, &handle, 1);
}

static void free_stored(struct front_end *front_end, const struct msg_handle *handle)
{
	struct rpc_buffer buffer;
	struct outcome outcome;

	assert_int_equal(msg_free_encode(handle, &buffer), SIMPLER_OK);
	call(front_end, MSG_FREE_TENSOR, &buffer, &outcome);
	expect(&outcome, RPC_OK, "");
	outcome_destroy(&outcome);
}

static void stale_handle(struct front_end *front_end, struct msg_dispatch *request)
{
	const struct msg_handle *handle = stored_eight(front_end);

	free_stored(front_end, handle);
	add_handle(request, SIMPLER_INPUT, handle, 1);
}

static void small_handle(struct front_end *front_end, struct msg_dispatch *request)
{
	add_handle(request, SIMPLER_INPUT, stored_eight(front_end), 2);
}

static void large_inline_output(struct front_end *front_end, struct msg_dispatch *request)
{
	(void)front_end;
	add_inline(request, SIMPLER_OUTPUT, NULL, (int64_t)(SIMPLER_INLINE_MAX / 8) + 1);
}

static void wrong_inline_size(struct front_end *front_end, struct msg_dispatch *request)
{
	static const int64_t two[2];

	(void)front_end;
	add_inline(request, SIMPLER_INPUT, two, 2)->shape.shape[0] = 3;
}

static const struct {
	const char *name;
	void (*spoil)(struct front_end *front_end, struct msg_dispatch *request);
	enum rpc_code code;
	const char *told[2];
} refusals[] = {
	{ "unknown callable", unknown_callable, RPC_NOT_FOUND, { NODE_ID, "task 5" } },
	{ "other version", other_version, RPC_FAILED_PRECONDITION, { "version" } },
	{ "R22 other digest", other_digest, RPC_FAILED_PRECONDITION, { "'who'", "digest" } },
	{ "R22 other kind", other_kind, RPC_FAILED_PRECONDITION, { "'who'", "sub task" } },
	{ "sub callable", sub_callable, RPC_FAILED_PRECONDITION, { "'who_sub'", "orchestration" } },
	{ "sub callable of a client without kinds",
	  sub_callable_of_a_client_without_kinds,
	  RPC_FAILED_PRECONDITION,
	  { "'who_sub'", "sub task" } },
	{ "foreign handle", foreign_handle, RPC_NOT_FOUND, { "'elsewhere'", "'" NODE_ID "'" } },
	{ "unknown handle", unknown_handle, RPC_NOT_FOUND, { "tensor_refs[0]" } },
	{ "stale handle", stale_handle, RPC_FAILED_PRECONDITION, { "freed" } },
	{ "small handle", small_handle, RPC_INVALID_ARGUMENT, { "16 bytes", "has 8" } },
	{ "large inline output", large_inline_output, RPC_INVALID_ARGUMENT, { "inline" } },
	{ "wrong inline size", wrong_inline_size, RPC_INVALID_ARGUMENT, { "16 bytes" } },
};

static void refusals_say_what_is_wrong(void **state)
{
	struct front_end *front_end = *state;
	struct outcome outcome;

	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		struct msg_dispatch request = make_dispatch(&front_end->orch, 5, FAKE_ANSWER, 0);

		refusals[i].spoil(front_end, &request);
		dispatch(front_end, &request, &outcome);
		for (size_t j = 0; j < 2 && refusals[i].told[j]; j++)
			expect(&outcome, refusals[i].code, refusals[i].told[j]);
		outcome_destroy(&outcome);
	}
	(void)ask_engine(front_end);
}

static void a_freed_tensor_that_a_task_uses_lasts_as_long_as_the_task(void **state)
{
	struct front_end *front_end = *state;
	const struct msg_handle stored = alloc_tensor(front_end, 8);
	struct msg_dispatch hold = make_dispatch(&front_end->orch, 1, FAKE_HOLD, 0);
	struct msg_dispatch let_go = make_dispatch(&front_end->orch, 2, FAKE_RELEASE, 0);
	struct outcome held, released;
	struct msg_outcome response;
	struct bump bump;

	add_handle(&hold, SIMPLER_INOUT, &stored, 1);
	dispatch_begin(front_end, &hold, &held);
	wait_held(front_end, 1);
	free_stored(front_end, &stored);
	dispatch(front_end, &let_go, &released);
	expect_response(&held, &bump, &response);
	assert_int_equal(response.error_code, 0);
	assert_int_equal(response.outputs[0].handle.handle_id, stored.handle_id);
	assert_int_equal(response.outputs[0].handle.lease_deadline_unix_ms, 0);
	bump_release(&bump);
	outcome_destroy(&held);
	outcome_destroy(&released);
}

static void the_limit_of_tasks_in_flight_is_named(void **state)
{
	struct front_end *front_end = *state;
	struct msg_dispatch hold = make_dispatch(&front_end->orch, 1, FAKE_HOLD, 0);
	const pid_t engine = ask_engine(front_end).pid;
	struct outcome *held = calloc(ENGINE_MAX_IN_FLIGHT + 1, sizeof(*held));
	unsigned over = 0;

	assert_non_null(held);
	for (size_t i = 0; i <= ENGINE_MAX_IN_FLIGHT; i++)
		dispatch_begin(front_end, &hold, &held[i]);
	/* They may arrive in another order: one of them is refused, whichever. */
	while (over == 0) {
		for (size_t i = 0; i <= ENGINE_MAX_IN_FLIGHT; i++)
			over += outcome_ended(&held[i]);
	}
	assert_int_equal(over, 1);
	while (over <= ENGINE_MAX_IN_FLIGHT) {
		assert_int_equal(kill(engine, SIGUSR1), 0);
		over = 0;
		for (size_t i = 0; i <= ENGINE_MAX_IN_FLIGHT; i++)
			over += outcome_ended(&held[i]);
	}
	over = 0;
	for (size_t i = 0; i <= ENGINE_MAX_IN_FLIGHT; i++) {
		if (held[i].code != RPC_OK) {
			expect(&held[i], RPC_RESOURCE_EXHAUSTED, "1024 tasks are in flight");
			over++;
		}
		outcome_destroy(&held[i]);
	}
	assert_int_equal(over, 1);
	free(held);
}

static void R17_a_heartbeat_tells_liveness_and_says_so(void **state)
{
	struct front_end *front_end = *state;
	struct rpc_buffer empty;
	struct msg_health health;
	struct outcome outcome;
	struct bump bump;

	assert_int_equal(msg_empty_encode(&empty), SIMPLER_OK);
	call(front_end, MSG_HEARTBEAT, &empty, &outcome);
	expect(&outcome, RPC_OK, "");
	bump_init(&bump, MSG_BUMP_LIMIT(outcome.size));
	assert_int_equal(msg_health_decode(outcome.data, outcome.size, &bump, &health), SIMPLER_OK);
	assert_true(health.ok);
	assert_non_null(strstr(health.message, "liveness and not readiness"));
	assert_non_null(strstr(health.message, NODE_ID));
	assert_non_null(strstr(health.message, "engine ready"));
	bump_release(&bump);
	outcome_destroy(&outcome);
}

static void R09_pull_of_the_newest_answers_the_resolved_version(void **state)
{
	struct front_end *front_end = *state;
	const struct msg_callable_ref ref = { front_end->orch.id, 0 };
	struct msg_callable callable;
	struct rpc_buffer buffer;
	struct outcome outcome;
	struct bump bump;

	assert_int_equal(msg_callable_ref_encode(&ref, &buffer), SIMPLER_OK);
	call(front_end, MSG_PULL_CALLABLE, &buffer, &outcome);
	expect(&outcome, RPC_OK, "");
	bump_init(&bump, MSG_BUMP_LIMIT(outcome.size));
	assert_int_equal(msg_callable_decode(outcome.data, outcome.size, &bump, &callable),
	                 SIMPLER_OK);
	assert_int_equal(callable.callable_id, front_end->orch.id);
	assert_int_equal(callable.version, front_end->orch.version);
	assert_int_equal(callable.payload.size, front_end->orch.payload_size);
	assert_memory_equal(callable.payload.data, front_end->orch.payload,
	                    front_end->orch.payload_size);
	bump_release(&bump);
	outcome_destroy(&outcome);
}

static void unregister(struct front_end *front_end, const struct callable *callable,
                       struct outcome *outcome)
{
	const struct msg_callable_ref ref = { callable->id, callable->version };
	struct rpc_buffer buffer;

	assert_int_equal(msg_callable_ref_encode(&ref, &buffer), SIMPLER_OK);
	call_begin(front_end, MSG_UNREGISTER, &buffer, outcome);
}

static void push_ok(struct front_end *front_end, const struct callable *callable)
{
	struct outcome outcome;

	push_callable(front_end, callable, &outcome);
	expect(&outcome, RPC_OK, "");
	outcome_destroy(&outcome);
}

/* With room for one task: what the task before held is free again before it is answered. */
static void whoever_has_an_answer_finds_room_for_the_next_task(void **state)
{
	static const char *const options[] = { "--max-tasks", "1", NULL };
	struct front_end *front_end = front_end_start(options);

	(void)state;
	for (size_t i = 0; i < 5000; i++)
		(void)ask_engine(front_end);
	front_end_stop(front_end);
}

/* An engine lives long, and many callables come and go meanwhile. */
static void what_is_gone_the_engine_is_told_to_forget_when_its_last_task_has_ended(void **state)
{
	struct front_end *front_end = *state;
	struct msg_dispatch request;
	struct forget_facts facts;
	struct outcome held, left, released;
	struct callable gone, next;

	callable_make(&gone, SIMPLER_KIND_ORCH, "who", "gone");
	callable_make(&next, SIMPLER_KIND_ORCH, "who", "next");
	push_ok(front_end, &gone);
	request = make_dispatch(&gone, 1, FAKE_HOLD, 0);
	dispatch_begin(front_end, &request, &held);
	wait_held(front_end, 1);
	unregister(front_end, &gone, &left);
	push_ok(front_end, &next); /* which has the supervisor look around */
	assert_int_equal(ask_forgets(front_end).count, 0);
	assert_int_equal(outcome_ended(&left), 0);
	request = make_dispatch(&front_end->orch, 2, FAKE_RELEASE, 0);
	dispatch(front_end, &request, &released);
	outcome_wait(&held, &held.ended, 1);
	outcome_wait(&left, &left.ended, 1);
	expect(&left, RPC_OK, "");
	push_ok(front_end, &gone);
	do
		facts = ask_forgets(front_end);
	while (facts.count == 0);
	assert_int_equal(facts.count, 1);
	assert_int_equal(facts.last, 3); /* the third that was ever known */
	outcome_destroy(&held);
	outcome_destroy(&left);
	outcome_destroy(&released);
	callable_release(&gone);
	callable_release(&next);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(R16_outcomes_come_in_any_order),
		cmocka_unit_test(a_failure_of_the_task_is_no_failure_of_the_rpc),
		cmocka_unit_test(outputs_come_back_in_argument_order),
		cmocka_unit_test(R13_bytes_sent_with_an_output_do_not_reach_the_node),
		cmocka_unit_test(R14_a_handle_is_updated_in_place),
		cmocka_unit_test(refusals_say_what_is_wrong),
		cmocka_unit_test(a_freed_tensor_that_a_task_uses_lasts_as_long_as_the_task),
		cmocka_unit_test(the_limit_of_tasks_in_flight_is_named),
		cmocka_unit_test(R17_a_heartbeat_tells_liveness_and_says_so),
		cmocka_unit_test(R09_pull_of_the_newest_answers_the_resolved_version),
		cmocka_unit_test(
			what_is_gone_the_engine_is_told_to_forget_when_its_last_task_has_ended),
	};
	/* It has a node of its own, and there is one at a time. */
	const struct CMUnitTest alone[] = {
		cmocka_unit_test(whoever_has_an_answer_finds_room_for_the_next_task),
	};

	return cmocka_run_group_tests(tests, start, stop) +
	       cmocka_run_group_tests(alone, NULL, NULL);
}
