/*
 * The threads of a simulated device. The thread that launches a kernel is the first of them; the
 * others are started when a launch first needs them, and sleep between launches.
 *
 * Blocks are handed out in order: a thread takes the lowest that nobody has. So when one fails, all
 * below it have begun and are let end, and the lowest failing block is always found.
 */
#ifndef DEVICE_SIM_POOL_H
#define DEVICE_SIM_POOL_H

#include "base/error.h"
#include "simpler/device.h"

#define SIM_MAX_THREADS 64

struct sim_pool;

struct sim_pool *sim_pool_create(void); /* NULL when memory is out */
/* Not during a launch. NULL is allowed. */
void sim_pool_destroy(struct sim_pool *pool);

/* As simpler_device_ops.launch. SIMPLER_ESYSTEM when a thread cannot be started. */
simpler_status sim_pool_launch(struct sim_pool *pool, const simpler_device_launch *launch);

#endif
