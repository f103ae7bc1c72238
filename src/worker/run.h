/* A run as the worker's own files see it; `struct simpler_orch` of the public interface is this. */
#ifndef WORKER_RUN_H
#define WORKER_RUN_H

#include "worker/core.h"

/* So many members whose results were not all fetched have a step each in the error of a run; the
 * others have one together. */
#define RUN_UNFETCHED_TOLD 4u

struct run {
	/* Fixed: */
	struct worker_core *core;
	struct run_call call;
	uint64_t number;             /* of all runs of the process, from 1 */
	struct record_config config; /* what tasks inherit */
	int64_t deadline;
	_Atomic uint32_t stop; /* what simpler_should_stop() looks at in its function */
	_Atomic bool finished; /* returned, and nothing live */
	bool announced;        /* the calling thread's own; see struct exec_progress */
	/* Its function is called by that of this run, in the same thread; NULL if by none. That one
	 * may be of another worker. Set before the function is called. */
	struct run *outer;
	/* Of the handles that its function has taken, for as long as it lasts; NULL: none yet. */
	_Atomic(struct callable_holds *) holds;
	/* Under the core's lock: */
	struct task *tasks; /* live ones */
	uint64_t submitted;
	uint32_t waiting_for_room; /* threads, of its own or of a run inside it */
	bool executing;            /* from run_execute() until finished */
	bool returned;             /* the orchestration function has */
	bool failed;
	uint32_t unfetched; /* members with results that were not all fetched */
	simpler_status stopped;
	struct timer timer;
	pthread_cond_t ended;
	dag_scope_id scopes[1 + SIMPLER_MAX_SCOPES]; /* the innermost is the last */
	uint32_t scope_count;
	struct error error; /* the first root failure */
};

static inline struct run *run_of(simpler_orch *orch)
{
	return (struct run *)orch;
}

/* SIMPLER_OK, or why the run takes no more submits. Under the lock. */
simpler_status run_check_open(const struct run *run);
/* `error` is its first failure, unless it has failed already. Under the lock. */
void run_fail(struct run *run, const struct error *error);
/* It may have ended now. Under the lock; past it the run may be gone: its waiter owns it. */
void run_note_progress(struct run *run, struct chores *chores);

/* A handle that is good until the run ends; the same again gives the same. */
simpler_status run_register(struct run *run, const struct callable_spec *spec, uint64_t *handle);

/* A config as it travels. */
simpler_status run_take_config(const simpler_config *config, struct record_config *out);

#endif
