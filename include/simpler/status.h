/*
 * Status values and the thread's last error.
 *
 * A function that can fail returns a simpler_status. The value says what kind of failure it was,
 * for a program to branch on; simpler_last_error() says the rest, for a person: what failed, in
 * which task on which worker, why, and what to do about it.
 *
 * Thread-safety: the last error belongs to the calling thread. All functions here may be called
 * from any thread, none blocks, and none of them allocates.
 */
#ifndef SIMPLER_STATUS_H
#define SIMPLER_STATUS_H

#include <stddef.h>

#include "simpler/export.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Values are stable: they cross the network and are compiled into modules. */
typedef enum simpler_status {
	SIMPLER_OK = 0,
	SIMPLER_EINVAL = 1,        /**< the caller could have known: a bad argument */
	SIMPLER_ENOTFOUND = 2,     /**< no such name, handle or callable */
	SIMPLER_EEXIST = 3,        /**< the name or digest is taken by something else */
	SIMPLER_ESTATE = 4,        /**< not possible in the present state */
	SIMPLER_ESTALE = 5,        /**< the handle named something that is gone */
	SIMPLER_EKIND = 6,         /**< a callable of another kind was expected */
	SIMPLER_EVERSION = 7,      /**< the two sides speak different versions */
	SIMPLER_ENOSPACE = 8,      /**< a limit or a capacity is reached */
	SIMPLER_ENOMEM = 9,        /**< this process is out of memory */
	SIMPLER_EUNAVAILABLE = 10, /**< the other side is lost or not ready */
	SIMPLER_EDEADLINE = 11,    /**< the deadline passed */
	SIMPLER_ECANCELLED = 12,   /**< somebody cancelled it */
	SIMPLER_EPERM = 13,        /**< a policy forbids it */
	SIMPLER_EAUTH = 14,        /**< the peer did not prove who it is */
	SIMPLER_EUNSUPPORTED = 15, /**< this build or this peer cannot do it */
	SIMPLER_ESYSTEM = 16,      /**< an operating system call failed */
	SIMPLER_EPROTOCOL = 17,    /**< what the other process sent makes no sense */
	SIMPLER_ECRASHED = 18,     /**< the process that ran the task died */
	SIMPLER_EPOISONED = 19,    /**< never run: a task it depends on failed */
	SIMPLER_EUSER = 20,        /**< user code failed and gave no code of its own */
	SIMPLER_EINTERNAL = 21,    /**< a bug in simpler; please report it */
	/** User code may return this and anything above it: the runtime passes the value through.
	 */
	SIMPLER_USER_STATUS = 1000
} simpler_status;

/** The constant's name, such as "SIMPLER_ESTALE". Never NULL; static. */
SIMPLER_API const char *simpler_status_name(simpler_status status);

/** A short sentence without a full stop, such as "the deadline passed". Never NULL; static. */
SIMPLER_API const char *simpler_status_text(simpler_status status);

/**
 * The calling thread's last error as text, outermost first, one line a step:
 *
 *     run 1 failed
 *       task 2: orchestration function 'accumulate' (5be9c2d01f7ab3c4) on node 127.0.0.1:5050
 *       task 1: sub task 'add' (90aa171cb20d45ef) on sub worker 0
 *       cause: SIMPLER_EINVAL: 'add' expects int64 elements, got float32
 *
 * Valid until the thread's next failing call into simpler. Empty if nothing failed yet; a call
 * that succeeds leaves it as it was. Never NULL.
 */
SIMPLER_API const char *simpler_last_error(void);

/** The status that belongs to simpler_last_error(); SIMPLER_OK if nothing failed yet. */
SIMPLER_API simpler_status simpler_last_status(void);

/**
 * The chain behind simpler_last_error(), step by step. Step 0 is the root cause; the last step is
 * the outermost call. Returns NULL past the end. Valid as long as simpler_last_error() is.
 */
SIMPLER_API const char *simpler_last_error_step(size_t step);

/**
 * Fail from user code: record a formatted message and return `status`, so that a callable ends
 * with `return simpler_fail(SIMPLER_EINVAL, "expected %d rows", n);`. The message and the status
 * travel to whoever submitted the task. A message over 1 KiB is cut, with "..." at the cut.
 * `status` SIMPLER_OK is a mistake and becomes SIMPLER_EUSER.
 */
SIMPLER_API simpler_status simpler_fail(simpler_status status, const char *format, ...)
	SIMPLER_PRINTF(2, 3);

#ifdef __cplusplus
}
#endif

#endif
