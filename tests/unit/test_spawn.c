/*
 * The spawn helper and its workers, as their owner sees them: real processes, a real module. The
 * program under test is simpler-host, whose path is in SIMPLER_HOST.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "ipc/install.h"
#include "ipc/spawn.h"
#include "ipc/worker_process.h"
#include "module_image.h"
#include "os/descriptor.h"
#include "os/process.h"

#define WORKERS 3
#define ARENA   (UINT64_C(1) << 20)
#define SOON_MS 20000 /* for what happens at once; sanitizers and a loaded machine are slow */

struct owner {
	int shared_fd, arena_fd, module_fd;
	uint64_t shared_bytes;
	struct control_segment *shared;
	uint8_t *arena;
	struct spawn_helper helper;
	struct {
		pid_t pid;
		int control;
		uint32_t generation;
	} workers[WORKERS];
};

static const char *host_program(void)
{
	const char *path = getenv("SIMPLER_HOST");

	assert_non_null(path);
	return path;
}

/* --- the owner's part, in small --- */

static void owner_open(struct owner *owner)
{
	struct spawn_segment segments[2];
	void *base;

	memset(owner, 0, sizeof(*owner));
	owner->shared_bytes = sizeof(struct control_segment) + WORKERS * sizeof(struct worker_area);
	assert_int_equal(memory_create("shared", owner->shared_bytes, &owner->shared_fd), 0);
	assert_int_equal(memory_map(owner->shared_fd, owner->shared_bytes, &base), SIMPLER_OK);
	owner->shared = base;
	assert_int_equal(memory_create("arena", ARENA, &owner->arena_fd), SIMPLER_OK);
	assert_int_equal(memory_map(owner->arena_fd, ARENA, &base), SIMPLER_OK);
	owner->arena = base;
	owner->module_fd = module_image("spawned");
	segments[0] = (struct spawn_segment){ owner->shared_fd, 0, owner->shared_bytes };
	segments[1] = (struct spawn_segment){ owner->arena_fd, 1, ARENA };
	assert_int_equal(spawn_helper_start(host_program(), segments, 2, &owner->helper), 0);
	for (int i = 0; i < WORKERS; i++)
		owner->workers[i].control = -1;
}

static simpler_status try_worker(struct owner *owner, uint32_t index, struct spawned *out)
{
	const struct spawn_order order = { .role = SPAWN_SUB, .index = index, .number = index };

	return spawn_worker(&owner->helper, &order, out);
}

static void note_worker(struct owner *owner, uint32_t index, const struct spawned *spawned)
{
	owner->workers[index].pid = spawned->pid;
	owner->workers[index].control = spawned->control;
	(void)close(spawned->pidfd);
}

static void start_worker(struct owner *owner, uint32_t index)
{
	struct spawned spawned;

	assert_int_equal(try_worker(owner, index, &spawned), SIMPLER_OK);
	note_worker(owner, index, &spawned);
}

/* A real one, with nobody below it. */
static void start_next_level(struct owner *owner, uint32_t index)
{
	static struct tree tree = {
		.count = 1,
		.nodes[0] = { .level = 3, .first_child = 1, .heap_bytes = ARENA, .max_tasks = 8 }
	};
	const struct spawn_order order = { .role = SPAWN_NEXT_LEVEL,
		                           .index = index,
		                           .tree = &tree };
	struct spawned spawned;

	assert_int_equal(spawn_worker(&owner->helper, &order, &spawned), SIMPLER_OK);
	note_worker(owner, index, &spawned);
}

static void owner_close(struct owner *owner)
{
	spawn_helper_stop(&owner->helper);
	for (int i = 0; i < WORKERS; i++) {
		if (owner->workers[i].control >= 0)
			(void)close(owner->workers[i].control);
	}
	memory_unmap(owner->shared, owner->shared_bytes);
	memory_unmap(owner->arena, ARENA);
	(void)close(owner->shared_fd);
	(void)close(owner->arena_fd);
	(void)close(owner->module_fd);
}

static int setup(void **state)
{
	static struct owner owner;

	owner_open(&owner);
	start_worker(&owner, 0);
	*state = &owner;
	return 0;
}

static int teardown(void **state)
{
	owner_close(*state);
	return 0;
}

static void install_as(struct owner *owner, uint32_t index, uint64_t key, const char *name,
                       simpler_kind kind, simpler_bytes state)
{
	struct record_install install = {
		.callable = key,
		.kind = (uint8_t)kind,
		.has_module = true,
		.module_digest = { 1 },
		.state = state.data,
		.state_size = (uint32_t)state.size,
	};

	(void)snprintf(install.name, sizeof(install.name), "%s", name);
	assert_int_equal(install_send(owner->workers[index].control, &install, owner->module_fd),
	                 SIMPLER_OK);
}

static void install(struct owner *owner, uint32_t index, uint64_t key, const char *name)
{
	install_as(owner, index, key, name, SIMPLER_KIND_SUB, simpler_no_state());
}

/* A task with int64 elements at the arena's beginning and these scalars. */
static struct record_task make_task(uint64_t callable, int64_t elements, size_t scalar_count,
                                    const uint64_t *scalars)
{
	struct record_task task;

	memset(&task, 0, sizeof(task));
	task.token = 4711;
	task.callable = callable;
	task.config.block_dim = task.config.aicpu_thread_num = 1;
	if (elements > 0) {
		task.tensor_count = 1;
		task.tensors[0] = (struct record_tensor){ .segment = 1,
			                                  .dtype = SIMPLER_INT64,
			                                  .tag = SIMPLER_INOUT,
			                                  .ndim = 1,
			                                  .nbytes = (uint64_t)elements * 8,
			                                  .shape = { elements } };
	}
	task.scalar_count = (uint32_t)scalar_count;
	for (size_t i = 0; i < scalar_count; i++)
		task.scalars[i] = scalars[i];
	return task;
}

static void post(struct owner *owner, uint32_t index, const struct record_task *task)
{
	struct mailbox *box = &owner->shared->workers[index].box;

	assert_int_equal(mailbox_post(&box->slots[0], owner->workers[index].generation, task),
	                 SIMPLER_OK);
	mailbox_wake(box);
}

struct awaited {
	struct mailbox_slot *slot;
	uint32_t generation;
};

static bool is_done(void *context)
{
	const struct awaited *awaited = context;

	return mailbox_state(awaited->slot, awaited->generation) == MAILBOX_DONE;
}

/* A worker rings for sleepers only, so who is about to sleep looks for the outcome once more. */
static void collect(struct owner *owner, uint32_t index, struct record_outcome *outcome)
{
	struct mailbox_slot *slot = &owner->shared->workers[index].box.slots[0];
	uint32_t generation = owner->workers[index].generation++;
	struct awaited awaited = { slot, generation };
	int64_t deadline = clock_after_ms(SOON_MS);
	struct spin_budget spin = { 0 };

	for (;;) {
		struct doorbell *bell = &owner->shared->finished.resident;
		uint32_t ticket = doorbell_ticket(bell);

		/* As whoever collects does: a set bit means that nobody need be woken. */
		(void)atomic_exchange(&owner->shared->outcomes[0], 0);
		if (is_done(&awaited))
			break;
		assert_true(doorbell_wait_for(bell, ticket, &spin, deadline, is_done, &awaited));
	}
	assert_int_equal(mailbox_collect(slot, generation, outcome), SIMPLER_OK);
}

static simpler_status run(struct owner *owner, uint32_t index, const struct record_task *task,
                          struct record_outcome *outcome)
{
	post(owner, index, task);
	collect(owner, index, outcome);
	assert_int_equal(outcome->token, 4711);
	return outcome->error.status;
}

static void assert_says(const struct record_outcome *outcome, size_t step, const char *text)
{
	const char *said = error_step(&outcome->error, step);

	assert_non_null(said);
	if (!strstr(said, text))
		fail_msg("\"%s\" does not say \"%s\"", said, text);
}

static struct spawn_exit next_exit(struct owner *owner)
{
	struct spawn_exit out = { 0 };

	assert_true(descriptor_wait_readable(owner->helper.socket, clock_after_ms(SOON_MS)));
	assert_int_equal(spawn_next_exit(&owner->helper, &out), SIMPLER_OK);
	return out;
}

static void assert_gone(int pidfd)
{
	assert_true(descriptor_wait_readable(pidfd, clock_after_ms(SOON_MS)));
	(void)close(pidfd);
}

static int watch(pid_t pid)
{
	int pidfd;

	assert_int_equal(process_open(pid, &pidfd), SIMPLER_OK);
	return pidfd;
}

/* --- running tasks --- */

static void a_task_of_a_module_works_on_shared_memory(void **state)
{
	struct owner *owner = *state;
	int64_t *elements = (int64_t *)(void *)owner->arena, captured = 100;
	uint64_t scalar = 5;
	struct record_task task = make_task(1, 3, 1, &scalar);
	struct record_outcome outcome;

	install_as(owner, 0, 1, "add", SIMPLER_KIND_SUB,
	           (simpler_bytes){ &captured, sizeof(captured) });
	for (int64_t i = 0; i < 4; i++)
		elements[i] = i;
	assert_int_equal(run(owner, 0, &task, &outcome), SIMPLER_OK);
	assert_int_equal(outcome.error.steps, 0);
	for (int64_t i = 0; i < 4; i++)
		assert_int_equal(elements[i], i < 3 ? i + 105 : i);
}

static void what_a_callable_says_comes_back(void **state)
{
	struct owner *owner = *state;
	uint64_t scalar = 5;
	struct record_task task = make_task(1, 2, 1, &scalar);
	struct record_outcome outcome;

	install(owner, 0, 1, "add");
	task.tensors[0].dtype = SIMPLER_FLOAT64;
	assert_int_equal(run(owner, 0, &task, &outcome), SIMPLER_EINVAL);
	assert_says(&outcome, 0, "'add' expects int64 elements, got float64");
}

static const struct {
	const char *name;
	int64_t returned;
	bool with_message;
	int status;
	const char *says;
} returns[] = {
	{ "success", 0, false, SIMPLER_OK, NULL },
	{ "a status of ours", SIMPLER_EDEADLINE, true, SIMPLER_EDEADLINE, "the reason" },
	{ "a status of ours, bare", SIMPLER_ESTALE, false, SIMPLER_ESTALE,
	  "'end_with' returned 5" },
	{ "a status of the user's", 1234, true, 1234, "the reason" },
	{ "a status of the user's, bare", 1000, false, 1000, "'end_with' returned 1000" },
	{ "failing with success", 0, true, SIMPLER_EUSER, "the reason" },
	{ "a negative one", -5, false, SIMPLER_EUSER, "returned -5, which is no status" },
	{ "a negative one, explained", -5, true, SIMPLER_EUSER, "no status: the reason" },
	{ "one between ours and theirs", 500, false, SIMPLER_EUSER, "500, which is no status" },
	{ "the first that is not ours", 22, false, SIMPLER_EUSER, "22, which is no status" },
	{ "bare again: no message of an earlier task", 1234, false, 1234, "gave no message" },
};

static void every_return_value_makes_an_outcome(void **state)
{
	struct owner *owner = *state;

	install(owner, 0, 1, "end_with");
	for (size_t i = 0; i < sizeof(returns) / sizeof(returns[0]); i++) {
		uint64_t scalars[] = { (uint64_t)returns[i].returned, 1 };
		struct record_task task = make_task(1, 0, returns[i].with_message ? 2 : 1, scalars);
		struct record_outcome outcome;

		print_message("  %s\n", returns[i].name);
		assert_int_equal(run(owner, 0, &task, &outcome), returns[i].status);
		if (returns[i].says)
			assert_says(&outcome, 0, returns[i].says);
	}
}

static void R22_another_kind_does_not_run(void **state)
{
	struct owner *owner = *state;
	struct record_task task = make_task(1, 0, 0, NULL);
	struct record_outcome outcome;

	install_as(owner, 0, 1, "orchestrate", SIMPLER_KIND_ORCH, simpler_no_state());
	assert_int_equal(run(owner, 0, &task, &outcome), SIMPLER_EKIND);
	assert_says(&outcome, 0, "sub task");
	assert_says(&outcome, 0, "orchestration function");
	assert_says(&outcome, 0, "'orchestrate'");
}

static void an_unknown_callable_is_an_error(void **state)
{
	struct record_task task = make_task(77, 0, 0, NULL);
	struct record_outcome outcome;

	assert_int_equal(run(*state, 0, &task, &outcome), SIMPLER_ENOTFOUND);
	assert_says(&outcome, 0, "callable 77");
}

static void a_failed_install_is_told_to_every_task_that_needs_it(void **state)
{
	struct owner *owner = *state;
	struct record_task task = make_task(1, 0, 0, NULL), good = make_task(2, 0, 1, &task.token);
	struct record_outcome outcome;

	good.scalars[0] = 0;
	install(owner, 0, 1, "nothing");
	install(owner, 0, 2, "end_with");
	assert_int_equal(run(owner, 0, &good, &outcome), SIMPLER_OK);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(run(owner, 0, &task, &outcome), SIMPLER_ENOTFOUND);
		assert_says(&outcome, 0, "simpler_entry_nothing");
		assert_says(&outcome, 1, "installing sub task 'nothing'");
	}
}

static void assert_is_missing(struct owner *owner, uint32_t index, uint64_t key, const char *says)
{
	const struct record_task task = make_task(key, 0, 0, NULL);
	struct record_outcome outcome;

	assert_int_equal(run(owner, index, &task, &outcome), SIMPLER_ENOTFOUND);
	assert_says(&outcome, 0, says);
}

/* What comes over the control socket is read for a callable that is not known, if not before. */
static void forget(struct owner *owner, uint32_t index, uint64_t key)
{
	assert_int_equal(forget_send(owner->workers[index].control, key), SIMPLER_OK);
	assert_is_missing(owner, index, 77, "callable 77");
}

/* Or why it could not be installed. Its key is then as good as new. */
static void check_forgetting(struct owner *owner, uint32_t index, const char *name,
                             simpler_kind kind)
{
	const struct record_task task = make_task(1, 0, 0, NULL);
	struct record_outcome outcome;

	forget(owner, index, 1); /* which it does not have */
	for (int i = 0; i < 2; i++) {
		install_as(owner, index, 1, name, kind, simpler_no_state());
		assert_int_equal(run(owner, index, &task, &outcome), SIMPLER_OK);
		forget(owner, index, 1);
		assert_is_missing(owner, index, 1, "callable 1 was never installed here");
		install_as(owner, index, 1, "absent", kind, simpler_no_state());
		assert_is_missing(owner, index, 1, "simpler_entry_absent");
		forget(owner, index, 1);
		assert_is_missing(owner, index, 1, "callable 1 was never installed here");
	}
}

static void a_callable_is_forgotten_when_its_parent_says_so(void **state)
{
	struct owner *owner = *state;

	check_forgetting(owner, 0, "end_with", SIMPLER_KIND_SUB);
	start_next_level(owner, 1);
	check_forgetting(owner, 1, "orchestrate", SIMPLER_KIND_ORCH);
}

static void a_tensor_outside_its_segment_is_refused(void **state)
{
	struct owner *owner = *state;
	uint64_t scalar = 1;
	struct record_task task = make_task(1, 2, 1, &scalar);
	struct record_outcome outcome;

	install(owner, 0, 1, "add");
	task.tensors[0].offset = ARENA - 8;
	assert_int_equal(run(owner, 0, &task, &outcome), SIMPLER_EPROTOCOL);
	assert_says(&outcome, 0, "not within");
	task.tensors[0].offset = 0;
	task.tensors[0].segment = 0; /* the mailboxes are no tensors */
	assert_int_equal(run(owner, 0, &task, &outcome), SIMPLER_EPROTOCOL);
	assert_says(&outcome, 0, "memory segment 0");
}

static void nonsense_in_a_mailbox_is_an_error_outcome(void **state)
{
	struct owner *owner = *state;
	struct mailbox *box = &owner->shared->workers[0].box;
	struct mailbox_slot *slot = &box->slots[0];
	const uint32_t sizes[] = { 0, 1, 100, MAILBOX_PAYLOAD_BYTES, UINT32_MAX };
	struct record_outcome outcome;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		memset(slot->payload, 0xa5, sizeof(slot->payload));
		atomic_store(&slot->payload_size, sizes[i]);
		assert_true(mailbox_move(slot, owner->workers[0].generation, MAILBOX_FREE,
		                         MAILBOX_READY));
		(void)doorbell_ring(&box->to_worker);
		collect(owner, 0, &outcome);
		assert_int_equal(outcome.error.status, SIMPLER_EPROTOCOL);
	}
}

/* More than a socket holds: the worker reads them although no task asks for any. */
static void installs_do_not_get_stuck(void **state)
{
	static uint8_t captured[SIMPLER_STATE_MAX];
	struct owner *owner = *state;
	uint64_t scalar = 1;
	struct record_task task = make_task(8, 1, 1, &scalar);
	struct record_outcome outcome;

	for (uint64_t key = 1; key <= 8; key++)
		install_as(owner, 0, key, "add", SIMPLER_KIND_SUB,
		           (simpler_bytes){ captured, sizeof(captured) });
	assert_int_equal(run(owner, 0, &task, &outcome), SIMPLER_OK);
}

/* --- lives and deaths --- */

static void a_crash_is_reported_and_a_replacement_works(void **state)
{
	struct owner *owner = *state;
	uint64_t scalar = 0;
	struct record_task task = make_task(1, 0, 1, &scalar);
	struct record_outcome outcome;
	struct spawn_exit report;

	install(owner, 0, 1, "die");
	post(owner, 0, &task);
	report = next_exit(owner);
	assert_int_equal(report.index, 0);
	assert_int_equal(report.pid, owner->workers[0].pid);
	assert_true(WIFSIGNALED(report.wait_status));
	assert_int_equal(WTERMSIG(report.wait_status), SIGKILL);
	assert_int_equal(mailbox_abandon(&owner->shared->workers[0].box.slots[0],
	                                 owner->workers[0].generation++),
	                 MAILBOX_RUNNING);
	(void)close(owner->workers[0].control);

	start_worker(owner, 0);
	assert_int_not_equal(owner->workers[0].pid, report.pid);
	install(owner, 0, 1, "end_with"); /* it knows nothing of what its predecessor knew */
	assert_int_equal(run(owner, 0, &task, &outcome), SIMPLER_OK);
	assert_int_equal(spawn_next_exit(&owner->helper, &report), SIMPLER_ENOTFOUND);
}

static void a_death_leaves_the_other_workers_alone(void **state)
{
	struct owner *owner = *state;
	uint64_t scalar = 0;
	struct record_task task = make_task(1, 0, 1, &scalar);
	struct record_outcome outcome;

	start_worker(owner, 1);
	start_worker(owner, 2);
	assert_int_equal(kill(owner->workers[1].pid, SIGSEGV), 0);
	assert_int_equal(next_exit(owner).index, 1);
	install(owner, 0, 1, "end_with");
	install(owner, 2, 1, "end_with");
	assert_int_equal(run(owner, 0, &task, &outcome), SIMPLER_OK);
	assert_int_equal(run(owner, 2, &task, &outcome), SIMPLER_OK);
}

static void a_worker_ends_with_its_control_socket(void **state)
{
	struct owner *owner = *state;
	struct spawn_exit report;

	(void)close(owner->workers[0].control);
	owner->workers[0].control = -1;
	report = next_exit(owner);
	assert_true(WIFEXITED(report.wait_status));
	assert_int_equal(WEXITSTATUS(report.wait_status), 0);
}

static void a_worker_whose_user_code_closed_its_control_socket_ends(void **state)
{
	struct owner *owner = *state;
	uint64_t scalar = 0;
	struct record_task task = make_task(1, 0, 1, &scalar);
	struct record_outcome outcome;
	struct spawn_exit report;

	install(owner, 0, 1, "close_all");
	assert_int_equal(run(owner, 0, &task, &outcome), SIMPLER_OK);
	report = next_exit(owner);
	assert_true(WIFEXITED(report.wait_status));
	assert_int_equal(WEXITSTATUS(report.wait_status), 1);
}

static void a_terminals_signals_end_nobody(void **state)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGQUIT, SIGHUP };
	struct owner *owner = *state;
	uint64_t scalar = 0;
	struct record_task task = make_task(1, 0, 1, &scalar);
	struct record_outcome outcome;

	install(owner, 0, 1, "end_with");
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		assert_int_equal(kill(owner->workers[0].pid, signals[i]), 0);
		assert_int_equal(kill(owner->helper.pid, signals[i]), 0);
	}
	assert_int_equal(run(owner, 0, &task, &outcome), SIMPLER_OK);
	start_worker(owner, 1);
	assert_int_equal(kill(owner->workers[1].pid, SIGTERM), 0);
}

static void an_index_is_alive_once_and_has_a_mailbox(void **state)
{
	struct owner *owner = *state;
	struct spawned spawned;

	assert_int_equal(try_worker(owner, 0, &spawned), SIMPLER_EEXIST);
	assert_non_null(strstr(simpler_last_error(), "starting sub worker 0"));
	assert_int_equal(try_worker(owner, WORKERS, &spawned), SIMPLER_EINVAL);
	start_worker(owner, 1); /* the helper goes on */
}

static size_t count_descriptors(pid_t pid)
{
	char path[64];
	size_t count = 0;
	DIR *directory;

	(void)snprintf(path, sizeof(path), "/proc/%ld/fd", (long)pid);
	directory = opendir(path);
	assert_non_null(directory);
	for (struct dirent *each; (each = readdir(directory));)
		count += each->d_name[0] != '.';
	(void)closedir(directory);
	return count;
}

static void a_worker_has_its_control_socket_and_nothing_else(void **state)
{
	struct owner *owner = *state;
	char path[64], target[64];
	uint64_t scalar = 0;
	struct record_task task = make_task(77, 0, 1, &scalar);
	struct record_outcome outcome;
	ssize_t size;

	start_worker(owner, 1);
	(void)run(owner, 1, &task, &outcome); /* it is past its birth now */
	assert_int_equal(count_descriptors(owner->workers[1].pid), 4);
	(void)snprintf(path, sizeof(path), "/proc/%ld/fd/0", (long)owner->workers[1].pid);
	size = readlink(path, target, sizeof(target) - 1);
	assert_true(size > 0);
	target[size] = '\0';
	assert_string_equal(target, "/dev/null");
}

static void requests_leave_no_descriptor_in_the_helper(void **state)
{
	struct owner *owner = *state;
	struct spawned spawned;

	for (int i = 0; i < 10; i++)
		assert_int_equal(try_worker(owner, 0, &spawned), SIMPLER_EEXIST);
	/* Standard three, the socket, the owner's pidfd and the worker's, the arena; perhaps the
	 * last request's, just answered. */
	assert_in_range(count_descriptors(owner->helper.pid), 7, 8);
}

static void stopping_the_helper_ends_a_worker_that_never_returns(void **state)
{
	struct owner owner;
	struct record_task task = make_task(1, 1, 0, NULL);
	int workers[2];

	(void)state;
	owner_open(&owner);
	start_worker(&owner, 0);
	start_worker(&owner, 1);
	install(&owner, 0, 1, "hang");
	post(&owner, 0, &task);
	for (int i = 0; i < 2; i++)
		workers[i] = watch(owner.workers[i].pid);
	owner_close(&owner);
	for (int i = 0; i < 2; i++)
		assert_gone(workers[i]);
}

static void workers_die_with_their_helper(void **state)
{
	struct owner *owner = *state;
	struct spawn_exit report;
	int worker = watch(owner->workers[0].pid);
	struct spawned spawned;

	assert_int_equal(kill(owner->helper.pid, SIGKILL), 0);
	assert_gone(worker);
	assert_true(descriptor_wait_readable(owner->helper.socket, clock_after_ms(SOON_MS)));
	assert_int_equal(spawn_next_exit(&owner->helper, &report), SIMPLER_EUNAVAILABLE);
	assert_int_equal(try_worker(owner, 1, &spawned), SIMPLER_EUNAVAILABLE);
}

/* In a process of its own: become an owner with a worker in the middle of a task, tell the pids,
 * and wait to be killed. */
static void be_an_owner(int tell)
{
	struct owner owner;
	struct record_task task = make_task(1, 1, 0, NULL);
	pid_t pids[3];

	owner_open(&owner);
	start_worker(&owner, 0);
	start_worker(&owner, 1);
	install(&owner, 0, 1, "hang");
	post(&owner, 0, &task);
	pids[0] = owner.helper.pid;
	pids[1] = owner.workers[0].pid;
	pids[2] = owner.workers[1].pid;
	if (write(tell, pids, sizeof(pids)) != (ssize_t)sizeof(pids))
		_exit(1);
	for (;;)
		(void)pause();
}

static void an_owner_that_is_killed_leaves_no_process(void **state)
{
	int ends[2], pidfds[3];
	pid_t owner, pids[3];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	owner = fork();
	assert_true(owner >= 0);
	if (owner == 0)
		be_an_owner(ends[1]);
	(void)close(ends[1]);
	assert_int_equal(read(ends[0], pids, sizeof(pids)), sizeof(pids));
	(void)close(ends[0]);
	for (int i = 0; i < 3; i++)
		pidfds[i] = watch(pids[i]);
	assert_int_equal(kill(owner, SIGKILL), 0);
	assert_int_equal(waitpid(owner, NULL, 0), owner);
	for (int i = 0; i < 3; i++)
		assert_gone(pidfds[i]);
}

static void a_helper_that_does_not_start_is_an_error(void **state)
{
	struct spawn_segment segment = { .bytes = 4096 };
	struct spawn_helper helper;

	(void)state;
	assert_int_equal(memory_create("small", segment.bytes, &segment.fd), SIMPLER_OK);
	assert_int_equal(spawn_helper_start("/nowhere/simpler-host", &segment, 1, &helper),
	                 SIMPLER_ESYSTEM);
	assert_non_null(strstr(simpler_last_error(), "/nowhere/simpler-host"));
	assert_int_equal(spawn_helper_start("/bin/true", &segment, 1, &helper),
	                 SIMPLER_EUNAVAILABLE);
	segment.bytes = 8192; /* more than there is */
	assert_int_equal(spawn_helper_start(host_program(), &segment, 1, &helper),
	                 SIMPLER_EPROTOCOL);
	assert_non_null(strstr(simpler_last_error(), "4096"));
	segment.bytes = 64; /* no room for the bells */
	assert_int_equal(spawn_helper_start(host_program(), &segment, 1, &helper),
	                 SIMPLER_EPROTOCOL);
	segment.id = 3; /* tensors and no mailboxes */
	assert_int_equal(spawn_helper_start(host_program(), &segment, 1, &helper),
	                 SIMPLER_EPROTOCOL);
	assert_non_null(strstr(simpler_last_error(), "no control segment"));
	(void)close(segment.fd);
}

#define WITH_OWNER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_OWNER(a_task_of_a_module_works_on_shared_memory),
		WITH_OWNER(what_a_callable_says_comes_back),
		WITH_OWNER(every_return_value_makes_an_outcome),
		WITH_OWNER(R22_another_kind_does_not_run),
		WITH_OWNER(an_unknown_callable_is_an_error),
		WITH_OWNER(a_failed_install_is_told_to_every_task_that_needs_it),
		WITH_OWNER(a_callable_is_forgotten_when_its_parent_says_so),
		WITH_OWNER(a_tensor_outside_its_segment_is_refused),
		WITH_OWNER(nonsense_in_a_mailbox_is_an_error_outcome),
		WITH_OWNER(installs_do_not_get_stuck),
		WITH_OWNER(a_crash_is_reported_and_a_replacement_works),
		WITH_OWNER(a_death_leaves_the_other_workers_alone),
		WITH_OWNER(a_worker_ends_with_its_control_socket),
		WITH_OWNER(a_worker_whose_user_code_closed_its_control_socket_ends),
		WITH_OWNER(a_terminals_signals_end_nobody),
		WITH_OWNER(an_index_is_alive_once_and_has_a_mailbox),
		WITH_OWNER(a_worker_has_its_control_socket_and_nothing_else),
		WITH_OWNER(requests_leave_no_descriptor_in_the_helper),
		WITH_OWNER(workers_die_with_their_helper),
		cmocka_unit_test(stopping_the_helper_ends_a_worker_that_never_returns),
		cmocka_unit_test(an_owner_that_is_killed_leaves_no_process),
		cmocka_unit_test(a_helper_that_does_not_start_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
