/*
 * Tensors in a worker's shared heap: allocated in a scope, or for as long as the program likes, and
 * given back when nothing uses them any more (see dag/dag.h). Without the core's lock.
 */
#ifndef WORKER_STORAGE_H
#define WORKER_STORAGE_H

#include "worker/run.h"

/*
 * Allocate in the run's innermost scope. Waits for room until `give_up`, at most while the run goes
 * on.
 *
 * @return SIMPLER_ENOSPACE as heap_alloc(), what run_check_open() says, SIMPLER_ENOMEM.
 */
simpler_status storage_alloc(struct run *run, uint64_t bytes, int64_t give_up, void **data,
                             dag_storage_id *out);
/* The same in no run: it stays until storage_free(), and is not waited for. */
simpler_status storage_alloc_lasting(struct worker_core *core, uint64_t bytes, void **data);
/* The block's last user, or its scope, frees it; from now on nobody new may use it. SIMPLER_EINVAL
 * for what is none. */
simpler_status storage_free(struct worker_core *core, void *data);
/* Back again, as if it had never been allocated. */
void storage_discard(struct worker_core *core, dag_storage_id storage);

#endif
