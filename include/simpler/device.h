/*
 * For the author of a device driver: what simpler needs of a device to use it as a chip.
 *
 * A chip is a level-2 worker: one device, or its simulation, that runs one kernel at a time. Each
 * chip has a process of its own, the chip worker, which opens its device by means of a driver. A
 * driver is a table of the functions below. simpler comes with one, "sim"; another one is a shared
 * object that says
 *
 *     #include <simpler/device.h>
 *
 *     static const simpler_device_ops ops = { SIMPLER_DEVICE_ABI, sizeof(ops), "mine", ... };
 *     SIMPLER_DEVICE_DRIVER(ops)
 *
 * and is built as a module is: cc -shared -fPIC -o mine.so mine.c, without libsimpler. Whoever
 * starts a node or a worker gives its path in place of a device's name; a name with a '/' in it is
 * a path. The driver is loaded in chip workers alone, and never unloaded.
 *
 * Threads. All functions are called from one thread of the chip worker, one at a time, those of
 * other open devices included. The driver may have threads of its own; a kernel runs on whichever
 * of them it likes.
 *
 * Blocking. All functions may block, and are synchronous: when one returns, what it was asked for
 * has happened. Nobody waits for the chip worker in any other way, so a device that hangs is ended
 * with its process, when the task is cancelled or its deadline passes.
 *
 * Ownership. What a driver hands out it gets back: each simpler_device by close(), each address by
 * free() before that. What it is handed stays the caller's and is valid during the call.
 *
 * Errors. A function fails with a status other than SIMPLER_OK, after simpler_fail() has said what
 * was wrong and what to do, with the device's own words and numbers; the text reaches whoever
 * submitted the task. SIMPLER_ENOSPACE has a meaning to the caller: see alloc(). After any failure
 * the device is used on.
 *
 * Crashes. When a chip worker dies, of its kernel or of its driver, none of these functions is
 * called: what the process had of the device must go with the process. A new one opens the device
 * at once, so open() must cope with a predecessor that died a moment ago.
 */
#ifndef SIMPLER_DEVICE_H
#define SIMPLER_DEVICE_H

#include "simpler/callable.h"

#ifdef __cplusplus
extern "C" {
#endif

/** The version of simpler_device_ops and of what is said about it here. A driver of another one is
 *  refused. */
#define SIMPLER_DEVICE_ABI 1

/** What addresses of a device are multiples of, at least. */
#define SIMPLER_DEVICE_ALIGNMENT 64

/** An open device. The driver defines what is in it. */
typedef struct simpler_device simpler_device;

/** One kernel launch. */
typedef struct simpler_device_launch {
	size_t struct_size; /**< sizeof(simpler_device_launch) of the caller; it may grow */
	/** The callable's name. A driver for a device with a machine code of its own finds by it
	 *  what to run there; one that computes on the host calls `kernel`. */
	const char *name;
	simpler_chip_function *kernel;
	/** Never NULL. `block_dim` blocks are to be run by `aicpu_thread_num` threads; both are
	 *  positive. */
	const simpler_config *config;
	/** The task's arguments, with tensors that are contiguous and whose `data` are addresses of
	 *  the device; an empty tensor has NULL. Any thread may read them. */
	const simpler_args *args;
	simpler_bytes state;
	/** Whether the task is to end early; for any thread, costs a load. Between two blocks is a
	 *  good moment to ask. */
	bool (*should_stop)(void);
} simpler_device_launch;

typedef struct simpler_device_ops {
	/** SIMPLER_DEVICE_ABI and sizeof(simpler_device_ops). These two stand first for good, and
	 *  are looked at before anything else. */
	uint32_t abi;
	size_t struct_size;
	/** A word for error messages, such as "sim". */
	const char *name;

	/** How many devices this machine has; they count from 0. */
	simpler_status (*count)(uint32_t *out);

	/** Get device `index`, which is below count(), ready for use by this process alone. */
	simpler_status (*open)(uint32_t index, simpler_device **out);

	/** Give it up. All its memory has been freed. */
	void (*close)(simpler_device *device);

	/**
	 * Reserve `bytes`, which are not 0, of the device's memory. Their content is undefined.
	 * The address is a multiple of SIMPLER_DEVICE_ALIGNMENT and not NULL. Code on the device
	 * follows it, code on the host need not be able to; it only adds to it, up to `bytes`.
	 *
	 * @return SIMPLER_ENOSPACE when there is no room, naming what was asked, what is used and
	 *         the capacity. The caller frees what it kept for later tasks and tries again.
	 */
	simpler_status (*alloc)(simpler_device *device, uint64_t bytes, void **address);

	/** `address` came from alloc(). */
	void (*free)(simpler_device *device, void *address);

	/** Copy `bytes`, which are not 0, from the host to the device or back. On the device they
	 *  lie within one block that alloc() gave, at any byte of it; on the host anywhere. */
	simpler_status (*copy_in)(simpler_device *device, void *to_device, const void *from_host,
	                          uint64_t bytes);
	simpler_status (*copy_out)(simpler_device *device, void *to_host, const void *from_device,
	                           uint64_t bytes);

	/**
	 * Run a kernel and wait for it: each block once, in any order, on any of the threads, with
	 * simpler_block.index below block_dim and .thread below aicpu_thread_num. No two blocks of
	 * one thread overlap in time.
	 *
	 * When a block returns another status than SIMPLER_OK, or the task is to stop, blocks not
	 * begun yet are left out. It returns when no code of the kernel runs any more.
	 *
	 * @return SIMPLER_OK when all blocks ran and returned it; what the failing block returned,
	 *         as it is, with the message that it left by simpler_fail() as this thread's last
	 *         error (a message belongs to the thread that left it: carry it over);
	 *         SIMPLER_ECANCELLED when blocks were left out because the task is to stop;
	 *         SIMPLER_EINVAL for more threads than the device has.
	 */
	simpler_status (*launch)(simpler_device *device, const simpler_device_launch *launch);
} simpler_device_ops;

/* The one symbol that a driver exports: a function that returns its table, which lives as long as
 * the process. */
#define SIMPLER_DEVICE_SYMBOL "simpler_device_driver"

#if defined(__cplusplus)
#define SIMPLER_DEVICE_EXTERN_ extern "C"
#else
#define SIMPLER_DEVICE_EXTERN_ extern
#endif

/** Export `ops`, an object of type simpler_device_ops, as this shared object's driver. */
#define SIMPLER_DEVICE_DRIVER(ops)                                                                 \
	SIMPLER_DEVICE_EXTERN_ SIMPLER_API const simpler_device_ops *simpler_device_driver(void);  \
	const simpler_device_ops *simpler_device_driver(void)                                      \
	{                                                                                          \
		return &(ops);                                                                     \
	}

#ifdef __cplusplus
}
#endif

#endif
