/*
 * Callables: what a task runs. Three kinds, three handle types that do not convert, and the
 * signatures of the functions behind them.
 */
#ifndef SIMPLER_CALLABLE_H
#define SIMPLER_CALLABLE_H

#include "simpler/args.h"

#ifdef __cplusplus
extern "C" {
#endif

/** The numbers are the wire's and part of a callable's digest. */
typedef enum simpler_kind {
	SIMPLER_KIND_SUB = 1,  /**< a sub task: computes in a CPU worker process */
	SIMPLER_KIND_ORCH = 2, /**< an orchestration function: submits tasks */
	SIMPLER_KIND_CHIP = 3  /**< a kernel for a level-2 device */
} simpler_kind;

/** Such as "sub task"; "unknown kind" for a value that is none. */
SIMPLER_API const char *simpler_kind_name(simpler_kind kind);

/**
 * Registered callables. Copy them freely. They are valid on the worker that gave them out, until
 * it closes; {0} is never valid. Handing the wrong type to a submit does not compile.
 */
typedef struct simpler_sub {
	uint64_t id;
} simpler_sub;
typedef struct simpler_orch_fn {
	uint64_t id;
} simpler_orch_fn;
typedef struct simpler_chip {
	uint64_t id;
} simpler_chip;

/** Bytes that somebody else owns. `data` may be NULL when `size` is 0. */
typedef struct simpler_bytes {
	const void *data;
	size_t size;
} simpler_bytes;

/** No captured state: `simpler_no_state()` reads better than a pair of zeroes. */
static inline simpler_bytes simpler_no_state(void)
{
	simpler_bytes none = { NULL, 0 };
	return none;
}

/** Most bytes of captured state: 64 KiB. Larger data belongs in a tensor. */
#define SIMPLER_STATE_MAX ((size_t)64 << 10)

/** How kernels below a task are launched; handed down to an orchestration function as it is. */
typedef struct simpler_config {
	size_t struct_size;       /**< set by SIMPLER_CONFIG_INIT */
	int32_t block_dim;        /**< blocks of a kernel */
	int32_t aicpu_thread_num; /**< threads that a device uses for them */
	bool enable_l2_swimlane;
	bool enable_dump_tensor;
	int32_t enable_pmu;
	/** Where diagnostics go; required where a diagnostic flag is set. NULL means none; at
	 *  most 255 bytes. */
	const char *output_prefix;
} simpler_config;

#define SIMPLER_CONFIG_INIT                                                                        \
	{                                                                                          \
		sizeof(simpler_config), 24, 3, false, false, 0, NULL                               \
	}

/** A run in progress, as its orchestration function sees it. See simpler/orch.h. */
typedef struct simpler_orch simpler_orch;

/** Which part of a kernel launch this call is. */
typedef struct simpler_block {
	int32_t index, count; /**< this block, of so many */
	int32_t thread, thread_count;
} simpler_block;

/*
 * The functions behind callables. `state` is the captured state: the bytes given when the callable
 * was registered, copied then, read-only here. Results leave through tensors and the status, never
 * through `state` or globals. Anything but SIMPLER_OK fails the task; simpler_fail() adds why.
 */
typedef simpler_status simpler_sub_function(const simpler_args *args, simpler_bytes state);
typedef simpler_status simpler_orch_function(simpler_orch *orch, const simpler_args *args,
                                             const simpler_config *config, simpler_bytes state);
typedef simpler_status simpler_chip_function(const simpler_block *block, const simpler_args *args,
                                             simpler_bytes state);

/**
 * Whether the task that the calling code runs in should end early: it was cancelled, or its
 * deadline passed. A callable that runs long asks now and then, and returns; what it returns is
 * then of no matter, the task has failed. One that goes on is killed with its process once the
 * worker's grace period is over. False in code that no task runs. Costs a load; never blocks; for
 * any thread of a sub or chip worker, and in an orchestration function for the thread that runs it.
 */
SIMPLER_API bool simpler_should_stop(void);

#ifdef __cplusplus
}
#endif

#endif
