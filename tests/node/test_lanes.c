/*
 * One suite over everything that dispatches go by (exec/lane.h): each test runs with each lane and
 * a daemon of its own, and wants the same of all. A new lane is a line in `subjects`.
 *
 * The fakes are a lane with somebody in the middle (fake_lane.h), who delays and reorders, gives
 * one credit, or does wrong.
 */
#include "session_client.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "exec/lane.h"
#include "exec/lane_shm.h"
#include "fabric/fabric.h"
#include "fake_lane.h"
#include "os/process.h"

#define SESSION UINT64_C(0x1a9e)

struct rig;

struct subject {
	const char *name;
	simpler_status (*open)(struct rig *rig, struct lane **out);
	struct fake_mischief mischief; /* of a fake */
	bool records;                  /* many in a batch, as many as credits */
	bool fake;
	bool fabric;
};

struct rig {
	const struct subject *subject;
	struct front_end *front_end;
	struct rpc_channel *channel; /* that the lane is on, if it is on any */
	struct lane_shm_hub *hub;    /* of the lane by shared memory */
	uint64_t session;
	struct rpc_channel *other;
	struct fabric *fabric; /* of a lane of one */
	struct msg_attached attached;
	struct msg_handle counter;
	struct lane *lane;    /* NULL once it was let go of */
	pthread_mutex_t lock; /* guards: */
	pthread_cond_t changed;
	bool opened;
	unsigned losses, endings;
	char why[512];
	uint64_t ended; /* dispatches */
};

/* --- lanes --- */

static void on_opened(void *context, struct lane *lane)
{
	struct rig *rig = context;

	(void)lane;
	pthread_mutex_lock(&rig->lock);
	assert_int_equal(rig->losses, 0);
	rig->opened = true;
	pthread_cond_broadcast(&rig->changed);
	pthread_mutex_unlock(&rig->lock);
}

static void on_lost(void *context, struct lane *lane, const char *why)
{
	struct rig *rig = context;

	(void)lane;
	pthread_mutex_lock(&rig->lock);
	rig->losses++;
	(void)snprintf(rig->why, sizeof(rig->why), "%s", why);
	pthread_cond_broadcast(&rig->changed);
	pthread_mutex_unlock(&rig->lock);
}

static void on_ending(void *context)
{
	struct rig *rig = context;

	pthread_mutex_lock(&rig->lock);
	assert_int_equal(rig->losses, 0);
	rig->endings++;
	pthread_mutex_unlock(&rig->lock);
}

static simpler_status open_unary(struct rig *rig, struct lane **out)
{
	rig->opened = true;
	return lane_unary_create(rig->channel, out);
}

static simpler_status open_stream(struct rig *rig, struct lane **out)
{
	const struct lane_owner owner = { rig, on_opened, on_lost, on_ending };

	return lane_stream_open(rig->channel, &owner, out);
}

static simpler_status open_shm(struct rig *rig, struct lane **out)
{
	const struct lane_owner owner = { rig, on_opened, on_lost, on_ending };
	simpler_status status = SIMPLER_OK;

	if (!rig->hub)
		status = lane_shm_hub_create(&rig->hub);
	if (status != SIMPLER_OK)
		return status;
	return lane_shm_open(rig->hub, rig->attached.shm_address, rig->session, &owner, out);
}

static simpler_status open_fabric(struct rig *rig, struct lane **out)
{
	const struct lane_owner owner = { rig, on_opened, on_lost, on_ending };

	return lane_fabric_open(rig->fabric, rig->channel, &owner, out);
}

static simpler_status open_fake(struct rig *rig, struct lane **out)
{
	const struct lane_owner owner = { rig, on_opened, on_lost, on_ending };

	return fake_lane_open(rig->channel, &rig->subject->mischief, &owner, out);
}

static const struct subject subjects[] = {
	{ "unary", open_unary, { 0 }, false, false, false },
	{ "stream", open_stream, { 0 }, true, false, false },
	{ "shm", open_shm, { 0 }, true, false, false },
	{ "fabric", open_fabric, { 0 }, true, false, true },
	{ "fake that delays and reorders",
	  open_fake,
	  { .delay_us = 300, .reorders = true },
	  true,
	  true,
	  false },
	{ "fake with one credit", open_fake, { .delay_us = 50, .credits = 1 }, true, true, false },
};

#define SUBJECTS (sizeof(subjects) / sizeof(subjects[0]))

/* --- a rig --- */

static const struct fabric_options loopback = { FABRIC_TCP, "127.0.0.1" };
static bool has_fabric; /* set before all */

static struct front_end *start_node(const struct subject *subject, const char *const *options)
{
	const char *all[16] = { "--fabric", "tcp" };
	size_t count = 2;

	if (!subject->fabric)
		return front_end_start(options);
	while (options && *options && count < 15)
		all[count++] = *options++;
	return front_end_start(all);
}

/* Not on the stack: the lane of a test that failed may tell it something yet. */
static struct rig *rig_start(const struct subject *subject, const char *const *options)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	assert_non_null(rig);
	print_message("  %s\n", subject->name);
	rig->subject = subject;
	rig->session = SESSION;
	if (subject->fabric)
		assert_int_equal(fabric_open(&loopback, &rig->fabric), SIMPLER_OK);
	rig->front_end = start_node(subject, options);
	rig->channel = session_connect(rig->front_end, SESSION);
	rig->other = session_connect(rig->front_end, SESSION);
	rig->attached = session_attach(rig->other);
	rig->counter = counter_make(rig->other);
	(void)pthread_mutex_init(&rig->lock, NULL);
	(void)pthread_cond_init(&rig->changed, NULL);
	return rig;
}

static void rig_open(struct rig *rig)
{
	assert_int_equal(rig->subject->open(rig, &rig->lane), SIMPLER_OK);
	pthread_mutex_lock(&rig->lock);
	while (!rig->opened && rig->losses == 0)
		pthread_cond_wait(&rig->changed, &rig->lock);
	if (rig->losses > 0)
		fail_msg("it was lost: %s", rig->why);
	pthread_mutex_unlock(&rig->lock);
}

static void wait_lost(struct rig *rig)
{
	pthread_mutex_lock(&rig->lock);
	while (rig->losses == 0)
		pthread_cond_wait(&rig->changed, &rig->lock);
	assert_int_equal(rig->losses, 1);
	pthread_mutex_unlock(&rig->lock);
}

/* Whatever sockets this process has to an abstract address, with its "@". */
static void break_sockets_to(const char *address)
{
	const size_t size = offsetof(struct sockaddr_un, sun_path) + strlen(address);

	for (int fd = 3; fd < 1024; fd++) {
		struct sockaddr_un peer;
		socklen_t length = sizeof(peer);

		if (getpeername(fd, (struct sockaddr *)&peer, &length) == 0 &&
		    peer.sun_family == AF_UNIX && length == size &&
		    memcmp(&peer.sun_path[1], &address[1], strlen(address) - 1) == 0)
			(void)shutdown(fd, SHUT_RDWR);
	}
}

/* The connection breaks: what is in flight ends, and nobody has answered. */
static void rig_break(struct rig *rig)
{
	if (rig->fabric)
		rig->lane->ops->lose(rig->lane, "its connection is said to be broken");
	rpc_channel_close(rig->channel);
	rig->channel = NULL;
	if (rig->hub)
		break_sockets_to(rig->attached.shm_address);
	if (rig->subject->records)
		wait_lost(rig);
}

static void rig_close_lane(struct rig *rig)
{
	rig->lane->ops->close(rig->lane);
	lane_drop(rig->lane);
	rig->lane = NULL;
}

static void rig_let_go(struct rig *rig)
{
	if (rig->lane)
		rig_close_lane(rig);
	if (rig->channel)
		rpc_channel_close(rig->channel);
	rpc_channel_close(rig->other);
	lane_shm_hub_destroy(rig->hub);
	fake_lane_await_none();
	if (rig->fabric)
		fabric_close(rig->fabric);
}

static void rig_destroy(struct rig *rig)
{
	(void)pthread_mutex_destroy(&rig->lock);
	(void)pthread_cond_destroy(&rig->changed);
}

static void rig_stop(struct rig *rig)
{
	rig_let_go(rig);
	front_end_stop(rig->front_end);
	rig_destroy(rig);
	free(rig);
}

static void with_one(void (*test)(struct rig *rig), const struct subject *subject,
                     const char *const *options)
{
	struct rig *rig = rig_start(subject, options);

	rig_open(rig);
	test(rig);
	rig_stop(rig);
}

static bool is_here(const struct subject *subject)
{
	return !subject->fabric || has_fabric;
}

static void with_each(void (*test)(struct rig *rig), const char *const *options)
{
	for (size_t i = 0; i < SUBJECTS; i++) {
		if (is_here(&subjects[i]))
			with_one(test, &subjects[i], options);
	}
}

/* Only those that carry records. */
static void with_records(void (*test)(struct rig *rig), const char *const *options)
{
	for (size_t i = 0; i < SUBJECTS; i++) {
		if (subjects[i].records && is_here(&subjects[i]))
			with_one(test, &subjects[i], options);
	}
}

/* --- dispatches --- */

struct asked {
	struct lane_dispatch dispatch; /* first */
	struct rig *rig;
	/* Under the rig's lock: */
	unsigned ends;
	uint64_t order; /* counts those of the rig, from 1 */
	enum rpc_code code;
	enum rpc_note note;
	bool ask_elsewhere;
	char text[1024];
	uint8_t *data;
	size_t size;
	/* Submitted by `done` of the one before. */
	struct asked *then;
	struct msg_dispatch *then_request;
	size_t then_count;
};

static simpler_status submit(struct lane *lane, const struct msg_dispatch *request,
                             struct asked *asked)
{
	lane_dispatch_init(&asked->dispatch, lane);
	return lane_submit(&asked->dispatch, request);
}

static void on_done(struct lane_dispatch *dispatch, const struct lane_answer *answer)
{
	struct asked *asked = (struct asked *)dispatch;
	struct rig *rig = asked->rig;
	struct asked *then = asked->then;
	struct msg_dispatch *request = asked->then_request;
	size_t count = asked->then_count;

	pthread_mutex_lock(&rig->lock);
	asked->ends++;
	asked->order = ++rig->ended;
	asked->code = answer->code;
	asked->note = answer->note;
	asked->ask_elsewhere = answer->ask_elsewhere;
	if (answer->code != RPC_OK && answer->text)
		(void)snprintf(asked->text, sizeof(asked->text), "%s", answer->text);
	if (answer->code == RPC_OK && answer->size > 0) {
		asked->data = malloc(answer->size);
		memcpy(asked->data, answer->data, answer->size);
		asked->size = answer->size;
	}
	pthread_cond_broadcast(&rig->changed);
	pthread_mutex_unlock(&rig->lock);
	for (size_t i = 0; i < count; i++) {
		if (submit(rig->lane, &request[i], &then[i]) != SIMPLER_OK)
			abort(); /* not the test's thread */
	}
}

static void asked_init(struct rig *rig, struct asked *asked)
{
	asked->rig = rig;
	asked->ends = 0;
	asked->code = RPC_OK;
	asked->data = NULL;
	asked->size = 0;
	asked->text[0] = '\0';
	asked->then_count = 0;
	asked->dispatch.deadline = CLOCK_NEVER;
	asked->dispatch.waits = false;
	asked->dispatch.done = on_done;
}

static void begin_until(struct rig *rig, const struct msg_dispatch *request, int64_t deadline,
                        struct asked *asked)
{
	asked_init(rig, asked);
	asked->dispatch.deadline = deadline;
	if (submit(rig->lane, request, asked) != SIMPLER_OK)
		fail_msg("%s (%s)", simpler_last_error(), rig->why);
}

static void begin(struct rig *rig, const struct msg_dispatch *request, struct asked *asked)
{
	begin_until(rig, request, CLOCK_NEVER, asked);
}

static void await(struct asked *asked)
{
	struct rig *rig = asked->rig;

	pthread_mutex_lock(&rig->lock);
	while (asked->ends == 0)
		pthread_cond_wait(&rig->changed, &rig->lock);
	assert_int_equal(asked->ends, 1);
	pthread_mutex_unlock(&rig->lock);
}

static void forget(struct asked *asked)
{
	free(asked->data);
	asked->data = NULL;
}

static void expect_end(struct asked *asked, enum rpc_code code, enum rpc_note note)
{
	await(asked);
	if (asked->code != code || asked->note != note)
		fail_msg("want %s and %d, have %s and %d: %s", rpc_code_name(code), note,
		         rpc_code_name(asked->code), asked->note, asked->text);
	forget(asked);
}

/* Nobody has answered: what gRPC says of a call, or a lane of what it had. */
static void expect_cut_off(struct asked *asked)
{
	await(asked);
	assert_true(asked->code == RPC_UNAVAILABLE || asked->code == RPC_CANCELLED);
	assert_int_equal(asked->note, RPC_NOTE_NONE);
	forget(asked);
}

/* By a call of its own. */
static enum rpc_code send_again(struct rig *rig, const struct msg_dispatch *request)
{
	struct msg_dispatch again = *request;
	struct rpc_buffer buffer;
	struct outcome outcome;
	enum rpc_code code;

	again.repeated = true;
	outcome_init(&outcome);
	assert_int_equal(msg_dispatch_encode(&again, &buffer), SIMPLER_OK);
	rpc_unary(rig->other, MSG_DISPATCH, CLOCK_NEVER, true, &buffer, outcome_done, &outcome);
	outcome_wait(&outcome, &outcome.ended, 1);
	code = outcome.code;
	outcome_destroy(&outcome);
	return code;
}

static struct msg_dispatch request_of(struct rig *rig, uint64_t task, enum fake_command command)
{
	struct msg_dispatch request = make_dispatch(&rig->front_end->orch, task, command, task);

	request.session_life = rig->attached.session_life;
	add_handle(&request, SIMPLER_INOUT, &rig->counter, 1);
	return request;
}

static int64_t runs(struct rig *rig)
{
	return counter_read(rig->other, &rig->counter);
}

/* --- the same outcomes and errors --- */

static void no_change(struct rig *rig, struct msg_dispatch *request)
{
	(void)rig;
	(void)request;
}

static void have_it_fail(struct rig *rig, struct msg_dispatch *request)
{
	(void)rig;
	request->scalars[0] = FAKE_FAIL;
}

static void name_no_callable(struct rig *rig, struct msg_dispatch *request)
{
	(void)rig;
	request->callable_id = 4711;
}

static void name_another_version(struct rig *rig, struct msg_dispatch *request)
{
	(void)rig;
	request->callable_version++;
}

static void name_another_digest(struct rig *rig, struct msg_dispatch *request)
{
	request->digest.data = rig->front_end->sub.digest.bytes;
}

static void name_another_kind(struct rig *rig, struct msg_dispatch *request)
{
	(void)rig;
	request->kind = SIMPLER_KIND_CHIP;
}

static void name_a_sub_callable(struct rig *rig, struct msg_dispatch *request)
{
	const struct callable *sub = &rig->front_end->sub;

	request->callable_id = sub->id;
	request->callable_version = sub->version;
	request->digest.data = sub->digest.bytes;
	request->kind = SIMPLER_KIND_SUB;
}

static void name_another_life(struct rig *rig, struct msg_dispatch *request)
{
	(void)rig;
	request->session_life++;
}

static void name_another_life_again(struct rig *rig, struct msg_dispatch *request)
{
	name_another_life(rig, request);
	request->repeated = true;
}

static void name_no_tensor(struct rig *rig, struct msg_dispatch *request)
{
	(void)rig;
	request->tensors[0].handle.handle_id = 4711;
}

static void read_behind_a_tensor(struct rig *rig, struct msg_dispatch *request)
{
	(void)rig;
	request->tensors[0].offset = 8;
}

static void ask_without_a_prefix(struct rig *rig, struct msg_dispatch *request)
{
	(void)rig;
	request->config.enable_dump_tensor = true;
}

static void kill_the_engine(struct rig *rig, struct msg_dispatch *request)
{
	(void)rig;
	request->scalars[0] = FAKE_RAISE;
	request->scalars[1] = SIGKILL;
}

static const struct ending {
	const char *name;
	void (*change)(struct rig *rig, struct msg_dispatch *request);
	enum rpc_code code;
	enum rpc_note note;
} endings[] = {
	{ "success", no_change, RPC_OK, RPC_NOTE_NONE },
	{ "user failure", have_it_fail, RPC_OK, RPC_NOTE_NONE },
	{ "no callable", name_no_callable, RPC_NOT_FOUND, RPC_NOTE_NONE },
	{ "another version", name_another_version, RPC_FAILED_PRECONDITION, RPC_NOTE_NONE },
	{ "another digest", name_another_digest, RPC_FAILED_PRECONDITION, RPC_NOTE_NONE },
	{ "another kind", name_another_kind, RPC_FAILED_PRECONDITION, RPC_NOTE_NONE },
	{ "a sub callable", name_a_sub_callable, RPC_FAILED_PRECONDITION, RPC_NOTE_NONE },
	{ "another life", name_another_life, RPC_FAILED_PRECONDITION, RPC_NOTE_NOT_RUN },
	{ "that again", name_another_life_again, RPC_FAILED_PRECONDITION, RPC_NOTE_LOST },
	{ "no tensor", name_no_tensor, RPC_NOT_FOUND, RPC_NOTE_NONE },
	{ "behind a tensor", read_behind_a_tensor, RPC_INVALID_ARGUMENT, RPC_NOTE_NONE },
	{ "no prefix", ask_without_a_prefix, RPC_INVALID_ARGUMENT, RPC_NOTE_NONE },
	{ "a killed engine", kill_the_engine, RPC_UNAVAILABLE, RPC_NOTE_LOST },
};

#define ENDINGS (sizeof(endings) / sizeof(endings[0]))

/* Each has a handle of its daemon's own, which takes the more bytes the larger its number is. */
static void expect_same_success(const struct asked *asked, const struct asked *by_call)
{
	static struct msg_outcome outcome, other;
	struct bump bump;

	bump_init(&bump, MSG_BUMP_LIMIT(asked->size) + MSG_BUMP_LIMIT(by_call->size));
	assert_int_equal(msg_outcome_decode(asked->data, asked->size, &bump, &outcome), SIMPLER_OK);
	assert_int_equal(msg_outcome_decode(by_call->data, by_call->size, &bump, &other),
	                 SIMPLER_OK);
	assert_int_equal(outcome.task_id, other.task_id);
	assert_int_equal(outcome.error_code, other.error_code);
	assert_int_equal(outcome.output_count, 1);
	assert_int_equal(other.output_count, 1);
	assert_true(outcome.outputs[0].is_handle && other.outputs[0].is_handle);
	assert_int_equal(outcome.outputs[0].handle.nbytes, other.outputs[0].handle.nbytes);
	bump_release(&bump);
}

static void every_dispatch_ends_as_by_a_call(struct rig *rig)
{
	static struct asked by_call[ENDINGS];

	for (size_t i = 0; i < ENDINGS; i++) {
		struct msg_dispatch request = request_of(rig, i + 1, FAKE_ANSWER);
		struct asked asked;

		endings[i].change(rig, &request);
		begin(rig, &request, &asked);
		await(&asked);
		if (asked.code != endings[i].code || asked.note != endings[i].note)
			fail_msg("%s: %s and %d, %s", endings[i].name, rpc_code_name(asked.code),
			         asked.note, asked.text);
		if (!rig->subject->records) {
			by_call[i] = asked;
			continue;
		}
		assert_string_equal(asked.text, by_call[i].text);
		if (endings[i].change == no_change) {
			expect_same_success(&asked, &by_call[i]);
		} else {
			assert_int_equal(asked.size, by_call[i].size);
			if (asked.size > 0)
				assert_memory_equal(asked.data, by_call[i].data, asked.size);
		}
		forget(&asked);
	}
	front_end_wait_serving(rig->front_end, 2);
	if (rig->subject != &subjects[SUBJECTS - 1])
		return;
	for (size_t i = 0; i < ENDINGS; i++)
		forget(&by_call[i]);
}

static void the_same_dispatches_end_the_same_way(void **state)
{
	(void)state;
	with_each(every_dispatch_ends_as_by_a_call, NULL);
}

static void a_task_without_an_id_is_refused(struct rig *rig)
{
	struct msg_dispatch request = request_of(rig, 0, FAKE_ANSWER);
	struct asked asked;

	begin(rig, &request, &asked);
	expect_end(&asked, RPC_INVALID_ARGUMENT, RPC_NOTE_NONE);
	assert_int_equal(runs(rig), 0);
}

static void a_record_without_a_task_id_is_refused(void **state)
{
	(void)state;
	with_records(a_task_without_an_id_is_refused, NULL);
}

static uint32_t in_flight(struct front_end *front_end)
{
	struct msg_status status;
	struct bump bump;
	uint32_t count;

	ask_status(front_end, &bump, &status);
	count = status.queue.in_flight;
	bump_release(&bump);
	return count;
}

static void no_room_is_told(struct rig *rig)
{
	struct msg_dispatch hold = make_dispatch(&rig->front_end->orch, 1, FAKE_HOLD, 1);
	struct msg_dispatch request = request_of(rig, 1, FAKE_ANSWER);
	struct outcome holders[2];
	struct asked asked;

	/* Of no session, so that it is not the lane's credits that hold it back. */
	for (size_t i = 0; i < 2; i++)
		dispatch_begin(rig->front_end, &hold, &holders[i]);
	while (in_flight(rig->front_end) < 2)
		;
	begin(rig, &request, &asked);
	expect_end(&asked, RPC_RESOURCE_EXHAUSTED, RPC_NOTE_NOT_RUN);
	process_signal(rig->front_end->daemon.pidfd, SIGTERM);
	for (size_t i = 0; i < 2; i++) {
		outcome_wait(&holders[i], &holders[i].ended, 1);
		outcome_destroy(&holders[i]);
	}
}

static void a_full_node_says_so(void **state)
{
	static const char *const options[] = { "--max-tasks", "2", "--drain-grace", "0", NULL };

	(void)state;
	with_each(no_room_is_told, options);
}

static void a_drain_lets_end_what_runs(struct rig *rig)
{
	struct msg_dispatch held = request_of(rig, 1, FAKE_HOLD);
	struct msg_dispatch fresh = request_of(rig, 2, FAKE_ANSWER);
	pid_t engine = ask_engine(rig->front_end).pid;
	struct asked first, second;

	begin(rig, &held, &first);
	wait_held(rig->front_end, 1);
	process_signal(rig->front_end->daemon.pidfd, SIGTERM);
	front_end_wait_not_serving(rig->front_end);
	if (rig->subject->mischief.credits != 1) {
		begin(rig, &fresh, &second);
		expect_end(&second, RPC_UNAVAILABLE, RPC_NOTE_NOT_RUN);
	}
	assert_int_equal(kill(engine, SIGUSR1), 0);
	expect_end(&first, RPC_OK, RPC_NOTE_NONE);
}

static void drained_with_the_lane_open(const struct subject *subject, void (*test)(struct rig *rig))
{
	struct rig *rig = rig_start(subject, NULL);

	rig_open(rig);
	test(rig);
	if (rig->subject->records)
		rig->lane->ops->check(rig->lane); /* as with a heartbeat */
	front_end_finish(rig->front_end);
	if (rig->subject->records)
		wait_lost(rig);
	assert_int_equal(rig->endings, rig->subject->records);
	rig_let_go(rig);
	rig_destroy(rig);
	free(rig);
}

static void a_node_that_drains_refuses_and_ends_with_the_lane_open(void **state)
{
	(void)state;
	for (size_t i = 0; i < SUBJECTS; i++) {
		if (is_here(&subjects[i]))
			drained_with_the_lane_open(&subjects[i], a_drain_lets_end_what_runs);
	}
}

/* Until the lane has ended. */
static void whoever_goes_on_sending_hears_of_each(struct rig *rig)
{
	enum { MOST = 2000 };
	const struct timespec moment = { .tv_nsec = 20000 };
	struct asked *asked = calloc(MOST, sizeof(*asked));
	size_t count = 0;

	assert_non_null(asked);
	process_signal(rig->front_end->daemon.pidfd, SIGTERM);
	while (count < MOST) {
		struct msg_dispatch request = request_of(rig, count + 1, FAKE_ANSWER);

		asked_init(rig, &asked[count]);
		if (submit(rig->lane, &request, &asked[count]) != SIMPLER_OK)
			break;
		count++;
		(void)nanosleep(&moment, NULL);
	}
	for (size_t i = 0; i < count; i++) {
		await(&asked[i]);
		if (asked[i].code != RPC_OK &&
		    (asked[i].code != RPC_UNAVAILABLE || asked[i].note != RPC_NOTE_NOT_RUN))
			fail_msg("dispatch %zu of %zu: %s and note %d, %s", i, count,
			         rpc_code_name(asked[i].code), asked[i].note, asked[i].text);
		forget(&asked[i]);
	}
	free(asked);
}

static void what_a_node_that_ends_has_not_answered_has_not_run(void **state)
{
	(void)state;
	for (size_t i = 0; i < SUBJECTS; i++) {
		if (subjects[i].records && is_here(&subjects[i]))
			drained_with_the_lane_open(&subjects[i],
			                           whoever_goes_on_sending_hears_of_each);
	}
}

/* --- at most once --- */

#define FEW 12

static void what_was_in_flight_ran_once(struct rig *rig)
{
	const size_t count = rig->subject->mischief.credits == 1 ? 1 : FEW;
	static struct msg_dispatch requests[FEW];
	static struct asked asked[FEW];
	static struct outcome again[FEW];

	for (size_t i = 0; i < count; i++) {
		requests[i] = request_of(rig, i + 1, FAKE_HOLD_STOPPABLE);
		begin(rig, &requests[i], &asked[i]);
	}
	wait_held(rig->front_end, (int64_t)count);
	rig_break(rig);
	for (size_t i = 0; i < count; i++) {
		struct rpc_buffer buffer;

		expect_cut_off(&asked[i]);
		requests[i].repeated = true;
		outcome_init(&again[i]);
		assert_int_equal(msg_dispatch_encode(&requests[i], &buffer), SIMPLER_OK);
		rpc_unary(rig->other, MSG_DISPATCH, CLOCK_NEVER, true, &buffer, outcome_done,
		          &again[i]);
	}
	wait_taken(rig->front_end);
	assert_int_equal(ask_stops(rig->front_end).stops, 0);
	release_held(rig->front_end);
	for (size_t i = 0; i < count; i++) {
		outcome_wait(&again[i], &again[i].ended, 1);
		expect(&again[i], RPC_OK, "");
		outcome_destroy(&again[i]);
		assert_int_equal(send_again(rig, &requests[i]), RPC_OK);
	}
	assert_int_equal(runs(rig), (int64_t)count);
}

static void R05_what_a_dead_lane_had_in_flight_is_sent_again_and_runs_once(void **state)
{
	(void)state;
	with_each(what_was_in_flight_ran_once, NULL);
}

static void the_recorded_outcome_is_told(struct rig *rig)
{
	struct msg_dispatch ends = request_of(rig, 1, FAKE_ANSWER);
	struct msg_dispatch fails = request_of(rig, 2, FAKE_FAIL);
	struct msg_outcome first;
	struct asked asked;
	struct bump bump;

	for (unsigned i = 0; i < 3; i++) {
		ends.repeated = fails.repeated = i > 0;
		begin(rig, &ends, &asked);
		expect_end(&asked, RPC_OK, RPC_NOTE_NONE);
		begin(rig, &fails, &asked);
		await(&asked);
		bump_init(&bump, MSG_BUMP_LIMIT(asked.size));
		assert_int_equal(msg_outcome_decode(asked.data, asked.size, &bump, &first),
		                 SIMPLER_OK);
		assert_int_equal(first.error_code, SIMPLER_USER_STATUS + 7);
		bump_release(&bump);
		forget(&asked);
	}
	assert_int_equal(send_again(rig, &ends), RPC_OK);
	assert_int_equal(runs(rig), 1);
}

static void a_task_that_has_ended_is_answered_and_not_run(void **state)
{
	(void)state;
	with_each(the_recorded_outcome_is_told, NULL);
}

static void the_later_one_is_answered(struct rig *rig)
{
	struct msg_dispatch request = request_of(rig, 1, FAKE_HOLD);
	struct outcome outcome;
	struct rpc_buffer buffer;
	struct asked asked;

	/* The lane's is displaced by a call's. */
	begin(rig, &request, &asked);
	wait_held(rig->front_end, 1);
	outcome_init(&outcome);
	assert_int_equal(msg_dispatch_encode(&request, &buffer), SIMPLER_OK);
	rpc_unary(rig->other, MSG_DISPATCH, CLOCK_NEVER, true, &buffer, outcome_done, &outcome);
	expect_end(&asked, RPC_ABORTED, RPC_NOTE_NONE);
	/* And the other way. */
	begin(rig, &request, &asked);
	outcome_wait(&outcome, &outcome.ended, 1);
	expect(&outcome, RPC_ABORTED, "came again");
	outcome_destroy(&outcome);
	/* By the same lane, if it takes more than one at once. */
	if (rig->subject->mischief.credits != 1) {
		struct asked second;

		begin(rig, &request, &second);
		expect_end(&asked, RPC_ABORTED, RPC_NOTE_NONE);
		release_held(rig->front_end);
		expect_end(&second, RPC_OK, RPC_NOTE_NONE);
	} else {
		release_held(rig->front_end);
		expect_end(&asked, RPC_OK, RPC_NOTE_NONE);
	}
	assert_int_equal(runs(rig), 1);
}

static void of_two_at_once_one_runs_and_the_earlier_one_hears_of_it(void **state)
{
	(void)state;
	with_each(the_later_one_is_answered, NULL);
}

/* --- deadlines --- */

static void nobody_tells_the_node(struct rig *rig)
{
	for (uint64_t i = 1; i <= 5; i++) {
		struct msg_dispatch request = request_of(rig, i, FAKE_HOLD_STOPPABLE);
		struct asked asked;

		begin_until(rig, &request, clock_after_ms(60), &asked);
		expect_end(&asked, RPC_DEADLINE_EXCEEDED, RPC_NOTE_NONE);
		while (ask_stops(rig->front_end).stops < (int64_t)i)
			;
		wait_held(rig->front_end, 0);
	}
}

static void the_node_stops_a_late_task_by_itself(void **state)
{
	(void)state;
	with_each(nobody_tells_the_node, NULL);
}

/* --- cancelling --- */

/* Of one that was taken back nothing is told; of the others it is, once. */
static void expect_cancelled(struct rig *rig, struct asked *asked, bool taken_back)
{
	if (!taken_back) {
		await(asked);
		assert_true(asked->code == RPC_CANCELLED || asked->code == RPC_OK);
	}
	pthread_mutex_lock(&rig->lock);
	assert_int_equal(asked->ends, taken_back ? 0 : 1);
	pthread_mutex_unlock(&rig->lock);
	forget(asked);
}

static void before_it_was_submitted(struct rig *rig)
{
	struct msg_dispatch request = request_of(rig, 1, FAKE_ANSWER);
	struct asked asked;
	simpler_status status;

	asked_init(rig, &asked);
	lane_dispatch_init(&asked.dispatch, rig->lane);
	assert_false(lane_cancel(&asked.dispatch));
	status = lane_submit(&asked.dispatch, &request);
	if (status == SIMPLER_OK)
		expect_cancelled(rig, &asked, false);
	else
		assert_int_equal(status, SIMPLER_ECANCELLED);
	if (rig->subject->records)
		assert_int_equal(status, SIMPLER_ECANCELLED);
	assert_int_equal(runs(rig), 0);
}

static void a_dispatch_cancelled_early_is_not_sent(void **state)
{
	(void)state;
	with_each(before_it_was_submitted, NULL);
}

static void while_it_runs(struct rig *rig)
{
	struct msg_dispatch held = request_of(rig, 1, FAKE_HOLD_STOPPABLE);
	struct msg_dispatch next = request_of(rig, 2, FAKE_ANSWER);
	struct asked asked, following;
	bool taken_back;

	begin(rig, &held, &asked);
	wait_held(rig->front_end, 1);
	taken_back = lane_cancel(&asked.dispatch);
	assert_int_equal(taken_back, rig->subject->records);
	/* It still runs, and has the slot. */
	begin(rig, &next, &following);
	wait_taken(rig->front_end);
	assert_int_equal(ask_engine(rig->front_end).held, 1);
	session_stop_task(rig->other, 1);
	wait_held(rig->front_end, 0);
	expect_end(&following, RPC_OK, RPC_NOTE_NONE);
	expect_cancelled(rig, &asked, taken_back);
	assert_int_equal(ask_stops(rig->front_end).stops, 1);
	assert_int_equal(runs(rig), 1);
}

static void a_dispatch_is_cancelled_and_its_task_stopped(void **state)
{
	(void)state;
	with_each(while_it_runs, NULL);
}

static void while_it_waits(struct rig *rig)
{
	struct msg_dispatch held = request_of(rig, 1, FAKE_HOLD);
	struct msg_dispatch waits = request_of(rig, 2, FAKE_ANSWER);
	struct msg_dispatch last = request_of(rig, 3, FAKE_ANSWER);
	struct asked first, second, third;

	begin(rig, &held, &first);
	begin(rig, &waits, &second);
	begin(rig, &last, &third);
	wait_held(rig->front_end, 1);
	assert_true(lane_cancel(&second.dispatch));
	release_held(rig->front_end);
	expect_end(&first, RPC_OK, RPC_NOTE_NONE);
	expect_end(&third, RPC_OK, RPC_NOTE_NONE);
	expect_cancelled(rig, &second, true);
	assert_int_equal(runs(rig), 2);
}

static void a_dispatch_that_waits_for_a_credit_is_taken_back(void **state)
{
	static const char *const options[] = { "--max-session-tasks", "1", NULL };

	(void)state;
	with_records(while_it_waits, options);
}

static void at_any_moment(struct rig *rig)
{
	unsigned taken_back = 0;

	for (uint64_t i = 1; i <= 200; i++) {
		struct msg_dispatch request = request_of(rig, i, FAKE_ANSWER);
		struct asked asked;
		struct timespec pause = { 0, (long)(i % 20) * 20000 };
		bool back = false;

		begin(rig, &request, &asked);
		(void)nanosleep(&pause, NULL);
		/* Whoever cancels sees to it that `done` has not been called: by the lock that it
		 * takes first, here. */
		pthread_mutex_lock(&rig->lock);
		if (asked.ends == 0)
			back = lane_cancel(&asked.dispatch);
		pthread_mutex_unlock(&rig->lock);
		expect_cancelled(rig, &asked, back);
		taken_back += back;
		if (back)
			session_stop_task(rig->other, i);
	}
	print_message("    %u of 200 were taken back\n", taken_back);
}

static void a_dispatch_cancelled_at_any_moment_ends_once(void **state)
{
	(void)state;
	with_each(at_any_moment, NULL);
}

/* --- credits --- */

#define MANY 30

static void no_more_than_were_given(struct rig *rig)
{
	const int64_t credits = rig->subject->mischief.credits == 1 ? 1 : 4;
	static struct asked asked[MANY];

	for (uint64_t i = 0; i < MANY; i++) {
		struct msg_dispatch request = request_of(rig, i + 1, FAKE_HOLD);

		begin(rig, &request, &asked[i]);
	}
	wait_held(rig->front_end, credits);
	for (uint64_t ended = 0; ended < MANY;) {
		wait_taken(rig->front_end);
		assert_in_range(ask_engine(rig->front_end).held, 0, credits);
		release_held(rig->front_end);
		pthread_mutex_lock(&rig->lock);
		ended = rig->ended;
		pthread_mutex_unlock(&rig->lock);
	}
	for (uint64_t i = 0; i < MANY; i++)
		expect_end(&asked[i], RPC_OK, RPC_NOTE_NONE);
	assert_int_equal(runs(rig), MANY);
}

static void no_more_are_in_flight_than_there_are_credits(void **state)
{
	static const char *const options[] = { "--max-session-tasks", "4", NULL };

	(void)state;
	with_records(no_more_than_were_given, options);
}

static void first_come_first_served(struct rig *rig)
{
	static struct asked asked[MANY];

	for (uint64_t i = 0; i < MANY; i++) {
		struct msg_dispatch request =
			request_of(rig, i + 1, i == 0 ? FAKE_HOLD : FAKE_ANSWER);

		begin(rig, &request, &asked[i]);
	}
	wait_held(rig->front_end, 1);
	release_held(rig->front_end);
	for (uint64_t i = 0; i < MANY; i++) {
		expect_end(&asked[i], RPC_OK, RPC_NOTE_NONE);
		assert_int_equal(asked[i].order, i + 1);
	}
}

static void what_waits_for_a_credit_keeps_its_order(void **state)
{
	static const char *const options[] = { "--max-session-tasks", "1", NULL };

	(void)state;
	with_records(first_come_first_served, options);
}

static void the_time_that_is_left(struct rig *rig)
{
	const struct timespec pause = { 0, 200 * CLOCK_MS };
	struct msg_dispatch held = request_of(rig, 1, FAKE_HOLD);
	struct msg_dispatch waits = request_of(rig, 2, FAKE_ANSWER);
	struct asked first, second;
	uint64_t timeout_us;
	unsigned batches;

	begin(rig, &held, &first);
	begin_until(rig, &waits, clock_after_ms(60000), &second);
	wait_held(rig->front_end, 1);
	(void)nanosleep(&pause, NULL);
	release_held(rig->front_end);
	expect_end(&first, RPC_OK, RPC_NOTE_NONE);
	expect_end(&second, RPC_OK, RPC_NOTE_NONE);
	if (!rig->subject->fake)
		return;
	fake_lane_facts(rig->lane, &batches, &timeout_us);
	assert_in_range(timeout_us, 1, 59800000);
}

static void waiting_for_a_credit_is_part_of_a_tasks_time(void **state)
{
	static const char *const options[] = { "--max-session-tasks", "1", NULL };

	(void)state;
	with_records(the_time_that_is_left, options);
}

/* --- batches --- */

static void a_lone_one_goes_at_once(struct rig *rig)
{
	for (uint64_t i = 1; i <= 20; i++) {
		struct msg_dispatch request = request_of(rig, i, FAKE_ANSWER);
		struct asked asked;

		begin(rig, &request, &asked);
		expect_end(&asked, RPC_OK, RPC_NOTE_NONE);
		assert_int_equal(atomic_load(&rig->lane->batches), i);
	}
	assert_int_equal(atomic_load(&rig->lane->dispatches), 20);
}

static void a_lone_dispatch_is_a_batch(void **state)
{
	(void)state;
	with_records(a_lone_one_goes_at_once, NULL);
}

static void while_one_is_on_its_way(struct rig *rig)
{
	static struct asked asked[MANY];

	if (!rig->subject->fake || rig->subject->mischief.credits == 1)
		return;
	fake_lane_shut(rig->lane, true);
	for (uint64_t i = 0; i < MANY; i++) {
		struct msg_dispatch request = request_of(rig, i + 1, FAKE_ANSWER);

		begin(rig, &request, &asked[i]);
		/* While it tells that it is open, it sends nothing. */
		while (atomic_load(&rig->lane->batches) == 0)
			;
	}
	assert_int_equal(atomic_load(&rig->lane->batches), 1);
	fake_lane_shut(rig->lane, false);
	for (uint64_t i = 0; i < MANY; i++)
		expect_end(&asked[i], RPC_OK, RPC_NOTE_NONE);
	/* The rest has about 5 KiB, and the fake's batches 4. */
	assert_int_equal(atomic_load(&rig->lane->batches), 3);
	assert_int_equal(atomic_load(&rig->lane->dispatches), MANY);
}

static void what_gathers_behind_a_batch_is_the_next(void **state)
{
	(void)state;
	with_records(while_one_is_on_its_way, NULL);
}

static void from_within_done(struct rig *rig)
{
	static struct msg_dispatch requests[FEW];
	static struct asked asked[FEW];
	struct msg_dispatch request = request_of(rig, 100, FAKE_ANSWER);
	struct asked first;

	for (uint64_t i = 0; i < FEW; i++) {
		requests[i] = request_of(rig, i + 1, FAKE_ANSWER);
		asked_init(rig, &asked[i]);
	}
	asked_init(rig, &first);
	first.then = asked;
	first.then_request = requests;
	first.then_count = FEW;
	assert_int_equal(submit(rig->lane, &request, &first), SIMPLER_OK);
	expect_end(&first, RPC_OK, RPC_NOTE_NONE);
	for (size_t i = 0; i < FEW; i++)
		expect_end(&asked[i], RPC_OK, RPC_NOTE_NONE);
	if (rig->subject->records && rig->subject->mischief.credits != 1)
		assert_int_equal(atomic_load(&rig->lane->batches), 2);
	assert_int_equal(runs(rig), FEW + 1);
}

static void what_done_submits_is_one_batch(void **state)
{
	(void)state;
	with_each(from_within_done, NULL);
}

static void one_after_the_other(struct rig *rig)
{
	enum { LINKS = 300 };
	static struct msg_dispatch requests[LINKS];
	static struct asked asked[LINKS];

	for (uint64_t i = 0; i < LINKS; i++) {
		requests[i] = request_of(rig, i + 1, FAKE_ANSWER);
		asked_init(rig, &asked[i]);
		asked[i].then = &asked[i + 1 < LINKS ? i + 1 : i];
		asked[i].then_request = &requests[i + 1 < LINKS ? i + 1 : i];
		asked[i].then_count = i + 1 < LINKS;
	}
	assert_int_equal(submit(rig->lane, &requests[0], &asked[0]), SIMPLER_OK);
	for (size_t i = 0; i < LINKS; i++) {
		expect_end(&asked[i], RPC_OK, RPC_NOTE_NONE);
		assert_int_equal(asked[i].order, i + 1);
	}
	assert_int_equal(runs(rig), LINKS);
}

static void done_may_submit_the_next_one(void **state)
{
	(void)state;
	with_each(one_after_the_other, NULL);
}

/* --- what a task updates --- */

static void a_tensor_of_each_kind(struct rig *rig)
{
	const int64_t value = 41;
	struct msg_outcome response;
	struct asked asked;
	struct bump bump;

	for (uint64_t i = 1; i <= 3; i++) {
		struct msg_dispatch request = request_of(rig, i, FAKE_ANSWER);

		add_inline(&request, SIMPLER_INOUT, &value, 1);
		begin(rig, &request, &asked);
		await(&asked);
		assert_int_equal(asked.code, RPC_OK);
		bump_init(&bump, MSG_BUMP_LIMIT(asked.size));
		assert_int_equal(msg_outcome_decode(asked.data, asked.size, &bump, &response),
		                 SIMPLER_OK);
		assert_int_equal(response.output_count, 2);
		assert_true(response.outputs[0].is_handle);
		assert_int_equal(response.outputs[0].handle.handle_id, rig->counter.handle_id);
		assert_int_equal(element(&response.outputs[1], 0), 42);
		bump_release(&bump);
		forget(&asked);
		/* In the node's memory, where the next one finds it. */
		assert_int_equal(runs(rig), i);
	}
}

static void R14_every_lane_updates_a_handle_in_place_and_copies_bytes_in_and_out(void **state)
{
	(void)state;
	with_each(a_tensor_of_each_kind, NULL);
}

/* --- large ones --- */

#define LARGE_ELEMENTS ((int64_t)(SIMPLER_INLINE_MAX / sizeof(int64_t)))
#define LARGE_TENSORS  6
#define LARGE_TASKS    6

/* One that does not fit, in either direction, is told to go elsewhere, and comes by a call. */
static void expect_grown(struct rig *rig, const struct msg_dispatch *request, struct asked *asked)
{
	static struct msg_outcome response;
	struct bump bump;

	await(asked);
	if (asked->ask_elsewhere) {
		assert_int_equal(asked->code, RPC_UNAVAILABLE);
		assert_int_equal(asked->note, RPC_NOTE_NONE);
		assert_int_equal(send_again(rig, request), RPC_OK);
		forget(asked);
		return;
	}
	assert_int_equal(asked->code, RPC_OK);
	bump_init(&bump, MSG_BUMP_LIMIT(asked->size));
	assert_int_equal(msg_outcome_decode(asked->data, asked->size, &bump, &response),
	                 SIMPLER_OK);
	assert_int_equal(response.output_count, LARGE_TENSORS);
	for (size_t i = 0; i < LARGE_TENSORS; i++)
		assert_int_equal(element(&response.outputs[i], (size_t)LARGE_ELEMENTS - 1), 8);
	bump_release(&bump);
	forget(asked);
}

/* One that a lane has no room for goes elsewhere without being sent. */
static void begin_or_elsewhere(struct rig *rig, const struct msg_dispatch *request,
                               struct asked *asked)
{
	simpler_status status;

	asked_init(rig, asked);
	status = submit(rig->lane, request, asked);
	if (status == SIMPLER_OK)
		return;
	assert_int_equal(status, SIMPLER_EINVAL);
	asked->ends = 1;
	asked->code = RPC_UNAVAILABLE;
	asked->note = RPC_NOTE_NONE;
	asked->ask_elsewhere = true;
}

static void go_and_come_back(struct rig *rig)
{
	int64_t *elements = malloc(SIMPLER_INLINE_MAX);
	static struct msg_dispatch requests[LARGE_TASKS];
	static struct asked asked[LARGE_TASKS];

	for (int64_t i = 0; i < LARGE_ELEMENTS; i++)
		elements[i] = 7;
	for (uint64_t k = 0; k < LARGE_TASKS; k++) {
		requests[k] = make_dispatch(&rig->front_end->orch, k + 1, FAKE_ANSWER, 0);
		for (size_t i = 0; i < LARGE_TENSORS; i++)
			add_inline(&requests[k], SIMPLER_INOUT, elements, LARGE_ELEMENTS);
		begin_or_elsewhere(rig, &requests[k], &asked[k]);
	}
	for (uint64_t k = 0; k < LARGE_TASKS; k++)
		expect_grown(rig, &requests[k], &asked[k]);
	free(elements);
}

static void large_arguments_and_outputs_go_and_come(void **state)
{
	static const char *const options[] = { "--pool-bytes", "256M", NULL };

	(void)state;
	with_each(go_and_come_back, options);
}

static void one_that_no_batch_holds(struct rig *rig)
{
	int64_t *elements = calloc(1, SIMPLER_INLINE_MAX);
	struct msg_dispatch large = make_dispatch(&rig->front_end->orch, 1, FAKE_ANSWER, 0);
	struct msg_dispatch small = request_of(rig, 2, FAKE_ANSWER);
	struct asked asked;

	if (rig->subject->fake) {
		for (size_t i = 0; i < 20; i++)
			add_inline(&large, SIMPLER_INPUT, elements, LARGE_ELEMENTS);
		asked_init(rig, &asked);
		assert_int_equal(submit(rig->lane, &large, &asked), SIMPLER_EINVAL);
	}
	begin(rig, &small, &asked);
	expect_end(&asked, RPC_OK, RPC_NOTE_NONE);
	free(elements);
}

static void one_that_does_not_fit_is_refused_before_it_is_sent(void **state)
{
	(void)state;
	with_records(one_that_no_batch_holds, NULL);
}

/* --- the end --- */

static void with_dispatches_in_flight(struct rig *rig)
{
	static struct asked asked[MANY];
	static struct msg_dispatch requests[MANY];
	const int64_t credits = rig->subject->mischief.credits == 1 ? 1 : MANY / 2;

	for (uint64_t i = 0; i < MANY; i++) {
		requests[i] = request_of(rig, i + 1, FAKE_HOLD);
		begin(rig, &requests[i], &asked[i]);
	}
	wait_held(rig->front_end, credits);
	rig_close_lane(rig);
	for (uint64_t i = 0; i < MANY; i++)
		expect_cut_off(&asked[i]);
	assert_int_equal(rig->losses, 0); /* whoever closes it knows */
	release_held(rig->front_end);
	for (int64_t i = 0; i < credits; i++)
		assert_int_equal(send_again(rig, &requests[i]), RPC_OK);
	assert_int_equal(runs(rig), credits);
}

static void closing_ends_what_is_in_flight_and_what_waits(void **state)
{
	static const char *const options[] = { "--max-session-tasks", "15", NULL };

	(void)state;
	with_records(with_dispatches_in_flight, options);
}

static void after_its_end(struct rig *rig)
{
	struct msg_dispatch request = request_of(rig, 1, FAKE_ANSWER);
	struct asked asked;

	rig_break(rig);
	asked_init(rig, &asked);
	assert_int_equal(submit(rig->lane, &request, &asked), SIMPLER_EUNAVAILABLE);
	assert_int_equal(runs(rig), 0);
}

static void a_dead_lane_takes_nothing(void **state)
{
	(void)state;
	with_records(after_its_end, NULL);
}

#define THOUSAND 1000

static void a_thousand_in_flight(struct rig *rig)
{
	static struct asked asked[THOUSAND];
	static struct msg_dispatch requests[THOUSAND];
	struct outcome again;
	int64_t held = rig->subject->mischief.credits == 1 ? 1 : THOUSAND;

	for (uint64_t i = 0; i < THOUSAND; i++) {
		requests[i] = request_of(rig, i + 1, FAKE_HOLD);
		begin(rig, &requests[i], &asked[i]);
	}
	wait_held(rig->front_end, held);
	rig_break(rig);
	for (uint64_t i = 0; i < THOUSAND; i++)
		expect_cut_off(&asked[i]);
	outcome_init(&again);
	for (uint64_t i = 0; i < THOUSAND; i++) {
		struct rpc_buffer buffer;

		requests[i].repeated = true;
		assert_int_equal(msg_dispatch_encode(&requests[i], &buffer), SIMPLER_OK);
		rpc_unary(rig->other, MSG_DISPATCH, CLOCK_NEVER, true, &buffer, outcome_done,
		          &again);
	}
	wait_held(rig->front_end, THOUSAND);
	release_held(rig->front_end);
	outcome_wait(&again, &again.ended, THOUSAND);
	assert_int_equal(again.code, RPC_OK);
	outcome_destroy(&again);
	assert_int_equal(runs(rig), THOUSAND);
}

static void a_lane_is_lost_with_a_thousand_dispatches(void **state)
{
	(void)state;
	with_each(a_thousand_in_flight, NULL);
}

static void by_another_of_its_session(struct rig *rig)
{
	struct msg_dispatch request = request_of(rig, 1, FAKE_HOLD);
	struct rpc_channel *channel = session_connect(rig->front_end, SESSION);
	struct rig second = *rig;
	struct asked asked, again;

	begin(rig, &request, &asked);
	wait_held(rig->front_end, 1);
	(void)pthread_mutex_init(&second.lock, NULL);
	(void)pthread_cond_init(&second.changed, NULL);
	second.channel = channel;
	second.opened = false;
	rig_open(&second);
	wait_lost(rig);
	assert_non_null(strstr(rig->why, "another lane"));
	expect_cut_off(&asked);
	request.repeated = true;
	begin(&second, &request, &again);
	wait_taken(rig->front_end);
	release_held(rig->front_end);
	expect_end(&again, RPC_OK, RPC_NOTE_NONE);
	assert_int_equal(second.losses, 0);
	assert_int_equal(runs(rig), 1);
	rig_close_lane(&second);
	rpc_channel_close(channel);
	rig_close_lane(rig);
	fake_lane_await_none();
	rig_destroy(&second);
}

static void a_second_lane_of_a_session_displaces_the_first(void **state)
{
	(void)state;
	with_records(by_another_of_its_session, NULL);
}

static void with_its_session(struct rig *rig)
{
	struct msg_dispatch request = request_of(rig, 1, FAKE_ANSWER);
	struct asked asked;

	begin(rig, &request, &asked);
	expect_end(&asked, RPC_OK, RPC_NOTE_NONE);
	assert_int_equal(lanes_open(rig->front_end), 1);
	session_detach(rig->other);
	wait_lost(rig);
	assert_non_null(strstr(rig->why, "session is over"));
	assert_int_equal(lanes_open(rig->front_end), 0);
}

/* Mappings of a process that are of lanes by shared memory. */
static unsigned lane_mappings(pid_t pid)
{
	char path[64], line[512];
	unsigned count = 0;
	FILE *maps;

	(void)snprintf(path, sizeof(path), "/proc/%ld/maps", (long)pid);
	maps = fopen(path, "r");
	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps))
		count += strstr(line, "simpler-lane") != NULL;
	(void)fclose(maps);
	return count;
}

static void and_leaves_nothing(struct rig *rig)
{
	const struct timespec moment = { 0, CLOCK_MS };
	pid_t daemon = rig->front_end->daemon.pid;

	assert_int_equal(lane_mappings(daemon), rig->hub ? 1 : 0);
	assert_int_equal(lane_mappings(getpid()), rig->hub ? 1 : 0);
	rig_close_lane(rig);
	while (lane_mappings(daemon) + lane_mappings(getpid()) > 0)
		(void)nanosleep(&moment, NULL);
}

static void a_closed_lane_leaves_no_memory_behind(void **state)
{
	(void)state;
	with_records(and_leaves_nothing, NULL);
}

static void a_lane_ends_with_its_session(void **state)
{
	(void)state;
	with_records(with_its_session, NULL);
}

static void without_a_session(struct rig *rig)
{
	struct rig second = *rig;

	(void)pthread_mutex_init(&second.lock, NULL);
	(void)pthread_cond_init(&second.changed, NULL);
	second.session = SESSION + 1;
	second.channel = session_connect(rig->front_end, second.session);
	second.opened = false;
	assert_int_equal(second.subject->open(&second, &second.lane), SIMPLER_OK);
	wait_lost(&second);
	assert_non_null(strstr(second.why, "not attached"));
	assert_false(second.opened);
	rig_close_lane(&second);
	rpc_channel_close(second.channel);
	rig_destroy(&second);
}

static void no_lane_is_opened_without_a_session(void **state)
{
	(void)state;
	with_records(without_a_session, NULL);
}

/* --- one that does wrong --- */

static bool lies_at_once(enum fake_lie lie)
{
	return lie >= FAKE_LANE_NO_HELLO;
}

static void lie_to(struct rig *rig)
{
	const enum fake_lie lie = rig->subject->mischief.lie;
	static struct msg_dispatch requests[FEW];
	static struct asked asked[FEW];
	int64_t told = 0;

	for (uint64_t i = 0; i < FEW; i++) {
		requests[i] = request_of(rig, i + 1, FAKE_ANSWER);
		asked_init(rig, &asked[i]);
		/* It may have died meanwhile, or take nothing any more. */
		if (submit(rig->lane, &requests[i], &asked[i]) != SIMPLER_OK) {
			asked[i].ends = 1;
			asked[i].code = RPC_UNAVAILABLE;
			asked[i].note = RPC_NOTE_NONE;
		}
	}
	wait_lost(rig);
	for (uint64_t i = 0; i < FEW; i++) {
		await(&asked[i]);
		told += asked[i].code == RPC_OK;
		if (asked[i].code != RPC_OK)
			expect_cut_off(&asked[i]);
		forget(&asked[i]);
		assert_int_equal(send_again(rig, &requests[i]), RPC_OK);
	}
	if (lie == FAKE_LANE_TWICE)
		assert_true(told >= 1);
	assert_true(told < FEW);
	assert_int_equal(runs(rig), FEW);
}

static void a_lane_that_does_wrong_is_lost_and_each_task_runs_once(void **state)
{
	(void)state;
	for (enum fake_lie lie = FAKE_LANE_DROPS; lie < FAKE_LANE_LIES; lie++) {
		const struct subject subject = {
			"fake that lies", open_fake, { .lie = lie, .lie_at = 3 }, true, true, false
		};
		struct rig *rig;

		print_message("    %d\n", (int)lie);
		rig = rig_start(&subject, NULL);
		if (lies_at_once(lie)) {
			assert_int_equal(subject.open(rig, &rig->lane), SIMPLER_OK);
			wait_lost(rig);
			assert_false(rig->opened);
		} else {
			rig_open(rig);
			/* A batch each, so that there is a third. */
			for (uint64_t i = 0; i < 2 && lie == FAKE_LANE_DROPS; i++) {
				struct msg_dispatch request = request_of(rig, 100 + i, FAKE_FAIL);
				struct asked asked;

				begin(rig, &request, &asked);
				expect_end(&asked, RPC_OK, RPC_NOTE_NONE);
			}
			lie_to(rig);
		}
		rig_stop(rig);
	}
}

static void look_for_fabric(void)
{
	struct fabric *fabric;

	has_fabric = fabric_open(&loopback, &fabric) == SIMPLER_OK;
	if (has_fabric)
		fabric_close(fabric);
}

/* A name, or a pattern of it, is that of the tests to run. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_dispatches_end_the_same_way),
		cmocka_unit_test(a_record_without_a_task_id_is_refused),
		cmocka_unit_test(a_full_node_says_so),
		cmocka_unit_test(a_node_that_drains_refuses_and_ends_with_the_lane_open),
		cmocka_unit_test(what_a_node_that_ends_has_not_answered_has_not_run),
		cmocka_unit_test(R05_what_a_dead_lane_had_in_flight_is_sent_again_and_runs_once),
		cmocka_unit_test(a_task_that_has_ended_is_answered_and_not_run),
		cmocka_unit_test(of_two_at_once_one_runs_and_the_earlier_one_hears_of_it),
		cmocka_unit_test(the_node_stops_a_late_task_by_itself),
		cmocka_unit_test(a_dispatch_cancelled_early_is_not_sent),
		cmocka_unit_test(a_dispatch_is_cancelled_and_its_task_stopped),
		cmocka_unit_test(a_dispatch_that_waits_for_a_credit_is_taken_back),
		cmocka_unit_test(a_dispatch_cancelled_at_any_moment_ends_once),
		cmocka_unit_test(no_more_are_in_flight_than_there_are_credits),
		cmocka_unit_test(what_waits_for_a_credit_keeps_its_order),
		cmocka_unit_test(waiting_for_a_credit_is_part_of_a_tasks_time),
		cmocka_unit_test(a_lone_dispatch_is_a_batch),
		cmocka_unit_test(what_gathers_behind_a_batch_is_the_next),
		cmocka_unit_test(what_done_submits_is_one_batch),
		cmocka_unit_test(done_may_submit_the_next_one),
		cmocka_unit_test(
			R14_every_lane_updates_a_handle_in_place_and_copies_bytes_in_and_out),
		cmocka_unit_test(large_arguments_and_outputs_go_and_come),
		cmocka_unit_test(one_that_does_not_fit_is_refused_before_it_is_sent),
		cmocka_unit_test(closing_ends_what_is_in_flight_and_what_waits),
		cmocka_unit_test(a_dead_lane_takes_nothing),
		cmocka_unit_test(a_lane_is_lost_with_a_thousand_dispatches),
		cmocka_unit_test(a_second_lane_of_a_session_displaces_the_first),
		cmocka_unit_test(a_closed_lane_leaves_no_memory_behind),
		cmocka_unit_test(a_lane_ends_with_its_session),
		cmocka_unit_test(no_lane_is_opened_without_a_session),
		cmocka_unit_test(a_lane_that_does_wrong_is_lost_and_each_task_runs_once),
	};
	int failed;

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	look_for_fabric();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	if (failed != 0 || has_fabric)
		return failed;
	(void)fprintf(stderr, "skipped, but for the other lanes: no fabric here\n");
	return 77;
}
