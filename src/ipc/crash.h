/*
 * What a worker process leaves behind when user code in it dies of a signal: the fault and a
 * backtrace, as numbers in shared memory. Its owner, a healthy process, takes them when the death
 * is reported, and turns them into words.
 *
 * The dying process does only what a signal handler may: no lock, no allocation, no formatting. The
 * fault is written first and each frame after it, so that a stack which cannot be unwound costs the
 * frames and no more.
 *
 * The owner takes what it finds for untrusted input. It reads the files that hold the code, which
 * can take tens of milliseconds: call crash_explain() without a lock.
 */
#ifndef IPC_CRASH_H
#define IPC_CRASH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "wire/record.h"

#define CRASH_MAX_FRAMES  32
#define CRASH_MAX_OBJECTS 8
#define CRASH_NAME_BYTES  192
#define CRASH_NO_OBJECT   UINT32_MAX
#define CRASH_TEXT_BYTES  192 /* enough for crash_fault_text() */

enum crash_object_kind {
	CRASH_MODULE = 1, /* `name` is the module's digest */
	CRASH_FILE,       /* `name` is its path, as the dynamic loader has it */
	CRASH_OURS,       /* `name` is the path of what this code is in: program or libsimpler */
};

struct crash_object {
	uint32_t kind;
	uint8_t name[CRASH_NAME_BYTES]; /* a path is terminated, and cut if it is long */
};

struct crash_frame {
	uint64_t address; /* as its object's ELF file counts; in memory where there is no object */
	uint32_t object;  /* index, or CRASH_NO_OBJECT */
	uint32_t call_site; /* 1: a return address, the call is before it */
};

struct crash_report {
	int32_t signal;
	int32_t code;     /* si_code */
	int64_t detail;   /* who sent it (si_pid), or the forbidden system call of SIGSYS */
	uint64_t address; /* si_addr */
	uint64_t pc;
	uint64_t sp;
	uint32_t complete;    /* 1: unwinding came to its end, or to the limit of frames */
	uint32_t frame_count; /* the innermost is frame 0 */
	uint32_t object_count;
	int32_t pid; /* its own */
	struct crash_frame frames[CRASH_MAX_FRAMES];
	struct crash_object objects[CRASH_MAX_OBJECTS];
};

/* In shared memory, one for each worker, all zero in the beginning; aligned to 8. */
struct crash_area {
	_Atomic uint32_t recorded; /* 1 when the fault is there; frames may follow */
	uint32_t unused;
	struct crash_report report;
};

struct loader;

/*
 * Worker: record crashes of this process in `area` from now on, for good. Handlers for SIGSEGV,
 * SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS and SIGTRAP are installed, which run on a stack of their
 * own in the calling thread, so that its stack overflows are recorded as well. Having recorded,
 * they let the process die of the same signal. Children that it forks are not recorded.
 *
 * Without a loader, or for modules it does not know, modules are unknown objects. Once a process.
 */
void crash_watch(struct crash_area *area, const struct loader *loader);

/*
 * Owner: copy what a dead worker left and clear the area. False if it left nothing, or what makes
 * no sense.
 */
bool crash_take(struct crash_area *area, struct crash_report *out);
/* The check itself, on a private copy that anybody may have filled. */
bool crash_check(const struct crash_report *report);

/* The rest of "... was killed by signal 11 (Segmentation fault)": ": address not mapped, at address
 * 0x10". `text` has CRASH_TEXT_BYTES. */
void crash_fault_text(const struct crash_report *report, char *text);

/* The descriptor of the module's image, or -1. It stays the finder's and open during the call. */
typedef int crash_module_finder(void *context, const uint8_t digest[RECORD_DIGEST_BYTES]);

/*
 * Owner: add the backtrace to `error`, whose cause the caller has set, one step for each frame. The
 * innermost comes first, so that simpler_last_error() prints the calls in the order in which they
 * were made, with the cause as the last line:
 *
 *     in apply at remote_cases.c:52 (module 5be9c2d01f7ab3c4)
 *     in write_null at remote_cases.c:41 (module 5be9c2d01f7ab3c4)
 *     cause: SIMPLER_ECRASHED: the process (pid 123) was killed by signal 11 (...): address ...
 *
 * Eight steps at the most, so that the callers of `error` have room for theirs. What called the
 * outermost function of a module, or a function of a program, is left out: it is our own code.
 */
void crash_explain(const struct crash_report *report, crash_module_finder *find, void *context,
                   struct error *error);

#endif
