#include "worker/storage.h"

#include "base/clock.h"
#include "wire/tensor.h"
#include "worker/schedule.h"

/* Make the graph know of a block. Takes the block on success. */
static simpler_status adopt(struct worker_core *core, const struct run *run, void *data,
                            dag_storage_id *out)
{
	dag_scope_id scope = core->worker_scope;
	simpler_status status = SIMPLER_OK;

	pthread_mutex_lock(&core->lock);
	if (run)
		status = run_check_open(run);
	if (run && status == SIMPLER_OK)
		scope = run->scopes[run->scope_count - 1];
	if (status == SIMPLER_OK)
		status = dag_storage_add(core->graph, scope, data, out);
	pthread_mutex_unlock(&core->lock);
	if (status == SIMPLER_OK) {
		heap_set_owner(core->heap, data, *out);
		return SIMPLER_OK;
	}
	(void)heap_free(core->heap, data);
	pthread_mutex_lock(&core->lock);
	schedule_note_room(core);
	pthread_mutex_unlock(&core->lock);
	return status;
}

/* Tried without the lock: the system may take its time to give memory. */
static simpler_status wait_for_heap(struct run *run, uint64_t bytes, int64_t give_up, void **data)
{
	struct worker_core *core = run->core;
	simpler_status status;
	bool more = true;
	uint64_t seen;

	for (;;) {
		pthread_mutex_lock(&core->lock);
		status = run_check_open(run);
		seen = core->room_made;
		pthread_mutex_unlock(&core->lock);
		if (status == SIMPLER_OK)
			status = heap_alloc(core->heap, bytes, data);
		if (status != SIMPLER_ENOSPACE || !more)
			return status;
		pthread_mutex_lock(&core->lock);
		more = schedule_wait_for_room(run, seen, give_up);
		pthread_mutex_unlock(&core->lock);
	}
}

simpler_status storage_alloc(struct run *run, uint64_t bytes, int64_t give_up, void **data,
                             dag_storage_id *out)
{
	struct worker_core *core = run->core;
	simpler_status status = heap_alloc(core->heap, bytes, data);

	/* What is larger than the heap will never fit. */
	if (status == SIMPLER_ENOSPACE && bytes <= heap_capacity(core->heap))
		status = wait_for_heap(run, bytes,
		                       give_up < run->deadline ? give_up : run->deadline, data);
	return status == SIMPLER_OK ? adopt(core, run, *data, out) : status;
}

simpler_status storage_alloc_lasting(struct worker_core *core, uint64_t bytes, void **data)
{
	simpler_status status = heap_alloc(core->heap, bytes, data);
	dag_storage_id storage;

	return status == SIMPLER_OK ? adopt(core, NULL, *data, &storage) : status;
}

static simpler_status release(struct worker_core *core, dag_storage_id storage)
{
	struct chores chores = { 0 };
	simpler_status status;

	pthread_mutex_lock(&core->lock);
	status = dag_storage_release(core->graph, storage);
	schedule_react(core, &chores);
	pthread_mutex_unlock(&core->lock);
	schedule_do(core, &chores);
	return status;
}

void storage_discard(struct worker_core *core, dag_storage_id storage)
{
	(void)release(core, storage);
}

simpler_status storage_free(struct worker_core *core, void *data)
{
	dag_storage_id storage;

	if (!heap_owner(core->heap, data, &storage) || release(core, storage) != SIMPLER_OK)
		return error_raise(SIMPLER_EINVAL,
		                   "%p is no address that simpler_alloc() gave out, or it was "
		                   "freed already",
		                   data);
	return SIMPLER_OK;
}

simpler_status simpler_orch_alloc(simpler_orch *orch, simpler_dtype dtype, uint32_t ndim,
                                  const int64_t *shape, simpler_tensor *out)
{
	dag_storage_id storage;
	simpler_tensor made;
	uint64_t bytes;
	simpler_status status;

	if (!orch || !out)
		return error_raise(SIMPLER_EINVAL,
		                   "a run and a place for the tensor are needed, not NULL");
	status = tensor_describe(&made, dtype, ndim, shape, &bytes);
	if (status == SIMPLER_OK)
		status = storage_alloc(run_of(orch), bytes, CLOCK_NEVER, &made.data, &storage);
	if (status == SIMPLER_OK)
		*out = made;
	return status;
}
