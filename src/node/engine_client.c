/*
 * Threads: any number submit; one takes outcomes off the ring of the engine of the day; the
 * supervisor does the rest. Each engine has its own rings and its own outcome thread, which is
 * joined before the rings go.
 *
 * A thread that submits the only request in flight stays for as long as a short task takes and
 * takes the outcome itself, as the visitor of the ring's bells (ipc/doorbell_pair.h): that saves
 * the outcome thread's wake-up. How long adapts to whether it has paid. The ring is taken from
 * under `pop_lock`, so both may look.
 *
 * A task is told to stop by a record on the ring of requests, behind the task's own. While that
 * ring is full the supervisor tries again. How long the engine may take then is the supervisor's to
 * see to, as is all that an engine has to do in time.
 *
 * Each ENGINE_BEAT_MS the supervisor looks whether the engine has published its vitals anew. One
 * that has not for ENGINE_SILENT_MS does not answer, until it does again; that it is alive its
 * pidfd says.
 *
 * A death in order: no more submits (DOWN); the processes are killed and reaped, so that nobody
 * writes to the arena any more; the outcome thread takes what the engine had still answered, and is
 * joined; the rest is lost and told so. Only then may storage that those tasks used be freed, which
 * is what their callbacks do.
 */
#include "node/engine_client.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "node/engine_link.h"
#include "node/engine_memory.h"
#include "node/engine_watch.h"
#include "node/in_flight.h"
#include "node/installer.h"
#include "os/descriptor.h"
#include "os/events.h"
#include "os/process.h"
#include "os/socket.h"

#define UP_MS        30000 /* for the workers to be up */
#define LONG_LIFE_MS 10000 /* one that lived as long did not die of its start */
/* The first in a row is replaced at once, the next so much later, then twice as much each time. */
#define FIRST_BACKOFF_MS   100
#define LONGEST_BACKOFF_MS 5000
/* How long the outcome thread sleeps without a ring. */
#define LOOK_AT_OUTCOMES_MS 1000
/* Between two attempts to tell it of a stop. */
#define SEND_AGAIN_MS 5
/* Of the end of memory, which nobody waits for. */
#define TELL_AGAIN_MS 1000

struct engine_client {
	const struct engine_options *options;
	struct installer installer;
	struct in_flight in_flight;

	_Atomic int state;         /* written by the supervisor, under `push_lock` */
	pthread_mutex_t push_lock; /* guards the ring of requests, `bytes` and `reason` */
	uint8_t bytes[RECORD_TASK_MAX];

	pthread_mutex_t pop_lock; /* the consumer's end of the ring of outcomes */
	/* Only tried, but by the supervisor before the rings go. Guards `visit_budget`. */
	pthread_mutex_t visit_lock;
	struct spin_budget visit_budget;

	pthread_mutex_t memory_lock; /* guards: */
	struct engine_memory memory;
	int told; /* the socket of an engine that knows what there was; -1: there is none */

	/* The supervisor's own. */
	struct engine_process process;
	pthread_t outcome_thread;
	int64_t started; /* when this engine was */
	uint64_t backoff_ms;
	bool ever_ready;
	uint64_t forgetting; /* the key that the engine is to be told next to forget; 0: none */
	struct engine_watch watch; /* which others may ask */

	_Atomic bool stop_outcomes;
	_Atomic bool nonsense;             /* the engine is killed for what it sent */
	char reason[ERROR_STEP_BYTES / 4]; /* written before `nonsense`, under `push_lock` */
};

const char *engine_state_name(enum engine_state state)
{
	static const char *const names[] = { "restarting", "starting", "installing", "ready" };

	return names[state];
}

enum engine_state engine_client_state(struct engine_client *client)
{
	return (enum engine_state)atomic_load_explicit(&client->state, memory_order_acquire);
}

/* A submit sees the state under the same lock, so that after a move to DOWN nothing is pushed. */
static void move(struct engine_client *client, enum engine_state to)
{
	pthread_mutex_lock(&client->push_lock);
	atomic_store_explicit(&client->state, (int)to, memory_order_release);
	engine_watch_moved(&client->watch);
	pthread_mutex_unlock(&client->push_lock);
}

void engine_client_report(struct engine_client *client, struct engine_report *out)
{
	engine_watch_report(&client->watch, engine_client_state(client),
	                    atomic_load(&client->in_flight.taken), out);
}

/* --- requests --- */

static simpler_status not_ready(enum engine_state state)
{
	return error_raise(SIMPLER_EUNAVAILABLE, "the node's engine is %s; try again",
	                   engine_state_name(state));
}

/* The lock is held. */
static simpler_status push(struct engine_client *client, const struct record_task *task)
{
	enum engine_state state = engine_client_state(client);
	size_t size;

	if (state != ENGINE_READY)
		return not_ready(state);
	size = record_task_encode(task, client->bytes, sizeof(client->bytes));
	return ring_push(&client->process.requests, client->bytes, size);
}

simpler_status engine_client_install(struct engine_client *client, uint64_t key, engine_done *done,
                                     void *context)
{
	return installer_wait(&client->installer, key, done, context);
}

/* --- outcomes --- */

/* What the engine sent makes no sense. Its end, which the supervisor sees, does the rest. */
static void kill_for_nonsense(struct engine_client *client)
{
	const char *cause = simpler_last_error_step(0);

	pthread_mutex_lock(&client->push_lock);
	if (!atomic_load(&client->nonsense))
		(void)snprintf(client->reason, sizeof(client->reason), "%s", cause ? cause : "");
	atomic_store(&client->nonsense, true);
	pthread_mutex_unlock(&client->push_lock);
	process_signal(client->process.pidfd, SIGKILL);
}

/* False when there is none now, or it was nonsense. */
static bool take_outcome(struct engine_client *client)
{
	uint8_t bytes[RECORD_OUTCOME_MAX];
	struct record_outcome outcome;
	engine_done *done;
	simpler_status status;
	void *context;
	size_t size;

	pthread_mutex_lock(&client->pop_lock);
	status = ring_pop(&client->process.outcomes, bytes, sizeof(bytes), &size);
	pthread_mutex_unlock(&client->pop_lock);
	if (status == SIMPLER_OK && size == 0)
		return false;
	if (status == SIMPLER_OK)
		status = record_outcome_decode(bytes, size, &outcome);
	if (status == SIMPLER_OK &&
	    !in_flight_complete(&client->in_flight, outcome.token, &done, &context))
		status = error_raise(SIMPLER_EPROTOCOL, "an outcome names no task in flight");
	if (status != SIMPLER_OK) {
		kill_for_nonsense(client);
		return false;
	}
	done(context, false, &outcome.error);
	return true;
}

static simpler_status push_task(struct engine_client *client, const struct record_task *task)
{
	simpler_status status;

	pthread_mutex_lock(&client->push_lock);
	status = push(client, task);
	pthread_mutex_unlock(&client->push_lock);
	if (status != SIMPLER_EPROTOCOL)
		return status;
	kill_for_nonsense(client);
	return error_raise(SIMPLER_EUNAVAILABLE,
	                   "the node's engine failed and is being restarted; try again");
}

/* --- stops --- */

static simpler_status push_stop(struct engine_client *client, uint64_t token)
{
	const struct record_stop stop = { .token = token };
	uint8_t bytes[RECORD_STOP_MAX];
	size_t size = record_stop_encode(&stop, bytes, sizeof(bytes));
	simpler_status status = SIMPLER_OK;

	pthread_mutex_lock(&client->push_lock);
	/* An engine that is not there any more answers for nothing. */
	if (engine_client_state(client) == ENGINE_READY)
		status = ring_push(&client->process.requests, bytes, size);
	pthread_mutex_unlock(&client->push_lock);
	return status;
}

/* --- what is gone --- */

/* False when the ring is full. */
static bool push_forget(struct engine_client *client, uint64_t key)
{
	const struct record_forget forget = { .callable = key };
	uint8_t bytes[RECORD_FORGET_MAX];
	size_t size = record_forget_encode(&forget, bytes, sizeof(bytes));
	simpler_status status;

	pthread_mutex_lock(&client->push_lock);
	status = ring_push(&client->process.requests, bytes, size);
	pthread_mutex_unlock(&client->push_lock);
	if (status == SIMPLER_EPROTOCOL)
		kill_for_nonsense(client);
	return status != SIMPLER_ENOSPACE;
}

/* Have the engine forget what the catalog has not any more. One that is not ready may be in the
 * middle of being given it. */
static void send_forgets(struct engine_client *client)
{
	struct catalog *catalog = client->installer.catalog;

	if (engine_client_state(client) != ENGINE_READY || atomic_load(&client->nonsense))
		return;
	while (client->forgetting != 0 || catalog_take_gone(catalog, &client->forgetting)) {
		if (!push_forget(client, client->forgetting))
			return;
		client->forgetting = 0;
	}
}

/* False when there are some left, as the ring is full. */
static bool send_stops(struct engine_client *client)
{
	uint64_t token;

	while (in_flight_next_stop(&client->in_flight, &token)) {
		simpler_status status = push_stop(client, token);

		if (status == SIMPLER_ENOSPACE) {
			in_flight_unsent(&client->in_flight, token);
			return false;
		}
		if (status != SIMPLER_OK)
			kill_for_nonsense(client);
	}
	return true;
}

void engine_client_cancel(struct engine_client *client, uint64_t token)
{
	int64_t due = clock_after_ms(engine_stop_ms(client->options));

	if (!in_flight_stop(&client->in_flight, token, due))
		return;
	(void)send_stops(client);
	events_wake(client->options->wakeup);
}

/* --- staying for the outcome --- */

/* Before the push, so that the outcome rings for the visitor. */
static bool begin_visit(struct engine_client *client)
{
	if (atomic_load_explicit(&client->in_flight.taken, memory_order_relaxed) != 1 ||
	    pthread_mutex_trylock(&client->visit_lock) != 0)
		return false;
	if (engine_client_state(client) == ENGINE_READY) {
		doorbell_pair_enter(ring_bells(&client->process.outcomes));
		return true;
	}
	pthread_mutex_unlock(&client->visit_lock);
	return false;
}

static void visit(struct engine_client *client, bool pushed)
{
	struct doorbell_pair *bells = ring_bells(&client->process.outcomes);
	uint32_t ticket = doorbell_ticket(&bells->visitor);

	if (pushed && !take_outcome(client))
		(void)doorbell_linger(&bells->visitor, ticket, &client->visit_budget);
	doorbell_pair_leave(bells);
	while (take_outcome(client))
		continue;
	pthread_mutex_unlock(&client->visit_lock);
}

simpler_status engine_client_submit(struct engine_client *client, struct record_task *task,
                                    bool may_stay, engine_done *done, void *context)
{
	uint64_t token;
	simpler_status status =
		in_flight_take(&client->in_flight, task->callable, done, context, &token);
	bool visiting;

	if (status != SIMPLER_OK)
		return status;
	task->token = token;
	visiting = may_stay && begin_visit(client);
	status = push_task(client, task);
	if (visiting)
		visit(client, status == SIMPLER_OK);
	if (status == SIMPLER_OK)
		return SIMPLER_OK;
	/* The supervisor, failing what a dead engine left, may have come first: then `done` has
	 * been called, and the caller has nothing more to do. */
	return in_flight_complete(&client->in_flight, token, &done, &context) ? status : SIMPLER_OK;
}

static void *outcome_main(void *argument)
{
	struct engine_client *client = argument;
	struct doorbell *bell = &ring_bells(&client->process.outcomes)->resident;
	struct spin_budget spin = { 0 };

	for (;;) {
		uint32_t ticket = doorbell_ticket(bell);

		if (take_outcome(client))
			continue;
		if (atomic_load(&client->nonsense) || atomic_load(&client->stop_outcomes))
			return NULL;
		/* With an end: an engine that overwrites the bell may take itself out of reach of
		 * any ring, even stop_outcomes()'s. */
		(void)doorbell_wait(bell, ticket, &spin, clock_after_ms(LOOK_AT_OUTCOMES_MS));
	}
}

static simpler_status start_outcomes(struct engine_client *client)
{
	int failure;

	atomic_store(&client->stop_outcomes, false);
	atomic_store(&client->nonsense, false);
	failure = pthread_create(&client->outcome_thread, NULL, outcome_main, client);
	if (failure != 0)
		return error_raise_errno(SIMPLER_ESYSTEM, failure,
		                         "cannot start the thread that takes outcomes");
	return SIMPLER_OK;
}

/* It takes what is there first. */
static void stop_outcomes(struct engine_client *client)
{
	atomic_store(&client->stop_outcomes, true);
	doorbell_ring_all(&ring_bells(&client->process.outcomes)->resident);
	(void)pthread_join(client->outcome_thread, NULL);
}

/* --- death --- */

static void describe_end(struct engine_client *client, int wait_status)
{
	char how[128], text[ENGINE_END_MAX];

	process_describe_exit(wait_status, how, sizeof(how));
	if (atomic_load(&client->nonsense))
		(void)snprintf(text, sizeof(text), "the node's engine failed and was stopped: %s",
		               client->reason);
	else
		(void)snprintf(text, sizeof(text), "the node's engine %s", how);
	engine_watch_ended(&client->watch, text);
}

static void fail_lost(struct engine_client *client)
{
	struct error error;
	engine_done *done;
	void *context;

	error_init(&error, SIMPLER_EUNAVAILABLE, "%s", client->watch.report.last_end);
	installer_end(&client->installer, &error);
	while (in_flight_complete_any(&client->in_flight, &done, &context))
		done(context, true, &error);
}

static void bury(struct engine_client *client)
{
	int wait_status;

	move(client, ENGINE_DOWN);
	pthread_mutex_lock(&client->memory_lock);
	client->told = -1;
	pthread_mutex_unlock(&client->memory_lock);
	installer_stop(&client->installer);
	engine_process_end(&client->process, &wait_status);
	stop_outcomes(client);
	describe_end(client, wait_status);
	fail_lost(client);
	/* A visitor may be at the rings still. */
	pthread_mutex_lock(&client->visit_lock);
	engine_process_release(&client->process);
	pthread_mutex_unlock(&client->visit_lock);
}

static void schedule_restart(struct engine_client *client)
{
	const struct engine_report *report = &client->watch.report;
	bool young = clock_now() - client->started < LONG_LIFE_MS * CLOCK_MS;

	if (!young)
		client->backoff_ms = 0;
	engine_watch_retry(&client->watch, clock_after_ms(client->backoff_ms),
	                   young ? report->young_deaths + 1 : 0);
	/* Whether a first one is followed by others is the caller's to say. */
	if (client->ever_ready)
		simpler_log(SIMPLER_LOG_ERROR, "%s; a new one starts in %llu ms", report->last_end,
		            (unsigned long long)client->backoff_ms);
	client->backoff_ms = client->backoff_ms > 0 ? 2 * client->backoff_ms : FIRST_BACKOFF_MS;
	if (client->backoff_ms > LONGEST_BACKOFF_MS)
		client->backoff_ms = LONGEST_BACKOFF_MS;
}

/* --- birth --- */

simpler_status engine_client_start(struct engine_client *client)
{
	simpler_status status = engine_process_start(client->options, &client->process);
	int wait_status;

	client->started = clock_now();
	if (status != SIMPLER_OK)
		return status;
	status = start_outcomes(client);
	if (status != SIMPLER_OK) {
		engine_process_end(&client->process, &wait_status);
		engine_process_release(&client->process);
		return status;
	}
	engine_watch_born(&client->watch, client->process.pid);
	move(client, ENGINE_STARTING);
	return SIMPLER_OK;
}

static void restart(struct engine_client *client)
{
	char text[ENGINE_END_MAX];

	engine_watch_restarted(&client->watch);
	if (engine_client_start(client) == SIMPLER_OK)
		return;
	(void)snprintf(text, sizeof(text), "the node's engine could not be started: %s",
	               simpler_last_error_step(0));
	engine_watch_ended(&client->watch, text);
	schedule_restart(client);
}

/* --- control --- */

static void became_ready_if_complete(struct engine_client *client)
{
	if (engine_client_state(client) == ENGINE_READY ||
	    !installer_is_complete(&client->installer))
		return;
	client->ever_ready = true;
	move(client, ENGINE_READY);
	simpler_log(SIMPLER_LOG_INFO, "the engine is ready (pid %ld)", (long)client->process.pid);
}

static simpler_status begin_memory(struct engine_client *client)
{
	simpler_status status;

	pthread_mutex_lock(&client->memory_lock);
	status = engine_memory_begin(&client->memory, client->process.control);
	if (status == SIMPLER_OK)
		client->told = client->process.control;
	pthread_mutex_unlock(&client->memory_lock);
	return status;
}

static simpler_status came_up(struct engine_client *client, const struct error *error)
{
	const char *cause = error_step(error, 0);

	if (engine_client_state(client) != ENGINE_STARTING)
		return error_raise(SIMPLER_EPROTOCOL, "it says twice that it is up");
	if (error->status != SIMPLER_OK)
		return error_raise(error->status, "it does not start: %s", cause ? cause : "");
	if (begin_memory(client) != SIMPLER_OK)
		return simpler_last_status();
	engine_watch_up(&client->watch, client->process.bulletin, clock_now());
	move(client, ENGINE_INSTALLING);
	installer_begin(&client->installer, client->process.control);
	became_ready_if_complete(client);
	return SIMPLER_OK;
}

static simpler_status handle_answer(struct engine_client *client, const uint8_t *bytes, size_t size)
{
	struct record_outcome outcome;
	simpler_status status = record_outcome_decode(bytes, size, &outcome);

	if (status != SIMPLER_OK)
		return status;
	if (outcome.token == 0)
		return came_up(client, &outcome.error);
	status = installer_answer(&client->installer, outcome.token, &outcome.error);
	if (status == SIMPLER_OK)
		became_ready_if_complete(client);
	return status;
}

static void read_control(struct engine_client *client)
{
	uint8_t bytes[RECORD_OUTCOME_MAX];
	size_t size, fd_count;
	simpler_status status;

	status = socket_receive(client->process.control, bytes, sizeof(bytes), &size, NULL, 0,
	                        &fd_count);
	/* At end of file it is dying, and is helped with that. */
	if (status == SIMPLER_EUNAVAILABLE) {
		process_signal(client->process.pidfd, SIGKILL);
		return;
	}
	if (status == SIMPLER_OK)
		status = handle_answer(client, bytes, size);
	if (status != SIMPLER_OK)
		kill_for_nonsense(client);
}

/* --- the memory of sessions --- */

simpler_status engine_client_share(struct engine_client *client,
                                   const struct record_segment *segment, int fd)
{
	simpler_status status;

	pthread_mutex_lock(&client->memory_lock);
	status = engine_memory_share(&client->memory, client->told, segment, fd);
	pthread_mutex_unlock(&client->memory_lock);
	return status;
}

void engine_client_unshare(struct engine_client *client, uint32_t id)
{
	pthread_mutex_lock(&client->memory_lock);
	engine_memory_end(&client->memory, client->told, id);
	pthread_mutex_unlock(&client->memory_lock);
}

/* Whether all that has ended was told. */
static bool tell_ends(struct engine_client *client)
{
	bool all;

	pthread_mutex_lock(&client->memory_lock);
	all = engine_memory_flush(&client->memory, client->told);
	pthread_mutex_unlock(&client->memory_lock);
	return all;
}

/* --- the supervisor --- */

simpler_status engine_client_create(const struct engine_options *options, struct catalog *catalog,
                                    struct engine_client **out)
{
	struct engine_client *client = calloc(1, sizeof(*client));

	if (!client)
		return error_raise(SIMPLER_ENOMEM, "out of memory for the engine's requests");
	client->options = options;
	installer_init(&client->installer, catalog, options);
	in_flight_init(&client->in_flight);
	(void)pthread_mutex_init(&client->push_lock, NULL);
	(void)pthread_mutex_init(&client->pop_lock, NULL);
	(void)pthread_mutex_init(&client->visit_lock, NULL);
	(void)pthread_mutex_init(&client->memory_lock, NULL);
	client->told = -1;
	engine_watch_init(&client->watch);
	client->visit_budget.most = DOORBELL_ANSWER_SPIN_NS;
	atomic_init(&client->state, ENGINE_DOWN);
	*out = client;
	return SIMPLER_OK;
}

void engine_client_fds(struct engine_client *client, struct pollfd fds[ENGINE_CLIENT_FDS])
{
	bool alive = engine_client_state(client) != ENGINE_DOWN;

	fds[0].fd = alive ? client->process.pidfd : -1;
	fds[1].fd = alive ? client->process.control : -1;
	fds[2].fd = alive ? installer_fd(&client->installer) : -1;
	fds[0].events = fds[1].events = fds[2].events = POLLIN;
}

static simpler_status raise_unstoppable(struct engine_client *client, uint64_t callable)
{
	struct catalog_entry entry;
	bool found = catalog_get(client->installer.catalog, callable, &entry);

	return error_raise(SIMPLER_EDEADLINE,
	                   "orchestration function '%s' had not ended %g s after it was stopped",
	                   found ? entry.payload.name : "?",
	                   (double)engine_stop_ms(client->options) / 1000);
}

/* Whether the engine is late with something, which is raised then; else until when it is not. */
static bool is_late(struct engine_client *client, int64_t *until)
{
	int64_t now = clock_now(), stop_due;
	uint64_t callable = 0;

	if (engine_client_state(client) == ENGINE_STARTING) {
		*until = client->started + UP_MS * CLOCK_MS;
		if (*until <= now)
			(void)error_raise(SIMPLER_EDEADLINE, "its workers were not up within %d s",
			                  UP_MS / 1000);
		return *until <= now;
	}
	*until = installer_due(&client->installer);
	stop_due = in_flight_due(&client->in_flight, &callable);
	if (*until <= now)
		(void)installer_overdue(&client->installer);
	else if (stop_due <= now)
		(void)raise_unstoppable(client, callable);
	if (stop_due < *until)
		*until = stop_due;
	return *until <= now;
}

/* Returns when to listen again. */
static int64_t listen_to_it(struct engine_client *client)
{
	int64_t again;

	if (engine_client_state(client) == ENGINE_STARTING || atomic_load(&client->nonsense))
		return CLOCK_NEVER;
	if (engine_watch_look(&client->watch, client->process.bulletin, clock_now(), &again) ==
	    SIMPLER_OK)
		return again;
	kill_for_nonsense(client);
	return CLOCK_NEVER;
}

/* Kill an engine that is late. Returns when it is. */
static int64_t hold_to_deadlines(struct engine_client *client)
{
	int64_t until;

	if (atomic_load(&client->nonsense))
		return CLOCK_NEVER; /* killed already */
	if (!is_late(client, &until))
		return until;
	kill_for_nonsense(client);
	return CLOCK_NEVER;
}

static int64_t step_alive(struct engine_client *client)
{
	int64_t due, listen, trial_due = CLOCK_NEVER;

	if (descriptor_wait_readable(client->process.pidfd, 0)) {
		bury(client);
		schedule_restart(client);
		return client->watch.report.retry;
	}
	/* A killed one is given nothing more, or what it is given would be blamed for its end. */
	if (!atomic_load(&client->nonsense) && descriptor_wait_readable(client->process.control, 0))
		read_control(client);
	listen = listen_to_it(client);
	if (!atomic_load(&client->nonsense))
		trial_due = installer_advance(&client->installer);
	due = hold_to_deadlines(client);
	if (trial_due < due)
		due = trial_due;
	if (listen < due)
		due = listen;
	send_forgets(client);
	if (!tell_ends(client) && due > clock_after_ms(TELL_AGAIN_MS))
		due = clock_after_ms(TELL_AGAIN_MS);
	if (!send_stops(client) && due > clock_after_ms(SEND_AGAIN_MS))
		due = clock_after_ms(SEND_AGAIN_MS);
	return due;
}

int64_t engine_client_step(struct engine_client *client)
{
	if (engine_client_state(client) != ENGINE_DOWN)
		return step_alive(client);
	if (clock_now() < client->watch.report.retry)
		return client->watch.report.retry;
	restart(client);
	return engine_client_state(client) == ENGINE_DOWN ? client->watch.report.retry
	                                                  : client->started + UP_MS * CLOCK_MS;
}

/* The children that are waited for: an engine, unless it is down, and a trial. */
struct awaited {
	pid_t engine;
	const struct installer *installer;
};

static bool is_awaited(const void *context, pid_t child)
{
	const struct awaited *awaited = context;

	return child == awaited->engine || installer_has(awaited->installer, child);
}

void engine_client_reap(struct engine_client *client)
{
	bool alive = engine_client_state(client) != ENGINE_DOWN;
	const struct awaited awaited = { alive ? client->process.pid : 0, &client->installer };

	process_end_adopted(false, is_awaited, &awaited);
}

void engine_client_stop(struct engine_client *client)
{
	if (engine_client_state(client) != ENGINE_DOWN)
		bury(client);
}

void engine_client_destroy(struct engine_client *client)
{
	if (!client)
		return;
	installer_destroy(&client->installer);
	engine_memory_release(&client->memory);
	in_flight_destroy(&client->in_flight);
	engine_watch_destroy(&client->watch);
	(void)pthread_mutex_destroy(&client->memory_lock);
	(void)pthread_mutex_destroy(&client->visit_lock);
	(void)pthread_mutex_destroy(&client->pop_lock);
	(void)pthread_mutex_destroy(&client->push_lock);
	free(client);
}
