/*
 * What the tests of worker trees run. Scalar 0 of an orchestration function says how many workers
 * are below the one that runs it: with 0 it submits sub tasks, else itself to the next level.
 * Tensor 0 is an array of int64, the cells that test and tasks talk over.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <simpler/module.h>

/* --- helpers --- */

static _Atomic int64_t *cells_of(const simpler_args *args)
{
	simpler_tensor tensor;

	return simpler_args_tensor(args, 0, &tensor) == SIMPLER_OK ? tensor.data : NULL;
}

static uint64_t scalar_of(const simpler_args *args, size_t index)
{
	uint64_t value = 0;

	return simpler_args_scalar(args, index, &value) == SIMPLER_OK ? value : 0;
}

static void rest(void)
{
	const struct timespec moment = { 0, 1000000 };

	(void)nanosleep(&moment, NULL);
}

/* The caller's tensors as they are, with the first scalar `below` and the others as they are. */
static simpler_args *copy_args(const simpler_args *args, uint64_t below)
{
	simpler_args *copy = simpler_args_create();

	for (size_t i = 0; i < simpler_args_tensor_count(args); i++) {
		simpler_tensor tensor;
		simpler_tag tag;

		(void)simpler_args_tensor(args, i, &tensor);
		(void)simpler_args_tag(args, i, &tag);
		(void)simpler_args_add_tensor(copy, &tensor, tag, SIMPLER_SHARED);
	}
	(void)simpler_args_add_scalar(copy, below);
	for (size_t i = 1; i < simpler_args_scalar_count(args); i++)
		(void)simpler_args_add_scalar(copy, scalar_of(args, i));
	return copy;
}

static simpler_status submit_sub(simpler_orch *orch, const char *name, const simpler_args *args)
{
	simpler_sub sub;
	simpler_status status = simpler_orch_sub(orch, name, simpler_no_state(), &sub);

	return status == SIMPLER_OK ? simpler_submit_sub(orch, sub, args, NULL, NULL) : status;
}

static simpler_status submit_worker(simpler_orch *orch, const char *name, const simpler_args *args)
{
	simpler_orch_fn fn;
	simpler_status status = simpler_orch_orch_fn(orch, name, simpler_no_state(), &fn);

	return status == SIMPLER_OK ? simpler_submit_next_level(orch, fn, args, NULL, NULL)
	                            : status;
}

/* To the next level as itself, from the last one as a sub task. */
static simpler_status descend(simpler_orch *orch, const char *name, const char *sub_name,
                              const simpler_args *args)
{
	uint64_t below = scalar_of(args, 0);
	simpler_args *copy = copy_args(args, below > 0 ? below - 1 : 0);
	simpler_status status =
		below > 0 ? submit_worker(orch, name, copy) : submit_sub(orch, sub_name, copy);

	simpler_args_destroy(copy);
	return status;
}

#define AT_THE_BOTTOM(name)                                                                        \
	static simpler_status name##_sub(const simpler_args *args, simpler_bytes state);           \
	SIMPLER_SUB(name##_sub);                                                                   \
	static simpler_status name(simpler_orch *orch, const simpler_args *args,                   \
	                           const simpler_config *config, simpler_bytes state)              \
	{                                                                                          \
		(void)config;                                                                      \
		(void)state;                                                                       \
		return descend(orch, #name, #name "_sub", args);                                   \
	}                                                                                          \
	SIMPLER_ORCH(name);                                                                        \
	static simpler_status name##_sub(const simpler_args *args, simpler_bytes state)

#define IN_THE_WORKER(name)                                                                        \
	static simpler_status name(simpler_orch *orch, const simpler_args *args,                   \
	                           const simpler_config *config, simpler_bytes state);             \
	SIMPLER_ORCH(name);                                                                        \
	static simpler_status name(simpler_orch *orch, const simpler_args *args,                   \
	                           const simpler_config *config, simpler_bytes state)

/* --- what sub tasks do --- */

/* Cell 0 += scalar 1. */
AT_THE_BOTTOM(add)
{
	(void)state;
	atomic_fetch_add(&cells_of(args)[0], (int64_t)scalar_of(args, 1));
	return SIMPLER_OK;
}

AT_THE_BOTTOM(fail)
{
	(void)args;
	(void)state;
	return simpler_fail((simpler_status)1042, "row %d of %s is singular", 3, "A");
}

AT_THE_BOTTOM(crash)
{
	(void)args;
	(void)state;
	(void)raise(SIGSEGV);
	return SIMPLER_OK;
}

/* Cell 0 says that it runs, cell 1 that it was told to stop, cell 2 which process runs it, and cell
 * 11 which forked that. */
AT_THE_BOTTOM(obey)
{
	_Atomic int64_t *cells = cells_of(args);

	(void)state;
	atomic_store(&cells[2], getpid());
	atomic_store(&cells[11], getppid());
	atomic_store(&cells[0], 1);
	while (!simpler_should_stop())
		rest();
	atomic_store(&cells[1], 1);
	return SIMPLER_OK;
}

AT_THE_BOTTOM(ignore)
{
	_Atomic int64_t *cells = cells_of(args);

	(void)state;
	atomic_store(&cells[2], getpid());
	atomic_store(&cells[0], 1);
	while (atomic_load(&cells[0]))
		rest();
	return SIMPLER_OK;
}

/* --- for tests whose memory is elsewhere: the path of a fifo is in tensor 0 --- */

/* Writes 'r' to say that it runs, and 's' when it has seen that it is to stop. */
static simpler_status tell_and_wait(const simpler_args *args, bool obeys)
{
	simpler_tensor path;
	int fifo;

	if (simpler_args_tensor(args, 0, &path) != SIMPLER_OK)
		return simpler_last_status();
	fifo = open(path.data, O_WRONLY);
	if (fifo < 0 || write(fifo, "r", 1) != 1)
		return simpler_fail(SIMPLER_EUSER, "the fifo takes no byte");
	while (!obeys || !simpler_should_stop())
		rest();
	if (write(fifo, "s", 1) != 1)
		return simpler_fail(SIMPLER_EUSER, "the fifo takes no more");
	(void)close(fifo);
	return SIMPLER_OK;
}

AT_THE_BOTTOM(tell_obey)
{
	(void)state;
	return tell_and_wait(args, true);
}

AT_THE_BOTTOM(tell_ignore)
{
	(void)state;
	return tell_and_wait(args, false);
}

/* --- what orchestration functions do --- */

IN_THE_WORKER(tell_obey_here)
{
	(void)orch;
	(void)config;
	return tell_obey_sub(args, state);
}

/* Its process into cell 3, then a sub task as `obey`. */
IN_THE_WORKER(watched_obey)
{
	atomic_store(&cells_of(args)[3], getpid());
	return obey(orch, args, config, state);
}

IN_THE_WORKER(watched_ignore)
{
	atomic_store(&cells_of(args)[3], getpid());
	return ignore(orch, args, config, state);
}

IN_THE_WORKER(watched_add)
{
	atomic_store(&cells_of(args)[3], getpid());
	return add(orch, args, config, state);
}

IN_THE_WORKER(obey_here)
{
	(void)orch;
	(void)config;
	atomic_store(&cells_of(args)[3], getpid());
	return obey_sub(args, state);
}

IN_THE_WORKER(ignore_here)
{
	(void)orch;
	(void)config;
	atomic_store(&cells_of(args)[3], getpid());
	return ignore_sub(args, state);
}

IN_THE_WORKER(crash_here)
{
	(void)orch;
	(void)config;
	return crash_sub(args, state);
}

IN_THE_WORKER(fail_here)
{
	(void)orch;
	(void)config;
	return fail_sub(args, state);
}

IN_THE_WORKER(return_nonsense)
{
	(void)orch;
	(void)args;
	(void)config;
	(void)state;
	return (simpler_status)-7;
}

/* Returns in two processes; the copy is to leave no trace. */
IN_THE_WORKER(fork_and_return)
{
	simpler_status status = add(orch, args, config, state);

	return fork() < 0 ? SIMPLER_ESYSTEM : status;
}

/* Waits until scalar 1 of them are in it at once. */
IN_THE_WORKER(meet)
{
	_Atomic int64_t *cells = cells_of(args);

	(void)orch;
	(void)config;
	(void)state;
	atomic_fetch_add(&cells[0], 1);
	while (atomic_load(&cells[0]) < (int64_t)scalar_of(args, 1) && !simpler_should_stop())
		rest();
	return SIMPLER_OK;
}

/* Each process on the way down puts itself into cell 4 + the workers below it, and the one that
 * forked it into cell 12 + those. */
IN_THE_WORKER(trace_obey)
{
	uint64_t below = scalar_of(args, 0);

	atomic_store(&cells_of(args)[4 + below], getpid());
	atomic_store(&cells_of(args)[12 + below], getppid());
	(void)config;
	(void)state;
	return descend(orch, "trace_obey", "obey_sub", args);
}

/* --- a value through all levels, in a tensor of each --- */

/* Cell 0 of tensor 1 = cell 0 of tensor 0, plus 1. */
static simpler_status increment(const simpler_args *args, simpler_bytes state)
{
	simpler_tensor from, to;

	(void)state;
	if (simpler_args_tensor(args, 0, &from) != SIMPLER_OK ||
	    simpler_args_tensor(args, 1, &to) != SIMPLER_OK)
		return simpler_last_status();
	*(int64_t *)to.data = *(const int64_t *)from.data + 1;
	return SIMPLER_OK;
}
SIMPLER_SUB(increment);

static simpler_status set_one(const simpler_args *args, simpler_bytes state)
{
	(void)state;
	atomic_store(&cells_of(args)[0], 1);
	return SIMPLER_OK;
}
SIMPLER_SUB(set_one);

/* `inner` from below, then tensor 0 from `inner`. */
static simpler_status climb_from(simpler_orch *orch, const simpler_args *args,
                                 const simpler_tensor *inner)
{
	uint64_t below = scalar_of(args, 0);
	simpler_args *down = simpler_args_create(), *up = simpler_args_create();
	simpler_tensor out;
	simpler_status status;

	(void)simpler_args_tensor(args, 0, &out);
	(void)simpler_args_add_tensor(down, inner, SIMPLER_OUTPUT, SIMPLER_SHARED);
	(void)simpler_args_add_scalar(down, below > 0 ? below - 1 : 0);
	(void)simpler_args_add_tensor(up, inner, SIMPLER_INPUT, SIMPLER_SHARED);
	(void)simpler_args_add_tensor(up, &out, SIMPLER_OUTPUT, SIMPLER_SHARED);
	status = below > 0 ? submit_worker(orch, "climb", down) : submit_sub(orch, "set_one", down);
	if (status == SIMPLER_OK)
		status = submit_sub(orch, "increment", up);
	simpler_args_destroy(down);
	simpler_args_destroy(up);
	return status;
}

/* Tensor 0 = 2 + the workers below. */
IN_THE_WORKER(climb)
{
	const int64_t shape[1] = { 1 };
	simpler_tensor inner;
	simpler_status status = simpler_orch_alloc(orch, SIMPLER_INT64, 1, shape, &inner);

	(void)config;
	(void)state;
	return status == SIMPLER_OK ? climb_from(orch, args, &inner) : status;
}
