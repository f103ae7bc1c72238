/*
 * An engine, and a trial of modules, that runs nothing and does what it is told, so that a test
 * decides when which outcome comes, and what nonsense with it. It speaks node/engine_link.h; see
 * fake_engine.h for commands.
 *
 * Four threads: requests, control (main), SIGUSR1, and vitals. One lock guards what they share.
 */
#include "fake_engine.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "ipc/bulletin.h"
#include "ipc/install.h"
#include "ipc/load_process.h"
#include "ipc/ring.h"
#include "node/engine_link.h"
#include "os/memory.h"
#include "os/socket.h"
#include "wire/record.h"
#include "wire/vitals.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards all but `requests` */
static struct ring requests, outcomes;
static uint8_t *arena, *rings;
static uint64_t arena_bytes;
static struct record_task held[ENGINE_MAX_IN_FLIGHT];
static size_t held_count;
static int64_t installs;
static int64_t stops[3];   /* as FAKE_STOPS tells */
static int64_t forgets[2]; /* as FAKE_FORGETS does */
static _Atomic bool control_given_up;
static struct bulletin *bulletin;
static _Atomic int vitals; /* enum fake_vitals */

static void push_outcome(const struct record_outcome *outcome)
{
	const struct timespec moment = { 0, 100000 };
	uint8_t bytes[RECORD_OUTCOME_MAX];

	while (ring_push(&outcomes, bytes, record_outcome_encode(outcome, bytes, sizeof(bytes))) ==
	       SIMPLER_ENOSPACE)
		(void)nanosleep(&moment, NULL);
}

static void fill(const struct record_tensor *tensor)
{
	int64_t *elements = (int64_t *)(void *)(arena + tensor->offset);
	int64_t old = tensor->nbytes ? elements[0] : 0;
	const int64_t told[] = { getpid(), installs, old, (int64_t)held_count };

	for (uint64_t i = 0; i < tensor->nbytes / sizeof(*elements); i++) {
		if (tensor->tag == SIMPLER_INOUT)
			elements[i]++;
		else
			elements[i] = i < 4 ? told[i] : 42;
	}
}

static void answer(const struct record_task *task)
{
	struct record_outcome outcome = { .token = task->token };

	for (uint32_t i = 0; i < task->tensor_count; i++) {
		const struct record_tensor *tensor = &task->tensors[i];
		bool output = tensor->tag == SIMPLER_OUTPUT || tensor->tag == SIMPLER_INOUT ||
		              tensor->tag == SIMPLER_OUTPUT_EXISTING;

		if (output && tensor->dtype == SIMPLER_INT64 && tensor->offset <= arena_bytes &&
		    tensor->nbytes <= arena_bytes - tensor->offset)
			fill(tensor);
	}
	push_outcome(&outcome);
}

static void release(void)
{
	while (held_count > 0)
		answer(&held[--held_count]);
}

static void fail(const struct record_task *task)
{
	struct record_outcome outcome = { .token = task->token };

	error_init(&outcome.error, (simpler_status)(SIMPLER_USER_STATUS + 7), "the cause");
	error_add(&outcome.error, "the inner step");
	error_add(&outcome.error, "the outer step");
	push_outcome(&outcome);
}

/* Fill the first output, and answer. */
static void tell(const struct record_task *task, const int64_t *values, size_t count)
{
	struct record_outcome outcome = { .token = task->token };

	memcpy(arena + task->tensors[0].offset, values, count * sizeof(values[0]));
	push_outcome(&outcome);
}

static uint64_t scalar(const struct record_task *task, uint32_t index)
{
	return task->scalar_count > index ? task->scalars[index] : 0;
}

static void stop(uint64_t token)
{
	size_t i = 0;

	while (i < held_count && held[i].token != token)
		i++;
	if (i == held_count) {
		stops[2]++;
		return;
	}
	stops[0]++;
	stops[1] = (int64_t)scalar(&held[i], 1);
	if (scalar(&held[i], 0) != FAKE_HOLD_STOPPABLE)
		return;
	fail(&held[i]);
	held[i] = held[--held_count];
}

static void send_outcome(uint64_t token, simpler_status status)
{
	struct record_outcome outcome = { .token = token };
	uint8_t bytes[RECORD_OUTCOME_MAX];

	if (status != SIMPLER_OK)
		error_init(&outcome.error, status, "the fake engine was told to refuse");
	(void)socket_send(ENGINE_CONTROL_FD, bytes,
	                  record_outcome_encode(&outcome, bytes, sizeof(bytes)), NULL, 0);
}

/* Everything before the records: doorbells and positions. */
static void overwrite_rings(int byte)
{
	const size_t ring = ring_bytes(ENGINE_RING_BYTES), head = ring - ENGINE_RING_BYTES;

	memset(rings, byte, head);
	memset(rings + ring, byte, head);
}

static void talk_nonsense(enum fake_command command, const struct record_task *task)
{
	struct record_outcome outcome = { .token = ~UINT64_C(0) };

	switch (command) {
	case FAKE_BAD_RECORD:
		(void)ring_push(&outcomes, "garbage", 7);
		break;
	case FAKE_BAD_TOKEN:
		push_outcome(&outcome);
		break;
	case FAKE_TWICE:
		answer(task);
		answer(task);
		break;
	case FAKE_NO_BELLS:
		overwrite_rings(0);
		_exit(3);
	case FAKE_BAD_POSITION:
		overwrite_rings(0xa5);
		doorbell_ring_all(&ring_bells(&outcomes)->resident);
		break;
	case FAKE_BAD_CONTROL:
		(void)socket_send(ENGINE_CONTROL_FD, "garbage", 7, NULL, 0);
		break;
	case FAKE_UNASKED_INSTALL:
		send_outcome(4711, SIMPLER_OK);
		break;
	default:
		control_given_up = true;
		(void)shutdown(ENGINE_CONTROL_FD, SHUT_RDWR);
	}
}

static struct vitals_workers make_workers(uint32_t alive, uint32_t restarting)
{
	return (struct vitals_workers){ .count = 2,
		                        .idle = alive,
		                        .restarting = restarting,
		                        .dead = 2 - alive - restarting,
		                        .queued = 3,
		                        .deaths = 5 };
}

static struct vitals make_vitals(enum fake_vitals like)
{
	struct vitals made = { .subs = make_workers(2, 0), .chips = make_workers(2, 0), .runs = 7 };

	if (like == FAKE_SUBS_RESTARTING)
		made.subs = make_workers(0, 2);
	if (like == FAKE_CHIPS_DEAD)
		made.chips = make_workers(0, 0);
	if (like == FAKE_ONE_ALIVE)
		made.subs = made.chips = make_workers(1, 0);
	made.helper_stopped = like == FAKE_HELPER_STOPPED;
	made.chips_shut = like == FAKE_DEVICES_SHUT ? 2 : like == FAKE_ONE_DEVICE_SHUT;
	if (made.chips_shut > 0)
		memcpy(made.device_error, "no such device", sizeof("no such device"));
	return made;
}

static void publish(enum fake_vitals like)
{
	uint8_t bytes[BULLETIN_BYTES] = { 0 };
	struct vitals made = make_vitals(like);

	if (like == FAKE_VITAL_NONSENSE)
		bulletin_publish(bulletin, bytes, 3);
	else if (like != FAKE_SILENCE)
		bulletin_publish(bulletin, bytes, vitals_encode(&made, bytes, sizeof(bytes)));
}

static void *vitals_main(void *argument)
{
	const struct timespec beat = { 0, ENGINE_BEAT_MS * CLOCK_MS };

	(void)argument;
	for (;;) {
		publish((enum fake_vitals)atomic_load(&vitals));
		(void)nanosleep(&beat, NULL);
	}
	return NULL;
}

static void obey(const struct record_task *task)
{
	enum fake_command command = (enum fake_command)scalar(task, 0);
	int value = (int)scalar(task, 1);

	switch (command) {
	case FAKE_ANSWER:
		answer(task);
		break;
	case FAKE_FAIL:
		fail(task);
		break;
	case FAKE_STOPS:
		tell(task, stops, 3);
		break;
	case FAKE_FORGETS:
		tell(task, forgets, 2);
		break;
	case FAKE_HOLD:
	case FAKE_HOLD_STOPPABLE:
		held[held_count++] = *task;
		break;
	case FAKE_RELEASE:
		release();
		answer(task);
		break;
	case FAKE_VITALS:
		atomic_store(&vitals, value);
		answer(task);
		break;
	case FAKE_EXIT:
		_exit(value);
	case FAKE_RAISE:
		(void)signal(value, SIG_DFL); /* a sanitizer may have taken it */
		(void)raise(value);
		break;
	default:
		talk_nonsense(command, task);
	}
}

static void take(const uint8_t *bytes, size_t size)
{
	struct record_task task;
	struct record_stop order;
	struct record_forget forget;

	if (record_kind_of(bytes, size) == RECORD_FORGET &&
	    record_forget_decode(bytes, size, &forget) == SIMPLER_OK) {
		forgets[0]++;
		forgets[1] = (int64_t)forget.callable;
	} else if (record_kind_of(bytes, size) == RECORD_STOP &&
	           record_stop_decode(bytes, size, &order) == SIMPLER_OK) {
		stop(order.token);
	} else if (record_task_decode(bytes, size, &task) == SIMPLER_OK) {
		obey(&task);
	} else {
		_exit(99);
	}
}

static void *requests_main(void *argument)
{
	struct doorbell *bell = &ring_bells(&requests)->resident;
	struct spin_budget spin = { 0 };
	uint8_t bytes[RECORD_TASK_MAX];
	size_t size;

	(void)argument;
	for (;;) {
		uint32_t ticket = doorbell_ticket(bell);

		if (ring_pop(&requests, bytes, sizeof(bytes), &size) != SIMPLER_OK)
			pause();
		if (size == 0) {
			(void)doorbell_wait(bell, ticket, &spin, CLOCK_NEVER);
			continue;
		}
		pthread_mutex_lock(&lock);
		take(bytes, size);
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

static void *signals_main(void *argument)
{
	const sigset_t *set = argument;
	int number;

	while (sigwait(set, &number) == 0) {
		pthread_mutex_lock(&lock);
		release();
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

static bool is_told(const struct record_install *install, const char *what)
{
	return install->state_size == strlen(what) &&
	       memcmp(install->state, what, install->state_size) == 0;
}

static void take_install(const struct record_install *install)
{
	simpler_status status;

	if (is_told(install, FAKE_STATE_DIE))
		_exit(5);
	if (is_told(install, FAKE_STATE_STOP))
		(void)raise(SIGSTOP);
	while (is_told(install, FAKE_STATE_HANG))
		pause();
	status = is_told(install, FAKE_STATE_REFUSE) ? SIMPLER_EINVAL : SIMPLER_OK;
	pthread_mutex_lock(&lock);
	installs++;
	send_outcome(install->callable, status);
	pthread_mutex_unlock(&lock);
}

static void serve_control(void)
{
	static uint8_t buffer[RECORD_INSTALL_MAX];
	struct control_message message;

	while (control_receive(ENGINE_CONTROL_FD, buffer, &message) == SIMPLER_OK) {
		if (message.fd >= 0)
			(void)close(message.fd);
		if (message.kind == RECORD_INSTALL)
			take_install(&message.install);
	}
}

static void attach(int count, char **arguments)
{
	void *memory;

	for (int i = 0; i + 1 < count; i++) {
		if (strcmp(arguments[i], "--arena-bytes") == 0)
			arena_bytes = strtoull(arguments[i + 1], NULL, 10);
	}
	if (memory_map(ENGINE_ARENA_FD, arena_bytes, &memory) != SIMPLER_OK)
		_exit(98);
	arena = memory;
	if (memory_map(ENGINE_RINGS_FD, engine_memory_bytes(), &memory) != SIMPLER_OK)
		_exit(97);
	rings = memory;
	ring_attach(&requests, rings, ENGINE_RING_BYTES);
	ring_attach(&outcomes, rings + ring_bytes(ENGINE_RING_BYTES), ENGINE_RING_BYTES);
	bulletin = (struct bulletin *)(void *)(rings + engine_bulletin_at());
}

static void start_threads(void)
{
	static sigset_t set;
	pthread_t thread;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (pthread_create(&thread, NULL, requests_main, NULL) != 0 ||
	    pthread_create(&thread, NULL, vitals_main, NULL) != 0 ||
	    pthread_create(&thread, NULL, signals_main, &set) != 0)
		_exit(96);
}

static void count_trial(void)
{
	const char *path = getenv(FAKE_TRIALS);
	FILE *file = path ? fopen(path, "a") : NULL;

	if (file && (fputc('t', file) == EOF || fclose(file) != 0))
		_exit(95);
}

static _Noreturn void try_module(void)
{
	const char *told = getenv(FAKE_TRIAL) ? getenv(FAKE_TRIAL) : "";
	char byte;

	count_trial();
	while (strcmp(told, FAKE_TRIAL_STUCK) == 0)
		pause();
	if (strcmp(told, FAKE_TRIAL_WAIT) == 0)
		(void)read(LOAD_CONTROL_FD, &byte, 1);
	else if (strcmp(told, FAKE_TRIAL_DIE) == 0)
		_exit(6);
	else if (strcmp(told, FAKE_TRIAL_GARBAGE) == 0)
		(void)socket_send(LOAD_CONTROL_FD, "garbage", 7, NULL, 0);
	else
		send_outcome(1, strcmp(told, FAKE_TRIAL_REFUSE) == 0 ? SIMPLER_EINVAL : SIMPLER_OK);
	_exit(0);
}

int main(int argc, char **argv)
{
	const char *start = getenv(FAKE_START);

	if (argc > 1 && strcmp(argv[1], "load") == 0)
		try_module();
	if (argc < 2 || strcmp(argv[1], "engine") != 0)
		return 2;
	attach(argc, argv);
	start_threads();
	if (start && strcmp(start, FAKE_START_EXIT) == 0)
		_exit(3);
	send_outcome(0,
	             start && strcmp(start, FAKE_START_REFUSE) == 0 ? SIMPLER_ESYSTEM : SIMPLER_OK);
	serve_control();
	/* The front end has to see to the end of one that gave up control. */
	if (control_given_up)
		pause();
	for (int i = 2; i + 1 < argc; i++) {
		if (strcmp(argv[i], "--unlink") == 0)
			(void)unlink(argv[i + 1]);
	}
	_exit(0);
}
