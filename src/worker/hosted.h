/*
 * A worker that serves another process: tasks come to it as records, outcomes go back as records.
 * The engine of a node is one, behind two rings; so is each worker of the next level down that is a
 * process of its parent's machine, behind a mailbox. How records come and go is theirs (see
 * worker/orchestrators.h); all else is here.
 *
 * A task is expected from the moment it is taken off its carrier: from then on hosted_stop() finds
 * it, whether it has begun or not. A carrier that has two threads take a task and the word to stop
 * it must expect the task before it lets the other thread have the word; then a token that is not
 * known here is one whose task has ended.
 *
 * Memory segments of the workers above keep their ids, 1 to n; its own heap is n + 1. Its children
 * on this machine have all of them. Those that came later have ids from RECORD_FIRST_SEGMENT on,
 * and children are sent them when a task of theirs needs them.
 *
 * Thread-safe, but for hosted_install() and hosted_take_segment().
 */
#ifndef WORKER_HOSTED_H
#define WORKER_HOSTED_H

#include "ipc/crash.h"
#include "wire/tree.h"
#include "wire/vitals.h"
#include "worker/core.h"

struct hosted;

struct hosted_options {
	const struct tree *tree; /* node 0 is this worker */
	/* What its children run in; NULL: the program that this process runs. */
	const char *host_program;
	struct memory_segment above[WORKER_MAX_SEGMENTS];
	int above_fds[WORKER_MAX_SEGMENTS]; /* borrowed for the call */
	uint32_t above_count;
	/* Where user code that crashes this process leaves word of it; NULL: nowhere. */
	struct crash_area *crash;
	/* A task names a callable that is not installed: install it, or raise why it is not there.
	 * From any thread. NULL: there is no more to be had than was installed. */
	simpler_status (*fetch)(void *context, uint64_t callable);
	/* A task names memory that is not here: take in what this worker has been sent by now. From
	 * any thread. NULL: there is no more to be had. */
	void (*catch_up)(void *context);
	/* The children are lost, and with them what is in progress. Once. */
	void (*lost)(void *context);
	void *context;
};

/* A task that is here. Its memory is the carrier's, until hosted_run() or hosted_refuse() has
 * returned. */
struct hosted_task {
	uint64_t token;
	struct run *run; /* while there is one */
	bool stopped;
	uint32_t stoppers; /* threads that are stopping `run` */
	struct hosted_task *next, *previous;
};

/* Starts the children, and returns when they are there. There is one in a process, for good. */
simpler_status hosted_create(const struct hosted_options *options, struct hosted **out);
/* End the children, whatever they do. What is in progress never ends; only ending the process is
 * left to do. */
void hosted_stop_children(struct hosted *hosted);

/* By one thread at a time, which may be another than installs. Owns `fd`, which is that of the
 * memory, or -1 where it ends: then no task that is here uses it. */
simpler_status hosted_take_segment(struct hosted *hosted, const struct record_segment *segment,
                                   int fd);

/* By one thread at a time. Owns `module_fd`, also on failure; errors as loader_install(). */
simpler_status hosted_install(struct hosted *hosted, const struct record_install *install,
                              int module_fd);
/* No task names the callable any more, nor is one in progress. From any thread. */
void hosted_forget(struct hosted *hosted, uint64_t callable);
bool hosted_has(const struct hosted *hosted, uint64_t callable);

void hosted_expect(struct hosted *hosted, struct hosted_task *task, uint64_t token);
/* Run an expected task in the calling thread. */
void hosted_run(struct hosted *hosted, struct hosted_task *task, const struct record_task *record,
                struct record_outcome *out);
/* Instead: end it as one that was stopped before it began. */
void hosted_refuse(struct hosted *hosted, struct hosted_task *task, struct record_outcome *out);
/* Cancel the task with this token. Nothing happens when there is none. */
void hosted_stop(struct hosted *hosted, uint64_t token);
bool hosted_is_stopped(struct hosted *hosted, uint64_t token);

/* How its children are, and what waits for them; all but `runs`. */
void hosted_vitals(struct hosted *hosted, struct vitals *out);

#endif
